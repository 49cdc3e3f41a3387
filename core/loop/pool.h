/* pool.h: background threads of lower priority for what would block a loop: disk, look-ups, heavy computing. */
#ifndef HOLDFAST_CORE_POOL_H
#define HOLDFAST_CORE_POOL_H

#include "urgency.h"

#include <holdfast/host/loop.h>

typedef struct hf_pool hf_pool;

/* Starts `thread_count` threads (1..256) of that urgency, called `name` (borrowed), that take jobs in order; at most
 * `queue_limit` wait. */
int32_t hf_pool_create(const char *name, hf_urgency urgency, uint32_t thread_count, uint32_t queue_limit,
                       hf_pool **ret_pool, hf_error *error);

/* Hands a job over; `work` runs on a pool thread, then `done` is posted to job->loop.  HF_EBUSY: the queue is full,
 * and the job stays the caller's.  HF_ECLOSED: the pool is being destroyed.  [any] */
int32_t hf_pool_submit(hf_pool *pool, hf_job *job, hf_error *error);

/* Waits until every accepted job's work has run and its `done` was posted, then ends the threads.  Accepts NULL. */
void hf_pool_destroy(hf_pool *pool);

#endif
