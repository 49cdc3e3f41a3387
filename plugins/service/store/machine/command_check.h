/* command_check.h: whether what a command is to store is still what entered the first node.  Pure; [any]. */
#ifndef STORE_COMMAND_CHECK_H
#define STORE_COMMAND_CHECK_H

#include <holdfast/holdfast.h>

/* Compares the values of a command, also one within a transaction's step, with their checksums.  HF_ECORRUPT: one is
 * damaged, and the command must not be proposed, for all replicas would have it; HF_ENOMEM.  What cannot be read as a
 * command has no values: it is refused by whoever performs it. */
int32_t store_command_check(hf_slice bytes, hf_error *error);

#endif
