/* Finding records and scanning them. */
#include "kit.h"

static int32_t note_key(void *arg, hf_slice key, const struct store_record *record)
{
    char *text = arg;
    size_t size = strlen(text);

    assert_true(record->version > 0 && record->value.size == key.size);
    assert_memory_equal(record->value.data, key.data, key.size);
    snprintf(text + size, 1024 - size, "%.*s,", (int)key.size, (const char *)key.data);
    return key.size == 4 && memcmp(key.data, "stop", 4) == 0;
}

static const char *scan(struct store_machine *m, hf_slice prefix, hf_slice start, uint32_t flags)
{
    static char text[1024];

    text[0] = '\0';
    assert_int_equal(store_machine_scan(m, prefix, start, flags, note_key, text, NULL), 0);
    return text;
}

static void apply_keys(struct store_machine *m, const char *const *keys)
{
    for (; *keys; keys++) {
        hf_slice key = {(const uint8_t *)*keys, strlen(*keys)};

        assert_int_equal(kit_apply_one(m, kit_put(key, key)).code, 0);
    }
}

static void scans_keep_to_prefix_and_start(void **state)
{
    struct kit *kit = *state;
    /* U+10FFFF begins with the highest byte that UTF-8 has. */
    static const char *const keys[] = {
        "b/\xc3\xa4",         "a/1",  "a/2/x",  "a", "a/", "a0", "\x01\x02", "\xf4\x8f\xbf\xbf",
        "\xf4\x8f\xbf\xbf/x", "\x7f", "a/\x1f", NULL};

    apply_keys(kit->machine, keys);
    kit_reopen(kit);
    struct store_machine *m = kit->machine;

    assert_string_equal(scan(m, NOTHING, NOTHING, 0),
                        "\x01\x02,a,a/,a/\x1f,a/1,a/2/x,a0,b/\xc3\xa4,\x7f,\xf4\x8f\xbf\xbf,\xf4\x8f\xbf\xbf/x,");
    assert_string_equal(scan(m, TEXT("a/"), NOTHING, 0), "a/,a/\x1f,a/1,a/2/x,");
    assert_string_equal(scan(m, TEXT("a/"), NOTHING, HF_ENGINE_REVERSE), "a/2/x,a/1,a/\x1f,a/,");
    assert_string_equal(scan(m, TEXT("a/"), TEXT("a/1"), 0), "a/1,a/2/x,");
    assert_string_equal(scan(m, TEXT("a/"), TEXT("a/1\0"), 0), "a/2/x,");
    assert_string_equal(scan(m, TEXT("a/"), TEXT("A"), 0), "a/,a/\x1f,a/1,a/2/x,");
    assert_string_equal(scan(m, TEXT("a/"), TEXT("b"), 0), "");
    assert_string_equal(scan(m, TEXT("none"), NOTHING, 0), "");
    assert_string_equal(scan(m, NOTHING, TEXT("\x7f"), HF_ENGINE_CACHED_ONLY),
                        "\x7f,\xf4\x8f\xbf\xbf,\xf4\x8f\xbf\xbf/x,");
    assert_string_equal(scan(m, TEXT("\xf4\x8f\xbf\xbf"), NOTHING, 0), "\xf4\x8f\xbf\xbf,\xf4\x8f\xbf\xbf/x,");
    assert_string_equal(scan(m, TEXT("\xff\xff"), NOTHING, 0), ""); /* no key begins so, and none comes after */
}

static void a_visitor_ends_a_scan(void **state)
{
    struct store_machine *m = ((struct kit *)*state)->machine;
    static const char *const keys[] = {"a", "stop", "z", NULL};

    apply_keys(m, keys);
    assert_string_equal(scan(m, NOTHING, NOTHING, 0), "a,stop,");
}

static void keys_of_every_length_are_found(void **state)
{
    struct kit *kit = *state;
    uint8_t key[STORE_KEY_MAX + 1];
    struct store_record record;

    memset(key, 'k', sizeof key);
    kit_apply_one(kit->machine, kit_put((hf_slice){key, STORE_KEY_MAX}, TEXT("long")));
    kit_apply_one(kit->machine, kit_put((hf_slice){key, 1}, TEXT("short")));
    kit_reopen(kit);
    kit_expect(kit->machine, (hf_slice){key, STORE_KEY_MAX}, TEXT("long"), 1);
    kit_expect(kit->machine, (hf_slice){key, 1}, TEXT("short"), 2);
    kit_expect_none(kit->machine, (hf_slice){key, 2});
    assert_int_equal(store_machine_get(kit->machine, (hf_slice){key, sizeof key}, 0, &record, NULL), HF_EINVAL);
    assert_int_equal(store_machine_get(kit->machine, NOTHING, 0, &record, NULL), HF_EINVAL);
    assert_int_equal(store_machine_scan(kit->machine, (hf_slice){key, sizeof key}, NOTHING, 0, note_key, NULL, NULL),
                     HF_EINVAL);
}

int kit_test_read(void)
{
    const struct CMUnitTest tests[] = {
        TEST(scans_keep_to_prefix_and_start),
        TEST(a_visitor_ends_a_scan),
        TEST(keys_of_every_length_are_found),
    };

    return cmocka_run_group_tests_name("read", tests, NULL, NULL);
}
