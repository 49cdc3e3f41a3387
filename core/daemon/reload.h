/* daemon/reload.h: the configuration in force in a process, and how another one takes its place.
 *
 * Generations are kept until the end: instances and requests borrow from them. */
#ifndef HOLDFAST_CORE_DAEMON_RELOAD_H
#define HOLDFAST_CORE_DAEMON_RELOAD_H

#include "config/diff.h"
#include "daemon/instances.h"
#include "daemon/tokens.h"

typedef struct hf_reload hf_reload;

typedef struct hf_reload_settings {
    const char *path; /* of the configuration; like all of these borrowed until the end */
    const hf_plugins *plugins;
    hf_process *process;
    hf_instances *instances;
    hf_tokens *tokens;
} hf_reload_settings;

typedef struct hf_reload_outcome {
    int32_t result;                     /* 0; HF_EINVAL and others: refused, see `problems`; nothing has changed then */
    uint64_t version;                   /* in force now */
    const hf_config_problems *problems; /* every one */
    const hf_config_diff *diff;         /* to the configuration before; NULL: nothing was applied */
} hf_reload_outcome;

typedef void (*hf_reload_done)(void *arg, const hf_reload_outcome *outcome);

/* Begins with `generation`, which is taken when this succeeds.  HF_ENOMEM.  [main] */
int32_t hf_reload_create(const hf_reload_settings *settings, hf_config_generation *generation, hf_reload **ret_reload,
                         hf_error *error);

/* Nothing is under way, and nobody borrows from a generation.  Accepts NULL. */
void hf_reload_destroy(hf_reload *reload);

/* Reads the file in the background, checks all of it, and applies what differs; calls done(arg) on the main loop, if
 * it is not NULL.  HF_EBUSY: one is under way; it then runs again, unless `done` was given.  [main] */
int32_t hf_reload_start(hf_reload *reload, hf_reload_done done, void *arg, hf_error *error);

/* Refuses what is under way and what is still to come.  [main] */
void hf_reload_close(hf_reload *reload);
/* 1 while one is under way.  [main] */
int hf_reload_busy(const hf_reload *reload);

uint64_t hf_reload_version(const hf_reload *reload);                       /* [any] */
const hf_config_generation *hf_reload_generation(const hf_reload *reload); /* [main] */

/* Differences to what the process was started with, or NULL: those that need a restart are not in force.  [main] */
const hf_config_diff *hf_reload_pending(const hf_reload *reload);

/* Whether to tell people of a change; `reloadable` selects those that a reload applies, or those that need a restart.
 * A section that came or went with nothing but defaults is none. */
int hf_reload_tells(const hf_config_change *change, int reloadable);

#endif
