/* Finds the records in a segment's bytes.  Pure, any thread.
 *
 * A record says where the write that holds it began, and a write begins only after the one before it is durable.  So
 * a bad record at X is an interrupted write when every good record behind it belongs to a write that began at X or
 * before, and damage to durable bytes when a later write exists. */
#include "reader.h"

static int decode_at(const struct segment_scan *scan, uint64_t offset, uint64_t limit, struct record_view *view)
{
    return record_decode(scan->data + offset, limit - offset, scan->seed, offset, view) == 0;
}

/* The first good record at or behind `offset`, or `limit`. */
static uint64_t find_record(const struct segment_scan *scan, uint64_t offset, uint64_t limit, struct record_view *view)
{
    for (; offset + RECORD_HEADER_SIZE <= limit; offset += RECORD_ALIGNMENT)
        if (decode_at(scan, offset, limit, view))
            return offset;
    return limit;
}

/* Where to look for the next record after a bad one.  An intact header says how far its payload goes: what looks like
 * a record inside it is the user's bytes. */
static uint64_t behind(const struct segment_scan *scan, uint64_t bad, uint64_t limit)
{
    const uint8_t *data = scan->data + bad;
    uint64_t size = record_begins(data, limit - bad, scan->seed) ? record_claimed_size(data) : 0;

    return bad + (size && size <= limit - bad ? size : RECORD_ALIGNMENT);
}

/* Whether a write that began behind `bad` left records; *ret_end is the end of the last good record. */
static int later_write_exists(const struct segment_scan *scan, uint64_t bad, uint64_t limit, uint64_t *ret_end)
{
    struct record_view view;
    uint64_t at = find_record(scan, behind(scan, bad, limit), limit, &view);

    while (at < limit) {
        if (view.batch > bad)
            return 1;
        at += view.stored_size;
        *ret_end = at;
        at = find_record(scan, at, limit, &view);
    }
    return 0;
}

static int is_torn_tail(struct segment_scan *scan, uint64_t bad, uint64_t limit)
{
    uint64_t end = bad;

    if (scan->known_end || later_write_exists(scan, bad, limit, &end))
        return 0;
    if (end == bad && record_begins(scan->data + bad, limit - bad, scan->seed))
        end = bad + RECORD_HEADER_SIZE;
    scan->torn_bytes = end - bad;
    return 1;
}

void segment_scan_run(struct segment_scan *scan)
{
    uint64_t at = SEGMENT_HEADER_SIZE, limit = scan->size;
    struct record_view view;

    if (scan->known_end && scan->known_end < limit)
        limit = scan->known_end;
    while (at < limit) {
        if (!decode_at(scan, at, limit, &view)) {
            if (is_torn_tail(scan, at, limit))
                break;
            uint64_t next = find_record(scan, behind(scan, at, limit), limit, &view);

            if (next >= limit)
                break;
            scan->damage(scan->argument, at, next - at, "a record is damaged, and later ones are intact");
            at = next;
        }
        scan->record(scan->argument, &view, at);
        scan->records++;
        scan->last_write = view.batch;
        at += view.stored_size;
    }
    if (at < scan->known_end)
        scan->damage(scan->argument, at, scan->known_end - at, "records at the end of the segment are missing");
    scan->end = scan->known_end ? scan->known_end : at;
}
