/* Shows on a real directory that the log keeps what it acknowledged, in order, over reopening, rolling and recycling.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_log.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SEGMENT = 65536 };

struct fixture {
    char directory[64];
    struct store_log_file_system fs;
    struct store_log_options options;
    struct store_log *log;
    uint64_t damages, cuts;
};

static void damaged(void *argument, const struct store_log_damage *damage)
{
    (void)damage;
    ((struct fixture *)argument)->damages++;
}

static void cut(void *argument, uint64_t segment, uint64_t offset, uint64_t bytes)
{
    (void)segment, (void)offset, (void)bytes;
    ((struct fixture *)argument)->cuts++;
}

static int32_t open_log(struct fixture *fixture, hf_error *error)
{
    int32_t result = store_log_file_system_open(fixture->directory, &fixture->fs, error);

    if (result != HF_OK)
        return result;
    fixture->options.file_system = fixture->fs;
    fixture->options.damaged = damaged;
    fixture->options.cut = cut;
    fixture->options.argument = fixture;
    result = store_log_open(&fixture->options, &fixture->log, error);
    if (result != HF_OK)
        store_log_file_system_close(&fixture->fs);
    return result;
}

static void close_log(struct fixture *fixture)
{
    store_log_close(fixture->log);
    store_log_file_system_close(&fixture->fs);
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    assert_non_null(fixture);
    strcpy(fixture->directory, "/tmp/holdfast-log-XXXXXX");
    assert_non_null(mkdtemp(fixture->directory));
    fixture->options.segment_size = SEGMENT;
    memset(fixture->options.node, 7, sizeof fixture->options.node);
    assert_int_equal(open_log(fixture, NULL), HF_OK);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    char command[128];

    close_log(fixture);
    snprintf(command, sizeof command, "rm -rf '%s'", fixture->directory);
    assert_int_equal(system(command), 0);
    free(fixture);
    return 0;
}

/* ---- Handing in and waiting
 * ------------------------------------------------------------------------------------------ */

struct waiter {
    struct store_log_request request;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int done;
    int32_t code;
};

static void finished(struct store_log_request *request, int32_t code, void *argument)
{
    struct waiter *waiter = argument;

    (void)request;
    pthread_mutex_lock(&waiter->lock);
    waiter->code = code;
    waiter->done = 1;
    pthread_cond_signal(&waiter->changed);
    pthread_mutex_unlock(&waiter->lock);
}

static int32_t store(struct store_log *log, const struct store_log_record *records, uint64_t count)
{
    struct waiter waiter = {.request = {.records = records, .count = count, .done = finished},
                            .lock = PTHREAD_MUTEX_INITIALIZER,
                            .changed = PTHREAD_COND_INITIALIZER};
    int32_t result;

    waiter.request.argument = &waiter;
    result = store_log_submit(log, &waiter.request, NULL);
    if (result != HF_OK)
        return result;
    pthread_mutex_lock(&waiter.lock);
    while (!waiter.done)
        pthread_cond_wait(&waiter.changed, &waiter.lock);
    pthread_mutex_unlock(&waiter.lock);
    return waiter.code;
}

static void fill(uint8_t *payload, uint32_t size, uint64_t group, uint64_t index, uint64_t term)
{
    for (uint32_t i = 0; i < size; i++)
        payload[i] = (uint8_t)(group * 31 + index * 7 + term * 3 + i);
}

static int32_t append(struct store_log *log, uint64_t group, uint64_t index, uint64_t term, uint32_t size)
{
    uint8_t payload[32768];
    struct store_log_record record = {.type = STORE_LOG_ENTRY,
                                      .entry_type = (int32_t)(index % 3),
                                      .group = group,
                                      .index = index,
                                      .term = term,
                                      .payload = {payload, size}};

    fill(payload, size, group, index, term);
    return store(log, &record, 1);
}

static void check_entry(struct store_log *log, uint64_t group, uint64_t index, uint64_t term, uint32_t size)
{
    uint8_t payload[32768], expected[32768];
    struct store_log_entry entry;

    assert_int_equal(store_log_read(log, group, index, payload, sizeof payload, &entry, NULL), HF_OK);
    assert_int_equal(entry.term, term);
    assert_int_equal(entry.size, size);
    assert_int_equal(entry.type, index % 3);
    fill(expected, size, group, index, term);
    assert_memory_equal(payload, expected, size);
}

static struct store_log_group_info info_of(struct store_log *log, uint64_t group)
{
    struct store_log_group_info info = {0};

    assert_int_equal(store_log_group(log, group, &info), HF_OK);
    return info;
}

/* ---- Tests
 * ------------------------------------------------------------------------------------------------------------ */

static void entries_and_state_survive_reopening(void **state)
{
    struct fixture *fixture = *state;
    struct store_log_record hard = {.type = STORE_LOG_STATE, .group = 1, .term = 5, .vote = 2, .commit = 3};
    struct store_log_group_info info;

    for (uint64_t i = 1; i <= 20; i++) {
        assert_int_equal(append(fixture->log, 1, i, 5, (uint32_t)(i * 100)), HF_OK);
        assert_int_equal(append(fixture->log, 2, i + 10, 6, 0), HF_OK);
    }
    assert_int_equal(store(fixture->log, &hard, 1), HF_OK);
    for (int round = 0; round < 3; round++) {
        info = info_of(fixture->log, 1);
        assert_int_equal(info.term, 5);
        assert_int_equal(info.vote, 2);
        assert_int_equal(info.commit, 3);
        assert_int_equal(info.first_index, 1);
        assert_int_equal(info.last_index, 20);
        assert_int_equal(info_of(fixture->log, 2).first_index, 11);
        for (uint64_t i = 1; i <= 20; i++)
            check_entry(fixture->log, 1, i, 5, (uint32_t)(i * 100));
        close_log(fixture);
        assert_int_equal(open_log(fixture, NULL), HF_OK);
    }
    assert_int_equal(fixture->damages + fixture->cuts, 0);
}

static void suffixes_are_replaced_and_truncated(void **state)
{
    struct fixture *fixture = *state;
    struct store_log_record truncate = {.type = STORE_LOG_TRUNCATE, .group = 1, .index = 4};

    for (uint64_t i = 1; i <= 10; i++)
        assert_int_equal(append(fixture->log, 1, i, 1, 10), HF_OK);
    assert_int_equal(append(fixture->log, 1, 6, 2, 10), HF_OK);
    assert_int_equal(info_of(fixture->log, 1).last_index, 6);
    check_entry(fixture->log, 1, 6, 2, 10);
    assert_int_equal(store(fixture->log, &truncate, 1), HF_OK);
    assert_int_equal(info_of(fixture->log, 1).last_index, 3);
    close_log(fixture);
    assert_int_equal(open_log(fixture, NULL), HF_OK);
    assert_int_equal(info_of(fixture->log, 1).last_index, 3);
    assert_int_equal(append(fixture->log, 1, 6, 2, 10), HF_EINVAL); /* 4 and 5 are missing */
}

static void a_snapshot_begins_the_log_anew(void **state)
{
    struct fixture *fixture = *state;
    const struct store_log_record records[] = {
        {.type = STORE_LOG_TRUNCATE, .group = 1, .index = 1},
        {.type = STORE_LOG_COMPACT, .group = 1, .index = 101, .snapshot_index = 100, .term = 9},
    };
    struct store_log_group_info info;

    for (uint64_t i = 1; i <= 10; i++)
        assert_int_equal(append(fixture->log, 1, i, 1, 10), HF_OK);
    assert_int_equal(store(fixture->log, records, 2), HF_OK);
    assert_int_equal(append(fixture->log, 1, 101, 9, 10), HF_OK);
    for (int round = 0; round < 2; round++) {
        info = info_of(fixture->log, 1);
        assert_int_equal(info.first_index, 101);
        assert_int_equal(info.last_index, 101);
        assert_int_equal(info.snapshot_index, 100);
        assert_int_equal(info.snapshot_term, 9);
        close_log(fixture);
        assert_int_equal(open_log(fixture, NULL), HF_OK);
    }
}

static void old_segments_are_freed_and_used_again(void **state)
{
    struct fixture *fixture = *state;
    struct store_log_record hard = {.type = STORE_LOG_STATE, .group = 77, .term = 4, .vote = 1};
    struct store_log_metrics metrics;

    assert_int_equal(store(fixture->log, &hard, 1), HF_OK); /* an idle group must not keep the first segment */
    for (uint64_t i = 1; i <= 400; i++) {
        assert_int_equal(append(fixture->log, 1, i, 1, 4000), HF_OK);
        if (i % 20 == 0) {
            struct store_log_record compact = {
                .type = STORE_LOG_COMPACT, .group = 1, .index = i - 5, .snapshot_index = i - 6, .term = 1};
            assert_int_equal(store(fixture->log, &compact, 1), HF_OK);
        }
    }
    store_log_metrics(fixture->log, &metrics);
    assert_true(metrics.freed > 10);
    assert_true(metrics.recycled > 5);
    assert_true(metrics.segments <= 5);
    close_log(fixture);
    assert_int_equal(open_log(fixture, NULL), HF_OK);
    assert_int_equal(info_of(fixture->log, 77).term, 4);
    assert_int_equal(info_of(fixture->log, 1).first_index, 395);
    for (uint64_t i = 395; i <= 400; i++)
        check_entry(fixture->log, 1, i, 1, 4000);
    assert_int_equal(fixture->damages + fixture->cuts, 0);
}

static void limits_are_kept(void **state)
{
    struct fixture *fixture = *state;
    static uint8_t large[SEGMENT];
    struct store_log_record record = {
        .type = STORE_LOG_ENTRY, .group = 1, .index = 1, .term = 1, .payload = {large, sizeof large}};

    assert_int_equal(store(fixture->log, &record, 1), HF_ETOOLARGE);
    record.type = 99;
    assert_int_equal(store(fixture->log, &record, 1), HF_EINVAL);
    assert_int_equal(append(fixture->log, 1, 1, 1, 32000), HF_OK);
    check_entry(fixture->log, 1, 1, 1, 32000);
}

static void others_are_kept_out(void **state)
{
    struct fixture *fixture = *state;
    struct store_log_file_system other;
    hf_error error = {0};

    assert_int_equal(store_log_file_system_open(fixture->directory, &other, &error), HF_EBUSY);
    close_log(fixture);
    fixture->options.node[0]++;
    assert_int_equal(open_log(fixture, &error), HF_ESTATE);
    fixture->options.node[0]--;
    assert_int_equal(open_log(fixture, NULL), HF_OK);
}

static void flip(const char *directory, const char *name, long offset)
{
    char path[128];
    int c;

    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, offset, SEEK_SET), 0);
    c = fgetc(file);
    assert_int_equal(fseek(file, offset, SEEK_SET), 0);
    assert_int_not_equal(fputc(c ^ 0x40, file), EOF);
    assert_int_equal(fclose(file), 0);
}

static void damage_is_told_from_a_torn_tail(void **state)
{
    struct fixture *fixture = *state;
    hf_error error = {0};

    for (uint64_t i = 1; i <= 10; i++)
        assert_int_equal(append(fixture->log, 1, i, 1, 100), HF_OK);
    close_log(fixture);
    /* The last record: an interrupted write, as far as anybody can tell. */
    flip(fixture->directory, "0000000000000001.log", 64 + 9 * 144 + 60);
    assert_int_equal(open_log(fixture, &error), HF_OK);
    assert_int_equal(fixture->cuts, 1);
    assert_int_equal(info_of(fixture->log, 1).last_index, 9);
    assert_int_equal(append(fixture->log, 1, 10, 2, 100), HF_OK);
    close_log(fixture);
    /* One in the middle: damage. */
    flip(fixture->directory, "0000000000000001.log", 64 + 4 * 144 + 60);
    assert_int_equal(open_log(fixture, &error), HF_ECORRUPT);
    assert_true(fixture->damages > 0);
    fixture->options.accept_damage = 1;
    assert_int_equal(open_log(fixture, &error), HF_OK);
    assert_int_equal(info_of(fixture->log, 1).last_index, 4);
}

/* ---- Threads
 * ------------------------------------------------------------------------------------------------------------ */

struct producer {
    pthread_t thread;
    struct store_log *log;
    uint64_t group;
};

static void *produce(void *arg)
{
    struct producer *producer = arg;

    for (uint64_t i = 1; i <= 200; i++)
        if (append(producer->log, producer->group, i, 1, (uint32_t)(i % 500)) != HF_OK)
            return arg;
    return NULL;
}

static void threads_share_the_log(void **state)
{
    struct fixture *fixture = *state;
    struct producer producers[4];
    struct store_log_metrics metrics;
    void *failed;

    for (uint64_t i = 0; i < 4; i++) {
        producers[i] = (struct producer){.log = fixture->log, .group = i + 1};
        assert_int_equal(pthread_create(&producers[i].thread, NULL, produce, &producers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(producers[i].thread, &failed);
        assert_null(failed);
    }
    store_log_metrics(fixture->log, &metrics);
    assert_int_equal(metrics.records >= 800, 1);
    close_log(fixture);
    assert_int_equal(open_log(fixture, NULL), HF_OK);
    for (uint64_t group = 1; group <= 4; group++)
        for (uint64_t i = 1; i <= 200; i++)
            check_entry(fixture->log, group, i, 1, (uint32_t)(i % 500));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(entries_and_state_survive_reopening, set_up, tear_down),
        cmocka_unit_test_setup_teardown(suffixes_are_replaced_and_truncated, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_snapshot_begins_the_log_anew, set_up, tear_down),
        cmocka_unit_test_setup_teardown(old_segments_are_freed_and_used_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(limits_are_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(others_are_kept_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(damage_is_told_from_a_torn_tail, set_up, tear_down),
        cmocka_unit_test_setup_teardown(threads_share_the_log, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
