/* The files of the log: made, recycled, read and written. */
#include "log_private.h"

#include <holdfast/lib/error.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { SPARES_LIMIT = 64 };

int32_t log_write_all(struct store_log *log, int file, struct iovec *parts, int count, uint64_t offset, hf_error *error)
{
    const struct store_log_file_system *fs = &log->options.file_system;

    while (count > 0) {
        int64_t written = fs->pwritev(fs->context, file, parts, count, offset);

        if (written == -EINTR)
            continue;
        if (written <= 0)
            return hf_error_set_errno(error, HF_EIO, written ? (int)-written : EIO, "cannot write the log");
        offset += (uint64_t)written;
        for (; count > 0 && (uint64_t)written >= parts->iov_len; parts++, count--)
            written -= (int64_t)parts->iov_len;
        if (count > 0) {
            parts->iov_base = (uint8_t *)parts->iov_base + written;
            parts->iov_len -= (size_t)written;
        }
    }
    return HF_OK;
}

int32_t log_read_all(struct store_log *log, int file, void *buffer, uint64_t size, uint64_t offset, hf_error *error)
{
    const struct store_log_file_system *fs = &log->options.file_system;
    uint8_t *to = buffer;

    while (size > 0) {
        int64_t count = fs->pread(fs->context, file, to, size, offset);

        if (count == -EINTR)
            continue;
        if (count < 0)
            return hf_error_set_errno(error, HF_EIO, (int)-count, "cannot read the log");
        if (count == 0) { /* behind the end of a file: as if it were zero */
            memset(to, 0, size);
            return HF_OK;
        }
        to += count;
        offset += (uint64_t)count;
        size -= (uint64_t)count;
    }
    return HF_OK;
}

static int take_spare(struct store_log *log, uint64_t *ret_number)
{
    int taken = 0;

    pthread_mutex_lock(&log->lock);
    if (log->spare_count > 0) {
        *ret_number = log->spares[--log->spare_count];
        log->metrics.recycled++;
        taken = 1;
    }
    pthread_mutex_unlock(&log->lock);
    return taken;
}

/* The writer alone changes the count, so it may look at it without the lock. */
static int wants_spare(const struct store_log *log)
{
    return log->spare_count < log->options.spare_max && log->spare_count < SPARES_LIMIT;
}

static void keep_spare(struct store_log *log, uint64_t number)
{
    pthread_mutex_lock(&log->lock);
    log->spares[log->spare_count++] = number;
    pthread_mutex_unlock(&log->lock);
}

/* Takes a spare's file, or makes one of full size, so that later writes change no metadata. */
static int32_t make_file(struct store_log *log, const char *name, int *ret_file, hf_error *error)
{
    const struct store_log_file_system *fs = &log->options.file_system;
    char spare[SEGMENT_NAME_SIZE];
    uint64_t number;
    int r = 0;

    if (take_spare(log, &number)) {
        segment_name(number, ".spare", spare);
        r = fs->rename(fs->context, spare, name);
    }
    if (r < 0)
        return hf_error_set_errno(error, HF_EIO, -r, "cannot rename the log's file '%s'", spare);
    *ret_file = fs->open(fs->context, name, 1);
    if (*ret_file < 0)
        return hf_error_set_errno(error, HF_EIO, -*ret_file, "cannot make the log's file '%s'", name);
    r = fs->fallocate(fs->context, *ret_file, log->options.segment_size);
    if (r < 0) {
        fs->close(fs->context, *ret_file);
        return hf_error_set_errno(error, HF_EIO, -r, "no room for the log's file '%s' of %llu bytes", name,
                                  (unsigned long long)log->options.segment_size);
    }
    return HF_OK;
}

static int32_t write_header(struct store_log *log, int file, uint64_t number, hf_error *error)
{
    const struct store_log_file_system *fs = &log->options.file_system;
    struct segment_header header = {.version = SEGMENT_VERSION,
                                    .segment_size = (uint32_t)log->options.segment_size,
                                    .number = number,
                                    .previous = log->current ? log->current->number : 0,
                                    .previous_end = log->current ? (uint32_t)log->current->end : 0};
    uint8_t bytes[SEGMENT_HEADER_SIZE];
    struct iovec part = {bytes, sizeof bytes};
    int32_t result;
    int r;

    memcpy(header.node, log->options.node, sizeof header.node);
    segment_header_encode(&header, bytes);
    result = log_write_all(log, file, &part, 1, 0, error);
    if (result != HF_OK)
        return result;
    r = fs->fdatasync(fs->context, file);
    if (r == 0)
        r = fs->fsync_directory(fs->context);
    return r == 0 ? HF_OK : hf_error_set_errno(error, HF_EIO, -r, "cannot flush a new file of the log");
}

int32_t log_segment_begin(struct store_log *log, hf_error *error)
{
    const struct store_log_file_system *fs = &log->options.file_system;
    struct segment *segment = calloc(1, sizeof *segment);
    char name[SEGMENT_NAME_SIZE];
    int32_t result;

    if (!segment)
        return hf_error_set(error, HF_ENOMEM, "no memory for a segment of the log");
    segment->number = log->next_number;
    segment->end = SEGMENT_HEADER_SIZE;
    segment_name(segment->number, ".log", name);
    result = make_file(log, name, &segment->file, error);
    if (result != HF_OK) {
        free(segment);
        return result;
    }
    result = write_header(log, segment->file, segment->number, error);
    if (result == HF_OK) {
        pthread_mutex_lock(&log->lock);
        result = index_segment_add(&log->index, segment);
        pthread_mutex_unlock(&log->lock);
    }
    if (result != HF_OK) {
        fs->close(fs->context, segment->file);
        free(segment);
        return result == HF_ENOMEM ? hf_error_set(error, HF_ENOMEM, "no memory for a segment of the log") : result;
    }
    log->next_number++;
    log->current = segment;
    return HF_OK;
}

/* Gives the file away.  A failure leaves a file that the next start finds and reads without harm. */
static void retire(struct store_log *log, const struct segment *segment)
{
    const struct store_log_file_system *fs = &log->options.file_system;
    char name[SEGMENT_NAME_SIZE], spare[SEGMENT_NAME_SIZE];

    fs->close(fs->context, segment->file);
    segment_name(segment->number, ".log", name);
    segment_name(segment->number, ".spare", spare);
    if (wants_spare(log)) {
        if (fs->rename(fs->context, name, spare) == 0)
            keep_spare(log, segment->number);
    } else {
        fs->unlink(fs->context, name);
    }
}

/* Oldest first, and one durably gone before the next goes: what is left is always the end of the log, so a record that
 * cancels another never goes before it. */
void log_segments_free(struct store_log *log)
{
    const struct store_log_file_system *fs = &log->options.file_system;

    for (;;) {
        struct segment *oldest = NULL;

        pthread_mutex_lock(&log->lock);
        if (log->index.segment_count > 1)
            oldest = log->index.segments[0];
        if (oldest && (oldest == log->current || oldest->entries || oldest->marks || oldest->readers))
            oldest = NULL;
        if (oldest) {
            index_segment_remove_oldest(&log->index);
            log->metrics.freed++;
        }
        pthread_mutex_unlock(&log->lock);
        if (!oldest)
            return;
        retire(log, oldest);
        free(oldest);
        if (fs->fsync_directory(fs->context) != 0)
            return;
    }
}
