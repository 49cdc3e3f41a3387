/* What the conformance suite cannot see of the ring: which points a change of weight moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ring.h"

#include <holdfast/lib/hash.h>
#include <holdfast/lib/value.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SERVERS = 10, POINTS = 160, KEYS = 50000 };

static char names[SERVERS][24];
static hf_balancer_server servers[SERVERS];
static uint32_t before[KEYS], after[KEYS];

static void list(uint32_t weight)
{
    for (uint32_t i = 0; i < SERVERS; i++) {
        snprintf(names[i], sizeof names[i], "10.0.0.%u:80", i + 1);
        servers[i] = (hf_balancer_server){.name = hf_slice_of(names[i]), .weight = weight};
    }
}

static void ring_open(struct ketama_ring *ring, uint32_t points)
{
    uint64_t capacity = ketama_capacity(SERVERS, points);

    *ring = (struct ketama_ring){.points = calloc(capacity, sizeof *ring->points),
                                 .spare = calloc(capacity, sizeof *ring->spare),
                                 .servers = calloc(SERVERS, sizeof *ring->servers)};
    assert_true(ring->points && ring->spare && ring->servers);
    ketama_fill(ring, servers, SERVERS, points);
}

static void ring_close(struct ketama_ring *ring)
{
    free(ring->points);
    free(ring->spare);
    free(ring->servers);
}

static void map(const struct ketama_ring *ring, uint32_t *ret_servers)
{
    hf_random keys;

    hf_random_init(&keys, 1);
    for (uint32_t i = 0; i < KEYS; i++)
        ret_servers[i] = ring->points[ketama_find(ring, hf_random_next(&keys))].server;
}

/* A ring that came about by changes is the one that the present weights make. */
static void expect_as_if_opened(const struct ketama_ring *ring, uint32_t points)
{
    struct ketama_ring fresh;

    ring_open(&fresh, points);
    assert_int_equal(ring->unit, fresh.unit);
    assert_int_equal(ring->point_count, fresh.point_count);
    assert_true(ring->point_count <= ketama_capacity(SERVERS, points));
    assert_memory_equal(ring->points, fresh.points, ring->point_count * sizeof *ring->points);
    assert_memory_equal(ring->servers, fresh.servers, SERVERS * sizeof *ring->servers);
    ring_close(&fresh);
}

static void a_lower_weight_moves_only_keys_of_its_server(void **state)
{
    struct ketama_ring ring;
    uint32_t lost = 0, kept = 0;

    (void)state;
    list(100);
    ring_open(&ring, POINTS);
    map(&ring, before);
    ketama_weigh(&ring, 3, 40);
    map(&ring, after);
    for (uint32_t i = 0; i < KEYS; i++) {
        if (before[i] != 3)
            assert_int_equal(after[i], before[i]);
        lost += before[i] == 3 && after[i] != 3;
        kept += before[i] == 3 && after[i] == 3;
    }
    assert_in_range(lost, kept, 2 * kept); /* six tenths, by expectation */
    servers[3].weight = 40;
    expect_as_if_opened(&ring, POINTS);
    ring_close(&ring);
}

static void a_slow_start_takes_keys_and_moves_no_others(void **state)
{
    struct ketama_ring ring;

    (void)state;
    list(100);
    servers[7].weight = 1;
    ring_open(&ring, POINTS);
    map(&ring, before);
    for (uint32_t weight = 2; weight <= 100; weight++) {
        ketama_weigh(&ring, 7, weight);
        map(&ring, after);
        for (uint32_t i = 0; i < KEYS; i++)
            if (after[i] != before[i])
                assert_int_equal(after[i], 7);
        memcpy(before, after, sizeof before);
    }
    servers[7].weight = 100;
    expect_as_if_opened(&ring, POINTS);
    ring_close(&ring);
}

/* Also when the averages go from one end to the other, with the fewest and with the most points. */
static void the_ring_depends_on_the_present_weights_alone(void **state)
{
    static const uint32_t most[] = {1, 16, 1000};

    (void)state;
    for (uint32_t k = 0; k < sizeof most / sizeof *most; k++) {
        struct ketama_ring ring;
        hf_random random;

        hf_random_init(&random, k);
        list(1);
        ring_open(&ring, most[k]);
        for (uint32_t i = 0; i < 500; i++) {
            uint32_t server = (uint32_t)hf_random_below(&random, SERVERS);

            servers[server].weight = (uint32_t)(HF_BALANCER_WEIGHT_MAX >> hf_random_below(&random, 16));
            ketama_weigh(&ring, server, servers[server].weight);
            if (i % 10 == 0)
                expect_as_if_opened(&ring, most[k]);
        }
        ring_close(&ring);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lower_weight_moves_only_keys_of_its_server),
        cmocka_unit_test(a_slow_start_takes_keys_and_moves_no_others),
        cmocka_unit_test(the_ring_depends_on_the_present_weights_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
