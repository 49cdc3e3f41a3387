/* GET of one record, and scans over one partition or all. */
#include "http/private.h"

#include <holdfast/lib/error.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LIMIT_USUAL = 100, PAGE_MAXIMUM = 64 << 20 };

/* Of what was read from several replicas the highest age. */
static uint32_t oldest(const struct exchange *exchange)
{
    uint32_t age_ms = 0;

    for (uint64_t i = 0; i < exchange->number; i++)
        if (exchange->calls[i].call.op.age_ms > age_ms)
            age_ms = exchange->calls[i].call.op.age_ms;
    return age_ms;
}

/* ---- One record ----------------------------------------------------------------------------------------------- */

static void fill_get(struct exchange *exchange, uint32_t place, const struct store_partition *partition, hf_slice key)
{
    struct exchange_call *call = &exchange->calls[place];

    call->partition = partition;
    call->call.op.type = STORE_OP_GET;
    call->call.op.key = key;
    call->call.op.stale = store_is_stale(exchange);
}

void store_http_ask_all(struct exchange *exchange, hf_slice key)
{
    hf_slice named = exchange->http->http->query(exchange->request, "partition");
    const struct store_partition *partition;
    uint32_t count = 0;

    if (named.data || exchange->table->declaration.value_count == 0) {
        partition = store_table_find(exchange->table, named, key);
        if (!partition) {
            store_refuse(exchange, 422, "unprocessable", HF_EINVAL, "'%.*s' is not a partition of the table '%s'",
                         (int)(named.size < 100 ? named.size : 100), (const char *)named.data,
                         exchange->table->declaration.name);
            return;
        }
        fill_get(exchange, count++, partition, key);
    } else {
        while ((partition = store_table_candidate(exchange->table, key, count)) != NULL)
            fill_get(exchange, count++, partition, key);
    }
    exchange->number = count;
    for (uint32_t i = 0; i < count; i++)
        store_exchange_start(exchange, i);
}

static void answer_record(struct exchange *exchange, const struct exchange_call *call)
{
    const struct store_op *op = &call->call.op;
    hf_slice rest = {op->result.data, op->result.size};
    struct store_row row;
    char tag[32], modified[48], age[24];
    hf_http_field fields[4] = {
        {"ETag", tag}, {"Last-Modified", modified}, {"Holdfast-Partition", call->partition->value}};
    uint32_t count = 3;
    struct tm parts = {0};

    if (store_result_next(&rest, &row) != 1) {
        store_refuse(exchange, 500, "internal", HF_ECORRUPT, "the record could not be read");
        return;
    }
    time_t seconds = (time_t)(row.time_us / 1000000);
    gmtime_r(&seconds, &parts);
    snprintf(tag, sizeof tag, "\"%" PRIu64 "\"", row.version);
    strftime(modified, sizeof modified, "%a, %d %b %Y %H:%M:%S GMT", &parts);
    if (op->stale) {
        snprintf(age, sizeof age, "%u", oldest(exchange));
        fields[count++] = (hf_http_field){"Holdfast-Staleness-Ms", age};
    }
    exchange->http->http->respond(exchange->request, 200,
                                  exchange->table->declaration.format == STORE_FORMAT_JSON ? "application/json"
                                                                                           : "application/octet-stream",
                                  row.value, fields, count);
    store_exchange_end(exchange);
}

static void answer_absent(struct exchange *exchange)
{
    const struct store_http *http = exchange->http;
    hf_slice key = http->http->parameter(exchange->request, "key");
    char members[40] = "";
    hf_error error = {0};

    hf_error_set(&error, HF_ENOTFOUND, "there is no record '%.*s' in the table '%s'",
                 (int)(key.size < 200 ? key.size : 200), (const char *)key.data, exchange->table->declaration.name);
    if (store_is_stale(exchange))
        snprintf(members, sizeof members, "\"staleness_ms\":%u", oldest(exchange));
    http->http->problem(exchange->request, 404, "not-found", &error, members[0] ? members : NULL);
    store_exchange_end(exchange);
}

static void finish_get(struct exchange *exchange)
{
    const struct exchange_call *found = NULL;

    for (uint32_t i = 0; i < exchange->number; i++) {
        const struct exchange_call *call = &exchange->calls[i];

        if (call->call.op.code != HF_OK && call->call.op.code != HF_ENOTFOUND) {
            store_refuse_op(exchange, &call->call.op);
            return;
        }
        if (call->call.op.code != HF_OK)
            continue;
        if (found) {
            store_refuse(exchange, 409, "conflict", HF_ECONFLICT,
                         "the key is in the partitions '%s' and '%s'; give ?partition=", found->partition->value,
                         call->partition->value);
            return;
        }
        found = call;
    }
    if (found)
        answer_record(exchange, found);
    else
        answer_absent(exchange);
}

void store_http_get(void *arg, hf_http_request *request)
{
    struct exchange *exchange = store_exchange_begin(arg, request, STORE_HTTP_GET, HF_HTTP_READ, 0, store_http_get);
    hf_slice key;

    if (!exchange || !store_http_key(exchange, &key))
        return;
    exchange->finish = finish_get;
    store_http_ask_all(exchange, key);
}

/* ---- Scans ---------------------------------------------------------------------------------------------------- */

/* One partition's page, with its next row. */
struct source {
    const struct exchange_call *call;
    hf_slice rest;
    struct store_row row;
    int32_t has_row;
    uint64_t value; /* of the partition, by its place among the table's, from 1 */
};

static void advance(struct source *source)
{
    source->has_row = store_result_next(&source->rest, &source->row) == 1;
}

static int compare_keys(hf_slice a, hf_slice b)
{
    uint64_t size = a.size < b.size ? a.size : b.size;
    int order = size ? memcmp(a.data, b.data, size) : 0;

    return order ? order : a.size < b.size ? -1 : a.size > b.size;
}

/* The source with the lowest key; among equal keys, which only partitions of different values have, the lowest value.
 */
static struct source *lowest(struct source *sources, uint64_t count)
{
    struct source *best = NULL;

    for (uint64_t i = 0; i < count; i++) {
        int order = best && sources[i].has_row ? compare_keys(sources[i].row.key, best->row.key) : -1;

        if (sources[i].has_row && (order < 0 || (order == 0 && sources[i].value < best->value)))
            best = &sources[i];
    }
    return best;
}

static void write_row(hf_json_writer *writer, const struct exchange *exchange, const struct source *source)
{
    char text[STORE_TIME_SIZE];

    store_time_text(source->row.time_us, text);
    hf_json_begin_object(writer);
    hf_json_member_string(writer, "key", source->row.key);
    hf_json_member_text(writer, "partition", source->call->partition->value);
    hf_json_member_unsigned(writer, "version", source->row.version);
    hf_json_member_text(writer, "time", text);
    store_write_value(writer, exchange->table, source->row.value);
    hf_json_end_object(writer);
}

static void write_next(hf_json_writer *writer, const struct exchange *exchange, const struct store_cursor *last)
{
    hf_buffer text;

    hf_buffer_init(&text, 8192);
    if (store_cursor_append(&text, &exchange->scan, last) != HF_OK)
        writer->result = HF_ENOMEM;
    hf_json_member_string(writer, "next", (hf_slice){text.data, text.size});
    hf_buffer_done(&text);
}

/* Merges the pages.  A source that is empty though there is more behind its page ends the merge: nothing is known of
 * its next keys.  0: so it was before there was anything to show, because a transaction has locked what comes next. */
static int32_t write_rows(hf_json_writer *writer, struct exchange *exchange, struct source *sources)
{
    struct store_cursor last = {.value = 0};
    uint64_t shown = 0;
    struct source *next;
    int32_t more = 0;

    while ((next = lowest(sources, exchange->number)) != NULL) {
        if (exchange->begin.value && next->value <= exchange->begin.value &&
            compare_keys(next->row.key, exchange->begin.key) == 0) {
            advance(next); /* the page before has shown it */
        } else {
            if (shown == next->call->call.op.limit - 1u || writer->buffer->size > PAGE_MAXIMUM / 2) {
                more = 1;
                break;
            }
            write_row(writer, exchange, next);
            last = (struct store_cursor){next->row.key, next->value};
            shown++;
            advance(next);
        }
        if (!next->has_row && next->call->call.op.more) {
            more = 1;
            break;
        }
    }
    hf_json_end_list(writer);
    if (more && last.value)
        write_next(writer, exchange, &last);
    return !more || last.value;
}

static void finish_scan(struct exchange *exchange)
{
    struct source *sources = calloc(exchange->number, sizeof *sources);
    hf_json_writer writer;
    hf_buffer body;

    for (uint64_t i = 0; i < exchange->number && sources; i++) {
        const struct store_op *op = &exchange->calls[i].call.op;

        if (op->code != HF_OK) {
            free(sources);
            store_refuse_op(exchange, op);
            return;
        }
        sources[i].call = &exchange->calls[i];
        sources[i].value = i == 0 ? 1
                                  : sources[i - 1].value + (strcmp(exchange->calls[i].partition->value,
                                                                   exchange->calls[i - 1].partition->value) != 0);
        sources[i].rest = (hf_slice){op->result.data, op->result.size};
        advance(&sources[i]);
    }
    hf_buffer_init(&body, PAGE_MAXIMUM);
    hf_json_writer_init(&writer, &body);
    hf_json_begin_object(&writer);
    hf_json_name(&writer, "records");
    hf_json_begin_list(&writer);
    if (sources && !write_rows(&writer, exchange, sources)) {
        free(sources);
        hf_buffer_done(&body);
        store_exchange_again(exchange);
        return;
    }
    hf_json_end_object(&writer);
    free(sources);
    if (!sources || writer.result != HF_OK) {
        hf_buffer_done(&body);
        store_refuse(exchange, 503, "busy", HF_EBUSY, "no memory for a page of records; ask for fewer with limit");
        return;
    }
    char age[24];
    hf_http_field field = {"Holdfast-Staleness-Ms", age};

    snprintf(age, sizeof age, "%u", oldest(exchange));
    exchange->http->http->respond(exchange->request, 200, "application/json", (hf_slice){body.data, body.size}, &field,
                                  store_is_stale(exchange) ? 1 : 0);
    hf_buffer_done(&body);
    store_exchange_end(exchange);
}

/* The query's start, prefix, partition and limit.  0 after answering. */
static int32_t read_query(struct exchange *exchange, uint64_t *ret_limit)
{
    const hf_http_interface *http = exchange->http->http;
    hf_http_request *request = exchange->request;
    hf_slice limit = http->query(request, "limit");
    const char *wrong;

    *ret_limit = LIMIT_USUAL;
    if (limit.data && (store_number_read(limit, STORE_SCAN_RECORDS_MAX - 1, ret_limit) != HF_OK || *ret_limit == 0)) {
        store_refuse(exchange, 400, "bad-request", HF_EINVAL, "limit is '%.*s'; expected 1 to %d",
                     (int)(limit.size < 40 ? limit.size : 40), (const char *)limit.data, STORE_SCAN_RECORDS_MAX - 1);
        return 0;
    }
    exchange->scan = (struct store_scan){hf_slice_of(exchange->table->declaration.name), http->query(request, "prefix"),
                                         http->query(request, "partition")};
    wrong = store_start_read(http->query(request, "start"), &exchange->scan, http->arena(request), &exchange->begin);
    if (wrong) {
        store_refuse(exchange, 400, "bad-request", HF_EINVAL, "%s", wrong);
        return 0;
    }
    if (exchange->scan.prefix.size > STORE_KEY_MAX || exchange->begin.key.size > STORE_KEY_MAX) {
        store_refuse(exchange, 413, "too-large", HF_ETOOLARGE,
                     "prefix has %llu bytes and start %llu; expected at most %d",
                     (unsigned long long)exchange->scan.prefix.size, (unsigned long long)exchange->begin.key.size,
                     STORE_KEY_MAX);
        return 0;
    }
    return 1;
}

static void fill_scan(struct exchange *exchange, const struct store_partition *partition, uint64_t limit)
{
    struct exchange_call *call = &exchange->calls[exchange->number++];

    call->partition = partition;
    call->call.op.type = STORE_OP_SCAN;
    call->call.op.key = exchange->scan.prefix;
    call->call.op.start = exchange->begin.key;
    call->call.op.stale = store_is_stale(exchange);
    call->call.op.hash_from = partition->hash_from;
    call->call.op.hash_to = partition->hash_to;
    call->call.op.limit = (uint32_t)limit + 1; /* one may have been shown already */
}

void store_http_scan(void *arg, hf_http_request *request)
{
    struct store_http *http = arg;
    struct exchange *exchange = store_exchange_begin(http, request, STORE_HTTP_SCAN, HF_HTTP_READ, 0, store_http_scan);
    uint64_t limit = 0;

    if (!exchange || !read_query(exchange, &limit))
        return;
    hf_slice named = exchange->scan.partition;

    for (uint32_t i = 0; i < exchange->table->partition_count; i++)
        if (!named.data || hf_slice_is(named, exchange->table->partitions[i].value))
            fill_scan(exchange, &exchange->table->partitions[i], limit);
    if (exchange->number == 0) {
        store_refuse(exchange, 422, "unprocessable", HF_EINVAL, "'%.*s' is not a partition of the table '%s'",
                     (int)(named.size < 100 ? named.size : 100), (const char *)named.data,
                     exchange->table->declaration.name);
        return;
    }
    exchange->finish = finish_scan;
    for (uint32_t i = 0; i < exchange->number; i++)
        store_exchange_start(exchange, i);
}
