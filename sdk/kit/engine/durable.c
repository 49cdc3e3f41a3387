/* What was flushed survives: reopening, killed processes, checkpoints.  Skipped by engines that do not say so.
 *
 * A killed process leaves what it gave to the system, so these tests find writes that come back out of order or
 * half, and flushes that return early; they cannot find a missing fsync, which takes a power failure. */
#include "engine.h"

#include "report.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void need(uint64_t capability)
{
    if (!(engine.table->head.capabilities & capability))
        hf_kit_not_applicable("the engine does not declare the capability bit %llu", (unsigned long long)capability);
}

static void test_reopen(engine_database *k)
{

    need(HF_ENGINE_DURABLE);
    engine_write(k->database, HF_ENGINE_PUT, 1, TEXT("a"), TEXT("1"));
    engine_write(k->database, HF_ENGINE_PUT, 1, TEXT("b"), TEXT("2"));
    engine_write(k->database, HF_ENGINE_DELETE, 1, TEXT("a"), NOTHING);
    HF_KIT_EQUAL(engine.table->flush(k->database, NULL), 0);
    engine_close(k);
    engine_open(k);
    HF_KIT_TEXT(engine_scan(k->database, 1, NOTHING, NOTHING, 0), "b");
}

static void test_checkpoint(engine_database *k)
{
    engine_database copy = {.database = NULL};

    need(HF_ENGINE_CAN_CHECKPOINT);
    engine_write(k->database, HF_ENGINE_PUT, 1, TEXT("a"), TEXT("1"));
    snprintf(copy.directory, sizeof copy.directory, "%.80s-copy", k->directory);
    HF_KIT_EQUAL(engine.table->checkpoint(k->database, copy.directory, NULL), 0);
    HF_KIT_EQUAL(engine.table->checkpoint(k->database, copy.directory, NULL), HF_EEXIST);
    engine_write(k->database, HF_ENGINE_PUT, 1, TEXT("b"), TEXT("2"));
    engine_open(&copy);
    HF_KIT_TEXT(engine_scan(copy.database, 1, NOTHING, NOTHING, 0), "a");
    engine_remove(&copy);
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

    return engine_try_write(d, batch, 3);
}

static uint64_t read_last(hf_engine_database *d, uint64_t space)
{
    hf_slice value;
    uint64_t number = 0;

    if (engine.table->get(d, space, TEXT("last"), 0, &value, NULL) != 0)
        return 0;
    for (int i = 0; i < 8; i++)
        number = number << 8 | value.data[i];
    engine.table->release(d, value);
    return number;
}

/* ---- Killed processes -------------------------------------------------------------------------------------------- */

/* The process that is killed: writes and flushes, and tells which write the last flush covered. */
static HF_KIT_NORETURN void write_until_killed(const hf_kit_subject *subject, const char *directory, uint64_t first,
                                               int output)
{
    engine_database k = {.database = NULL};

    engine_load(subject);
    snprintf(k.directory, sizeof k.directory, "%s", directory);
    engine_open(&k);
    for (uint64_t number = first;; number++) {
        HF_KIT_EQUAL(write_number(k.database, number), 0);
        if (number % 97 != 0)
            continue;
        HF_KIT_EQUAL(engine.table->flush(k.database, NULL), 0);
        if (write(output, &number, sizeof number) != sizeof number)
            hf_kit_fail("the kit's own pipe is broken");
    }
}

/* The process that opens what was left; tells the last write that is there. */
static HF_KIT_NORETURN void look(const hf_kit_subject *subject, const char *directory, uint64_t flushed, int output)
{
    engine_database k = {.database = NULL};

    engine_load(subject);
    if (!(engine.table->head.capabilities & HF_ENGINE_DURABLE))
        hf_kit_not_applicable("the engine does not declare HF_ENGINE_DURABLE");
    snprintf(k.directory, sizeof k.directory, "%s", directory);
    engine_open(&k);
    uint64_t last = read_last(k.database, 8);
    if (last < flushed)
        hf_kit_fail("write %llu was flushed, and after the kill the last is %llu", (unsigned long long)flushed,
                    (unsigned long long)last);
    HF_KIT_EQUAL(read_last(k.database, 9), last);
    HF_KIT_EQUAL(engine_count(k.database, 0) + engine_count(k.database, 1) + engine_count(k.database, 2), last);
    engine_close(&k);
    _exit(write(output, &last, sizeof last) == sizeof last ? 0 : 1);
}

/* Runs one of the two, in a process of its own, since an engine's threads do not survive a fork; kills the writer after
 * `delay_us`.  Returns the last number that it told, or 0. */
static uint64_t run_process(const hf_kit_subject *subject, const char *directory, uint64_t number, uint64_t delay_us)
{
    uint64_t told = 0, one;
    int ends[2], status;

    HF_KIT_EQUAL(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0 && delay_us)
        write_until_killed(subject, directory, number, ends[1]);
    if (child == 0)
        look(subject, directory, number, ends[1]);
    HF_KIT_TRUE(child > 0);
    close(ends[1]);
    if (delay_us) { /* the moment of the kill is what is tried out, not something to wait for */
        nanosleep(&(struct timespec){(time_t)(delay_us / 1000000), (long)(delay_us % 1000000) * 1000}, NULL);
        kill(child, SIGKILL);
    }
    while (read(ends[0], &one, sizeof one) == sizeof one)
        told = one;
    close(ends[0]);
    HF_KIT_EQUAL(waitpid(child, &status, 0), child);
    if (delay_us ? !WIFSIGNALED(status) : !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        hf_kit_fail("the process that %s ended with status 0x%x", delay_us ? "writes" : "looks", status);
    return told;
}

void engine_check_crash(const hf_kit_subject *subject)
{
    enum { ROUNDS = 12, SLOW_ROUNDS = 6, SEED = 20240229 };
    char directory[96];
    uint64_t random = SEED, reached = 0, flushes = 0;

    snprintf(directory, sizeof directory, "%s/crash", kit_report ? kit_report->directory : ".");
    HF_KIT_EQUAL(mkdir(directory, 0700), 0);
    run_process(subject, directory, 0, 0);
    if (kit_report && kit_report->result)
        return; /* it was said already: not applicable */
    /* On a machine that is too slow for a single flush in that time, the writers live longer and longer. */
    for (int round = 0; round < ROUNDS || (flushes == 0 && round < ROUNDS + SLOW_ROUNDS); round++) {
        int doubled = round < ROUNDS ? 0 : round - ROUNDS + 1;
        random = random * 6364136223846793005u + 1442695040888963407u;
        uint64_t flushed = run_process(subject, directory, reached + 1, (50000 + (random >> 33) % 300000) << doubled);
        flushes += flushed > 0;
        reached = run_process(subject, directory, flushed > reached ? flushed : reached, 0);
    }
    if (flushes == 0)
        hf_kit_fail("not one flush was done in %d rounds, the last of many seconds", ROUNDS + SLOW_ROUNDS);
}

ENGINE_CHECK(reopen)
ENGINE_CHECK(checkpoint)
