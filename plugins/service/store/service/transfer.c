/* Handing leadership over: the placement names the node first, so that the group keeps to it, and the present leader is
 * told at once when it is here; elsewhere it follows the placement a little later (`replica/members.c`). */
#include "service/call.h"
#include "service/private.h"
#include "table/balance.h"

#include <holdfast/lib/error.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { RECORD_MAX = 16384 };

struct transfer {
    hf_task task;
    struct store_service *service;
    hf_loop *loop;
    uint64_t partition;
    uint32_t node;
    int is_placed; /* the placement names the node first */
    int32_t code;
    hf_error error;
    store_transfer_done done;
    void *arg;
};

static void transfer_answer(hf_task *task)
{
    struct transfer *transfer = (struct transfer *)(void *)task;

    transfer->done(transfer->arg, transfer->code, &transfer->error);
    free(transfer);
}

static void transfer_here(hf_task *task)
{
    struct transfer *transfer = (struct transfer *)(void *)task;
    struct store_shard *shard = store_shard_of(transfer->service, transfer->partition);
    struct store_replica *replica = store_shard_replica(shard, transfer->partition);

    if (replica)
        transfer->code = store_replica_transfer(replica, transfer->node, &transfer->error);
    else
        transfer->code = hf_error_set(&transfer->error, HF_ENOTFOUND, "this node has no replica of partition %" PRIu64,
                                      transfer->partition);
    if (transfer->is_placed && (transfer->code == HF_ENOTFOUND || transfer->code == HF_ENOTLEADER))
        transfer->code = HF_OK; /* whoever leads it will */
    transfer->task.run = transfer_answer;
    transfer->service->loops->post(transfer->loop, &transfer->task);
}

static void placed(void *arg, int32_t code, const hf_error *error)
{
    struct transfer *transfer = arg;
    struct store_service *service = transfer->service;

    transfer->code = code;
    if (code == HF_OK) {
        transfer->task.run = transfer_here;
        service->loops->post(store_shard_of(service, transfer->partition)->loop, &transfer->task);
        return;
    }
    if (error)
        transfer->error = *error;
    transfer->task.run = transfer_answer;
    service->loops->post(transfer->loop, &transfer->task);
}

static void place(struct transfer *transfer, const struct store_partition *routed)
{
    struct store_partition partition = *routed;
    const struct store_move move = {.partition = partition.id, .reason = STORE_MOVE_LEAD, .to = transfer->node};
    struct store_operation operation;
    char key[40];
    hf_buffer value;

    store_move_apply(&move, 0, &partition);
    snprintf(key, sizeof key, "placements/%016" PRIx64, partition.id);
    hf_buffer_init(&value, RECORD_MAX);
    int32_t result = store_placement_write(&value, &partition, &transfer->service->nodes);

    operation = store_edit_put(hf_slice_of(key), (hf_slice){value.data, value.size}, partition.placement_version);
    if (result == HF_OK)
        store_edit(transfer->service, &operation, 1, placed, transfer);
    else
        placed(transfer, hf_error_set(&transfer->error, result, "no memory for the placement"), NULL);
    hf_buffer_done(&value);
}

void store_service_transfer(struct store_service *service, uint64_t partition, uint32_t node, store_transfer_done done,
                            void *arg)
{
    const struct store_routed *routed = store_routing_partition(store_shard_current(service)->routing, partition);
    struct transfer *transfer = calloc(1, sizeof *transfer);
    hf_error error = {0};

    if (!transfer) {
        hf_error_set(&error, HF_EBUSY, "no memory for the request");
        done(arg, HF_EBUSY, &error);
        return;
    }
    *transfer = (struct transfer){.service = service,
                                  .loop = service->loops->current(service->host),
                                  .partition = partition,
                                  .node = node,
                                  .done = done,
                                  .arg = arg};
    /* The catalog's members are no placement, and a replica that is none cannot lead. */
    transfer->is_placed =
        routed && partition != STORE_CATALOG_PARTITION && store_partition_has_node(routed->partition, node);
    if (transfer->is_placed && routed->partition->members[0] != node)
        place(transfer, routed->partition);
    else
        placed(transfer, HF_OK, NULL);
}
