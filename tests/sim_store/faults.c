/* faults.c: what goes wrong, and when it stops. */
#include "sim.h"

#include <stdio.h>
#include <string.h>

uint64_t fault_counts[FAULTS];
bool blocked[NODES_MAX][NODES_MAX];
uint32_t delay;

bool report_faults(void)
{
    static const char *const names[FAULTS] = {"crashes",
                                              "engines set back",
                                              "lost log records",
                                              "failed disks",
                                              "slow disks",
                                              "partitions",
                                              "one-way partitions",
                                              "lost links",
                                              "lost messages",
                                              "calls cut off",
                                              "pauses",
                                              "clocks off their rate",
                                              "wall clocks set",
                                              "transfers of leadership",
                                              "full pools",
                                              "busy engines",
                                              "compacted logs",
                                              "snapshots installed",
                                              "coordinators that died",
                                              "abandoned, asked again",
                                              "abandoned for good",
                                              "transactions committed",
                                              "transactions in conflict",
                                              "transactions in the way",
                                              "repeated requests",
                                              "records expired",
                                              "splits asked for",
                                              "merges asked for",
                                              "nodes to be drained",
                                              "splits done",
                                              "merges done",
                                              "replicas moved away",
                                              "answers that it has moved",
                                              "drivers that died",
                                              "majorities lost for good"};
    bool all = true;

    for (int i = 0; i < FAULTS; i++) {
        printf("%-24s %llu\n", names[i], (unsigned long long)fault_counts[i]);
        all = all && fault_counts[i] > 0;
    }
    return all;
}

static void cut(bool one_way)
{
    uint64_t side = 1 + roll((1u << node_count) - 2);

    for (uint32_t a = 0; a < node_count; a++)
        for (uint32_t b = 0; b < node_count; b++)
            blocked[a][b] = (side >> a & 1) != (side >> b & 1) && (!one_way || (side >> a & 1));
    fault_counts[one_way ? FAULT_ONE_WAY : FAULT_PARTITION]++;
}

static void hand_over(void)
{
    uint64_t partition = STORE_CATALOG_PARTITION + roll(SPACES_MAX - STORE_CATALOG_PARTITION);
    node *n = leader_of(partition);

    if (!n || n->paused_until > now)
        return;
    enter(n);
    fault_counts[FAULT_TRANSFER] +=
        store_replica_transfer(replica_of(n, partition), (uint32_t)roll(node_count), NULL) == HF_OK;
    leave();
}

static void fail_disk(node *n)
{
    if (!n->up || n->log.failed)
        return;
    n->log.failed = true; /* its replicas stop, and it is started again */
    fault_counts[FAULT_DISK_ERROR]++;
    schedule((event){.at = now + 50 * MS + roll(200 * MS), .type = EV_RESTART, .node = n->index, .number = n->life});
}

void nemesis(void)
{
    node *n = some_node();

    schedule((event){.at = now + 20 * MS + roll(190 * MS), .type = EV_NEMESIS});
    switch (roll(19)) {
    case 0:
    case 1:
    case 2:
        crash_for_a_while(n);
        return;
    case 3:
        fail_disk(n);
        return;
    case 4:
    case 5:
        cut(roll(3) == 0);
        return;
    case 6:
    case 7:
    case 8:
        memset(blocked, 0, sizeof blocked);
        return;
    case 9:
        n->paused_until = now + roll(600 * MS);
        fault_counts[FAULT_PAUSE]++;
        return;
    case 10:
        n->log.slow = roll(2) ? 0 : 50 * MS;
        fault_counts[FAULT_SLOW_DISK] += n->log.slow != 0;
        return;
    case 11:
        n->wall = (int64_t)roll(600 * MS) - (int64_t)(300 * MS);
        fault_counts[FAULT_CLOCK_STEP]++;
        return;
    case 12:
    case 13:
    case 14:
        ask_for_split_or_merge();
        return;
    case 15:
        drain_or_add();
        return;
    default:
        hand_over();
    }
}

void make_calm(void)
{
    calm = true;
    delay = MS;
    memset(blocked, 0, sizeof blocked);
    for (uint32_t i = 0; i < node_count; i++) {
        nodes[i].paused_until = nodes[i].log.slow = 0;
        if (nodes[i].up && nodes[i].log.failed)
            crash(&nodes[i]);
        if (!nodes[i].up)
            start(&nodes[i]);
    }
    if (loses_majority)
        lose_majority();
}
