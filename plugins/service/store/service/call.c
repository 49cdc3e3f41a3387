/* An operation's way: to the local replica when there is one, to whoever is said to lead, and again after a pause when
 * nobody was found.  What may have been done is repeated only when repeating is harmless. */
#include "service/call.h"

#include "service/private.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>

enum {
    PAUSE_US = 30000,
    HOPS_MAX = 4 /* between two pauses */,
    CHANGES_MARGIN_US = 10000000,
    RESULT_SMALL = 16 << 10 /* not counted */
};

/* An operation in the hands of a local replica. */
struct local {
    struct store_work work;
    hf_task task;
    struct store_call *call;
};

static void decide(struct store_call *call);

/* ---- Ending and waiting --------------------------------------------------------------------------------------- */

static void finish(struct store_call *call)
{
    store_routing_release(call->routing);
    call->routing = NULL;
    call->finished(call);
}

static void link_call(struct store_shard *shard, struct store_call *call)
{
    call->next = shard->calls;
    call->link = &shard->calls;
    if (call->next)
        call->next->link = &call->next;
    shard->calls = call;
}

static void unlink_call(struct store_call *call)
{
    *call->link = call->next;
    if (call->next)
        call->next->link = call->link;
    call->next = NULL;
    call->link = NULL;
}

/* Nothing more can be tried before the deadline. */
static void give_up(struct store_call *call)
{
    struct store_op *op = &call->op;

    if (call->unknown) {
        op->code = HF_ETIMEOUT;
        hf_error_set(&op->error, HF_ETIMEOUT,
                     "the outcome of the write is not known; repeat it with the same idempotency key");
    } else if (op->code == HF_OK || op->code == HF_ETIMEOUT || op->code == HF_EIO || op->code == HF_ECLOSED) {
        op->code = HF_ENOTLEADER;
        hf_error_set(&op->error, HF_ENOTLEADER, "no node that could answer was reached in time");
    }
    finish(call);
}

static void pause_call(struct store_call *call)
{
    struct store_shard *shard = store_shard_current(call->service);
    uint64_t now = call->service->loops->now_us(call->loop);

    if (now + PAUSE_US >= call->op.deadline_us || call->service->draining) {
        give_up(call);
        return;
    }
    call->attempts = 0;
    call->target = 0;
    call->turn++;
    call->retry_us = now + PAUSE_US;
    link_call(shard, call);
    store_shard_hurry(shard);
}

void store_calls_retry(struct store_shard *shard, uint64_t now_us)
{
    struct store_call *next;

    for (struct store_call *call = shard->calls; call; call = next) {
        next = call->next;
        if (call->retry_us > now_us)
            continue;
        unlink_call(call);
        store_routing_release(call->routing); /* perhaps the partition is elsewhere by now */
        call->routing = store_routing_hold(shard->routing);
        decide(call);
    }
}

void store_calls_end(struct store_shard *shard)
{
    while (shard->calls) {
        struct store_call *call = shard->calls;

        unlink_call(call);
        give_up(call);
    }
}

/* ---- Answers -------------------------------------------------------------------------------------------------- */

static void follow_leader(struct store_call *call)
{
    uint32_t leader = call->op.leader;

    if (leader && leader <= call->service->nodes.count && leader != call->target && ++call->attempts < HOPS_MAX) {
        call->target = leader;
        decide(call);
    } else {
        pause_call(call);
    }
}

/* The last look before it is answered: what was read is still what was written, whatever it came through. */
static void check_values(struct store_call *call)
{
    struct store_op *op = &call->op;

    if ((op->type != STORE_OP_GET && op->type != STORE_OP_SCAN) || op->code != HF_OK ||
        store_result_check((hf_slice){op->result.data, op->result.size}) == HF_OK)
        return;
    store_service_log(call->service, HF_LOG_ERROR,
                      "partition %llu: a value was damaged on its way from the replica; it is read again",
                      (unsigned long long)op->partition);
    hf_buffer_done(&op->result);
    op->code = HF_EIO;
}

/* The node that was asked is `call->target`. */
static void answered(struct store_call *call)
{
    struct store_op *op = &call->op;
    int write = op->type == STORE_OP_WRITE;

    check_values(call);
    if (call->only) {
        finish(call);
        return;
    }
    switch (op->code) {
    case HF_ENOTLEADER:
        follow_leader(call);
        break;
    case HF_ECLOSED: /* not done: no link, or the node is ending */
        op->leader = 0;
        pause_call(call);
        break;
    case HF_EIO:
    case HF_ETIMEOUT:
        if (write)
            call->unknown = 1;
        if (write && !call->repeatable)
            give_up(call);
        else
            pause_call(call);
        break;
    case HF_EBUSY: /* this attempt was not done, but one before it may have been */
        if (call->unknown)
            pause_call(call);
        else
            finish(call);
        break;
    default:
        finish(call);
    }
}

/* ---- On this node --------------------------------------------------------------------------------------------- */

static void local_answer(hf_task *task)
{
    struct local *local = (struct local *)((char *)task - offsetof(struct local, task));
    struct store_call *call = local->call;

    free(local);
    answered(call);
}

static void local_done(struct store_work *work)
{
    struct local *local = (struct local *)(void *)work;

    local->task.run = local_answer;
    if (work->op->code == HF_OK && local->call->loop == store_shard_of(local->call->service, work->op->partition)->loop)
        local_answer(&local->task); /* what failed may come back at once, and the replica is in the midst of a list */
    else
        local->call->service->loops->post(local->call->loop, &local->task);
}

static void local_execute(hf_task *task)
{
    struct local *local = (struct local *)((char *)task - offsetof(struct local, task));
    struct store_call *call = local->call;
    struct store_shard *shard = store_shard_of(call->service, call->op.partition);
    struct store_replica *replica = store_shard_replica(shard, call->op.partition);

    if (replica) {
        store_replica_execute(replica, &local->work);
        return;
    }
    call->op.code = HF_ECLOSED; /* being made, or gone already */
    local_done(&local->work);
}

static void ask_here(struct store_call *call)
{
    const struct store_shard *shard = store_shard_of(call->service, call->op.partition);
    struct local *local = malloc(sizeof *local);

    if (!local) {
        call->op.code = HF_EBUSY;
        hf_error_set(&call->op.error, HF_EBUSY, "no memory for the request");
        finish(call);
        return;
    }
    *local = (struct local){.work = {.op = &call->op, .done = local_done}, .task.run = local_execute, .call = call};
    if (shard->loop == call->loop)
        local_execute(&local->task);
    else
        call->service->loops->post(shard->loop, &local->task);
}

/* ---- On another node ------------------------------------------------------------------------------------------ */

/* What the other node has read is older by the time that its answer took. */
static void add_age(struct store_call *call)
{
    uint64_t way_ms = (call->service->environment.clock_us() - call->asked_us) / 1000 + 1;
    uint64_t age_ms = call->op.age_ms + way_ms;

    call->op.age_ms = age_ms < STORE_AGE_UNKNOWN ? (uint32_t)age_ms : STORE_AGE_UNKNOWN;
}

/* What came is here already: it counts, room or not, and others are refused for it. */
static void count_result(struct store_call *call)
{
    struct store_admission *admission = &call->service->admission;
    struct store_op *op = &call->op;

    if (!op->client || op->result.size <= RESULT_SMALL)
        return;
    op->held_in = &admission->results;
    op->held_by = admission->shares;
    store_op_held_is(op, op->result.size, call->asked_us);
}

static void remote_done(void *arg, int32_t code, hf_slice response)
{
    struct store_call *call = arg;
    struct store_op *op = &call->op;

    op->code = code;
    hf_buffer_init(&op->result, HF_PEER_MESSAGE_MAX);
    if (code == HF_OK && store_op_read_answer(response, op) != HF_OK) {
        op->code = HF_EIO; /* it was understood there and has maybe been done */
        hf_error_set(&op->error, HF_EIO, "the answer of the other node could not be read");
    } else if (code != HF_OK) {
        hf_error_set(&op->error, code, "the other node did not answer");
    }
    if (op->stale)
        add_age(call);
    count_result(call);
    answered(call);
}

static void ask_there(struct store_call *call)
{
    struct store_service *service = call->service;
    uint64_t now = service->loops->now_us(call->loop);
    hf_buffer request;
    hf_slice piece;

    hf_buffer_init(&request, HF_PEER_MESSAGE_MAX);
    if (store_op_write_request(&request, &call->op, now) != HF_OK) {
        hf_buffer_done(&request);
        call->op.code = HF_EBUSY;
        hf_error_set(&call->op.error, HF_EBUSY, "no memory for the request");
        finish(call);
        return;
    }
    call->asked_us = now;
    piece = (hf_slice){request.data, request.size};
    service->peers->call(service->calls, call->target - 1, &piece, 1, call->op.deadline_us - now, remote_done, call);
    hf_buffer_done(&request);
}

/* ---- The way -------------------------------------------------------------------------------------------------- */

/* Any replica will do: one here is the nearest, and knows the leader. */
static uint32_t choose(const struct store_call *call, const struct store_partition *partition)
{
    uint32_t self = call->service->nodes.self;

    for (uint32_t i = 0; i < partition->member_count && call->turn % 2 == 0; i++)
        if (partition->members[i] == self) {
            uint32_t leader = call->op.stale ? 0 : store_service_leader(call->service, partition->id);

            return leader ? leader : self + 1;
        }
    return partition->members[(call->turn / 2) % partition->member_count] + 1;
}

static void decide(struct store_call *call)
{
    const struct store_routed *routed = store_routing_partition(call->routing, call->op.partition);

    if (!routed) {
        call->op.code = HF_ENOTFOUND;
        hf_error_set(&call->op.error, HF_ENOTFOUND, "there is no partition %llu",
                     (unsigned long long)call->op.partition);
        finish(call);
        return;
    }
    /* A node that is kept out has no part in the others' answers either, though not all of them may know it yet. */
    if (atomic_load(&call->service->out) || call->service->loops->now_us(call->loop) >= call->op.deadline_us) {
        give_up(call);
        return;
    }
    if (!call->target)
        call->target = call->only ? call->only : choose(call, routed->partition);
    store_op_done(&call->op);
    call->op.code = HF_OK;
    call->op.leader = 0;
    call->op.more = 0;
    if (call->target == call->service->nodes.self + 1)
        ask_here(call);
    else
        ask_there(call);
}

static void begin(hf_task *task)
{
    struct store_call *call = (struct store_call *)((char *)task - offsetof(struct store_call, task));

    decide(call);
}

void store_call_start(struct store_service *service, struct store_call *call)
{
    struct store_shard *shard = store_shard_current(service);

    call->service = service;
    call->loop = shard->loop;
    call->target = 0;
    call->turn = 0;
    call->attempts = 0;
    call->unknown = call->was_unknown;
    call->routing = store_routing_hold(shard->routing);
    if (call->op.type == STORE_OP_CHANGES) /* its wait is not a delay */
        call->op.deadline_us += (uint64_t)call->op.wait_ms * 1000 + CHANGES_MARGIN_US;
    call->task.run = begin;
    service->loops->post(call->loop, &call->task);
}
