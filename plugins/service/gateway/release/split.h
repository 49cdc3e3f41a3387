/* split.h: which requests a release gets, on the workers: each reads a snapshot that never changes, and counts for
 * itself; the main loop fetches the counts, and brings the next snapshot. */
#ifndef GATEWAY_SPLIT_H
#define GATEWAY_SPLIT_H

#include "release/record.h"
#include "route/key.h"
#include "upstream/upstream.h"

struct gateway_exchange;

/* A release that is under way, or has been promoted. */
struct gateway_split_item {
    uint32_t id;
    uint32_t slot;                            /* where it is counted */
    struct gateway_upstream *stable, *canary; /* held */
    char key_text[GATEWAY_RELEASE_NAME_SIZE];
    struct gateway_key key;     /* of `key_text` */
    struct gateway_canary test; /* as far as it says who gets what */
    struct gateway_canary_rules rules;
    uint64_t slow_us;
};

struct gateway_split {
    atomic_uint references;
    uint32_t count;
    struct gateway_split_item items[GATEWAY_RELEASES_MAX];
};

/* Requests that have ended since the main loop last looked. */
struct gateway_split_counts {
    uint32_t id; /* of the release */
    struct gateway_canary_count versions[GATEWAY_VERSIONS];
};

/* What a worker has of it.  [loop] */
struct gateway_split_seat {
    struct gateway_split *split;                              /* held; NULL: there is no release */
    struct gateway_split_counts counts[GATEWAY_RELEASES_MAX]; /* by slot */
};

void gateway_split_hold(struct gateway_split *split);
void gateway_split_release(struct gateway_split *split); /* accepts NULL; [any] */

/* Puts another snapshot in the place of the worker's, which it returns, and takes the counts.  [loop] */
struct gateway_split *gateway_split_exchange(struct gateway_split_seat *seat, struct gateway_split *next,
                                             struct gateway_split_counts *ret_counts);

/* The upstream that a request for `upstream` goes to, which the exchange remembers.  [loop] */
uint32_t gateway_split_choose(struct gateway_exchange *exchange, uint32_t upstream);

/* The exchange is over.  [loop] */
void gateway_split_count(struct gateway_exchange *exchange);

/* By what the release of an upstream knows its users; NULL: it has none.  [loop] */
const struct gateway_key *gateway_split_key(const struct gateway_split_seat *seat,
                                            const struct gateway_upstream *upstream);

#endif
