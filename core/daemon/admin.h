/* daemon/admin.h: /healthz, /metrics and the admin interface of one process; see docs/http.md, "The process itself". */
#ifndef HOLDFAST_CORE_DAEMON_ADMIN_H
#define HOLDFAST_CORE_DAEMON_ADMIN_H

#include "daemon/gauges.h"
#include "daemon/reload.h"

typedef struct hf_admin hf_admin;

/* All borrowed. */
typedef struct hf_admin_settings {
    const char *process_name;
    const char *version; /* of the program */
    hf_process *process;
    const hf_plugins *plugins;
    hf_instances *instances;
    hf_reload *reload;
    hf_gauges *gauges;
} hf_admin_settings;

/* Adds the routes to the process's HTTP server.  HF_ENOMEM and the errors of hf_http_server_route.  [main] */
int32_t hf_admin_create(const hf_admin_settings *settings, hf_admin **ret_admin, hf_error *error);

/* No request is under way.  Accepts NULL. */
void hf_admin_destroy(hf_admin *admin);

/* From now on /healthz says that the process is ending.  [main] */
void hf_admin_ending(hf_admin *admin);

/* 1 while an answer is being made in the background.  [any] */
int hf_admin_busy(const hf_admin *admin);

#endif
