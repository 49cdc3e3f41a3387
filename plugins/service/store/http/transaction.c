/* POST /v1/transactions: operations on several partitions and tables, all or nothing.  Those of one partition become
 * one command; when all are of one, it is sent as any other. */
#include "http/private.h"
#include "machine/phase.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/hash.h>

#include <stdlib.h>
#include <string.h>

enum { PARTS_MAX = STORE_PARTICIPANTS_MAX };

/* An operation and where it belongs. */
struct placed {
    const struct store_table *table;
    const struct store_partition *partition;
    struct store_operation operation;
    uint64_t place;    /* in the request */
    uint64_t sequence; /* of its partition: the home comes first */
};

struct transaction {
    int32_t is_batch;                   /* answered as one */
    struct placed *placed;              /* by partition */
    struct store_operation *operations; /* likewise, as commands need them */
    uint64_t count;
    uint32_t part_count;
    struct store_part parts[PARTS_MAX];
    uint64_t first[PARTS_MAX + 1]; /* of the part's operations */
};

/* ---- Answers ----------------------------------------------------------------------------------------------------- */

static void write_part(hf_json_writer *writer, const struct transaction *transaction, uint32_t part)
{
    const struct placed *placed = &transaction->placed[transaction->first[part]];

    hf_json_begin_object(writer);
    hf_json_member_text(writer, "table", placed->table->declaration.name);
    hf_json_member_text(writer, "partition", placed->partition->value);
    hf_json_member_unsigned(writer, "partition_id", placed->partition->id);
    if (transaction->parts[part].version) { /* else it is not known here */
        hf_json_member_unsigned(writer, "version", transaction->parts[part].version);
    }
    hf_json_end_object(writer);
}

/* As of a batch in one partition; the operations' versions are each its partition's. */
static void write_batch(hf_json_writer *writer, const struct transaction *transaction)
{
    uint32_t part_of[STORE_OPERATIONS_MAX];

    for (uint32_t part = 0; part < transaction->part_count; part++)
        for (uint64_t i = transaction->first[part]; i < transaction->first[part + 1]; i++)
            part_of[transaction->placed[i].place] = part;
    hf_json_member_unsigned(writer, "version", transaction->parts[part_of[0]].version);
    hf_json_member_text(writer, "partition", transaction->placed[0].partition->value);
    hf_json_name(writer, "versions");
    hf_json_begin_list(writer);
    for (uint64_t i = 0; i < transaction->count; i++) {
        if (transaction->parts[part_of[i]].version)
            hf_json_unsigned(writer, transaction->parts[part_of[i]].version);
        else
            hf_json_text(writer, NULL); /* it is done, and its version is not known here */
    }
    hf_json_end_list(writer);
}

static void write_transaction(hf_json_writer *writer, const struct transaction *transaction, int32_t repeated)
{
    hf_json_member_boolean(writer, "repeated", repeated);
    hf_json_name(writer, "partitions");
    hf_json_begin_list(writer);
    for (uint32_t i = 0; i < transaction->part_count; i++)
        write_part(writer, transaction, i);
    hf_json_end_list(writer);
}

static void answer_done(struct exchange *exchange, int32_t repeated)
{
    const struct transaction *transaction = exchange->transaction;
    hf_json_writer writer;
    hf_buffer body;

    hf_buffer_init(&body, 1 << 20);
    hf_json_writer_init(&writer, &body);
    hf_json_begin_object(&writer);
    if (transaction->is_batch)
        write_batch(&writer, transaction);
    else
        write_transaction(&writer, transaction, repeated);
    hf_json_end_object(&writer);
    exchange->http->http->respond(exchange->request, 200, "application/json", (hf_slice){body.data, body.size}, NULL,
                                  0);
    hf_buffer_done(&body);
    store_exchange_end(exchange);
}

/* Of the operations of `part`, the one at `operation` is which of the request's? */
static uint64_t place_of(const struct transaction *transaction, uint32_t part, uint64_t operation)
{
    uint64_t at = transaction->first[part] + operation;

    return at < transaction->count ? transaction->placed[at].place : 0;
}

static void over(void *arg, const struct store_verdict *verdict)
{
    struct exchange *exchange = arg;
    struct store_op op = {
        .type = STORE_OP_WRITE, .code = verdict->code, .version = verdict->version, .error = verdict->error};

    if (verdict->code == HF_OK) {
        answer_done(exchange, verdict->repeated);
        return;
    }
    if (verdict->code == HF_EMOVED) {
        store_exchange_again(exchange);
        return;
    }
    if (exchange->was_unknown && (verdict->code == HF_EBUSY || verdict->code == HF_ENOTLEADER))
        op.code = hf_error_set(&op.error, HF_ETIMEOUT, /* before its records moved, it was one write */
                               "the outcome of the write is not known; repeat it with the same idempotency key");
    if (verdict->code == HF_ECONFLICT)
        op.operation = place_of(exchange->transaction, verdict->part, verdict->operation);
    store_refuse_op(exchange, &op);
}

static void finish_single(struct exchange *exchange)
{
    struct transaction *transaction = exchange->transaction;
    struct store_op *op = &exchange->calls[0].call.op;

    if (op->code == HF_ECONFLICT)
        op->operation = place_of(transaction, 0, op->operation);
    if (op->code != HF_OK) {
        store_refuse_op(exchange, op);
        return;
    }
    transaction->parts[0].version = op->version;
    answer_done(exchange, 0);
}

/* ---- The request ------------------------------------------------------------------------------------------------- */

/* 0 after answering. */
static int32_t read_placed(struct exchange *exchange, const hf_value *item, uint64_t place, struct placed *placed)
{
    static const hf_slice none = {NULL, 0};
    hf_slice table = hf_value_get_string(item, "table", none);

    if (table.size == 0) {
        store_refuse(exchange, 400, "bad-request", HF_EINVAL, "operation %llu names no table",
                     (unsigned long long)place);
        return 0;
    }
    if (!store_exchange_table(exchange, table, HF_HTTP_WRITE, store_http_transaction) ||
        !store_http_read_operation(exchange, item, place, &placed->operation))
        return 0;
    placed->place = place;
    placed->table = exchange->table;
    placed->partition = store_http_find_partition(exchange, hf_value_get_string(item, "partition", none),
                                                  placed->operation.key, placed->operation.value);
    return placed->partition != NULL;
}

static int compare_placed(const void *a, const void *b)
{
    const struct placed *left = a, *right = b;

    if (left->sequence != right->sequence)
        return left->sequence < right->sequence ? -1 : 1;
    return left->place < right->place ? -1 : 1;
}

/* The partition of the first operation comes first and is the home: it knows the idempotency key whenever the request
 * is repeated, also when it was split or merged meanwhile.  0 after answering. */
static int32_t divide(struct exchange *exchange, struct transaction *transaction)
{
    uint64_t home = transaction->placed[0].partition->id;

    for (uint64_t i = 0; i < transaction->count; i++) {
        struct placed *placed = &transaction->placed[i];

        placed->sequence = placed->partition->id == home ? 0 : placed->partition->id;
        exchange->asked = store_http_asked(exchange->asked, &placed->operation);
    }
    qsort(transaction->placed, transaction->count, sizeof transaction->placed[0], compare_placed);
    for (uint64_t i = 0; i < transaction->count; i++) {
        uint64_t partition = transaction->placed[i].partition->id;

        transaction->operations[i] = transaction->placed[i].operation;
        if (i > 0 && partition == transaction->placed[i - 1].partition->id)
            continue;
        if (transaction->part_count == PARTS_MAX) {
            store_refuse(exchange, 422, "unprocessable", HF_EINVAL,
                         "the transaction is about more than %d partitions; divide it", PARTS_MAX);
            return 0;
        }
        transaction->first[transaction->part_count] = i;
        transaction->parts[transaction->part_count++].partition = partition;
    }
    transaction->first[transaction->part_count] = transaction->count;
    return 1;
}

uint64_t store_http_asked(uint64_t before, const struct store_operation *operation)
{
    const uint64_t numbers[] = {(uint64_t)operation->type, (uint64_t)operation->condition, operation->version,
                                operation->checksum, operation->expire_after};

    before = hf_hash64(before, operation->key.data, operation->key.size);
    return hf_hash64(before, numbers, sizeof numbers) | 1; /* never 0, which says nothing */
}

/* Commands one after the other in exchange->command, which moves while it grows.  0 after answering. */
static int32_t encode_parts(struct exchange *exchange, struct transaction *transaction)
{
    hf_slice key = exchange->http->http->header(exchange->request, "Idempotency-Key");
    uint64_t ends[PARTS_MAX + 1] = {0};

    for (uint32_t i = 0; i < transaction->part_count; i++) {
        uint64_t first = transaction->first[i];

        if (!store_http_encode(exchange, transaction->operations + first, transaction->first[i + 1] - first,
                               i == 0 ? key : (hf_slice){NULL, 0}))
            return 0;
        ends[i + 1] = exchange->command.size;
    }
    for (uint32_t i = 0; i < transaction->part_count; i++)
        transaction->parts[i].command = (hf_slice){exchange->command.data + ends[i], ends[i + 1] - ends[i]};
    return 1;
}

static struct transaction *allocate(struct exchange *exchange, uint64_t count)
{
    hf_arena *arena = exchange->http->http->arena(exchange->request);
    struct transaction *transaction = hf_arena_alloc(arena, sizeof *transaction);
    struct placed *placed = hf_arena_alloc(arena, count * sizeof *placed);
    struct store_operation *operations = hf_arena_alloc(arena, count * sizeof *operations);

    if (!transaction || !placed || !operations) {
        store_refuse(exchange, 413, "too-large", HF_ETOOLARGE, "the transaction is too large");
        return NULL;
    }
    *transaction = (struct transaction){.placed = placed, .operations = operations, .count = count};
    exchange->transaction = transaction;
    return transaction;
}

static void send(struct exchange *exchange, struct transaction *transaction)
{
    struct store_http *http = exchange->http;

    if (transaction->part_count == 1) {
        exchange->finish = finish_single;
        store_http_send_command(exchange, transaction->placed[0].partition, transaction->operations,
                                transaction->count);
    } else if (encode_parts(exchange, transaction)) {
        store_service_transact(http->service, transaction->parts, transaction->part_count,
                               store_now_us(http) + http->options.write_timeout_us,
                               http->http->client(exchange->request), over, exchange);
    }
}

void store_http_send_batch(struct exchange *exchange, const struct store_operation *operations,
                           const struct store_partition *const *partitions, uint64_t count)
{
    struct transaction *transaction = allocate(exchange, count);

    if (!transaction)
        return;
    transaction->is_batch = 1;
    for (uint64_t i = 0; i < count; i++)
        transaction->placed[i] = (struct placed){
            .table = exchange->table, .partition = partitions[i], .operation = operations[i], .place = i};
    if (divide(exchange, transaction))
        send(exchange, transaction);
}

void store_http_transaction(void *arg, hf_http_request *request)
{
    struct exchange *exchange = store_exchange_begin_without(arg, request, STORE_HTTP_WRITE, 1);
    hf_value body = hf_value_null();
    const hf_value *list = exchange ? store_http_read_list(exchange, &body) : NULL;
    struct transaction *transaction = list ? allocate(exchange, list->count) : NULL;

    if (!transaction)
        return;
    for (uint64_t i = 0; i < list->count; i++)
        if (!read_placed(exchange, &list->as.items[i], i, &transaction->placed[i]))
            return;
    if (divide(exchange, transaction))
        send(exchange, transaction);
}
