/* Shows what a pool does with servers that are slow, hang, fail, are new, or were away. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <holdfast/lib/hash.h>

#include "pool.h"

enum { SERVERS = 10, CLIENTS = 30, EACH = CLIENTS / SERVERS };
enum { FAST_US = 2000, SLOW_US = 50000, SECOND_US = 1000000, DECAY_US = SECOND_US, FAILURE_US = SECOND_US };
enum { NEVER = -1, IN_TURN = 0, TURNED_ROUND = 1 };

static const struct pool_options options = {.choices = 2, .decay_us = DECAY_US, .failure_latency_us = FAILURE_US};

/* Clients that send the next request when the one before is answered.  One server, the subject, is not as the others
 * are. */
struct client {
    uint32_t server;
    uint64_t begun_us, ends_us;
};

static struct world {
    hf_balancer_pool *pool;
    hf_random random;
    uint32_t count, subject;
    uint64_t now_us, usable;
    int64_t subject_us;     /* its latency, or NEVER */
    uint32_t subject_fails; /* of 10,000 */
    uint32_t in_flight[SERVERS], counts[SERVERS];
    uint32_t most; /* that the subject ever had under way */
    struct client clients[CLIENTS];
} world;

/* ---- Servers and clients ----------------------------------------------------------------------------------------- */

static void begin(struct client *client)
{
    const hf_balancer_request request = {
        .size = sizeof request, .now_us = world.now_us, .usable = &world.usable, .in_flight = world.in_flight};
    uint64_t latency_us = FAST_US / 2 + hf_random_below(&world.random, FAST_US); /* keeps clients out of step */

    assert_int_equal(pool_pick(world.pool, &request, &client->server), HF_OK);
    client->begun_us = world.now_us;
    client->ends_us = world.now_us + latency_us;
    world.in_flight[client->server]++;
    world.counts[client->server]++;
    if (client->server != world.subject)
        return;
    client->ends_us =
        world.subject_us == NEVER ? UINT64_MAX : world.now_us + latency_us * (uint64_t)world.subject_us / FAST_US;
    if (world.in_flight[world.subject] > world.most)
        world.most = world.in_flight[world.subject];
}

static void end(const struct client *client)
{
    const hf_balancer_result result = {
        .size = sizeof result,
        .failed = client->server == world.subject && hf_random_below(&world.random, 10000) < world.subject_fails,
        .latency_us = world.now_us - client->begun_us,
        .now_us = world.now_us,
    };

    world.in_flight[client->server]--;
    pool_ended(world.pool, client->server, &result);
}

/* The first servers of a list, whose last one is the subject; it follows the pool before, and all clients begin anew.
 */
static void open_pool(uint32_t count, int32_t order)
{
    static const char names[] = "0123456789";
    hf_balancer_pool *before = world.pool;
    hf_balancer_server servers[SERVERS];
    const hf_balancer_setup setup = {.size = sizeof setup, .server_count = count, .servers = servers, .random_seed = 3};

    for (uint32_t i = 0; i < count; i++)
        servers[order == TURNED_ROUND ? count - 1 - i : i] =
            (hf_balancer_server){.name = {(const uint8_t *)names + i, 1}, .weight = 1};
    assert_int_equal(pool_open(&options, &setup, &world.pool, NULL), HF_OK);
    if (before) {
        pool_follow(world.pool, before);
        pool_close(before);
    }
    world.count = count;
    world.subject = order == TURNED_ROUND ? 0 : SERVERS - 1;
    world.usable = (UINT64_C(1) << count) - 1;
    for (uint32_t i = 0; i < SERVERS; i++)
        world.in_flight[i] = 0;
    for (uint32_t i = 0; i < CLIENTS; i++)
        begin(&world.clients[i]);
}

/* The subject's requests, beside what the others got on average. */
static double run(uint64_t duration_us)
{
    uint64_t until_us = world.now_us + duration_us;
    uint32_t others = 0;

    world.most = 0;
    for (uint32_t i = 0; i < SERVERS; i++)
        world.counts[i] = 0;
    for (;;) {
        struct client *next = &world.clients[0];

        for (uint32_t i = 1; i < CLIENTS; i++)
            if (world.clients[i].ends_us < next->ends_us)
                next = &world.clients[i];
        if (next->ends_us > until_us)
            break;
        world.now_us = next->ends_us;
        end(next);
        begin(next);
    }
    world.now_us = until_us;
    for (uint32_t i = 0; i < world.count; i++)
        others += i == world.subject ? 0 : world.counts[i];
    return world.counts[world.subject] * (SERVERS - 1.0) / others;
}

static int start(void **state)
{
    (void)state;
    world = (struct world){.now_us = SECOND_US, .subject_us = FAST_US};
    hf_random_init(&world.random, 11);
    open_pool(SERVERS, IN_TURN);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    pool_close(world.pool);
    return 0;
}

static void expect(double share, double low, double high)
{
    if (share < low || share > high)
        fail_msg("the server got %.3f of what the others got, expected %.2f to %.2f", share, low, high);
}

/* ---- What is shown ----------------------------------------------------------------------------------------------- */

static void a_slow_server_gets_less_and_recovers(void **state)
{
    (void)state;
    expect(run(SECOND_US), 0.9, 1.1);
    world.subject_us = SLOW_US;
    run(2 * SLOW_US);
    expect(run(SECOND_US), 0, 0.05);
    world.subject_us = FAST_US;
    expect(run(DECAY_US), 0, 0.3);
    run(3 * DECAY_US); /* 75 ms have become 4 ms, and good answers do the rest */
    expect(run(DECAY_US), 0.8, 1.2);
}

/* No news of it ever comes: what it has under way has to speak against it. */
static void one_that_hangs_holds_few(void **state)
{
    (void)state;
    run(SECOND_US);
    world.subject_us = NEVER;
    run(100 * DECAY_US);
    assert_in_range(world.most, EACH, CLIENTS / 2); /* twice what the busiest of the others ever had, and not all */
}

static void a_new_server_is_neither_flooded_nor_starved(void **state)
{
    (void)state;
    open_pool(SERVERS - 1, IN_TURN); /* without the subject */
    run(SECOND_US);
    open_pool(SERVERS, IN_TURN);
    expect(run(5 * FAST_US), 0.3, 1.8);
    expect(run(DECAY_US), 0.8, 1.2);

    open_pool(SERVERS - 1, IN_TURN);
    run(SECOND_US);
    world.subject_us = SLOW_US; /* the caches are cold: the first answers are slow */
    open_pool(SERVERS, IN_TURN);
    run(DECAY_US);
    assert_in_range(world.most, 1, 3 * EACH);
}

static void one_that_was_away_is_not_flooded(void **state)
{
    (void)state;
    run(SECOND_US);
    world.usable &= ~(UINT64_C(1) << world.subject);
    expect(run(50 * DECAY_US), 0, 0.001); /* what was under way there has ended */
    world.usable |= UINT64_C(1) << world.subject;
    world.subject_us = SLOW_US;
    run(DECAY_US);
    assert_in_range(world.most, 1, 5 * EACH);
}

static void failures_keep_requests_away(void **state)
{
    (void)state;
    run(SECOND_US);
    world.subject_fails = 1; /* in 10,000 */
    run(5 * DECAY_US);
    expect(run(5 * DECAY_US), 0.8, 1.1);
    world.subject_fails = 10000;
    world.subject_us = 20; /* refused at once */
    run(DECAY_US / 10);
    expect(run(5 * DECAY_US), 0, 0.05);
    world.subject_fails = 0;
    world.subject_us = FAST_US;
    run(7 * DECAY_US);
    expect(run(DECAY_US), 0.8, 1.2);
}

static void a_following_pool_knows_servers_by_name(void **state)
{
    (void)state;
    world.subject_us = SLOW_US;
    run(SECOND_US);
    open_pool(SERVERS, TURNED_ROUND);
    expect(run(5 * FAST_US), 0, 0.1);
    assert_int_equal(world.subject, 0);
}

/* With nothing under way and the same latency everywhere, those of a higher weight are only drawn more often. */
static void idle_servers_get_their_shares(void **state)
{
    enum { REQUESTS = 100000 };
    hf_balancer_request request = {.size = sizeof request, .usable = &world.usable, .in_flight = world.in_flight};
    uint32_t counts[SERVERS] = {0}, all = 0;

    (void)state;
    for (uint32_t i = 0; i < SERVERS; i++) {
        world.in_flight[i] = 0;
        pool_weigh(world.pool, i, 1 + i * i);
        all += 1 + i * i;
    }
    for (uint32_t i = 0; i < REQUESTS; i++) {
        hf_balancer_result result = {.size = sizeof result, .latency_us = FAST_US, .now_us = SECOND_US};
        uint32_t server;

        request.now_us = SECOND_US;
        assert_int_equal(pool_pick(world.pool, &request, &server), HF_OK);
        pool_ended(world.pool, server, &result);
        counts[server]++;
    }
    for (uint32_t i = 0; i < SERVERS; i++)
        expect(counts[i] / ((double)REQUESTS * (1 + i * i) / all), 0.8, 1.2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_slow_server_gets_less_and_recovers),
        TEST(one_that_hangs_holds_few),
        TEST(a_new_server_is_neither_flooded_nor_starved),
        TEST(one_that_was_away_is_not_flooded),
        TEST(failures_keep_requests_away),
        TEST(a_following_pool_knows_servers_by_name),
        TEST(idle_servers_get_their_shares),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
