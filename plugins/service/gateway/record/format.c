/* Records as lines: what is known to be plain as it is, and what clients send through the escapes. */
#include "record/record.h"

#include <holdfast/lib/json.h>
#include <holdfast/lib/value.h>

#include <string.h>
#include <time.h>

enum { ROOM = 4096 /* at least, at a time */ };

/* A line in the making, at the end of what `to` has. */
struct line {
    hf_buffer *to;
    uint8_t *at, *end; /* of the room behind it */
    int32_t code;      /* of the first piece that had no room */
};

/* ---- Pieces ------------------------------------------------------------------------------------------------------ */

static void take_room(struct line *line)
{
    line->at = line->end = NULL;
    if (!line->to->data) /* nothing may be added to no pointer, not even 0 */
        return;
    line->at = line->to->data + line->to->size;
    line->end = line->to->data + (line->to->capacity < line->to->maximum ? line->to->capacity : line->to->maximum);
}

static void give_back_room(struct line *line)
{
    if (line->at)
        line->to->size = (uint64_t)(line->at - line->to->data);
}

static int make_room(struct line *line, uint64_t size)
{
    uint64_t left;

    if (line->code != HF_OK)
        return 0;
    give_back_room(line);
    left = line->to->maximum - line->to->size;
    line->code = hf_buffer_reserve(line->to, size < ROOM && left >= ROOM ? ROOM : size);
    take_room(line);
    return line->code == HF_OK;
}

static inline void put(struct line *line, const void *bytes, uint64_t size)
{
    if ((uint64_t)(line->end - line->at) < size && !make_room(line, size))
        return;
    if (size)
        memcpy(line->at, bytes, size);
    line->at += size;
}

#define PUT_TEXT(line, text) put(line, text, sizeof(text) - 1)

static void put_number(struct line *line, uint64_t number)
{
    char text[20];
    uint32_t at = sizeof text;

    do
        text[--at] = (char)('0' + number % 10);
    while (number /= 10);
    put(line, text + at, sizeof text - at);
}

static void put_hex(struct line *line, const uint8_t *bytes, uint32_t count)
{
    uint8_t text[32];

    gateway_trace_hex(bytes, count, text);
    put(line, text, 2 * (uint64_t)count);
}

#define ONES UINT64_C(0x0101010101010101)

/* Has the top bit set in some byte when one of the eight is below 0x20, above 0x7e, a quote or a backslash. */
static inline uint64_t odd_bytes(uint64_t word)
{
    uint64_t quote = word ^ ONES * '"', slash = word ^ ONES * '\\', top = word ^ ONES * 0x7f;

    /* A byte that is less than what is taken from it borrows from its top bit; one that had that bit counts anyway. */
    return word | (word - ONES * 0x20) | (quote - ONES) | (slash - ONES) | (top - ONES);
}

/* Of up to seven bytes, with plain ones behind them. */
static inline uint64_t short_word(hf_slice text)
{
    uint64_t word = ONES * 'a';
    uint32_t first, last;

    if (text.size >= 4) {
        memcpy(&first, text.data, 4);
        memcpy(&last, text.data + text.size - 4, 4);
        return first | (uint64_t)last << 32;
    }
    for (uint64_t i = 0; i < text.size; i++)
        word = word << 8 | text.data[i];
    return word;
}

/* Whether no byte needs an escape in any format. */
static inline int is_all_plain(hf_slice text)
{
    uint64_t odd = 0, word, at = 0;

    if (text.size < 8)
        return (odd_bytes(short_word(text)) & ONES * 0x80) == 0;
    for (; at + 8 <= text.size; at += 8) {
        memcpy(&word, text.data + at, 8);
        odd |= odd_bytes(word);
    }
    memcpy(&word, text.data + text.size - 8, 8); /* again some of what was seen, and the rest */
    return ((odd | odd_bytes(word)) & ONES * 0x80) == 0;
}

static hf_slice cut(hf_slice text)
{
    return (hf_slice){text.data, text.size < GATEWAY_FIELD_MAX ? text.size : GATEWAY_FIELD_MAX};
}

/* ---- Times ------------------------------------------------------------------------------------------------------- */

static void set_clock(struct gateway_clock *clock, int64_t second)
{
    time_t time = (time_t)second;
    struct tm parts;

    if (clock->second == second && clock->iso[0])
        return;
    clock->second = second;
    if (!gmtime_r(&time, &parts) || !strftime(clock->iso, sizeof clock->iso, "%Y-%m-%dT%H:%M:%S", &parts))
        strcpy(clock->iso, "1970-01-01T00:00:00"); /* past the year 2^31 */
    if (!localtime_r(&time, &parts) || !strftime(clock->local, sizeof clock->local, "%d/%b/%Y:%H:%M:%S %z", &parts))
        strcpy(clock->local, "01/Jan/1970:00:00:00 +0000");
}

static void put_time(struct line *line, const struct gateway_clock *clock, uint32_t us)
{
    char text[8] = {'.', 0, 0, 0, 0, 0, 0, 'Z'};

    for (int i = 6; i > 0; i--, us /= 10)
        text[i] = (char)('0' + us % 10);
    put(line, clock->iso, strlen(clock->iso));
    put(line, text, sizeof text);
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

static void put_string(struct line *line, hf_slice text)
{
    text = cut(text);
    if (is_all_plain(text)) {
        PUT_TEXT(line, "\"");
        put(line, text.data, text.size);
        PUT_TEXT(line, "\"");
    } else if (line->code == HF_OK) {
        give_back_room(line);
        line->code = hf_json_append_string(line->to, text);
        take_room(line);
    }
}

#define PUT_MEMBER(line, name, text)                                                                                   \
    do {                                                                                                               \
        PUT_TEXT(line, ",\"" name "\":");                                                                              \
        put_string(line, text);                                                                                        \
    } while (0)

#define PUT_NUMBER(line, name, number)                                                                                 \
    do {                                                                                                               \
        PUT_TEXT(line, ",\"" name "\":");                                                                              \
        put_number(line, number);                                                                                      \
    } while (0)

static void put_request(struct line *line, const struct gateway_record *record)
{
    PUT_MEMBER(line, "client", record->client);
    PUT_MEMBER(line, "method", record->method);
    PUT_MEMBER(line, "target", record->target);
    PUT_MEMBER(line, "protocol", record->protocol);
    if (record->line.size)
        PUT_MEMBER(line, "line", record->line);
    PUT_NUMBER(line, "status", record->status);
    PUT_NUMBER(line, "bytes_received", record->bytes_received);
    PUT_NUMBER(line, "bytes_sent", record->bytes_sent);
    PUT_NUMBER(line, "duration_us", record->duration_us);
}

static void put_way(struct line *line, const struct gateway_record *record)
{
    static const char *const ends[] = {[GATEWAY_END_ANSWERED] = "answered",
                                       [GATEWAY_END_REFUSED] = "refused",
                                       [GATEWAY_END_DEGRADED] = "degraded",
                                       [GATEWAY_END_BROKEN] = "broken",
                                       [GATEWAY_END_TUNNEL] = "tunnel"};

    PUT_MEMBER(line, "listener", record->listener);
    PUT_MEMBER(line, "route", record->route);
    PUT_MEMBER(line, "upstream", record->upstream);
    PUT_MEMBER(line, "server", record->server);
    PUT_NUMBER(line, "tries", record->tries);
    PUT_NUMBER(line, "upstream_us", record->upstream_us);
    PUT_MEMBER(line, "host", record->host);
    PUT_MEMBER(line, "user_agent", record->user_agent);
    PUT_MEMBER(line, "referer", record->referer);
    PUT_MEMBER(line, "end", hf_slice_of(ends[record->end]));
    if (record->why.size)
        PUT_MEMBER(line, "why", record->why);
}

static void put_trace(struct line *line, const struct gateway_trace *trace)
{
    if (!trace->is_present)
        return;
    PUT_TEXT(line, ",\"trace\":\"");
    put_hex(line, trace->id, sizeof trace->id);
    PUT_TEXT(line, "\",\"span\":\"");
    put_hex(line, trace->span, sizeof trace->span);
    if (trace->flags & GATEWAY_TRACE_SAMPLED)
        PUT_TEXT(line, "\",\"sampled\":true");
    else
        PUT_TEXT(line, "\",\"sampled\":false");
}

static void put_json(struct line *line, const struct gateway_record *record, const struct gateway_clock *clock)
{
    PUT_TEXT(line, "{\"time\":\"");
    put_time(line, clock, (uint32_t)(record->ended_us % 1000000));
    PUT_TEXT(line, "\"");
    put_request(line, record);
    put_way(line, record);
    put_trace(line, &record->trace);
    PUT_TEXT(line, "}\n");
}

/* ---- Combined ---------------------------------------------------------------------------------------------------- */

/* As nginx escapes by default. */
static int is_plain(uint8_t byte)
{
    return byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\';
}

static void put_escaped(struct line *line, hf_slice text)
{
    static const char digits[] = "0123456789ABCDEF";

    text = cut(text);
    if (is_all_plain(text)) {
        put(line, text.data, text.size);
        return;
    }
    for (uint64_t at = 0, from = 0; at <= text.size; at++) {
        if (at < text.size && is_plain(text.data[at]))
            continue;
        put(line, text.data + from, at - from);
        from = at + 1;
        if (at < text.size) {
            char escape[4] = {'\\', 'x', digits[text.data[at] >> 4], digits[text.data[at] & 15]};
            put(line, escape, sizeof escape);
        }
    }
}

static void put_quoted(struct line *line, hf_slice text)
{
    PUT_TEXT(line, " \"");
    if (text.size)
        put_escaped(line, text);
    else
        PUT_TEXT(line, "-");
    PUT_TEXT(line, "\"");
}

static void put_request_line(struct line *line, const struct gateway_record *record)
{
    if (!record->method.size) {
        put_quoted(line, record->line);
        return;
    }
    PUT_TEXT(line, " \"");
    put_escaped(line, record->method);
    PUT_TEXT(line, " ");
    put_escaped(line, record->target);
    PUT_TEXT(line, " ");
    put_escaped(line, record->protocol);
    PUT_TEXT(line, "\"");
}

static void put_combined(struct line *line, const struct gateway_record *record, const struct gateway_clock *clock)
{
    put_escaped(line, record->client);
    PUT_TEXT(line, " - - [");
    put(line, clock->local, strlen(clock->local));
    PUT_TEXT(line, "]");
    put_request_line(line, record);
    PUT_TEXT(line, " ");
    put_number(line, record->status);
    PUT_TEXT(line, " ");
    put_number(line, record->body_sent);
    put_quoted(line, record->referer);
    put_quoted(line, record->user_agent);
    PUT_TEXT(line, "\n");
}

/* ---- Lines ------------------------------------------------------------------------------------------------------- */

int32_t gateway_record_append(const struct gateway_record *record, int32_t format, struct gateway_clock *clock,
                              hf_buffer *to)
{
    struct line line = {.to = to};
    uint64_t before = to->size;

    take_room(&line);
    set_clock(clock, (int64_t)(record->ended_us / 1000000));
    if (format == GATEWAY_FORMAT_COMBINED)
        put_combined(&line, record, clock);
    else
        put_json(&line, record, clock);
    give_back_room(&line);
    if (line.code != HF_OK)
        to->size = before;
    return line.code;
}
