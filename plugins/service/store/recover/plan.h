/* plan.h: what the nodes that are left have, and how a cluster that lost its majority for good goes on from that.
 * Pure; [any].
 *
 * Of each group without a majority one replica is chosen, the one with the latest last entry (by its term, then its
 * index): it has everything that any of those left knows to be committed.  It becomes the group, by force; the others
 * that are left follow it again as new members.  A partition of which nothing is left begins empty. */
#ifndef STORE_RECOVER_PLAN_H
#define STORE_RECOVER_PLAN_H

#include "service/identity.h"

#include <holdfast/kind/replication.h>

enum { STORE_RECOVER_TEXT_MAX = 24 << 20 /* bytes of facts or of a plan */ };

/* A replica as its node sees it. */
struct store_recover_replica {
    uint64_t partition;
    uint64_t id;
    int32_t failed;
    int32_t leads;
    uint64_t last_term, last_index; /* of its log */
    uint64_t commit;
    uint32_t transactions; /* that are open here */
    uint32_t member_count; /* in force; 0: it waits to be told */
    hf_replication_member members[STORE_NODES_MAX];
};

/* What one node says of itself. */
struct store_recover_facts {
    int32_t present;                /* 0: it was not heard */
    struct store_identity identity; /* zero: it has no part in the cluster */
    uint64_t promised;              /* the plan that it is bound to, 0: none */
    uint32_t heard;                 /* bit per node that it can reach and believes */
    uint64_t count;
    struct store_recover_replica *replicas; /* by partition */
};

/* A replica that is left, beside the chosen one. */
struct store_recover_other {
    uint64_t id;
    uint64_t last_term, last_index;
};

struct store_recover_item {
    uint64_t partition;
    uint32_t node;    /* has the chosen replica */
    uint64_t replica; /* the chosen one's id; 0: nothing is left, an empty one is made */
    uint64_t last_term, last_index, commit;
    uint32_t transactions;
    uint32_t voters, left; /* in force at the chosen replica; and how many of them are left */
    uint32_t other_count;
    struct store_recover_other others[STORE_NODES_MAX];
};

struct store_recover_plan {
    uint64_t id;                                       /* a hash of all the rest; not 0 */
    uint32_t dead, survivors;                          /* bit per node */
    struct store_identity identities[STORE_NODES_MAX]; /* of the survivors */
    uint64_t promised[STORE_NODES_MAX];                /* what they were bound to when they were asked */
    uint64_t count;
    struct store_recover_item *items; /* by partition */
};

/* Facts as JSON, and back into the arena.  HF_EPROTOCOL, HF_ENOMEM, HF_ETOOLARGE. */
int32_t store_recover_write_facts(hf_buffer *text, const struct store_recover_facts *facts);
int32_t store_recover_read_facts(hf_slice text, hf_arena *arena, struct store_recover_facts *ret_facts,
                                 hf_error *error);

/* Makes the plan from the facts (by node), and what the catalog of this node says; items lie in the arena.
 * HF_EINVAL: no dead node, or this one; HF_ECONFLICT: a node is neither dead nor was it heard, or one that is called
 * dead was heard; HF_ENOTFOUND: nothing lost its majority; HF_EBUSY: what has just lost it has not noticed yet;
 * HF_ENOMEM. */
int32_t store_recover_make(const struct store_routing *routing, const struct store_nodes *nodes, uint32_t dead,
                           const struct store_recover_facts *facts, hf_arena *arena,
                           struct store_recover_plan *ret_plan, hf_error *error);

/* Whether what the node has now is what the plan was made from.  HF_ECONFLICT. */
int32_t store_recover_check(const struct store_recover_plan *plan, uint32_t node,
                            const struct store_recover_facts *facts, hf_error *error);

/* Sets the id.  HF_ENOMEM, HF_ETOOLARGE. */
int32_t store_recover_seal(struct store_recover_plan *plan, const struct store_nodes *nodes, hf_error *error);

/* The plan as JSON; with a routing, each partition's table and value for people, which are not part of the plan. */
int32_t store_recover_write_plan(hf_buffer *text, const struct store_recover_plan *plan,
                                 const struct store_nodes *nodes, const struct store_routing *routing);

/* Reads it into the arena; checks that its id is that of its content.  HF_EINVAL, HF_ENOMEM. */
int32_t store_recover_read_plan(const hf_value *document, const struct store_nodes *nodes, hf_arena *arena,
                                struct store_recover_plan *ret_plan, hf_error *error);

/* Where the catalog should have the partition, from where it has it now; an empty one's replica gets `generation`.
 * 0: it may stay, with the chosen replica and none that is dead. */
int32_t store_recover_place(const struct store_recover_plan *plan, const struct store_recover_item *item,
                            uint64_t generation, struct store_partition *partition);

#endif
