/* Exports: the bytes stay as they are, records of any size pass through pieces of any size, damage is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <holdfast/lib/export.h>

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

static const hf_host host = {HF_HEAD(hf_host), NULL, host_alloc, host_free, NULL};

typedef struct {
    hf_slice key, value;
} record;

typedef struct {
    const record *records;
    uint64_t count, at;
} records_in_order;

static int32_t next(void *arg, hf_slice *ret_key, hf_slice *ret_value, hf_error *error)
{
    records_in_order *source = arg;

    (void)error;
    if (source->at == source->count)
        return 0;
    *ret_key = source->records[source->at].key;
    *ret_value = source->records[source->at++].value;
    return 1;
}

static int32_t expect_next(void *arg, hf_slice key, hf_slice value, hf_error *error)
{
    records_in_order *expected = arg;

    (void)error;
    assert_true(expected->at < expected->count);
    const record *wanted = &expected->records[expected->at++];

    assert_int_equal(key.size, wanted->key.size);
    assert_int_equal(value.size, wanted->value.size);
    assert_int_equal(key.size ? memcmp(key.data, wanted->key.data, key.size) : 0, 0);
    assert_int_equal(value.size ? memcmp(value.data, wanted->value.data, value.size) : 0, 0);
    return 0;
}

static int32_t ignore(void *arg, hf_slice key, hf_slice value, hf_error *error)
{
    (void)arg, (void)key, (void)value, (void)error;
    return 0;
}

static hf_slice write_all(const record *records, uint64_t count, uint64_t piece)
{
    hf_export_writer *writer = malloc(sizeof *writer);
    records_in_order source = {records, count, 0};
    uint8_t *bytes = NULL;
    uint64_t size = 0, n = 1;

    hf_export_writer_init(writer, "HFET", next, &source);
    for (; n > 0; size += n) {
        bytes = realloc(bytes, size + piece);
        assert_int_equal(hf_export_writer_read(writer, bytes + size, piece, &n, NULL), 0);
    }
    free(writer);
    return (hf_slice){bytes, size};
}

static int32_t read_all(hf_slice bytes, uint64_t piece, hf_export_record take, void *arg)
{
    hf_export_reader *reader = malloc(sizeof *reader);
    int32_t r = 0;

    hf_export_reader_init(reader, &host, "HFET", take, arg);
    for (uint64_t at = 0; r == 0 && at < bytes.size; at += piece)
        r = hf_export_reader_feed(reader,
                                  (hf_slice){bytes.data + at, bytes.size - at < piece ? bytes.size - at : piece}, NULL);
    if (r == 0)
        r = hf_export_reader_finish(reader, NULL);
    hf_export_reader_done(reader);
    free(reader);
    return r;
}

#define TEXT(literal) ((hf_slice){(const uint8_t *)(literal), sizeof(literal) - 1})

/* Written by the first release: a newer one must read it, and write the same. */
static void test_bytes(void **state)
{
    static const char stored[] = "HFET\1\0\0\0"
                                 "\x0b\0\0\0\x72\xbd\x58\xfb\1\0\0\0\2\0\0\0kvv"
                                 "\x08\0\0\x80\x3a\x25\xde\xb4\1\0\0\0\0\0\0\0";
    const record records[] = {{TEXT("k"), TEXT("vv")}};
    records_in_order expected = {records, 1, 0};
    hf_slice bytes = write_all(records, 1, 65536);

    (void)state;
    assert_int_equal(bytes.size, sizeof stored - 1);
    assert_memory_equal(bytes.data, stored, bytes.size);
    assert_int_equal(read_all(TEXT(stored), 1, expect_next, &expected), 0);
    free((void *)(uintptr_t)bytes.data);
}

static void test_sizes_and_pieces(void **state)
{
    enum { LARGE = 200000 };
    uint8_t *filler = malloc(LARGE);

    (void)state;
    for (int i = 0; i < LARGE; i++)
        filler[i] = (uint8_t)(i * 7);
    const record records[] = {
        {{NULL, 0}, {NULL, 0}},
        {TEXT("a"), {filler, LARGE}},
        {TEXT("b"), {filler, HF_EXPORT_FRAME_MAX - 17}},
        {{filler, HF_EXPORT_KEY_MAX}, {NULL, 0}},
    };
    static const uint64_t pieces[] = {65536, 65537, 3 * (8 + HF_EXPORT_FRAME_MAX) + 1, 1 << 20};

    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++)
        for (uint64_t piece = 1; piece < 1000000; piece = piece * 31 + 1) {
            records_in_order expected = {records, 4, 0};
            hf_slice bytes = write_all(records, 4, pieces[i]);

            assert_int_equal(read_all(bytes, piece, expect_next, &expected), 0);
            assert_int_equal(expected.at, 4);
            free((void *)(uintptr_t)bytes.data);
        }
    free(filler);
}

static void test_damage(void **state)
{
    const record records[] = {{TEXT("k"), TEXT("vv")}, {TEXT("l"), TEXT("w")}};
    hf_slice whole = write_all(records, 2, 65536);
    uint8_t *bytes = (void *)(uintptr_t)whole.data;

    (void)state;
    for (uint64_t i = 0; i < whole.size; i++) {
        assert_int_equal(read_all((hf_slice){bytes, i}, 4096, ignore, NULL), HF_ECORRUPT);
        for (int bit = 0; bit < 8; bit++) {
            bytes[i] ^= (uint8_t)(1 << bit);
            assert_int_equal(read_all(whole, 4096, ignore, NULL), HF_ECORRUPT);
            bytes[i] ^= (uint8_t)(1 << bit);
        }
    }
    assert_int_equal(read_all(whole, 4096, ignore, NULL), 0);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bytes), cmocka_unit_test(test_sizes_and_pieces),
                                       cmocka_unit_test(test_damage)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
