/* PUT, DELETE and batches: a request becomes one command for one partition. */
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

/* Finds the partition of a write: named by the query, or by the JSON value's field.  NULL after answering. */
static const struct store_partition *find_partition(struct exchange *exchange, hf_slice named, hf_slice key,
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

static void send_command(struct exchange *exchange, const struct store_partition *partition,
                         const struct store_operation *operations, uint64_t count)
{
    const hf_http_interface *http = exchange->http->http;
    struct store_command command = {
        .user = http->user(exchange->request),
        .configuration = store_service_configuration(exchange->http->service),
        .idempotency_key = http->header(exchange->request, "Idempotency-Key"),
        .operations = operations,
        .operation_count = count,
    };
    hf_error error = {0};
    struct exchange_call *call = &exchange->calls[0];

    if (command.idempotency_key.size > STORE_IDEMPOTENCY_KEY_MAX) {
        store_refuse(exchange, 400, "bad-request", HF_EINVAL, "Idempotency-Key has %llu bytes; expected at most %d",
                     (unsigned long long)command.idempotency_key.size, STORE_IDEMPOTENCY_KEY_MAX);
        return;
    }
    memcpy(command.trace, http->trace(exchange->request), sizeof command.trace);
    int32_t result = store_command_encode(&exchange->command, &command, &error);
    if (result != HF_OK) {
        store_refuse(exchange, result == HF_ENOMEM ? 503 : 400, result == HF_ENOMEM ? "busy" : "bad-request", result,
                     "%s", error.message);
        return;
    }
    call->partition = partition;
    call->call.op.type = STORE_OP_WRITE;
    call->call.op.command = (hf_slice){exchange->command.data, exchange->command.size};
    call->call.repeatable = command.idempotency_key.size > 0;
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
    hf_json_name(&writer, "version");
    hf_json_unsigned(&writer, call->call.op.version);
    hf_json_name(&writer, "partition");
    hf_json_text(&writer, call->partition->value);
    hf_json_end_object(&writer);
    snprintf(tag, sizeof tag, "\"%llu\"", (unsigned long long)call->call.op.version);
    exchange->http->http->respond(exchange->request, 200, "application/json", (hf_slice){body.data, body.size}, &field,
                                  1);
    hf_buffer_done(&body);
    store_exchange_end(exchange);
}

static void finish_write(struct exchange *exchange)
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

/* ---- PUT ------------------------------------------------------------------------------------------------------ */

/* 0 after answering. */
static int32_t check_value(struct exchange *exchange, hf_slice value)
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
    return 1;
}

void store_http_put(void *arg, hf_http_request *request)
{
    struct store_http *http = arg;
    struct exchange *exchange = store_exchange_begin(http, request, STORE_HTTP_WRITE, HF_HTTP_WRITE, 1, store_http_put);
    struct store_operation operation = {.type = STORE_PUT};
    const struct store_partition *partition;

    if (!exchange)
        return;
    operation.value = http->http->body(request);
    if (!store_http_key(exchange, &operation.key) || !check_value(exchange, operation.value) ||
        !read_conditions(exchange, &operation))
        return;
    partition = find_partition(exchange, http->http->query(request, "partition"), operation.key, operation.value);
    if (!partition)
        return;
    operation.checksum = hf_crc32c(0, operation.value.data, operation.value.size);
    exchange->finish = finish_write;
    send_command(exchange, partition, &operation, 1);
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
    finish_write(exchange);
}

static void delete_in(struct exchange *exchange, const struct store_partition *partition)
{
    struct store_operation operation = {.type = STORE_DELETE};

    if (!store_http_key(exchange, &operation.key) || !read_conditions(exchange, &operation))
        return;
    exchange->number = operation.condition == STORE_IF_ANY;
    if (exchange->number)
        operation.condition = STORE_IF_PRESENT;
    exchange->finish = finish_delete;
    for (uint32_t i = 0; i < exchange->count; i++)
        hf_buffer_done(&exchange->calls[i].call.op.result);
    exchange->calls[0].call = (struct store_call){0};
    send_command(exchange, partition, &operation, 1);
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

/* ---- Batches -------------------------------------------------------------------------------------------------- */

/* The value of a put: JSON text of "value", or the bytes of "value_base64".  A sentence when it is wrong. */
static const char *read_value(struct exchange *exchange, const hf_value *item, hf_slice *ret_value)
{
    hf_arena *arena = exchange->http->http->arena(exchange->request);
    const hf_value *value = hf_value_get(item, "value"), *bytes = hf_value_get(item, "value_base64");
    hf_buffer text;
    const char *wrong = NULL;

    if (!value == !bytes)
        return "a put needs either value or value_base64";
    if (bytes)
        return bytes->type == HF_VALUE_STRING && store_base64_read(hf_value_slice(bytes), arena, ret_value) == HF_OK
                   ? NULL
                   : "value_base64 is not Base64";
    hf_buffer_init(&text, UINT32_MAX);
    if (hf_json_append(&text, value) != HF_OK ||
        hf_arena_copy(arena, (hf_slice){text.data, text.size}, ret_value) != HF_OK)
        wrong = "there is no memory for the value";
    hf_buffer_done(&text);
    return wrong;
}

static const char *read_operation_condition(const hf_value *item, struct store_operation *operation)
{
    const hf_value *version = hf_value_get(item, "if_version");

    if (version && (version->type != HF_VALUE_INTEGER || version->as.integer < 1))
        return "if_version is not a version";
    if ((version != NULL) + hf_value_get_boolean(item, "if_absent", 0) + hf_value_get_boolean(item, "if_present", 0) >
        1)
        return "it has several conditions";
    if (version) {
        operation->condition = STORE_IF_VERSION;
        operation->version = (uint64_t)version->as.integer;
    } else if (hf_value_get_boolean(item, "if_absent", 0)) {
        operation->condition = STORE_IF_ABSENT;
    } else if (hf_value_get_boolean(item, "if_present", 0)) {
        operation->condition = STORE_IF_PRESENT;
    }
    return NULL;
}

static const char *read_operation(struct exchange *exchange, const hf_value *item, struct store_operation *operation)
{
    hf_slice op = hf_value_get_string(item, "op", (hf_slice){NULL, 0});
    const char *wrong = read_operation_condition(item, operation);

    operation->key = hf_value_get_string(item, "key", (hf_slice){NULL, 0});
    if (wrong)
        return wrong;
    if (operation->key.size == 0 || operation->key.size > STORE_KEY_MAX)
        return "it has no key, or one of more than 1024 bytes";
    if (hf_slice_is(op, "delete")) {
        operation->type = STORE_DELETE;
        return NULL;
    }
    if (!hf_slice_is(op, "put"))
        return "op is neither put nor delete";
    operation->type = STORE_PUT;
    wrong = read_value(exchange, item, &operation->value);
    if (!wrong)
        operation->checksum = hf_crc32c(0, operation->value.data, operation->value.size);
    return wrong;
}

/* The one partition of all operations; NULL after answering. */
static const struct store_partition *common_partition(struct exchange *exchange, hf_slice named,
                                                      const struct store_operation *operations, uint64_t count)
{
    const struct store_partition *common = NULL;

    for (uint64_t i = 0; i < count; i++) {
        const struct store_partition *partition =
            find_partition(exchange, named, operations[i].key, operations[i].value);

        if (!partition)
            return NULL;
        if (common && partition != common) {
            store_refuse(
                exchange, 422, "unprocessable", HF_EINVAL,
                "operation %llu belongs to another partition than those before it; a batch is of one partition",
                (unsigned long long)i);
            return NULL;
        }
        common = partition;
    }
    return common;
}

void store_http_batch(void *arg, hf_http_request *request)
{
    struct store_http *http = arg;
    struct exchange *exchange =
        store_exchange_begin(http, request, STORE_HTTP_WRITE, HF_HTTP_WRITE, 1, store_http_batch);
    struct store_operation *operations;
    hf_slice named;
    const struct store_partition *partition;
    const hf_value *list;
    hf_value body = hf_value_null();
    hf_error error = {0};

    if (!exchange)
        return;
    named = http->http->query(request, "partition");
    if (hf_json_parse(http->http->body(request), http->http->arena(request), &body, &error) != HF_OK) {
        store_refuse(exchange, error.code == HF_ENOMEM ? 413 : 400,
                     error.code == HF_ENOMEM ? "too-large" : "bad-request", error.code,
                     "the batch could not be read: %s", error.message);
        return;
    }
    list = hf_value_get(&body, "operations");
    if (!list || list->type != HF_VALUE_LIST || list->count == 0 || list->count > STORE_OPERATIONS_MAX) {
        store_refuse(exchange, 400, "bad-request", HF_EINVAL, "expected {\"operations\":[...]} with 1 to %d of them",
                     STORE_OPERATIONS_MAX);
        return;
    }
    operations = hf_arena_alloc(http->http->arena(request), list->count * sizeof *operations);
    if (!operations) {
        store_refuse(exchange, 413, "too-large", HF_ETOOLARGE, "the batch is too large");
        return;
    }
    for (uint64_t i = 0; i < list->count; i++) {
        const char *wrong = read_operation(exchange, &list->as.items[i], &operations[i]);

        if (wrong) {
            store_refuse(exchange, 400, "bad-request", HF_EINVAL, "operation %llu: %s", (unsigned long long)i, wrong);
            return;
        }
        if (operations[i].type == STORE_PUT && !check_value(exchange, operations[i].value))
            return;
    }
    if (!named.data)
        named = hf_value_get_string(&body, "partition", named);
    partition = common_partition(exchange, named, operations, list->count);
    if (!partition)
        return;
    exchange->finish = finish_write;
    send_command(exchange, partition, operations, list->count);
}
