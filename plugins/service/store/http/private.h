/* http/private.h: between the files of the store's HTTP interface. */
#ifndef STORE_HTTP_PRIVATE_H
#define STORE_HTTP_PRIVATE_H

#include "http/http.h"
#include "machine/command.h"

#include <holdfast/host/http.h>
#include <holdfast/host/metrics.h>

#include <pthread.h>

enum { STORE_HTTP_KINDS = 5, STORE_HTTP_TRANSACTION_MAX = 4 << 20 /* bytes of a transaction's body */ };
enum { STORE_HTTP_RECOVERY_MAX = 28 << 20 /* bytes of a recovery's plan, with what it stands in */ };
enum { STORE_HTTP_WRITE = 0, STORE_HTTP_GET, STORE_HTTP_SCAN, STORE_HTTP_CHANGES, STORE_HTTP_OTHER };

/* Why streams of changes ended that were to go on. */
enum { STORE_HTTP_ENDED_SLOW = 0, STORE_HTTP_ENDED_GONE, STORE_HTTP_ENDINGS };

struct store_stream;
struct transaction;

struct store_http {
    struct store_service *service;
    struct store_http_options options;
    const hf_host *host;
    const hf_http_interface *http;
    const hf_loop_interface *loops;
    hf_metric *requests[STORE_HTTP_KINDS];
    hf_metric *microseconds[STORE_HTTP_KINDS];
    hf_metric *streams;
    hf_metric *ended[STORE_HTTP_ENDINGS];
    const hf_metrics_interface *metrics;
    pthread_mutex_t lock; /* guards the list */
    struct store_stream *open_streams;
    _Atomic int32_t draining;
    _Atomic uint32_t stream_count;
};

struct exchange;

struct exchange_call {
    struct store_call call; /* first */
    struct exchange *exchange;
    const struct store_partition *partition;
};

/* Which scan a cursor is of. */
struct store_scan {
    hf_slice table, prefix;
    hf_slice partition; /* the value that the query names; without data: none */
};
/* The last record that was shown.  Partitions may be split before the scan goes on, and a value stays. */
struct store_cursor {
    hf_slice key;
    uint64_t value; /* of its partition, by its place among those that are scanned, from 1; 0: the key itself comes
                       first */
};

/* A request and the calls that answer it. */
struct exchange {
    struct store_http *http;
    hf_http_request *request;
    int32_t kind; /* STORE_HTTP_... */
    uint64_t started_us;
    uint64_t begun_us;   /* the first time, when what was asked for had moved meanwhile */
    int32_t was_unknown; /* 1: it may have been done then */
    void (*again)(void *arg, hf_http_request *request);
    uint64_t asked; /* hash of what is asked for under an idempotency key; 0: of the one command's bytes */
    struct store_routing *routing; /* held: table and partitions lie in it */
    const struct store_table *table;
    hf_buffer command;
    void (*finish)(struct exchange *exchange); /* all calls are done; ends the exchange */
    uint64_t number;                           /* for finish */
    struct transaction *transaction;           /* of transaction.c; in the request's arena */
    struct store_scan scan;
    struct store_cursor begin; /* scans: where the page begins */
    uint32_t left;
    uint32_t count;
    struct exchange_call calls[];
};

/* exchange.c */
/* Begins with the request's {table}, with room for `calls` calls (0: one for every partition).  NULL: the request was
 * answered, or will be, and must not be looked at any more: a table that this node does not know is asked for first,
 * and `again` is then called. */
struct exchange *store_exchange_begin(struct store_http *http, hf_http_request *request, int32_t kind, int32_t right,
                                      uint32_t calls, void (*again)(void *arg, hf_http_request *request));
/* The same of a request that names its tables elsewhere; its table is set by store_exchange_table: 0 after the request
 * was answered, or will be, and the exchange was ended. */
struct exchange *store_exchange_begin_without(struct store_http *http, hf_http_request *request, int32_t kind,
                                              uint32_t calls);
int32_t store_exchange_table(struct exchange *exchange, hf_slice name, int32_t right,
                             void (*again)(void *arg, hf_http_request *request));
void store_exchange_end(struct exchange *exchange);                   /* after the answer */
void store_exchange_start(struct exchange *exchange, uint32_t place); /* a call whose op is filled in */
void store_refuse(struct exchange *exchange, uint32_t status, const char *problem, int32_t code, const char *format,
                  ...) HF_PRINTF(5, 6);
/* Answers with what the op's code means. */
void store_refuse_op(struct exchange *exchange, const struct store_op *op);
/* The same without an exchange. */
void store_problem(struct store_http *http, hf_http_request *request, const struct store_op *op);
/* Ends the exchange, and handles the request anew when this node knows where things are now. */
void store_exchange_again(struct exchange *exchange);
uint64_t store_now_us(const struct store_http *http);
int32_t store_is_stale(const struct exchange *exchange);

/* write.c */
void store_http_put(void *arg, hf_http_request *request);
void store_http_delete(void *arg, hf_http_request *request);
/* The key of the route, checked; 0 after answering. */
int32_t store_http_key(struct exchange *exchange, hf_slice *ret_key);

/* Finds the partition of a write: named by the query, or by the JSON value's field.  NULL after answering. */
const struct store_partition *store_http_find_partition(struct exchange *exchange, hf_slice named, hf_slice key,
                                                        hf_slice json);
/* Sees that the table takes the value; `place` is that of a batch's operation.  0 after answering. */
enum { STORE_HTTP_NO_OPERATION = -1 };
int32_t store_http_check_value(struct exchange *exchange, hf_slice value, int64_t place);
/* Seconds after which a put's record expires, unless it says so itself. */
uint32_t store_http_usual_expiry(const struct exchange *exchange);
/* Appends a command to exchange->command; 0 after answering. */
int32_t store_http_encode(struct exchange *exchange, const struct store_operation *operations, uint64_t count,
                          hf_slice idempotency_key);
/* Starts the one call of a write, whose `finish` is store_http_finish_write or calls it; or answers. */
void store_http_send_command(struct exchange *exchange, const struct store_partition *partition,
                             const struct store_operation *operations, uint64_t count);
void store_http_finish_write(struct exchange *exchange);

/* batch.c */
void store_http_batch(void *arg, hf_http_request *request);
/* The list of {"operations":[...]}; NULL after answering. */
const hf_value *store_http_read_list(struct exchange *exchange, hf_value *body);
/* One of them, for exchange->table; 0 after answering. */
int32_t store_http_read_operation(struct exchange *exchange, const hf_value *item, uint64_t place,
                                  struct store_operation *ret_operation);

/* transaction.c */
/* The operations of a batch, in their partitions: as a transaction when those are several.  Answers and ends the
 * exchange. */
void store_http_send_batch(struct exchange *exchange, const struct store_operation *operations,
                           const struct store_partition *const *partitions, uint64_t count);
/* The hash of operations in their order. */
uint64_t store_http_asked(uint64_t before, const struct store_operation *operation);
void store_http_transaction(void *arg, hf_http_request *request);

/* read.c */
void store_http_get(void *arg, hf_http_request *request);
void store_http_scan(void *arg, hf_http_request *request);
/* Starts GETs of every partition that could hold the key, or of the one that the query names: exchange->number of them;
 * or answers and ends the exchange. */
void store_http_ask_all(struct exchange *exchange, hf_slice key);

/* changes.c */
void store_http_changes(void *arg, hf_http_request *request);
void store_http_end_streams(struct store_http *http);

/* tables.c */
void store_http_tables(void *arg, hf_http_request *request);
void store_http_table(void *arg, hf_http_request *request);
void store_http_create_table(void *arg, hf_http_request *request);
void store_http_partitions(void *arg, hf_http_request *request);
void store_http_leader(void *arg, hf_http_request *request);
void store_http_split(void *arg, hf_http_request *request);
void store_http_merge(void *arg, hf_http_request *request);
void store_http_cluster(void *arg, hf_http_request *request);

/* nodes.c */
void store_http_node(void *arg, hf_http_request *request);
void store_http_plan(void *arg, hf_http_request *request);

/* recovery.c */
void store_http_recovery_plan(void *arg, hf_http_request *request);
void store_http_recover(void *arg, hf_http_request *request);

/* cursor.c: pure */
/* HF_EINVAL: no key, or one over its limit; errors also as hf_buffer_append. */
int32_t store_cursor_append(hf_buffer *text, const struct store_scan *scan, const struct store_cursor *cursor);
/* A scan's start: a cursor, or a key; of a key that begins with '~', that is doubled.  Returns a sentence when it is
 * wrong; the cursor borrows from the text or lies in the arena. */
const char *store_start_read(hf_slice text, const struct store_scan *scan, hf_arena *arena,
                             struct store_cursor *ret_cursor);

/* text.c */
/* "2026-11-01T10:00:00.000Z" */
enum { STORE_TIME_SIZE = 32 };
void store_time_text(uint64_t time_us, char text[STORE_TIME_SIZE]);
int32_t store_base64_append(hf_buffer *buffer, hf_slice bytes, int32_t url); /* url: RFC 4648, 5, without padding */
/* HF_EINVAL; reads both alphabets. */
int32_t store_base64_read(hf_slice text, hf_arena *arena, hf_slice *ret_bytes);
int32_t store_number_read(hf_slice text, uint64_t maximum, uint64_t *ret_number);
/* Writes the member "value" or "value_base64". */
void store_write_value(hf_json_writer *writer, const struct store_table *table, hf_slice value);

#endif
