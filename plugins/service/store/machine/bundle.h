/* bundle.h: the payload of an entry: the commands that a leader proposed together, under one time.  Pure; [any].
 *
 * What many writers ask for at the same moment costs one entry: one record of the log, one message, one row of the
 * change feed. */
#ifndef STORE_BUNDLE_H
#define STORE_BUNDLE_H

#include <holdfast/holdfast.h>

enum {
    STORE_BUNDLE_COMMANDS_MAX = 256,
    STORE_BUNDLE_BYTES_MAX = 256 << 10, /* of several commands; a larger one is alone */
    STORE_BUNDLE_HEAD_SIZE = 1 + 8 + 8 + 8 + 2,
    STORE_BUNDLE_COMMAND_HEAD_SIZE = 4
};

/* What holds for all commands of an entry.  The leader's clock decides, so that all replicas agree. */
struct store_bundle {
    uint64_t time_us;           /* since 1970 */
    uint64_t feed_horizon_us;   /* changes older than this may be forgotten */
    uint64_t repeat_horizon_us; /* likewise remembered idempotency keys */
    uint32_t count;             /* of the commands, 1..STORE_BUNDLE_COMMANDS_MAX */
    hf_slice rest;              /* when reading: the commands that are still to come */
};

/* Write to `to`, which has room, and return where to go on: the head, and then each command with its size. */
uint8_t *store_bundle_write_head(uint8_t *to, const struct store_bundle *bundle);
uint8_t *store_bundle_write_command(uint8_t *to, hf_slice command);

/* Reads the head, and sees that the commands have the sizes that they say and nothing follows.  HF_ECORRUPT,
 * HF_EVERSION: written by a newer release. */
int32_t store_bundle_read(hf_slice bytes, struct store_bundle *ret_bundle, hf_error *error);

/* Takes the next command: 1, or 0 at the end. */
int store_bundle_next(struct store_bundle *bundle, hf_slice *ret_command);

#endif
