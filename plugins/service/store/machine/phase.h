/* phase.h: what a transaction over several partitions asks of one of them, and its bytes.  Pure; [any].
 *
 * Two-phase commit whose every step is a command of a replicated log (Gray, Lamport: "Consensus on Transaction Commit",
 * 2006, section 3, with the coordinator's decision in a replicated partition instead of on its disk).  One of the
 * partitions is the transaction's home, and what it says is the decision:
 *
 *   PREPARE  to each: locks the keys, checks the conditions, and keeps the command.
 *   DECIDE   to the home, when all are prepared: carries out its own part, and the transaction is committed.
 *   FINISH   to each of the others: carries out its part, or lets go of it.
 *   FORGET   to the home, when all have finished: drops the decision when it is older than patience_us, and the list
 *            of the others in any case.
 *
 * Whoever sends the steps may die between any two of them.  A partition that has waited for long asks the home, which
 * answers with its decision, and decides against the transaction when there was none.  A decision that the sender of
 * the transaction may still ask for must not be forgotten: it would be taken for one against it.  PREPARE is sent once
 * at most, for the same reason; the other steps may be repeated. */
#ifndef STORE_PHASE_H
#define STORE_PHASE_H

#include <holdfast/lib/buffer.h>

enum { STORE_PHASE_PREPARE = 1, STORE_PHASE_DECIDE = 2, STORE_PHASE_FINISH = 3, STORE_PHASE_FORGET = 4 };

enum {
    STORE_DECISION_COMMIT = 1,
    STORE_DECISION_ABORT = 2,
    STORE_DECISION_ASK = 3 /* of DECIDE: abort if it has been prepared for patience_us, or was never */
};

enum { STORE_TRANSACTION_ID_SIZE = 16, STORE_PARTICIPANTS_MAX = 64 };

struct store_phase {
    int32_t phase;                         /* STORE_PHASE_... */
    int32_t decision;                      /* of DECIDE and FINISH; FINISH does not ask */
    uint8_t id[STORE_TRANSACTION_ID_SIZE]; /* drawn once for each transaction */
    uint64_t patience_us;                  /* of DECIDE and FORGET */
    uint64_t home;                         /* of PREPARE: partition */
    uint32_t participant_count;            /* of PREPARE to the home: the other partitions */
    uint64_t participants[STORE_PARTICIPANTS_MAX];
    hf_slice command; /* of PREPARE: an encoded store_command, which see */
};

/* 1 when the bytes of a command are those of a step. */
int store_is_phase(hf_slice bytes);

/* Appends the step's bytes, all or none.  Errors as hf_buffer_append. */
int32_t store_phase_encode(hf_buffer *buffer, const struct store_phase *phase, hf_error *error);

/* Reads them back; the command points into `bytes` and is not looked at.  HF_ECORRUPT. */
int32_t store_phase_decode(hf_slice bytes, struct store_phase *ret_phase, hf_error *error);

#endif
