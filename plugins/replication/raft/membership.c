/* membership.c: who belongs to the group (chapter 4).  A configuration is in force from the moment it is in the log, so
 * those that a later leader may still overwrite are kept beside their predecessors. */
#include "raft.h"

#include <string.h>

int32_t raft_members_parse(const uint8_t *payload, uint64_t size, raft_config *ret_config, hf_error *error)
{
    raft_config c = {.count = (uint32_t)(size / sizeof c.members[0])};
    bool voter = false;

    if (!payload || size % sizeof c.members[0] || size == 0 || size > sizeof c.members)
        return hf_error_set(error, HF_EPROTOCOL, "a membership of %llu bytes is not a list of 1 to %d members",
                            (unsigned long long)size, RAFT_MEMBERS_MAX);
    memcpy(c.members, payload, size);
    for (uint32_t i = 0; i < c.count; i++) {
        voter = voter || !c.members[i].learner;
        if (!c.members[i].replica)
            return hf_error_set(error, HF_EPROTOCOL, "a membership names replica 0");
        for (uint32_t k = 0; k < i; k++)
            if (c.members[k].replica == c.members[i].replica)
                return hf_error_set(error, HF_EPROTOCOL, "a membership names replica %llu twice",
                                    (unsigned long long)c.members[i].replica);
    }
    if (!voter)
        return hf_error_set(error, HF_EPROTOCOL, "a membership needs at least one voter");
    *ret_config = c;
    return 0;
}

/* Makes the table of progress follow the configuration in force; known replicas keep what is known of them. */
static void follow_config(raft_group *g)
{
    const raft_config *c = &g->configs[RAFT_BUG(RAFT_BUG_LATE_CONFIG) ? 0 : g->config_count - 1];
    raft_progress next[RAFT_MEMBERS_MAX];

    for (uint32_t i = 0; i < c->count; i++) {
        raft_progress *known = raft_progress_find(g, c->members[i].replica);

        next[i] = known ? *known : (raft_progress){.next = g->log.last + 1, .active = true, .ask = true};
        next[i].replica = c->members[i].replica;
        next[i].learner = c->members[i].learner != 0;
        if (known)
            known->flights = NULL; /* moved */
    }
    raft_progress_free(g);
    memcpy(g->progress, next, c->count * sizeof next[0]);
    g->progress_count = c->count;
}

bool raft_config_reserve(raft_group *g, uint64_t more)
{
    return raft_grow(g->raft->host, (void **)&g->configs, &g->config_capacity, g->config_count + more,
                     sizeof *g->configs);
}

void raft_config_push(raft_group *g, const raft_config *config)
{
    g->configs[g->config_count++] = *config;
    follow_config(g);
}

void raft_config_truncate(raft_group *g, uint64_t from)
{
    uint64_t before = g->config_count;

    while (g->config_count > 1 && g->configs[g->config_count - 1].index >= from)
        g->config_count--;
    if (g->config_count != before)
        follow_config(g);
}

void raft_config_committed(raft_group *g)
{
    uint64_t drop = 0;

    while (drop + 1 < g->config_count && g->configs[drop + 1].index <= g->commit)
        drop++;
    memmove(g->configs, g->configs + drop, (g->config_count - drop) * sizeof *g->configs);
    g->config_count -= drop;
    if (RAFT_BUG(RAFT_BUG_LATE_CONFIG) && drop)
        follow_config(g);
}

void raft_config_reset(raft_group *g, const raft_config *config)
{
    g->config_count = 0;
    raft_config_push(g, config);
}

static bool votes_in(const raft_config *c, uint64_t replica)
{
    for (uint32_t i = 0; i < c->count; i++)
        if (c->members[i].replica == replica)
            return !c->members[i].learner;
    return false;
}

/* Who is to vote no more may be needed until that is committed (section 4.2.2): its log can be the newest, so that it
 * votes for nobody else, while the others, whose logs end before the change, lack a majority without it. */
bool raft_may_campaign(const raft_group *g)
{
    for (uint64_t i = 0; i < g->config_count; i++)
        if (votes_in(&g->configs[i], g->self))
            return true;
    return false;
}

static uint32_t voters_missing(const raft_config *from, const raft_config *in)
{
    uint32_t missing = 0;

    for (uint32_t i = 0; i < from->count; i++)
        missing += !from->members[i].learner && !votes_in(in, from->members[i].replica);
    return missing;
}

/* Majorities of two memberships overlap only when they differ in one voter (section 4.1); the leader must also have
 * committed in its own term, or two such changes could pass each other unseen. */
static int32_t check_change(raft_group *g, const raft_config *next, hf_error *error)
{
    const raft_config *now = &g->configs[g->config_count - 1];

    if (g->role != HF_ROLE_LEADER)
        return hf_error_set(error, HF_ENOTLEADER, "this replica does not lead the group");
    if (g->transferee || (now->index > g->commit && !RAFT_BUG(RAFT_BUG_TWO_CHANGES)) ||
        (!raft_log_matches(&g->log, g->commit, g->term) && !RAFT_BUG(RAFT_BUG_CHANGE_TOO_SOON)))
        return hf_error_set(error, HF_EBUSY, "an earlier change of the group is not yet committed");
    if (voters_missing(now, next) + voters_missing(next, now) > 1)
        return hf_error_set(error, HF_EINVAL, "a change of membership adds or removes at most one voter");
    return 0;
}

int32_t raft_propose_membership(raft_group *g, const hf_replication_member *members, uint32_t count,
                                uint64_t *ret_index, uint64_t *ret_term, hf_error *error)
{
    raft_config next;
    int32_t code = raft_members_parse((const uint8_t *)members, count * sizeof *members, &next, error);

    raft_output_begin(g);
    if (code)
        return hf_error_set(error, HF_EINVAL, "the members are not a valid list");
    code = check_change(g, &next, error);
    if (code)
        return code;
    if (!raft_config_reserve(g, 1) || !raft_log_reserve(&g->log, 1))
        return hf_error_set(error, HF_ENOMEM, "no memory for a change of membership");
    raft_wake(g);
    raft_append_own(g, 1);
    next.index = g->log.last;
    raft_config_push(g, &next);
    *ret_index = g->log.last;
    *ret_term = g->term;
    return 0;
}

uint32_t raft_members(raft_group *g, hf_replication_member *ret_members, uint32_t capacity)
{
    const raft_config *now = &g->configs[g->config_count - 1];

    for (uint32_t i = 0; i < now->count && i < capacity; i++)
        ret_members[i] = now->members[i];
    return now->count;
}

/* ---- Without a majority ------------------------------------------------------------------------------------------ */

static int32_t check_force(const raft_group *g, const raft_config *next, hf_error *error)
{
    if (!votes_in(next, g->self))
        return hf_error_set(error, HF_EINVAL, "this replica is not a voter among the members");
    if (g->role == HF_ROLE_LEADER)
        return hf_error_set(error, HF_ESTATE, "this replica leads its group, which has a majority");
    if (g->leader && raft_protects_leader(g))
        return hf_error_set(error, HF_EBUSY, "replica %llu leads the group and was just heard",
                            (unsigned long long)g->leader);
    return 0;
}

/* The entry's term is one that nobody has led: it is higher than that of this log's last entry, which is not lower than
 * that of any other replica that will ever be heard.  So no two logs differ at this place and term, and every replica
 * that is heard takes this log for the newer one.  The own vote in that term sees to it that nobody leads it either. */
int32_t raft_force_membership(raft_group *g, const hf_replication_member *members, uint32_t count, uint64_t now_us,
                              uint64_t *ret_index, uint64_t *ret_term, hf_error *error)
{
    raft_config next;
    int32_t code = raft_members_parse((const uint8_t *)members, count * sizeof *members, &next, error);

    raft_output_begin(g);
    if (now_us > g->now)
        g->now = now_us;
    if (code)
        return hf_error_set(error, HF_EINVAL, "the members are not a valid list");
    code = check_force(g, &next, error);
    if (code)
        return code;
    if (!raft_config_reserve(g, 1) || !raft_log_reserve(&g->log, 1))
        return hf_error_set(error, HF_ENOMEM, "no memory for a change of membership");
    raft_become_follower(g, g->term + 1, 0);
    g->vote = g->self;
    g->vote_write = 0;
    raft_append_own(g, 1);
    next.index = g->log.last;
    raft_config_push(g, &next);
    g->hurry = 0;
    g->election_deadline = g->now;
    *ret_index = g->log.last;
    *ret_term = g->term;
    return 0;
}
