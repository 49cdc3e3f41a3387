/* Which replicas should move: those that must, then those that make the load even; see balance.h. */
#include "table/balance.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>
#include <string.h>

enum { NO_NODE = 0xffff };

/* The state of things with the moves planned so far. */
struct balance {
    const struct store_routing *routing;
    struct store_nodes nodes; /* closed ones marked */
    const char *table;
    int32_t must_move; /* 1: what is looked for are replicas whose node takes no part any more */
    uint32_t replicas[STORE_NODES_MAX], leads[STORE_NODES_MAX];
    struct store_partition *partitions; /* copies, in the routing's order */
    uint8_t *done;                      /* by place: planned, or not to be moved at all */
    uint8_t *busy;                      /* by place: it moves, or is split or merged: only what it must is planned */
    struct store_move *moves;
    uint32_t count, capacity;
};

const char *store_move_reason(int32_t reason)
{
    static const char *const reasons[] = {"none", "drain", "replace", "add", "zone", "balance", "lead"};

    return reasons[reason >= STORE_MOVE_DRAIN && reason <= STORE_MOVE_LEAD ? reason : 0];
}

void store_open_nodes(const struct store_routing *routing, const struct store_nodes *nodes,
                      struct store_nodes *ret_nodes)
{
    *ret_nodes = *nodes;
    for (uint32_t i = 0; i < nodes->count; i++) {
        ret_nodes->generations[i] = routing->nodes[i].generation;
        if (routing->nodes[i].state != STORE_NODE_ACTIVE)
            ret_nodes->closed |= 1u << i;
    }
}

static int is_leaving(const struct store_partition *partition, uint64_t replica)
{
    for (uint32_t i = 0; i < partition->leaving_count; i++)
        if (partition->leaving[i] == replica)
            return 1;
    return 0;
}

void store_move_apply(const struct store_move *move, uint64_t generation, struct store_partition *partition)
{
    uint32_t at = partition->member_count;

    for (uint32_t i = 0; i < partition->member_count; i++)
        if (move->reason == STORE_MOVE_LEAD ? partition->members[i] == move->to : partition->replicas[i] == move->from)
            at = i;
    if (move->reason == STORE_MOVE_LEAD) {
        uint64_t replica = partition->replicas[at];

        memmove(partition->members + 1, partition->members, at * sizeof partition->members[0]);
        memmove(partition->replicas + 1, partition->replicas, at * sizeof partition->replicas[0]);
        partition->members[0] = move->to;
        partition->replicas[0] = replica;
        return;
    }
    int is_added = at == partition->member_count;
    uint64_t replica = store_replica_id(move->to, generation), waits_for = is_added ? replica : partition->replicas[at];

    if (!is_leaving(partition, waits_for)) /* else it had not even come */
        partition->leaving[partition->leaving_count++] = waits_for;
    partition->member_count += (uint32_t)is_added;
    partition->members[at] = move->to;
    partition->replicas[at] = replica;
}

/* ---- Counting ---------------------------------------------------------------------------------------------------- */

static int is_open(const struct balance *b, uint32_t node)
{
    return !(b->nodes.closed >> node & 1);
}

static int is_in_scope(const struct balance *b, uint32_t at)
{
    const struct store_routed *routed = &b->routing->partitions[at];

    return !b->done[at] && (!b->busy[at] || b->must_move) &&
           (!b->table || strcmp(routed->table->declaration.name, b->table) == 0);
}

/* Its group can change its members no more, and a recovery says where it is to be: a move that was put down meanwhile
 * would leave a replica in the place of the one that the recovery makes. */
static int has_lost_majority(const struct store_routing *routing, const struct store_partition *partition)
{
    uint32_t left = 0;

    for (uint32_t i = 0; i < partition->member_count; i++)
        left += routing->nodes[partition->members[i]].state != STORE_NODE_LOST;
    return 2 * left <= partition->member_count;
}

static void count_loads(struct balance *b)
{
    for (uint32_t p = 0; p < b->routing->partition_count; p++) {
        struct store_partition *partition = &b->partitions[p];

        *partition = *b->routing->partitions[p].partition;
        b->done[p] = partition->id == STORE_CATALOG_PARTITION || has_lost_majority(b->routing, partition) ||
                     partition->leaving_count == STORE_NODES_MAX;
        b->busy[p] = partition->leaving_count > 0 || partition->is_reshaping;
        if (partition->id == STORE_CATALOG_PARTITION)
            continue;
        b->leads[partition->members[0]]++;
        for (uint32_t i = 0; i < partition->member_count; i++)
            b->replicas[partition->members[i]]++;
    }
}

static uint32_t open_count(const struct balance *b)
{
    uint32_t count = 0;

    for (uint32_t node = 0; node < b->nodes.count; node++)
        count += (uint32_t)is_open(b, node);
    return count;
}

/* ---- Choosing ---------------------------------------------------------------------------------------------------- */

/* The next one could not be opened there before that one is gone, which waits for the next one. */
static int has_leaving(const struct store_partition *partition, uint32_t node)
{
    for (uint32_t i = 0; i < partition->leaving_count; i++)
        if (store_replica_node(partition->leaving[i]) == node)
            return 1;
    return 0;
}

/* How many of the partition's members, without the one at `except`, share the node's zone. */
static uint32_t zone_mates(const struct balance *b, const struct store_partition *partition, uint32_t node,
                           uint32_t except)
{
    uint32_t mates = 0;

    for (uint32_t i = 0; i < partition->member_count; i++)
        mates +=
            i != except && partition->members[i] != node && store_same_zone(&b->nodes, partition->members[i], node);
    return mates;
}

/* The best node for a new replica beside the members, without the one at `except`: in a zone of its own if there is
 * one, then with the fewest replicas. */
static uint32_t choose_node(const struct balance *b, const struct store_partition *partition, uint32_t except)
{
    uint32_t best = NO_NODE, best_mates = 0;

    for (uint32_t node = 0; node < b->nodes.count; node++) {
        if (!is_open(b, node) || store_partition_has_node(partition, node) || has_leaving(partition, node))
            continue;
        uint32_t mates = zone_mates(b, partition, node, except);

        if (best == NO_NODE || mates < best_mates || (mates == best_mates && b->replicas[node] < b->replicas[best])) {
            best = node;
            best_mates = mates;
        }
    }
    return best;
}

static void plan(struct balance *b, uint32_t at, int32_t reason, uint64_t from, uint32_t to)
{
    struct store_partition *partition = &b->partitions[at];
    struct store_move move = {.partition = partition->id, .reason = reason, .from = from, .to = to};

    b->leads[partition->members[0]]--;
    if (reason != STORE_MOVE_LEAD)
        b->replicas[to]++;
    if (from)
        b->replicas[store_replica_node(from)]--;
    store_move_apply(&move, b->routing->catalog_version + 1, partition);
    b->leads[partition->members[0]]++;
    b->done[at] = 1;
    b->moves[b->count++] = move;
}

/* ---- What must move ---------------------------------------------------------------------------------------------- */

static int is_lost(const struct balance *b, uint64_t replica)
{
    return store_replica_generation(replica) < b->routing->nodes[store_replica_node(replica)].generation;
}

static void replace_lost(struct balance *b, uint32_t at)
{
    const struct store_partition *partition = &b->partitions[at];

    for (uint32_t i = 0; i < partition->member_count; i++)
        if (is_lost(b, partition->replicas[i]) && is_open(b, partition->members[i])) {
            plan(b, at, STORE_MOVE_REPLACE, partition->replicas[i], partition->members[i]);
            return;
        }
}

static void empty_closed(struct balance *b, uint32_t at)
{
    const struct store_partition *partition = &b->partitions[at];

    for (uint32_t i = 0; i < partition->member_count; i++) {
        uint32_t to = is_open(b, partition->members[i]) ? NO_NODE : choose_node(b, partition, i);

        if (to != NO_NODE) {
            plan(b, at, STORE_MOVE_DRAIN, partition->replicas[i], to);
            return;
        }
    }
}

static void add_missing(struct balance *b, uint32_t at)
{
    const struct store_partition *partition = &b->partitions[at];
    uint32_t wanted = b->routing->partitions[at].table->declaration.replicas;
    uint32_t to = partition->member_count < wanted ? choose_node(b, partition, NO_NODE) : NO_NODE;

    if (to != NO_NODE)
        plan(b, at, STORE_MOVE_ADD, 0, to);
}

static void part_zones(struct balance *b, uint32_t at)
{
    const struct store_partition *partition = &b->partitions[at];

    for (uint32_t i = 0; i < partition->member_count; i++) {
        uint32_t mates = zone_mates(b, partition, partition->members[i], i);
        uint32_t to = mates ? choose_node(b, partition, i) : NO_NODE;

        if (to != NO_NODE && zone_mates(b, partition, to, i) < mates) {
            plan(b, at, STORE_MOVE_ZONE, partition->replicas[i], to);
            return;
        }
    }
}

static void each_partition(struct balance *b, void (*look)(struct balance *b, uint32_t at))
{
    for (uint32_t at = 0; at < b->routing->partition_count && b->count < b->capacity; at++)
        if (is_in_scope(b, at))
            look(b, at);
}

/* ---- What may move ----------------------------------------------------------------------------------------------- */

static void extremes(const struct balance *b, const uint32_t *loads, uint32_t *ret_most, uint32_t *ret_least)
{
    *ret_most = *ret_least = NO_NODE;
    for (uint32_t node = 0; node < b->nodes.count; node++) {
        if (!is_open(b, node))
            continue;
        if (*ret_most == NO_NODE || loads[node] > loads[*ret_most])
            *ret_most = node;
        if (*ret_least == NO_NODE || loads[node] < loads[*ret_least])
            *ret_least = node;
    }
}

/* One replica from the fullest node to the emptiest, without a worse spread over zones.  0: there is none. */
static int even_out_one(struct balance *b)
{
    uint32_t most, least;

    extremes(b, b->replicas, &most, &least);
    if (most == NO_NODE || b->replicas[most] < b->replicas[least] + 2)
        return 0;
    for (uint32_t at = 0; at < b->routing->partition_count; at++) {
        const struct store_partition *partition = &b->partitions[at];

        if (!is_in_scope(b, at) || store_partition_has_node(partition, least))
            continue;
        for (uint32_t i = 0; i < partition->member_count; i++)
            if (partition->members[i] == most &&
                zone_mates(b, partition, least, i) <= zone_mates(b, partition, most, i)) {
                plan(b, at, STORE_MOVE_BALANCE, partition->replicas[i], least);
                return 1;
            }
    }
    return 0;
}

/* Of the partitions that could give the lead away the one that was placed longest ago: what an operator has just chosen
 * stays. */
static int even_out_lead(struct balance *b)
{
    uint32_t most, least, best = UINT32_MAX;

    extremes(b, b->leads, &most, &least);
    if (most == NO_NODE || b->leads[most] < b->leads[least] + 2)
        return 0;
    for (uint32_t at = 0; at < b->routing->partition_count; at++) {
        const struct store_partition *partition = &b->partitions[at];

        if (is_in_scope(b, at) && partition->members[0] == most && store_partition_has_node(partition, least) &&
            (best == UINT32_MAX || partition->placement_version < b->partitions[best].placement_version))
            best = at;
    }
    if (best == UINT32_MAX)
        return 0;
    plan(b, best, STORE_MOVE_LEAD, 0, least);
    return 1;
}

/* ---- All --------------------------------------------------------------------------------------------------------- */

static void plan_all(struct balance *b)
{
    b->must_move = 1;
    each_partition(b, replace_lost);
    each_partition(b, empty_closed);
    b->must_move = 0;
    each_partition(b, add_missing);
    each_partition(b, part_zones);
    while (b->count < b->capacity && even_out_one(b))
        ;
    while (b->count < b->capacity && even_out_lead(b))
        ;
}

int32_t store_plan_moves(const struct store_routing *routing, const struct store_nodes *nodes, const char *table,
                         struct store_move *moves, uint32_t capacity)
{
    struct balance *b = calloc(1, sizeof *b);
    int32_t count = HF_ENOMEM;

    if (!b)
        return HF_ENOMEM;
    b->routing = routing;
    b->table = table;
    b->moves = moves;
    b->capacity = capacity;
    store_open_nodes(routing, nodes, &b->nodes);
    b->partitions = malloc((routing->partition_count + 1) * sizeof *b->partitions);
    b->done = calloc(routing->partition_count + 1, 1);
    b->busy = calloc(routing->partition_count + 1, 1);
    if (b->partitions && b->done && b->busy) {
        count_loads(b);
        if (open_count(b) > 0)
            plan_all(b);
        count = (int32_t)b->count;
    }
    free(b->partitions);
    free(b->done);
    free(b->busy);
    free(b);
    return count;
}
