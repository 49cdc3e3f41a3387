/* progress.c: what the leader knows of each replica, and its window of messages in flight. */
#include "raft.h"

raft_progress *raft_progress_find(raft_group *g, uint64_t replica)
{
    for (uint32_t i = 0; i < g->progress_count; i++)
        if (g->progress[i].replica == replica)
            return &g->progress[i];
    return NULL;
}

static void clear_window(raft_progress *pr)
{
    pr->flight_first = pr->flight_count = pr->flight_bytes = 0;
}

/* One message at a time until the follower says where the logs agree. */
void raft_progress_probe(raft_progress *pr, uint64_t next)
{
    pr->state = RAFT_PROBE;
    pr->next = next;
    pr->paused = false;
    pr->ask = true; /* an empty probe is worth sending: its answer opens the stream */
    clear_window(pr);
}

void raft_progress_replicate(raft_group *g, raft_progress *pr)
{
    if (!pr->flights)
        pr->flights =
            g->raft->host->alloc(g->raft->host, (uint64_t)g->raft->options.max_inflight_messages * sizeof *pr->flights);
    if (!pr->flights) { /* without a window, probing still makes progress */
        raft_progress_probe(pr, pr->match + 1);
        return;
    }
    pr->state = RAFT_REPLICATE;
    pr->next = pr->match + 1;
    pr->paused = false;
    clear_window(pr);
}

bool raft_progress_full(const raft_group *g, const raft_progress *pr)
{
    return pr->flight_count >= (uint64_t)g->raft->options.max_inflight_messages ||
           pr->flight_bytes >= g->raft->options.max_inflight_bytes;
}

void raft_progress_sent(raft_progress *pr, uint64_t limit, uint64_t last, uint64_t bytes)
{
    pr->flights[(pr->flight_first + pr->flight_count++) % limit] = (raft_flight){last, bytes};
    pr->flight_bytes += bytes;
}

void raft_progress_acked(raft_progress *pr, uint64_t limit, uint64_t match)
{
    while (pr->flight_count && pr->flights[pr->flight_first].last <= match) {
        pr->flight_bytes -= pr->flights[pr->flight_first].bytes;
        pr->flight_first = (pr->flight_first + 1) % limit;
        pr->flight_count--;
    }
}

void raft_progress_free(raft_group *g)
{
    for (uint32_t i = 0; i < g->progress_count; i++)
        g->raft->host->free(g->raft->host, g->progress[i].flights);
    g->progress_count = 0;
}

uint32_t raft_quorum(const raft_group *g)
{
    uint32_t voters = 0;

    for (uint32_t i = 0; i < g->progress_count; i++)
        voters += !g->progress[i].learner;
    return voters / 2 + 1;
}

bool raft_is_voter(const raft_group *g, uint64_t replica)
{
    for (uint32_t i = 0; i < g->progress_count; i++)
        if (g->progress[i].replica == replica)
            return !g->progress[i].learner;
    return false;
}
