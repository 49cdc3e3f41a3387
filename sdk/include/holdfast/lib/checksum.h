/* lib/checksum.h: CRC-32C, for bytes on disk and on the wire.  Pure; [any]. */
#ifndef HOLDFAST_LIB_CHECKSUM_H
#define HOLDFAST_LIB_CHECKSUM_H

#include <holdfast/holdfast.h>

#ifdef __cplusplus
extern "C" {
#endif

/* CRC-32C (Castagnoli, RFC 3720 appendix B.4) of `size` bytes at `data`, which may be NULL when size is 0.  `seed` is
 * 0, or the result for the bytes before these: crc(crc(0, a), b) is the checksum of a and b together.  Uses the
 * processor's instruction where there is one. */
uint32_t hf_crc32c(uint32_t seed, const void *data, uint64_t size);

/* The same from tables, on any processor; for tests and comparison. */
uint32_t hf_crc32c_portable(uint32_t seed, const void *data, uint64_t size);

#ifdef __cplusplus
}
#endif
#endif
