/* Nodes: adding, draining, removing and replacing them, and what would move because of it. */
#include "http/private.h"

#include "table/balance.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>

enum { MOVES_SHOWN = 1000, DOCUMENT_MAXIMUM = 4 << 20 };

struct node_change {
    struct store_http *http;
    hf_http_request *request;
};

static void changed(void *arg, int32_t code, const hf_error *error)
{
    struct node_change *change = arg;
    struct store_http *http = change->http;
    struct store_op op = {.type = STORE_OP_WRITE, .code = code};

    if (code == HF_OK) {
        http->http->respond(change->request, 202, NULL, (hf_slice){NULL, 0}, NULL, 0);
    } else if (code == HF_ECONFLICT) {
        hf_error conflict = {.code = HF_ECONFLICT};

        if (error)
            conflict = *error;
        http->http->problem(change->request, 409, "conflict", &conflict, NULL);
    } else {
        if (error)
            op.error = *error;
        store_problem(http, change->request, &op);
    }
    free(change);
}

void store_http_node(void *arg, hf_http_request *request)
{
    struct store_http *http = arg;
    hf_slice name = http->http->parameter(request, "node");
    uint32_t node = store_node_find(store_service_nodes(http->service), name);
    int32_t action = store_node_action(http->http->parameter(request, "action"));
    struct node_change *change;
    hf_error error = {0};

    if (node == UINT32_MAX || action < 0) {
        if (node == UINT32_MAX)
            hf_error_set(&error, HF_ENOTFOUND, "there is no node '%.*s'; it has to be in the configuration's members",
                         (int)(name.size < 64 ? name.size : 64), (const char *)name.data);
        else
            hf_error_set(&error, HF_ENOTFOUND, "expected add, drain, remove or replace");
        http->http->problem(request, 404, "not-found", &error, NULL);
        return;
    }
    change = malloc(sizeof *change);
    if (!change) {
        hf_error_set(&error, HF_EBUSY, "no memory for the request");
        http->http->problem(request, 503, "busy", &error, NULL);
        return;
    }
    *change = (struct node_change){http, request};
    store_service_node_change(http->service, node, action, changed, change);
}

/* ---- The plan ---------------------------------------------------------------------------------------------------- */

static void write_move(hf_json_writer *writer, const struct store_routing *routing, const struct store_nodes *nodes,
                       const struct store_move *move)
{
    const struct store_routed *routed = store_routing_partition(routing, move->partition);

    hf_json_begin_object(writer);
    hf_json_member_text(writer, "table", routed->table->declaration.name);
    hf_json_member_unsigned(writer, "partition", move->partition);
    hf_json_member_text(writer, "reason", store_move_reason(move->reason));
    hf_json_member_text(writer, "from", move->from ? nodes->names[store_replica_node(move->from)] : NULL);
    hf_json_member_text(writer, "to", nodes->names[move->to]);
    hf_json_end_object(writer);
}

/* Partitions that are on their way, with the replicas that are still to go; none where a member is only added. */
static void write_moving(hf_json_writer *writer, const struct store_routing *routing, const struct store_nodes *nodes)
{
    hf_json_name(writer, "moving");
    hf_json_begin_list(writer);
    for (uint32_t i = 0; i < routing->partition_count; i++) {
        const struct store_partition *partition = routing->partitions[i].partition;

        for (uint32_t k = 0; k < partition->leaving_count; k++) {
            hf_json_begin_object(writer);
            hf_json_member_text(writer, "table", routing->partitions[i].table->declaration.name);
            hf_json_member_unsigned(writer, "partition", partition->id);
            hf_json_member_text(writer, "from",
                                store_partition_has_replica(partition, partition->leaving[k])
                                    ? NULL
                                    : nodes->names[store_replica_node(partition->leaving[k])]);
            hf_json_end_object(writer);
        }
    }
    hf_json_end_list(writer);
}

static int32_t write_plan(hf_buffer *body, const struct store_routing *routing, const struct store_nodes *nodes,
                          const char *table)
{
    struct store_move *moves = malloc(MOVES_SHOWN * sizeof *moves);
    int32_t count = moves ? store_plan_moves(routing, nodes, table, moves, MOVES_SHOWN) : HF_ENOMEM;
    hf_json_writer writer;

    hf_json_writer_init(&writer, body);
    hf_json_begin_object(&writer);
    hf_json_name(&writer, "moves");
    hf_json_begin_list(&writer);
    for (int32_t i = 0; i < count; i++)
        write_move(&writer, routing, nodes, &moves[i]);
    hf_json_end_list(&writer);
    write_moving(&writer, routing, nodes);
    hf_json_end_object(&writer);
    free(moves);
    return count < 0 ? count : writer.result;
}

/* As if the node that the query names were in that state already.  0: there is no such node. */
static int32_t suppose(struct store_http *http, const hf_http_request *request, const char *what, int32_t state,
                       struct store_routing *supposed)
{
    hf_slice name = http->http->query(request, what);
    uint32_t node = store_node_find(store_service_nodes(http->service), name);

    if (name.size && node != UINT32_MAX)
        supposed->nodes[node].state = state;
    return !name.size || node != UINT32_MAX;
}

void store_http_plan(void *arg, hf_http_request *request)
{
    struct store_http *http = arg;
    struct store_routing supposed = *store_service_routing(http->service); /* only looked at */
    const struct store_routing *routing = &supposed;
    hf_slice name = http->http->query(request, "table");
    const struct store_table *table = name.size ? store_routing_table(routing, name) : NULL;
    hf_error error = {0};
    hf_buffer body;

    if (!suppose(http, request, "drain", STORE_NODE_DRAINING, &supposed) ||
        !suppose(http, request, "add", STORE_NODE_ACTIVE, &supposed)) {
        hf_error_set(&error, HF_ENOTFOUND, "there is no such node; it has to be in the configuration's members");
        http->http->problem(request, 404, "not-found", &error, NULL);
        return;
    }
    if (name.size && !table) {
        hf_error_set(&error, HF_ENOTFOUND, "there is no table '%.*s'", (int)(name.size < 64 ? name.size : 64),
                     (const char *)name.data);
        http->http->problem(request, 404, "not-found", &error, NULL);
        return;
    }
    hf_buffer_init(&body, DOCUMENT_MAXIMUM);
    if (write_plan(&body, routing, store_service_nodes(http->service), table ? table->declaration.name : NULL) ==
        HF_OK) {
        http->http->respond(request, 200, "application/json", (hf_slice){body.data, body.size}, NULL, 0);
    } else {
        hf_error_set(&error, HF_EBUSY, "no memory for the answer");
        http->http->problem(request, 503, "busy", &error, NULL);
    }
    hf_buffer_done(&body);
}
