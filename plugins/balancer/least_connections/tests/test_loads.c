/* Shows that the server with the least under way in proportion is picked, and whose turn it is among equals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <holdfast/kind/balancer.h>

enum { SERVERS = 3 };

static const hf_balancer *table;
static hf_balancer_pool *pool;

static void open_pool(const uint32_t weights[SERVERS], uint64_t seed)
{
    static const char names[SERVERS + 1] = "abc";
    hf_balancer_server servers[SERVERS];
    const hf_balancer_setup setup = {
        .size = sizeof setup, .server_count = SERVERS, .servers = servers, .random_seed = seed};

    for (uint32_t i = 0; i < SERVERS; i++)
        servers[i] = (hf_balancer_server){.name = {(const uint8_t *)names + i, 1}, .weight = weights[i]};
    table = hf_plugin_v1()->provides[0]->interface.balancer;
    assert_int_equal(table->pool_open(NULL, &setup, &pool, NULL), HF_OK);
}

static uint32_t pick(uint64_t usable, uint32_t a, uint32_t b, uint32_t c)
{
    const uint32_t in_flight[SERVERS] = {a, b, c};
    const hf_balancer_request request = {.size = sizeof request, .usable = &usable, .in_flight = in_flight};
    uint32_t server = UINT32_MAX;

    return table->pick(pool, &request, &server) == HF_OK ? server : UINT32_MAX;
}

static void picks_the_least_in_proportion(void **state)
{
    const uint32_t weights[SERVERS] = {1, 10, HF_BALANCER_WEIGHT_MAX};

    (void)state;
    open_pool(weights, 0);
    assert_int_equal(pick(7, 1, 9, HF_BALANCER_WEIGHT_MAX), 1);
    assert_int_equal(pick(7, 1, 11, HF_BALANCER_WEIGHT_MAX - 1), 2);
    assert_int_equal(pick(7, 0, 1, 1), 0);
    assert_int_equal(pick(6, 0, 1, 6553), 2); /* 0.1 and a little less */
    assert_int_equal(pick(6, 0, 1, 6554), 1); /* and a little more */
    assert_int_equal(pick(7, UINT32_MAX, UINT32_MAX, UINT32_MAX), 2);
    assert_int_equal(pick(3, UINT32_MAX, UINT32_MAX, 0), 1);
    table->pool_close(pool);
}

static void equals_take_turns(void **state)
{
    const uint32_t weights[SERVERS] = {5, 1, 1};
    static const uint32_t turns[] = {0, 0, 1, 0, 2, 0, 0};

    (void)state;
    open_pool(weights, 0);
    for (uint32_t i = 0; i < 70; i++)
        assert_int_equal(pick(7, 0, 0, 0), turns[i % 7]);
    for (uint32_t i = 0; i < 70; i++) /* as loaded, but the second one: its turn is not spent */
        assert_int_not_equal(pick(7, 5, 2, 1), 1);
    assert_int_equal(pick(2, 0, 0, 0), 1);
    table->pool_close(pool);
}

static void pools_begin_elsewhere(void **state)
{
    const uint32_t weights[SERVERS] = {1, 1, 1};

    (void)state;
    for (uint64_t seed = 0; seed < 6; seed++) {
        open_pool(weights, seed);
        assert_int_equal(pick(7, 0, 0, 0), seed % SERVERS);
        table->pool_close(pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(picks_the_least_in_proportion),
        cmocka_unit_test(equals_take_turns),
        cmocka_unit_test(pools_begin_elsewhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
