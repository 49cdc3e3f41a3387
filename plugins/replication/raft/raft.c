/* replication/raft: the order of entries by the Raft protocol, as a pure step machine.
 * Owns: one hf_replication_group per group; no threads, clocks, files or sockets. */
#include "raft.h"

#include <string.h>

/* ---- Opening and closing ------------------------------------------------------------------------------------- */

static void group_close(raft_group *g)
{
    const hf_host *host;

    if (!g)
        return;
    host = g->raft->host;
    raft_progress_free(g);
    host->free(host, g->log.runs);
    host->free(host, g->configs);
    host->free(host, g->reads);
    host->free(host, g->messages);
    host->free(host, g->answers);
    host->free(host, g);
}

static int32_t load_entry(raft_group *g, const hf_replication_entry *e, hf_error *error)
{
    raft_config config;

    if (e->index != g->log.last + 1 || e->term < raft_log_last_term(&g->log))
        return hf_error_set(error, HF_ECORRUPT, "the stored log breaks off or goes back at entry %llu",
                            (unsigned long long)g->log.last + 1);
    if (!raft_log_reserve(&g->log, 1) || !raft_config_reserve(g, 1))
        return hf_error_set(error, HF_ENOMEM, "no memory for the terms of the stored log");
    raft_log_append(&g->log, e->term, 1);
    g->mean_size = (g->mean_size * 7 + e->size) / 8;
    if (e->type != HF_ENTRY_MEMBERSHIP || RAFT_BUG(RAFT_BUG_FORGET_CONFIG))
        return 0;
    if (raft_members_parse(e->payload, e->size, &config, error))
        return hf_error_set(error, HF_ECORRUPT, "the stored membership at %llu is damaged",
                            (unsigned long long)e->index);
    config.index = e->index;
    raft_config_push(g, &config);
    return 0;
}

static int32_t load_members(raft_group *g, const hf_replication_setup *setup, hf_error *error)
{
    raft_config config = {0};
    int32_t code;

    if (!raft_config_reserve(g, 1))
        return hf_error_set(error, HF_ENOMEM, "no memory for the membership");
    if (setup->member_count) { /* none: a replica that waits for a snapshot or for the entries that add it */
        code = raft_members_parse((const uint8_t *)setup->members, setup->member_count * sizeof *setup->members,
                                  &config, error);
        if (code)
            return hf_error_set(error, HF_EINVAL, "the members given are not a valid list");
    }
    config.index = setup->snapshot_index;
    raft_config_push(g, &config);
    return 0;
}

static int32_t load(raft_group *g, const hf_replication_setup *setup, hf_error *error)
{
    int32_t code = load_members(g, setup, error);

    for (uint64_t i = 0; !code && i < setup->entry_count; i++)
        code = load_entry(g, &setup->entries[i], error);
    if (code)
        return code;
    if (setup->applied_index > g->log.last || setup->applied_index < setup->snapshot_index ||
        raft_log_last_term(&g->log) > setup->state.term)
        return hf_error_set(error, HF_ECORRUPT,
                            "the stored log ends at %llu, term %llu, which contradicts what was "
                            "applied (%llu) or the stored term (%llu)",
                            (unsigned long long)g->log.last, (unsigned long long)raft_log_last_term(&g->log),
                            (unsigned long long)setup->applied_index, (unsigned long long)setup->state.term);
    g->persisted = g->log.last;
    g->commit = g->applied = setup->applied_index;
    raft_commit_to(g, setup->state.commit);
    return 0;
}

static int32_t group_open(void *self, const hf_replication_setup *setup, raft_group **ret_group, hf_error *error)
{
    raft *r = self;
    raft_group *g;
    int32_t code;

    if (setup->size < sizeof *setup || !setup->self)
        return hf_error_set(error, HF_EINVAL, "the setup of a group is too small or has no replica id");
    g = r->host->alloc(r->host, sizeof *g);
    if (!g)
        return hf_error_set(error, HF_ENOMEM, "no memory for a group");
    g->raft = r;
    g->self = setup->self;
    g->now = setup->now_us;
    g->random = setup->random_seed ^ (setup->self * 0x9e3779b97f4a7c15u);
    g->term = setup->state.term;
    g->vote = setup->state.vote;
    g->next_write = 1;
    g->log.host = r->host;
    raft_log_reset(&g->log, setup->snapshot_index, setup->snapshot_term);
    code = load(g, setup, error);
    if (code) {
        group_close(g);
        return code;
    }
    raft_promise(g); /* perhaps it did before it was closed */
    raft_reset_election_timer(g);
    *ret_group = g;
    return 0;
}

/* ---- Time and messages --------------------------------------------------------------------------------------- */

static void advance_clock(raft_group *g, uint64_t now_us)
{
    if (now_us > g->now)
        g->now = now_us;
}

static void tick_leader(raft_group *g)
{
    if (g->now >= g->heartbeat_deadline) {
        uint64_t interval = g->raft->options.heartbeat_interval_us;

        /* On multiples of the interval: the heartbeats of all groups on a node leave together, and so do the answers.
         */
        g->heartbeat_due = true;
        g->heartbeat_deadline = (g->now / interval + 1) * interval;
    }
    if (g->transferee && g->now >= g->transfer_deadline)
        g->transferee = 0;
    if (g->now >= g->quorum_deadline)
        raft_check_quorum(g);
    if (g->role == HF_ROLE_LEADER && g->heartbeat_due)
        raft_fall_quiet(g);
}

static void tick(raft_group *g, uint64_t now_us)
{
    raft_output_begin(g);
    advance_clock(g, now_us);
    if (g->quiet)
        return;
    if (g->role == HF_ROLE_LEADER)
        tick_leader(g);
    else if (g->now >= g->election_deadline)
        raft_campaign(g, false);
}

/* A message of an older term: its sender must learn the newer one, or a replica that came back with a higher term
 * would wait for ever for a leader that keeps its own. */
static void answer_old_term(raft_group *g, uint64_t from, const raft_message *m)
{
    raft_message reply = {.reject = true, .term = g->term};

    if (m->type == RAFT_APPEND || m->type == RAFT_HEARTBEAT)
        reply.type = RAFT_APPEND_REPLY;
    else if (m->type == RAFT_PREVOTE || m->type == RAFT_VOTE)
        reply.type = m->type == RAFT_PREVOTE ? RAFT_PREVOTE_REPLY : RAFT_VOTE_REPLY;
    else
        return;
    raft_send(g, from, &reply, true);
}

/* False: the message ends here. */
static bool settle_term(raft_group *g, uint64_t from, const raft_message *m, bool protected)
{
    bool from_leader = m->type == RAFT_APPEND || m->type == RAFT_HEARTBEAT;

    if ((m->type == RAFT_VOTE || m->type == RAFT_PREVOTE) && m->term >= g->term && !m->force && protected)
        return false;
    if (m->term < g->term) {
        answer_old_term(g, from, m);
        return false;
    }
    if (m->type == RAFT_PREVOTE || (m->type == RAFT_PREVOTE_REPLY && !m->reject))
        return true; /* its term is only a proposal */
    if (m->term > g->term)
        raft_become_follower(g, m->term, from_leader ? from : 0);
    return true;
}

static void heard_leader(raft_group *g, uint64_t from)
{
    if (g->role != HF_ROLE_FOLLOWER || g->leader != from)
        raft_become_follower(g, g->term, from);
    g->leader_seen = g->now;
    raft_promise(g);
    g->link_lost = false;
    g->hurry = 0;
    raft_reset_election_timer(g);
}

static int32_t dispatch(raft_group *g, const hf_replication_message *message, const raft_message *m, hf_error *error)
{
    switch (m->type) {
    case RAFT_PREVOTE:
    case RAFT_VOTE:
        raft_on_vote(g, message->from, m);
        return 0;
    case RAFT_PREVOTE_REPLY:
    case RAFT_VOTE_REPLY:
        raft_on_vote_reply(g, message->from, m);
        return 0;
    case RAFT_APPEND:
        return raft_on_append(g, message, m, error);
    case RAFT_APPEND_REPLY:
        raft_on_append_reply(g, message->from, m);
        return 0;
    case RAFT_HEARTBEAT:
        raft_on_heartbeat(g, message->from, m);
        return 0;
    case RAFT_HEARTBEAT_REPLY:
        raft_on_heartbeat_reply(g, message->from, m);
        return 0;
    default:
        raft_on_timeout_now(g);
        return 0;
    }
}

static int32_t receive(raft_group *g, const hf_replication_message *message, uint64_t now_us, hf_error *error)
{
    raft_message m;
    int32_t code = raft_message_decode(message, &m, error);
    bool protected;

    raft_output_begin(g);
    if (code)
        return code;
    if (message->to != g->self || !message->from || message->from == g->self)
        return hf_error_set(error, HF_EPROTOCOL, "a message for replica %llu reached replica %llu",
                            (unsigned long long)message->to, (unsigned long long)g->self);
    advance_clock(g, now_us);
    protected = raft_protects_leader(g);
    if (g->quiet && !m.quiet)
        raft_wake(g);
    if (!settle_term(g, message->from, &m, protected))
        return 0;
    if (m.type == RAFT_APPEND || m.type == RAFT_HEARTBEAT) {
        if (g->role == HF_ROLE_LEADER)
            return hf_error_set(error, HF_EPROTOCOL, "replica %llu also claims to lead term %llu",
                                (unsigned long long)message->from, (unsigned long long)g->term);
        heard_leader(g, message->from);
    }
    return dispatch(g, message, &m, error);
}

/* ---- Requests ------------------------------------------------------------------------------------------------ */

static int32_t propose(raft_group *g, const uint32_t *sizes, uint64_t count, uint64_t *ret_first_index,
                       uint64_t *ret_term, hf_error *error)
{
    raft_output_begin(g);
    if (g->role != HF_ROLE_LEADER)
        return hf_error_set(error, HF_ENOTLEADER, "this replica does not lead the group");
    if (!count)
        return hf_error_set(error, HF_EINVAL, "a proposal needs at least one entry");
    if (g->transferee || (g->log.last - g->commit) * g->mean_size > g->raft->options.max_inflight_bytes)
        return hf_error_set(error, HF_EBUSY, "%s",
                            g->transferee ? "leadership is being handed over" : "too much is not yet committed");
    if (!raft_log_reserve(&g->log, 1))
        return hf_error_set(error, HF_ENOMEM, "no memory for a proposal");
    raft_wake(g);
    for (uint64_t i = 0; i < count; i++)
        g->mean_size = (g->mean_size * 7 + sizes[i] + 7) / 8;
    *ret_first_index = g->log.last + 1;
    *ret_term = g->term;
    raft_append_own(g, count);
    if (RAFT_BUG(RAFT_BUG_ACK_UNSYNCED))
        raft_advance_commit(g);
    return 0;
}

static void persisted(raft_group *g, uint64_t write_id)
{
    raft_output_begin(g);
    raft_persisted(g, write_id);
}

static void applied(raft_group *g, uint64_t index)
{
    if (index > g->applied && index <= g->commit)
        g->applied = index;
}

static int32_t read_request(raft_group *g, uint64_t context, uint64_t now_us, hf_error *error)
{
    raft_output_begin(g);
    advance_clock(g, now_us);
    raft_wake(g);
    return raft_read_request(g, context, error);
}

static void unreachable(raft_group *g, uint64_t replica, uint64_t now_us)
{
    raft_progress *pr = raft_progress_find(g, replica);

    raft_output_begin(g);
    advance_clock(g, now_us);
    if (g->role == HF_ROLE_LEADER && pr) {
        raft_wake(g);
        pr->gone = true;
        if (pr->state == RAFT_REPLICATE)
            raft_progress_probe(pr, pr->match + 1);
    } else if (g->role != HF_ROLE_LEADER && replica == g->leader)
        raft_leader_lost(g);
}

/* Until it is heard, the leader goes on asking. */
static void reachable(raft_group *g, uint64_t replica, uint64_t now_us)
{
    raft_progress *pr = raft_progress_find(g, replica);

    raft_output_begin(g);
    advance_clock(g, now_us);
    if (g->role != HF_ROLE_LEADER || !pr || !pr->gone)
        return;
    pr->gone = false;
    raft_wake(g);
}

static int32_t transfer(raft_group *g, uint64_t replica, hf_error *error)
{
    raft_progress *pr = raft_progress_find(g, replica);

    raft_output_begin(g);
    if (g->role != HF_ROLE_LEADER)
        return hf_error_set(error, HF_ENOTLEADER, "this replica does not lead the group");
    if (!pr || pr->learner)
        return hf_error_set(error, HF_EINVAL, "replica %llu is not a voter of the group", (unsigned long long)replica);
    if (replica == g->self)
        return 0;
    raft_wake(g);
    pr->timeout_now = false;
    g->transferee = replica;
    g->transfer_deadline = g->now + g->raft->options.election_timeout_us;
    return 0;
}

static void campaign(raft_group *g)
{
    raft_output_begin(g);
    raft_wake(g);
    raft_campaign(g, false);
}

/* ---- Snapshots ----------------------------------------------------------------------------------------------- */

/* A failed snapshot is not asked for again before the next heartbeat's answer, lest the two spin. */
static void snapshot_sent(raft_group *g, uint64_t replica, uint64_t index, int32_t ok)
{
    raft_progress *pr = raft_progress_find(g, replica);

    raft_output_begin(g);
    if (g->role != HF_ROLE_LEADER || !pr || pr->state != RAFT_SNAPSHOT)
        return;
    raft_progress_probe(pr, ok && index > pr->match && index <= g->log.last ? index + 1 : pr->match + 1);
    pr->paused = !ok;
}

static int32_t snapshot_installed(raft_group *g, uint64_t index, uint64_t term, const hf_replication_member *members,
                                  uint32_t member_count, hf_error *error)
{
    raft_config config;
    int32_t code = raft_members_parse((const uint8_t *)members, member_count * sizeof *members, &config, error);

    raft_output_begin(g);
    if (code)
        return hf_error_set(error, HF_EINVAL, "the members of the snapshot are not a valid list");
    /* What is known to be committed may not be durable here, and not applied: then the snapshot is ahead. */
    if (index <= g->applied || g->role == HF_ROLE_LEADER ||
        (index <= g->commit && !raft_log_matches(&g->log, index, term)))
        return hf_error_set(error, HF_ESTATE, "the snapshot at %llu is behind this replica's %llu",
                            (unsigned long long)index, (unsigned long long)g->applied);
    config.index = index;
    if (raft_log_matches(&g->log, index, term)) { /* the rest of the log follows the snapshot: keep it */
        raft_commit_to(g, index);
        raft_log_compact(&g->log, index);
    } else {
        raft_log_reset(&g->log, index, term);
        raft_config_reset(g, &config);
        g->truncate_from = index + 1;
        g->append_first = 0;
        g->write_count = 0;
        g->persisted = g->commit = index;
    }
    if (g->append_first && g->append_first <= index)
        g->append_first = index + 1;
    if (g->persisted < index)
        g->persisted = index;
    g->applied = index;
    g->state_dirty = true;
    if (term > g->term)
        raft_become_follower(g, term, 0);
    return 0;
}

static int32_t compacted(raft_group *g, uint64_t index, hf_error *error)
{
    if (index > g->applied)
        return hf_error_set(error, HF_EINVAL, "entry %llu is not applied yet and cannot be dropped",
                            (unsigned long long)index);
    raft_log_compact(&g->log, index);
    return 0;
}

/* ---- Questions ----------------------------------------------------------------------------------------------- */

static int32_t term_at(raft_group *g, uint64_t index, uint64_t *ret_term)
{
    return raft_log_term(&g->log, index, ret_term) ? 0 : HF_ENOTFOUND;
}

static uint64_t next_wake(const raft_group *g)
{
    uint64_t wake;

    if (g->quiet)
        return RAFT_NEVER;
    if (g->role != HF_ROLE_LEADER)
        return raft_may_campaign(g) ? g->election_deadline : RAFT_NEVER;
    wake = g->heartbeat_deadline < g->quorum_deadline ? g->heartbeat_deadline : g->quorum_deadline;
    return g->transferee && g->transfer_deadline < wake ? g->transfer_deadline : wake;
}

static void status(raft_group *g, hf_replication_status *s)
{
    if (s->size < sizeof *s)
        return;
    s->role = g->role == HF_ROLE_FOLLOWER && !raft_is_voter(g, g->self) ? HF_ROLE_LEARNER : g->role;
    s->term = g->term;
    s->leader = g->leader;
    s->commit_index = g->commit;
    s->last_index = g->log.last;
    s->persisted_index = g->persisted;
    s->next_wake_us = next_wake(g);
    s->lease_until_us = raft_lease_until(g);
    s->clock_faults = g->clock_faults;
    s->quiet = g->quiet;
}

static int32_t progress(raft_group *g, uint64_t replica, hf_replication_progress *ret_progress)
{
    const raft_progress *pr = raft_progress_find(g, replica);

    if (g->role != HF_ROLE_LEADER)
        return HF_ENOTLEADER;
    if (!pr)
        return HF_ENOTFOUND;
    if (ret_progress->size < sizeof *ret_progress)
        return HF_EINVAL;
    ret_progress->match_index = pr->match;
    ret_progress->reachable = replica == g->self || (pr->state == RAFT_REPLICATE && !pr->gone);
    return 0;
}

/* ---- Instances ----------------------------------------------------------------------------------------------- */

static int32_t create(const hf_host *host, const void *configuration, void **ret_self, hf_error *error)
{
    raft *r = host->alloc(host, sizeof *r);

    if (!r)
        return hf_error_set(error, HF_ENOMEM, "no memory for the Raft instance");
    r->host = host;
    r->options = *(const raft_options *)configuration;
    *ret_self = r;
    return 0;
}

static void destroy(void *self)
{
    raft *r = self;

    if (r)
        r->host->free(r->host, r);
}

const hf_replication raft_interface = {
    .head = HF_HEAD(hf_replication),
    .create = create,
    .destroy = destroy,
    .group_open = group_open,
    .group_close = group_close,
    .tick = tick,
    .propose = propose,
    .receive = receive,
    .persisted = persisted,
    .applied = applied,
    .read_request = read_request,
    .unreachable = unreachable,
    .snapshot_sent = snapshot_sent,
    .snapshot_installed = snapshot_installed,
    .compacted = compacted,
    .transfer = transfer,
    .campaign = campaign,
    .term_at = term_at,
    .take = raft_take,
    .status = status,
    .propose_membership = raft_propose_membership,
    .progress = progress,
    .members = raft_members,
    .force_membership = raft_force_membership,
    .reachable = reachable,
};
