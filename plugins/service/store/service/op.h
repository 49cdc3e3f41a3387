/* op.h: one operation on one partition, on its way to the replica that can answer it, and back. */
#ifndef STORE_OP_H
#define STORE_OP_H

#include <holdfast/host/loop.h>
#include <holdfast/lib/buffer.h>
#include <holdfast/lib/gate.h>

struct store_payload;

#define STORE_AGE_UNKNOWN UINT32_MAX

enum {
    STORE_OP_WRITE = 1,
    STORE_OP_GET = 2,
    STORE_OP_SCAN = 3,
    STORE_OP_CHANGES = 4,
    STORE_OP_MEMBERS = 5,
    STORE_OP_SHAPE = 6
};

enum {
    STORE_SCAN_RECORDS_MAX = 10000,
    STORE_SCAN_BYTES_MAX = 8 << 20,     /* a page ends behind the record that passes it */
    STORE_CHANGES_BYTES_MAX = 256 << 10 /* likewise; a stream may hold a page of every partition */
};

/* Request and answer.  Slices of the request are valid until the answer. */
struct store_op {
    int32_t type;  /* STORE_OP_... */
    int32_t stale; /* reads, 1: what the replica has will do; 0: linearizable */
    uint64_t partition;
    uint64_t deadline_us; /* monotonic */
    uint64_t client;      /* for whom, a number; 0: the store itself, which is never refused for want of room */

    hf_slice command;            /* WRITE: an encoded store_command; time and horizons are set by the leader */
    hf_slice key;                /* GET; SCAN: the prefix */
    hf_slice start;              /* SCAN: the first key */
    uint64_t from;               /* CHANGES: the first version; 0: the oldest that is kept */
    uint32_t limit;              /* SCAN, CHANGES: records, 1..STORE_SCAN_RECORDS_MAX */
    uint32_t wait_ms;            /* stale CHANGES: how long to wait when there is none yet */
    uint64_t hash_from, hash_to; /* SCAN, CHANGES: the range that the partition has as far as who asks knows; SCAN gives
                                    the keys in it */

    int32_t code;     /* 0; HF_ENOTFOUND: no such record; HF_ECONFLICT: a condition did not hold; HF_ENOTLEADER: nobody
                         leads, nothing was done; HF_EBUSY: overload, nothing was done; HF_ETIMEOUT: a write's outcome
                         is unknown; HF_ECLOSED: shutting down, nothing was done; HF_EMOVED: what was asked for is another
                         partition's by now, nothing was done; others: see the message */
    uint32_t leader;  /* with HF_ENOTLEADER: node + 1 that is said to lead; 0: unknown */
    uint64_t version; /* WRITE: as struct store_outcome; CHANGES: the version to go on with; with HF_ENOTFOUND the
                         oldest kept; MEMBERS: the log's index up to which everything was acknowledged */
    uint64_t operation; /* WRITE with HF_ECONFLICT: which one */
    int32_t more;       /* SCAN: 1: the page is full and there may be more */
    uint32_t age_ms;    /* stale reads: everything acknowledged before that is seen; STORE_AGE_UNKNOWN: not known */
    hf_buffer result;   /* records or changes, see store_result_...; MEMBERS: of each replica its id 8 and learner 1;
                         SHAPE: a   store_shape_row */
    hf_error error;

    hf_gate *held_in; /* where `held` bytes of the result count */
    hf_shares *held_by;
    uint64_t held;
};

/* Lets bytes of the result count in the gate, until store_op_done.  HF_EBUSY: there is no room. */
int32_t store_op_hold(struct store_op *op, hf_gate *gate, hf_shares *shares, uint64_t bytes, uint64_t now_us);
/* It turned out to be as many; room or not. */
void store_op_held_is(struct store_op *op, uint64_t bytes, uint64_t now_us);
/* Frees the result. */
void store_op_done(struct store_op *op);

/* A record of a GET (without its key) or SCAN. */
struct store_row {
    hf_slice key;
    uint64_t version;
    uint64_t time_us;
    uint32_t checksum;
    hf_slice value;
};

/* A change of CHANGES. */
struct store_feed_row {
    uint64_t version;
    uint64_t time_us;
    int32_t type; /* STORE_PUT, STORE_DELETE or STORE_EXPIRE */
    int32_t superseded;
    hf_slice key;
    hf_slice value;
};

/* What SHAPE tells of a replica's partition; see machine/machine.h: struct store_shape. */
struct store_shape_row {
    int32_t state; /* STORE_SHAPE_... */
    int32_t has_strays;
    int32_t is_forked; /* 1: this replica has copied what a split under way takes away */
    uint64_t epoch, other, hash_from, hash_to, changed;
    uint64_t applied, version; /* of the machine */
    uint64_t transactions;     /* that it has part in, or remembers */
    uint64_t bytes, rate;      /* about: what it takes, and operations per second lately, of a leader */
};

/* Append a row to a result, all or nothing.  Errors as hf_buffer_append; HF_ETOOLARGE also for a key or value over its
 * limit; HF_EINVAL: a change that cannot be, such as a delete with a value. */
int32_t store_result_add(hf_buffer *result, const struct store_row *row);
int32_t store_result_add_change(hf_buffer *result, const struct store_feed_row *row);

int32_t store_result_add_shape(hf_buffer *result, const struct store_shape_row *row);

/* HF_ECORRUPT. */
int32_t store_result_shape(hf_slice result, struct store_shape_row *ret_row);

/* Take the next row from `rest`; slices point into it.  0: the end; 1: a row; HF_ECORRUPT: `rest` is as it was, and
 * what is in *ret_row is of no use. */
int32_t store_result_next(hf_slice *rest, struct store_row *ret_row);
int32_t store_result_next_change(hf_slice *rest, struct store_feed_row *ret_row);

/* Whether the values of a result of GET or SCAN are what their checksums say.  HF_ECORRUPT. */
int32_t store_result_check(hf_slice result);

/* The request as bytes for another node, and back (slices point into the bytes).  `now_us` and the deadline travel as
 * the time that is left.  Writing: errors as hf_buffer_append, and HF_EINVAL: not a request (type, no command, a key's
 * size, limit).  Reading sets the request's fields and zeroes all others; HF_EPROTOCOL, and *ret_op is untouched. */
int32_t store_op_write_request(hf_buffer *buffer, const struct store_op *op, uint64_t now_us);
int32_t store_op_read_request(hf_slice bytes, uint64_t now_us, struct store_op *ret_op);

/* The answer likewise; reading copies into op->result, which has been begun, in place of what is there, and leaves the
 * request's fields alone.  After HF_EPROTOCOL the op is as it was; errors also as hf_buffer_append. */
int32_t store_op_write_answer(hf_buffer *buffer, const struct store_op *op);
int32_t store_op_read_answer(hf_slice bytes, struct store_op *op);

#endif
