/* Records: single operations, batches, order, scans, sizes, threads. */
#include "engine.h"

#include <pthread.h>
#include <stdatomic.h>

static void test_put_get_delete(engine_database *k)
{
    hf_engine_database *d = k->database;

    engine_expect_none(d, 1, TEXT("a"));
    engine_write(d, HF_ENGINE_PUT, 1, TEXT("a"), TEXT("one"));
    engine_expect(d, 1, TEXT("a"), TEXT("one"));
    engine_write(d, HF_ENGINE_PUT, 1, TEXT("a"), TEXT(""));
    engine_expect(d, 1, TEXT("a"), TEXT(""));
    engine_write(d, HF_ENGINE_DELETE, 1, TEXT("a"), NOTHING);
    engine_write(d, HF_ENGINE_DELETE, 1, TEXT("a"), NOTHING); /* deleting nothing is no error */
    engine_expect_none(d, 1, TEXT("a"));
}

static void put_letters(hf_engine_database *d, uint64_t space)
{
    for (const char *c = "abcdef"; *c; c++)
        engine_write(d, HF_ENGINE_PUT, space, (hf_slice){(const uint8_t *)c, 1}, TEXT("v"));
}

static void test_delete_range(engine_database *k)
{
    hf_engine_database *d = k->database;

    put_letters(d, 1);
    put_letters(d, 2);
    engine_write(d, HF_ENGINE_DELETE_RANGE, 1, TEXT("b"), TEXT("d"));
    HF_KIT_TEXT(engine_scan(d, 1, NOTHING, NOTHING, 0), "a,d,e,f");
    engine_write(d, HF_ENGINE_DELETE_RANGE, 1, TEXT("e"), TEXT("a")); /* inverted: nothing */
    engine_write(d, HF_ENGINE_DELETE_RANGE, 1, TEXT("e"), NOTHING);
    HF_KIT_TEXT(engine_scan(d, 1, NOTHING, NOTHING, 0), "a,d");
    engine_write(d, HF_ENGINE_DELETE_RANGE, 1, NOTHING, NOTHING);
    HF_KIT_TEXT(engine_scan(d, 1, NOTHING, NOTHING, 0), "");
    HF_KIT_TEXT(engine_scan(d, 2, NOTHING, NOTHING, 0), "a,b,c,d,e,f");
}

static void test_spaces_are_isolated(engine_database *k)
{
    static const uint64_t spaces[] = {0, 1, 255, 256, UINT64_MAX - 1, UINT64_MAX};
    hf_engine_database *d = k->database;

    for (size_t i = 0; i < 6; i++)
        put_letters(d, spaces[i]);
    for (size_t i = 0; i < 6; i++) {
        HF_KIT_TEXT(engine_scan(d, spaces[i], NOTHING, NOTHING, 0), "a,b,c,d,e,f");
        HF_KIT_TEXT(engine_scan(d, spaces[i], NOTHING, NOTHING, HF_ENGINE_REVERSE), "f,e,d,c,b,a");
    }
    engine_write(d, HF_ENGINE_DELETE_RANGE, UINT64_MAX, NOTHING, NOTHING);
    engine_write(d, HF_ENGINE_DELETE_RANGE, 255, NOTHING, NOTHING);
    for (size_t i = 0; i < 6; i++)
        HF_KIT_EQUAL(engine_count(d, spaces[i]), spaces[i] == UINT64_MAX || spaces[i] == 255 ? 0 : 6);
}

typedef struct {
    const hf_slice *keys;
    size_t index;
} expected_order;

static int32_t check_order(void *arg, hf_slice key, hf_slice value)
{
    expected_order *expected = arg;
    hf_slice want = expected->keys[expected->index++];

    HF_KIT_EQUAL(key.size, want.size);
    if (want.size)
        HF_KIT_TRUE(memcmp(key.data, want.data, want.size) == 0);
    HF_KIT_EQUAL(value.size, want.size);
    return 0;
}

static void test_order_of_any_bytes(engine_database *k)
{
    hf_engine_database *d = k->database;
    const hf_slice keys[] = {NOTHING,   TEXT("\0"),   TEXT("\0\0"), TEXT("\0\xff"), TEXT("a"),      TEXT("a\0"),
                             TEXT("b"), TEXT("\x7f"), TEXT("\x80"), TEXT("\xff"),   TEXT("\xff\0"), TEXT("\xff\xff")};
    expected_order expected = {keys, 0};

    for (size_t i = 12; i-- > 0;)
        engine_write(d, HF_ENGINE_PUT, UINT64_MAX, keys[i], keys[i]);
    for (size_t i = 0; i < 12; i++)
        engine_expect(d, UINT64_MAX, keys[i], keys[i]);
    HF_KIT_EQUAL(engine.table->scan(d, UINT64_MAX, NOTHING, NOTHING, 0, check_order, &expected, NULL), 0);
    HF_KIT_EQUAL(expected.index, 12);
}

static int32_t end_after_two(void *arg, hf_slice key, hf_slice value)
{
    (void)key, (void)value;
    return ++*(int *)arg == 2;
}

static void test_scan_bounds(engine_database *k)
{
    hf_engine_database *d = k->database;
    int visited = 0;

    put_letters(d, 7);
    HF_KIT_TEXT(engine_scan(d, 7, TEXT("b"), TEXT("e"), 0), "b,c,d");
    HF_KIT_TEXT(engine_scan(d, 7, TEXT("b"), TEXT("e"), HF_ENGINE_REVERSE), "d,c,b");
    HF_KIT_TEXT(engine_scan(d, 7, TEXT("bb"), NOTHING, 0), "c,d,e,f");
    HF_KIT_TEXT(engine_scan(d, 7, NOTHING, TEXT("b\0"), HF_ENGINE_REVERSE), "b,a");
    HF_KIT_TEXT(engine_scan(d, 7, TEXT("c"), TEXT("c"), 0), "");
    HF_KIT_TEXT(engine_scan(d, 7, TEXT("e"), TEXT("b"), 0), "");
    HF_KIT_TEXT(engine_scan(d, 7, TEXT("x"), NOTHING, HF_ENGINE_REVERSE), "");
    HF_KIT_EQUAL(engine.table->scan(d, 7, NOTHING, NOTHING, 0, end_after_two, &visited, NULL), 0);
    HF_KIT_EQUAL(visited, 2);
}

static void test_cached_reads(engine_database *k)
{
    hf_engine_database *d = k->database;
    hf_slice value;

    engine_write(d, HF_ENGINE_PUT, 1, TEXT("k"), TEXT("v"));
    HF_KIT_EQUAL(engine.table->flush(d, NULL), 0);
    engine_expect(d, 1, TEXT("k"), TEXT("v"));
    int32_t r = engine.table->get(d, 1, TEXT("k"), HF_ENGINE_CACHED_ONLY, &value, NULL);

    HF_KIT_TRUE(r == 0 || r == HF_EBUSY);
    if (r == 0)
        engine.table->release(d, value);
}

static void test_batch_is_atomic(engine_database *k)
{
    hf_engine_database *d = k->database;
    hf_engine_operation batch[] = {
        {.type = HF_ENGINE_PUT, .space = 1, .key = TEXT("a"), .value = TEXT("1")},
        {.type = HF_ENGINE_DELETE_RANGE, .space = 1, .key = TEXT("a"), .value = TEXT("b")},
        {.type = HF_ENGINE_PUT, .space = 2, .key = TEXT("b"), .value = TEXT("2")},
        {.type = HF_ENGINE_PUT, .space = 2, .key = TEXT("b"), .value = TEXT("3")},
        {.type = 99, .space = 2, .key = TEXT("c")},
    };

    HF_KIT_EQUAL(engine_try_write(d, batch, 5), HF_EINVAL);
    HF_KIT_EQUAL(engine_count(d, 1) + engine_count(d, 2), 0);
    HF_KIT_EQUAL(engine_try_write(d, batch, 4), 0);
    engine_expect_none(d, 1, TEXT("a")); /* in order: put, then removed */
    engine_expect(d, 2, TEXT("b"), TEXT("3"));
    HF_KIT_EQUAL(engine_try_write(d, NULL, 0), 0);
}

static void test_limits(engine_database *k)
{
    hf_engine_database *d = k->database;
    uint64_t size = 24 << 20;
    uint8_t *bytes = calloc(1, size);

    memset(bytes, 0xff, size / 2);
    engine_write(d, HF_ENGINE_PUT, UINT64_MAX, (hf_slice){bytes, 65535}, (hf_slice){bytes, size});
    engine_expect(d, UINT64_MAX, (hf_slice){bytes, 65535}, (hf_slice){bytes, size});
    hf_engine_operation operation = {.type = HF_ENGINE_PUT, .key = {bytes, 65536}};

    HF_KIT_EQUAL(engine_try_write(d, &operation, 1), HF_ETOOLARGE);
    HF_KIT_TRUE(engine.table->space_size(d, UINT64_MAX) > size / 1000);
    HF_KIT_EQUAL(engine_count(d, UINT64_MAX), 1);
    engine_write(d, HF_ENGINE_DELETE_RANGE, UINT64_MAX, NOTHING, NOTHING);
    HF_KIT_EQUAL(engine_count(d, UINT64_MAX), 0);
    free(bytes);
}

static void test_two_databases(engine_database *k)
{
    engine_database other;

    engine_create(&other);
    engine_write(k->database, HF_ENGINE_PUT, 1, TEXT("a"), TEXT("first"));
    engine_write(other.database, HF_ENGINE_PUT, 1, TEXT("a"), TEXT("second"));
    engine_expect(k->database, 1, TEXT("a"), TEXT("first"));
    engine_expect(other.database, 1, TEXT("a"), TEXT("second"));
    engine_remove(&other);
}

typedef struct {
    hf_engine_database *database;
    atomic_int running, faults;
} shared_work;

/* Two records are always written together, so a consistent scan never sees them differ. */
static void *write_pairs(void *arg)
{
    shared_work *work = arg;

    for (uint32_t i = 0; i < 5000; i++) {
        hf_slice value = {(const uint8_t *)&i, sizeof i};
        hf_engine_operation pair[] = {{.type = HF_ENGINE_PUT, .space = 1, .key = TEXT("a"), .value = value},
                                      {.type = HF_ENGINE_PUT, .space = 1, .key = TEXT("b"), .value = value}};

        if (engine_try_write(work->database, pair, 2) != 0)
            work->faults++;
    }
    work->running--;
    return NULL;
}

typedef struct {
    uint32_t values[2];
    int count;
} seen_pair;

static int32_t see(void *arg, hf_slice key, hf_slice value)
{
    seen_pair *seen = arg;

    (void)key;
    if (seen->count < 2)
        memcpy(&seen->values[seen->count], value.data, sizeof(uint32_t));
    seen->count++;
    return 0;
}

static void *read_pairs(void *arg)
{
    shared_work *work = arg;

    while (work->running > 0) {
        seen_pair seen = {0};

        if (engine.table->scan(work->database, 1, NOTHING, NOTHING, 0, see, &seen, NULL) != 0 ||
            (seen.count != 0 && seen.count != 2) || seen.values[0] != seen.values[1])
            work->faults++;
    }
    return NULL;
}

static void test_threads(engine_database *k)
{
    shared_work work = {.database = k->database, .running = 2};
    pthread_t threads[4];

    for (int i = 0; i < 4; i++)
        HF_KIT_EQUAL(pthread_create(&threads[i], NULL, i < 2 ? write_pairs : read_pairs, &work), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    HF_KIT_EQUAL(work.faults, 0);
}

ENGINE_CHECK(put_get_delete)
ENGINE_CHECK(delete_range)
ENGINE_CHECK(spaces_are_isolated)
ENGINE_CHECK(order_of_any_bytes)
ENGINE_CHECK(scan_bounds)
ENGINE_CHECK(cached_reads)
ENGINE_CHECK(batch_is_atomic)
ENGINE_CHECK(limits)
ENGINE_CHECK(two_databases)
ENGINE_CHECK(threads)
