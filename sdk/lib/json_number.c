/* Numbers of JSON; see json_scan.h.
 *
 * The digits are gathered in a 64-bit integer on the way.  When it and the power of ten are both exact doubles, one
 * multiplication or division rounds correctly (W. D. Clinger, "How to read floating point numbers accurately", 1990);
 * only the others, which are rare, go to the C library. */
#include "json_scan.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <holdfast/lib/error.h>

enum {
    DIGITS_MAX = 19,          /* decimal digits that always fit 64 bits */
    POWER_MAX = 22,           /* 10^22 is the greatest power of ten that is a double */
    EXPONENT_ENOUGH = 1000000 /* from here on the exponent is left to the C library */
};

typedef struct number {
    const uint8_t *text; /* where it begins */
    uint64_t size;
    uint64_t digits; /* the first DIGITS_MAX significant ones */
    int32_t count;   /* of significant digits; DIGITS_MAX + 1: the other fields do not tell the value */
    int64_t power;   /* the value is digits * 10^power while count <= DIGITS_MAX */
    int32_t negative;
    int32_t fractional; /* has a fraction or an exponent */
} number;

static int32_t is_digit(const hf_json_scanner *scanner)
{
    return scanner->at < scanner->end && *scanner->at >= '0' && *scanner->at <= '9';
}

/* Reads at least one digit. */
static int32_t scan_digits(hf_json_scanner *scanner, number *n)
{
    if (!is_digit(scanner))
        return hf_json_unexpected(scanner, scanner->at, "a digit");
    for (; is_digit(scanner); scanner->at++) {
        uint8_t digit = *scanner->at - '0';

        if (n->count < DIGITS_MAX)
            n->digits = n->digits * 10 + digit;
        if (n->count <= DIGITS_MAX && n->digits > 0)
            n->count++;
    }
    return HF_OK;
}

static int32_t scan_fraction(hf_json_scanner *scanner, number *n)
{
    const uint8_t *first = ++scanner->at;
    int32_t r = scan_digits(scanner, n);

    n->fractional = 1;
    n->power -= scanner->at - first;
    return r;
}

static int32_t scan_exponent(hf_json_scanner *scanner, number *n)
{
    int64_t exponent = 0;
    int32_t negative;

    scanner->at++;
    negative = hf_json_scan_is(scanner, '-');
    if (negative || hf_json_scan_is(scanner, '+'))
        scanner->at++;
    if (!is_digit(scanner))
        return hf_json_unexpected(scanner, scanner->at, "a digit of the exponent");
    for (; is_digit(scanner); scanner->at++)
        if (exponent < EXPONENT_ENOUGH)
            exponent = exponent * 10 + (*scanner->at - '0');
    if (exponent >= EXPONENT_ENOUGH)
        n->count = DIGITS_MAX + 1;
    n->fractional = 1;
    n->power += negative ? -exponent : exponent;
    return HF_OK;
}

static int32_t scan_parts(hf_json_scanner *scanner, number *n)
{
    int32_t r;

    n->text = scanner->at;
    n->negative = hf_json_scan_is(scanner, '-');
    scanner->at += n->negative;
    if (hf_json_scan_is(scanner, '0')) {
        scanner->at++;
        if (is_digit(scanner))
            return hf_json_unexpected(scanner, scanner->at, "no digit after a leading zero");
        r = HF_OK;
    } else {
        r = scan_digits(scanner, n);
    }
    if (r >= 0 && hf_json_scan_is(scanner, '.'))
        r = scan_fraction(scanner, n);
    if (r >= 0 && (hf_json_scan_is(scanner, 'e') || hf_json_scan_is(scanner, 'E')))
        r = scan_exponent(scanner, n);
    n->size = (uint64_t)(scanner->at - n->text);
    return r;
}

static int32_t to_integer(const number *n, hf_value *ret_value)
{
    uint64_t limit = (uint64_t)INT64_MAX + (uint64_t)n->negative;

    if (n->fractional || n->count > DIGITS_MAX || n->digits > limit)
        return 0;
    *ret_value = hf_value_integer(n->negative ? (int64_t)(0 - n->digits) : (int64_t)n->digits);
    return 1;
}

static int32_t to_exact_float(const number *n, hf_value *ret_value)
{
    static const double powers[POWER_MAX + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                                 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

    if (FLT_EVAL_METHOD != 0 || n->count > DIGITS_MAX || n->digits > (uint64_t)1 << DBL_MANT_DIG ||
        n->power < -POWER_MAX || n->power > POWER_MAX)
        return 0;

    double value = (double)n->digits;

    value = n->power < 0 ? value / powers[-n->power] : value * powers[n->power];
    *ret_value = hf_value_float(n->negative ? -value : value);
    return 1;
}

/* The process's locale must not decide what a decimal point is.  The "C" locale is static in the C library: nothing is
 * allocated or to be freed. */
static double read_float(const char *text)
{
    return strtod_l(text, NULL, newlocale(LC_ALL_MASK, "C", (locale_t)0));
}

static int32_t to_float(const hf_json_scanner *scanner, const number *n, hf_value *ret_value)
{
    char small[64];
    char *text = n->size < sizeof small ? small : malloc(n->size + 1);

    if (!text)
        return hf_error_set(scanner->error, HF_ENOMEM, "no memory for a number of %llu bytes",
                            (unsigned long long)n->size);
    memcpy(text, n->text, n->size);
    text[n->size] = '\0';
    *ret_value = hf_value_float(read_float(text));
    if (text != small)
        free(text);
    if (!isfinite(ret_value->as.number))
        return hf_json_malformed(scanner, n->text, "the number is out of range", "at most 1.8e308 in magnitude");
    return HF_OK;
}

int32_t hf_json_scan_number(hf_json_scanner *scanner, hf_value *ret_value)
{
    number n = {0};
    int32_t r = scan_parts(scanner, &n);

    if (r < 0 || to_integer(&n, ret_value) || to_exact_float(&n, ret_value))
        return r;
    return to_float(scanner, &n, ret_value);
}
