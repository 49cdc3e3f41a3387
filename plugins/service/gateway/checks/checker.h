/* checker.h: asks servers whether they are well, one checker for all upstreams of a process.  [main]
 *
 * A server is asked by one check at a time, on its own: one that hangs keeps no other waiting.  Checks begin at times
 * that chance has spread, and not more than GATEWAY_CHECKS_BEGUN at once, so that thousands of servers are not asked in
 * one burst. */
#ifndef GATEWAY_CHECKER_H
#define GATEWAY_CHECKER_H

#include "checks/kind.h"
#include "upstream/upstream.h"

#include <holdfast/host/loop.h>
#include <holdfast/host/node.h>

enum {
    GATEWAY_CHECKS_BEGUN = 64, /* in a tick of the wheel, which is 20 ms */
    GATEWAY_CHECKS_MAX = 4096  /* under way; others wait */
};

struct gateway_checker;

/* HF_ENOMEM. */
int32_t gateway_checker_create(const hf_host *host, const hf_loop_interface *loops, const hf_node_interface *node,
                               struct gateway_checker **ret_checker, hf_error *error);

/* Ends what is under way.  Accepts NULL. */
void gateway_checker_destroy(struct gateway_checker *checker);

/* From now on the servers of this set are checked, as it says, in place of those of the upstream's set before; NULL:
 * the upstream has gone.  A server that is at other addresses than before is asked at once.  Where there is no memory
 * for a check, it is missing until the next change, which is logged. */
void gateway_checker_follow(struct gateway_checker *checker, struct gateway_upstream *upstream,
                            struct gateway_server_set *set);

#endif
