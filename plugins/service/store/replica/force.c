/* What only an operator asks of a replica: how it stands, so that a group that lost its majority for good can be
 * recovered; to become the group; to leave for ever. */
#include "replica/private.h"

#include <holdfast/lib/error.h>

#include <string.h>

enum { TRANSACTIONS_MAX = 64 };

void store_replica_stand(struct store_replica *replica, struct store_replica_standing *ret_standing)
{
    const hf_replication *replication = replica->environment->replication;
    hf_replication_status status = {.size = sizeof status};
    struct store_transaction transactions[TRANSACTIONS_MAX];

    replication->status(replica->group, &status);
    *ret_standing = (struct store_replica_standing){.failed = replica->failed || replica->stopping,
                                                    .leads = status.role == HF_ROLE_LEADER,
                                                    .last_index = status.last_index,
                                                    .commit = status.commit_index};
    (void)replication->term_at(replica->group, status.last_index, &ret_standing->last_term);
    if (replication->members)
        ret_standing->member_count = replication->members(replica->group, ret_standing->members, STORE_MEMBERS_MAX);
    ret_standing->transactions =
        store_machine_transactions(replica->machine, UINT64_MAX, UINT64_MAX, transactions, TRANSACTIONS_MAX);
}

static int is_alone(const struct store_replica *replica, const struct store_replica_standing *standing)
{
    return standing->member_count == 1 && standing->members[0].replica == replica->self &&
           !standing->members[0].learner;
}

static int32_t check_force(const struct store_replica *replica, const struct store_replica_standing *standing,
                           uint64_t last_term, uint64_t last_index, hf_error *error)
{
    if (!replica->environment->replication->force_membership)
        return hf_error_set(error, HF_EUNSUPPORTED, "the replication plugin cannot force a membership");
    if (standing->failed)
        return hf_error_set(error, HF_EIO, "the replica has stopped on an error, or is ending");
    if (replica->installing || store_snapshot_receive_busy(replica))
        return hf_error_set(error, HF_EBUSY, "the replica is taking in a snapshot");
    if (standing->last_term != last_term || standing->last_index != last_index)
        return hf_error_set(error, HF_ECONFLICT,
                            "its log ends at entry %llu of term %llu, and the plan was made for entry %llu of term "
                            "%llu",
                            (unsigned long long)standing->last_index, (unsigned long long)standing->last_term,
                            (unsigned long long)last_index, (unsigned long long)last_term);
    return HF_OK;
}

int32_t store_replica_force(struct store_replica *replica, uint64_t last_term, uint64_t last_index, hf_error *error)
{
    const hf_replication_member alone = {.replica = replica->self};
    struct store_replica_standing standing;
    struct store_payload *payload;
    uint64_t index = 0, term = 0;
    int32_t result;

    store_replica_stand(replica, &standing);
    if (is_alone(replica, &standing))
        return HF_OK;                     /* by an earlier try */
    store_snapshot_receive_stop(replica); /* the rest would come from a dead node, if ever */
    result = check_force(replica, &standing, last_term, last_index, error);
    if (result != HF_OK)
        return result;
    payload = store_payload_copy((hf_slice){(const uint8_t *)&alone, sizeof alone});
    if (!payload)
        return hf_error_set(error, HF_ENOMEM, "no memory for a change of members");
    replica->now_us = replica->environment->clock_us();
    result = replica->environment->replication->force_membership(replica->group, &alone, 1, replica->now_us, &index,
                                                                 &term, error);
    if (result == HF_OK) {
        result = store_entries_add(&replica->entries, term, HF_ENTRY_MEMBERSHIP, payload);
        if (result != HF_OK)
            store_replica_fail(replica, "entries could not be kept", NULL);
    }
    if (result != HF_OK) {
        store_payload_release(payload);
        return result;
    }
    replica->announce = 0;
    store_replica_log(replica, HF_LOG_WARNING,
                      "an operator has made this replica the group, with entry %llu of term %llu; what only lost "
                      "replicas had is lost",
                      (unsigned long long)index, (unsigned long long)term);
    store_replica_run(replica);
    return HF_OK;
}

void store_replica_leave(struct store_replica *replica)
{
    if (replica->failed)
        return;
    replica->failed = 1;
    atomic_store(&replica->published.role, HF_ROLE_FOLLOWER);
    atomic_store(&replica->published.leader, 0);
    store_works_end(replica, HF_ECLOSED, "this node takes no part any more: the others know better than its disk");
    if (replica->setup.changed)
        replica->setup.changed(replica->setup.arg, replica);
    store_replica_check_stopped(replica);
}
