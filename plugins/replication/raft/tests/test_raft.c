/* The parts of the core that a simulation reaches only by chance: the term log, malformed messages, a group of one,
 * membership, also by force, who is to vote no more, leases to the microsecond, clocks that jump, quiet. */
#include "../raft.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void *host_alloc(const hf_host *host, uint64_t size)
{
    (void)host;
    return calloc(1, size);
}

static void host_free(const hf_host *host, void *memory)
{
    (void)host;
    free(memory);
}

static const hf_host host = {.head = HF_HEAD(hf_host), .alloc = host_alloc, .free = host_free};

static void term_log_keeps_runs(void **state)
{
    raft_term_log log = {.host = &host};
    uint64_t term;

    (void)state;
    assert_true(raft_log_reserve(&log, 8));
    raft_log_append(&log, 1, 10);
    raft_log_append(&log, 3, 5);
    assert_int_equal(log.count, 2);
    assert_true(raft_log_matches(&log, 10, 1) && raft_log_matches(&log, 11, 3) && raft_log_matches(&log, 0, 0));
    assert_int_equal(raft_log_agreement(&log, 15, 2), 10);
    raft_log_compact(&log, 12);
    assert_false(raft_log_term(&log, 11, &term));
    assert_true(raft_log_matches(&log, 12, 3));
    raft_log_truncate(&log, 13);
    assert_int_equal(log.last, 12);
    assert_int_equal(raft_log_last_term(&log), 3);
    free(log.runs);
}

static raft_group *open_group(raft *r, const hf_replication_member *members, uint32_t count)
{
    raft_group *g = NULL;
    hf_replication_setup setup = {.size = sizeof setup, .member_count = count, .self = 1, .members = members};

    *r = (raft){&host, {500000, 100000, 1 << 20, 1 << 20, 16, 200000, 10, 1000000}};
    assert_int_equal(raft_interface.group_open(r, &setup, &g, NULL), 0);
    return g;
}

static hf_replication_output settle(raft_group *g)
{
    hf_replication_output o = {.size = sizeof o};

    for (int i = 0; i < 4; i++) {
        raft_interface.take(g, &o);
        if (!o.write_id)
            break;
        raft_interface.persisted(g, o.write_id);
    }
    return o;
}

static void group_of_one_leads_and_changes_members(void **state)
{
    const hf_replication_member members[] = {{.replica = 1}, {.replica = 2}, {.replica = 3}};
    hf_replication_status s = {.size = sizeof s};
    uint64_t index, term;
    uint32_t size = 5;
    raft r;
    raft_group *g = open_group(&r, members, 1);

    (void)state;
    raft_interface.tick(g, 2000000);
    settle(g);
    raft_interface.status(g, &s);
    assert_int_equal(s.role, HF_ROLE_LEADER);
    assert_int_equal(s.commit_index, 1);
    assert_int_equal(raft_interface.propose(g, &size, 1, &index, &term, NULL), 0);
    settle(g);
    assert_int_equal(raft_interface.read_request(g, 77, 2000000, NULL), 0);
    hf_replication_output o = settle(g);
    assert_int_equal(o.commit_index, 2);
    assert_int_equal(o.read_count, 1);
    assert_int_equal(o.reads[0].index, 2);
    assert_int_equal(raft_interface.propose_membership(g, members, 3, &index, &term, NULL), HF_EINVAL);
    assert_int_equal(raft_interface.propose_membership(g, members, 2, &index, &term, NULL), 0);
    o = settle(g);
    assert_int_equal(o.commit_index, 2); /* now replica 2 is needed */
    assert_int_equal(raft_interface.propose_membership(g, members, 1, &index, &term, NULL), HF_EBUSY);
    raft_interface.group_close(g);
}

static void malformed_headers_are_refused(void **state)
{
    const hf_replication_member members[] = {{.replica = 1}, {.replica = 2}};
    hf_replication_message m = {.from = 2, .to = 1, .header_size = 3};
    raft_message good = {.type = RAFT_HEARTBEAT, .term = 1};
    raft r;
    raft_group *g = open_group(&r, members, 2);

    (void)state;
    assert_int_equal(raft_interface.receive(g, &m, 1, NULL), HF_EPROTOCOL);
    raft_message_encode(&good, &m);
    m.header[0] = 9;
    assert_int_equal(raft_interface.receive(g, &m, 1, NULL), HF_EPROTOCOL);
    m.header[0] = 1;
    m.header[1] = 0;
    assert_int_equal(raft_interface.receive(g, &m, 1, NULL), HF_EPROTOCOL);
    raft_message_encode(&good, &m);
    assert_int_equal(raft_interface.receive(g, &m, 1, NULL), 0);
    raft_interface.group_close(g);
}

/* ---- A leader of three whose followers are played by the test --------------------------------------------------- */

enum { START = 5000000, LEASE = 200000 - 20000 }; /* less ten percent */

static void receive_from(raft_group *g, uint64_t from, raft_message m, uint64_t now)
{
    hf_replication_message message = {.from = from, .to = 1};

    raft_message_encode(&m, &message);
    assert_int_equal(raft_interface.receive(g, &message, now, NULL), 0);
}

/* Replica 1 of three, which leads term 1 with its first entry committed, at START. */
static raft_group *open_leader(raft *r)
{
    static const hf_replication_member members[] = {{.replica = 1}, {.replica = 2}, {.replica = 3}};
    hf_replication_status s = {.size = sizeof s};
    raft_group *g = open_group(r, members, 3);

    raft_interface.tick(g, START);
    settle(g);
    receive_from(g, 2, (raft_message){.type = RAFT_PREVOTE_REPLY, .term = 1}, START);
    settle(g);
    receive_from(g, 2, (raft_message){.type = RAFT_VOTE_REPLY, .term = 1}, START);
    settle(g);
    receive_from(g, 2, (raft_message){.type = RAFT_APPEND_REPLY, .term = 1, .index = 1}, START);
    receive_from(g, 3, (raft_message){.type = RAFT_APPEND_REPLY, .term = 1, .index = 1}, START);
    hf_replication_output o = settle(g);
    raft_interface.status(g, &s);
    assert_int_equal(s.role, HF_ROLE_LEADER);
    assert_int_equal(o.commit_index, 1);
    raft_interface.applied(g, 1);
    return g;
}

static void answer(raft_group *g, uint64_t from, uint64_t sent, int64_t clock, uint64_t now)
{
    receive_from(g, from,
                 (raft_message){.type = RAFT_HEARTBEAT_REPLY, .term = 1, .sent = sent, .clock = (uint64_t)clock}, now);
    settle(g);
}

/* How many reads are answered at once. */
static uint64_t read_at(raft_group *g, uint64_t now)
{
    hf_replication_output o = {.size = sizeof o};

    assert_int_equal(raft_interface.read_request(g, 7, now, NULL), 0);
    raft_interface.take(g, &o);
    return o.read_count;
}

static void a_lease_lasts_to_the_microsecond(void **state)
{
    raft r;
    raft_group *g = open_leader(&r);

    (void)state;
    answer(g, 2, START, 99, START + 1000);
    assert_int_equal(read_at(g, START + LEASE - 1), 1);
    assert_int_equal(read_at(g, START + LEASE), 0); /* asks the followers instead */
    answer(g, 3, START + 50000, 99, START + LEASE);
    assert_int_equal(read_at(g, START + LEASE + 49999), 1);
    assert_int_equal(raft_interface.transfer(g, 3, NULL), 0);
    assert_int_equal(read_at(g, START + LEASE + 49999), 0);
    raft_interface.group_close(g);
}

static uint64_t clock_faults(raft_group *g)
{
    hf_replication_status s = {.size = sizeof s};

    raft_interface.status(g, &s);
    return s.clock_faults;
}

static void clocks_that_drift_apart_end_leases(void **state)
{
    const int64_t far = -4000000; /* the other's clock has another zero */
    uint64_t now = START;
    raft r;
    raft_group *g = open_leader(&r);

    (void)state;
    for (int i = 0; i < 40; i++, now += 90000) /* a tenth too fast is allowed */
        answer(g, 2, now, far + (int64_t)(now + (now - START) / 10), now + 500);
    assert_int_equal(clock_faults(g), 0);
    now -= 90000;
    assert_int_equal(read_at(g, now + 1000), 1);
    /* It stood still for a second. */
    answer(g, 2, now + 90000, far + (int64_t)(now + (now - START) / 10) - 910000, now + 90500);
    assert_int_equal(clock_faults(g), 1);
    assert_int_equal(read_at(g, now + 91000), 0);
    raft_interface.group_close(g);
}

static uint64_t votes_for_3(raft_group *g, raft_message request, uint64_t now)
{
    hf_replication_output o = {.size = sizeof o};
    raft_message reply = {.reject = true};

    receive_from(g, 3, request, now);
    raft_interface.take(g, &o);
    for (uint64_t i = 0; i < o.message_count; i++)
        if (o.messages[i].to == 3)
            assert_int_equal(raft_message_decode(&o.messages[i], &reply, NULL), 0);
    return !reply.reject;
}

static uint64_t granted(raft_group *g, bool force, uint64_t now)
{
    return votes_for_3(g, (raft_message){.type = RAFT_PREVOTE, .term = 3, .index = 9, .log_term = 2, .force = force},
                       now);
}

static void a_promise_holds_when_the_link_is_lost(void **state)
{
    const hf_replication_member members[] = {{.replica = 1}, {.replica = 2}, {.replica = 3}};
    raft r;
    raft_group *g = open_group(&r, members, 3);

    (void)state;
    settle(g);
    assert_false(granted(g, false, 199999)); /* what it promised before it was started is not known */
    receive_from(g, 2, (raft_message){.type = RAFT_HEARTBEAT, .term = 2, .sent = 1}, 300000);
    settle(g);
    raft_interface.unreachable(g, 2, 300001);
    settle(g);
    assert_false(granted(g, false, 499999));
    assert_true(granted(g, true, 499999)); /* the leader itself asks for it */
    assert_true(granted(g, false, 500000));
    raft_interface.group_close(g);
}

static int32_t is_quiet(raft_group *g)
{
    hf_replication_status s = {.size = sizeof s};

    raft_interface.status(g, &s);
    assert_true(!s.quiet || s.next_wake_us == UINT64_MAX);
    return s.quiet;
}

static void a_group_with_nothing_to_do_is_quiet(void **state)
{
    hf_replication_output o = {.size = sizeof o};
    uint64_t now = START, index, term;
    uint32_t size = 1;
    raft_message m;
    raft r;
    raft_group *g = open_leader(&r);

    (void)state;
    for (; !is_quiet(g) && now < START + 3000000; now += 50000) {
        answer(g, 2, 0, 0, now);
        raft_interface.tick(g, now);
        raft_interface.take(g, &o);
    }
    assert_true(is_quiet(g));
    assert_true(now > START + 1000000);
    assert_int_equal(o.message_count, 2);
    assert_int_equal(raft_message_decode(&o.messages[1], &m, NULL), 0);
    assert_true(m.type == RAFT_HEARTBEAT && m.quiet && m.index == 1 && m.commit == 1);
    receive_from(g, 2, (raft_message){.type = RAFT_HEARTBEAT_REPLY, .term = 1, .quiet = true}, now);
    raft_interface.tick(g, now + 10000000);
    raft_interface.take(g, &o);
    assert_true(is_quiet(g) && o.message_count == 0);

    now += 10000000;
    assert_int_equal(raft_interface.propose(g, &size, 1, &index, &term, NULL), 0);
    raft_interface.take(g, &o);
    assert_true(!is_quiet(g) && o.message_count >= 2);
    raft_interface.group_close(g);
}

/* Whether the output asks replica 2 what its log holds. */
static int32_t asks(const hf_replication_output *o)
{
    raft_message m;

    for (uint64_t i = 0; i < o->message_count; i++)
        if (o->messages[i].to == 2 && raft_message_decode(&o->messages[i], &m, NULL) == 0 && m.type == RAFT_APPEND)
            return 1;
    return 0;
}

/* What the leader sent when the link was lost, it never got. */
static void a_follower_that_was_away_and_missed_nothing_lets_its_group_be_quiet(void **state)
{
    hf_replication_output o = {.size = sizeof o};
    hf_replication_progress progress = {.size = sizeof progress};
    uint64_t now = START + 1000;
    raft r;
    raft_group *g = open_leader(&r);

    (void)state;
    raft_interface.unreachable(g, 2, now);
    raft_interface.take(g, &o);
    receive_from(g, 2, (raft_message){.type = RAFT_HEARTBEAT_REPLY, .term = 1}, now += 1000);
    raft_interface.take(g, &o);
    assert_true(asks(&o));
    receive_from(g, 2, (raft_message){.type = RAFT_APPEND_REPLY, .term = 1, .index = 1}, now += 1000);
    settle(g);
    assert_int_equal(raft_interface.progress(g, 2, &progress), 0);
    assert_true(progress.reachable);
    for (; !is_quiet(g) && now < START + 3000000; now += 50000) {
        answer(g, 2, 0, 0, now);
        raft_interface.tick(g, now);
        settle(g);
    }
    assert_true(is_quiet(g));
    raft_interface.group_close(g);
}

static uint64_t wait_until_quiet(raft_group *g, uint64_t now)
{
    for (uint64_t end = now + 3000000; !is_quiet(g) && now < end; now += 50000) {
        answer(g, 2, 0, 0, now);
        raft_interface.tick(g, now);
        settle(g);
    }
    return now;
}

/* One that has nothing, as it was opened late, knows nobody to speak to. */
static void a_leader_asks_a_follower_whose_link_is_there_again_until_it_answers(void **state)
{
    raft r;
    raft_group *g = open_leader(&r);

    (void)state;
    raft_interface.unreachable(g, 3, START + 1000);
    settle(g);
    uint64_t now = wait_until_quiet(g, START + 1000);

    assert_true(is_quiet(g));
    raft_interface.reachable(g, 2, now); /* it was not lost */
    assert_true(is_quiet(g));
    raft_interface.reachable(g, 3, now);
    now = wait_until_quiet(g, now);
    assert_false(is_quiet(g));
    receive_from(g, 3, (raft_message){.type = RAFT_APPEND_REPLY, .term = 1, .index = 1}, now);
    settle(g);
    wait_until_quiet(g, now);
    assert_true(is_quiet(g));
    raft_interface.group_close(g);
}

static void a_quiet_follower_wakes_when_its_leader_is_lost(void **state)
{
    const hf_replication_member members[] = {{.replica = 1}, {.replica = 2}, {.replica = 3}};
    raft_message last = {.type = RAFT_HEARTBEAT, .term = 2, .quiet = true, .sent = 1};
    hf_replication_status s = {.size = sizeof s};
    raft r;
    raft_group *g = open_group(&r, members, 3);

    (void)state;
    last.index = 4; /* it does not have that */
    receive_from(g, 2, last, 300000);
    settle(g);
    assert_false(is_quiet(g));
    last.index = 0;
    receive_from(g, 2, last, 300000);
    settle(g);
    assert_true(is_quiet(g));
    assert_false(granted(g, false, 60000000)); /* whoever asks does not know that the leader lives */
    assert_false(is_quiet(g));                 /* but it has to show that */
    receive_from(g, 2, last, 60000000);
    settle(g);
    raft_interface.unreachable(g, 2, 70000000);
    settle(g);
    raft_interface.status(g, &s);
    assert_true(!s.quiet && s.next_wake_us < 70000000 + 500000);
    raft_interface.group_close(g);
}

/* ---- A voter that is to be none any more ------------------------------------------------------------------------- */

enum { FOUR = 4, ELECTION = 500000 };

/* Replica 1 of four.  Replica 4, which led term 1, made a change of members that only this one has got, and died. */
static raft_group *open_last_heir(raft *r, const hf_replication_member *next, uint32_t count)
{
    static const hf_replication_member members[FOUR] = {{.replica = 1}, {.replica = 2}, {.replica = 3}, {.replica = 4}};
    hf_replication_entry change = {
        .index = 1, .term = 1, .type = HF_ENTRY_MEMBERSHIP, .payload = (const uint8_t *)next};
    hf_replication_message message = {.from = 4, .to = 1, .first_index = 1, .entry_count = 1, .entries = &change};
    raft_message append = {.type = RAFT_APPEND, .term = 1, .sent = 1};
    raft_group *g = open_group(r, members, FOUR);

    change.size = count * (uint32_t)sizeof *next;
    raft_message_encode(&append, &message);
    assert_int_equal(raft_interface.receive(g, &message, START, NULL), 0);
    settle(g);
    return g;
}

static hf_replication_status status_of(raft_group *g)
{
    hf_replication_status s = {.size = sizeof s};

    raft_interface.status(g, &s);
    return s;
}

/* Its log is the newest, so the others cannot do without it; and its own vote does not count. */
static void needed_until_the_change_is_committed(const hf_replication_member *next, uint32_t count)
{
    uint64_t now = START + 2 * ELECTION;
    raft r;
    raft_group *g = open_last_heir(&r, next, count);

    assert_true(status_of(g).next_wake_us <= now);
    assert_false(votes_for_3(g, (raft_message){.type = RAFT_PREVOTE, .term = 2}, now)); /* whose log ends before */
    raft_interface.tick(g, now += 2 * ELECTION);
    settle(g);
    assert_int_equal(status_of(g).role, HF_ROLE_CANDIDATE);
    receive_from(g, 2, (raft_message){.type = RAFT_PREVOTE_REPLY, .term = 2}, now);
    settle(g);
    assert_int_equal(status_of(g).term, 1);
    receive_from(g, 3, (raft_message){.type = RAFT_PREVOTE_REPLY, .term = 2}, now);
    settle(g);
    assert_int_equal(status_of(g).term, 2);
    receive_from(g, 2, (raft_message){.type = RAFT_VOTE_REPLY, .term = 2}, now);
    settle(g);
    assert_int_equal(status_of(g).role, HF_ROLE_CANDIDATE);
    receive_from(g, 3, (raft_message){.type = RAFT_VOTE_REPLY, .term = 2}, now);
    settle(g);
    assert_int_equal(status_of(g).role, HF_ROLE_LEADER);

    /* With the entry of its own term the change is committed, and it is not needed any more. */
    receive_from(g, 2, (raft_message){.type = RAFT_APPEND_REPLY, .term = 2, .index = 2}, now);
    settle(g);
    assert_int_equal(status_of(g).commit_index, 0);
    receive_from(g, 3, (raft_message){.type = RAFT_APPEND_REPLY, .term = 2, .index = 2}, now);
    settle(g);
    assert_int_equal(status_of(g).commit_index, 2);
    assert_int_equal(status_of(g).role, HF_ROLE_LEARNER);
    assert_true(status_of(g).next_wake_us == RAFT_NEVER);
    raft_interface.tick(g, now + 4 * ELECTION);
    settle(g);
    assert_int_equal(status_of(g).role, HF_ROLE_LEARNER);
    raft_interface.group_close(g);
}

static void who_is_to_vote_no_more_is_needed_until_that_is_committed(void **state)
{
    const hf_replication_member demoted[] = {
        {.replica = 1, .learner = 1}, {.replica = 2}, {.replica = 3}, {.replica = 4}};
    const hf_replication_member removed[] = {{.replica = 2}, {.replica = 3}, {.replica = 4}};

    (void)state;
    needed_until_the_change_is_committed(demoted, 4);
    needed_until_the_change_is_committed(removed, 3);
}

/* ---- Without a majority ------------------------------------------------------------------------------------------ */

enum { FIVE = 5 };

static raft_group *open_follower_of_five(raft *r)
{
    static const hf_replication_member members[FIVE] = {
        {.replica = 1}, {.replica = 2}, {.replica = 3}, {.replica = 4}, {.replica = 5}};
    raft_group *g = open_group(r, members, FIVE);

    raft_interface.tick(g, START);
    settle(g);
    receive_from(g, 4, (raft_message){.type = RAFT_HEARTBEAT, .term = 7, .sent = 1}, START + 1000000);
    settle(g);
    return g;
}

static void a_forced_membership_needs_no_one_else(void **state)
{
    const hf_replication_member alone[] = {{.replica = 1}}, both[] = {{.replica = 1}, {.replica = 2, .learner = 1}};
    hf_replication_status s = {.size = sizeof s};
    hf_replication_member now[2] = {{0}};
    uint64_t index = 0, term = 0, at = START + 3000000;
    uint32_t size = 9;
    raft r;
    raft_group *g = open_follower_of_five(&r);

    (void)state;
    raft_interface.unreachable(g, 4, at);
    assert_int_equal(raft_interface.members(g, now, 2), FIVE); /* only two fit */
    assert_int_equal(now[1].replica, 2);
    assert_int_equal(raft_interface.force_membership(g, alone, 1, at, &index, &term, NULL), 0);
    assert_int_equal(index, 1);
    assert_int_equal(term, 8);
    assert_int_equal(raft_interface.members(g, now, 2), 1);

    /* It is stored like any entry, with the vote that keeps others from leading that term. */
    hf_replication_output o = {.size = sizeof o};
    raft_interface.take(g, &o);
    assert_true(o.state_changed && o.state.term == 8 && o.state.vote == 1);
    assert_true(o.append_first == 1 && o.append_count == 1 && o.commit_index == 0);
    raft_interface.persisted(g, o.write_id);
    raft_interface.tick(g, at + 1);
    settle(g);
    raft_interface.status(g, &s);
    assert_int_equal(s.role, HF_ROLE_LEADER);
    assert_int_equal(s.term, 9);
    assert_int_equal(s.commit_index, 2); /* it, and the leader's own entry */

    /* From here on the group is like any other. */
    assert_int_equal(raft_interface.propose(g, &size, 1, &index, &term, NULL), 0);
    settle(g);
    assert_int_equal(raft_interface.propose_membership(g, both, 2, &index, &term, NULL), 0);
    raft_interface.group_close(g);
}

static void a_membership_is_not_forced_on_a_group_that_lives(void **state)
{
    const hf_replication_member alone[] = {{.replica = 1}}, other[] = {{.replica = 2}},
                                learner[] = {{.replica = 1, .learner = 1}, {.replica = 2}};
    uint64_t index = 0, term = 0;
    raft r;
    raft_group *g = open_follower_of_five(&r);

    (void)state;
    assert_int_equal(raft_interface.force_membership(g, alone, 1, START + 1000001, &index, &term, NULL), HF_EBUSY);
    raft_interface.unreachable(g, 4, START + 3000000);
    assert_int_equal(raft_interface.force_membership(g, other, 1, START + 3000000, &index, &term, NULL), HF_EINVAL);
    assert_int_equal(raft_interface.force_membership(g, learner, 2, START + 3000000, &index, &term, NULL), HF_EINVAL);
    assert_int_equal(raft_interface.force_membership(g, alone, 0, START + 3000000, &index, &term, NULL), HF_EINVAL);
    assert_int_equal(index, 0);
    raft_interface.group_close(g);

    g = open_leader(&r);
    assert_int_equal(raft_interface.force_membership(g, alone, 1, START + 1, &index, &term, NULL), HF_ESTATE);
    raft_interface.group_close(g);
}

/* What has no members yet, and will never be sent any, can begin. */
static void an_empty_replica_can_be_made_the_group(void **state)
{
    const hf_replication_member alone[] = {{.replica = 1}};
    hf_replication_status s = {.size = sizeof s};
    uint64_t index = 0, term = 0;
    raft r;
    raft_group *g = open_group(&r, NULL, 0);

    (void)state;
    assert_int_equal(raft_interface.members(g, NULL, 0), 0);
    assert_int_equal(raft_interface.force_membership(g, alone, 1, START, &index, &term, NULL), 0);
    assert_true(index == 1 && term == 1);
    settle(g);
    raft_interface.tick(g, START + 1);
    settle(g);
    raft_interface.status(g, &s);
    assert_int_equal(s.role, HF_ROLE_LEADER);
    raft_interface.group_close(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(term_log_keeps_runs),
        cmocka_unit_test(group_of_one_leads_and_changes_members),
        cmocka_unit_test(malformed_headers_are_refused),
        cmocka_unit_test(a_lease_lasts_to_the_microsecond),
        cmocka_unit_test(clocks_that_drift_apart_end_leases),
        cmocka_unit_test(a_promise_holds_when_the_link_is_lost),
        cmocka_unit_test(a_group_with_nothing_to_do_is_quiet),
        cmocka_unit_test(a_follower_that_was_away_and_missed_nothing_lets_its_group_be_quiet),
        cmocka_unit_test(a_leader_asks_a_follower_whose_link_is_there_again_until_it_answers),
        cmocka_unit_test(a_quiet_follower_wakes_when_its_leader_is_lost),
        cmocka_unit_test(who_is_to_vote_no_more_is_needed_until_that_is_committed),
        cmocka_unit_test(a_forced_membership_needs_no_one_else),
        cmocka_unit_test(a_membership_is_not_forced_on_a_group_that_lives),
        cmocka_unit_test(an_empty_replica_can_be_made_the_group),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
