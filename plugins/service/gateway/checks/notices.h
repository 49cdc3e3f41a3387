/* notices.h: says when servers and breakers change: a line in the log, and a signal that is raised and cleared.
 * [main]
 *
 * What has changed is found by looking every moment, not where it happens: requests find out on their workers, many at
 * the same time, and have other things to do.  What was over within a moment is not told. */
#ifndef GATEWAY_NOTICES_H
#define GATEWAY_NOTICES_H

#include "upstream/upstream.h"

#include <holdfast/host/signal.h>

struct gateway_notices {
    const hf_host *host;
    const hf_signal_interface *signals; /* NULL: the host has none */
};

/* Declares the signals.  HF_EINVAL, HF_ENOMEM. */
int32_t gateway_notices_init(struct gateway_notices *notices, const hf_host *host, hf_error *error);

/* Tells what has changed since the last look. */
void gateway_notices_look(struct gateway_notices *notices, struct gateway_server_set *set, uint64_t now_us);

/* `set` takes the place of `before`; NULL: the upstream has gone.  What was said of servers that are in it no more is
 * over. */
void gateway_notices_follow(struct gateway_notices *notices, const struct gateway_server_set *before,
                            const struct gateway_server_set *set);

#endif
