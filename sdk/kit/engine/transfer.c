/* Export and import: consistent, atomic, and any damage is found. */
#include "kit.h"

typedef struct {
    uint8_t *bytes;
    uint64_t size;
} exported;

static hf_engine_database *opened(void **state)
{
    return ((kit_database *)*state)->database;
}

static exported read_all(hf_engine_export *source)
{
    enum { PIECE = 65536 };
    exported e = {NULL, 0};

    for (uint64_t n = 1; n > 0; e.size += n) {
        e.bytes = realloc(e.bytes, e.size + PIECE);
        assert_non_null(e.bytes);
        assert_int_equal(kit.table->export_read(source, e.bytes + e.size, PIECE, &n, NULL), 0);
    }
    kit.table->export_close(source);
    return e;
}

static exported export_space(hf_engine_database *d, uint64_t space)
{
    hf_engine_export *source;

    assert_int_equal(kit.table->export_open(d, space, &source, NULL), 0);
    return read_all(source);
}

/* Feeds the bytes in pieces; returns the first error, or the commit's result. */
static int32_t import_bytes(hf_engine_database *d, uint64_t space, hf_slice bytes, uint64_t piece)
{
    hf_engine_import *target;
    int32_t r = 0;

    assert_int_equal(kit.table->import_open(d, space, &target, NULL), 0);
    for (uint64_t at = 0; r == 0 && at < bytes.size; at += piece) {
        uint64_t n = bytes.size - at < piece ? bytes.size - at : piece;

        r = kit.table->import_write(target, (hf_slice){bytes.data + at, n}, NULL);
    }
    if (r == 0)
        r = kit.table->import_commit(target, NULL);
    kit.table->import_close(target);
    return r;
}

static void put_numbers(hf_engine_database *d, uint64_t space, int from, int to, hf_slice value)
{
    char key[16];

    for (int i = from; i < to; i++) {
        snprintf(key, sizeof key, "%08d", i);
        kit_write(d, HF_ENGINE_PUT, space, (hf_slice){(const uint8_t *)key, 8}, value);
    }
}

static void test_export_is_a_snapshot(void **state)
{
    hf_engine_database *d = opened(state);
    hf_engine_export *source;

    put_numbers(d, 1, 0, 5000, TEXT("old value, long enough for several frames of an export"));
    assert_int_equal(kit.table->export_open(d, 1, &source, NULL), 0);
    put_numbers(d, 1, 2500, 7000, TEXT("new"));
    kit_write(d, HF_ENGINE_DELETE_RANGE, 1, TEXT("00000010"), TEXT("00000020"));
    assert_int_equal(kit.table->flush(d, NULL), 0);
    exported e = read_all(source);

    assert_int_equal(import_bytes(d, 2, (hf_slice){e.bytes, e.size}, 777), 0);
    assert_int_equal(kit_count(d, 2), 5000);
    kit_expect(d, 2, TEXT("00000015"), TEXT("old value, long enough for several frames of an export"));
    kit_expect(d, 2, TEXT("00004999"), TEXT("old value, long enough for several frames of an export"));
    free(e.bytes);
}

static void check_replaced(hf_engine_database *d, uint64_t space)
{
    assert_string_equal(kit_scan(d, space, NOTHING, NOTHING, 0), "00000000,00000001,00000002");
    kit_expect(d, space, TEXT("00000001"), TEXT("new"));
    kit_expect_none(d, space, TEXT("00000050"));
    assert_int_equal(kit_count(d, space - 1), 100);
}

/* The old records may be in files, in memory, or covered by deletions; each must vanish and stay away. */
static void replace_space(kit_database *k, uint64_t space, int flush_first)
{
    hf_engine_database *d = k->database;

    put_numbers(d, 10, 0, 3, TEXT("new"));
    exported e = export_space(d, 10);

    put_numbers(d, space, 0, 100, TEXT("old"));
    put_numbers(d, space - 1, 0, 100, TEXT("neighbour"));
    kit_write(d, HF_ENGINE_DELETE_RANGE, space, NOTHING, TEXT("00000002"));
    if (flush_first)
        assert_int_equal(kit.table->flush(d, NULL), 0);
    put_numbers(d, space, 90, 110, TEXT("old"));
    assert_int_equal(import_bytes(d, space, (hf_slice){e.bytes, e.size}, 1), 0);
    check_replaced(d, space);
    if (kit.table->head.capabilities & HF_ENGINE_DURABLE) {
        kit_close(k);
        kit_open(k);
        check_replaced(k->database, space);
    }
    kit_write(k->database, HF_ENGINE_PUT, space, TEXT("00000001"), TEXT("newer"));
    kit_expect(k->database, space, TEXT("00000001"), TEXT("newer"));
    assert_int_equal(import_bytes(k->database, space, (hf_slice){e.bytes, e.size}, e.size), 0);
    check_replaced(k->database, space);
    free(e.bytes);
}

static void test_import_replaces(void **state)
{
    replace_space(*state, 20, 0);
    replace_space(*state, 30, 1);
    replace_space(*state, UINT64_MAX, 1);
}

static void test_import_of_nothing(void **state)
{
    hf_engine_database *d = opened(state);
    exported e = export_space(d, 1);

    put_numbers(d, 2, 0, 10, TEXT("old"));
    assert_int_equal(import_bytes(d, 2, (hf_slice){e.bytes, e.size}, 3), 0);
    assert_int_equal(kit_count(d, 2), 0);
    kit_write(d, HF_ENGINE_PUT, 2, NOTHING, NOTHING); /* an empty key with an empty value survives as well */
    free(e.bytes);
    e = export_space(d, 2);
    assert_int_equal(import_bytes(d, 3, (hf_slice){e.bytes, e.size}, 3), 0);
    assert_int_equal(kit_count(d, 3), 1);
    free(e.bytes);
}

static void test_import_without_commit(void **state)
{
    hf_engine_database *d = opened(state);
    hf_engine_import *target;

    put_numbers(d, 1, 0, 10, TEXT("kept"));
    exported e = export_space(d, 2);

    assert_int_equal(kit.table->import_open(d, 1, &target, NULL), 0);
    assert_int_equal(kit.table->import_write(target, (hf_slice){e.bytes, e.size}, NULL), 0);
    assert_int_equal(kit_count(d, 1), 10);
    kit.table->import_close(target);
    assert_int_equal(kit_count(d, 1), 10);
    free(e.bytes);
}

static void test_damage_is_found(void **state)
{
    hf_engine_database *d = opened(state);

    put_numbers(d, 1, 0, 20, TEXT("value"));
    put_numbers(d, 2, 0, 3, TEXT("kept"));
    exported e = export_space(d, 1);

    for (uint64_t i = 0; i < e.size; i += 3) {
        assert_int_equal(import_bytes(d, 2, (hf_slice){e.bytes, i}, 4096), HF_ECORRUPT); /* cut off */
        e.bytes[i] ^= (uint8_t)(1 << i % 8);
        assert_int_equal(import_bytes(d, 2, (hf_slice){e.bytes, e.size}, 4096), HF_ECORRUPT);
        e.bytes[i] ^= (uint8_t)(1 << i % 8);
    }
    e.bytes = realloc(e.bytes, e.size + 1);
    e.bytes[e.size] = 0;
    assert_int_equal(import_bytes(d, 2, (hf_slice){e.bytes, e.size + 1}, 4096), HF_ECORRUPT);
    assert_string_equal(kit_scan(d, 2, NOTHING, NOTHING, 0), "00000000,00000001,00000002");
    assert_int_equal(import_bytes(d, 2, (hf_slice){e.bytes, e.size}, 4096), 0);
    free(e.bytes);
}

static void test_large_value(void **state)
{
    hf_engine_database *d = opened(state);
    uint64_t size = 3 << 20;
    uint8_t *bytes = malloc(size);

    for (uint64_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 13);
    kit_write(d, HF_ENGINE_PUT, 1, TEXT("large"), (hf_slice){bytes, size});
    exported e = export_space(d, 1);

    assert_int_equal(import_bytes(d, 2, (hf_slice){e.bytes, e.size}, 100000), 0);
    kit_expect(d, 2, TEXT("large"), (hf_slice){bytes, size});
    free(e.bytes);
    free(bytes);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, kit_setup, kit_teardown)

int kit_test_transfer(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_export_is_a_snapshot), TEST(test_import_replaces), TEST(test_import_of_nothing),
        TEST(test_import_without_commit), TEST(test_damage_is_found), TEST(test_large_value),
    };

    return cmocka_run_group_tests_name("transfer", tests, NULL, NULL);
}
