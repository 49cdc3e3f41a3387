/* loop.h: an event loop on libevent that owns what it runs; see <holdfast/host/loop.h> for the words.
 *
 * Functions are tagged [loop] (the loop's own thread, or any thread while it does not run) or [any]. */
#ifndef HOLDFAST_CORE_LOOP_H
#define HOLDFAST_CORE_LOOP_H

#include "urgency.h"

#include <holdfast/host/loop.h>

/* Creates a loop; `name` (copied, cut to 15 bytes) becomes the thread's name.  HF_ENOMEM, HF_EIO. */
int32_t hf_loop_create(const char *name, hf_loop **ret_loop, hf_error *error);

/* Frees the loop; it must not be running.  Tasks still queued are run first, so that nobody waits for ever. */
void hf_loop_destroy(hf_loop *loop);

/* Runs on the calling thread until hf_loop_stop.  [loop] */
void hf_loop_run(hf_loop *loop);

/* Makes hf_loop_run return after the present wake-up.  [any] */
void hf_loop_stop(hf_loop *loop);

/* Runs the loop on a thread of its own, and waits for it to end. */
int32_t hf_loop_thread_start(hf_loop *loop, hf_urgency urgency, hf_error *error);
void hf_loop_thread_join(hf_loop *loop);

/* The loop that the calling thread runs, or NULL.  [any] */
hf_loop *hf_loop_current(void);

void hf_loop_post(hf_loop *loop, hf_task *task); /* [any] */
uint64_t hf_loop_now_us(hf_loop *loop);          /* [loop] */

/* Monotonic microseconds, read now.  [any] */
uint64_t hf_clock_us(void);

/* Longest time that one wake-up has taken, in microseconds, since the last call of this function.  [any] */
uint64_t hf_loop_take_longest_stall_us(hf_loop *loop);

int32_t hf_timer_create(hf_loop *loop, hf_timer_function function, void *arg, hf_timer **ret_timer, hf_error *error);
void hf_timer_start(hf_timer *timer, uint64_t delay_us, uint64_t period_us);
void hf_timer_stop(hf_timer *timer);
void hf_timer_destroy(hf_timer *timer);

int32_t hf_watch_create(hf_loop *loop, int32_t fd, uint32_t events, hf_watch_function function, void *arg,
                        hf_watch **ret_watch, hf_error *error);
int32_t hf_watch_change(hf_watch *watch, uint32_t events, hf_error *error);
void hf_watch_destroy(hf_watch *watch);

#endif
