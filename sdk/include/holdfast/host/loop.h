/* host/loop.h: threads, timers and file descriptors: host->query(host, "hf.loop/1").
 *
 * A process has one main loop and some worker loops, one thread each, and one loop for bulk transfers between nodes
 * (see host/peer.h), whose thread gives way to theirs.  Whatever belongs to a loop is touched only on
 * its thread; other threads post tasks to it.  Nothing that runs on a loop may block or take longer than 100 us: such
 * work goes to the background pool, and its result comes back as a task.
 *
 * Changes
 *   1.0  first version
 */
#ifndef HOLDFAST_HOST_LOOP_H
#define HOLDFAST_HOST_LOOP_H

#include <holdfast/holdfast.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HF_LOOP_INTERFACE "hf.loop/1"

typedef struct hf_loop hf_loop;
typedef struct hf_timer hf_timer;
typedef struct hf_watch hf_watch;

/* A message to a loop.  It lives inside the sender's own object, so posting allocates nothing and cannot fail.  From
 * hf_loop_post until `run` is called it belongs to the loop; `run` may free it or post it again. */
typedef struct hf_task {
    struct hf_task *next; /* the loop's own */
    void (*run)(struct hf_task *task);
} hf_task;

/* Work for the background pool, embedded like a task.  `work` runs on a pool thread, then `done` on the loop. */
typedef struct hf_job {
    hf_task task; /* the pool's own */
    hf_loop *loop;
    void (*work)(struct hf_job *job);
    void (*done)(struct hf_job *job);
} hf_job;

enum { HF_WATCH_READ = 1, HF_WATCH_WRITE = 2 };

typedef void (*hf_timer_function)(void *arg);
typedef void (*hf_watch_function)(void *arg, int32_t fd, uint32_t events);

typedef struct hf_loop_interface {
    hf_head head;

    /* The loops of this process; worker index counts from 0.  `current` is NULL on a thread without a loop. [any] */
    hf_loop *(*main_loop)(const hf_host *host);
    uint32_t (*worker_count)(const hf_host *host);
    hf_loop *(*worker)(const hf_host *host, uint32_t index);
    hf_loop *(*current)(const hf_host *host);

    /* Runs the task on the loop, after those posted before by the same thread. [any] */
    void (*post)(hf_loop *loop, hf_task *task);

    /* Hands work to the pool.  HF_EBUSY: its queue is full; nothing was taken. [any] */
    int32_t (*submit)(const hf_host *host, hf_job *job, hf_error *error);

    /* Monotonic microseconds, read when the loop woke: cheap, and the same for all that one wake-up handles. [loop] */
    uint64_t (*now_us)(hf_loop *loop);

    /* A timer is idle until started; it fires once, or every `period_us` when that is not 0.  Starting it again sets
     * it anew.  All on the loop's own thread; destroy accepts NULL. [loop] */
    int32_t (*timer_create)(hf_loop *loop, hf_timer_function function, void *arg, hf_timer **ret_timer,
                            hf_error *error);
    void (*timer_start)(hf_timer *timer, uint64_t delay_us, uint64_t period_us);
    void (*timer_stop)(hf_timer *timer);
    void (*timer_destroy)(hf_timer *timer);

    /* Calls `function` whenever the descriptor is ready for one of `events` (level triggered).  The descriptor stays
     * the caller's, who destroys the watch before closing it. [loop] */
    int32_t (*watch_create)(hf_loop *loop, int32_t fd, uint32_t events, hf_watch_function function, void *arg,
                            hf_watch **ret_watch, hf_error *error);
    int32_t (*watch_change)(hf_watch *watch, uint32_t events, hf_error *error);
    void (*watch_destroy)(hf_watch *watch);

    /* Like submit, for work that only has to be done and that nobody waits for: copying, counting, checking.  It has
     * threads of its own, as many as the pool has, which give way to all others of the process: a job must not keep a
     * lock that requests need, and one that takes long keeps other bulk work waiting.  [any] */
    int32_t (*submit_bulk)(const hf_host *host, hf_job *job, hf_error *error);
} hf_loop_interface;

#ifdef __cplusplus
}
#endif
#endif
