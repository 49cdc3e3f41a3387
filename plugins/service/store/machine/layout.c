/* Keys and values of a partition's space; see layout.h. */
#include "layout.h"

#include "bytes.h"

#include <holdfast/lib/checksum.h>
#include <holdfast/lib/error.h>

#include <assert.h>
#include <string.h>

enum {
    VERSION_KEY_SIZE = 1 + 8,
    DEADLINE_KEY_HEAD_SIZE = 1 + 8,
    DEADLINE_ROW_SIZE = 8,
    TRANSACTION_HEAD_SIZE = 1 + 8 + 8 + 8 + 1
};

/* ---- Keys -------------------------------------------------------------------------------------------------------- */

void store_space_key_make(struct store_space_key *ret_key, uint8_t tag, hf_slice rest)
{
    assert(rest.size <= STORE_KEY_MAX);
    ret_key->bytes[0] = tag;
    if (rest.size)
        memcpy(ret_key->bytes + 1, rest.data, rest.size);
    ret_key->size = 1 + rest.size;
}

void store_space_key_at_version(struct store_space_key *ret_key, uint8_t tag, uint64_t version)
{
    ret_key->bytes[0] = tag;
    store_write_be(ret_key->bytes + 1, version, 8);
    ret_key->size = VERSION_KEY_SIZE;
}

void store_space_key_at_deadline(struct store_space_key *ret_key, uint64_t deadline_us, hf_slice record_key)
{
    assert(record_key.size <= STORE_KEY_MAX);
    ret_key->bytes[0] = STORE_TAG_DEADLINE;
    store_write_be(ret_key->bytes + 1, deadline_us, 8);
    if (record_key.size)
        memcpy(ret_key->bytes + DEADLINE_KEY_HEAD_SIZE, record_key.data, record_key.size);
    ret_key->size = DEADLINE_KEY_HEAD_SIZE + record_key.size;
}

void store_space_key_after_tag(struct store_space_key *ret_key, uint8_t tag)
{
    ret_key->bytes[0] = (uint8_t)(tag + 1);
    ret_key->size = 1;
}

/* ---- Position ---------------------------------------------------------------------------------------------------- */

enum { MEMBER_COUNT_AT = STORE_POSITION_HEAD_SIZE - 1 };

static void write_shape(uint8_t *to, const struct store_shape *shape)
{
    store_write_be(to, shape->hash_from, 8);
    store_write_be(to + 8, shape->hash_to, 8);
    store_write_be(to + 16, shape->epoch, 8);
    to[24] = (uint8_t)shape->state;
    to[25] = shape->has_strays != 0;
    store_write_be(to + 26, shape->other, 8);
    store_write_be(to + 34, shape->other_from, 8);
    store_write_be(to + 42, shape->version, 8);
}

static struct store_shape read_shape(const uint8_t *from)
{
    return (struct store_shape){.hash_from = store_read_be(from, 8),
                                .hash_to = store_read_be(from + 8, 8),
                                .epoch = store_read_be(from + 16, 8),
                                .state = from[24],
                                .has_strays = from[25],
                                .other = store_read_be(from + 26, 8),
                                .other_from = store_read_be(from + 34, 8),
                                .version = store_read_be(from + 42, 8)};
}

uint64_t store_position_write(uint8_t to[STORE_POSITION_SIZE_MAX], const struct store_position *position)
{
    uint8_t *at = to + STORE_POSITION_HEAD_SIZE;

    to[0] = STORE_SPACE_FORMAT;
    store_write_be(to + 1, position->state.applied_index, 8);
    store_write_be(to + 9, position->state.applied_term, 8);
    store_write_be(to + 17, position->state.version, 8);
    store_write_be(to + 25, position->feed_forgotten, 8);
    write_shape(to + 33, &position->state.shape);
    to[MEMBER_COUNT_AT] = (uint8_t)position->state.member_count;
    for (uint32_t i = 0; i < position->state.member_count; i++, at += 9) {
        store_write_be(at, position->state.members[i].replica, 8);
        at[8] = position->state.members[i].learner != 0;
    }
    store_write_be(at, hf_crc32c(0, to, (uint64_t)(at - to)), 4);
    return (uint64_t)(at + 4 - to);
}

static int position_is_whole(hf_slice bytes)
{
    enum { EMPTY_SIZE = STORE_POSITION_HEAD_SIZE + 4 };

    return bytes.size >= EMPTY_SIZE && bytes.data[MEMBER_COUNT_AT] <= STORE_MEMBERS_MAX &&
           bytes.size == EMPTY_SIZE + bytes.data[MEMBER_COUNT_AT] * 9u &&
           hf_crc32c(0, bytes.data, bytes.size - 4) == store_read_be(bytes.data + bytes.size - 4, 4);
}

/* The format comes first and alone: what else there is depends on it. */
static int32_t check_format(hf_slice bytes, hf_error *error)
{
    if (bytes.size == 0 || bytes.data[0] == 0 || bytes.data[0] == STORE_SPACE_FORMAT)
        return 0;
    return hf_error_set(error, HF_EVERSION, "the partition's space has format %d and this release knows format %d; %s",
                        bytes.data[0], STORE_SPACE_FORMAT,
                        bytes.data[0] > STORE_SPACE_FORMAT ? "upgrade this node"
                                                           : "empty the node's data directory, it is of a version "
                                                             "before the first release");
}

int32_t store_position_read(hf_slice bytes, struct store_position *ret_position, hf_error *error)
{
    int32_t r = check_format(bytes, error);

    if (r < 0)
        return r;
    if (!position_is_whole(bytes) || bytes.data[0] == 0)
        return hf_error_set(error, HF_ECORRUPT,
                            "the partition's applied position (%llu bytes) is damaged; fetch the partition anew from "
                            "another replica",
                            (unsigned long long)bytes.size);
    *ret_position = (struct store_position){.feed_forgotten = store_read_be(bytes.data + 25, 8)};
    struct store_machine_state *state = &ret_position->state;
    const uint8_t *at = bytes.data + STORE_POSITION_HEAD_SIZE;

    state->applied_index = store_read_be(bytes.data + 1, 8);
    state->applied_term = store_read_be(bytes.data + 9, 8);
    state->version = store_read_be(bytes.data + 17, 8);
    state->shape = read_shape(bytes.data + 33);
    state->member_count = bytes.data[MEMBER_COUNT_AT];
    for (uint32_t i = 0; i < state->member_count; i++, at += 9)
        state->members[i] = (hf_replication_member){.replica = store_read_be(at, 8), .learner = at[8]};
    return 0;
}

/* ---- Records ----------------------------------------------------------------------------------------------------- */

uint64_t store_record_write_head(uint8_t to[STORE_RECORD_HEAD_MAX], const struct store_record *record)
{
    to[0] = record->deadline_us ? STORE_RECORD_FORMAT : STORE_RECORD_FORMAT_WITHOUT_DEADLINE;
    store_write_be(to + 1, record->version, 8);
    store_write_be(to + 9, record->time_us, 8);
    store_write_be(to + 17, record->checksum, 4);
    if (!record->deadline_us)
        return STORE_RECORD_HEAD_SIZE;
    store_write_be(to + STORE_RECORD_HEAD_SIZE, record->deadline_us, 8);
    return STORE_RECORD_HEAD_MAX;
}

int32_t store_record_read(hf_slice bytes, struct store_record *ret_record, hf_error *error)
{
    int newest = bytes.size > 0 && bytes.data[0] == STORE_RECORD_FORMAT;
    uint64_t head = newest ? STORE_RECORD_HEAD_MAX : STORE_RECORD_HEAD_SIZE;

    if (bytes.size > 0 && bytes.data[0] > STORE_RECORD_FORMAT)
        return hf_error_set(error, HF_EVERSION,
                            "a stored record has format %d and this release knows up to %d; upgrade this node",
                            bytes.data[0], STORE_RECORD_FORMAT);
    if (bytes.size < head || bytes.data[0] == 0)
        return hf_error_set(error, HF_ECORRUPT,
                            "the head of a stored record (%llu bytes) is damaged; repair it from another replica",
                            (unsigned long long)bytes.size);
    *ret_record = (struct store_record){
        .version = store_read_be(bytes.data + 1, 8),
        .time_us = store_read_be(bytes.data + 9, 8),
        .checksum = (uint32_t)store_read_be(bytes.data + 17, 4),
        .deadline_us = newest ? store_read_be(bytes.data + STORE_RECORD_HEAD_SIZE, 8) : 0,
        .value = {bytes.data + head, bytes.size - head},
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

int32_t store_deadline_read(hf_slice key, hf_slice row, uint64_t *ret_deadline_us, uint64_t *ret_version,
                            hf_slice *ret_record_key, hf_error *error)
{
    if (key.size <= DEADLINE_KEY_HEAD_SIZE || key.size > DEADLINE_KEY_HEAD_SIZE + STORE_KEY_MAX ||
        row.size != DEADLINE_ROW_SIZE)
        return hf_error_set(
            error, HF_ECORRUPT,
            "a record's deadline (%llu bytes) is damaged; fetch the partition anew from another replica",
            (unsigned long long)row.size);
    *ret_deadline_us = store_read_be(key.data + 1, 8);
    *ret_version = store_read_be(row.data, 8);
    *ret_record_key = (hf_slice){key.data + DEADLINE_KEY_HEAD_SIZE, key.size - DEADLINE_KEY_HEAD_SIZE};
    return 0;
}

/* ---- Transactions ------------------------------------------------------------------------------------------------ */

uint64_t store_transaction_write(uint8_t to[STORE_TRANSACTION_ROW_MAX], const struct store_transaction *transaction)
{
    uint8_t *at = to + TRANSACTION_HEAD_SIZE;

    to[0] = (uint8_t)transaction->state;
    store_write_be(to + 1, transaction->home, 8);
    store_write_be(to + 9, transaction->time_us, 8);
    store_write_be(to + 17, transaction->version, 8);
    to[25] = (uint8_t)transaction->participant_count;
    for (uint32_t i = 0; i < transaction->participant_count; i++, at += 8)
        store_write_be(at, transaction->participants[i], 8);
    return (uint64_t)(at - to);
}

int32_t store_transaction_read(hf_slice key, hf_slice row, struct store_transaction *ret_transaction, hf_error *error)
{
    if (key.size != 1 + STORE_TRANSACTION_ID_SIZE || row.size < TRANSACTION_HEAD_SIZE ||
        row.data[0] < STORE_TRANSACTION_PREPARED || row.data[0] > STORE_TRANSACTION_ABORTED ||
        row.data[25] > STORE_PARTICIPANTS_MAX || row.size != TRANSACTION_HEAD_SIZE + row.data[25] * UINT64_C(8))
        return hf_error_set(error, HF_ECORRUPT,
                            "a transaction's row (%llu bytes) is damaged; fetch the partition anew from another "
                            "replica",
                            (unsigned long long)row.size);
    *ret_transaction = (struct store_transaction){.state = row.data[0],
                                                  .home = store_read_be(row.data + 1, 8),
                                                  .time_us = store_read_be(row.data + 9, 8),
                                                  .version = store_read_be(row.data + 17, 8),
                                                  .participant_count = row.data[25]};
    memcpy(ret_transaction->id, key.data + 1, sizeof ret_transaction->id);
    for (uint32_t i = 0; i < ret_transaction->participant_count; i++)
        ret_transaction->participants[i] = store_read_be(row.data + TRANSACTION_HEAD_SIZE + i * 8, 8);
    return 0;
}

/* ---- Changes ----------------------------------------------------------------------------------------------------- */

void store_row_write_time(uint8_t to[STORE_ROW_TIME_SIZE], uint64_t time_us)
{
    store_write_be(to, time_us, STORE_ROW_TIME_SIZE);
}

static int32_t append_number(hf_buffer *row, uint64_t number, int size)
{
    uint8_t bytes[8];

    store_write_be(bytes, number, size);
    return hf_buffer_append(row, bytes, (uint64_t)size);
}

static uint64_t count_changing(const struct store_command *command)
{
    uint64_t count = 0;

    for (uint64_t i = 0; i < command->operation_count; i++)
        count += command->operations[i].type != STORE_CHECK;
    return count;
}

int32_t store_changes_add(hf_buffer *row, uint64_t version, const struct store_command *command)
{
    int32_t r = append_number(row, version, 8);

    if (r == 0)
        r = append_number(row, command->user, 8);
    if (r == 0)
        r = append_number(row, count_changing(command), 2);
    for (uint64_t i = 0; r == 0 && i < command->operation_count; i++) {
        const struct store_operation *operation = &command->operations[i];

        if (operation->type == STORE_CHECK)
            continue;
        r = append_number(row, (uint64_t)operation->type << 16 | operation->key.size, 3);
        if (r == 0)
            r = hf_buffer_append(row, operation->key.data, operation->key.size);
    }
    return r;
}

static int32_t changes_damaged(hf_slice row, hf_error *error)
{
    return hf_error_set(error, HF_ECORRUPT,
                        "an entry of the change feed (%llu bytes) is damaged; fetch the partition anew from another "
                        "replica",
                        (unsigned long long)row.size);
}

/* The next number of `rest`, which has that many bytes. */
static uint64_t take_number(hf_slice *rest, uint64_t size)
{
    uint64_t number = store_read_be(rest->data, (int)size);

    rest->data += size;
    rest->size -= size;
    return number;
}

int32_t store_changes_read(hf_slice key, hf_slice row, struct store_changes *ret_changes, hf_error *error)
{
    if (key.size != VERSION_KEY_SIZE || row.size < STORE_ROW_TIME_SIZE)
        return changes_damaged(row, error);
    *ret_changes = (struct store_changes){.last = store_read_be(key.data + 1, 8), .rest = row};
    ret_changes->time_us = take_number(&ret_changes->rest, STORE_ROW_TIME_SIZE);
    return 0;
}

/* The versions of a row grow, and the last one is the row's. */
static int32_t next_command(struct store_changes *changes, hf_error *error)
{
    uint64_t before = changes->version;

    if (changes->rest.size < 18)
        return changes_damaged(changes->rest, error);
    changes->version = take_number(&changes->rest, 8);
    changes->user = take_number(&changes->rest, 8);
    changes->operation_count = (uint32_t)take_number(&changes->rest, 2);
    changes->operation = 0;
    if (changes->version <= before || changes->version > changes->last || changes->operation_count == 0 ||
        changes->operation_count > STORE_OPERATIONS_MAX)
        return changes_damaged(changes->rest, error);
    return 0;
}

int32_t store_changes_next(struct store_changes *changes, struct store_change *ret_change, hf_error *error)
{
    hf_slice *rest = &changes->rest;
    int32_t r = 0;

    if (changes->operation == changes->operation_count) {
        if (rest->size == 0 && changes->version == changes->last)
            return 0;
        r = next_command(changes, error);
    }
    if (r < 0)
        return r;
    if (rest->size < 3)
        return changes_damaged(*rest, error);
    *ret_change = (struct store_change){.version = changes->version,
                                        .operation = changes->operation++,
                                        .type = (int32_t)take_number(rest, 1),
                                        .time_us = changes->time_us,
                                        .user = changes->user};
    uint64_t size = take_number(rest, 2);

    if (size == 0 || size > STORE_KEY_MAX || size > rest->size || ret_change->type < STORE_PUT ||
        ret_change->type > STORE_EXPIRE)
        return changes_damaged(*rest, error);
    ret_change->key = (hf_slice){rest->data, size};
    rest->data += size;
    rest->size -= size;
    return 1;
}

/* The operations of a command are written one by one; how many they are is known at the end. */
static int32_t begin_part(hf_buffer *row, const struct store_change *change)
{
    int32_t r = append_number(row, change->version, 8);

    if (r == 0)
        r = append_number(row, change->user, 8);
    return r == 0 ? append_number(row, 0, 2) : r;
}

int32_t store_changes_part(const struct store_changes *changes, uint64_t from, uint64_t to, hf_buffer *ret_row,
                           uint64_t *ret_last, hf_error *error)
{
    struct store_changes rest = *changes;
    struct store_change change = {0};
    uint64_t count = 0, head = 0;
    int32_t r;

    *ret_last = 0;
    while ((r = store_changes_next(&rest, &change, error)) == 1) {
        uint64_t hash = store_hash_of(change.key);

        if (hash < from || hash > to)
            continue;
        if (change.version != *ret_last) {
            r = begin_part(ret_row, &change);
            head = ret_row->size - 2;
            count = 0;
        }
        if (r >= 0)
            r = append_number(ret_row, (uint64_t)change.type << 16 | change.key.size, 3);
        if (r >= 0)
            r = hf_buffer_append(ret_row, change.key.data, change.key.size);
        if (r < 0)
            return hf_error_set(error, HF_ENOMEM, "no memory for changes that go to another partition");
        store_write_be(ret_row->data + head, ++count, 2);
        *ret_last = change.version;
    }
    return r;
}

/* ---- Remembered idempotency keys --------------------------------------------------------------------------------- */

void store_repeat_write(uint8_t to[STORE_REPEAT_SIZE], uint64_t version, const struct store_outcome *outcome,
                        uint64_t asked)
{
    store_write_be(to, version, 8);
    store_write_be(to + 8, (uint32_t)outcome->code, 4);
    store_write_be(to + 12, outcome->version, 8);
    store_write_be(to + 20, outcome->operation, 4);
    store_write_be(to + 24, asked, 8);
}

static int32_t repeat_damaged(hf_slice bytes, hf_error *error)
{
    return hf_error_set(error, HF_ECORRUPT,
                        "a remembered idempotency key (%llu bytes) is damaged; fetch the partition anew from another "
                        "replica",
                        (unsigned long long)bytes.size);
}

int32_t store_repeat_read(hf_slice bytes, struct store_outcome *ret_outcome, uint64_t *ret_asked, hf_error *error)
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
    *ret_asked = store_read_be(bytes.data + 24, 8);
    return 0;
}

int32_t store_remembered_add(hf_buffer *row, hf_slice idempotency_key)
{
    int32_t r = append_number(row, idempotency_key.size, 1);

    return r < 0 ? r : hf_buffer_append(row, idempotency_key.data, idempotency_key.size);
}

int store_remembered_next(hf_slice *keys, hf_slice *ret_idempotency_key)
{
    uint64_t size = keys->size ? keys->data[0] : 0;

    if (size == 0 || size > STORE_IDEMPOTENCY_KEY_MAX || size >= keys->size)
        return 0;
    *ret_idempotency_key = (hf_slice){keys->data + 1, size};
    keys->data += 1 + size;
    keys->size -= 1 + size;
    return 1;
}

int32_t store_remembered_read(hf_slice key, hf_slice row, uint64_t *ret_version, uint64_t *ret_time_us,
                              hf_slice *ret_keys, hf_error *error)
{
    if (key.size != VERSION_KEY_SIZE || row.size <= STORE_ROW_TIME_SIZE)
        return repeat_damaged(row, error);
    hf_slice rest = row, keys, one;

    *ret_version = store_read_be(key.data + 1, 8);
    *ret_time_us = take_number(&rest, STORE_ROW_TIME_SIZE);
    *ret_keys = keys = rest;
    while (store_remembered_next(&keys, &one))
        ;
    return keys.size ? repeat_damaged(row, error) : 0;
}
