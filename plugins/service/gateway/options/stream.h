/* stream.h: options of listeners that pass bytes or datagrams on without reading them; stream.c says what each means.
 */
#ifndef GATEWAY_OPTIONS_STREAM_H
#define GATEWAY_OPTIONS_STREAM_H

#include <holdfast/holdfast.h>

struct gateway_name_options {
    const char *name; /* of the group: for people */
    hf_strings hosts;
    const char *upstream;
};

extern const hf_option_table gateway_name_table;

/* Words of the upstreams' option send_proxy: none, and the versions of the PROXY protocol by their numbers. */
extern const char *const gateway_send_proxy_words[];

struct gateway_options;
struct gateway_listener_options;

/* What the types of the options of such a listener cannot say, and what only it can have.  As hf_provide.check.  [main]
 */
void gateway_options_check_stream(const struct gateway_options *options,
                                  const struct gateway_listener_options *listener, const hf_config_report *report);

#endif
