/* options.h: what the configuration says of answers that are compressed; see options.c. */
#ifndef GATEWAY_FILTER_OPTIONS_H
#define GATEWAY_FILTER_OPTIONS_H

#include "filter/gzip.h"

struct gateway_gzip_options {
    int32_t enabled;
    hf_strings types;
    uint64_t minimum;
    int64_t level;
};

extern const hf_option_table gateway_gzip_table;

/* Reports what the types of the options cannot say; `path` is that of the route.  [main] */
void gateway_gzip_check(const struct gateway_gzip_options *options, const hf_config_report *report, const char *path);

/* HF_ENOMEM; what is set lies in the arena.  [main] */
int32_t gateway_gzip_make(const struct gateway_gzip_options *options, hf_arena *arena, struct gateway_gzip *ret_gzip,
                          hf_error *error);

#endif
