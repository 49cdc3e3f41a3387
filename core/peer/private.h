/* peer/private.h: between the files of the peer links. */
#ifndef HOLDFAST_CORE_PEER_PRIVATE_H
#define HOLDFAST_CORE_PEER_PRIVATE_H

#include "context.h"
#include "loop.h"
#include "metrics.h"
#include "peer/frame.h"
#include "pool.h"

#include <holdfast/lib/hash.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

enum { HOLDS_US = 1500000 }; /* a living link is not silent for so long: it pings every PING_US */
enum { TICK_US = 200000, PING_US = 1000000, SILENCE_US = 3000000, BACKOFF_LEAST_US = 50000, BACKOFF_MOST_US = 1000000 };
enum {
    STRANGERS_MAX = 256,
    INCOMING_REQUESTS_MAX = 4096,
    CALL_BUCKETS = 256,
    NO_NODE = UINT32_MAX,
    BULK_LANE = UINT16_MAX, /* its number in a hello; those of workers count from 0 */
    PEER_COMPLAINTS_MAX = 16
};

typedef struct peer_link peer_link;
typedef struct peer_lane peer_lane;

/* A call that waits for its response. */
typedef struct peer_call {
    hf_task task; /* completes it in a turn of its own when it could not be sent */
    struct peer_call *next;
    uint64_t id;
    uint64_t deadline_us;
    int32_t code;
    hf_peer_done done;
    void *arg;
} peer_call;

enum { LINK_CONNECTING, LINK_HANDSHAKE, LINK_HELLO, LINK_UP, LINK_CLOSED };

/* One connection.  It belongs to one loop; an accepted one moves to its lane's after the hello. */
struct peer_link {
    hf_peers *peers;
    peer_lane *lane;
    peer_link *next, **link; /* in its lane's list */
    uint32_t references;     /* tasks and requests that still look at it, and one while it is open */
    uint32_t node;           /* NO_NODE: not known yet; of an accepted one: what its certificate says */
    uint32_t sender_lane;    /* of an accepted one: the dialler's number for it */
    uint64_t run;            /* of an accepted one: its process; 0: it did not say */
    int dialled;
    int state;
    int counted; /* among the strangers */
    int fd;
    char from[48]; /* address of an accepted one; without the port, which would make each complaint another */
    SSL *ssl;
    hf_watch *watch;
    uint32_t watched;
    int write_blocked; /* TLS waits for the socket to take bytes */
    hf_buffer in;
    hf_buffer out;
    hf_task flush_task;
    int flush_posted;
    peer_lane *moving; /* after its hello: where it goes on */
    hf_task move_task;
    uint64_t heard_us;
    uint64_t sent_us;
    uint64_t next_id;
    peer_call *calls[CALL_BUCKETS];
    uint32_t call_count;
    uint32_t incoming;     /* requests not answered */
    int32_t channels[256]; /* the other side's numbers to ours; -1: unknown */
    char reason[300];      /* why it is refused, where that is not a constant */
};

/* What one loop dials for one node. */
typedef struct peer_dialler {
    peer_lane *lane;
    uint32_t node;
    peer_link *link; /* NULL: none */
    uint64_t retry_us;
    uint64_t backoff_us;
    int resolving;
    hf_job job; /* looks up the address */
    struct peer_address *address;
} peer_dialler;

struct peer_lane {
    hf_peers *peers;
    uint32_t number; /* of the worker, or BULK_LANE */
    hf_loop *loop;
    hf_timer *timer;
    hf_random random;
    peer_link *links;
    peer_dialler diallers[HF_PEER_NODES_MAX];
    hf_task start_task, stop_task;
    int stopping;
    int running;
};

struct hf_peer_channel {
    hf_peers *peers;
    uint32_t number;
    char name[HF_PEER_CHANNEL_NAME_MAX + 1];
    hf_peer_handlers handlers;
    void *arg;
};

struct hf_peer_request {
    hf_task task;
    peer_link *link;
    uint64_t id;
    int32_t code;
    hf_buffer response;
};

/* What has been logged about one node in the present window of time, as hashes of the texts. */
typedef struct peer_complaints {
    uint64_t begun_us;
    uint32_t count;
    uint64_t hashes[PEER_COMPLAINTS_MAX];
} peer_complaints;

/* The process that has a node's name, as accepted links say. */
typedef struct peer_holder {
    uint64_t run; /* 0: nobody */
    uint32_t links;
    char from[48];
    _Atomic uint64_t heard_us;
} peer_holder;

struct hf_peers {
    hf_peers_settings settings;
    uint32_t self;
    uint64_t run; /* of this process */
    pthread_mutex_t holders_lock;
    peer_holder holders[HF_PEER_NODES_MAX];
    uint64_t members_hash;
    SSL_CTX *server, *client;
    hf_watch *listener;
    uint32_t next_lane;         /* for accepted connections */
    _Atomic uint32_t strangers; /* accepted connections that are not welcome yet */
    uint32_t channel_count;
    hf_peer_channel channels[HF_PEER_CHANNELS_MAX];
    peer_lane *lanes; /* of the workers, and the bulk loop's */
    uint32_t lane_count;
    pthread_mutex_t complaints_lock;
    peer_complaints complaints[HF_PEER_NODES_MAX + 1]; /* about each node, and about strangers */
    _Atomic uint32_t up[HF_PEER_NODES_MAX];
    hf_metric *sent_messages, *received_messages, *sent_bytes, *received_bytes, *reconnects;
    hf_metric *link_up[HF_PEER_NODES_MAX];
    _Atomic uint32_t lanes_left;
    hf_task stopped_task;
    void (*stopped)(void *arg);
    void *stopped_arg;
};

/* The link is not, or no longer, among the strangers. */
void peer_link_uncount(peer_link *link);

/* link.c: a connection's bytes.  [its loop] */
int32_t peer_link_open(peer_lane *lane, int fd, int dialled, uint32_t node, peer_link **ret_link);
void peer_link_close(peer_link *link, const char *why);
void peer_link_release(peer_link *link);
/* Something was appended to `out`: it goes out at the end of the turn. */
void peer_link_flush_soon(peer_link *link);

/* protocol.c: what the frames mean.  [the link's loop] */
void peer_link_begin(peer_link *link); /* the handshake is done */
/* 0, or a code with which the link is closed. */
int32_t peer_link_frame(peer_link *link, const hf_frame *frame, const char **ret_why);
/* An accepted link has arrived at its loop. */
void peer_link_welcome(peer_link *link);
/* An accepted link has ended, and its process may have. */
void peer_link_unhold(peer_link *link);
/* A dialled link was lost that had been up. */
void peer_link_lost(peer_link *link);

/* call.c */
void peer_calls_expire(peer_link *link, uint64_t now_us);
void peer_calls_end(peer_link *link, int32_t code);
void peer_call_answered(peer_link *link, const hf_frame *frame);

/* dial.c */
void peer_dial_due(peer_lane *lane, uint64_t now_us);
void peer_dial_lost(peer_lane *lane, uint32_t node);
void peer_dial_free(peer_lane *lane);

/* complain.c: warnings about a node, or about strangers (NO_NODE): each text once in 10 s, and not many of them. */
void peer_complain(hf_peers *peers, uint32_t node, const char *format, ...) HF_PRINTF(3, 4);
void peer_describe_address(const struct sockaddr_storage *address, char *text, uint32_t capacity);
/* Why the link is about to be closed. */
void peer_complain_of_link(peer_link *link, const char *why);

#endif
