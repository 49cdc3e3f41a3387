/* The words of JSON, for json_parse.c: white space, strings, numbers and literals.  Not public. */
#ifndef HOLDFAST_SDK_JSON_SCAN_H
#define HOLDFAST_SDK_JSON_SCAN_H

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

#endif
