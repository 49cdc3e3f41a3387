/* lib/export.h: the bytes of an engine's export (kind/engine.h): records in order, framed, with checksums.  No I/O; one
 * thread at a time.
 *
 *   header  magic version:u32                   magic: four bytes, the engine's own
 *   frame   size:u32 crc:u32 payload[size]      any number; the payloads joined are the records
 *   end     0x80000008:u32 crc:u32 count:u64    nothing follows
 *   record  key_size:u32 value_size:u32 key value
 *
 * Integers are little endian.  Each CRC32C starts from the one before, and covers the frame's size and payload, so a
 * lost, repeated or exchanged frame is found as well as a changed byte. */
#ifndef HOLDFAST_LIB_EXPORT_H
#define HOLDFAST_LIB_EXPORT_H

#include <holdfast/holdfast.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { HF_EXPORT_FRAME_MAX = 32768, HF_EXPORT_KEY_MAX = 65535, HF_EXPORT_VALUE_MAX = 1 << 30 };

/* Gives the next record, valid until the next call: 1, or 0 at the end, or an error. */
typedef int32_t (*hf_export_next)(void *arg, hf_slice *ret_key, hf_slice *ret_value, hf_error *error);
/* Takes a record, borrowed for the call. */
typedef int32_t (*hf_export_record)(void *arg, hf_slice key, hf_slice value, hf_error *error);

typedef struct hf_export_writer {
    hf_export_next next;
    void *arg;
    uint8_t frame[8 + HF_EXPORT_FRAME_MAX]; /* that is being sent, if it was not made where it was wanted */
    uint64_t frame_size, frame_sent;
    uint8_t sizes[8];
    hf_slice parts[3]; /* what remains of the present record: sizes, key, value */
    uint64_t count;
    uint32_t crc;
    int32_t ended;
} hf_export_writer;

typedef struct hf_export_reader {
    const hf_host *host;
    hf_export_record record;
    uint8_t magic[4];
    void *arg;
    uint8_t frame[8 + HF_EXPORT_FRAME_MAX]; /* the present frame, as far as it has come */
    uint64_t frame_size;
    uint8_t *bytes; /* the present record, as far as it has come */
    uint64_t size, capacity;
    uint64_t count;
    uint32_t crc;
    int32_t started, ended, failed;
} hf_export_reader;

/* `magic` has four bytes. */
void hf_export_writer_init(hf_export_writer *writer, const char *magic, hf_export_next next, void *arg);
int32_t hf_export_writer_read(hf_export_writer *writer, uint8_t *buffer, uint64_t capacity, uint64_t *ret_size,
                              hf_error *error);

/* Calls visit(visit_arg) for the records of `next`, until `bytes` bytes were visited or it returns anything but 0;
 * *ret_more 0: there are no more. */
int32_t hf_export_visit(hf_export_next next, void *arg, uint64_t bytes,
                        int32_t (*visit)(void *arg, hf_slice key, hf_slice value), void *visit_arg, int32_t *ret_more,
                        hf_error *error);

/* Memory comes from `host`, as much as the largest record. */
void hf_export_reader_init(hf_export_reader *reader, const hf_host *host, const char *magic, hf_export_record record,
                           void *arg);
void hf_export_reader_done(hf_export_reader *reader);
int32_t hf_export_reader_feed(hf_export_reader *reader, hf_slice bytes, hf_error *error);
/* 0 when everything came, up to the end marker. */
int32_t hf_export_reader_finish(const hf_export_reader *reader, hf_error *error);

#ifdef __cplusplus
}
#endif
#endif
