/* operation.h: options of access logs and of trace contexts; see operation.c for what each means. */
#ifndef GATEWAY_OPTIONS_OPERATION_H
#define GATEWAY_OPTIONS_OPERATION_H

#include <holdfast/holdfast.h>

struct gateway_access_log_options {
    const char *path; /* "": there is none */
    int32_t format;   /* GATEWAY_FORMAT_... */
    uint64_t buffer_size;
    uint64_t flush_us;
};

enum { GATEWAY_LISTENER_FORMAT_INHERITED /* from the gateway's; others are GATEWAY_FORMAT_... + 1 */ };

struct gateway_listener_log_options {
    int32_t enabled;
    const char *path; /* "": the gateway's */
    int32_t format;
};

struct gateway_trace_options {
    int32_t enabled;
    int32_t accepts;
    double sampled;
    int32_t in_answers;
};

extern const hf_option_table gateway_access_log_table, gateway_listener_log_table, gateway_trace_table;

#endif
