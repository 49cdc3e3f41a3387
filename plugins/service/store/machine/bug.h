/* bug.h: deliberate mistakes, only for proving that the simulator (tests/sim_store) finds them. */
#ifndef STORE_BUG_H
#define STORE_BUG_H

enum {
    STORE_BUG_NONE = 0,
    STORE_BUG_SEE_PART,         /* reads do not look for locks */
    STORE_BUG_NO_LOCK,          /* a PREPARE does not see another's locks */
    STORE_BUG_FORGET_REPEAT,    /* a committed transaction's idempotency key is not remembered */
    STORE_BUG_FORGET_ABORT,     /* who asks is told that it was decided against, and nobody remembers */
    STORE_BUG_FORGET_COMMIT,    /* a decision is forgotten when all have finished, though its sender may still ask */
    STORE_BUG_GUESS,            /* who has waited does not ask the home, but lets go */
    STORE_BUG_TAKE_FOR_GRANTED, /* a PREPARE without an answer counts as prepared */
    STORE_BUG_KEEP_LOCKS,       /* nobody looks after transactions whose sender died */
    STORE_BUG_ANSWER_PROPOSED,  /* a write is answered by its place alone, whoever's entry is applied there */
    STORE_BUG_EXPIRE_BLINDLY,   /* a record is removed though it was written anew */
    STORE_BUG_SPLIT_LOCKED,     /* a split takes away what transactions have locked */
    STORE_BUG_KEEP_WRITING,     /* a partition still takes writes for what it has given away */
    STORE_BUG_KEEP_READING,     /* likewise, and answers reads */
    STORE_BUG_LEAVE_REPEATS,    /* idempotency keys do not go along with a split or merge */
    STORE_BUG_LATE_CHANGES,     /* what has changed while a split was being copied does not go along */
    STORE_BUG_OWN_VERSIONS      /* a merge does not go on from the higher of both versions */
};
#define STORE_BUG_NAMES                                                                                                \
    {                                                                                                                  \
        "none", "see-part", "no-lock", "forget-repeat", "forget-abort", "forget-commit", "guess", "take-for-granted",  \
            "keep-locks", "answer-proposed", "expire-blindly", "split-locked", "keep-writing", "keep-reading",         \
            "leave-repeats", "late-changes", "own-versions"                                                            \
    }

#ifdef HF_STORE_TEST_BUGS
extern int hf_store_test_bug;
#define STORE_BUG(which) (hf_store_test_bug == STORE_BUG_##which)
#else
#define STORE_BUG(which) 0
#endif

#endif
