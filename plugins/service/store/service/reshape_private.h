/* service/reshape_private.h: between the files that carry out splits and merges; see reshape.c.  [first worker loop] */
#ifndef STORE_RESHAPE_PRIVATE_H
#define STORE_RESHAPE_PRIVATE_H

#include "service/call.h"
#include "service/private.h"

enum {
    DRIVES_MAX = 8, /* at a time */
    KEY_SIZE = 32,
    TIMEOUT_US = 5000000,
    PAUSE_US = 100000,
    LONG_PAUSE_US = 1000000
};

enum { SETTLE, SETTLE_OTHER, BEGIN, COPY, END, CLOSE, LOOK_AT_CLOSED, ABSORB, LOOK, RECORD };

/* The care for one split or merge. */
struct drive {
    struct store_call call; /* first */
    struct store_driver *driver;
    struct store_reshaping reshaping;
    int32_t is_busy;
    int32_t step;
    uint64_t next_us;
    uint64_t majority_us; /* since when a majority has copied; 0: it has not */
    uint32_t asked, copied;
    struct store_shape_row shape;
    uint8_t command[STORE_RESHAPE_SIZE];
};

struct store_driver {
    struct store_service *service;
    uint32_t count;
    struct drive *drives[DRIVES_MAX];
    int32_t is_dropping; /* a partition that is to be forgotten is looked at, or written */
    uint64_t drop_us;
    uint32_t drop_member;
    uint64_t drop_partition;
    struct store_call drop_call;
};

static inline uint64_t store_driver_now_us(const struct store_driver *driver)
{
    return driver->service->loops->now_us(driver->service->shards[0].loop);
}

static inline const struct store_routing *store_driver_routing(const struct store_driver *driver)
{
    return driver->service->shards[0].routing;
}

/* reshape.c */
/* Nothing is under way for it any more; it goes on with that step, not before that time. */
void store_driver_wait(struct drive *drive, int32_t step, uint64_t pause_us);
/* What came back, which is given back; 0: nothing that can be read. */
int32_t store_driver_take_shape(struct store_call *call, struct store_shape_row *ret_shape);

/* reshape_records.c: records that are changed together.  The next one's key and value are filled in at `count`, which
 * then grows. */
enum { EDITS_MAX = 6 };

struct edits {
    struct store_operation operations[EDITS_MAX];
    char keys[EDITS_MAX][KEY_SIZE + STORE_TABLE_NAME_MAX];
    hf_buffer values[EDITS_MAX];
    uint64_t count;
};

void store_edits_begin(struct edits *edits);
void store_edits_end(struct edits *edits);
void store_edits_add_put(struct edits *edits, uint64_t version); /* 0: must be absent */
/* The key of the next one: the record that a split or merge of the partition is to be. */
void store_edits_add_reshaping_key(struct edits *edits, uint64_t partition);
int32_t store_edits_add_table(struct edits *edits, const struct store_service *service, const struct store_table *table,
                              hf_error *error);
int32_t store_edits_add_placement(struct edits *edits, const struct store_service *service,
                                  const struct store_partition *partition);
/* For store_edit, whose `arg` is the drive: it goes on. */
void store_driver_recorded(void *arg, int32_t code, const hf_error *error);
/* It cannot be. */
void store_driver_abandon(struct drive *drive, const char *why);
/* Both partitions do it already; now everybody learns of it. */
void store_driver_record(struct drive *drive, const struct store_routed *routed);

/* reshape_forget.c: looks after one of those whose changes need not be kept any longer. */
void store_driver_drop_one(struct store_driver *driver);

#endif
