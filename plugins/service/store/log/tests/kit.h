/* kit.h: what the log's tests share. */
#ifndef STORE_LOG_KIT_H
#define STORE_LOG_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "memory_disk.h"

enum { KIT_SEGMENT_SIZE = 16384, KIT_DAMAGES_MAX = 16 };

/* A log on a disk in memory, and what its recovery reported. */
struct kit {
    struct memory_disk *disk;
    struct store_log *log;
    struct store_log_options options; /* to change before kit_open */
    struct store_log_damage damages[KIT_DAMAGES_MAX];
    int damage_count;
    uint64_t cut_bytes;
};

void kit_init(struct kit *kit, uint64_t seed);
void kit_done(struct kit *kit);
int32_t kit_try_open(struct kit *kit, hf_error *error);
void kit_open(struct kit *kit); /* must succeed */
void kit_close(struct kit *kit);
void kit_reopen(struct kit *kit);

/* Submits and waits: what `done` said, or submit. */
int32_t kit_submit(struct store_log *log, const struct store_log_record *records, uint64_t count);
int32_t kit_one(struct kit *kit, struct store_log_record record);

struct store_log_record kit_entry(uint64_t group, uint64_t index, uint64_t term, const void *payload, uint64_t size);
struct store_log_record kit_text(uint64_t group, uint64_t index, uint64_t term, const char *text);
struct store_log_record kit_state(uint64_t group, uint64_t term, uint64_t vote, uint64_t commit);
struct store_log_record kit_truncate(uint64_t group, uint64_t index);
struct store_log_record kit_compact(uint64_t group, uint64_t index, uint64_t term);
struct store_log_record kit_removed(uint64_t group);

void kit_expect_text(struct kit *kit, uint64_t group, uint64_t index, uint64_t term, const char *text);
void kit_expect_range(struct kit *kit, uint64_t group, uint64_t first, uint64_t last);

/* A request that can be waited for. */
struct kit_wait {
    struct store_log_request request;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int done;
    int32_t code;
};
int32_t kit_begin(struct kit_wait *wait, struct store_log *log, const struct store_log_record *records, uint64_t count);
int32_t kit_end(struct kit_wait *wait);

#endif
