/* The driver of three groups: what kind/replication.h asks of it, in its order; see cluster.h. */
#include "cluster.h"

#include "host_private.h"

#include <stdlib.h>
#include <string.h>

enum { DELAY_US = 5000, PATIENCE_US = 60 * 1000000 };

static uint64_t random_number(struct cluster *cluster)
{
    cluster->random = cluster->random * 6364136223846793005u + 1442695040888963407u;
    return cluster->random >> 33;
}

/* ---- What a group wants done ------------------------------------------------------------------------------------- */

static void store(struct cluster *cluster, struct cluster_replica *replica, const hf_replication_output *output)
{
    if (output->state_changed) {
        if (output->state.term < replica->state.term)
            hf_kit_fail("the term to store went back from %llu to %llu", (unsigned long long)replica->state.term,
                        (unsigned long long)output->state.term);
        replica->state = output->state;
    }
    if (output->truncate_from) {
        if (output->truncate_from <= replica->applied)
            hf_kit_fail("entry %llu is to be dropped, and was applied", (unsigned long long)output->truncate_from);
        if (output->truncate_from <= replica->last)
            replica->last = output->truncate_from - 1;
    }
    if (output->append_count && output->append_first != replica->last + 1 &&
        output->append_first + output->append_count - 1 > replica->last)
        hf_kit_fail("entries from %llu on are to be stored, and the log ends at %llu",
                    (unsigned long long)output->append_first, (unsigned long long)replica->last);
    for (uint64_t i = 0; i < output->append_count; i++) {
        uint64_t index = output->append_first + i;
        hf_replication_entry *entry = &replica->log[index <= LOG_MAX ? index : 0];
        uint64_t term = 0;
        if (index > LOG_MAX)
            hf_kit_fail("the log grows past %d entries", LOG_MAX);
        if (cluster->table->term_at(replica->group, index, &term) != HF_OK)
            hf_kit_fail("term_at does not know the entry %llu that is to be stored", (unsigned long long)index);
        if (entry->index != index || entry->term != term) { /* neither proposed nor received: a new leader's own */
            *entry = (hf_replication_entry){.index = index, .term = term, .type = HF_ENTRY_EMPTY};
            replica->values[index] = 0;
        }
        replica->last = index > replica->last ? index : replica->last;
    }
}

static void apply(struct cluster *cluster, struct cluster_replica *replica, uint64_t commit)
{
    if (commit > replica->last)
        hf_kit_fail("entry %llu is committed, and the log ends at %llu", (unsigned long long)commit,
                    (unsigned long long)replica->last);
    while (replica->applied < commit) {
        uint64_t index = ++replica->applied, mark = replica->values[index] + 1 + (replica->log[index].term << 32);
        if (cluster->kept_values[index] && cluster->kept_values[index] != mark)
            hf_kit_fail("two replicas applied different entries at %llu", (unsigned long long)index);
        cluster->kept_values[index] = mark;
        cluster->table->applied(replica->group, index);
    }
}

static void send_one(struct cluster *cluster, uint32_t from, const hf_replication_message *message)
{
    const struct cluster_replica *replica = &cluster->replicas[from];

    if (message->to < 1 || message->to > CLUSTER_SIZE || message->to == from + 1 || message->from != from + 1)
        hf_kit_fail("replica %u sent a message from %llu to %llu", from + 1, (unsigned long long)message->from,
                    (unsigned long long)message->to);
    if (message->header_size > HF_REPLICATION_HEADER_MAX || message->entry_count > LOG_MAX)
        hf_kit_fail("a message has a header of %u bytes or %llu entries", message->header_size,
                    (unsigned long long)message->entry_count);
    cluster->sample = *message;
    if ((cluster->cut >> from & 1) || (cluster->cut >> (message->to - 1) & 1) || cluster->queued == QUEUE_MAX ||
        random_number(cluster) % 100 < cluster->lost_percent)
        return;
    struct cluster_message *slot = &cluster->queue[cluster->queued];
    slot->message = *message;
    slot->entries = kit_allocate((message->entry_count + 1) * sizeof *slot->entries);
    slot->due_us = cluster->now_us + 1 + random_number(cluster) % DELAY_US;
    for (uint64_t i = 0; i < message->entry_count; i++) {
        uint64_t index = message->first_index + i;
        if (index == 0 || index > replica->last)
            hf_kit_fail("a message carries the entry %llu, and the log ends at %llu", (unsigned long long)index,
                        (unsigned long long)replica->last);
        slot->entries[i] = replica->log[index];
    }
    cluster->queued++;
}

static void take(struct cluster *cluster, uint32_t index)
{
    struct cluster_replica *replica = &cluster->replicas[index];

    for (int32_t round = 0; round < 1000; round++) {
        hf_replication_output output = {.size = sizeof output};
        cluster->table->take(replica->group, &output);
        store(cluster, replica, &output);
        for (uint64_t i = 0; i < output.message_count; i++)
            send_one(cluster, index, &output.messages[i]);
        cluster->reads_answered += output.read_count;
        uint64_t commit = output.commit_index;
        if (output.write_id)
            cluster->table->persisted(replica->group, output.write_id);
        if (commit > replica->applied)
            apply(cluster, replica, commit);
        else if (!output.write_id && !output.message_count)
            return;
    }
    hf_kit_fail("take never comes to an end: there is something new every time");
}

/* ---- Time and messages ------------------------------------------------------------------------------------------- */

/* Payloads do not matter here, so an entry's value is its size. */
static void deliver(struct cluster *cluster, struct cluster_message *slot)
{
    uint32_t to = (uint32_t)slot->message.to - 1;
    struct cluster_replica *replica = &cluster->replicas[to];
    hf_error error = {0};

    if (!replica->group || (cluster->cut >> to & 1))
        return;
    slot->message.entries = slot->entries;
    int32_t result = cluster->table->receive(replica->group, &slot->message, cluster->now_us, &error);
    if (result != HF_OK)
        hf_kit_fail("a message of another replica was refused (%d): %s", result, error.message);
    for (uint64_t i = 0; i < slot->message.entry_count; i++) {
        const hf_replication_entry *entry = &slot->entries[i];
        uint64_t term = 0;
        if (entry->index > replica->applied && entry->index <= LOG_MAX &&
            cluster->table->term_at(replica->group, entry->index, &term) == HF_OK && term == entry->term) {
            replica->log[entry->index] = *entry;
            replica->values[entry->index] = entry->size;
        }
    }
    take(cluster, to);
}

/* One message that is due; the others move up. */
static int32_t deliver_due(struct cluster *cluster)
{
    struct cluster_message slot;

    for (uint32_t i = 0; i < cluster->queued; i++) {
        if (cluster->queue[i].due_us > cluster->now_us)
            continue;
        slot = cluster->queue[i];
        cluster->queued--;
        memmove(&cluster->queue[i], &cluster->queue[i + 1], (cluster->queued - i) * sizeof slot);
        deliver(cluster, &slot);
        free(slot.entries);
        return 1;
    }
    return 0;
}

void cluster_run(struct cluster *cluster, uint64_t us)
{
    for (uint64_t end = cluster->now_us + us; cluster->now_us < end;) {
        cluster->now_us += TICK_US / 4;
        while (deliver_due(cluster)) {
        }
        for (uint32_t i = 0; i < CLUSTER_SIZE; i++)
            if (cluster->replicas[i].group) {
                cluster->table->tick(cluster->replicas[i].group, cluster->now_us);
                take(cluster, i);
            }
    }
}

/* ---- Waiting ----------------------------------------------------------------------------------------------------- */

uint32_t cluster_leader(struct cluster *cluster)
{
    uint64_t best = 0;
    uint32_t leader = CLUSTER_SIZE;

    for (uint32_t i = 0; i < CLUSTER_SIZE; i++) {
        hf_replication_status status = {.size = sizeof status};
        if (!cluster->replicas[i].group)
            continue;
        cluster->table->status(cluster->replicas[i].group, &status);
        if (status.role != HF_ROLE_LEADER)
            continue;
        if (status.term == best)
            hf_kit_fail("there are two leaders of the term %llu", (unsigned long long)best);
        if (status.term > best) {
            best = status.term;
            leader = i;
        }
    }
    return leader < CLUSTER_SIZE && (cluster->cut >> leader & 1) ? CLUSTER_SIZE : leader;
}

uint32_t cluster_wait_leader(struct cluster *cluster)
{
    for (uint64_t waited = 0; waited < PATIENCE_US; waited += TICK_US) {
        if (cluster_leader(cluster) < CLUSTER_SIZE)
            return cluster_leader(cluster);
        cluster_run(cluster, TICK_US);
    }
    hf_kit_fail("nobody was elected within %d s", PATIENCE_US / 1000000);
}

void cluster_propose(struct cluster *cluster)
{
    uint32_t size = (uint32_t)++cluster->next_value;
    hf_error error = {0};

    for (uint64_t waited = 0; waited < PATIENCE_US; waited += TICK_US) {
        uint64_t index = 0, term = 0;
        uint32_t leader = cluster_wait_leader(cluster);
        struct cluster_replica *replica = &cluster->replicas[leader];
        int32_t result = cluster->table->propose(replica->group, &size, 1, &index, &term, &error);
        if (result == HF_OK) {
            if (index == 0 || index > LOG_MAX || term == 0)
                hf_kit_fail("propose gave the index %llu and the term %llu", (unsigned long long)index,
                            (unsigned long long)term);
            replica->log[index] = (hf_replication_entry){.index = index, .term = term, .size = size};
            replica->values[index] = size;
            take(cluster, leader);
            return;
        }
        if (result != HF_ENOTLEADER && result != HF_EBUSY)
            hf_kit_fail("propose failed (%d): %s", result, error.message);
        cluster_run(cluster, TICK_US);
    }
    hf_kit_fail("no leader took an entry within %d s", PATIENCE_US / 1000000);
}

/* The entry that a change of members made, as its replica keeps it. */
static void keep_change(struct cluster *cluster, uint32_t at, uint64_t index, uint64_t term,
                        const hf_replication_member *members, uint32_t count)
{
    struct cluster_replica *replica = &cluster->replicas[at];
    hf_replication_member *payload = cluster->changes[cluster->change_count++];

    if (cluster->change_count > CHANGES_MAX || index == 0 || index > LOG_MAX || index != replica->last + 1)
        hf_kit_fail("a change of members came to stand at %llu, and the log ends at %llu", (unsigned long long)index,
                    (unsigned long long)replica->last);
    memcpy(payload, members, count * sizeof *members);
    replica->log[index] = (hf_replication_entry){.index = index,
                                                 .term = term,
                                                 .type = HF_ENTRY_MEMBERSHIP,
                                                 .size = count * (uint32_t)sizeof *members,
                                                 .payload = (const uint8_t *)payload};
    replica->values[index] = replica->log[index].size;
    take(cluster, at);
}

void cluster_change_members(struct cluster *cluster, const hf_replication_member *members, uint32_t count)
{
    hf_error error = {0};

    for (uint64_t waited = 0; waited < PATIENCE_US; waited += TICK_US) {
        uint64_t index = 0, term = 0;
        uint32_t leader = cluster_wait_leader(cluster);
        int32_t result =
            cluster->table->propose_membership(cluster->replicas[leader].group, members, count, &index, &term, &error);
        if (result == HF_OK) {
            keep_change(cluster, leader, index, term, members, count);
            return;
        }
        if (result != HF_ENOTLEADER && result != HF_EBUSY)
            hf_kit_fail("propose_membership failed (%d): %s", result, error.message);
        cluster_run(cluster, TICK_US);
    }
    hf_kit_fail("no leader took a change of members within %d s", PATIENCE_US / 1000000);
}

void cluster_force_members(struct cluster *cluster, uint32_t index, const hf_replication_member *members,
                           uint32_t count)
{
    uint64_t at = 0, term = 0;
    hf_error error = {0};
    int32_t result = cluster->table->force_membership(cluster->replicas[index].group, members, count, cluster->now_us,
                                                      &at, &term, &error);

    if (result != HF_OK)
        hf_kit_fail("force_membership failed (%d): %s", result, error.message);
    if (term <= cluster->replicas[index].state.term)
        hf_kit_fail("force_membership made an entry of term %llu, and term %llu has been stored",
                    (unsigned long long)term, (unsigned long long)cluster->replicas[index].state.term);
    keep_change(cluster, index, at, term, members, count);
}

static int32_t all_applied(const struct cluster *cluster, uint64_t index)
{
    uint64_t applied = 0;
    int32_t first = 1;

    for (uint32_t i = 0; i < CLUSTER_SIZE; i++) {
        const struct cluster_replica *replica = &cluster->replicas[i];
        if (!replica->group || (cluster->cut >> i & 1))
            continue;
        if (replica->applied < index || (!first && replica->applied != applied))
            return 0;
        applied = replica->applied;
        first = 0;
    }
    return 1;
}

void cluster_wait_applied(struct cluster *cluster, uint64_t index)
{
    for (uint64_t waited = 0; waited < PATIENCE_US; waited += TICK_US) {
        if (all_applied(cluster, index))
            return;
        cluster_run(cluster, TICK_US);
    }
    hf_kit_fail("the entry %llu did not reach all replicas within %d s", (unsigned long long)index,
                PATIENCE_US / 1000000);
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

void cluster_start(struct cluster *cluster, uint32_t index)
{
    struct cluster_replica *replica = &cluster->replicas[index];
    hf_replication_member members[CLUSTER_SIZE] = {{.replica = 1}, {.replica = 2}, {.replica = 3}};
    hf_error error = {0};
    hf_replication_setup setup = {
        .size = sizeof setup,
        .member_count = CLUSTER_SIZE,
        .self = index + 1,
        .members = members,
        .state = replica->state,
        .applied_index = replica->applied,
        .entries = replica->log + 1,
        .entry_count = replica->last,
        .now_us = cluster->now_us,
        .random_seed = random_number(cluster),
    };

    hf_kit_step("group_open with a log of %llu entries", (unsigned long long)replica->last);
    int32_t result = cluster->table->group_open(cluster->instance.self, &setup, &replica->group, &error);
    if (result != HF_OK)
        hf_kit_fail("group_open refused what it had asked to store (%d): %s", result, error.message);
    hf_kit_step("the suite's own work");
}

/* A driver tells a group when it cannot reach a replica. */
static void report_lost(struct cluster *cluster, uint32_t to, uint32_t lost)
{
    if (!cluster->replicas[to].group)
        return;
    cluster->table->unreachable(cluster->replicas[to].group, lost + 1, cluster->now_us);
    take(cluster, to);
}

/* What was stored stays, and everything else is lost. */
void cluster_crash(struct cluster *cluster, uint32_t index)
{
    cluster->table->group_close(cluster->replicas[index].group);
    cluster->replicas[index].group = NULL;
    for (uint32_t i = 0; i < CLUSTER_SIZE; i++)
        report_lost(cluster, i, index);
}

void cluster_cut(struct cluster *cluster, uint32_t index)
{
    cluster->cut = 1u << index;
    for (uint32_t i = 0; i < CLUSTER_SIZE; i++)
        if (i != index) {
            report_lost(cluster, i, index);
            report_lost(cluster, index, i);
        }
}

void cluster_open(struct cluster *cluster, const hf_kit_subject *subject)
{
    *cluster = (struct cluster){.instance = hf_kit_instance_create(subject), .now_us = 1000000, .random = 42};
    cluster->table = (const hf_replication *)(const void *)cluster->instance.capability.head;
    cluster->queue = kit_allocate(QUEUE_MAX * sizeof *cluster->queue);
    for (uint32_t i = 0; i < CLUSTER_SIZE; i++)
        cluster_start(cluster, i);
}

void cluster_close(struct cluster *cluster)
{
    hf_kit_step("group_close");
    for (uint32_t i = 0; i < CLUSTER_SIZE; i++)
        cluster->table->group_close(cluster->replicas[i].group);
    hf_kit_instance_destroy(&cluster->instance);
    while (cluster->queued)
        free(cluster->queue[--cluster->queued].entries);
    free(cluster->queue);
}
