/* Committed entries go to the state machine: a few at once on the loop, more in a pool job, one job at a time. */
#include "replica/private.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>

enum {
    INLINE_ENTRIES_MAX = 32,
    INLINE_BYTES_MAX = 32 << 10,
    LAZY_ENTRIES_MAX = 64, /* that a follower lets wait for each other */
    LAZY_BYTES_MAX = 512 << 10
};

/* Takes what is committed and not yet applied, up to the limits of a job. */
static void gather(struct store_replica *replica, struct store_apply *apply)
{
    uint64_t bytes = 0, limit = store_check_limit(replica), last = replica->commit < limit ? replica->commit : limit;

    apply->count = 0;
    for (uint64_t index = replica->applied + 1;
         index <= last && apply->count < STORE_APPLY_ENTRIES_MAX && bytes < STORE_APPLY_BYTES_MAX; index++) {
        const struct store_entry_slot *slot = store_entries_get(&replica->entries, index);
        uint64_t i = apply->count++;

        apply->missing[i] = !slot;
        apply->payloads[i] = slot ? store_payload_hold(slot->payload) : NULL;
        apply->entries[i] = (struct store_entry){.index = index};
        if (slot) {
            apply->entries[i].term = slot->term;
            apply->entries[i].type = slot->type;
            apply->entries[i].payload = store_payload_slice(slot->payload);
            bytes += apply->entries[i].payload.size;
        }
    }
}

static int32_t read_missing(struct store_replica *replica, struct store_apply *apply, uint64_t i)
{
    struct store_log *log = replica->environment->log;
    struct store_entry *entry = &apply->entries[i];
    struct store_log_entry stored = {0};
    int32_t result = store_log_entry(log, replica->setup.partition, entry->index, &stored);

    if (result != HF_OK)
        return hf_error_set(&apply->error, HF_ECORRUPT, "entry %llu is missing from the log",
                            (unsigned long long)entry->index);
    apply->payloads[i] = store_payload_create(stored.size);
    if (!apply->payloads[i])
        return hf_error_set(&apply->error, HF_ENOMEM, "no memory for an entry of %u bytes", stored.size);
    result = store_log_read(log, replica->setup.partition, entry->index, apply->payloads[i]->bytes, stored.size,
                            &stored, &apply->error);
    entry->term = stored.term;
    entry->type = stored.type;
    entry->payload = store_payload_slice(apply->payloads[i]);
    return result;
}

static void apply_gathered(struct store_replica *replica, struct store_apply *apply, uint32_t flags)
{
    apply->applied = 0;
    apply->code = HF_OK;
    apply->error = (hf_error){0};
    for (uint64_t i = 0; i < apply->count && apply->code == HF_OK; i++)
        if (apply->missing[i])
            apply->code = read_missing(replica, apply, i);
    if (apply->code == HF_OK)
        apply->code = store_machine_apply(replica->machine, apply->entries, apply->count, flags, &apply->outcomes,
                                          &apply->applied, &apply->error);
}

/* Answers what was applied; the rest stays committed. */
static void settle(struct store_replica *replica, struct store_apply *apply)
{
    uint64_t done = 0; /* outcomes */

    replica->settling = 1; /* who is answered may ask for more, but not begin to apply it */
    for (uint64_t i = 0; i < apply->count; i++) {
        const struct store_entry *entry = &apply->entries[i];

        if (i < apply->applied) {
            store_works_settle(replica, entry->index, entry->term,
                               entry->outcome_count ? &apply->outcomes.items[done] : NULL, entry->outcome_count);
            done += entry->outcome_count;
        }
        store_payload_release(apply->payloads[i]);
    }
    if (apply->applied > 0) {
        replica->applied += apply->applied;
        atomic_store(&replica->published.applied, replica->applied);
        atomic_fetch_add(replica->environment->applied_total, apply->applied);
        if (!replica->failed)
            replica->environment->replication->applied(replica->group, replica->applied);
        store_works_applied(replica);
        if (replica->queued.count > 0) /* they may have waited for these */
            store_replica_run_soon(replica);
        store_replica_look_at_shape(replica);
        if (replica->setup.changed)
            replica->setup.changed(replica->setup.arg, replica);
    }
    replica->settling = 0;
    store_repair_engine(replica, apply->code, &apply->error);
    if (apply->code != HF_OK && apply->code != HF_EBUSY) /* busy: tried again later */
        store_replica_fail(replica, "applying entries", &apply->error);
}

/* [pool] */
static void work(hf_job *job)
{
    struct store_apply *apply = (struct store_apply *)(void *)job;

    apply_gathered(apply->replica, apply, 0);
}

static void done(hf_job *job)
{
    struct store_apply *apply = (struct store_apply *)(void *)job;
    struct store_replica *replica = apply->replica;

    replica->exclusive = 0;
    settle(replica, apply);
    if (apply->code == HF_OK)
        store_replica_run(replica);
    store_replica_check_stopped(replica);
}

static void submit(struct store_replica *replica, struct store_apply *apply)
{
    apply->job.loop = replica->setup.loop;
    apply->job.work = work;
    apply->job.done = done;
    replica->exclusive = 1;
    if (replica->environment->loops->submit(replica->environment->host, &apply->job, NULL) == HF_OK)
        return;
    replica->exclusive = 0; /* the pool is full: the next tick tries again */
    for (uint64_t i = 0; i < apply->count; i++)
        store_payload_release(apply->payloads[i]);
}

/* A few entries in memory cost less than the way to the pool and back. */
static int is_small(const struct store_replica *replica, const struct store_apply *apply)
{
    uint64_t bytes = 0;

    if (apply->count > INLINE_ENTRIES_MAX || replica->environment->engine->head.capabilities & HF_ENGINE_WRITES_BLOCK)
        return 0;
    for (uint64_t i = 0; i < apply->count; i++) {
        if (apply->missing[i])
            return 0;
        bytes += apply->entries[i].payload.size;
    }
    return bytes <= INLINE_BYTES_MAX;
}

static int may_start(struct store_replica *replica)
{
    return !replica->exclusive && !replica->settling && !replica->failed && !replica->stopping &&
           !store_snapshot_receive_claim(replica) && !store_snapshot_send_claim(replica) &&
           !store_check_claim(replica) && !store_repair_holds(replica) && replica->applied < replica->commit &&
           replica->applied < store_check_limit(replica);
}

/* Nobody waits for what a follower applies, and many entries at once cost half as much each: it lets them gather, until
 * they are many, somebody asks (store_apply_now), or the clock's next turn. */
static int may_wait(const struct store_replica *replica)
{
    uint64_t bytes = 0;

    if (replica->role != HF_ROLE_FOLLOWER || replica->apply_due || replica->setup.changed || replica->proposed.count ||
        replica->waiting.count || replica->watching.count || replica->refresh_index ||
        replica->commit - replica->applied >= LAZY_ENTRIES_MAX)
        return 0;
    for (uint64_t index = replica->applied + 1; index <= replica->commit && bytes < LAZY_BYTES_MAX; index++) {
        const struct store_entry_slot *slot = store_entries_get(&replica->entries, index);

        if (!slot)
            return 0;
        bytes += store_payload_slice(slot->payload).size;
    }
    return bytes < LAZY_BYTES_MAX;
}

void store_apply_now(struct store_replica *replica)
{
    replica->apply_due = 1;
    store_apply_start(replica);
    replica->apply_due = 0;
}

static struct store_apply *take_apply(struct store_replica *replica)
{
    if (replica->apply)
        return replica->apply;
    replica->apply = malloc(sizeof *replica->apply);
    if (!replica->apply)
        return NULL; /* the next tick tries again */
    replica->apply->replica = replica;
    replica->apply->outcomes = (struct store_outcomes){0};
    return replica->apply;
}

void store_apply_free(struct store_replica *replica)
{
    if (replica->apply)
        free(replica->apply->outcomes.items);
    free(replica->apply);
    replica->apply = NULL;
}

void store_apply_start(struct store_replica *replica)
{
    struct store_apply *apply = may_start(replica) ? take_apply(replica) : NULL;

    if (!apply || may_wait(replica))
        return;
    gather(replica, apply);
    if (is_small(replica, apply)) {
        apply_gathered(replica, apply, HF_ENGINE_CACHED_ONLY);
        settle(replica, apply);
        if (apply->code == HF_OK && replica->applied < replica->commit) /* more was committed while it was answered */
            store_replica_run_soon(replica);
        if (apply->code != HF_EBUSY || !may_start(replica))
            return;
        gather(replica, apply); /* the rest needs the disk, or the engine is behind */
    }
    submit(replica, apply);
}
