/* requests.c: what a node does with a client's attempt, as http/exchange.c and http/transaction.c do: it divides what
 * is asked for by partition, and when something has moved it begins anew, once it knows more of where everything is. */
#include "sim.h"

#include <holdfast/lib/checksum.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXPIRE_SECONDS = 1, LOOK_EVERY_US = 5000, LOOK_FOR_US = 250000 };

typedef struct {
    struct store_call call; /* first */
    node *of;
    uint32_t client, number; /* of the operation */
    uint64_t attempt;
    uint64_t deadline_us, look_until_us;
    bool was_unknown; /* what was asked for before it moved may have been done */
    struct store_routing *routing;
    hf_timer *timer;
    uint32_t part_count;
    struct store_part parts[PARTS_MAX];
    hf_buffer commands[PARTS_MAX];
    char key[32];
} request;

/* ---- Ending ------------------------------------------------------------------------------------------------------ */

static void free_parts(request *r)
{
    for (uint32_t i = 0; i < r->part_count; i++)
        hf_buffer_done(&r->commands[i]);
    r->part_count = 0;
    store_routing_release(r->routing);
    r->routing = NULL;
}

static void over(request *r, int32_t code, bool repeated)
{
    hf_buffer *result = &r->call.op.result;

    if (r->was_unknown && (code == HF_EBUSY || code == HF_ENOTLEADER))
        code = HF_ETIMEOUT;
    attempt_over(r->client, r->attempt, code, repeated, (hf_slice){result->data, result->size});
    hf_buffer_done(result);
    free_parts(r);
    sim_loops.timer_destroy(r->timer);
    free(r);
}

/* ---- What has moved ---------------------------------------------------------------------------------------------- */

static void ask(request *r);

static void look_again(void *arg)
{
    request *r = arg;

    if (r->of->shard.routing == r->routing && r->of->loop_now < r->look_until_us) {
        sim_loops.timer_start(r->timer, LOOK_EVERY_US, 0);
        return;
    }
    free_parts(r);
    ask(r);
}

static void moved(request *r)
{
    fault_counts[FAULT_MOVED]++;
    hf_buffer_done(&r->call.op.result);
    r->was_unknown |= r->call.op.type == STORE_OP_WRITE && r->call.unknown;
    if (r->of->loop_now > r->deadline_us) {
        over(r, HF_ENOTLEADER, false);
        return;
    }
    if (!r->timer && sim_loops.timer_create(&r->of->loop, look_again, r, &r->timer, NULL))
        abort();
    r->look_until_us = r->of->loop_now + LOOK_FOR_US;
    sim_loops.timer_start(r->timer, LOOK_EVERY_US, 0);
}

static void call_finished(struct store_call *call)
{
    request *r = (request *)(void *)call;

    if (call->op.code == HF_EMOVED)
        moved(r);
    else
        over(r, call->op.code, false);
}

static void transaction_finished(void *arg, const struct store_verdict *verdict)
{
    if (verdict->code == HF_EMOVED)
        moved(arg);
    else
        over(arg, verdict->code, verdict->repeated);
}

/* ---- Asking ------------------------------------------------------------------------------------------------------ */

static void encode_part(request *r, uint64_t partition)
{
    const operation *o = &history[r->number];
    uint64_t value = r->number + 1;
    struct store_operation operations[PARTS_MAX] = {0};
    struct store_command command = {.user = value, .asked = value, .operations = operations};
    char keys[PARTS_MAX][16], idempotency[24];
    uint32_t part = r->part_count++;

    for (uint32_t i = 0; i < o->count; i++) {
        struct store_operation *to = &operations[command.operation_count];

        if (key_partition(r->routing, o->operations[i].key) != partition)
            continue;
        to->key = (hf_slice){(const uint8_t *)keys[i], key_text(o->operations[i].key, keys[i], sizeof keys[i])};
        to->type = o->operations[i].type;
        to->condition = o->operations[i].condition;
        to->version = to->condition == STORE_IF_VERSION ? o->operations[i].condition_version : 0;
        if (to->type == STORE_PUT) {
            to->value = (hf_slice){(const uint8_t *)&value, sizeof value};
            to->checksum = hf_crc32c(0, &value, sizeof value);
            to->expire_after = o->expires ? EXPIRE_SECONDS : 0;
        }
        command.operation_count++;
    }
    if (part == 0 && o->has_idempotency_key)
        command.idempotency_key = (hf_slice){
            (const uint8_t *)idempotency, (uint64_t)snprintf(idempotency, sizeof idempotency, "request %u", r->number)};
    hf_buffer_init(&r->commands[part], 1 << 16);
    if (store_command_encode(&r->commands[part], &command, NULL))
        abort();
    r->parts[part] = (struct store_part){partition, {r->commands[part].data, r->commands[part].size}, 0};
}

/* One part for each partition; that of the first operation is the home, which knows the idempotency key also when
 * partitions were split or merged since. */
static void encode(request *r)
{
    const operation *o = &history[r->number];

    for (uint32_t i = 0; i < o->count; i++) {
        uint64_t partition = key_partition(r->routing, o->operations[i].key);
        bool has = false;

        for (uint32_t k = 0; k < r->part_count; k++)
            has |= r->parts[k].partition == partition;
        if (!has)
            encode_part(r, partition);
    }
}

static void ask(request *r)
{
    const operation *o = &history[r->number];

    r->routing = store_routing_hold(r->of->shard.routing);
    r->call = (struct store_call){.finished = call_finished, .was_unknown = r->was_unknown};
    r->call.op.deadline_us = r->deadline_us;
    if (o->type == READ) {
        r->call.op.type = STORE_OP_GET;
        r->call.op.partition = key_partition(r->routing, o->operations[0].key);
        r->call.op.key = (hf_slice){(const uint8_t *)r->key, key_text(o->operations[0].key, r->key, sizeof r->key)};
        store_call_start(&r->of->service, &r->call);
        return;
    }
    encode(r);
    if (r->part_count > 1) {
        store_service_transact(&r->of->service, r->parts, r->part_count, r->deadline_us, 0, transaction_finished, r);
        return;
    }
    r->call.op.type = STORE_OP_WRITE;
    r->call.op.partition = r->parts[0].partition;
    r->call.op.command = r->parts[0].command;
    r->call.repeatable = o->has_idempotency_key;
    store_call_start(&r->of->service, &r->call);
}

void request_begin(node *n, uint32_t client, uint32_t number, uint64_t attempt)
{
    enter(n);
    request *r = calloc(1, sizeof *r);

    *r = (request){.of = n,
                   .client = client,
                   .number = number,
                   .attempt = attempt,
                   .deadline_us = n->loop_now + 300 * MS + roll(900 * MS)};
    ask(r);
    leave();
}
