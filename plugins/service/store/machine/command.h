/* command.h: what one writer asks of a partition, and its bytes.  Pure; [any]. */
#ifndef STORE_COMMAND_H
#define STORE_COMMAND_H

#include <holdfast/lib/buffer.h>

enum {
    STORE_PUT = 1,
    STORE_DELETE = 2,
    STORE_EXPIRE = 3, /* removes the record if it has `version` still and its deadline has passed; nothing otherwise */
    STORE_CHECK = 4,  /* nothing but the condition, which it must have */
    STORE_REMOVE = 5  /* removes a record that belongs to another partition since a split; no change for readers */
};

enum {
    STORE_IF_ANY = 0,
    STORE_IF_ABSENT = 1,
    STORE_IF_PRESENT = 2,
    STORE_IF_VERSION = 3 /* the record is there with exactly this version */
};

enum {
    STORE_KEY_MAX = 1024,                  /* bytes */
    STORE_IDEMPOTENCY_KEY_MAX = 64,        /* bytes */
    STORE_OPERATIONS_MAX = 1000,           /* in one command */
    STORE_EXPIRES_MAX = 128,               /* likewise, of STORE_EXPIRE */
    STORE_REMOVES_MAX = 256,               /* likewise, of STORE_REMOVE */
    STORE_EXPIRE_AFTER_MAX = 3650 * 86400, /* seconds */
    STORE_VALUE_MAX = (1 << 30) - 1024     /* bytes; an engine's limit, less what is stored beside the value */
};

struct store_operation {
    int32_t type; /* STORE_PUT ...; STORE_EXPIRE stands with its like only, and with STORE_IF_VERSION; STORE_REMOVE,
                too, and without a condition */
    int32_t condition;     /* STORE_IF_... */
    uint64_t version;      /* with STORE_IF_VERSION */
    hf_slice key;          /* 1..STORE_KEY_MAX bytes of UTF-8 */
    hf_slice value;        /* of a put; any bytes */
    uint32_t checksum;     /* CRC-32C of the value, computed where it entered the node */
    uint32_t expire_after; /* of a put: seconds from the entry's time until the deadline; 0: none */
};

/* All or nothing.  Identity runs through everything: who asked, under which configuration, when, in which trace. */
struct store_command {
    uint64_t time_us;                         /* of the entry, which see (bundle.h); not among the command's bytes */
    uint64_t user;                            /* hash of who asked; 0: unknown */
    uint64_t configuration;                   /* version of the configuration that was in force; 0: unknown */
    uint8_t trace[16];                        /* zero: none */
    hf_slice idempotency_key;                 /* 0..STORE_IDEMPOTENCY_KEY_MAX bytes; empty: none */
    const struct store_operation *operations; /* their keys are distinct */
    uint64_t operation_count;                 /* 1..STORE_OPERATIONS_MAX */
    uint64_t asked; /* with an idempotency key, a hash of all that was asked for under it, of which this command may be
                       a part; 0: of its operations' bytes, which encoding puts in */
};

/* Appends the command's bytes, all or none.  HF_ETOOLARGE (the buffer's maximum), HF_ENOMEM, HF_EINVAL (a limit above).
 */
int32_t store_command_encode(hf_buffer *buffer, const struct store_command *command, hf_error *error);

/* Reads them back; slices point into `bytes`; `operations` has room for `capacity`.  HF_ECORRUPT, HF_ETOOLARGE (the
 * capacity), HF_EVERSION: written by a newer release.  Does not compare values with their checksums: a damaged value
 * is stored as it came and is found by every read, whereas skipping it here would leave the old record in its place. */
int32_t store_command_decode(hf_slice bytes, struct store_operation *operations, uint64_t capacity,
                             struct store_command *ret_command, hf_error *error);

/* How many operations a command has, by its bytes alone; 0 when they are none. */
uint32_t store_command_operations(hf_slice bytes);

#endif
