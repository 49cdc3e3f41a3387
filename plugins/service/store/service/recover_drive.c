/* The node that drives a recovery: makes the plan from what all that are left have, and carries it out.  See recover.h.
 *
 * What is done is done again when it fails half-way: each step looks at what is there already, and a new plan that is
 * made then goes on from it. */
#include "service/recover.h"

#include "service/call.h"

#include <holdfast/lib/error.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ASK_TIMEOUT_US = 10000000, ALL_TIMEOUT_US = 60000000, AGAIN_US = 200000, EDITS_MAX = 256, KEY_SIZE = 300 };
enum { ARENA_MAXIMUM = 1 << 30, RECORD_MAX = 16384 };

/* ---- The plan ---------------------------------------------------------------------------------------------------- */

struct planning {
    struct store_service *service;
    uint32_t dead, left;
    hf_arena arena;
    struct store_recover_facts facts[STORE_NODES_MAX];
    struct planning_ask {
        struct planning *planning;
        uint32_t node;
    } asks[STORE_NODES_MAX];
    hf_error error; /* of an answer that could not be understood */
    store_recover_done done;
    void *arg;
};

static void end_planning(struct planning *planning)
{
    struct store_service *service = planning->service;
    const struct store_routing *routing = store_shard_current(service)->routing;
    struct store_recover_plan plan;
    hf_error error = {0};
    hf_buffer text;
    int32_t code =
        store_recover_make(routing, &service->nodes, planning->dead, planning->facts, &planning->arena, &plan, &error);

    hf_buffer_init(&text, STORE_RECOVER_TEXT_MAX);
    if (code == HF_OK)
        code = store_recover_write_plan(&text, &plan, &service->nodes, routing);
    planning->done(planning->arg, code, (hf_slice){text.data, text.size}, &error);
    hf_buffer_done(&text);
    hf_arena_done(&planning->arena);
    free(planning);
}

static void facts_told(void *arg, int32_t code, hf_slice text)
{
    struct planning_ask *ask = arg;
    struct planning *planning = ask->planning;

    if (code == HF_OK)
        code = store_recover_read_facts(text, &planning->arena, &planning->facts[ask->node], &planning->error);
    if (code != HF_OK) {
        planning->facts[ask->node] = (struct store_recover_facts){0};
        store_service_log(planning->service, HF_LOG_WARNING, "recovery: node %s says nothing of itself: %.*s",
                          planning->service->nodes.names[ask->node], (int)(text.size < 300 ? text.size : 300),
                          (const char *)text.data);
    }
    if (--planning->left == 0)
        end_planning(planning);
}

void store_service_recover_plan(struct store_service *service, uint32_t dead, store_recover_done done, void *arg)
{
    static const struct store_recover_request request = {.kind = STORE_RECOVER_FACTS};
    struct planning *planning = calloc(1, sizeof *planning);
    hf_error error = {0};
    uint32_t set = 1u << service->nodes.self;

    if (!planning) {
        hf_error_set(&error, HF_EBUSY, "no memory for the request");
        done(arg, HF_EBUSY, (hf_slice){NULL, 0}, &error);
        return;
    }
    *planning = (struct planning){.service = service, .dead = dead, .done = done, .arg = arg};
    hf_arena_init(&planning->arena, ARENA_MAXIMUM);
    for (uint32_t node = 0; node < service->nodes.count; node++)
        if (!(dead >> node & 1) && store_recover_hears(service, node))
            set |= 1u << node;
    planning->left = (uint32_t)__builtin_popcount(set) + 1; /* and this function */
    for (uint32_t node = 0; node < service->nodes.count; node++) {
        planning->asks[node] = (struct planning_ask){planning, node};
        if (set >> node & 1)
            store_recover_ask(service, node, &request, ASK_TIMEOUT_US, facts_told, &planning->asks[node]);
    }
    if (--planning->left == 0)
        end_planning(planning);
}

/* ---- Carrying it out --------------------------------------------------------------------------------------------- */

enum { BIND = 1, CATALOG, PLACE, FORCE, LOOK };

struct store_drive {
    struct store_call call; /* first; for LOOK */
    struct store_service *service;
    struct store_shard *shard;
    int32_t step;
    uint32_t waiting; /* answers to come */
    uint32_t todo;    /* of FORCE: bit per node */
    int32_t editing;
    uint64_t again_us, deadline_us;
    uint64_t looked_at; /* items that lead */
    int32_t code;
    hf_error error; /* the first one that ends it, or the last one that did not */
    hf_arena arena;
    struct store_recover_plan plan;
    hf_buffer text; /* of the plan */
    char actor[STORE_RECOVER_ACTOR_MAX];
    struct drive_ask {
        struct store_drive *drive;
        uint32_t node;
    } asks[STORE_NODES_MAX];
    store_recover_done done;
    void *arg;
};

static void end_drive(struct store_drive *drive, int32_t code)
{
    struct store_service *service = drive->service;
    const struct store_routing *routing = drive->shard->routing;
    hf_buffer text;

    if (code != HF_OK)
        store_service_log(service, HF_LOG_ERROR, "recovery, plan %016" PRIx64 ": %s", drive->plan.id,
                          drive->error.message);
    hf_buffer_init(&text, STORE_RECOVER_TEXT_MAX);
    if (code == HF_OK)
        code = store_recover_write_plan(&text, &drive->plan, &service->nodes, routing);
    drive->done(drive->arg, code, (hf_slice){text.data, text.size}, &drive->error);
    hf_buffer_done(&text);
    hf_buffer_done(&drive->text);
    hf_arena_done(&drive->arena);
    atomic_store(&service->drive, NULL);
    free(drive);
}

static void go_on(struct store_drive *drive, int32_t step)
{
    drive->step = step;
    drive->again_us = 0;
    drive->code = HF_OK;
}

/* ---- Asking nodes ------------------------------------------------------------------------------------------------ */

static void told(void *arg, int32_t code, hf_slice text)
{
    struct drive_ask *ask = arg;
    struct store_drive *drive = ask->drive;

    drive->waiting--;
    if (code == HF_OK) {
        drive->todo &= ~(1u << ask->node);
        return;
    }
    if (drive->code == HF_OK || drive->code == HF_EBUSY) {
        drive->code = code;
        hf_error_set(&drive->error, code, "node %s: %.*s", drive->service->nodes.names[ask->node],
                     (int)(text.size < 300 ? text.size : 300), (const char *)text.data);
    }
}

static void ask_nodes(struct store_drive *drive, uint32_t set, int32_t kind, uint64_t version)
{
    struct store_recover_request request = {
        .kind = kind, .catalog_version = version, .plan = {drive->text.data, drive->text.size}};

    memcpy(request.actor, drive->actor, sizeof request.actor);
    drive->code = HF_OK;
    drive->todo = set;
    drive->waiting = (uint32_t)__builtin_popcount(set);
    for (uint32_t node = 0; node < drive->service->nodes.count; node++) {
        drive->asks[node] = (struct drive_ask){drive, node};
        if (set >> node & 1)
            store_recover_ask(drive->service, node, &request, ASK_TIMEOUT_US, told, &drive->asks[node]);
    }
}

/* The nodes that have chosen replicas, of the catalog or of the others. */
static uint32_t chosen_nodes(const struct store_recover_plan *plan, int catalog)
{
    uint32_t set = 0;

    for (uint64_t i = 0; i < plan->count; i++)
        if ((plan->items[i].partition == STORE_CATALOG_PARTITION) == catalog)
            set |= 1u << plan->items[i].node;
    return set;
}

/* ---- What the catalog has to say --------------------------------------------------------------------------------- */

struct edits {
    char keys[EDITS_MAX][KEY_SIZE];
    hf_buffer values[EDITS_MAX];
    struct store_operation operations[EDITS_MAX];
    uint32_t count;
    int32_t result;
};

static hf_buffer *begin_edit(struct edits *edits)
{
    hf_buffer_init(&edits->values[edits->count], RECORD_MAX);
    return &edits->values[edits->count];
}

static void end_edit(struct edits *edits, int32_t result, uint64_t version)
{
    uint32_t at = edits->count++;

    edits->result = edits->result == HF_OK ? result : edits->result;
    edits->operations[at] = store_edit_put(hf_slice_of(edits->keys[at]),
                                           (hf_slice){edits->values[at].data, edits->values[at].size}, version);
}

/* The dead are lost.  A catalog that has no records of nodes yet gets them all. */
static void edit_nodes(const struct store_drive *drive, const struct store_routing *routing, struct edits *edits)
{
    const struct store_nodes *nodes = &drive->service->nodes;

    for (uint32_t node = 0; node < nodes->count; node++) {
        struct store_node_record record = routing->nodes[node];
        int dead = drive->plan.dead >> node & 1;
        int part = record.state == STORE_NODE_ACTIVE || record.state == STORE_NODE_DRAINING;

        if (routing->node_records > 0 && (!dead || !part))
            continue;
        if (dead) {
            record.state = STORE_NODE_LOST;
            record.disk = 0;
        }
        snprintf(edits->keys[edits->count], KEY_SIZE, "nodes/%s", nodes->names[node]);
        end_edit(edits, store_node_write(begin_edit(edits), nodes->names[node], &record), record.version);
    }
}

static void edit_placements(const struct store_drive *drive, const struct store_routing *routing, struct edits *edits)
{
    for (uint64_t i = 0; i < drive->plan.count && edits->count < EDITS_MAX; i++) {
        const struct store_recover_item *item = &drive->plan.items[i];
        const struct store_routed *routed = store_routing_partition(routing, item->partition);
        struct store_partition partition;

        if (!routed || item->partition == STORE_CATALOG_PARTITION)
            continue;
        partition = *routed->partition;
        if (!store_recover_place(&drive->plan, item, routing->catalog_version + 1, &partition))
            continue;
        snprintf(edits->keys[edits->count], KEY_SIZE, "placements/%016" PRIx64, partition.id);
        end_edit(edits, store_placement_write(begin_edit(edits), &partition, &drive->service->nodes),
                 partition.placement_version);
    }
}

static void edited(void *arg, int32_t code, const hf_error *error)
{
    struct store_drive *drive = arg;

    drive->editing = 0;
    if (code != HF_OK && error)
        drive->error = *error; /* tried again with what is there by then, until the deadline */
}

/* Writes what is missing.  1: this node's routing has it all. */
static int place(struct store_drive *drive)
{
    const struct store_routing *routing = drive->shard->routing;
    struct edits *edits = calloc(1, sizeof *edits);
    int done = 0;

    if (!edits)
        return 0;
    edit_nodes(drive, routing, edits);
    if (edits->count == 0) /* the routing is not older than that edit, so it knows all partitions */
        edit_placements(drive, routing, edits);
    done = edits->count == 0;
    if (!done && edits->result == HF_OK) {
        drive->editing = 1;
        store_edit(drive->service, edits->operations, edits->count, edited, drive);
    }
    for (uint32_t i = 0; i < edits->count; i++)
        hf_buffer_done(&edits->values[i]);
    free(edits);
    return done;
}

/* ---- Whether it works -------------------------------------------------------------------------------------------- */

static void look(struct store_drive *drive, uint64_t now_us);

/* A partition that the catalog does not know, such as one of a split that had not ended, is asked by nobody. */
static void skip_unknown(struct store_drive *drive)
{
    while (drive->looked_at < drive->plan.count &&
           !store_routing_partition(drive->shard->routing, drive->plan.items[drive->looked_at].partition))
        drive->looked_at++;
}

static void members_told(struct store_call *call)
{
    struct store_drive *drive = (struct store_drive *)(void *)call;
    int32_t code = call->op.code;

    drive->waiting = 0;
    hf_buffer_done(&call->op.result);
    if (code != HF_OK)
        hf_error_set(&drive->error, code, "partition %" PRIu64 " has no leader yet: %s", call->op.partition,
                     call->op.error.message);
    drive->looked_at += code == HF_OK;
    skip_unknown(drive);
    if (code == HF_OK && drive->looked_at < drive->plan.count)
        look(drive, drive->service->loops->now_us(drive->shard->loop));
}

static void look(struct store_drive *drive, uint64_t now_us)
{
    drive->waiting = 1;
    drive->call = (struct store_call){.op = {.type = STORE_OP_MEMBERS,
                                             .partition = drive->plan.items[drive->looked_at].partition,
                                             .deadline_us = now_us + ASK_TIMEOUT_US},
                                      .finished = members_told};
    store_call_start(drive->service, &drive->call);
}

/* ---- Step by step ------------------------------------------------------------------------------------------------ */

/* All answers to what was asked have come. */
static void answered(struct store_drive *drive)
{
    static const int32_t next[] = {[BIND] = CATALOG, [CATALOG] = PLACE, [FORCE] = LOOK};

    if (drive->code == HF_OK)
        go_on(drive, next[drive->step]);
    else if (drive->code != HF_EBUSY)
        end_drive(drive, drive->code);
}

static void begin_step(struct store_drive *drive, uint64_t now_us)
{
    uint32_t set;

    switch (drive->step) {
    case BIND:
        ask_nodes(drive, drive->plan.survivors, STORE_RECOVER_PROMISE, 0);
        break;
    case CATALOG:
        set = chosen_nodes(&drive->plan, 1);
        if (set)
            ask_nodes(drive, set, STORE_RECOVER_CATALOG, 0);
        else
            go_on(drive, PLACE);
        break;
    case PLACE:
        if (place(drive))
            go_on(drive, FORCE);
        break;
    case FORCE:
        set = drive->todo ? drive->todo : chosen_nodes(&drive->plan, 0);
        if (set)
            ask_nodes(drive, set, STORE_RECOVER_PARTITIONS, drive->shard->routing->catalog_version);
        else
            go_on(drive, LOOK);
        break;
    default:
        skip_unknown(drive);
        if (drive->looked_at == drive->plan.count)
            end_drive(drive, HF_OK);
        else
            look(drive, now_us);
    }
}

void store_recover_tick(struct store_shard *shard, uint64_t now_us)
{
    struct store_drive *drive = atomic_load(&shard->service->drive);

    if (!drive || drive->shard != shard || drive->waiting || drive->editing)
        return;
    store_shard_hurry(shard);
    if (now_us >= drive->deadline_us || shard->service->draining) {
        if (!drive->error.message[0])
            hf_error_set(&drive->error, HF_ETIMEOUT, "the recovery took too long; see the logs, and make another plan");
        end_drive(drive, HF_ETIMEOUT);
    } else if (drive->again_us && (drive->step == BIND || drive->step == CATALOG || drive->step == FORCE) &&
               drive->code != HF_EBUSY) {
        answered(drive);
    } else if (now_us >= drive->again_us) {
        drive->again_us = now_us + AGAIN_US;
        begin_step(drive, now_us);
    }
}

static int32_t read_plan(struct store_drive *drive, hf_slice text)
{
    hf_value document = hf_value_null();
    int32_t code = hf_json_parse(text, &drive->arena, &document, &drive->error);

    if (code == HF_OK)
        code = store_recover_read_plan(&document, &drive->service->nodes, &drive->arena, &drive->plan, &drive->error);
    if (code == HF_OK && !(drive->plan.survivors >> drive->service->nodes.self & 1))
        code = hf_error_set(&drive->error, HF_EINVAL, "this node has no part in the plan; ask one that has");
    return code == HF_OK ? hf_buffer_append(&drive->text, text.data, text.size) : code;
}

void store_service_recover(struct store_service *service, hf_slice plan, const char *actor, store_recover_done done,
                           void *arg)
{
    struct store_shard *shard = store_shard_current(service);
    struct store_drive *drive = calloc(1, sizeof *drive), *none = NULL;
    hf_error error = {0};

    if (!drive) {
        hf_error_set(&error, HF_EBUSY, "no memory for the request");
        done(arg, HF_EBUSY, (hf_slice){NULL, 0}, &error);
        return;
    }
    *drive = (struct store_drive){.service = service, .shard = shard, .step = BIND, .done = done, .arg = arg};
    hf_arena_init(&drive->arena, ARENA_MAXIMUM);
    hf_buffer_init(&drive->text, STORE_RECOVER_TEXT_MAX);
    snprintf(drive->actor, sizeof drive->actor, "%s at node %s", actor, service->nodes.names[service->nodes.self]);
    drive->deadline_us = service->loops->now_us(shard->loop) + ALL_TIMEOUT_US;
    int32_t code = read_plan(drive, plan);

    if (code == HF_OK && !atomic_compare_exchange_strong(&service->drive, &none, drive))
        code = hf_error_set(&drive->error, HF_EBUSY, "a recovery is under way at this node already");
    if (code == HF_OK) {
        store_shard_hurry(shard);
        return;
    }
    done(arg, code, (hf_slice){NULL, 0}, &drive->error);
    hf_buffer_done(&drive->text);
    hf_arena_done(&drive->arena);
    free(drive);
}
