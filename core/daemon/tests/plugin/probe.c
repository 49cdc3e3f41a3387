/* service/probe: a service for test_daemon.py: says its options, crashes on request, waits for its drain,
 * and listens. */
#include "listener.h"

#include <holdfast/host/http.h>
#include <holdfast/host/node.h>
#include <holdfast/kind/service.h>
#include <holdfast/lib/buffer.h>
#include <holdfast/lib/error.h>
#include <holdfast/lib/json.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

typedef struct probe_options {
    const char *greeting;
    const char *colour;
    int32_t failing;
    int32_t start_fails;
    const char *needs;
    hf_groups people;
    hf_groups pickers;
    const char *listen;
    const char *also_listen;
    const char *listen_datagrams;
} probe_options;

typedef struct person {
    const char *name;
    const char *friend;
} person;

typedef struct picker_options {
    const char *name;
    hf_capability_choice balancer;
} picker_options;

/* One instance for each of the options' pickers. */
typedef struct pickers {
    uint64_t count;
    struct picker {
        const hf_instance_interface *interface;
        void *self;
    } items[];
} pickers;

enum { LISTENERS = 3 };

typedef struct probe {
    const hf_host *host;
    const hf_http_interface *http;
    const hf_node_interface *node;
    _Atomic(const probe_options *) options;
    const probe_options *prepared;
    pickers *pickers, *prepared_pickers;
    _Atomic(hf_http_request *) held;
    atomic_int started;
    listener *listeners[LISTENERS]; /* in the order of the options */
    listener *prepared_listeners[LISTENERS];
} probe;

static const hf_option person_rows[] = {
    HF_CONFIG_STRING("friend", person, friend, .flags = HF_OPTION_RELOADABLE, .doc = "One of the people."),
};
static const hf_option_table person_table = HF_TABLE(person_rows);

static const hf_option picker_rows[] = {
    HF_CONFIG_CAPABILITY("balancer", picker_options, balancer, "balancer", .default_text = "probe",
                         .flags = HF_OPTION_RELOADABLE, .doc = "Which one, and its options."),
};
static const hf_option_table picker_table = HF_TABLE(picker_rows);

static const hf_option rows[] = {
    HF_CONFIG_STRING("greeting", probe_options, greeting, .default_text = "hello", .flags = HF_OPTION_RELOADABLE,
                     .doc = "What GET /test/hello says."),
    HF_CONFIG_STRING("colour", probe_options, colour, .default_text = "red", .doc = "Cannot be reloaded."),
    HF_CONFIG_BOOLEAN("failing", probe_options, failing, .default_text = "false", .flags = HF_OPTION_RELOADABLE,
                      .doc = "Whether it says that it fails."),
    HF_CONFIG_BOOLEAN("start_fails", probe_options, start_fails, .default_text = "false",
                      .doc = "Whether it cannot be started."),
    HF_CONFIG_STRING("needs", probe_options, needs, .flags = HF_OPTION_RELOADABLE,
                     .doc = "A service that must be enabled, too."),
    HF_CONFIG_GROUPS("people", probe_options, people, person, .members = &person_table, .flags = HF_OPTION_RELOADABLE,
                     .doc = "Friends of each other."),
    HF_CONFIG_GROUPS("pickers", probe_options, pickers, picker_options, .members = &picker_table,
                     .flags = HF_OPTION_RELOADABLE, .doc = "What GET /test/pickers asks."),
    HF_CONFIG_STRING("listen", probe_options, listen, .flags = HF_OPTION_RELOADABLE,
                     .doc = "Address at which whoever connects is told the process's number."),
    HF_CONFIG_STRING("also_listen", probe_options, also_listen, .flags = HF_OPTION_RELOADABLE, .doc = "Another one."),
    HF_CONFIG_STRING("listen_datagrams", probe_options, listen_datagrams, .flags = HF_OPTION_RELOADABLE,
                     .doc = "The same for datagrams."),
};

/* ---- What the options' types cannot say -------------------------------------------------------------------------- */

static int is_one(const hf_groups *people, const char *name)
{
    const person *items = people->items;

    for (uint64_t i = 0; i < people->count; i++)
        if (strcmp(items[i].name, name) == 0)
            return 1;
    return 0;
}

static void check_person(const hf_config_report *report, const hf_groups *people, const person *item)
{
    char path[200], message[400];

    if (item->friend[0] == '\0' || is_one(people, item->friend))
        return;
    snprintf(path, sizeof path, "people.%s.friend", item->name);
    snprintf(message, sizeof message, "'probe.%s' is \"%s\", expected one of the people", path, item->friend);
    report->problem(report, path, message);
}

static void check(const void *configuration, const hf_config_report *report)
{
    const probe_options *options = configuration;
    const person *items = options->people.items;

    for (uint64_t i = 0; i < options->people.count; i++)
        check_person(report, &options->people, &items[i]);
    if (options->needs[0] && !report->has_capability(report, "service", options->needs))
        report->problem(report, "needs", "'probe.needs' is a service that is not enabled");
    if (strcmp(options->greeting, options->colour) == 0)
        report->problem(report, "colour", "'probe.colour' is the same as 'probe.greeting', expected another");
}

/* ---- Routes ------------------------------------------------------------------------------------------------------ */

static void respond(probe *self, hf_http_request *request, uint32_t status, const char *text)
{
    hf_buffer body;
    hf_json_writer writer;

    hf_buffer_init(&body, 4096);
    hf_json_writer_init(&writer, &body);
    hf_json_begin_object(&writer);
    hf_json_name(&writer, "text");
    hf_json_text(&writer, text);
    hf_json_name(&writer, "node");
    hf_json_text(&writer, self->node->node_name(self->host));
    hf_json_name(&writer, "configuration_version");
    hf_json_unsigned(&writer, self->node->configuration_version(self->host));
    hf_json_name(&writer, "started");
    hf_json_integer(&writer, atomic_load(&self->started));
    hf_json_end_object(&writer);
    self->http->respond(request, status, "application/json", (hf_slice){body.data, body.size}, NULL, 0);
    hf_buffer_done(&body);
}

static void hello(void *arg, hf_http_request *request)
{
    probe *self = arg;

    respond(self, request, 200, atomic_load(&self->options)->greeting);
}

static void crash(void *arg, hf_http_request *request)
{
    probe *self = arg;

    raise(SIGSEGV);
    respond(self, request, 500, "still alive"); /* also keeps this function in the backtrace */
}

/* What the plugin logs meanwhile, and the failure itself, carry the request's trace id. */
static void fail(void *arg, hf_http_request *request)
{
    probe *self = arg;
    static const char message[] = "about to fail";
    hf_error error;

    self->host->log(self->host, HF_LOG_INFO, (hf_slice){(const uint8_t *)message, sizeof message - 1});
    hf_error_set(&error, HF_EIO, "this probe always fails");
    self->http->problem(request, 500, "failed", &error, NULL);
}

/* Answered when the process ends. */
static void hold(void *arg, hf_http_request *request)
{
    probe *self = arg;
    static const char message[] = "holding a request";

    hf_http_request *before = atomic_exchange(&self->held, request);
    if (before)
        respond(self, before, 200, "another one came");
    self->host->log(self->host, HF_LOG_INFO, (hf_slice){(const uint8_t *)message, sizeof message - 1});
}

static void write_table(void *arg, hf_http_request *request)
{
    probe *self = arg;
    hf_error error;

    if (self->http->allowed(request, HF_HTTP_WRITE, self->http->parameter(request, "table"))) {
        respond(self, request, 200, "written");
        return;
    }
    hf_error_set(&error, HF_EDENIED, "this token has no right to write this table");
    self->http->problem(request, 403, "forbidden", &error, NULL);
}

/* What the last one says. */
static void ask_pickers(void *arg, hf_http_request *request)
{
    probe *self = arg;
    hf_health answer = {0};

    for (uint64_t i = 0; i < self->pickers->count; i++)
        self->pickers->items[i].interface->health(self->pickers->items[i].self, &answer);
    respond(self, request, 200, answer.reason);
}

static const hf_http_route routes[] = {
    {sizeof(hf_http_route), HF_HTTP_PUBLIC, "GET", "/test/hello", 0, "Says the greeting.", hello},
    {sizeof(hf_http_route), HF_HTTP_PUBLIC, "GET", "/test/crash", 0, "Crashes.", crash},
    {sizeof(hf_http_route), HF_HTTP_PUBLIC, "GET", "/test/fail", 0, "Fails.", fail},
    {sizeof(hf_http_route), HF_HTTP_PUBLIC, "GET", "/test/hold", 0, "Waits for the drain.", hold},
    {sizeof(hf_http_route), HF_HTTP_PUBLIC, "GET", "/test/pickers", 0, "Asks the pickers.", ask_pickers},
    {sizeof(hf_http_route), HF_HTTP_WRITE, "PUT", "/test/tables/{table}", 1024, "Needs a right.", write_table},
};

/* ---- Pickers ----------------------------------------------------------------------------------------------------- */

static void destroy_pickers(probe *self, pickers *all)
{
    for (uint64_t i = 0; all && i < all->count; i++)
        all->items[i].interface->destroy(all->items[i].self);
    self->host->free(self->host, all);
}

static int32_t create_pickers(probe *self, const probe_options *options, pickers **ret_pickers, hf_error *error)
{
    const picker_options *items = options->pickers.items;
    uint64_t count = options->pickers.count;
    pickers *all = self->host->alloc(self->host, sizeof *all + count * sizeof all->items[0]);

    if (!all)
        return hf_error_set(error, HF_ENOMEM, "no memory");
    for (; all->count < count; all->count++) {
        const hf_head *head = NULL;
        struct picker *item = &all->items[all->count];
        int32_t result = self->node->capability_chosen(self->host, "balancer", &items[all->count].balancer, &head,
                                                       &item->self, error);
        if (result) {
            destroy_pickers(self, all);
            return result;
        }
        item->interface = (const hf_instance_interface *)head;
    }
    *ret_pickers = all;
    return 0;
}

/* ---- Listeners --------------------------------------------------------------------------------------------------- */

static const char *address_of(const probe_options *options, int index, int32_t *ret_type)
{
    *ret_type = index < 2 ? HF_LISTEN_STREAM : HF_LISTEN_DATAGRAM;
    return index == 0 ? options->listen : index == 1 ? options->also_listen : options->listen_datagrams;
}

static void close_listeners(listener *listeners[LISTENERS], int32_t forget)
{
    for (int i = 0; i < LISTENERS; i++) {
        listener_close(listeners[i], forget);
        listeners[i] = NULL;
    }
}

/* Opens those that `before` (NULL: none) does not have. */
static int32_t open_listeners(probe *self, const probe_options *options, const probe_options *before,
                              listener *ret_listeners[LISTENERS], hf_error *error)
{
    int32_t type;

    for (int i = 0; i < LISTENERS; i++) {
        const char *address = address_of(options, i, &type);
        if (!*address || (before && strcmp(address_of(before, i, &type), address) == 0))
            continue;
        int32_t result = listener_open(self->host, type, address, &ret_listeners[i], error);
        if (result) {
            close_listeners(ret_listeners, before != NULL);
            return result;
        }
    }
    return 0;
}

static void take_listeners(probe *self, const probe_options *options, const probe_options *before)
{
    int32_t type;

    for (int i = 0; i < LISTENERS; i++) {
        if (strcmp(address_of(options, i, &type), address_of(before, i, &type)) == 0)
            continue;
        listener_close(self->listeners[i], 1);
        self->listeners[i] = self->prepared_listeners[i];
        self->prepared_listeners[i] = NULL;
    }
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

static void destroy(void *instance)
{
    probe *self = instance;

    if (!self)
        return;
    destroy_pickers(self, self->pickers);
    self->host->free(self->host, self);
}

static int32_t create(const hf_host *host, const void *configuration, void **ret_self, hf_error *error)
{
    probe *self = host->alloc(host, sizeof *self);
    int32_t result = 0;

    if (!self)
        return hf_error_set(error, HF_ENOMEM, "no memory");
    self->host = host;
    self->http = (const hf_http_interface *)host->query(host, HF_HTTP_INTERFACE);
    self->node = (const hf_node_interface *)host->query(host, HF_NODE_INTERFACE);
    atomic_store(&self->options, configuration);
    for (size_t i = 0; i < sizeof routes / sizeof routes[0] && !result; i++)
        result = self->http->route(host, &routes[i], self, error);
    if (!result && !self->node->state_directory(host, error))
        result = HF_EIO;
    if (!result)
        result = create_pickers(self, configuration, &self->pickers, error);
    if (result) {
        destroy(self);
        return result;
    }
    *ret_self = self;
    return 0;
}

static int32_t config_prepare(void *instance, const void *configuration, hf_error *error)
{
    probe *self = instance;
    const probe_options *options = configuration;

    if (strcmp(options->greeting, "refuse") == 0)
        return hf_error_set(error, HF_EINVAL, "probe.greeting is \"refuse\", which is refused");
    int32_t result = create_pickers(self, options, &self->prepared_pickers, error);
    if (result)
        return result;
    self->prepared = options;
    result = open_listeners(self, options, atomic_load(&self->options), self->prepared_listeners, error);
    if (result) {
        destroy_pickers(self, self->prepared_pickers);
        self->prepared_pickers = NULL;
    }
    return result;
}

static void config_commit(void *instance)
{
    probe *self = instance;

    take_listeners(self, self->prepared, atomic_load(&self->options));
    atomic_store(&self->options, self->prepared);
    destroy_pickers(self, self->pickers);
    self->pickers = self->prepared_pickers;
    self->prepared_pickers = NULL;
}

static void config_abort(void *instance)
{
    probe *self = instance;

    close_listeners(self->prepared_listeners, 1);
    self->prepared = NULL;
    destroy_pickers(self, self->prepared_pickers);
    self->prepared_pickers = NULL;
}

static int32_t start(void *instance, hf_error *error)
{
    probe *self = instance;

    if (atomic_load(&self->options)->start_fails)
        return hf_error_set(error, HF_ESTATE, "probe.start_fails is true");
    atomic_store(&self->started, 1);
    return open_listeners(self, atomic_load(&self->options), NULL, self->listeners, error);
}

static void stop(void *instance)
{
    probe *self = instance;

    close_listeners(self->listeners, 0);
}

static void drain(void *instance, uint64_t deadline_us, void (*done)(void *arg), void *arg)
{
    probe *self = instance;
    hf_http_request *held = atomic_exchange(&self->held, NULL);

    (void)deadline_us;
    if (held)
        respond(self, held, 200, "drained");
    done(arg);
}

static void health(void *instance, hf_health *ret_health)
{
    probe *self = instance;

    if (!atomic_load(&self->options)->failing)
        return;
    ret_health->state = HF_HEALTH_FAILING;
    snprintf(ret_health->reason, sizeof ret_health->reason, "probe.failing is true");
}

static const hf_service service = {
    .head = HF_HEAD(hf_service),
    .create = create,
    .destroy = destroy,
    .config_prepare = config_prepare,
    .config_commit = config_commit,
    .config_abort = config_abort,
    .start = start,
    .drain = drain,
    .stop = stop,
    .health = health,
};

static const hf_provide provide = {
    .size = sizeof(hf_provide),
    .kind = "service",
    .name = "probe",
    .summary = "Helps to test the daemon.",
    .interface = {.service = &service},
    .options = HF_TABLE(rows),
    .configuration_size = sizeof(probe_options),
    .check = check,
};

static const hf_provide *const provides[] = {&provide};

static const hf_plugin plugin = {
    .size = sizeof(hf_plugin),
    .interface_major = HF_INTERFACE_MAJOR,
    .interface_minor = HF_INTERFACE_MINOR,
    .provide_count = 1,
    .id = "org.holdfast.service.probe",
    .version = "1.0.0",
    .summary = "Helps to test the daemon.",
    .licence = "Apache-2.0",
    .provides = provides,
};

HF_EXPORT const hf_plugin *hf_plugin_v1(void)
{
    return &plugin;
}
