/* daemon/compare.h: GET /v1/admin/config/diff?file=PATH: how a file on this machine differs from the configuration in
 * force. */
#ifndef HOLDFAST_CORE_DAEMON_COMPARE_H
#define HOLDFAST_CORE_DAEMON_COMPARE_H

#include "daemon/reload.h"

typedef struct hf_compare hf_compare;

/* Adds the route; all is borrowed.  [main] */
int32_t hf_compare_create(const hf_plugins *plugins, hf_process *process, hf_reload *reload, hf_compare **ret_compare,
                          hf_error *error);
void hf_compare_destroy(hf_compare *compare); /* accepts NULL */

#endif
