/* lib/buffer.h: a growable byte buffer with a limit.  One thread at a time. */
#ifndef HOLDFAST_LIB_BUFFER_H
#define HOLDFAST_LIB_BUFFER_H

#include <holdfast/holdfast.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes data[0..size).  Read the fields freely; a caller that fills data[size..capacity) itself after a reserve adds
 * to `size` what it wrote.  `data` moves when the buffer grows. */
typedef struct hf_buffer {
    uint8_t *data;     /* owned; NULL while capacity is 0 */
    uint64_t size;     /* bytes in use */
    uint64_t capacity; /* bytes allocated */
    uint64_t maximum;  /* bytes that size may reach */
} hf_buffer;

/* Begins an empty buffer that may hold up to `maximum` bytes.  Allocates nothing; cannot fail. */
void hf_buffer_init(hf_buffer *buffer, uint64_t maximum);

/* Frees the bytes.  The buffer is empty afterwards and may be used again; a zeroed one is accepted. */
void hf_buffer_done(hf_buffer *buffer);

/* Forgets the bytes and keeps the memory. */
void hf_buffer_clear(hf_buffer *buffer);

/* Makes room for `extra` bytes after `size`.  HF_ETOOLARGE past the maximum, HF_ENOMEM; the buffer is then as it was.
 */
int32_t hf_buffer_reserve(hf_buffer *buffer, uint64_t extra);

/* Copies `size` bytes to the end; `data` may be NULL when size is 0 and must not lie in the buffer itself.  Errors as
 * hf_buffer_reserve. */
int32_t hf_buffer_append(hf_buffer *buffer, const void *data, uint64_t size);

/* Appends formatted text without a terminating zero byte.  Errors as hf_buffer_reserve, and HF_EINVAL when the format
 * cannot be converted. */
int32_t hf_buffer_append_format(hf_buffer *buffer, const char *format, ...) HF_PRINTF(2, 3);

/* Removes the first `size` bytes, at most what is there; the rest moves to the front. */
void hf_buffer_consume(hf_buffer *buffer, uint64_t size);

#ifdef __cplusplus
}
#endif
#endif
