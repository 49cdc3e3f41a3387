/* daemon/operations.h: the signals and actions of a process, from its configuration. */
#ifndef HOLDFAST_CORE_DAEMON_OPERATIONS_H
#define HOLDFAST_CORE_DAEMON_OPERATIONS_H

#include "daemon/settings.h"
#include "process/process.h"

/* The audit log is STATE/operations/PROCESS/audit.log.  As hf_signals_create and hf_signals_routes.  [main] */
int32_t hf_operations_create(const hf_config_generation *generation, hf_process *process, hf_lua_host *lua,
                             const char *process_name, hf_http_server *http, hf_signals **ret_signals, hf_error *error);

/* When this process replaces one that died, raises "process.died" about it.  Once, when the loops run.  [main] */
void hf_operations_tell_death(hf_signals *signals, const char *process_name);

#endif
