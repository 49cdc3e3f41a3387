/* Operations in the hands of a replica: writes on their way through the log, reads on their way to an index.
 *
 * A write is queued, proposed together with others (then it has an index, which they share), and settled by what is
 * applied at that index.  Only that tells its fate: while nothing is applied there, the entry may still be committed by
 * another leader. */
#include "replica/private.h"

#include "bug.h"
#include "command_check.h"

#include <holdfast/lib/error.h>

enum { PHASE_OPERATIONS = 16 /* that a phase is taken for: what it carries out lies in the engine */ };
enum { RESULT_MAX = 2 * STORE_SCAN_BYTES_MAX + (64 << 20) };

void store_works_add(struct store_works *works, struct store_work *work)
{
    work->next = NULL;
    work->previous = works->last;
    if (works->last)
        works->last->next = work;
    else
        works->first = work;
    works->last = work;
    works->count++;
}

void store_works_remove(struct store_works *works, struct store_work *work)
{
    if (work->previous)
        work->previous->next = work->next;
    else
        works->first = work->next;
    if (work->next)
        work->next->previous = work->previous;
    else
        works->last = work->previous;
    works->count--;
}

void store_work_answer(struct store_work *work)
{
    if (work->op->code == HF_ENOTLEADER)
        work->op->leader = work->replica->leader;
    if (work->op->stale)
        store_stale_age(work);
    if (work->admitted)
        store_queues_leave(&work->replica->queues, work->op);
    work->done(work);
}

void store_work_finish(struct store_work *work, int32_t code, const char *message)
{
    work->op->code = code;
    if (code != HF_OK)
        hf_error_set(&work->op->error, code, "%s", message);
    if (code == HF_EBUSY)
        work->op->error.retry_after_ms =
            store_queues_retry_after_ms(&work->replica->queues, work->op, work->replica->now_us);
    store_work_answer(work);
}

static void refuse_not_leader(struct store_work *work)
{
    store_work_finish(work, HF_ENOTLEADER, "this node does not lead the partition");
}

/* ---- Writes ------------------------------------------------------------------------------------------------------ */

static void queue_write(struct store_replica *replica, struct store_work *work)
{
    hf_error why = {0};

    if (replica->role != HF_ROLE_LEADER) {
        refuse_not_leader(work);
        return;
    }
    if (store_command_check(work->op->command, &why) != HF_OK) {
        store_replica_log(replica, HF_LOG_ERROR, "a write was refused: %s", why.message);
        store_work_finish(work, HF_EBUSY, why.message);
        return;
    }
    work->state = STORE_WORK_QUEUED;
    store_works_add(&replica->queued, work);
    store_replica_run_soon(replica); /* with all that come in this turn */
}

uint64_t store_replica_time(const struct store_replica *replica)
{
    uint64_t now = replica->environment->wall_us(replica->environment->host);

    return now < replica->last_time_us ? replica->last_time_us : now;
}

/* The leader's clock decides about times, and they do not go back. */
static struct store_bundle begin_bundle(struct store_replica *replica, uint32_t count)
{
    uint64_t now = replica->last_time_us = store_replica_time(replica);
    uint64_t changes = replica->setup.keep_changes_us, repeats = replica->setup.keep_repeats_us;

    return (struct store_bundle){.time_us = now,
                                 .feed_horizon_us = now > changes ? now - changes : 0,
                                 .repeat_horizon_us = now > repeats ? now - repeats : 0,
                                 .count = count};
}

/* How many of the queued writes go into one entry: at least one. */
static uint32_t count_fitting(const struct store_replica *replica, uint64_t *ret_size)
{
    uint64_t size = STORE_BUNDLE_HEAD_SIZE, operations = 0;
    uint32_t count = 0;

    for (const struct store_work *work = replica->queued.first; work && count < STORE_BUNDLE_COMMANDS_MAX;
         work = work->next) {
        uint64_t more = STORE_BUNDLE_COMMAND_HEAD_SIZE + work->op->command.size;

        if (store_is_reshape(work->op->command)) { /* is alone in its entry */
            if (count == 0)
                size += more;
            count += count == 0;
            break;
        }
        operations +=
            store_is_phase(work->op->command) ? PHASE_OPERATIONS : store_command_operations(work->op->command);
        if (count > 0 && (size + more > STORE_BUNDLE_BYTES_MAX || operations > STORE_OPERATIONS_MAX))
            break;
        size += more;
        count++;
    }
    *ret_size = size;
    return count;
}

static struct store_payload *bundle_queued(struct store_replica *replica, uint32_t count, uint64_t size)
{
    struct store_bundle bundle = begin_bundle(replica, count);
    struct store_payload *payload = store_payload_create(size);
    const struct store_work *work = replica->queued.first;

    if (!payload)
        return NULL;
    uint8_t *to = store_bundle_write_head(payload->bytes, &bundle);

    for (uint32_t i = 0; i < count; i++, work = work->next)
        to = store_bundle_write_command(to, work->op->command);
    return payload;
}

static struct store_work *take_first(struct store_replica *replica)
{
    struct store_work *work = replica->queued.first;

    store_works_remove(&replica->queued, work);
    return work;
}

/* One entry of what is queued.  HF_EBUSY: not now. */
static int32_t propose_entry(struct store_replica *replica)
{
    uint64_t size = 0, index = 0, term = 0;
    uint32_t count = count_fitting(replica, &size), size32 = (uint32_t)size;
    int32_t result = replica->environment->replication->propose(replica->group, &size32, 1, &index, &term, NULL);

    if (result == HF_EBUSY)
        return result; /* enough is under way; what comes back makes room */
    if (result != HF_OK) {
        refuse_not_leader(take_first(replica));
        return HF_OK;
    }
    struct store_payload *payload = bundle_queued(replica, count, size);

    if (!payload || store_entries_add(&replica->entries, term, HF_ENTRY_NORMAL, payload) != HF_OK) {
        store_payload_release(payload);
        store_replica_fail(replica, "entries could not be kept", NULL);
        return HF_ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct store_work *work = take_first(replica);

        work->index = index;
        work->term = term;
        work->place = i;
        work->state = STORE_WORK_PROPOSED;
        store_works_add(&replica->proposed, work);
    }
    return HF_OK;
}

/* What comes while the log is written goes together with the next write, which is what makes many writes cheap: each
 * flush costs three nodes as much as dozens of writes do.  When few have come by its end, and a majority has not
 * confirmed the last ones yet, more are about to come: their senders wait for that answer.  So the wait ends at the
 * latest with the flush of the quicker follower, and one that waits for nothing else goes at once. */
static int worth_an_entry(const struct store_replica *replica)
{
    return replica->queued.count > 0 && !replica->storage && replica->queued.count * 2 >= replica->proposed.count;
}

void store_works_propose(struct store_replica *replica)
{
    while (worth_an_entry(replica) && propose_entry(replica) == HF_OK)
        ;
}

/* A transaction that meets a lock must not wait for it while it holds others; its sender begins it again. */
static void settle_one(struct store_work *work, const struct store_outcome *outcome)
{
    work->op->version = outcome->version;
    work->op->operation = outcome->operation;
    switch (outcome->code) {
    case HF_OK:
        store_work_finish(work, HF_OK, "");
        break;
    case HF_ECONFLICT:
        store_work_finish(work, HF_ECONFLICT, "the condition of the write did not hold");
        break;
    case HF_ESTATE:
        if (store_is_phase(work->op->command))
            store_work_finish(work, HF_ESTATE, "another transaction has locked a record, or it is not decided yet");
        else
            store_work_wait_for_lock(work->replica, work);
        break;
    case HF_EMOVED:
        store_work_finish(work, HF_EMOVED, STORE_MOVED);
        break;
    case HF_EINVAL:
        store_work_finish(work, HF_EINVAL, "the idempotency key has been used for another request; use a new one");
        break;
    case HF_EEXIST:
    case HF_EBUSY:
    case HF_EDENIED:
        store_work_finish(work, outcome->code, "the step of a transaction or a split was refused");
        break;
    default:
        store_work_finish(work, outcome->code, "the write could not be understood");
    }
}

void store_works_settle(struct store_replica *replica, uint64_t index, uint64_t term,
                        const struct store_outcome *outcomes, uint64_t count)
{
    while (replica->proposed.first && replica->proposed.first->index <= index) {
        struct store_work *work = replica->proposed.first;

        store_works_remove(&replica->proposed, work);
        if (work->index == index && work->term != term && !STORE_BUG(ANSWER_PROPOSED))
            refuse_not_leader(work); /* another entry is committed in its place */
        else if (work->index == index && work->place < count)
            settle_one(work, &outcomes[work->place]);
        else /* its place was passed over by a snapshot */
            store_work_finish(work, HF_ETIMEOUT, "the outcome of the write is not known to this node");
    }
}

/* ---- Reads ------------------------------------------------------------------------------------------------------- */

static void begin_read(struct store_replica *replica, struct store_work *work)
{
    if (work->op->stale) {
        store_apply_now(replica);
        store_stale_begin(replica, work);
        return;
    }
    work->index = ++replica->read_context;
    replica->now_us = replica->environment->clock_us();
    if (replica->environment->replication->read_request(replica->group, work->index, replica->now_us, NULL) != HF_OK) {
        refuse_not_leader(work);
        return;
    }
    work->state = STORE_WORK_READING;
    store_works_add(&replica->reading, work);
    store_replica_run_soon(replica);
}

void store_works_answer_reads(struct store_replica *replica, const hf_replication_output *output)
{
    for (uint64_t i = 0; i < output->read_count; i++) {
        struct store_work *work = replica->reading.first;

        while (work && work->index != output->reads[i].context) /* the first, unless others have expired */
            work = work->next;
        if (!work)
            continue;
        store_works_remove(&replica->reading, work);
        work->index = output->reads[i].index;
        if (output->reads[i].code != HF_OK) {
            refuse_not_leader(work);
        } else if (work->index <= replica->applied) {
            store_work_read(replica, work);
        } else {
            work->state = STORE_WORK_WAITING;
            store_works_add(&replica->waiting, work);
        }
    }
}

/* ---- Locks ------------------------------------------------------------------------------------------------------- */

void store_work_wait_for_lock(struct store_replica *replica, struct store_work *work)
{
    work->state = STORE_WORK_LOCKED;
    store_works_add(&replica->locked, work);
}

/* All of them once more, when locks have been given back: most will find theirs gone. */
static void retry_locked(struct store_replica *replica)
{
    struct store_works waiting = replica->locked;
    uint64_t unlocks = store_machine_unlocks(replica->machine);

    if (unlocks == replica->unlocks_seen)
        return;
    replica->unlocks_seen = unlocks;
    replica->locked = (struct store_works){0};
    while (waiting.first) {
        struct store_work *work = waiting.first;

        store_works_remove(&waiting, work);
        if (work->op->type == STORE_OP_WRITE)
            queue_write(replica, work);
        else
            store_work_read(replica, work);
    }
}

static void begin_changes(struct store_replica *replica, struct store_work *work)
{
    struct store_machine_state state;

    store_apply_now(replica);
    store_machine_state(replica->machine, &state);
    if (work->op->wait_ms == 0 || !store_range_is_here(&state.shape, work->op) ||
        (work->op->from <= state.feed_last && state.feed_last > 0)) {
        store_work_submit(replica, work);
        return;
    }
    work->retry_us = replica->now_us + (uint64_t)work->op->wait_ms * 1000;
    work->state = STORE_WORK_WATCHING;
    store_works_add(&replica->watching, work);
}

void store_works_applied(struct store_replica *replica)
{
    struct store_machine_state state;
    struct store_work *next;

    for (struct store_work *work = replica->waiting.first; work; work = next) {
        next = work->next;
        if (work->index > replica->applied)
            continue;
        store_works_remove(&replica->waiting, work);
        store_work_read(replica, work);
    }
    retry_locked(replica);
    store_stale_applied(replica);
    if (replica->watching.count == 0)
        return;
    store_machine_state(replica->machine, &state);
    for (struct store_work *work = replica->watching.first; work; work = next) {
        next = work->next;
        if (work->op->from > state.feed_last)
            continue;
        store_works_remove(&replica->watching, work);
        store_work_submit(replica, work);
    }
}

/* ---- All --------------------------------------------------------------------------------------------------------- */

void store_replica_execute(struct store_replica *replica, struct store_work *work)
{
    work->replica = replica;
    replica->operations++;
    hf_buffer_init(&work->op->result, RESULT_MAX);
    if (replica->failed) {
        store_work_finish(work, work->op->type == STORE_OP_WRITE ? HF_ENOTLEADER : HF_EIO,
                          "this node's replica has stopped on an error, see its log");
        return;
    }
    if (replica->stopping) {
        store_work_finish(work, HF_ECLOSED, "this node is shutting down");
        return;
    }
    if (work->op->type == STORE_OP_WRITE && replica->role != HF_ROLE_LEADER) {
        refuse_not_leader(work);
        return;
    }
    if (store_queues_enter(&replica->queues, work->op, replica->environment->loops->now_us(replica->setup.loop)) !=
        HF_OK) {
        store_work_answer(work);
        return;
    }
    work->admitted = 1;
    if (work->op->type == STORE_OP_WRITE)
        queue_write(replica, work);
    else if (work->op->type == STORE_OP_CHANGES && work->op->stale)
        begin_changes(replica, work);
    else
        begin_read(replica, work);
}

static void expire(struct store_replica *replica, struct store_works *works, int32_t code, const char *message)
{
    struct store_work *next;

    for (struct store_work *work = works->first; work; work = next) {
        next = work->next;
        if (work->op->deadline_us > replica->now_us)
            continue;
        store_works_remove(works, work);
        store_work_finish(work, code, message);
    }
}

void store_works_expire(struct store_replica *replica)
{
    struct store_work *next;

    expire(replica, &replica->queued, HF_EBUSY, "the write waited too long to be begun");
    expire(replica, &replica->proposed, HF_ETIMEOUT,
           "no majority has confirmed the write in time; it may still be done");
    expire(replica, &replica->reading, HF_ENOTLEADER, "no majority has confirmed the read in time");
    expire(replica, &replica->locked, HF_EBUSY, "a transaction has locked the record for too long");
    expire(replica, &replica->waiting, HF_EBUSY, "what is to be read was not applied in time");
    for (struct store_work *work = replica->watching.first; work; work = next) {
        next = work->next;
        if (work->retry_us > replica->now_us)
            continue;
        store_works_remove(&replica->watching, work);
        store_work_submit(replica, work); /* an empty page */
    }
}

static void end_list(struct store_works *works, int32_t code, const char *message)
{
    while (works->first) {
        struct store_work *work = works->first;

        store_works_remove(works, work);
        store_work_finish(work, code, message);
    }
}

void store_works_end(struct store_replica *replica, int32_t code, const char *message)
{
    end_list(&replica->queued, code == HF_EIO ? HF_ENOTLEADER : code, message);
    end_list(&replica->proposed, HF_ETIMEOUT, message);
    end_list(&replica->reading, code == HF_EIO ? HF_ENOTLEADER : code, message);
    end_list(&replica->waiting, code == HF_EIO ? HF_ENOTLEADER : code, message);
    end_list(&replica->locked, code == HF_EIO ? HF_ENOTLEADER : code, message);
    end_list(&replica->refreshing, code == HF_EIO ? HF_ENOTLEADER : code, message);
    end_list(&replica->watching, code, message);
}
