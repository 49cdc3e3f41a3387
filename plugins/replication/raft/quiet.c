/* quiet.c: a group with nothing to do costs nothing.
 *
 * A leader whose followers have everything tells them so with a last heartbeat.  From then on nobody sends and nobody
 * waits for anything, until there is something to do again: a request, a message, or the driver's word that a link is
 * gone, on which the group relies to hear of a dead node. */
#include "raft.h"

void raft_wake(raft_group *g)
{
    g->busy_at = g->now;
    if (!g->quiet)
        return;
    g->quiet = false;
    if (g->role != HF_ROLE_LEADER) {
        raft_reset_election_timer(g);
        return;
    }
    g->heartbeat_due = true;
    g->quorum_deadline = g->now + g->raft->options.election_timeout_us;
    for (uint32_t i = 0; i < g->progress_count; i++)
        g->progress[i].active = true; /* it was not asked */
}

/* Those that the driver cannot reach are not waited for: they wake the group when they come back.  Without a majority
 * that can be reached nobody would ever tell the leader to give up: it stays awake until it sees that itself. */
static bool all_have_everything(const raft_group *g)
{
    uint32_t voters = 0;

    for (uint32_t i = 0; i < g->progress_count; i++) {
        const raft_progress *pr = &g->progress[i];

        if (pr->replica != g->self && !pr->gone && (pr->state != RAFT_REPLICATE || pr->match != g->log.last))
            return false;
        voters += !pr->learner && (pr->replica == g->self || !pr->gone);
    }
    return voters >= raft_quorum(g);
}

static bool may_be_quiet(const raft_group *g)
{
    uint64_t after = g->raft->options.quiet_after_us;

    return after && !g->quiet && g->now >= g->busy_at + after && !g->read_count && !g->transferee &&
           g->log.last == g->commit && g->applied == g->commit && raft_knows_commit(g) && all_have_everything(g);
}

/* A leader, instead of a heartbeat. */
void raft_fall_quiet(raft_group *g)
{
    raft_message m = {.type = RAFT_HEARTBEAT,
                      .quiet = true,
                      .term = g->term,
                      .index = g->log.last,
                      .log_term = raft_log_last_term(&g->log),
                      .round = g->round,
                      .sent = g->now};

    if (!may_be_quiet(g))
        return;
    g->quiet = true;
    g->heartbeat_due = false;
    for (uint32_t i = 0; i < g->progress_count; i++) {
        const raft_progress *pr = &g->progress[i];

        m.commit = pr->match < g->commit ? pr->match : g->commit; /* one that is gone may hold other entries */
        if (pr->replica != g->self)
            raft_send(g, pr->replica, &m, false);
    }
}

/* A follower, of its leader's last heartbeat. */
bool raft_agrees_to_be_quiet(raft_group *g, const raft_message *m)
{
    if (!m->quiet || g->log.last != m->index || raft_log_last_term(&g->log) != m->log_term || g->commit != m->index)
        return false;
    g->quiet = true;
    return true;
}
