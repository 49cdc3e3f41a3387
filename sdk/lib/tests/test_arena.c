/* Shows that an arena gives zeroed, aligned, distinct memory up to its limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <holdfast/lib/arena.h>

static void gives_zeroed_aligned_memory(void **state)
{
    hf_arena arena;

    (void)state;
    hf_arena_init(&arena, 10 << 20);
    for (int round = 0; round < 2; round++) {
        for (uint64_t size = 0; size < 6000; size += 37) {
            uint8_t *memory = hf_arena_alloc(&arena, size);

            assert_non_null(memory);
            assert_int_equal((uintptr_t)memory % 16, 0);
            for (uint64_t i = 0; i < size; i++)
                assert_int_equal(memory[i], 0);
            memset(memory, 0xff, size);
        }
        hf_arena_clear(&arena);
        assert_true(arena.allocated <= 4096);
    }
    hf_arena_done(&arena);
    assert_int_equal(arena.allocated, 0);
}

static void stops_at_the_limit(void **state)
{
    hf_arena arena;

    (void)state;
    hf_arena_init(&arena, 10000);
    assert_null(hf_arena_alloc(&arena, 10000));
    assert_null(hf_arena_alloc(&arena, UINT64_MAX));
    assert_non_null(hf_arena_alloc(&arena, 4000));
    assert_non_null(hf_arena_alloc(&arena, 4000));
    assert_null(hf_arena_alloc(&arena, 4000));
    assert_true(arena.allocated <= 10000);
    assert_non_null(hf_arena_alloc(&arena, 16));
    hf_arena_done(&arena);
}

static void copies_text_and_slices(void **state)
{
    hf_arena arena;
    hf_slice copy = {NULL, 77};

    (void)state;
    hf_arena_init(&arena, 4096);
    assert_string_equal(hf_arena_strdup(&arena, "hello"), "hello");
    assert_int_equal(hf_arena_copy(&arena, (hf_slice){(const uint8_t *)"abcdef", 3}, &copy), HF_OK);
    assert_int_equal(copy.size, 3);
    assert_string_equal((const char *)copy.data, "abc");
    assert_int_equal(hf_arena_copy(&arena, (hf_slice){NULL, 0}, &copy), HF_OK);
    assert_int_equal(copy.size, 0);
    assert_int_equal(copy.data[0], 0);
    assert_int_equal(hf_arena_copy(&arena, (hf_slice){copy.data, 5000}, &copy), HF_ENOMEM);
    assert_int_equal(hf_arena_copy(&arena, (hf_slice){copy.data, UINT64_MAX}, &copy), HF_ENOMEM);
    assert_int_equal(copy.size, 0);
    hf_arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_zeroed_aligned_memory),
        cmocka_unit_test(stops_at_the_limit),
        cmocka_unit_test(copies_text_and_slices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
