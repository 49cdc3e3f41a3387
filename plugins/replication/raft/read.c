/* read.c: linearizable reads without log writes (section 6.4): remember the commit index, prove by one round of
 * heartbeats that no newer leader existed, answer.  Reads that come while a round is out share the next one.  While a
 * lease holds it is the proof. */
#include "raft.h"

int32_t raft_read_request(raft_group *g, uint64_t context, hf_error *error)
{
    const hf_host *host = g->raft->host;

    if (g->role != HF_ROLE_LEADER)
        return hf_error_set(error, HF_ENOTLEADER, "this replica does not lead the group");
    if (!raft_grow(host, (void **)&g->reads, &g->read_capacity, g->read_count + 1, sizeof *g->reads) ||
        !raft_grow(host, (void **)&g->answers, &g->answer_capacity, g->answer_count + g->read_count + 1,
                   sizeof *g->answers))
        return hf_error_set(error, HF_ENOMEM, "no memory for another waiting read");
    if (RAFT_BUG(RAFT_BUG_STALE_READ)) {
        raft_answer_read(g, context, g->commit, 0);
        return 0;
    }
    if (raft_lease_holds(g)) {
        raft_answer_read(g, context, g->commit, 0);
        return 0;
    }
    g->reads[g->read_count++] = (raft_read){.context = context};
    return 0;
}

/* Until an entry of its own term is committed, a new leader does not know how far its predecessors committed. */
bool raft_knows_commit(const raft_group *g)
{
    return raft_log_matches(&g->log, g->commit, g->term);
}

void raft_reads_begin(raft_group *g)
{
    if (!g->read_count || g->reads[0].round || !raft_knows_commit(g))
        return;
    g->round++;
    for (uint64_t i = 0; i < g->read_count; i++) {
        g->reads[i].round = g->round;
        g->reads[i].index = g->commit;
    }
    g->heartbeat_due = true;
    raft_reads_confirm(g); /* a group of one confirms itself */
}

void raft_reads_confirm(raft_group *g)
{
    uint32_t count = 0;
    uint64_t done = 0;

    for (uint32_t i = 0; i < g->progress_count; i++)
        if (!g->progress[i].learner && (g->progress[i].replica == g->self || g->progress[i].round >= g->round))
            count++;
    if (count < raft_quorum(g))
        return;
    while (done < g->read_count && g->reads[done].round) {
        raft_answer_read(g, g->reads[done].context, g->reads[done].index, 0);
        done++;
    }
    for (uint64_t i = done; i < g->read_count; i++)
        g->reads[i - done] = g->reads[i];
    g->read_count -= done;
}

void raft_reads_refuse(raft_group *g)
{
    for (uint64_t i = 0; i < g->read_count; i++)
        raft_answer_read(g, g->reads[i].context, 0, HF_ENOTLEADER);
    g->read_count = 0;
}
