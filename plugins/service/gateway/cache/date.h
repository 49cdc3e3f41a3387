/* date.h: dates as HTTP writes them (RFC 9110, 5.6.7).  Pure. */
#ifndef GATEWAY_CACHE_DATE_H
#define GATEWAY_CACHE_DATE_H

#include <holdfast/holdfast.h>

/* Seconds since 1970 of a date in one of the three forms; -1: it is none.  `now_s` says in which century a year of two
 * digits is. */
int64_t gateway_http_date(hf_slice text, int64_t now_s);

#endif
