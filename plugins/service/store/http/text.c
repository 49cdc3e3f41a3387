/* Times, Base64 and numbers as text. */
#include "http/private.h"

#include <stdio.h>
#include <time.h>

void store_time_text(uint64_t time_us, char text[STORE_TIME_SIZE])
{
    time_t seconds = (time_t)(time_us / 1000000);
    struct tm parts = {0};
    char day[24];

    gmtime_r(&seconds, &parts);
    strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text, STORE_TIME_SIZE, "%.20s.%03uZ", day, (unsigned)(time_us / 1000 % 1000));
}

int32_t store_base64_append(hf_buffer *buffer, hf_slice bytes, int32_t url)
{
    static const char standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static const char web[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *letters = url ? web : standard;
    uint32_t bits = 0, count = 0;

    if (hf_buffer_reserve(buffer, bytes.size * 4 / 3 + 4) != HF_OK)
        return HF_ENOMEM;
    for (uint64_t i = 0; i < bytes.size; i++) {
        bits = bits << 8 | bytes.data[i];
        for (count += 8; count >= 6; count -= 6)
            buffer->data[buffer->size++] = (uint8_t)letters[bits >> (count - 6) & 63];
    }
    if (count)
        buffer->data[buffer->size++] = (uint8_t)letters[bits << (6 - count) & 63];
    for (uint64_t i = bytes.size; !url && i % 3; i++)
        buffer->data[buffer->size++] = '=';
    return HF_OK;
}

static int32_t letter_value(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    return c == '/' || c == '_' ? 63 : -1;
}

int32_t store_base64_read(hf_slice text, hf_arena *arena, hf_slice *ret_bytes)
{
    uint8_t *to;
    uint32_t bits = 0, count = 0;
    uint64_t size = 0, padded = text.size;

    while (text.size && padded - text.size < 2 && text.data[text.size - 1] == '=')
        text.size--;
    if (padded != text.size && padded % 4)
        return HF_EINVAL;
    to = hf_arena_alloc(arena, text.size);
    if (!to)
        return HF_ENOMEM;
    for (uint64_t i = 0; i < text.size; i++) {
        int32_t value = letter_value(text.data[i]);

        if (value < 0)
            return HF_EINVAL;
        bits = bits << 6 | (uint32_t)value;
        count += 6;
        if (count >= 8) {
            count -= 8;
            to[size++] = (uint8_t)(bits >> count);
        }
    }
    *ret_bytes = (hf_slice){to, size};
    /* One text for each value: the bits that are left over must be zero (RFC 4648, 3.5). */
    return count >= 6 || bits & ((1u << count) - 1) ? HF_EINVAL : HF_OK;
}

int32_t store_number_read(hf_slice text, uint64_t maximum, uint64_t *ret_number)
{
    uint64_t number = 0;

    if (text.size == 0 || text.size > 19)
        return HF_EINVAL;
    for (uint64_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return HF_EINVAL;
        number = number * 10 + (text.data[i] - '0');
    }
    *ret_number = number;
    return number <= maximum ? HF_OK : HF_EINVAL;
}

void store_write_value(hf_json_writer *writer, const struct store_table *table, hf_slice value)
{
    hf_buffer text;

    if (table->declaration.format == STORE_FORMAT_JSON) {
        hf_json_name(writer, "value"); /* it was checked when it was written */
        hf_json_raw(writer, value);
        return;
    }
    hf_buffer_init(&text, UINT64_MAX);
    if (store_base64_append(&text, value, 0) != HF_OK)
        writer->result = HF_ENOMEM;
    hf_json_member_string(writer, "value_base64", (hf_slice){text.data, text.size});
    hf_buffer_done(&text);
}
