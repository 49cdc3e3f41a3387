/* Makes, recycles and frees segment files.
 *
 * A file gets the name NUMBER.log only when its header is durable, so a .log file with a bad header is damage and not
 * an interrupted beginning.  Segments are freed from the oldest on only, one durable step at a time: a record that
 * ended the life of an older one must not go before it. */
#include "log_private.h"

#include <errno.h>
#include <holdfast/lib/error.h>
#include <stdlib.h>
#include <string.h>

int log_write_all(const struct store_log_file_system *fs, int file, struct iovec *parts, int count, uint64_t offset)
{
    while (count) {
        int64_t r = fs->pwritev(fs->context, file, parts, count, offset);

        if (r == -EINTR)
            continue;
        if (r <= 0)
            return r < 0 ? (int)r : -EIO;
        offset += (uint64_t)r;
        for (; count && (uint64_t)r >= parts->iov_len; parts++, count--)
            r -= (int64_t)parts->iov_len;
        if (count) {
            parts->iov_base = (uint8_t *)parts->iov_base + r;
            parts->iov_len -= (uint64_t)r;
        }
    }
    return 0;
}

int64_t log_read_all(const struct store_log_file_system *fs, int file, void *buffer, uint64_t size, uint64_t offset)
{
    uint64_t done = 0;

    while (done < size) {
        int64_t r = fs->pread(fs->context, file, (uint8_t *)buffer + done, size - done, offset + done);

        if (r == -EINTR)
            continue;
        if (r < 0)
            return r;
        if (r == 0)
            break;
        done += (uint64_t)r;
    }
    return (int64_t)done;
}

/* Makes the file ready for records, all but the name. */
static int prepare_file(struct store_log *log, int file, uint64_t number)
{
    const struct store_log_file_system *fs = &log->options.file_system;
    struct segment_header header = {.version = SEGMENT_VERSION,
                                    .segment_size = (uint32_t)log->options.segment_size,
                                    .number = number,
                                    .previous = log->last_number,
                                    .previous_end = (uint32_t)log->last_end};
    uint8_t bytes[SEGMENT_HEADER_SIZE];
    struct iovec part = {bytes, sizeof bytes};

    memcpy(header.node, log->options.node, sizeof header.node);
    segment_header_encode(&header, bytes);
    int r = fs->fallocate(fs->context, file, log->options.segment_size);

    if (r == 0)
        r = log_write_all(fs, file, &part, 1, 0);
    return r < 0 ? r : fs->fdatasync(fs->context, file);
}

/* The open file of the new segment, under its own name; or -errno. */
static int make_file(struct store_log *log, uint64_t number)
{
    const struct store_log_file_system *fs = &log->options.file_system;
    uint64_t spare = log->spare_count ? log->spares[--log->spare_count] : number;
    char from[SEGMENT_NAME_SIZE], to[SEGMENT_NAME_SIZE];

    segment_name(spare, ".spare", from);
    segment_name(number, ".log", to);
    int file = fs->open(fs->context, from, 1), r = file;

    if (file < 0)
        return file;
    r = prepare_file(log, file, number);
    if (r == 0)
        r = fs->rename(fs->context, from, to);
    if (r == 0)
        r = fs->fsync_directory(fs->context);
    if (r == 0)
        return file;
    fs->close(fs->context, file);
    return r;
}

int32_t log_segment_begin(struct store_log *log, hf_error *error)
{
    int recycled = log->spare_count > 0;
    struct segment *segment = calloc(1, sizeof *segment);

    if (!segment)
        return hf_error_set(error, HF_ENOMEM, "no memory for a segment of the log; give the process more");
    segment->number = log->next_number;
    segment->size = log->options.segment_size;
    segment->end = SEGMENT_HEADER_SIZE;
    segment->written = recycled ? segment->size : SEGMENT_HEADER_SIZE;
    segment->file = make_file(log, segment->number);
    if (segment->file < 0) {
        int r = segment->file;

        free(segment);
        return hf_error_set_errno(
            error, HF_EIO, -r, "cannot make a log segment of %llu bytes; free space or replace the disk, and restart",
            (unsigned long long)log->options.segment_size);
    }
    pthread_mutex_lock(&log->lock);
    int32_t r = index_segment_add(&log->index, segment);

    log->metrics.recycled += (uint64_t)recycled;
    pthread_mutex_unlock(&log->lock);
    if (r < 0) {
        log->options.file_system.close(log->options.file_system.context, segment->file);
        free(segment);
        return hf_error_set(error, r, "no memory for the list of log segments; give the process more");
    }
    log->current = segment;
    log->next_number++;
    log->last_number = segment->number;
    log->last_end = segment->end;
    return 0;
}

/* The oldest segment, taken off the index, when nothing needs it. */
static struct segment *take_unneeded(struct store_log *log)
{
    struct segment *oldest = NULL;

    pthread_mutex_lock(&log->lock);
    if (log->index.segment_count && log->index.segments[0] != log->current) {
        oldest = log->index.segments[0];
        if (oldest->entries || oldest->marks || oldest->readers)
            oldest = NULL;
        else
            index_segment_remove_oldest(&log->index);
    }
    pthread_mutex_unlock(&log->lock);
    return oldest;
}

static int retire_file(struct store_log *log, const struct segment *segment)
{
    const struct store_log_file_system *fs = &log->options.file_system;
    int keep = log->spare_count < log->options.spare_max && segment->size == log->options.segment_size;
    char name[SEGMENT_NAME_SIZE], spare[SEGMENT_NAME_SIZE];

    segment_name(segment->number, ".log", name);
    segment_name(segment->number, ".spare", spare);
    fs->close(fs->context, segment->file);
    int r = keep ? fs->rename(fs->context, name, spare) : fs->unlink(fs->context, name);

    if (r == 0)
        r = fs->fsync_directory(fs->context);
    if (r == 0 && keep)
        log->spares[log->spare_count++] = segment->number;
    return r;
}

int32_t log_segments_free(struct store_log *log, hf_error *error)
{
    struct segment *segment;
    int r = 0;

    while (r == 0 && (segment = take_unneeded(log))) {
        r = retire_file(log, segment);
        free(segment);
        pthread_mutex_lock(&log->lock);
        log->metrics.freed++;
        pthread_mutex_unlock(&log->lock);
    }
    pthread_mutex_lock(&log->lock);
    log->metrics.spares = log->spare_count;
    pthread_mutex_unlock(&log->lock);
    if (r < 0)
        return hf_error_set_errno(error, HF_EIO, -r, "cannot free a log segment; replace the disk and restart");
    return 0;
}
