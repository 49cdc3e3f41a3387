/* lib/error.h: filling in an hf_error.  Pure; [any]. */
#ifndef HOLDFAST_LIB_ERROR_H
#define HOLDFAST_LIB_ERROR_H

#include <holdfast/holdfast.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Sets code and message (cut to fit at a whole UTF-8 character; control characters become spaces) and returns `code`.
 * `error` may be NULL.  The retry advice follows from the code: HF_EBUSY and HF_ETIMEOUT later, HF_ENOTLEADER
 * elsewhere, others no. */
int32_t hf_error_set(hf_error *error, int32_t code, const char *format, ...) HF_PRINTF(3, 4);

/* The same, followed by ": " and the system's words for `system_errno`. */
int32_t hf_error_set_errno(hf_error *error, int32_t code, int system_errno, const char *format, ...) HF_PRINTF(4, 5);

/* Puts "PREFIX: " before the message that is there already; keeps the code, which it returns. */
int32_t hf_error_prefix(hf_error *error, const char *format, ...) HF_PRINTF(2, 3);

/* The constant's name, such as "HF_EIO"; static. */
const char *hf_error_name(int32_t code);

#ifdef __cplusplus
}
#endif
#endif
