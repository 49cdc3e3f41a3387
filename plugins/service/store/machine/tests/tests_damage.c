/* What is damaged in the space, or written by a newer release, is found and never given out. */
#include "kit.h"

static void write_raw(struct kit *kit, int32_t type, hf_slice key, hf_slice value)
{
    hf_engine_operation operation = {.type = type, .space = SPACE, .key = key, .value = value};

    assert_int_equal(kit_engine->write(kit->database, &operation, 1, NULL), 0);
}

static hf_buffer read_raw(struct kit *kit, hf_slice key)
{
    hf_slice value = {NULL, 0};
    hf_buffer copy;

    hf_buffer_init(&copy, 1 << 20);
    assert_int_equal(kit_engine->get(kit->database, SPACE, key, 0, &value, NULL), 0);
    assert_int_equal(hf_buffer_append(&copy, value.data, value.size), 0);
    kit_engine->release(kit->database, value);
    return copy;
}

static int32_t open_again(struct kit *kit)
{
    struct store_machine *machine = NULL;
    hf_error error = {0};
    int32_t r = store_machine_open(kit_engine, kit->database, SPACE, NULL, 0, &machine, &error);

    assert_int_equal(error.code, r);
    assert_int_equal(store_machine_reload(kit->machine, NULL), r);
    store_machine_close(machine);
    return r;
}

static int32_t ignore_record(void *arg, hf_slice key, const struct store_record *record)
{
    (void)arg, (void)key, (void)record;
    return 0;
}

static int32_t ignore_change(void *arg, const struct store_change *change)
{
    (void)arg, (void)change;
    return 0;
}

static int32_t apply_conditional(struct kit *kit)
{
    struct store_operation operation = kit_if(kit_put(TEXT("key"), TEXT("x")), STORE_IF_PRESENT, 0);
    struct kit_command command = {.command = {.operations = &operation, .operation_count = 1}};
    struct store_entry entry = {.index = kit_state(kit->machine).applied_index + 1, .term = 100};
    struct store_outcomes outcomes = {0};
    uint64_t applied = 0;
    hf_buffer payload;
    hf_error error = {0};

    hf_buffer_init(&payload, 1 << 20);
    kit_bundle(&payload, &command, 1);
    entry.payload = BYTES(payload);
    int32_t r = store_machine_apply(kit->machine, &entry, 1, 0, &outcomes, &applied, &error);

    assert_int_equal(applied, r == 0);
    free(outcomes.items);
    hf_buffer_done(&payload);
    return r;
}

static void expect_record_refused(struct kit *kit, int32_t code)
{
    struct store_record record;
    hf_error error = {0};

    assert_int_equal(store_machine_get(kit->machine, TEXT("key"), 0, &record, &error), code);
    assert_int_equal(error.code, code);
    assert_int_equal(store_machine_scan(kit->machine, NOTHING, NOTHING, 0, ignore_record, NULL, &error), code);
}

/* `head`: its size; without a deadline the record has the format that releases before deadlines wrote. */
static void damage_record(struct kit *kit, struct store_operation operation, uint8_t format, uint64_t head)
{
    kit_apply_one(kit->machine, operation);
    hf_buffer stored = read_raw(kit, TEXT("rkey"));

    assert_int_equal(stored.data[0], format);
    for (uint64_t i = 17; i < stored.size; i++) { /* the checksum and the value */
        if (i == 21)
            i = head;
        stored.data[i] ^= 0x10;
        write_raw(kit, HF_ENGINE_PUT, TEXT("rkey"), BYTES(stored));
        expect_record_refused(kit, HF_ECORRUPT);
        assert_int_equal(store_machine_changes(kit->machine, 1, ignore_change, NULL, NULL), HF_ECORRUPT);
        stored.data[i] ^= 0x10;
    }
    for (uint64_t size = 0; size < stored.size; size++) {
        write_raw(kit, HF_ENGINE_PUT, TEXT("rkey"), (hf_slice){stored.data, size});
        expect_record_refused(kit, HF_ECORRUPT);
    }
    write_raw(kit, HF_ENGINE_PUT, TEXT("rkey"), (hf_slice){stored.data, head - 1});
    assert_int_equal(apply_conditional(kit), HF_ECORRUPT);
    stored.data[0] = 4;
    write_raw(kit, HF_ENGINE_PUT, TEXT("rkey"), BYTES(stored));
    expect_record_refused(kit, HF_EVERSION);
    assert_int_equal(apply_conditional(kit), HF_EVERSION);
    stored.data[0] = format;
    write_raw(kit, HF_ENGINE_PUT, TEXT("rkey"), BYTES(stored));
    assert_int_equal(apply_conditional(kit), 0);
    hf_buffer_done(&stored);
}

static void every_damaged_byte_of_a_value_is_found(void **state)
{
    struct store_operation operation = kit_put(TEXT("key"), TEXT("some value"));

    damage_record(*state, operation, 1, 21);
    kit_apply_one(((struct kit *)*state)->machine, kit_delete(TEXT("key")));
    operation.expire_after = 100;
    damage_record(*state, operation, 2, 29);
}

static void every_damaged_byte_of_the_position_is_found(void **state)
{
    struct kit *kit = *state;

    kit_apply_one(kit->machine, kit_put(TEXT("key"), TEXT("v")));
    hf_buffer stored = read_raw(kit, TEXT("a"));

    for (uint64_t i = 0; i < stored.size; i++) {
        stored.data[i] ^= 0x81;
        write_raw(kit, HF_ENGINE_PUT, TEXT("a"), BYTES(stored));
        assert_int_equal(open_again(kit), i == 0 ? HF_EVERSION : HF_ECORRUPT);
        stored.data[i] ^= 0x81;
        write_raw(kit, HF_ENGINE_PUT, TEXT("a"), (hf_slice){stored.data, i});
        assert_int_equal(open_again(kit), HF_ECORRUPT);
    }
    assert_int_equal(kit_state(kit->machine).applied_index, 1); /* as it was before the reloads */
    write_raw(kit, HF_ENGINE_DELETE, TEXT("a"), NOTHING);
    assert_int_equal(open_again(kit), HF_ECORRUPT);
    for (uint8_t format = 1; format <= 5; format += format == 3 ? 2 : 1) { /* of an older and of a newer release */
        stored.data[0] = format;
        write_raw(kit, HF_ENGINE_PUT, TEXT("a"), BYTES(stored));
        assert_int_equal(open_again(kit), HF_EVERSION);
    }
    stored.data[0] = 4;
    write_raw(kit, HF_ENGINE_PUT, TEXT("a"), BYTES(stored));
    assert_int_equal(open_again(kit), 0);
    hf_buffer_done(&stored);
}

static void a_damaged_feed_is_found(void **state)
{
    struct kit *kit = *state;
    static const uint8_t key[9] = {'c', [8] = 1};

    kit_apply_one(kit->machine, kit_put(TEXT("key"), TEXT("v")));
    write_raw(kit, HF_ENGINE_PUT, (hf_slice){key, sizeof key}, TEXT("too short"));
    assert_int_equal(store_machine_changes(kit->machine, 0, ignore_change, NULL, NULL), HF_ECORRUPT);
    assert_int_equal(open_again(kit), HF_ECORRUPT);
}

static void a_feed_ahead_of_the_position_is_found(void **state)
{
    struct kit *kit = *state;

    kit_apply_one(kit->machine, kit_put(TEXT("key"), TEXT("v")));
    hf_buffer stored = read_raw(kit, TEXT("a"));

    kit_apply_one(kit->machine, kit_put(TEXT("key"), TEXT("w")));
    write_raw(kit, HF_ENGINE_PUT, TEXT("a"), BYTES(stored));
    assert_int_equal(open_again(kit), HF_ECORRUPT);
    hf_buffer_done(&stored);
}

static void too_many_members_are_refused(void **state)
{
    struct kit *kit = *state;
    struct store_machine *machine = NULL;
    static const hf_replication_member members[STORE_MEMBERS_MAX + 1];

    assert_int_equal(store_machine_open(kit_engine, kit->database, 1, members, STORE_MEMBERS_MAX + 1, &machine, NULL),
                     HF_EINVAL);
    assert_null(machine);
}

int kit_test_damage(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_damaged_byte_of_a_value_is_found),
        TEST(every_damaged_byte_of_the_position_is_found),
        TEST(a_damaged_feed_is_found),
        TEST(a_feed_ahead_of_the_position_is_found),
        TEST(too_many_members_are_refused),
    };

    return cmocka_run_group_tests_name("damage", tests, NULL, NULL);
}
