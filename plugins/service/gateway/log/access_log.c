#include "log/access_log.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/value.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOOK_US = 1000000, FILE_MODE = 0640 };

struct gateway_log {
    struct gateway_log *next;
    atomic_uint references; /* of plans */
    const hf_host *host;
    const hf_loop_interface *loops;
    struct gateway_log_rules rules;
    char *path;
    void *user;
    uint32_t lane_count;
    struct gateway_log_lane *lanes;

    pthread_mutex_t lock; /* protects the next six; held for a few instructions */
    pthread_cond_t rests; /* the job works no more */
    struct gateway_log_buffer *first, **end;
    int is_submitted; /* the job belongs to the pool */
    int is_working;
    int looks;      /* whether the path still leads to the file */
    int opens_anew; /* in any case */
    int is_closed;  /* nothing is taken any more */
    hf_job job;
    atomic_uint outstanding; /* jobs and tasks that will still come back, after the end, too */
    int is_orphaned;         /* the last of them frees it; [main, or when nothing else runs] */

    /* Of the job, or of whoever closes: */
    int fd;
    int is_torn; /* the last line in the file has no end */
    atomic_int failed_errno;
    _Atomic uint64_t written_bytes, lost_lines;
};

static void submit(struct gateway_log *log);

/* ---- Life -------------------------------------------------------------------------------------------------------- */

static void free_log(struct gateway_log *log)
{
    for (uint32_t i = 0; log->lanes && i < log->lane_count; i++)
        for (int k = 0; k < GATEWAY_LOG_LANE_BUFFERS; k++)
            hf_buffer_done(&log->lanes[i].buffers[k].text);
    if (log->fd >= 0)
        (void)close(log->fd); /* nothing was buffered there */
    pthread_cond_destroy(&log->rests);
    pthread_mutex_destroy(&log->lock);
    free(log->lanes);
    free(log->path);
    free(log);
}

/* Something that was under way has come back. */
static void came_back(struct gateway_log *log)
{
    if (atomic_fetch_sub_explicit(&log->outstanding, 1, memory_order_acq_rel) == 1 && log->is_orphaned)
        free_log(log);
}

/* Not in the way of what reads the other end of a pipe, or of none that does. */
static int open_file(const char *path)
{
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, FILE_MODE);
}

static int32_t fill_lanes(struct gateway_log *log, const struct gateway_logs *logs)
{
    log->lanes = calloc(logs->worker_count, sizeof *log->lanes);
    if (!log->lanes)
        return HF_ENOMEM;
    log->lane_count = logs->worker_count;
    for (uint32_t i = 0; i < log->lane_count; i++) {
        log->lanes[i].log = log;
        log->lanes[i].loop = logs->loops->worker(logs->host, i);
        for (int k = 0; k < GATEWAY_LOG_LANE_BUFFERS; k++) {
            hf_buffer *text = &log->lanes[i].buffers[k].text;
            hf_buffer_init(text, log->rules.buffer_size);
            if (hf_buffer_reserve(text, log->rules.buffer_size) != HF_OK)
                return HF_ENOMEM;
        }
    }
    return HF_OK;
}

static struct gateway_log *create(const struct gateway_logs *logs, const struct gateway_log_rules *rules)
{
    struct gateway_log *log = calloc(1, sizeof *log);

    if (!log)
        return NULL;
    log->host = logs->host;
    log->loops = logs->loops;
    log->fd = -1;
    log->end = &log->first;
    pthread_mutex_init(&log->lock, NULL);
    pthread_cond_init(&log->rests, NULL);
    atomic_init(&log->references, 1);
    log->path = strdup(rules->path);
    log->rules = *rules;
    log->rules.path = log->path;
    if (log->path && fill_lanes(log, logs) == HF_OK)
        return log;
    free_log(log);
    return NULL;
}

void gateway_logs_init(struct gateway_logs *logs, const hf_host *host, const hf_loop_interface *loops,
                       uint32_t worker_count)
{
    *logs = (struct gateway_logs){.host = host, .loops = loops, .worker_count = worker_count};
}

static int is_as(const struct gateway_log *log, const struct gateway_log_rules *rules)
{
    return strcmp(log->path, rules->path) == 0 && log->rules.format == rules->format &&
           log->rules.buffer_size == rules->buffer_size && log->rules.flush_us == rules->flush_us;
}

int32_t gateway_logs_take(struct gateway_logs *logs, const struct gateway_log_rules *rules,
                          struct gateway_log **ret_log, hf_error *error)
{
    for (struct gateway_log *log = logs->first; log; log = log->next)
        if (is_as(log, rules)) {
            atomic_fetch_add_explicit(&log->references, 1, memory_order_relaxed);
            *ret_log = log;
            return HF_OK;
        }
    struct gateway_log *log = create(logs, rules);
    if (!log)
        return hf_error_set(error, HF_ENOMEM, "no memory for the access log '%s'", rules->path);
    log->fd = open_file(log->path);
    if (log->fd < 0) {
        hf_error_set_errno(error, HF_EIO, errno, "the access log '%s' cannot be opened", rules->path);
        free_log(log);
        return HF_EIO;
    }
    log->next = logs->first;
    logs->first = log;
    *ret_log = log;
    return HF_OK;
}

void gateway_log_release(struct gateway_log *log)
{
    if (log)
        atomic_fetch_sub_explicit(&log->references, 1, memory_order_release);
}

/* ---- Writing [pool] ---------------------------------------------------------------------------------------------- */

static void say(const struct gateway_log *log, int32_t level, const char *what, int why)
{
    char text[512], reason[128];

    snprintf(text, sizeof text, "the access log '%s' %s%s%s", log->path, what, why ? ": " : "",
             why ? strerror_r(why, reason, sizeof reason) : "");
    log->host->log(log->host, level, hf_slice_of(text));
}

/* Said when it begins to fail, and when it goes well again, not in between. */
static void note_result(struct gateway_log *log, int failed, const char *what)
{
    int before = atomic_exchange_explicit(&log->failed_errno, failed, memory_order_relaxed);

    if (failed && !before)
        say(log, HF_LOG_ERROR, what, failed);
    else if (!failed && before)
        say(log, HF_LOG_INFO, "is written again", 0);
}

/* 0: the path leads to something else than what is open, or to nothing. */
static int is_the_same_file(const struct gateway_log *log)
{
    struct stat there, open;

    return log->fd >= 0 && stat(log->path, &there) == 0 && fstat(log->fd, &open) == 0 && there.st_dev == open.st_dev &&
           there.st_ino == open.st_ino;
}

/* Where none can be opened, what there is stays open: lines that nobody will look for are better than none. */
static void open_anew(struct gateway_log *log)
{
    int fd = open_file(log->path);

    if (fd < 0) {
        note_result(log, errno, "cannot be opened anew");
        return;
    }
    if (log->fd >= 0)
        (void)close(log->fd); /* nothing was buffered there */
    log->fd = fd;
    log->is_torn = 0;
}

static int write_all(struct gateway_log *log, const uint8_t *bytes, uint64_t size)
{
    while (size) {
        ssize_t written = write(log->fd, bytes, size);

        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return errno;
        bytes += written;
        size -= (uint64_t)written;
        atomic_fetch_add_explicit(&log->written_bytes, (uint64_t)written, memory_order_relaxed);
        log->is_torn = size > 0 || log->is_torn;
    }
    return 0;
}

/* Lines of a buffer that was written in part are lost as a whole, but for what can be read of them: a reader finds the
 * end of the torn line before the next one. */
static void write_buffer(struct gateway_log *log, struct gateway_log_buffer *buffer)
{
    int failed = log->is_torn ? write_all(log, (const uint8_t *)"\n", 1) : 0;

    if (!failed) {
        log->is_torn = 0;
        failed = write_all(log, buffer->text.data, buffer->text.size);
        log->is_torn &= failed != 0;
    }
    if (failed)
        atomic_fetch_add_explicit(&log->lost_lines, buffer->lines, memory_order_relaxed);
    note_result(log, failed, "cannot be written; lines are dropped");
    hf_buffer_clear(&buffer->text);
    buffer->lines = 0;
    atomic_store_explicit(&buffer->is_out, 0, memory_order_release);
}

/* Under the lock. */
static struct gateway_log_buffer *take_first(struct gateway_log *log)
{
    struct gateway_log_buffer *buffer = log->first;

    if (!buffer)
        return NULL;
    log->first = buffer->next;
    if (!log->first)
        log->end = &log->first;
    return buffer;
}

/* Under the lock, which is given up while anything takes time. */
static void write_handed_over(struct gateway_log *log)
{
    struct gateway_log_buffer *buffer;

    while ((buffer = take_first(log)) || log->looks || log->opens_anew) {
        int looks = log->looks, opens = log->opens_anew;

        log->looks = log->opens_anew = 0;
        pthread_mutex_unlock(&log->lock);
        if (opens || (looks && !is_the_same_file(log)))
            open_anew(log);
        if (buffer)
            write_buffer(log, buffer);
        pthread_mutex_lock(&log->lock);
    }
}

static void work(hf_job *job)
{
    struct gateway_log *log = (struct gateway_log *)((char *)job - offsetof(struct gateway_log, job));

    pthread_mutex_lock(&log->lock);
    if (!log->is_closed) {
        log->is_working = 1;
        write_handed_over(log);
        log->is_working = 0;
        pthread_cond_signal(&log->rests);
    }
    pthread_mutex_unlock(&log->lock);
}

static void done(hf_job *job)
{
    struct gateway_log *log = (struct gateway_log *)((char *)job - offsetof(struct gateway_log, job));

    pthread_mutex_lock(&log->lock);
    log->is_submitted = 0;
    if (log->first || log->looks || log->opens_anew)
        submit(log);
    pthread_mutex_unlock(&log->lock);
    came_back(log);
}

/* Under the lock.  Where the pool takes nothing, the next one who hands something over tries again. */
static void submit(struct gateway_log *log)
{
    if (log->is_submitted || log->is_closed)
        return;
    log->job = (hf_job){.loop = log->loops->main_loop(log->host), .work = work, .done = done};
    atomic_fetch_add_explicit(&log->outstanding, 1, memory_order_relaxed);
    log->is_submitted = log->loops->submit(log->host, &log->job, NULL) == HF_OK;
    if (!log->is_submitted)
        atomic_fetch_sub_explicit(&log->outstanding, 1, memory_order_relaxed);
}

/* ---- Lines [the worker's loop] ----------------------------------------------------------------------------------- */

static void add_to(_Atomic uint64_t *number, uint64_t more)
{
    atomic_store_explicit(number, atomic_load_explicit(number, memory_order_relaxed) + more, memory_order_relaxed);
}

static int is_out(struct gateway_log_buffer *buffer)
{
    return atomic_load_explicit(&buffer->is_out, memory_order_acquire);
}

/* 0: there is nothing, or it has been handed over already and the other one, too. */
static int hand_over(struct gateway_log_lane *lane)
{
    struct gateway_log_buffer *buffer = &lane->buffers[lane->present];
    struct gateway_log *log = lane->log;

    if (is_out(buffer) || !buffer->lines)
        return 0;
    atomic_store_explicit(&buffer->is_out, 1, memory_order_relaxed);
    lane->present = (lane->present + 1) % GATEWAY_LOG_LANE_BUFFERS;
    atomic_store_explicit(&lane->since_us, 0, memory_order_relaxed);
    pthread_mutex_lock(&log->lock);
    buffer->next = NULL;
    *log->end = buffer;
    log->end = &buffer->next;
    submit(log);
    pthread_mutex_unlock(&log->lock);
    return 1;
}

static int append(struct gateway_log_lane *lane, const struct gateway_record *record, uint64_t now_us)
{
    struct gateway_log_buffer *buffer = &lane->buffers[lane->present];

    if (is_out(buffer) || gateway_record_append(record, lane->log->rules.format, &lane->clock, &buffer->text) != HF_OK)
        return 0;
    if (buffer->lines++ == 0)
        atomic_store_explicit(&lane->since_us, now_us, memory_order_relaxed);
    return 1;
}

void gateway_log_add(struct gateway_log *log, uint32_t worker, const struct gateway_record *record, uint64_t now_us)
{
    struct gateway_log_lane *lane = &log->lanes[worker];

    if (append(lane, record, now_us) || (hand_over(lane) && append(lane, record, now_us)))
        add_to(&lane->lines, 1);
    else
        add_to(&lane->dropped, 1);
}

static void flush_lane(hf_task *task)
{
    struct gateway_log_lane *lane = (struct gateway_log_lane *)((char *)task - offsetof(struct gateway_log_lane, task));
    struct gateway_log *log = lane->log;

    if (!log->is_orphaned)
        (void)hand_over(lane);
    atomic_store_explicit(&lane->is_posted, 0, memory_order_release);
    came_back(log);
}

int32_t gateway_log_is_needed(const struct gateway_log *log)
{
    return atomic_load_explicit(&log->references, memory_order_acquire) > 0;
}

/* ---- Tending [main] ---------------------------------------------------------------------------------------------- */

static void tend_lane(struct gateway_log_lane *lane, uint64_t now_us)
{
    struct gateway_log *log = lane->log;
    uint64_t since_us = atomic_load_explicit(&lane->since_us, memory_order_relaxed);

    if (!since_us || (now_us < since_us + log->rules.flush_us && gateway_log_is_needed(log)) ||
        atomic_load_explicit(&lane->is_posted, memory_order_acquire))
        return;
    atomic_store_explicit(&lane->is_posted, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&log->outstanding, 1, memory_order_relaxed);
    lane->task.run = flush_lane;
    log->loops->post(lane->loop, &lane->task);
}

static void ask_for(struct gateway_log *log, int looks, int opens_anew)
{
    pthread_mutex_lock(&log->lock);
    log->looks |= looks;
    log->opens_anew |= opens_anew;
    if (log->first || log->looks || log->opens_anew)
        submit(log);
    pthread_mutex_unlock(&log->lock);
}

/* Nobody has it any more, and all its lines are written. */
static int is_done_with(struct gateway_log *log)
{
    if (gateway_log_is_needed(log))
        return 0;
    for (uint32_t i = 0; i < log->lane_count; i++)
        if (atomic_load_explicit(&log->lanes[i].since_us, memory_order_acquire))
            return 0;
    if (atomic_load_explicit(&log->outstanding, memory_order_acquire) > 0)
        return 0;
    pthread_mutex_lock(&log->lock);
    int done_with = !log->first && !log->looks && !log->opens_anew;
    pthread_mutex_unlock(&log->lock);
    return done_with;
}

void gateway_logs_tend(struct gateway_logs *logs, uint64_t now_us)
{
    int looks = now_us - logs->looked_us >= LOOK_US;

    if (looks)
        logs->looked_us = now_us;
    for (struct gateway_log **at = &logs->first; *at;) {
        struct gateway_log *log = *at;

        if (is_done_with(log) && !log->user) {
            *at = log->next;
            free_log(log);
            continue;
        }
        for (uint32_t i = 0; i < log->lane_count; i++)
            tend_lane(&log->lanes[i], now_us);
        ask_for(log, looks && gateway_log_is_needed(log), 0);
        at = &log->next;
    }
}

void gateway_logs_reopen(struct gateway_logs *logs)
{
    for (struct gateway_log *log = logs->first; log; log = log->next)
        ask_for(log, 0, 1);
}

static void close_log(struct gateway_log *log)
{
    pthread_mutex_lock(&log->lock);
    log->is_closed = 1;
    while (log->is_working)
        pthread_cond_wait(&log->rests, &log->lock);
    write_handed_over(log);
    pthread_mutex_unlock(&log->lock);
    for (uint32_t i = 0; i < log->lane_count; i++) {
        struct gateway_log_buffer *buffer = &log->lanes[i].buffers[log->lanes[i].present];
        if (buffer->lines)
            write_buffer(log, buffer);
    }
    if (atomic_load_explicit(&log->outstanding, memory_order_acquire) > 0)
        log->is_orphaned = 1; /* what comes back finds it, and frees it */
    else
        free_log(log);
}

void gateway_logs_close(struct gateway_logs *logs)
{
    while (logs->first) {
        struct gateway_log *log = logs->first;

        logs->first = log->next;
        close_log(log);
    }
}

/* ---- Telling [main] ---------------------------------------------------------------------------------------------- */

struct gateway_log *gateway_log_next(const struct gateway_logs *logs, const struct gateway_log *log)
{
    return log ? log->next : logs->first;
}

const struct gateway_log_rules *gateway_log_get_rules(const struct gateway_log *log)
{
    return &log->rules;
}

void gateway_log_get_status(struct gateway_log *log, struct gateway_log_status *ret_status)
{
    *ret_status =
        (struct gateway_log_status){.dropped = atomic_load_explicit(&log->lost_lines, memory_order_relaxed),
                                    .written_bytes = atomic_load_explicit(&log->written_bytes, memory_order_relaxed),
                                    .failed_errno = atomic_load_explicit(&log->failed_errno, memory_order_relaxed)};
    for (uint32_t i = 0; i < log->lane_count; i++) {
        ret_status->lines += atomic_load_explicit(&log->lanes[i].lines, memory_order_relaxed);
        ret_status->dropped += atomic_load_explicit(&log->lanes[i].dropped, memory_order_relaxed);
    }
}

void **gateway_log_user(struct gateway_log *log)
{
    return &log->user;
}
