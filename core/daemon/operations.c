#include "daemon/operations.h"

#include "daemon/state.h"
#include "supervisor/supervisor.h"
#include "telemetry/log.h"

#include <holdfast/lib/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const hf_signal_kind died = {
    .size = sizeof died,
    .severity = HF_SIGNAL_CRITICAL,
    .name = "process.died",
    .doc = "The process ended without being asked to, and this one was started in its place; the subject is its name. "
           "Detail: cause, report (a file with the backtrace and the last log lines).",
};

int32_t hf_operations_create(const hf_config_generation *generation, hf_process *process, hf_lua_host *lua,
                             const char *process_name, hf_http_server *http, hf_signals **ret_signals, hf_error *error)
{
    const hf_operations_settings *options = hf_settings_operations(generation);
    const char *state = hf_settings_node(generation)->state_directory;
    char directory[4200], reports[4200];
    hf_signals_settings settings = {
        .main = hf_process_main_loop(process),
        .pool = hf_process_pool(process),
        .metrics = hf_process_metrics(process),
        .lua = lua,
        .directory = directory,
        .reports = reports,
        .dry_run = options->dry_run,
        .action_interval_us = options->action_interval_us,
        .actions_per_hour = (uint32_t)options->actions_per_hour,
        .audit_size = options->audit_size,
    };

    if ((size_t)snprintf(directory, sizeof directory, "%s/operations/%s", state, process_name) >= sizeof directory ||
        (size_t)snprintf(reports, sizeof reports, "%s/reports", state) >= sizeof reports)
        return hf_error_set(error, HF_EINVAL, "the state directory's path is too long");
    int32_t result = hf_state_make(directory, error);
    if (!result)
        result = hf_signals_create(&settings, ret_signals, error);
    if (!result)
        result = hf_signals_declare(*ret_signals, &died, error);
    return result ? result : hf_signals_routes(*ret_signals, http, error);
}

void hf_operations_tell_death(hf_signals *signals, const char *process_name)
{
    const char *death = getenv(HF_DEATH_ENVIRONMENT), *report = death ? strchr(death, '\n') : NULL;

    if (!report)
        return;
    hf_value_member members[] = {
        {hf_slice_of("cause"), hf_value_string((hf_slice){(const uint8_t *)death, (uint64_t)(report - death)})},
        {hf_slice_of("report"), hf_value_string(hf_slice_of(report + 1))},
    };
    hf_value detail = hf_value_map(members, sizeof members / sizeof members[0]);
    int32_t result = hf_signals_raise(signals, "daemon", died.name, process_name, &detail);

    if (result)
        hf_log(HF_LOG_ERROR, "daemon", "the signal '%s' is lost (code %d)", died.name, result);
}
