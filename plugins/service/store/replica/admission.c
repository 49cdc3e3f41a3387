#include "replica/admission.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>
#include <string.h>

enum {
    OPERATION_BYTES = 512, /* of what is kept for one besides its command */
    SHORT_QUEUE = 64       /* whose time is not looked at */
};

static const char *const queue_names[STORE_QUEUES] = {"writes", "reads", "watches"};

/* ---- The node ---------------------------------------------------------------------------------------------------- */

static int32_t add_queue_metrics(struct store_admission *admission, hf_error *error)
{
    int32_t result = HF_OK;

    for (int i = 0; i < STORE_QUEUES && result == HF_OK; i++) {
        const char *const label[1][2] = {{"queue", queue_names[i]}};

        result = admission->metrics->add(admission->host, HF_METRIC_GAUGE, "holdfast_store_queue_operations",
                                         "Operations that wait in this node's replicas", label, 1,
                                         &admission->operations[i], error);
        if (result == HF_OK)
            result = admission->metrics->add(admission->host, HF_METRIC_GAUGE, "holdfast_store_queue_bytes",
                                             "Bytes of operations that wait in this node's replicas", label, 1,
                                             &admission->bytes[i], error);
    }
    if (result == HF_OK)
        result = admission->metrics->add(admission->host, HF_METRIC_GAUGE, "holdfast_store_result_bytes",
                                         "Bytes that reads have found and that were not handed on yet", NULL, 0,
                                         &admission->result_bytes, error);
    return result;
}

static int32_t add_metrics(struct store_admission *admission, hf_error *error)
{
    static const char *const reasons[STORE_REFUSALS] = {"partition", "table", "node", "client", "late"};
    int32_t result = add_queue_metrics(admission, error);

    for (int i = 0; i < STORE_REFUSALS && result == HF_OK; i++) {
        const char *const label[1][2] = {{"reason", reasons[i]}};

        result = admission->metrics->add(admission->host, HF_METRIC_COUNTER, "holdfast_store_refused_total",
                                         "Operations refused for want of room, by what was full", label, 1,
                                         &admission->refused[i], error);
    }
    return result;
}

int32_t store_admission_open(struct store_admission *admission, const hf_host *host,
                             const hf_metrics_interface *metrics, uint64_t seed, hf_error *error)
{
    admission->host = host;
    admission->metrics = metrics;
    admission->shares = hf_shares_create(seed);
    if (!admission->shares)
        return hf_error_set(error, HF_ENOMEM, "no memory for the shares of clients");
    pthread_mutex_init(&admission->lock, NULL);
    for (int i = 0; i < STORE_QUEUES; i++)
        admission->gates[i].limits = &admission->limits[STORE_LEVEL_NODE];
    admission->results.limits = &admission->limits[STORE_LEVEL_NODE];
    return add_metrics(admission, error);
}

void store_admission_close(struct store_admission *admission)
{
    if (!admission->shares)
        return;
    while (admission->tables) {
        struct store_table_queues *table = admission->tables;

        admission->tables = table->next;
        free(table);
    }
    pthread_mutex_destroy(&admission->lock);
    hf_shares_destroy(admission->shares);
    admission->shares = NULL;
}

static void set(uint64_t *number, uint64_t value)
{
    __atomic_store_n(number, value, __ATOMIC_RELAXED);
}

static void set_limits(hf_gate_limits *limits, int64_t operations, uint64_t bytes, int64_t share)
{
    set(&limits->items, (uint64_t)operations);
    set(&limits->bytes, bytes);
    set(&limits->share, (uint64_t)share);
}

void store_admission_configure(struct store_admission *admission, const struct store_admission_settings *settings,
                               uint64_t partition_bytes)
{
    set_limits(&admission->limits[STORE_LEVEL_PARTITION], settings->partition_operations, partition_bytes,
               settings->client_share);
    set_limits(&admission->limits[STORE_LEVEL_TABLE], settings->table_operations, settings->table_bytes,
               settings->client_share);
    set_limits(&admission->limits[STORE_LEVEL_NODE], settings->node_operations, settings->node_bytes,
               settings->client_share);
    set(&admission->retry_minimum_ms, settings->retry_minimum_us / 1000);
    set(&admission->retry_maximum_ms, settings->retry_maximum_us / 1000);
}

/* ---- Tables ------------------------------------------------------------------------------------------------------ */

/* Without its series when there are too many already: the table is bounded all the same. */
static void add_table_metrics(struct store_admission *admission, struct store_table_queues *table)
{
    const char *const label[1][2] = {{"table", table->name}};

    admission->metrics->add(admission->host, HF_METRIC_GAUGE, "holdfast_store_table_queue_operations",
                            "Operations that wait in this node's replicas of a table", label, 1, &table->operations,
                            NULL);
    admission->metrics->add(admission->host, HF_METRIC_GAUGE, "holdfast_store_table_queue_bytes",
                            "Bytes of operations that wait in this node's replicas of a table", label, 1, &table->bytes,
                            NULL);
}

static struct store_table_queues *make_table(struct store_admission *admission, const char *name)
{
    uint64_t size = strlen(name) + 1;
    struct store_table_queues *table = calloc(1, sizeof *table + size);

    if (!table)
        return NULL;
    memcpy(table->name, name, size);
    table->salt = (uint64_t)(uintptr_t)table;
    for (int i = 0; i < STORE_QUEUES; i++)
        table->gates[i].limits = &admission->limits[STORE_LEVEL_TABLE];
    add_table_metrics(admission, table);
    table->next = admission->tables;
    admission->tables = table;
    return table;
}

struct store_table_queues *store_admission_table(struct store_admission *admission, const char *name)
{
    struct store_table_queues *table;

    pthread_mutex_lock(&admission->lock);
    table = admission->tables;
    while (table && strcmp(table->name, name) != 0)
        table = table->next;
    if (!table)
        table = make_table(admission, name);
    pthread_mutex_unlock(&admission->lock);
    return table;
}

/* ---- Measuring --------------------------------------------------------------------------------------------------- */

static void show_table(struct store_admission *admission, struct store_table_queues *table, uint64_t now_us)
{
    uint64_t operations = 0, bytes = 0;

    for (int i = 0; i < STORE_QUEUES; i++) {
        hf_gate_measure(&table->gates[i], now_us);
        operations += hf_gate_items(&table->gates[i]);
        bytes += hf_gate_bytes(&table->gates[i]);
    }
    if (table->operations)
        admission->metrics->set(table->operations, (double)operations);
    if (table->bytes)
        admission->metrics->set(table->bytes, (double)bytes);
}

void store_admission_tick(struct store_admission *admission, uint64_t now_us)
{
    for (int i = 0; i < STORE_QUEUES; i++) {
        hf_gate_measure(&admission->gates[i], now_us);
        admission->metrics->set(admission->operations[i], (double)hf_gate_items(&admission->gates[i]));
        admission->metrics->set(admission->bytes[i], (double)hf_gate_bytes(&admission->gates[i]));
    }
    admission->metrics->set(admission->result_bytes, (double)hf_gate_bytes(&admission->results));
    pthread_mutex_lock(&admission->lock);
    for (struct store_table_queues *table = admission->tables; table; table = table->next)
        show_table(admission, table, now_us);
    pthread_mutex_unlock(&admission->lock);
}

/* ---- A partition's queues ---------------------------------------------------------------------------------------- */

void store_queues_begin(struct store_queues *queues, struct store_admission *admission,
                        struct store_table_queues *table, uint64_t partition)
{
    *queues = (struct store_queues){.admission = admission, .table = table, .salt = partition + 1};
    for (int i = 0; i < STORE_QUEUES; i++)
        queues->gates[i].limits = &admission->limits[STORE_LEVEL_PARTITION];
}

void store_queues_measure(struct store_queues *queues, uint64_t now_us)
{
    for (int i = 0; i < STORE_QUEUES; i++)
        hf_gate_measure(&queues->gates[i], now_us);
}

/* What an operation counts as, and where. */
struct entrant {
    int kind;
    uint64_t bytes;
    hf_gate *gates[STORE_LEVELS];
    uint64_t keys[STORE_LEVELS];
};

static int kind_of(const struct store_op *op)
{
    if (op->type == STORE_OP_WRITE)
        return STORE_QUEUE_WRITES;
    return op->type == STORE_OP_CHANGES && op->wait_ms ? STORE_QUEUE_WATCHES : STORE_QUEUE_READS;
}

static struct entrant entrant_of(struct store_queues *queues, const struct store_op *op)
{
    const uint64_t odd = UINT64_C(0x9e3779b97f4a7c15);
    int kind = kind_of(op);
    uint64_t client = op->client + (uint64_t)kind * odd;

    return (struct entrant){
        .kind = kind,
        .bytes = OPERATION_BYTES + (op->type == STORE_OP_WRITE ? op->command.size : op->key.size + op->start.size),
        .gates = {&queues->gates[kind], &queues->table->gates[kind], &queues->admission->gates[kind]},
        .keys = {client ^ queues->salt * odd, client ^ queues->table->salt * odd, client},
    };
}

/* ---- In and out -------------------------------------------------------------------------------------------------- */

static int32_t refuse(struct store_queues *queues, const struct entrant *entrant, struct store_op *op, int reason,
                      int level, uint64_t now_us)
{
    static const char *const places[STORE_LEVELS] = {"for this partition", "for this table", "on this node"};
    struct store_admission *admission = queues->admission;

    op->code = HF_EBUSY;
    if (reason == STORE_REFUSED_LATE)
        hf_error_set(&op->error, HF_EBUSY, "so many %s are waiting that this one would come too late",
                     queue_names[entrant->kind]);
    else if (reason == STORE_REFUSED_CLIENT)
        hf_error_set(&op->error, HF_EBUSY, "too many %s of this client are waiting %s; the rest is for others",
                     queue_names[entrant->kind], places[level]);
    else
        hf_error_set(&op->error, HF_EBUSY, "too many %s are waiting %s", queue_names[entrant->kind], places[level]);
    op->error.retry_after_ms =
        hf_gate_retry_after_ms(entrant->gates[level], now_us, admission->retry_minimum_ms, admission->retry_maximum_ms);
    admission->metrics->increment(admission->refused[reason], 1);
    return HF_EBUSY;
}

/* A write that would wait until its deadline is better sent elsewhere, or later, at once. */
static int comes_too_late(const hf_gate *gate, const struct store_op *op, uint64_t now_us)
{
    return op->type == STORE_OP_WRITE && hf_gate_items(gate) >= SHORT_QUEUE &&
           hf_gate_wait_us(gate, now_us) > (op->deadline_us > now_us ? op->deadline_us - now_us : 0);
}

int32_t store_queues_enter(struct store_queues *queues, struct store_op *op, uint64_t now_us)
{
    struct entrant entrant = entrant_of(queues, op);
    hf_shares *shares = queues->admission->shares;

    if (op->client && comes_too_late(entrant.gates[STORE_LEVEL_PARTITION], op, now_us))
        return refuse(queues, &entrant, op, STORE_REFUSED_LATE, STORE_LEVEL_PARTITION, now_us);
    for (int level = 0; level < STORE_LEVELS; level++) {
        int32_t why = 0;

        if (op->client)
            why = hf_gate_enter(entrant.gates[level], shares, entrant.keys[level], 1, entrant.bytes, now_us);
        else
            hf_gate_force(entrant.gates[level], NULL, 0, 1, entrant.bytes, now_us);
        if (!why)
            continue;
        for (int i = 0; i < level; i++)
            hf_gate_leave(entrant.gates[i], shares, entrant.keys[i], 1, entrant.bytes);
        return refuse(queues, &entrant, op, why == HF_GATE_SHARE ? STORE_REFUSED_CLIENT : level, level, now_us);
    }
    return HF_OK;
}

void store_queues_leave(struct store_queues *queues, const struct store_op *op)
{
    struct entrant entrant = entrant_of(queues, op);
    hf_shares *shares = op->client ? queues->admission->shares : NULL;

    for (int level = 0; level < STORE_LEVELS; level++)
        hf_gate_leave(entrant.gates[level], shares, entrant.keys[level], 1, entrant.bytes);
}

uint64_t store_queues_retry_after_ms(struct store_queues *queues, const struct store_op *op, uint64_t now_us)
{
    struct store_admission *admission = queues->admission;

    return hf_gate_retry_after_ms(&queues->gates[kind_of(op)], now_us, admission->retry_minimum_ms,
                                  admission->retry_maximum_ms);
}
