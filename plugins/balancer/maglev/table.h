/* table.h: the lookup table of Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer" (NSDI
 * 2016, section 3.4).
 *
 * Every server has an order of its own in which it likes the entries, a permutation that its name alone makes; in turn
 * they take the first that is still free.  The table depends on the names and weights alone, wherever they stand in the
 * list: all loops and nodes have the same one. */
#ifndef HOLDFAST_MAGLEV_TABLE_H
#define HOLDFAST_MAGLEV_TABLE_H

#include <holdfast/kind/balancer.h>

enum { MAGLEV_SIZE_LEAST = 251, MAGLEV_SIZE_MOST = 655373 }; /* both are prime */

/* What is known of a server while the table is made. */
struct maglev_contender {
    uint64_t identity; /* hash of its name */
    uint32_t server;
    uint32_t weight;
    uint32_t position; /* the entry that it likes next */
    uint32_t skip;     /* from there to the one after */
    uint32_t share;    /* entries that it gets */
    uint32_t due;      /* share, gathered once a round, less a round's worth for each entry taken */
};

int32_t maglev_is_prime(int64_t number);

/* Gives every entry to a server: each gets one, and of the others a share by its weight, exact but for rounding. `size`
 * is prime and at least server_count; `contenders` has room for server_count of them. */
void maglev_fill(uint16_t *table, uint32_t size, const hf_balancer_server *servers, uint32_t server_count,
                 struct maglev_contender *contenders);

#endif
