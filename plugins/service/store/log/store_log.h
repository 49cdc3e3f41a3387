/* store_log.h: the node's one write-ahead log, shared by all replication groups.
 *
 * Batches of records go in from any thread; a writer thread gathers what is waiting into one write and one flush and
 * completes the batches in the order in which they were submitted.  README.md has the format and the invariants. */
#ifndef STORE_LOG_H
#define STORE_LOG_H

#include <holdfast/holdfast.h>

#include <sys/uio.h>

/* The file operations.  Results are as the system call's, with -errno for a failure.  Names are relative to the
 * log's directory.  All may be called from the writer thread; pread from any thread. */
struct store_log_file_system {
    void *context;
    int (*open)(void *context, const char *name, int create);
    void (*close)(void *context, int file);
    int64_t (*pwritev)(void *context, int file, const struct iovec *parts, int count, uint64_t offset);
    int64_t (*pread)(void *context, int file, void *buffer, uint64_t size, uint64_t offset);
    int (*fdatasync)(void *context, int file);
    int (*fallocate)(void *context, int file, uint64_t size);
    int (*rename)(void *context, const char *from, const char *to);
    int (*unlink)(void *context, const char *name);
    int (*fsync_directory)(void *context);
    int (*list)(void *context, void (*each)(void *argument, const char *name), void *argument);
};

/* The real one, on an existing directory, which it locks.  HF_EBUSY: another process has the directory. */
int32_t store_log_file_system_open(const char *directory, struct store_log_file_system *ret, hf_error *error);
void store_log_file_system_close(struct store_log_file_system *file_system);

enum {
    STORE_LOG_ENTRY = 1,    /* index, term, entry_type, payload; an index that is there already replaces the suffix */
    STORE_LOG_STATE = 2,    /* term, vote, commit */
    STORE_LOG_TRUNCATE = 3, /* entries from `index` on are gone */
    STORE_LOG_COMPACT = 4,  /* entries before `index` are gone; snapshot_index, and its term in `term` */
    STORE_LOG_REMOVED = 5   /* the group is gone */
};

struct store_log_record {
    int32_t type;       /* STORE_LOG_... */
    int32_t entry_type; /* HF_ENTRY_..., 0..255 */
    uint64_t group;
    uint64_t index;
    uint64_t term;
    uint64_t vote;
    uint64_t commit;
    uint64_t snapshot_index;
    hf_slice payload; /* of an entry */
};

/* A batch, embedded by the caller.  Request, records and payloads are borrowed until `done`, which runs on the
 * writer thread, must not block, may submit again and may free the request.  `code`: 0, everything is durable; or
 * HF_EIO. */
struct store_log_request {
    const struct store_log_record *records;
    uint64_t count;
    void (*done)(struct store_log_request *request, int32_t code, void *argument);
    void *argument;
    struct store_log_request *next; /* the log's own, like the rest */
    uint64_t bytes;
};

/* Something in the files that should not be. */
struct store_log_damage {
    uint64_t segment;
    uint64_t offset;
    uint64_t size;  /* bytes that could not be read as records; 0: unknown */
    uint64_t group; /* when group_known */
    int32_t group_known;
    const char *reason; /* static */
};

struct store_log_options {
    struct store_log_file_system file_system;
    uint8_t node[16];         /* identity; a log of another node is refused */
    uint64_t segment_size;    /* bytes, 4 KiB..1 GiB; 0: 64 MiB */
    uint64_t queue_bytes_max; /* 0: 64 MiB */
    uint64_t index_bytes_max; /* memory for the index of entries; 0: 1 GiB */
    uint32_t spare_max;       /* freed segments kept for reuse; 0: 4 */
    int32_t accept_damage;    /* 1: open in spite of damage, after reporting it all */
    void (*damaged)(void *argument, const struct store_log_damage *damage);         /* may be NULL */
    void (*cut)(void *argument, uint64_t segment, uint64_t offset, uint64_t bytes); /* a torn tail; may be NULL */
    void *argument;
};

struct store_log_group_info {
    uint64_t group;
    uint64_t term, vote, commit; /* the stored state */
    uint64_t first_index;        /* of the entries kept */
    uint64_t last_index;         /* first_index - 1: none */
    uint64_t snapshot_index, snapshot_term;
};

struct store_log_entry {
    uint64_t term;
    uint64_t segment;
    uint32_t offset;
    uint32_t size; /* of the payload */
    int32_t type;  /* HF_ENTRY_... */
};

struct store_log_metrics {
    uint64_t bytes; /* written as records */
    uint64_t records;
    uint64_t requests;
    uint64_t refused; /* over a limit */
    uint64_t syncs;
    uint64_t batch_records_max; /* in one write */
    uint64_t batch_bytes_max;
    uint64_t sync_us_last, sync_us_max;
    uint64_t segments, spares, recycled, freed;
    uint64_t queue_bytes, index_bytes;
    uint64_t groups;
    int32_t failed;
};

struct store_log;

/* Recovers the log and starts its thread.  HF_ESTATE: another node's log; HF_EVERSION: another format; HF_ECORRUPT:
 * damage, and accept_damage is 0; HF_EIO; HF_ENOMEM; HF_EINVAL.  [main] */
int32_t store_log_open(const struct store_log_options *options, struct store_log **ret_log, hf_error *error);

/* Completes everything submitted, stops the thread and frees the log.  NULL is fine.  [main] */
void store_log_close(struct store_log *log);

/* The same, and begins a segment, whose header says where the records end: when the log is opened again, damage of the
 * last write is then not taken for an interrupted one.  HF_EIO, HF_ENOMEM: it is closed all the same.  [main] */
int32_t store_log_finish(struct store_log *log, hf_error *error);

/* Hands a batch to the writer.  On failure `done` is not called and no record was taken.  HF_EBUSY: the queue is full;
 * HF_ENOMEM: the index is; HF_EIO: the log has failed for good; HF_ECLOSED: it is closing; HF_EINVAL: a record is
 * malformed or does not follow what was submitted before (an entry leaves a gap or was compacted, a compaction goes
 * back); HF_ETOOLARGE: an entry does not fit into a segment, or the batch into the queue.  [any] */
int32_t store_log_submit(struct store_log *log, struct store_log_request *request, hf_error *error);

/* Calls `each` for every group.  The log is locked: `each` must not call it.  [any] */
void store_log_groups(struct store_log *log, void (*each)(void *argument, const struct store_log_group_info *info),
                      void *argument);

/* HF_ENOTFOUND: no such group, or no such durable entry.  [any] */
int32_t store_log_group(struct store_log *log, uint64_t group, struct store_log_group_info *ret_info);
int32_t store_log_entry(struct store_log *log, uint64_t group, uint64_t index, struct store_log_entry *ret_entry);

/* Reads an entry's payload into `buffer` and checks it.  HF_ENOTFOUND; HF_ETOOLARGE: ret_entry->size is what is
 * needed; HF_ECORRUPT; HF_EIO.  Blocks on the disk.  [pool] */
int32_t store_log_read(struct store_log *log, uint64_t group, uint64_t index, void *buffer, uint64_t buffer_size,
                       struct store_log_entry *ret_entry, hf_error *error);

/* How far the log is durable: a number that only grows, over restarts, too, as long as the files are the same.  Whoever
 * was told of one knows an older image of the files by it.  [any] */
uint64_t store_log_position(struct store_log *log);

void store_log_metrics(struct store_log *log, struct store_log_metrics *ret_metrics);

#endif
