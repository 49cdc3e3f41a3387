/* The background pool: a bounded queue under one lock, which is never held while a job runs. */
#include "pool.h"

#include "loop.h"

#include <holdfast/lib/error.h>
#include <pthread.h>
#include <stdlib.h>

enum { MOST_THREADS = 256 };

struct hf_pool {
    const char *name;
    hf_urgency urgency;
    pthread_mutex_t lock; /* protects all below; innermost */
    pthread_cond_t wanted;
    hf_task *first, **end;
    uint32_t waiting, queue_limit, thread_count;
    int closing;
    pthread_t threads[MOST_THREADS];
};

/* A job's task serves first as its place in the queue, then as the message that brings it back. */
static hf_job *job_of(hf_task *task)
{
    return (hf_job *)(void *)((char *)task - offsetof(hf_job, task));
}

static void run_done(hf_task *task)
{
    hf_job *job = job_of(task);

    job->done(job);
}

static hf_job *take(hf_pool *pool)
{
    hf_task *task = NULL;

    pthread_mutex_lock(&pool->lock);
    while (!pool->first && !pool->closing)
        pthread_cond_wait(&pool->wanted, &pool->lock);
    if (pool->first) {
        task = pool->first;
        pool->first = task->next;
        if (!pool->first)
            pool->end = &pool->first;
        pool->waiting--;
    }
    pthread_mutex_unlock(&pool->lock);
    return task ? job_of(task) : NULL;
}

static void *pool_thread(void *arg)
{
    hf_pool *pool = arg;
    hf_job *job;

    (void)pthread_setname_np(pthread_self(), pool->name);
    hf_urgency_set(pool->urgency);
    while ((job = take(pool))) {
        job->work(job);
        job->task.run = run_done;
        hf_loop_post(job->loop, &job->task);
    }
    return NULL;
}

int32_t hf_pool_create(const char *name, hf_urgency urgency, uint32_t thread_count, uint32_t queue_limit,
                       hf_pool **ret_pool, hf_error *error)
{
    if (thread_count < 1 || thread_count > MOST_THREADS)
        return hf_error_set(error, HF_EINVAL, "%u pool threads, expected 1 to %d", thread_count, MOST_THREADS);

    hf_pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return hf_error_set(error, HF_ENOMEM, "no memory for the background pool");
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wanted, NULL);
    pool->name = name;
    pool->urgency = urgency;
    pool->end = &pool->first;
    pool->queue_limit = queue_limit;
    for (; pool->thread_count < thread_count; pool->thread_count++) {
        int result = pthread_create(&pool->threads[pool->thread_count], NULL, pool_thread, pool);
        if (result) {
            hf_pool_destroy(pool);
            return hf_error_set_errno(error, HF_EIO, result, "cannot start a thread of the background pool");
        }
    }
    *ret_pool = pool;
    return 0;
}

int32_t hf_pool_submit(hf_pool *pool, hf_job *job, hf_error *error)
{
    int32_t result = 0;

    pthread_mutex_lock(&pool->lock);
    if (pool->closing) {
        result = hf_error_set(error, HF_ECLOSED, "the background pool is shutting down");
    } else if (pool->waiting >= pool->queue_limit) {
        result =
            hf_error_set(error, HF_EBUSY, "%u jobs wait for the background pool, no more are taken", pool->waiting);
    } else {
        job->task.next = NULL;
        *pool->end = &job->task;
        pool->end = &job->task.next;
        pool->waiting++;
        pthread_cond_signal(&pool->wanted);
    }
    pthread_mutex_unlock(&pool->lock);
    return result;
}

void hf_pool_destroy(hf_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->closing = 1;
    pthread_cond_broadcast(&pool->wanted);
    pthread_mutex_unlock(&pool->lock);
    for (uint32_t i = 0; i < pool->thread_count; i++)
        pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->wanted);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}
