/* election.c: who leads (section 3.4), with pre-vote (9.6), check-quorum and protection of a living leader
 * (6.2, 4.2.3), and the receiving end of leadership transfer (3.10). */
#include "raft.h"

static uint64_t next_random(raft_group *g) /* splitmix64 */
{
    uint64_t z = g->random += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* The long time-out is there to notice that a leader is gone. When that is known already, only rivals have to be told
 * apart: a campaign that failed (votes were split, or a voter had not noticed yet) is soon tried again, each time with
 * twice the patience, for it may be a disk that is slow to note the vote. */
void raft_reset_election_timer(raft_group *g)
{
    uint64_t timeout = g->raft->options.election_timeout_us >> g->hurry;

    g->election_deadline = g->now + timeout + next_random(g) % (timeout + 1);
}

void raft_become_follower(raft_group *g, uint64_t term, uint64_t leader)
{
    if (term > g->term) {
        g->term = term;
        g->vote = 0;
        g->state_dirty = true;
    }
    if (g->role == HF_ROLE_LEADER)
        raft_reads_refuse(g);
    g->role = HF_ROLE_FOLLOWER;
    g->quiet = false;
    g->leader = leader;
    g->pre_vote = g->forced = false;
    g->transferee = 0;
    raft_reset_election_timer(g);
}

static void become_leader(raft_group *g)
{
    g->role = HF_ROLE_LEADER;
    g->leader = g->self;
    g->link_lost = g->lease_void = false;
    g->hurry = 0;
    g->transferee = 0;
    g->round = 0;
    g->busy_at = g->now;
    g->heartbeat_due = true;
    g->heartbeat_deadline = g->now + g->raft->options.heartbeat_interval_us;
    g->quorum_deadline = g->now + g->raft->options.election_timeout_us;
    for (uint32_t i = 0; i < g->progress_count; i++) {
        raft_progress *pr = &g->progress[i];

        raft_progress_probe(pr, g->log.last + 1);
        pr->match = pr->replica == g->self ? g->persisted : 0;
        pr->active = true;
        pr->timeout_now = pr->gone = false;
        pr->round = pr->commit_sent = pr->sent = pr->compared_at = 0;
    }
    raft_append_own(g, 1); /* lets entries of earlier terms be committed, section 5.4.2 of the paper, 3.6.2 here */
}

static void count_votes(raft_group *g)
{
    uint32_t granted = 0, refused = 0, quorum = raft_quorum(g), voters = 0;

    for (uint32_t i = 0; i < g->progress_count; i++) {
        voters += !g->progress[i].learner;
        granted += !g->progress[i].learner && g->progress[i].vote > 0;
        refused += !g->progress[i].learner && g->progress[i].vote < 0;
    }
    if (granted >= quorum && g->pre_vote)
        raft_campaign(g, true);
    else if (granted >= quorum)
        become_leader(g);
    else if (voters - refused < quorum)
        raft_become_follower(g, g->term, 0);
}

/* It counts only where this replica is to vote. */
void raft_count_own_vote(raft_group *g)
{
    raft_progress *own = raft_progress_find(g, g->self);

    if (own)
        own->vote = 1;
    count_votes(g);
}

static void ask_for_votes(raft_group *g, bool transfer)
{
    raft_message m = {.type = g->pre_vote ? RAFT_PREVOTE : RAFT_VOTE,
                      .term = g->term + g->pre_vote,
                      .index = g->log.last,
                      .log_term = raft_log_last_term(&g->log),
                      .force = transfer};

    /* A request for a real vote waits for the disk: after a crash the same term must not be entered again with a
     * shorter log, while votes for the longer one are still under way. */
    for (uint32_t i = 0; i < g->progress_count; i++)
        if (g->progress[i].replica != g->self && !g->progress[i].learner)
            raft_send(g, g->progress[i].replica, &m, !g->pre_vote);
}

/* The others' promises end at about the same time. */
static void wait_for_promise(raft_group *g)
{
    uint64_t after = g->promised_until + next_random(g) % (g->raft->options.election_timeout_us / 8 + 1);

    if (g->election_deadline > after)
        g->election_deadline = after;
}

/* `now_for_real`: skip the pre-vote, which was just won or which a transfer makes needless. */
void raft_campaign(raft_group *g, bool now_for_real)
{
    bool transfer = g->forced;

    if (!now_for_real && g->hurry)
        g->hurry--;
    raft_reset_election_timer(g);
    if (g->role == HF_ROLE_LEADER || !raft_may_campaign(g) || !raft_log_reserve(&g->log, 2))
        return;
    if (!transfer && g->now < g->promised_until) { /* the own vote is promised, too */
        wait_for_promise(g);
        return;
    }
    g->role = HF_ROLE_CANDIDATE;
    g->leader = 0;
    g->pre_vote = !now_for_real;
    g->forced = false;
    for (uint32_t i = 0; i < g->progress_count; i++)
        g->progress[i].vote = 0;
    if (now_for_real) {
        g->term++;
        g->vote = g->self;
        g->state_dirty = true;
        g->vote_write = RAFT_NEVER;
    }
    ask_for_votes(g, transfer);
    if (g->pre_vote) /* the own real vote counts once it is durable: raft_persisted */
        raft_count_own_vote(g);
}

void raft_check_quorum(raft_group *g)
{
    uint32_t active = 0;

    for (uint32_t i = 0; i < g->progress_count; i++) {
        raft_progress *pr = &g->progress[i];

        active += !pr->learner && (pr->active || pr->replica == g->self);
        pr->active = false;
    }
    g->quorum_deadline = g->now + g->raft->options.election_timeout_us;
    if (active < raft_quorum(g))
        raft_become_follower(g, g->term, 0);
}

bool raft_protects_leader(const raft_group *g)
{
    if (g->role == HF_ROLE_LEADER || g->now < g->promised_until || (g->quiet && g->leader))
        return true;
    return g->leader && !g->link_lost && g->now < g->leader_seen + g->raft->options.election_timeout_us;
}

static bool up_to_date(const raft_group *g, const raft_message *m)
{
    uint64_t term = raft_log_last_term(&g->log);

    return m->log_term > term || (m->log_term == term && m->index >= g->log.last);
}

/* Vote and pre-vote; the caller has taken over a higher term of a real vote. */
void raft_on_vote(raft_group *g, uint64_t from, const raft_message *m)
{
    bool pre = m->type == RAFT_PREVOTE;
    bool free_to_vote = g->vote == from || (!g->vote && !g->leader) || (pre && m->term > g->term);
    bool grant;
    raft_message reply = {.type = pre ? RAFT_PREVOTE_REPLY : RAFT_VOTE_REPLY};

    if (RAFT_BUG(RAFT_BUG_VOTE_TWICE) && g->role != HF_ROLE_LEADER)
        free_to_vote = true;
    grant = m->term >= g->term && free_to_vote && up_to_date(g, m);
    reply.term = grant ? m->term : g->term;
    reply.reject = !grant;
    if (grant && !pre) {
        g->state_dirty = g->state_dirty || g->vote != from;
        g->vote = from;
        g->hurry = 0; /* somebody is about to lead: leave the new leader its time */
        raft_reset_election_timer(g);
    }
    if (reply.term)
        raft_send(g, from, &reply, true);
}

void raft_on_vote_reply(raft_group *g, uint64_t from, const raft_message *m)
{
    raft_progress *pr = raft_progress_find(g, from);
    bool pre = m->type == RAFT_PREVOTE_REPLY;

    if (!pr || g->role != HF_ROLE_CANDIDATE || g->pre_vote != pre)
        return;
    if (!m->reject && m->term != g->term + pre)
        return;
    pr->vote = m->reject ? -1 : 1;
    count_votes(g);
}

void raft_on_timeout_now(raft_group *g)
{
    if (g->role == HF_ROLE_LEADER || !raft_is_voter(g, g->self))
        return;
    g->forced = true;
    raft_campaign(g, true);
}

/* Do not wait out the time-out, but not all at once either. */
void raft_leader_lost(raft_group *g)
{
    uint64_t from = g->now > g->promised_until ? g->now : g->promised_until;
    uint64_t soon = from + next_random(g) % (g->raft->options.election_timeout_us / 8 + 1);

    raft_wake(g);

    g->link_lost = true;
    g->hurry = RAFT_HURRY;
    if (g->role == HF_ROLE_FOLLOWER && soon < g->election_deadline)
        g->election_deadline = soon;
}
