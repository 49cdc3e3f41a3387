/* stream.h: the bytes of an export.
 *
 *   header  "HFEQ" version:u32
 *   frame   size:u32 crc:u32 payload[size]      any number; the payloads joined are the records
 *   end     0x80000008:u32 crc:u32 count:u64    nothing follows
 *   record  key_size:u32 value_size:u32 key value
 *
 * Integers are little endian.  Each CRC32C starts from the one before, and covers the frame's size and payload, so a
 * lost, repeated or exchanged frame is found as well as a changed byte. */
#ifndef ENGINE_STREAM_H
#define ENGINE_STREAM_H

#include <holdfast/holdfast.h>

enum { STREAM_FRAME_MAX = 32768, STREAM_KEY_MAX = 65535, STREAM_VALUE_MAX = 1 << 30 };

/* Gives the next record, valid until the next call: 1, or 0 at the end, or an error. */
typedef int32_t (*stream_next)(void *arg, hf_slice *ret_key, hf_slice *ret_value, hf_error *error);
/* Takes a record, borrowed for the call. */
typedef int32_t (*stream_record)(void *arg, hf_slice key, hf_slice value, hf_error *error);

typedef struct {
    stream_next next;
    void *arg;
    uint8_t frame[8 + STREAM_FRAME_MAX];
    uint64_t frame_size, frame_sent;
    uint8_t sizes[8];
    hf_slice parts[3]; /* what remains of the present record: sizes, key, value */
    uint64_t count;
    uint32_t crc;
    int32_t ended;
} stream_writer;

typedef struct {
    const hf_host *host;
    stream_record record;
    void *arg;
    uint8_t frame[8 + STREAM_FRAME_MAX];
    uint64_t frame_size, frame_wanted;
    uint8_t *bytes; /* the present record, as far as it has come */
    uint64_t size, capacity, wanted;
    uint64_t count;
    uint32_t crc;
    int32_t started, ended, failed;
} stream_reader;

void stream_writer_init(stream_writer *writer, stream_next next, void *arg);
int32_t stream_writer_read(stream_writer *writer, uint8_t *buffer, uint64_t capacity, uint64_t *ret_size,
                           hf_error *error);

void stream_reader_init(stream_reader *reader, const hf_host *host, stream_record record, void *arg);
void stream_reader_done(stream_reader *reader);
int32_t stream_reader_feed(stream_reader *reader, hf_slice bytes, hf_error *error);
/* 0 when everything came, up to the end marker. */
int32_t stream_reader_finish(const stream_reader *reader, hf_error *error);

#endif
