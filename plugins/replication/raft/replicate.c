/* replicate.c: copying the log (section 3.5), pipelined (10.2.1), and committing it (3.6). */
#include "raft.h"

static bool follows(const hf_replication_entry *e, uint64_t last, uint64_t index, uint64_t top)
{
    return e->index == index && e->term >= last && e->term <= top;
}

/* ---- The leader's side ------------------------------------------------------------------------------------------ */

/* The caller has reserved room. */
void raft_append_own(raft_group *g, uint64_t count)
{
    if (!g->append_first)
        g->append_first = g->log.last + 1;
    raft_log_append(&g->log, g->term, count);
}

void raft_commit_to(raft_group *g, uint64_t index)
{
    if (index > g->log.last)
        index = g->log.last;
    if (index <= g->commit)
        return;
    g->commit = index;
    raft_config_committed(g);
}

/* The highest index that a majority of the voters holds durably. */
static uint64_t majority_match(const raft_group *g)
{
    uint64_t sorted[RAFT_MEMBERS_MAX];
    uint32_t count = 0, voters = 0;

    for (uint32_t i = 0; i < g->progress_count; i++) {
        uint32_t at = count;

        if (g->progress[i].learner && !RAFT_BUG(RAFT_BUG_LEARNER_COUNTS))
            continue;
        voters += !g->progress[i].learner;
        for (; at > 0 && sorted[at - 1] < g->progress[i].match; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = g->progress[i].match;
        count++;
    }
    return voters ? sorted[voters / 2] : 0;
}

void raft_advance_commit(raft_group *g)
{
    raft_progress *own = raft_progress_find(g, g->self);
    uint64_t index;

    if (own)
        own->match = RAFT_BUG(RAFT_BUG_ACK_UNSYNCED) ? g->log.last : g->persisted;
    index = majority_match(g);
    if (index <= g->commit)
        return;
    /* Counting copies of an older term's entry proves nothing (figure 3.7). */
    if (!raft_log_matches(&g->log, index, g->term) && !RAFT_BUG(RAFT_BUG_COMMIT_OLD_TERM))
        return;
    raft_commit_to(g, index);
    /* A leader that removed itself has done its duty (section 4.2.2). */
    if (!raft_is_voter(g, g->self) && g->configs[g->config_count - 1].index <= g->commit)
        raft_become_follower(g, g->term, 0);
}

static void want_snapshot(raft_group *g, raft_progress *pr)
{
    pr->state = RAFT_SNAPSHOT;
    pr->ask = false;
    g->snapshots[g->snapshot_count++] = pr->replica;
}

static bool send_append(raft_group *g, raft_progress *pr, uint64_t count)
{
    raft_message m = {.type = RAFT_APPEND, .term = g->term, .index = pr->next - 1, .commit = g->commit, .sent = g->now};
    hf_replication_message *out;

    if (!raft_log_term(&g->log, pr->next - 1, &m.log_term)) {
        want_snapshot(g, pr);
        return false;
    }
    out = raft_send(g, pr->replica, &m, false);
    if (!out)
        return false;
    out->first_index = count ? pr->next : 0;
    out->entry_count = count;
    pr->commit_sent = g->commit;
    pr->ask = false;
    return true;
}

/* How many entries fit a message.  Sizes of single entries are not kept, so the recent mean stands for them. */
static uint64_t batch(const raft_group *g, const raft_progress *pr)
{
    uint64_t waiting = g->log.last + 1 - pr->next;
    uint64_t fit = g->raft->options.max_message_bytes / (g->mean_size ? g->mean_size : 1);

    if (fit == 0)
        fit = 1;
    return waiting < fit ? waiting : fit;
}

static void stream(raft_group *g, raft_progress *pr)
{
    while (pr->next <= g->log.last && !raft_progress_full(g, pr)) {
        uint64_t count = batch(g, pr);

        if (!send_append(g, pr, count))
            return;
        pr->next += count;
        raft_progress_sent(pr, (uint64_t)g->raft->options.max_inflight_messages, pr->next - 1, count * g->mean_size);
    }
    /* While entries are under way, what tells of their commit will tell of this one, too: with a message for each, a
     * busy group would send and answer twice as many. */
    bool idle = g->log.last == g->commit;
    if (pr->ask || (idle && pr->commit_sent < g->commit && pr->match > pr->commit_sent))
        send_append(g, pr, 0);
}

static void send_heartbeat(raft_group *g, raft_progress *pr)
{
    /* Never beyond what the follower is known to share. */
    raft_message m = {.type = RAFT_HEARTBEAT,
                      .term = g->term,
                      .round = g->round,
                      .sent = g->now,
                      .commit = pr->match < g->commit ? pr->match : g->commit};

    raft_send(g, pr->replica, &m, false);
}

static void hand_over(raft_group *g, raft_progress *pr)
{
    raft_message m = {.type = RAFT_TIMEOUT_NOW, .term = g->term};

    if (pr->timeout_now || pr->match != g->log.last)
        return;
    pr->timeout_now = true;
    g->lease_void = true; /* followers may now break their promise, however late the message arrives */
    raft_send(g, pr->replica, &m, false);
}

/* Everything the followers can take now; called once per output, which makes batches by itself. */
void raft_replicate(raft_group *g)
{
    for (uint32_t i = 0; i < g->progress_count; i++) {
        raft_progress *pr = &g->progress[i];

        if (pr->replica == g->self)
            continue;
        if (g->heartbeat_due)
            send_heartbeat(g, pr);
        if (pr->state == RAFT_REPLICATE)
            stream(g, pr);
        else if (pr->state == RAFT_PROBE && !pr->paused && (pr->ask || pr->next <= g->log.last))
            pr->paused = send_append(g, pr, batch(g, pr));
        if (pr->replica == g->transferee)
            hand_over(g, pr);
    }
    g->heartbeat_due = false;
}

static void on_reject(raft_group *g, raft_progress *pr, const raft_message *m)
{
    uint64_t next;

    if (m->index <= pr->match)
        return; /* an old answer */
    if (pr->state == RAFT_REPLICATE) {
        raft_progress_probe(pr, pr->match + 1);
        return;
    }
    if (pr->state != RAFT_PROBE || pr->next - 1 != m->index)
        return;
    next = raft_log_agreement(&g->log, m->hint, m->hint_term) + 1;
    if (next > m->index)
        next = m->index;
    raft_progress_probe(pr, next > pr->match ? next : pr->match + 1);
}

void raft_on_append_reply(raft_group *g, uint64_t from, const raft_message *m)
{
    raft_progress *pr = raft_progress_find(g, from);

    if (g->role != HF_ROLE_LEADER || !pr)
        return;
    raft_note_reply(g, pr, m);
    if (m->reject) {
        on_reject(g, pr, m);
        return;
    }
    if (m->index > g->log.last)
        return; /* no honest follower of this term holds more than its leader */
    if (m->index > pr->match)
        pr->match = m->index;
    if (pr->next <= pr->match)
        pr->next = pr->match + 1;
    if (pr->state == RAFT_REPLICATE)
        raft_progress_acked(pr, (uint64_t)g->raft->options.max_inflight_messages, pr->match);
    else if (pr->state == RAFT_PROBE || pr->match >= g->log.snapshot_index)
        raft_progress_replicate(g, pr);
    raft_advance_commit(g);
}

void raft_on_heartbeat_reply(raft_group *g, uint64_t from, const raft_message *m)
{
    raft_progress *pr = raft_progress_find(g, from);

    if (g->role != HF_ROLE_LEADER || !pr)
        return;
    raft_note_reply(g, pr, m);
    pr->paused = false;
    if (m->round > pr->round && m->round <= g->round) {
        pr->round = m->round;
        raft_reads_confirm(g);
    }
    /* The last append may have been lost, or the probe of a follower that was away and missed nothing; with no further
     * one, only a question finds that out. */
    if (pr->match < g->log.last || pr->state == RAFT_PROBE)
        pr->ask = true;
}

/* ---- The follower's side ---------------------------------------------------------------------------------------- */

static void truncate(raft_group *g, uint64_t from)
{
    raft_log_truncate(&g->log, from);
    raft_config_truncate(g, from);
    if (!g->truncate_from || from < g->truncate_from)
        g->truncate_from = from;
    if (g->append_first >= from)
        g->append_first = 0;
    if (g->persisted >= from)
        g->persisted = from - 1;
    for (uint32_t i = 0; i < g->write_count; i++)
        if (g->writes[i].last >= from)
            g->writes[i].last = from - 1;
}

static int32_t check_entries(const hf_replication_message *message, const raft_message *m, uint64_t *ret_configs,
                             hf_error *error)
{
    uint64_t last = m->log_term;
    raft_config config;

    if (message->entry_count && (!message->entries || message->first_index != m->index + 1))
        return hf_error_set(error, HF_EPROTOCOL, "the entries of an append do not follow its position");
    for (uint64_t i = 0; i < message->entry_count; i++) {
        const hf_replication_entry *e = &message->entries[i];

        if (!follows(e, last, m->index + 1 + i, m->term))
            return hf_error_set(error, HF_EPROTOCOL, "an append holds an entry of a wrong index or term");
        last = e->term;
        if (e->type != HF_ENTRY_MEMBERSHIP)
            continue;
        if (raft_members_parse(e->payload, e->size, &config, error))
            return HF_EPROTOCOL;
        (*ret_configs)++;
    }
    return 0;
}

static void append_one(raft_group *g, const hf_replication_entry *e)
{
    raft_config config;

    if (!g->append_first)
        g->append_first = e->index;
    raft_log_append(&g->log, e->term, 1);
    g->mean_size = (g->mean_size * 7 + e->size) / 8;
    if (e->type == HF_ENTRY_MEMBERSHIP && raft_members_parse(e->payload, e->size, &config, NULL) == 0) {
        config.index = e->index;
        raft_config_push(g, &config);
    }
}

static int32_t append_entries(raft_group *g, const hf_replication_message *message, hf_error *error)
{
    for (uint64_t i = 0; i < message->entry_count; i++) {
        const hf_replication_entry *e = &message->entries[i];

        if (raft_log_matches(&g->log, e->index, e->term))
            continue;
        if (e->index <= g->commit)
            return hf_error_set(error, HF_EPROTOCOL, "an append contradicts the committed entry %llu",
                                (unsigned long long)e->index);
        if (e->index <= g->log.last)
            truncate(g, e->index);
        append_one(g, e);
    }
    return 0;
}

static void reject_append(raft_group *g, const hf_replication_message *message, const raft_message *m)
{
    raft_message reply = {.type = RAFT_APPEND_REPLY,
                          .reject = true,
                          .term = g->term,
                          .index = m->index,
                          .sent = m->sent,
                          .clock = g->now};

    reply.hint = raft_log_agreement(&g->log, m->index, m->log_term);
    raft_log_term(&g->log, reply.hint, &reply.hint_term);
    raft_send(g, message->from, &reply, true);
}

int32_t raft_on_append(raft_group *g, const hf_replication_message *message, const raft_message *m, hf_error *error)
{
    raft_message reply = {
        .type = RAFT_APPEND_REPLY, .term = g->term, .index = g->commit, .sent = m->sent, .clock = g->now};
    uint64_t configs = 0, last = m->index + message->entry_count;
    int32_t code = check_entries(message, m, &configs, error);

    if (code)
        return code;
    if (m->index >= g->commit) {
        if (!raft_log_matches(&g->log, m->index, m->log_term)) {
            reject_append(g, message, m);
            return 0;
        }
        if (!raft_log_reserve(&g->log, message->entry_count) || !raft_config_reserve(g, configs))
            return hf_error_set(error, HF_ENOMEM, "no memory for the terms of %llu entries",
                                (unsigned long long)message->entry_count);
        code = append_entries(g, message, error);
        if (code)
            return code;
        raft_commit_to(g, m->commit < last ? m->commit : last);
        reply.index = last;
    }
    /* What is already in the log may still be on its way to the disk: the driver sends this after earlier writes. */
    raft_send(g, message->from, &reply, !RAFT_BUG(RAFT_BUG_ACK_UNSYNCED));
    return 0;
}

void raft_on_heartbeat(raft_group *g, uint64_t from, const raft_message *m)
{
    raft_message reply = {
        .type = RAFT_HEARTBEAT_REPLY, .term = g->term, .round = m->round, .sent = m->sent, .clock = g->now};

    raft_commit_to(g, m->commit);
    reply.quiet = raft_agrees_to_be_quiet(g, m);
    raft_send(g, from, &reply, false);
}
