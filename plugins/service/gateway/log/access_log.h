/* access_log.h: a file of records, written in the background.
 *
 * Each worker fills a buffer of its own and hands it over when it is full, or when its first line has waited long
 * enough; meanwhile it fills the other one of its two.  One job of the background pool at a time writes what was handed
 * over, each buffer with one call.  Where the disk does not keep up, lines are dropped and counted: nobody waits.
 *
 * Whoever moves the file away, as logrotate does, gets a new one in its place within a second or two: the job looks
 * whether the path still leads to the file that it has open. */
#ifndef GATEWAY_ACCESS_LOG_H
#define GATEWAY_ACCESS_LOG_H

#include "record/record.h"

#include <holdfast/host/loop.h>

#include <pthread.h>
#include <stdatomic.h>

enum { GATEWAY_LOG_LANE_BUFFERS = 2 };

struct gateway_log;

struct gateway_log_buffer {
    struct gateway_log_buffer *next; /* of those that were handed over */
    hf_buffer text;
    uint32_t lines;
    atomic_int is_out; /* handed over, and not written yet */
};

/* A worker's part.  Of the worker, where it does not say otherwise. */
struct gateway_log_lane {
    struct gateway_log *log;
    struct gateway_log_buffer buffers[GATEWAY_LOG_LANE_BUFFERS];
    uint32_t present; /* the one that is being filled */
    struct gateway_clock clock;
    _Atomic uint64_t since_us;       /* when its first line came; 0: it is empty; others only read it */
    _Atomic uint64_t lines, dropped; /* others only read them */
    hf_task task;                    /* hands the buffer over */
    atomic_int is_posted;
    hf_loop *loop;
};

/* What is known of a log from outside. */
struct gateway_log_status {
    uint64_t lines, dropped, written_bytes;
    int32_t failed_errno; /* of the last write or opening; 0: it went well */
};

struct gateway_log_rules {
    const char *path;
    int32_t format; /* GATEWAY_FORMAT_... */
    uint64_t buffer_size;
    uint64_t flush_us;
};

/* The logs of a gateway.  [main] */
struct gateway_logs {
    const hf_host *host;
    const hf_loop_interface *loops;
    uint32_t worker_count;
    struct gateway_log *first;
    uint64_t looked_us; /* when paths were last looked at */
};

void gateway_logs_init(struct gateway_logs *logs, const hf_host *host, const hf_loop_interface *loops,
                       uint32_t worker_count);

/* The log that has these rules, or a new one with its file opened; held.  HF_EIO, HF_ENOMEM.  Opening may block.
 * [main] */
int32_t gateway_logs_take(struct gateway_logs *logs, const struct gateway_log_rules *rules,
                          struct gateway_log **ret_log, hf_error *error);

/* Whoever took it needs it no more; no line of theirs comes after this.  Accepts NULL.  [any] */
void gateway_log_release(struct gateway_log *log);

/* Hands over what has waited long enough, has the files looked after once a second, and frees logs that nobody needs
 * any more.  To be called every 100 ms or so.  [main] */
void gateway_logs_tend(struct gateway_logs *logs, uint64_t now_us);

/* Opens all files anew, soon.  [main] */
void gateway_logs_reopen(struct gateway_logs *logs);

/* Writes what there is, and closes; may block.  No worker runs any more.  [main] */
void gateway_logs_close(struct gateway_logs *logs);

/* A line.  Never waits.  [the worker's loop] */
void gateway_log_add(struct gateway_log *log, uint32_t worker, const struct gateway_record *record, uint64_t now_us);

/* ---- For those who tell of logs [main] --------------------------------------------------------------------------- */

struct gateway_log *gateway_log_next(const struct gateway_logs *logs,
                                     const struct gateway_log *log); /* NULL: the first */
const struct gateway_log_rules *gateway_log_get_rules(const struct gateway_log *log);
void gateway_log_get_status(struct gateway_log *log, struct gateway_log_status *ret_status);

/* Whether some configuration in use has it. */
int32_t gateway_log_is_needed(const struct gateway_log *log);

/* Room for what somebody publishes of it. */
void **gateway_log_user(struct gateway_log *log);

#endif
