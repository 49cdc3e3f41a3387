/* snapshot.h: requests on the channel of snapshots, big endian: version 1, kind 1, partition 8, session 8; then with
 * BEGIN index 8, term 8, member count 1 and for each member replica 8 and learner 1; with DATA the bytes.  Each is
 * answered with a code.  Several DATA may be under way, in order; BEGIN and COMMIT are alone.  WANT comes from a
 * replica that has something damaged, whose id stands in place of the session. */
#ifndef STORE_SNAPSHOT_H
#define STORE_SNAPSHOT_H

#include "machine.h"

#include <holdfast/host/peer.h>

enum { STORE_SNAPSHOT_VERSION = 1, STORE_SNAPSHOT_HEAD_SIZE = 1 + 1 + 8 + 8 };
enum { STORE_SNAPSHOT_BEGIN = 1, STORE_SNAPSHOT_DATA = 2, STORE_SNAPSHOT_COMMIT = 3, STORE_SNAPSHOT_WANT = 4 };
enum { STORE_SNAPSHOT_PIECES_MAX = 8 /* DATA under way */ };
enum { STORE_SNAPSHOT_BEGIN_MAX = STORE_SNAPSHOT_HEAD_SIZE + 17 + STORE_MEMBERS_MAX * 9 };

struct store_snapshot_request {
    int32_t kind;
    uint64_t partition;
    uint64_t session;                 /* of the sender's choice, not 0 */
    struct store_machine_state state; /* BEGIN: applied index and term, members */
    hf_slice bytes;                   /* DATA */
};

/* Writes everything but DATA's bytes; returns the size. */
uint64_t store_snapshot_write(uint8_t to[STORE_SNAPSHOT_BEGIN_MAX], const struct store_snapshot_request *request);
/* HF_EPROTOCOL. */
int32_t store_snapshot_read(hf_slice bytes, struct store_snapshot_request *ret_request);

/* A request that has arrived. */
struct store_snapshot_arrived {
    struct store_snapshot_arrived *next; /* of its owner's */
    hf_peer_request *peer;               /* to be answered */
    uint32_t node;                       /* which sent it */
    struct store_snapshot_request request;
    uint8_t bytes[]; /* into which the request points */
};

/* Reads and keeps a copy of the bytes; the caller frees it.  HF_EPROTOCOL, HF_ENOMEM. */
int32_t store_snapshot_arrived_create(hf_slice bytes, struct store_snapshot_arrived **ret_arrived);

#endif
