/* Life of a replica: opening from engine and log, time, stopping; see replica.h. */
#include "replica/private.h"

#include <holdfast/lib/error.h>

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Payloads stay in memory this long after the last write, for followers that are a little behind. */
enum { ENTRIES_IDLE_US = 2000000, RATE_EVERY_US = 1000000, RATE_WINDOW = 10 };

void store_replica_log(const struct store_replica *replica, int32_t level, const char *format, ...)
{
    const hf_host *host = replica->environment->host;
    char text[700];
    va_list arguments;
    int size = snprintf(text, sizeof text, "partition %llu: ", (unsigned long long)replica->setup.partition);

    va_start(arguments, format);
    vsnprintf(text + size, sizeof text - (size_t)size, format, arguments);
    va_end(arguments);
    host->log(host, level, (hf_slice){(const uint8_t *)text, strlen(text)});
}

/* ---- Opening ----------------------------------------------------------------------------------------------------- */

/* A batch that the opener waits for: no loop runs the replica yet. */
struct awaited {
    struct store_log_request request;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int done;
    int32_t code;
};

static void awaited_done(struct store_log_request *request, int32_t code, void *argument)
{
    struct awaited *awaited = argument;

    (void)request;
    pthread_mutex_lock(&awaited->lock);
    awaited->code = code;
    awaited->done = 1;
    pthread_cond_signal(&awaited->changed);
    pthread_mutex_unlock(&awaited->lock);
}

static int32_t store_and_wait(struct store_log *log, const struct store_log_record *records, uint64_t count,
                              hf_error *error)
{
    struct awaited awaited = {.request = {.records = records, .count = count, .done = awaited_done},
                              .lock = PTHREAD_MUTEX_INITIALIZER,
                              .changed = PTHREAD_COND_INITIALIZER};
    int32_t result;

    awaited.request.argument = &awaited;
    result = store_log_submit(log, &awaited.request, error);
    if (result != HF_OK)
        return result;
    pthread_mutex_lock(&awaited.lock);
    while (!awaited.done)
        pthread_cond_wait(&awaited.changed, &awaited.lock);
    pthread_mutex_unlock(&awaited.lock);
    return awaited.code == HF_OK ? HF_OK : hf_error_set(error, awaited.code, "the log could not be written");
}

/* The log is gone, with it the term and the vote; but nobody else votes, and the engine alone has every write that was
 * answered: a replacement of the node takes over what the engine keeps elsewhere. */
static int can_do_without_log(const struct store_replica *replica, const struct store_machine_state *state,
                              const struct store_log_group_info *info)
{
    return (replica->environment->engine->head.capabilities & HF_ENGINE_WRITES_DURABLE) && state->member_count == 1 &&
           state->members[0].replica == replica->self && info->term == 0 && info->last_index == 0;
}

static int32_t begin_without_log(const struct store_replica *replica, const struct store_machine_state *state,
                                 struct store_log_group_info *info, hf_error *error)
{
    const struct store_log_record record = {.type = STORE_LOG_STATE,
                                            .group = replica->setup.partition,
                                            .term = state->applied_term,
                                            .commit = state->applied_index};
    int32_t result = store_and_wait(replica->environment->log, &record, 1, error);

    if (result != HF_OK)
        return result;
    info->term = state->applied_term;
    info->commit = state->applied_index;
    store_replica_log(replica, HF_LOG_WARNING, "there is no log; going on behind what the engine has, entry %llu",
                      (unsigned long long)state->applied_index);
    return HF_OK;
}

/* The applied position is not in the log: a snapshot was installed, the log's last entries were applied before they
 * were durable here, or the partition came of a split and begins here.  The log's entries are then of no use, and it
 * begins anew behind what is applied. */
static int32_t begin_log_behind(const struct store_replica *replica, const struct store_machine_state *state,
                                struct store_log_group_info *info, hf_error *error)
{
    const struct store_log_record records[] = {
        {.type = STORE_LOG_TRUNCATE, .group = replica->setup.partition, .index = info->first_index},
        {.type = STORE_LOG_COMPACT,
         .group = replica->setup.partition,
         .index = state->applied_index + 1,
         .snapshot_index = state->applied_index,
         .term = state->applied_term},
        {.type = STORE_LOG_STATE,
         .group = replica->setup.partition,
         .term = state->applied_term,
         .commit = state->applied_index},
    };
    const struct store_environment *environment = replica->environment;
    int is_behind = info->term < state->applied_term;
    /* What came of a split is in the engine's memory only; without it the log could not be gone on with. */
    int32_t result = environment->engine->flush(environment->database, error);

    if (result == HF_OK)
        result = store_and_wait(environment->log, records, is_behind ? 3 : 2, error);
    if (result != HF_OK)
        return result;
    if (is_behind) {
        info->term = state->applied_term; /* in which it has not voted */
        info->vote = 0;
        info->commit = state->applied_index;
    }
    info->first_index = state->applied_index + 1;
    info->last_index = state->applied_index;
    info->snapshot_index = state->applied_index;
    info->snapshot_term = state->applied_term;
    return HF_OK;
}

static int32_t reconcile(const struct store_replica *replica, const struct store_machine_state *state,
                         struct store_log_group_info *info, hf_error *error)
{
    struct store_log_entry entry = {0};

    if (state->applied_index < info->snapshot_index)
        return hf_error_set(
            error, HF_ECORRUPT,
            "partition %llu: the engine has entries up to %llu, but the log begins behind %llu; restore "
            "this node's data, or remove it so that it is fetched from the other nodes",
            (unsigned long long)replica->setup.partition, (unsigned long long)state->applied_index,
            (unsigned long long)info->snapshot_index);
    if (state->applied_index == info->snapshot_index)
        return HF_OK;
    if (store_log_entry(replica->environment->log, replica->setup.partition, state->applied_index, &entry) == HF_OK &&
        entry.term == state->applied_term)
        return HF_OK;
    if (can_do_without_log(replica, state, info)) {
        int32_t result = begin_without_log(replica, state, info, error);

        if (result != HF_OK)
            return result;
    }
    return begin_log_behind(replica, state, info, error);
}

static int32_t read_membership(const struct store_replica *replica, const struct store_log_entry *stored,
                               hf_replication_entry *entry, hf_error *error)
{
    struct store_log_entry found;
    uint8_t *payload = malloc(stored->size ? stored->size : 1);

    if (!payload)
        return hf_error_set(error, HF_ENOMEM, "no memory for an entry of the log");
    entry->payload = payload;
    return store_log_read(replica->environment->log, replica->setup.partition, entry->index, payload, stored->size,
                          &found, error);
}

static int32_t read_entries(const struct store_replica *replica, const struct store_log_group_info *info,
                            hf_replication_entry *entries, hf_error *error)
{
    for (uint64_t index = info->first_index; index <= info->last_index; index++) {
        hf_replication_entry *entry = &entries[index - info->first_index];
        struct store_log_entry stored = {0};
        int32_t result = store_log_entry(replica->environment->log, replica->setup.partition, index, &stored);

        if (result != HF_OK)
            return hf_error_set(error, HF_ECORRUPT, "partition %llu: entry %llu is missing from the log",
                                (unsigned long long)replica->setup.partition, (unsigned long long)index);
        *entry = (hf_replication_entry){.index = index, .term = stored.term, .type = stored.type, .size = stored.size};
        if (stored.type == HF_ENTRY_MEMBERSHIP)
            result = read_membership(replica, &stored, entry, error);
        if (result != HF_OK)
            return result;
    }
    return HF_OK;
}

/* A node that lost its disk takes part again under a new id, and an id that this node once had may still be among the
 * members. */
static void find_self(struct store_replica *replica, const struct store_machine_state *state)
{
    replica->self = replica->setup.self;
    for (uint32_t i = 0; i < state->member_count; i++) {
        uint64_t id = state->members[i].replica;

        if (store_replica_node(id) == replica->environment->self && id > replica->self)
            replica->self = id;
    }
}

static int32_t open_group(struct store_replica *replica, const struct store_machine_state *state,
                          const struct store_log_group_info *info, hf_error *error)
{
    uint64_t count = info->last_index - info->first_index + 1;
    hf_replication_entry *entries = calloc(count + 1, sizeof *entries);
    hf_replication_setup setup = {
        .size = sizeof setup,
        .member_count = state->member_count,
        .self = replica->self,
        .members = state->members,
        .state = {.term = info->term, .vote = info->vote, .commit = info->commit},
        .snapshot_index = info->snapshot_index,
        .snapshot_term = info->snapshot_term,
        .applied_index = state->applied_index,
        .entries = entries,
        .entry_count = count,
        .now_us = replica->setup.now_us,
        .random_seed = replica->setup.random_seed,
    };
    int32_t result;

    if (!entries)
        return hf_error_set(error, HF_ENOMEM, "no memory for the log's entries");
    result = read_entries(replica, info, entries, error);
    if (result == HF_OK)
        result = replica->environment->replication->group_open(replica->environment->replication_self, &setup,
                                                               &replica->group, error);
    for (uint64_t i = 0; i < count; i++)
        free((void *)(uintptr_t)entries[i].payload);
    free(entries);
    return result;
}

static int32_t open_parts(struct store_replica *replica, hf_error *error)
{
    const struct store_environment *environment = replica->environment;
    struct store_log_group_info info = {.first_index = 1};
    struct store_machine_state state;
    int32_t result = store_machine_open(environment->engine, environment->database, replica->setup.partition,
                                        replica->setup.members, replica->setup.member_count, &replica->machine, error);

    if (result != HF_OK)
        return result;
    store_machine_state(replica->machine, &state);
    find_self(replica, &state);
    store_log_group(environment->log, replica->setup.partition, &info); /* not found: a new replica */
    result = reconcile(replica, &state, &info, error);
    if (result == HF_OK)
        result = open_group(replica, &state, &info, error);
    store_entries_init(&replica->entries, info.last_index + 1);
    replica->announce = replica->setup.announce && info.last_index == 0 && state.applied_index == 0;
    replica->epoch = state.shape.epoch;
    replica->applied = replica->commit = state.applied_index;
    replica->compacted = info.snapshot_index;
    return result;
}

int32_t store_replica_open(const struct store_replica_setup *setup, struct store_replica **ret_replica, hf_error *error)
{
    struct store_replica *replica = calloc(1, sizeof *replica);
    int32_t result;

    if (!replica)
        return hf_error_set(error, HF_ENOMEM, "no memory for a replica");
    replica->setup = *setup;
    replica->environment = setup->environment;
    replica->now_us = setup->now_us;
    store_queues_begin(&replica->queues, setup->environment->admission, setup->table, setup->partition);
    replica->role = -1; /* whatever it becomes is news */
    result = open_parts(replica, error);
    if (result != HF_OK) {
        store_replica_close(replica);
        return result;
    }
    *ret_replica = replica;
    return HF_OK;
}

void store_replica_close(struct store_replica *replica)
{
    if (!replica)
        return;
    store_snapshot_send_free(replica);
    store_snapshot_receive_free(replica);
    store_check_free(replica);
    store_removal_free(replica);
    if (replica->group)
        replica->environment->replication->group_close(replica->group);
    if (replica->machine)
        store_machine_close(replica->machine);
    store_entries_done(&replica->entries);
    store_apply_free(replica);
    free(replica);
}

uint64_t store_replica_partition(const struct store_replica *replica)
{
    return replica->setup.partition;
}

uint64_t store_replica_self(const struct store_replica *replica)
{
    return replica->self;
}

struct store_replica_published *store_replica_published(struct store_replica *replica)
{
    return &replica->published;
}

struct store_machine *store_replica_machine(struct store_replica *replica)
{
    return replica->machine;
}

/* ---- Time and messages ------------------------------------------------------------------------------------------- */

static void trim_entries(struct store_replica *replica)
{
    hf_replication_status status = {.size = sizeof status};
    int idle = replica->now_us - replica->entries_used_us > ENTRIES_IDLE_US;
    uint64_t durable;

    if (idle && replica->apply && !replica->exclusive)
        store_apply_free(replica);
    if (replica->entries.count == 0 || (!idle && replica->entries.bytes < replica->environment->cache_maximum))
        return;
    replica->environment->replication->status(replica->group, &status);
    durable = status.persisted_index < replica->applied || store_repair_holds(replica) ? status.persisted_index
                                                                                       : replica->applied;
    store_entries_trim(&replica->entries, durable, idle ? 0 : replica->environment->cache_maximum);
}

/* Operations per second, over about ten seconds, of a leader. */
static void count_rate(struct store_replica *replica)
{
    uint64_t passed_us = replica->now_us - replica->rate_us;

    if (passed_us < RATE_EVERY_US)
        return;
    uint64_t rate = replica->role == HF_ROLE_LEADER ? replica->operations * 1000000 / passed_us : 0;

    replica->rate = replica->rate - replica->rate / RATE_WINDOW + rate / RATE_WINDOW;
    replica->operations = 0;
    replica->rate_us = replica->now_us;
    atomic_store_explicit(&replica->published.rate, replica->rate, memory_order_relaxed);
}

/* Most replicas have nothing to do most of the time, and there may be thousands. */
void store_replica_tick(struct store_replica *replica, uint64_t now_us)
{
    int due = replica->next_wake_us <= now_us;

    if (replica->now_us < now_us)
        replica->now_us = now_us;
    if (replica->failed || replica->stopping)
        return;
    store_queues_measure(&replica->queues, now_us);
    store_storage_retry(replica);
    store_works_expire(replica);
    store_stale_tick(replica);
    store_snapshot_receive_tick(replica);
    store_check_tick(replica);
    store_repair_tick(replica);
    store_removal_tick(replica);
    store_fork_tick(replica);
    store_measure_tick(replica);
    count_rate(replica);
    trim_entries(replica);
    store_members_tick(replica);
    if (due)
        replica->environment->replication->tick(replica->group, now_us);
    if (due || replica->queued.count || replica->applied < replica->commit || store_snapshot_send_busy(replica) ||
        store_snapshot_receive_busy(replica) || store_check_busy(replica))
        store_replica_run(replica);
    if (replica->applied < replica->commit)
        store_apply_now(replica);
}

/* The group goes on sending to a replica that was lost with its disk until the one that takes its place votes, which
 * can be this one: that is said once, and is as if the messages were lost. */
static int is_for_another(struct store_replica *replica, const struct store_message *message)
{
    if (message->to == replica->self)
        return 0;
    if (replica->other_self != message->to)
        store_replica_log(
            replica, HF_LOG_INFO,
            "messages for replica %llu, which is not here, are dropped until the group knows of %llu only",
            (unsigned long long)message->to, (unsigned long long)replica->self);
    replica->other_self = message->to;
    return 1;
}

void store_replica_receive(struct store_replica *replica, struct store_message *message)
{
    hf_replication_message received = {.from = message->from,
                                       .to = message->to,
                                       .first_index = message->first_index,
                                       .entry_count = message->entry_count,
                                       .header_size = message->header_size};
    hf_replication_entry *entries = NULL;
    hf_error error = {0};

    int ignored = replica->failed || replica->stopping || replica->installing || is_for_another(replica, message);

    if (!ignored && message->entry_count > 0)
        entries = calloc(message->entry_count, sizeof *entries);
    if (ignored || (message->entry_count > 0 && !entries)) {
        store_message_done(message); /* as if it had been lost */
        return;
    }
    for (uint32_t i = 0; i < message->entry_count; i++) {
        hf_slice payload = store_payload_slice(message->entries[i].payload);

        entries[i] = (hf_replication_entry){.index = message->first_index + i,
                                            .term = message->entries[i].term,
                                            .type = message->entries[i].type,
                                            .size = (uint32_t)payload.size,
                                            .payload = payload.data};
    }
    received.entries = entries;
    memcpy(received.header, message->header, message->header_size);
    replica->incoming = message;
    replica->now_us = replica->environment->clock_us();
    if (replica->environment->replication->receive(replica->group, &received, replica->now_us, &error) != HF_OK)
        store_replica_log(replica, HF_LOG_WARNING, "a message of replica %llu was refused: %s",
                          (unsigned long long)message->from, error.message);
    store_replica_run(replica);
    replica->incoming = NULL;
    free(entries);
    store_message_done(message);
}

/* The id under which the node takes part, as far as this replica knows; 0: it does not. */
static uint64_t member_of(const struct store_replica *replica, uint32_t node)
{
    struct store_machine_state state;
    uint64_t id = 0;

    store_machine_state(replica->machine, &state);
    for (uint32_t i = 0; i < state.member_count; i++)
        if (store_replica_node(state.members[i].replica) == node && state.members[i].replica > id)
            id = state.members[i].replica;
    return id;
}

void store_replica_link_changed(struct store_replica *replica, uint32_t node, int32_t up)
{
    const hf_replication *replication = replica->environment->replication;
    uint64_t other = member_of(replica, node);

    if (replica->failed || replica->stopping || !other || (up && !replication->reachable))
        return;
    replica->now_us = replica->environment->clock_us();
    if (up)
        replication->reachable(replica->group, other, replica->now_us);
    else
        replication->unreachable(replica->group, other, replica->now_us);
    store_replica_run(replica);
}

int32_t store_replica_transfer(struct store_replica *replica, uint32_t node, hf_error *error)
{
    int32_t result;

    if (replica->failed || replica->stopping)
        return hf_error_set(error, HF_ENOTLEADER, "this replica does not take part any more");
    result = replica->environment->replication->transfer(replica->group, member_of(replica, node), error);
    store_replica_run(replica);
    return result;
}

void store_replica_compact(struct store_replica *replica, uint64_t index)
{
    const hf_replication *replication = replica->environment->replication;
    struct store_machine_state state;
    struct store_storage *storage;
    uint64_t term = 0;

    /* Behind a snapshot that is being installed, this would go back. */
    if (replica->failed || replica->stopping || replica->installing || index <= replica->compacted ||
        index > replica->applied || replication->term_at(replica->group, index, &term) != HF_OK)
        return;
    /* One that has joined and not yet applied the entry that says so has no members to give away with a snapshot:
     * nobody could install it, so the entries must stay. */
    store_machine_state(replica->machine, &state);
    if (state.member_count == 0)
        return;
    storage = store_storage_create(replica, 1);
    if (!storage)
        return; /* the next round tries again */
    storage->records[0] = (struct store_log_record){.type = STORE_LOG_COMPACT,
                                                    .group = replica->setup.partition,
                                                    .index = index + 1,
                                                    .snapshot_index = index,
                                                    .term = term};
    storage->compacted = index;
    replica->compacted = index;
    store_storage_submit(storage);
}

/* ---- Ending ------------------------------------------------------------------------------------------------------ */

void store_replica_check_stopped(struct store_replica *replica)
{
    void (*stopped)(void *arg) = replica->stopped;

    if (!replica->stopping || !stopped || replica->storage || replica->exclusive || replica->jobs ||
        replica->slow_sends || replica->run_posted || store_snapshot_send_busy(replica) ||
        store_snapshot_receive_busy(replica) || store_check_busy(replica))
        return;
    replica->stopped = NULL;
    stopped(replica->stopped_arg);
}

/* Lets another member lead at once, instead of after an election time-out. */
static void hand_over(struct store_replica *replica)
{
    struct store_machine_state state;

    store_machine_state(replica->machine, &state);
    for (uint32_t i = 0; i < state.member_count && replica->role == HF_ROLE_LEADER; i++) {
        uint64_t other = state.members[i].replica;

        if (other != replica->self && !state.members[i].learner &&
            store_replica_transfer(replica, store_replica_node(other), NULL) == HF_OK)
            return;
    }
}

void store_replica_stop(struct store_replica *replica, void (*stopped)(void *arg), void *arg)
{
    if (!replica->failed)
        hand_over(replica);
    replica->stopping = 1;
    replica->stopped = stopped;
    replica->stopped_arg = arg;
    store_works_end(replica, HF_ECLOSED, "this node is shutting down");
    store_snapshot_send_stop(replica);
    store_snapshot_receive_stop(replica);
    store_check_stop(replica);
    store_replica_check_stopped(replica);
}

int32_t store_replica_erase(struct store_replica *replica, hf_error *error)
{
    const struct store_environment *environment = replica->environment;
    const struct store_log_record record = {.type = STORE_LOG_REMOVED, .group = replica->setup.partition};
    /* The log goes first. Rows without a log are as good as a snapshot for the next replica that comes here; a log
     * whose rows are gone would look like damage to it, and would keep the segments that it lies in for ever. */
    int32_t result = store_and_wait(environment->log, &record, 1, error);

    if (result == HF_OK)
        result = store_machine_erase(replica->machine, error);
    return result == HF_OK ? environment->engine->flush(environment->database, error) : result;
}

void store_replica_fail(struct store_replica *replica, const char *what, const hf_error *error)
{
    if (replica->failed)
        return;
    replica->failed = 1;
    atomic_store(&replica->published.failed, 1);
    atomic_store(&replica->published.role, HF_ROLE_FOLLOWER);
    atomic_store(&replica->published.leader, 0);
    store_replica_log(replica, HF_LOG_ERROR, "%s: %s; this replica stops, the others go on without it", what,
                      error && error->message[0] ? error->message : "no details");
    store_works_end(replica, HF_EIO, "this node's replica has stopped on an error, see its log");
    if (replica->setup.changed)
        replica->setup.changed(replica->setup.arg, replica);
    store_check_stop(replica);
    store_replica_check_stopped(replica);
}
