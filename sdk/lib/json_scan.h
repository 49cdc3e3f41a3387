/* The words of JSON, for json_parse.c and json_write.c: white space, strings, numbers and literals.  Not public. */
#ifndef HOLDFAST_SDK_JSON_SCAN_H
#define HOLDFAST_SDK_JSON_SCAN_H

#include <string.h>

#include <holdfast/lib/value.h>

typedef struct hf_json_scanner {
    const uint8_t *begin;
    const uint8_t *at; /* the next byte; begin <= at <= end */
    const uint8_t *end;
    hf_error *error; /* may be NULL */
} hf_json_scanner;

/* A string's inside, checked: the escapes are well-formed and the rest is UTF-8. */
typedef struct hf_json_token {
    hf_slice raw;    /* without the quotes; borrowed from the text */
    int32_t escaped; /* 1 when it holds escapes */
} hf_json_token;

/* Sets "byte OFFSET: found ...; expected EXPECTED" for the byte at `at` and returns HF_EINVAL. */
int32_t hf_json_unexpected(const hf_json_scanner *scanner, const uint8_t *at, const char *expected);

/* Sets "byte OFFSET: WHAT; expected EXPECTED" and returns HF_EINVAL. */
int32_t hf_json_malformed(const hf_json_scanner *scanner, const uint8_t *at, const char *what, const char *expected);

/* Reads the string whose opening quote is the next byte. */
int32_t hf_json_scan_string(hf_json_scanner *scanner, hf_json_token *ret_token);

/* Writes what the token stands for to `ret_bytes`, which has room for raw.size, and returns its size. */
uint64_t hf_json_token_decode(const hf_json_token *token, uint8_t *ret_bytes);

/* 1 when the token stands for `text`. */
int32_t hf_json_token_is(const hf_json_token *token, hf_slice text);

/* Reads the number that begins with the next byte, a digit or '-'.  HF_ENOMEM for a very long one. */
int32_t hf_json_scan_number(hf_json_scanner *scanner, hf_value *ret_value);

/* Reads null, true or false, whose first letter is the next byte. */
int32_t hf_json_scan_literal(hf_json_scanner *scanner, hf_value *ret_value);

static inline void hf_json_scan_space(hf_json_scanner *scanner)
{
    const uint8_t *at = scanner->at;

    while (at < scanner->end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'))
        at++;
    scanner->at = at;
}

/* 1 when the next byte is `byte`. */
static inline int32_t hf_json_scan_is(const hf_json_scanner *scanner, uint8_t byte)
{
    return scanner->at < scanner->end && *scanner->at == byte;
}

/* Skips bytes that stand for themselves, eight at a time: a byte's high bit is set in `special` when it is below 0x20,
 * a quote, a backslash or not ASCII.  No byte below the first special one borrows, so none is missed. */
static inline const uint8_t *hf_json_skip_plain(const uint8_t *p, const uint8_t *end)
{
    const uint64_t ones = 0x0101010101010101;

    for (; end - p >= 8; p += 8) {
        uint64_t word;

        memcpy(&word, p, sizeof word);

        uint64_t special =
            word | (word - ones * 0x20) | ((word ^ (ones * '"')) - ones) | ((word ^ (ones * '\\')) - ones);

        if (special & (ones * 0x80))
            break;
    }
    while (p < end && *p >= 0x20 && *p < 0x80 && *p != '"' && *p != '\\')
        p++;
    return p;
}

#endif
