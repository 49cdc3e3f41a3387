/* log_private.h: the log's insides, shared by log.c, recovery.c and writer.c. */
#ifndef STORE_LOG_PRIVATE_H
#define STORE_LOG_PRIVATE_H

#include "index.h"

#include <pthread.h>

enum { BATCH_RECORDS_MAX = 1024, BATCH_PARTS_MAX = 512, BATCH_STAGING_SIZE = 1 << 20, BATCH_COPY_MAX = 16384 };

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
};

struct store_log {
    struct store_log_options options;
    pthread_t thread;
    pthread_mutex_t lock; /* all of the below except `batch` and what the writer thread alone changes */
    pthread_cond_t work;
    struct store_log_request *first, **last; /* waiting */
    struct log_index index;
    struct store_log_metrics metrics;
    uint64_t pending_index_bytes; /* that the waiting entries will need */
    int closing;
    int32_t failed;
    hf_error failure;
    uint64_t spares[64]; /* numbers of files NUMBER.spare */
    uint32_t spare_count;
    struct segment *current; /* writer */
    uint64_t next_number;    /* writer */
    struct batch *batch;     /* writer */
};

/* recovery.c: fills the index; next_number and the last segment's end are set. */
int32_t log_recover(struct store_log *log, hf_error *error);

/* writer.c */
int32_t log_segment_begin(struct store_log *log, hf_error *error);
void *log_writer_main(void *log);

#endif
