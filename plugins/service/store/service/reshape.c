/* Splits and merges as the cluster carries them out.  A record of the catalog says that one is to be; the leader of the
 * catalog takes it from step to step, each of which may be repeated, so that another leader goes on from any of them:
 *
 *   split  all replicas are where they should be → SPLIT_BEGIN → a majority has copied → SPLIT_END → the catalog has
 *          both partitions
 *   merge  the upper one's replicas are moved to the lower one's nodes → CLOSE of the upper one → ABSORB by the lower
 *          one → the catalog has one partition, and remembers the other for its change feed
 *
 * See machine/reshape.h for what the steps do. */
#include "service/reshape_private.h"

#include <stdlib.h>

enum {
    SOON_US = 20000,
    PATIENCE_US = 10000000 /* with members that have not copied yet, when a majority has */
};

void store_driver_wait(struct drive *drive, int32_t step, uint64_t pause_us)
{
    drive->is_busy = 0;
    drive->step = step;
    drive->next_us = store_driver_now_us(drive->driver) + pause_us;
}

/* ---- Asking ------------------------------------------------------------------------------------------------------ */

static void ask(struct drive *drive, int32_t type, uint64_t partition, uint32_t only,
                void (*finished)(struct store_call *call))
{
    drive->is_busy = 1;
    drive->call = (struct store_call){.op = {.type = type,
                                             .stale = only != 0,
                                             .partition = partition,
                                             .deadline_us = store_driver_now_us(drive->driver) + TIMEOUT_US},
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
                                             .deadline_us = store_driver_now_us(drive->driver) + TIMEOUT_US,
                                             .command = {drive->command, sizeof drive->command}},
                                      .repeatable = 1,
                                      .finished = finished};
    store_call_start(drive->driver->service, &drive->call);
}

int32_t store_driver_take_shape(struct store_call *call, struct store_shape_row *ret_shape)
{
    int32_t good = call->op.code == HF_OK &&
                   store_result_shape((hf_slice){call->op.result.data, call->op.result.size}, ret_shape) == HF_OK;

    hf_buffer_done(&call->op.result);
    return good;
}

/* ---- Where the replicas are -------------------------------------------------------------------------------------- */

static const struct store_partition *partition_of(const struct drive *drive, uint64_t id)
{
    const struct store_routed *routed = store_routing_partition(store_driver_routing(drive->driver), id);

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
        store_driver_wait(drive, SETTLE, PAUSE_US);
    else if (!drive->reshaping.merges)
        store_driver_wait(drive, BEGIN, 0);
    else
        store_driver_wait(drive, drive->step == SETTLE ? SETTLE_OTHER : CLOSE, 0);
}

/* The upper one's replicas go to the lower one's nodes, as any that move. */
static void bring_together(struct drive *drive, const struct store_partition *lower, struct store_partition upper)
{
    struct store_service *service = drive->driver->service;
    struct store_partition wanted = upper;
    struct edits edits;

    wanted.member_count = wanted.leaving_count = 0;
    for (uint32_t i = 0; i < lower->member_count; i++) {
        uint64_t id = store_replica_id(lower->members[i], store_driver_routing(drive->driver)->catalog_version + 1);

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
    store_edits_begin(&edits);
    drive->is_busy = 1;
    if (store_edits_add_placement(&edits, service, &wanted) == HF_OK)
        store_edit(service, edits.operations, edits.count, store_driver_recorded, drive);
    else
        store_driver_wait(drive, SETTLE, PAUSE_US);
    store_edits_end(&edits);
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
        store_driver_abandon(drive, "there is no such partition");
        return;
    }
    if (partition->leaving_count > 0 || (drive->reshaping.merges && other->leaving_count > 0)) {
        store_driver_wait(drive, SETTLE, PAUSE_US);
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
        store_driver_abandon(drive, "it is being split or merged otherwise");
    else
        store_driver_wait(drive, code == HF_OK ? COPY : BEGIN, PAUSE_US);
}

/* All members were asked. */
static void judge_copies(struct drive *drive, const struct store_partition *partition)
{
    uint64_t now = store_driver_now_us(drive->driver);

    if (drive->copied * 2 > partition->member_count) {
        if (!drive->majority_us)
            drive->majority_us = now;
    } else {
        drive->majority_us = 0;
    }
    int is_enough =
        drive->copied == partition->member_count || (drive->majority_us && now - drive->majority_us > PATIENCE_US);

    drive->asked = drive->copied = 0;
    store_driver_wait(drive, is_enough ? END : COPY, is_enough ? 0 : PAUSE_US);
}

static void copy_told(struct store_call *call)
{
    struct drive *drive = (struct drive *)(void *)call;
    struct store_shape_row shape = {0};
    int32_t known = store_driver_take_shape(call, &shape) && shape.other == drive->reshaping.other;

    if (known && shape.state == STORE_SHAPE_STEADY) { /* it has ended before */
        store_driver_wait(drive, LOOK, 0);
        return;
    }
    drive->copied += known && shape.is_forked;
    store_driver_wait(drive, COPY, 0);
}

static void look_at_copies(struct drive *drive)
{
    const struct store_partition *partition = partition_of(drive, drive->reshaping.partition);

    if (!partition)
        store_driver_wait(drive, SETTLE, PAUSE_US);
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
        store_driver_abandon(drive, "it is being split or merged otherwise");
    else
        store_driver_wait(drive, code == HF_OK ? LOOK : END, code == HF_OK ? 0 : SOON_US);
}

/* The end of it as the partition itself knows it. */
static void looked(struct store_call *call)
{
    struct drive *drive = (struct drive *)(void *)call;

    if (store_driver_take_shape(call, &drive->shape) && drive->shape.other == drive->reshaping.other &&
        drive->shape.state == STORE_SHAPE_STEADY)
        store_driver_wait(drive, RECORD, 0);
    else
        store_driver_wait(drive, LOOK, PAUSE_US);
}

/* ---- Merging ----------------------------------------------------------------------------------------------------- */

static void closed(struct store_call *call)
{
    struct drive *drive = (struct drive *)(void *)call;
    int32_t code = call->op.code;

    hf_buffer_done(&call->op.result);
    if (code == HF_OK)
        store_driver_wait(drive, LOOK_AT_CLOSED, 0);
    else if (code == HF_EBUSY)
        store_driver_wait(drive, CLOSE, SOON_US); /* transactions are to end */
    else
        store_driver_wait(drive, SETTLE, LONG_PAUSE_US);
}

/* The lower one must be able to take it, before the upper one turns requests away. */
static void lower_told(struct store_call *call)
{
    struct drive *drive = (struct drive *)(void *)call;
    struct store_shape_row shape = {0};

    if (!store_driver_take_shape(call, &shape) || shape.has_strays ||
        (shape.state != STORE_SHAPE_STEADY && shape.other != drive->reshaping.other)) {
        store_driver_wait(drive, SETTLE, LONG_PAUSE_US);
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
    store_driver_wait(drive, code == HF_OK ? RECORD : ABSORB, code == HF_OK ? 0 : SOON_US);
}

static void closed_told(struct store_call *call)
{
    struct drive *drive = (struct drive *)(void *)call;

    if (store_driver_take_shape(call, &drive->shape) && drive->shape.state == STORE_SHAPE_CLOSED)
        store_driver_wait(drive, ABSORB, 0);
    else
        store_driver_wait(drive, LOOK_AT_CLOSED, PAUSE_US);
}

/* ---- Steps ------------------------------------------------------------------------------------------------------- */

static void go_on(struct drive *drive)
{
    const struct store_reshaping *reshaping = &drive->reshaping;
    const struct store_routed *routed =
        store_routing_partition(store_driver_routing(drive->driver), reshaping->partition);
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
            store_driver_wait(drive, SETTLE, PAUSE_US);
        break;
    case LOOK:
        ask(drive, STORE_OP_SHAPE, reshaping->partition, 0, looked);
        break;
    case RECORD:
        if (routed)
            store_driver_record(drive, routed);
        else
            store_driver_wait(drive, SETTLE, PAUSE_US);
        break;
    default:
        settle(drive);
    }
}

/* ---- All of them ------------------------------------------------------------------------------------------------- */

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
    int leads = catalog && !service->draining && atomic_load(&store_replica_published(catalog)->role) == HF_ROLE_LEADER;

    for (uint32_t i = 0; i < shard->routing->reshaping_count && leads; i++)
        take_up(driver, &shard->routing->reshaping[i]);
    for (uint32_t i = driver->count; i > 0; i--)
        if (!leads ? !driver->drives[i - 1]->is_busy : is_over(driver->drives[i - 1], shard->routing))
            remove_drive(driver->drives[i - 1]);
    for (uint32_t i = 0; i < driver->count && leads; i++)
        if (!driver->drives[i]->is_busy && driver->drives[i]->next_us <= now)
            go_on(driver->drives[i]);
    if (leads)
        store_driver_drop_one(driver);
}

void store_driver_free(struct store_service *service)
{
    for (uint32_t i = 0; service->driver && i < service->driver->count; i++)
        free(service->driver->drives[i]);
    free(service->driver);
}
