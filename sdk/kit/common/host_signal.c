/* hf.signal/1: keeps what was raised and cleared, in order; notes for the audit log are checked. */
#include "host_private.h"

#include <holdfast/lib/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int32_t declare(const hf_host *host, const hf_signal_kind *kind, hf_error *error)
{
    hf_kit_host *kit = kit_of(host);

    kit_must_declare(kit, "hf.signal/1 declare");
    if (kind->size < sizeof *kind || !kind->name || !*kind->name || !kind->doc || !*kind->doc ||
        kind->severity < HF_SIGNAL_INFO || kind->severity > HF_SIGNAL_CRITICAL ||
        kind->name[strspn(kind->name, "abcdefghijklmnopqrstuvwxyz0123456789_.")])
        hf_kit_fail("the signal '%s' was declared with a wrong size, name, doc or severity",
                    kind->name ? kind->name : "(null)");
    for (uint32_t i = 0; i < kit->signal_kind_count; i++)
        if (strcmp(kit->signal_kinds[i]->name, kind->name) == 0)
            return hf_error_set(error, HF_EEXIST, "the signal '%s' is declared already", kind->name);
    if (kit->signal_kind_count == KIT_DECLARED_MAX)
        return hf_error_set(error, HF_ENOMEM, "too many signals");
    kit->signal_kinds[kit->signal_kind_count++] = kind;
    return HF_OK;
}

static int32_t offer(const hf_host *host, const hf_action *action, hf_error *error)
{
    hf_kit_host *kit = kit_of(host);

    kit_must_declare(kit, "hf.signal/1 offer");
    if (action->size < sizeof *action || !action->name || !*action->name || !action->doc || !*action->doc ||
        !action->run || action->parameter_count > 8 || (action->parameter_count && !action->parameters))
        hf_kit_fail("the action '%s' was offered with a wrong size, name, doc, function or parameters",
                    action->name ? action->name : "(null)");
    for (uint32_t i = 0; i < kit->action_count; i++)
        if (strcmp(kit->actions[i]->name, action->name) == 0)
            return hf_error_set(error, HF_EEXIST, "the action '%s' is offered already", action->name);
    if (kit->action_count == KIT_DECLARED_MAX)
        return hf_error_set(error, HF_ENOMEM, "too many actions");
    kit->actions[kit->action_count++] = action;
    return HF_OK;
}

static int32_t is_declared(const hf_kit_host *kit, const char *name)
{
    for (uint32_t i = 0; i < kit->signal_kind_count; i++)
        if (strcmp(kit->signal_kinds[i]->name, name) == 0)
            return 1;
    return 0;
}

static struct kit_signal_state *find_raised(hf_kit_host *kit, const char *name, const char *subject)
{
    for (uint32_t i = 0; i < kit->raised_count; i++)
        if (strcmp(kit->raised[i].name, name) == 0 && strcmp(kit->raised[i].subject, subject) == 0)
            return &kit->raised[i];
    return NULL;
}

static void keep(hf_kit_host *kit, const char *name, const char *subject, int32_t raised)
{
    if (kit->event_count == KIT_SIGNALS_MAX)
        hf_kit_fail("'%s' was raised or cleared more than %d times", name, KIT_SIGNALS_MAX);
    hf_kit_signal *event = &kit->events[kit->event_count++];
    *event = (hf_kit_signal){.raised = raised, .at_us = kit->now_us};
    snprintf(event->name, sizeof event->name, "%s", name);
    snprintf(event->subject, sizeof event->subject, "%s", subject);
}

static void check_call(const hf_kit_host *kit, const char *what, const char *name, const char *subject)
{
    if (!name || !subject || strlen(name) >= 64 || strlen(subject) >= 256)
        hf_kit_fail("hf.signal/1 %s was called without a name or a subject, or with one that is too long", what);
    if (!is_declared(kit, name))
        hf_kit_fail("hf.signal/1 %s: the signal '%s' was not declared", what, name);
}

static int32_t raise_signal(const hf_host *host, const char *name, const char *subject, const hf_value *detail)
{
    hf_kit_host *kit = kit_of(host);
    int32_t result = HF_OK;

    check_call(kit, "raise", name, subject);
    if (detail && detail->type != HF_VALUE_MAP)
        hf_kit_fail("the detail of the signal '%s' is %s, expected a map", name, hf_value_type_name(detail->type));
    pthread_mutex_lock(&kit->lock);
    if (!find_raised(kit, name, subject)) {
        if (kit->raised_count < KIT_DECLARED_MAX) {
            struct kit_signal_state *state = &kit->raised[kit->raised_count++];
            snprintf(state->name, sizeof state->name, "%s", name);
            snprintf(state->subject, sizeof state->subject, "%s", subject);
            keep(kit, name, subject, 1);
        } else {
            result = HF_EBUSY;
        }
    }
    pthread_mutex_unlock(&kit->lock);
    return result;
}

static int32_t clear_signal(const hf_host *host, const char *name, const char *subject)
{
    hf_kit_host *kit = kit_of(host);

    check_call(kit, "clear", name, subject);
    pthread_mutex_lock(&kit->lock);
    struct kit_signal_state *state = find_raised(kit, name, subject);
    if (state) {
        *state = kit->raised[--kit->raised_count];
        keep(kit, name, subject, 0);
    }
    pthread_mutex_unlock(&kit->lock);
    return HF_OK;
}

static int32_t note(const hf_host *host, const char *actor, const char *kind, const hf_value *detail, hf_error *error)
{
    (void)host;
    (void)error;
    if (!actor || !*actor || !kind || !*kind || kind[strspn(kind, "abcdefghijklmnopqrstuvwxyz0123456789_.")])
        hf_kit_fail("hf.signal/1 note was called without an actor, or with a wrong kind '%s'", kind ? kind : "(null)");
    if (!detail || detail->type != HF_VALUE_MAP)
        hf_kit_fail("the detail of the entry '%s' for the audit log is not a map", kind);
    return HF_OK;
}

const hf_signal_interface kit_signal_interface = {
    .head = HF_HEAD(hf_signal_interface),
    .declare = declare,
    .offer = offer,
    .raise = raise_signal,
    .clear = clear_signal,
    .note = note,
};

const hf_kit_signal *hf_kit_host_signals(const hf_kit_host *host, uint64_t *ret_count)
{
    *ret_count = host->event_count;
    return host->events;
}
