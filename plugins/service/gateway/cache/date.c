#include "cache/date.h"

#include <stdio.h>
#include <string.h>

enum { TEXT_SIZE = 64 };

/* Days from 1970-01-01 (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms"). */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = year / 400, of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static int month_of(const char *name)
{
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

    for (int i = 0; i < 12; i++)
        if (strncmp(name, names + 3 * (size_t)i, 3) == 0)
            return i + 1;
    return 0;
}

/* Of two digits: the last one that is not more than 50 years ahead. */
static int full_year(int year, int64_t now_s)
{
    int64_t now = 1970 + now_s / 31556952;
    int64_t full = now - now % 100 + year;

    return (int)(full > now + 50 ? full - 100 : full);
}

int64_t gateway_http_date(hf_slice slice, int64_t now_s)
{
    char text[TEXT_SIZE], month_name[4] = "", name[16];
    int day = 0, year = 0, hour = -1, minute = -1, second = -1, end = 0;

    if (slice.size == 0 || slice.size >= sizeof text || memchr(slice.data, 0, slice.size))
        return -1;
    memcpy(text, slice.data, slice.size);
    text[slice.size] = '\0';
    if (sscanf(text, "%15[A-Za-z], %2d %3[A-Za-z] %4d %2d:%2d:%2d GMT%n", name, &day, month_name, &year, &hour, &minute,
               &second, &end) == 7 &&
        end) {
    } else if (sscanf(text, "%15[A-Za-z], %2d-%3[A-Za-z]-%2d %2d:%2d:%2d GMT%n", name, &day, month_name, &year, &hour,
                      &minute, &second, &end) == 7 &&
               end) {
        year = full_year(year, now_s);
    } else if (sscanf(text, "%15[A-Za-z] %3[A-Za-z] %2d %2d:%2d:%2d %4d%n", name, month_name, &day, &hour, &minute,
                      &second, &year, &end) != 7) {
        return -1;
    }
    int month = month_of(month_name);
    if ((uint64_t)end != slice.size || !month || day < 1 || day > 31 || year < 1970 || hour < 0 || hour > 23 ||
        minute < 0 || minute > 59 || second < 0 || second > 60)
        return -1;
    return days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
}
