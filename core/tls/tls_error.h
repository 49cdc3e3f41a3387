/* tls_error.h: an hf_error with OpenSSL's own words. */
#ifndef HOLDFAST_CORE_TLS_TLS_ERROR_H
#define HOLDFAST_CORE_TLS_TLS_ERROR_H

#include <holdfast/holdfast.h>

/* Sets code and message, followed by the reason that OpenSSL's error queue of this thread gives first, if any, and
 * empties the queue.  Returns `code`. */
int32_t hf_tls_error(hf_error *error, int32_t code, const char *format, ...) HF_PRINTF(3, 4);

#endif
