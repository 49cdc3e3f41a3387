/* index.h: where each group's entries, state and compaction marker are.  Not thread-safe: the log's lock guards it. */
#ifndef STORE_LOG_INDEX_H
#define STORE_LOG_INDEX_H

#include "format.h"

struct index_entry {
    uint64_t term;
    uint64_t segment_type; /* segment << 8 | type of the entry */
    uint32_t offset;
    uint32_t size;
};

struct index_group {
    uint64_t id;
    struct index_group *next;
    uint64_t first; /* index of entries[head] */
    struct index_entry *entries;
    uint64_t head, count, capacity;
    struct store_log_record state, compact;
    uint64_t state_segment, compact_segment; /* 0: none */
};

/* One segment's reasons to stay. */
struct segment {
    uint64_t number;
    int file;
    uint32_t readers;
    uint64_t entries; /* live */
    uint64_t marks;   /* latest states and compaction markers */
    uint64_t end;
};

struct log_index {
    struct index_group **buckets;
    uint64_t bucket_count, group_count, bytes;
    struct segment **segments; /* in order; segments[0] is the oldest */
    uint64_t segment_count, segment_capacity;
};

/* What the record did to the index; INDEX_GAP: the entry does not follow the last one and was left out. */
enum { INDEX_APPLIED = 0, INDEX_GAP = 1 };

int32_t index_init(struct log_index *index);
void index_done(struct log_index *index);
struct index_group *index_find(const struct log_index *index, uint64_t group);
struct segment *index_segment(const struct log_index *index, uint64_t number);
int32_t index_segment_add(struct log_index *index, struct segment *segment);
void index_segment_remove_oldest(struct log_index *index);
/* INDEX_..., or HF_ENOMEM. */
int32_t index_apply(struct log_index *index, const struct store_log_record *record, uint32_t payload_size,
                    uint64_t segment, uint32_t offset);
const struct index_entry *index_entry(const struct index_group *group, uint64_t entry);
void index_group_info(const struct index_group *group, struct store_log_group_info *ret_info);

#endif
