/* signal/audit.h: the audit log: who did what, one JSON line each, chained by hashes so that a change shows.
 *
 * STATE/audit.log; every line has the SHA-256 of the line before it, and is flushed before the next one is begun.  A
 * file that has grown over its limit is renamed to audit.log.SEQUENCE, and the chain goes on in a new one. */
#ifndef HOLDFAST_CORE_SIGNAL_AUDIT_H
#define HOLDFAST_CORE_SIGNAL_AUDIT_H

#include <holdfast/lib/buffer.h>
#include <holdfast/lib/value.h>

typedef struct hf_audit hf_audit;

/* Opens the log and checks its chain.  A torn last line is cut.  *ret_broken is 1 when the chain does not hold: the
 * file is then put aside, and a new one begun.  HF_EIO, HF_ENOMEM.  Blocks. */
int32_t hf_audit_open(const char *directory, uint64_t size_maximum, hf_audit **ret_audit, int32_t *ret_broken,
                      hf_error *error);
void hf_audit_close(hf_audit *audit); /* accepts NULL */

/* Writes one entry and flushes it.  HF_EIO, HF_ENOMEM.  Blocks; [pool, one thread at a time is enough: it locks] */
int32_t hf_audit_append(hf_audit *audit, const char *actor, const char *kind, const hf_value *detail, hf_error *error);

/* Appends up to `limit` newest entries of the present file to `list`, newest first, as a JSON list.  Blocks.  [pool] */
int32_t hf_audit_read(hf_audit *audit, uint32_t limit, hf_buffer *list, hf_error *error);

#endif
