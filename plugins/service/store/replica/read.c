/* Reads: what a replica's state machine has, once it has applied enough. */
#include "replica/private.h"

#include "bug.h"
#include "bytes.h"

#include <holdfast/lib/error.h>

#include <string.h>

enum { SMALL_PART = 4 /* of what a partition may have: more than that is not counted to the end */ };

static int comes_before(hf_slice a, hf_slice b)
{
    uint64_t shorter = a.size < b.size ? a.size : b.size;
    int order = memcmp(a.data, b.data, shorter);

    return order < 0 || (order == 0 && a.size < b.size);
}

/* The space may have more than was asked for: what was given away and is not removed yet, or was merged into it. */
static int is_wanted(const struct store_op *op, hf_slice key)
{
    if (op->hash_from == 0 && op->hash_to == UINT64_MAX)
        return 1;
    uint64_t hash = store_key_hash(key);

    return hash >= op->hash_from && hash <= op->hash_to;
}

static int32_t add_row(void *arg, hf_slice key, const struct store_record *record)
{
    struct store_work *work = arg;
    struct store_op *op = work->op;
    struct store_row row = {key, record->version, record->time_us, record->checksum, record->value};

    if (store_record_expired(record, work->wall_us) || !is_wanted(op, key))
        return 0;
    if (work->lock.size && !comes_before(key, (hf_slice){work->lock.data, work->lock.size})) {
        op->more = 1;
        return 1;
    }
    if (work->index == op->limit || op->result.size >= STORE_SCAN_BYTES_MAX) {
        op->more = 1;
        return 1;
    }
    work->index++; /* counts the rows */
    op->code = store_result_add(&op->result, &row);
    return op->code;
}

int store_range_is_here(const struct store_shape *shape, const struct store_op *op)
{
    return shape->hash_from <= op->hash_from && shape->hash_to >= op->hash_to;
}

static void answer_moved(struct store_op *op)
{
    hf_buffer_clear(&op->result);
    op->code = hf_error_set(&op->error, HF_EMOVED, STORE_MOVED);
}

/* After reading: what was read may have been given away before, and be another's to answer. */
static void check_key(struct store_work *work)
{
    struct store_shape shape;

    store_machine_shape(work->replica->machine, &shape);
    if (!store_shape_has(&shape, store_key_hash(work->op->key)) && !STORE_BUG(KEEP_READING))
        answer_moved(work->op);
}

/* What a transaction has locked may have been committed elsewhere already: the lock is looked for first, and what was
 * locked after that is as it was before. */
static void find_record(struct store_work *work, uint32_t flags)
{
    struct store_op *op = work->op;
    struct store_record record;

    work->unlocks = store_machine_unlocks(work->replica->machine);
    int32_t locked =
        op->stale || STORE_BUG(SEE_PART) ? 0 : store_machine_locked(work->replica->machine, op->key, flags, &op->error);

    work->is_locked = locked > 0;
    op->code = locked > 0 ? HF_OK : locked;
    if (locked != 0)
        return;
    op->code = store_machine_get(work->replica->machine, op->key, flags, &record, &op->error);
    if (op->code != HF_OK)
        return;
    if (store_record_expired(&record, work->wall_us)) {
        store_record_release(work->replica->machine, &record);
        op->code = hf_error_set(&op->error, HF_ENOTFOUND, "the record has expired");
        return;
    }
    struct store_row row = {{NULL, 0}, record.version, record.time_us, record.checksum, record.value};
    op->version = record.version;
    op->code = store_result_add(&op->result, &row);
    store_record_release(work->replica->machine, &record);
}

static void read_record(struct store_work *work, uint32_t flags)
{
    find_record(work, flags);
    if (work->op->code != HF_EBUSY)
        check_key(work);
}

/* Up to the first lock. */
static void scan_page(struct store_work *work)
{
    struct store_op *op = work->op;
    struct store_machine *machine = work->replica->machine;
    int32_t result = 0;

    work->index = 0;
    work->is_locked = 0;
    work->unlocks = store_machine_unlocks(machine);
    hf_buffer_init(&work->lock, STORE_KEY_MAX);
    if (!op->stale)
        result = store_machine_first_lock(machine, op->key, op->start, &work->lock, &op->error);
    op->code = result < 0 ? result : HF_OK;
    if (op->code != HF_OK)
        return;
    result = store_machine_scan(machine, op->key, op->start, 0, add_row, work, &op->error);
    if (op->code == HF_OK)
        op->code = result;
    work->is_locked = op->code == HF_OK && work->lock.size > 0 && work->index == 0;
    hf_buffer_done(&work->lock);
}

/* The range must have been here while it was read. */
static void read_page(struct store_work *work)
{
    struct store_shape before, after;

    store_machine_shape(work->replica->machine, &before);
    scan_page(work);
    store_machine_shape(work->replica->machine, &after);
    if (after.epoch != before.epoch || after.state == STORE_SHAPE_CLOSED || !store_range_is_here(&after, work->op)) {
        work->is_locked = 0;
        answer_moved(work->op);
    }
}

static int32_t add_change(void *arg, const struct store_change *change)
{
    struct store_work *work = arg;
    struct store_op *op = work->op;
    struct store_feed_row row = {change->version,    change->time_us, change->type,
                                 change->superseded, change->key,     change->value};

    /* A page ends between commands, so that the version to go on with is exact. */
    if (change->version != op->version && (work->index >= op->limit || op->result.size >= STORE_CHANGES_BYTES_MAX)) {
        op->more = 1;
        return 1;
    }
    work->index++;
    op->version = change->version;
    op->code = store_result_add_change(&op->result, &row);
    return op->code;
}

static void read_changes(struct store_work *work)
{
    struct store_op *op = work->op;
    struct store_machine_state state;
    uint64_t from = op->from;

    store_machine_state(work->replica->machine, &state);
    if (!store_range_is_here(&state.shape, op)) {
        answer_moved(op);
        return;
    }
    if (from == 0)
        from = state.feed_first;
    work->index = 0;
    op->code = HF_OK;
    op->version = 0;
    int32_t result = store_machine_changes(work->replica->machine, from, add_change, work, &op->error);
    if (result == HF_ENOTFOUND) {
        store_machine_state(work->replica->machine, &state);
        op->version = state.feed_first;
        op->code = HF_ENOTFOUND;
        return;
    }
    op->version = op->version ? op->version + 1 : from;
    if (op->code == HF_OK)
        op->code = result;
    store_machine_shape(work->replica->machine, &state.shape);
    if (!store_range_is_here(&state.shape, op)) /* it was split meanwhile, and some changes were passed over */
        answer_moved(op);
}

static void read_members(struct store_work *work)
{
    struct store_op *op = work->op;
    struct store_machine_state state;

    store_machine_state(work->replica->machine, &state);
    op->version = work->index;
    op->code = HF_OK;
    for (uint32_t i = 0; i < state.member_count && op->code == HF_OK; i++) {
        uint8_t bytes[9];

        store_write_be(bytes, state.members[i].replica, 8);
        bytes[8] = state.members[i].learner != 0;
        op->code = hf_buffer_append(&op->result, bytes, sizeof bytes);
    }
}

static void read_shape(struct store_work *work)
{
    struct store_replica *replica = work->replica;
    const struct store_environment *environment = replica->environment;
    struct store_machine_state state;

    store_machine_state(replica->machine, &state);
    const struct store_shape_row row = {
        .state = state.shape.state,
        .has_strays = state.shape.has_strays,
        .is_forked = store_machine_is_forked(replica->machine),
        .epoch = state.shape.epoch,
        .other = state.shape.other,
        .hash_from = state.shape.hash_from,
        .hash_to = state.shape.hash_to,
        .changed = state.shape.version,
        .applied = state.applied_index,
        .version = state.version,
        .transactions = store_machine_transaction_count(replica->machine),
        .bytes = environment->engine->space_size(environment->database, replica->setup.partition),
        .rate = replica->rate,
    };
    work->op->code = store_result_add_shape(&work->op->result, &row);
}

/* Of a leader, and where the engine's word is not small anyway, it is worth while to count. */
static int is_to_be_counted(const struct store_work *work)
{
    const struct store_environment *environment = work->replica->environment;
    uint64_t most = atomic_load_explicit(environment->partition_max_size, memory_order_relaxed);

    return !work->op->stale && most &&
           environment->engine->space_size(environment->database, work->replica->setup.partition) > most / SMALL_PART;
}

/* [pool] */
static void count_shape(struct store_work *work)
{
    struct store_op *op = work->op;
    struct store_shape_row row;
    uint64_t most = atomic_load_explicit(work->replica->environment->partition_max_size, memory_order_relaxed);

    op->code = store_result_shape((hf_slice){op->result.data, op->result.size}, &row);
    if (op->code == HF_OK)
        op->code = store_machine_count(work->replica->machine, most / SMALL_PART, &row.bytes, &op->error);
    hf_buffer_clear(&op->result);
    if (op->code == HF_OK)
        op->code = store_result_add_shape(&op->result, &row);
}

/* Locks may have been given back since it looked. */
static void answer_or_wait(struct store_work *work)
{
    struct store_replica *replica = work->replica;

    store_repair_meet(work);
    if (!work->is_locked)
        store_work_answer(work);
    else if (replica->stopping || replica->failed)
        store_work_finish(work, HF_ECLOSED, "this node's replica has stopped");
    else if (store_machine_unlocks(replica->machine) != work->unlocks)
        store_work_read(replica, work);
    else
        store_work_wait_for_lock(replica, work);
}

/* [pool] */
static void read_job(hf_job *job)
{
    struct store_work *work = (struct store_work *)(void *)job;

    switch (work->op->type) {
    case STORE_OP_GET:
        read_record(work, 0);
        break;
    case STORE_OP_SCAN:
        read_page(work);
        break;
    case STORE_OP_SHAPE:
        count_shape(work);
        break;
    default:
        read_changes(work);
    }
}

static void read_done(hf_job *job)
{
    struct store_work *work = (struct store_work *)(void *)job;
    struct store_replica *replica = work->replica;

    replica->jobs--;
    store_work_count_result(work);
    answer_or_wait(work);
    store_replica_check_stopped(replica);
}

void store_work_submit(struct store_replica *replica, struct store_work *work)
{
    if (store_work_reserve_result(work) != HF_OK)
        return;
    work->state = STORE_WORK_RUNNING;
    work->job.loop = replica->setup.loop;
    work->job.work = read_job;
    work->job.done = read_done;
    if (replica->environment->loops->submit(replica->environment->host, &work->job, NULL) == HF_OK)
        replica->jobs++;
    else
        store_work_finish(work, HF_EBUSY, "too many reads are waiting for the disk");
}

void store_work_read(struct store_replica *replica, struct store_work *work)
{
    if (work->op->type == STORE_OP_MEMBERS || work->op->type == STORE_OP_SHAPE) {
        if (work->op->type == STORE_OP_MEMBERS)
            read_members(work);
        else
            read_shape(work);
        if (work->op->type == STORE_OP_SHAPE && work->op->code == HF_OK && is_to_be_counted(work))
            store_work_submit(replica, work);
        else
            store_work_answer(work);
        return;
    }
    work->wall_us = store_replica_time(replica);
    if (work->op->type == STORE_OP_GET) {
        read_record(work, HF_ENGINE_CACHED_ONLY);
        if (work->op->code != HF_EBUSY) {
            store_work_count_result(work);
            answer_or_wait(work);
            return;
        }
    }
    store_work_submit(replica, work);
}
