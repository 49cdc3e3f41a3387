/* identity.h: which disk this is, which cluster it belongs to, and which disks the other nodes had.
 *
 * A replica that forgot what it voted for, or what it acknowledged, breaks the promises of its group.  So a node says
 * with every link which disk it runs on and how often that was started; whoever knew the node with another disk, or
 * with a later start, does not talk to it: the disk was emptied, or is an old image.  An operator replaces such a node
 * (`holdfast node replace`), and it takes part again under new ids. */
#ifndef STORE_IDENTITY_H
#define STORE_IDENTITY_H

#include "table/table.h"

#include <pthread.h>

struct store_identity {
    uint64_t disk;   /* drawn once; not 0 */
    uint64_t starts; /* of this disk, this one included */
};

/* What the disk has part in. */
struct store_membership {
    uint64_t cluster;     /* see store_cluster_number; 0: nothing yet */
    uint64_t replica;     /* under which the catalog's replica was opened first */
    uint32_t first_count; /* how many nodes began the cluster, the first of the list; 0: it was there already */
    int32_t heals;        /* 1: what the node had was damaged and set aside; it waits to be filled anew (heal.h) */
};

/* What was heard of the other nodes, kept in a file. */
struct store_witness {
    pthread_mutex_t lock;
    const struct store_nodes *nodes;
    char path[4096 + 64]; /* of the directory */
    struct store_identity known[STORE_NODES_MAX];
};

enum {
    STORE_IDENTITY_GOOD = 0,
    STORE_IDENTITY_OLDER = 1,   /* the same disk at a later start is known: an old image */
    STORE_IDENTITY_FOREIGN = 2, /* another disk is known, and the node was not replaced */
    STORE_IDENTITY_CLUSTER = 3  /* it has data of another cluster */
};

/* A file of text in `directory` whose last line is a checksum, which is left out again when it is read; writing
 * replaces it as a whole, durably.  HF_ENOTFOUND, HF_ECORRUPT, HF_EIO.  Blocks. */
enum { STORE_CHECKED_MAX = 16384 };
int32_t store_checked_read(const char *directory, const char *name, char text[STORE_CHECKED_MAX], hf_error *error);
int32_t store_checked_write(const char *directory, const char *name, char text[STORE_CHECKED_MAX], hf_error *error);

/* A number that two clusters share only when the same nodes began them: of the first `first_count` names.  Not 0. */
uint64_t store_cluster_number(const struct store_nodes *nodes, uint32_t first_count);

/* Reads this disk's identity from `directory`, drawing `random` as one when there is none, and counts this start.
 * HF_EIO, HF_ECORRUPT, HF_EINVAL: the members that it was last started with are not the first ones of `nodes`, by whose
 * places replicas are numbered.  Blocks. */
int32_t store_identity_begin(const char *directory, uint64_t random, const struct store_nodes *nodes,
                             struct store_identity *ret_identity, struct store_membership *ret_membership,
                             hf_error *error);

/* Writes it, with what it has part in.  HF_EIO.  Blocks. */
int32_t store_identity_save(const char *directory, const struct store_nodes *nodes,
                            const struct store_identity *identity, const struct store_membership *membership,
                            hf_error *error);

/* Reads what is known; nothing when there is no file.  HF_ECORRUPT, HF_EIO.  Blocks. */
int32_t store_witness_open(struct store_witness *witness, const char *directory, const struct store_nodes *nodes,
                           hf_error *error);
void store_witness_close(struct store_witness *witness);

/* What to think of a node that says this of itself; `replaced` is the disk that the catalog allows instead of the known
 * one, 0: none.  What is good is remembered; *ret_news 1: and has to be saved.  [any] */
int32_t store_witness_judge(struct store_witness *witness, uint32_t node, const struct store_identity *said,
                            uint64_t replaced, int32_t *ret_news);

/* Writes what is known.  HF_EIO.  Blocks.  [any] */
int32_t store_witness_save(struct store_witness *witness, hf_error *error);

#endif
