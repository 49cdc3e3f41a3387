/* Options of a route's rate limit. */
#include "options/options.h"

static const hf_option limit_options[] = {
    HF_CONFIG_FLOAT("rate", struct gateway_limit_options, rate, .default_text = "0", .minimum_float = 0,
                    .maximum_float = 1e9, .flags = HF_OPTION_RELOADABLE,
                    .doc = "Requests a second that each key may make in the long run, at all workers of the process "
                           "together; 0: any number."),
    HF_CONFIG_INTEGER("burst", struct gateway_limit_options, burst, .default_text = "20", .minimum = 1,
                      .maximum = 1000000000, .flags = HF_OPTION_RELOADABLE,
                      .doc = "Requests that may come at once after a pause."),
    HF_CONFIG_STRING("key", struct gateway_limit_options, key, .default_text = "client", .flags = HF_OPTION_RELOADABLE,
                     .doc = "What is limited: client (its address), path, field NAME, cookie NAME or argument NAME. "
                            "Requests without it are limited by the client's address."),
    HF_CONFIG_INTEGER("status", struct gateway_limit_options, status, .default_text = "429", .minimum = 400,
                      .maximum = 599, .flags = HF_OPTION_RELOADABLE,
                      .doc = "Status of the answer to requests over the limit; it says when to come again "
                             "(Retry-After)."),
};
const hf_option_table gateway_limit_table = HF_TABLE(limit_options);
