#include "fakes.h"

#include <holdfast/lib/error.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fake fake;

static struct store_routing *routing;
static struct store_call *waiting; /* to be answered, in order */
static struct store_call **waiting_end = &waiting;
static const struct store_nodes nodes = {.count = 3, .names = {"n1", "n2", "n3"}};

static void must(int holds)
{
    if (!holds)
        abort();
}

/* ---- The service ------------------------------------------------------------------------------------------------- */

static int32_t next_table(void *arg, int32_t kind, hf_slice *ret_json, uint64_t *ret_version, hf_error *error)
{
    static const char *const regions[] = {"eu", "us"};
    static const struct store_field fields[] = {
        {.name = "n", .type = STORE_FIELD_INTEGER, .minimum = 0, .maximum = STORE_FIELD_UNLIMITED},
        {.name = "region",
         .type = STORE_FIELD_STRING,
         .required = 1,
         .minimum = -STORE_FIELD_UNLIMITED,
         .maximum = STORE_FIELD_UNLIMITED}};
    static const struct store_declaration tables[] = {
        {.name = "items", .partition_by = "region", .value_count = 2, .values = regions, .hash_ranges = 2},
        {.name = "blobs", .partition_by = "", .hash_ranges = 1, .format = STORE_FORMAT_BYTES},
        {.name = "checked",
         .partition_by = "region",
         .value_count = 2,
         .values = regions,
         .hash_ranges = 1,
         .expire_after_us = 60000000,
         .fields = {2, 1, fields}},
    };
    static hf_buffer record;
    uint32_t *place = arg;
    struct store_declaration declaration;
    struct store_table table;
    hf_arena arena;

    *ret_version = 1;
    if (kind != STORE_RECORDS_OF_TABLES || *place == sizeof tables / sizeof *tables) {
        hf_buffer_done(&record);
        return HF_ENOTFOUND;
    }
    if (!record.maximum)
        hf_buffer_init(&record, 1 << 20);
    hf_buffer_clear(&record);
    hf_arena_init(&arena, 1 << 20);
    declaration = tables[*place];
    declaration.replicas = 3;
    declaration.value_maximum = 1024;
    declaration.keep_changes_us = declaration.keep_repeats_us = 1000000;
    must(store_table_plan(&declaration, &nodes, 2 + *place * 10, &arena, &table, error) == HF_OK);
    must(store_table_write(&record, &table, &nodes, error) == HF_OK);
    hf_arena_done(&arena);
    ++*place;
    *ret_json = (hf_slice){record.data, record.size};
    return HF_OK;
}

void store_call_start(struct store_service *service, struct store_call *call)
{
    struct fake_call *noted = &fake.calls[fake.call_count];

    (void)service;
    call->next = NULL;
    *waiting_end = call;
    waiting_end = &call->next;
    if (fake.call_count == FAKE_CALLS_MAX)
        return;
    fake.call_count++;
    noted->type = call->op.type;
    noted->partition = call->op.partition;
    noted->client = call->op.client;
    hf_buffer_init(&noted->command, 1 << 20);
    if (call->op.type == STORE_OP_WRITE)
        must(hf_buffer_append(&noted->command, call->op.command.data, call->op.command.size) == HF_OK);
}

void store_service_transact(struct store_service *service, struct store_part *parts, uint32_t count,
                            uint64_t deadline_us, uint64_t client, store_transact_done done, void *arg)
{
    struct store_verdict verdict = {.code = fake.code, .part = count - 1, .version = fake.version};

    (void)service, (void)deadline_us;
    for (uint32_t i = 0; i < count && fake.call_count < FAKE_CALLS_MAX; i++) {
        struct fake_call *noted = &fake.calls[fake.call_count++];

        noted->type = FAKE_PART;
        noted->partition = parts[i].partition;
        noted->client = client;
        hf_buffer_init(&noted->command, 1 << 20);
        must(hf_buffer_append(&noted->command, parts[i].command.data, parts[i].command.size) == HF_OK);
        parts[i].version = fake.version + i;
    }
    done(arg, &verdict);
}

static void answer_calls(void)
{
    while (waiting) {
        struct store_call *call = waiting;

        waiting = call->next;
        if (!waiting)
            waiting_end = &waiting;
        hf_buffer_init(&call->op.result, 1 << 20);
        call->op.code = fake.code;
        call->op.version = fake.version;
        if (fake.code != HF_OK)
            hf_error_set(&call->op.error, fake.code, "as the test says");
        call->finished(call);
    }
}

struct store_routing *store_service_routing(struct store_service *service)
{
    (void)service;
    return routing;
}

const struct store_nodes *store_service_nodes(const struct store_service *service)
{
    (void)service;
    return &nodes;
}

const char *store_service_cluster(const struct store_service *service)
{
    (void)service;
    return "test";
}

uint64_t store_service_configuration(const struct store_service *service)
{
    (void)service;
    return 7;
}

void store_service_create_table(struct store_service *service, const struct store_declaration *declaration,
                                store_create_done done, void *arg)
{
    hf_error error = {0};

    (void)service;
    must(store_declaration_check(declaration, &error) == HF_OK); /* only what holds comes as far as this */
    fake.created_count++;
    done(arg, fake.code, 0, &error);
}

void store_service_find_table(struct store_service *service, hf_slice name, uint64_t timeout_us, store_create_done done,
                              void *arg)
{
    (void)service, (void)name, (void)timeout_us;
    done(arg, HF_ENOTFOUND, 0, NULL);
}

void store_service_replica_info(struct store_service *service, uint64_t partition, struct store_replica_info *ret_info)
{
    (void)service, (void)partition;
    *ret_info = (struct store_replica_info){.present = 1, .leader = 1};
}

void store_service_transfer(struct store_service *service, uint64_t partition, uint32_t node, store_transfer_done done,
                            void *arg)
{
    hf_error error = {0};

    (void)service, (void)partition, (void)node;
    done(arg, fake.code, &error);
}

void store_service_reshape(struct store_service *service, uint64_t partition, int32_t merge,
                           void (*done)(void *arg, int32_t code, const hf_error *error), void *arg)
{
    hf_error error = {0};

    (void)service, (void)partition, (void)merge;
    done(arg, fake.code, &error);
}

int32_t store_node_action(hf_slice name)
{
    return hf_slice_is(name, "drain") ? STORE_NODE_DRAIN : HF_EINVAL;
}

void store_service_node_change(struct store_service *service, uint32_t node, int32_t action,
                               void (*done)(void *arg, int32_t code, const hf_error *error), void *arg)
{
    hf_error error = {0};

    (void)service, (void)node, (void)action;
    done(arg, fake.code, &error);
}

void store_service_recover_plan(struct store_service *service, uint32_t dead, store_recover_done done, void *arg)
{
    hf_error error = {0};

    (void)service;
    fake.dead = dead;
    done(arg, fake.code, hf_slice_of("{}"), &error);
}

void store_service_recover(struct store_service *service, hf_slice plan, const char *actor, store_recover_done done,
                           void *arg)
{
    hf_error error = {0};

    (void)service, (void)actor;
    done(arg, fake.code, plan, &error);
}

void store_service_stranger(struct store_service *service, uint32_t node, char *text, uint64_t capacity)
{
    (void)service, (void)node, (void)capacity;
    text[0] = '\0';
}

int32_t store_service_node_up(struct store_service *service, uint32_t node)
{
    (void)service, (void)node;
    return 1;
}

int32_t store_service_problem(struct store_service *service, char *text, uint64_t capacity)
{
    (void)service;
    snprintf(text, capacity, "%s", "");
    return HF_HEALTH_OK;
}

/* ---- The host ---------------------------------------------------------------------------------------------------- */

static int32_t add_route(const hf_host *host, const hf_http_route *route, void *arg, hf_error *error)
{
    (void)host, (void)route, (void)arg, (void)error;
    return HF_OK;
}

static hf_slice slice_or_none(const char *text)
{
    return text ? hf_slice_of(text) : (hf_slice){NULL, 0};
}

static hf_slice find(const char *const (*fields)[2], const char *name)
{
    for (int i = 0; i < FAKE_FIELDS_MAX && fields[i][0]; i++)
        if (strcmp(fields[i][0], name) == 0)
            return slice_or_none(fields[i][1]);
    return (hf_slice){NULL, 0};
}

static hf_slice parameter(const hf_http_request *request, const char *name)
{
    return slice_or_none(strcmp(name, "table") == 0 ? request->table : request->key);
}

static hf_slice query_of(const hf_http_request *request, const char *name)
{
    return find((const char *const(*)[2])request->arguments, name);
}

static hf_slice header(const hf_http_request *request, const char *name)
{
    return find((const char *const(*)[2])request->fields, name);
}

static hf_slice body(const hf_http_request *request)
{
    return request->body;
}

static hf_arena *arena_of(hf_http_request *request)
{
    return &request->arena;
}

static const uint8_t *trace(const hf_http_request *request)
{
    static const uint8_t id[16] = {1};

    (void)request;
    return id;
}

static uint64_t client(const hf_http_request *request)
{
    (void)request;
    return FAKE_CLIENT;
}

static uint64_t user(const hf_http_request *request)
{
    (void)request;
    return 5;
}

static int32_t allowed(const hf_http_request *request, int32_t right, hf_slice table)
{
    (void)request, (void)right, (void)table;
    return 1;
}

static void respond(hf_http_request *request, uint32_t status, const char *type, hf_slice bytes,
                    const hf_http_field *fields, uint32_t count)
{
    (void)type, (void)fields, (void)count;
    request->answers++;
    request->status = status;
    must(hf_buffer_append(&request->answer, bytes.data, bytes.size) == HF_OK);
}

static void problem(hf_http_request *request, uint32_t status, const char *name, const hf_error *error,
                    const char *members)
{
    snprintf(request->members, sizeof request->members, "%s", members ? members : "");
    request->answers++;
    request->status = status;
    snprintf(request->problem, sizeof request->problem, "%s", name);
    request->error = *error;
}

static void increment(hf_metric *metric, uint64_t by)
{
    (void)metric, (void)by;
}

static int32_t add_metric(const hf_host *host, int32_t type, const char *name, const char *help,
                          const char *const (*labels)[2], uint64_t label_count, hf_metric **ret_metric, hf_error *error)
{
    (void)host, (void)type, (void)name, (void)help, (void)labels, (void)label_count, (void)error;
    *ret_metric = NULL;
    return HF_OK;
}

static hf_loop *current(const hf_host *host)
{
    (void)host;
    return NULL;
}

static uint64_t now_us(hf_loop *loop)
{
    (void)loop;
    return 1000000;
}

static hf_loop *loop_of(const hf_http_request *request)
{
    (void)request;
    return NULL;
}

static int32_t create_timer(hf_loop *loop, hf_timer_function function, void *arg, hf_timer **ret_timer, hf_error *error)
{
    (void)loop, (void)function, (void)arg, (void)error;
    *ret_timer = NULL;
    return HF_OK;
}

static void destroy_timer(hf_timer *timer)
{
    (void)timer;
}

static void set(hf_metric *metric, double value)
{
    (void)metric, (void)value;
}

static const hf_http_interface http = {.head = HF_HEAD(hf_http_interface),
                                       .route = add_route,
                                       .parameter = parameter,
                                       .query = query_of,
                                       .header = header,
                                       .body = body,
                                       .arena = arena_of,
                                       .loop = loop_of,
                                       .trace = trace,
                                       .user = user,
                                       .client = client,
                                       .allowed = allowed,
                                       .respond = respond,
                                       .problem = problem};
static const hf_loop_interface loops = {.head = HF_HEAD(hf_loop_interface),
                                        .current = current,
                                        .now_us = now_us,
                                        .timer_create = create_timer,
                                        .timer_destroy = destroy_timer};
static const hf_metrics_interface metrics = {
    .head = HF_HEAD(hf_metrics_interface), .add = add_metric, .increment = increment, .set = set};

static const hf_head *query_interface(const hf_host *host, const char *name)
{
    (void)host;
    if (strcmp(name, HF_HTTP_INTERFACE) == 0)
        return &http.head;
    if (strcmp(name, HF_LOOP_INTERFACE) == 0)
        return &loops.head;
    return strcmp(name, HF_METRICS_INTERFACE) == 0 ? &metrics.head : NULL;
}

const hf_host *store_service_host(const struct store_service *service)
{
    static const hf_host host = {.head = HF_HEAD(hf_host), .query = query_interface};

    (void)service;
    return &host;
}

/* ---- For the tests ----------------------------------------------------------------------------------------------- */

static void forget_calls(void)
{
    while (fake.call_count)
        hf_buffer_done(&fake.calls[--fake.call_count].command);
}

void fake_open(void)
{
    const struct store_http_options options = {1000000, 1000000, 1 << 20, 10000000};
    hf_error error;
    uint32_t place = 0;

    must(store_routing_build(&nodes, 1, next_table, &place, &routing, &error) == HF_OK);
    must(store_http_create(NULL, &options, &fake.http, &error) == HF_OK);
}

void fake_close(void)
{
    forget_calls();
    store_http_destroy(fake.http);
    store_routing_release(routing);
}

void fake_request(struct hf_http_request *request, void (*handle)(void *arg, hf_http_request *request))
{
    forget_calls();
    fake.created_count = 0;
    hf_arena_init(&request->arena, 16 << 20);
    hf_buffer_init(&request->answer, 16 << 20);
    handle(fake.http, request);
    answer_calls();
}

void fake_request_done(struct hf_http_request *request)
{
    hf_arena_done(&request->arena);
    hf_buffer_done(&request->answer);
}

void fake_command(uint32_t n, struct store_operation *operations, uint64_t capacity, struct store_command *ret_command)
{
    hf_error error;

    must(n < fake.call_count && fake.calls[n].type == STORE_OP_WRITE);
    must(store_command_decode((hf_slice){fake.calls[n].command.data, fake.calls[n].command.size}, operations, capacity,
                              ret_command, &error) == HF_OK);
}
