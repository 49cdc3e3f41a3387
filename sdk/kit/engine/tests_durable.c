/* What was flushed survives: reopening, killed processes, checkpoints.  Skipped by engines that do not say so.
 *
 * A killed process leaves what it gave to the system, so these tests find writes that come back out of order or
 * half, and flushes that return early; they cannot find a missing fsync, which takes a power failure. */
#include "kit.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void need(uint64_t capability)
{
    if (!(kit.table->head.capabilities & capability))
        skip();
}

static void test_reopen(void **state)
{
    kit_database *k = *state;

    need(HF_ENGINE_DURABLE);
    kit_write(k->database, HF_ENGINE_PUT, 1, TEXT("a"), TEXT("1"));
    kit_write(k->database, HF_ENGINE_PUT, 1, TEXT("b"), TEXT("2"));
    kit_write(k->database, HF_ENGINE_DELETE, 1, TEXT("a"), NOTHING);
    assert_int_equal(kit.table->flush(k->database, NULL), 0);
    kit_close(k);
    kit_open(k);
    assert_string_equal(kit_scan(k->database, 1, NOTHING, NOTHING, 0), "b");
}

static void test_checkpoint(void **state)
{
    kit_database *k = *state, copy;

    need(HF_ENGINE_CAN_CHECKPOINT);
    kit_write(k->database, HF_ENGINE_PUT, 1, TEXT("a"), TEXT("1"));
    snprintf(copy.directory, sizeof copy.directory, "%.40s-copy", k->directory);
    assert_int_equal(kit.table->checkpoint(k->database, copy.directory, NULL), 0);
    assert_int_equal(kit.table->checkpoint(k->database, copy.directory, NULL), HF_EEXIST);
    kit_write(k->database, HF_ENGINE_PUT, 1, TEXT("b"), TEXT("2"));
    kit_open(&copy);
    assert_string_equal(kit_scan(copy.database, 1, NOTHING, NOTHING, 0), "a");
    kit_remove(&copy);
}

/* Write number n puts its number under a key of its own and into "last" of two spaces, so every prefix of the writes
 * is told by "last" alone and gaps show in the count. */
static int write_number(hf_engine_database *d, uint64_t number)
{
    uint8_t key[8], value[512] = {0};

    for (int i = 0; i < 8; i++)
        key[i] = (uint8_t)(number >> (56 - 8 * i));
    memcpy(value, key, 8);
    hf_engine_operation batch[] = {
        {.type = HF_ENGINE_PUT, .space = number % 3, .key = {key, 8}, .value = {value, sizeof value}},
        {.type = HF_ENGINE_PUT, .space = 8, .key = TEXT("last"), .value = {key, 8}},
        {.type = HF_ENGINE_PUT, .space = 9, .key = TEXT("last"), .value = {key, 8}},
    };

    return kit_try_write(d, batch, 3);
}

/* Tells the parent on standard output which write the last flush covered. */
int kit_crash_child(const char *directory, uint64_t first)
{
    hf_engine_database *d;

    if (kit.table->open(kit.instance, directory, &d, NULL) < 0)
        return 3;
    for (uint64_t number = first;; number++) {
        if (write_number(d, number) < 0)
            return 4;
        if (number % 97 != 0)
            continue;
        if (kit.table->flush(d, NULL) < 0 || write(STDOUT_FILENO, &number, sizeof number) != sizeof number)
            return 5;
    }
}

static uint64_t read_last(hf_engine_database *d, uint64_t space)
{
    hf_slice value;
    uint64_t number = 0;

    if (kit.table->get(d, space, TEXT("last"), 0, &value, NULL) != 0)
        return 0;
    for (int i = 0; i < 8; i++)
        number = number << 8 | value.data[i];
    kit.table->release(d, value);
    return number;
}

static void run_child(const char *directory, const char *first)
{
    const char *arguments[6 + 2 * KIT_SETTINGS_MAX] = {kit_program, kit_plugin, kit_name ? kit_name : "", directory,
                                                       first};
    int count = 5;

    for (int i = 0; i < kit_setting_count; i++) {
        arguments[count++] = "--set";
        arguments[count++] = kit_settings[i];
    }
    execv("/proc/self/exe", (char *const *)(uintptr_t)arguments);
}

/* A new program, since an engine's threads do not survive a fork. */
static pid_t start_child(const char *directory, uint64_t first, int output)
{
    char number[24];
    pid_t child = fork();

    if (child != 0)
        return child;
    snprintf(number, sizeof number, "%llu", (unsigned long long)first);
    dup2(output, STDOUT_FILENO);
    run_child(directory, number);
    _exit(127);
}

/* Runs a child, kills it after `delay_us`; returns the last flush that it told of, or 0. */
static uint64_t run_and_kill(const char *directory, uint64_t first, uint64_t delay_us)
{
    uint64_t number, flushed = 0;
    int ends[2], status;

    assert_int_equal(pipe(ends), 0);
    pid_t child = start_child(directory, first, ends[1]);

    assert_true(child > 0);
    close(ends[1]);
    nanosleep(&(struct timespec){(time_t)(delay_us / 1000000), (long)(delay_us % 1000000) * 1000}, NULL);
    kill(child, SIGKILL);
    while (read(ends[0], &number, sizeof number) == sizeof number)
        flushed = number;
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status)); /* otherwise it ended by itself, with an error */
    return flushed;
}

static void test_crash(void **state)
{
    enum { ROUNDS = 12, SEED = 20240229 };
    kit_database *k = *state;
    uint64_t random = SEED, reached = 0, flushes = 0;

    need(HF_ENGINE_DURABLE);
    for (int round = 0; round < ROUNDS; round++) {
        kit_close(k);
        random = random * 6364136223846793005u + 1442695040888963407u;
        uint64_t flushed = run_and_kill(k->directory, reached + 1, 50000 + (random >> 33) % 300000);

        flushes += flushed > 0;
        kit_open(k);
        uint64_t last = read_last(k->database, 8);

        assert_true(last >= flushed && last >= reached);
        assert_int_equal(read_last(k->database, 9), last);
        assert_int_equal(kit_count(k->database, 0) + kit_count(k->database, 1) + kit_count(k->database, 2), last);
        reached = last;
    }
    assert_true(flushes > 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, kit_setup, kit_teardown)

int kit_test_durable(void)
{
    const struct CMUnitTest tests[] = {TEST(test_reopen), TEST(test_checkpoint), TEST(test_crash)};

    return cmocka_run_group_tests_name("durable", tests, NULL, NULL);
}
