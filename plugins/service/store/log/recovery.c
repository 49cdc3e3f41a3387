/* Opening: the segments are read in order, and the index is what their records say. */
#include "log_private.h"

#include "reader.h"

#include <holdfast/lib/error.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct found {
    uint64_t number;
    struct segment_header header;
    int unfinished; /* a segment whose making was interrupted: nothing is in it */
};

struct recovery {
    struct store_log *log;
    struct found *found;
    uint64_t count, capacity;
    int32_t code;
    int32_t damaged;
    struct segment *segment; /* being read */
    uint64_t torn;           /* bytes of an interrupted write behind the last segment's end */
};

static void damage(struct recovery *recovery, const struct store_log_damage *what)
{
    recovery->damaged = 1;
    if (recovery->log->options.damaged)
        recovery->log->options.damaged(recovery->log->options.argument, what);
}

/* ---- Which files there are
 * ------------------------------------------------------------------------------------------- */

static void see_file(void *argument, const char *name)
{
    struct recovery *recovery = argument;
    struct store_log *log = recovery->log;
    uint64_t number;

    if (segment_name_parse(name, ".spare", &number)) {
        if (log->spare_count < sizeof log->spares / sizeof *log->spares)
            log->spares[log->spare_count++] = number;
        return;
    }
    if (!segment_name_parse(name, ".log", &number))
        return;
    if (recovery->count == recovery->capacity) {
        uint64_t capacity = recovery->capacity ? recovery->capacity * 2 : 64;
        struct found *found = realloc(recovery->found, capacity * sizeof *found);

        if (!found) {
            recovery->code = HF_ENOMEM;
            return;
        }
        recovery->found = found;
        recovery->capacity = capacity;
    }
    recovery->found[recovery->count++] = (struct found){.number = number};
}

static int compare(const void *a, const void *b)
{
    const struct found *first = a, *second = b;

    return first->number < second->number ? -1 : first->number > second->number;
}

/* A new file is zero, and a recycled one still has the header of its former life. */
static int is_unfinished(const struct store_log *log, const uint8_t *bytes, uint64_t number)
{
    static const uint8_t zero[SEGMENT_HEADER_SIZE];
    struct segment_header header;

    if (memcmp(bytes, zero, sizeof zero) == 0)
        return 1;
    return segment_header_decode(bytes, SEGMENT_HEADER_SIZE, &header) == HF_OK && header.number < number &&
           memcmp(header.node, log->options.node, sizeof header.node) == 0;
}

static int32_t check_header(struct recovery *recovery, struct found *found, const uint8_t *bytes, int last,
                            hf_error *error)
{
    struct store_log *log = recovery->log;
    int32_t result = segment_header_decode(bytes, SEGMENT_HEADER_SIZE, &found->header);

    if (result == HF_EVERSION)
        return hf_error_set(error, HF_EVERSION,
                            "segment %016llx of the log has format version %u, and this release reads %u; use the "
                            "release that wrote it",
                            (unsigned long long)found->number, found->header.version, SEGMENT_VERSION);
    if (result == HF_OK && memcmp(found->header.node, log->options.node, sizeof found->header.node) != 0)
        return hf_error_set(error, HF_ESTATE,
                            "the log belongs to another node; give every node its own state directory");
    if (result == HF_OK && found->header.number == found->number)
        return HF_OK;
    if (last && is_unfinished(log, bytes, found->number)) {
        found->unfinished = 1;
        return HF_OK;
    }
    damage(recovery, &(struct store_log_damage){.segment = found->number, .reason = "the segment's header is damaged"});
    found->header = (struct segment_header){.segment_size = (uint32_t)log->options.segment_size};
    return HF_OK;
}

static int32_t open_segment(struct recovery *recovery, uint64_t i, hf_error *error)
{
    struct store_log *log = recovery->log;
    const struct store_log_file_system *fs = &log->options.file_system;
    struct found *found = &recovery->found[i];
    struct segment *segment = calloc(1, sizeof *segment);
    uint8_t bytes[SEGMENT_HEADER_SIZE];
    char name[SEGMENT_NAME_SIZE];
    int32_t result;

    if (!segment)
        return hf_error_set(error, HF_ENOMEM, "no memory for a segment of the log");
    segment->number = found->number;
    segment_name(found->number, ".log", name);
    segment->file = fs->open(fs->context, name, 0);
    if (segment->file < 0) {
        result = hf_error_set_errno(error, HF_EIO, -segment->file, "cannot open the log's file '%s'", name);
        free(segment);
        return result;
    }
    result = log_read_all(log, segment->file, bytes, sizeof bytes, 0, error);
    if (result == HF_OK)
        result = check_header(recovery, found, bytes, i + 1 == recovery->count, error);
    if (result == HF_OK && !found->unfinished)
        result = index_segment_add(&log->index, segment);
    if (result == HF_OK && !found->unfinished)
        return HF_OK;
    fs->close(fs->context, segment->file);
    free(segment);
    if (result == HF_OK) { /* unfinished: made again when it is needed */
        fs->unlink(fs->context, name);
        recovery->count--;
    }
    return result;
}

/* ---- What is in them
 * -------------------------------------------------------------------------------------------------- */

static void see_record(void *argument, const struct record_view *view, uint64_t offset)
{
    struct recovery *recovery = argument;
    int32_t result = index_apply(&recovery->log->index, &view->record, view->payload_size, recovery->segment->number,
                                 (uint32_t)offset);

    if (result == INDEX_GAP)
        damage(recovery, &(struct store_log_damage){.segment = recovery->segment->number,
                                                    .offset = offset,
                                                    .group = view->record.group,
                                                    .group_known = 1,
                                                    .reason = "entries before this one are missing"});
    else if (result != INDEX_APPLIED)
        recovery->code = result;
}

static void see_damage(void *argument, uint64_t offset, uint64_t size, const char *reason)
{
    struct recovery *recovery = argument;

    damage(recovery, &(struct store_log_damage){
                         .segment = recovery->segment->number, .offset = offset, .size = size, .reason = reason});
}

/* Where the segment's records end, by the header of the next one; 0: it is the last. */
static uint64_t known_end(struct recovery *recovery, uint64_t i)
{
    const struct found *found = &recovery->found[i], *next = found + 1;

    if (i + 1 == recovery->count)
        return 0;
    if (next->header.previous != found->number) {
        damage(recovery, &(struct store_log_damage){.segment = found->number + 1, .reason = "a segment is missing"});
        return found->header.segment_size;
    }
    return next->header.previous_end;
}

static int32_t read_segment(struct recovery *recovery, uint64_t i, hf_error *error)
{
    struct store_log *log = recovery->log;
    struct segment_scan scan = {.size = recovery->found[i].header.segment_size,
                                .seed = segment_seed(log->options.node, recovery->found[i].number),
                                .known_end = known_end(recovery, i),
                                .record = see_record,
                                .damage = see_damage,
                                .argument = recovery};
    uint8_t *bytes = malloc(scan.size ? scan.size : 1);
    int32_t result;

    if (!bytes)
        return hf_error_set(error, HF_ENOMEM, "no memory to read a segment of the log");
    recovery->segment = log->index.segments[i];
    result = log_read_all(log, recovery->segment->file, bytes, scan.size, 0, error);
    if (result == HF_OK) {
        scan.data = bytes;
        segment_scan_run(&scan);
        recovery->segment->end = scan.end;
        recovery->torn = scan.torn_bytes;
        if (scan.torn_bytes && log->options.cut)
            log->options.cut(log->options.argument, recovery->segment->number, scan.end, scan.torn_bytes);
        if (recovery->code != HF_OK)
            result = hf_error_set(error, recovery->code, "no memory for the index of the log");
    }
    free(bytes);
    return result;
}

static void check_gaps(struct recovery *recovery)
{
    const struct log_index *index = &recovery->log->index;

    for (uint64_t i = 0; i < index->bucket_count; i++)
        for (const struct index_group *group = index->buckets[i]; group; group = group->next)
            if (index_group_has_gap(group))
                damage(recovery, &(struct store_log_damage){.group = group->id,
                                                            .group_known = 1,
                                                            .reason = "entries behind the snapshot are missing"});
}

static int32_t read_all(struct recovery *recovery, hf_error *error)
{
    struct store_log *log = recovery->log;
    int32_t result = HF_OK;

    for (uint64_t i = 0; i < recovery->count && result == HF_OK; i++)
        result = open_segment(recovery, i, error);
    log->index.recovering = 1; /* segments that were freed are always the oldest */
    for (uint64_t i = 0; i < recovery->count && result == HF_OK; i++)
        result = read_segment(recovery, i, error);
    log->index.recovering = 0;
    check_gaps(recovery);
    if (result != HF_OK)
        return result;
    if (recovery->damaged && !log->options.accept_damage)
        return hf_error_set(error, HF_ECORRUPT,
                            "the log is damaged, see the lines before; with good copies on other nodes remove this "
                            "node's data and let it be fetched, or set store.log.accept_damage");
    if (recovery->count == 0)
        return HF_OK;
    log->next_number = recovery->found[recovery->count - 1].number + 1;
    log->current = log->index.segments[recovery->count - 1];
    return HF_OK;
}

/* A segment of another size than now asked for is not written to any more. */
static int same_size(const struct store_log *log, const struct found *last)
{
    return last->header.segment_size == log->options.segment_size;
}

int32_t log_recover(struct store_log *log, hf_error *error)
{
    const struct store_log_file_system *fs = &log->options.file_system;
    struct recovery recovery = {.log = log};
    int32_t result = HF_OK;
    int r = fs->list(fs->context, see_file, &recovery);

    if (r < 0)
        result = hf_error_set_errno(error, HF_EIO, -r, "cannot list the files of the log");
    else if (recovery.code != HF_OK)
        result = hf_error_set(error, recovery.code, "no memory to open the log");
    log->next_number = 1;
    if (result == HF_OK && recovery.count > 0)
        qsort(recovery.found, recovery.count, sizeof *recovery.found, compare);
    if (result == HF_OK)
        result = read_all(&recovery, error);
    int go_on = result == HF_OK && log->current && !recovery.torn && !recovery.damaged &&
                same_size(log, &recovery.found[recovery.count - 1]);
    free(recovery.found);
    /* Remains of an interrupted write or of damage lie behind the end, and could be taken for records of later writes:
     * those go into a segment of their own. */
    if (result == HF_OK && !go_on)
        result = log_segment_begin(log, error);
    return result;
}
