/* Shows that a command's bytes hold all of it, that limits are refused, and that no damage reads as a command. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "command.h"

#include <holdfast/lib/value.h>

#define TEXT(literal) ((hf_slice){(const uint8_t *)(literal), sizeof(literal) - 1})

static struct store_operation decoded[STORE_OPERATIONS_MAX];

static void assert_slice(hf_slice a, hf_slice b)
{
    assert_int_equal(a.size, b.size);
    if (a.size)
        assert_memory_equal(a.data, b.data, a.size);
}

static struct store_operation put(hf_slice key, hf_slice value)
{
    return (struct store_operation){.type = STORE_PUT, .key = key, .value = value, .checksum = 0xdeadbeef};
}

static void assert_round_trip(const struct store_command *command)
{
    hf_buffer buffer;
    struct store_command read;

    hf_buffer_init(&buffer, 1 << 22);
    assert_int_equal(store_command_encode(&buffer, command, NULL), 0);
    assert_int_equal(
        store_command_decode((hf_slice){buffer.data, buffer.size}, decoded, STORE_OPERATIONS_MAX, &read, NULL), 0);
    assert_int_equal(store_command_operations((hf_slice){buffer.data, buffer.size}), command->operation_count);
    assert_true(read.user == command->user && read.configuration == command->configuration);
    assert_memory_equal(read.trace, command->trace, sizeof read.trace);
    assert_slice(read.idempotency_key, command->idempotency_key);
    assert_int_equal(read.operation_count, command->operation_count);
    for (uint64_t i = 0; i < read.operation_count; i++) {
        const struct store_operation *a = &read.operations[i], *b = &command->operations[i];

        assert_true(a->type == b->type && a->condition == b->condition && a->version == b->version);
        assert_int_equal(a->checksum, b->checksum);
        assert_int_equal(a->expire_after, b->expire_after);
        assert_slice(a->key, b->key);
        assert_slice(a->value, b->value);
    }
    hf_buffer_done(&buffer);
}

static void bytes_hold_all_of_a_command(void **state)
{
    struct store_operation operations[] = {
        put(TEXT("a/\x01\xc3\xa4"), TEXT("value\0with zero")),
        {.type = STORE_DELETE, .condition = STORE_IF_VERSION, .version = UINT64_MAX, .key = TEXT("b")},
        {.type = STORE_PUT, .condition = STORE_IF_ABSENT, .key = TEXT("c")},
        {.type = STORE_DELETE, .condition = STORE_IF_PRESENT, .key = TEXT("d")},
    };
    struct store_command command = {.user = UINT64_MAX,
                                    .configuration = 3,
                                    .trace = {4, 5, 6, [15] = 7},
                                    .idempotency_key = TEXT("key\0of a request"),
                                    .operations = operations,
                                    .operation_count = 4};

    (void)state;
    assert_round_trip(&command);
    command.idempotency_key.size = 0;
    command.operation_count = 1;
    assert_round_trip(&command);
}

/* Only what an older release must not pass over has the newer format. */
static void bytes_hold_expiry(void **state)
{
    static struct store_operation many[STORE_EXPIRES_MAX + 1];
    static char keys[STORE_EXPIRES_MAX + 1][8];
    struct store_operation puts[] = {put(TEXT("a"), TEXT("1")), put(TEXT("b"), TEXT(""))};
    struct store_command command = {.operations = puts, .operation_count = 2};
    hf_buffer buffer;

    (void)state;
    hf_buffer_init(&buffer, 1 << 20);
    assert_int_equal(store_command_encode(&buffer, &command, NULL), 0);
    assert_int_equal(buffer.data[0], 2);
    hf_buffer_clear(&buffer);
    puts[1].expire_after = STORE_EXPIRE_AFTER_MAX;
    assert_round_trip(&command);
    assert_int_equal(store_command_encode(&buffer, &command, NULL), 0);
    assert_int_equal(buffer.data[0], 3);
    memset(buffer.data + buffer.size - 8, 0, 4); /* expire_after: there is one encoding only */
    assert_int_equal(store_command_decode((hf_slice){buffer.data, buffer.size}, decoded, 2, &command, NULL),
                     HF_ECORRUPT);
    hf_buffer_done(&buffer);
    for (int i = 0; i <= STORE_EXPIRES_MAX; i++) {
        snprintf(keys[i], sizeof keys[i], "%d", i);
        many[i] = (struct store_operation){
            .type = STORE_EXPIRE, .condition = STORE_IF_VERSION, .version = 9, .key = hf_slice_of(keys[i])};
    }
    command = (struct store_command){.operations = many, .operation_count = STORE_EXPIRES_MAX};
    assert_round_trip(&command);
    command.operation_count++;
    hf_buffer_init(&buffer, 1 << 20);
    assert_int_equal(store_command_encode(&buffer, &command, NULL), HF_EINVAL);
    hf_buffer_done(&buffer);
}

static void the_largest_command_fits(void **state)
{
    static struct store_operation operations[STORE_OPERATIONS_MAX];
    static uint8_t keys[STORE_OPERATIONS_MAX][STORE_KEY_MAX];
    uint8_t idempotency_key[STORE_IDEMPOTENCY_KEY_MAX] = {0xff};
    struct store_command command = {.idempotency_key = {idempotency_key, sizeof idempotency_key},
                                    .operations = operations,
                                    .operation_count = STORE_OPERATIONS_MAX};

    (void)state;
    memset(keys, 'k', sizeof keys);
    for (int i = 0; i < STORE_OPERATIONS_MAX; i++) {
        snprintf((char *)keys[i], 5, "%04d", i);
        operations[i] = put((hf_slice){keys[i], STORE_KEY_MAX}, TEXT("v"));
    }
    assert_round_trip(&command);
}

static int32_t encode_changed(void (*change)(struct store_command *, struct store_operation *))
{
    struct store_operation operations[2] = {put(TEXT("a"), TEXT("1")), put(TEXT("b"), TEXT("2"))};
    struct store_command command = {.operations = operations, .operation_count = 2};
    hf_buffer buffer;
    hf_error error;

    change(&command, operations);
    hf_buffer_init(&buffer, 1 << 20);
    int32_t r = store_command_encode(&buffer, &command, &error);

    assert_true(r < 0 ? error.code == r && buffer.size == 0 : buffer.size > 0);
    hf_buffer_done(&buffer);
    return r;
}

static uint8_t long_key[STORE_KEY_MAX + 1];

static void no_operations(struct store_command *c, struct store_operation *o)
{
    (void)o;
    c->operation_count = 0;
}

static void too_many_operations(struct store_command *c, struct store_operation *o)
{
    (void)o;
    c->operation_count = STORE_OPERATIONS_MAX + 1;
}

static void long_idempotency_key(struct store_command *c, struct store_operation *o)
{
    (void)o;
    c->idempotency_key = (hf_slice){long_key, STORE_IDEMPOTENCY_KEY_MAX + 1};
}

static void same_keys(struct store_command *c, struct store_operation *o)
{
    (void)c;
    o[1].key = TEXT("a");
}

static void empty_key(struct store_command *c, struct store_operation *o)
{
    (void)c;
    o[1].key.size = 0;
}

static void key_too_long(struct store_command *c, struct store_operation *o)
{
    (void)c;
    o[0].key = (hf_slice){long_key, sizeof long_key};
}

static void key_not_utf8(struct store_command *c, struct store_operation *o)
{
    (void)c;
    o[0].key = TEXT("\xc3");
}

static void unknown_type(struct store_command *c, struct store_operation *o)
{
    (void)c;
    o[0].type = 4;
}

static void expire_with_a_put(struct store_command *c, struct store_operation *o)
{
    (void)c;
    o[0] =
        (struct store_operation){.type = STORE_EXPIRE, .condition = STORE_IF_VERSION, .version = 1, .key = TEXT("c")};
}

static void expire_of_any_version(struct store_command *c, struct store_operation *o)
{
    c->operation_count = 1;
    o[0] = (struct store_operation){.type = STORE_EXPIRE, .key = TEXT("c")};
}

static void expire_after_too_long(struct store_command *c, struct store_operation *o)
{
    (void)c;
    o[1].expire_after = STORE_EXPIRE_AFTER_MAX + 1;
}

static void delete_that_expires(struct store_command *c, struct store_operation *o)
{
    (void)c;
    o[1] = (struct store_operation){.type = STORE_DELETE, .key = TEXT("c"), .expire_after = 1};
}

static void unknown_condition(struct store_command *c, struct store_operation *o)
{
    (void)c;
    o[0].condition = 4;
}

static void delete_with_value(struct store_command *c, struct store_operation *o)
{
    (void)c;
    o[0].type = STORE_DELETE;
}

static void value_too_long(struct store_command *c, struct store_operation *o)
{
    (void)c;
    o[0].value.size = STORE_VALUE_MAX + 1u;
}

static void nothing_changed(struct store_command *c, struct store_operation *o)
{
    (void)c, (void)o;
}

static void limits_are_refused(void **state)
{
    (void)state;
    memset(long_key, 'k', sizeof long_key);
    assert_int_equal(encode_changed(nothing_changed), 0);
    assert_int_equal(encode_changed(no_operations), HF_EINVAL);
    assert_int_equal(encode_changed(too_many_operations), HF_EINVAL);
    assert_int_equal(encode_changed(long_idempotency_key), HF_EINVAL);
    assert_int_equal(encode_changed(same_keys), HF_EINVAL);
    assert_int_equal(encode_changed(empty_key), HF_EINVAL);
    assert_int_equal(encode_changed(key_too_long), HF_EINVAL);
    assert_int_equal(encode_changed(key_not_utf8), HF_EINVAL);
    assert_int_equal(encode_changed(unknown_type), HF_EINVAL);
    assert_int_equal(encode_changed(unknown_condition), HF_EINVAL);
    assert_int_equal(encode_changed(delete_with_value), HF_EINVAL);
    assert_int_equal(encode_changed(value_too_long), HF_EINVAL);
    assert_int_equal(encode_changed(expire_with_a_put), HF_EINVAL);
    assert_int_equal(encode_changed(expire_of_any_version), HF_EINVAL);
    assert_int_equal(encode_changed(expire_after_too_long), HF_EINVAL);
    assert_int_equal(encode_changed(delete_that_expires), HF_EINVAL);
}

static void a_full_buffer_is_left_as_it_was(void **state)
{
    struct store_operation operation = put(TEXT("key"), TEXT("value"));
    struct store_command command = {.operations = &operation, .operation_count = 1};
    hf_buffer buffer;

    (void)state;
    hf_buffer_init(&buffer, 50);
    assert_int_equal(hf_buffer_append(&buffer, "before", 6), 0);
    assert_int_equal(store_command_encode(&buffer, &command, NULL), HF_ETOOLARGE);
    assert_int_equal(buffer.size, 6);
    hf_buffer_done(&buffer);
}

static int32_t decode_copy(const uint8_t *bytes, uint64_t size, uint64_t capacity)
{
    uint8_t *copy = malloc(size ? size : 1); /* of the exact size, so that a sanitizer sees a read past the end */
    struct store_command command;
    hf_error error;

    assert_non_null(copy);
    memcpy(copy, bytes, size);
    int32_t r = store_command_decode((hf_slice){copy, size}, decoded, capacity, &command, &error);

    free(copy);
    return r;
}

static void damage_is_no_command(void **state)
{
    struct store_operation operations[2] = {put(TEXT("a"), TEXT("1")),
                                            {.type = STORE_DELETE, .condition = STORE_IF_VERSION, .key = TEXT("b")}};
    struct store_command command = {.idempotency_key = TEXT("once"), .operations = operations, .operation_count = 2};
    hf_buffer buffer;

    (void)state;
    hf_buffer_init(&buffer, 1 << 20);
    assert_int_equal(store_command_encode(&buffer, &command, NULL), 0);
    for (uint64_t size = 0; size < buffer.size; size++)
        assert_int_equal(decode_copy(buffer.data, size, 2), HF_ECORRUPT);
    assert_int_equal(decode_copy(buffer.data, buffer.size, 2), 0);
    assert_int_equal(decode_copy(buffer.data, buffer.size, 1), HF_ETOOLARGE);
    buffer.data[buffer.size - 1] = 'a'; /* the key of the other operation */
    assert_int_equal(decode_copy(buffer.data, buffer.size, 2), HF_ECORRUPT);
    buffer.data[buffer.size - 1] = 0xff;
    assert_int_equal(decode_copy(buffer.data, buffer.size, 2), HF_ECORRUPT);
    buffer.data[buffer.size - 1] = 'b';
    assert_int_equal(hf_buffer_append(&buffer, "", 1), 0);
    assert_int_equal(decode_copy(buffer.data, buffer.size, 2), HF_ECORRUPT);
    buffer.size--;
    memset(buffer.data + 34 + 4, 0, 8); /* behind the key: what was asked for under it */
    assert_int_equal(decode_copy(buffer.data, buffer.size, 2), HF_ECORRUPT);
    buffer.data[0] = 4;
    assert_int_equal(decode_copy(buffer.data, buffer.size, 2), HF_EVERSION);
    buffer.data[0] = 0;
    assert_int_equal(decode_copy(buffer.data, buffer.size, 2), HF_ECORRUPT);
    for (uint64_t size = 0; size < 32; size++)
        assert_int_equal(store_command_operations((hf_slice){buffer.data, size}), 0);
    hf_buffer_done(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_hold_all_of_a_command), cmocka_unit_test(the_largest_command_fits),
        cmocka_unit_test(limits_are_refused),          cmocka_unit_test(a_full_buffer_is_left_as_it_was),
        cmocka_unit_test(damage_is_no_command),        cmocka_unit_test(bytes_hold_expiry),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
