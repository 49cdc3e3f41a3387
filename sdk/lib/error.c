/* Fills in an hf_error; see lib/error.h. */
#include <holdfast/lib/error.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int32_t retry_advice(int32_t code)
{
    switch (code) {
    case HF_EBUSY:
    case HF_ETIMEOUT:
        return HF_RETRY_LATER;
    case HF_ENOTLEADER:
        return HF_RETRY_ELSEWHERE;
    default:
        return HF_RETRY_NO;
    }
}

/* Cuts an incomplete UTF-8 sequence that snprintf left at the end of a full buffer. */
static void trim_partial_character(char *text, size_t size)
{
    size_t end = size;

    while (end > 0 && size - end < 3 && ((unsigned char)text[end - 1] & 0xc0) == 0x80)
        end--;
    if (end == 0)
        return;

    unsigned char lead = (unsigned char)text[end - 1];
    size_t wanted = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;

    if (size - (end - 1) < wanted)
        text[end - 1] = '\0';
}

static void clean(hf_error *error, int wanted)
{
    if (wanted >= (int)sizeof error->message)
        trim_partial_character(error->message, sizeof error->message - 1);
    for (char *c = error->message; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
}

static void set(hf_error *error, int32_t code, int wanted)
{
    error->code = code;
    error->retry = retry_advice(code);
    error->retry_after_ms = 0;
    clean(error, wanted);
}

int32_t hf_error_set(hf_error *error, int32_t code, const char *format, ...)
{
    va_list arguments;

    if (!error)
        return code;
    va_start(arguments, format);
    int wanted = vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    set(error, code, wanted);
    return code;
}

int32_t hf_error_set_errno(hf_error *error, int32_t code, int system_errno, const char *format, ...)
{
    char text[HF_ERROR_MESSAGE_SIZE];
    va_list arguments;

    if (!error)
        return code;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    int wanted = snprintf(error->message, sizeof error->message, "%s: %s", text, strerrordesc_np(system_errno));
    set(error, code, wanted);
    return code;
}

int32_t hf_error_prefix(hf_error *error, const char *format, ...)
{
    char prefix[HF_ERROR_MESSAGE_SIZE], rest[HF_ERROR_MESSAGE_SIZE];
    va_list arguments;

    if (!error)
        return HF_EINVAL;
    memcpy(rest, error->message, sizeof rest);
    va_start(arguments, format);
    vsnprintf(prefix, sizeof prefix, format, arguments);
    va_end(arguments);
    clean(error, snprintf(error->message, sizeof error->message, "%s: %s", prefix, rest));
    return error->code;
}

const char *hf_error_name(int32_t code)
{
    static const char *const names[] = {
        "HF_OK",           "HF_EINVAL",   "HF_ENOMEM",  "HF_ENOTFOUND", "HF_EEXIST",    "HF_ECONFLICT", "HF_EBUSY",
        "HF_ENOTLEADER",   "HF_ETIMEOUT", "HF_EIO",     "HF_ECORRUPT",  "HF_EPROTOCOL", "HF_ETOOLARGE", "HF_EDENIED",
        "HF_EUNSUPPORTED", "HF_ESTATE",   "HF_ECLOSED", "HF_EPOLICY",   "HF_EVERSION",  "HF_EMOVED",
    };

    if (code > 0 || -code >= (int32_t)(sizeof names / sizeof names[0]))
        return "HF_E?";
    return names[-code];
}
