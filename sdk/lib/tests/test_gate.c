/* Shows, in simulated time, that a gate keeps its limits, that clients who flood leave room for others, and that the
 * times it tells fit how fast things leave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <holdfast/lib/gate.h>
#include <pthread.h>

enum { SECOND = 1000000, TICK = 100000, STEP = 1000 };

static hf_gate gate_of(const hf_gate_limits *limits)
{
    return (hf_gate){.limits = limits};
}

static void keeps_its_limits(void **state)
{
    hf_gate_limits limits = {.items = 3, .bytes = 1000, .share = 100};
    hf_gate gate = gate_of(&limits);

    (void)state;
    assert_int_equal(hf_gate_enter(&gate, NULL, 0, 1, 400, 1), 0);
    assert_int_equal(hf_gate_enter(&gate, NULL, 0, 1, 600, 1), 0);
    assert_int_equal(hf_gate_enter(&gate, NULL, 0, 1, 1, 1), HF_GATE_FULL); /* by bytes */
    assert_int_equal(hf_gate_enter(&gate, NULL, 0, 1, 0, 1), 0);
    assert_int_equal(hf_gate_enter(&gate, NULL, 0, 1, 0, 1), HF_GATE_FULL); /* by items */
    assert_int_equal(hf_gate_items(&gate), 3);
    assert_int_equal(hf_gate_bytes(&gate), 1000);
    hf_gate_leave(&gate, NULL, 0, 1, 600);
    assert_int_equal(hf_gate_enter(&gate, NULL, 0, 1, 601, 1), HF_GATE_FULL);
    assert_int_equal(hf_gate_enter(&gate, NULL, 0, 1, 600, 1), 0);
    limits.items = 10; /* at any time */
    assert_int_equal(hf_gate_enter(&gate, NULL, 0, 1, 0, 1), 0);
    limits.items = 2; /* what is inside stays */
    assert_int_equal(hf_gate_enter(&gate, NULL, 0, 1, 0, 1), HF_GATE_FULL);
    hf_gate_force(&gate, NULL, 0, 1, 5000, 1);
    assert_int_equal(hf_gate_items(&gate), 5);
    assert_int_equal(hf_gate_bytes(&gate), 6000);
    hf_gate_leave(&gate, NULL, 0, 5, 6000);
    assert_int_equal(hf_gate_items(&gate), 0);
    assert_int_equal(hf_gate_bytes(&gate), 0);
}

static void refuses_what_cannot_be_counted(void **state)
{
    hf_gate_limits limits = {.items = UINT64_MAX, .bytes = UINT64_MAX, .share = 100};
    hf_gate gate = gate_of(&limits);

    (void)state;
    assert_int_equal(hf_gate_enter(&gate, NULL, 0, 1, HF_GATE_BYTES_MAX + 1, 1), HF_GATE_FULL);
    assert_int_equal(hf_gate_enter(&gate, NULL, 0, 1, HF_GATE_BYTES_MAX, 1), 0);
    assert_int_equal(hf_gate_enter(&gate, NULL, 0, 1, HF_GATE_BYTES_MAX, 1), HF_GATE_FULL);
    assert_int_equal(hf_gate_bytes(&gate), HF_GATE_BYTES_MAX);
}

/* The counters wrap round, as they do after a long life. */
static void counts_for_ever(void **state)
{
    hf_gate_limits limits = {.items = 2, .bytes = HF_GATE_BYTES_MAX, .share = 100};
    hf_gate gate = gate_of(&limits);

    (void)state;
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(hf_gate_enter(&gate, NULL, 0, 1, HF_GATE_BYTES_MAX, 1), 0);
        assert_int_equal(hf_gate_items(&gate), 1);
        assert_int_equal(hf_gate_bytes(&gate), HF_GATE_BYTES_MAX);
        hf_gate_leave(&gate, NULL, 0, 1, HF_GATE_BYTES_MAX);
    }
    limits.items = HF_GATE_ITEMS_MAX;
    for (int i = 0; i < 10; i++) {
        hf_gate_force(&gate, NULL, 0, HF_GATE_ITEMS_MAX, 7, 1);
        assert_int_equal(hf_gate_items(&gate), HF_GATE_ITEMS_MAX);
        hf_gate_leave(&gate, NULL, 0, HF_GATE_ITEMS_MAX, 7);
    }
    assert_int_equal(hf_gate_items(&gate), 0);
}

/* How many items each of `count` clients gets that take turns until none gets more. */
static uint64_t flood(hf_gate *gate, hf_shares *shares, uint64_t first, int count)
{
    uint64_t got = 0, before;

    do {
        before = got;
        for (int i = 0; i < count; i++)
            got += hf_gate_enter(gate, shares, first + (uint64_t)i, 1, 10, 1) == 0;
    } while (got > before);
    return got / (uint64_t)count;
}

static void floods_leave_room_for_others(void **state)
{
    hf_gate_limits limits = {.items = 1200, .bytes = HF_GATE_BYTES_MAX, .share = 50};

    (void)state;
    for (int floods = 1; floods <= 5; floods++) {
        hf_shares *shares = hf_shares_create(7);
        hf_gate gate = gate_of(&limits);
        uint64_t each = flood(&gate, shares, 100, floods), free = 1200 - hf_gate_items(&gate);

        assert_in_range(each, 1200 / (uint64_t)(floods + 1) - 2, 1200 / (uint64_t)(floods + 1) + 2);
        assert_in_range(free, each - 2, each + 2 * (uint64_t)floods); /* as much as each of them has */
        assert_int_equal(hf_gate_enter(&gate, shares, 100, 1, 10, 1), HF_GATE_SHARE);
        assert_int_equal(hf_gate_enter(&gate, shares, 5, 1, 10, 1), 0);
        assert_int_equal(hf_gate_enter(&gate, shares, 5, 1, 10, 1), 0);
        hf_shares_destroy(shares);
    }
}

static void shares_count_bytes_too(void **state)
{
    hf_gate_limits limits = {.items = 1000, .bytes = 1000, .share = 50};
    hf_shares *shares = hf_shares_create(1);
    hf_gate gate = gate_of(&limits);

    (void)state;
    assert_int_equal(hf_gate_enter(&gate, shares, 1, 1, 900, 1), 0); /* the first needs only room */
    assert_int_equal(hf_gate_enter(&gate, shares, 1, 1, 1, 1), HF_GATE_SHARE);
    assert_int_equal(hf_gate_enter(&gate, shares, 2, 1, 100, 1), 0);
    assert_int_equal(hf_gate_enter(&gate, shares, 3, 1, 1, 1), HF_GATE_FULL);
    hf_gate_leave(&gate, shares, 1, 1, 900);
    assert_int_equal(hf_gate_enter(&gate, shares, 1, 1, 300, 1), 0);
    assert_int_equal(hf_gate_enter(&gate, shares, 1, 1, 150, 1), 0);
    assert_int_equal(hf_gate_enter(&gate, shares, 1, 1, 1, 1), HF_GATE_SHARE);
    limits.share = 100;
    assert_int_equal(hf_gate_enter(&gate, shares, 1, 1, 1, 1), 0);
    hf_shares_destroy(shares);
}

/* ---- Time -------------------------------------------------------------------------------------------------------- */

/* Each step lets `rate` items a second of 100 bytes leave, as long as there are any, and keeps it at `filled`. */
static uint64_t serve(hf_gate *gate, uint64_t now, uint64_t for_us, uint64_t rate, uint64_t filled)
{
    for (uint64_t until = now + for_us; now < until; now += STEP) {
        uint64_t items = hf_gate_items(gate), leaving = (now * rate) / SECOND - ((now - STEP) * rate) / SECOND;

        if (leaving > items)
            leaving = items;
        hf_gate_leave(gate, NULL, 0, leaving, leaving * 100);
        for (items -= leaving; items < filled; items++)
            hf_gate_force(gate, NULL, 0, 1, 100, now);
        if (now % TICK == 0)
            hf_gate_measure(gate, now);
    }
    return now;
}

static void tells_how_long_it_will_take(void **state)
{
    hf_gate_limits limits = {.items = 100000, .bytes = HF_GATE_BYTES_MAX, .share = 100};
    static const uint64_t rates[] = {20, 1000, 50000};

    (void)state;
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        hf_gate gate = gate_of(&limits);
        uint64_t now = serve(&gate, SECOND, 5 * SECOND, rates[i], 5000), wait = 5000 * (uint64_t)SECOND / rates[i];

        assert_in_range(hf_gate_wait_us(&gate, now), wait * 8 / 10, wait * 12 / 10);
        /* A tenth as fast: told within a second or two. */
        now = serve(&gate, now, 3 * SECOND, rates[i] / 10, 5000);
        assert_in_range(hf_gate_wait_us(&gate, now), wait * 6, wait * 20);
    }
}

static void large_items_count_by_their_bytes(void **state)
{
    hf_gate_limits limits = {.items = 100000, .bytes = HF_GATE_BYTES_MAX, .share = 100};
    hf_gate gate = gate_of(&limits);
    uint64_t now = serve(&gate, SECOND, 5 * SECOND, 1000, 500); /* 100 kB a second */

    (void)state;
    hf_gate_force(&gate, NULL, 0, 1, 1000000, now);
    assert_in_range(hf_gate_wait_us(&gate, now), 9 * SECOND, 13 * SECOND);
}

static void nothing_leaves(void **state)
{
    hf_gate_limits limits = {.items = 1000, .bytes = HF_GATE_BYTES_MAX, .share = 100};
    hf_gate gate = gate_of(&limits);

    (void)state;
    assert_int_equal(hf_gate_wait_us(&gate, SECOND), 0);
    hf_gate_force(&gate, NULL, 0, 10, 10, SECOND);
    assert_int_equal(hf_gate_wait_us(&gate, SECOND + 5000), 5000); /* nothing is measured: as long as it has been */
    serve(&gate, SECOND, 60 * SECOND, 0, 10);
    assert_true(hf_gate_wait_us(&gate, 61 * SECOND) > 100 * (uint64_t)SECOND);
    assert_in_range(hf_gate_retry_after_ms(&gate, 61 * SECOND, 100, 8000), 4000, 8000);
}

/* What comes one at a time with pauses does not make a queue look slow. */
static void idle_time_is_not_slowness(void **state)
{
    hf_gate_limits limits = {.items = 1000, .bytes = HF_GATE_BYTES_MAX, .share = 100};
    hf_gate gate = gate_of(&limits);
    uint64_t now = serve(&gate, SECOND, 3 * SECOND, 1000, 100), before;

    (void)state;
    now = serve(&gate, now, SECOND, 1000, 0);
    assert_int_equal(hf_gate_items(&gate), 0);
    hf_gate_force(&gate, NULL, 0, 100, 10000, now);
    before = hf_gate_wait_us(&gate, now);
    hf_gate_leave(&gate, NULL, 0, 100, 10000);
    for (int i = 0; i < 100; i++, now += TICK) { /* ten a second */
        hf_gate_force(&gate, NULL, 0, 1, 100, now);
        if (i % 2)
            hf_gate_measure(&gate, now + 500); /* it is inside just then */
        hf_gate_leave(&gate, NULL, 0, 1, 100);
        if (i % 2 == 0)
            hf_gate_measure(&gate, now + 2000);
    }
    hf_gate_force(&gate, NULL, 0, 100, 10000, now);
    assert_int_equal(hf_gate_wait_us(&gate, now), before);
}

static void those_refused_together_come_back_apart(void **state)
{
    hf_gate_limits limits = {.items = 1000, .bytes = HF_GATE_BYTES_MAX, .share = 100};
    hf_gate gate = gate_of(&limits);
    uint64_t now = serve(&gate, SECOND, 5 * SECOND, 1000, 1000), lowest = UINT64_MAX, highest = 0;
    int quarters[4] = {0};

    (void)state;
    for (int i = 0; i < 100; i++) {
        uint64_t ms = hf_gate_retry_after_ms(&gate, now, 50, 60000);

        lowest = ms < lowest ? ms : lowest;
        highest = ms > highest ? ms : highest;
        quarters[ms < 500 ? 0 : ms > 999 ? 3 : (ms - 500) / 125]++;
    }
    assert_in_range(lowest, 400, 550);
    assert_in_range(highest, 900, 1200);
    for (int i = 0; i < 4; i++)
        assert_in_range(quarters[i], 10, 45);
    for (int i = 0; i < 100; i++)
        assert_in_range(hf_gate_retry_after_ms(&gate, now, 50, 200), 100, 200);
    hf_gate empty = gate_of(&limits);
    for (int i = 0; i < 100; i++)
        assert_in_range(hf_gate_retry_after_ms(&empty, now, 50, 60000), 50, 100);
}

/* ---- Fair in time: one that floods, and one that behaves --------------------------------------------------------- */

/* A queue served in order at 1000 a second.  Client 1 sends ten times as much as that, client 2 a twentieth. */
static void who_behaves_is_served(void **state)
{
    enum { SERVED_PER_STEP = 1, FLOOD_PER_STEP = 10, QUEUE = 4096 };
    hf_gate_limits limits = {.items = 500, .bytes = HF_GATE_BYTES_MAX, .share = 50};
    hf_shares *shares = hf_shares_create(3);
    hf_gate gate = gate_of(&limits);
    static uint8_t queue[QUEUE];
    uint64_t first = 0, last = 0, asked[3] = {0}, taken[3] = {0};

    (void)state;
    for (uint64_t now = SECOND; now < 61 * SECOND; now += STEP) {
        for (int i = 0; i < FLOOD_PER_STEP + 1; i++) {
            uint8_t client = i < FLOOD_PER_STEP ? 1 : 2;

            if (client == 2 && now / STEP % 20)
                continue;
            asked[client]++;
            if (hf_gate_enter(&gate, shares, client, 1, 1, now) == 0) {
                taken[client]++;
                queue[last++ % QUEUE] = client;
            }
        }
        for (int i = 0; i < SERVED_PER_STEP && first < last; i++)
            hf_gate_leave(&gate, shares, queue[first++ % QUEUE], 1, 1);
        if (now % TICK == 0)
            hf_gate_measure(&gate, now);
        assert_true(last - first <= 500);
    }
    assert_int_equal(taken[2], asked[2]); /* never refused */
    assert_true(taken[1] < asked[1] / 5);
    assert_true(taken[1] > 50000); /* and nothing is idle for it: 60 seconds of 1000, less what client 2 had */
    hf_shares_destroy(shares);
}

/* ---- Threads ----------------------------------------------------------------------------------------------------- */

struct rush {
    hf_gate *gate;
    hf_shares *shares;
    uint64_t key;
};

static void *rush(void *arg)
{
    struct rush *rush = arg;

    for (int i = 0; i < 100000; i++)
        if (hf_gate_enter(rush->gate, rush->shares, rush->key, 1, 100, 1) == 0)
            hf_gate_leave(rush->gate, rush->shares, rush->key, 1, 100);
    return NULL;
}

static void counts_right_from_many_threads(void **state)
{
    hf_gate_limits limits = {.items = 3, .bytes = 300, .share = 50};
    hf_shares *shares = hf_shares_create(9);
    hf_gate gate = gate_of(&limits);
    pthread_t threads[4];
    struct rush rushes[4];

    (void)state;
    for (int i = 0; i < 4; i++) {
        rushes[i] = (struct rush){&gate, shares, (uint64_t)i};
        assert_int_equal(pthread_create(&threads[i], NULL, rush, &rushes[i]), 0);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(hf_gate_items(&gate), 0);
    assert_int_equal(hf_gate_bytes(&gate), 0);
    for (uint64_t i = 0; i < 3; i++) /* and so do the shares: each has room for its first */
        assert_int_equal(hf_gate_enter(&gate, shares, i, 1, 100, 1), 0);
    assert_int_equal(hf_gate_enter(&gate, shares, 3, 1, 100, 1), HF_GATE_FULL);
    hf_shares_destroy(shares);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_its_limits),
        cmocka_unit_test(refuses_what_cannot_be_counted),
        cmocka_unit_test(counts_for_ever),
        cmocka_unit_test(floods_leave_room_for_others),
        cmocka_unit_test(shares_count_bytes_too),
        cmocka_unit_test(tells_how_long_it_will_take),
        cmocka_unit_test(large_items_count_by_their_bytes),
        cmocka_unit_test(nothing_leaves),
        cmocka_unit_test(idle_time_is_not_slowness),
        cmocka_unit_test(those_refused_together_come_back_apart),
        cmocka_unit_test(who_behaves_is_served),
        cmocka_unit_test(counts_right_from_many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
