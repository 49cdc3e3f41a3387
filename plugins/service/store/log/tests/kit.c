/* What the log's tests share. */
#include "kit.h"

#include <stdio.h>
#include <string.h>

static void on_damage(void *argument, const struct store_log_damage *damage)
{
    struct kit *kit = argument;

    if (kit->damage_count < KIT_DAMAGES_MAX)
        kit->damages[kit->damage_count] = *damage;
    kit->damage_count++;
}

static void on_cut(void *argument, uint64_t segment, uint64_t offset, uint64_t bytes)
{
    struct kit *kit = argument;

    assert_true(segment && offset);
    kit->cut_bytes += bytes;
}

void kit_init(struct kit *kit, uint64_t seed)
{
    memset(kit, 0, sizeof *kit);
    kit->disk = disk_new(seed);
    kit->options = (struct store_log_options){.file_system = disk_file_system(kit->disk),
                                              .node = "fifteen letters",
                                              .segment_size = KIT_SEGMENT_SIZE,
                                              .damaged = on_damage,
                                              .cut = on_cut,
                                              .argument = kit};
}

void kit_done(struct kit *kit)
{
    kit_close(kit);
    disk_free(kit->disk);
}

int32_t kit_try_open(struct kit *kit, hf_error *error)
{
    kit->damage_count = 0;
    kit->cut_bytes = 0;
    return store_log_open(&kit->options, &kit->log, error);
}

void kit_open(struct kit *kit)
{
    hf_error error = {0};
    int32_t r = kit_try_open(kit, &error);

    if (r < 0)
        fail_msg("cannot open the log: %s", error.message);
}

void kit_close(struct kit *kit)
{
    store_log_close(kit->log);
    kit->log = NULL;
}

void kit_reopen(struct kit *kit)
{
    kit_close(kit);
    kit_open(kit);
}

/* ---- Requests ------------------------------------------------------------------------------------------------ */

static void on_done(struct store_log_request *request, int32_t code, void *argument)
{
    struct kit_wait *wait = argument;

    assert_ptr_equal(request, &wait->request);
    pthread_mutex_lock(&wait->lock);
    wait->done = 1;
    wait->code = code;
    pthread_cond_signal(&wait->changed);
    pthread_mutex_unlock(&wait->lock);
}

int32_t kit_begin(struct kit_wait *wait, struct store_log *log, const struct store_log_record *records, uint64_t count)
{
    *wait = (struct kit_wait){.request = {.records = records, .count = count, .done = on_done, .argument = wait}};
    pthread_mutex_init(&wait->lock, NULL);
    pthread_cond_init(&wait->changed, NULL);
    return store_log_submit(log, &wait->request, NULL);
}

int32_t kit_end(struct kit_wait *wait)
{
    pthread_mutex_lock(&wait->lock);
    while (!wait->done)
        pthread_cond_wait(&wait->changed, &wait->lock);
    pthread_mutex_unlock(&wait->lock);
    pthread_cond_destroy(&wait->changed);
    pthread_mutex_destroy(&wait->lock);
    return wait->code;
}

int32_t kit_submit(struct store_log *log, const struct store_log_record *records, uint64_t count)
{
    struct kit_wait wait;
    int32_t r = kit_begin(&wait, log, records, count);

    return r < 0 ? r : kit_end(&wait);
}

int32_t kit_one(struct kit *kit, struct store_log_record record)
{
    return kit_submit(kit->log, &record, 1);
}

/* ---- Records ------------------------------------------------------------------------------------------------- */

struct store_log_record kit_entry(uint64_t group, uint64_t index, uint64_t term, const void *payload, uint64_t size)
{
    return (struct store_log_record){.type = STORE_LOG_ENTRY,
                                     .entry_type = 7,
                                     .group = group,
                                     .index = index,
                                     .term = term,
                                     .payload = {payload, size}};
}

struct store_log_record kit_text(uint64_t group, uint64_t index, uint64_t term, const char *text)
{
    return kit_entry(group, index, term, text, strlen(text));
}

struct store_log_record kit_state(uint64_t group, uint64_t term, uint64_t vote, uint64_t commit)
{
    return (struct store_log_record){
        .type = STORE_LOG_STATE, .group = group, .term = term, .vote = vote, .commit = commit};
}

struct store_log_record kit_truncate(uint64_t group, uint64_t index)
{
    return (struct store_log_record){.type = STORE_LOG_TRUNCATE, .group = group, .index = index};
}

struct store_log_record kit_compact(uint64_t group, uint64_t index, uint64_t term)
{
    return (struct store_log_record){
        .type = STORE_LOG_COMPACT, .group = group, .index = index, .term = term, .snapshot_index = index - 1};
}

struct store_log_record kit_removed(uint64_t group)
{
    return (struct store_log_record){.type = STORE_LOG_REMOVED, .group = group};
}

/* ---- Expectations -------------------------------------------------------------------------------------------- */

void kit_expect_text(struct kit *kit, uint64_t group, uint64_t index, uint64_t term, const char *text)
{
    char buffer[KIT_SEGMENT_SIZE];
    struct store_log_entry entry;
    hf_error error = {0};

    if (store_log_read(kit->log, group, index, buffer, sizeof buffer, &entry, &error) < 0)
        fail_msg("cannot read: %s", error.message);
    assert_int_equal(entry.term, term);
    assert_int_equal(entry.type, 7);
    assert_int_equal(entry.size, strlen(text));
    assert_memory_equal(buffer, text, entry.size);
}

void kit_expect_range(struct kit *kit, uint64_t group, uint64_t first, uint64_t last)
{
    struct store_log_group_info info;

    assert_int_equal(store_log_group(kit->log, group, &info), 0);
    assert_int_equal(info.first_index, first);
    assert_int_equal(info.last_index, last);
}
