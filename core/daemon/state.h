/* daemon/state.h: the state directory, which belongs to one node. */
#ifndef HOLDFAST_CORE_DAEMON_STATE_H
#define HOLDFAST_CORE_DAEMON_STATE_H

#include <holdfast/holdfast.h>

/* Makes the folder and its parents where they are missing, for this user only.  HF_EIO.  [main] */
int32_t hf_state_make(const char *directory, hf_error *error);

/* Takes DIRECTORY/NAME for as long as the process lives or the descriptor is open.  HF_EBUSY: another process has it,
 * and the message says what to do; HF_EIO.  [main] */
int32_t hf_state_lock(const char *directory, const char *name, int32_t *ret_fd, hf_error *error);

#endif
