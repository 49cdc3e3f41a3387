/* identity.h: which disk this is, which cluster it belongs to, and which disks the other nodes had.
 *
 * A replica that forgot what it voted for, or what it acknowledged, breaks the promises of its group.  So a node says
 * with every link which disk it runs on, how often that was started and how far its log went then; whoever knew the
 * node with another disk, a later start or a longer log does not talk to it: the disk was emptied, or is an old image.
 * Each start also has a number of its own and knows the last one's, so that a disk that was copied is known, too.  An
 * operator replaces such a node (`holdfast node replace`), and it takes part again under new ids. */
#ifndef STORE_IDENTITY_H
#define STORE_IDENTITY_H

#include "table/table.h"

#include <pthread.h>
#include <stdatomic.h>

struct store_identity {
    uint64_t disk;     /* drawn once; not 0 */
    uint64_t starts;   /* of this disk, this one included */
    uint64_t boot;     /* drawn at this start; not 0 */
    uint64_t previous; /* the one before; 0: there was none */
    uint64_t position; /* of its log when it started (store_log_position); of a known one: the latest heard of */
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
    _Atomic uint64_t heard[STORE_NODES_MAX]; /* the latest position that a message came with */
};

enum {
    STORE_IDENTITY_GOOD = 0,
    STORE_IDENTITY_OLDER = 1,   /* the same disk at a later start is known: an old image */
    STORE_IDENTITY_FOREIGN = 2, /* another disk is known, and the node was not replaced */
    STORE_IDENTITY_CLUSTER = 3, /* it has data of another cluster */
    STORE_IDENTITY_LOST = 4,    /* an operator called it lost for good (holdfast cluster recover) */
    STORE_IDENTITY_COPY = 5     /* a copy of the disk was started, too */
};

/* Small files of the state directory that tell what this node must not forget: a text whose last line is its checksum,
 * replaced as a whole.  Reading: without that line; HF_ENOTFOUND, HF_ECORRUPT, HF_EIO.  Writing: the text is borrowed,
 * but the checksum is appended to it.  HF_EIO.  Both block. */
enum { STORE_STATE_FILE_MAX = 16384 };
int32_t store_state_read(const char *directory, const char *name, char text[STORE_STATE_FILE_MAX], hf_error *error);
int32_t store_state_write(const char *directory, const char *name, char text[STORE_STATE_FILE_MAX], hf_error *error);

/* A number that two clusters share only when the same nodes began them: of the first `first_count` names.  Not 0. */
uint64_t store_cluster_number(const struct store_nodes *nodes, uint32_t first_count);

/* Reads this disk's identity from `directory`, making one of `random` when there is none, and counts this start.
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

/* Makes the entries of a folder durable; -1 with errno.  Blocks. */
int store_directory_sync(const char *directory);

/* A message of the node came when its log was durable up to there.  [any] */
void store_witness_hear(struct store_witness *witness, uint32_t node, uint64_t position);

/* Whether longer logs have been heard of than are saved.  [any] */
int32_t store_witness_is_behind(struct store_witness *witness);

/* Writes what is known.  HF_EIO.  Blocks.  [any] */
int32_t store_witness_save(struct store_witness *witness, hf_error *error);

#endif
