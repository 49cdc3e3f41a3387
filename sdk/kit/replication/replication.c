/* The replication strategies' suite: three replicas in memory elect, replicate, lose messages, crash and hand over. */
#include "cluster.h"
#include "suites.h"

#include <string.h>

static struct cluster cluster; /* large: not on the stack */

static void propose(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        cluster_propose(&cluster);
}

static uint64_t last_of_leader(void)
{
    return cluster.replicas[cluster_wait_leader(&cluster)].last;
}

static void check_elects(const hf_kit_subject *subject)
{
    cluster_open(&cluster, subject);
    uint32_t leader = cluster_wait_leader(&cluster);
    cluster_run(&cluster, 5000000);
    if (cluster_leader(&cluster) != leader)
        hf_kit_fail("the leader changed within 5 s although nothing was lost");
    for (uint32_t i = 0; i < CLUSTER_SIZE; i++) {
        hf_replication_status status = {.size = sizeof status};
        cluster.table->status(cluster.replicas[i].group, &status);
        if (status.leader != leader + 1)
            hf_kit_fail("replica %u takes %llu for the leader, which is %u", i + 1, (unsigned long long)status.leader,
                        leader + 1);
    }
    cluster_close(&cluster);
}

static void check_replicates(const hf_kit_subject *subject)
{
    uint64_t index = 0, term = 0;
    uint32_t size = 1;

    cluster_open(&cluster, subject);
    propose(200);
    cluster_wait_applied(&cluster, last_of_leader());
    uint32_t follower = (cluster_wait_leader(&cluster) + 1) % CLUSTER_SIZE;
    int32_t result = cluster.table->propose(cluster.replicas[follower].group, &size, 1, &index, &term, NULL);
    if (result != HF_ENOTLEADER)
        hf_kit_fail("propose at a follower returned %d, expected HF_ENOTLEADER", result);
    if (cluster.table->read_request(cluster.replicas[cluster_wait_leader(&cluster)].group, 7, cluster.now_us, NULL) ==
        HF_OK) {
        cluster_run(&cluster, 2000000);
        if (cluster.reads_answered != 1)
            hf_kit_fail("one read was asked for and %llu were answered", (unsigned long long)cluster.reads_answered);
    }
    cluster_close(&cluster);
}

static void check_loss(const hf_kit_subject *subject)
{
    cluster_open(&cluster, subject);
    cluster.lost_percent = 20;
    for (uint32_t i = 0; i < 20; i++) {
        propose(10);
        cluster_run(&cluster, 200000);
    }
    cluster.lost_percent = 0;
    cluster_propose(&cluster); /* an entry of the last leader commits all before it */
    cluster_wait_applied(&cluster, last_of_leader());
    cluster_close(&cluster);
}

static void check_cut_off(const hf_kit_subject *subject)
{
    cluster_open(&cluster, subject);
    for (uint32_t i = 0; i < 5; i++) {
        uint32_t old = cluster_wait_leader(&cluster);
        cluster_cut(&cluster, old);
        propose(5);
        if (cluster_wait_leader(&cluster) == old)
            hf_kit_fail("a leader that is cut off takes entries");
        cluster_run(&cluster, 3000000);
        cluster.cut = 0;
        cluster_run(&cluster, 3000000);
    }
    cluster_propose(&cluster);
    cluster_wait_applied(&cluster, last_of_leader());
    cluster_close(&cluster);
}

static void check_crashes(const hf_kit_subject *subject)
{
    cluster_open(&cluster, subject);
    for (uint32_t i = 0; i < 9; i++) {
        propose(5);
        cluster_crash(&cluster, i % CLUSTER_SIZE);
        propose(5);
        cluster_run(&cluster, 1000000);
        cluster_start(&cluster, i % CLUSTER_SIZE);
    }
    cluster_propose(&cluster);
    cluster_wait_applied(&cluster, last_of_leader());
    cluster_close(&cluster);
}

static void check_transfer(const hf_kit_subject *subject)
{
    hf_error error = {0};

    cluster_open(&cluster, subject);
    for (uint32_t i = 0; i < 6; i++) {
        propose(5);
        uint32_t from = cluster_wait_leader(&cluster), to = (from + 1) % CLUSTER_SIZE;
        int32_t result = cluster.table->transfer(cluster.replicas[from].group, to + 1, &error);
        if (result != HF_OK)
            hf_kit_fail("transfer to replica %u failed (%d): %s", to + 1, result, error.message);
        cluster_run(&cluster, 10000000);
        if (cluster_wait_leader(&cluster) != to)
            hf_kit_fail("leadership was to go to replica %u, and 10 s later %u has it", to + 1,
                        cluster_wait_leader(&cluster) + 1);
    }
    cluster_propose(&cluster);
    cluster_wait_applied(&cluster, last_of_leader());
    int32_t result = cluster.table->transfer(cluster.replicas[cluster_wait_leader(&cluster)].group, 99, NULL);
    if (result == HF_OK)
        hf_kit_fail("transfer to a replica that is no member was taken");
    cluster_close(&cluster);
}

/* ---- A majority is lost for good --------------------------------------------------------------------------------- */

static void must_not_force(uint32_t at, const hf_replication_member *members, uint32_t count, int32_t expected,
                           const char *what)
{
    uint64_t index = 0, term = 0;

    hf_kit_step("force_membership %s", what);
    int32_t result = cluster.table->force_membership(cluster.replicas[at].group, members, count, cluster.now_us, &index,
                                                     &term, NULL);
    if (result != expected)
        hf_kit_fail("force_membership %s returned %d, expected %d", what, result, expected);
}

static uint32_t member_count(uint32_t at)
{
    return cluster.table->members(cluster.replicas[at].group, NULL, 0);
}

/* One replica of three is left, is made the group, and takes back in one that was away and knows nothing of it. */
static void check_lost_majority(const hf_kit_subject *subject)
{
    cluster_open(&cluster, subject);
    if (!cluster.table->force_membership || !cluster.table->members) {
        cluster_close(&cluster);
        return; /* it does not offer this */
    }
    propose(20);
    cluster_wait_applied(&cluster, last_of_leader());
    uint32_t leader = cluster_wait_leader(&cluster), left = (leader + 1) % CLUSTER_SIZE,
             back = (leader + 2) % CLUSTER_SIZE;
    hf_replication_member alone[] = {{.replica = left + 1}};
    hf_replication_member two[] = {{.replica = left + 1}, {.replica = back + 1, .learner = 1}};
    must_not_force(leader, &(hf_replication_member){.replica = leader + 1}, 1, HF_ESTATE, "at the leader");
    must_not_force(left, alone, 1, HF_EBUSY, "where the leader was just heard");
    if (member_count(left) != CLUSTER_SIZE)
        hf_kit_fail("members counts %u, expected %d", member_count(left), CLUSTER_SIZE);

    cluster_crash(&cluster, back);
    propose(20); /* only the leader and the one that is left have these */
    cluster_wait_applied(&cluster, last_of_leader());
    uint64_t kept = cluster.replicas[left].last;
    cluster_crash(&cluster, leader); /* for good */
    cluster_run(&cluster, 5000000);
    if (cluster_leader(&cluster) != CLUSTER_SIZE)
        hf_kit_fail("one replica of three leads");
    must_not_force(left, &(hf_replication_member){.replica = leader + 1}, 1, HF_EINVAL, "without the replica itself");
    cluster_force_members(&cluster, left, alone, 1);
    if (cluster_wait_leader(&cluster) != left || member_count(left) != 1)
        hf_kit_fail("the replica that was made the group does not lead it alone");
    propose(5);
    cluster_wait_applied(&cluster, kept + 5);
    cluster_crash(&cluster, left); /* it is stored, too */
    cluster_start(&cluster, left);
    propose(5);
    cluster_start(&cluster, back);
    cluster_change_members(&cluster, two, 2);
    cluster_wait_applied(&cluster, last_of_leader());
    two[1].learner = 0;
    cluster_change_members(&cluster, two, 2);
    propose(5);
    cluster_wait_applied(&cluster, last_of_leader());
    if (member_count(back) != 2)
        hf_kit_fail("the replica that came back counts %u members, expected 2", member_count(back));
    cluster_close(&cluster);
}

/* ---- Messages that nobody sent ----------------------------------------------------------------------------------- */

static void must_refuse(uint32_t to, const hf_replication_message *message, const char *what)
{
    hf_kit_step("receive of %s", what);
    int32_t result = cluster.table->receive(cluster.replicas[to].group, message, cluster.now_us, NULL);
    if (result != HF_EPROTOCOL)
        hf_kit_fail("%s was answered with %d, expected HF_EPROTOCOL", what, result);
}

static void check_malformed(const hf_kit_subject *subject)
{
    cluster_open(&cluster, subject);
    propose(5);
    cluster_wait_applied(&cluster, last_of_leader());
    cluster_run(&cluster, 1000000);
    hf_replication_message sample = cluster.sample, bad;
    uint32_t to = (uint32_t)sample.to - 1;

    sample.entry_count = 0;
    sample.entries = NULL;
    for (uint32_t size = 0; size < sample.header_size; size++) {
        bad = sample;
        bad.header_size = size;
        must_refuse(to, &bad, "a header that is cut short");
    }
    bad = sample;
    bad.header_size = HF_REPLICATION_HEADER_MAX + 1;
    must_refuse(to, &bad, "a header that is too long");
    bad = sample;
    bad.to = sample.from;
    must_refuse(to, &bad, "a message for another replica");
    for (int32_t fill = 0x80; fill <= 0xff; fill += 0x7f) {
        bad = sample;
        memset(bad.header, fill, sizeof bad.header);
        must_refuse(to, &bad, "a header of one and the same byte");
    }
    cluster_propose(&cluster);
    cluster_wait_applied(&cluster, last_of_leader());
    cluster_close(&cluster);
}

/* Anything may be answered with anything here, but nothing may be touched that is not there. */
static void check_random(const hf_kit_subject *subject)
{
    enum { MESSAGES = 20000 };
    uint64_t random = 7;

    cluster_open(&cluster, subject);
    propose(5);
    cluster_wait_applied(&cluster, last_of_leader());
    hf_replication_message sample = cluster.sample;
    hf_kit_step("receive of damaged messages");
    for (uint32_t i = 0; i < MESSAGES; i++) {
        hf_replication_message bad = sample;
        hf_replication_entry entries[3] = {{0}};
        for (uint32_t j = 0; j <= i % 4; j++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            bad.header[random >> 40 & (HF_REPLICATION_HEADER_MAX - 1) & (i % 2 ? 7 : 127)] = (uint8_t)(random >> 56);
        }
        bad.from = 1 + random % 5;
        bad.entry_count = i % 3;
        bad.first_index = random >> 20 & 15;
        for (uint32_t j = 0; j < 3; j++)
            entries[j] = (hf_replication_entry){.index = bad.first_index + j,
                                                .term = random >> 30 & 7,
                                                .type = (int32_t)(random >> 50 & 3),
                                                .size = (uint32_t)random & 63};
        bad.entries = entries;
        for (uint32_t j = 0; j < 3; j++) /* a membership without its payload is malformed, too */
            entries[j].payload = NULL;
        hf_replication_output output = {.size = sizeof output};
        uint32_t to = (uint32_t)bad.to - 1;
        cluster.table->receive(cluster.replicas[to].group, &bad, cluster.now_us, NULL);
        cluster.table->take(cluster.replicas[to].group, &output);
        if (output.write_id)
            cluster.table->persisted(cluster.replicas[to].group, output.write_id);
    }
    cluster_close(&cluster);
}

static const hf_kit_check checks[] = {
    {"elects", "Three replicas elect one leader and keep it.", check_elects, 0},
    {"replicates", "What the leader takes is applied by all, in one order.", check_replicates, 0},
    {"message_loss", "With every fifth message lost, all comes to the same in the end.", check_loss, 60},
    {"cut_off", "A leader that is cut off is replaced, and comes back as a follower.", check_cut_off, 60},
    {"crashes", "What was stored is enough to go on after a crash.", check_crashes, 60},
    {"transfer", "Leadership goes to whom it is handed.", check_transfer, 60},
    {"lost_majority", "One replica is made the group, keeps what it has, takes others in.", check_lost_majority, 60},
    {"malformed_messages", "Messages that are cut short, too long or for others are refused.", check_malformed, 0},
    {"random_messages", "No message crashes a replica.", check_random, 60},
};

const hf_kit_suite kit_replication_suite = {"replication", checks, sizeof checks / sizeof *checks};
