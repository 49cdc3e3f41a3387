/* listener.h: a listener of service/probe: says the process's number to everybody who connects or sends a datagram. */
#ifndef HOLDFAST_CORE_DAEMON_TESTS_LISTENER_H
#define HOLDFAST_CORE_DAEMON_TESTS_LISTENER_H

#include <holdfast/host/listen.h>

typedef struct listener listener;

/* Opens one socket per worker at `address` (copied).  What `open` returns; HF_EUNSUPPORTED.  [main] */
int32_t listener_open(const hf_host *host, int32_t type, const char *address, listener **ret_listener, hf_error *error);

/* Ends it; `forget`: nobody is to listen there any more.  Accepts NULL.  [main] */
void listener_close(listener *listener, int32_t forget);

#endif
