/* kind/engine.h: where records live on a node's disk.
 *
 * One database per node holds many spaces (one per partition), each an ordered map from bytes to bytes.  Writes are
 * atomic and immediately visible, but durable only after `flush`: the replicated log is the log.  After a crash each
 * space must come back as some prefix of the writes made to the database, in order, and at least up to the last flush.
 *
 * Changes
 *   1.0  first version
 */
#ifndef HOLDFAST_KIND_ENGINE_H
#define HOLDFAST_KIND_ENGINE_H

#include <holdfast/holdfast.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hf_engine_database hf_engine_database;
typedef struct hf_engine_export hf_engine_export;
typedef struct hf_engine_import hf_engine_import;

enum {
    HF_ENGINE_PUT = 1,
    HF_ENGINE_DELETE = 2,
    HF_ENGINE_DELETE_RANGE = 3 /* from key up to, not including, `value`; an empty `value`: to the end of the space */
};

typedef struct hf_engine_operation {
    int32_t type; /* HF_ENGINE_... */
    uint32_t reserved;
    uint64_t space;
    hf_slice key;   /* 0..65535 bytes */
    hf_slice value; /* up to 1 GiB */
} hf_engine_operation;

enum {
    /* Answer only from memory: HF_EBUSY when the disk would have to be read.  Safe on a loop. */
    HF_ENGINE_CACHED_ONLY = 1,
    HF_ENGINE_REVERSE = 2 /* scans: from high keys to low */
};

/* Receives one record of a scan; the slices are borrowed for the call.  Returns 0 to go on, anything else to end. */
typedef int32_t (*hf_engine_visit)(void *arg, hf_slice key, hf_slice value);

struct hf_engine {
    HF_INSTANCE_FUNCTIONS

    /* Opens or creates the database in `directory`, which exists.  HF_ECORRUPT: the files are damaged.  [pool] */
    int32_t (*open)(void *self, const char *directory, hf_engine_database **ret_database, hf_error *error);

    /* Closes it; no other call may be under way.  Accepts NULL.  Does not flush.  [pool] */
    void (*close)(hf_engine_database *database);

    /* Applies the operations in order, all or nothing.  HF_EBUSY: compaction is behind; nothing was written, retry
     * later.  HF_ETIMEOUT: whether they were applied is not known; whoever goes on must read first.  [any], with
     * HF_ENGINE_WRITES_BLOCK [pool] */
    int32_t (*write)(hf_engine_database *database, const hf_engine_operation *operations, uint64_t count,
                     hf_error *error);

    /* Finds a value: HF_ENOTFOUND, or a copy that the caller gives back with `release`.
     * `flags`: 0 [pool] or HF_ENGINE_CACHED_ONLY [any]. */
    int32_t (*get)(hf_engine_database *database, uint64_t space, hf_slice key, uint32_t flags, hf_slice *ret_value,
                   hf_error *error);
    void (*release)(hf_engine_database *database, hf_slice value);

    /* Visits the records of a space with from <= key < to in order, on a consistent view; an empty `to`: to the end.
     * Returns 0 also when the visitor ended it.  Thread as for get. */
    int32_t (*scan)(hf_engine_database *database, uint64_t space, hf_slice from, hf_slice to, uint32_t flags,
                    hf_engine_visit visit, void *arg, hf_error *error);

    /* Makes durable every write that returned before the call.  [pool] */
    int32_t (*flush)(hf_engine_database *database, hf_error *error);

    /* Reads a consistent view of a space, taken at `export_open`, as bytes of the engine's own format.
     * export_read fills up to `capacity` bytes (at least 64 KiB); *ret_size 0 is the end.  [pool] */
    int32_t (*export_open)(hf_engine_database *database, uint64_t space, hf_engine_export **ret_export,
                           hf_error *error);
    int32_t (*export_read)(hf_engine_export *source, uint8_t *buffer, uint64_t capacity, uint64_t *ret_size,
                           hf_error *error);
    void (*export_close)(hf_engine_export *source);

    /* Replaces a space by what an export gave, in any division into pieces.  Nothing is visible before
     * import_commit, which is atomic and durable; import_close without it forgets everything.  HF_ECORRUPT: the
     * bytes are damaged or end early.  [pool] */
    int32_t (*import_open)(hf_engine_database *database, uint64_t space, hf_engine_import **ret_import,
                           hf_error *error);
    int32_t (*import_write)(hf_engine_import *target, hf_slice bytes, hf_error *error);
    int32_t (*import_commit)(hf_engine_import *target, hf_error *error);
    void (*import_close)(hf_engine_import *target);

    /* Makes a copy of the whole, flushed database in the not yet existing `directory`, sharing immutable files by
     * hard link where it can.  Required only with HF_ENGINE_CAN_CHECKPOINT.  [pool] */
    int32_t (*checkpoint)(hf_engine_database *database, const char *directory, hf_error *error);

    /* About how many bytes a space takes on disk and in memory.  [any] */
    uint64_t (*space_size)(hf_engine_database *database, uint64_t space);

    /* The records of an export, instead of its bytes: visits them in order, from where the call before ended, until
     * `bytes` bytes of keys and values have been visited; *ret_more 0: that was the end.  What is read from a disk is
     * checked: HF_ECORRUPT.  An export is read by this or by export_read, not by both.  May be NULL: then the store
     * can neither look for damage nor compare replicas.  [pool] */
    int32_t (*export_visit)(hf_engine_export *source, uint64_t bytes, hf_engine_visit visit, void *arg,
                            int32_t *ret_more, hf_error *error);
};

/* Capability bits. */
enum {
    HF_ENGINE_CAN_CHECKPOINT = 1,
    HF_ENGINE_DURABLE = 2,       /* what was flushed is there after close, crash and open */
    HF_ENGINE_WRITES_BLOCK = 4,  /* `write` waits for a disk or a network: not on a loop */
    HF_ENGINE_WRITES_DURABLE = 8 /* every write is durable when it returns, whatever becomes of the node's disks */
};

#ifdef __cplusplus
}
#endif
#endif
