/* child.h: starting one process with exactly the descriptors and environment that it shall have. */
#ifndef HOLDFAST_CORE_SUPERVISOR_CHILD_H
#define HOLDFAST_CORE_SUPERVISOR_CHILD_H

#include <holdfast/holdfast.h>

/* Starts argv[0] (NULL-terminated): the listeners become descriptors 3, 4, ..., `blackbox_fd` the one after them;
 * everything else but standard input, output and error is closed.  `death` (NULL: none) is what HF_DEATH_ENVIRONMENT
 * says.  The child dies with its parent (SIGTERM).  Returns
 * its pid and a descriptor that becomes readable at its end.  HF_EIO: it could not be started; the message has the
 * system's words for the failed exec, too.  [main] */
int32_t hf_child_spawn(const char *const *argv, const int32_t *listeners, uint32_t listener_count, int32_t blackbox_fd,
                       const char *death, int32_t *ret_pid, int32_t *ret_pid_fd, hf_error *error);

/* Takes the exit status of a child that has ended and says the cause in words.  Returns 1 if it ended by itself with
 * code 0, else 0. */
int32_t hf_child_reap(int32_t pid, char *cause, uint64_t capacity);

#endif
