/* Writes and reads the bytes of exports; see lib/export.h. */
#include <holdfast/lib/checksum.h>
#include <holdfast/lib/error.h>
#include <holdfast/lib/export.h>

#include <string.h>

enum { MAGIC_SIZE = 4, STREAM_VERSION = 1, STREAM_HEAD = 8, RECORD_HEAD = 8 };
#define STREAM_END 0x80000000u

static void put_u32(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> 8 * i);
}

static uint32_t get_u32(const uint8_t *from)
{
    return from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

static uint32_t frame_crc(uint32_t before, const uint8_t *frame, uint64_t size)
{
    return hf_crc32c(hf_crc32c(before, frame, 4), frame + STREAM_HEAD, size);
}

/* ---- Writing ---- */

void hf_export_writer_init(hf_export_writer *writer, const char *magic, hf_export_next next, void *arg)
{
    memset(writer, 0, sizeof *writer);
    writer->next = next;
    writer->arg = arg;
    memcpy(writer->frame, magic, MAGIC_SIZE);
    put_u32(writer->frame + 4, STREAM_VERSION);
    writer->frame_size = STREAM_HEAD;
}

/* Moves what fits of the present record into the payload; returns the new payload size. */
static uint64_t add_parts(hf_export_writer *writer, uint8_t *payload, uint64_t size)
{
    for (int i = 0; i < 3; i++) {
        hf_slice *part = &writer->parts[i];
        uint64_t n = part->size < HF_EXPORT_FRAME_MAX - size ? part->size : HF_EXPORT_FRAME_MAX - size;

        if (n == 0)
            continue;
        memcpy(payload + size, part->data, n);
        part->data += n;
        part->size -= n;
        size += n;
    }
    return size;
}

static int32_t next_record(hf_export_writer *writer, hf_error *error)
{
    hf_slice key, value;
    int32_t r = writer->next(writer->arg, &key, &value, error);

    if (r != 1)
        return r;
    put_u32(writer->sizes, (uint32_t)key.size);
    put_u32(writer->sizes + 4, (uint32_t)value.size);
    writer->parts[0] = (hf_slice){writer->sizes, sizeof writer->sizes};
    writer->parts[1] = key;
    writer->parts[2] = value;
    writer->count++;
    return 1;
}

static void seal(hf_export_writer *writer, uint8_t *frame, uint32_t head, uint64_t size)
{
    put_u32(frame, head);
    writer->crc = frame_crc(writer->crc, frame, size);
    put_u32(frame + 4, writer->crc);
}

/* Makes the next frame at `frame`, which has room for the largest. */
static int32_t build_frame(hf_export_writer *writer, uint8_t *frame, uint64_t *ret_size, hf_error *error)
{
    uint8_t *payload = frame + STREAM_HEAD;
    uint64_t size = add_parts(writer, payload, 0);

    while (size < HF_EXPORT_FRAME_MAX) {
        int32_t r = next_record(writer, error);

        if (r < 0)
            return r;
        if (r == 0)
            break;
        size = add_parts(writer, payload, size);
    }
    if (size > 0) {
        seal(writer, frame, (uint32_t)size, size);
    } else {
        size = 8;
        put_u32(payload, (uint32_t)writer->count);
        put_u32(payload + 4, (uint32_t)(writer->count >> 32));
        seal(writer, frame, STREAM_END | 8, size);
        writer->ended = 1;
    }
    *ret_size = STREAM_HEAD + size;
    return 0;
}

static uint64_t send_frame(hf_export_writer *writer, uint8_t *buffer, uint64_t capacity)
{
    uint64_t left = writer->frame_size - writer->frame_sent, n = left < capacity ? left : capacity;

    memcpy(buffer, writer->frame + writer->frame_sent, n);
    writer->frame_sent += n;
    return n;
}

/* Frames are made where they are wanted; only the last, which the buffer may have no room for, is made aside. */
int32_t hf_export_writer_read(hf_export_writer *writer, uint8_t *buffer, uint64_t capacity, uint64_t *ret_size,
                              hf_error *error)
{
    uint64_t size = send_frame(writer, buffer, capacity);
    int32_t r = 0;

    while (r == 0 && !writer->ended && size < capacity) {
        uint64_t n = 0;

        if (capacity - size >= sizeof writer->frame) {
            r = build_frame(writer, buffer + size, &n, error);
        } else {
            writer->frame_sent = writer->frame_size = 0;
            r = build_frame(writer, writer->frame, &writer->frame_size, error);
            n = send_frame(writer, buffer + size, capacity - size);
        }
        size += n;
    }
    if (r == 0)
        *ret_size = size;
    return r;
}

int32_t hf_export_visit(hf_export_next next, void *arg, uint64_t bytes,
                        int32_t (*visit)(void *arg, hf_slice key, hf_slice value), void *visit_arg, int32_t *ret_more,
                        hf_error *error)
{
    uint64_t visited = 0;

    *ret_more = 1;
    while (visited < bytes) {
        hf_slice key, value;
        int32_t r = next(arg, &key, &value, error);

        if (r <= 0) {
            *ret_more = 0;
            return r;
        }
        visited += key.size + value.size;
        if (visit(visit_arg, key, value) != 0)
            break;
    }
    return 0;
}

/* ---- Reading ---- */

void hf_export_reader_init(hf_export_reader *reader, const hf_host *host, const char *magic, hf_export_record record,
                           void *arg)
{
    memset(reader, 0, sizeof *reader);
    memcpy(reader->magic, magic, MAGIC_SIZE);
    reader->host = host;
    reader->record = record;
    reader->arg = arg;
}

void hf_export_reader_done(hf_export_reader *reader)
{
    reader->host->free(reader->host, reader->bytes);
    reader->bytes = NULL;
}

static int32_t damaged(hf_error *error, const char *what)
{
    return hf_error_set(error, HF_ECORRUPT, "the export is damaged (%s); fetch it again", what);
}

static void advance(hf_slice *bytes, uint64_t n)
{
    bytes->data += n;
    bytes->size -= n;
}

/* What a record needs of which these bytes have come: first its sizes, then all of it. */
static int32_t record_wanted(hf_slice come, uint64_t *ret_wanted, hf_error *error)
{
    *ret_wanted = RECORD_HEAD;
    if (come.size < RECORD_HEAD)
        return 0;
    uint64_t key_size = get_u32(come.data), value_size = get_u32(come.data + 4);

    if (key_size > HF_EXPORT_KEY_MAX || value_size > HF_EXPORT_VALUE_MAX)
        return damaged(error, "a record over the limits");
    *ret_wanted += key_size + value_size;
    return 0;
}

/* Grows with the bytes that came, not with the size that a damaged record claims. */
static int32_t reserve(hf_export_reader *reader, uint64_t size, hf_error *error)
{
    uint64_t capacity = reader->capacity ? reader->capacity : 4096;

    if (size <= reader->capacity)
        return 0;
    while (capacity < size)
        capacity *= 2;
    uint8_t *bytes = reader->host->alloc(reader->host, capacity);

    if (!bytes)
        return hf_error_set(error, HF_ENOMEM, "no memory for a record with %llu bytes", (unsigned long long)size);
    if (reader->size)
        memcpy(bytes, reader->bytes, reader->size);
    reader->host->free(reader->host, reader->bytes);
    reader->bytes = bytes;
    reader->capacity = capacity;
    return 0;
}

static int32_t give_record(hf_export_reader *reader, const uint8_t *record, uint64_t size, hf_error *error)
{
    uint64_t key_size = get_u32(record);
    hf_slice key = {record + RECORD_HEAD, key_size};
    hf_slice value = {record + RECORD_HEAD + key_size, size - RECORD_HEAD - key_size};

    reader->count++;
    return reader->record(reader->arg, key, value, error);
}

/* Puts a part of a record aside, until the rest comes. */
static int32_t collect_record(hf_export_reader *reader, hf_slice *payload, hf_error *error)
{
    uint64_t wanted = 0, n;
    int32_t r = record_wanted((hf_slice){reader->bytes, reader->size}, &wanted, error);

    if (r < 0)
        return r;
    n = payload->size < wanted - reader->size ? payload->size : wanted - reader->size;
    r = reserve(reader, reader->size + n, error);
    if (r < 0)
        return r;
    memcpy(reader->bytes + reader->size, payload->data, n);
    reader->size += n;
    advance(payload, n);
    r = record_wanted((hf_slice){reader->bytes, reader->size}, &wanted, error);
    if (r < 0 || reader->size < wanted)
        return r;
    reader->size = 0;
    return give_record(reader, reader->bytes, wanted, error);
}

/* A record that lies whole in the payload is given from there. */
static int32_t read_payload(hf_export_reader *reader, hf_slice payload, hf_error *error)
{
    int32_t r = 0;

    while (r == 0 && payload.size > 0) {
        uint64_t wanted = 0;

        if (reader->size == 0)
            r = record_wanted(payload, &wanted, error);
        if (r < 0)
            return r;
        if (reader->size == 0 && payload.size >= wanted) {
            r = give_record(reader, payload.data, wanted, error);
            advance(&payload, wanted);
        } else {
            r = collect_record(reader, &payload, error);
        }
    }
    return r;
}

static int32_t read_end(hf_export_reader *reader, const uint8_t *payload, hf_error *error)
{
    uint64_t count = get_u32(payload) | (uint64_t)get_u32(payload + 4) << 32;

    if (count != reader->count || reader->size != 0)
        return damaged(error, "the number of records differs");
    reader->ended = 1;
    return 0;
}

static int32_t read_header(hf_export_reader *reader, const uint8_t *header, hf_error *error)
{
    if (memcmp(header, reader->magic, MAGIC_SIZE) != 0)
        return damaged(error, "no header");
    if (get_u32(header + 4) != STREAM_VERSION)
        return damaged(error, "a version that this engine cannot read");
    reader->started = 1;
    return 0;
}

/* What a frame needs of which these bytes have come: first its head, then all of it; the header of the stream is one
 * without a payload. */
static int32_t frame_wanted(const hf_export_reader *reader, hf_slice come, uint64_t *ret_wanted, hf_error *error)
{
    *ret_wanted = STREAM_HEAD;
    if (!reader->started || come.size < STREAM_HEAD)
        return 0;
    uint32_t head = get_u32(come.data);
    uint64_t size = head & ~STREAM_END;

    if (size == 0 || size > HF_EXPORT_FRAME_MAX || (head & STREAM_END && size != 8))
        return damaged(error, "a frame of impossible size");
    *ret_wanted += size;
    return 0;
}

static int32_t read_frame(hf_export_reader *reader, const uint8_t *frame, uint64_t size, hf_error *error)
{
    hf_slice payload = {frame + STREAM_HEAD, size - STREAM_HEAD};

    if (!reader->started)
        return read_header(reader, frame, error);
    reader->crc = frame_crc(reader->crc, frame, payload.size);
    if (reader->crc != get_u32(frame + 4))
        return damaged(error, "a checksum does not match");
    return get_u32(frame) & STREAM_END ? read_end(reader, payload.data, error) : read_payload(reader, payload, error);
}

/* Puts a part of a frame aside, until the rest comes. */
static int32_t collect_frame(hf_export_reader *reader, hf_slice *bytes, hf_error *error)
{
    uint64_t wanted = 0, n;
    int32_t r = frame_wanted(reader, (hf_slice){reader->frame, reader->frame_size}, &wanted, error);

    if (r < 0)
        return r;
    n = bytes->size < wanted - reader->frame_size ? bytes->size : wanted - reader->frame_size;
    memcpy(reader->frame + reader->frame_size, bytes->data, n);
    reader->frame_size += n;
    advance(bytes, n);
    r = frame_wanted(reader, (hf_slice){reader->frame, reader->frame_size}, &wanted, error);
    if (r < 0 || reader->frame_size < wanted)
        return r;
    reader->frame_size = 0;
    return read_frame(reader, reader->frame, wanted, error);
}

/* A frame that lies whole in the bytes is read there. */
static int32_t read_bytes(hf_export_reader *reader, hf_slice *bytes, hf_error *error)
{
    uint64_t wanted = 0;
    int32_t r = 0;

    if (reader->failed || reader->ended)
        return damaged(error, reader->failed ? "found earlier" : "bytes after the end");
    if (reader->frame_size == 0)
        r = frame_wanted(reader, *bytes, &wanted, error);
    if (r < 0)
        return r;
    if (reader->frame_size > 0 || bytes->size < wanted)
        return collect_frame(reader, bytes, error);
    r = read_frame(reader, bytes->data, wanted, error);
    advance(bytes, wanted);
    return r;
}

int32_t hf_export_reader_feed(hf_export_reader *reader, hf_slice bytes, hf_error *error)
{
    int32_t r = 0;

    while (r == 0 && bytes.size > 0)
        r = read_bytes(reader, &bytes, error);
    if (r < 0)
        reader->failed = 1;
    return r;
}

int32_t hf_export_reader_finish(const hf_export_reader *reader, hf_error *error)
{
    if (reader->failed || !reader->ended)
        return damaged(error, reader->failed ? "found earlier" : "it ends early");
    return 0;
}
