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

enum { ASK_TIMEOUT_US = 2000000, MOVES_MAX = 64, RECORD_MAX = 16384, KEY_SIZE = 32 };
/* Between two looks: at moves under way, and at whether there is any; both are over at once after a change. */
enum { LOOK_US = 200000, IDLE_US = 1000000 };

/* A partition that moves, whose members are asked for. */
struct ask {
    struct store_call call;
    struct store_placer *placer;
    int32_t arrived;
};

struct store_placer {
    struct store_service *service;
    int32_t busy;
    int32_t hurried;          /* 1: the change is about replicas; leadership may wait for the next look */
    uint64_t due_us;          /* when to look again */
    uint64_t changed_version; /* of the catalog that a change was made to: what it became is not known here before */
    struct ask asks[MOVES_MAX];
    uint32_t moving_count, pending;
};

/* ---- Writing records --------------------------------------------------------------------------------------------- */

static void edited(void *arg, int32_t code, const hf_error *error)
{
    struct store_placer *placer = arg;

    if (code == HF_OK) {
        if (placer->hurried)
            placer->due_us = 0;
    } else {
        placer->changed_version = 0;
        if (code != HF_ECONFLICT) /* a conflict: the next look is at the newer records */
            store_service_log(placer->service, HF_LOG_WARNING, "the placement could not be changed: %s",
                              error ? error->message : "");
    }
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

static void free_texts(struct texts *texts)
{
    for (uint32_t i = 0; i < MOVES_MAX; i++)
        hf_buffer_done(&texts->values[i]);
    free(texts);
}

static void end_texts(struct store_placer *placer, struct texts *texts)
{
    if (texts->count == 0) {
        free_texts(texts);
        return;
    }
    placer->busy = 1;
    placer->changed_version = placer->service->shards[0].routing->catalog_version;
    store_edit(placer->service, texts->operations, texts->count, edited, placer);
    free_texts(texts);
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

static void all_told(struct store_placer *placer);

/* All that should be are members that vote, and nobody else is. */
static int has_arrived(const struct store_partition *partition, hf_slice members)
{
    for (uint32_t i = 0; i < partition->member_count; i++)
        if (!store_members_have(members, partition->replicas[i]))
            return 0;
    for (uint64_t at = 8; at < members.size; at += 9)
        if (members.data[at])
            return 0;
    return members.size == partition->member_count * UINT64_C(9);
}

/* The old replica is not counted on any more. */
static void end_move(struct store_placer *placer, const struct store_routing *routing, uint64_t id, struct texts *texts)
{
    const struct store_routed *routed = store_routing_partition(routing, id);

    if (!routed || routed->partition->leaving_count == 0)
        return;
    struct store_partition partition = *routed->partition;

    partition.leaving_count = 0;
    add_placement(placer, texts, &partition);
    placer->hurried = 1;
}

static void members_told(struct store_call *call)
{
    struct ask *ask = (struct ask *)(void *)call;
    struct store_placer *placer = ask->placer;
    const struct store_routed *routed = store_routing_partition(placer->service->shards[0].routing, call->op.partition);
    hf_slice members = {call->op.result.data, call->op.result.size};

    ask->arrived = !routed || (call->op.code == HF_OK && has_arrived(routed->partition, members));
    hf_buffer_done(&call->op.result);
    if (--placer->pending == 0)
        all_told(placer);
}

static void ask_members(struct store_placer *placer)
{
    struct store_service *service = placer->service;
    uint64_t deadline_us = service->loops->now_us(service->shards[0].loop) + ASK_TIMEOUT_US;

    placer->pending = placer->moving_count;
    for (uint32_t i = 0; i < placer->moving_count; i++) {
        placer->asks[i].call.op.deadline_us = deadline_us;
        store_call_start(service, &placer->asks[i].call);
    }
}

static void add_ask(struct store_placer *placer, uint64_t partition)
{
    placer->asks[placer->moving_count++] = (struct ask){
        .call = {.op = {.type = STORE_OP_MEMBERS, .partition = partition}, .finished = members_told}, .placer = placer};
}

static void list_moving(struct store_placer *placer, const struct store_routing *routing)
{
    placer->moving_count = 0;
    for (uint32_t i = 0; i < routing->partition_count && placer->moving_count < MOVES_MAX; i++)
        if (routing->partitions[i].partition->leaving_count > 0)
            add_ask(placer, routing->partitions[i].partition->id);
}

/* ---- New moves --------------------------------------------------------------------------------------------------- */

static void begin_move(struct store_placer *placer, const struct store_routing *routing, const struct store_move *move,
                       struct texts *texts)
{
    struct store_service *service = placer->service;
    struct store_partition partition = *store_routing_partition(routing, move->partition)->partition;

    store_move_apply(move, routing->catalog_version + 1, &partition);
    add_placement(placer, texts, &partition);
    placer->hurried |= move->reason != STORE_MOVE_LEAD;
    store_service_log(service, HF_LOG_INFO, "partition %" PRIu64 ": %s %s (%s)", partition.id,
                      move->reason == STORE_MOVE_LEAD ? "should be led by" : "a replica moves to",
                      service->nodes.names[move->to], store_move_reason(move->reason));
}

static int has_just_arrived(const struct store_placer *placer, uint64_t partition)
{
    for (uint32_t i = 0; i < placer->moving_count; i++)
        if (placer->asks[i].call.op.partition == partition)
            return placer->asks[i].arrived;
    return 0;
}

static void plan(struct store_placer *placer, const struct store_routing *routing, uint32_t room, struct texts *texts)
{
    struct store_move moves[MOVES_MAX];
    int32_t count = store_plan_moves(routing, &placer->service->nodes, NULL, moves, room);

    for (int32_t i = 0; i < count; i++)
        if (!has_just_arrived(placer, moves[i].partition)) /* its record is in the change already */
            begin_move(placer, routing, &moves[i], texts);
}

/* ---- A look ------------------------------------------------------------------------------------------------------ */

static int may_look(struct store_placer *placer)
{
    struct store_replica *catalog = store_catalog_replica(placer->service);

    return catalog && !placer->service->draining &&
           atomic_load(&store_replica_published(catalog)->role) == HF_ROLE_LEADER;
}

/* What has arrived and what begins instead is one change of the catalog, so that as many partitions move all the time
 * as may. */
static void all_told(struct store_placer *placer)
{
    const struct store_routing *routing = placer->service->shards[0].routing;
    uint32_t most = (uint32_t)placer->service->options->moves_maximum, moving = placer->moving_count;
    struct texts *texts = may_look(placer) ? begin_texts() : NULL;

    placer->busy = placer->hurried = 0;
    if (!texts)
        return;
    for (uint32_t i = 0; i < placer->moving_count; i++)
        if (placer->asks[i].arrived) {
            end_move(placer, routing, placer->asks[i].call.op.partition, texts);
            moving--;
        }
    if (moving < most)
        plan(placer, routing, most - moving < MOVES_MAX - texts->count ? most - moving : MOVES_MAX - texts->count,
             texts);
    end_texts(placer, texts);
}

void store_placer_tick(struct store_shard *shard, uint64_t now_us)
{
    struct store_service *service = shard->service;
    struct store_placer *placer = service->placer;

    if (!placer)
        placer = service->placer = calloc(1, sizeof *placer);
    if (!placer || placer->busy || now_us < placer->due_us)
        return;
    placer->service = service;
    placer->due_us = now_us + IDLE_US;
    if (!may_look(placer))
        return;
    if (shard->routing->node_records == 0) {
        write_nodes(placer);
        return;
    }
    if (shard->routing->catalog_version == placer->changed_version) { /* soon */
        placer->due_us = now_us;
        return;
    }
    list_moving(placer, shard->routing);
    placer->busy = 1;
    if (placer->moving_count > 0) {
        placer->due_us = now_us + LOOK_US;
        ask_members(placer);
    } else {
        all_told(placer);
    }
}

void store_placer_free(struct store_service *service)
{
    free(service->placer);
}
