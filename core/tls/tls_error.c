/* OpenSSL's error queue as an hf_error; see tls_error.h. */
#include "tls_error.h"

#include <holdfast/lib/error.h>
#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>

int32_t hf_tls_error(hf_error *error, int32_t code, const char *format, ...)
{
    char text[HF_ERROR_MESSAGE_SIZE];
    const char *reason = ERR_reason_error_string(ERR_get_error());
    va_list arguments;

    ERR_clear_error();
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return reason ? hf_error_set(error, code, "%s: %s", text, reason) : hf_error_set(error, code, "%s", text);
}
