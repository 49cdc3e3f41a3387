/* Shows where replicas go: random clusters whose nodes come, go and lose their disks, and what the plans make of them
 * when they are carried out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <holdfast/lib/error.h>
#include <holdfast/lib/hash.h>

#include "table/balance.h"

enum { ROUNDS = 400, MOVES = 4, MOVES_MAX = 3000 };

static const char *const names[] = {"n1", "n2", "n3", "n4", "n5", "n6", "n7"};
static const char *const zones[] = {"a", "b", "c"};

struct cluster {
    hf_random random;
    struct store_nodes nodes;
    uint32_t replicas, ranges;
    int32_t given; /* the table's record was given */
    struct store_routing *routing;
    uint64_t generation;
    uint32_t moves[STORE_MOVE_LEAD + 1];
    uint32_t redirected;
};

static uint32_t below(struct cluster *cluster, uint32_t limit)
{
    return (uint32_t)hf_random_below(&cluster->random, limit);
}

/* One table, on the nodes that there were first. */
static int32_t next_record(void *arg, int32_t kind, hf_slice *ret_json, uint64_t *ret_version, hf_error *error)
{
    static hf_buffer record;
    struct cluster *cluster = arg;
    struct store_declaration declaration = {.name = "t",
                                            .partition_by = "",
                                            .hash_ranges = cluster->ranges,
                                            .replicas = cluster->replicas,
                                            .value_maximum = 1 << 20,
                                            .keep_changes_us = 1000000,
                                            .keep_repeats_us = 1000000};
    struct store_nodes first = cluster->nodes;
    struct store_table table;
    hf_arena arena;

    hf_buffer_done(&record);
    if (kind != STORE_RECORDS_OF_TABLES || cluster->given)
        return HF_ENOTFOUND;
    cluster->given = 1;
    first.count = 1 + below(cluster, cluster->nodes.count);
    hf_buffer_init(&record, 1 << 20);
    hf_arena_init(&arena, 1 << 20);
    assert_int_equal(store_table_plan(&declaration, &first, 2, &arena, &table, error), 0);
    assert_int_equal(store_table_write(&record, &table, &first, error), 0);
    hf_arena_done(&arena);
    *ret_version = 1;
    *ret_json = (hf_slice){record.data, record.size};
    return 0;
}

static void begin(struct cluster *cluster, uint64_t seed, int with_zones)
{
    memset(cluster, 0, sizeof *cluster);
    hf_random_init(&cluster->random, seed);
    cluster->nodes.count = 3 + below(cluster, 5);
    for (uint32_t i = 0; i < cluster->nodes.count; i++) {
        cluster->nodes.names[i] = names[i];
        cluster->nodes.zones[i] = with_zones ? zones[below(cluster, 3)] : "";
    }
    cluster->replicas = 1 + below(cluster, 4);
    cluster->ranges = 1 + below(cluster, 40);
    assert_int_equal(store_routing_build(&cluster->nodes, 1, next_record, cluster, &cluster->routing, NULL), 0);
}

static struct store_partition *partition_at(const struct cluster *cluster, uint32_t at)
{
    return (struct store_partition *)(uintptr_t)cluster->routing->partitions[at].partition;
}

static uint32_t active_count(const struct cluster *cluster)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < cluster->nodes.count; i++)
        count += cluster->routing->nodes[i].state == STORE_NODE_ACTIVE;
    return count;
}

/* Nodes drain, come back, or lose their disk. */
static void change_nodes(struct cluster *cluster)
{
    for (uint32_t i = 0; i < cluster->nodes.count; i++) {
        struct store_node_record *node = &cluster->routing->nodes[i];

        switch (below(cluster, 5)) {
        case 0:
            if (active_count(cluster) > 1)
                node->state = STORE_NODE_DRAINING;
            break;
        case 1:
            node->state = STORE_NODE_ACTIVE;
            break;
        case 2:
            node->generation = ++cluster->generation;
            break;
        default:
            break;
        }
    }
    if (active_count(cluster) == 0)
        cluster->routing->nodes[0].state = STORE_NODE_ACTIVE;
}

/* Pairs of replicas that share a zone. */
static uint32_t shared_zones(const struct cluster *cluster, const struct store_partition *partition)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < partition->member_count; i++)
        for (uint32_t k = 0; k < i; k++)
            count += (uint32_t)store_same_zone(&cluster->nodes, partition->members[i], partition->members[k]);
    return count;
}

static void carry_out(struct cluster *cluster, const struct store_move *move)
{
    struct store_partition *partition =
        (struct store_partition *)(uintptr_t)store_routing_partition(cluster->routing, move->partition)->partition;
    uint32_t members = partition->member_count, shared = shared_zones(cluster, partition);

    uint32_t leaving = partition->leaving_count;

    assert_true(leaving == 0 || move->reason == STORE_MOVE_DRAIN || move->reason == STORE_MOVE_REPLACE);
    cluster->redirected += leaving > 0;
    assert_int_equal(cluster->routing->nodes[move->to].state, STORE_NODE_ACTIVE);
    store_move_apply(move, ++cluster->generation, partition);
    assert_true(partition->member_count >= members && partition->member_count <= STORE_NODES_MAX);
    assert_true(partition->leaving_count <= leaving + (move->reason != STORE_MOVE_LEAD));
    assert_true(partition->leaving_count > 0 || move->reason == STORE_MOVE_LEAD);
    for (uint32_t i = 0; i < partition->member_count; i++) {
        assert_int_equal(store_replica_node(partition->replicas[i]), partition->members[i]);
        for (uint32_t k = 0; k < i; k++)
            assert_true(partition->members[i] != partition->members[k]);
    }
    if (move->reason == STORE_MOVE_BALANCE || move->reason == STORE_MOVE_LEAD)
        assert_true(shared_zones(cluster, partition) <= shared);
    if (move->reason == STORE_MOVE_ZONE)
        assert_true(shared_zones(cluster, partition) < shared);
    partition->placement_version = cluster->generation;
    cluster->moves[move->reason]++;
}

/* A replica whose disk was lost on the way never comes. */
static int can_arrive(const struct cluster *cluster, const struct store_partition *partition)
{
    for (uint32_t i = 0; i < partition->member_count; i++) {
        const struct store_node_record *node = &cluster->routing->nodes[partition->members[i]];

        if (store_replica_generation(partition->replicas[i]) < node->generation)
            return 0;
    }
    return 1;
}

/* Some of the moves arrive.  0: there were none that can. */
static int arrive(struct cluster *cluster)
{
    int is_moving = 0;

    for (uint32_t at = 0; at < cluster->routing->partition_count; at++) {
        struct store_partition *partition = partition_at(cluster, at);

        if (partition->leaving_count == 0 || !can_arrive(cluster, partition))
            continue;
        is_moving = 1;
        if (below(cluster, 2))
            partition->leaving_count = 0;
    }
    return is_moving;
}

/* Until nothing should move any more, or for some rounds. */
static void settle(struct cluster *cluster, uint32_t rounds)
{
    struct store_move moves[MOVES];
    int32_t count;
    uint32_t all = 0;

    while (rounds-- > 0 && ((count = store_plan_moves(cluster->routing, &cluster->nodes, NULL, moves, MOVES)) != 0 ||
                            arrive(cluster))) {
        assert_true(count >= 0 && count <= MOVES);
        for (int32_t i = 0; i < count; i++) {
            for (int32_t k = 0; k < i; k++)
                assert_true(moves[i].partition != moves[k].partition);
            carry_out(cluster, &moves[i]);
        }
        all += (uint32_t)count;
        assert_true(all < MOVES_MAX);
    }
}

static void check_settled(const struct cluster *cluster, int with_zones)
{
    uint32_t load[STORE_NODES_MAX] = {0}, most = 0, least = UINT32_MAX, active = active_count(cluster);
    uint32_t expected = cluster->replicas < active ? cluster->replicas : active;

    for (uint32_t at = 0; at < cluster->routing->partition_count; at++) {
        const struct store_partition *partition = partition_at(cluster, at);

        if (partition->id == STORE_CATALOG_PARTITION)
            continue;
        if (partition->leaving_count > 0) { /* for ever: there is no node that it could go to instead */
            assert_false(can_arrive(cluster, partition));
            assert_true(active <= partition->member_count + partition->leaving_count);
            continue;
        }
        assert_true(partition->member_count >= expected);
        for (uint32_t i = 0; i < partition->member_count; i++) {
            const struct store_node_record *node = &cluster->routing->nodes[partition->members[i]];

            load[partition->members[i]]++;
            if (active >= partition->member_count)
                assert_int_equal(node->state, STORE_NODE_ACTIVE);
            if (node->state == STORE_NODE_ACTIVE)
                assert_true(store_replica_generation(partition->replicas[i]) >= node->generation);
        }
    }
    for (uint32_t i = 0; i < cluster->nodes.count; i++) {
        if (cluster->routing->nodes[i].state != STORE_NODE_ACTIVE)
            continue;
        most = load[i] > most ? load[i] : most;
        least = load[i] < least ? load[i] : least;
    }
    if (!with_zones)
        assert_true(most <= least + 1);
}

static void plans_that_are_carried_out_arrive(void **state)
{
    uint32_t moves[STORE_MOVE_LEAD + 1] = {0}, redirected = 0;

    (void)state;
    for (uint64_t seed = 0; seed < ROUNDS; seed++) {
        struct cluster cluster;
        int with_zones = seed % 2 == 1;

        begin(&cluster, seed, with_zones);
        for (int turn = 0; turn < 4; turn++) {
            settle(&cluster, UINT32_MAX);
            check_settled(&cluster, with_zones);
            change_nodes(&cluster);
            settle(&cluster, 1 + below(&cluster, 3)); /* and again, while some are on their way */
            change_nodes(&cluster);
        }
        redirected += cluster.redirected;
        for (int reason = STORE_MOVE_DRAIN; reason <= STORE_MOVE_LEAD; reason++)
            moves[reason] += cluster.moves[reason];
        store_routing_release(cluster.routing);
    }
    for (int reason = STORE_MOVE_DRAIN; reason <= STORE_MOVE_LEAD; reason++)
        assert_true(moves[reason] > 0); /* or it was not tested */
    assert_true(redirected > 0);
}

static void leaders_spread_and_an_operator_s_choice_stays(void **state)
{
    struct cluster cluster = {.nodes = {.count = 3, .names = {"n1", "n2", "n3"}}, .replicas = 3, .ranges = 9};
    struct store_move move = {.reason = STORE_MOVE_LEAD};
    uint32_t leads[3] = {0};

    (void)state;
    hf_random_init(&cluster.random, 1);
    assert_int_equal(store_routing_build(&cluster.nodes, 1, next_record, &cluster, &cluster.routing, NULL), 0);
    settle(&cluster, UINT32_MAX);
    struct store_partition *chosen = partition_at(&cluster, 1);

    move.partition = chosen->id;
    move.to = chosen->members[1];
    carry_out(&cluster, &move);
    settle(&cluster, UINT32_MAX);
    assert_int_equal(chosen->members[0], move.to);
    for (uint32_t at = 1; at < cluster.routing->partition_count; at++)
        leads[partition_at(&cluster, at)->members[0]]++;
    assert_true(leads[0] == 3 && leads[1] == 3 && leads[2] == 3);
    store_routing_release(cluster.routing);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_that_are_carried_out_arrive),
        cmocka_unit_test(leaders_spread_and_an_operator_s_choice_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
