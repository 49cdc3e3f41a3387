/* call.h: carries an operation to the replica that can answer it, on this node or another, and tries again as long as
 * that is safe and the deadline allows. */
#ifndef STORE_CALL_H
#define STORE_CALL_H

#include "service/op.h"
#include "table/table.h"

struct store_service;

/* Embedded by the caller, who fills in `op`'s request, `repeatable` and `finished`, and zeroes the rest. */
struct store_call {
    struct store_op op;
    int32_t repeatable;  /* 1: a write with an idempotency key: try again also when the outcome is unknown */
    int32_t was_unknown; /* 1: a call before this one, of the same write, may have been carried out */
    uint32_t only;       /* node + 1 that alone is asked, and once; 0: whoever can answer, as often as it takes */
    void (*finished)(struct store_call *call); /* on the loop of store_call_start, once; never before it returned */

    /* The call's own. */
    struct store_service *service;
    hf_task task;
    hf_loop *loop;
    struct store_call *next, **link; /* in the shard's list of waiting calls */
    uint64_t retry_us;
    uint64_t asked_us; /* when the node that is being asked was */
    uint32_t attempts;
    uint32_t target; /* node + 1 to ask next; 0: find out */
    uint32_t turn;   /* of asking members in turn */
    int32_t unknown; /* 1: an attempt may have been carried out */
    struct store_routing *routing;
};

/* Begins.  op.result need not be initialised; the caller ends it with hf_buffer_done.  [worker loops] */
void store_call_start(struct store_service *service, struct store_call *call);

/* One partition's part in a transaction. */
struct store_part {
    uint64_t partition;
    hf_slice command; /* encoded; only the first part's may have an idempotency key */
    uint64_t version; /* of what it wrote; 0: not known */
};

/* All parts or none, by two-phase commit (machine/phase.h).  The first part's partition is the home; with an
 * idempotency key it must be the same whenever the transaction is repeated.
 *
 * done(arg, verdict) is called once, on the calling loop, maybe before this returns.  Its code: 0: all is done, and
 * `repeated` tells whether it had been before; HF_ECONFLICT: the condition of `operation` of part `part` did not hold;
 * HF_EBUSY: other transactions were in the way until the deadline, nothing was done; HF_ENOTLEADER: likewise,
 * partitions were not reached; HF_ETIMEOUT: the outcome is not known.  The parts and commands are the caller's and must
 * stay until then.  [worker loops] */
struct store_verdict {
    int32_t code;
    int32_t repeated;
    uint32_t part;
    uint64_t operation, version; /* with HF_ECONFLICT: the record's present version */
    hf_error error;
};
typedef void (*store_transact_done)(void *arg, const struct store_verdict *verdict);
void store_service_transact(struct store_service *service, struct store_part *parts, uint32_t count,
                            uint64_t deadline_us, uint64_t client, store_transact_done done, void *arg);

/* What the HTTP interface needs besides calls. ------------------------------------------------------------------- */

/* The present routing, borrowed until the loop's next turn; hold it to keep it.  [worker loops] */
struct store_routing *store_service_routing(struct store_service *service);

const struct store_nodes *store_service_nodes(const struct store_service *service);
const char *store_service_cluster(const struct store_service *service);
const hf_host *store_service_host(const struct store_service *service);

/* Version of the configuration, for commands. */
uint64_t store_service_configuration(const struct store_service *service);

/* Declares a table in the catalog: finished(arg, code, error) on the calling loop; 0, HF_EEXIST (there with another
 * declaration), HF_EALREADY is not used: the same declaration again is 0 with *existed 1; else as a call.  The
 * declaration is copied.  [worker loops] */
typedef void (*store_create_done)(void *arg, int32_t code, int32_t existed, const hf_error *error);
void store_service_create_table(struct store_service *service, const struct store_declaration *declaration,
                                store_create_done done, void *arg);

/* Asks the catalog for a table that this node's routing does not have, linearizably: 0 once the routing has it;
 * HF_ENOTFOUND: there is none; else as a call.  [worker loops] */
void store_service_find_table(struct store_service *service, hf_slice name, uint64_t timeout_us, store_create_done done,
                              void *arg);

/* What this node knows of one of its replicas; written by the owner's loop, read by any. */
struct store_replica_info {
    int32_t present; /* 0: this node has no replica of the partition */
    int32_t role;    /* HF_ROLE_... */
    int32_t failed;  /* 1: it stopped on an error; see the log */
    int32_t damaged; /* 1: it has damaged data, which is being repaired */
    int32_t moving;  /* of a leader, 1: its group's members are changing */
    uint32_t leader; /* node + 1, 0: unknown */
    uint64_t term;
    uint64_t commit;
    uint64_t applied;
    uint64_t bytes;      /* about */
    uint64_t checked_us; /* since 1970: when it was last looked through for damage; 0: not since the start */
};
void store_service_replica_info(struct store_service *service, uint64_t partition, struct store_replica_info *ret_info);

/* Asks the local leader of the partition to hand over to `node`: 0, HF_ENOTLEADER, HF_ENOTFOUND, HF_EINVAL (not a
 * member).  done(arg, code, error) on the calling loop.  [worker loops] */
typedef void (*store_transfer_done)(void *arg, int32_t code, const hf_error *error);
void store_service_transfer(struct store_service *service, uint64_t partition, uint32_t node, store_transfer_done done,
                            void *arg);

/* Changes what the cluster makes of a node.  HF_ECONFLICT: not in its present state, see the message, or somebody else
 * was faster; else as a call.  done(arg, code, error) on the calling loop, maybe before this returns.  [worker loops]
 */
enum { STORE_NODE_ADD = 0, STORE_NODE_DRAIN = 1, STORE_NODE_REMOVE = 2, STORE_NODE_REPLACE = 3 };
int32_t store_node_action(hf_slice name); /* HF_EINVAL */
void store_service_node_change(struct store_service *service, uint32_t node, int32_t action,
                               void (*done)(void *arg, int32_t code, const hf_error *error), void *arg);

/* What would be done about a cluster that lost its majority when the nodes in `dead` (bit per node) are lost for good:
 * done(arg, code, plan as JSON, error) on the calling loop, maybe before this returns.  HF_EINVAL; HF_ENOTFOUND:
 * nothing is to be done; HF_ECONFLICT: a node is not dead, or one more must be; HF_EBUSY: soon.  [worker loops] */
typedef void (*store_recover_done)(void *arg, int32_t code, hf_slice plan, const hf_error *error);
void store_service_recover_plan(struct store_service *service, uint32_t dead, store_recover_done done, void *arg);

/* Carries out a plan as it was given above: likewise, with the plan again when everything leads.  Errors also:
 * HF_ECONFLICT: something is not as it was then; HF_EBUSY, HF_ETIMEOUT: it may be done in part, and another plan goes
 * on from there. */
void store_service_recover(struct store_service *service, hf_slice plan, const char *actor, store_recover_done done,
                           void *arg);

/* Asks that the partition be split in the middle, or merged with its upper neighbour.  HF_ENOTFOUND: no such partition;
 * HF_ECONFLICT: it is being split or merged, it is the last of its value, or it is too narrow; else as a call.
 * done(arg, code, error) on the calling loop, maybe before this returns.  [worker loops] */
void store_service_reshape(struct store_service *service, uint64_t partition, int32_t merge,
                           void (*done)(void *arg, int32_t code, const hf_error *error), void *arg);

/* Whether the link to the node is up, as seen by the calling loop.  [worker loops] */
int32_t store_service_node_up(struct store_service *service, uint32_t node);

/* A sentence when the node is there and kept out, else "".  [worker loops] */
void store_service_stranger(struct store_service *service, uint32_t node, char *text, uint64_t capacity);

/* A sentence when the node cannot serve fully, else ""; HF_HEALTH_...  [any] */
int32_t store_service_problem(struct store_service *service, char *text, uint64_t capacity);

#endif
