/* Numbers with units, and how far two names are apart; see units.h. */
#include "config/units.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct unit {
    const char *name;
    uint64_t factor;
};

/* From large to small, binary before decimal: formatting takes the first that divides. */
static const struct unit size_units[] = {
    {"PiB", 1ull << 50},
    {"TiB", 1ull << 40},
    {"GiB", 1ull << 30},
    {"MiB", 1ull << 20},
    {"KiB", 1ull << 10},
    {"PB", 1000000000000000},
    {"TB", 1000000000000},
    {"GB", 1000000000},
    {"MB", 1000000},
    {"KB", 1000},
    {"B", 1},
    {"", 1},
    {NULL, 0},
};

static const struct unit duration_units[] = {
    {"d", 86400000000}, {"h", 3600000000}, {"m", 60000000}, {"s", 1000000}, {"ms", 1000}, {"us", 1}, {NULL, 0},
};

static int parse(const char *text, const struct unit *units, uint64_t *ret_value)
{
    uint64_t value = 0;
    const char *at = text;

    for (; *at >= '0' && *at <= '9'; at++)
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
            return 0;
    if (at == text)
        return 0;
    at += *at == ' ';
    for (const struct unit *unit = units; unit->name; unit++)
        if (strcmp(at, unit->name) == 0)
            return !__builtin_mul_overflow(value, unit->factor, ret_value);
    return 0;
}

int hf_config_size_parse(const char *text, uint64_t *ret_bytes)
{
    uint64_t value;

    if (!parse(text, size_units, &value))
        return 0;
    *ret_bytes = value;
    return 1;
}

int hf_config_duration_parse(const char *text, uint64_t *ret_us)
{
    uint64_t value = 0;

    if (strcmp(text, "0") != 0 && !parse(text, duration_units, &value))
        return 0;
    *ret_us = value;
    return 1;
}

static void format(uint64_t value, const struct unit *units, const char *unit_of_zero, char *text, size_t size)
{
    const struct unit *unit = units;

    if (value == 0) {
        snprintf(text, size, "0%s", unit_of_zero);
        return;
    }
    while (value % unit->factor != 0)
        unit++;
    snprintf(text, size, "%" PRIu64 "%s", value / unit->factor, unit->name);
}

void hf_config_size_format(uint64_t bytes, char *text, size_t size)
{
    format(bytes, size_units, "B", text, size);
}

void hf_config_duration_format(uint64_t us, char *text, size_t size)
{
    format(us, duration_units, "s", text, size);
}
