/* Export and import: consistent, atomic, and any damage is found. */
#include "engine.h"

typedef struct {
    uint8_t *bytes;
    uint64_t size;
} exported;

static exported read_all(hf_engine_export *source)
{
    enum { PIECE = 65536 };
    exported e = {NULL, 0};

    for (uint64_t n = 1; n > 0; e.size += n) {
        e.bytes = realloc(e.bytes, e.size + PIECE);
        HF_KIT_TRUE(e.bytes != NULL);
        HF_KIT_EQUAL(engine.table->export_read(source, e.bytes + e.size, PIECE, &n, NULL), 0);
    }
    engine.table->export_close(source);
    return e;
}

static exported export_space(hf_engine_database *d, uint64_t space)
{
    hf_engine_export *source;

    HF_KIT_EQUAL(engine.table->export_open(d, space, &source, NULL), 0);
    return read_all(source);
}

/* Feeds the bytes in pieces; returns the first error, or the commit's result. */
static int32_t import_bytes(hf_engine_database *d, uint64_t space, hf_slice bytes, uint64_t piece)
{
    hf_engine_import *target;
    int32_t r = 0;

    HF_KIT_EQUAL(engine.table->import_open(d, space, &target, NULL), 0);
    for (uint64_t at = 0; r == 0 && at < bytes.size; at += piece) {
        uint64_t n = bytes.size - at < piece ? bytes.size - at : piece;

        r = engine.table->import_write(target, (hf_slice){bytes.data + at, n}, NULL);
    }
    if (r == 0)
        r = engine.table->import_commit(target, NULL);
    engine.table->import_close(target);
    return r;
}

static void put_numbers(hf_engine_database *d, uint64_t space, int from, int to, hf_slice value)
{
    char key[16];

    for (int i = from; i < to; i++) {
        snprintf(key, sizeof key, "%08d", i);
        engine_write(d, HF_ENGINE_PUT, space, (hf_slice){(const uint8_t *)key, 8}, value);
    }
}

static void test_export_is_a_snapshot(engine_database *k)
{
    hf_engine_database *d = k->database;
    hf_engine_export *source;

    put_numbers(d, 1, 0, 5000, TEXT("old value, long enough for several frames of an export"));
    HF_KIT_EQUAL(engine.table->export_open(d, 1, &source, NULL), 0);
    put_numbers(d, 1, 2500, 7000, TEXT("new"));
    engine_write(d, HF_ENGINE_DELETE_RANGE, 1, TEXT("00000010"), TEXT("00000020"));
    HF_KIT_EQUAL(engine.table->flush(d, NULL), 0);
    exported e = read_all(source);

    HF_KIT_EQUAL(import_bytes(d, 2, (hf_slice){e.bytes, e.size}, 777), 0);
    HF_KIT_EQUAL(engine_count(d, 2), 5000);
    engine_expect(d, 2, TEXT("00000015"), TEXT("old value, long enough for several frames of an export"));
    engine_expect(d, 2, TEXT("00004999"), TEXT("old value, long enough for several frames of an export"));
    free(e.bytes);
}

static void check_replaced(hf_engine_database *d, uint64_t space)
{
    HF_KIT_TEXT(engine_scan(d, space, NOTHING, NOTHING, 0), "00000000,00000001,00000002");
    engine_expect(d, space, TEXT("00000001"), TEXT("new"));
    engine_expect_none(d, space, TEXT("00000050"));
    HF_KIT_EQUAL(engine_count(d, space - 1), 100);
}

/* The old records may be in files, in memory, or covered by deletions; each must vanish and stay away. */
static void replace_space(engine_database *k, uint64_t space, int flush_first)
{
    hf_engine_database *d = k->database;

    put_numbers(d, 10, 0, 3, TEXT("new"));
    exported e = export_space(d, 10);

    put_numbers(d, space, 0, 100, TEXT("old"));
    put_numbers(d, space - 1, 0, 100, TEXT("neighbour"));
    engine_write(d, HF_ENGINE_DELETE_RANGE, space, NOTHING, TEXT("00000002"));
    if (flush_first)
        HF_KIT_EQUAL(engine.table->flush(d, NULL), 0);
    put_numbers(d, space, 90, 110, TEXT("old"));
    HF_KIT_EQUAL(import_bytes(d, space, (hf_slice){e.bytes, e.size}, 1), 0);
    check_replaced(d, space);
    if (engine.table->head.capabilities & HF_ENGINE_DURABLE) {
        engine_close(k);
        engine_open(k);
        check_replaced(k->database, space);
    }
    engine_write(k->database, HF_ENGINE_PUT, space, TEXT("00000001"), TEXT("newer"));
    engine_expect(k->database, space, TEXT("00000001"), TEXT("newer"));
    HF_KIT_EQUAL(import_bytes(k->database, space, (hf_slice){e.bytes, e.size}, e.size), 0);
    check_replaced(k->database, space);
    free(e.bytes);
}

static void test_import_replaces(engine_database *k)
{
    replace_space(k, 20, 0);
    replace_space(k, 30, 1);
    replace_space(k, UINT64_MAX, 1);
}

/* What the visits of an export have seen. */
struct visits {
    int number; /* of the next key */
    int stop_at;
    int ordered;
};

static int32_t visit_number(void *arg, hf_slice key, hf_slice value)
{
    struct visits *visits = arg;
    char expected[16];

    snprintf(expected, sizeof expected, "%08d", visits->number);
    visits->ordered &= key.size == 8 && memcmp(key.data, expected, 8) == 0 && value.size == 3;
    visits->number++;
    return visits->number == visits->stop_at;
}

static void test_export_visits_a_snapshot(engine_database *k)
{
    hf_engine_database *d = k->database;
    struct visits visits = {.stop_at = 500, .ordered = 1};
    hf_engine_export *source;
    int32_t more = 1;
    int calls = 0;

    if (!engine.table->export_visit)
        return;
    put_numbers(d, 1, 0, 1000, TEXT("old"));
    put_numbers(d, 2, 1000, 1010, TEXT("neighbour"));
    HF_KIT_EQUAL(engine.table->export_open(d, 1, &source, NULL), 0);
    put_numbers(d, 1, 0, 2000, TEXT("newer"));
    HF_KIT_EQUAL(engine.table->flush(d, NULL), 0);
    HF_KIT_EQUAL(engine.table->export_visit(source, UINT64_MAX, visit_number, &visits, &more, NULL), 0);
    HF_KIT_EQUAL(visits.number, 500); /* the visitor ended it, and it goes on behind that record */
    HF_KIT_EQUAL(more, 1);
    for (; more; calls++)
        HF_KIT_EQUAL(engine.table->export_visit(source, 1000, visit_number, &visits, &more, NULL), 0);
    HF_KIT_EQUAL(visits.number, 1000);
    HF_KIT_EQUAL(visits.ordered, 1);
    HF_KIT_TRUE(calls >= 5 && calls <= 7); /* 11 bytes a record */
    engine.table->export_close(source);
    HF_KIT_EQUAL(engine.table->export_open(d, 3, &source, NULL), 0);
    HF_KIT_EQUAL(engine.table->export_visit(source, 1000, visit_number, &visits, &more, NULL), 0);
    HF_KIT_EQUAL(more, 0); /* there is nothing */
    HF_KIT_EQUAL(visits.number, 1000);
    engine.table->export_close(source);
}

static void test_import_of_nothing(engine_database *k)
{
    hf_engine_database *d = k->database;
    exported e = export_space(d, 1);

    put_numbers(d, 2, 0, 10, TEXT("old"));
    HF_KIT_EQUAL(import_bytes(d, 2, (hf_slice){e.bytes, e.size}, 3), 0);
    HF_KIT_EQUAL(engine_count(d, 2), 0);
    engine_write(d, HF_ENGINE_PUT, 2, NOTHING, NOTHING); /* an empty key with an empty value survives as well */
    free(e.bytes);
    e = export_space(d, 2);
    HF_KIT_EQUAL(import_bytes(d, 3, (hf_slice){e.bytes, e.size}, 3), 0);
    HF_KIT_EQUAL(engine_count(d, 3), 1);
    free(e.bytes);
}

static void test_import_without_commit(engine_database *k)
{
    hf_engine_database *d = k->database;
    hf_engine_import *target;

    put_numbers(d, 1, 0, 10, TEXT("kept"));
    exported e = export_space(d, 2);

    HF_KIT_EQUAL(engine.table->import_open(d, 1, &target, NULL), 0);
    HF_KIT_EQUAL(engine.table->import_write(target, (hf_slice){e.bytes, e.size}, NULL), 0);
    HF_KIT_EQUAL(engine_count(d, 1), 10);
    engine.table->import_close(target);
    HF_KIT_EQUAL(engine_count(d, 1), 10);
    free(e.bytes);
}

static void test_damage_is_found(engine_database *k)
{
    hf_engine_database *d = k->database;

    put_numbers(d, 1, 0, 20, TEXT("value"));
    put_numbers(d, 2, 0, 3, TEXT("kept"));
    exported e = export_space(d, 1);

    for (uint64_t i = 0; i < e.size; i += 3) {
        HF_KIT_EQUAL(import_bytes(d, 2, (hf_slice){e.bytes, i}, 4096), HF_ECORRUPT); /* cut off */
        e.bytes[i] ^= (uint8_t)(1 << i % 8);
        HF_KIT_EQUAL(import_bytes(d, 2, (hf_slice){e.bytes, e.size}, 4096), HF_ECORRUPT);
        e.bytes[i] ^= (uint8_t)(1 << i % 8);
    }
    e.bytes = realloc(e.bytes, e.size + 1);
    e.bytes[e.size] = 0;
    HF_KIT_EQUAL(import_bytes(d, 2, (hf_slice){e.bytes, e.size + 1}, 4096), HF_ECORRUPT);
    HF_KIT_TEXT(engine_scan(d, 2, NOTHING, NOTHING, 0), "00000000,00000001,00000002");
    HF_KIT_EQUAL(import_bytes(d, 2, (hf_slice){e.bytes, e.size}, 4096), 0);
    free(e.bytes);
}

static void test_large_value(engine_database *k)
{
    hf_engine_database *d = k->database;
    uint64_t size = 3 << 20;
    uint8_t *bytes = malloc(size);

    for (uint64_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 13);
    engine_write(d, HF_ENGINE_PUT, 1, TEXT("large"), (hf_slice){bytes, size});
    exported e = export_space(d, 1);

    HF_KIT_EQUAL(import_bytes(d, 2, (hf_slice){e.bytes, e.size}, 100000), 0);
    engine_expect(d, 2, TEXT("large"), (hf_slice){bytes, size});
    free(e.bytes);
    free(bytes);
}

/* Bytes of a value that nothing shortens, the same for the same number. */
static void fill_value(uint8_t *bytes, uint64_t size, uint64_t number)
{
    uint64_t random = number * 2654435761u + 88172645463325252u;

    for (uint64_t i = 0; i < size; i++) { /* xorshift64 */
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        bytes[i] = (uint8_t)random;
    }
}

/* More than an engine would keep in one file or buffer; between its records there are some that must go. */
static void test_large_space(engine_database *k)
{
    enum { COUNT = 288, SIZE = 256 << 10 }; /* 72 MiB */
    hf_engine_database *d = k->database;
    uint8_t *value = malloc(SIZE);
    char key[16];

    HF_KIT_TRUE(value != NULL);
    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "%08d", i);
        fill_value(value, SIZE, (uint64_t)i);
        engine_write(d, HF_ENGINE_PUT, 1, (hf_slice){(const uint8_t *)key, 8}, (hf_slice){value, SIZE});
        snprintf(key, sizeof key, "%08d.old", i);
        engine_write(d, HF_ENGINE_PUT, 2, (hf_slice){(const uint8_t *)key, 12}, TEXT("old"));
    }
    put_numbers(d, 3, 0, 10, TEXT("neighbour"));
    exported e = export_space(d, 1);

    HF_KIT_EQUAL(import_bytes(d, 2, (hf_slice){e.bytes, e.size}, 1 << 20), 0);
    free(e.bytes);
    HF_KIT_EQUAL(engine_count(d, 2), COUNT);
    HF_KIT_EQUAL(engine_count(d, 3), 10);
    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "%08d", i);
        fill_value(value, SIZE, (uint64_t)i);
        engine_expect(d, 2, (hf_slice){(const uint8_t *)key, 8}, (hf_slice){value, SIZE});
    }
    free(value);
}

ENGINE_CHECK(large_space)
ENGINE_CHECK(export_is_a_snapshot)
ENGINE_CHECK(export_visits_a_snapshot)
ENGINE_CHECK(import_replaces)
ENGINE_CHECK(import_of_nothing)
ENGINE_CHECK(import_without_commit)
ENGINE_CHECK(damage_is_found)
ENGINE_CHECK(large_value)
