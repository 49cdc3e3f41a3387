/* daemon/handover.h: a supervisor that executes a program, perhaps a newer one, over itself: same process, so that it
 * stays the children's parent and whoever started it sees no change.  [main] */
#ifndef HOLDFAST_CORE_DAEMON_HANDOVER_H
#define HOLDFAST_CORE_DAEMON_HANDOVER_H

#include "supervisor/supervisor.h"

/* Of the state that is handed over.  A program that cannot read the running one's says so in
 * "holdfastd --check --handover VERSION", before anything is done. */
#define HF_HANDOVER_VERSION "1"

/* HF_EVERSION: this program cannot go on from a state of that version; the message says what to do. */
int32_t hf_handover_check(const char *version, hf_error *error);

typedef struct hf_handover_parts {
    const char *program; /* absolute path */
    char **arguments;    /* as the present program was started */
    const char *state_directory;
    int32_t lock_fd; /* of the state directory */
    const hf_supervisor *supervisor;
} hf_handover_parts;

/* Executes the program.  Returns only when that failed, HF_EIO or HF_ENOMEM, and nothing has changed. */
int32_t hf_handover_execute(const hf_handover_parts *parts, hf_error *error);

typedef struct hf_handover {
    hf_arena arena;
    hf_value state; /* null: nothing was handed over */
} hf_handover;

/* Reads what was handed over to this process.  HF_ENOTFOUND: nothing was; HF_EVERSION, HF_EINVAL, HF_EIO, HF_ENOMEM. */
int32_t hf_handover_take(hf_handover *ret_handover, hf_error *error);
void hf_handover_done(hf_handover *handover);

/* The lock of the state directory, if it is this one; -1: none.  The caller's. */
int32_t hf_handover_lock(const hf_handover *handover, const char *state_directory);

/* What was saved about the process `name`, or about the one at `index`, for hf_supervisor_adopt; NULL: no such one. */
const hf_value *hf_handover_child(const hf_handover *handover, const char *name);
const hf_value *hf_handover_child_at(const hf_handover *handover, uint64_t index);

#endif
