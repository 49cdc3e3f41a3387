/* lib/json.h: JSON (RFC 8259) to values and back.  One thread at a time for each arena and buffer. */
#ifndef HOLDFAST_LIB_JSON_H
#define HOLDFAST_LIB_JSON_H

#include <holdfast/lib/arena.h>
#include <holdfast/lib/buffer.h>
#include <holdfast/lib/value.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { HF_JSON_DEPTH_MAX = 64 };

/* Reads one JSON document.  Everything it needs is copied into the arena; `text` may go away afterwards.  Strict:
 * UTF-8, no duplicate names, no comments, nothing after the value, at most HF_JSON_DEPTH_MAX levels.  A number without
 * fraction and exponent that fits 64 bits is an integer, any other a float; one too large for a float is refused.
 * HF_EINVAL: "byte OFFSET: what; expected ..."; HF_ENOMEM: the arena is full. */
int32_t hf_json_parse(hf_slice text, hf_arena *arena, hf_value *ret_value, hf_error *error);

/* Checks without building anything; duplicate names are not looked for.  Errors as above. */
int32_t hf_json_check(hf_slice text, hf_error *error);

/* Finds the string member `name` at the top of an object without building the rest, decoded into the arena; the first
 * of that name, and the text after it is not looked at.
 * HF_ENOTFOUND: no such member, or it is not a string, or the text is not an object; HF_EINVAL: malformed up to there.
 * HF_ENOMEM. */
int32_t hf_json_find_string(hf_slice text, const char *name, hf_arena *arena, hf_slice *ret_string);

/* Appends a value in the shortest form, without white space.  A float that is not finite is written as null, any
 * other so that it reads back as the same float.  Errors as hf_buffer_reserve, HF_ETOOLARGE for more than
 * HF_JSON_DEPTH_MAX levels, and HF_EINVAL for an HF_VALUE_OBJECT; the buffer is then as it was. */
int32_t hf_json_append(hf_buffer *buffer, const hf_value *value);

/* The same over several lines, indented by two blanks, for people. */
int32_t hf_json_append_pretty(hf_buffer *buffer, const hf_value *value);

/* Appends text as a JSON string with its quotes.  Bytes that are not UTF-8 become U+FFFD, so that the result is
 * always valid.  Errors as hf_buffer_reserve; the buffer is then as it was. */
int32_t hf_json_append_string(hf_buffer *buffer, hf_slice text);

/* Writing a document piece by piece; commas come by themselves.  Errors stick: the first one is kept in `result`, and
 * what follows does nothing.  Errors as hf_json_append, and HF_ESTATE for a name where a value is due or outside of
 * everything, or an end where nothing can end. */
typedef struct hf_json_writer {
    hf_buffer *buffer; /* borrowed */
    int32_t result;    /* 0, or the first error */
    uint32_t depth;
    uint64_t occupied; /* bit per level: something was written there already */
    int32_t named;     /* a name was written, its value is to come */
} hf_json_writer;

void hf_json_writer_init(hf_json_writer *writer, hf_buffer *buffer);
void hf_json_begin_object(hf_json_writer *writer);
void hf_json_end_object(hf_json_writer *writer);
void hf_json_begin_list(hf_json_writer *writer);
void hf_json_end_list(hf_json_writer *writer);
void hf_json_name(hf_json_writer *writer, const char *name);
void hf_json_string(hf_json_writer *writer, hf_slice text);
void hf_json_text(hf_json_writer *writer, const char *text); /* NULL is written as null */
void hf_json_integer(hf_json_writer *writer, int64_t integer);
void hf_json_unsigned(hf_json_writer *writer, uint64_t integer);
void hf_json_float(hf_json_writer *writer, double number);
void hf_json_boolean(hf_json_writer *writer, int32_t boolean);
void hf_json_value(hf_json_writer *writer, const hf_value *value);
void hf_json_raw(hf_json_writer *writer, hf_slice json); /* a document that is known to be valid */

/* A member of an object in one call: its name, then its value as the function above writes it. */
void hf_json_member_string(hf_json_writer *writer, const char *name, hf_slice text);
void hf_json_member_text(hf_json_writer *writer, const char *name, const char *text);
void hf_json_member_integer(hf_json_writer *writer, const char *name, int64_t integer);
void hf_json_member_unsigned(hf_json_writer *writer, const char *name, uint64_t integer);
void hf_json_member_float(hf_json_writer *writer, const char *name, double number);
void hf_json_member_boolean(hf_json_writer *writer, const char *name, int32_t boolean);

#ifdef __cplusplus
}
#endif
#endif
