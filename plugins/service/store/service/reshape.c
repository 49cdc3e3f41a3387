/* Splits and merges as the cluster carries them out.  A record of the catalog says that one is to be; the leader of the
 * catalog takes it from step to step, each of which may be repeated, so that another leader goes on from any of them:
 *
 *   split  all replicas are where they should be → SPLIT_BEGIN → a majority has copied → SPLIT_END → the catalog has
 *          both partitions
 *   merge  the upper one's replicas are moved to the lower one's nodes → CLOSE of the upper one → ABSORB by the lower
 *          one → the catalog has one partition, and remembers the other for its change feed
 *
 * See machine/reshape.h for what the steps do. */
#include "service/private.h"

#include "service/call.h"

#include <holdfast/lib/checksum.h>
#include <holdfast/lib/error.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DRIVES_MAX = 8, /* at a time */
    RECORD_MAX = 8 << 20,
    PLACEMENT_MAX = 16384,
    KEY_SIZE = 32,
    TIMEOUT_US = 5000000,
    SOON_US = 20000,
    PAUSE_US = 100000,
    LONG_PAUSE_US = 1000000,
    PATIENCE_US = 10000000 /* with members that have not copied yet, when a majority has */
};

enum { SETTLE, SETTLE_OTHER, BEGIN, COPY, END, CLOSE, LOOK_AT_CLOSED, ABSORB, LOOK, RECORD };

/* The care for one split or merge. */
struct drive {
    struct store_call call; /* first */
    struct store_driver *driver;
    struct store_reshaping reshaping;
    int32_t is_busy;
    int32_t step;
    uint64_t next_us;
    uint64_t majority_us; /* since when a majority has copied; 0: it has not */
    uint32_t asked, copied;
    struct store_shape_row shape;
    uint8_t command[STORE_RESHAPE_SIZE];
};

struct store_driver {
    struct store_service *service;
    uint32_t count;
    struct drive *drives[DRIVES_MAX];
    int32_t is_dropping; /* a partition that is to be forgotten is looked at, or written */
    uint64_t drop_us;
    uint32_t drop_member;
    uint64_t drop_partition;
    struct store_call drop_call;
};

static uint64_t now_us(const struct store_driver *driver)
{
    return driver->service->loops->now_us(driver->service->shards[0].loop);
}

static const struct store_routing *routing_of(const struct store_driver *driver)
{
    return driver->service->shards[0].routing;
}

static void wait(struct drive *drive, int32_t step, uint64_t pause_us)
{
    drive->is_busy = 0;
    drive->step = step;
    drive->next_us = now_us(drive->driver) + pause_us;
}

/* ---- Asking ------------------------------------------------------------------------------------------------------ */

static void ask(struct drive *drive, int32_t type, uint64_t partition, uint32_t only,
                void (*finished)(struct store_call *call))
{
    drive->is_busy = 1;
    drive->call = (struct store_call){.op = {.type = type,
                                             .stale = only != 0,
                                             .partition = partition,
                                             .deadline_us = now_us(drive->driver) + TIMEOUT_US},
                                      .only = only,
                                      .finished = finished};
    store_call_start(drive->driver->service, &drive->call);
}

static void send(struct drive *drive, uint64_t partition, const struct store_reshape *reshape,
                 void (*finished)(struct store_call *call))
{
    store_reshape_encode(drive->command, reshape);
    drive->is_busy = 1;
    drive->call = (struct store_call){.op = {.type = STORE_OP_WRITE,
                                             .partition = partition,
                                             .deadline_us = now_us(drive->driver) + TIMEOUT_US,
                                             .command = {drive->command, sizeof drive->command}},
                                      .repeatable = 1,
                                      .finished = finished};
    store_call_start(drive->driver->service, &drive->call);
}

/* What came back; 0: nothing that can be read. */
static int32_t take_shape(struct store_call *call, struct store_shape_row *ret_shape)
{
    int32_t good = call->op.code == HF_OK &&
                   store_result_shape((hf_slice){call->op.result.data, call->op.result.size}, ret_shape) == HF_OK;

    hf_buffer_done(&call->op.result);
    return good;
}

/* ---- The catalog's records --------------------------------------------------------------------------------------- */

enum { EDITS_MAX = 6 };

struct edits {
    struct store_operation operations[EDITS_MAX];
    char keys[EDITS_MAX][KEY_SIZE + STORE_TABLE_NAME_MAX];
    hf_buffer values[EDITS_MAX];
    uint64_t count;
};

static void begin_edits(struct edits *edits)
{
    memset(edits, 0, sizeof *edits);
    for (int i = 0; i < EDITS_MAX; i++)
        hf_buffer_init(&edits->values[i], RECORD_MAX);
}

static void end_edits(struct edits *edits)
{
    for (int i = 0; i < EDITS_MAX; i++)
        hf_buffer_done(&edits->values[i]);
}

static void add_put(struct edits *edits, uint64_t version)
{
    uint64_t at = edits->count++;

    edits->operations[at] = store_edit_put(hf_slice_of(edits->keys[at]),
                                           (hf_slice){edits->values[at].data, edits->values[at].size}, version);
}

static void add_reshaping_key(struct edits *edits, uint64_t partition)
{
    snprintf(edits->keys[edits->count], sizeof edits->keys[0], "reshapes/%016" PRIx64, partition);
}

static void add_removal(struct edits *edits, const struct store_reshaping *reshaping)
{
    add_reshaping_key(edits, reshaping->partition);
    edits->operations[edits->count] = (struct store_operation){.type = STORE_DELETE,
                                                               .condition = STORE_IF_VERSION,
                                                               .version = reshaping->version,
                                                               .key = hf_slice_of(edits->keys[edits->count])};
    edits->count++;
}

static int32_t add_table(struct edits *edits, const struct store_service *service, const struct store_table *table,
                         hf_error *error)
{
    uint64_t at = edits->count;
    int32_t result = store_table_write(&edits->values[at], table, &service->nodes, error);

    snprintf(edits->keys[at], sizeof edits->keys[0], "tables/%s", table->declaration.name);
    if (result == HF_OK)
        add_put(edits, table->version);
    return result;
}

static int32_t add_placement(struct edits *edits, const struct store_service *service,
                             const struct store_partition *partition)
{
    uint64_t at = edits->count;
    int32_t result = store_placement_write(&edits->values[at], partition, &service->nodes);

    snprintf(edits->keys[at], sizeof edits->keys[0], "placements/%016" PRIx64, partition->id);
    if (result == HF_OK)
        add_put(edits, partition->placement_version);
    return result;
}

/* ---- Ending ------------------------------------------------------------------------------------------------------ */

static void remove_drive(struct drive *drive)
{
    struct store_driver *driver = drive->driver;
    uint32_t kept = 0;

    for (uint32_t i = 0; i < driver->count; i++)
        if (driver->drives[i] != drive)
            driver->drives[kept++] = driver->drives[i];
    driver->count = kept;
    free(drive);
}

static void recorded(void *arg, int32_t code, const hf_error *error)
{
    struct drive *drive = arg;
    struct store_driver *driver = drive->driver;

    if (code == HF_OK) {
        if (drive->step == RECORD)
            store_service_log(driver->service, HF_LOG_INFO, "partition %" PRIu64 " %s %" PRIu64,
                              drive->reshaping.partition,
                              drive->reshaping.merges ? "was merged with its neighbour" : "was split; the new one is",
                              drive->reshaping.other);
        wait(drive, SETTLE, LONG_PAUSE_US); /* it goes when the routing has no record of it any more */
        return;
    }
    if (code != HF_ECONFLICT) /* else somebody else was faster, and the next look is at the newer records */
        store_service_log(driver->service, HF_LOG_WARNING, "a split or merge could not be recorded: %s",
                          error ? error->message : "");
    wait(drive, drive->step, PAUSE_US);
}

/* It cannot be. */
static void abandon(struct drive *drive, const char *why)
{
    struct edits edits;

    store_service_log(drive->driver->service, HF_LOG_WARNING, "partition %" PRIu64 " is not %s: %s",
                      drive->reshaping.partition, drive->reshaping.merges ? "merged" : "split", why);
    begin_edits(&edits);
    add_removal(&edits, &drive->reshaping);
    drive->is_busy = 1;
    drive->step = SETTLE;
    store_edit(drive->driver->service, edits.operations, edits.count, recorded, drive);
    end_edits(&edits);
}

static int32_t add_split(struct edits *edits, struct drive *drive, const struct store_routed *routed, hf_arena *arena,
                         hf_error *error)
{
    const struct store_partition *parent = routed->partition;
    struct store_partition child = {.id = drive->reshaping.other,
                                    .parent_epoch = drive->shape.epoch,
                                    .parent_version = drive->shape.changed,
                                    .member_count = parent->member_count,
                                    .first_count = parent->member_count};
    struct store_table table;

    for (uint32_t i = 0; i < parent->member_count; i++) {
        child.members[i] = parent->members[i];
        child.replicas[i] = parent->replicas[i];
        child.first[i] = store_replica_id(parent->members[i], 0); /* only their nodes are kept */
    }
    int32_t result = store_table_split(routed->table, parent->id, drive->reshaping.from, &child, arena, &table);

    if (result != HF_OK)
        return hf_error_set(error, result, "the table's partitions do not fit the split");
    result = add_table(edits, drive->driver->service, &table, error);
    return result == HF_OK ? add_placement(edits, drive->driver->service, &child) : result;
}

static int32_t add_merge(struct edits *edits, struct drive *drive, const struct store_routed *routed, hf_arena *arena,
                         hf_error *error)
{
    struct store_service *service = drive->driver->service;
    struct store_table table;
    int32_t result = store_table_merge(routed->table, routed->partition->id, drive->reshaping.other,
                                       drive->shape.version, service->environment.wall_us(service->host), arena, &table);

    if (result != HF_OK)
        return hf_error_set(error, result, "the table's partitions do not fit the merge");
    return add_table(edits, service, &table, error);
}

/* Both partitions do it already; now everybody learns of it. */
static void record(struct drive *drive, const struct store_routed *routed)
{
    struct edits edits;
    hf_error error = {0};
    hf_arena arena;
    int32_t result;

    begin_edits(&edits);
    hf_arena_init(&arena, RECORD_MAX);
    result = drive->reshaping.merges ? add_merge(&edits, drive, routed, &arena, &error)
                                     : add_split(&edits, drive, routed, &arena, &error);
    add_removal(&edits, &drive->reshaping);
    drive->is_busy = 1;
    if (result == HF_OK)
        store_edit(drive->driver->service, edits.operations, edits.count, recorded, drive);
    else
        recorded(drive, result, &error);
    hf_arena_done(&arena);
    end_edits(&edits);
}

/* ---- Where the replicas are -------------------------------------------------------------------------------------- */

static const struct store_partition *partition_of(const struct drive *drive, uint64_t id)
{
    const struct store_routed *routed = store_routing_partition(routing_of(drive->driver), id);

    return routed ? routed->partition : NULL;
}

static int is_settled(const struct store_partition *partition, const struct store_call *call)
{
    hf_slice members = {call->op.result.data, call->op.result.size};

    if (call->op.code != HF_OK || members.size != partition->member_count * UINT64_C(9))
        return 0;
    for (uint32_t i = 0; i < partition->member_count; i++)
        if (!store_members_have(members, partition->replicas[i]))
            return 0;
    return 1;
}

static void settled(struct store_call *call)
{
    struct drive *drive = (struct drive *)(void *)call;
    const struct store_partition *partition = partition_of(drive, call->op.partition);
    int good = partition && is_settled(partition, call);

    hf_buffer_done(&call->op.result);
    if (!good)
        wait(drive, SETTLE, PAUSE_US);
    else if (!drive->reshaping.merges)
        wait(drive, BEGIN, 0);
    else
        wait(drive, drive->step == SETTLE ? SETTLE_OTHER : CLOSE, 0);
}

/* The upper one's replicas go to the lower one's nodes, as any that move. */
static void bring_together(struct drive *drive, const struct store_partition *lower, struct store_partition upper)
{
    struct store_service *service = drive->driver->service;
    struct store_partition wanted = upper;
    struct edits edits;

    wanted.member_count = wanted.leaving_count = 0;
    for (uint32_t i = 0; i < lower->member_count; i++) {
        uint64_t id = store_replica_id(lower->members[i], routing_of(drive->driver)->catalog_version + 1);

        for (uint32_t k = 0; k < upper.member_count; k++)
            if (upper.members[k] == lower->members[i])
                id = upper.replicas[k];
        wanted.members[wanted.member_count] = lower->members[i];
        wanted.replicas[wanted.member_count++] = id;
    }
    for (uint32_t k = 0; k < upper.member_count; k++) {
        int stays = 0;

        for (uint32_t i = 0; i < wanted.member_count; i++)
            stays |= wanted.replicas[i] == upper.replicas[k];
        if (!stays)
            wanted.leaving[wanted.leaving_count++] = upper.replicas[k];
    }
    begin_edits(&edits);
    drive->is_busy = 1;
    if (add_placement(&edits, service, &wanted) == HF_OK)
        store_edit(service, edits.operations, edits.count, recorded, drive);
    else
        wait(drive, SETTLE, PAUSE_US);
    end_edits(&edits);
}

static int has_same_nodes(const struct store_partition *a, const struct store_partition *b)
{
    uint32_t same = 0;

    for (uint32_t i = 0; i < a->member_count; i++)
        for (uint32_t k = 0; k < b->member_count; k++)
            same += a->members[i] == b->members[k];
    return same == a->member_count && same == b->member_count;
}

static void settle(struct drive *drive)
{
    const struct store_partition *partition = partition_of(drive, drive->reshaping.partition);
    const struct store_partition *other = partition_of(drive, drive->reshaping.other);

    if (!partition || (drive->reshaping.merges && !other)) {
        abandon(drive, "there is no such partition");
        return;
    }
    if (partition->leaving_count > 0 || (drive->reshaping.merges && other->leaving_count > 0)) {
        wait(drive, SETTLE, PAUSE_US);
        return;
    }
    if (drive->reshaping.merges && !has_same_nodes(partition, other)) {
        bring_together(drive, partition, *other);
        return;
    }
    ask(drive, STORE_OP_MEMBERS, drive->step == SETTLE ? partition->id : other->id, 0, settled);
}

/* ---- Splitting --------------------------------------------------------------------------------------------------- */

static void begun(struct store_call *call)
{
    struct drive *drive = (struct drive *)(void *)call;
    int32_t code = call->op.code;

    hf_buffer_done(&call->op.result);
    drive->asked = drive->copied = 0;
    drive->majority_us = 0;
    if (code == HF_ECONFLICT)
        abandon(drive, "it is being split or merged otherwise");
    else
        wait(drive, code == HF_OK ? COPY : BEGIN, PAUSE_US);
}

/* All members were asked. */
static void judge_copies(struct drive *drive, const struct store_partition *partition)
{
    uint64_t now = now_us(drive->driver);

    if (drive->copied * 2 > partition->member_count) {
        if (!drive->majority_us)
            drive->majority_us = now;
    } else {
        drive->majority_us = 0;
    }
    int is_enough = drive->copied == partition->member_count ||
                    (drive->majority_us && now - drive->majority_us > PATIENCE_US);

    drive->asked = drive->copied = 0;
    wait(drive, is_enough ? END : COPY, is_enough ? 0 : PAUSE_US);
}

static void copy_told(struct store_call *call)
{
    struct drive *drive = (struct drive *)(void *)call;
    struct store_shape_row shape = {0};
    int32_t known = take_shape(call, &shape) && shape.other == drive->reshaping.other;

    if (known && shape.state == STORE_SHAPE_STEADY) { /* it has ended before */
        wait(drive, LOOK, 0);
        return;
    }
    drive->copied += known && shape.is_forked;
    wait(drive, COPY, 0);
}

static void look_at_copies(struct drive *drive)
{
    const struct store_partition *partition = partition_of(drive, drive->reshaping.partition);

    if (!partition)
        wait(drive, SETTLE, PAUSE_US);
    else if (drive->asked >= partition->member_count)
        judge_copies(drive, partition);
    else
        ask(drive, STORE_OP_SHAPE, partition->id, partition->members[drive->asked++] + 1, copy_told);
}

static void ended(struct store_call *call)
{
    struct drive *drive = (struct drive *)(void *)call;
    int32_t code = call->op.code;

    hf_buffer_done(&call->op.result);
    if (code == HF_ECONFLICT)
        abandon(drive, "it is being split or merged otherwise");
    else
        wait(drive, code == HF_OK ? LOOK : END, code == HF_OK ? 0 : SOON_US);
}

/* The end of it as the partition itself knows it. */
static void looked(struct store_call *call)
{
    struct drive *drive = (struct drive *)(void *)call;

    if (take_shape(call, &drive->shape) && drive->shape.other == drive->reshaping.other &&
        drive->shape.state == STORE_SHAPE_STEADY)
        wait(drive, RECORD, 0);
    else
        wait(drive, LOOK, PAUSE_US);
}

/* ---- Merging ----------------------------------------------------------------------------------------------------- */

static void closed(struct store_call *call)
{
    struct drive *drive = (struct drive *)(void *)call;
    int32_t code = call->op.code;

    hf_buffer_done(&call->op.result);
    if (code == HF_OK)
        wait(drive, LOOK_AT_CLOSED, 0);
    else if (code == HF_EBUSY)
        wait(drive, CLOSE, SOON_US); /* transactions are to end */
    else
        wait(drive, SETTLE, LONG_PAUSE_US);
}

/* The lower one must be able to take it, before the upper one turns requests away. */
static void lower_told(struct store_call *call)
{
    struct drive *drive = (struct drive *)(void *)call;
    struct store_shape_row shape = {0};

    if (!take_shape(call, &shape) || shape.has_strays ||
        (shape.state != STORE_SHAPE_STEADY && shape.other != drive->reshaping.other)) {
        wait(drive, SETTLE, LONG_PAUSE_US);
        return;
    }
    send(drive, drive->reshaping.other,
         &(struct store_reshape){.step = STORE_RESHAPE_CLOSE, .other = drive->reshaping.partition}, closed);
}

static void absorbed(struct store_call *call)
{
    struct drive *drive = (struct drive *)(void *)call;
    int32_t code = call->op.code;

    hf_buffer_done(&call->op.result);
    wait(drive, code == HF_OK ? RECORD : ABSORB, code == HF_OK ? 0 : SOON_US);
}

static void closed_told(struct store_call *call)
{
    struct drive *drive = (struct drive *)(void *)call;

    if (take_shape(call, &drive->shape) && drive->shape.state == STORE_SHAPE_CLOSED)
        wait(drive, ABSORB, 0);
    else
        wait(drive, LOOK_AT_CLOSED, PAUSE_US);
}

/* ---- Steps ------------------------------------------------------------------------------------------------------- */

static void go_on(struct drive *drive)
{
    const struct store_reshaping *reshaping = &drive->reshaping;
    const struct store_routed *routed = store_routing_partition(routing_of(drive->driver), reshaping->partition);
    const struct store_partition *other = partition_of(drive, reshaping->other);

    switch (drive->step) {
    case BEGIN:
        send(drive, reshaping->partition,
             &(struct store_reshape){
                 .step = STORE_RESHAPE_SPLIT_BEGIN, .other = reshaping->other, .from = reshaping->from},
             begun);
        break;
    case COPY:
        look_at_copies(drive);
        break;
    case END:
        send(drive, reshaping->partition,
             &(struct store_reshape){.step = STORE_RESHAPE_SPLIT_END, .other = reshaping->other}, ended);
        break;
    case CLOSE:
        ask(drive, STORE_OP_SHAPE, reshaping->partition, 0, lower_told);
        break;
    case LOOK_AT_CLOSED:
        ask(drive, STORE_OP_SHAPE, reshaping->other, 0, closed_told);
        break;
    case ABSORB:
        if (other)
            send(drive, reshaping->partition,
                 &(struct store_reshape){.step = STORE_RESHAPE_ABSORB,
                                         .other = reshaping->other,
                                         .from = other->hash_to,
                                         .index = drive->shape.applied},
                 absorbed);
        else
            wait(drive, SETTLE, PAUSE_US);
        break;
    case LOOK:
        ask(drive, STORE_OP_SHAPE, reshaping->partition, 0, looked);
        break;
    case RECORD:
        if (routed)
            record(drive, routed);
        else
            wait(drive, SETTLE, PAUSE_US);
        break;
    default:
        settle(drive);
    }
}

/* ---- Forgetting what was merged ---------------------------------------------------------------------------------- */

static void dropped(void *arg, int32_t code, const hf_error *error)
{
    struct store_driver *driver = arg;

    if (code != HF_OK && code != HF_ECONFLICT)
        store_service_log(driver->service, HF_LOG_WARNING, "a merged partition could not be forgotten: %s",
                          error ? error->message : "");
    driver->is_dropping = 0;
}

static void drop(struct store_driver *driver, const struct store_table *table, const struct store_retired *retired)
{
    struct store_table changed = *table;
    struct store_retired *list = malloc(table->retired_count * sizeof *list);
    struct edits edits;
    hf_error error = {0};

    if (!list) {
        driver->is_dropping = 0;
        return;
    }
    memcpy(list, table->retired, table->retired_count * sizeof *list);
    list[retired - table->retired].is_gone = 1;
    changed.retired = list;
    begin_edits(&edits);
    if (add_table(&edits, driver->service, &changed, &error) == HF_OK)
        store_edit(driver->service, edits.operations, edits.count, dropped, driver);
    else
        dropped(driver, HF_ENOMEM, &error);
    end_edits(&edits);
    free(list);
}

static const struct store_retired *find_retired(const struct store_driver *driver, uint64_t partition,
                                                const struct store_table **ret_table)
{
    const struct store_routing *routing = routing_of(driver);

    for (uint32_t i = 0; i < routing->table_count; i++) {
        const struct store_retired *retired = store_table_retired(routing->tables[i], partition);

        *ret_table = routing->tables[i];
        if (retired)
            return retired;
    }
    return NULL;
}

static void ask_heir(struct store_driver *driver);

/* Somebody may still ask for what was decided there. */
static void dropped_told(struct store_call *call)
{
    struct store_driver *driver =
        (struct store_driver *)((char *)call - offsetof(struct store_driver, drop_call));
    struct store_shape_row shape = {0};

    if (take_shape(call, &shape) && shape.transactions == 0)
        ask_heir(driver);
    else
        driver->is_dropping = 0; /* later */
}

/* Its records are needed as long as a replica of the heir has not taken them. */
static void heir_told(struct store_call *call)
{
    struct store_driver *driver =
        (struct store_driver *)((char *)call - offsetof(struct store_driver, drop_call));
    const struct store_table *table = NULL;
    const struct store_retired *retired = find_retired(driver, driver->drop_partition, &table);
    struct store_shape_row shape = {0};

    if (take_shape(call, &shape) && retired && shape.hash_to >= retired->partition.hash_to)
        ask_heir(driver);
    else
        driver->is_dropping = 0; /* later */
}

static void ask_heir(struct store_driver *driver)
{
    const struct store_table *table = NULL;
    const struct store_retired *retired = find_retired(driver, driver->drop_partition, &table);
    const struct store_routed *heir = retired ? store_routing_partition(routing_of(driver), retired->heir) : NULL;

    if (!heir || driver->drop_member >= heir->partition->member_count) {
        if (retired)
            drop(driver, table, retired); /* an heir that is gone itself was merged whole */
        else
            driver->is_dropping = 0;
        return;
    }
    driver->drop_call = (struct store_call){.op = {.type = STORE_OP_SHAPE,
                                                   .stale = 1,
                                                   .partition = retired->heir,
                                                   .deadline_us = now_us(driver) + TIMEOUT_US},
                                            .only = heir->partition->members[driver->drop_member++] + 1,
                                            .finished = heir_told};
    store_call_start(driver->service, &driver->drop_call);
}

/* One of those whose changes need not be kept any longer. */
static void drop_one(struct store_driver *driver)
{
    struct store_service *service = driver->service;
    const struct store_routing *routing = routing_of(driver);
    uint64_t wall_us = service->environment.wall_us(service->host);

    if (driver->is_dropping || now_us(driver) < driver->drop_us)
        return;
    driver->drop_us = now_us(driver) + LONG_PAUSE_US;
    for (uint32_t t = 0; t < routing->table_count; t++)
        for (uint32_t i = 0; i < routing->tables[t]->retired_count; i++) {
            const struct store_retired *retired = &routing->tables[t]->retired[i];

            if (retired->is_gone || wall_us < retired->time_us + routing->tables[t]->declaration.keep_changes_us)
                continue;
            driver->is_dropping = 1;
            driver->drop_partition = retired->partition.id;
            driver->drop_member = 0;
            driver->drop_call = (struct store_call){.op = {.type = STORE_OP_SHAPE,
                                                           .partition = retired->partition.id,
                                                           .deadline_us = now_us(driver) + TIMEOUT_US},
                                                    .finished = dropped_told};
            store_call_start(service, &driver->drop_call);
            return;
        }
}

/* ---- All of them ------------------------------------------------------------------------------------------------- */

static struct drive *find_drive(const struct store_driver *driver, uint64_t partition)
{
    for (uint32_t i = 0; i < driver->count; i++)
        if (driver->drives[i]->reshaping.partition == partition)
            return driver->drives[i];
    return NULL;
}

static void take_up(struct store_driver *driver, const struct store_reshaping *reshaping)
{
    struct drive *drive = find_drive(driver, reshaping->partition);

    if (!drive && driver->count < DRIVES_MAX) {
        drive = calloc(1, sizeof *drive);
        if (!drive)
            return;
        drive->driver = driver;
        driver->drives[driver->count++] = drive;
    }
    if (drive && !drive->is_busy && drive->reshaping.version != reshaping->version)
        *drive = (struct drive){.driver = driver, .reshaping = *reshaping}; /* from its first step */
}

static int is_over(const struct drive *drive, const struct store_routing *routing)
{
    const struct store_reshaping *reshaping = store_routing_reshaping(routing, drive->reshaping.partition);

    return !drive->is_busy && (!reshaping || reshaping->version != drive->reshaping.version);
}

void store_driver_tick(struct store_shard *shard, uint64_t now)
{
    struct store_service *service = shard->service;
    struct store_replica *catalog = store_catalog_replica(service);
    struct store_driver *driver = service->driver;

    if (!driver)
        driver = service->driver = calloc(1, sizeof *driver);
    if (!driver)
        return;
    driver->service = service;
    int leads = catalog && !service->draining &&
                atomic_load(&store_replica_published(catalog)->role) == HF_ROLE_LEADER;

    for (uint32_t i = 0; i < shard->routing->reshaping_count && leads; i++)
        take_up(driver, &shard->routing->reshaping[i]);
    for (uint32_t i = driver->count; i > 0; i--)
        if (!leads ? !driver->drives[i - 1]->is_busy : is_over(driver->drives[i - 1], shard->routing))
            remove_drive(driver->drives[i - 1]);
    for (uint32_t i = 0; i < driver->count && leads; i++)
        if (!driver->drives[i]->is_busy && driver->drives[i]->next_us <= now)
            go_on(driver->drives[i]);
    if (leads)
        drop_one(driver);
}

void store_driver_free(struct store_service *service)
{
    for (uint32_t i = 0; service->driver && i < service->driver->count; i++)
        free(service->driver->drives[i]);
    free(service->driver);
}

/* ---- Asking for one ---------------------------------------------------------------------------------------------- */

struct wish {
    struct store_call call; /* first */
    struct store_service *service;
    struct store_routing *routing; /* that was asked, with the partition's table */
    const struct store_table *table;
    struct store_reshaping reshaping;
    void (*done)(void *arg, int32_t code, const hf_error *error);
    void *arg;
};

static void granted(void *arg, int32_t code, const hf_error *error)
{
    struct wish *wish = arg;

    wish->done(wish->arg, code, error);
    store_routing_release(wish->routing);
    free(wish);
}

static void add_check(struct edits *edits, int32_t condition, uint64_t version)
{
    edits->operations[edits->count] = (struct store_operation){
        .type = STORE_CHECK, .condition = condition, .version = version, .key = hf_slice_of(edits->keys[edits->count])};
    edits->count++;
}

static void add_absence(struct edits *edits, uint64_t partition)
{
    add_reshaping_key(edits, partition);
    add_check(edits, STORE_IF_ABSENT, 0);
}

/* This node's routing may be behind: the table must be as it is there, and no split or merge that came since may be
 * about one of the partitions, or both would wait for each other for ever.  The lower neighbour's may be a merge with
 * this one. */
static void add_checks(struct edits *edits, const struct wish *wish)
{
    const struct store_table *table = wish->table;
    uint64_t partition = wish->reshaping.partition;

    snprintf(edits->keys[edits->count], sizeof edits->keys[0], "tables/%s", table->declaration.name);
    add_check(edits, STORE_IF_VERSION, table->version);
    if (wish->reshaping.merges)
        add_absence(edits, wish->reshaping.other);
    for (uint32_t i = 1; i < table->partition_count; i++)
        if (table->partitions[i].id == partition && table->partitions[i].hash_from > 0)
            add_absence(edits, table->partitions[i - 1].id);
}

static void write_wish(struct wish *wish, uint64_t next_partition, uint64_t meta_version)
{
    struct edits edits;

    begin_edits(&edits);
    add_checks(&edits, wish);
    if (!wish->reshaping.merges) { /* it needs a number */
        wish->reshaping.other = next_partition;
        snprintf(edits.keys[edits.count], sizeof edits.keys[0], "meta");
        hf_buffer_append_format(&edits.values[edits.count], "{\"next_partition\":%" PRIu64 "}", next_partition + 1);
        add_put(&edits, meta_version);
    }
    add_reshaping_key(&edits, wish->reshaping.partition);
    store_reshaping_write(&edits.values[edits.count], &wish->reshaping);
    add_put(&edits, 0);
    store_edit(wish->service, edits.operations, edits.count, granted, wish);
    end_edits(&edits);
}

static void meta_read(struct store_call *call)
{
    struct wish *wish = (struct wish *)(void *)call;
    hf_slice rest = {call->op.result.data, call->op.result.size};
    hf_value value = hf_value_null();
    struct store_row row;
    hf_arena arena;
    int64_t next = 0;

    hf_arena_init(&arena, 4096);
    if (call->op.code == HF_OK && store_result_next(&rest, &row) == 1 &&
        hf_json_parse(row.value, &arena, &value, NULL) == HF_OK)
        next = hf_value_get_integer(&value, "next_partition", 0);
    hf_arena_done(&arena);
    uint64_t version = next > STORE_CATALOG_PARTITION ? row.version : 0;

    hf_buffer_done(&call->op.result);
    if (version)
        write_wish(wish, (uint64_t)next, version);
    else
        granted(wish, call->op.code == HF_OK ? HF_ECORRUPT : call->op.code, &call->op.error);
}

static int32_t check_wish(const struct store_routing *routing, struct store_reshaping *reshaping, hf_error *error)
{
    const struct store_routed *routed = store_routing_partition(routing, reshaping->partition);

    if (!routed || routed->partition->id == STORE_CATALOG_PARTITION ||
        store_table_retired(routed->table, reshaping->partition))
        return hf_error_set(error, HF_ENOTFOUND, "there is no partition %" PRIu64 " that could be split or merged",
                            reshaping->partition);
    const struct store_partition *partition = routed->partition;
    const struct store_partition *upper = store_table_neighbour(routed->table, partition->id);

    if (partition->is_reshaping || (reshaping->merges && upper && upper->is_reshaping))
        return hf_error_set(error, HF_ECONFLICT, "the partition is being split or merged already");
    if (reshaping->merges && !upper)
        return hf_error_set(error, HF_ECONFLICT, "the partition has no upper neighbour of the same value");
    if (!reshaping->merges && partition->hash_to - partition->hash_from < 2)
        return hf_error_set(error, HF_ECONFLICT, "the partition is too narrow to be split");
    reshaping->other = upper ? upper->id : 0;
    reshaping->from = partition->hash_from + (partition->hash_to - partition->hash_from) / 2 + 1;
    return HF_OK;
}

void store_service_reshape(struct store_service *service, uint64_t partition, int32_t merge,
                           void (*done)(void *arg, int32_t code, const hf_error *error), void *arg)
{
    struct store_reshaping reshaping = {.partition = partition, .merges = merge};
    struct store_shard *shard = store_shard_current(service);
    struct wish *wish = NULL;
    hf_error error = {0};
    int32_t result = check_wish(shard->routing, &reshaping, &error);

    if (result == HF_OK && !(wish = calloc(1, sizeof *wish)))
        result = hf_error_set(&error, HF_EBUSY, "no memory for the request");
    if (result != HF_OK) {
        done(arg, result, &error);
        return;
    }
    *wish = (struct wish){.service = service,
                          .routing = store_routing_hold(shard->routing),
                          .table = store_routing_partition(shard->routing, partition)->table,
                          .reshaping = reshaping,
                          .done = done,
                          .arg = arg};
    if (merge) {
        write_wish(wish, 0, 0);
        return;
    }
    wish->call = (struct store_call){.op = {.type = STORE_OP_GET,
                                            .partition = STORE_CATALOG_PARTITION,
                                            .deadline_us = service->loops->now_us(shard->loop) + TIMEOUT_US,
                                            .key = hf_slice_of("meta")},
                                     .finished = meta_read};
    store_call_start(service, &wish->call);
}
