/* layout.h: what stands under which key of a partition's space.  Pure; [any].
 *
 * Numbers in keys and values are big endian.
 *   'a'                 format 1, applied index 8, applied term 8, version 8, forgotten 8, shape: hash from 8 and
 *                       to 8, epoch 8, state 1, has strays 1, other 8, other from 8, version 8; member count 1,
 *                       for each member its replica 8 and learner 1, CRC-32C of all before 4
 *   'r' KEY             format 1, version 8, time 8, CRC-32C of the value 4, deadline 8 (only in format 2), value
 *   'e' DEADLINE 8 KEY  version 8: a record that has this deadline
 *   'c' VERSION 8       what an entry changed, under the version of the last command that changed something: time 8,
 *                       for each such command version 8, user 8, operation count 2, for each operation type 1,
 *                       key size 2 and key; type 3: the record has expired
 *   'i' IDEMPOTENCY_KEY version of the command 8, code 4, version 8, operation 4: the outcome of the first time;
 *                       hash of what was asked for 8
 *   't' VERSION 8       the idempotency keys of an entry, under the version of the last command that had one: time 8,
 *                       for each its size 1 and bytes
 *   'l' KEY             id 16: the transaction that has locked the key
 *   'p' ID 16           state 1, home 8, time 8, version 8, participants: count 1 and 8 each: a transaction
 *   'q' ID 16           the command that a prepared transaction is to carry out
 * A record without a deadline is of format 1, as releases before format 2 have written all.
 * The format in 'a' is that of the whole space; records have one of their own, so that a later release can read old
 * ones beside new ones. */
#ifndef STORE_LAYOUT_H
#define STORE_LAYOUT_H

#include "machine.h"

#include <holdfast/lib/hash.h>

enum {
    STORE_SPACE_FORMAT = 4, /* 1 to 3: before the first release */
    STORE_RECORD_FORMAT = 2,
    STORE_RECORD_FORMAT_WITHOUT_DEADLINE = 1,
    STORE_RECORD_HEAD_SIZE = 1 + 8 + 8 + 4,
    STORE_RECORD_HEAD_MAX = STORE_RECORD_HEAD_SIZE + 8,
    STORE_ROW_TIME_SIZE = 8,
    STORE_REPEAT_SIZE = 8 + 4 + 8 + 4 + 8,
    STORE_SHAPE_SIZE = 8 + 8 + 8 + 1 + 1 + 8 + 8 + 8,
    STORE_POSITION_HEAD_SIZE = 1 + 8 + 8 + 8 + 8 + STORE_SHAPE_SIZE + 1,
    STORE_POSITION_SIZE_MAX = STORE_POSITION_HEAD_SIZE + STORE_MEMBERS_MAX * 9 + 4
};

enum {
    STORE_TAG_POSITION = 'a',
    STORE_TAG_CHANGE = 'c',
    STORE_TAG_DEADLINE = 'e',
    STORE_TAG_REPEAT = 'i',
    STORE_TAG_LOCK = 'l',
    STORE_TAG_TRANSACTION = 'p',
    STORE_TAG_PREPARED = 'q',
    STORE_TAG_RECORD = 'r',
    STORE_TAG_REMEMBERED = 't'
};

/* A key of the space. */
struct store_space_key {
    uint8_t bytes[1 + 8 + STORE_KEY_MAX];
    uint64_t size;
};

static inline hf_slice store_space_key_slice(const struct store_space_key *key)
{
    return (hf_slice){key->bytes, key->size};
}

/* The tag, and up to STORE_KEY_MAX bytes. */
void store_space_key_make(struct store_space_key *ret_key, uint8_t tag, hf_slice rest);
/* The tag and a version: of changes or remembered keys. */
void store_space_key_at_version(struct store_space_key *ret_key, uint8_t tag, uint64_t version);
/* Of a record's deadline. */
void store_space_key_at_deadline(struct store_space_key *ret_key, uint64_t deadline_us, hf_slice record_key);
/* The first key after all that have the tag. */
void store_space_key_after_tag(struct store_space_key *ret_key, uint8_t tag);

static inline uint64_t store_hash_of(hf_slice key)
{
    return hf_hash64(0, key.data, key.size); /* as table/table.h says */
}

/* Where the machine stands. */
struct store_position {
    struct store_machine_state state; /* feed_first and feed_last are not stored: the changes tell them */
    uint64_t feed_forgotten;          /* changes up to this version are no longer kept; 0: none is missing */
};

uint64_t store_position_write(uint8_t to[STORE_POSITION_SIZE_MAX], const struct store_position *position);
/* HF_ECORRUPT, HF_EVERSION. */
int32_t store_position_read(hf_slice bytes, struct store_position *ret_position, hf_error *error);

/* What stands before the value; returns its size. */
uint64_t store_record_write_head(uint8_t to[STORE_RECORD_HEAD_MAX], const struct store_record *record);
/* `stored` and `value` of the record: what lies before and in the bytes.  HF_ECORRUPT, HF_EVERSION.  The value is not
 * compared with its checksum. */
int32_t store_record_read(hf_slice bytes, struct store_record *ret_record, hf_error *error);
/* HF_ECORRUPT: the value is not the one that was written. */
int32_t store_record_check(const struct store_record *record, hf_error *error);

/* A row of a deadline; the key borrows.  HF_ECORRUPT. */
int32_t store_deadline_read(hf_slice key, hf_slice row, uint64_t *ret_deadline_us, uint64_t *ret_version,
                            hf_slice *ret_record_key, hf_error *error);

/* A transaction's row.  HF_ECORRUPT. */
enum { STORE_TRANSACTION_ROW_MAX = 1 + 8 + 8 + 8 + 1 + STORE_PARTICIPANTS_MAX * 8 };
uint64_t store_transaction_write(uint8_t to[STORE_TRANSACTION_ROW_MAX], const struct store_transaction *transaction);
int32_t store_transaction_read(hf_slice key, hf_slice row, struct store_transaction *ret_transaction, hf_error *error);

/* Rows of changes and of remembered keys begin with the entry's time. */
void store_row_write_time(uint8_t to[STORE_ROW_TIME_SIZE], uint64_t time_us);

/* The changes of one entry, after the time: each command that changed something is added.  Errors as
 * hf_buffer_append. */
int32_t store_changes_add(hf_buffer *row, uint64_t version, const struct store_command *command);

/* Goes through a row.  Reading a change fills in all but `superseded` and `value`: 1, 0 at the end, HF_ECORRUPT. */
struct store_changes {
    uint64_t last; /* version, as the row's key says */
    uint64_t time_us;
    uint64_t version, user; /* of the command that is being read */
    uint32_t operation, operation_count;
    hf_slice rest;
};
int32_t store_changes_read(hf_slice key, hf_slice row, struct store_changes *ret_changes, hf_error *error);
int32_t store_changes_next(struct store_changes *changes, struct store_change *ret_change, hf_error *error);

/* What of a row is about keys with from <= hash <= to, as a row after its time appended to *ret_row, and the version of
 * its last command; 0: nothing.  HF_ECORRUPT, HF_ENOMEM. */
int32_t store_changes_part(const struct store_changes *changes, uint64_t from, uint64_t to, hf_buffer *ret_row,
                           uint64_t *ret_last, hf_error *error);

/* The outcome that is remembered under an idempotency key, and the hash of what was asked for.  HF_ECORRUPT. */
void store_repeat_write(uint8_t to[STORE_REPEAT_SIZE], uint64_t version, const struct store_outcome *outcome,
                        uint64_t asked);
int32_t store_repeat_read(hf_slice bytes, struct store_outcome *ret_outcome, uint64_t *ret_asked, hf_error *error);

/* The idempotency keys of one entry, likewise.  Next: 1, 0 at the end. */
int32_t store_remembered_add(hf_buffer *row, hf_slice idempotency_key);
/* Sees that the row is whole; its keys are then in *ret_keys.  HF_ECORRUPT. */
int32_t store_remembered_read(hf_slice key, hf_slice row, uint64_t *ret_version, uint64_t *ret_time_us,
                              hf_slice *ret_keys, hf_error *error);
int store_remembered_next(hf_slice *keys, hf_slice *ret_idempotency_key);

#endif
