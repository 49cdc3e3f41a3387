/* A service for test_check.c: good as it is, and bad in one way with each of the macros BAD_... */
#include <holdfast/host/http.h>
#include <holdfast/host/loop.h>
#include <holdfast/host/lua.h>
#include <holdfast/host/metrics.h>
#include <holdfast/host/node.h>
#include <holdfast/kind/service.h>
#include <holdfast/lib/error.h>
#include <holdfast/lib/value.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct options {
    const char *greeting;
    int64_t rounds;
    hf_capability_choice balancer;
};

struct service {
    const hf_host *host;
    const struct options *options;
    const hf_loop_interface *loops;
    const hf_http_interface *http;
    const hf_metrics_interface *metrics; /* NULL: the host offers none, or no histograms */
    hf_metric *seconds;
    hf_timer *timer;
    char *kept;
    const hf_instance_interface *chosen;
    void *chosen_self;
};

#ifdef BAD_OPTION
#define ROUNDS_DEFAULT "12"
#else
#define ROUNDS_DEFAULT "3"
#endif

static const hf_option option_rows[] = {
    HF_CONFIG_STRING("greeting", struct options, greeting, .default_text = "hello", .flags = HF_OPTION_RELOADABLE,
                     .doc = "What it says."),
    HF_CONFIG_INTEGER("rounds", struct options, rounds, .default_text = ROUNDS_DEFAULT, .minimum = 1, .maximum = 9,
                      .doc = "How often it says it."),
    HF_CONFIG_CAPABILITY("balancer", struct options, balancer, "balancer", .doc = "One that it keeps, if any."),
};

enum { GREETING_MAX = 1000 };

static void check(const void *configuration, const hf_config_report *report)
{
    const struct options *options = configuration;
#ifdef BAD_CHECK
    static const char message[] = "";
#else
    static const char message[] = "'greeting' has more than 1000 bytes";
#endif

    if (strlen(options->greeting) > GREETING_MAX && report->has_capability(report, "service", "sample"))
        report->problem(report, "greeting", message);
}

static void answer(void *arg, hf_http_request *request)
{
    struct service *self = arg;

    self->http->respond(request, 200, "text/plain", hf_slice_of(self->options->greeting), NULL, 0);
#ifdef BAD_TWO_ANSWERS
    self->http->respond(request, 200, "text/plain", hf_slice_of(self->options->greeting), NULL, 0);
#endif
}

static void tick(void *arg)
{
    struct service *self = arg;

    if (self->options->rounds < 1 || self->options->rounds > 9)
        abort(); /* the configuration was checked */
}

static void destroy(void *arg)
{
    struct service *self = arg;

    if (!self)
        return;
    if (self->chosen)
        self->chosen->destroy(self->chosen_self);
    if (self->metrics)
        self->metrics->remove(self->seconds);
#ifndef BAD_LEAK
    self->host->free(self->host, self->kept);
#endif
#ifdef BAD_LEAK_MALLOC
    self->kept = malloc(1000);
    memset(self->kept, 1, 1000);
#endif
    self->host->free(self->host, self);
}

static int32_t take_chosen(struct service *self, hf_error *error)
{
    const hf_head *node = self->host->query(self->host, HF_NODE_INTERFACE), *head = NULL;

    if (!node)
        return hf_error_set(error, HF_EUNSUPPORTED, "the host knows no capabilities");
    int32_t result =
        ((const hf_node_interface *)(const void *)node)
            ->capability_chosen(self->host, "balancer", &self->options->balancer, &head, &self->chosen_self, error);
    if (result == HF_OK)
        self->chosen = (const hf_instance_interface *)(const void *)head;
    return result;
}

static int32_t add_metric(struct service *self, hf_error *error)
{
    static const double bounds[] = {0.001, 0.01, 0.1};
    const hf_head *found = self->host->query(self->host, HF_METRICS_INTERFACE);

    if (!found || found->size < sizeof *self->metrics)
        return HF_OK;
    self->metrics = (const hf_metrics_interface *)(const void *)found;
    int32_t result = self->metrics->add_histogram(self->host, "sample_seconds", "What it took.", NULL, 0, bounds, 3,
                                                  &self->seconds, error);
    if (result)
        return result;
#ifdef BAD_METRIC
    self->metrics->increment(self->seconds, 1);
#else
    static const uint64_t counts[] = {0, 2, 0, 1};

    self->metrics->observe(self->seconds, 0.5);
    result = self->metrics->observe_counted(self->seconds, counts, 4, 0.52);
#endif
    return result;
}

static int32_t declare_point(const struct service *self, hf_error *error)
{
    static const hf_lua_parameter parameters[] = {{"request", "what came", HF_LUA_OBJECT, 0}};
    static const hf_lua_parameter members[] = {{"request.path", "without the query", HF_VALUE_STRING, 0}};
    hf_decision_point point = {
        .size = sizeof point,
        .parameter_count = 1,
        .name = "sample.route",
        .doc = "Asked for each request.",
        .parameters = parameters,
        .default_doc = "Nothing is done.",
        .members = members,
        .member_count = 1,
    };
    const hf_lua_interface *lua = (const hf_lua_interface *)self->host->query(self->host, HF_LUA_INTERFACE);
    hf_decision *decision;

#ifdef BAD_RESULT
    point.result = (hf_lua_parameter){"result", "", HF_LUA_OBJECT, 0};
#endif
    if (!lua)
        return HF_OK;
    int32_t result = lua->declare(self->host, &point, &decision, error);
    return result == HF_EEXIST ? HF_OK : result; /* another instance has declared it */
}

static int32_t prepare(struct service *self, hf_error *error)
{
    static const hf_http_route route = {
        sizeof route, HF_HTTP_READ, "GET", "/hello/{name}", 100, "Says hello.", answer,
    };

    self->loops = (const hf_loop_interface *)self->host->query(self->host, HF_LOOP_INTERFACE);
    self->http = (const hf_http_interface *)self->host->query(self->host, HF_HTTP_INTERFACE);
#ifndef BAD_IGNORES_WITHHELD
    if (!self->loops || !self->http)
        return hf_error_set(error, HF_EUNSUPPORTED, "the host offers no loops or no HTTP");
#endif
#ifdef BAD_READS_BEHIND /* a function of a later minor, without a look at the size */
    if (((const void *const *)(const void *)(self->loops + 1))[0])
        self->kept = NULL;
#endif
#ifdef BAD_CALLS_BEHIND /* a function that is there, but nothing says that it is this one */
    if (self->loops->head.size > sizeof *self->loops)
        ((void (*const *)(void))(const void *)(self->loops + 1))[0]();
#endif
#ifdef BAD_OPTION_VALUE
    if (!self->options->greeting[0])
        abort();
#endif
    if (strlen(self->options->greeting) > GREETING_MAX)
        abort(); /* the configuration was checked */
    self->kept = self->host->alloc(self->host, 100);
#ifndef BAD_IGNORES_NO_MEMORY
    if (!self->kept)
        return hf_error_set(error, HF_ENOMEM, "no memory for what it keeps");
#endif
    self->kept[0] = 1;
    if (self->options->balancer.name[0]) {
        int32_t result = take_chosen(self, error);
        if (result)
            return result;
    }
    int32_t result = add_metric(self, error);
    if (!result)
        result = declare_point(self, error);
    if (result)
        return result;
    return self->http->route(self->host, &route, self, error);
}

static int32_t create(const hf_host *host, const void *configuration, void **ret_self, hf_error *error)
{
    struct service *self = host->alloc(host, sizeof *self);

    if (!self)
        return hf_error_set(error, HF_ENOMEM, "no memory for the service");
    self->host = host;
    self->options = configuration;
    int32_t result = prepare(self, error);
#ifdef BAD_SILENT
    if (result && error)
        error->message[0] = '\0';
#endif
    if (result) {
        destroy(self);
        return result;
    }
#ifdef BAD_SHARED
    static struct service *only;
    if (only) {
        destroy(self);
        self = only;
    }
    only = self;
#endif
    *ret_self = self;
    return HF_OK;
}

#if defined BAD_THREAD
static void *wait_for_ever(void *arg)
{
    for (;;)
        pause();
    return arg;
}
#endif

#if defined BAD_WRONG_THREAD
static void *start_timer(void *arg)
{
    struct service *self = arg;

    self->loops->timer_start(self->timer, 1000, 1000);
    return NULL;
}
#endif

static int32_t start(void *arg, hf_error *error)
{
    struct service *self = arg;
    int32_t result = self->loops->timer_create(self->loops->main_loop(self->host), tick, self, &self->timer, error);

    if (result)
        return result;
    self->loops->timer_start(self->timer, 1000, 100000);
#if defined BAD_THREAD || defined BAD_WRONG_THREAD
    pthread_t thread;
#ifdef BAD_THREAD
    pthread_create(&thread, NULL, wait_for_ever, self);
    pthread_detach(thread);
#else
    pthread_create(&thread, NULL, start_timer, self);
    pthread_join(thread, NULL);
#endif
#endif
    return HF_OK;
}

static void drain(void *arg, uint64_t deadline_us, void (*done)(void *arg), void *done_arg)
{
    (void)arg, (void)deadline_us;
#ifndef BAD_DRAIN
    done(done_arg);
#else
    (void)done, (void)done_arg;
#endif
}

static void stop(void *arg)
{
    struct service *self = arg;

#ifndef BAD_TIMER_LEFT
    self->loops->timer_destroy(self->timer);
#endif
    self->timer = NULL;
}

static const struct options *prepared;

static int32_t config_prepare(void *arg, const void *configuration, hf_error *error)
{
    (void)arg, (void)error;
    prepared = configuration;
    return HF_OK;
}

static void config_commit(void *arg)
{
    struct service *self = arg;

#ifdef BAD_RELOAD
    (void)self; /* goes on with what is no longer there */
#else
    self->options = prepared;
#endif
}

static void config_abort(void *arg)
{
    (void)arg;
}

static void health(void *arg, hf_health *ret_health)
{
    (void)arg;
#ifdef BAD_HEALTH
    ret_health->state = HF_HEALTH_FAILING;
#else
    (void)ret_health;
#endif
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
#ifdef BAD_SIZE
    .size = offsetof(hf_provide, configuration_size),
#else
    .size = sizeof(hf_provide),
#endif
    .kind = "service",
    .name = "sample",
    .summary = "For the tests of the kit.",
    .interface = {.service = &service},
    .options = HF_TABLE(option_rows),
    .configuration_size = sizeof(struct options),
    .check = check,
};

static const hf_provide *const provides[] = {&provide};

static int32_t load(const hf_host *host, hf_error *error)
{
    (void)host, (void)error;
#ifdef BAD_LOAD
    abort();
#endif
    return HF_OK;
}

static hf_plugin plugin = {
    .size = sizeof(hf_plugin),
    .interface_major = HF_INTERFACE_MAJOR,
    .interface_minor = HF_INTERFACE_MINOR,
    .provide_count = 1,
    .id = "org.example.service.sample",
    .version = "1.0.0",
    .summary = "For the tests of the kit.",
    .licence = "Apache-2.0",
    .provides = provides,
    .load = load,
};

#ifdef BAD_SYMBOL
HF_EXPORT int second_symbol;
#endif

HF_EXPORT const hf_plugin *hf_plugin_v1(void)
{
#ifdef BAD_MANIFEST /* another version than the one that the note was written from */
    if (getenv("HOLDFAST_TEST_MANIFEST"))
        plugin.version = "2.0.0";
#endif
    return &plugin;
}
