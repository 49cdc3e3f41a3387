/* Operations and results as bytes; see op.h.
 *
 * All numbers are big endian.
 *
 * Request: format 1, type 1, stale 1, partition 8, time left in us 8, client 8, and
 *   WRITE    command: size 4 and bytes
 *   GET      key: size 2 and bytes
 *   SCAN     prefix: size 2 and bytes, start: size 2 and bytes, limit 4, hash from 8 and to 8
 *   CHANGES  from 8, limit 4, wait in ms 4, hash from 8 and to 8
 *
 * Answer: format 1, code 4 (negated), leader 4, version 8, operation 8, more 1, age in ms 4; with a code other than 0
 *   retry 1, retry after in ms 8, message: size 2 and bytes; always the result: size 4 and bytes.
 *
 * Result: rows of
 *   records  key: size 2 and bytes, version 8, time 8, checksum 4, value: size 4 and bytes
 *   changes  index 8, time 8, type 1, superseded 1, key: size 2 and bytes, and of a put that is not superseded the
 *            value: size 4 and bytes
 *   shapes   state 1, has strays 1, is forked 1, epoch, other, hash from and to, changed, applied, version,
 *            transactions, bytes, rate 8 each; one row only
 *
 * Each has exactly one encoding, and nothing follows it. */
#include "service/op.h"

#include "machine/bytes.h"
#include "machine/command.h"
#include "table/table.h"

#include <holdfast/lib/checksum.h>
#include <holdfast/lib/error.h>

#include <string.h>

enum {
    FORMAT = 2,
    REQUEST_HEAD_SIZE = 1 + 1 + 1 + 8 + 8 + 8,
    ANSWER_HEAD_SIZE = 1 + 4 + 4 + 8 + 8 + 1 + 4,
    ANSWER_ERROR_SIZE = 1 + 8 + 2,
    ROW_HEAD_SIZE = 2 + 8 + 8 + 4 + 4,
    CHANGE_HEAD_SIZE = 8 + 8 + 1 + 1 + 2,
    SHAPE_SIZE = 3 + 10 * 8,
    START_MAX = STORE_KEY_MAX + 1 /* bytes: a key and a zero byte, which is the next key that there can be */
};

/* ---- Bytes ------------------------------------------------------------------------------------------------------- */

static uint8_t *put_number(uint8_t *to, uint64_t number, int size)
{
    store_write_be(to, number, size);
    return to + size;
}

static uint8_t *put_bytes(uint8_t *to, hf_slice bytes)
{
    if (bytes.size)
        memcpy(to, bytes.data, bytes.size);
    return to + bytes.size;
}

static uint8_t *put_sized(uint8_t *to, hf_slice bytes, int size_of_size)
{
    return put_bytes(put_number(to, bytes.size, size_of_size), bytes);
}

/* What is left to read; `failed` once something was asked for that is not there. */
struct reader {
    hf_slice rest;
    int failed;
};

static hf_slice read_bytes(struct reader *reader, uint64_t size)
{
    if (reader->failed || size > reader->rest.size) {
        reader->failed = 1;
        return (hf_slice){NULL, 0};
    }
    hf_slice bytes = {reader->rest.data, size};

    reader->rest.data += size;
    reader->rest.size -= size;
    return bytes;
}

static uint64_t read_number(struct reader *reader, int size)
{
    hf_slice bytes = read_bytes(reader, (uint64_t)size);

    return reader->failed ? 0 : store_read_be(bytes.data, size);
}

static hf_slice read_sized(struct reader *reader, int size_of_size)
{
    return read_bytes(reader, read_number(reader, size_of_size));
}

/* 0 or 1; anything else is a failure. */
static int32_t read_flag(struct reader *reader)
{
    uint64_t flag = read_number(reader, 1);

    if (flag > 1)
        reader->failed = 1;
    return flag == 1;
}

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

/* Not the client's key at the node's queues. */
static uint64_t key_of(const struct store_op *op)
{
    return ~op->client;
}

int32_t store_op_hold(struct store_op *op, hf_gate *gate, hf_shares *shares, uint64_t bytes, uint64_t now_us)
{
    if (hf_gate_enter(gate, shares, key_of(op), 0, bytes, now_us) != 0)
        return HF_EBUSY;
    op->held_in = gate;
    op->held_by = shares;
    op->held = bytes;
    return HF_OK;
}

void store_op_held_is(struct store_op *op, uint64_t bytes, uint64_t now_us)
{
    if (bytes > op->held)
        hf_gate_force(op->held_in, op->held_by, key_of(op), 0, bytes - op->held, now_us);
    else if (bytes < op->held)
        hf_gate_leave(op->held_in, op->held_by, key_of(op), 0, op->held - bytes);
    op->held = bytes;
}

void store_op_done(struct store_op *op)
{
    if (op->held)
        store_op_held_is(op, 0, 0);
    hf_buffer_done(&op->result);
}

/* ---- Rows -------------------------------------------------------------------------------------------------------- */

int32_t store_result_add(hf_buffer *result, const struct store_row *row)
{
    if (row->key.size > STORE_KEY_MAX || row->value.size > STORE_VALUE_MAX)
        return HF_ETOOLARGE;
    uint64_t size = ROW_HEAD_SIZE + row->key.size + row->value.size;
    int32_t r = hf_buffer_reserve(result, size);

    if (r < 0)
        return r;
    uint8_t *to = put_sized(result->data + result->size, row->key, 2);

    to = put_number(to, row->version, 8);
    to = put_number(to, row->time_us, 8);
    to = put_number(to, row->checksum, 4);
    put_sized(to, row->value, 4);
    result->size += size;
    return 0;
}

int32_t store_result_next(hf_slice *rest, struct store_row *ret_row)
{
    struct reader reader = {*rest, 0};

    if (rest->size == 0)
        return 0;
    ret_row->key = read_sized(&reader, 2);
    ret_row->version = read_number(&reader, 8);
    ret_row->time_us = read_number(&reader, 8);
    ret_row->checksum = (uint32_t)read_number(&reader, 4);
    ret_row->value = read_sized(&reader, 4);
    if (reader.failed || ret_row->key.size > STORE_KEY_MAX || ret_row->value.size > STORE_VALUE_MAX)
        return HF_ECORRUPT;
    *rest = reader.rest;
    return 1;
}

int32_t store_result_check(hf_slice result)
{
    struct store_row row;
    int32_t r;

    while ((r = store_result_next(&result, &row)) == 1)
        if (hf_crc32c(0, row.value.data, row.value.size) != row.checksum)
            return HF_ECORRUPT;
    return r;
}

static int has_value(const struct store_feed_row *row)
{
    return row->type == STORE_PUT && !row->superseded;
}

static int change_is_valid(const struct store_feed_row *row)
{
    int is_put = row->type == STORE_PUT, is_removal = row->type == STORE_DELETE || row->type == STORE_EXPIRE;

    return (is_put || (is_removal && row->superseded == 0)) && (row->superseded == 0 || row->superseded == 1) &&
           (has_value(row) || row->value.size == 0);
}

int32_t store_result_add_change(hf_buffer *result, const struct store_feed_row *row)
{
    if (!change_is_valid(row))
        return HF_EINVAL;
    if (row->key.size > STORE_KEY_MAX || row->value.size > STORE_VALUE_MAX)
        return HF_ETOOLARGE;
    uint64_t size = CHANGE_HEAD_SIZE + row->key.size + (has_value(row) ? 4 + row->value.size : 0);
    int32_t r = hf_buffer_reserve(result, size);

    if (r < 0)
        return r;
    uint8_t *to = put_number(result->data + result->size, row->version, 8);

    to = put_number(to, row->time_us, 8);
    to = put_number(to, (uint64_t)row->type, 1);
    to = put_number(to, (uint64_t)row->superseded, 1);
    to = put_sized(to, row->key, 2);
    if (has_value(row))
        put_sized(to, row->value, 4);
    result->size += size;
    return 0;
}

int32_t store_result_next_change(hf_slice *rest, struct store_feed_row *ret_row)
{
    struct reader reader = {*rest, 0};

    if (rest->size == 0)
        return 0;
    *ret_row = (struct store_feed_row){.version = read_number(&reader, 8)};
    ret_row->time_us = read_number(&reader, 8);
    ret_row->type = (int32_t)read_number(&reader, 1);
    ret_row->superseded = read_flag(&reader);
    ret_row->key = read_sized(&reader, 2);
    if (has_value(ret_row))
        ret_row->value = read_sized(&reader, 4);
    if (reader.failed || !change_is_valid(ret_row) || ret_row->key.size > STORE_KEY_MAX ||
        ret_row->value.size > STORE_VALUE_MAX)
        return HF_ECORRUPT;
    *rest = reader.rest;
    return 1;
}

int32_t store_result_add_shape(hf_buffer *result, const struct store_shape_row *row)
{
    const uint64_t numbers[] = {row->epoch,   row->other,   row->hash_from,    row->hash_to, row->changed,
                                row->applied, row->version, row->transactions, row->bytes,   row->rate};
    int32_t r = hf_buffer_reserve(result, SHAPE_SIZE);

    if (r < 0)
        return r;
    uint8_t *to = put_number(result->data + result->size, (uint64_t)row->state, 1);

    to = put_number(to, row->has_strays != 0, 1);
    to = put_number(to, row->is_forked != 0, 1);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        to = put_number(to, numbers[i], 8);
    result->size += SHAPE_SIZE;
    return 0;
}

int32_t store_result_shape(hf_slice result, struct store_shape_row *ret_row)
{
    struct reader reader = {result, 0};
    struct store_shape_row row = {.state = (int32_t)read_number(&reader, 1)};

    row.has_strays = read_flag(&reader);
    row.is_forked = read_flag(&reader);
    row.epoch = read_number(&reader, 8);
    row.other = read_number(&reader, 8);
    row.hash_from = read_number(&reader, 8);
    row.hash_to = read_number(&reader, 8);
    row.changed = read_number(&reader, 8);
    row.applied = read_number(&reader, 8);
    row.version = read_number(&reader, 8);
    row.transactions = read_number(&reader, 8);
    row.bytes = read_number(&reader, 8);
    row.rate = read_number(&reader, 8);
    if (reader.failed || reader.rest.size > 0)
        return HF_ECORRUPT;
    *ret_row = row;
    return 0;
}

/* ---- Requests ---------------------------------------------------------------------------------------------------- */

/* What must hold of every request, written or read. */
static int request_is_valid(const struct store_op *op)
{
    if (op->partition == 0 || (op->stale != 0 && op->stale != 1))
        return 0;
    switch (op->type) {
    case STORE_OP_WRITE:
        return op->command.size >= 1 && op->command.size <= UINT32_MAX;
    case STORE_OP_GET:
        return op->key.size >= 1 && op->key.size <= STORE_KEY_MAX;
    case STORE_OP_SCAN:
        return op->key.size <= STORE_KEY_MAX && op->start.size <= START_MAX && op->limit >= 1 &&
               op->limit <= STORE_SCAN_RECORDS_MAX && op->hash_from <= op->hash_to;
    case STORE_OP_CHANGES:
        return op->limit >= 1 && op->limit <= STORE_SCAN_RECORDS_MAX && op->hash_from <= op->hash_to &&
               (op->stale || op->wait_ms == 0);
    case STORE_OP_MEMBERS:
    case STORE_OP_SHAPE:
        return 1;
    default:
        return 0;
    }
}

static uint64_t request_size(const struct store_op *op)
{
    switch (op->type) {
    case STORE_OP_WRITE:
        return REQUEST_HEAD_SIZE + 4 + op->command.size;
    case STORE_OP_GET:
        return REQUEST_HEAD_SIZE + 2 + op->key.size;
    case STORE_OP_SCAN:
        return REQUEST_HEAD_SIZE + 2 + op->key.size + 2 + op->start.size + 4 + 8 + 8;
    case STORE_OP_MEMBERS:
    case STORE_OP_SHAPE:
        return REQUEST_HEAD_SIZE;
    default:
        return REQUEST_HEAD_SIZE + 8 + 4 + 4 + 8 + 8;
    }
}

static void put_range(uint8_t *to, const struct store_op *op)
{
    put_number(put_number(to, op->hash_from, 8), op->hash_to, 8);
}

static void put_arguments(uint8_t *to, const struct store_op *op)
{
    switch (op->type) {
    case STORE_OP_WRITE:
        put_sized(to, op->command, 4);
        break;
    case STORE_OP_GET:
        put_sized(to, op->key, 2);
        break;
    case STORE_OP_SCAN:
        to = put_sized(to, op->key, 2);
        to = put_sized(to, op->start, 2);
        to = put_number(to, op->limit, 4);
        put_range(to, op);
        break;
    case STORE_OP_MEMBERS:
    case STORE_OP_SHAPE:
        break;
    default:
        to = put_number(to, op->from, 8);
        to = put_number(to, op->limit, 4);
        to = put_number(to, op->wait_ms, 4);
        put_range(to, op);
    }
}

int32_t store_op_write_request(hf_buffer *buffer, const struct store_op *op, uint64_t now_us)
{
    if (!request_is_valid(op))
        return HF_EINVAL;
    uint64_t size = request_size(op);
    int32_t r = hf_buffer_reserve(buffer, size);

    if (r < 0)
        return r;
    uint8_t *to = put_number(buffer->data + buffer->size, FORMAT, 1);

    to = put_number(to, (uint64_t)op->type, 1);
    to = put_number(to, (uint64_t)op->stale, 1);
    to = put_number(to, op->partition, 8);
    to = put_number(to, op->deadline_us > now_us ? op->deadline_us - now_us : 0, 8);
    to = put_number(to, op->client, 8);
    put_arguments(to, op);
    buffer->size += size;
    return 0;
}

static void read_range(struct reader *reader, struct store_op *op)
{
    op->hash_from = read_number(reader, 8);
    op->hash_to = read_number(reader, 8);
}

static void read_arguments(struct reader *reader, struct store_op *op)
{
    switch (op->type) {
    case STORE_OP_WRITE:
        op->command = read_sized(reader, 4);
        break;
    case STORE_OP_GET:
        op->key = read_sized(reader, 2);
        break;
    case STORE_OP_SCAN:
        op->key = read_sized(reader, 2);
        op->start = read_sized(reader, 2);
        op->limit = (uint32_t)read_number(reader, 4);
        read_range(reader, op);
        break;
    case STORE_OP_CHANGES:
        op->from = read_number(reader, 8);
        op->limit = (uint32_t)read_number(reader, 4);
        op->wait_ms = (uint32_t)read_number(reader, 4);
        read_range(reader, op);
        break;
    case STORE_OP_MEMBERS:
    case STORE_OP_SHAPE:
        break;
    default:
        reader->failed = 1;
    }
}

int32_t store_op_read_request(hf_slice bytes, uint64_t now_us, struct store_op *ret_op)
{
    struct reader reader = {bytes, 0};
    struct store_op op = {0};

    if (read_number(&reader, 1) != FORMAT)
        return HF_EPROTOCOL;
    op.type = (int32_t)read_number(&reader, 1);
    op.stale = read_flag(&reader);
    op.partition = read_number(&reader, 8);
    uint64_t left = read_number(&reader, 8);

    op.deadline_us = left < UINT64_MAX - now_us ? now_us + left : UINT64_MAX;
    op.client = read_number(&reader, 8);
    read_arguments(&reader, &op);
    if (reader.failed || reader.rest.size > 0 || !request_is_valid(&op))
        return HF_EPROTOCOL;
    *ret_op = op;
    return 0;
}

/* ---- Answers ----------------------------------------------------------------------------------------------------- */

static int is_control(uint8_t byte)
{
    return byte < 0x20 || byte == 0x7f;
}

static hf_slice message_of(const struct store_op *op)
{
    const char *message = op->error.message;

    return (hf_slice){(const uint8_t *)message, strnlen(message, sizeof op->error.message - 1)};
}

/* What must hold of every answer, written or read. */
static int answer_is_valid(const struct store_op *op)
{
    return op->code <= 0 && op->code > INT32_MIN && op->leader <= STORE_NODES_MAX && (op->more == 0 || op->more == 1) &&
           (op->code == 0 || (op->error.retry >= HF_RETRY_NO && op->error.retry <= HF_RETRY_ELSEWHERE));
}

/* A message travels without control characters, as hf_error_set leaves it. */
static uint8_t *put_error(uint8_t *to, const struct store_op *op)
{
    hf_slice message = message_of(op);

    to = put_number(to, (uint64_t)op->error.retry, 1);
    to = put_number(to, op->error.retry_after_ms, 8);
    to = put_number(to, message.size, 2);
    for (uint64_t i = 0; i < message.size; i++)
        *to++ = is_control(message.data[i]) ? ' ' : message.data[i];
    return to;
}

int32_t store_op_write_answer(hf_buffer *buffer, const struct store_op *op)
{
    if (!answer_is_valid(op))
        return HF_EINVAL;
    if (op->result.size > UINT32_MAX)
        return HF_ETOOLARGE;
    uint64_t size =
        ANSWER_HEAD_SIZE + (op->code < 0 ? ANSWER_ERROR_SIZE + message_of(op).size : 0) + 4 + op->result.size;
    int32_t r = hf_buffer_reserve(buffer, size);

    if (r < 0)
        return r;
    uint8_t *to = put_number(buffer->data + buffer->size, FORMAT, 1);

    to = put_number(to, (uint64_t)-op->code, 4);
    to = put_number(to, op->leader, 4);
    to = put_number(to, op->version, 8);
    to = put_number(to, op->operation, 8);
    to = put_number(to, (uint64_t)op->more, 1);
    to = put_number(to, op->age_ms, 4);
    if (op->code < 0)
        to = put_error(to, op);
    put_sized(to, (hf_slice){op->result.data, op->result.size}, 4);
    buffer->size += size;
    return 0;
}

static void read_error(struct reader *reader, struct store_op *op)
{
    int32_t retry = (int32_t)read_number(reader, 1);
    uint64_t retry_after_ms = read_number(reader, 8);
    hf_slice message = read_sized(reader, 2);

    if (message.size >= sizeof op->error.message)
        reader->failed = 1;
    for (uint64_t i = 0; i < message.size && !reader->failed; i++)
        reader->failed = is_control(message.data[i]);
    if (reader->failed)
        return;
    if (message.size)
        memcpy(op->error.message, message.data, message.size);
    op->error.code = op->code;
    op->error.retry = retry;
    op->error.retry_after_ms = retry_after_ms;
}

/* The answer's fields, and its result as a slice of the bytes. */
static int32_t read_answer(struct reader *reader, struct store_op *op, hf_slice *ret_result)
{
    if (read_number(reader, 1) != FORMAT)
        return HF_EPROTOCOL;
    uint64_t code = read_number(reader, 4);

    if (code > INT32_MAX)
        return HF_EPROTOCOL;
    op->code = -(int32_t)code;
    op->leader = (uint32_t)read_number(reader, 4);
    op->version = read_number(reader, 8);
    op->operation = read_number(reader, 8);
    op->more = read_flag(reader);
    op->age_ms = (uint32_t)read_number(reader, 4);
    if (op->code < 0)
        read_error(reader, op);
    *ret_result = read_sized(reader, 4);
    return reader->failed || reader->rest.size > 0 || !answer_is_valid(op) ? HF_EPROTOCOL : 0;
}

int32_t store_op_read_answer(hf_slice bytes, struct store_op *op)
{
    struct reader reader = {bytes, 0};
    struct store_op answer = {0};
    hf_slice result = {NULL, 0};
    int32_t r = read_answer(&reader, &answer, &result);

    if (r < 0)
        return r;
    hf_buffer_clear(&op->result);
    r = hf_buffer_append(&op->result, result.data, result.size);
    if (r < 0)
        return r;
    op->code = answer.code;
    op->leader = answer.leader;
    op->version = answer.version;
    op->operation = answer.operation;
    op->more = answer.more;
    op->age_ms = answer.age_ms;
    op->error = answer.error;
    return 0;
}
