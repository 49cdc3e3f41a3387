/* What a decision costs: asks policies about an HTTP request with 20 headers, which is passed as an object or, to
 * compare, as a map of all that it has, and prints the processor time of one decision, the least of 15 rounds.
 *
 *   lua_decide [DECISIONS-A-ROUND]
 *
 * Everything happens on one loop, as in a worker; what a decision allocates in its arena is freed after each. */
#include "lua/lua_host.h"

#include <holdfast/lib/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { HEADERS = 20, ROUNDS = 15 };

/* ---- A request ------------------------------------------------------------------------------------------------ */

struct request {
    hf_lua_object object, headers;
    hf_slice path, method;
    hf_value_member header[HEADERS]; /* names in lower case */
};

static int32_t get_header(const hf_lua_object *object, hf_slice name, hf_arena *arena, hf_value *ret_value,
                          hf_error *error)
{
    const struct request *request = object->arg;

    (void)arena, (void)error;
    for (int i = 0; i < HEADERS; i++)
        if (hf_slice_equal(request->header[i].name, name)) {
            *ret_value = request->header[i].value;
            break;
        }
    return 0;
}

static int32_t get_member(const hf_lua_object *object, hf_slice name, hf_arena *arena, hf_value *ret_value,
                          hf_error *error)
{
    const struct request *request = object->arg;

    (void)arena, (void)error;
    if (hf_slice_is(name, "path"))
        *ret_value = hf_value_string(request->path);
    else if (hf_slice_is(name, "method"))
        *ret_value = hf_value_string(request->method);
    else if (hf_slice_is(name, "headers"))
        *ret_value = hf_value_object(&request->headers);
    return 0;
}

static void request_init(struct request *request)
{
    static char names[HEADERS][16], values[HEADERS][40];

    *request = (struct request){
        .object = {sizeof request->object, 0, "request", get_member, request},
        .headers = {sizeof request->headers, 0, "request.headers", get_header, request},
        .path = hf_slice_of("/v1/conversations/42/messages"),
        .method = hf_slice_of("GET"),
    };
    for (int i = 0; i < HEADERS; i++) {
        snprintf(names[i], sizeof names[i], "x-header-%d", i);
        snprintf(values[i], sizeof values[i], "the value of header number %d", i);
        request->header[i] = (hf_value_member){hf_slice_of(names[i]), hf_value_text(values[i])};
    }
    request->header[HEADERS - 1] = (hf_value_member){hf_slice_of("x-user"), hf_value_text("42")};
}

/* ---- Points and policies -------------------------------------------------------------------------------------- */

static const hf_lua_parameter object_parameter[] = {{"request", "", HF_LUA_OBJECT, 0}};
static const hf_lua_parameter map_parameter[] = {{"request", "", HF_VALUE_MAP, 0}};

#define MATCHES "function(request) if request.path ~= '' and request.headers['x-user'] == '42' then "
#define DIFFERS "function(request) if request.path ~= '' and request.headers['x-user'] == '43' then "

static const struct scenario {
    const char *title;
    hf_decision_point point;
    const char *decide;
} scenarios[] = {
    {"nothing read, nothing wanted",
     {.name = "bench.empty", .parameters = object_parameter, .result.type = HF_VALUE_MAP},
     "function() end"},
    {"two members read, nothing wanted",
     {.name = "bench.differs", .parameters = object_parameter, .result.type = HF_VALUE_MAP},
     DIFFERS "return { upstream = 'b' } end end"},
    {"two members read, a map wanted",
     {.name = "bench.map", .parameters = object_parameter, .result.type = HF_VALUE_MAP},
     MATCHES "return { upstream = 'b' } end end"},
    {"two members read, a string wanted",
     {.name = "bench.string", .parameters = object_parameter, .result.type = HF_VALUE_STRING},
     MATCHES "return 'b' end return '' end"},
    {"the same, with all passed as a map",
     {.name = "bench.whole", .parameters = map_parameter, .result.type = HF_VALUE_STRING},
     MATCHES "return 'b' end return '' end"},
};

enum { SCENARIOS = sizeof scenarios / sizeof scenarios[0] };

struct bench {
    hf_task task;
    hf_loop *loop;
    hf_decision *decisions[SCENARIOS];
    struct request request;
    hf_value arguments[SCENARIOS];
    uint64_t count;
};

static void must(int32_t result, const hf_error *error, const char *what)
{
    if (!result)
        return;
    fprintf(stderr, "lua_decide: %s: %s\n", what, error->message);
    exit(1);
}

/* ---- Measuring ------------------------------------------------------------------------------------------------ */

static double processor_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static double round_ns(const struct bench *bench, int scenario, hf_arena *arena)
{
    hf_value result = hf_value_null();
    hf_error error = {0};
    double begin_ns = processor_ns();

    for (uint64_t i = 0; i < bench->count; i++) {
        hf_arena_clear(arena);
        must(hf_lua_decide(bench->decisions[scenario], &bench->arguments[scenario], arena, &result, &error), &error,
             scenarios[scenario].title);
    }
    return (processor_ns() - begin_ns) / (double)bench->count;
}

static void measure(hf_task *task)
{
    struct bench *bench = (struct bench *)(void *)task;
    hf_arena arena;

    hf_arena_init(&arena, 1 << 20);
    for (int i = 0; i < SCENARIOS; i++) {
        double least_ns = 1e18;
        for (int round = 0; round < ROUNDS; round++) {
            double took_ns = round_ns(bench, i, &arena);
            least_ns = took_ns < least_ns ? took_ns : least_ns;
        }
        printf("%-38s %7.0f ns\n", scenarios[i].title, least_ns);
    }
    hf_arena_done(&arena);
    hf_loop_stop(bench->loop);
}

/* ---- Setting up ----------------------------------------------------------------------------------------------- */

static void write_policies(const char *folder)
{
    for (int i = 0; i < SCENARIOS; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%d.lua", folder, i);
        FILE *file = fopen(path, "w");
        if (!file ||
            fprintf(file, "return { point = '%s', decide = %s }\n", scenarios[i].point.name, scenarios[i].decide) < 0 ||
            fclose(file)) {
            perror(path);
            exit(1);
        }
    }
}

static void remove_policies(const char *folder)
{
    for (int i = 0; i < SCENARIOS; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%d.lua", folder, i);
        (void)unlink(path); /* left behind at worst */
    }
    (void)rmdir(folder);
}

static void declare_all(struct bench *bench, hf_lua_host *host, const hf_value *map)
{
    hf_error error = {0};

    for (int i = 0; i < SCENARIOS; i++) {
        hf_decision_point point = scenarios[i].point;
        point.size = sizeof point;
        point.parameter_count = 1;
        must(hf_lua_declare(host, &point, &bench->decisions[i], &error), &error, point.name);
        bench->arguments[i] = point.parameters == map_parameter ? *map : hf_value_object(&bench->request.object);
    }
}

int main(int argc, char **argv)
{
    char folder[] = "/tmp/lua-decide-XXXXXX";
    const char *paths[] = {mkdtemp(folder)};
    struct bench bench = {.task.run = measure, .count = argc > 1 ? strtoull(argv[1], NULL, 10) : 200000};
    static hf_config_problems problems;
    hf_metrics *metrics = NULL;
    hf_lua_host *host = NULL;
    hf_error error = {0};

    if (!paths[0] || !bench.count) {
        fprintf(stderr, "lua_decide: no temporary folder, or a count of decisions that is none\n");
        return 1;
    }
    request_init(&bench.request);
    hf_value_member members[] = {{hf_slice_of("path"), hf_value_string(bench.request.path)},
                                 {hf_slice_of("method"), hf_value_string(bench.request.method)},
                                 {hf_slice_of("headers"), hf_value_map(bench.request.header, HEADERS)}};
    hf_value map = hf_value_map(members, 3);
    must(hf_loop_create("main", &bench.loop, &error), &error, "loop");
    must(hf_metrics_create(&metrics, &error), &error, "metrics");
    hf_lua_settings settings = {.loops = &bench.loop, .loop_count = 1, .metrics = metrics, .policies = {1, paths}};
    must(hf_lua_host_create(&settings, &host, &error), &error, "host");
    declare_all(&bench, host, &map);
    write_policies(folder);
    int32_t loaded = hf_lua_load(host, &problems);
    remove_policies(folder);
    if (loaded) {
        fprintf(stderr, "lua_decide: %s\n", problems.count ? problems.lines[0] : "no memory");
        return 1;
    }
    hf_loop_post(bench.loop, &bench.task);
    hf_loop_run(bench.loop);
    hf_loop_destroy(bench.loop);
    hf_lua_host_destroy(host);
    hf_metrics_destroy(metrics);
    return 0;
}
