/* Shows that several threads may submit and read at once, while segments are freed and used again. */
#include "kit.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { WRITERS = 4, ENTRIES = 400, CHAIN = 200 };

struct writer {
    pthread_t thread;
    struct kit *kit;
    uint64_t group;
    pthread_mutex_t lock;
    uint64_t durable;
    int finished;
};

static void fill(uint8_t *payload, uint64_t group, uint64_t index, uint64_t size)
{
    for (uint64_t i = 0; i < size; i++)
        payload[i] = (uint8_t)(group * 17 + index * 5 + i);
}

static uint64_t size_of(uint64_t index)
{
    return 200 + index * 37 % 900;
}

static void *write_entries(void *argument)
{
    struct writer *writer = argument;
    uint8_t payload[2000];

    for (uint64_t i = 1; i <= ENTRIES; i++) {
        struct store_log_record records[] = {kit_entry(writer->group, i, 1, payload, size_of(i)),
                                             kit_state(writer->group, 1, 1, i),
                                             kit_compact(writer->group, i > 20 ? i - 20 : 1, 1)};

        fill(payload, writer->group, i, size_of(i));
        int32_t r = kit_submit(writer->kit->log, records, i % 10 ? 2 : 3);

        assert(r == 0);
        pthread_mutex_lock(&writer->lock);
        writer->durable = i;
        pthread_mutex_unlock(&writer->lock);
    }
    pthread_mutex_lock(&writer->lock);
    writer->finished = 1;
    pthread_mutex_unlock(&writer->lock);
    return NULL;
}

/* What was acknowledged just now is there, unless it was compacted meanwhile. */
static void *read_entries(void *argument)
{
    struct writer *writers = argument;
    uint8_t expected[2000], found[2000];
    struct store_log_entry entry;
    int finished = 0;

    while (finished < WRITERS) {
        finished = 0;
        for (int i = 0; i < WRITERS; i++) {
            pthread_mutex_lock(&writers[i].lock);
            uint64_t at = writers[i].durable;

            finished += writers[i].finished;
            pthread_mutex_unlock(&writers[i].lock);
            at = at > 15 ? at - 15 : at;
            if (!at)
                continue;
            int32_t r = store_log_read(writers[i].kit->log, writers[i].group, at, found, sizeof found, &entry, NULL);

            assert(r == 0 || r == HF_ENOTFOUND);
            fill(expected, writers[i].group, at, size_of(at));
            assert(r < 0 || (entry.size == size_of(at) && memcmp(expected, found, entry.size) == 0));
        }
    }
    return NULL;
}

static void many_threads_write_and_read(void **state)
{
    struct kit kit;
    struct writer writers[WRITERS];
    pthread_t reader;
    struct store_log_metrics metrics;

    (void)state;
    kit_init(&kit, 1);
    kit_open(&kit);
    memset(writers, 0, sizeof writers);
    for (int i = 0; i < WRITERS; i++) {
        writers[i].kit = &kit;
        writers[i].group = (uint64_t)i + 1;
        pthread_mutex_init(&writers[i].lock, NULL);
    }
    assert_int_equal(pthread_create(&reader, NULL, read_entries, writers), 0);
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&writers[i].thread, NULL, write_entries, &writers[i]), 0);
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_join(writers[i].thread, NULL), 0);
    assert_int_equal(pthread_join(reader, NULL), 0);
    for (int i = 0; i < WRITERS; i++)
        pthread_mutex_destroy(&writers[i].lock);
    for (int i = 0; i < 2; i++) /* segments are freed after `done`, and before the next write */
        assert_int_equal(kit_one(&kit, kit_state(1, 1, 1, 1)), 0);
    store_log_metrics(kit.log, &metrics);
    assert_true(metrics.freed > 10); /* all but the last 20 entries of whoever finished first, at least */
    assert_int_equal(metrics.groups, WRITERS);
    kit_reopen(&kit);
    for (uint64_t g = 1; g <= WRITERS; g++)
        kit_expect_range(&kit, g, ENTRIES - 20, ENTRIES);
    kit_done(&kit);
}

/* ---- Submitting from `done` ---------------------------------------------------------------------------------- */

struct chain {
    struct store_log *log;
    struct store_log_record record;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t left;
};

static void submit_next(struct chain *chain);

static void on_link(struct store_log_request *request, int32_t code, void *argument)
{
    struct chain *chain = argument;

    assert(code == 0);
    free(request);
    pthread_mutex_lock(&chain->lock);
    uint64_t left = --chain->left;

    pthread_cond_signal(&chain->changed);
    pthread_mutex_unlock(&chain->lock);
    if (left)
        submit_next(chain);
}

static void submit_next(struct chain *chain)
{
    struct store_log_request *request = calloc(1, sizeof *request);

    assert(request);
    chain->record.index++;
    *request = (struct store_log_request){.records = &chain->record, .count = 1, .done = on_link, .argument = chain};
    int32_t r = store_log_submit(chain->log, request, NULL);

    assert(r == 0);
}

static void done_may_submit_and_free(void **state)
{
    struct kit kit;
    struct chain chain = {.left = CHAIN, .record = kit_text(1, 0, 1, "link")};

    (void)state;
    kit_init(&kit, 1);
    kit_open(&kit);
    chain.log = kit.log;
    pthread_mutex_init(&chain.lock, NULL);
    pthread_cond_init(&chain.changed, NULL);
    submit_next(&chain);
    pthread_mutex_lock(&chain.lock);
    while (chain.left)
        pthread_cond_wait(&chain.changed, &chain.lock);
    pthread_mutex_unlock(&chain.lock);
    kit_expect_range(&kit, 1, 1, CHAIN);
    kit_done(&kit);
    pthread_cond_destroy(&chain.changed);
    pthread_mutex_destroy(&chain.lock);
}

/* ---- Closing and freeing under way --------------------------------------------------------------------------- */

static void closing_completes_what_was_submitted(void **state)
{
    struct kit kit;
    struct kit_wait waits[100];
    struct store_log_record records[100];

    (void)state;
    kit_init(&kit, 1);
    kit_open(&kit);
    for (uint64_t i = 0; i < 100; i++) {
        records[i] = kit_text(1, i + 1, 1, "text");
        assert_int_equal(kit_begin(&waits[i], kit.log, &records[i], 1), 0);
    }
    kit_close(&kit);
    for (int i = 0; i < 100; i++) {
        assert_true(waits[i].done);
        assert_int_equal(kit_end(&waits[i]), 0);
    }
    kit_open(&kit);
    kit_expect_range(&kit, 1, 1, 100);
    kit_done(&kit);
}

static void *read_first(void *argument)
{
    kit_expect_text(argument, 1, 1, 1, "is being read");
    return NULL;
}

static void a_segment_being_read_is_not_reused(void **state)
{
    static uint8_t payload[3000];
    struct kit kit;
    pthread_t reader;
    struct store_log_metrics metrics;

    (void)state;
    kit_init(&kit, 1);
    kit.options.segment_size = 4096;
    kit_open(&kit);
    assert_int_equal(kit_one(&kit, kit_text(1, 1, 1, "is being read")), 0);
    disk_hold(kit.disk, DISK_PREAD);
    assert_int_equal(pthread_create(&reader, NULL, read_first, &kit), 0);
    disk_wait_holding(kit.disk);
    for (uint64_t i = 2; i < 10; i++) {
        assert_int_equal(kit_one(&kit, kit_entry(1, i, 1, payload, sizeof payload)), 0);
        assert_int_equal(kit_one(&kit, kit_compact(1, i, 1)), 0);
    }
    store_log_metrics(kit.log, &metrics);
    assert_int_equal(metrics.freed, 0);
    disk_release(kit.disk);
    assert_int_equal(pthread_join(reader, NULL), 0);
    assert_int_equal(kit_one(&kit, kit_entry(1, 10, 1, payload, sizeof payload)), 0);
    /* Segments are freed after `done`, and before the next write. */
    assert_int_equal(kit_one(&kit, kit_state(1, 1, 1, 1)), 0);
    store_log_metrics(kit.log, &metrics);
    assert_true(metrics.freed > 5);
    kit_done(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_threads_write_and_read),
        cmocka_unit_test(done_may_submit_and_free),
        cmocka_unit_test(closing_completes_what_was_submitted),
        cmocka_unit_test(a_segment_being_read_is_not_reused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
