/* Shows that a leader who takes one step after the other arrives at the members that are wanted, whatever it begins
 * with, and that no step endangers what is stored. */
#include "replica/step.h"
#include "table/table.h"

#include <holdfast/lib/hash.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { REPLICAS = 8, ROUNDS = 5000, STEPS_MAX = 300 };

struct group {
    hf_random random;
    hf_replication_member actual[STORE_MEMBERS_MAX], wanted[STORE_MEMBERS_MAX];
    uint32_t actual_count, wanted_count;
    uint64_t self;
    int has_all[REPLICAS + 1]; /* by id: it has caught up */
    int transfers;
};

static const hf_replication_member *find(const hf_replication_member *members, uint32_t count, uint64_t id)
{
    for (uint32_t i = 0; i < count; i++)
        if (members[i].replica == id)
            return &members[i];
    return NULL;
}

static int is_ready(void *arg, uint64_t id)
{
    const struct group *group = arg;

    return find(group->actual, group->actual_count, id) && group->has_all[id];
}

static int votes(const hf_replication_member *members, uint32_t count, uint64_t id)
{
    const hf_replication_member *member = find(members, count, id);

    return member && !member->learner;
}

static uint32_t draw(struct group *group, hf_replication_member *members)
{
    uint32_t count = 0;
    uint64_t first = hf_random_below(&group->random, REPLICAS);

    for (uint64_t i = 0; i < REPLICAS; i++) {
        uint64_t id = 1 + (first + i * 3) % REPLICAS;

        if (hf_random_below(&group->random, 2) == 0)
            members[count++] = (hf_replication_member){.replica = id};
    }
    if (count == 0)
        members[count++] = (hf_replication_member){.replica = 1 + first};
    for (uint32_t i = 1; i < count; i++)
        members[i].learner = hf_random_below(&group->random, 4) == 0;
    return count;
}

static void begin(struct group *group, uint64_t seed)
{
    memset(group, 0, sizeof *group);
    hf_random_init(&group->random, seed);
    group->actual_count = draw(group, group->actual);
    group->wanted_count = draw(group, group->wanted);
    group->self = group->actual[0].replica;
    for (uint32_t i = 0; i < group->actual_count; i++)
        group->has_all[group->actual[i].replica] = 1;
}

/* One voter at a time, and none goes before all that are wanted vote and have everything. */
static void check_change(const struct group *group, const struct store_step *step)
{
    uint32_t changed = 0, voters = 0;

    for (uint64_t id = 1; id <= REPLICAS; id++) {
        int before = votes(group->actual, group->actual_count, id), after = votes(step->members, step->count, id);

        changed += before != after;
        voters += (uint32_t)after;
        if (after && !before)
            assert_true(is_ready((void *)(uintptr_t)group, id));
        if (!before || after)
            continue;
        assert_true(id != group->self);
        for (uint32_t w = 0; w < group->wanted_count; w++)
            if (!group->wanted[w].learner)
                assert_true(votes(group->actual, group->actual_count, group->wanted[w].replica));
    }
    assert_true(changed <= 1 && voters > 0);
    for (uint32_t i = 0; i < step->count; i++)
        for (uint32_t k = 0; k < i; k++)
            assert_true(step->members[i].replica != step->members[k].replica);
}

/* A learner catches up. */
static void let_one_catch_up(struct group *group)
{
    uint64_t id = group->actual[hf_random_below(&group->random, group->actual_count)].replica;

    group->has_all[id] = 1;
}

static void take(struct group *group, const struct store_step *step)
{
    if (step->type == STORE_STEP_CHANGE) {
        check_change(group, step);
        memcpy(group->actual, step->members, step->count * sizeof step->members[0]);
        group->actual_count = step->count;
        for (uint64_t id = 1; id <= REPLICAS; id++)
            if (!find(group->actual, group->actual_count, id))
                group->has_all[id] = 0; /* it is removed there */
    } else if (step->type == STORE_STEP_TRANSFER) {
        assert_true(votes(group->actual, group->actual_count, step->to) && is_ready(group, step->to));
        group->self = step->to;
        group->transfers++;
    }
}

static int is_there(const struct group *group)
{
    if (group->actual_count != group->wanted_count || group->self != group->wanted[0].replica)
        return 0;
    for (uint32_t i = 0; i < group->wanted_count; i++) {
        const hf_replication_member *member = find(group->actual, group->actual_count, group->wanted[i].replica);

        if (!member || (member->learner != 0) != (group->wanted[i].learner != 0))
            return 0;
    }
    return 1;
}

static void every_group_arrives(void **state)
{
    int transfers = 0;

    (void)state;
    for (uint64_t seed = 0; seed < ROUNDS; seed++) {
        struct group group;
        int steps = 0;

        begin(&group, seed);
        for (; !is_there(&group); steps++) {
            struct store_step step;

            assert_true(steps < STEPS_MAX);
            store_step_next(group.actual, group.actual_count, group.wanted, group.wanted_count, group.self, is_ready,
                            &group, &step);
            take(&group, &step);
            let_one_catch_up(&group);
        }
        transfers += group.transfers;
    }
    assert_true(transfers > ROUNDS / 4);
}

static void nothing_happens_while_a_learner_is_behind(void **state)
{
    const hf_replication_member actual[] = {
        {.replica = 1}, {.replica = 2}, {.replica = 3}, {.replica = 4, .learner = 1}};
    const hf_replication_member wanted[] = {{.replica = 1}, {.replica = 2}, {.replica = 4}};
    struct group group = {.actual_count = 4};
    struct store_step step;

    (void)state;
    memcpy(group.actual, actual, sizeof actual);
    group.has_all[1] = group.has_all[2] = group.has_all[3] = 1;
    store_step_next(actual, 4, wanted, 3, 1, is_ready, &group, &step);
    assert_true(step.type == STORE_STEP_NONE && !step.arrived);
    group.has_all[4] = 1;
    store_step_next(actual, 4, wanted, 3, 1, is_ready, &group, &step);
    assert_true(step.type == STORE_STEP_CHANGE && step.count == 4 && votes(step.members, 4, 4));
}

/* A node has one replica of a group at a time, and the group must be able to go on without the one that goes. */
static void what_goes_makes_place_for_what_comes_to_its_node(void **state)
{
    const uint64_t comes = store_replica_id(2, 5); /* to the node of replica 3 */
    const hf_replication_member actual[] = {{.replica = 1}, {.replica = 2}, {.replica = 3}};
    const hf_replication_member wanted[] = {{.replica = 1}, {.replica = 2}, {.replica = comes}};
    struct group group = {.actual_count = 3};
    struct store_step step;

    (void)state;
    memcpy(group.actual, actual, sizeof actual);
    group.has_all[1] = group.has_all[2] = 1;
    store_step_next(actual, 3, wanted, 3, 1, is_ready, &group, &step);
    assert_true(step.type == STORE_STEP_CHANGE && step.count == 2 && !find(step.members, 2, 3));
    group.has_all[2] = 0; /* replica 1 alone could not commit that */
    store_step_next(actual, 3, wanted, 3, 1, is_ready, &group, &step);
    assert_true(step.type == STORE_STEP_CHANGE && step.count == 4 && find(step.members, 4, comes)->learner);
    group.has_all[2] = 1;
    store_step_next(actual, 3, wanted, 3, 3, is_ready, &group, &step);
    assert_true(step.type == STORE_STEP_TRANSFER && step.to == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_group_arrives),
        cmocka_unit_test(nothing_happens_while_a_learner_is_behind),
        cmocka_unit_test(what_goes_makes_place_for_what_comes_to_its_node),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
