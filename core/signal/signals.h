/* signal/signals.h: signals, the decision about each, and the actions; see <holdfast/host/signal.h>. */
#ifndef HOLDFAST_CORE_SIGNAL_SIGNALS_H
#define HOLDFAST_CORE_SIGNAL_SIGNALS_H

#include "http/server.h"
#include "lua/lua_host.h"

#include <holdfast/host/signal.h>

typedef struct hf_signals hf_signals;
typedef struct hf_pool hf_pool;
typedef struct hf_metrics hf_metrics;

typedef struct hf_signals_settings {
    hf_loop *main; /* all but the texts is borrowed */
    hf_pool *pool;
    hf_metrics *metrics;
    hf_lua_host *lua;            /* NULL: nobody decides */
    const char *directory;       /* of the audit log */
    const char *reports;         /* folder of the crash reports, for the action disk.trim_reports */
    int32_t dry_run;             /* 1: decides and writes the audit log, but runs nothing that a policy asks for */
    uint64_t action_interval_us; /* between two runs of an action */
    uint32_t actions_per_hour;   /* of each action */
    uint64_t audit_size;         /* bytes of one file of the audit log */
} hf_signals_settings;

/* Opens the audit log, declares the decision point and offers the built-in actions.  HF_EIO, HF_ENOMEM.  [main] */
int32_t hf_signals_create(const hf_signals_settings *settings, hf_signals **ret_signals, hf_error *error);
/* The loops and the pool do not run any more.  Accepts NULL. */
void hf_signals_destroy(hf_signals *signals);

/* What hf_signal_interface offers; `source` is the plugin's name. */
int32_t hf_signals_declare(hf_signals *signals, const hf_signal_kind *kind, hf_error *error);
int32_t hf_signals_offer(hf_signals *signals, const hf_action *action, hf_error *error);
int32_t hf_signals_raise(hf_signals *signals, const char *source, const char *name, const char *subject,
                         const hf_value *detail);
int32_t hf_signals_clear(hf_signals *signals, const char *name, const char *subject);
int32_t hf_signals_write_note(hf_signals *signals, const char *actor, const char *kind, const hf_value *detail,
                              hf_error *error);

/* Runs an action for a person: no brakes.  done(arg, code, result as JSON, error) on the main loop.  [main] */
typedef void (*hf_action_done)(void *arg, int32_t code, hf_slice result, const hf_error *error);
void hf_signals_run(hf_signals *signals, const char *actor, const char *name, const hf_value *arguments,
                    hf_action_done done, void *arg);

/* Adds GET /v1/admin/signals, /v1/admin/actions, /v1/admin/audit and POST /v1/admin/actions/{name}.  [main] */
int32_t hf_signals_routes(hf_signals *signals, hf_http_server *server, hf_error *error);

#endif
