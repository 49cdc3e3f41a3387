/* peer/peer.h: the links between this node and the others; see <holdfast/host/peer.h> for the words and README.md for
 * the protocol and the threads. */
#ifndef HOLDFAST_CORE_PEER_PEER_H
#define HOLDFAST_CORE_PEER_PEER_H

#include <holdfast/host/peer.h>

typedef struct hf_peers hf_peers;
typedef struct hf_pool hf_pool;
typedef struct hf_metrics hf_metrics;

enum { HF_PEER_NODES_MAX = 64, HF_PEER_CHANNELS_MAX = 16, HF_PEER_CHANNEL_NAME_MAX = 31 };

typedef struct hf_peer_member {
    const char *name;
    const char *address; /* "host:port" */
    const char *zone;    /* what fails together; "": not said */
} hf_peer_member;

/* All is borrowed until hf_peers_destroy. */
typedef struct hf_peers_settings {
    hf_loop *main;
    hf_loop *const *workers;
    uint32_t worker_count;
    hf_loop *bulk;
    hf_pool *pool; /* for looking up names */
    const char *cluster;
    const char *self; /* this node's name */
    const hf_peer_member *members;
    uint32_t member_count;
    const char *certificates; /* folder */
    int32_t listener;         /* bound, listening and non-blocking; stays the caller's */
    uint64_t queue_limit;     /* bytes that may wait for one link */
    hf_metrics *metrics;
} hf_peers_settings;

/* Checks everything and reads the certificates; nothing is dialled yet.  HF_EINVAL: the node is not a member, names
 * twice; HF_EIO and others: the certificates; HF_ENOMEM.  [main] */
int32_t hf_peers_create(const hf_peers_settings *settings, hf_peers **ret_peers, hf_error *error);

/* Begins to accept and to dial.  Before the loops run, or while they do.  [main] */
int32_t hf_peers_start(hf_peers *peers, hf_error *error);

/* Closes all links, ends the calls under way with HF_EIO (their outcome is unknown), and calls done(arg) on the main
 * loop.  [main] */
void hf_peers_stop(hf_peers *peers, void (*done)(void *arg), void *arg);

/* It was stopped, or its loops do not run any more.  Accepts NULL.  [main] */
void hf_peers_destroy(hf_peers *peers);

/* What hf_peer_interface offers. */
uint32_t hf_peers_node_count(const hf_peers *peers);
uint32_t hf_peers_self(const hf_peers *peers);
const char *hf_peers_node_name(const hf_peers *peers, uint32_t node);
const char *hf_peers_node_zone(const hf_peers *peers, uint32_t node);
int32_t hf_peers_channel(hf_peers *peers, const char *name, const hf_peer_handlers *handlers, void *arg,
                         hf_peer_channel **ret_channel, hf_error *error);
int32_t hf_peers_send(hf_peer_channel *channel, uint32_t node, const hf_slice *pieces, uint32_t count);
void hf_peers_call(hf_peer_channel *channel, uint32_t node, const hf_slice *pieces, uint32_t count, uint64_t timeout_us,
                   hf_peer_done done, void *arg);
void hf_peers_call_bulk(hf_peer_channel *channel, uint32_t node, const hf_slice *pieces, uint32_t count,
                        uint64_t timeout_us, hf_peer_done done, void *arg);
void hf_peers_respond(hf_peer_request *request, int32_t code, hf_slice response);
int32_t hf_peers_is_up(hf_peer_channel *channel, uint32_t node);

#endif
