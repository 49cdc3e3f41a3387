/* PUT and DELETE: a request becomes one command for one partition. */
#include "http/private.h"

#include <holdfast/lib/checksum.h>
#include <holdfast/lib/error.h>
#include <holdfast/lib/text.h>

#include <stdio.h>
#include <string.h>

int32_t store_http_key(struct exchange *exchange, hf_slice *ret_key)
{
    *ret_key = exchange->http->http->parameter(exchange->request, "key");
    if (ret_key->size <= STORE_KEY_MAX)
        return 1;
    store_refuse(exchange, 413, "too-large", HF_ETOOLARGE, "the key has %llu bytes; expected at most %d",
                 (unsigned long long)ret_key->size, STORE_KEY_MAX);
    return 0;
}

/* ---- Which partition ------------------------------------------------------------------------------------------ */

static void refuse_value(struct exchange *exchange, hf_slice value)
{
    const struct store_declaration *declaration = &exchange->table->declaration;
    const char *nearest;
    char text[64];

    snprintf(text, sizeof text, "%.*s", (int)(value.size < 60 ? value.size : 60), (const char *)value.data);
    nearest = hf_text_nearest(text, declaration->values, declaration->value_count);
    store_refuse(exchange, 422, "unprocessable", HF_EINVAL,
                 "'%s' is not one of the %u values of '%s' in the table '%s', such as '%s'%s", text,
                 declaration->value_count, declaration->partition_by, declaration->name,
                 nearest ? nearest : declaration->values[0], nearest ? "; was that meant?" : "");
}

const struct store_partition *store_http_find_partition(struct exchange *exchange, hf_slice named, hf_slice key,
                                                        hf_slice json)
{
    const struct store_declaration *declaration = &exchange->table->declaration;
    hf_arena *arena = exchange->http->http->arena(exchange->request);
    const struct store_partition *partition;

    if (!named.data && declaration->value_count > 0 &&
        hf_json_find_string(json, declaration->partition_by, arena, &named) != HF_OK) {
        store_refuse(exchange, 422, "unprocessable", HF_EINVAL,
                     "the value has no text '%s', which names the partition; put it in, or give ?partition=",
                     declaration->partition_by);
        return NULL;
    }
    partition = store_table_find(exchange->table, named, key);
    if (!partition)
        refuse_value(exchange, named);
    return partition;
}

/* ---- The command ---------------------------------------------------------------------------------------------- */

/* "VERSION" in quotes, or *. */
static int32_t read_match(hf_slice text, struct store_operation *operation)
{
    uint64_t version = 0;

    if (hf_slice_is(text, "*")) {
        operation->condition = STORE_IF_PRESENT;
        return HF_OK;
    }
    if (text.size > 2 && text.data[0] == '"' && text.data[text.size - 1] == '"') {
        text.data++;
        text.size -= 2;
    }
    if (store_number_read(text, INT64_MAX, &version) != HF_OK || version == 0) /* they count from 1 */
        return HF_EINVAL;
    operation->condition = STORE_IF_VERSION;
    operation->version = version;
    return HF_OK;
}

/* If-Match and If-None-Match.  0 after answering. */
static int32_t read_conditions(struct exchange *exchange, struct store_operation *operation)
{
    const hf_http_interface *http = exchange->http->http;
    hf_slice match = http->header(exchange->request, "If-Match");
    hf_slice none = http->header(exchange->request, "If-None-Match");

    if (match.data && none.data) {
        store_refuse(exchange, 400, "bad-request", HF_EINVAL, "If-Match together with If-None-Match");
        return 0;
    }
    if (match.data && read_match(match, operation) != HF_OK) {
        store_refuse(exchange, 400, "bad-request", HF_EINVAL, "If-Match is neither \"VERSION\" nor *");
        return 0;
    }
    if (none.data && !hf_slice_is(none, "*")) {
        store_refuse(exchange, 400, "bad-request", HF_EINVAL, "If-None-Match is not *");
        return 0;
    }
    if (none.data)
        operation->condition = STORE_IF_ABSENT;
    return 1;
}

uint32_t store_http_usual_expiry(const struct exchange *exchange)
{
    return (uint32_t)(exchange->table->declaration.expire_after_us / 1000000);
}

/* Holdfast-Expire-After.  0 after answering. */
static int32_t read_expiry(struct exchange *exchange, struct store_operation *operation)
{
    hf_slice text = exchange->http->http->header(exchange->request, "Holdfast-Expire-After");
    uint64_t seconds = store_http_usual_expiry(exchange);

    if (text.data && operation->type != STORE_PUT) {
        store_refuse(exchange, 400, "bad-request", HF_EINVAL, "Holdfast-Expire-After is of no use without a value");
        return 0;
    }
    if (text.data && store_number_read(text, STORE_EXPIRE_AFTER_MAX, &seconds) != HF_OK) {
        store_refuse(exchange, 400, "bad-request", HF_EINVAL,
                     "Holdfast-Expire-After is '%.*s'; expected 0 (never) to %d seconds",
                     (int)(text.size < 40 ? text.size : 40), (const char *)text.data, STORE_EXPIRE_AFTER_MAX);
        return 0;
    }
    operation->expire_after = operation->type == STORE_PUT ? (uint32_t)seconds : 0;
    return 1;
}

int32_t store_http_encode(struct exchange *exchange, const struct store_operation *operations, uint64_t count,
                          hf_slice idempotency_key)
{
    const hf_http_interface *http = exchange->http->http;
    struct store_command command = {
        .user = http->user(exchange->request),
        .configuration = store_service_configuration(exchange->http->service),
        .idempotency_key = idempotency_key,
        .asked = exchange->asked,
        .operations = operations,
        .operation_count = count,
    };
    hf_error error = {0};

    if (command.idempotency_key.size > STORE_IDEMPOTENCY_KEY_MAX) {
        store_refuse(exchange, 400, "bad-request", HF_EINVAL, "Idempotency-Key has %llu bytes; expected at most %d",
                     (unsigned long long)command.idempotency_key.size, STORE_IDEMPOTENCY_KEY_MAX);
        return 0;
    }
    memcpy(command.trace, http->trace(exchange->request), sizeof command.trace);
    int32_t result = store_command_encode(&exchange->command, &command, &error);
    if (result == HF_OK)
        return 1;
    store_refuse(exchange, result == HF_ENOMEM ? 503 : 400, result == HF_ENOMEM ? "busy" : "bad-request", result, "%s",
                 error.message);
    return 0;
}

void store_http_send_command(struct exchange *exchange, const struct store_partition *partition,
                             const struct store_operation *operations, uint64_t count)
{
    hf_slice key = exchange->http->http->header(exchange->request, "Idempotency-Key");
    struct exchange_call *call = &exchange->calls[0];

    if (!store_http_encode(exchange, operations, count, key))
        return;
    call->partition = partition;
    call->call.op.type = STORE_OP_WRITE;
    call->call.op.command = (hf_slice){exchange->command.data, exchange->command.size};
    call->call.repeatable = key.size > 0;
    store_exchange_start(exchange, 0);
}

static void answer_written(struct exchange *exchange)
{
    const struct exchange_call *call = &exchange->calls[0];
    hf_json_writer writer;
    hf_buffer body;
    char tag[32];
    hf_http_field field = {"ETag", tag};

    hf_buffer_init(&body, 4096);
    hf_json_writer_init(&writer, &body);
    hf_json_begin_object(&writer);
    hf_json_member_unsigned(&writer, "version", call->call.op.version);
    hf_json_member_text(&writer, "partition", call->partition->value);
    hf_json_end_object(&writer);
    snprintf(tag, sizeof tag, "\"%llu\"", (unsigned long long)call->call.op.version);
    exchange->http->http->respond(exchange->request, 200, "application/json", (hf_slice){body.data, body.size}, &field,
                                  1);
    hf_buffer_done(&body);
    store_exchange_end(exchange);
}

void store_http_finish_write(struct exchange *exchange)
{
    struct store_op *op = &exchange->calls[0].call.op;

    if (op->code == HF_OK) {
        answer_written(exchange);
        return;
    }
    if (op->code == HF_ECONFLICT && op->version)
        hf_error_set(&op->error, HF_ECONFLICT, "the record has version %llu, and the condition asks for another",
                     (unsigned long long)op->version);
    else if (op->code == HF_ECONFLICT)
        hf_error_set(&op->error, HF_ECONFLICT, "there is no such record, and the condition asks for one");
    store_refuse_op(exchange, op);
}

/* ---- Values --------------------------------------------------------------------------------------------------- */

/* The problem names the field and, of a batch, the operation. */
static void refuse_fields(struct exchange *exchange, hf_slice field, int64_t place, hf_error *error)
{
    hf_json_writer writer;
    hf_buffer members;

    hf_buffer_init(&members, 4096);
    hf_json_writer_init(&writer, &members);
    hf_json_begin_object(&writer);
    if (field.data) {
        hf_json_name(&writer, "field");
        hf_json_string(&writer,
                       (hf_slice){field.data, field.size < STORE_TABLE_TEXT_MAX ? field.size : STORE_TABLE_TEXT_MAX});
    }
    if (place != STORE_HTTP_NO_OPERATION) {
        hf_json_member_integer(&writer, "operation", place);
        hf_error_prefix(error, "operation %lld", (long long)place);
    }
    hf_json_end_object(&writer);
    int whole = writer.result == HF_OK && members.size > 2 && hf_buffer_append(&members, "", 1) == HF_OK;

    if (whole)
        members.data[members.size - 2] = '\0'; /* without the braces */
    exchange->http->http->problem(exchange->request, 422, "unprocessable", error,
                                  whole ? (const char *)members.data + 1 : NULL);
    hf_buffer_done(&members);
    store_exchange_end(exchange);
}

/* 0 after answering. */
static int32_t check_fields(struct exchange *exchange, hf_slice value, int64_t place)
{
    const struct store_declaration *declaration = &exchange->table->declaration;
    hf_arena *arena = exchange->http->http->arena(exchange->request);
    hf_slice field = {NULL, 0};
    hf_error error = {0};
    int32_t r = store_fields_check_value(&declaration->fields, declaration->partition_by, value, arena, &field, &error);

    if (r == HF_OK)
        return 1;
    if (r == HF_ENOMEM)
        store_refuse(exchange, 413, "too-large", HF_ETOOLARGE, "the value is too large to look at its fields");
    else
        refuse_fields(exchange, field, place, &error);
    return 0;
}

int32_t store_http_check_value(struct exchange *exchange, hf_slice value, int64_t place)
{
    const struct store_declaration *declaration = &exchange->table->declaration;
    hf_error error = {0};

    if (value.size > declaration->value_maximum) {
        store_refuse(exchange, 413, "too-large", HF_ETOOLARGE,
                     "the value has %llu bytes; the table '%s' takes at most %llu", (unsigned long long)value.size,
                     declaration->name, (unsigned long long)declaration->value_maximum);
        return 0;
    }
    if (declaration->format == STORE_FORMAT_JSON && hf_json_check(value, &error) != HF_OK) {
        store_refuse(exchange, 400, "bad-request", HF_EINVAL, "the value is not JSON: %s", error.message);
        return 0;
    }
    return check_fields(exchange, value, place);
}

/* ---- PUT ------------------------------------------------------------------------------------------------------ */

void store_http_put(void *arg, hf_http_request *request)
{
    struct store_http *http = arg;
    struct exchange *exchange = store_exchange_begin(http, request, STORE_HTTP_WRITE, HF_HTTP_WRITE, 1, store_http_put);
    struct store_operation operation = {.type = STORE_PUT};
    const struct store_partition *partition;

    if (!exchange)
        return;
    operation.value = http->http->body(request);
    if (!store_http_key(exchange, &operation.key) ||
        !store_http_check_value(exchange, operation.value, STORE_HTTP_NO_OPERATION) ||
        !read_conditions(exchange, &operation) || !read_expiry(exchange, &operation))
        return;
    partition =
        store_http_find_partition(exchange, http->http->query(request, "partition"), operation.key, operation.value);
    if (!partition)
        return;
    operation.checksum = hf_crc32c(0, operation.value.data, operation.value.size);
    exchange->finish = store_http_finish_write;
    store_http_send_command(exchange, partition, &operation, 1);
}

/* ---- DELETE --------------------------------------------------------------------------------------------------- */

static void finish_delete(struct exchange *exchange)
{
    struct store_op *op = &exchange->calls[0].call.op;

    if (op->code == HF_ECONFLICT && exchange->number) { /* nobody asked for more than that it be there */
        hf_slice key = exchange->http->http->parameter(exchange->request, "key");
        store_refuse(exchange, 404, "not-found", HF_ENOTFOUND, "there is no record '%.*s'",
                     (int)(key.size < 200 ? key.size : 200), (const char *)key.data);
        return;
    }
    store_http_finish_write(exchange);
}

static void delete_in(struct exchange *exchange, const struct store_partition *partition)
{
    struct store_operation operation = {.type = STORE_DELETE};

    if (!store_http_key(exchange, &operation.key) || !read_conditions(exchange, &operation) ||
        !read_expiry(exchange, &operation))
        return;
    exchange->number = operation.condition == STORE_IF_ANY;
    if (exchange->number)
        operation.condition = STORE_IF_PRESENT;
    exchange->finish = finish_delete;
    for (uint32_t i = 0; i < exchange->count; i++)
        store_op_done(&exchange->calls[i].call.op);
    exchange->calls[0].call = (struct store_call){0};
    store_http_send_command(exchange, partition, &operation, 1);
}

/* The partition was not named: the record has been looked for in all. */
static void found_for_delete(struct exchange *exchange)
{
    const struct store_partition *found = NULL;

    for (uint32_t i = 0; i < exchange->number; i++) {
        const struct store_op *op = &exchange->calls[i].call.op;
        if (op->code != HF_OK && op->code != HF_ENOTFOUND) {
            store_refuse_op(exchange, op);
            return;
        }
        if (op->code == HF_OK && found) {
            store_refuse(exchange, 409, "conflict", HF_ECONFLICT, "the key is in several partitions; give ?partition=");
            return;
        }
        if (op->code == HF_OK)
            found = exchange->calls[i].partition;
    }
    if (found)
        delete_in(exchange, found);
    else
        store_refuse(exchange, 404, "not-found", HF_ENOTFOUND, "there is no such record");
}

void store_http_delete(void *arg, hf_http_request *request)
{
    struct store_http *http = arg;
    hf_slice named = http->http->query(request, "partition"), key;
    struct exchange *exchange =
        store_exchange_begin(http, request, STORE_HTTP_WRITE, HF_HTTP_WRITE, 0, store_http_delete);
    const struct store_partition *partition;

    if (!exchange || !store_http_key(exchange, &key))
        return;
    if (!named.data && exchange->table->declaration.value_count > 0) {
        exchange->finish = found_for_delete;
        store_http_ask_all(exchange, key);
        return;
    }
    partition = store_table_find(exchange->table, named, key);
    if (partition)
        delete_in(exchange, partition);
    else
        refuse_value(exchange, named);
}
