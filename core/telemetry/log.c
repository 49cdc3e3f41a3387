/* The structured log.  A line is built on the stack and leaves with one write, so no lock is held over I/O and lines of
 * several threads and processes do not mix (POSIX: writes with O_APPEND, and writes to a pipe up to PIPE_BUF, are
 * atomic).  A ring keeps the most recent lines for the record of a crash. */
#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 8192, RING_LINES = 32, RING_LINE_BYTES = 512 };

static hf_log_settings current = {.process = "holdfast", .level = HF_LOG_INFO, .fd = STDERR_FILENO};
static _Atomic int32_t least_level = HF_LOG_INFO;
static _Atomic uint64_t lost_lines;
static _Thread_local uint8_t thread_trace[16];

/* Each slot belongs to one writer at a time; `size` is 0 while it is being filled.  A reader may meet a slot that is
 * overwritten under it: it then has a mixed line, which for the record of a crash is better than a lock. */
struct ring {
    _Atomic uint64_t next;
    struct ring_line {
        _Atomic uint32_t size;
        char text[RING_LINE_BYTES];
    } lines[RING_LINES];
};
_Static_assert(sizeof(struct ring) <= HF_LOG_RING_SIZE, "a shared ring must fit");

static struct ring own_ring;
static struct ring *ring = &own_ring;

void hf_log_configure(const hf_log_settings *settings)
{
    current = *settings;
    hf_log_set_level(settings->level);
}

void hf_log_set_level(int32_t level)
{
    atomic_store_explicit(&least_level, level, memory_order_relaxed);
}

uint64_t hf_log_lost(void)
{
    return atomic_load_explicit(&lost_lines, memory_order_relaxed);
}

void hf_log_set_trace(const uint8_t trace[16])
{
    memcpy(thread_trace, trace, sizeof thread_trace);
}

/* ---- Building a line ----------------------------------------------------------------------------------------- */

struct line {
    uint64_t size;
    int cut;
    char text[LINE_MAX_BYTES];
};

enum { TAIL_BYTES = 24 }; /* kept free for closing the line, and for the mark of a cut */

static void put(struct line *line, const char *text, uint64_t size)
{
    if (line->cut || size > sizeof line->text - TAIL_BYTES - line->size) {
        line->cut = 1;
        return;
    }
    memcpy(line->text + line->size, text, size);
    line->size += size;
}

static void put_text(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

/* Bytes of the UTF-8 character at `at`, or 0 when there is none (RFC 3629: no overlong forms, no surrogates). */
static uint64_t character_size(hf_slice text, uint64_t at)
{
    const uint8_t *c = text.data + at;
    uint64_t left = text.size - at;
    uint64_t size = c[0] < 0x80 ? 1 : c[0] >= 0xc2 && c[0] < 0xe0 ? 2 : (c[0] & 0xf0) == 0xe0 ? 3 : 4;

    if (size == 4 && (c[0] < 0xf0 || c[0] > 0xf4))
        return 0;
    if (size > left)
        return 0;
    for (uint64_t i = 1; i < size; i++)
        if ((c[i] & 0xc0) != 0x80)
            return 0;
    if ((c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xed && c[1] > 0x9f) || (c[0] == 0xf0 && c[1] < 0x90) ||
        (c[0] == 0xf4 && c[1] > 0x8f))
        return 0;
    return size;
}

/* Escapes as JSON does; a byte that is not UTF-8 becomes the character U+00XX, so that it can be told. */
static void put_escaped(struct line *line, hf_slice text)
{
    for (uint64_t at = 0; at < text.size;) {
        uint64_t size = character_size(text, at);
        uint8_t byte = text.data[at];
        char escape[8];

        if (byte == '"' || byte == '\\') {
            put(line, (char[]){'\\', (char)byte}, 2);
        } else if (size == 0 || byte < 0x20 || byte == 0x7f) {
            snprintf(escape, sizeof escape, "\\u%04x", byte);
            put(line, escape, 6);
            size = 1;
        } else {
            put(line, (const char *)text.data + at, size);
        }
        at += size;
    }
}

static hf_slice slice_of(const char *text)
{
    return (hf_slice){(const uint8_t *)text, strlen(text)};
}

static const char *level_name(int32_t level)
{
    static const char *const names[] = {"debug", "info", "warning", "error"};

    return names[level < HF_LOG_DEBUG ? HF_LOG_DEBUG : level > HF_LOG_ERROR ? HF_LOG_ERROR : level];
}

static void format_time(char *text, size_t size)
{
    struct timespec now;
    struct tm utc;
    char seconds[32];

    clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */
    gmtime_r(&now.tv_sec, &utc);
    strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text, size, "%s.%06ldZ", seconds, now.tv_nsec / 1000);
}

static int format_trace(char text[33])
{
    int any = 0;

    for (size_t i = 0; i < sizeof thread_trace; i++) {
        any |= thread_trace[i];
        snprintf(text + 2 * i, 3, "%02x", thread_trace[i]);
    }
    return any != 0;
}

static void put_json_field(struct line *line, const char *name, hf_slice value)
{
    put_text(line, ",\"");
    put_text(line, name);
    put_text(line, "\":\"");
    put_escaped(line, value);
    put_text(line, "\"");
}

static void build_json(struct line *line, int32_t level, const char *source, hf_slice message,
                       const hf_log_field *fields, uint64_t field_count)
{
    char time_text[64], trace[33];

    format_time(time_text, sizeof time_text);
    put_text(line, "{\"time\":\"");
    put_text(line, time_text);
    put_text(line, "\"");
    put_json_field(line, "level", slice_of(level_name(level)));
    put_json_field(line, "process", slice_of(current.process));
    put_json_field(line, "source", slice_of(source));
    if (format_trace(trace))
        put_json_field(line, "trace", slice_of(trace));

    /* A field enters whole or not at all, so that a cut line stays valid JSON; the message, which may be long, is
     * shortened instead. */
    uint64_t room = (sizeof line->text - TAIL_BYTES - line->size - 16) / 6;
    hf_slice shortened = message;
    int message_cut = message.size > room;
    if (message_cut)
        shortened.size = room;
    put_json_field(line, "message", shortened);
    for (uint64_t i = 0; i < field_count; i++) {
        uint64_t before = line->size;
        put_json_field(line, fields[i].name, fields[i].value);
        if (line->cut) {
            line->size = before;
            break;
        }
    }
    line->cut |= message_cut;
}

static void build_text(struct line *line, int32_t level, const char *source, hf_slice message,
                       const hf_log_field *fields, uint64_t field_count)
{
    char head[192], time_text[64], trace[33];

    format_time(time_text, sizeof time_text);
    snprintf(head, sizeof head, "%s %-7s %s %s: ", time_text, level_name(level), current.process, source);
    put_text(line, head);
    put_escaped(line, message);
    for (uint64_t i = 0; i < field_count; i++) {
        put_text(line, " ");
        put_text(line, fields[i].name);
        put_text(line, "=\"");
        put_escaped(line, fields[i].value);
        put_text(line, "\"");
    }
    if (format_trace(trace)) {
        put_text(line, " trace=");
        put_text(line, trace);
    }
}

static void close_line(struct line *line)
{
    const char *end = current.format == HF_LOG_FORMAT_JSON ? (line->cut ? ",\"cut\":true}\n" : "}\n")
                                                           : (line->cut ? " (cut)\n" : "\n");
    size_t size = strlen(end);

    memcpy(line->text + line->size, end, size); /* TAIL_BYTES was kept free for it */
    line->size += size;
}

/* ---- Leaving ------------------------------------------------------------------------------------------------- */

static void remember(const struct line *line)
{
    uint64_t slot = atomic_fetch_add_explicit(&ring->next, 1, memory_order_relaxed) % RING_LINES;
    struct ring_line *kept = &ring->lines[slot];
    uint32_t size = (uint32_t)(line->size < RING_LINE_BYTES ? line->size : RING_LINE_BYTES);

    atomic_store_explicit(&kept->size, 0, memory_order_release);
    memcpy(kept->text, line->text, size);
    kept->text[size - 1] = '\n';
    atomic_store_explicit(&kept->size, size, memory_order_release);
}

void hf_log_share_ring(void *memory)
{
    ring = memory;
}

uint64_t hf_log_recent(char *buffer, uint64_t capacity)
{
    return hf_log_read_ring(ring, buffer, capacity);
}

uint64_t hf_log_read_ring(const void *memory, char *buffer, uint64_t capacity)
{
    const struct ring *from = memory;
    uint64_t next = atomic_load_explicit(&from->next, memory_order_acquire);
    uint64_t size = 0;

    for (uint64_t i = next < RING_LINES ? 0 : next - RING_LINES; i < next; i++) {
        const struct ring_line *line = &from->lines[i % RING_LINES];
        uint32_t line_size = atomic_load_explicit(&line->size, memory_order_acquire);
        /* A dead writer may have left anything: nothing outside the line is ever copied. */
        if (line_size > RING_LINE_BYTES || line_size > capacity - size)
            break;
        memcpy(buffer + size, line->text, line_size);
        size += line_size;
    }
    return size;
}

static void send_line(const struct line *line)
{
    uint64_t sent = 0;

    while (sent < line->size) {
        ssize_t n = write(current.fd, line->text + sent, line->size - sent);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            /* Where would one report that reporting fails?  It is counted, and the metric shows it. */
            atomic_fetch_add_explicit(&lost_lines, 1, memory_order_relaxed);
            return;
        }
        sent += (uint64_t)n;
    }
}

void hf_log_write(int32_t level, const char *source, hf_slice message, const hf_log_field *fields, uint64_t field_count)
{
    struct line line;

    if (level < atomic_load_explicit(&least_level, memory_order_relaxed))
        return;
    line.size = 0;
    line.cut = 0;
    if (current.format == HF_LOG_FORMAT_JSON)
        build_json(&line, level, source, message, fields, field_count);
    else
        build_text(&line, level, source, message, fields, field_count);
    close_line(&line);
    remember(&line);
    send_line(&line);
}

void hf_log(int32_t level, const char *source, const char *format, ...)
{
    char message[2048];
    va_list arguments;

    if (level < atomic_load_explicit(&least_level, memory_order_relaxed))
        return;
    va_start(arguments, format);
    int size = vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (size < 0)
        return; /* only for a broken format, which the compiler checks */
    if ((size_t)size >= sizeof message)
        size = sizeof message - 1;
    hf_log_write(level, source, (hf_slice){(const uint8_t *)message, (uint64_t)size}, NULL, 0);
}
