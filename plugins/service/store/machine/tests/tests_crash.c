/* A killed process leaves an exact prefix: the space is what the entries up to its applied index make of an empty one.
 * Skipped by engines that are not durable. */
#include "kit.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SEED = 77, ROUNDS = 8, FLUSH_EACH = 50 };

static uint64_t apply_some(struct store_machine *machine, uint64_t count)
{
    struct kit_random_entry random[8];
    struct store_entry entries[8];
    struct store_outcomes outcomes = {0};
    uint64_t first = kit_state(machine).applied_index + 1, applied = 0;

    for (uint64_t i = 0; i < count; i++) {
        kit_random_entry(&random[i], SEED, first + i);
        entries[i] = random[i].entry;
    }
    int32_t r = store_machine_apply(machine, entries, count, 0, &outcomes, &applied, NULL);

    for (uint64_t i = 0; i < count; i++)
        hf_buffer_done(&random[i].payload);
    free(outcomes.items);
    assert_true(r == 0 || r == HF_EBUSY);
    return first + applied - 1;
}

/* Tells the parent on standard output which entry the last flush covered. */
int kit_crash_child(const char *directory)
{
    hf_engine_database *database = NULL;

    if (kit_open_database(directory, &database, NULL) < 0)
        return 3;
    struct store_machine *machine = kit_open_machine(database, kit_engine, SPACE);
    uint64_t flushed = 0;

    for (;;) {
        uint64_t index = apply_some(machine, 1 + kit_state(machine).applied_index % 8);

        if (index < flushed + FLUSH_EACH)
            continue;
        if (kit_engine->flush(database, NULL) < 0 || write(STDOUT_FILENO, &index, sizeof index) != sizeof index)
            return 4;
        flushed = index;
    }
}

/* A new program, since an engine's threads do not survive a fork. */
static pid_t start_child(const char *directory, int output)
{
    pid_t child = fork();

    if (child != 0)
        return child;
    dup2(output, STDOUT_FILENO);
    execl("/proc/self/exe", kit_program, kit_plugin, directory, (char *)NULL);
    _exit(127);
}

/* Kills a child once it told of `flushes`; returns the entry that the last one covered. */
static uint64_t run_and_kill(const char *directory, uint64_t flushes)
{
    uint64_t index, flushed = 0;
    int ends[2], status;

    assert_int_equal(pipe(ends), 0);
    pid_t child = start_child(directory, ends[1]);

    assert_true(child > 0);
    close(ends[1]);
    for (uint64_t i = 0; i < flushes; i++) {
        assert_int_equal(read(ends[0], &index, sizeof index), sizeof index);
        flushed = index;
    }
    kill(child, SIGKILL);
    while (read(ends[0], &index, sizeof index) == sizeof index)
        flushed = index;
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status)); /* otherwise it ended by itself, with an error */
    return flushed;
}

static void a_killed_process_leaves_an_exact_prefix(void **state)
{
    struct kit *kit = *state;

    if (!kit_is_durable())
        skip();
    for (uint64_t round = 0; round < ROUNDS; round++) {
        store_machine_close(kit->machine);
        kit_engine->close(kit->database);
        uint64_t flushed = run_and_kill(kit->directory, 1 + round % 4);

        assert_int_equal(kit_open_database(kit->directory, &kit->database, NULL), 0);
        kit->machine = kit_open_machine(kit->database, kit_engine, SPACE);
        struct store_machine_state reached = kit_state(kit->machine);

        assert_true(reached.applied_index >= flushed);
        struct store_machine *again = kit_open_machine(kit->database, kit_engine, SPACE + 1);

        assert_int_equal(store_machine_erase(again, NULL), 0);
        store_machine_close(again);
        again = kit_open_machine(kit->database, kit_engine, SPACE + 1);
        while (kit_state(again).applied_index < reached.applied_index)
            apply_some(again, 1);
        kit_assert_same_spaces(kit->database, SPACE, SPACE + 1);
        assert_int_equal(store_machine_erase(again, NULL), 0);
        store_machine_close(again);
    }
}

int kit_test_crash(void)
{
    const struct CMUnitTest tests[] = {TEST(a_killed_process_leaves_an_exact_prefix)};

    return cmocka_run_group_tests_name("crash", tests, NULL, NULL);
}
