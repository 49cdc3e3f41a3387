/* A replica that has something damaged takes everything anew from its group's leader, as a snapshot, and keeps its
 * place in the group meanwhile: its log is whole.
 *
 * It stops applying while it waits, so that the snapshot is not behind what it has; entries go on being stored.  A
 * leader hands leadership over first.  A leader that is asked looks through its own replica before it gives it away, so
 * that damage does not spread.  What was repaired is looked through once more. */
#include "replica/check.h"
#include "replica/private.h"
#include "replica/snapshot.h"

#include <holdfast/lib/error.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    RETRY_US = 2000000,
    PATIENCE_US = 3000000,
    LEADER_PATIENCE_US = 200000, /* it answers nobody meanwhile, and another one could */
    SILENCE_US = 60000000,       /* of the leader, after it promised a snapshot */
    CALL_TIMEOUT_US = 10000000,
    CLEAN_US = 3600000000 /* how long a replica that was looked through is taken for whole */
};

enum { NONE, ASKING, RECEIVING };

/* Those in force, where the group can tell: one that is behind may not have applied who they are. */
static uint32_t list_members(const struct store_replica *replica, hf_replication_member members[STORE_MEMBERS_MAX])
{
    const hf_replication *replication = replica->environment->replication;
    struct store_machine_state state;

    if (replication->members)
        return replication->members(replica->group, members, STORE_MEMBERS_MAX);
    store_machine_state(replica->machine, &state);
    memcpy(members, state.members, sizeof state.members);
    return state.member_count;
}

static int has_other_voters(const struct store_replica *replica)
{
    hf_replication_member members[STORE_MEMBERS_MAX];
    uint32_t count = list_members(replica, members);

    for (uint32_t i = 0; i < count; i++)
        if (members[i].replica != replica->self && !members[i].learner)
            return 1;
    return 0;
}

/* ---- Noticing ---------------------------------------------------------------------------------------------------- */

static void set_damaged(struct store_replica *replica, int32_t damaged, const char *why)
{
    struct store_integrity *integrity = replica->environment->integrity;

    replica->damaged = damaged;
    atomic_store(&replica->published.damaged, damaged);
    integrity->changed(integrity->arg, replica->setup.partition, damaged, why);
}

void store_repair_begin(struct store_replica *replica, const char *why)
{
    if (replica->damaged || replica->failed)
        return;
    set_damaged(replica, 1, why);
    replica->clean_us = 0;
    replica->repair_us = 0;
    atomic_fetch_add(&replica->environment->integrity->damages, 1);
    store_replica_log(replica, HF_LOG_ERROR, "damaged: %s; %s", why,
                      has_other_voters(replica) ? "it is fetched anew from the other replicas"
                                                : "there is no other replica to repair it from: write the record anew, "
                                                  "or restore a backup");
}

void store_repair_engine(const struct store_replica *replica, int32_t code, const hf_error *error)
{
    struct store_integrity *integrity = replica->environment->integrity;

    if (code == HF_ECORRUPT)
        integrity->engine_damaged(integrity->arg, replica->setup.partition, error->message);
}

void store_repair_meet(struct store_work *work)
{
    struct store_replica *replica = work->replica;

    if (work->op->code != HF_ECORRUPT)
        return;
    atomic_fetch_add(&replica->environment->integrity->reads, 1);
    store_replica_log(replica, HF_LOG_WARNING, "a read met damage: %s", work->op->error.message);
    replica->suspect = 1; /* what it is, a look at everything will tell */
    replica->clean_us = 0;
    if (!has_other_voters(replica))
        return;
    hf_buffer_done(&work->op->result); /* half a page is no answer */
    work->op->code = HF_ENOTLEADER;
    hf_error_set(&work->op->error, HF_ENOTLEADER, "this replica is damaged; another one has to answer");
}

void store_repair_found(struct store_replica *replica, const struct store_findings *findings)
{
    struct store_integrity *integrity = replica->environment->integrity;

    atomic_fetch_add(&integrity->bytes, findings->bytes);
    if (findings->code != HF_OK && findings->code != HF_ECORRUPT)
        return;
    replica->suspect = 0;
    atomic_fetch_add(&integrity->checks, 1);
    atomic_store(&replica->published.checked_us, store_replica_time(replica));
    atomic_store(&replica->published.looked_us, replica->now_us);
    if (findings->engine) {
        integrity->engine_damaged(integrity->arg, replica->setup.partition, findings->error.message);
        store_repair_begin(replica, findings->error.message); /* so that others answer, whatever becomes of the node */
    } else if (findings->code == HF_ECORRUPT) {
        char why[600];

        snprintf(why, sizeof why, "%" PRIu64 " of %" PRIu64 " rows, the first one: %s", findings->damaged,
                 findings->rows, findings->error.message);
        store_repair_begin(replica, why);
    } else {
        replica->clean_us = replica->now_us;
        store_replica_log(replica, HF_LOG_DEBUG,
                          "looked through: %" PRIu64 " rows, %" PRIu64 " bytes, as of entry %" PRIu64, findings->rows,
                          findings->bytes, findings->index);
        if (replica->damaged && !replica->differs && replica->repair_phase == NONE)
            set_damaged(replica, 0, ""); /* later writes have replaced what was damaged */
        if (replica->damaged)
            return;
        if (atomic_exchange(&replica->published.repaired, 0))
            store_replica_log(replica, HF_LOG_INFO, "whole again: %" PRIu64 " rows as of entry %" PRIu64,
                              findings->rows, findings->index);
    }
}

void store_replica_differs(struct store_replica *replica, uint64_t leaves)
{
    char why[200];

    snprintf(why, sizeof why,
             "it is not what the majority of the replicas has, in %" PRIu64 " of %d ranges, though nothing in it alone "
             "shows it",
             leaves, STORE_HASH_TREE_LEAVES);
    replica->differs = 1;
    store_repair_begin(replica, why);
}

uint64_t store_replica_last_index(struct store_replica *replica)
{
    hf_replication_status status = {.size = sizeof status};

    replica->environment->replication->status(replica->group, &status);
    return status.last_index;
}

/* ---- What was merged into it, and is not here -------------------------------------------------------------------- */

/* It joined the group later, and goes through a log that has not been compacted since; or that partition is only a
 * moment behind, so it waits for a while. */
static int is_lacking(struct store_replica *replica)
{
    if (!store_machine_lacks_other(replica->machine)) {
        replica->lacking_us = 0;
        return 0;
    }
    if (!replica->lacking_us)
        replica->lacking_us = replica->now_us;
    return replica->now_us - replica->lacking_us > (replica->role == HF_ROLE_LEADER ? LEADER_PATIENCE_US : PATIENCE_US);
}

/* ---- Asking ------------------------------------------------------------------------------------------------------ */

int32_t store_repair_holds(const struct store_replica *replica)
{
    return replica->repair_phase != NONE && replica->role != HF_ROLE_LEADER;
}

static void again_later(struct store_replica *replica)
{
    replica->repair_phase = NONE;
    replica->repair_us = replica->now_us + RETRY_US;
    store_replica_run_soon(replica);
}

static void asked(void *arg, int32_t code, hf_slice response)
{
    struct store_replica *replica = arg;

    (void)response;
    replica->jobs--;
    if (replica->repair_phase == ASKING && code == HF_OK) {
        replica->repair_phase = RECEIVING;
        replica->repair_us = replica->now_us + SILENCE_US;
    } else if (replica->repair_phase == ASKING) {
        again_later(replica);
    }
    store_replica_check_stopped(replica);
}

static void ask(struct store_replica *replica, uint32_t node)
{
    const struct store_environment *environment = replica->environment;
    const struct store_snapshot_request request = {
        .kind = STORE_SNAPSHOT_WANT, .partition = replica->setup.partition, .session = replica->self};
    uint8_t head[STORE_SNAPSHOT_BEGIN_MAX];
    const hf_slice piece = {head, store_snapshot_write(head, &request)};

    replica->repair_phase = ASKING;
    replica->jobs++;
    environment->peers->call(environment->snapshots, node, &piece, 1, CALL_TIMEOUT_US, asked, replica);
}

/* Not to the same one each time, which may be away. */
static void hand_over(struct store_replica *replica)
{
    const hf_replication *replication = replica->environment->replication;
    hf_replication_member members[STORE_MEMBERS_MAX];
    uint32_t count = list_members(replica, members);

    for (uint32_t i = 0; i < count; i++) {
        const hf_replication_member *member = &members[replica->repair_turn++ % count];
        hf_replication_progress progress = {.size = sizeof progress};

        if (member->learner || member->replica == replica->self ||
            replication->progress(replica->group, member->replica, &progress) != HF_OK || !progress.reachable)
            continue;
        (void)replication->transfer(replica->group, member->replica, NULL); /* refused: the next one, a little later */
        store_replica_run_soon(replica);
        return;
    }
}

/* What it was promised when another one led does not come any more. */
static void step_down(struct store_replica *replica)
{
    replica->repair_phase = NONE;
    if (replica->now_us < replica->hand_over_us || !has_other_voters(replica))
        return;
    replica->hand_over_us = replica->now_us + RETRY_US;
    hand_over(replica);
}

static void next_step(struct store_replica *replica, int lacks)
{
    replica->repair_us = replica->now_us + RETRY_US;
    if (!has_other_voters(replica))
        return;
    if ((replica->damaged || lacks) && replica->leader && replica->environment->peers && !replica->receiver)
        ask(replica, replica->leader - 1);
}

void store_repair_tick(struct store_replica *replica)
{
    if (replica->suspect && !replica->check)
        (void)store_replica_check(replica, 0, NULL, NULL,
                                  NULL); /* when there is no memory, the next tick tries again */
    int lacks = is_lacking(replica);

    if ((!replica->damaged && !replica->suspect && !lacks) || replica->repair_phase == ASKING)
        return;
    if (replica->role == HF_ROLE_LEADER) {
        step_down(replica);
        return;
    }
    if (replica->repair_phase == RECEIVING && replica->receiver)
        replica->repair_us = replica->now_us + SILENCE_US; /* it comes */
    if (replica->now_us < replica->repair_us)
        return;
    if (replica->repair_phase == RECEIVING)
        again_later(replica);
    else
        next_step(replica, lacks);
}

void store_repair_received(struct store_replica *replica, int32_t code)
{
    if (!replica->damaged && replica->repair_phase == NONE)
        return;
    if (code != HF_OK) {
        again_later(replica);
        return;
    }
    replica->repair_phase = NONE;
    if (!replica->damaged)
        return; /* it has what it lacked */
    replica->differs = 0;
    set_damaged(replica, 0, "");
    replica->suspect = 1; /* to be seen */
    atomic_store(&replica->published.repaired, 1);
    atomic_fetch_add(&replica->environment->integrity->repairs, 1);
    store_replica_log(replica, HF_LOG_WARNING, "repaired: everything was fetched anew up to entry %" PRIu64,
                      replica->applied);
}

/* ---- Being asked ------------------------------------------------------------------------------------------------- */

int32_t store_repair_asked(struct store_replica *replica, uint64_t target)
{
    struct store_machine_state state;
    int is_member = 0;

    store_machine_state(replica->machine, &state);
    for (uint32_t i = 0; i < state.member_count; i++)
        is_member |= state.members[i].replica == target && target != replica->self;
    if (!is_member)
        return HF_EINVAL;
    if (replica->role != HF_ROLE_LEADER || replica->damaged)
        return HF_ENOTLEADER;
    if (!replica->clean_us || replica->now_us - replica->clean_us > CLEAN_US) {
        (void)store_replica_check(replica, 0, NULL, NULL, NULL); /* it may be under way */
        return HF_EBUSY;
    }
    store_snapshot_send_repair(replica, target);
    store_replica_run_soon(replica);
    return HF_OK;
}
