/* log_private.h: the log's insides, shared by log.c, recovery.c, segments.c, marks.c and writer.c. */
#ifndef STORE_LOG_PRIVATE_H
#define STORE_LOG_PRIVATE_H

#include "index.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    BATCH_RECORDS_MAX = 16384,
    BATCH_PARTS_MAX = 1024, /* what the kernel takes in one pwritev */
    BATCH_STAGING_SIZE = 4 << 20,
    BATCH_COPY_MAX = 4096, /* larger payloads are written from where they are */
    ZERO_SIZE = 64 << 10,
    ZERO_AHEAD = 512 << 10,
    ZERO_PARTS = ZERO_AHEAD / ZERO_SIZE,
    COPIES_MAX = 8192,
    SPARE_MAX = 64
};

struct batch_item {
    const struct store_log_record *record;
    uint32_t offset;
};

/* One write in the making; the writer thread's own. */
struct batch {
    uint8_t *staging;
    uint64_t staged;
    struct iovec parts[BATCH_PARTS_MAX];
    int part_count;
    struct batch_item items[BATCH_RECORDS_MAX];
    uint32_t item_count;
    uint64_t bytes;
    struct store_log_request *waiting;    /* oldest request not completed */
    struct store_log_request *staged_end; /* first one that is not wholly in a write */
    struct store_log_record copies[COPIES_MAX];
};

struct store_log {
    struct store_log_options options;
    pthread_t thread;
    pthread_mutex_t lock; /* all of the below but what is the writer's */
    pthread_cond_t work;
    struct store_log_request *first, **last; /* waiting */
    struct log_index index;
    struct store_log_metrics metrics;
    struct index_plan *plans; /* of the request being submitted, to take them back */
    uint64_t plan_capacity;
    int closing;
    int32_t failed;
    hf_error failure;
    uint64_t spares[SPARE_MAX]; /* writer; numbers of files NUMBER.spare */
    uint32_t spare_count;       /* writer */
    struct segment *current;    /* writer; NULL: recovery found none to go on with */
    uint64_t last_number;       /* writer; of the segment before the next one; 0: none */
    uint64_t last_end;          /* writer; where its records end */
    uint64_t next_number;       /* writer */
    struct batch *batch;        /* writer */
    _Atomic uint64_t position;  /* see store_log_position */
};

/* recovery.c: fills the index and sets what is the writer's. */
int32_t log_recover(struct store_log *log, hf_error *error);

/* segments.c.  The first makes the next segment `current`; the second frees the oldest ones that nobody needs. */
int32_t log_segment_begin(struct store_log *log, hf_error *error);
int32_t log_segments_free(struct store_log *log, hf_error *error);
/* Both loop over short results.  Return 0 or the bytes read, or -errno. */
int log_write_all(const struct store_log_file_system *fs, int file, struct iovec *parts, int count, uint64_t offset);
int64_t log_read_all(const struct store_log_file_system *fs, int file, void *buffer, uint64_t size, uint64_t offset);

/* marks.c: puts copies of the states and compaction markers that alone keep the oldest segments into batch->copies,
 * up to `bytes_max` as stored, planned in the index; returns how many. */
uint32_t log_marks_gather(struct store_log *log, uint64_t bytes_max);

/* writer.c */
void *log_writer_main(void *log);

#endif
