/* daemon/listen.h: listening sockets, new ones and those of a predecessor.  [main] */
#ifndef HOLDFAST_CORE_DAEMON_LISTEN_H
#define HOLDFAST_CORE_DAEMON_LISTEN_H

#include <holdfast/host/listen.h>
#include <sys/socket.h>

/* Where a socket is bound, or is to be. */
typedef struct hf_listen_place {
    int32_t type; /* HF_LISTEN_... */
    socklen_t size;
    struct sockaddr_storage address;
} hf_listen_place;

/* Sockets of a predecessor; who opens listeners takes from here first. */
typedef struct hf_listen_pool {
    int32_t *descriptors; /* `count` of them; what is left is its owner's to close */
    uint32_t count;
} hf_listen_pool;

/* Looks the address up, "host:port", "[v6]:port" or "unix:PATH".  HF_EINVAL: not an address, or no such host.  Blocks:
 * start-up and reload only. */
int32_t hf_listen_resolve(int32_t type, const char *address, hf_listen_place *ret_place, hf_error *error);

/* Where a socket is bound.  HF_EINVAL: nowhere. */
int32_t hf_listen_place_of(int32_t fd, hf_listen_place *ret_place);

int hf_listen_same(const hf_listen_place *a, const hf_listen_place *b);

/* Whether both would get some of the same connections: the same, or one is for all addresses of the machine. */
int hf_listen_overlap(const hf_listen_place *a, const hf_listen_place *b);

/* Gives `count` non-blocking sockets, which listen if they are of streams, so that the kernel spreads connections over
 * them; at a path all are the same one.  Takes those that `pool` (NULL: none) has for this place, the fullest first,
 * and opens the others.  `address` is for messages.  HF_EIO: the system refused, with what to do; the pool is as it was
 * then, but for its order. */
int32_t hf_listen_at(const hf_listen_place *place, const char *address, uint32_t count, hf_listen_pool *pool,
                     int32_t *ret_descriptors, hf_error *error);

/* hf_listen_resolve and hf_listen_at. */
int32_t hf_listen(int32_t type, const char *address, uint32_t count, hf_listen_pool *pool, int32_t *ret_descriptors,
                  hf_error *error);

/* Removes the name that sockets at a path leave behind; for other places it does nothing. */
void hf_listen_remove_name(const hf_listen_place *place);

#endif
