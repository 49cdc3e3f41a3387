/* Keys of every length and byte, and values around each limit, compared with a sorted array. */
#include "kit.h"

#include <holdfast/lib/hash.h>

enum { KEYS = 160, SPACE = 7 };

struct model {
    hf_slice keys[KEYS]; /* ordered, different */
    int present[KEYS];
};

static uint16_t port;
static hf_random random_state;

static uint64_t below(uint64_t n)
{
    return hf_random_below(&random_state, n);
}

/* Many share their first 2048 bytes; many are next to a limit. */
static hf_slice random_key(void)
{
    static const uint64_t sizes[] = {0, 1, 2, 9, 1024, 2047, 2048, 2049, 2050, 2100, 5000, 65534, 65535};
    static const uint8_t fills[] = {0x00, 0xff, 'a'};
    uint64_t size = sizes[below(sizeof sizes / sizeof sizes[0])];
    uint8_t *bytes = malloc(size + 1);

    assert_non_null(bytes);
    memset(bytes, fills[below(3)], size);
    for (uint64_t i = 0; size && i < 2; i++) { /* differences near the end, or anywhere */
        uint64_t near = size < 40 ? size : 40;

        bytes[below(2) ? size - 1 - below(near) : below(size)] = (uint8_t)below(256);
    }
    return (hf_slice){bytes, size};
}

static int compare(const void *a, const void *b)
{
    return key_compare(*(const hf_slice *)a, *(const hf_slice *)b);
}

static void make_model(struct model *model)
{
    int count = 0;

    memset(model, 0, sizeof *model);
    while (count < KEYS) {
        hf_slice key = random_key();
        int known = 0;

        for (int i = 0; i < count; i++)
            known |= compare(&model->keys[i], &key) == 0;
        if (known)
            free((void *)(uintptr_t)key.data);
        else
            model->keys[count++] = key;
    }
    qsort(model->keys, KEYS, sizeof model->keys[0], compare);
}

static void free_model(struct model *model)
{
    for (int i = 0; i < KEYS; i++)
        free((void *)(uintptr_t)model->keys[i].data);
}

static void put_all(struct kit *kit, struct model *model)
{
    hf_engine_operation operations[KEYS];
    hf_error error = {0};

    for (int i = 0; i < KEYS; i++) {
        operations[i] = (hf_engine_operation){.type = HF_ENGINE_PUT, .space = SPACE, .key = model->keys[i]};
        operations[i].value = (hf_slice){model->keys[i].data, model->keys[i].size % 100};
        model->present[i] = 1;
    }
    if (kit_table->write(kit->database, operations, KEYS, &error) != 0)
        fail_msg("%s", error.message);
}

struct walk {
    const struct model *model;
    int at, step, end, visited, most;
};

static int32_t visit(void *arg, hf_slice key, hf_slice value)
{
    struct walk *walk = arg;

    while (walk->at != walk->end && !walk->model->present[walk->at])
        walk->at += walk->step;
    assert_int_not_equal(walk->at, walk->end);
    assert_int_equal(key_compare(key, walk->model->keys[walk->at]), 0);
    assert_int_equal(value.size, key.size % 100);
    walk->at += walk->step;
    return ++walk->visited == walk->most;
}

/* from: index of a key, to: index, or KEYS for the end of the space. */
static void check_scan(struct kit *kit, const struct model *model, int from, int to, int reverse, int most)
{
    hf_slice end = to < KEYS ? model->keys[to] : (hf_slice){NULL, 0};
    struct walk walk = {model, reverse ? to - 1 : from, reverse ? -1 : 1, reverse ? from - 1 : to, 0, most};
    hf_error error = {0};
    int expected = 0;

    for (int i = from; i < to; i++)
        expected += model->present[i];
    if (kit_table->scan(kit->database, SPACE, model->keys[from], end, reverse ? HF_ENGINE_REVERSE : 0, visit, &walk,
                        &error) != 0)
        fail_msg("%s", error.message);
    assert_int_equal(walk.visited, expected < most ? expected : most);
}

static void check_scans(struct kit *kit, const struct model *model)
{
    check_scan(kit, model, 0, KEYS, 0, KEYS + 1);
    check_scan(kit, model, 0, KEYS, 1, KEYS + 1);
    for (int i = 0; i < 20; i++) {
        int from = (int)below(KEYS), to = from + 1 + (int)below((uint64_t)(KEYS - from));

        if (to < KEYS && model->keys[to].size == 0)
            continue;
        check_scan(kit, model, from, to, i % 2, 1 + (int)below(KEYS));
    }
}

static void delete_range(struct kit *kit, struct model *model)
{
    int from = (int)below(KEYS), to = from + 1 + (int)below(10);
    hf_engine_operation operation = {.type = HF_ENGINE_DELETE_RANGE, .space = SPACE, .key = model->keys[from]};

    if (to >= KEYS)
        return;
    operation.value = model->keys[to];
    assert_int_equal(kit_table->write(kit->database, &operation, 1, NULL), 0);
    for (int i = from; i < to; i++)
        model->present[i] = 0;
}

static void test_order(void **state)
{
    struct model model;
    struct kit kit;

    (void)state;
    hf_random_init(&random_state, 20240311);
    make_model(&model);
    kit_init(&kit, &port, 1);
    kit_open(&kit);
    put_all(&kit, &model);
    check_scans(&kit, &model);
    for (int i = 0; i < 8; i++)
        delete_range(&kit, &model);
    check_scans(&kit, &model);
    kit_done(&kit);
    free_model(&model);
}

static void check_value(struct kit *kit, hf_slice key, const uint8_t *bytes, uint64_t size)
{
    hf_error error = {0};
    hf_slice found = {NULL, 0};

    if (kit_table->get(kit->database, SPACE, key, 0, &found, &error) != 0)
        fail_msg("%s", error.message);
    assert_int_equal(found.size, size);
    assert_int_equal(memcmp(found.data, bytes, size), 0);
    kit_table->release(kit->database, found);
}

/* Each value replaces a longer or shorter one; nothing of that shows, and what was in parts does not stay behind. */
static void test_sizes(void **state)
{
    static const uint64_t sizes[] = {16 << 20,       0, 65536, 65537, (1 << 20) - 1, 1 << 20, (1 << 20) + 1,
                                     (20 << 20) + 7, 3};
    uint8_t *bytes = malloc((20 << 20) + 7), *long_key = malloc(KEY_MAX);
    struct kit kit;
    hf_error error = {0};

    (void)state;
    assert_true(bytes && long_key);
    memset(long_key, 0xff, KEY_MAX);
    for (uint64_t i = 0; i < (20 << 20) + 7; i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 11);
    kit_init(&kit, &port, 1);
    kit.config.name = "sizes";
    kit_open(&kit);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        hf_slice keys[] = {kit_slice("k"), {long_key, KEY_MAX}};
        hf_engine_operation operations[] = {
            {.type = HF_ENGINE_PUT, .space = SPACE, .key = keys[0], .value = {bytes + i, sizes[i] / 2}},
            {.type = HF_ENGINE_PUT, .space = SPACE, .key = keys[1], .value = {bytes, sizes[i]}},
            {.type = HF_ENGINE_PUT, .space = SPACE, .key = keys[0], .value = {bytes, sizes[i]}},
        };

        if (kit_table->write(kit.database, operations, 3, &error) != 0)
            fail_msg("%s", error.message);
        check_value(&kit, keys[0], bytes, sizes[i]);
        check_value(&kit, keys[1], bytes, sizes[i]);
    }
    kit_sql(1, "SELECT IF((SELECT COUNT(*) FROM holdfast.holdfast_part p JOIN holdfast.holdfast_space s"
               " ON p.space_id = s.id JOIN holdfast.holdfast_database d ON s.database_id = d.id"
               " WHERE d.name = 'sizes') = 0, 1, (SELECT 1 UNION SELECT 2))"); /* two rows: an error */
    kit_done(&kit);
    free(bytes);
    free(long_key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_order), cmocka_unit_test(test_sizes)};

    port = kit_port(1);
    return cmocka_run_group_tests_name("keys", tests, NULL, NULL);
}
