/* The services' suite: routes, messages of other nodes, reloads, the end, and health. */
#include "host_private.h"
#include "options.h"
#include "suites.h"

#include <holdfast/kit/plugin.h>

#include <dirent.h>
#include <holdfast/lib/value.h>
#include <string.h>

enum { SETTLE_US = 1000000, ANSWER_US = 15000000, CLOCK_US = 5000000 };

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

/* ---- Reloading --------------------------------------------------------------------------------------------------- */

/* With `round` items in every list of groups where the service takes such, otherwise with none. */
static hf_kit_configuration *prepare(hf_kit_instance *instance, const hf_kit_subject *subject, uint32_t round)
{
    const hf_provide *provide = instance->capability.provide;
    hf_kit_configuration *configuration = kit_configuration_with_items(subject, provide, round);
    hf_error error = {0};
    int32_t result =
        instance->capability.interface->config_prepare(instance->self, hf_kit_configuration_get(configuration), &error);

    if (result == HF_OK)
        return configuration;
    if (!error.message[0])
        hf_kit_fail("config_prepare refused (%d) without saying why", result);
    if (round == 0)
        hf_kit_fail("config_prepare refused what create had accepted (%d): %s", result, error.message);
    hf_kit_configuration_free(configuration); /* a refusal changes nothing */
    return prepare(instance, subject, 0);
}

static void settle(hf_kit_instance *instance)
{
    hf_kit_step("running after a reload, without the configuration that is no longer in force");
    hf_kit_host_run_until(instance->host, NULL, NULL, SETTLE_US / 2);
    hf_kit_host_advance(instance->host, CLOCK_US);
}

static void check_reload(const hf_kit_subject *subject)
{
    hf_kit_instance instance = begin(subject, 1);
    const hf_instance_interface *calls = instance.capability.interface;

    if (!calls->config_prepare && !calls->config_commit && !calls->config_abort)
        hf_kit_not_applicable("it cannot be reloaded: it has no config_prepare");
    if (!calls->config_prepare || !calls->config_commit || !calls->config_abort)
        hf_kit_fail("it has some of config_prepare, config_commit and config_abort; it needs all three or none");
    for (uint32_t round = 0; round < 6; round++) {
        hf_kit_step("config_prepare, config_abort");
        hf_kit_configuration *next = prepare(&instance, subject, round % 3);
        calls->config_abort(instance.self);
        hf_kit_configuration_free(next); /* the one in force stays */
        settle(&instance);
        hf_kit_step("config_prepare, config_commit");
        next = prepare(&instance, subject, round % 3);
        calls->config_commit(instance.self);
        hf_kit_configuration_free(instance.configuration); /* the plugin may not look at it any more */
        instance.configuration = next;
        settle(&instance);
    }
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

static void check_end(const hf_kit_subject *subject)
{
    uint32_t before = thread_count();
    hf_kit_instance instance = begin(subject, 1);

    hf_kit_instance_drain(&instance);
    hf_kit_step("running after drain");
    hf_kit_host_advance(instance.host, CLOCK_US);
    hf_kit_instance_stop(&instance);
    hf_kit_step("after stop");
    hf_kit_instance_destroy(&instance);
    uint32_t after = thread_count();
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
    {"reload", "A reload is prepared, then committed or forgotten; the old configuration is not looked at again.",
     check_reload, 60},
    {"end", "After drain, stop and destroy nothing of it is left, no thread either.", check_end, 0},
    {"drain_under_load", "What arrives while it drains is answered.", check_drain_under_load, 120},
};

const hf_kit_suite kit_service_suite = {"service", checks, sizeof checks / sizeof *checks};
