/* The replica's turn: queued writes are proposed, and what the group then asks for is done. */
#include "replica/private.h"

#include <holdfast/lib/error.h>

/* Entries that the group has appended and that are not in memory yet: those of the message that it is taking, or a new
 * leader's empty one. */
static int32_t bind_entries(struct store_replica *replica, const hf_replication_output *output)
{
    uint64_t end = output->append_first + output->append_count;
    const struct store_message *incoming = replica->incoming;

    if (output->truncate_from)
        store_entries_truncate(&replica->entries, output->truncate_from);
    if (output->append_count == 0)
        return HF_OK;
    replica->entries_used_us = replica->now_us;
    for (uint64_t index = store_entries_next(&replica->entries); index < end; index++) {
        struct store_payload *payload = NULL;
        int32_t type = HF_ENTRY_EMPTY, result;
        uint64_t term = 0;

        if (incoming && index >= incoming->first_index && index - incoming->first_index < incoming->entry_count) {
            const struct store_message_entry *entry = &incoming->entries[index - incoming->first_index];
            term = entry->term;
            type = entry->type;
            payload = store_payload_hold(entry->payload);
        } else {
            result = replica->environment->replication->term_at(replica->group, index, &term);
            if (result != HF_OK)
                return result;
        }
        result = store_entries_add(&replica->entries, term, type, payload);
        if (result != HF_OK) {
            store_payload_release(payload);
            return result;
        }
    }
    return HF_OK;
}

/* A new leader does not wait for those whose link was lost before it led. */
static void report_lost_links(struct store_replica *replica)
{
    const struct store_environment *environment = replica->environment;
    struct store_machine_state state;

    store_machine_state(replica->machine, &state);
    for (uint32_t i = 0; environment->peers && i < state.member_count; i++) {
        uint64_t other = state.members[i].replica;
        uint32_t node = store_replica_node(other);

        if (node != environment->self && !environment->peers->is_up(environment->messages, node))
            environment->replication->unreachable(replica->group, other, replica->now_us);
    }
}

static void publish(struct store_replica *replica)
{
    struct store_replica_published *published = &replica->published;
    hf_replication_status status = {.size = sizeof status};

    replica->environment->replication->status(replica->group, &status);
    replica->next_wake_us = status.next_wake_us;
    atomic_store_explicit(&published->term, status.term, memory_order_relaxed);
    atomic_store_explicit(&published->commit, replica->commit, memory_order_relaxed);
    if (replica->role == status.role && replica->group_leader == status.leader)
        return;
    replica->role = status.role;
    replica->group_leader = status.leader;
    replica->leader = status.leader ? store_replica_node(status.leader) + 1 : 0;
    atomic_store_explicit(&published->role, status.role, memory_order_relaxed);
    atomic_store_explicit(&published->leader, replica->leader, memory_order_relaxed);
    if (replica->role == HF_ROLE_LEADER)
        report_lost_links(replica);
    if (replica->setup.changed)
        replica->setup.changed(replica->setup.arg, replica);
}

static void do_output(struct store_replica *replica)
{
    hf_replication_output output = {.size = sizeof output};

    replica->environment->replication->take(replica->group, &output);
    if (bind_entries(replica, &output) != HF_OK || store_storage_output(replica, &output) != HF_OK) {
        store_replica_fail(replica, "entries could not be kept", NULL);
        return;
    }
    store_send_output(replica, &output);
    if (output.commit_index > replica->commit)
        replica->commit = output.commit_index;
    store_snapshots_send(replica, &output);
    store_works_answer_reads(replica, &output);
}

void store_replica_run(struct store_replica *replica)
{
    if (replica->running) {
        replica->again = 1;
        return;
    }
    replica->running = 1;
    do {
        replica->again = 0;
        if (!replica->failed && !replica->stopping)
            store_works_propose(replica);
        if (!replica->failed)
            do_output(replica);
    } while (replica->again && !replica->failed);
    replica->running = 0;
    if (!replica->failed) {
        publish(replica);
        store_apply_start(replica);
    }
    store_replica_check_stopped(replica);
}

static void run_task(hf_task *task)
{
    struct store_replica *replica = (struct store_replica *)((char *)task - offsetof(struct store_replica, run_task));

    replica->run_posted = 0;
    store_replica_run(replica);
}

void store_replica_run_soon(struct store_replica *replica)
{
    if (replica->run_posted)
        return;
    replica->run_posted = 1;
    replica->run_task.run = run_task;
    replica->environment->loops->post(replica->setup.loop, &replica->run_task);
}
