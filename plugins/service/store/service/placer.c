/* The catalog's leader decides where partitions are, a few moves at a time.  It writes where replicas should be; the
 * groups' leaders bring that about, and the leader of the catalog asks them when they are there. */
#include "service/private.h"

#include "service/call.h"
#include "table/balance.h"

#include <holdfast/lib/error.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ASK_TIMEOUT_US = 5000000, MOVES_MAX = 64, RECORD_MAX = 16384, KEY_SIZE = 32 };

struct store_placer {
    struct store_call call;
    struct store_service *service;
    int32_t busy;
    uint64_t moving[MOVES_MAX]; /* partitions whose members are to be asked for */
    uint32_t moving_count, asked;
    uint64_t added[MOVES_MAX]; /* of those the ones that only get a member more */
    uint32_t added_count;
};

static void ask_next(struct store_placer *placer);

/* ---- Writing records --------------------------------------------------------------------------------------------- */

static void edited(void *arg, int32_t code, const hf_error *error)
{
    struct store_placer *placer = arg;

    if (code != HF_OK && code != HF_ECONFLICT) /* a conflict: the next look is at the newer records */
        store_service_log(placer->service, HF_LOG_WARNING, "the placement could not be changed: %s",
                          error ? error->message : "");
    placer->busy = 0;
}

struct texts {
    char keys[MOVES_MAX][KEY_SIZE + STORE_TABLE_TEXT_MAX];
    hf_buffer values[MOVES_MAX];
    struct store_operation operations[MOVES_MAX];
    uint32_t count;
};

static struct texts *begin_texts(void)
{
    struct texts *texts = calloc(1, sizeof *texts);

    for (uint32_t i = 0; texts && i < MOVES_MAX; i++)
        hf_buffer_init(&texts->values[i], RECORD_MAX);
    return texts;
}

static void end_texts(struct store_placer *placer, struct texts *texts)
{
    placer->busy = 1;
    store_edit(placer->service, texts->operations, texts->count, edited, placer);
    for (uint32_t i = 0; i < MOVES_MAX; i++)
        hf_buffer_done(&texts->values[i]);
    free(texts);
}

static void add_text(struct texts *texts, uint64_t version)
{
    uint32_t at = texts->count++;

    texts->operations[at] = store_edit_put(hf_slice_of(texts->keys[at]),
                                           (hf_slice){texts->values[at].data, texts->values[at].size}, version);
}

static void add_placement(struct store_placer *placer, struct texts *texts, const struct store_partition *partition)
{
    uint32_t at = texts->count;

    snprintf(texts->keys[at], sizeof texts->keys[at], "placements/%016" PRIx64, partition->id);
    if (store_placement_write(&texts->values[at], partition, &placer->service->nodes) == HF_OK)
        add_text(texts, partition->placement_version);
}

/* ---- A new cluster ----------------------------------------------------------------------------------------------- */

static void write_nodes(struct store_placer *placer)
{
    const struct store_nodes *nodes = &placer->service->nodes;
    const struct store_node_record record = {.state = STORE_NODE_ACTIVE};
    struct texts *texts = begin_texts();

    for (uint32_t i = 0; texts && i < nodes->count; i++) {
        snprintf(texts->keys[i], sizeof texts->keys[i], "nodes/%s", nodes->names[i]);
        if (store_node_write(&texts->values[i], nodes->names[i], &record) == HF_OK)
            add_text(texts, 0);
    }
    if (texts)
        end_texts(placer, texts);
}

/* ---- Moves that have arrived ------------------------------------------------------------------------------------- */

static int has_arrived(const struct store_partition *partition, hf_slice members)
{
    for (uint32_t i = 0; i < partition->member_count; i++)
        if (!store_members_have(members, partition->replicas[i]))
            return 0;
    return members.size == partition->member_count * UINT64_C(9);
}

static void forget_added(struct store_placer *placer, uint64_t partition)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < placer->added_count; i++)
        if (placer->added[i] != partition)
            placer->added[kept++] = placer->added[i];
    placer->added_count = kept;
}

static void members_told(struct store_call *call)
{
    struct store_placer *placer = (struct store_placer *)(void *)call;
    const struct store_routing *routing = placer->service->shards[0].routing;
    const struct store_routed *routed = store_routing_partition(routing, call->op.partition);
    hf_slice members = {call->op.result.data, call->op.result.size};
    int arrived = routed && call->op.code == HF_OK && has_arrived(routed->partition, members);
    struct texts *texts = NULL;

    hf_buffer_done(&call->op.result);
    if (arrived)
        forget_added(placer, call->op.partition);
    if (arrived && routed->partition->leaving_count > 0)
        texts = begin_texts();
    if (texts) {
        struct store_partition partition = *routed->partition;

        partition.leaving_count = 0;
        add_placement(placer, texts, &partition);
        end_texts(placer, texts);
        return;
    }
    ask_next(placer);
}

static void ask_next(struct store_placer *placer)
{
    struct store_service *service = placer->service;

    if (placer->asked == placer->moving_count || service->draining) {
        placer->busy = 0;
        return;
    }
    placer->call =
        (struct store_call){.op = {.type = STORE_OP_MEMBERS,
                                   .partition = placer->moving[placer->asked++],
                                   .deadline_us = service->loops->now_us(service->shards[0].loop) + ASK_TIMEOUT_US},
                            .finished = members_told};
    store_call_start(service, &placer->call);
}

static void list_moving(struct store_placer *placer, const struct store_routing *routing)
{
    placer->moving_count = placer->asked = 0;
    for (uint32_t i = 0; i < placer->added_count; i++)
        placer->moving[placer->moving_count++] = placer->added[i];
    for (uint32_t i = 0; i < routing->partition_count && placer->moving_count < MOVES_MAX; i++)
        if (routing->partitions[i].partition->leaving_count > 0)
            placer->moving[placer->moving_count++] = routing->partitions[i].partition->id;
}

/* ---- New moves --------------------------------------------------------------------------------------------------- */

static void begin_move(struct store_placer *placer, const struct store_routing *routing, const struct store_move *move,
                       struct texts *texts)
{
    struct store_service *service = placer->service;
    struct store_partition partition = *store_routing_partition(routing, move->partition)->partition;

    store_move_apply(move, routing->catalog_version + 1, &partition);
    add_placement(placer, texts, &partition);
    if (move->reason == STORE_MOVE_ADD)
        placer->added[placer->added_count++] = partition.id;
    store_service_log(service, HF_LOG_INFO, "partition %" PRIu64 ": %s %s (%s)", partition.id,
                      move->reason == STORE_MOVE_LEAD ? "should be led by" : "a replica moves to",
                      service->nodes.names[move->to], store_move_reason(move->reason));
}

static void plan(struct store_placer *placer, const struct store_routing *routing, uint32_t room)
{
    struct store_move moves[MOVES_MAX];
    int32_t count = store_plan_moves(routing, &placer->service->nodes, NULL, moves, room);
    struct texts *texts = count > 0 ? begin_texts() : NULL;

    for (int32_t i = 0; texts && i < count; i++)
        begin_move(placer, routing, &moves[i], texts);
    if (texts)
        end_texts(placer, texts);
}

void store_placer_tick(struct store_shard *shard, uint64_t now_us)
{
    struct store_service *service = shard->service;
    struct store_replica *catalog = store_catalog_replica(service);
    struct store_placer *placer = service->placer;
    uint32_t most = (uint32_t)service->options->moves_maximum;

    (void)now_us;
    if (!placer)
        placer = service->placer = calloc(1, sizeof *placer);
    if (!placer || !catalog || placer->busy || service->draining ||
        atomic_load(&store_replica_published(catalog)->role) != HF_ROLE_LEADER)
        return;
    placer->service = service;
    if (shard->routing->node_records == 0) {
        write_nodes(placer);
        return;
    }
    list_moving(placer, shard->routing);
    if (placer->moving_count < most)
        plan(placer, shard->routing, most - placer->moving_count);
    if (!placer->busy && placer->moving_count > 0) {
        placer->busy = 1;
        ask_next(placer);
    }
}

void store_placer_free(struct store_service *service)
{
    free(service->placer);
}
