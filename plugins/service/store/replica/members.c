/* A leader brings its group to the members that are wanted, step by step. */
#include "replica/private.h"
#include "replica/step.h"

#include <holdfast/lib/error.h>

#include <string.h>

enum {
    NEARLY_ENTRIES = 64,     /* a member that lacks no more than this has nearly everything */
    TRANSFER_US = 10000000,  /* between two tries to let the preferred replica lead */
    NEW_LEADER_US = 3000000, /* a new leader leaves the others time to come back first */
    LOOK_US = 300000,        /* between two looks: there may be thousands of groups */
    STEP_US = 100000         /* likewise, while the members change */
};

void store_replica_want(struct store_replica *replica, const hf_replication_member *members, uint32_t count)
{
    replica->wanted_count = count;
    replica->members_us = 0;
    memcpy(replica->wanted, members, count * sizeof *members);
}

static int is_ready(void *arg, uint64_t id)
{
    struct store_replica *replica = arg;
    const hf_replication *replication = replica->environment->replication;
    hf_replication_progress progress = {.size = sizeof progress};
    hf_replication_status status = {.size = sizeof status};

    replication->status(replica->group, &status);
    return replication->progress(replica->group, id, &progress) == HF_OK && progress.reachable &&
           progress.match_index + NEARLY_ENTRIES >= status.last_index;
}

static void propose(struct store_replica *replica, const struct store_step *step)
{
    hf_slice bytes = {(const uint8_t *)step->members, step->count * sizeof step->members[0]};
    uint64_t index = 0, term = 0;
    struct store_payload *payload = store_payload_copy(bytes);

    if (!payload)
        return; /* the next tick tries again */
    int32_t result = replica->environment->replication->propose_membership(replica->group, step->members, step->count,
                                                                           &index, &term, NULL);

    if (result == HF_OK && store_entries_add(&replica->entries, term, HF_ENTRY_MEMBERSHIP, payload) != HF_OK) {
        store_replica_fail(replica, "entries could not be kept", NULL);
        result = HF_ENOMEM;
    }
    if (result != HF_OK) {
        store_payload_release(payload);
        return; /* busy with an earlier change */
    }
    replica->step_us = replica->now_us;
    replica->announce = 0;
    store_replica_log(replica, HF_LOG_INFO, "the group's members change to %u at entry %llu", step->count,
                      (unsigned long long)index);
    store_replica_run(replica);
}

void store_members_tick(struct store_replica *replica)
{
    struct store_machine_state state;
    struct store_step step;

    if (replica->role != HF_ROLE_LEADER || (replica->wanted_count == 0 && !replica->announce)) {
        replica->step_us = replica->now_us; /* when it leads, it has just begun */
        atomic_store_explicit(&replica->published.moving, 0, memory_order_relaxed);
        return;
    }
    if (replica->now_us < replica->members_us)
        return;
    replica->members_us = replica->now_us + LOOK_US;
    store_machine_state(replica->machine, &state);
    if (replica->announce) {
        struct store_step same = {.count = state.member_count};

        memcpy(same.members, state.members, sizeof same.members);
        propose(replica, &same);
        return;
    }
    store_step_next(state.members, state.member_count, replica->wanted, replica->wanted_count, replica->self, is_ready,
                    replica, &step);
    atomic_store_explicit(&replica->published.moving, !step.arrived, memory_order_relaxed);
    if (!step.arrived)
        replica->members_us = replica->now_us + STEP_US;
    if (step.type == STORE_STEP_CHANGE && replica->now_us - replica->step_us >= STEP_US) {
        propose(replica, &step);
    } else if (step.type == STORE_STEP_TRANSFER &&
               replica->now_us - replica->step_us > (step.arrived ? TRANSFER_US : NEW_LEADER_US)) {
        replica->step_us = replica->now_us;
        (void)replica->environment->replication->transfer(replica->group, step.to, NULL);
        store_replica_run(replica);
    }
}
