/* Batches: several operations, all or nothing, on one partition, or on the parts that it was divided into. */
#include "http/private.h"

#include <holdfast/lib/checksum.h>
#include <holdfast/lib/error.h>

#include <string.h>

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

static const char *read_expiry(const struct exchange *exchange, const hf_value *item, struct store_operation *operation)
{
    const hf_value *after = hf_value_get(item, "expire_after");

    if (operation->type != STORE_PUT)
        return after ? "expire_after is of no use without a value" : NULL;
    operation->expire_after = store_http_usual_expiry(exchange);
    if (!after)
        return NULL;
    if (after->type != HF_VALUE_INTEGER || after->as.integer < 0 || after->as.integer > STORE_EXPIRE_AFTER_MAX)
        return "expire_after is not 0 (never) to 315360000 seconds";
    operation->expire_after = (uint32_t)after->as.integer;
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
        return read_expiry(exchange, item, operation);
    }
    if (hf_slice_is(op, "check")) {
        operation->type = STORE_CHECK;
        return operation->condition == STORE_IF_ANY ? "a check needs if_version, if_absent or if_present"
                                                    : read_expiry(exchange, item, operation);
    }
    if (!hf_slice_is(op, "put"))
        return "op is neither put, delete nor check";
    operation->type = STORE_PUT;
    wrong = read_expiry(exchange, item, operation);
    if (!wrong)
        wrong = read_value(exchange, item, &operation->value);
    if (!wrong)
        operation->checksum = hf_crc32c(0, operation->value.data, operation->value.size);
    return wrong;
}

/* The partition of each operation, all of one value; NULL after answering. */
static const struct store_partition **find_partitions(struct exchange *exchange, hf_slice named,
                                                      const struct store_operation *operations, uint64_t count)
{
    const struct store_partition **partitions =
        hf_arena_alloc(exchange->http->http->arena(exchange->request), count * sizeof *partitions);

    if (!partitions) {
        store_refuse(exchange, 413, "too-large", HF_ETOOLARGE, "the batch is too large");
        return NULL;
    }
    for (uint64_t i = 0; i < count; i++) {
        partitions[i] = store_http_find_partition(exchange, named, operations[i].key, operations[i].value);
        if (!partitions[i])
            return NULL;
        if (strcmp(partitions[i]->value, partitions[0]->value) != 0) {
            store_refuse(exchange, 422, "unprocessable", HF_EINVAL,
                         "operation %llu belongs to the partition '%s' and those before it to '%s'; a batch is of one, "
                         "see POST /v1/transactions",
                         (unsigned long long)i, partitions[i]->value, partitions[0]->value);
            return NULL;
        }
    }
    return partitions;
}

/* The batch's list of operations; NULL after answering. */
const hf_value *store_http_read_list(struct exchange *exchange, hf_value *body)
{
    const hf_http_interface *http = exchange->http->http;
    hf_http_request *request = exchange->request;
    hf_error error = {0};

    if (http->header(request, "Holdfast-Expire-After").data) {
        store_refuse(exchange, 400, "bad-request", HF_EINVAL,
                     "Holdfast-Expire-After is not of batches; give expire_after in their operations");
        return NULL;
    }
    if (hf_json_parse(http->body(request), http->arena(request), body, &error) != HF_OK) {
        int32_t memory = error.code == HF_ENOMEM;

        store_refuse(exchange, memory ? 413 : 400, memory ? "too-large" : "bad-request", error.code,
                     "the batch could not be read: %s", error.message);
        return NULL;
    }
    const hf_value *list = hf_value_get(body, "operations");

    if (list && list->type == HF_VALUE_LIST && list->count > 0 && list->count <= STORE_OPERATIONS_MAX)
        return list;
    store_refuse(exchange, 400, "bad-request", HF_EINVAL, "expected {\"operations\":[...]} with 1 to %d of them",
                 STORE_OPERATIONS_MAX);
    return NULL;
}

int32_t store_http_read_operation(struct exchange *exchange, const hf_value *item, uint64_t place,
                                  struct store_operation *ret_operation)
{
    *ret_operation = (struct store_operation){0};
    const char *wrong = read_operation(exchange, item, ret_operation);

    if (wrong) {
        store_refuse(exchange, 400, "bad-request", HF_EINVAL, "operation %llu: %s", (unsigned long long)place, wrong);
        return 0;
    }
    return ret_operation->type != STORE_PUT || store_http_check_value(exchange, ret_operation->value, (int64_t)place);
}

/* NULL after answering. */
static const struct store_operation *read_operations(struct exchange *exchange, const hf_value *list)
{
    struct store_operation *operations =
        hf_arena_alloc(exchange->http->http->arena(exchange->request), list->count * sizeof *operations);

    if (!operations) {
        store_refuse(exchange, 413, "too-large", HF_ETOOLARGE, "the batch is too large");
        return NULL;
    }
    for (uint64_t i = 0; i < list->count; i++)
        if (!store_http_read_operation(exchange, &list->as.items[i], i, &operations[i]))
            return NULL;
    return operations;
}

void store_http_batch(void *arg, hf_http_request *request)
{
    struct store_http *http = arg;
    struct exchange *exchange =
        store_exchange_begin(http, request, STORE_HTTP_WRITE, HF_HTTP_WRITE, 1, store_http_batch);
    hf_value body = hf_value_null();
    const hf_value *list = exchange ? store_http_read_list(exchange, &body) : NULL;
    const struct store_operation *operations = list ? read_operations(exchange, list) : NULL;

    if (!operations)
        return;
    hf_slice named = http->http->query(request, "partition");

    if (!named.data)
        named = hf_value_get_string(&body, "partition", named);
    const struct store_partition **partitions = find_partitions(exchange, named, operations, list->count);

    if (partitions)
        store_http_send_batch(exchange, operations, partitions, list->count);
}
