/* What the conformance suite cannot see of the pool: few usable servers among many, and what is refused. */
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

enum { WORDS = HF_BALANCER_SERVERS_MAX / 64 };

struct options { /* as in plugin.c */
    int64_t table_size;
};

static hf_balancer_server servers[HF_BALANCER_SERVERS_MAX];
static uint32_t in_flight[HF_BALANCER_SERVERS_MAX];
static uint64_t usable[WORDS];
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

static int32_t open_pool(int64_t table_size, uint32_t count)
{
    const struct options options = {table_size};
    const hf_balancer_setup setup = {.size = sizeof setup, .server_count = count, .servers = servers, .random_seed = 1};

    memset(&error, 0, sizeof error);
    int32_t result = table()->create(&host, &options, &instance, &error);

    return result == HF_OK ? table()->pool_open(instance, &setup, &pool, &error) : result;
}

static void close_pool(void)
{
    table()->pool_close(pool);
    table()->destroy(instance);
    pool = NULL;
    instance = NULL;
}

static int32_t pick(uint64_t key, uint32_t *ret_server)
{
    const hf_balancer_request request = {
        .size = sizeof request, .has_key = 1, .key = key, .now_us = 1, .usable = usable, .in_flight = in_flight};

    return table()->pick(pool, &request, ret_server);
}

/* Also where every server has one entry of the table only. */
static void the_only_usable_of_very_many_is_found(void **state)
{
    static const int64_t sizes[] = {4099, 65537};

    (void)state;
    for (uint32_t s = 0; s < 2; s++) {
        assert_int_equal(open_pool(sizes[s], HF_BALANCER_SERVERS_MAX), HF_OK);
        for (uint32_t i = 0; i < HF_BALANCER_SERVERS_MAX; i += 97) {
            uint32_t server = UINT32_MAX;

            memset(usable, 0, sizeof usable);
            usable[i / 64] = UINT64_C(1) << i % 64;
            assert_int_equal(pick(i * UINT64_C(0x9e3779b97f4a7c15), &server), HF_OK);
            assert_int_equal(server, i);
        }
        close_pool();
    }
}

static void bits_behind_the_last_server_mean_nothing(void **state)
{
    uint32_t server = UINT32_MAX;

    (void)state;
    assert_int_equal(open_pool(65537, 70), HF_OK);
    memset(usable, 0, sizeof usable);
    usable[1] = UINT64_MAX << 6;
    assert_int_equal(pick(1, &server), HF_ENOTFOUND);
    usable[1] |= 1 << 5;
    assert_int_equal(pick(1, &server), HF_OK);
    assert_int_equal(server, 69);
    close_pool();
}

static void what_does_not_fit_is_refused_with_a_sentence(void **state)
{
    (void)state;
    assert_int_equal(open_pool(65536, 10), HF_EINVAL);
    assert_non_null(strstr(error.message, "65521 and 65537"));
    assert_int_equal(open_pool(251, 251), HF_OK);
    close_pool();
    assert_int_equal(open_pool(251, 252), HF_EINVAL);
    assert_non_null(strstr(error.message, "252 servers do not fit into a table of 251 entries"));
    table()->destroy(instance);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_only_usable_of_very_many_is_found),
        cmocka_unit_test(bits_behind_the_last_server_mean_nothing),
        cmocka_unit_test(what_does_not_fit_is_refused_with_a_sentence),
    };
    static char names[HF_BALANCER_SERVERS_MAX][24];

    for (uint32_t i = 0; i < HF_BALANCER_SERVERS_MAX; i++) {
        snprintf(names[i], sizeof names[i], "10.0.%u.%u:80", i / 256, i % 256);
        servers[i] = (hf_balancer_server){.name = hf_slice_of(names[i]), .weight = 1 + i % 5};
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
