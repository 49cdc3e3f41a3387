/* layout.h: what stands under which key of a partition's space.  Pure; [any].
 *
 * Numbers in keys and values are big endian.
 *   'a'                     format 1, applied index 8, applied term 8, forgotten 8, member count 1,
 *                           for each member its replica 8 and learner 1, CRC-32C of all before 4
 *   'r' KEY                 format 1, version 8, time 8, CRC-32C of the value 4, value
 *   'c' INDEX 8 OPERATION 4 type 1, time 8, user 8, key
 *   'i' IDEMPOTENCY_KEY     index 8, code 4, version 8, operation 4: the outcome of the first time
 *   't' INDEX 8             time 8, idempotency key: what is remembered, in order
 * The format in 'a' is that of the whole space; records have one of their own, so that a later release can read old
 * ones beside new ones. */
#ifndef STORE_LAYOUT_H
#define STORE_LAYOUT_H

#include "machine.h"

enum {
    STORE_SPACE_FORMAT = 1,
    STORE_RECORD_FORMAT = 1,
    STORE_RECORD_HEAD_SIZE = 1 + 8 + 8 + 4,
    STORE_CHANGE_HEAD_SIZE = 1 + 8 + 8,
    STORE_REPEAT_SIZE = 8 + 4 + 8 + 4,
    STORE_REMEMBERED_HEAD_SIZE = 8,
    STORE_POSITION_SIZE_MAX = 1 + 8 + 8 + 8 + 1 + STORE_MEMBERS_MAX * 9 + 4
};

enum {
    STORE_TAG_POSITION = 'a',
    STORE_TAG_CHANGE = 'c',
    STORE_TAG_REPEAT = 'i',
    STORE_TAG_RECORD = 'r',
    STORE_TAG_REMEMBERED = 't'
};

/* A key of the space. */
struct store_space_key {
    uint8_t bytes[1 + STORE_KEY_MAX];
    uint64_t size;
};

static inline hf_slice store_space_key_slice(const struct store_space_key *key)
{
    return (hf_slice){key->bytes, key->size};
}

/* The tag, and up to STORE_KEY_MAX bytes. */
void store_space_key_make(struct store_space_key *ret_key, uint8_t tag, hf_slice rest);
/* The tag and an index: of a remembered key, or before all changes of an entry. */
void store_space_key_at_index(struct store_space_key *ret_key, uint8_t tag, uint64_t index);
void store_space_key_of_change(struct store_space_key *ret_key, uint64_t index, uint32_t operation);
/* The first key after all that have the tag. */
void store_space_key_after_tag(struct store_space_key *ret_key, uint8_t tag);

/* Where the machine stands. */
struct store_position {
    struct store_machine_state state; /* feed_first and feed_last are not stored: the changes tell them */
    uint64_t feed_forgotten;          /* changes of entries up to this index are no longer kept; 0: none is missing */
};

uint64_t store_position_write(uint8_t to[STORE_POSITION_SIZE_MAX], const struct store_position *position);
/* HF_ECORRUPT, HF_EVERSION. */
int32_t store_position_read(hf_slice bytes, struct store_position *ret_position, hf_error *error);

/* `stored` and `value` of the record: what lies before and in the bytes.  HF_ECORRUPT, HF_EVERSION.  The value is not
 * compared with its checksum. */
void store_record_write_head(uint8_t to[STORE_RECORD_HEAD_SIZE], uint64_t version, uint64_t time_us, uint32_t checksum);
int32_t store_record_read(hf_slice bytes, struct store_record *ret_record, hf_error *error);
/* HF_ECORRUPT: the value is not the one that was written. */
int32_t store_record_check(const struct store_record *record, hf_error *error);

/* Reading fills in all but `superseded` and `value`.  HF_ECORRUPT. */
void store_change_write_head(uint8_t to[STORE_CHANGE_HEAD_SIZE], int32_t type, uint64_t time_us, uint64_t user);
int32_t store_change_read(hf_slice key, hf_slice bytes, struct store_change *ret_change, hf_error *error);

/* HF_ECORRUPT. */
void store_repeat_write(uint8_t to[STORE_REPEAT_SIZE], uint64_t index, const struct store_outcome *outcome);
int32_t store_repeat_read(hf_slice bytes, struct store_outcome *ret_outcome, hf_error *error);

/* HF_ECORRUPT. */
int32_t store_remembered_read(hf_slice key, hf_slice bytes, uint64_t *ret_index, uint64_t *ret_time_us,
                              hf_slice *ret_idempotency_key, hf_error *error);

#endif
