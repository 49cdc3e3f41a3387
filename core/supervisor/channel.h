/* channel.h: what a child tells its supervisor: sockets to hold for the child's successor, and that it is ready.
 *
 * Supervisor and child share a pair of SOCK_SEQPACKET sockets, on which only the child speaks.  A message is one struct
 * of fixed size, and up to HF_CHANNEL_BATCH sockets go with it; the supervisor knows a socket by the cookie that the
 * kernel has given it, and needs no name for it.  Messages only grow by new kinds, which an older supervisor ignores:
 * after an upgrade, or a restart of the supervisor in place, the two may be of different versions. */
#ifndef HOLDFAST_CORE_SUPERVISOR_CHANNEL_H
#define HOLDFAST_CORE_SUPERVISOR_CHANNEL_H

#include <holdfast/holdfast.h>

/* Environment variables of a child: the number of the channel's descriptor, and how many sockets follow it that were
 * held for the child. */
#define HF_CHANNEL_ENVIRONMENT "HOLDFAST_CHANNEL"
#define HF_HELD_ENVIRONMENT    "HOLDFAST_HELD"

enum { HF_HELD_MAX = 1024, HF_CHANNEL_BATCH = 64 };

/* The number by which the kernel knows a socket, whoever has a descriptor of it and as long as it is there; 0 for what
 * is no socket.  [any] */
uint64_t hf_channel_cookie(int32_t fd);

/* ---- Supervisor ---------------------------------------------------------------------------------------------- */

/* Held sockets; a zeroed one is empty. */
typedef struct hf_held {
    int32_t descriptors[HF_HELD_MAX];
    uint64_t cookies[HF_HELD_MAX];
    uint32_t count;
} hf_held;

/* Makes the pair; both are closed by exec.  The supervisor's end never blocks.  HF_EIO.  [main] */
int32_t hf_channel_create(int32_t *ret_own, int32_t *ret_childs, hf_error *error);

/* Takes one message and does what it says; `held` may get `most` sockets.  *ret_ready becomes 1 when the child says
 * that it is.  HF_ENOTFOUND: no message waits; HF_ECLOSED: the child's end is closed; HF_ETOOLARGE: not all of the
 * sockets are held; HF_EPROTOCOL: what came is no message, and no further one should be read.  Never blocks.  [main] */
int32_t hf_channel_receive(int32_t own, hf_held *held, uint32_t most, int32_t *ret_ready, hf_error *error);

/* Adds one, which is taken: closed if it is held already, or no socket that listens or takes datagrams.  HF_EINVAL: the
 * latter; HF_ETOOLARGE: closed, because `most` are held.  [main] */
int32_t hf_held_add(hf_held *held, uint32_t most, int32_t fd);

/* Closes all.  [main] */
void hf_held_clear(hf_held *held);

/* ---- Child --------------------------------------------------------------------------------------------------- */

typedef struct hf_channel {
    int32_t fd;                /* -1: none */
    int32_t held[HF_HELD_MAX]; /* what the supervisor has held; owned by whoever attached */
    uint32_t held_count;
} hf_channel;

/* Finds what the environment says.  HF_ENOTFOUND: there is no supervisor, and `ret_channel` says so; HF_EINVAL, HF_EIO.
 * [main] */
int32_t hf_channel_attach(hf_channel *ret_channel, hf_error *error);

/* Asks the supervisor to hold the sockets, or to close those that it holds.  They stay the caller's.  Both do nothing
 * without a supervisor, and may wait some seconds for one that is busy.  HF_EIO.  [main] */
int32_t hf_channel_hold(const hf_channel *channel, const int32_t *descriptors, uint32_t count, hf_error *error);
int32_t hf_channel_forget(const hf_channel *channel, const int32_t *descriptors, uint32_t count, hf_error *error);

/* Says that this process does its work now.  HF_EIO.  [main] */
int32_t hf_channel_ready(const hf_channel *channel, hf_error *error);

#endif
