/* Shows which servers a balancer is offered: those that are well, have room and were not tried; backups when there is
 * no other; and none that only another set has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tls/client.h"
#include "upstream/choose.h"

#include <stdlib.h>
#include <string.h>

/* The sets here have no TLS. */
void gateway_tls_client_release(struct gateway_tls_client *client)
{
    assert_null(client);
}

enum { COUNT = 70, BACKUP_AT = 67, SECOND = 1000000 };

/* A balancer that takes the first usable server, and keeps what it learns. */
struct hf_balancer_pool {
    uint32_t count;
    uint32_t learned;
    int32_t failed;
    uint64_t latency_us;
};

static int32_t pick_first(hf_balancer_pool *pool, const hf_balancer_request *request, uint32_t *ret_server)
{
    for (uint32_t i = 0; i < pool->count; i++)
        if (hf_balancer_is_usable(request, i)) {
            *ret_server = i;
            return HF_OK;
        }
    return HF_ENOTFOUND;
}

static void learn(hf_balancer_pool *pool, uint32_t server, const hf_balancer_result *result)
{
    pool->learned = server;
    pool->failed = result->failed;
    pool->latency_us = result->latency_us;
}

static const hf_balancer balancer = {.pick = pick_first, .ended = learn};

struct world {
    struct gateway_upstream *upstream;
    struct gateway_server_set set;
    struct gateway_server servers[COUNT];
    struct gateway_place places[COUNT];
    atomic_uint in_flight[COUNT];
    struct gateway_pools pools;
    hf_balancer_pool regular, backup;
    uint64_t bits[2], away[2], tried[2];
    struct gateway_usable usable;
    struct gateway_choice choice;
};

static int make_world(void **state)
{
    struct world *world = calloc(1, sizeof *world);

    assert_non_null(world);
    world->upstream = gateway_upstream_create("u", 0, NULL);
    assert_non_null(world->upstream);
    world->regular.count = BACKUP_AT;
    world->backup.count = COUNT - BACKUP_AT;
    world->pools = (struct gateway_pools){&world->regular, &world->backup};
    world->set.upstream = world->upstream;
    world->set.balancer = &balancer;
    world->set.count = COUNT;
    world->set.backup_at = BACKUP_AT;
    world->set.places = world->places;
    world->set.in_flight = world->in_flight;
    world->set.pools = &world->pools;
    for (uint32_t i = 0; i < COUNT; i++) {
        world->servers[i].upstream = world->upstream;
        gateway_health_init(&world->servers[i].health, 0);
        world->places[i] =
            (struct gateway_place){.server = &world->servers[i],
                                   .addresses.count = 1,
                                   .health = {.fails_maximum = 1, .fail_timeout_us = SECOND, .rise = 1, .fall = 1}};
    }
    world->usable.bits = world->bits;
    world->usable.away = world->away;
    world->choice =
        (struct gateway_choice){.set = &world->set, .usable = &world->usable, .tried = world->tried, .now_us = SECOND};
    *state = world;
    return 0;
}

static int end_world(void **state)
{
    struct world *world = *state;

    gateway_upstream_release(world->upstream);
    free(world);
    return 0;
}

/* The place that is chosen; -1: none, -2: none has room. */
static int choose(struct world *world)
{
    int32_t full = 0;
    uint32_t place = 0;

    if (gateway_choose(&world->choice, &place, &full))
        return (int)place;
    return full ? -2 : -1;
}

static void mark_tried(struct world *world, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++)
        world->tried[i / 64] |= UINT64_C(1) << i % 64;
}

static void passes_over_what_was_tried(void **state)
{
    struct world *world = *state;

    assert_int_equal(choose(world), 0);
    mark_tried(world, 0, 5);
    assert_int_equal(choose(world), 5);
    mark_tried(world, 5, 66);
    assert_int_equal(choose(world), 66);
}

static void takes_backups_last(void **state)
{
    struct world *world = *state;

    mark_tried(world, 0, BACKUP_AT);
    assert_int_equal(choose(world), BACKUP_AT);
    mark_tried(world, BACKUP_AT, BACKUP_AT + 1);
    assert_int_equal(choose(world), BACKUP_AT + 1);
    mark_tried(world, BACKUP_AT, COUNT);
    assert_int_equal(choose(world), -1);
}

static void sees_who_has_room(void **state)
{
    struct world *world = *state;
    struct gateway_breaker_call call;

    world->set.has_maximum = 1;
    for (uint32_t i = 0; i < COUNT; i++)
        world->places[i].requests_maximum = 1;
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(choose(world), i);
        assert_true(gateway_server_begin(&world->set, (uint32_t)i, SECOND, &call));
    }
    assert_int_equal(choose(world), -2);
    gateway_server_end(&world->set, 3, &call, GATEWAY_SERVED, SECOND);
    assert_int_equal(choose(world), 3);
}

static void passes_over_who_fails(void **state)
{
    struct world *world = *state;
    struct gateway_breaker_call call;

    assert_true(gateway_server_begin(&world->set, 0, SECOND, &call));
    gateway_server_end(&world->set, 0, &call, GATEWAY_FAILED, SECOND);
    assert_int_equal(choose(world), 1);
    /* What has shown that it is well stays under way until it is left. */
    assert_true(gateway_server_begin(&world->set, 1, SECOND, &call));
    gateway_server_report(&world->set, 1, &call, GATEWAY_SERVED, SECOND);
    assert_int_equal(atomic_load(&world->in_flight[1]), 1);
    gateway_server_leave(&world->servers[1], &world->set, 1);
    assert_int_equal(atomic_load(&world->in_flight[1]), 0);
}

/* Without the worker's view, and with one that has fewer servers, the set's own are looked at. */
static void looks_at_an_old_set_by_itself(void **state)
{
    struct world *world = *state;

    world->bits[0] = world->bits[1] = 0;
    world->usable.changes = atomic_load(&world->upstream->changes);
    world->usable.until_us = UINT64_MAX;
    assert_int_equal(choose(world), -1); /* so the worker last saw it */
    world->choice.usable = NULL;
    assert_int_equal(choose(world), 0);
    assert_int_equal(world->bits[0], 0); /* and its memory was left alone */
}

/* A request that began with an older set counts there; its end is seen in the newer one. */
static void sees_ends_of_older_requests(void **state)
{
    struct world *world = *state;

    world->set.has_maximum = 1;
    for (uint32_t i = 0; i < COUNT; i++)
        world->places[i].requests_maximum = 1;
    atomic_store(&world->servers[0].in_flight, 1);
    assert_int_equal(choose(world), 1);
    gateway_server_leave(&world->servers[0], NULL, 0);
    assert_int_equal(choose(world), 0);
}

static void tells_the_balancer(void **state)
{
    struct world *world = *state;

    gateway_choice_learn(&world->set, 0, 5, GATEWAY_SERVED, SECOND, SECOND + 7);
    assert_int_equal(world->regular.learned, 5);
    assert_int_equal(world->regular.latency_us, 7);
    assert_false(world->regular.failed);
    gateway_choice_learn(&world->set, 0, BACKUP_AT + 2, GATEWAY_FAILED, SECOND, SECOND + 9);
    assert_int_equal(world->backup.learned, 2);
    assert_true(world->backup.failed);
    gateway_choice_learn(&world->set, 0, 9, GATEWAY_ABANDONED, SECOND, SECOND);
    assert_int_equal(world->regular.learned, 5);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_world, end_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(passes_over_what_was_tried),
        TEST(takes_backups_last),
        TEST(sees_who_has_room),
        TEST(passes_over_who_fails),
        TEST(looks_at_an_old_set_by_itself),
        TEST(sees_ends_of_older_requests),
        TEST(tells_the_balancer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
