/* child.h: starting one process with exactly the descriptors and environment that it shall have. */
#ifndef HOLDFAST_CORE_SUPERVISOR_CHILD_H
#define HOLDFAST_CORE_SUPERVISOR_CHILD_H

#include <holdfast/holdfast.h>

typedef struct hf_child_start {
    const char *const *argv; /* NULL-terminated; argv[0] is the program */
    const int32_t *listeners;
    uint32_t listener_count;
    int32_t blackbox_fd;
    int32_t channel_fd; /* the child's end */
    const int32_t *held;
    uint32_t held_count;
    const char *death; /* what HF_DEATH_ENVIRONMENT says; NULL: none */
} hf_child_start;

/* Starts a program: the listeners become descriptors 3, 4, ..., then come the black box, the channel and what is held;
 * everything else but standard input, output and error is closed.  The child dies with its parent (SIGTERM).  Returns
 * its pid and a descriptor that becomes readable at its end.  HF_EIO: it could not be started; the message has the
 * system's words for the failed exec, too.  [main] */
int32_t hf_child_spawn(const hf_child_start *start, int32_t *ret_pid, int32_t *ret_pid_fd, hf_error *error);

/* A descriptor that becomes readable at the end of a child that has not been reaped yet.  HF_EIO.  [main] */
int32_t hf_child_watch(int32_t pid, int32_t *ret_pid_fd, hf_error *error);

/* Takes the exit status of a child that has ended and says the cause in words.  Returns 1 if it ended by itself with
 * code 0, else 0. */
int32_t hf_child_reap(int32_t pid, char *cause, uint64_t capacity);

#endif
