/* ring.h: servers' points on a ring of 2^64 places, for consistent hashing.
 *
 * Karger et al., "Consistent Hashing and Random Trees" (STOC 1997), with points by weight as in libketama: a key is
 * given to the server of the first point at or behind it.  The ring depends on the names and present weights of the
 * servers alone, however they came about: all loops and nodes have the same one. */
#ifndef HOLDFAST_KETAMA_RING_H
#define HOLDFAST_KETAMA_RING_H

#include <holdfast/kind/balancer.h>

/* What points times servers may come to: memory, and the time that making a ring takes, grow with it. */
enum { KETAMA_POINTS_TOTAL_MAX = 1 << 20 };

struct ketama_point {
    uint64_t place;
    uint32_t server;
    uint32_t number; /* in the server's own sequence of points */
};

struct ketama_server {
    uint64_t identity; /* hash of its name */
    uint32_t weight;
    uint32_t points; /* it has the first so many of its sequence */
};

struct ketama_ring {
    uint32_t server_count;
    uint32_t points_option; /* for a server of the weight `unit` */
    uint64_t weights;       /* all servers' together */
    uint64_t unit;
    uint32_t point_count;
    struct ketama_point *points; /* by place */
    struct ketama_point *spare;  /* room for as many, for sorting: a change of weight takes no memory */
    struct ketama_server *servers;
};

/* How many points a ring may have at any weights. */
uint64_t ketama_capacity(uint32_t server_count, uint32_t points_option);

/* Makes the ring; the memory behind points, spare (ketama_capacity each) and servers (server_count) is there. */
void ketama_fill(struct ketama_ring *ring, const hf_balancer_server *servers, uint32_t server_count,
                 uint32_t points_option);

/* The server's weight changes.  Points of other servers stay, unless the average weight leaves the range of the ring's
 * unit; then all are placed anew. */
void ketama_weigh(struct ketama_ring *ring, uint32_t server, uint32_t weight);

/* The first point at or behind the place; behind the last one comes the first. */
uint32_t ketama_find(const struct ketama_ring *ring, uint64_t place);

#endif
