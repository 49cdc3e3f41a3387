/* The services' suite: routes, messages of other nodes, reloads, the end, and health. */
#include "host_private.h"
#include "memory.h"
#include "options.h"
#include "suites.h"

#include <holdfast/kit/plugin.h>

#include <dirent.h>
#include <holdfast/lib/value.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    SETTLE_US = 1000000,
    CLIENTS_US = 200000,
    ANSWER_US = 15000000,
    CLOCK_US = 5000000,
    THREAD_END_MS = 1000,
    REFUSED_MAX = 64,
    AGAIN = 16
};

static hf_kit_instance begin(const hf_kit_subject *subject, uint32_t nodes)
{
    hf_kit_instance instance = hf_kit_instance_prepare(subject, HF_KIT_TABLES_SAME);
    hf_error error = {0};

    hf_kit_host_peers(instance.host, nodes);
    hf_kit_step("create in a cluster of %u nodes", nodes);
    if (hf_kit_instance_try(&instance, &error) != HF_OK)
        hf_kit_fail("create refused in a cluster of %u nodes: %s", nodes, error.message);
    hf_kit_instance_start(&instance);
    hf_kit_step("running");
    hf_kit_host_run_until(instance.host, NULL, NULL, SETTLE_US);
    return instance;
}

static void end(hf_kit_instance *instance)
{
    hf_kit_instance_drain(instance);
    hf_kit_instance_stop(instance);
    hf_kit_instance_destroy(instance);
}

/* ---- Routes ------------------------------------------------------------------------------------------------------ */

static void check_routes(const hf_kit_subject *subject)
{
    static const char *const texts[] = {"x", "0", "\xff\xfe", "..", "%00"};
    static const char *const bodies[] = {"", "{", "{}", "[]", "null", "\xff\xfe\xfd"};
    hf_kit_instance instance = begin(subject, 1);
    hf_kit_route route;

    if (!hf_kit_host_route(instance.host, 0, &route))
        hf_kit_not_applicable("it adds no routes");
    for (uint32_t r = 0; hf_kit_host_route(instance.host, r, &route); r++)
        for (size_t i = 0; i < 6; i++) {
            const char *text = texts[i % (sizeof texts / sizeof *texts)], *body = bodies[i];
            hf_kit_step("%s %s with '%s' for every {name} and the body '%s'", route.method, route.pattern, text, body);
            if (!hf_kit_host_request(instance.host, r, text, hf_slice_of(body), ANSWER_US))
                hf_kit_fail("%s %s with '%s' for every {name} and the body '%s' was not answered within %d s",
                            route.method, route.pattern, text, body, ANSWER_US / 1000000);
        }
    end(&instance);
}

/* What arrives from other nodes is not trusted. */
static void check_messages(const hf_kit_subject *subject)
{
    enum { MESSAGES = 2000, SIZE_MAX_ = 300 };
    hf_kit_instance instance = begin(subject, 3);
    uint64_t random = 1;
    uint8_t bytes[SIZE_MAX_];

    if (instance.host->channel_count == 0)
        hf_kit_not_applicable("it opens no channel");
    hf_kit_step("random bytes as messages and requests of another node");
    for (uint32_t i = 0; i < MESSAGES; i++) {
        uint64_t size = i < 64 ? i : i % SIZE_MAX_;
        for (uint64_t at = 0; at < size; at++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            bytes[at] = i % 3 == 0 ? 0 : i % 3 == 1 ? (uint8_t)(random >> 56) : (uint8_t)(random >> 60);
        }
        hf_kit_host_peer_receive(instance.host, 1 + i % 2, (hf_slice){bytes, size});
    }
    hf_kit_host_run_until(instance.host, NULL, NULL, SETTLE_US);
    end(&instance);
}

/* ---- Clients ----------------------------------------------------------------------------------------------------- */

enum { CLIENTS_MAX = 64, CLIENT_RANDOM_SIZE = 3000 };

/* Who is connected to where it listens, in every way that tells a server apart from one that trusts its clients. */
struct clients {
    int32_t descriptors[CLIENTS_MAX];
    uint32_t count;
};

static const char *const greetings[] = {
    "", /* says nothing, and stays */
    "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12345",
    "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n12345", /* the rest never comes */
    "POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n\r\n",
    "GET / HTTP/1.1\r\nHo",                       /* half of a head */
    "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /a HT", /* that, behind a whole request */
    NULL,                                         /* random bytes */
};
enum { GREETINGS = sizeof greetings / sizeof *greetings };

/* What it cannot take is lost, and that it is gone already is as good. */
static void client_says(int32_t fd, const char *text, uint32_t seed)
{
    uint8_t bytes[CLIENT_RANDOM_SIZE];
    uint64_t random = seed;

    for (uint32_t i = 0; i < sizeof bytes; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        bytes[i] = (uint8_t)(random >> 56);
    }
    if (text)
        (void)send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
    else
        (void)send(fd, bytes, sizeof bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Comes to every listener with every greeting, and lets the service serve for a moment. */
static void clients_come(struct clients *clients, hf_kit_host *host)
{
    hf_kit_listener listener;

    for (uint32_t l = 0; hf_kit_host_listener(host, l, &listener); l++)
        for (uint32_t i = 0; i < GREETINGS && clients->count < CLIENTS_MAX; i++) {
            int32_t fd = hf_kit_host_connect(host, l);
            if (fd < 0)
                hf_kit_fail("nobody can connect to '%s', where it listens", listener.address);
            client_says(fd, greetings[i], i + 1);
            clients->descriptors[clients->count++] = fd;
        }
    if (clients->count)
        hf_kit_host_run_until(host, NULL, NULL, CLIENTS_US);
}

/* Every second one without a farewell. */
static void clients_go(struct clients *clients)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};

    for (uint32_t i = 0; i < clients->count; i++) {
        if (i % 2)
            (void)setsockopt(clients->descriptors[i], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(clients->descriptors[i]);
    }
    clients->count = 0;
}

static void must_listen(const hf_kit_host *host)
{
    hf_kit_listener listener;

    if (!hf_kit_host_listener(host, 0, &listener))
        hf_kit_not_applicable("it listens nowhere (with options that are set with --set NAME=VALUE it may)");
}

/* Some go while it serves, and some are still there when it drains. */
static void check_clients(const hf_kit_subject *subject)
{
    hf_kit_instance instance = begin(subject, 1);
    struct clients clients = {0}, staying = {0};

    must_listen(instance.host);
    for (uint32_t round = 0; round < 3; round++) {
        hf_kit_step("clients that come, say something or not, and go");
        clients_come(&clients, instance.host);
        clients_go(&clients);
        hf_kit_host_run_until(instance.host, NULL, NULL, CLIENTS_US);
        hf_kit_host_advance(instance.host, round ? CLOCK_US : 0);
        kit_listeners_look(instance.host);
    }
    hf_kit_step("clients that go just before they are accepted");
    hf_kit_listener listener;
    for (uint32_t l = 0; hf_kit_host_listener(instance.host, l, &listener); l++)
        for (uint32_t i = 0; i < 4; i++)
            clients.descriptors[clients.count++ % CLIENTS_MAX] = hf_kit_host_connect(instance.host, l);
    clients_go(&clients);
    hf_kit_host_run_until(instance.host, NULL, NULL, CLIENTS_US);
    hf_kit_step("clients that stay");
    clients_come(&staying, instance.host);
    end(&instance);
    clients_go(&staying);
}

static void ignore(void *arg)
{
    (void)arg;
}

/* The process ends with clients, and the host does not wait until they are done. */
static void check_stop_with_clients(const hf_kit_subject *subject)
{
    hf_kit_instance instance = begin(subject, 1);
    struct clients clients = {0};

    must_listen(instance.host);
    hf_kit_step("clients that are there when it is stopped");
    clients_come(&clients, instance.host);
    if (instance.capability.interface->drain) {
        instance.capability.interface->drain(instance.self, CLIENTS_US, ignore, NULL);
        hf_kit_host_run_until(instance.host, NULL, NULL, CLIENTS_US);
    }
    hf_kit_instance_stop(&instance);
    hf_kit_instance_destroy(&instance);
    clients_go(&clients);
}

/* ---- Reloading --------------------------------------------------------------------------------------------------- */

struct round {
    uint32_t items;    /* in every list of groups, beside those that settings name */
    uint32_t left_out; /* rows of the options whose groups of settings are taken out */
};

static const struct round as_created = {0, 0};

/* As the round says where the service takes that, otherwise as it was created. */
static hf_kit_configuration *prepare(hf_kit_instance *instance, const hf_kit_subject *subject,
                                     const struct round *round)
{
    const hf_provide *provide = instance->capability.provide;
    hf_kit_configuration *configuration = kit_configuration_with_items(subject, provide, round->items, round->left_out);
    char first[HF_ERROR_MESSAGE_SIZE];
    hf_error error = {0};

    if (round != &as_created && kit_configuration_problems(subject, configuration, first) > 0) {
        hf_kit_configuration_free(configuration); /* config_prepare never gets it */
        return prepare(instance, subject, &as_created);
    }
    int32_t result =
        instance->capability.interface->config_prepare(instance->self, hf_kit_configuration_get(configuration), &error);
    if (result == HF_OK)
        return configuration;
    if (!error.message[0])
        hf_kit_fail("config_prepare refused (%d) without saying why", result);
    if (round == &as_created)
        hf_kit_fail("config_prepare refused what create had accepted (%d): %s", result, error.message);
    hf_kit_configuration_free(configuration); /* a refusal changes nothing */
    return prepare(instance, subject, &as_created);
}

static void settle(hf_kit_instance *instance)
{
    hf_kit_step("running after a reload, without the configuration that is no longer in force");
    hf_kit_host_run_until(instance->host, NULL, NULL, SETTLE_US / 2);
    hf_kit_host_advance(instance->host, CLOCK_US);
    kit_listeners_look(instance->host);
}

static void reload(hf_kit_instance *instance, const hf_kit_subject *subject, const struct round *round)
{
    const hf_instance_interface *calls = instance->capability.interface;

    hf_kit_step("config_prepare, config_abort");
    hf_kit_configuration *next = prepare(instance, subject, round);
    calls->config_abort(instance->self);
    hf_kit_configuration_free(next); /* the one in force stays */
    settle(instance);
    hf_kit_step("config_prepare, config_commit");
    next = prepare(instance, subject, round);
    calls->config_commit(instance->self);
    hf_kit_configuration_free(instance->configuration); /* the plugin may not look at it any more */
    instance->configuration = next;
    settle(instance);
}

static void check_reload(const hf_kit_subject *subject)
{
    static const struct round rounds[] = {{0, 0}, {1, 0}, {2, 0}, {0, UINT32_MAX}, {0, 0}, {1, UINT32_MAX}};
    hf_kit_instance instance = begin(subject, 1);
    const hf_instance_interface *calls = instance.capability.interface;

    if (!calls->config_prepare && !calls->config_commit && !calls->config_abort)
        hf_kit_not_applicable("it cannot be reloaded: it has no config_prepare");
    if (!calls->config_prepare || !calls->config_commit || !calls->config_abort)
        hf_kit_fail("it has some of config_prepare, config_commit and config_abort; it needs all three or none");
    for (uint32_t i = 0; i < sizeof rounds / sizeof *rounds; i++) {
        struct clients clients = {0};
        clients_come(&clients, instance.host);
        reload(&instance, subject, &rounds[i]);
        clients_go(&clients);
    }
    for (uint32_t i = 0; subject->setting_count && i < instance.capability.provide->options.count && i < 32; i++) {
        if (hf_config_option_row(&instance.capability.provide->options, i).type != HF_OPTION_GROUPS)
            continue;
        struct clients clients = {0};
        clients_come(&clients, instance.host);
        reload(&instance, subject, &(struct round){0, UINT32_C(1) << i});
        reload(&instance, subject, &as_created);
        clients_go(&clients);
    }
    end(&instance);
}

/* ---- Sockets that it does not get -------------------------------------------------------------------------------- */

/* Returns whether a socket was refused: the `number`-th. */
static int32_t start_without_socket(const hf_kit_subject *subject, uint32_t number)
{
    hf_kit_instance instance = hf_kit_instance_prepare(subject, HF_KIT_TABLES_SAME);
    hf_error error = {0};
    int32_t failed, result;

    hf_kit_step("create and start, with the %u-th listener refused", number);
    hf_kit_host_fail_listen(instance.host, number);
    result = hf_kit_instance_try(&instance, &error);
    if (result == HF_OK && instance.capability.interface->start) {
        instance.host->begun = 1;
        result = instance.capability.interface->start(instance.self, &error);
        failed = hf_kit_host_listen_failed(instance.host);
        if (result != HF_OK && !error.message[0])
            hf_kit_fail("start refused (%d) without saying why", result);
        if (result != HF_OK && !failed)
            hf_kit_fail("start failed (%d): %s", result, error.message);
        if (result == HF_OK) { /* it can do without */
            hf_kit_host_run_until(instance.host, NULL, NULL, CLIENTS_US);
            hf_kit_instance_drain(&instance);
            hf_kit_instance_stop(&instance);
        }
    }
    failed = hf_kit_host_listen_failed(instance.host);
    hf_kit_instance_destroy(&instance);
    return failed;
}

/* A reload that brings the listeners back, without the `number`-th: a refusal leaves everything as it was. */
static int32_t reload_without_socket(hf_kit_instance *instance, const hf_kit_subject *subject, uint32_t number)
{
    const hf_instance_interface *calls = instance->capability.interface;
    hf_kit_configuration *next = hf_kit_configuration_create(subject, instance->capability.provide);
    hf_kit_listener listener;
    hf_error error = {0};
    uint32_t before = 0, after = 0;

    while (hf_kit_host_listener(instance->host, before, &listener))
        before++;
    hf_kit_step("config_prepare with the %u-th new listener refused", number);
    hf_kit_host_fail_listen(instance->host, number);
    int32_t result = calls->config_prepare(instance->self, hf_kit_configuration_get(next), &error);
    int32_t failed = hf_kit_host_listen_failed(instance->host);
    hf_kit_host_fail_listen(instance->host, 0);
    if (result != HF_OK && !error.message[0])
        hf_kit_fail("config_prepare refused (%d) without saying why", result);
    if (result == HF_OK)
        calls->config_abort(instance->self);
    hf_kit_configuration_free(next);
    settle(instance);
    while (hf_kit_host_listener(instance->host, after, &listener))
        after++;
    if (after != before)
        hf_kit_fail("it listens at %u addresses after a reload that was refused or forgotten, and at %u before", after,
                    before);
    return failed;
}

static void check_refused(const hf_kit_subject *subject)
{
    uint32_t number = 1;

    while (number < REFUSED_MAX && start_without_socket(subject, number))
        number++;
    if (number == 1)
        hf_kit_not_applicable("it listens nowhere (with options that are set with --set NAME=VALUE it may)");
    hf_kit_instance instance = begin(subject, 1);
    if (instance.capability.interface->config_prepare) {
        reload(&instance, subject, &(struct round){0, UINT32_MAX}); /* without listeners, if it takes that */
        for (number = 1; number < REFUSED_MAX && reload_without_socket(&instance, subject, number);)
            number++;
        reload(&instance, subject, &as_created);
    }
    end(&instance);
}

/* ---- Reloading without memory ------------------------------------------------------------------------------------ */

/* Returns whether the `number`-th block was asked for, of the host or of the C library. */
static int32_t reload_without_block(hf_kit_instance *instance, const hf_kit_subject *subject, uint64_t number,
                                    int32_t of_host)
{
    const hf_instance_interface *calls = instance->capability.interface;
    hf_kit_configuration *next = hf_kit_configuration_create(subject, instance->capability.provide);
    hf_error error = {0};

    hf_kit_step("config_prepare without its %llu-th block of %s memory", (unsigned long long)number,
                of_host ? "host" : "the C library's");
    if (of_host)
        hf_kit_host_fail_allocation(instance->host, number);
    else
        kit_memory_fail(number);
    int32_t result = calls->config_prepare(instance->self, hf_kit_configuration_get(next), &error);
    int32_t failed = of_host ? hf_kit_host_allocation_failed(instance->host) : kit_memory_failed();
    hf_kit_host_fail_allocation(instance->host, 0);
    kit_memory_fail(0);
    if (result != HF_OK && (!failed || result != HF_ENOMEM))
        hf_kit_fail("config_prepare had %s memory and returned %d (%s)", failed ? "no" : "all", result, error.message);
    if (result == HF_OK)
        calls->config_abort(instance->self);
    hf_kit_configuration_free(next);
    hf_kit_host_advance(instance->host, SETTLE_US); /* what it only puts aside goes */
    return failed;
}

/* Whether it leaves memory behind, every time.  Instances of capabilities that it chose have roots in the kit until the
 * host goes: whoever got that far is not judged. */
static int32_t leaks_without_block(hf_kit_instance *instance, const hf_kit_subject *subject, uint64_t number,
                                   int32_t of_host, uint64_t *ret_size)
{
    *ret_size = 1;
    for (int32_t again = 0; again<AGAIN && * ret_size> 0; again++) { /* the first times may fill caches */
        const struct kit_root *roots = instance->host->roots;
        uint64_t before = kit_allocated();
        reload_without_block(instance, subject, number, of_host);
        uint64_t after = kit_allocated();
        if (instance->host->roots != roots)
            return 0;
        *ret_size = after > before ? after - before : 0;
    }
    return *ret_size > 0;
}

static void check_reload_memory(const hf_kit_subject *subject)
{
    hf_kit_instance instance = begin(subject, 1);
    uint64_t asked = 0;

    if (!instance.capability.interface->config_prepare)
        hf_kit_not_applicable("it cannot be reloaded: it has no config_prepare");
    for (uint32_t round = 0; round < 2; round++) {
        for (int32_t of_host = 1; of_host >= 0; of_host--)
            for (uint64_t number = 1; reload_without_block(&instance, subject, number, of_host); number++) {
                uint64_t size = 0;
                if (leaks_without_block(&instance, subject, number, of_host, &size))
                    hf_kit_fail("config_prepare without its %llu-th block of %s memory leaves %llu bytes of malloc "
                                "behind",
                                (unsigned long long)number, of_host ? "host" : "the C library's",
                                (unsigned long long)size);
                asked++;
            }
        kit_listeners_look(instance.host);
        reload(&instance, subject, &(struct round){0, UINT32_MAX}); /* so that more is new the second time */
    }
    if (asked == 0)
        hf_kit_not_applicable("config_prepare asks for no memory");
    end(&instance);
}

/* ---- The end ----------------------------------------------------------------------------------------------------- */

static uint32_t thread_count(void)
{
    DIR *folder = opendir("/proc/self/task");
    uint32_t count = 0;

    if (!folder)
        hf_kit_fail("the kit cannot read /proc/self/task");
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

static void live_and_end(const hf_kit_subject *subject)
{
    hf_kit_instance instance = begin(subject, 1);

    hf_kit_instance_drain(&instance);
    hf_kit_step("running after drain");
    hf_kit_host_advance(instance.host, CLOCK_US);
    hf_kit_instance_stop(&instance);
    hf_kit_step("after stop");
    hf_kit_instance_destroy(&instance);
}

static void check_end(const hf_kit_subject *subject)
{
    live_and_end(subject); /* libraries, and sanitizers, may begin threads that stay; once */
    uint32_t before = thread_count(), after;
    live_and_end(subject);
    /* The system forgets a thread a moment after it was joined. */
    for (uint32_t i = 0; (after = thread_count()) > before && i < THREAD_END_MS; i++)
        usleep(1000);
    if (after > before)
        hf_kit_fail("%u threads of its own are left after destroy", after - before);
}

/* Requests that arrive when it drains are answered, too, if only with a refusal. */
static void check_drain_under_load(const hf_kit_subject *subject)
{
    hf_kit_instance instance = begin(subject, 1);
    hf_kit_route route;

    if (!instance.capability.interface->drain)
        hf_kit_not_applicable("it has no drain");
    if (!hf_kit_host_route(instance.host, 0, &route))
        hf_kit_not_applicable("it adds no routes, so there is nothing to do while it drains");
    hf_kit_instance_drain(&instance);
    for (uint32_t r = 0; hf_kit_host_route(instance.host, r, &route); r++) {
        hf_kit_step("%s %s after drain", route.method, route.pattern);
        if (!hf_kit_host_request(instance.host, r, "x", hf_slice_of("{}"), ANSWER_US))
            hf_kit_fail("%s %s was not answered after drain", route.method, route.pattern);
    }
    hf_kit_instance_stop(&instance);
    hf_kit_instance_destroy(&instance);
}

static const hf_kit_check checks[] = {
    {"routes", "Every route answers every request exactly once, whatever it holds.", check_routes, 120},
    {"peer_messages", "Whatever other nodes send does no harm.", check_messages, 60},
    {"clients", "Whatever clients do where it listens does no harm, and it ends though some stay.", check_clients, 60},
    {"stop_with_clients", "It can be stopped before its clients are done.", check_stop_with_clients, 60},
    {"refused_listeners", "It says why when the system lets it not listen, and a reload then changes nothing.",
     check_refused, 60},
    {"reload", "A reload is prepared, then committed or forgotten; the old configuration is not looked at again.",
     check_reload, 60},
    {"reload_out_of_memory", "config_prepare fails cleanly whichever of its allocations fails.", check_reload_memory,
     60},
    {"end", "After drain, stop and destroy nothing of it is left, no thread either.", check_end, 0},
    {"drain_under_load", "What arrives while it drains is answered.", check_drain_under_load, 120},
};

const hf_kit_suite kit_service_suite = {"service", checks, sizeof checks / sizeof *checks};
