/* daemon/listen.h: listening sockets. */
#ifndef HOLDFAST_CORE_DAEMON_LISTEN_H
#define HOLDFAST_CORE_DAEMON_LISTEN_H

#include <holdfast/holdfast.h>

/* Opens `count` listening, non-blocking sockets on "host:port", "[v6]:port" or "unix:PATH" (then all the same one), so
 * that the kernel spreads connections over them.  HF_EINVAL: not an address; HF_EIO: the system refused, with what to
 * do.  Look-ups block: start-up only. */
int32_t hf_listen(const char *address, uint32_t count, int32_t *ret_descriptors, hf_error *error);

#endif
