#include "record/trace.h"

#include <string.h>

enum { ID_AT = 3, PARENT_AT = 36, FLAGS_AT = 53 };

/* Upper case is not allowed. */
static int digit_of(uint8_t byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

static int read_hex(const uint8_t *text, uint8_t *bytes, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        int high = digit_of(text[2 * i]), low = digit_of(text[2 * i + 1]);

        if (high < 0 || low < 0)
            return 0;
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    return 1;
}

static int is_zero(const uint8_t *bytes, uint32_t count)
{
    uint8_t all = 0;

    for (uint32_t i = 0; i < count; i++)
        all |= bytes[i];
    return all == 0;
}

int32_t gateway_trace_read(hf_slice text, struct gateway_trace *ret_trace)
{
    struct gateway_trace trace = {.is_present = 1};
    uint8_t version = 0;

    if (text.size < GATEWAY_TRACE_SIZE || !read_hex(text.data, &version, 1) || version == 0xff)
        return 0;
    if (text.size > GATEWAY_TRACE_SIZE && (version == 0 || text.data[GATEWAY_TRACE_SIZE] != '-'))
        return 0;
    if (text.data[ID_AT - 1] != '-' || text.data[PARENT_AT - 1] != '-' || text.data[FLAGS_AT - 1] != '-')
        return 0;
    if (!read_hex(text.data + ID_AT, trace.id, sizeof trace.id) ||
        !read_hex(text.data + PARENT_AT, trace.parent, sizeof trace.parent) ||
        !read_hex(text.data + FLAGS_AT, &trace.flags, 1))
        return 0;
    if (is_zero(trace.id, sizeof trace.id) || is_zero(trace.parent, sizeof trace.parent))
        return 0;
    trace.flags &= GATEWAY_TRACE_SAMPLED | GATEWAY_TRACE_RANDOM;
    *ret_trace = trace;
    return 1;
}

/* Never all zero, which would be no id. */
static void fill(uint8_t *bytes, uint32_t count, hf_random *random)
{
    do {
        for (uint32_t i = 0; i < count; i += 8) {
            uint64_t number = hf_random_next(random);
            memcpy(bytes + i, &number, 8);
        }
    } while (is_zero(bytes, count));
}

void gateway_trace_next_span(struct gateway_trace *trace, hf_random *random)
{
    fill(trace->span, sizeof trace->span, random);
}

void gateway_trace_begin(struct gateway_trace *trace, hf_random *random, int32_t is_sampled)
{
    *trace = (struct gateway_trace){.is_present = 1, .flags = is_sampled ? GATEWAY_TRACE_SAMPLED : 0};
    fill(trace->id, sizeof trace->id, random);
    gateway_trace_next_span(trace, random);
}

void gateway_trace_hex(const uint8_t *bytes, uint32_t count, uint8_t *text)
{
    static const char digits[] = "0123456789abcdef";

    for (uint32_t i = 0; i < count; i++) {
        text[2 * i] = (uint8_t)digits[bytes[i] >> 4];
        text[2 * i + 1] = (uint8_t)digits[bytes[i] & 15];
    }
}

void gateway_trace_write(const struct gateway_trace *trace, uint8_t text[GATEWAY_TRACE_SIZE])
{
    memcpy(text, "00-", 3);
    gateway_trace_hex(trace->id, sizeof trace->id, text + ID_AT);
    text[PARENT_AT - 1] = '-';
    gateway_trace_hex(trace->span, sizeof trace->span, text + PARENT_AT);
    text[FLAGS_AT - 1] = '-';
    gateway_trace_hex(&trace->flags, 1, text + FLAGS_AT);
}
