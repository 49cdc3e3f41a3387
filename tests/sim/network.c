/* network.c: messages between replicas: lost, doubled, delayed, cut off. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void transmit(packet *p)
{
    uint32_t from = (uint32_t)p->m.from - 1, to = (uint32_t)p->m.to - 1;
    bool drop = blocked[from][to] || (!calm && roll(100) < loss);
    uint32_t copies = drop ? 0 : !calm && roll(100) < duplicate ? 2 : 1;

    fault_counts[FAULT_LOSS] += drop && !blocked[from][to];
    fault_counts[FAULT_DUPLICATE] += copies == 2;

    for (uint32_t i = 0; i < copies; i++) {
        packet *c = malloc(sizeof *c);

        if (!c)
            abort();
        *c = *p;
        c->entries = NULL;
        if (p->m.entry_count) {
            c->entries = malloc(p->m.entry_count * sizeof *c->entries);
            if (!c->entries)
                abort();
            memcpy(c->entries, p->entries, p->m.entry_count * sizeof *c->entries);
        }
        uint64_t usual = now + 100 + roll(delay), late = roll(50) == 0 ? roll(200 * MS) : 0;
        fault_counts[FAULT_LATE] += late > 0;
        schedule((event){.at = usual + late, .type = EV_MESSAGE, .node = to, .from = from, .data = c});
    }
    free_packet(p);
}

void partition(bool one_way)
{
    uint64_t side = roll(1u << count);

    fault_counts[one_way ? FAULT_ONE_WAY : FAULT_PARTITION] += side != 0 && side != (1u << count) - 1;

    for (uint32_t a = 0; a < count; a++)
        for (uint32_t b = 0; b < count; b++)
            blocked[a][b] = (side >> a & 1) != (side >> b & 1) && (!one_way || (side >> a & 1));
    report_cut_off();
}

static void report(uint32_t to, uint32_t lost)
{
    schedule((event){
        .at = now + MS + roll(150 * MS), .type = EV_LINK_LOST, .node = to, .from = lost, .life = nodes[to].life});
}

void report_down(uint32_t index)
{
    for (uint32_t i = 0; i < count; i++)
        if (i != index && nodes[i].up)
            report(i, index);
}

/* A link needs both directions. */
void report_cut_off(void)
{
    for (uint32_t a = 0; a < count; a++)
        for (uint32_t b = 0; b < count; b++)
            if (a != b && nodes[a].up && (blocked[a][b] || blocked[b][a]))
                report(a, b);
}

void isolate(uint32_t index)
{
    for (uint32_t i = 0; i < count; i++)
        blocked[i][index] = blocked[index][i] = true;
    report_cut_off();
}
