/* The change feed: resuming, superseded values, forgetting whole entries. */
#include "kit.h"

/* A feed as text: "INDEX.OPERATION KEY=VALUE;", with "-" for a delete and "?" for a superseded value. */
struct feed_text {
    char text[4096];
    size_t size;
    int left; /* changes to visit before ending */
};

static int32_t note_change(void *arg, const struct store_change *c)
{
    struct feed_text *feed = arg;

    assert_true(c->type == STORE_PUT || (c->value.size == 0 && !c->superseded));
    feed->size += (size_t)snprintf(
        feed->text + feed->size, sizeof feed->text - feed->size, "%llu.%u %.*s%s%.*s;", (unsigned long long)c->version,
        c->operation, (int)c->key.size, (const char *)c->key.data,
        c->type == STORE_DELETE ? "-" : (c->superseded ? "?" : "="), (int)c->value.size, (const char *)c->value.data);
    return --feed->left == 0;
}

static const char *read_feed(struct store_machine *machine, uint64_t from, int count)
{
    static struct feed_text feed;
    hf_error error = {0};

    feed = (struct feed_text){.left = count};
    int32_t r = store_machine_changes(machine, from, note_change, &feed, &error);

    assert_int_equal(error.code, r);
    if (r == HF_ENOTFOUND)
        return "forgotten";
    assert_int_equal(r, 0);
    return feed.text;
}

static void apply_two(struct store_machine *m, struct store_operation a, struct store_operation b, uint64_t time_us,
                      uint64_t horizon_us)
{
    struct store_operation operations[] = {a, b};
    struct kit_command command = {.command = {.time_us = time_us, .operations = operations, .operation_count = 2},
                                  .feed_horizon_us = horizon_us};

    assert_int_equal(kit_apply(m, &command).code, 0);
}

static void the_feed_resumes_from_every_index(void **state)
{
    struct kit *kit = *state;
    char expected[2048] = "", *rest[23];

    assert_string_equal(read_feed(kit->machine, 0, 0), "");
    assert_string_equal(read_feed(kit->machine, 1000, 0), "");
    for (unsigned i = 1; i <= 20; i++) {
        char key[8];
        hf_slice name = {(const uint8_t *)key, (uint64_t)snprintf(key, sizeof key, "k%02u", i)};

        rest[i] = expected + strlen(expected);
        sprintf(rest[i], "%u.0 %s=v;%u.1 gone-;", i, key, i);
        apply_two(kit->machine, kit_put(name, TEXT("v")), kit_delete(TEXT("gone")), i, 0);
    }
    rest[0] = rest[1];
    rest[21] = rest[22] = expected + strlen(expected);
    for (int reopened = 0; reopened < 2; reopened++) {
        for (unsigned from = 0; from <= 22; from++)
            assert_string_equal(read_feed(kit->machine, from, 0), rest[from]);
        kit_reopen(kit);
    }
    assert_string_equal(read_feed(kit->machine, 3, 2), "3.0 k03=v;3.1 gone-;");
}

static void a_superseded_value_is_not_given(void **state)
{
    struct store_machine *m = ((struct kit *)*state)->machine;

    kit_apply_one(m, kit_put(TEXT("a"), TEXT("1")));
    kit_apply_one(m, kit_put(TEXT("b"), TEXT("1")));
    kit_apply_one(m, kit_put(TEXT("a"), TEXT("2")));
    kit_apply_one(m, kit_delete(TEXT("b")));
    kit_apply_one(m, kit_if(kit_put(TEXT("a"), TEXT("3")), STORE_IF_ABSENT, 0)); /* a conflict is no change */
    assert_string_equal(read_feed(m, 1, 0), "1.0 a?;2.0 b?;3.0 a=2;4.0 b-;");
}

static int32_t copy_change(void *arg, const struct store_change *change)
{
    *(struct store_change *)arg = *change;
    return 1;
}

static void a_change_tells_who_and_when(void **state)
{
    struct store_machine *m = ((struct kit *)*state)->machine;
    struct store_operation operation = kit_put(TEXT("a"), TEXT("1"));
    struct kit_command command = {
        .command = {.time_us = UINT64_MAX - 1, .user = UINT64_MAX - 2, .operations = &operation, .operation_count = 1}};
    struct store_change change = {0};
    struct store_record record;

    kit_apply(m, &command);
    assert_int_equal(store_machine_changes(m, 1, copy_change, &change, NULL), 0);
    assert_true(change.time_us == UINT64_MAX - 1 && change.user == UINT64_MAX - 2);
    assert_int_equal(store_machine_get(m, TEXT("a"), HF_ENGINE_CACHED_ONLY, &record, NULL), 0);
    assert_true(record.time_us == UINT64_MAX - 1 && record.checksum == operation.checksum);
    store_record_release(m, &record);
}

static void expect_feed(struct store_machine *m, uint64_t first, uint64_t last)
{
    struct store_machine_state s = kit_state(m);

    assert_int_equal(s.feed_first, first);
    assert_int_equal(s.feed_last, last);
    assert_string_not_equal(read_feed(m, first, 1), "forgotten");
    if (first > 1)
        assert_string_equal(read_feed(m, first - 1, 1), "forgotten");
}

static void old_changes_are_forgotten_by_whole_entries(void **state)
{
    struct kit *kit = *state;
    struct store_operation operation = kit_put(TEXT("z"), TEXT("v"));
    struct kit_command command = {.command = {.operations = &operation, .operation_count = 1}};

    for (uint64_t i = 1; i <= 100; i++)
        apply_two(kit->machine, kit_put(TEXT("a"), TEXT("1")), kit_put(TEXT("b"), TEXT("2")), i, 0);
    kit_reopen(kit);
    command.command.time_us = 200;
    command.feed_horizon_us = 7; /* six are older; four go with each entry */
    kit_apply(kit->machine, &command);
    expect_feed(kit->machine, 5, 101);
    kit_apply(kit->machine, &command);
    expect_feed(kit->machine, 7, 102);
    kit_apply(kit->machine, &command);
    expect_feed(kit->machine, 7, 103);
    assert_string_equal(read_feed(kit->machine, 7, 2), "7.0 a?;7.1 b?;");
    command.feed_horizon_us = UINT64_MAX;
    for (int i = 0; i < 40; i++)
        kit_apply(kit->machine, &command);
    expect_feed(kit->machine, 143, 143); /* the newest stays */
    kit_reopen(kit);
    expect_feed(kit->machine, 143, 143);
    kit_expect(kit->machine, TEXT("a"), TEXT("1"), 100);
}

int kit_test_feed(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_feed_resumes_from_every_index),
        TEST(a_superseded_value_is_not_given),
        TEST(a_change_tells_who_and_when),
        TEST(old_changes_are_forgotten_by_whole_entries),
    };

    return cmocka_run_group_tests_name("feed", tests, NULL, NULL);
}
