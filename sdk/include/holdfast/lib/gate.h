/* lib/gate.h: who may still come into something bounded, such as a queue or memory; fairly; and when to come again.
 *
 * A gate counts what is inside, in items and bytes, and refuses what would be too much.  It measures how fast what is
 * inside leaves while it is never empty, and tells from that how long the rest will take.
 *
 * Shares keep one client from taking everything: each may have at most so much that a fixed part of it is still free.
 * With a share of half, one that floods gets half, two get a third each, and so on; whoever comes then still finds
 * room.  Who has what is counted in a table of fixed size by the hash of a key, without a list of clients: clients that
 * fall on one place of it, which is rare, count as one.
 *
 * Nothing allocates after hf_shares_create, nothing locks, and no clock is read.  Pure; [any] unless it says
 * otherwise. */
#ifndef HOLDFAST_LIB_GATE_H
#define HOLDFAST_LIB_GATE_H

#include <holdfast/holdfast.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a gate can count; more is taken for this. */
#define HF_GATE_ITEMS_MAX (UINT64_C(1) << 22)
#define HF_GATE_BYTES_MAX (UINT64_C(1) << 38)

typedef struct hf_gate_limits {
    uint64_t items, bytes;
    uint64_t share; /* percent that one client may have when no other is there; 100: everything */
} hf_gate_limits;

/* Begun with zeroes and `limits`, which are borrowed and may change at any time; the rest is the gate's own. */
typedef struct hf_gate {
    const hf_gate_limits *limits;
    uint64_t entered, left; /* ever, items and bytes in one number */
    uint64_t busy_us;       /* since when it has not been empty */
    uint64_t window_us, window_left;
    uint64_t item_rate, byte_rate; /* per 1000 s; of what was measured last */
    uint64_t measured;             /* 0: nothing yet */
    uint64_t refused;
} hf_gate;

/* Why not. */
enum { HF_GATE_FULL = 1, HF_GATE_SHARE = 2 };

typedef struct hf_shares hf_shares;

/* The seed keeps others from choosing keys that fall together.  NULL: no memory. */
hf_shares *hf_shares_create(uint64_t seed);
void hf_shares_destroy(hf_shares *shares); /* accepts NULL */

/* Takes items and bytes in: 0, or HF_GATE_...: nothing was taken.  `shares` NULL: `key` has no say.  The same key may
 * mean different clients at different gates when it is made of both. */
int32_t hf_gate_enter(hf_gate *gate, hf_shares *shares, uint64_t key, uint64_t items, uint64_t bytes, uint64_t now_us);

/* The same whatever the limits say. */
void hf_gate_force(hf_gate *gate, hf_shares *shares, uint64_t key, uint64_t items, uint64_t bytes, uint64_t now_us);

/* What came in leaves, with the same shares and key; a part of it at a time if need be. */
void hf_gate_leave(hf_gate *gate, hf_shares *shares, uint64_t key, uint64_t items, uint64_t bytes);

uint64_t hf_gate_items(const hf_gate *gate);
uint64_t hf_gate_bytes(const hf_gate *gate);

/* Looks how fast things leave; every 100 ms or so.  [one thread at a time] */
void hf_gate_measure(hf_gate *gate, uint64_t now_us);

/* How long until what is inside now will have left; UINT64_MAX: nothing leaves; as long as it has been busy while
 * nothing was measured yet. */
uint64_t hf_gate_wait_us(const hf_gate *gate, uint64_t now_us);

/* When somebody who was refused should come again: in about the time that what is inside needs, within the limits, and
 * spread so that those who were refused together do not come back together. */
uint64_t hf_gate_retry_after_ms(hf_gate *gate, uint64_t now_us, uint64_t minimum_ms, uint64_t maximum_ms);

#ifdef __cplusplus
}
#endif
#endif
