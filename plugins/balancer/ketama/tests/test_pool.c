/* What the conformance suite cannot see of the pool: the bound to the request, with weights and servers away; and what
 * is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <holdfast/kind/balancer.h>
#include <holdfast/lib/value.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SERVERS = 8, KEY = 12345 };

struct options { /* as in plugin.c */
    int64_t points;
    double load_factor;
};

static hf_balancer_server servers[HF_BALANCER_SERVERS_MAX];
static uint32_t in_flight[SERVERS];
static hf_error error;
static void *instance;
static hf_balancer_pool *pool;

static void *host_alloc(const hf_host *host, uint64_t size)
{
    (void)host;
    return calloc(1, size);
}

static void host_free(const hf_host *host, void *memory)
{
    (void)host;
    free(memory);
}

static const hf_host host = {.head = HF_HEAD(hf_host), .alloc = host_alloc, .free = host_free};

static const hf_balancer *table(void)
{
    return hf_plugin_v1()->provides[0]->interface.balancer;
}

static int32_t open_pool(const struct options *options, uint32_t count)
{
    const hf_balancer_setup setup = {.size = sizeof setup, .server_count = count, .servers = servers, .random_seed = 1};

    memset(&error, 0, sizeof error);
    memset(in_flight, 0, sizeof in_flight);
    int32_t result = table()->create(&host, options, &instance, &error);

    return result == HF_OK ? table()->pool_open(instance, &setup, &pool, &error) : result;
}

static void close_pool(void)
{
    table()->pool_close(pool);
    table()->destroy(instance);
    pool = NULL;
    instance = NULL;
}

static int32_t pick(uint64_t key, uint64_t usable, uint32_t *ret_server)
{
    const hf_balancer_request request = {
        .size = sizeof request, .has_key = 1, .key = key, .now_us = 1, .usable = &usable, .in_flight = in_flight};

    return table()->pick(pool, &request, ret_server);
}

/* load_factor * requests * weight / weights, rounded up; thousandths of the factor. */
static uint64_t bound(uint64_t factor, uint64_t requests, uint64_t weight, uint64_t weights)
{
    return (factor * requests * weight + 1000 * weights - 1) / (1000 * weights);
}

static void nobody_has_more_than_the_bound(void **state)
{
    static const uint64_t factors[] = {1050, 1250, 2000};

    (void)state;
    for (uint32_t f = 0; f < 3; f++) {
        const struct options options = {.points = 160, .load_factor = (double)factors[f] / 1000};
        uint64_t usable = 0xb7, weights = 0;
        uint32_t server = UINT32_MAX;

        assert_int_equal(open_pool(&options, SERVERS), HF_OK);
        for (uint32_t i = 0; i < SERVERS; i++)
            weights += usable >> i & 1 ? servers[i].weight : 0;
        in_flight[3] = 1000; /* is away, and counts for nothing */
        for (uint64_t requests = 1; requests <= 2000; requests++) {
            assert_int_equal(pick(KEY, usable, &server), HF_OK);
            assert_true(server < SERVERS && (usable >> server & 1));
            assert_in_range(++in_flight[server], 1, bound(factors[f], requests, servers[server].weight, weights));
        }
        close_pool();
    }
}

static void without_a_bound_a_key_has_one_server(void **state)
{
    const struct options options = {.points = 160, .load_factor = 0};
    uint32_t server = 0, first = 0;

    (void)state;
    assert_int_equal(open_pool(&options, SERVERS), HF_OK);
    assert_int_equal(pick(KEY, 0xff, &first), HF_OK);
    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(pick(KEY, 0xff, &server), HF_OK);
        assert_int_equal(server, first);
        in_flight[server]++;
    }
    close_pool();
}

/* Numbers come from other loops; a pick never fails for them. */
static void all_at_their_bounds_are_usable_still(void **state)
{
    const struct options options = {.points = 160, .load_factor = 1.05};
    uint32_t server = UINT32_MAX;

    (void)state;
    assert_int_equal(open_pool(&options, SERVERS), HF_OK);
    memset(in_flight, 0xff, sizeof in_flight);
    for (uint64_t key = 0; key < 100; key++) {
        assert_int_equal(pick(key << 57, 0x81, &server), HF_OK);
        assert_true(server == 0 || server == 7);
    }
    assert_int_equal(pick(KEY, UINT64_C(0xff) << SERVERS, &server), HF_ENOTFOUND);
    close_pool();
}

static void what_is_too_much_is_refused_with_a_sentence(void **state)
{
    const struct options near_one = {.points = 160, .load_factor = 1.01}, many = {.points = 257, .load_factor = 0};

    (void)state;
    assert_int_equal(open_pool(&near_one, SERVERS), HF_EINVAL);
    assert_non_null(strstr(error.message, "1.05"));
    assert_int_equal(open_pool(&many, HF_BALANCER_SERVERS_MAX), HF_EINVAL);
    assert_non_null(strstr(error.message, "lower the option points to 256"));
    table()->destroy(instance);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_has_more_than_the_bound),
        cmocka_unit_test(without_a_bound_a_key_has_one_server),
        cmocka_unit_test(all_at_their_bounds_are_usable_still),
        cmocka_unit_test(what_is_too_much_is_refused_with_a_sentence),
    };
    static char names[HF_BALANCER_SERVERS_MAX][24];

    for (uint32_t i = 0; i < HF_BALANCER_SERVERS_MAX; i++) {
        snprintf(names[i], sizeof names[i], "10.0.%u.%u:80", i / 256, i % 256);
        servers[i] = (hf_balancer_server){.name = hf_slice_of(names[i]), .weight = 1 + i % 5};
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
