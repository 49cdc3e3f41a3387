/* Signals on the main loop: what is raised, what is over, and who is asked about it. */
#include "signal/signals.h"

#include "log.h"
#include "loop.h"
#include "signal/private.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/json.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char source[] = "signal";
static const char *const severities[] = {"info", "warning", "critical"};

uint64_t hf_signals_wall_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* ---- Declaring --------------------------------------------------------------------------------------------------- */

static int is_name(const char *name)
{
    size_t size = name ? strlen(name) : 0;

    return size > 0 && size <= SIGNAL_NAME_MAX && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_.") == size;
}

int32_t hf_signals_write_note(hf_signals *signals, const char *actor, const char *kind, const hf_value *detail,
                              hf_error *error)
{
    if (!is_name(kind) || !actor || !*actor || !detail || detail->type != HF_VALUE_MAP)
        return hf_error_set(error, HF_EINVAL,
                            "an entry of the audit log needs an actor, a name as of a signal and a map");
    return hf_audit_append(signals->audit, actor, kind, detail, error);
}

static struct signal_kind *find_kind(hf_signals *signals, const char *name)
{
    for (uint32_t i = 0; i < signals->kind_count; i++)
        if (strcmp(signals->kinds[i].kind.name, name) == 0)
            return &signals->kinds[i];
    return NULL;
}

int32_t hf_signals_declare(hf_signals *signals, const hf_signal_kind *kind, hf_error *error)
{
    struct signal_kind *own = &signals->kinds[signals->kind_count];
    const char *const label[1][2] = {{"name", kind->name}};

    if (!is_name(kind->name) || !kind->doc || kind->severity < HF_SIGNAL_INFO || kind->severity > HF_SIGNAL_CRITICAL)
        return hf_error_set(error, HF_EINVAL, "a signal needs a name of a-z, 0-9, '_' and '.', a doc and a severity");
    if (find_kind(signals, kind->name))
        return hf_error_set(error, HF_EEXIST, "the signal '%s' is declared already", kind->name);
    if (signals->kind_count == SIGNAL_KINDS_MAX)
        return hf_error_set(error, HF_ENOMEM, "more than %d kinds of signals", SIGNAL_KINDS_MAX);
    *own = (struct signal_kind){.kind = *kind};
    int32_t result = hf_metrics_add(signals->settings.metrics, HF_METRIC_COUNTER, "holdfast_signals_total",
                                    "Signals raised", label, 1, &own->total, error);
    if (!result)
        result = hf_metrics_add(signals->settings.metrics, HF_METRIC_GAUGE, "holdfast_signals_active",
                                "Signals that are not over", label, 1, &own->active, error);
    if (!result)
        signals->kind_count++;
    return result;
}

/* ---- Raising and clearing, from any thread ----------------------------------------------------------------------- */

struct message {
    hf_task task;
    hf_signals *signals;
    struct signal_kind *kind;
    int32_t over;
    char source[SIGNAL_NAME_MAX + 1];
    char subject[SIGNAL_SUBJECT_MAX + 1];
    char *detail;
};

static void take_message(hf_task *task);

static int32_t send(hf_signals *signals, struct message *message)
{
    if (!message || atomic_fetch_add(&signals->waiting, 1) >= SIGNAL_WAITING_MAX) {
        if (message) {
            atomic_fetch_sub(&signals->waiting, 1);
            free(message->detail);
            free(message);
        }
        hf_metric_increment(signals->dropped, 1);
        return HF_EBUSY;
    }
    message->signals = signals;
    message->task.run = take_message;
    hf_loop_post(signals->settings.main, &message->task);
    return 0;
}

static char *copy_detail(const hf_value *detail)
{
    hf_buffer text;

    hf_buffer_init(&text, SIGNAL_DETAIL_MAX);
    if ((detail ? hf_json_append(&text, detail) : hf_buffer_append(&text, "{}", 2)) == 0 &&
        hf_buffer_append(&text, "", 1) == 0)
        return (char *)text.data;
    hf_buffer_done(&text);
    return NULL;
}

int32_t hf_signals_raise(hf_signals *signals, const char *from, const char *name, const char *subject,
                         const hf_value *detail)
{
    struct signal_kind *kind = find_kind(signals, name); /* the list does not change while the loops run */
    struct message *message;

    if (!kind)
        return HF_ENOTFOUND;
    message = calloc(1, sizeof *message);
    if (message) {
        message->kind = kind;
        message->detail = copy_detail(detail);
        snprintf(message->source, sizeof message->source, "%s", from);
        snprintf(message->subject, sizeof message->subject, "%s", subject);
    }
    if (message && !message->detail) {
        free(message);
        message = NULL;
    }
    return send(signals, message);
}

int32_t hf_signals_clear(hf_signals *signals, const char *name, const char *subject)
{
    struct signal_kind *kind = find_kind(signals, name);
    struct message *message;

    if (!kind)
        return HF_ENOTFOUND;
    message = calloc(1, sizeof *message);
    if (message) {
        message->kind = kind;
        message->over = 1;
        snprintf(message->subject, sizeof message->subject, "%s", subject);
    }
    return send(signals, message);
}

/* ---- On the main loop -------------------------------------------------------------------------------------------- */

static struct active_signal **find_active(hf_signals *signals, const struct signal_kind *kind, const char *subject)
{
    struct active_signal **link = &signals->active;

    while (*link && ((*link)->kind != kind || strcmp((*link)->subject, subject) != 0))
        link = &(*link)->next;
    return link;
}

static void free_active(struct active_signal *active)
{
    free(active->detail);
    free(active);
}

static void take_out(hf_signals *signals, struct active_signal **link)
{
    struct active_signal *active = *link;

    *link = active->next;
    signals->active_count--;
    hf_metric_set(active->kind->active, --active->kind->active_count);
    free_active(active);
}

static struct active_signal *add_active(hf_signals *signals, const struct message *message)
{
    struct active_signal *active = calloc(1, sizeof *active);

    if (!active)
        return NULL;
    if (signals->active_count == SIGNAL_ACTIVE_MAX) { /* the oldest makes room */
        struct active_signal **link = &signals->active;
        while ((*link)->next)
            link = &(*link)->next;
        take_out(signals, link);
    }
    active->kind = message->kind;
    active->first_us = hf_signals_wall_us();
    strcpy(active->subject, message->subject);
    active->next = signals->active;
    signals->active = active;
    signals->active_count++;
    hf_metric_set(message->kind->active, ++message->kind->active_count);
    return active;
}

/* What a policy and the audit log see. */
static void describe(const struct active_signal *active, hf_arena *arena, hf_value_member members[5])
{
    hf_value detail = hf_value_map(NULL, 0);

    (void)hf_json_parse(hf_slice_of(active->detail), arena, &detail, NULL); /* our own text */
    members[0] = (hf_value_member){hf_slice_of("name"), hf_value_text(active->kind->kind.name)};
    members[1] = (hf_value_member){hf_slice_of("severity"), hf_value_text(severities[active->kind->kind.severity])};
    members[2] = (hf_value_member){hf_slice_of("subject"), hf_value_text(active->subject)};
    members[3] = (hf_value_member){hf_slice_of("source"), hf_value_text(active->source)};
    members[4] = (hf_value_member){hf_slice_of("detail"), detail};
}

static void decide(hf_signals *signals, const hf_value *signal, const char *subject, hf_arena *arena)
{
    hf_value wish = hf_value_null();
    hf_error error = {0};

    if (!signals->decision || hf_lua_decide(signals->decision, signal, arena, &wish, &error) != 0)
        return; /* the default: nothing; a failure was logged and counted */
    if (wish.type == HF_VALUE_LIST)
        for (uint64_t i = 0; i < wish.count; i++)
            hf_signals_obey(signals, &wish.as.items[i], subject);
    else if (wish.type == HF_VALUE_MAP)
        hf_signals_obey(signals, &wish, subject);
}

static void raise_here(hf_signals *signals, struct message *message)
{
    struct active_signal *active = *find_active(signals, message->kind, message->subject);
    int first = active == NULL;
    hf_value_member members[5];
    hf_arena arena;

    if (first)
        active = add_active(signals, message);
    if (!active)
        return;
    free(active->detail);
    active->detail = message->detail;
    message->detail = NULL;
    active->last_us = hf_signals_wall_us();
    active->count++;
    strcpy(active->source, message->source);
    hf_metric_increment(message->kind->total, 1);
    hf_arena_init(&arena, 1 << 20);
    describe(active, &arena, members);
    hf_value signal = hf_value_map(members, 5);
    if (first) {
        hf_log(message->kind->kind.severity == HF_SIGNAL_INFO ? HF_LOG_INFO : HF_LOG_WARNING, source, "%s: %s %s",
               active->kind->kind.name, active->subject, active->detail);
        hf_signals_note(signals, active->source, "signal.raised", &signal);
    }
    decide(signals, &signal, active->subject, &arena);
    hf_arena_done(&arena);
}

static void clear_here(hf_signals *signals, const struct message *message)
{
    struct active_signal **link = find_active(signals, message->kind, message->subject);
    const hf_value_member members[] = {{hf_slice_of("name"), hf_value_text(message->kind->kind.name)},
                                       {hf_slice_of("subject"), hf_value_text(message->subject)}};
    hf_value detail = hf_value_map(members, 2);

    if (!*link)
        return;
    hf_log(HF_LOG_INFO, source, "%s: %s is over", message->kind->kind.name, message->subject);
    hf_signals_note(signals, (*link)->source, "signal.cleared", &detail);
    take_out(signals, link);
}

static void take_message(hf_task *task)
{
    struct message *message = (struct message *)(void *)task;
    hf_signals *signals = message->signals;

    atomic_fetch_sub(&signals->waiting, 1);
    if (message->over)
        clear_here(signals, message);
    else
        raise_here(signals, message);
    free(message->detail);
    free(message);
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

static int32_t declare_point(hf_signals *signals, hf_error *error)
{
    static const hf_lua_parameter parameters[] = {
        {"signal", "{ name, severity, subject, source, detail = { ... } }", HF_VALUE_MAP, 0}};
    static const hf_decision_point point = {
        .size = sizeof point,
        .parameter_count = 1,
        .name = "remediation.on_signal",
        .doc = "Asked for every raised signal: what is to be done about it.",
        .parameters = parameters,
        .result = {"wish", "nil, { action = NAME, arguments = { ... } }, or a list of these", HF_LUA_ANY, 0},
        .default_doc = "nothing is done",
    };

    return signals->settings.lua ? hf_lua_declare(signals->settings.lua, &point, &signals->decision, error) : 0;
}

int32_t hf_signals_create(const hf_signals_settings *settings, hf_signals **ret_signals, hf_error *error)
{
    static const hf_signal_kind broken = {sizeof broken, HF_SIGNAL_CRITICAL, "audit.broken",
                                          "The chain of the audit log did not hold at the start."};
    hf_signals *signals = calloc(1, sizeof *signals);
    int32_t is_broken = 0;

    if (!signals)
        return hf_error_set(error, HF_ENOMEM, "no memory for the signals");
    signals->settings = *settings;
    signals->settings.directory = strdup(settings->directory);
    signals->settings.reports = strdup(settings->reports);
    if (!signals->settings.directory || !signals->settings.reports) {
        hf_signals_destroy(signals);
        return hf_error_set(error, HF_ENOMEM, "no memory for the signals");
    }
    int32_t result = hf_audit_open(settings->directory, settings->audit_size, &signals->audit, &is_broken, error);
    if (!result)
        result = hf_metrics_add(settings->metrics, HF_METRIC_COUNTER, "holdfast_signals_dropped_total",
                                "Signals that were lost because too many waited", NULL, 0, &signals->dropped, error);
    if (!result)
        result = hf_signals_declare(signals, &broken, error);
    if (!result)
        result = declare_point(signals, error);
    if (!result)
        result = hf_signals_offer_own(signals, error);
    if (result) {
        hf_signals_destroy(signals);
        return result;
    }
    if (is_broken)
        (void)hf_signals_raise(signals, "core", "audit.broken", settings->directory, NULL);
    *ret_signals = signals;
    return 0;
}

void hf_signals_destroy(hf_signals *signals)
{
    if (!signals)
        return;
    while (signals->active) { /* its gauge went with the process, whose loops had to end first */
        struct active_signal *active = signals->active;
        signals->active = active->next;
        free_active(active);
    }
    hf_audit_close(signals->audit);
    free((char *)(uintptr_t)signals->settings.directory);
    free((char *)(uintptr_t)signals->settings.reports);
    free(signals);
}
