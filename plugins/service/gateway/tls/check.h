/* check.h: what the types of TLS options cannot say: files that are missing or wrong, and words of OpenSSL.  [main] */
#ifndef GATEWAY_TLS_CHECK_H
#define GATEWAY_TLS_CHECK_H

#include "tls/options.h"

/* Reports what is wrong with a listener's, or an upstream's, whose group is at `path` ("listeners.web").  `servers` are
 * the upstream's, gateway_server_options. */
void gateway_tls_check_server(const struct gateway_tls_server_options *options, const hf_config_report *report,
                              const char *path);
void gateway_tls_check_client(const struct gateway_tls_client_options *options, const hf_groups *servers,
                              const hf_config_report *report, const char *path);

#endif
