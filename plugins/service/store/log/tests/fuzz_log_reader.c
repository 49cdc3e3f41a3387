/* Any bytes as a segment: what the reader reports lies within it, in order, and a record is exactly its bytes.
 *
 * The first 8 bytes say how the rest, a segment, is treated: bit 0 of the first gives a known end, bit 1 makes records
 * of what follows the header, so that the checksums do not hide what is behind them, and up to three bytes are then
 * damaged. */
#include "reader.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { CONTROL_SIZE = 8, SEED = 12345 };

struct check {
    const uint8_t *data;
    uint64_t size, limit, at;
};

static void expect(int condition)
{
    if (!condition)
        abort();
}

static void on_record(void *argument, const struct record_view *view, uint64_t offset)
{
    struct check *check = argument;
    uint8_t encoded[RECORD_HEADER_SIZE + 16];

    expect(offset >= check->at && offset % RECORD_ALIGNMENT == 0 && view->batch <= offset);
    check->at = offset + view->stored_size;
    expect(check->at <= check->limit);
    uint32_t size = record_encode(&view->record, SEED, view->batch, encoded);

    expect(memcmp(encoded + 12, check->data + offset + 12, size - 12) == 0);
    expect(record_payload_size(&view->record) == view->payload_size);
}

static void on_damage(void *argument, uint64_t offset, uint64_t size, const char *reason)
{
    struct check *check = argument;

    expect(offset >= check->at && size > 0 && reason != NULL);
    check->at = offset + size;
}

/* Gives what looks like records good checksums. */
static void make_records(uint8_t *data, uint64_t size)
{
    uint64_t at = SEGMENT_HEADER_SIZE, batch = at;

    while (at + RECORD_HEADER_SIZE + 16 <= size) {
        uint8_t *p = data + at;
        struct store_log_record record = {.type = 1 + p[8] % 5,
                                          .entry_type = p[9],
                                          .group = p[16],
                                          .index = p[24],
                                          .term = p[32],
                                          .vote = p[40],
                                          .commit = p[48],
                                          .snapshot_index = p[40]};

        if (p[12] & 1)
            batch = at;
        if (record.type == STORE_LOG_ENTRY)
            record.payload = (hf_slice){p + RECORD_HEADER_SIZE, p[0] % (size - at - RECORD_HEADER_SIZE + 1)};
        uint32_t stored = record_stored_size(record_payload_size(&record));

        if (stored > size - at)
            return;
        record_encode(&record, SEED, (uint32_t)batch, p);
        at += stored;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct segment_header header;

    if (size < CONTROL_SIZE + SEGMENT_HEADER_SIZE || size > 1 << 16)
        return 0;
    uint64_t segment_size = size - CONTROL_SIZE;
    uint8_t *data = malloc(segment_size);

    expect(data != NULL);
    memcpy(data, bytes + CONTROL_SIZE, segment_size);
    (void)segment_header_decode(data, segment_size, &header); /* must only not read past the end */
    if (bytes[0] & 2) {
        make_records(data, segment_size);
        for (int i = 2; i < CONTROL_SIZE; i += 2)
            if (bytes[i] || bytes[i + 1])
                data[(bytes[i] * 256u + bytes[i + 1]) % segment_size] ^= 0x55;
    }
    struct check check = {data, segment_size, segment_size, SEGMENT_HEADER_SIZE};
    struct segment_scan scan = {
        .data = data, .size = segment_size, .seed = SEED, .record = on_record, .damage = on_damage, .argument = &check};

    if (bytes[0] & 1)
        scan.known_end = SEGMENT_HEADER_SIZE + bytes[1] * 8u;
    if (scan.known_end && scan.known_end < segment_size)
        check.limit = scan.known_end;
    segment_scan_run(&scan);
    if (!scan.known_end)
        expect(check.at == scan.end && scan.end + scan.torn_bytes <= segment_size);
    else
        expect(scan.end == scan.known_end && check.at == scan.end && !scan.torn_bytes);
    free(data);
    return 0;
}
