/* daemon/recheck.h: checks a configuration in a process of its own, so that no plugin is loaded into the supervisor. */
#ifndef HOLDFAST_CORE_DAEMON_RECHECK_H
#define HOLDFAST_CORE_DAEMON_RECHECK_H

#include <holdfast/host/loop.h>

typedef struct hf_recheck hf_recheck;

/* `good`: the configuration is right.  Otherwise `lines` says what is wrong, one line each, at least one. */
typedef void (*hf_recheck_done)(void *arg, int good, const char *lines);

/* Runs "PROGRAM --check --config PATH", with "--handover HANDOVER" if that is not NULL, and calls done(arg) on the
 * loop, after which the recheck is gone. HF_EIO, HF_ENOMEM.  [main] */
int32_t hf_recheck_start(hf_loop *loop, const char *program, const char *path, const char *handover,
                         hf_recheck_done done, void *arg, hf_recheck **ret_recheck, hf_error *error);

/* Ends one that is under way, without calling `done`.  Accepts NULL.  [main] */
void hf_recheck_cancel(hf_recheck *recheck);

#endif
