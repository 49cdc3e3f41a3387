/* Transactions that their sender has left alone: it died, or could not reach everybody.  The leader of each partition
 * looks after those that have part in it:
 *
 *   prepared, home elsewhere   asks the home, and does what that says;
 *   prepared, home here        decides against it;
 *   committed, home here       lets the others finish;
 *   decided long ago           is forgotten.
 *
 * A sender that is slow finds out from the home's answer. */
#include "bug.h"
#include "service/private.h"

#include <stdlib.h>
#include <string.h>

enum {
    EVERY_US = 100000,
    PATIENCE_US = 400000,  /* with who sends the phases; so that what it has locked is free again within a second */
    RETAIN_US = 600000000, /* decisions whose sender may still ask: longer than any request's deadline */
    TIMEOUT_US = 5000000,
    CARES_MAX = 64,  /* at a time in a shard */
    LOOK_AT_MAX = 16 /* of one partition */
};

/* The care for one transaction. */
struct care {
    struct store_phase_call phase_call; /* first */
    struct care *next;
    struct store_shard *shard;
    uint64_t partition;
    struct store_transaction transaction;
    uint32_t finished; /* participants */
};

struct store_sweep {
    uint64_t next_us;
    struct care *cares;
    uint32_t count;
};

/* ---- Steps ------------------------------------------------------------------------------------------------------- */

static void end_care(struct care *care)
{
    struct store_sweep *sweep = care->shard->sweep;
    struct care **link = &sweep->cares;

    while (*link != care)
        link = &(*link)->next;
    *link = care->next;
    sweep->count--;
    free(care);
}

static void ended(struct store_phase_call *phase_call)
{
    end_care((struct care *)(void *)phase_call); /* what did not succeed is found again */
}

static void send(struct care *care, uint64_t partition, struct store_phase *phase,
                 void (*finished)(struct store_phase_call *phase_call))
{
    struct store_service *service = care->shard->service;

    memcpy(phase->id, care->transaction.id, sizeof phase->id);
    care->phase_call.finished = finished;
    if (store_phase_send(service, &care->phase_call, partition, phase,
                         service->loops->now_us(care->shard->loop) + TIMEOUT_US) != HF_OK)
        end_care(care);
}

static void forget(struct care *care)
{
    struct store_phase phase = {.phase = STORE_PHASE_FORGET, .patience_us = RETAIN_US};

    send(care, care->partition, &phase, ended);
}

static void finish_next(struct care *care);

static void one_finished(struct store_phase_call *phase_call)
{
    struct care *care = (struct care *)(void *)phase_call;

    if (phase_call->call.op.code != HF_OK) {
        end_care(care);
        return;
    }
    care->finished++;
    finish_next(care);
}

/* Of a committed transaction, at its home. */
static void finish_next(struct care *care)
{
    struct store_phase phase = {.phase = STORE_PHASE_FINISH, .decision = STORE_DECISION_COMMIT};

    if (care->finished < care->transaction.participant_count)
        send(care, care->transaction.participants[care->finished], &phase, one_finished);
    else
        forget(care);
}

static void home_said(struct store_phase_call *phase_call)
{
    struct care *care = (struct care *)(void *)phase_call;
    int32_t code = phase_call->call.op.code;
    struct store_phase phase = {.phase = STORE_PHASE_FINISH,
                                .decision = code == HF_OK ? STORE_DECISION_COMMIT : STORE_DECISION_ABORT};

    if ((code == HF_OK || code == HF_EDENIED) && care->transaction.home != care->partition)
        send(care, care->partition, &phase, ended);
    else
        end_care(care); /* no decision yet, or no answer */
}

static void ask_home(struct care *care)
{
    struct store_phase phase = {
        .phase = STORE_PHASE_DECIDE, .decision = STORE_DECISION_ASK, .patience_us = PATIENCE_US};
    struct store_phase let_go = {.phase = STORE_PHASE_FINISH, .decision = STORE_DECISION_ABORT};

    if (STORE_BUG(GUESS))
        send(care, care->partition, &let_go, ended);
    else
        send(care, care->transaction.home, &phase, home_said);
}

/* ---- Finding them ------------------------------------------------------------------------------------------------ */

static int is_cared_for(const struct store_sweep *sweep, uint64_t partition,
                        const struct store_transaction *transaction)
{
    for (const struct care *care = sweep->cares; care; care = care->next)
        if (care->partition == partition && memcmp(care->transaction.id, transaction->id, sizeof transaction->id) == 0)
            return 1;
    return 0;
}

static void begin_care(struct store_shard *shard, uint64_t partition, const struct store_transaction *transaction)
{
    struct store_sweep *sweep = shard->sweep;
    struct care *care = calloc(1, sizeof *care);

    if (!care)
        return;
    care->shard = shard;
    care->partition = partition;
    care->transaction = *transaction;
    care->next = sweep->cares;
    sweep->cares = care;
    sweep->count++;
    if (transaction->state == STORE_TRANSACTION_PREPARED)
        ask_home(care);
    else
        finish_next(care);
}

static void sweep_partition(struct store_shard *shard, struct store_replica *replica, uint64_t wall_us)
{
    struct store_transaction transactions[LOOK_AT_MAX];
    uint32_t count = store_machine_transactions(store_replica_machine(replica), wall_us - PATIENCE_US,
                                                wall_us - RETAIN_US, transactions, LOOK_AT_MAX);

    for (uint32_t i = 0; i < count && shard->sweep->count < CARES_MAX; i++)
        if (!is_cared_for(shard->sweep, store_replica_partition(replica), &transactions[i]))
            begin_care(shard, store_replica_partition(replica), &transactions[i]);
}

void store_sweep_tick(struct store_shard *shard, uint64_t now_us)
{
    struct store_service *service = shard->service;
    struct store_sweep *sweep = shard->sweep;

    if (!sweep)
        sweep = shard->sweep = calloc(1, sizeof *sweep);
    if (!sweep || now_us < sweep->next_us || service->draining || STORE_BUG(KEEP_LOCKS))
        return;
    sweep->next_us = now_us + EVERY_US;
    uint64_t wall_us = service->environment.wall_us(service->host);

    for (uint64_t i = 0; i < shard->replica_count; i++)
        if (shard->replicas[i] && atomic_load(&store_replica_published(shard->replicas[i])->role) == HF_ROLE_LEADER)
            sweep_partition(shard, shard->replicas[i], wall_us);
}

void store_sweep_free(struct store_shard *shard)
{
    while (shard->sweep && shard->sweep->cares) {
        struct care *care = shard->sweep->cares;

        shard->sweep->cares = care->next;
        free(care);
    }
    free(shard->sweep);
}
