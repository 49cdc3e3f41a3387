/* The parts of the core that a simulation reaches only by chance: the term log, malformed messages, a group of one,
 * membership. */
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

    *r = (raft){&host, {500000, 100000, 1 << 20, 1 << 20, 16}};
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
    assert_int_equal(raft_interface.read_request(g, 77, NULL), 0);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(term_log_keeps_runs),
        cmocka_unit_test(group_of_one_leads_and_changes_members),
        cmocka_unit_test(malformed_headers_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
