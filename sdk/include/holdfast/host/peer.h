/* host/peer.h: messages to the other nodes of the cluster: host->query(host, "hf.peer/1").
 *
 * Nodes are numbered by their place in the configured member list, which is the same on all nodes.  Links are mutual
 * TLS; every worker loop has its own link (lane) to every node, and so has the bulk loop, for what is large and not
 * urgent.  What is sent on one loop to one node arrives in order or not at all; a lost link loses what was under way,
 * and the sender learns of it through `link`.
 *
 * Changes
 *   1.0  first version
 */
#ifndef HOLDFAST_HOST_PEER_H
#define HOLDFAST_HOST_PEER_H

#include <holdfast/host/loop.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HF_PEER_INTERFACE "hf.peer/1"

#define HF_PEER_MESSAGE_MAX (32u * 1024 * 1024) /* bytes in one message, request or response */

typedef struct hf_peer_channel hf_peer_channel;
typedef struct hf_peer_request hf_peer_request;

/* What a channel does with what arrives; slices are borrowed for the call.  All on a worker loop, any of them, or, for
 * the requests of call_bulk, on the bulk loop: what belongs elsewhere is posted on. */
typedef struct hf_peer_handlers {
    uint32_t size; /* sizeof(hf_peer_handlers) */
    uint32_t reserved;

    /* A message of `node`.  NULL: messages are refused. */
    void (*message)(void *arg, uint32_t node, hf_slice bytes);

    /* A request of `node`, to be answered exactly once through `respond`, from any loop.  NULL: requests are answered
     * with HF_EUNSUPPORTED. */
    void (*request)(void *arg, uint32_t node, hf_peer_request *request, hf_slice bytes);

    /* This loop's link to `node` has come up (1) or was lost (0).  Called on each worker loop for its own link.  May
     * be NULL. */
    void (*link)(void *arg, uint32_t node, int32_t up);
} hf_peer_handlers;

/* The response to a call: code 0 and the response, or why there is none: HF_EBUSY (not sent), HF_ECLOSED (no link;
 * not sent), HF_EIO (the link was lost after sending: the outcome is unknown), HF_ETIMEOUT (likewise), or what the
 * other side answered.  Slices are borrowed for the call. */
typedef void (*hf_peer_done)(void *arg, int32_t code, hf_slice response);

typedef struct hf_peer_interface {
    hf_head head;

    /* Number of nodes in the cluster, and this node's own number.  [any] */
    uint32_t (*node_count)(const hf_host *host);
    uint32_t (*self)(const hf_host *host);

    /* The node's name, static; NULL behind the last.  [any] */
    const char *(*node_name)(const hf_host *host, uint32_t node);

    /* Opens the channel `name` ([a-z.]+, the same on all nodes).  Once, before the process's loops run.
     * HF_EEXIST, HF_EINVAL, HF_ENOMEM.  [main] */
    int32_t (*channel)(const hf_host *host, const char *name, const hf_peer_handlers *handlers, void *arg,
                       hf_peer_channel **ret_channel, hf_error *error);

    /* Sends a message made of `count` pieces, which are copied.  HF_ECLOSED: there is no link; HF_EBUSY: too much is
     * waiting (`queue_limit`); HF_ETOOLARGE.  To this node itself: HF_EINVAL.  [worker loops] */
    int32_t (*send)(hf_peer_channel *channel, uint32_t node, const hf_slice *pieces, uint32_t count);

    /* Sends a request; done(arg) is called once, on the same loop, never before `call` has returned, and at the latest
     * `timeout_us` later.  [worker loops] */
    void (*call)(hf_peer_channel *channel, uint32_t node, const hf_slice *pieces, uint32_t count, uint64_t timeout_us,
                 hf_peer_done done, void *arg);

    /* Answers a request: code 0 and the response, or an error code (the response is then empty or says more).  The
     * bytes are copied.  [any] */
    void (*respond)(hf_peer_request *request, int32_t code, hf_slice response);

    /* Whether this loop's link to the node is up.  [worker loops] */
    int32_t (*is_up)(hf_peer_channel *channel, uint32_t node);

    /* The zone that the configuration says the node is in, what fails together; "": not said.  Static; NULL behind the
     * last node.  [any] */
    const char *(*node_zone)(const hf_host *host, uint32_t node);

    /* Like call, through the bulk loops of both nodes: for requests of many bytes, which neither hold up what others
     * send to the node nor take time from this loop.  The pieces are borrowed until `done` is called, on this loop.
     * The bulk loop's requests to one node arrive in order, among themselves.  [worker loops] */
    void (*call_bulk)(hf_peer_channel *channel, uint32_t node, const hf_slice *pieces, uint32_t count,
                      uint64_t timeout_us, hf_peer_done done, void *arg);
} hf_peer_interface;

#ifdef __cplusplus
}
#endif
#endif
