/* Writes and reads the bytes of exports; see lib/export.h. */
#include <holdfast/lib/checksum.h>
#include <holdfast/lib/error.h>
#include <holdfast/lib/export.h>

#include <string.h>

enum { MAGIC_SIZE = 4, STREAM_VERSION = 1, STREAM_HEAD = 8 };
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
static uint64_t add_parts(hf_export_writer *writer, uint64_t size)
{
    for (int i = 0; i < 3; i++) {
        hf_slice *part = &writer->parts[i];
        uint64_t n = part->size < HF_EXPORT_FRAME_MAX - size ? part->size : HF_EXPORT_FRAME_MAX - size;

        if (n == 0)
            continue;
        memcpy(writer->frame + STREAM_HEAD + size, part->data, n);
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

static void seal(hf_export_writer *writer, uint32_t head, uint64_t size)
{
    put_u32(writer->frame, head);
    writer->crc = frame_crc(writer->crc, writer->frame, size);
    put_u32(writer->frame + 4, writer->crc);
    writer->frame_size = STREAM_HEAD + size;
    writer->frame_sent = 0;
}

static int32_t build_frame(hf_export_writer *writer, hf_error *error)
{
    uint64_t size = add_parts(writer, 0);

    while (size < HF_EXPORT_FRAME_MAX) {
        int32_t r = next_record(writer, error);

        if (r < 0)
            return r;
        if (r == 0)
            break;
        size = add_parts(writer, size);
    }
    if (size > 0) {
        seal(writer, (uint32_t)size, size);
        return 0;
    }
    put_u32(writer->frame + STREAM_HEAD, (uint32_t)writer->count);
    put_u32(writer->frame + STREAM_HEAD + 4, (uint32_t)(writer->count >> 32));
    seal(writer, STREAM_END | 8, 8);
    writer->ended = 1;
    return 0;
}

int32_t hf_export_writer_read(hf_export_writer *writer, uint8_t *buffer, uint64_t capacity, uint64_t *ret_size,
                              hf_error *error)
{
    uint64_t size = 0;

    while (size < capacity) {
        uint64_t left = writer->frame_size - writer->frame_sent;
        uint64_t n = left < capacity - size ? left : capacity - size;

        memcpy(buffer + size, writer->frame + writer->frame_sent, n);
        writer->frame_sent += n;
        size += n;
        if (n < left)
            break;
        if (writer->ended)
            break;
        int32_t r = build_frame(writer, error);

        if (r < 0)
            return r;
    }
    *ret_size = size;
    return 0;
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
    reader->frame_wanted = STREAM_HEAD;
    reader->wanted = 8;
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
        return hf_error_set(error, HF_ENOMEM, "no memory for a record of %llu bytes",
                            (unsigned long long)reader->wanted);
    if (reader->size)
        memcpy(bytes, reader->bytes, reader->size);
    reader->host->free(reader->host, reader->bytes);
    reader->bytes = bytes;
    reader->capacity = capacity;
    return 0;
}

/* Called with all the bytes that were wanted: first the sizes, then the whole record. */
static int32_t record_step(hf_export_reader *reader, hf_error *error)
{
    uint64_t key_size = get_u32(reader->bytes), value_size = get_u32(reader->bytes + 4);

    if (key_size > HF_EXPORT_KEY_MAX || value_size > HF_EXPORT_VALUE_MAX)
        return damaged(error, "a record over the limits");
    if (reader->wanted == 8 && key_size + value_size > 0) {
        reader->wanted += key_size + value_size;
        return 0;
    }
    hf_slice key = {reader->bytes + 8, key_size}, value = {reader->bytes + 8 + key_size, value_size};

    reader->size = 0;
    reader->wanted = 8;
    reader->count++;
    return reader->record(reader->arg, key, value, error);
}

static int32_t read_payload(hf_export_reader *reader, const uint8_t *data, uint64_t size, hf_error *error)
{
    while (size > 0) {
        uint64_t missing = reader->wanted - reader->size, n = size < missing ? size : missing;
        int32_t r = reserve(reader, reader->size + n, error);

        if (r < 0)
            return r;
        memcpy(reader->bytes + reader->size, data, n);
        reader->size += n;
        data += n;
        size -= n;
        r = reader->size == reader->wanted ? record_step(reader, error) : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

static int32_t read_end(hf_export_reader *reader, hf_error *error)
{
    const uint8_t *payload = reader->frame + STREAM_HEAD;
    uint64_t count = get_u32(payload) | (uint64_t)get_u32(payload + 4) << 32;

    if (count != reader->count || reader->size != 0)
        return damaged(error, "the number of records differs");
    reader->ended = 1;
    return 0;
}

static int32_t read_header(hf_export_reader *reader, hf_error *error)
{
    if (memcmp(reader->frame, reader->magic, MAGIC_SIZE) != 0)
        return damaged(error, "no header");
    if (get_u32(reader->frame + 4) != STREAM_VERSION)
        return damaged(error, "a version that this engine cannot read");
    reader->started = 1;
    reader->frame_size = 0;
    return 0;
}

/* Called with all the bytes that were wanted: first a frame's head, then the whole frame. */
static int32_t frame_step(hf_export_reader *reader, hf_error *error)
{
    if (!reader->started)
        return read_header(reader, error);
    uint32_t head = get_u32(reader->frame);
    uint64_t size = head & ~STREAM_END;

    if (reader->frame_wanted == STREAM_HEAD) {
        if (size == 0 || size > HF_EXPORT_FRAME_MAX || (head & STREAM_END && size != 8))
            return damaged(error, "a frame of impossible size");
        reader->frame_wanted += size;
        return 0;
    }
    reader->crc = frame_crc(reader->crc, reader->frame, size);
    if (reader->crc != get_u32(reader->frame + 4))
        return damaged(error, "a checksum does not match");
    reader->frame_size = 0;
    reader->frame_wanted = STREAM_HEAD;
    return head & STREAM_END ? read_end(reader, error) : read_payload(reader, reader->frame + STREAM_HEAD, size, error);
}

int32_t hf_export_reader_feed(hf_export_reader *reader, hf_slice bytes, hf_error *error)
{
    int32_t r = 0;

    while (r == 0 && bytes.size > 0) {
        if (reader->failed || reader->ended) {
            r = damaged(error, reader->failed ? "found earlier" : "bytes after the end");
            break;
        }
        uint64_t missing = reader->frame_wanted - reader->frame_size;
        uint64_t n = bytes.size < missing ? bytes.size : missing;

        memcpy(reader->frame + reader->frame_size, bytes.data, n);
        reader->frame_size += n;
        bytes.data += n;
        bytes.size -= n;
        if (reader->frame_size == reader->frame_wanted)
            r = frame_step(reader, error);
    }
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
