/* record.h: what there is to say of a request when it is over.  It is made once, and given to all who want to know:
 * access logs now, an exporter of spans later (a span begins at ended_us - duration_us).  Pure. */
#ifndef GATEWAY_RECORD_RECORD_H
#define GATEWAY_RECORD_RECORD_H

#include "record/trace.h"

#include <holdfast/lib/buffer.h>

/* How it ended. */
enum {
    GATEWAY_END_ANSWERED, /* by a server, or by its route */
    GATEWAY_END_REFUSED,  /* by the gateway itself; `why` says so */
    GATEWAY_END_DEGRADED, /* answered in place of servers that could not be asked */
    GATEWAY_END_BROKEN,   /* one side went away, or broke off, before all was said */
    GATEWAY_END_TUNNEL    /* it became a connection of another protocol, which has ended now */
};

/* Slices are borrowed during the call that gives the record; empty: there is none. */
struct gateway_record {
    uint64_t ended_us; /* since 1970 */
    uint64_t duration_us;
    uint64_t upstream_us;                /* of that, from the first server that was asked until the end of the answer */
    uint64_t bytes_received, bytes_sent; /* heads and bodies, as HTTP/1.1 writes them */
    uint64_t body_sent;                  /* of those, the body */
    uint32_t status;                     /* 0: no answer was begun */
    uint32_t tries;                      /* servers that were asked */
    int32_t end;                         /* GATEWAY_END_... */
    hf_slice client, method, target, host, user_agent, referer;
    hf_slice protocol; /* "HTTP/1.1" */
    hf_slice line;     /* of a request that could not be read: its first line, whatever it is */
    hf_slice listener, route, upstream, server;
    hf_slice why; /* it was refused, or degraded, or broke off */
    struct gateway_trace trace;
};

enum { GATEWAY_FORMAT_JSON, GATEWAY_FORMAT_COMBINED };

/* Bytes of one field that are written; the rest of a longer one is left out. */
enum { GATEWAY_FIELD_MAX = 2048 };

/* Times as they were last written, since most records are of the same second as the one before.  Zero to begin. */
struct gateway_clock {
    int64_t second;
    char iso[24];   /* "2026-11-01T10:00:00" */
    char local[32]; /* "01/Nov/2026:10:00:00 +0000" */
};

/* Appends a line, with its end.  Whatever bytes a client has sent, it is one line: of valid JSON in UTF-8, or of ASCII
 * without control characters.  HF_ETOOLARGE, HF_ENOMEM: as hf_buffer_reserve; the buffer is then as it was. */
int32_t gateway_record_append(const struct gateway_record *record, int32_t format, struct gateway_clock *clock,
                              hf_buffer *to);

#endif
