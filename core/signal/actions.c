/* Actions: their brakes, their runs in the pool, and those that core itself offers. */
#include "signal/private.h"

#include "log.h"
#include "loop.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <holdfast/lib/error.h>
#include <holdfast/lib/json.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OUTCOME_OK, OUTCOME_FAILED, OUTCOME_BRAKED };
enum { RESULT_MAXIMUM = 1 << 20 };

static const uint64_t hour_us = UINT64_C(3600) * 1000000;
static const char source[] = "signal";

/* ---- Offering ---------------------------------------------------------------------------------------------------- */

struct signal_action *hf_signals_find_action(hf_signals *signals, hf_slice name)
{
    for (uint32_t i = 0; i < signals->action_count; i++)
        if (hf_slice_is(name, signals->actions[i].action.name))
            return &signals->actions[i];
    return NULL;
}

int32_t hf_signals_offer(hf_signals *signals, const hf_action *action, hf_error *error)
{
    static const char *const outcomes[3] = {"ok", "failed", "braked"};
    struct signal_action *own = &signals->actions[signals->action_count];
    int32_t result = 0;

    if (!action->name || !action->doc || !action->run || action->parameter_count > 8 ||
        strlen(action->name) > SIGNAL_NAME_MAX)
        return hf_error_set(error, HF_EINVAL, "an action needs a name, a doc, a function, and at most 8 parameters");
    if (hf_signals_find_action(signals, hf_slice_of(action->name)))
        return hf_error_set(error, HF_EEXIST, "the action '%s' is offered already", action->name);
    if (signals->action_count == SIGNAL_ACTIONS_MAX)
        return hf_error_set(error, HF_ENOMEM, "more than %d actions", SIGNAL_ACTIONS_MAX);
    *own = (struct signal_action){.action = *action};
    for (int i = 0; i < 3 && !result; i++) {
        const char *const labels[2][2] = {{"action", action->name}, {"outcome", outcomes[i]}};
        result = hf_metrics_add(signals->settings.metrics, HF_METRIC_COUNTER, "holdfast_actions_total",
                                "Actions asked for", labels, 2, &own->outcomes[i], error);
    }
    if (!result)
        signals->action_count++;
    return result;
}

/* ---- The audit log, in the pool ---------------------------------------------------------------------------------- */

struct note {
    hf_job job;
    hf_signals *signals;
    char actor[SIGNAL_NAME_MAX + 1];
    const char *kind; /* static */
    char *detail;     /* JSON */
    hf_error error;
    int32_t code;
};

static void write_note(hf_job *job)
{
    struct note *note = (struct note *)(void *)job;
    hf_value detail = hf_value_null();
    hf_arena arena;

    hf_arena_init(&arena, 4 << 20);
    note->code = hf_json_parse(hf_slice_of(note->detail), &arena, &detail, &note->error);
    if (note->code == 0)
        note->code = hf_audit_append(note->signals->audit, note->actor, note->kind, &detail, &note->error);
    hf_arena_done(&arena);
}

static void note_written(hf_job *job)
{
    struct note *note = (struct note *)(void *)job;

    if (note->code)
        hf_log(HF_LOG_ERROR, source, "the audit log has no entry for %s: %s", note->kind, note->error.message);
    free(note->detail);
    free(note);
}

void hf_signals_note(hf_signals *signals, const char *actor, const char *kind, const hf_value *detail)
{
    struct note *note = calloc(1, sizeof *note);
    hf_buffer text;

    hf_buffer_init(&text, 1 << 20);
    if (!note || hf_json_append(&text, detail) != 0 || hf_buffer_append(&text, "", 1) != 0) {
        hf_log(HF_LOG_ERROR, source, "the audit log has no entry for %s: no memory", kind);
        hf_buffer_done(&text);
        free(note);
        return;
    }
    note->signals = signals;
    note->kind = kind;
    note->detail = (char *)text.data;
    snprintf(note->actor, sizeof note->actor, "%s", actor);
    note->job = (hf_job){.loop = signals->settings.main, .work = write_note, .done = note_written};
    if (hf_pool_submit(signals->settings.pool, &note->job, &note->error) != 0) {
        note->code = HF_EBUSY;
        note_written(&note->job);
    }
}

/* ---- Running ----------------------------------------------------------------------------------------------------- */

struct run {
    hf_job job;
    hf_signals *signals;
    struct signal_action *action;
    char actor[SIGNAL_NAME_MAX + 1];
    char subject[SIGNAL_SUBJECT_MAX + 1];
    hf_arena arena;
    hf_value arguments, result;
    int32_t code;
    hf_error error;
    hf_action_done done;
    void *arg;
};

/* A sentence when the arguments are not what the action declares. */
static int32_t check_arguments(const hf_action *action, const hf_value *arguments, hf_error *error)
{
    if (arguments->type != HF_VALUE_MAP)
        return hf_error_set(error, HF_EINVAL, "the arguments of '%s' are not a map", action->name);
    for (uint32_t i = 0; i < action->parameter_count; i++) {
        const hf_action_parameter *parameter = &action->parameters[i];
        const hf_value *value = hf_value_get(arguments, parameter->name);
        if (!value && parameter->required)
            return hf_error_set(error, HF_EINVAL, "'%s' needs the argument '%s'", action->name, parameter->name);
        if (value && value->type != parameter->type)
            return hf_error_set(error, HF_EINVAL, "the argument '%s' of '%s' is %s; expected %s", parameter->name,
                                action->name, hf_value_type_name(value->type), hf_value_type_name(parameter->type));
    }
    for (uint64_t i = 0; i < arguments->count; i++) {
        int known = 0;
        for (uint32_t j = 0; j < action->parameter_count; j++)
            known |= hf_slice_is(arguments->as.members[i].name, action->parameters[j].name);
        if (!known)
            return hf_error_set(error, HF_EINVAL, "'%s' has no argument '%.*s'", action->name,
                                (int)arguments->as.members[i].name.size,
                                (const char *)arguments->as.members[i].name.data);
    }
    return 0;
}

static void work(hf_job *job)
{
    struct run *run = (struct run *)(void *)job;
    const hf_action *action = &run->action->action;

    run->code = action->run(action->arg, &run->arguments, &run->arena, &run->result, &run->error);
}

static void note_run(const struct run *run)
{
    const hf_value_member members[] = {
        {hf_slice_of("action"), hf_value_text(run->action->action.name)},
        {hf_slice_of("subject"), hf_value_text(run->subject)},
        {hf_slice_of("arguments"), run->arguments},
        {hf_slice_of("outcome"), hf_value_text(run->code ? "failed" : "ok")},
        {hf_slice_of("result"), run->code ? hf_value_text(run->error.message) : run->result},
    };
    hf_value detail = hf_value_map(members, 5);

    hf_signals_note(run->signals, run->actor, "action.run", &detail);
}

static void finished(hf_job *job)
{
    struct run *run = (struct run *)(void *)job;
    hf_buffer text;

    run->action->running = 0;
    hf_metric_increment(run->action->outcomes[run->code ? OUTCOME_FAILED : OUTCOME_OK], 1);
    hf_log(run->code ? HF_LOG_ERROR : HF_LOG_INFO, source, "action %s for %s: %s", run->action->action.name, run->actor,
           run->code ? run->error.message : "done");
    note_run(run);
    hf_buffer_init(&text, RESULT_MAXIMUM);
    if (run->done) {
        if (!run->code && hf_json_append(&text, &run->result) != 0)
            run->code = hf_error_set(&run->error, HF_ENOMEM, "no memory for the result");
        run->done(run->arg, run->code, (hf_slice){text.data, text.size}, &run->error);
    }
    hf_buffer_done(&text);
    hf_arena_done(&run->arena);
    free(run);
}

/* Copies the arguments, checks them and begins. */
static int32_t begin(hf_signals *signals, struct signal_action *action, const char *actor, const char *subject,
                     const hf_value *arguments, hf_action_done done, void *arg, hf_error *error)
{
    struct run *run = calloc(1, sizeof *run);
    hf_buffer text;

    if (!run)
        return hf_error_set(error, HF_ENOMEM, "no memory for the action");
    *run = (struct run){.signals = signals, .action = action, .result = hf_value_null(), .done = done, .arg = arg};
    snprintf(run->actor, sizeof run->actor, "%s", actor);
    snprintf(run->subject, sizeof run->subject, "%s", subject);
    hf_arena_init(&run->arena, 16 << 20);
    hf_buffer_init(&text, RESULT_MAXIMUM);
    int32_t result = hf_json_append(&text, arguments);
    if (!result)
        result = hf_json_parse((hf_slice){text.data, text.size}, &run->arena, &run->arguments, error);
    hf_buffer_done(&text);
    if (!result)
        result = check_arguments(&action->action, &run->arguments, error);
    run->job = (hf_job){.loop = signals->settings.main, .work = work, .done = finished};
    if (!result)
        result = hf_pool_submit(signals->settings.pool, &run->job, error);
    if (result) {
        hf_arena_done(&run->arena);
        free(run);
        return result;
    }
    action->running = 1;
    return 0;
}

void hf_signals_run(hf_signals *signals, const char *actor, const char *name, const hf_value *arguments,
                    hf_action_done done, void *arg)
{
    struct signal_action *action = hf_signals_find_action(signals, hf_slice_of(name));
    hf_error error = {0};
    int32_t result;

    if (!action)
        result = hf_error_set(&error, HF_ENOTFOUND, "there is no action '%s'; see 'holdfast action list'", name);
    else
        result = begin(signals, action, actor, "", arguments, done, arg, &error);
    if (result)
        done(arg, result, (hf_slice){NULL, 0}, &error);
}

/* ---- Wishes of policies --------------------------------------------------------------------------------------- */

/* Why the action must wait, or NULL. */
static const char *brake(const hf_signals *signals, struct signal_action *action, uint64_t now)
{
    if (now - action->hour_us >= hour_us || !action->hour_us) {
        action->hour_us = now;
        action->in_hour = 0;
    }
    if (action->running)
        return "it is running already";
    if (action->last_us && now - action->last_us < signals->settings.action_interval_us)
        return "it ran a moment ago";
    if (action->in_hour >= signals->settings.actions_per_hour)
        return "it ran too often in this hour";
    return NULL;
}

static void note_refusal(hf_signals *signals, hf_slice name, const char *subject, const char *why)
{
    const hf_value_member members[] = {{hf_slice_of("action"), hf_value_string(name)},
                                       {hf_slice_of("subject"), hf_value_text(subject)},
                                       {hf_slice_of("reason"), hf_value_text(why)}};
    hf_value detail = hf_value_map(members, 3);

    hf_signals_note(signals, "policy", "action.refused", &detail);
}

void hf_signals_obey(hf_signals *signals, const hf_value *wish, const char *subject)
{
    hf_slice name = hf_value_get_string(wish, "action", (hf_slice){NULL, 0});
    struct signal_action *action = hf_signals_find_action(signals, name);
    const hf_value *given = hf_value_get(wish, "arguments");
    hf_value arguments = given && given->type != HF_VALUE_NULL ? *given : hf_value_map(NULL, 0);
    uint64_t now = hf_clock_us();
    const char *why = action ? brake(signals, action, now) : "there is no such action";
    hf_error error = {0};

    if (!why && signals->settings.dry_run)
        why = "operations.dry_run is set";
    if (!why && begin(signals, action, "policy", subject, &arguments, NULL, NULL, &error) != 0)
        why = error.message;
    if (!why) {
        action->last_us = now;
        action->in_hour++;
        return;
    }
    if (action)
        hf_metric_increment(action->outcomes[OUTCOME_BRAKED], 1);
    hf_log(HF_LOG_INFO, source, "action %.*s for %s was not run: %s", (int)name.size, (const char *)name.data, subject,
           why);
    note_refusal(signals, name, subject, why);
}

/* ---- Core's own -------------------------------------------------------------------------------------------------- */

struct report {
    char name[256];
    int64_t time_ns;
    uint64_t size;
};

static int newest_first(const void *a, const void *b)
{
    const struct report *first = a, *second = b;

    return first->time_ns > second->time_ns ? -1 : first->time_ns < second->time_ns;
}

static int32_t list_reports(DIR *folder, hf_arena *arena, struct report **ret_reports, uint64_t *ret_count)
{
    enum { REPORTS_MAX = 10000 };
    struct report *reports = hf_arena_alloc(arena, REPORTS_MAX * sizeof *reports);
    uint64_t count = 0;

    if (!reports)
        return HF_ENOMEM;
    for (struct dirent *entry; (entry = readdir(folder)) && count < REPORTS_MAX;) {
        size_t size = strlen(entry->d_name);
        struct stat status;

        if (size < 5 || strcmp(entry->d_name + size - 4, ".txt") != 0 || size >= sizeof reports->name ||
            fstatat(dirfd(folder), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(status.st_mode))
            continue;
        strcpy(reports[count].name, entry->d_name);
        reports[count].time_ns = (int64_t)status.st_mtim.tv_sec * 1000000000 + status.st_mtim.tv_nsec;
        reports[count++].size = (uint64_t)status.st_size;
    }
    qsort(reports, count, sizeof *reports, newest_first);
    *ret_reports = reports;
    *ret_count = count;
    return 0;
}

/* Removes all crash reports but the newest. */
static int32_t trim_reports(void *arg, const hf_value *arguments, hf_arena *arena, hf_value *ret_result,
                            hf_error *error)
{
    const hf_signals *signals = arg;
    int64_t keep = hf_value_get_integer(arguments, "keep", 0);
    struct report *reports = NULL;
    uint64_t count = 0, bytes = 0, removed = 0;
    hf_value_member *members = hf_arena_alloc(arena, 2 * sizeof *members);

    if (keep < 0)
        return hf_error_set(error, HF_EINVAL, "keep is %lld; expected 0 or more", (long long)keep);
    DIR *folder = opendir(signals->settings.reports);
    if (!folder)
        return hf_error_set_errno(error, HF_EIO, errno, "cannot read '%s'", signals->settings.reports);
    int32_t result = members ? list_reports(folder, arena, &reports, &count) : HF_ENOMEM;
    if (result)
        hf_error_set(error, result, "no memory to list the reports");
    for (uint64_t i = (uint64_t)keep; i < count && !result; i++) {
        if (unlinkat(dirfd(folder), reports[i].name, 0) != 0 && errno != ENOENT) {
            result = hf_error_set_errno(error, HF_EIO, errno, "cannot remove '%s'", reports[i].name);
        } else {
            removed++;
            bytes += reports[i].size;
        }
    }
    closedir(folder);
    if (result)
        return result;
    members[0] = (hf_value_member){hf_slice_of("removed"), hf_value_integer((int64_t)removed)};
    members[1] = (hf_value_member){hf_slice_of("bytes"), hf_value_integer((int64_t)bytes)};
    *ret_result = hf_value_map(members, 2);
    return 0;
}

int32_t hf_signals_offer_own(hf_signals *signals, hf_error *error)
{
    static const hf_action_parameter keep[] = {
        {"keep", "how many of the newest stay", HF_VALUE_INTEGER, 1},
        {"subject", "what the signal was about; for the audit log only", HF_VALUE_STRING, 0},
    };
    hf_action action = {
        .size = sizeof action,
        .parameter_count = 2,
        .name = "disk.trim_reports",
        .doc = "Removes old crash reports of this node; they cannot be brought back.",
        .parameters = keep,
        .run = trim_reports,
        .arg = signals,
    };

    return hf_signals_offer(signals, &action, error);
}
