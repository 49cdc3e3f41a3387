/* lease.c: linearizable reads by the leader's clock (section 6.4.1).
 *
 * A follower that hears its leader promises not to vote for anybody else, itself included, for `lease` by its own
 * clock.  The leader counts from when it sent what a majority has answered, and only so long as that promise holds even
 * when its clock is slower than theirs by `clock_drift`.  A replica that starts may have promised before, and keeps
 * quiet for as long.  What the leader itself may break the promise with, a transfer, ends its leases for the term. */
#include "raft.h"

/* How long the leader relies on a promise. */
static uint64_t usable(const raft_group *g)
{
    const raft_options *o = &g->raft->options;

    if (RAFT_BUG(RAFT_BUG_LONG_LEASE))
        return o->lease_us * 4;
    return o->lease_us - o->lease_us * (uint64_t)o->clock_drift / 100;
}

/* The newest time such that a majority of the voters has answered something sent then or later. */
static uint64_t majority_sent(const raft_group *g)
{
    uint64_t sorted[RAFT_MEMBERS_MAX];
    uint32_t count = 0;

    for (uint32_t i = 0; i < g->progress_count; i++) {
        const raft_progress *pr = &g->progress[i];
        uint64_t sent = pr->replica == g->self ? g->now : pr->sent;
        uint32_t at = count;

        if (pr->learner)
            continue;
        for (; at > 0 && sorted[at - 1] < sent; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = sent;
        count++;
    }
    return count ? sorted[count / 2] : 0;
}

/* 0: there is no lease. */
uint64_t raft_lease_until(const raft_group *g)
{
    uint64_t sent;

    if (g->role != HF_ROLE_LEADER || g->lease_void || g->transferee || !g->raft->options.lease_us)
        return 0;
    sent = majority_sent(g);
    return sent ? sent + usable(g) : 0;
}

bool raft_lease_holds(const raft_group *g)
{
    return g->now < raft_lease_until(g) && raft_knows_commit(g);
}

void raft_promise(raft_group *g)
{
    if (!RAFT_BUG(RAFT_BUG_FORGET_PROMISE))
        g->promised_until = g->now + g->raft->options.lease_us;
}

/* The follower read its clock after `sent` and before now, so the offset of the clocks lies between two numbers.  When
 * it cannot have come from where it was within the drift that is allowed, promises are not worth what they say. */
static void compare_clocks(raft_group *g, raft_progress *pr, const raft_message *m)
{
    int64_t low = (int64_t)(m->clock - g->now), high = (int64_t)(m->clock - m->sent);
    uint64_t elapsed = g->now - pr->compared_at;

    if (pr->compared_at) {
        int64_t drift = (int64_t)(elapsed * (uint64_t)g->raft->options.clock_drift / 100);

        if (low > pr->offset_high + drift || high < pr->offset_low - drift) {
            g->clock_faults++;
            g->lease_void = true;
        }
    }
    if (!pr->compared_at || elapsed >= RAFT_COMPARE_CLOCKS_US) {
        pr->compared_at = g->now;
        pr->offset_low = low;
        pr->offset_high = high;
    }
}

/* An answer of this term to what this leader sent. */
void raft_note_reply(raft_group *g, raft_progress *pr, const raft_message *m)
{
    pr->active = true;
    pr->gone = false;
    if (!m->sent || m->sent > g->now)
        return;
    if (m->sent > pr->sent)
        pr->sent = m->sent;
    compare_clocks(g, pr, m);
}
