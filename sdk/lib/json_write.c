/* Values to JSON; see lib/json.h. */
#include <holdfast/lib/json.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <holdfast/lib/utf8.h>

#include "json_scan.h"

enum { INDENT = 2 };

typedef struct layout {
    hf_buffer *buffer;
    int32_t pretty;
    uint32_t depth;
} layout;

static int32_t append_value(layout *l, const hf_value *value);

static int32_t append_byte(hf_buffer *buffer, uint8_t byte)
{
    return hf_buffer_append(buffer, &byte, 1);
}

/* ---- Strings ------------------------------------------------------------------------------------------------- */

static int32_t append_escape(hf_buffer *buffer, uint8_t byte)
{
    static const char hexadecimal[] = "0123456789abcdef", letters[] = "\"\\bfnrt", meanings[] = "\"\\\b\f\n\r\t";
    uint8_t escape[6] = {'\\', 'u', '0', '0', (uint8_t)hexadecimal[byte >> 4], (uint8_t)hexadecimal[byte & 15]};
    const char *meaning = byte ? strchr(meanings, byte) : NULL;

    if (!meaning)
        return hf_buffer_append(buffer, escape, 6);
    escape[1] = (uint8_t)letters[meaning - meanings];
    return hf_buffer_append(buffer, escape, 2);
}

static int32_t append_escaped(hf_buffer *buffer, hf_slice text)
{
    const uint8_t *p = text.data, *end = p + text.size;
    int32_t r = HF_OK;

    while (r >= 0 && p < end) {
        const uint8_t *plain = p;

        while (p = hf_json_skip_plain(p, end), p < end && *p >= 0x80)
            p++;
        r = hf_buffer_append(buffer, plain, (uint64_t)(p - plain));
        if (r >= 0 && p < end)
            r = append_escape(buffer, *p++);
    }
    return r;
}

/* The part that is UTF-8, and a replacement for the byte that ends it, until nothing is left. */
static int32_t append_repaired(hf_buffer *buffer, hf_slice text)
{
    int32_t r = HF_OK;

    while (r >= 0 && text.size) {
        uint64_t valid = text.size;

        hf_utf8_valid(text, &valid);
        r = append_escaped(buffer, (hf_slice){text.data, valid});
        if (r < 0 || valid == text.size)
            break;
        r = hf_buffer_append(buffer, "\xef\xbf\xbd", 3);
        text = (hf_slice){text.data + valid + 1, text.size - valid - 1};
    }
    return r;
}

/* Text that needs no escape, as most needs none: one look at it and one copy. */
static int32_t append_plain(hf_buffer *buffer, hf_slice text)
{
    int32_t r = text.size > UINT64_MAX - 2 ? HF_ETOOLARGE : hf_buffer_reserve(buffer, text.size + 2);

    if (r < 0)
        return r;

    uint8_t *out = buffer->data + buffer->size;

    out[0] = '"';
    if (text.size)
        memcpy(out + 1, text.data, text.size);
    out[text.size + 1] = '"';
    buffer->size += text.size + 2;
    return HF_OK;
}

static int32_t append_string(hf_buffer *buffer, hf_slice text)
{
    if (text.size == 0 || hf_json_skip_plain(text.data, text.data + text.size) == text.data + text.size)
        return append_plain(buffer, text);

    int32_t r = append_byte(buffer, '"');

    if (r >= 0)
        r = append_repaired(buffer, text);
    return r < 0 ? r : append_byte(buffer, '"');
}

/* ---- Numbers ------------------------------------------------------------------------------------------------- */

static int32_t append_unsigned(hf_buffer *buffer, uint64_t integer, int32_t negative)
{
    uint8_t digits[24], *p = digits + sizeof digits;

    do
        *--p = (uint8_t)('0' + integer % 10);
    while (integer /= 10);
    if (negative)
        *--p = '-';
    return hf_buffer_append(buffer, p, (uint64_t)(digits + sizeof digits - p));
}

static int32_t append_integer(hf_buffer *buffer, int64_t integer)
{
    return integer < 0 ? append_unsigned(buffer, 0 - (uint64_t)integer, 1)
                       : append_unsigned(buffer, (uint64_t)integer, 0);
}

/* Makes the locale's decimal point, whatever bytes it has, a '.'; adds ".0" where the text would read as an integer. */
static uint64_t make_json_float(char *text)
{
    uint64_t size = 0, fractional = 0;

    for (const char *c = text; *c; c++) {
        if (strchr("0123456789+-", *c)) {
            text[size++] = *c;
        } else if (*c == 'e') {
            fractional = 1;
            text[size++] = *c;
        } else if (!fractional) {
            fractional = 1;
            text[size++] = '.';
        }
    }
    if (!fractional) {
        memcpy(text + size, ".0", 2);
        size += 2;
    }
    return size;
}

static int32_t append_float(hf_buffer *buffer, double number)
{
    char text[64];
    int precision = 15;

    if (!isfinite(number))
        return hf_buffer_append(buffer, "null", 4);
    snprintf(text, sizeof text, "%.15g", number);
    while (precision < 17 && strtod(text, NULL) != number)
        snprintf(text, sizeof text, "%.*g", ++precision, number);
    return hf_buffer_append(buffer, text, make_json_float(text));
}

/* ---- Values -------------------------------------------------------------------------------------------------- */

static int32_t append_line(layout *l)
{
    static const char blanks[2 * HF_JSON_DEPTH_MAX + 1] = "                                "
                                                          "                                "
                                                          "                                "
                                                          "                                ";
    int32_t r;

    if (!l->pretty)
        return HF_OK;
    r = append_byte(l->buffer, '\n');
    return r < 0 ? r : hf_buffer_append(l->buffer, blanks, (uint64_t)INDENT * l->depth);
}

static int32_t append_member(layout *l, const hf_value_member *member)
{
    int32_t r = append_string(l->buffer, member->name);

    if (r >= 0)
        r = hf_buffer_append(l->buffer, ": ", l->pretty ? 2 : 1);
    return r < 0 ? r : append_value(l, &member->value);
}

static int32_t append_item(layout *l, const hf_value *value, uint64_t i)
{
    int32_t r = i ? append_byte(l->buffer, ',') : HF_OK;

    if (r >= 0)
        r = append_line(l);
    if (r < 0)
        return r;
    return value->type == HF_VALUE_MAP ? append_member(l, &value->as.members[i]) : append_value(l, &value->as.items[i]);
}

static int32_t append_container(layout *l, const hf_value *value)
{
    const char *brackets = value->type == HF_VALUE_MAP ? "{}" : "[]";
    int32_t r;

    if (l->depth == HF_JSON_DEPTH_MAX)
        return HF_ETOOLARGE;
    if (value->count == 0)
        return hf_buffer_append(l->buffer, brackets, 2);
    r = append_byte(l->buffer, (uint8_t)brackets[0]);
    l->depth++;
    for (uint64_t i = 0; r >= 0 && i < value->count; i++)
        r = append_item(l, value, i);
    l->depth--;
    if (r >= 0)
        r = append_line(l);
    return r < 0 ? r : append_byte(l->buffer, (uint8_t)brackets[1]);
}

static int32_t append_value(layout *l, const hf_value *value)
{
    switch (value->type) {
    case HF_VALUE_BOOLEAN:
        return value->boolean ? hf_buffer_append(l->buffer, "true", 4) : hf_buffer_append(l->buffer, "false", 5);
    case HF_VALUE_INTEGER:
        return append_integer(l->buffer, value->as.integer);
    case HF_VALUE_FLOAT:
        return append_float(l->buffer, value->as.number);
    case HF_VALUE_STRING:
        return append_string(l->buffer, hf_value_slice(value));
    case HF_VALUE_LIST:
    case HF_VALUE_MAP:
        return append_container(l, value);
    case HF_VALUE_OBJECT: /* nobody can say what its members are */
        return HF_EINVAL;
    default:
        return hf_buffer_append(l->buffer, "null", 4);
    }
}

/* Appends all of the value or nothing. */
static int32_t append_whole(layout l, const hf_value *value)
{
    uint64_t size = l.buffer->size;
    int32_t r = append_value(&l, value);

    if (r < 0)
        l.buffer->size = size;
    return r;
}

int32_t hf_json_append(hf_buffer *buffer, const hf_value *value)
{
    return append_whole((layout){.buffer = buffer}, value);
}

int32_t hf_json_append_pretty(hf_buffer *buffer, const hf_value *value)
{
    return append_whole((layout){.buffer = buffer, .pretty = 1}, value);
}

int32_t hf_json_append_string(hf_buffer *buffer, hf_slice text)
{
    hf_value value = hf_value_string(text);

    return hf_json_append(buffer, &value);
}

/* ---- Piece by piece ------------------------------------------------------------------------------------------ */

void hf_json_writer_init(hf_json_writer *writer, hf_buffer *buffer)
{
    *writer = (hf_json_writer){.buffer = buffer};
}

/* Keeps the first error. */
static void note(hf_json_writer *writer, int32_t result)
{
    if (writer->result >= 0 && result < 0)
        writer->result = result;
}

/* Writes the comma that the next name or value needs; 0 when nothing more is to be written. */
static int32_t separate(hf_json_writer *writer)
{
    if (writer->result < 0)
        return 0;
    if (writer->named || writer->depth == 0) {
        writer->named = 0;
        return 1;
    }

    uint64_t level = (uint64_t)1 << (writer->depth - 1);

    if (writer->occupied & level)
        note(writer, append_byte(writer->buffer, ','));
    writer->occupied |= level;
    return writer->result >= 0;
}

static void begin(hf_json_writer *writer, uint8_t bracket)
{
    if (writer->result >= 0 && writer->depth == HF_JSON_DEPTH_MAX)
        note(writer, HF_ETOOLARGE);
    if (!separate(writer))
        return;
    note(writer, append_byte(writer->buffer, bracket));
    writer->depth++;
    writer->occupied &= ~((uint64_t)1 << (writer->depth - 1));
}

static void end(hf_json_writer *writer, uint8_t bracket)
{
    if (writer->result < 0)
        return;
    if (writer->depth == 0 || writer->named) {
        note(writer, HF_ESTATE);
        return;
    }
    writer->depth--;
    note(writer, append_byte(writer->buffer, bracket));
}

void hf_json_begin_object(hf_json_writer *writer)
{
    begin(writer, '{');
}

void hf_json_end_object(hf_json_writer *writer)
{
    end(writer, '}');
}

void hf_json_begin_list(hf_json_writer *writer)
{
    begin(writer, '[');
}

void hf_json_end_list(hf_json_writer *writer)
{
    end(writer, ']');
}

void hf_json_name(hf_json_writer *writer, const char *name)
{
    if (writer->depth == 0 || writer->named)
        note(writer, HF_ESTATE);
    if (!separate(writer))
        return;
    note(writer, append_string(writer->buffer, hf_slice_of(name)));
    if (writer->result >= 0)
        note(writer, append_byte(writer->buffer, ':'));
    writer->named = 1;
}

void hf_json_string(hf_json_writer *writer, hf_slice text)
{
    if (separate(writer))
        note(writer, append_string(writer->buffer, text));
}

void hf_json_text(hf_json_writer *writer, const char *text)
{
    if (text)
        hf_json_string(writer, hf_slice_of(text));
    else
        hf_json_raw(writer, hf_slice_of("null"));
}

void hf_json_integer(hf_json_writer *writer, int64_t integer)
{
    if (separate(writer))
        note(writer, append_integer(writer->buffer, integer));
}

void hf_json_unsigned(hf_json_writer *writer, uint64_t integer)
{
    if (separate(writer))
        note(writer, append_unsigned(writer->buffer, integer, 0));
}

void hf_json_float(hf_json_writer *writer, double number)
{
    if (separate(writer))
        note(writer, append_float(writer->buffer, number));
}

void hf_json_boolean(hf_json_writer *writer, int32_t boolean)
{
    hf_json_raw(writer, hf_slice_of(boolean ? "true" : "false"));
}

void hf_json_value(hf_json_writer *writer, const hf_value *value)
{
    if (separate(writer))
        note(writer, append_whole((layout){.buffer = writer->buffer, .depth = writer->depth}, value));
}

void hf_json_raw(hf_json_writer *writer, hf_slice json)
{
    if (separate(writer))
        note(writer, hf_buffer_append(writer->buffer, json.data, json.size));
}

/* ---- Members ------------------------------------------------------------------------------------------------- */

void hf_json_member_string(hf_json_writer *writer, const char *name, hf_slice text)
{
    hf_json_name(writer, name);
    hf_json_string(writer, text);
}

void hf_json_member_text(hf_json_writer *writer, const char *name, const char *text)
{
    hf_json_name(writer, name);
    hf_json_text(writer, text);
}

void hf_json_member_integer(hf_json_writer *writer, const char *name, int64_t integer)
{
    hf_json_name(writer, name);
    hf_json_integer(writer, integer);
}

void hf_json_member_unsigned(hf_json_writer *writer, const char *name, uint64_t integer)
{
    hf_json_name(writer, name);
    hf_json_unsigned(writer, integer);
}

void hf_json_member_float(hf_json_writer *writer, const char *name, double number)
{
    hf_json_name(writer, name);
    hf_json_float(writer, number);
}

void hf_json_member_boolean(hf_json_writer *writer, const char *name, int32_t boolean)
{
    hf_json_name(writer, name);
    hf_json_boolean(writer, boolean);
}
