/* Shows that values keep what they were made of, and that look-ups fall back on a missing name or another type. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <holdfast/lib/value.h>

static void slices_compare_by_their_bytes(void **state)
{
    (void)state;
    assert_int_equal(hf_slice_of("abc").size, 3);
    assert_true(hf_slice_equal((hf_slice){NULL, 0}, hf_slice_of("")));
    assert_true(hf_slice_begins(hf_slice_of("north"), hf_slice_of("nor")));
    assert_false(hf_slice_begins(hf_slice_of("no"), hf_slice_of("nor")));
    assert_false(hf_slice_begins(hf_slice_of("south"), hf_slice_of("nor")));
    assert_true(hf_slice_begins((hf_slice){NULL, 0}, (hf_slice){NULL, 0}));
    assert_true(hf_slice_is(hf_slice_of("abc"), "abc"));
    assert_false(hf_slice_is(hf_slice_of("abc"), "abd"));
    assert_false(hf_slice_is(hf_slice_of("abc"), "ab"));
    assert_false(hf_slice_is(hf_slice_of("ab"), "abc"));
    assert_false(hf_slice_is((hf_slice){(const uint8_t *)"a\0b", 3}, "a"));
}

static void scalars_keep_what_they_were_made_of(void **state)
{
    (void)state;
    assert_int_equal(hf_value_null().type, HF_VALUE_NULL);
    assert_int_equal(hf_value_boolean(7).type, HF_VALUE_BOOLEAN);
    assert_int_equal(hf_value_boolean(7).boolean, 1);
    assert_int_equal(hf_value_boolean(0).boolean, 0);
    assert_int_equal(hf_value_integer(INT64_MIN).type, HF_VALUE_INTEGER);
    assert_true(hf_value_integer(INT64_MIN).as.integer == INT64_MIN);
    assert_int_equal(hf_value_float(0.5).type, HF_VALUE_FLOAT);
    assert_true(hf_value_float(0.5).as.number == 0.5);

    hf_value text = hf_value_text("abc");
    hf_value none = hf_value_null();

    assert_int_equal(text.type, HF_VALUE_STRING);
    assert_true(hf_slice_is(hf_value_slice(&text), "abc"));
    assert_int_equal(hf_value_slice(&none).size, 0);
    assert_int_equal(hf_value_slice(NULL).size, 0);
}

static void maps_and_lists_borrow_their_items(void **state)
{
    const hf_value items[] = {hf_value_integer(1), hf_value_text("two")};
    const hf_value_member members[] = {{hf_slice_of("list"), hf_value_list(items, 2)},
                                       {hf_slice_of(""), hf_value_integer(9)}};
    const hf_value map = hf_value_map(members, 2);

    (void)state;
    assert_int_equal(map.type, HF_VALUE_MAP);

    const hf_value *list = hf_value_get(&map, "list");

    assert_non_null(list);
    assert_int_equal(list->type, HF_VALUE_LIST);
    assert_int_equal(list->count, 2);
    assert_ptr_equal(list->as.items, items);
    assert_int_equal(hf_value_get_integer(&map, "", 0), 9);
    assert_null(hf_value_get(&map, "lis"));
    assert_null(hf_value_get(list, "list"));
    assert_null(hf_value_get(NULL, "list"));
}

static void look_ups_fall_back(void **state)
{
    const hf_value_member members[] = {{hf_slice_of("s"), hf_value_text("text")},
                                       {hf_slice_of("i"), hf_value_integer(-5)},
                                       {hf_slice_of("f"), hf_value_float(2.5)},
                                       {hf_slice_of("b"), hf_value_boolean(1)},
                                       {hf_slice_of("n"), hf_value_null()}};
    const hf_value map = hf_value_map(members, 5);
    const hf_slice other = hf_slice_of("other");

    (void)state;
    assert_true(hf_slice_is(hf_value_get_string(&map, "s", other), "text"));
    assert_true(hf_slice_is(hf_value_get_string(&map, "i", other), "other"));
    assert_true(hf_slice_is(hf_value_get_string(NULL, "s", other), "other"));
    assert_int_equal(hf_value_get_integer(&map, "i", 1), -5);
    assert_int_equal(hf_value_get_integer(&map, "f", 1), 1);
    assert_int_equal(hf_value_get_integer(&map, "missing", 1), 1);
    assert_true(hf_value_get_float(&map, "f", 1) == 2.5);
    assert_true(hf_value_get_float(&map, "i", 1) == -5.0);
    assert_true(hf_value_get_float(&map, "s", 1) == 1.0);
    assert_int_equal(hf_value_get_boolean(&map, "b", 0), 1);
    assert_int_equal(hf_value_get_boolean(&map, "i", 0), 0);
    assert_int_equal(hf_value_get_boolean(&map, "n", 1), 1);
}

static void types_have_names(void **state)
{
    (void)state;
    assert_string_equal(hf_value_type_name(HF_VALUE_NULL), "null");
    assert_string_equal(hf_value_type_name(HF_VALUE_INTEGER), "an integer");
    assert_string_equal(hf_value_type_name(HF_VALUE_MAP), "a map");
    assert_string_equal(hf_value_type_name(HF_VALUE_OBJECT), "an object");
    assert_string_equal(hf_value_type_name(HF_VALUE_OBJECT + 1), "an unknown type");
    assert_string_equal(hf_value_type_name(-1), "an unknown type");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_compare_by_their_bytes),
        cmocka_unit_test(scalars_keep_what_they_were_made_of),
        cmocka_unit_test(maps_and_lists_borrow_their_items),
        cmocka_unit_test(look_ups_fall_back),
        cmocka_unit_test(types_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
