/* Shows which replica of each group goes on when nodes are lost for good, when there is nothing to be done, and what
 * makes a plan void. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <holdfast/lib/error.h>

#include "recover/plan.h"

enum { N1 = 1, N2 = 2, N3 = 4, N4 = 8, N5 = 16, REPLICAS_MAX = 8 };

static struct store_nodes nodes = {.count = 5, .names = {"n1", "n2", "n3", "n4", "n5"}};
static struct store_recover_replica replicas[STORE_NODES_MAX][REPLICAS_MAX];
static struct store_recover_facts facts[STORE_NODES_MAX];
static struct store_recover_plan plan;
static struct store_routing routing;
static struct store_partition places[2];
static struct store_table table = {.declaration = {.name = "t"}};
static struct store_routed routed[2];
static hf_arena arena;
static hf_error error;

/* Five nodes that take part, each heard by nobody yet; the catalog knows the partitions 1 and 7. */
static int set_up(void **state)
{
    (void)state;
    memset(facts, 0, sizeof facts);
    nodes.self = 0;
    places[0] = (struct store_partition){.id = 1, .value = ""};
    places[1] = (struct store_partition){.id = 7, .value = "eu", .member_count = 1, .members = {3}, .replicas = {4}};
    routing = (struct store_routing){.partition_count = 2, .partitions = routed, .node_records = 5};
    for (int i = 0; i < 2; i++)
        routed[i] = (struct store_routed){&table, &places[i]};
    for (uint32_t i = 0; i < nodes.count; i++)
        routing.nodes[i].state = STORE_NODE_ACTIVE;
    hf_arena_init(&arena, 1 << 24);
    error = (hf_error){0};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hf_arena_done(&arena);
    return 0;
}

static void answer(uint32_t node, uint32_t heard)
{
    facts[node] = (struct store_recover_facts){
        .present = 1, .identity = {.disk = 100 + node, .starts = 5}, .heard = heard, .replicas = replicas[node]};
}

/* A replica of generation 0 whose group has the nodes in `members` as voters. */
static struct store_recover_replica *add(uint32_t node, uint64_t partition, uint32_t members, uint64_t last_term,
                                         uint64_t last_index)
{
    struct store_recover_replica *replica = &replicas[node][facts[node].count++];

    *replica = (struct store_recover_replica){
        .partition = partition, .id = store_replica_id(node, 0), .last_term = last_term, .last_index = last_index};
    for (uint32_t i = 0; i < nodes.count; i++)
        if (members >> i & 1)
            replica->members[replica->member_count++].replica = store_replica_id(i, 0);
    return replica;
}

static int32_t make(uint32_t dead)
{
    return store_recover_make(&routing, &nodes, dead, facts, &arena, &plan, &error);
}

/* ---- Choosing ---------------------------------------------------------------------------------------------------- */

static void the_latest_log_goes_on(void **state)
{
    (void)state;
    answer(0, N2);
    answer(1, N1);
    add(0, 1, N1 | N2 | N3 | N4 | N5, 4, 20);
    add(1, 1, N1 | N2 | N3 | N4 | N5, 5, 11); /* shorter, and of a later term */
    add(0, 7, N1 | N2 | N3 | N4 | N5, 4, 20);
    add(1, 7, N1 | N2 | N3 | N4 | N5, 4, 19);
    assert_int_equal(make(N3 | N4 | N5), 0);
    assert_int_equal(plan.survivors, N1 | N2);
    assert_int_equal(plan.count, 2);
    assert_true(plan.items[0].partition == 1 && plan.items[0].node == 1 && plan.items[0].last_term == 5);
    assert_true(plan.items[0].voters == 5 && plan.items[0].left == 2);
    assert_true(plan.items[0].other_count == 1 && plan.items[0].others[0].id == store_replica_id(0, 0));
    assert_true(plan.items[1].partition == 7 && plan.items[1].node == 0 && plan.items[1].last_index == 20);
}

static void what_has_a_majority_is_left_alone(void **state)
{
    (void)state;
    answer(0, N2 | N3);
    answer(1, N1 | N3);
    answer(2, N1 | N2);
    for (uint32_t node = 0; node < 3; node++)
        add(node, 1, N1 | N2 | N3 | N4 | N5, 4, 20);
    add(0, 7, N1 | N4 | N5, 4, 20);
    add(0, 9, N1 | N4 | N5, 3, 9); /* its leader's members are newer, so that one decides */
    add(1, 9, N2, 3, 3)->leads = 1;
    add(2, 11, N3 | N4 | N5, 3, 3);
    assert_int_equal(make(N4 | N5), 0);
    assert_int_equal(plan.count, 2);
    assert_true(plan.items[0].partition == 7 && plan.items[1].partition == 11);
    assert_true(plan.items[1].node == 2 && plan.items[1].left == 1);
}

static void a_leader_that_has_lost_its_majority_will_notice(void **state)
{
    (void)state;
    answer(0, N2);
    answer(1, N1);
    add(0, 1, N1 | N2 | N3 | N4 | N5, 4, 20)->leads = 1;
    assert_int_equal(make(N3 | N4 | N5), HF_EBUSY);
    assert_non_null(strstr(error.message, "partition 1 has just lost its majority"));
    replicas[0][0].leads = 0;
    assert_int_equal(make(N3 | N4 | N5), 0);
}

static void learners_do_not_make_a_majority(void **state)
{
    (void)state;
    answer(0, N2);
    answer(1, N1);
    for (uint32_t node = 0; node < 2; node++) {
        struct store_recover_replica *replica = add(node, 7, N1 | N2 | N3, 4, 20);
        replica->members[1].learner = 1;
        add(node, 8, N1 | N2 | N3, 4, 20);
    }
    places[1].members[0] = 2;
    routing.partition_count = 0;
    assert_int_equal(make(N3 | N4 | N5), 0);
    assert_int_equal(plan.count, 1);
    assert_true(plan.items[0].partition == 7 && plan.items[0].voters == 2 && plan.items[0].left == 1);
}

static void a_replica_of_an_older_disk_is_no_voter(void **state)
{
    (void)state;
    answer(0, N2);
    answer(1, N1);
    add(0, 7, N1 | N2 | N3, 4, 20);
    add(1, 7, N1 | N2 | N3, 4, 20)->id = store_replica_id(1, 6); /* the members have its id of before */
    routing.partition_count = 0;
    assert_int_equal(make(N3 | N4 | N5), 0);
    assert_int_equal(plan.items[0].left, 1);
}

static void what_is_lost_altogether_begins_empty(void **state)
{
    (void)state;
    answer(0, N2);
    answer(1, N1);
    for (uint32_t node = 0; node < 2; node++)
        add(node, 1, N1 | N2 | N3 | N4 | N5, 4, 20);
    add(0, 7, N1 | N4 | N5, 4, 20)->failed = 1; /* cannot take part */
    assert_int_equal(make(N3 | N4 | N5), 0);
    assert_int_equal(plan.count, 2);
    assert_true(plan.items[1].partition == 7 && plan.items[1].replica == 0 && plan.items[1].last_index == 0);
    assert_true(plan.survivors >> plan.items[1].node & 1);
}

static void without_a_catalog_there_is_nothing_to_go_on_from(void **state)
{
    (void)state;
    answer(0, 0);
    assert_int_equal(make(N2 | N3 | N4 | N5), HF_ECONFLICT);
    assert_non_null(strstr(error.message, "replica of the catalog"));
}

/* ---- Who is dead ------------------------------------------------------------------------------------------------- */

static void the_dead_must_be_dead(void **state)
{
    (void)state;
    answer(0, N2);
    answer(1, N1 | N3);
    assert_int_equal(make(0), HF_EINVAL);
    assert_int_equal(make(N1 | N3 | N4 | N5), HF_EINVAL);
    assert_non_null(strstr(error.message, "n1 is the one that you are asking"));
    assert_int_equal(make(N3 | N4 | N5), HF_ECONFLICT);
    assert_non_null(strstr(error.message, "n3 is not dead: n2 hears it"));
    facts[1].heard = N1;
    assert_int_equal(make(N3 | N4), HF_ECONFLICT);
    assert_non_null(strstr(error.message, "n5 does not answer, and is not named as dead"));
    facts[1].identity.disk = 0; /* it came back with an empty disk: it has nothing to give */
    assert_int_equal(make(N3 | N4 | N5), HF_ECONFLICT);
    assert_non_null(strstr(error.message, "n2 does not answer"));
}

static void nodes_that_have_no_part_are_not_missed(void **state)
{
    (void)state;
    answer(0, 0);
    add(0, 1, N1 | N2 | N3, 1, 1);
    routing.nodes[3].state = STORE_NODE_REMOVED;
    routing.nodes[4].state = STORE_NODE_LOST;
    routing.partition_count = 1;
    assert_int_equal(make(N2 | N3), 0);
    assert_int_equal(plan.count, 1);
}

static void nothing_to_do_is_said(void **state)
{
    (void)state;
    answer(0, N2 | N3);
    answer(1, N1 | N3);
    answer(2, N1 | N2);
    for (uint32_t node = 0; node < 3; node++) {
        add(node, 1, N1 | N2 | N3 | N4 | N5, 4, 20);
        add(node, 7, N1 | N2 | N3, 4, 20);
    }
    assert_int_equal(make(N4 | N5), HF_ENOTFOUND);
    assert_non_null(strstr(error.message, "holdfast node drain"));
}

/* ---- Carrying it out --------------------------------------------------------------------------------------------- */

static void make_one(void)
{
    answer(0, N2);
    answer(1, N1);
    add(0, 1, N1 | N2 | N3 | N4 | N5, 4, 20);
    add(1, 1, N1 | N2 | N3 | N4 | N5, 4, 19);
    add(0, 7, N1 | N4 | N5, 4, 20);
    assert_int_equal(make(N3 | N4 | N5), 0);
}

static void a_plan_is_void_when_anything_has_changed(void **state)
{
    (void)state;
    make_one();
    assert_int_equal(store_recover_check(&plan, 0, &facts[0], &error), 0);
    assert_int_equal(store_recover_check(&plan, 1, &facts[1], &error), 0);

    facts[1].promised = plan.id; /* bound to this one already */
    assert_int_equal(store_recover_check(&plan, 1, &facts[1], &error), 0);
    facts[1].promised = 77;
    assert_int_equal(store_recover_check(&plan, 1, &facts[1], &error), HF_ECONFLICT);
    assert_non_null(strstr(error.message, "has taken part in plan 000000000000004d since"));
    facts[1].promised = 0;

    facts[1].identity.starts++;
    assert_int_equal(store_recover_check(&plan, 1, &facts[1], &error), HF_ECONFLICT);
    assert_non_null(strstr(error.message, "was restarted"));
    facts[1].identity.starts--;

    facts[1].heard |= N4;
    assert_int_equal(store_recover_check(&plan, 1, &facts[1], &error), HF_ECONFLICT);
    facts[1].heard = N1;

    replicas[1][0].last_index++;
    assert_int_equal(store_recover_check(&plan, 1, &facts[1], &error), HF_ECONFLICT);
    assert_non_null(strstr(error.message, "partition 1 is not as it was"));
    replicas[1][0].last_index--;
    replicas[1][0].leads = 1;
    assert_int_equal(store_recover_check(&plan, 1, &facts[1], &error), HF_ECONFLICT);
    replicas[1][0].leads = 0;
    add(1, 7, N2, 1, 1); /* was not there */
    assert_int_equal(store_recover_check(&plan, 1, &facts[1], &error), HF_ECONFLICT);
    facts[1].count--;
    assert_int_equal(store_recover_check(&plan, 1, &facts[1], &error), 0);
    assert_int_equal(store_recover_check(&plan, 2, &facts[1], &error), HF_ECONFLICT); /* not one that is left */
}

static void placements_keep_only_what_is_left(void **state)
{
    struct store_partition partition = {
        .id = 7,
        .member_count = 3,
        .members = {3, 0, 4},
        .replicas = {store_replica_id(3, 0), store_replica_id(0, 0), store_replica_id(4, 0)},
        .leaving_count = 1,
        .leaving = {store_replica_id(2, 0)}};
    struct store_recover_item empty = {.partition = 9, .node = 1};

    (void)state;
    make_one();
    assert_int_equal(store_recover_place(&plan, &plan.items[1], 55, &partition), 1);
    assert_true(partition.member_count == 1 && partition.members[0] == 0 && partition.leaving_count == 0);
    assert_true(partition.replicas[0] == store_replica_id(0, 0));
    assert_int_equal(store_recover_place(&plan, &plan.items[1], 56, &partition), 0);
    partition.replicas[partition.member_count] = store_replica_id(1, 60); /* the placer has gone on from there */
    partition.members[partition.member_count++] = 1;
    assert_int_equal(store_recover_place(&plan, &plan.items[1], 56, &partition), 0);

    partition.members[0] = 4;
    partition.replicas[0] = store_replica_id(4, 0);
    partition.member_count = 1;
    assert_int_equal(store_recover_place(&plan, &empty, 57, &partition), 1);
    assert_true(partition.member_count == 1 && partition.replicas[0] == store_replica_id(1, 57));
    assert_int_equal(store_recover_place(&plan, &empty, 58, &partition), 0);

    /* One that was moving there keeps its id: it may have been opened meanwhile. */
    partition.members[0] = 4;
    partition.replicas[0] = store_replica_id(4, 0);
    partition.members[1] = 1;
    partition.replicas[1] = store_replica_id(1, 40);
    partition.member_count = 2;
    assert_int_equal(store_recover_place(&plan, &empty, 59, &partition), 1);
    assert_true(partition.member_count == 1 && partition.replicas[0] == store_replica_id(1, 40));
}

static void a_plan_is_read_as_it_was_written_and_not_otherwise(void **state)
{
    struct store_recover_plan read;
    hf_value document;
    hf_buffer text;

    (void)state;
    make_one();
    hf_buffer_init(&text, 1 << 20);
    assert_int_equal(store_recover_write_plan(&text, &plan, &nodes, &routing), 0);
    assert_int_equal(hf_buffer_append(&text, "", 1), 0);
    assert_non_null(strstr((char *)text.data, "\"table\":\"t\",\"value\":\"eu\""));
    hf_slice slice = {text.data, text.size - 1};
    assert_int_equal(hf_json_parse(slice, &arena, &document, NULL), 0);
    assert_int_equal(store_recover_read_plan(&document, &nodes, &arena, &read, &error), 0);
    assert_true(read.id == plan.id && read.dead == plan.dead && read.survivors == plan.survivors && read.count == 2);
    assert_int_equal(store_recover_check(&read, 1, &facts[1], &error), 0);

    char *index = strstr((char *)text.data, "\"last_index\":20");
    assert_non_null(index);
    index[strlen("\"last_index\":2")] = '1';
    assert_int_equal(hf_json_parse(slice, &arena, &document, NULL), 0);
    assert_int_equal(store_recover_read_plan(&document, &nodes, &arena, &read, &error), HF_EINVAL);
    assert_non_null(strstr(error.message, "content is not what its id is of"));
    document = hf_value_null();
    assert_int_equal(store_recover_read_plan(&document, &nodes, &arena, &read, &error), HF_EINVAL);
    hf_buffer_done(&text);
}

static void facts_are_read_as_they_were_written(void **state)
{
    struct store_recover_facts read;
    hf_buffer text;

    (void)state;
    answer(0, N2 | N5);
    facts[0].promised = UINT64_MAX - 1;
    add(0, 1, N1 | N2, 4, 20)->transactions = 3;
    add(0, 7, N1 | N2 | N3, 9, 21)->members[2].learner = 1;
    hf_buffer_init(&text, 1 << 20);
    assert_int_equal(store_recover_write_facts(&text, &facts[0]), 0);
    assert_int_equal(store_recover_read_facts((hf_slice){text.data, text.size}, &arena, &read, &error), 0);
    assert_true(read.present && read.identity.disk == 100 && read.identity.starts == 5 && read.heard == (N2 | N5));
    assert_true(read.promised == UINT64_MAX - 1 && read.count == 2 && read.replicas[0].transactions == 3);
    assert_true(read.replicas[1].member_count == 3 && read.replicas[1].members[2].learner == 1);
    assert_int_equal(store_recover_read_facts(hf_slice_of("{}"), &arena, &read, &error), HF_EPROTOCOL);
    hf_buffer_done(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_latest_log_goes_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_has_a_majority_is_left_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_leader_that_has_lost_its_majority_will_notice, set_up, tear_down),
        cmocka_unit_test_setup_teardown(learners_do_not_make_a_majority, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_replica_of_an_older_disk_is_no_voter, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_lost_altogether_begins_empty, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_a_catalog_there_is_nothing_to_go_on_from, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_dead_must_be_dead, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nodes_that_have_no_part_are_not_missed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_to_do_is_said, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_plan_is_void_when_anything_has_changed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(placements_keep_only_what_is_left, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_plan_is_read_as_it_was_written_and_not_otherwise, set_up, tear_down),
        cmocka_unit_test_setup_teardown(facts_are_read_as_they_were_written, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
