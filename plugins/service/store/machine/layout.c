/* Keys and values of a partition's space; see layout.h. */
#include "layout.h"

#include "bytes.h"

#include <holdfast/lib/checksum.h>
#include <holdfast/lib/error.h>

#include <assert.h>
#include <string.h>

/* ---- Keys ---- */

void store_space_key_make(struct store_space_key *ret_key, uint8_t tag, hf_slice rest)
{
    assert(rest.size <= STORE_KEY_MAX);
    ret_key->bytes[0] = tag;
    if (rest.size)
        memcpy(ret_key->bytes + 1, rest.data, rest.size);
    ret_key->size = 1 + rest.size;
}

void store_space_key_at_index(struct store_space_key *ret_key, uint8_t tag, uint64_t index)
{
    ret_key->bytes[0] = tag;
    store_write_be(ret_key->bytes + 1, index, 8);
    ret_key->size = 9;
}

void store_space_key_of_change(struct store_space_key *ret_key, uint64_t index, uint32_t operation)
{
    store_space_key_at_index(ret_key, STORE_TAG_CHANGE, index);
    store_write_be(ret_key->bytes + 9, operation, 4);
    ret_key->size = 13;
}

void store_space_key_after_tag(struct store_space_key *ret_key, uint8_t tag)
{
    ret_key->bytes[0] = (uint8_t)(tag + 1);
    ret_key->size = 1;
}

/* ---- Position ---- */

uint64_t store_position_write(uint8_t to[STORE_POSITION_SIZE_MAX], const struct store_position *position)
{
    uint8_t *at = to + 26;

    to[0] = STORE_SPACE_FORMAT;
    store_write_be(to + 1, position->state.applied_index, 8);
    store_write_be(to + 9, position->state.applied_term, 8);
    store_write_be(to + 17, position->feed_forgotten, 8);
    to[25] = (uint8_t)position->state.member_count;
    for (uint32_t i = 0; i < position->state.member_count; i++, at += 9) {
        store_write_be(at, position->state.members[i].replica, 8);
        at[8] = position->state.members[i].learner != 0;
    }
    store_write_be(at, hf_crc32c(0, to, (uint64_t)(at - to)), 4);
    return (uint64_t)(at + 4 - to);
}

static int position_is_whole(hf_slice bytes)
{
    return bytes.size >= 30 && bytes.data[25] <= STORE_MEMBERS_MAX && bytes.size == 30 + bytes.data[25] * 9u &&
           hf_crc32c(0, bytes.data, bytes.size - 4) == store_read_be(bytes.data + bytes.size - 4, 4);
}

int32_t store_position_read(hf_slice bytes, struct store_position *ret_position, hf_error *error)
{
    /* The format comes first and alone: what else there is depends on it. */
    if (bytes.size > 0 && bytes.data[0] > STORE_SPACE_FORMAT)
        return hf_error_set(error, HF_EVERSION,
                            "the partition's space has format %d and this release knows up to %d; upgrade this node",
                            bytes.data[0], STORE_SPACE_FORMAT);
    if (!position_is_whole(bytes) || bytes.data[0] == 0)
        return hf_error_set(error, HF_ECORRUPT,
                            "the partition's applied position (%llu bytes) is damaged; fetch the partition anew from "
                            "another replica",
                            (unsigned long long)bytes.size);
    *ret_position = (struct store_position){.feed_forgotten = store_read_be(bytes.data + 17, 8)};
    ret_position->state.applied_index = store_read_be(bytes.data + 1, 8);
    ret_position->state.applied_term = store_read_be(bytes.data + 9, 8);
    ret_position->state.member_count = bytes.data[25];
    for (uint32_t i = 0; i < ret_position->state.member_count; i++)
        ret_position->state.members[i] = (hf_replication_member){.replica = store_read_be(bytes.data + 26 + i * 9u, 8),
                                                                 .learner = bytes.data[34 + i * 9u]};
    return 0;
}

/* ---- Records ---- */

void store_record_write_head(uint8_t to[STORE_RECORD_HEAD_SIZE], uint64_t version, uint64_t time_us, uint32_t checksum)
{
    to[0] = STORE_RECORD_FORMAT;
    store_write_be(to + 1, version, 8);
    store_write_be(to + 9, time_us, 8);
    store_write_be(to + 17, checksum, 4);
}

int32_t store_record_read(hf_slice bytes, struct store_record *ret_record, hf_error *error)
{
    if (bytes.size > 0 && bytes.data[0] > STORE_RECORD_FORMAT)
        return hf_error_set(error, HF_EVERSION,
                            "a stored record has format %d and this release knows up to %d; upgrade this node",
                            bytes.data[0], STORE_RECORD_FORMAT);
    if (bytes.size < STORE_RECORD_HEAD_SIZE || bytes.data[0] == 0)
        return hf_error_set(error, HF_ECORRUPT,
                            "the head of a stored record (%llu bytes) is damaged; repair it from another replica",
                            (unsigned long long)bytes.size);
    *ret_record = (struct store_record){
        .version = store_read_be(bytes.data + 1, 8),
        .time_us = store_read_be(bytes.data + 9, 8),
        .checksum = (uint32_t)store_read_be(bytes.data + 17, 4),
        .value = {bytes.data + STORE_RECORD_HEAD_SIZE, bytes.size - STORE_RECORD_HEAD_SIZE},
        .stored = bytes,
    };
    return 0;
}

int32_t store_record_check(const struct store_record *record, hf_error *error)
{
    uint32_t found = hf_crc32c(0, record->value.data, record->value.size);

    if (found == record->checksum)
        return 0;
    return hf_error_set(error, HF_ECORRUPT,
                        "a stored value of %llu bytes, version %llu, has checksum %08x instead of %08x; repair it from "
                        "another replica",
                        (unsigned long long)record->value.size, (unsigned long long)record->version, found,
                        record->checksum);
}

/* ---- Changes ---- */

void store_change_write_head(uint8_t to[STORE_CHANGE_HEAD_SIZE], int32_t type, uint64_t time_us, uint64_t user)
{
    to[0] = (uint8_t)type;
    store_write_be(to + 1, time_us, 8);
    store_write_be(to + 9, user, 8);
}

int32_t store_change_read(hf_slice key, hf_slice bytes, struct store_change *ret_change, hf_error *error)
{
    if (key.size != 13 || bytes.size <= STORE_CHANGE_HEAD_SIZE || bytes.size > STORE_CHANGE_HEAD_SIZE + STORE_KEY_MAX ||
        (bytes.data[0] != STORE_PUT && bytes.data[0] != STORE_DELETE))
        return hf_error_set(error, HF_ECORRUPT,
                            "an entry of the change feed (%llu bytes) is damaged; fetch the partition anew from "
                            "another replica",
                            (unsigned long long)bytes.size);
    *ret_change = (struct store_change){
        .index = store_read_be(key.data + 1, 8),
        .operation = (uint32_t)store_read_be(key.data + 9, 4),
        .type = bytes.data[0],
        .time_us = store_read_be(bytes.data + 1, 8),
        .user = store_read_be(bytes.data + 9, 8),
        .key = {bytes.data + STORE_CHANGE_HEAD_SIZE, bytes.size - STORE_CHANGE_HEAD_SIZE},
    };
    return 0;
}

/* ---- Remembered idempotency keys ---- */

void store_repeat_write(uint8_t to[STORE_REPEAT_SIZE], uint64_t index, const struct store_outcome *outcome)
{
    store_write_be(to, index, 8);
    store_write_be(to + 8, (uint32_t)outcome->code, 4);
    store_write_be(to + 12, outcome->version, 8);
    store_write_be(to + 20, outcome->operation, 4);
}

static int32_t repeat_damaged(hf_slice bytes, hf_error *error)
{
    return hf_error_set(error, HF_ECORRUPT,
                        "a remembered idempotency key (%llu bytes) is damaged; fetch the partition anew from another "
                        "replica",
                        (unsigned long long)bytes.size);
}

int32_t store_repeat_read(hf_slice bytes, struct store_outcome *ret_outcome, hf_error *error)
{
    if (bytes.size != STORE_REPEAT_SIZE)
        return repeat_damaged(bytes, error);

    int32_t code = (int32_t)(uint32_t)store_read_be(bytes.data + 8, 4);

    if (code != 0 && code != HF_ECONFLICT)
        return repeat_damaged(bytes, error);
    *ret_outcome = (struct store_outcome){.code = code,
                                          .repeated = 1,
                                          .version = store_read_be(bytes.data + 12, 8),
                                          .operation = store_read_be(bytes.data + 20, 4)};
    return 0;
}

int32_t store_remembered_read(hf_slice key, hf_slice bytes, uint64_t *ret_index, uint64_t *ret_time_us,
                              hf_slice *ret_idempotency_key, hf_error *error)
{
    if (key.size != 9 || bytes.size <= STORE_REMEMBERED_HEAD_SIZE ||
        bytes.size > STORE_REMEMBERED_HEAD_SIZE + STORE_IDEMPOTENCY_KEY_MAX)
        return repeat_damaged(bytes, error);
    *ret_index = store_read_be(key.data + 1, 8);
    *ret_time_us = store_read_be(bytes.data, 8);
    *ret_idempotency_key = (hf_slice){bytes.data + STORE_REMEMBERED_HEAD_SIZE, bytes.size - STORE_REMEMBERED_HEAD_SIZE};
    return 0;
}
