/* Strings and literals of JSON, and what is said of faults; see json_scan.h. */
#include "json_scan.h"

#include <stdio.h>
#include <string.h>

#include <holdfast/lib/error.h>
#include <holdfast/lib/utf8.h>

int32_t hf_json_malformed(const hf_json_scanner *scanner, const uint8_t *at, const char *what, const char *expected)
{
    return hf_error_set(scanner->error, HF_EINVAL, "byte %llu: %s; expected %s",
                        (unsigned long long)(at - scanner->begin), what, expected);
}

int32_t hf_json_unexpected(const hf_json_scanner *scanner, const uint8_t *at, const char *expected)
{
    char what[32];

    if (at >= scanner->end)
        snprintf(what, sizeof what, "the text ends");
    else if (*at > ' ' && *at < 0x7f)
        snprintf(what, sizeof what, "found '%c'", *at);
    else
        snprintf(what, sizeof what, "found the byte 0x%02x", *at);
    return hf_json_malformed(scanner, at, what, expected);
}

/* ---- Strings ------------------------------------------------------------------------------------------------- */

static int32_t hex_digit(uint8_t byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* The four digits at `p`, which are known to be digits. */
static uint32_t hex_value(const uint8_t *p)
{
    uint32_t value = 0;

    for (int i = 0; i < 4; i++)
        value = value << 4 | (uint32_t)hex_digit(p[i]);
    return value;
}

/* Reads the four digits of the escape \uXXXX at `p` and moves past it. */
static int32_t scan_hex_escape(const hf_json_scanner *scanner, const uint8_t **p, uint32_t *ret_value)
{
    for (int i = 2; i < 6; i++)
        if (*p + i >= scanner->end || hex_digit((*p)[i]) < 0)
            return hf_json_unexpected(scanner, *p + i, "four hexadecimal digits after \\u");
    *ret_value = hex_value(*p + 2);
    *p += 6;
    return HF_OK;
}

static int32_t scan_unicode_escape(const hf_json_scanner *scanner, const uint8_t **p)
{
    static const char *const expected = "a high surrogate and a low one, \\ud800 to \\udbff and \\udc00 to \\udfff";
    const uint8_t *escape = *p;
    uint32_t unit = 0;
    int32_t r = scan_hex_escape(scanner, p, &unit);

    if (r < 0 || unit < 0xd800 || unit > 0xdfff)
        return r;
    if (unit > 0xdbff || scanner->end - *p < 2 || (*p)[0] != '\\' || (*p)[1] != 'u')
        return hf_json_malformed(scanner, escape, "half of a surrogate pair", expected);
    r = scan_hex_escape(scanner, p, &unit);
    if (r < 0)
        return r;
    if (unit < 0xdc00 || unit > 0xdfff)
        return hf_json_malformed(scanner, escape, "half of a surrogate pair", expected);
    return HF_OK;
}

/* Moves past the escape at `p`. */
static int32_t scan_escape(const hf_json_scanner *scanner, const uint8_t **p)
{
    const uint8_t *letter = *p + 1;

    if (letter < scanner->end) {
        if (*letter == 'u')
            return scan_unicode_escape(scanner, p);
        if (*letter != '\0' && strchr("\"\\/bfnrt", *letter)) {
            *p += 2;
            return HF_OK;
        }
    }
    return hf_json_unexpected(scanner, letter, "one of \" \\ / b f n r t u after a backslash");
}

static int32_t check_utf8(const hf_json_scanner *scanner, hf_slice raw)
{
    uint64_t offset = 0;

    if (hf_utf8_valid(raw, &offset))
        return HF_OK;
    return hf_json_unexpected(scanner, raw.data + offset, "UTF-8");
}

int32_t hf_json_scan_string(hf_json_scanner *scanner, hf_json_token *ret_token)
{
    const uint8_t *first = scanner->at + 1, *p = first;
    int32_t escaped = 0, ascii = 1;

    for (;;) {
        p = hf_json_skip_plain(p, scanner->end);
        if (p == scanner->end || *p < 0x20)
            return hf_json_unexpected(scanner, p, "a closing quote, or an escape for a control character");
        if (*p == '"')
            break;
        if (*p == '\\') {
            int32_t r = scan_escape(scanner, &p);

            if (r < 0)
                return r;
            escaped = 1;
        } else {
            ascii = 0;
            while (p < scanner->end && *p >= 0x80)
                p++;
        }
    }
    *ret_token = (hf_json_token){.raw = {first, (uint64_t)(p - first)}, .escaped = escaped};
    scanner->at = p + 1;
    return ascii ? HF_OK : check_utf8(scanner, ret_token->raw);
}

/* Writes the bytes of the character or lone byte at `p` of a checked string, moves past it and returns how many. */
static uint32_t decode_next(const uint8_t **p, uint8_t ret_bytes[4])
{
    static const char letters[] = "bfnrt", meanings[] = "\b\f\n\r\t";

    if (**p != '\\') {
        ret_bytes[0] = *(*p)++;
        return 1;
    }
    if ((*p)[1] != 'u') {
        const char *letter = strchr(letters, (*p)[1]);

        ret_bytes[0] = letter ? (uint8_t)meanings[letter - letters] : (*p)[1];
        *p += 2;
        return 1;
    }

    uint32_t character = hex_value(*p + 2);

    *p += 6;
    if (character >= 0xd800 && character <= 0xdfff) {
        character = 0x10000 + ((character - 0xd800) << 10) + (hex_value(*p + 2) - 0xdc00);
        *p += 6;
    }
    return hf_utf8_encode(character, ret_bytes);
}

uint64_t hf_json_token_decode(const hf_json_token *token, uint8_t *ret_bytes)
{
    const uint8_t *p = token->raw.data, *end = p + token->raw.size;
    uint8_t *out = ret_bytes;

    if (!token->escaped) {
        memcpy(out, p, token->raw.size);
        return token->raw.size;
    }
    while (p < end) {
        uint8_t bytes[4];
        uint32_t size = decode_next(&p, bytes);

        memcpy(out, bytes, size);
        out += size;
    }
    return (uint64_t)(out - ret_bytes);
}

int32_t hf_json_token_is(const hf_json_token *token, hf_slice text)
{
    const uint8_t *p = token->raw.data, *end = p + token->raw.size;
    uint64_t matched = 0;

    if (!token->escaped)
        return hf_slice_equal(token->raw, text);
    while (p < end) {
        uint8_t bytes[4];
        uint32_t size = decode_next(&p, bytes);

        if (size > text.size - matched || memcmp(text.data + matched, bytes, size) != 0)
            return 0;
        matched += size;
    }
    return matched == text.size;
}

/* ---- Literals ------------------------------------------------------------------------------------------------ */

int32_t hf_json_scan_literal(hf_json_scanner *scanner, hf_value *ret_value)
{
    static const struct {
        const char *text;
        uint64_t size;
        hf_value value;
    } literals[] = {
        {"null", 4, {.type = HF_VALUE_NULL}},
        {"true", 4, {.type = HF_VALUE_BOOLEAN, .boolean = 1}},
        {"false", 5, {.type = HF_VALUE_BOOLEAN, .boolean = 0}},
    };
    uint64_t left = (uint64_t)(scanner->end - scanner->at);

    for (int i = 0; i < 3; i++) {
        if (left >= literals[i].size && memcmp(scanner->at, literals[i].text, literals[i].size) == 0) {
            scanner->at += literals[i].size;
            *ret_value = literals[i].value;
            return HF_OK;
        }
    }
    return hf_json_unexpected(scanner, scanner->at, "a value");
}
