/* log.h: the process's structured log: one line per event, text for people or JSON for machines.
 *
 * A line carries time, level, process, source (a core part or a plugin), message, fields and, where one is set on the
 * thread, the trace id.  All functions are [any] unless said otherwise. */
#ifndef HOLDFAST_CORE_TELEMETRY_LOG_H
#define HOLDFAST_CORE_TELEMETRY_LOG_H

#include <holdfast/holdfast.h>

enum { HF_LOG_FORMAT_TEXT = 0, HF_LOG_FORMAT_JSON = 1 };

typedef struct hf_log_settings {
    const char *process; /* name in every line; static or outliving the log */
    int32_t level;       /* the least HF_LOG_... that is written */
    int32_t format;      /* HF_LOG_FORMAT_... */
    int32_t fd;          /* written with one write(2) per line, so that lines of several processes do not mix */
} hf_log_settings;

/* Sets up the log.  Before it, lines go to standard error as text from HF_LOG_INFO up.  [main], before threads. */
void hf_log_configure(const hf_log_settings *settings);

/* Changes the least level at run time. */
void hf_log_set_level(int32_t level);

/* A field of a line; the value is written as text. */
typedef struct hf_log_field {
    const char *name; /* lower case, words joined by '_' */
    hf_slice value;
} hf_log_field;

/* Writes one line.  Bytes that are not UTF-8 and control characters are escaped, so a line is always one line, and
 * valid JSON in that format.  A line over 8 KiB, or in JSON a message over about 1300 bytes, is cut and says so. */
void hf_log_write(int32_t level, const char *source, hf_slice message, const hf_log_field *fields,
                  uint64_t field_count);

/* The same with a formatted message and no fields. */
void hf_log(int32_t level, const char *source, const char *format, ...) HF_PRINTF(3, 4);

/* Trace id of what the calling thread is working on: 16 bytes, all zero: none. */
void hf_log_set_trace(const uint8_t trace[16]);

/* The last lines written, newest last, for the record of a crash: copies up to `capacity` bytes of whole lines into
 * `buffer` and returns how many.  Async-signal-safe. */
uint64_t hf_log_recent(char *buffer, uint64_t capacity);

/* Size of the ring of recent lines, in bytes. */
enum { HF_LOG_RING_SIZE = 32 * 520 + 16 };

/* Keeps the ring in `memory` (HF_LOG_RING_SIZE zeroed bytes, aligned to 8, that outlive the log) from now on, so that
 * another process can read it when this one is dead.  [main], before threads. */
void hf_log_share_ring(void *memory);

/* hf_log_recent for a ring that lies in `memory`, of another process or this one. */
uint64_t hf_log_read_ring(const void *memory, char *buffer, uint64_t capacity);

/* Lines that could not be written (the disk or the pipe refused). */
uint64_t hf_log_lost(void);

#endif
