/* What the conformance suite cannot see of the table: shares to the entry, and tables that are nearly too small. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "table.h"

#include <holdfast/lib/value.h>

#include <stdio.h>
#include <string.h>

static char names[HF_BALANCER_SERVERS_MAX][24];
static hf_balancer_server servers[HF_BALANCER_SERVERS_MAX];
static struct maglev_contender contenders[HF_BALANCER_SERVERS_MAX];
static uint16_t table[MAGLEV_SIZE_MOST], other[MAGLEV_SIZE_MOST];
static uint32_t shares[HF_BALANCER_SERVERS_MAX];

static void fill(uint16_t *into, uint32_t size, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        snprintf(names[i], sizeof names[i], "10.0.%u.%u:80", i / 256, i % 256);
        servers[i].name = hf_slice_of(names[i]);
    }
    maglev_fill(into, size, servers, count, contenders);
    memset(shares, 0, sizeof shares);
    for (uint32_t i = 0; i < size; i++) {
        assert_in_range(into[i], 0, count - 1);
        shares[into[i]]++;
    }
}

static void it_knows_primes(void **state)
{
    static const int64_t primes[] = {2, 3, 251, 257, 65521, 65537, MAGLEV_SIZE_LEAST, MAGLEV_SIZE_MOST};
    static const int64_t others[] = {-7, 0, 1, 4, 253, 65535, 65536, INT64_C(65521) * 3, 251 * 251};

    (void)state;
    for (uint32_t i = 0; i < sizeof primes / sizeof *primes; i++)
        assert_true(maglev_is_prime(primes[i]));
    for (uint32_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(maglev_is_prime(others[i]));
}

static void shares_are_exact(void **state)
{
    static const uint32_t sizes[] = {251, 4099, 65537}, counts[] = {1, 2, 3, 10, 100, 250, 251};

    (void)state;
    for (uint32_t s = 0; s < 3; s++)
        for (uint32_t c = 0; c < 7; c++) {
            double all = 0;

            for (uint32_t i = 0; i < counts[c]; i++)
                all += servers[i].weight = i % 5 + 1;
            fill(table, sizes[s], counts[c]);
            for (uint32_t i = 0; i < counts[c]; i++) {
                double off = shares[i] - 1 - (sizes[s] - counts[c]) * (servers[i].weight / all);

                assert_true(off > -1 && off < 1);
            }
        }
}

static void the_most_servers_with_weights_far_apart_have_an_entry_each(void **state)
{
    static const uint32_t sizes[] = {4099, 65537, MAGLEV_SIZE_MOST};

    (void)state;
    for (uint32_t s = 0; s < 3; s++) {
        for (uint32_t i = 0; i < HF_BALANCER_SERVERS_MAX; i++)
            servers[i].weight = i % 2 ? HF_BALANCER_WEIGHT_MAX : 1;
        fill(table, sizes[s], HF_BALANCER_SERVERS_MAX);
        for (uint32_t i = 0; i < HF_BALANCER_SERVERS_MAX; i++)
            assert_in_range(shares[i], 1, sizes[s] / (HF_BALANCER_SERVERS_MAX / 2) + 2);
    }
}

/* With half the weight a server loses half its entries; of the others nearly all stay. */
static void a_change_of_weight_moves_little_else(void **state)
{
    uint32_t lost = 0, moved = 0;

    (void)state;
    for (uint32_t i = 0; i < 10; i++)
        servers[i].weight = 100;
    fill(table, 65537, 10);
    servers[4].weight = 50;
    fill(other, 65537, 10);
    for (uint32_t i = 0; i < 65537; i++) {
        lost += table[i] == 4 && other[i] != 4;
        moved += table[i] != 4 && table[i] != other[i];
    }
    print_message("half the weight of one of ten: %u of 65537 entries given up, %u others moved\n", lost, moved);
    assert_in_range(lost, 65537 / 22, 65537 / 10);
    assert_in_range(moved, 0, 65537 / 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_knows_primes),
        cmocka_unit_test(shares_are_exact),
        cmocka_unit_test(the_most_servers_with_weights_far_apart_have_an_entry_each),
        cmocka_unit_test(a_change_of_weight_moves_little_else),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
