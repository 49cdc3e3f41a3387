/* heal.h: a node whose own files are damaged may have forgotten what it promised or acknowledged, so it must not go on
 * with them.  It sets them aside, where they stay, and begins as an empty node that asks the others to be replaced; see
 * docs/decisions/0012-damage.md.
 *
 * It does so only when the others can go on without it: what it alone has, or what needs its vote, is kept from it by a
 * file that counts such partitions.  All functions block. */
#ifndef STORE_HEAL_H
#define STORE_HEAL_H

#include "table/table.h"

/* How many partitions the other nodes could not go on with, if this node gave up what it has: without it their replicas
 * are no majority, or there are none. */
uint64_t store_needed_count(const struct store_routing *routing, const struct store_nodes *nodes);

/* Remembers the count in `directory`, where it is read when nothing else can be.  HF_EIO. */
int32_t store_needed_save(const char *directory, uint64_t count, hf_error *error);

/* Remembers that the files are damaged; the next start then sets them aside.  HF_EIO. */
int32_t store_heal_mark(const char *directory, const char *why, hf_error *error);
/* HF_ECORRUPT with the reason when they are marked; 0; HF_EIO. */
int32_t store_heal_check_mark(const char *directory, hf_error *error);

/* Whether the files may be set aside: HF_OK; or HF_ESTATE with a sentence that says why not and what to do. */
int32_t store_heal_allowed(const char *directory, uint32_t node_count, uint64_t most, hf_error *error);

/* Moves everything in `directory` but the mark to a new folder "damaged-N" there, whose name is in *ret_name (of
 * STORE_ASIDE_NAME_SIZE bytes).  HF_EIO: some of it may have been moved, and doing it again goes on. */
enum { STORE_ASIDE_NAME_SIZE = 32 };
int32_t store_heal_set_aside(const char *directory, char *ret_name, hf_error *error);

/* The node remembers by itself that it is to be filled anew: the mark goes.  HF_EIO. */
int32_t store_heal_unmark(const char *directory, hf_error *error);

#endif
