/* lib/utf8.h: strict UTF-8.  Pure; [any]. */
#ifndef HOLDFAST_LIB_UTF8_H
#define HOLDFAST_LIB_UTF8_H

#include <holdfast/holdfast.h>

#ifdef __cplusplus
extern "C" {
#endif

/* 1 when `text` is UTF-8 as RFC 3629 has it (no surrogates, no overlong forms, nothing above U+10FFFF, nothing cut
 * off), otherwise 0 and *ret_offset, when not NULL, is the byte offset of the first faulty character.  On success
 * *ret_offset is untouched. */
int32_t hf_utf8_valid(hf_slice text, uint64_t *ret_offset);

/* Writes the UTF-8 form of `character` and returns its size, 1 to 4; 0 for a surrogate or above U+10FFFF. */
uint32_t hf_utf8_encode(uint32_t character, uint8_t ret_bytes[4]);

#ifdef __cplusplus
}
#endif
#endif
