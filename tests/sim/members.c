/* members.c: the members of the group change: a catalog says who should be there, and leaders go there by the product's
 * own steps (replica/step.c).  Ids are never used twice: a disk that is lost takes its replica's id with it. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    NEARLY_ENTRIES = 64,    /* as in replica/members.c; the times are its own, made shorter */
    TRANSFER_US = 500000,   /* between two tries to let the preferred replica lead */
    NEW_LEADER_US = 100000, /* a new leader leaves the others time to come back first */
    LOOK_US = 30000,
    VOTERS_MIN = 3 /* while a disk is lost, and for one to be lost: the others are still a majority */
};

uint32_t wanted_now, agreed_config;
static bool announced; /* the group that keeps the catalog begins with its members in the log, others do not */
static configuration configurations[CONFIGS_MAX];
static uint32_t configuration_count;

void members_reset(void)
{
    configuration_count = 1; /* 0 is the empty one */
    wanted_now = agreed_config = 0;
}

const configuration *configuration_of(uint32_t number)
{
    return &configurations[number];
}

uint32_t configuration_number(const hf_replication_member *members, uint32_t member_count)
{
    configuration c = {.count = member_count};

    memcpy(c.members, members, member_count * sizeof *members);
    for (uint32_t i = 0; i < member_count; i++) {
        c.all |= 1u << (members[i].replica - 1);
        c.voters |= members[i].learner ? 0 : 1u << (members[i].replica - 1);
    }
    for (uint32_t i = 0; i < configuration_count; i++)
        if (memcmp(&configurations[i], &c, sizeof c) == 0)
            return i;
    if (configuration_count == CONFIGS_MAX)
        abort();
    configurations[configuration_count] = c;
    return configuration_count++;
}

uint32_t some_replica(void)
{
    uint32_t id;

    do
        id = (uint32_t)roll(count) + 1;
    while (nodes[id - 1].gone);
    return id;
}

/* ---- What is in force ------------------------------------------------------------------------------------------- */

static uint32_t voter_count(uint32_t number)
{
    return (uint32_t)__builtin_popcount(configurations[number].voters);
}

static uint32_t gone_set(void)
{
    uint32_t set = 0;

    for (uint32_t i = 0; i < count; i++)
        set |= nodes[i].gone ? 1u << i : 0;
    return set;
}

/* As the replica's memory has it, written or not. */
static uint32_t latest(const node *n)
{
    hf_replication_status s = {.size = sizeof s};

    if (!n->up)
        return n->disk_config;
    raft->status(n->g, &s);
    for (uint64_t i = s.last_index; i > n->snapshot.index; i--)
        if (n->log[i].type == HF_ENTRY_MEMBERSHIP)
            return n->log[i].op;
    return n->snapshot.config;
}

/* Whether some member, or the catalog as somebody knows it, counts on one of the set, or with voters on few others. */
static bool is_counted_on(uint32_t set, uint32_t fewest)
{
    uint32_t members = configurations[agreed_config].all | configurations[wanted_now].all;

    if (configurations[agreed_config].all & set || configurations[wanted_now].all & set ||
        voter_count(agreed_config) < fewest || voter_count(wanted_now) < fewest)
        return true;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t c = latest(&nodes[i]);

        if (nodes[i].gone || !(members >> i & 1))
            continue;
        if ((configurations[c].all | configurations[nodes[i].wanted].all) & set)
            return true;
        if ((c && voter_count(c) < fewest) || voter_count(nodes[i].wanted) < fewest)
            return true;
    }
    return false;
}

/* ---- The catalog ------------------------------------------------------------------------------------------------ */

void first_members(uint32_t how_many)
{
    hf_replication_member members[NODES] = {0};

    for (uint32_t i = 0; i < how_many; i++)
        members[i].replica = i + 1;
    wanted_now = agreed_config = configuration_number(members, how_many);
    announced = roll(2);
}

/* The first ones know each other; all others are told by the log, or by a snapshot. */
void give_birth(void)
{
    node *n = &nodes[count];

    n->offset = roll(1000000 * MS);
    n->rate = 900 + roll(200);
    fault_counts[FAULT_CLOCK] += n->rate != 1000;
    n->wanted = wanted_now;
    bool first = has_member(&configurations[agreed_config], count + 1, true) && !highest_applied;

    n->announce = first && announced;
    n->snapshot.config = n->disk_config = first ? agreed_config : 0;
    start(++count);
}

static uint64_t newborn(void)
{
    give_birth();
    return count;
}

static void want(const hf_replication_member *members, uint32_t member_count)
{
    wanted_now = configuration_number(members, member_count);
    trace(wanted_now, now);
}

static void erase(node *n)
{
    n->disk_last = 0;
    n->disk_state = (hf_replication_state){0};
    n->snapshot = (machine){0};
    n->disk_config = 0;
}

static void lose_disk(uint32_t at)
{
    configuration next = configurations[wanted_now];
    uint32_t id = (uint32_t)next.members[at].replica;

    if (count == NODES || is_counted_on(gone_set(), VOTERS_MIN))
        return;
    crash(id);
    fault_counts[FAULT_DISK_LOST]++;
    if (hf_raft_test_bug == BUG_REJOIN_EMPTY) {
        erase(&nodes[id - 1]);
        start(id);
        return;
    }
    nodes[id - 1].gone = true;
    next.members[at].replica = newborn();
    want(next.members, next.count);
}

/* What was removed is not needed any more, as the product finds out before it erases it. */
static void retire(void)
{
    uint32_t id = some_replica();

    if (is_counted_on(1u << (id - 1), 0))
        return;
    crash(id);
    nodes[id - 1].gone = true;
    fault_counts[FAULT_RETIRED]++;
}

static void add(configuration *next)
{
    uint32_t back = some_replica();
    bool is_back = !has_member(next, back, false) && roll(2);

    if (next->count == 6 || (!is_back && count == NODES))
        return;
    fault_counts[FAULT_CHANGED_MIND] += is_back && has_member(&configurations[agreed_config], back, false);
    next->members[next->count++] =
        (hf_replication_member){.replica = is_back ? back : newborn(), .learner = roll(4) == 0};
}

static void take_out(configuration *next, uint32_t at)
{
    memmove(next->members + at, next->members + at + 1, (next->count - at - 1) * sizeof next->members[0]);
    next->count--;
}

/* The first one is to lead, and there must be enough voters. */
static bool is_acceptable(const configuration *c)
{
    uint32_t voters = 0;

    for (uint32_t i = 0; i < c->count; i++)
        voters += !c->members[i].learner;
    return voters >= (is_counted_on(gone_set(), 0) ? VOTERS_MIN : 2) && !c->members[0].learner;
}

void catalog(void)
{
    configuration next = configurations[wanted_now];
    uint32_t at = roll(3) ? (uint32_t)roll(next.count) : 0;
    hf_replication_member first = next.members[0];

    schedule((event){.at = now + 50 * MS + roll(700 * MS), .type = EV_CATALOG});
    switch (roll(8)) {
    case 0:
    case 1:
        lose_disk(at);
        return;
    case 2:
        if (count < NODES)
            next.members[at].replica = newborn();
        break;
    case 3:
        add(&next);
        break;
    case 4:
        take_out(&next, at);
        break;
    case 5:
        next.members[0] = next.members[at];
        next.members[at] = first;
        break;
    case 6:
        next.members[at].learner = !next.members[at].learner;
        break;
    default:
        retire();
        return;
    }
    if (is_acceptable(&next))
        want(next.members, next.count);
}

/* ---- The leader's steps ------------------------------------------------------------------------------------------ */

static int is_ready(void *arg, uint64_t id)
{
    node *n = arg;
    hf_replication_progress progress = {.size = sizeof progress};
    hf_replication_status status = {.size = sizeof status};

    if (hf_raft_test_bug == BUG_PROMOTE_EARLY)
        return 1;
    raft->status(n->g, &status);
    return raft->progress(n->g, id, &progress) == HF_OK && progress.reachable &&
           progress.match_index + NEARLY_ENTRIES >= status.last_index;
}

static void propose(uint32_t id, uint32_t from, const hf_replication_member *members, uint32_t member_count)
{
    node *n = &nodes[id - 1];
    entry e = {.type = HF_ENTRY_MEMBERSHIP, .op = configuration_number(members, member_count)};
    uint64_t index;

    if (raft->propose_membership(n->g, members, member_count, &index, &e.term, NULL) != HF_OK)
        return; /* busy with an earlier change */
    n->announce = false;
    n->step_at = now;
    check_change(id, from, e.op);
    after_call(id, &e, index, 1);
    if (!calm && roll(3) == 0) /* half-made changes are where two majorities could part */
        schedule((event){.at = now + roll(30 * MS), .type = EV_ATTACK, .node = id - 1});
}

/* The product's leaders hand over before they go; the core also lets one remove itself. */
static void leave(uint32_t id, const struct store_step *step)
{
    node *n = &nodes[id - 1];
    configuration next = configurations[n->now.config];

    fault_counts[FAULT_LEADER_LEFT]++;
    if (roll(3) == 0 && has_member(&next, id, true) && voter_count(n->now.config) > VOTERS_MIN) {
        for (uint32_t i = 0; i < next.count; i++)
            if (next.members[i].replica == id)
                take_out(&next, i--);
        propose(id, n->now.config, next.members, next.count);
    } else if (raft->transfer(n->g, step->to, NULL) == HF_OK) {
        after_call(id, NULL, 0, 0);
    }
}

/* The product's leaders wait until a change is applied before they begin the next.  This one goes on from the change
 * that is under way: before that is committed, the core must refuse. */
static void hurry(uint32_t id)
{
    node *n = &nodes[id - 1];
    hf_replication_member members[NODES];
    uint32_t member_count = raft->members(n->g, members, NODES);
    const configuration *wanted = configuration_of(n->wanted);
    struct store_step step;

    store_step_next(members, member_count, wanted->members, wanted->count, id, is_ready, n, &step);
    if (step.type == STORE_STEP_CHANGE)
        propose(id, configuration_number(members, member_count), step.members, step.count);
}

void members_tick(uint32_t id)
{
    node *n = &nodes[id - 1];
    hf_replication_status s = {.size = sizeof s};
    const configuration *wanted, *actual;
    struct store_step step;

    raft->status(n->g, &s);
    if (s.role != HF_ROLE_LEADER) { /* some will be hasty when they lead: the core must see to what is too early */
        n->step_at = roll(2) ? now : 0;
        n->look_at = 0;
        return;
    }
    if (now < n->look_at)
        return;
    n->look_at = now + LOOK_US;
    if (roll(4) == 0)
        n->wanted = wanted_now;
    actual = configuration_of(n->now.config);
    wanted = configuration_of(n->wanted);
    if (n->announce) {
        propose(id, n->now.config, actual->members, actual->count);
        return;
    }
    if (!calm && roll(4) == 0) {
        hurry(id);
        return;
    }
    store_step_next(actual->members, actual->count, wanted->members, wanted->count, id, is_ready, n, &step);
    if (step.type == STORE_STEP_CHANGE && now - n->step_at >= LOOK_US) {
        propose(id, n->now.config, step.members, step.count);
    } else if (step.type == STORE_STEP_TRANSFER && now - n->step_at > (step.arrived ? TRANSFER_US : NEW_LEADER_US)) {
        n->step_at = now;
        if (!step.arrived)
            leave(id, &step);
        else if (raft->transfer(n->g, step.to, NULL) == HF_OK)
            after_call(id, NULL, 0, 0);
    }
}

void members_agreed(uint32_t after)
{
    const configuration *from = configuration_of(agreed_config), *to = configuration_of(after);

    fault_counts[FAULT_LEARNER] += (to->all & ~to->voters & ~from->all) != 0;
    fault_counts[FAULT_PROMOTED] += (to->voters & ~from->voters & from->all) != 0;
    fault_counts[FAULT_DEMOTED] += (from->voters & ~to->voters & to->all) != 0;
    fault_counts[FAULT_REMOVED] += (from->all & ~to->all) != 0;
    agreed_config = after;
}
