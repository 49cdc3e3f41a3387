/* Reads the segments that a directory has and fills the index.
 *
 * Nothing is changed on the disk before everything has been read and no damage stands in the way.  Then the last
 * write, which may be in the kernel's memory only, is written and flushed once more: what recovery shows to its caller
 * as durable must be so.  After a torn write the log goes on in a new segment, whose header says where the records of
 * this one end, so that what the write left behind is never read again; otherwise it goes on in the last one. */
#include "log_private.h"
#include "reader.h"

#include <holdfast/lib/error.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct numbers {
    uint64_t *items;
    uint64_t count, capacity;
};

struct recovery {
    struct store_log *log;
    struct numbers logs, spares;
    struct segment_header *headers; /* of logs.items; version 0: unreadable */
    int no_memory;
    uint64_t damages;
    struct segment *segment; /* being read */
    struct segment_scan scan;
    uint8_t *data; /* of `segment` */
    uint64_t capacity;
};

/* ---- Which files there are ----------------------------------------------------------------------------------- */

static int add_number(struct numbers *numbers, uint64_t number)
{
    if (numbers->count == numbers->capacity) {
        uint64_t capacity = numbers->capacity ? numbers->capacity * 2 : 64;
        uint64_t *items = realloc(numbers->items, capacity * sizeof *items);

        if (!items)
            return 0;
        numbers->items = items;
        numbers->capacity = capacity;
    }
    numbers->items[numbers->count++] = number;
    return 1;
}

static void on_name(void *argument, const char *name)
{
    struct recovery *recovery = argument;
    uint64_t number = 0;

    if (segment_name_parse(name, ".log", &number))
        recovery->no_memory |= !add_number(&recovery->logs, number);
    else if (segment_name_parse(name, ".spare", &number))
        recovery->no_memory |= !add_number(&recovery->spares, number);
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static int32_t out_of_memory(hf_error *error)
{
    return hf_error_set(error, HF_ENOMEM, "no memory to recover the log; give the process more");
}

static int32_t list_files(struct recovery *recovery, hf_error *error)
{
    const struct store_log_file_system *fs = &recovery->log->options.file_system;
    int r = fs->list(fs->context, on_name, recovery);

    if (r < 0)
        return hf_error_set_errno(error, HF_EIO, -r, "cannot list the log directory");
    recovery->headers = calloc(recovery->logs.count + 1, sizeof *recovery->headers);
    if (recovery->no_memory || !recovery->headers)
        return out_of_memory(error);
    if (recovery->logs.count)
        qsort(recovery->logs.items, recovery->logs.count, sizeof(uint64_t), ascending);
    uint64_t greatest = recovery->logs.count ? recovery->logs.items[recovery->logs.count - 1] : 0;

    for (uint64_t i = 0; i < recovery->spares.count; i++)
        if (recovery->spares.items[i] > greatest)
            greatest = recovery->spares.items[i];
    recovery->log->next_number = greatest + 1;
    return 0;
}

/* ---- Damage -------------------------------------------------------------------------------------------------- */

static void report(struct recovery *recovery, const struct store_log_damage *damage)
{
    const struct store_log_options *options = &recovery->log->options;

    recovery->damages++;
    if (options->damaged)
        options->damaged(options->argument, damage);
}

static void on_damage(void *argument, uint64_t offset, uint64_t size, const char *reason)
{
    struct recovery *recovery = argument;
    const struct segment_scan *scan = &recovery->scan;
    struct store_log_damage damage = {
        .segment = recovery->segment->number, .offset = offset, .size = size, .reason = reason};

    if (offset < scan->size && record_begins(scan->data + offset, scan->size - offset, scan->seed)) {
        damage.group = record_group(scan->data + offset);
        damage.group_known = 1;
    }
    report(recovery, &damage);
}

static void report_incomplete_groups(struct recovery *recovery)
{
    const struct log_index *index = &recovery->log->index;

    for (const struct index_group *g = index_next(index, NULL); g; g = index_next(index, g)) {
        const struct index_entry *first = index_entry(g, g->first);

        if (!index_group_incomplete(g))
            continue;
        report(recovery, &(struct store_log_damage){.segment = first->segment_type >> 8,
                                                    .offset = first->offset,
                                                    .group = g->id,
                                                    .group_known = 1,
                                                    .reason = "entries before this one are missing"});
    }
}

/* ---- Headers ------------------------------------------------------------------------------------------------- */

static int32_t read_header(struct recovery *recovery, struct segment *segment, struct segment_header *header,
                           hf_error *error)
{
    const struct store_log_options *options = &recovery->log->options;
    uint8_t bytes[SEGMENT_HEADER_SIZE];
    int64_t size = log_read_all(&options->file_system, segment->file, bytes, sizeof bytes, 0);

    if (size < 0)
        return hf_error_set_errno(error, HF_EIO, (int)-size, "cannot read log segment %016" PRIx64, segment->number);
    int32_t r = segment_header_decode(bytes, (uint64_t)size, header);

    if (r == HF_EVERSION)
        return hf_error_set(error, HF_EVERSION,
                            "log segment %016" PRIx64 " has format version %" PRIu32
                            ", this release reads %u; use the release that wrote it",
                            segment->number, header->version, SEGMENT_VERSION);
    if (r == 0 && memcmp(header->node, options->node, sizeof header->node) != 0)
        return hf_error_set(error, HF_ESTATE,
                            "log segment %016" PRIx64
                            " was written by another node or in another cluster; give this node its own data directory",
                            segment->number);
    int plausible = r == 0 && header->number == segment->number && header->segment_size >= SEGMENT_SIZE_MIN &&
                    header->segment_size <= SEGMENT_SIZE_MAX;

    if (!plausible) {
        *header = (struct segment_header){.segment_size = (uint32_t)options->segment_size};
        report(recovery, &(struct store_log_damage){.segment = segment->number,
                                                    .size = SEGMENT_HEADER_SIZE,
                                                    .reason = "the segment's header is damaged"});
    }
    segment->size = header->segment_size;
    return 0;
}

static int32_t open_segment(struct recovery *recovery, uint64_t i, hf_error *error)
{
    struct store_log *log = recovery->log;
    const struct store_log_file_system *fs = &log->options.file_system;
    struct segment *segment = calloc(1, sizeof *segment);
    char name[SEGMENT_NAME_SIZE];

    if (!segment)
        return out_of_memory(error);
    segment->number = recovery->logs.items[i];
    segment_name(segment->number, ".log", name);
    segment->file = fs->open(fs->context, name, 0);
    if (segment->file < 0) {
        int r = segment->file;

        free(segment);
        return hf_error_set_errno(error, HF_EIO, -r, "cannot open log segment '%s'", name);
    }
    if (index_segment_add(&log->index, segment) < 0) {
        fs->close(fs->context, segment->file);
        free(segment);
        return out_of_memory(error);
    }
    return read_header(recovery, segment, &recovery->headers[i], error);
}

/* ---- Records ------------------------------------------------------------------------------------------------- */

static void on_record(void *argument, const struct record_view *view, uint64_t offset)
{
    struct recovery *recovery = argument;
    struct log_index *index = &recovery->log->index;

    if (recovery->no_memory || index_reserve(index, &view->record) < 0)
        recovery->no_memory = 1;
    else
        index_apply(index, &view->record, view->payload_size, recovery->segment->number, (uint32_t)offset);
}

/* Whether the header of segment i + 1 says where this one's records end. */
static int end_is_known(const struct recovery *recovery, uint64_t i)
{
    return i + 1 < recovery->logs.count && recovery->headers[i + 1].version &&
           recovery->headers[i + 1].previous == recovery->logs.items[i];
}

static int32_t read_segment(struct recovery *recovery, uint64_t i, hf_error *error)
{
    const struct store_log_file_system *fs = &recovery->log->options.file_system;
    struct segment *segment = recovery->log->index.segments[i];
    uint64_t known_end = end_is_known(recovery, i) ? recovery->headers[i + 1].previous_end : 0;
    uint64_t size = known_end && known_end < segment->size ? known_end : segment->size;

    if (size > recovery->capacity) {
        uint8_t *data = realloc(recovery->data, size);

        if (!data)
            return out_of_memory(error);
        recovery->data = data;
        recovery->capacity = size;
    }
    int64_t r = log_read_all(fs, segment->file, recovery->data, size, 0);

    if (r < 0)
        return hf_error_set_errno(error, HF_EIO, (int)-r, "cannot read log segment %016" PRIx64, segment->number);
    recovery->segment = segment;
    recovery->scan = (struct segment_scan){.data = recovery->data,
                                           .size = (uint64_t)r,
                                           .seed = segment_seed(recovery->log->options.node, segment->number),
                                           .known_end = known_end,
                                           .record = on_record,
                                           .damage = on_damage,
                                           .argument = recovery};
    segment_scan_run(&recovery->scan);
    segment->end = recovery->scan.end;
    return recovery->no_memory ? out_of_memory(error) : 0;
}

/* A chain broken before segment i: what was between is lost, and so is the knowledge of where i - 1 ended. */
static void check_chain(struct recovery *recovery, uint64_t i)
{
    const struct segment_header *header = &recovery->headers[i];

    if (i && header->version && header->previous != recovery->logs.items[i - 1])
        report(recovery, &(struct store_log_damage){.segment = header->previous,
                                                    .reason = "segments before the next one are missing"});
}

static int32_t read_segments(struct recovery *recovery, hf_error *error)
{
    int32_t r = 0;

    for (uint64_t i = 0; r == 0 && i < recovery->logs.count; i++)
        r = open_segment(recovery, i, error);
    for (uint64_t i = 0; r == 0 && i < recovery->logs.count; i++) {
        check_chain(recovery, i);
        r = read_segment(recovery, i, error);
        int last = i + 1 == recovery->logs.count;

        if (r == 0 && !last && recovery->scan.torn_bytes)
            on_damage(recovery, recovery->scan.end, recovery->scan.torn_bytes, "a write is incomplete");
    }
    return r;
}

/* ---- Going on ------------------------------------------------------------------------------------------------ */

/* The last segment is still in recovery->data and recovery->scan.  Writing the same bytes again makes the kernel flush
 * them even if it took them for flushed after an error. */
static int settle_last_write(struct recovery *recovery)
{
    const struct store_log_file_system *fs = &recovery->log->options.file_system;
    const struct segment_scan *scan = &recovery->scan;
    uint64_t from = scan->records ? scan->last_write : scan->end;
    struct iovec part = {recovery->data + from, scan->end - from};
    int r = scan->records ? log_write_all(fs, recovery->segment->file, &part, 1, from) : 0;

    return r < 0 ? r : fs->fdatasync(fs->context, recovery->segment->file);
}

static void report_cut(const struct recovery *recovery)
{
    const struct store_log_options *options = &recovery->log->options;

    if (options->cut && recovery->scan.torn_bytes)
        options->cut(options->argument, recovery->segment->number, recovery->scan.end, recovery->scan.torn_bytes);
}

/* Spares were left by an earlier run; what exceeds the limit goes. */
static int settle_spares(struct recovery *recovery)
{
    struct store_log *log = recovery->log;
    const struct store_log_file_system *fs = &log->options.file_system;
    char name[SEGMENT_NAME_SIZE];
    int r = 0;

    for (uint64_t i = 0; r == 0 && i < recovery->spares.count; i++) {
        segment_name(recovery->spares.items[i], ".spare", name);
        if (log->spare_count < log->options.spare_max)
            log->spares[log->spare_count++] = recovery->spares.items[i];
        else
            r = fs->unlink(fs->context, name);
    }
    log->metrics.spares = log->spare_count;
    return r < 0 ? r : fs->fsync_directory(fs->context);
}

static int32_t settle(struct recovery *recovery, hf_error *error)
{
    struct store_log *log = recovery->log;
    int r = recovery->logs.count ? settle_last_write(recovery) : 0;

    if (r == 0)
        r = settle_spares(recovery);
    if (r < 0)
        return hf_error_set_errno(error, HF_EIO, -r, "cannot write to the log directory");
    if (!recovery->logs.count)
        return 0;
    log->last_number = recovery->segment->number;
    log->last_end = recovery->segment->end;
    atomic_store(&log->position, log->last_number << 32 | log->last_end);
    report_cut(recovery);
    if (!recovery->damages && !recovery->scan.torn_bytes && recovery->segment->size == log->options.segment_size)
        log->current = recovery->segment;
    return 0;
}

static int32_t recover(struct recovery *recovery, hf_error *error)
{
    int32_t r = list_files(recovery, error);

    if (r == 0)
        r = read_segments(recovery, error);
    if (r < 0)
        return r;
    report_incomplete_groups(recovery);
    if (recovery->damages && !recovery->log->options.accept_damage)
        return hf_error_set(error, HF_ECORRUPT,
                            "the log is damaged in %" PRIu64 " places, the records there are lost; restore this node "
                            "from its peers, or accept the damage to open the log without them",
                            recovery->damages);
    return settle(recovery, error);
}

int32_t log_recover(struct store_log *log, hf_error *error)
{
    struct recovery recovery = {.log = log};
    int32_t r = recover(&recovery, error);

    free(recovery.logs.items);
    free(recovery.spares.items);
    free(recovery.headers);
    free(recovery.data);
    return r;
}
