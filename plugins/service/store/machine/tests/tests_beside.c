/* Readers beside the thread that applies: the feed has no gaps, scans and gets find whole records. */
#include "kit.h"

#include <pthread.h>
#include <stdatomic.h>

enum { ENTRIES = 3000, KEPT = 30 };

struct beside {
    struct store_machine *machine;
    atomic_int stop;
    uint64_t read, refused;
};

static int32_t expect_next(void *arg, const struct store_change *change)
{
    uint64_t *next = arg;

    if (change->version != *next || (!change->superseded && change->value.size != 8))
        return 1; /* *next stays behind */
    ++*next;
    return 0;
}

static int32_t count_record(void *arg, hf_slice key, const struct store_record *record)
{
    (void)key, (void)record;
    ++*(uint64_t *)arg;
    return 0;
}

/* The feed from where it begins now: all entries up to what was applied, or none.  -1: a gap. */
static int read_feed(struct beside *beside)
{
    struct store_machine_state state = kit_state(beside->machine);
    uint64_t next = state.feed_first;
    int32_t r = store_machine_changes(beside->machine, next, expect_next, &next, NULL);

    if (r == HF_ENOTFOUND) {
        beside->refused++;
        return 0;
    }
    beside->read++;
    return r == 0 && next > state.feed_last ? 0 : -1;
}

static void *read_beside(void *arg)
{
    struct beside *beside = arg;
    struct store_record record;
    uint64_t count = 0;

    while (!atomic_load(&beside->stop)) {
        if (read_feed(beside) < 0 ||
            store_machine_scan(beside->machine, NOTHING, NOTHING, 0, count_record, &count, NULL) < 0)
            return beside; /* a gap in the feed, or a damaged record */
        if (store_machine_get(beside->machine, TEXT("key"), 0, &record, NULL) == 0)
            store_record_release(beside->machine, &record);
    }
    return NULL;
}

static void feeds_have_no_gaps_beside_applies(void **state)
{
    struct beside beside = {.machine = ((struct kit *)*state)->machine};
    void *fault = &beside;
    pthread_t reader;

    kit_apply_one(beside.machine, kit_put(TEXT("key"), TEXT("8 bytes.")));
    assert_int_equal(pthread_create(&reader, NULL, read_beside, &beside), 0);
    for (uint64_t i = 0; i < ENTRIES; i++) {
        struct store_operation operation = kit_put(i % 3 ? TEXT("key") : TEXT("other"), TEXT("8 bytes."));
        struct kit_command command = {.command = {.time_us = 1000 + i, .operations = &operation, .operation_count = 1},
                                      .feed_horizon_us = 1000 + (i > KEPT ? i - KEPT : 0)};

        assert_int_equal(kit_apply(beside.machine, &command).code, 0);
    }
    atomic_store(&beside.stop, 1);
    assert_int_equal(pthread_join(reader, &fault), 0);
    assert_null(fault);
    assert_int_equal(read_feed(&beside), 0);
    assert_true(beside.read > 0);
}

/* ---- Deadlines --------------------------------------------------------------------------------------------------- */

static void *search_beside(void *arg)
{
    struct beside *beside = arg;
    struct store_operation operation;
    uint64_t count = 0;

    while (!atomic_load(&beside->stop)) {
        hf_arena arena;

        hf_arena_init(&arena, 1 << 20);
        int32_t r = store_machine_due(beside->machine, 0, &arena, &operation, 1, &count, NULL);

        hf_arena_done(&arena);
        if (r < 0 || count > 0)
            return beside; /* nothing is due at the beginning of time */
        beside->read++;
    }
    return NULL;
}

/* A search raises the bound while it is lowered: the earliest deadline is never lost. */
static void the_next_deadline_is_known_beside_searches(void **state)
{
    struct beside beside = {.machine = ((struct kit *)*state)->machine};
    void *fault = &beside;
    pthread_t reader;

    assert_int_equal(pthread_create(&reader, NULL, search_beside, &beside), 0);
    for (uint64_t i = 0; i < ENTRIES; i++) {
        struct store_operation operation = kit_put(TEXT("key"), TEXT("v"));
        struct kit_command command = {.command = {.time_us = 1, .operations = &operation, .operation_count = 1}};

        operation.expire_after = (uint32_t)(ENTRIES - i); /* always a new earliest one */
        assert_int_equal(kit_apply(beside.machine, &command).code, 0);
    }
    atomic_store(&beside.stop, 1);
    assert_int_equal(pthread_join(reader, &fault), 0);
    assert_null(fault);
    assert_true(store_machine_next_deadline(beside.machine) == 1 + 1000000);
    print_message("%d searches\n", (int)beside.read);
}

int kit_test_beside(void)
{
    const struct CMUnitTest tests[] = {TEST(feeds_have_no_gaps_beside_applies),
                                       TEST(the_next_deadline_is_known_beside_searches)};

    return cmocka_run_group_tests_name("beside", tests, NULL, NULL);
}
