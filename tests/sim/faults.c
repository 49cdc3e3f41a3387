/* faults.c: what goes wrong, and when it stops. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t fault_counts[FAULTS];

bool report_faults(void)
{
    static const char *const names[FAULTS] = {"lost messages",
                                              "doubled messages",
                                              "late messages",
                                              "crashes",
                                              "lost writes",
                                              "torn writes",
                                              "failed writes",
                                              "slow disks",
                                              "partitions",
                                              "one-way partitions",
                                              "pauses",
                                              "clocks off their rate",
                                              "transfers",
                                              "unreachable peers",
                                              "snapshots installed",
                                              "lulls",
                                              "lost disks",
                                              "retired replicas",
                                              "added learners",
                                              "promotions",
                                              "demotions",
                                              "removals",
                                              "leaders removed",
                                              "lost changes",
                                              "changed minds",
                                              "reads by lease",
                                              "quiet groups"};
    bool all = true;

    for (int i = 0; i < FAULTS; i++) {
        printf("%-22s %llu\n", names[i], (unsigned long long)fault_counts[i]);
        all = all && fault_counts[i] > 0;
    }
    return all;
}

void nemesis(void)
{
    uint32_t id = some_replica();
    node *n = &nodes[id - 1];

    schedule((event){.at = now + 20 * MS + roll(250 * MS), .type = EV_NEMESIS});
    switch (roll(14)) {
    case 0:
    case 1:
        crash_for_a_while(id);
        return;
    case 11:
        fail_disk(id);
        return;
    case 2:
    case 3:
        partition(roll(3) == 0);
        return;
    case 4:
    case 5:
    case 6:
        memset(blocked, 0, sizeof blocked);
        return;
    case 7:
        n->paused_until = now + roll(800 * MS);
        fault_counts[FAULT_PAUSE]++;
        return;
    case 12:
        lull_until = now + 100 * MS + roll(1000 * MS);
        fault_counts[FAULT_LULL]++;
        return;
    case 8:
        n->disk_slow = roll(2) ? 0 : 100 * MS;
        fault_counts[FAULT_SLOW_DISK] += n->disk_slow != 0;
        return;
    case 9:
        compact(id);
        return;
    case 10:
        if (n->up && n->paused_until <= now && raft->transfer(n->g, roll(count) + 1, NULL) == 0) {
            fault_counts[FAULT_TRANSFER]++;
            after_call(id, NULL, 0, 0);
        }
        return;
    default:
        if (n->up && n->paused_until <= now) {
            raft->unreachable(n->g, roll(count) + 1, local_time(n));
            fault_counts[FAULT_UNREACHABLE]++;
            after_call(id, NULL, 0, 0);
        }
    }
}

void make_calm(void)
{
    calm = true;
    delay = MS;
    memset(blocked, 0, sizeof blocked);
    for (uint32_t i = 0; i < count; i++) {
        nodes[i].paused_until = 0;
        hurry_disk(i + 1);
        nodes[i].wanted = wanted_now;
        if (!nodes[i].up && !nodes[i].gone)
            start(i + 1);
    }
}
