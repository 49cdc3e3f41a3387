/* store_machine_test PLUGIN.so: the state machine in a space of that engine. */
#include "kit.h"

#include "bytes.h"

#include <holdfast/lib/checksum.h>

#include <ftw.h>
#include <unistd.h>

const char *kit_program, *kit_plugin;

static const hf_replication_member first_members[] = {{.replica = 1}, {.replica = 2, .learner = 1}};

struct store_machine *kit_open_machine(hf_engine_database *database, const hf_engine *engine, uint64_t space)
{
    struct store_machine *machine = NULL;
    hf_error error = {0};

    if (store_machine_open(engine, database, space, first_members, 2, &machine, &error) < 0)
        fail_msg("open: %s", error.message);
    return machine;
}

static void open_database(struct kit *kit)
{
    hf_error error = {0};

    if (kit_open_database(kit->directory, &kit->database, &error) < 0)
        fail_msg("open: %s", error.message);
}

int kit_setup(void **state)
{
    static struct kit kit;

    snprintf(kit.directory, sizeof kit.directory, "/tmp/store-machine-XXXXXX");
    assert_non_null(mkdtemp(kit.directory));
    open_database(&kit);
    kit.machine = kit_open_machine(kit.database, kit_engine, SPACE);
    *state = &kit;
    return 0;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    return remove(path);
}

int kit_teardown(void **state)
{
    struct kit *kit = *state;

    store_machine_close(kit->machine);
    kit_engine->close(kit->database);
    nftw(kit->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

void kit_reopen(struct kit *kit)
{
    store_machine_close(kit->machine);
    if (kit_is_durable()) {
        assert_int_equal(kit_engine->flush(kit->database, NULL), 0);
        kit_engine->close(kit->database);
        open_database(kit);
    }
    kit->machine = kit_open_machine(kit->database, kit_engine, SPACE);
}

struct store_operation kit_put(hf_slice key, hf_slice value)
{
    return (struct store_operation){
        .type = STORE_PUT, .key = key, .value = value, .checksum = hf_crc32c(0, value.data, value.size)};
}

struct store_operation kit_delete(hf_slice key)
{
    return (struct store_operation){.type = STORE_DELETE, .key = key};
}

struct store_operation kit_if(struct store_operation operation, int32_t condition, uint64_t version)
{
    operation.condition = condition;
    operation.version = version;
    return operation;
}

void kit_bundle(hf_buffer *payload, const struct kit_command *commands, uint32_t count)
{
    struct store_bundle bundle = {.time_us = commands[0].command.time_us,
                                  .feed_horizon_us = commands[0].feed_horizon_us,
                                  .repeat_horizon_us = commands[0].repeat_horizon_us,
                                  .count = count};
    uint8_t head[STORE_BUNDLE_HEAD_SIZE];
    hf_error error = {0};

    store_bundle_write_head(head, &bundle);
    assert_int_equal(hf_buffer_append(payload, head, sizeof head), 0);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t size[STORE_BUNDLE_COMMAND_HEAD_SIZE];
        hf_buffer bytes;

        hf_buffer_init(&bytes, UINT64_MAX);
        if (store_command_encode(&bytes, &commands[i].command, &error) < 0)
            fail_msg("encode: %s", error.message);
        store_write_be(size, bytes.size, sizeof size);
        assert_int_equal(hf_buffer_append(payload, size, sizeof size), 0);
        assert_int_equal(hf_buffer_append(payload, bytes.data, bytes.size), 0);
        hf_buffer_done(&bytes);
    }
}

void kit_apply_together(struct store_machine *machine, const struct kit_command *commands, uint32_t count,
                        struct store_outcome *ret_outcomes)
{
    struct store_entry entry = {.index = kit_state(machine).applied_index + 1, .term = 100};
    struct store_outcomes outcomes = {0};
    uint64_t applied = 0;
    hf_buffer payload;
    hf_error error = {0};

    hf_buffer_init(&payload, UINT64_MAX);
    kit_bundle(&payload, commands, count);
    entry.payload = BYTES(payload);
    if (store_machine_apply(machine, &entry, 1, 0, &outcomes, &applied, &error) < 0)
        fail_msg("apply: %s", error.message);
    assert_int_equal(applied, 1);
    assert_int_equal(entry.outcome_count, count);
    assert_int_equal(outcomes.count, count);
    memcpy(ret_outcomes, outcomes.items, count * sizeof *ret_outcomes);
    free(outcomes.items);
    hf_buffer_done(&payload);
}

struct store_outcome kit_apply_bytes(struct store_machine *machine, hf_slice command, uint64_t time_us)
{
    struct store_entry entry = {.index = kit_state(machine).applied_index + 1, .term = 100};
    const struct store_bundle bundle = {.time_us = time_us, .count = 1};
    struct store_outcomes outcomes = {0};
    struct store_outcome outcome;
    uint8_t *payload = malloc(STORE_BUNDLE_HEAD_SIZE + STORE_BUNDLE_COMMAND_HEAD_SIZE + command.size);
    uint64_t applied = 0;
    hf_error error = {0};

    assert_non_null(payload);
    uint8_t *end = store_bundle_write_command(store_bundle_write_head(payload, &bundle), command);

    entry.payload = (hf_slice){payload, (uint64_t)(end - payload)};
    if (store_machine_apply(machine, &entry, 1, 0, &outcomes, &applied, &error) < 0)
        fail_msg("apply: %s", error.message);
    assert_true(applied == 1 && outcomes.count == 1);
    outcome = outcomes.items[0];
    free(outcomes.items);
    free(payload);
    return outcome;
}

struct store_outcome kit_apply(struct store_machine *machine, const struct kit_command *command)
{
    struct store_outcome outcome;

    kit_apply_together(machine, command, 1, &outcome);
    return outcome;
}

struct store_outcome kit_apply_one(struct store_machine *machine, struct store_operation operation)
{
    struct kit_command command = {
        .command = {.time_us = 1000, .user = 5, .operations = &operation, .operation_count = 1}};

    return kit_apply(machine, &command);
}

struct store_machine_state kit_state(struct store_machine *machine)
{
    struct store_machine_state state;

    store_machine_state(machine, &state);
    return state;
}

void kit_expect(struct store_machine *machine, hf_slice key, hf_slice value, uint64_t version)
{
    struct store_record record;
    hf_error error = {0};

    if (store_machine_get(machine, key, 0, &record, &error) < 0)
        fail_msg("get: %s", error.message);
    assert_int_equal(record.version, version);
    assert_int_equal(record.value.size, value.size);
    if (value.size)
        assert_memory_equal(record.value.data, value.data, value.size);
    store_record_release(machine, &record);
}

void kit_expect_none(struct store_machine *machine, hf_slice key)
{
    struct store_record record;

    assert_int_equal(store_machine_get(machine, key, 0, &record, NULL), HF_ENOTFOUND);
}

hf_buffer kit_export(hf_engine_database *database, uint64_t space)
{
    hf_engine_export *source = NULL;
    uint64_t size = 0;
    hf_buffer all;

    hf_buffer_init(&all, UINT64_MAX);
    assert_int_equal(kit_engine->export_open(database, space, &source, NULL), 0);
    do {
        assert_int_equal(hf_buffer_reserve(&all, 1 << 16), 0);
        assert_int_equal(kit_engine->export_read(source, all.data + all.size, 1 << 16, &size, NULL), 0);
        all.size += size;
    } while (size > 0);
    kit_engine->export_close(source);
    return all;
}

void kit_import(hf_engine_database *database, uint64_t space, hf_slice bytes)
{
    hf_engine_import *target = NULL;

    assert_int_equal(kit_engine->import_open(database, space, &target, NULL), 0);
    assert_int_equal(kit_engine->import_write(target, bytes, NULL), 0);
    assert_int_equal(kit_engine->import_commit(target, NULL), 0);
    kit_engine->import_close(target);
}

void kit_assert_same_spaces(hf_engine_database *database, uint64_t a, uint64_t b)
{
    hf_buffer of_a = kit_export(database, a), of_b = kit_export(database, b);

    assert_int_equal(of_a.size, of_b.size);
    assert_memory_equal(of_a.data, of_b.data, of_a.size);
    hf_buffer_done(&of_a);
    hf_buffer_done(&of_b);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: %s PLUGIN.so\n", argv[0]);
        return 2;
    }
    kit_program = argv[0];
    kit_plugin = argv[1];
    if (kit_load(kit_plugin) < 0)
        return 2;
    if (argc == 3) /* started by the crash test */
        return kit_crash_child(argv[2]);

    int failed = kit_test_apply() + kit_test_feed() + kit_test_read() + kit_test_damage() + kit_test_inspect() +
                 kit_test_expiry() + kit_test_transaction() + kit_test_reshape() + kit_test_random() +
                 kit_test_beside() + kit_test_crash();

    kit_unload();
    return failed ? 1 : 0;
}
