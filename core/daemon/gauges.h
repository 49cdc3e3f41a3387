/* daemon/gauges.h: metrics of the process itself: memory, descriptors, loops. */
#ifndef HOLDFAST_CORE_DAEMON_GAUGES_H
#define HOLDFAST_CORE_DAEMON_GAUGES_H

#include "process/process.h"

typedef struct hf_gauges hf_gauges;

/* `version` is the program's.  HF_ENOMEM and the errors of hf_metrics_add.  [main] */
int32_t hf_gauges_create(hf_process *process, const char *version, hf_gauges **ret_gauges, hf_error *error);

/* Accepts NULL. */
void hf_gauges_destroy(hf_gauges *gauges);

/* Brings the metrics up to date.  Reads /proc: not on a loop.  [any] */
void hf_gauges_update(hf_gauges *gauges);

uint64_t hf_gauges_uptime_us(const hf_gauges *gauges); /* [any] */

/* The name of loop `index`, 0 being the main loop, and its longest stall since the start; NULL behind the last.
 * [any] */
const char *hf_gauges_loop(hf_gauges *gauges, uint32_t index, uint64_t *ret_longest_stall_us);

#endif
