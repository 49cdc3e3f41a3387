/* A growable byte buffer with a limit; see lib/buffer.h. */
#include <holdfast/lib/buffer.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CAPACITY_FIRST = 64 };

void hf_buffer_init(hf_buffer *buffer, uint64_t maximum)
{
    *buffer = (hf_buffer){.maximum = maximum};
}

void hf_buffer_done(hf_buffer *buffer)
{
    free(buffer->data);
    hf_buffer_init(buffer, buffer->maximum);
}

void hf_buffer_clear(hf_buffer *buffer)
{
    buffer->size = 0;
}

/* Doubles, so that appending n bytes one by one costs O(n); never past the maximum. */
static uint64_t capacity_for(const hf_buffer *buffer, uint64_t wanted)
{
    uint64_t capacity = buffer->capacity ? buffer->capacity : CAPACITY_FIRST;

    while (capacity < wanted)
        capacity = capacity > UINT64_MAX / 2 ? UINT64_MAX : capacity * 2;
    return capacity > buffer->maximum ? buffer->maximum : capacity;
}

int32_t hf_buffer_reserve(hf_buffer *buffer, uint64_t extra)
{
    if (extra > buffer->maximum || buffer->size > buffer->maximum - extra)
        return HF_ETOOLARGE;
    if (extra <= buffer->capacity - buffer->size)
        return HF_OK;

    uint64_t capacity = capacity_for(buffer, buffer->size + extra);

    if (capacity > PTRDIFF_MAX)
        return HF_ENOMEM;

    uint8_t *data = realloc(buffer->data, capacity);

    if (!data)
        return HF_ENOMEM;
    buffer->data = data;
    buffer->capacity = capacity;
    return HF_OK;
}

int32_t hf_buffer_append(hf_buffer *buffer, const void *data, uint64_t size)
{
    int32_t r = hf_buffer_reserve(buffer, size);

    if (r < 0 || size == 0)
        return r;
    memcpy(buffer->data + buffer->size, data, size);
    buffer->size += size;
    return HF_OK;
}

static int32_t append_long(hf_buffer *buffer, uint64_t size, const char *format, va_list arguments)
{
    char *text = malloc(size + 1);

    if (!text)
        return HF_ENOMEM;
    vsnprintf(text, size + 1, format, arguments);

    int32_t r = hf_buffer_append(buffer, text, size);

    free(text);
    return r;
}

int32_t hf_buffer_append_format(hf_buffer *buffer, const char *format, ...)
{
    char text[256];
    va_list arguments, again;
    int32_t r;

    va_start(arguments, format);
    va_copy(again, arguments);
    int size = vsnprintf(text, sizeof text, format, arguments);
    if (size < 0)
        r = HF_EINVAL;
    else if ((size_t)size < sizeof text)
        r = hf_buffer_append(buffer, text, (uint64_t)size);
    else
        r = append_long(buffer, (uint64_t)size, format, again);
    va_end(again);
    va_end(arguments);
    return r;
}

void hf_buffer_consume(hf_buffer *buffer, uint64_t size)
{
    if (size >= buffer->size) {
        buffer->size = 0;
        return;
    }
    if (size == 0)
        return;
    memmove(buffer->data, buffer->data + size, buffer->size - size);
    buffer->size -= size;
}
