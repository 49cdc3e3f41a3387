/* Commands as bytes.
 *
 * All numbers are big endian:
 *   format 1, user 8, configuration 8, trace 16, idempotency key: size 1 and bytes and, where it has any, the hash of
 *   what was asked for 8, operation count 2,
 *   and for each operation
 *   type 1, condition 1, version 8 (only with STORE_IF_VERSION), key: size 2 and bytes,
 *   and of a put the checksum 4, expire_after 4 (only in format 3) and the value: size 4 and bytes.
 * The format is 3 of commands with expiry or checks, which releases before it must not pass over, and 2 of all others.
 * A command has exactly one encoding, and nothing follows it. */
#include "command.h"

#include "bytes.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/hash.h>
#include <holdfast/lib/utf8.h>

#include <string.h>

enum {
    FORMAT = 3,
    FORMAT_PLAIN = 2, /* 1: with the entry's times, before the first release */
    HEAD_SIZE = 1 + 8 + 8 + 16 + 1,
    KEY_SLOTS = 4096 /* more than twice STORE_OPERATIONS_MAX, a power of two */
};

/* ---- What must hold of every command, written or read ------------------------------------------------------------ */

static int same(hf_slice a, hf_slice b)
{
    return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

static int keys_are_distinct(const struct store_operation *operations, uint64_t count)
{
    uint16_t slots[KEY_SLOTS] = {0}; /* place of an operation, from 1 */

    for (uint64_t i = 0; i < count; i++) {
        uint64_t slot = hf_hash64(0, operations[i].key.data, operations[i].key.size) % KEY_SLOTS;

        for (; slots[slot]; slot = (slot + 1) % KEY_SLOTS)
            if (same(operations[slots[slot] - 1].key, operations[i].key))
                return 0;
        slots[slot] = (uint16_t)(i + 1);
    }
    return 1;
}

static int needs_newest(const struct store_operation *operation)
{
    return operation->type >= STORE_EXPIRE || operation->expire_after > 0;
}

static int format_of(const struct store_operation *operations, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        if (needs_newest(&operations[i]))
            return FORMAT;
    return FORMAT_PLAIN;
}

/* What is wrong with an operation's expiry, or NULL. */
static const char *expiry_fault(const struct store_operation *operation)
{
    if (operation->type == STORE_EXPIRE && operation->condition != STORE_IF_VERSION)
        return "it expires a record and does not say which version";
    if (operation->type != STORE_PUT && operation->expire_after > 0)
        return "it writes nothing that could expire";
    if (operation->expire_after > STORE_EXPIRE_AFTER_MAX)
        return "it expires after more than ten years";
    return NULL;
}

/* What is wrong with an operation, or NULL. */
static const char *operation_fault(const struct store_operation *operation)
{
    if (operation->type < STORE_PUT || operation->type > STORE_REMOVE)
        return "it is neither a put nor a delete";
    if (operation->type == STORE_CHECK && operation->condition == STORE_IF_ANY)
        return "it checks nothing";
    if (operation->condition < STORE_IF_ANY || operation->condition > STORE_IF_VERSION)
        return "its condition is unknown";
    if (operation->type == STORE_REMOVE && operation->condition != STORE_IF_ANY)
        return "it removes what has moved and has a condition";
    if (operation->key.size == 0 || operation->key.size > STORE_KEY_MAX)
        return "its key is empty or too long";
    if (!hf_utf8_valid(operation->key, NULL))
        return "its key is not UTF-8";
    if (operation->value.size > STORE_VALUE_MAX)
        return "its value is too long";
    if (operation->type != STORE_PUT && operation->value.size > 0)
        return "it is no put and has a value";
    return expiry_fault(operation);
}

/* Expiring, and removing what has moved, are commands of their own: they do what they can, not all or nothing. */
static int32_t check_kind(const struct store_operation *operations, uint64_t count, int32_t type, uint64_t most,
                          int32_t code, hf_error *error)
{
    uint64_t of_type = 0;

    for (uint64_t i = 0; i < count; i++)
        of_type += operations[i].type == type;
    if (of_type == 0 || (of_type == count && count <= most))
        return 0;
    return hf_error_set(error, code,
                        "a command that expires or removes %llu records has %llu operations; expected 1 to %llu, of "
                        "its kind only",
                        (unsigned long long)of_type, (unsigned long long)count, (unsigned long long)most);
}

/* `code` is what a fault means to the caller. */
static int32_t check_operations(const struct store_operation *operations, uint64_t count, int32_t code, hf_error *error)
{
    for (uint64_t i = 0; i < count; i++) {
        const char *fault = operation_fault(&operations[i]);

        if (fault)
            return hf_error_set(error, code,
                                "operation %llu of a command is refused: %s (keys: 1 to %d bytes of UTF-8)",
                                (unsigned long long)i, fault, STORE_KEY_MAX);
    }
    int32_t r = check_kind(operations, count, STORE_EXPIRE, STORE_EXPIRES_MAX, code, error);

    if (r == 0)
        r = check_kind(operations, count, STORE_REMOVE, STORE_REMOVES_MAX, code, error);

    if (r < 0)
        return r;
    if (count > 1 && !keys_are_distinct(operations, count))
        return hf_error_set(error, code,
                            "a command names the same key twice; name each key once, or send two commands");
    return 0;
}

static int32_t check_sizes(uint64_t operation_count, uint64_t idempotency_key_size, int32_t code, hf_error *error)
{
    if (operation_count == 0 || operation_count > STORE_OPERATIONS_MAX)
        return hf_error_set(error, code, "a command of %llu operations is refused; expected 1 to %d",
                            (unsigned long long)operation_count, STORE_OPERATIONS_MAX);
    if (idempotency_key_size > STORE_IDEMPOTENCY_KEY_MAX)
        return hf_error_set(error, code, "an idempotency key of %llu bytes is refused; expected at most %d",
                            (unsigned long long)idempotency_key_size, STORE_IDEMPOTENCY_KEY_MAX);
    return 0;
}

/* ---- Encoding ---------------------------------------------------------------------------------------------------- */

static uint64_t operation_size(const struct store_operation *operation, int format)
{
    uint64_t of_put = 4 + (format == FORMAT ? 4u : 0u) + 4 + operation->value.size;

    return 1 + 1 + (operation->condition == STORE_IF_VERSION ? 8u : 0u) + 2 + operation->key.size +
           (operation->type == STORE_PUT ? of_put : 0);
}

/* Of the command without it. 0 says in the structure that it is to be computed, so no command has that. */
static uint64_t hash_asked(const uint8_t *bytes, uint64_t size)
{
    uint64_t hash = hf_hash64(0, bytes, size);

    return hash ? hash : 1;
}

static uint64_t asked_size(const struct store_command *command)
{
    return command->idempotency_key.size ? 8 : 0;
}

static uint64_t encoded_size(const struct store_command *command, int format)
{
    uint64_t size = HEAD_SIZE + command->idempotency_key.size + asked_size(command) + 2;

    for (uint64_t i = 0; i < command->operation_count; i++)
        size += operation_size(&command->operations[i], format);
    return size;
}

static uint8_t *write_number(uint8_t *to, uint64_t number, int size)
{
    store_write_be(to, number, size);
    return to + size;
}

static uint8_t *write_bytes(uint8_t *to, const void *bytes, uint64_t size)
{
    if (size)
        memcpy(to, bytes, size);
    return to + size;
}

static uint8_t *write_head(uint8_t *to, const struct store_command *command, int format)
{
    *to++ = (uint8_t)format;
    to = write_number(to, command->user, 8);
    to = write_number(to, command->configuration, 8);
    to = write_bytes(to, command->trace, sizeof command->trace);
    to = write_number(to, command->idempotency_key.size, 1);
    to = write_bytes(to, command->idempotency_key.data, command->idempotency_key.size);
    to += asked_size(command); /* comes last */
    return write_number(to, command->operation_count, 2);
}

static uint8_t *write_operation(uint8_t *to, const struct store_operation *operation, int format)
{
    *to++ = (uint8_t)operation->type;
    *to++ = (uint8_t)operation->condition;
    if (operation->condition == STORE_IF_VERSION)
        to = write_number(to, operation->version, 8);
    to = write_number(to, operation->key.size, 2);
    to = write_bytes(to, operation->key.data, operation->key.size);
    if (operation->type != STORE_PUT)
        return to;
    to = write_number(to, operation->checksum, 4);
    if (format == FORMAT)
        to = write_number(to, operation->expire_after, 4);
    to = write_number(to, operation->value.size, 4);
    return write_bytes(to, operation->value.data, operation->value.size);
}

int32_t store_command_encode(hf_buffer *buffer, const struct store_command *command, hf_error *error)
{
    int32_t r = check_sizes(command->operation_count, command->idempotency_key.size, HF_EINVAL, error);

    if (r == 0)
        r = check_operations(command->operations, command->operation_count, HF_EINVAL, error);
    if (r < 0)
        return r;

    int format = format_of(command->operations, command->operation_count);
    uint64_t size = encoded_size(command, format);

    r = hf_buffer_reserve(buffer, size);
    if (r < 0)
        return hf_error_set(error, r, "there is no room for a command of %llu bytes; expected at most %llu in all",
                            (unsigned long long)size, (unsigned long long)buffer->maximum);
    uint8_t *begin = write_head(buffer->data + buffer->size, command, format), *to = begin;

    for (uint64_t i = 0; i < command->operation_count; i++)
        to = write_operation(to, &command->operations[i], format);
    if (asked_size(command))
        write_number(begin - 2 - 8, command->asked ? command->asked : hash_asked(begin, (uint64_t)(to - begin)), 8);
    buffer->size += size;
    return 0;
}

/* ---- Decoding ---------------------------------------------------------------------------------------------------- */

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

static void read_head(struct reader *reader, struct store_command *ret_command)
{
    *ret_command = (struct store_command){0};
    ret_command->user = read_number(reader, 8);
    ret_command->configuration = read_number(reader, 8);
    hf_slice trace = read_bytes(reader, sizeof ret_command->trace);

    if (trace.size)
        memcpy(ret_command->trace, trace.data, trace.size);
    ret_command->idempotency_key = read_bytes(reader, read_number(reader, 1));
    if (ret_command->idempotency_key.size)
        ret_command->asked = read_number(reader, 8);
    ret_command->operation_count = read_number(reader, 2);
}

static void read_operation(struct reader *reader, int format, struct store_operation *ret_operation)
{
    *ret_operation = (struct store_operation){.type = (int32_t)read_number(reader, 1)};
    ret_operation->condition = (int32_t)read_number(reader, 1);
    if (ret_operation->condition == STORE_IF_VERSION)
        ret_operation->version = read_number(reader, 8);
    ret_operation->key = read_bytes(reader, read_number(reader, 2));
    if (ret_operation->type != STORE_PUT)
        return;
    ret_operation->checksum = (uint32_t)read_number(reader, 4);
    if (format == FORMAT)
        ret_operation->expire_after = (uint32_t)read_number(reader, 4);
    ret_operation->value = read_bytes(reader, read_number(reader, 4));
}

static int32_t read_format(struct reader *reader, int *ret_format, hf_error *error)
{
    uint64_t format = read_number(reader, 1);

    *ret_format = (int)format;
    if (format > FORMAT)
        return hf_error_set(error, HF_EVERSION,
                            "a command has format %llu and this release knows up to %d; upgrade this node",
                            (unsigned long long)format, FORMAT);
    if (format < FORMAT_PLAIN)
        return hf_error_set(error, HF_ECORRUPT, "a command of %llu bytes has no valid format number",
                            (unsigned long long)reader->rest.size);
    return 0;
}

static int32_t check_capacity(const struct reader *reader, uint64_t count, uint64_t capacity, hf_error *error)
{
    if (reader->failed)
        return hf_error_set(error, HF_ECORRUPT, "a command ends within its head");
    if (count <= STORE_OPERATIONS_MAX && count > capacity)
        return hf_error_set(error, HF_ETOOLARGE, "a command has %llu operations and there is room for %llu",
                            (unsigned long long)count, (unsigned long long)capacity);
    return 0;
}

int32_t store_command_decode(hf_slice bytes, struct store_operation *operations, uint64_t capacity,
                             struct store_command *ret_command, hf_error *error)
{
    struct reader reader = {bytes, 0};
    int format = 0;
    int32_t r = read_format(&reader, &format, error);

    if (r < 0)
        return r;
    read_head(&reader, ret_command);
    r = check_capacity(&reader, ret_command->operation_count, capacity, error);
    if (r == 0)
        r = check_sizes(ret_command->operation_count, ret_command->idempotency_key.size, HF_ECORRUPT, error);
    if (r < 0)
        return r;
    for (uint64_t i = 0; i < ret_command->operation_count && !reader.failed; i++)
        read_operation(&reader, format, &operations[i]);
    if (reader.failed || reader.rest.size > 0)
        return hf_error_set(error, HF_ECORRUPT, "a command of %llu bytes ends %s its last operation",
                            (unsigned long long)bytes.size, reader.failed ? "within" : "after");
    if (ret_command->idempotency_key.size && !ret_command->asked)
        return hf_error_set(error, HF_ECORRUPT, "a command of %llu bytes has an idempotency key and not what it is for",
                            (unsigned long long)bytes.size);
    if (format != format_of(operations, ret_command->operation_count))
        return hf_error_set(error, HF_ECORRUPT, "a command of %llu bytes has format %d and needs none above 2",
                            (unsigned long long)bytes.size, format);
    ret_command->operations = operations;
    return check_operations(operations, ret_command->operation_count, HF_ECORRUPT, error);
}

uint32_t store_command_operations(hf_slice bytes)
{
    uint64_t key_size = bytes.size >= HEAD_SIZE ? bytes.data[HEAD_SIZE - 1] : 0;
    uint64_t at = bytes.size >= HEAD_SIZE ? HEAD_SIZE + key_size + (key_size ? 8 : 0) : 0;

    return at && bytes.size >= at + 2 ? (uint32_t)store_read_be(bytes.data + at, 2) : 0;
}
