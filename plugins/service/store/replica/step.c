/* The next change of members; see step.h. */
#include "replica/step.h"

#include "table/table.h"

#include <string.h>

struct plan {
    const hf_replication_member *actual, *wanted;
    uint32_t actual_count, wanted_count;
    uint64_t self;
    store_step_ready ready;
    void *arg;
    struct store_step *step;
};

static const hf_replication_member *find(const hf_replication_member *members, uint32_t count, uint64_t replica)
{
    for (uint32_t i = 0; i < count; i++)
        if (members[i].replica == replica)
            return &members[i];
    return NULL;
}

/* The change begins as what is there. */
static struct store_step *begin_change(const struct plan *plan)
{
    plan->step->type = STORE_STEP_CHANGE;
    plan->step->count = plan->actual_count;
    memcpy(plan->step->members, plan->actual, plan->actual_count * sizeof plan->actual[0]);
    return plan->step;
}

static void set_learner(const struct plan *plan, uint64_t replica, int32_t learner)
{
    struct store_step *step = begin_change(plan);

    for (uint32_t i = 0; i < step->count; i++)
        if (step->members[i].replica == replica)
            step->members[i].learner = learner;
}

static void take_out(const struct plan *plan, uint64_t replica)
{
    struct store_step *step = begin_change(plan);
    uint32_t kept = 0;

    for (uint32_t i = 0; i < step->count; i++)
        if (step->members[i].replica != replica)
            step->members[kept++] = step->members[i];
    step->count = kept;
}

/* To the first of the wanted voters that can take over. */
static void hand_over(const struct plan *plan)
{
    for (uint32_t i = 0; i < plan->wanted_count; i++) {
        uint64_t other = plan->wanted[i].replica;

        if (!plan->wanted[i].learner && other != plan->self && plan->ready(plan->arg, other)) {
            plan->step->type = STORE_STEP_TRANSFER;
            plan->step->to = other;
            return;
        }
    }
}

static int add_missing(const struct plan *plan)
{
    for (uint32_t i = 0; i < plan->wanted_count; i++) {
        uint64_t other = plan->wanted[i].replica;

        if (find(plan->actual, plan->actual_count, other))
            continue;
        if (plan->actual_count < STORE_MEMBERS_MAX) {
            struct store_step *step = begin_change(plan);
            step->members[step->count++] = (hf_replication_member){.replica = other, .learner = 1};
        }
        return 1;
    }
    return 0;
}

/* Whether the group can go on without the member: a majority of the other voters is there. */
static int can_do_without(const struct plan *plan, uint64_t replica)
{
    uint32_t voters = 0, ready = 0;

    for (uint32_t i = 0; i < plan->actual_count; i++) {
        uint64_t other = plan->actual[i].replica;

        if (plan->actual[i].learner || other == replica)
            continue;
        voters++;
        ready += other == plan->self || plan->ready(plan->arg, other);
    }
    return ready * 2 > voters;
}

/* A node has one replica of a group at a time, so one that is to go makes place for one that is to come there. */
static int make_place(const struct plan *plan)
{
    for (uint32_t i = 0; i < plan->wanted_count; i++) {
        uint64_t comes = plan->wanted[i].replica;
        const hf_replication_member *there = find(plan->actual, plan->actual_count, comes);

        for (uint32_t k = 0; k < plan->actual_count && (!there || there->learner); k++) {
            uint64_t goes = plan->actual[k].replica;

            if (goes == comes || store_replica_node(goes) != store_replica_node(comes) ||
                find(plan->wanted, plan->wanted_count, goes))
                continue;
            if (goes == plan->self)
                hand_over(plan);
            else if (can_do_without(plan, goes))
                take_out(plan, goes);
            if (plan->step->type)
                return 1;
        }
    }
    return 0;
}

static int promote(const struct plan *plan)
{
    int waiting = 0;

    for (uint32_t i = 0; i < plan->wanted_count; i++) {
        uint64_t other = plan->wanted[i].replica;

        if (plan->wanted[i].learner || !find(plan->actual, plan->actual_count, other)->learner)
            continue;
        waiting = 1;
        if (plan->ready(plan->arg, other)) {
            set_learner(plan, other, 0);
            return 1;
        }
    }
    return waiting;
}

/* What is too much goes, the others first: this replica leads, and hands that over before it goes. */
static int remove_extra(const struct plan *plan)
{
    int self_is_extra = 0;

    for (uint32_t i = 0; i < plan->actual_count; i++) {
        const hf_replication_member *member = &plan->actual[i];
        const hf_replication_member *kept = find(plan->wanted, plan->wanted_count, member->replica);

        if (kept && (member->learner || !kept->learner))
            continue;
        if (member->replica == plan->self) {
            self_is_extra = 1;
            continue;
        }
        if (kept)
            set_learner(plan, member->replica, 1);
        else
            take_out(plan, member->replica);
        return 1;
    }
    if (self_is_extra)
        hand_over(plan);
    return self_is_extra;
}

void store_step_next(const hf_replication_member *actual, uint32_t actual_count, const hf_replication_member *wanted,
                     uint32_t wanted_count, uint64_t self, store_step_ready ready, void *arg,
                     struct store_step *ret_step)
{
    const struct plan plan = {actual, wanted, actual_count, wanted_count, self, ready, arg, ret_step};

    *ret_step = (struct store_step){0};
    if (make_place(&plan) || add_missing(&plan) || promote(&plan) || remove_extra(&plan))
        return;
    ret_step->arrived = 1;
    if (wanted[0].replica != self && ready(arg, wanted[0].replica)) {
        ret_step->type = STORE_STEP_TRANSFER;
        ret_step->to = wanted[0].replica;
    }
}
