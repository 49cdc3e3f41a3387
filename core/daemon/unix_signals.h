/* daemon/unix_signals.h: the process's signals as events of its main loop. */
#ifndef HOLDFAST_CORE_DAEMON_UNIX_SIGNALS_H
#define HOLDFAST_CORE_DAEMON_UNIX_SIGNALS_H

#include <holdfast/host/loop.h>

typedef struct hf_unix_signals hf_unix_signals;

/* Holds back SIGTERM, SIGINT, SIGHUP and SIGUSR2 for this thread and those that it starts, and ignores SIGPIPE.  First
 * thing in main: what comes before would end the process. */
int32_t hf_unix_signals_block(hf_error *error);

/* Calls function(arg, number) on the loop for each.  HF_EIO, HF_ENOMEM.  [main] */
int32_t hf_unix_signals_watch(hf_loop *loop, void (*function)(void *arg, int32_t number), void *arg,
                              hf_unix_signals **ret_signals, hf_error *error);

/* Accepts NULL.  [main] */
void hf_unix_signals_destroy(hf_unix_signals *signals);

#endif
