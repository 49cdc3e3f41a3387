/* Tables, partitions, leaders, the cluster. */
#include "http/private.h"

#include <holdfast/kind/replication.h>
#include <holdfast/lib/error.h>

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DOCUMENT_MAXIMUM = 64 << 20, PROBLEMS_MAX = 50 };

/* ---- Writing documents ---------------------------------------------------------------------------------------- */

static void begin_document(hf_json_writer *writer, hf_buffer *body)
{
    hf_buffer_init(body, DOCUMENT_MAXIMUM);
    hf_json_writer_init(writer, body);
    hf_json_begin_object(writer);
}

static void answer_document(struct store_http *http, hf_http_request *request, uint32_t status, hf_json_writer *writer,
                            hf_buffer *body)
{
    hf_error error = {0};

    hf_json_end_object(writer);
    if (writer->result == HF_OK) {
        http->http->respond(request, status, "application/json", (hf_slice){body->data, body->size}, NULL, 0);
    } else {
        hf_error_set(&error, HF_EBUSY, "no memory for the answer");
        http->http->problem(request, 503, "busy", &error, NULL);
    }
    hf_buffer_done(body);
}

static int32_t may_read(struct store_http *http, hf_http_request *request, const char *table)
{
    return http->http->allowed(request, table[0] == '_' ? HF_HTTP_ADMIN : HF_HTTP_READ, hf_slice_of(table));
}

/* ---- Tables --------------------------------------------------------------------------------------------------- */

void store_http_tables(void *arg, hf_http_request *request)
{
    struct store_http *http = arg;
    const struct store_routing *routing = store_service_routing(http->service);
    hf_json_writer writer;
    hf_buffer body;

    begin_document(&writer, &body);
    hf_json_name(&writer, "tables");
    hf_json_begin_list(&writer);
    for (uint32_t i = 0; i < routing->table_count; i++) {
        const struct store_declaration *declaration = &routing->tables[i]->declaration;

        if (declaration->name[0] == '_' || !may_read(http, request, declaration->name))
            continue;
        hf_json_begin_object(&writer);
        hf_json_member_text(&writer, "name", declaration->name);
        store_declaration_write(&writer, declaration);
        hf_json_end_object(&writer);
    }
    hf_json_end_list(&writer);
    answer_document(http, request, 200, &writer, &body);
}

static void answer_table(struct store_http *http, hf_http_request *request, uint32_t status,
                         const struct store_declaration *declaration)
{
    hf_json_writer writer;
    hf_buffer body;

    begin_document(&writer, &body);
    hf_json_member_text(&writer, "name", declaration->name);
    store_declaration_write(&writer, declaration);
    answer_document(http, request, status, &writer, &body);
}

void store_http_table(void *arg, hf_http_request *request)
{
    struct exchange *exchange = store_exchange_begin(arg, request, STORE_HTTP_OTHER, HF_HTTP_READ, 1, store_http_table);

    if (!exchange)
        return;
    answer_table(arg, request, 200, &exchange->table->declaration);
    store_exchange_end(exchange);
}

struct creation {
    struct store_http *http;
    hf_http_request *request;
    struct store_declaration declaration; /* in the request's arena */
};

static void created(void *arg, int32_t code, int32_t existed, const hf_error *error)
{
    struct creation *creation = arg;
    struct store_op op = {.type = STORE_OP_WRITE, .code = code};

    if (code == HF_OK) {
        answer_table(creation->http, creation->request, existed ? 200 : 201, &creation->declaration);
    } else {
        if (error)
            op.error = *error;
        store_problem(creation->http, creation->request, &op);
    }
    free(creation);
}

static void refuse_declaration(struct store_http *http, hf_http_request *request, const hf_error *error)
{
    http->http->problem(request,
                        error->code == HF_EDENIED ? 403
                        : error->code == HF_EBUSY ? 503
                                                  : 400,
                        error->code == HF_EDENIED ? "forbidden"
                        : error->code == HF_EBUSY ? "busy"
                                                  : "bad-request",
                        error, NULL);
}

void store_http_create_table(void *arg, hf_http_request *request)
{
    struct store_http *http = arg;
    hf_slice name = http->http->parameter(request, "table");
    hf_arena *arena = http->http->arena(request);
    struct creation *creation = calloc(1, sizeof *creation);
    hf_value body = hf_value_map(NULL, 0);
    hf_error error = {0};
    hf_slice copy = {NULL, 0};
    int32_t result = HF_OK;

    if (!creation || hf_arena_copy(arena, name, &copy) != HF_OK)
        result = hf_error_set(&error, HF_EBUSY, "no memory for the request");
    else if (name.size && name.data[0] == '_')
        result = hf_error_set(&error, HF_EDENIED, "names that begin with '_' are the store's own");
    if (result == HF_OK && http->http->body(request).size)
        result = hf_json_parse(http->http->body(request), arena, &body, &error);
    if (result == HF_OK)
        result = store_declaration_parse((const char *)copy.data, &body, arena, &creation->declaration, &error);
    if (result != HF_OK) {
        free(creation);
        refuse_declaration(http, request, &error);
        return;
    }
    creation->http = http;
    creation->request = request;
    store_service_create_table(http->service, &creation->declaration, created, creation);
}

/* ---- Partitions ----------------------------------------------------------------------------------------------- */

static const char *role_name(const struct store_replica_info *info)
{
    static const char *const names[] = {"follower", "candidate", "leader", "learner"};

    return info->failed ? "failed" : info->role >= 0 && info->role < 4 ? names[info->role] : "starting";
}

/* Of this node's replica. */
static void write_integrity(hf_json_writer *writer, const struct store_replica_info *info)
{
    char time[STORE_TIME_SIZE];

    hf_json_name(writer, "checked");
    if (info->checked_us)
        store_time_text(info->checked_us, time);
    hf_json_text(writer, info->checked_us ? time : NULL);
    hf_json_member_boolean(writer, "damaged", info->damaged);
}

static void write_replica(hf_json_writer *writer, struct store_http *http, const struct store_replica_info *info,
                          uint32_t node)
{
    const struct store_nodes *nodes = store_service_nodes(http->service);

    hf_json_begin_object(writer);
    hf_json_member_text(writer, "node", nodes->names[node]);
    if (node == nodes->self && info->present) {
        hf_json_member_text(writer, "state", role_name(info));
        hf_json_member_unsigned(writer, "applied", info->applied);
        hf_json_member_unsigned(writer, "bytes", info->bytes);
        write_integrity(writer, info);
    } else {
        hf_json_member_text(writer, "state", info->leader == node + 1 ? "leader" : "follower");
    }
    hf_json_end_object(writer);
}

static void write_partition(hf_json_writer *writer, struct store_http *http, const struct store_partition *partition)
{
    const struct store_nodes *nodes = store_service_nodes(http->service);
    struct store_replica_info info;
    char text[20];

    store_service_replica_info(http->service, partition->id, &info);
    hf_json_begin_object(writer);
    hf_json_member_unsigned(writer, "id", partition->id);
    hf_json_member_text(writer, "value", partition->value);
    snprintf(text, sizeof text, "%016" PRIx64, partition->hash_from);
    hf_json_member_text(writer, "hash_from", text);
    snprintf(text, sizeof text, "%016" PRIx64, partition->hash_to);
    hf_json_member_text(writer, "hash_to", text);
    hf_json_member_text(writer, "leader",
                        info.leader && info.leader <= nodes->count ? nodes->names[info.leader - 1] : NULL);
    hf_json_member_unsigned(writer, "term", info.term);
    hf_json_member_unsigned(writer, "commit", info.commit);
    if (partition->parent)
        hf_json_member_unsigned(writer, "split_from", partition->parent);
    if (partition->is_reshaping) {
        hf_json_member_boolean(writer, "reshaping", 1);
    }
    hf_json_name(writer, "replicas");
    hf_json_begin_list(writer);
    for (uint32_t i = 0; i < partition->member_count; i++)
        write_replica(writer, http, &info, partition->members[i]);
    hf_json_end_list(writer);
    hf_json_end_object(writer);
}

void store_http_partitions(void *arg, hf_http_request *request)
{
    struct store_http *http = arg;
    struct exchange *exchange =
        store_exchange_begin(http, request, STORE_HTTP_OTHER, HF_HTTP_READ, 1, store_http_partitions);
    hf_json_writer writer;
    hf_buffer body;

    if (!exchange)
        return;
    begin_document(&writer, &body);
    hf_json_name(&writer, "partitions");
    hf_json_begin_list(&writer);
    for (uint32_t i = 0; i < exchange->table->partition_count; i++)
        write_partition(&writer, http, &exchange->table->partitions[i]);
    hf_json_end_list(&writer);
    answer_document(http, request, 200, &writer, &body);
    store_exchange_end(exchange);
}

static void transferred(void *arg, int32_t code, const hf_error *error)
{
    struct exchange *exchange = arg;
    struct store_op op = {.type = STORE_OP_WRITE, .code = code};

    if (code == HF_OK) {
        exchange->http->http->respond(exchange->request, 202, NULL, (hf_slice){NULL, 0}, NULL, 0);
        store_exchange_end(exchange);
        return;
    }
    if (error)
        op.error = *error;
    store_refuse_op(exchange, &op);
}

/* A conflict is of the partition's state, not of a condition. */
static void reshape_asked(void *arg, int32_t code, const hf_error *error)
{
    struct exchange *exchange = arg;

    if (code == HF_ECONFLICT)
        store_refuse(exchange, 409, "conflict", code, "%s",
                     error && error->message[0] ? error->message : "the partition is being split or merged");
    else
        transferred(arg, code, error);
}

void store_http_leader(void *arg, hf_http_request *request)
{
    struct store_http *http = arg;
    struct exchange *exchange =
        store_exchange_begin(http, request, STORE_HTTP_OTHER, HF_HTTP_READ, 1, store_http_leader);
    hf_value body = hf_value_null();
    hf_error error = {0};
    uint64_t id = 0;
    uint32_t node;

    if (!exchange)
        return;
    if (store_number_read(http->http->parameter(request, "id"), INT64_MAX, &id) != HF_OK ||
        !store_routing_partition(exchange->routing, id) ||
        store_routing_partition(exchange->routing, id)->table != exchange->table) {
        store_refuse(exchange, 404, "not-found", HF_ENOTFOUND, "the table '%s' has no such partition",
                     exchange->table->declaration.name);
        return;
    }
    if (hf_json_parse(http->http->body(request), http->http->arena(request), &body, &error) != HF_OK) {
        store_refuse(exchange, 400, "bad-request", HF_EINVAL, "%s", error.message);
        return;
    }
    node = store_node_find(store_service_nodes(http->service), hf_value_get_string(&body, "node", (hf_slice){NULL, 0}));
    if (node == UINT32_MAX) {
        store_refuse(exchange, 400, "bad-request", HF_EINVAL,
                     "expected {\"node\":\"NAME\"} with a node of the cluster");
        return;
    }
    store_service_transfer(http->service, id, node, transferred, exchange);
}

static void reshape(struct store_http *http, hf_http_request *request, int32_t merge,
                    void (*again)(void *arg, hf_http_request *request))
{
    struct exchange *exchange = store_exchange_begin(http, request, STORE_HTTP_OTHER, HF_HTTP_READ, 1, again);
    uint64_t id = 0;

    if (!exchange)
        return;
    const struct store_routed *routed = store_number_read(http->http->parameter(request, "id"), INT64_MAX, &id) == HF_OK
                                            ? store_routing_partition(exchange->routing, id)
                                            : NULL;

    if (!routed || routed->table != exchange->table)
        store_refuse(exchange, 404, "not-found", HF_ENOTFOUND, "the table '%s' has no such partition",
                     exchange->table->declaration.name);
    else
        store_service_reshape(http->service, id, merge, reshape_asked, exchange);
}

void store_http_split(void *arg, hf_http_request *request)
{
    reshape(arg, request, 0, store_http_split);
}

void store_http_merge(void *arg, hf_http_request *request)
{
    reshape(arg, request, 1, store_http_merge);
}

/* ---- The cluster ---------------------------------------------------------------------------------------------- */

enum { PROBLEM_SIZE = 400 };

struct census {
    uint32_t leads[STORE_NODES_MAX];
    uint32_t replicas[STORE_NODES_MAX];
    int32_t up[STORE_NODES_MAX];
    char problems[PROBLEMS_MAX][PROBLEM_SIZE];
    uint32_t problem_count;
    uint32_t unmentioned;
};

static void add_problem(struct census *census, const char *format, ...) HF_PRINTF(2, 3);

static void add_problem(struct census *census, const char *format, ...)
{
    va_list arguments;

    if (census->problem_count == PROBLEMS_MAX) {
        census->unmentioned++;
        return;
    }
    va_start(arguments, format);
    vsnprintf(census->problems[census->problem_count++], sizeof census->problems[0], format, arguments);
    va_end(arguments);
}

static void look_at_partition(struct store_http *http, const struct store_nodes *nodes,
                              const struct store_routed *routed, struct census *census)
{
    const struct store_partition *partition = routed->partition;
    const char *table = routed->table->declaration.name;
    struct store_replica_info info;
    uint32_t reachable = 0;

    store_service_replica_info(http->service, partition->id, &info);
    for (uint32_t i = 0; i < partition->member_count; i++) {
        census->replicas[partition->members[i]]++;
        reachable += census->up[partition->members[i]] != 0;
    }
    if (info.leader && info.leader <= nodes->count)
        census->leads[info.leader - 1]++;
    if (reachable * 2 <= partition->member_count && partition->id == STORE_CATALOG_PARTITION)
        add_problem(census,
                    "the catalog has no majority: %u of %u nodes can be reached; no table can be made and no node "
                    "changed, and partitions that have a majority go on; bring nodes back, or when they are lost for "
                    "good, see 'holdfast cluster recover'",
                    reachable, partition->member_count);
    else if (reachable * 2 <= partition->member_count)
        add_problem(census,
                    "partition %" PRIu64
                    " of '%s' (%s) has no majority: %u of %u replicas can be reached; bring nodes back, or when they "
                    "are lost for good, see 'holdfast cluster recover'",
                    partition->id, table, partition->value, reachable, partition->member_count);
    else if (info.present && !info.leader)
        add_problem(census, "partition %" PRIu64 " of '%s' (%s) has no leader at the moment", partition->id, table,
                    partition->value);
    if (info.damaged)
        add_problem(census,
                    "the replica of partition %" PRIu64
                    " of '%s' (%s) on %s is damaged, and fetched anew from the others",
                    partition->id, table, partition->value, nodes->names[nodes->self]);
    if (info.failed)
        add_problem(census, "the replica of partition %" PRIu64 " of '%s' (%s) on %s has stopped; see that node's log",
                    partition->id, table, partition->value, nodes->names[nodes->self]);
}

static void look_at_node(struct store_http *http, const struct store_nodes *nodes,
                         const struct store_node_record *record, uint32_t node, struct census *census)
{
    char problem[PROBLEM_SIZE];

    store_service_stranger(http->service, node, problem, sizeof problem);
    if (problem[0])
        add_problem(census, "%s", problem);
    else if (record->state == STORE_NODE_LOST)
        add_problem(census,
                    "node %s was given up as lost; start it with an empty state directory and 'holdfast node replace "
                    "%s', or 'holdfast node remove %s'",
                    nodes->names[node], nodes->names[node], nodes->names[node]);
    else if (!census->up[node] && record->state != STORE_NODE_REMOVED)
        add_problem(census, "node %s cannot be reached from %s; start it, or look at the network", nodes->names[node],
                    nodes->names[nodes->self]);
}

static void take_census(struct store_http *http, struct census *census)
{
    const struct store_nodes *nodes = store_service_nodes(http->service);
    const struct store_routing *routing = store_service_routing(http->service);
    char problem[PROBLEM_SIZE];

    for (uint32_t i = 0; i < nodes->count; i++) {
        census->up[i] = store_service_node_up(http->service, i);
        look_at_node(http, nodes, &routing->nodes[i], i, census);
    }
    (void)store_service_problem(http->service, problem, sizeof problem);
    if (problem[0])
        add_problem(census, "%s: %s", nodes->names[nodes->self], problem);
    for (uint32_t i = 0; i < routing->partition_count; i++)
        look_at_partition(http, nodes, &routing->partitions[i], census);
}

static void write_census(hf_json_writer *writer, const struct store_http *http, const struct census *census)
{
    const struct store_nodes *nodes = store_service_nodes(http->service);
    const struct store_routing *routing = store_service_routing(http->service);
    char more[80];

    hf_json_name(writer, "nodes");
    hf_json_begin_list(writer);
    for (uint32_t i = 0; i < nodes->count; i++) {
        hf_json_begin_object(writer);
        hf_json_member_text(writer, "name", nodes->names[i]);
        hf_json_member_text(writer, "state", census->up[i] ? "up" : "down");
        hf_json_member_text(writer, "membership", store_node_state_name(routing->nodes[i].state));
        if (nodes->zones[i] && nodes->zones[i][0])
            hf_json_member_text(writer, "zone", nodes->zones[i]);
        hf_json_member_unsigned(writer, "leads", census->leads[i]);
        hf_json_member_unsigned(writer, "replicas", census->replicas[i]);
        hf_json_end_object(writer);
    }
    hf_json_end_list(writer);
    hf_json_name(writer, "problems");
    hf_json_begin_list(writer);
    for (uint32_t i = 0; i < census->problem_count; i++)
        hf_json_text(writer, census->problems[i]);
    if (census->unmentioned) {
        snprintf(more, sizeof more, "and %u more", census->unmentioned);
        hf_json_text(writer, more);
    }
    hf_json_end_list(writer);
}

void store_http_cluster(void *arg, hf_http_request *request)
{
    struct store_http *http = arg;
    const struct store_nodes *nodes = store_service_nodes(http->service);
    struct census *census = calloc(1, sizeof *census);
    hf_json_writer writer;
    hf_buffer body;

    begin_document(&writer, &body);
    if (census) {
        take_census(http, census);
        hf_json_member_text(&writer, "cluster", store_service_cluster(http->service));
        hf_json_member_text(&writer, "node", nodes->names[nodes->self]);
        hf_json_member_text(&writer, "state", census->problem_count ? "degraded" : "ok");
        write_census(&writer, http, census);
    } else {
        writer.result = HF_ENOMEM;
    }
    free(census);
    answer_document(http, request, 200, &writer, &body);
}
