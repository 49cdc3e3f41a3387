/* Shows that gathered operations come to the engine in the order of their keys and mean the same as before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gather.h"

#include <holdfast/lib/hash.h>
#include <holdfast/lib/value.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEYS = 40, SPACES = 2, OPERATIONS = 300, ROUNDS = 50 };

static void add(struct store_gather *gather, int32_t type, const char *key, const char *value)
{
    assert_int_equal(store_gather_add(gather, type, hf_slice_of(key), hf_slice_of(value), (hf_slice){NULL, 0}, NULL),
                     0);
}

static int comes_before(const hf_engine_operation *a, const hf_engine_operation *b)
{
    char x[64], y[64];

    snprintf(x, sizeof x, "%08llu%.*s", (unsigned long long)a->space, (int)a->key.size, (const char *)a->key.data);
    snprintf(y, sizeof y, "%08llu%.*s", (unsigned long long)b->space, (int)b->key.size, (const char *)b->key.data);
    return strcmp(x, y) < 0;
}

/* Random operations on few keys of two spaces: what is left of each key is the last one. */
static void each_key_keeps_its_last_operation(void **state)
{
    hf_random random;

    (void)state;
    hf_random_init(&random, 7);
    for (int round = 0; round < ROUNDS; round++) {
        int last[SPACES][KEYS], left = 0;
        struct store_gather gather;

        memset(last, -1, sizeof last);
        store_gather_init(&gather, 0);
        for (int i = 0; i < OPERATIONS; i++) {
            uint64_t key = hf_random_next(&random) % KEYS;
            char name[24], value[24];

            gather.space = hf_random_next(&random) % SPACES;
            left += last[gather.space][key] < 0;
            last[gather.space][key] = i;
            snprintf(name, sizeof name, "k%llu", (unsigned long long)key); /* some are the beginning of others */
            snprintf(value, sizeof value, "%d", i);
            add(&gather, i % 3 ? HF_ENGINE_PUT : HF_ENGINE_DELETE, name, value);
        }
        store_gather_order(&gather);
        assert_int_equal(gather.count, left);
        for (uint64_t i = 0; i < gather.count; i++) {
            const hf_engine_operation *operation = &gather.operations[i];
            char name[24], value[24];

            snprintf(name, sizeof name, "%.*s", (int)operation->key.size, (const char *)operation->key.data);
            int number = last[operation->space][strtoul(name + 1, NULL, 10)];

            snprintf(value, sizeof value, "%d", number);
            assert_true(hf_slice_is(operation->value, value));
            assert_int_equal(operation->type, number % 3 ? HF_ENGINE_PUT : HF_ENGINE_DELETE);
            assert_true(i == 0 || comes_before(&gather.operations[i - 1], operation));
        }
        store_gather_done(&gather);
    }
}

static void operations_around_a_range_stay_as_they_came(void **state)
{
    static const char *const keys[] = {"c", "a", "b", "c"};
    struct store_gather gather;

    (void)state;
    store_gather_init(&gather, 3);
    add(&gather, HF_ENGINE_PUT, "c", "1");
    add(&gather, HF_ENGINE_DELETE_RANGE, "a", "z");
    add(&gather, HF_ENGINE_PUT, "b", "2");
    add(&gather, HF_ENGINE_PUT, "c", "3");
    store_gather_order(&gather);
    assert_int_equal(gather.count, 4);
    for (uint64_t i = 0; i < gather.count; i++)
        assert_true(hf_slice_is(gather.operations[i].key, keys[i]));
    store_gather_done(&gather);
}

static void nothing_and_one_operation_are_in_order(void **state)
{
    struct store_gather gather;

    (void)state;
    store_gather_init(&gather, 3);
    store_gather_order(&gather);
    assert_int_equal(gather.count, 0);
    add(&gather, HF_ENGINE_PUT, "a", "1");
    store_gather_order(&gather);
    assert_int_equal(gather.count, 1);
    store_gather_done(&gather);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_key_keeps_its_last_operation),
        cmocka_unit_test(operations_around_a_range_stay_as_they_came),
        cmocka_unit_test(nothing_and_one_operation_are_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
