/* clients.c: clients that write and read, and what becomes of their operations. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void answer_reads(node *n, uint32_t id, const hf_replication_output *o)
{
    for (uint64_t i = 0; i < o->read_count; i++) {
        operation *op = &ops[o->reads[i].context];

        if (o->reads[i].code == 0 && op->life == n->life && op->node == id) {
            op->read_ready = true;
            op->read_index = o->reads[i].index;
        }
    }
    for (uint32_t i = op_count > 64 ? op_count - 64 : 0; i < op_count; i++) {
        operation *op = &ops[i];

        if (op->read_ready && !op->done && op->node == id && op->life == n->life && op->read_index <= n->now.index)
            finish(op, n->now.version[op->key]);
    }
}

/* Clients ask whoever believes to lead, deposed leaders too. */
void client(void)
{
    uint32_t id = some_replica();
    node *n = &nodes[id - 1];
    operation *o = &ops[op_count];
    uint32_t size = 8;
    hf_replication_status s = {.size = sizeof s};

    schedule((event){.at = now + roll(8 * MS), .type = EV_CLIENT});
    if (!n->up || n->paused_until > now || (now < lull_until && !calm) ||
        op_count >= (calm ? OPS_MAX - 1 : OPS_MAX - 600))
        return;
    raft->status(n->g, &s);
    if (s.role != HF_ROLE_LEADER)
        return;
    *o = (operation){.used = true, .write = roll(2) && !settled_term, .key = (uint32_t)roll(KEYS), .node = id, .life = n->life};
    o->floor = floors[o->key];
    op_count++;
    if (!o->write) {
        fault_counts[FAULT_LEASE_READ] += s.lease_until_us > local_time(n);
        raft->read_request(n->g, op_count - 1, local_time(n), NULL);
        after_call(id, NULL, 0, 0);
    } else if (raft->propose(n->g, &size, 1, &o->index, &o->term, NULL) == 0) {
        entry e = {.term = o->term, .type = HF_ENTRY_NORMAL, .op = op_count - 1};

        after_call(id, &e, o->index, 1);
    }
}
