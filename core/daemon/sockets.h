/* daemon/sockets.h: the sockets of a process's plugins (hf.listen/1), which the supervisor holds for the successor.
 * [main] */
#ifndef HOLDFAST_CORE_DAEMON_SOCKETS_H
#define HOLDFAST_CORE_DAEMON_SOCKETS_H

#include "process/process.h"

typedef struct hf_sockets hf_sockets;

/* Begins with what the supervisor has held for this process, if there is one.  HF_EINVAL and HF_EIO: it did not hand
 * over what it says; HF_ENOMEM. */
int32_t hf_sockets_create(hf_sockets **ret_sockets, hf_error *error);

/* Descriptors that were opened here belong to those who asked for them.  Accepts NULL. */
void hf_sockets_destroy(hf_sockets *sockets);

/* What plugins reach through their hosts; borrows `sockets`. */
hf_process_listen hf_sockets_listen(hf_sockets *sockets);

/* All services have started: what a predecessor left and nobody has asked for is closed, and the supervisor is told
 * that this process does its work. */
void hf_sockets_ready(hf_sockets *sockets);

#endif
