/* Trees of hashes tell where rows differ. */
#include "hash_tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 20000 };

static void add(struct store_hash_tree *tree, int number, const char *value)
{
    char key[16];

    snprintf(key, sizeof key, "r%08d", number);
    store_hash_tree_add(tree, (hf_slice){(const uint8_t *)key, 9}, (hf_slice){(const uint8_t *)value, strlen(value)});
}

static struct store_hash_tree *make(int but, const char *value)
{
    struct store_hash_tree *tree = calloc(1, sizeof *tree);

    assert_non_null(tree);
    for (int i = 0; i < ROWS; i++)
        if (i != but || value)
            add(tree, i, i == but ? value : "value");
    return tree;
}

static uint64_t root(const struct store_hash_tree *tree)
{
    return store_hash_tree_node(tree, 0, 0);
}

/* As two replicas do it: from the root down, only where the hashes differ. */
static uint32_t count_differences(const struct store_hash_tree *a, const struct store_hash_tree *b, uint32_t level,
                                  uint32_t place, uint32_t *asked)
{
    uint64_t of_a[STORE_HASH_TREE_FANOUT], of_b[STORE_HASH_TREE_FANOUT];
    uint32_t count = 0;

    if (!store_hash_tree_has_children(level, place))
        return 1;
    store_hash_tree_children(a, level, place, of_a);
    store_hash_tree_children(b, level, place, of_b);
    (*asked)++;
    for (uint32_t i = 0; i < STORE_HASH_TREE_FANOUT; i++)
        if (of_a[i] != of_b[i])
            count += count_differences(a, b, level + 1, place * STORE_HASH_TREE_FANOUT + i, asked);
    return count;
}

static void same_rows_give_the_same_tree(void **state)
{
    struct store_hash_tree *a = make(-1, NULL), *b = make(-1, NULL), *empty = calloc(1, sizeof *empty);

    (void)state;
    assert_memory_equal(a, b, sizeof *a);
    assert_true(root(a) == root(b));
    assert_true(root(a) != root(empty));
    free(a);
    free(b);
    free(empty);
}

static void one_difference_is_found_in_one_leaf(void **state)
{
    static const char *const values[] = {NULL, "Value", "", "value2"};
    struct store_hash_tree *good = make(-1, NULL);

    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        for (int row = 0; row < ROWS; row += 3331) {
            struct store_hash_tree *bad = make(row, values[i]);
            uint32_t asked = 0;

            assert_true(root(good) != root(bad));
            assert_int_equal(count_differences(good, bad, 0, 0, &asked), 1);
            assert_int_equal(asked, 2);
            free(bad);
        }
    free(good);
}

static void bytes_do_not_move_between_key_and_value(void **state)
{
    struct store_hash_tree a = {{0}}, b = {{0}};

    (void)state;
    store_hash_tree_add(&a, (hf_slice){(const uint8_t *)"ab", 2}, (hf_slice){(const uint8_t *)"c", 1});
    store_hash_tree_add(&b, (hf_slice){(const uint8_t *)"a", 1}, (hf_slice){(const uint8_t *)"bc", 2});
    assert_true(root(&a) != root(&b));
}

static void the_order_of_rows_counts(void **state)
{
    struct store_hash_tree a = {{0}}, b = {{0}};

    (void)state;
    for (int i = 0; i < ROWS; i++)
        add(&a, i, "value");
    for (int i = ROWS - 1; i >= 0; i--)
        add(&b, i, "value");
    assert_true(root(&a) != root(&b)); /* rows come in the order of their keys; anything else is a difference */
}

static void rows_spread_over_the_leaves(void **state)
{
    struct store_hash_tree *tree = make(-1, NULL);
    int empty = 0;

    (void)state;
    for (int i = 0; i < STORE_HASH_TREE_LEAVES; i++)
        empty += tree->leaves[i] == 0;
    assert_true(empty < 3); /* 20 rows to a leaf */
    free(tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_rows_give_the_same_tree),
        cmocka_unit_test(one_difference_is_found_in_one_leaf),
        cmocka_unit_test(bytes_do_not_move_between_key_and_value),
        cmocka_unit_test(the_order_of_rows_counts),
        cmocka_unit_test(rows_spread_over_the_leaves),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
