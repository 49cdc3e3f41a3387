/* choose.h: which server of a set gets a request, a connection or a flow of datagrams, and what its balancer learns of
 * how that went.  [loop] */
#ifndef GATEWAY_CHOOSE_H
#define GATEWAY_CHOOSE_H

#include "upstream/upstream.h"

struct gateway_choice {
    struct gateway_server_set *set;
    struct gateway_usable *usable; /* of the worker, for this set; NULL: it has a newer set already */
    uint32_t worker;               /* index */
    const uint64_t *tried;         /* bits by place */
    int32_t has_key;
    uint64_t key;
    uint64_t now_us;
};

/* Whether the set's balancer wants a key. */
int32_t gateway_choice_is_keyed(const struct gateway_server_set *set);

/* Picks a server that is well, has room, and was not tried yet; backups when there is no other.  0: none can be picked;
 * *ret_full says whether some are only without room. */
int32_t gateway_choose(const struct gateway_choice *choice, uint32_t *ret_place, int32_t *ret_full);

/* Picks one of those whose bits are set, whatever else is known of them. */
int32_t gateway_choose_from(const struct gateway_choice *choice, const uint64_t *bits, uint32_t *ret_place);

/* The balancer learns how it went; `outcome` is GATEWAY_.... */
void gateway_choice_learn(const struct gateway_server_set *set, uint32_t worker, uint32_t place, int32_t outcome,
                          uint64_t picked_us, uint64_t now_us);

#endif
