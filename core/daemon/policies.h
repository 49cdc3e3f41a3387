/* daemon/policies.h: the Lua policies of a process: the host that asks them, where their files are, and their part of
 * the admin interface. */
#ifndef HOLDFAST_CORE_DAEMON_POLICIES_H
#define HOLDFAST_CORE_DAEMON_POLICIES_H

#include "daemon/settings.h"
#include "lua/lua_host.h"
#include "process/process.h"

typedef struct hf_policies hf_policies;

/* `workers` are the process's worker loops; all is borrowed.  [main] */
int32_t hf_policies_create(const hf_config_generation *generation, hf_process *process, hf_loop *const *workers,
                           uint32_t worker_count, hf_policies **ret_policies, hf_error *error);

/* The process, with its loops and pool, has been destroyed.  Accepts NULL. */
void hf_policies_destroy(hf_policies *policies);

hf_lua_host *hf_policies_lua(hf_policies *policies);

/* Adds GET /v1/admin/policies and POST /v1/admin/policies/reload.  [main] */
int32_t hf_policies_routes(hf_policies *policies, hf_http_server *server, hf_error *error);

/* Loads the policies once everything is declared.  What is wrong with them is logged, and the defaults are taken: a bad
 * policy must not keep a node down.  [main], before the loops run */
void hf_policies_load(hf_policies *policies);

/* Reads them again; what is wrong is logged, and the old ones stay.  [main] */
void hf_policies_reload(hf_policies *policies);

#endif
