/* Memory for what reads have found, until it is handed on: a client that asks for much, and more often than answers can
 * be made of it, is told to come again.  Before a read goes to the pool it is given a little, which most need not
 * exceed; what it found counts from then on.  So all together hold at most the limit, and what the pool's threads just
 * read. */
#include "replica/private.h"

#include <holdfast/lib/error.h>

enum { RESULT_USUAL = 64 << 10, RESULT_SMALL = 16 << 10 /* not counted */ };

static int32_t take(struct store_work *work, uint64_t bytes)
{
    struct store_replica *replica = work->replica;
    struct store_admission *admission = replica->environment->admission;

    return store_op_hold(work->op, &admission->results, admission->shares, bytes, replica->environment->clock_us());
}

int32_t store_work_reserve_result(struct store_work *work)
{
    if (!work->op->client || work->op->held || take(work, RESULT_USUAL) == HF_OK)
        return HF_OK;
    store_work_finish(work, HF_EBUSY, "what other reads have found takes all the memory for it");
    return HF_EBUSY;
}

void store_work_count_result(struct store_work *work)
{
    struct store_op *op = work->op;
    uint64_t bytes = op->result.size > RESULT_SMALL ? op->result.size : 0;

    if (!op->client || bytes == op->held)
        return;
    if (op->held || !bytes) {
        store_op_held_is(op, bytes, work->replica->environment->clock_us());
    } else if (take(work, bytes) != HF_OK) { /* it was read at once, without asking for room */
        hf_buffer_done(&op->result);
        op->code = hf_error_set(&op->error, HF_EBUSY, "what other reads have found takes all the memory for it");
        op->error.retry_after_ms =
            store_queues_retry_after_ms(&work->replica->queues, op, work->replica->environment->clock_us());
    }
}
