/* index.h: where each group's entries, state and compaction marker are.  Not thread-safe: the log's lock guards it.
 *
 * A record goes through it twice.  index_plan, when it is submitted, says whether it may follow what was submitted
 * before and takes the memory that it needs; index_apply, when it is durable, makes it visible and cannot fail. */
#ifndef STORE_LOG_INDEX_H
#define STORE_LOG_INDEX_H

#include "format.h"

struct index_entry {
    uint64_t term;
    uint64_t segment_type; /* segment << 8 | type of the entry */
    uint32_t offset;
    uint32_t size;
};

/* What the group will hold once everything submitted is durable. */
struct index_plan {
    uint64_t first, next; /* entries [first, next); next 0: none, and any index may come */
    uint64_t compact;     /* entries before it are gone; 0: never compacted */
};

struct index_group {
    uint64_t id;
    struct index_group *next;
    uint64_t first; /* index of entries[head] */
    struct index_entry *entries;
    uint64_t head, count, capacity;
    struct store_log_record state, compact;
    uint64_t state_segment, compact_segment; /* 0: none */
    struct index_plan plan;                  /* while `pending` */
    uint64_t pending;                        /* records planned and not applied yet */
    uint64_t reserved;                       /* entries among them: head + count + reserved <= capacity */
    int exists;                              /* some record of the group is durable */
    int missing;                             /* recovery: entries before `first` were not found */
};

/* One segment's reasons to stay. */
struct segment {
    uint64_t number;
    int file;
    uint32_t readers;
    uint64_t entries; /* live */
    uint64_t marks;   /* latest states and compaction markers */
    uint64_t size;
    uint64_t end;     /* of its records */
    uint64_t written; /* writer; the file system has blocks of its own up to here */
};

struct log_index {
    struct index_group **buckets;
    uint64_t bucket_count, group_count; /* bucket_count is a power of two */
    uint64_t bytes, bytes_max;
    struct segment **segments; /* in order; segments[0] is the oldest */
    uint64_t segment_count, segment_capacity;
};

int32_t index_init(struct log_index *index, uint64_t bytes_max);
void index_done(struct log_index *index);
struct index_group *index_find(const struct log_index *index, uint64_t group);
/* The group after `after`, in no particular order; NULL begins, and ends. */
struct index_group *index_next(const struct log_index *index, const struct index_group *after);

struct segment *index_segment(const struct log_index *index, uint64_t number);
int32_t index_segment_add(struct log_index *index, struct segment *segment);
void index_segment_remove_oldest(struct log_index *index);

/* 0; HF_EINVAL: the record cannot follow what was planned; HF_ENOMEM.  A failure changes nothing. */
int32_t index_plan(struct log_index *index, const struct store_log_record *record, struct index_plan *ret_before);
/* Takes back the latest plan of its group. */
void index_unplan(struct log_index *index, const struct store_log_record *record, const struct index_plan *before);
/* Only takes the memory.  For recovery, whose records may follow some that are gone, and for copies. */
int32_t index_reserve(struct log_index *index, const struct store_log_record *record);
/* Of a record planned or reserved.  An entry behind a gap takes the place of those before the gap. */
void index_apply(struct log_index *index, const struct store_log_record *record, uint32_t payload_size,
                 uint64_t segment, uint32_t offset);

const struct index_entry *index_entry(const struct index_group *group, uint64_t entry);
void index_group_info(const struct index_group *group, struct store_log_group_info *ret_info);
/* Whether entries that should be there are not. */
int index_group_incomplete(const struct index_group *group);

#endif
