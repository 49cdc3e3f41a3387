/* Two-phase commit over partitions, as machine/phase.h says, from the side of the node that was asked.
 *
 * Everything that must be remembered is in the partitions' logs; what is here can be lost at any time. */
#include "bug.h"
#include "service/call.h"
#include "service/private.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>
#include <string.h>

enum {
    PHASE_MAX = 32 << 20,
    FINISH_US = 5000000, /* a decided transaction is finished also after the deadline */
    PREPARE_US = 500000, /* for all to be prepared: those that are keep others from their records meanwhile */
    BACKOFF_US = 2000,   /* before another attempt, twice as long each time */
    BACKOFF_DOUBLINGS = 6
};

/* ---- One phase --------------------------------------------------------------------------------------------------- */

static void phase_finished(struct store_call *call)
{
    struct store_phase_call *phase_call = (struct store_phase_call *)(void *)call;

    hf_buffer_done(&call->op.result);
    hf_buffer_done(&phase_call->command);
    phase_call->finished(phase_call);
}

int32_t store_phase_send(struct store_service *service, struct store_phase_call *phase_call, uint64_t partition,
                         const struct store_phase *phase, uint64_t deadline_us)
{
    hf_buffer_init(&phase_call->command, PHASE_MAX);
    int32_t result = store_phase_encode(&phase_call->command, phase, NULL);

    if (result != HF_OK) {
        hf_buffer_done(&phase_call->command);
        return result;
    }
    phase_call->call = (struct store_call){
        .op = {.type = STORE_OP_WRITE,
               .partition = partition,
               .deadline_us = deadline_us,
               .client = phase->phase == STORE_PHASE_PREPARE ? phase_call->client : 0,
               .command = {phase_call->command.data, phase_call->command.size}},
        .repeatable = phase->phase != STORE_PHASE_PREPARE,
        .finished = phase_finished,
    };
    store_call_start(service, &phase_call->call);
    return HF_OK;
}

/* ---- The transaction --------------------------------------------------------------------------------------------- */

struct part_call {
    struct store_phase_call phase_call; /* first */
    struct transaction *transaction;
    int32_t code; /* of the last phase */
};

struct transaction {
    struct store_service *service;
    struct store_part *parts;
    uint32_t count, left;
    uint32_t attempts;
    uint64_t deadline_us;
    uint64_t client;
    uint8_t id[STORE_TRANSACTION_ID_SIZE];
    struct store_verdict verdict;
    hf_timer *timer;
    hf_task task;
    store_transact_done done;
    void *arg;
    struct part_call calls[];
};

static void begin_attempt(struct transaction *transaction);

static uint64_t now_us(const struct transaction *transaction)
{
    struct store_service *service = transaction->service;

    return service->loops->now_us(service->loops->current(service->host));
}

static void end(struct transaction *transaction)
{
    if (transaction->timer)
        transaction->service->loops->timer_destroy(transaction->timer);
    transaction->done(transaction->arg, &transaction->verdict);
    free(transaction);
}

static void set_verdict(struct transaction *transaction, int32_t code, const char *message)
{
    transaction->verdict.code = code;
    if (code != HF_OK)
        hf_error_set(&transaction->verdict.error, code, "%s", message);
}

/* Sends the phase to the part.  What cannot be sent counts as answered with HF_EBUSY. */
static void send(struct transaction *transaction, uint32_t part, struct store_phase *phase,
                 void (*finished)(struct store_phase_call *phase_call), uint64_t deadline_us)
{
    struct part_call *call = &transaction->calls[part];

    memcpy(phase->id, transaction->id, sizeof phase->id);
    call->phase_call.finished = finished;
    call->phase_call.client = transaction->client;
    call->transaction = transaction;
    if (store_phase_send(transaction->service, &call->phase_call, transaction->parts[part].partition, phase,
                         deadline_us) == HF_OK)
        transaction->left++;
    else
        call->code = HF_EBUSY;
}

/* The last answer of a phase: 1. */
static int is_last(struct store_phase_call *phase_call)
{
    struct part_call *call = (struct part_call *)(void *)phase_call;

    call->code = phase_call->call.op.code;
    return --call->transaction->left == 0;
}

/* ---- Forgetting it ----------------------------------------------------------------------------------------------- */

static void forgotten(struct store_phase_call *phase_call)
{
    free(phase_call); /* whatever came of it: the home's leader looks after what is left */
}

static void forget(struct transaction *transaction)
{
    struct store_phase phase = {.phase = STORE_PHASE_FORGET};
    struct store_phase_call *phase_call = calloc(1, sizeof *phase_call);

    if (!phase_call)
        return;
    memcpy(phase.id, transaction->id, sizeof phase.id);
    phase_call->finished = forgotten;
    if (store_phase_send(transaction->service, phase_call, transaction->parts[0].partition, &phase,
                         now_us(transaction) + FINISH_US) != HF_OK)
        free(phase_call);
}

/* ---- Finishing --------------------------------------------------------------------------------------------------- */

static void finish_over(struct transaction *transaction)
{
    int all = 1;

    for (uint32_t i = 1; i < transaction->count; i++) {
        const struct part_call *call = &transaction->calls[i];

        all &= call->code == HF_OK;
        transaction->parts[i].version = call->code == HF_OK ? call->phase_call.call.op.version : 0;
    }
    if (all)
        forget(transaction);
    set_verdict(transaction, HF_OK, "");
    end(transaction);
}

static void finished(struct store_phase_call *phase_call)
{
    if (is_last(phase_call))
        finish_over(((struct part_call *)(void *)phase_call)->transaction);
}

static void finish_others(struct transaction *transaction)
{
    struct store_phase phase = {.phase = STORE_PHASE_FINISH, .decision = STORE_DECISION_COMMIT};
    uint64_t deadline_us = now_us(transaction) + FINISH_US;

    for (uint32_t i = 1; i < transaction->count; i++)
        send(transaction, i, &phase, finished, deadline_us);
    if (transaction->left == 0)
        finish_over(transaction);
}

/* ---- Giving up, or another attempt ------------------------------------------------------------------------------- */

static void try_again(void *arg)
{
    begin_attempt(arg);
}

static int32_t wait_and_try(struct transaction *transaction)
{
    const hf_loop_interface *loops = transaction->service->loops;
    uint32_t doublings = transaction->attempts < BACKOFF_DOUBLINGS ? transaction->attempts : BACKOFF_DOUBLINGS;
    uint64_t random = 0, wait_us = (uint64_t)BACKOFF_US << doublings;

    transaction->service->node->random(transaction->service->host, &random, sizeof random);
    wait_us = wait_us / 2 + random % wait_us; /* so that those in each other's way part */
    if (now_us(transaction) + wait_us >= transaction->deadline_us || transaction->service->draining)
        return HF_ETIMEOUT;
    if (!transaction->timer && loops->timer_create(loops->current(transaction->service->host), try_again, transaction,
                                                   &transaction->timer, NULL) != HF_OK)
        return HF_ENOMEM;
    transaction->attempts++;
    loops->timer_start(transaction->timer, wait_us, 0);
    return HF_OK;
}

/* All locks of the attempt have been given back, or will be by the partitions themselves. */
static void abort_over(struct transaction *transaction)
{
    int32_t code = transaction->verdict.code;

    if ((code != HF_EBUSY && code != HF_ENOTLEADER) || wait_and_try(transaction) != HF_OK)
        end(transaction);
}

static void aborted(struct store_phase_call *phase_call)
{
    if (is_last(phase_call))
        abort_over(((struct part_call *)(void *)phase_call)->transaction);
}

/* Of the parts that are prepared, or may be. */
static void abort_all(struct transaction *transaction)
{
    uint64_t deadline_us = now_us(transaction) + FINISH_US;

    for (uint32_t i = 0; i < transaction->count; i++) {
        struct store_phase phase = {.phase = i == 0 ? STORE_PHASE_DECIDE : STORE_PHASE_FINISH,
                                    .decision = STORE_DECISION_ABORT};
        int32_t code = transaction->calls[i].code;

        if (code == HF_OK || code == HF_ETIMEOUT)
            send(transaction, i, &phase, aborted, deadline_us);
    }
    if (transaction->left == 0)
        abort_over(transaction);
}

/* Why an attempt has failed.  What a replica says of itself, that it does not lead, tells the client nothing. */
static void set_reason(struct transaction *transaction, int32_t code, const struct store_op *op)
{
    if (code == HF_ESTATE)
        set_verdict(transaction, HF_EBUSY, "other transactions have locked the records; nothing was done");
    else if (code == HF_ETIMEOUT) /* what was prepared goes again */
        set_verdict(transaction, HF_ENOTLEADER, "a partition did not answer in time; nothing was done");
    else if (code == HF_ENOTLEADER)
        set_verdict(transaction, HF_ENOTLEADER, "a partition has no leader at the moment; nothing was done");
    else
        set_verdict(transaction, code == HF_EDENIED ? HF_EBUSY : code, op->error.message);
}

/* ---- Deciding ---------------------------------------------------------------------------------------------------- */

static void decided(struct store_phase_call *phase_call)
{
    struct transaction *transaction = ((struct part_call *)(void *)phase_call)->transaction;

    (void)is_last(phase_call);
    switch (phase_call->call.op.code) {
    case HF_OK:
        transaction->parts[0].version = phase_call->call.op.version;
        finish_others(transaction);
        return;
    case HF_EDENIED: /* it took so long that somebody else decided against it; the home has nothing any more */
        set_verdict(transaction, HF_EBUSY, "the transaction took too long and was taken back; nothing was done");
        abort_all(transaction);
        return;
    case HF_ETIMEOUT:
        set_verdict(transaction, HF_ETIMEOUT,
                    "whether the transaction was committed is not known; repeat it with the same idempotency key");
        end(transaction);
        return;
    default: /* it was not decided, and will be decided against */
        set_reason(transaction, phase_call->call.op.code, &phase_call->call.op);
        end(transaction);
    }
}

static void decide(struct transaction *transaction)
{
    struct store_phase phase = {.phase = STORE_PHASE_DECIDE, .decision = STORE_DECISION_COMMIT};

    send(transaction, 0, &phase, decided, transaction->deadline_us);
    if (transaction->left > 0)
        return;
    set_verdict(transaction, HF_EBUSY, "no memory for the transaction; nothing was done");
    abort_all(transaction);
}

/* ---- Preparing --------------------------------------------------------------------------------------------------- */

/* The home's word counts first: what it knows already must not be done again. */
static void judge(struct transaction *transaction)
{
    const struct store_op *home = &transaction->calls[0].phase_call.call.op;

    if (transaction->calls[0].code == HF_EEXIST) {
        transaction->verdict.repeated = 1;
        transaction->parts[0].version = home->version;
        set_verdict(transaction, HF_OK, "");
        return;
    }
    for (uint32_t i = 0; i < transaction->count; i++) {
        const struct store_op *op = &transaction->calls[i].phase_call.call.op;
        int32_t code = transaction->calls[i].code;

        if (code == HF_OK || (transaction->verdict.code == HF_ECONFLICT && code != HF_ECONFLICT))
            continue;
        transaction->verdict.part = i;
        transaction->verdict.operation = op->operation;
        transaction->verdict.version = op->version;
        set_reason(transaction, code, op);
        if (code == HF_ECONFLICT)
            return;
    }
}

static void prepare_over(struct transaction *transaction)
{
    int all = 1;

    for (uint32_t i = 0; i < transaction->count; i++)
        all &= transaction->calls[i].code == HF_OK ||
               (STORE_BUG(TAKE_FOR_GRANTED) && transaction->calls[i].code == HF_ETIMEOUT);
    if (all) {
        decide(transaction);
        return;
    }
    judge(transaction);
    abort_all(transaction);
}

static void prepared(struct store_phase_call *phase_call)
{
    if (is_last(phase_call))
        prepare_over(((struct part_call *)(void *)phase_call)->transaction);
}

static void begin_attempt(struct transaction *transaction)
{
    struct store_phase phase = {.phase = STORE_PHASE_PREPARE, .home = transaction->parts[0].partition};
    uint64_t until_us = now_us(transaction) + PREPARE_US;

    if (until_us > transaction->deadline_us)
        until_us = transaction->deadline_us;
    transaction->verdict = (struct store_verdict){0};
    transaction->service->node->random(transaction->service->host, transaction->id, sizeof transaction->id);
    for (uint32_t i = 0; i < transaction->count; i++) {
        phase.command = transaction->parts[i].command;
        phase.participant_count = i == 0 ? transaction->count - 1 : 0;
        for (uint32_t k = 0; k < phase.participant_count; k++)
            phase.participants[k] = transaction->parts[k + 1].partition;
        send(transaction, i, &phase, prepared, until_us);
    }
    if (transaction->left == 0)
        prepare_over(transaction);
}

static void begin_task(hf_task *task)
{
    begin_attempt((struct transaction *)((char *)task - offsetof(struct transaction, task)));
}

void store_service_transact(struct store_service *service, struct store_part *parts, uint32_t count,
                            uint64_t deadline_us, uint64_t client, store_transact_done done, void *arg)
{
    struct transaction *transaction = calloc(1, sizeof *transaction + count * sizeof transaction->calls[0]);

    if (!transaction) {
        struct store_verdict verdict = {.code = HF_EBUSY};

        hf_error_set(&verdict.error, HF_EBUSY, "no memory for the transaction; nothing was done");
        done(arg, &verdict);
        return;
    }
    transaction->service = service;
    transaction->parts = parts;
    transaction->count = count;
    transaction->deadline_us = deadline_us;
    transaction->client = client;
    transaction->done = done;
    transaction->arg = arg;
    transaction->task.run = begin_task;
    service->loops->post(service->loops->current(service->host), &transaction->task);
}
