/* What is told of a release: log, signals, the audit log, metrics. */
#include "release/desk.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/value.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KIND(severity_, name_, doc_)                                                                                   \
    {                                                                                                                  \
        .size = sizeof(hf_signal_kind), .severity = (severity_), .name = (name_), .doc = (doc_)                        \
    }

#define DETAIL "Subject: the stable upstream; detail: canary, step, share (per cent of the users), reason."

/* By what they are over: each is cleared by the next one of the same release. */
static const hf_signal_kind kinds[] = {
    KIND(HF_SIGNAL_INFO, "gateway.canary_started", "A release has begun, with its first share of users. " DETAIL),
    KIND(HF_SIGNAL_INFO, "gateway.canary_step", "A release goes on to a larger share of users. " DETAIL),
    KIND(HF_SIGNAL_INFO, "gateway.canary_promoted", "A release has gone well: all users have it. " DETAIL),
    KIND(HF_SIGNAL_WARNING, "gateway.canary_rolled_back",
         "A release was worse than the stable version: no user has it any more. " DETAIL),
    KIND(HF_SIGNAL_WARNING, "gateway.canary_aborted",
         "A release was ended by an operator, or by another configuration: no user has it any more. " DETAIL),
};

enum { KINDS = sizeof kinds / sizeof *kinds };

int32_t gateway_desk_declare_signals(struct gateway_desk *desk, hf_error *error)
{
    int32_t code = HF_OK;

    for (size_t i = 0; desk->signals && i < KINDS && code == HF_OK; i++)
        code = desk->signals->declare(desk->host, &kinds[i], error);
    return code;
}

static void log_line(const struct gateway_desk *desk, int32_t level, const char *text)
{
    desk->host->log(desk->host, level, hf_slice_of(text));
}

static void raise_signal(const struct gateway_desk *desk, const struct gateway_release *release, const char *event)
{
    const hf_value_member members[] = {
        {hf_slice_of("canary"), hf_value_text(release->canary)},
        {hf_slice_of("step"), hf_value_integer((int64_t)release->test.step + 1)},
        {hf_slice_of("share"), hf_value_float(gateway_release_share(release))},
        {hf_slice_of("reason"), hf_value_text(release->reason)},
    };
    hf_value detail = hf_value_map(members, sizeof members / sizeof *members);

    if (!desk->signals)
        return;
    for (size_t i = 0; i < KINDS; i++)
        if (strcmp(kinds[i].name, event) != 0)
            (void)desk->signals->clear(desk->host, kinds[i].name, release->stable);
    if (desk->signals->raise(desk->host, event, release->stable, &detail) != HF_OK)
        log_line(desk, HF_LOG_WARNING, "the signal of a release could not be raised");
}

static void add_note(struct gateway_desk *desk, const struct gateway_release *release, const char *event,
                     const char *actor)
{
    struct gateway_note *note = calloc(1, sizeof *note);

    if (!note) {
        log_line(desk, HF_LOG_ERROR, "the audit log has no entry for a release: no memory");
        return;
    }
    note->kind = event;
    snprintf(note->actor, sizeof note->actor, "%s", actor);
    memcpy(note->stable, release->stable, sizeof note->stable);
    memcpy(note->canary, release->canary, sizeof note->canary);
    memcpy(note->reason, release->reason, sizeof note->reason);
    note->step = release->test.step + 1;
    note->share = gateway_release_share(release);
    *desk->notes_end = note;
    desk->notes_end = &note->next;
}

void gateway_desk_tell(struct gateway_desk *desk, const struct gateway_release *release, const char *event,
                       const char *actor)
{
    char text[900];

    snprintf(text, sizeof text, "%s: the release of '%s' to '%s' by %s: step %u of %u, %g %% of the users%s%s", event,
             release->stable, release->canary, actor, release->test.step + 1, release->rules.step_count,
             gateway_release_share(release), release->reason[0] ? ": " : "", release->reason);
    log_line(desk, release->state == GATEWAY_RELEASE_ROLLED_BACK ? HF_LOG_WARNING : HF_LOG_INFO, text);
    raise_signal(desk, release, event);
    add_note(desk, release, event, actor);
    desk->is_changed = 1;
}

/* ---- Metrics ----------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name, *help;
} counters[GATEWAY_RELEASE_METRICS] = {
    {"holdfast_gateway_canary_requests_total", "Requests of a version while a release was under way"},
    {"holdfast_gateway_canary_failed_total", "Of these, failed ones"},
    {"holdfast_gateway_canary_slow_total", "Of these, slow ones"},
};

static int32_t add_series(const struct gateway_desk *desk, struct gateway_desk_slot *slot,
                          const char *const (*labels)[2], hf_error *error)
{
    int32_t code =
        desk->metrics->add(desk->host, HF_METRIC_GAUGE, "holdfast_gateway_canary_share",
                           "Share of the users that have a release, in per cent", labels, 2, &slot->share, error);

    if (code == HF_OK)
        code = desk->metrics->add(desk->host, HF_METRIC_GAUGE, "holdfast_gateway_canary_step",
                                  "Step of a release, from 1", labels, 2, &slot->step, error);
    for (int32_t version = 0; version < GATEWAY_VERSIONS; version++)
        for (int32_t i = 0; i < GATEWAY_RELEASE_METRICS && code == HF_OK; i++) {
            const char *more[3][2] = {{"upstream", labels[0][1]},
                                      {"canary", labels[1][1]},
                                      {"version", version == GATEWAY_CANARY ? "canary" : "stable"}};

            code = desk->metrics->add(desk->host, HF_METRIC_COUNTER, counters[i].name, counters[i].help,
                                      (const char *const(*)[2])more, 3, &slot->counts[version][i], error);
        }
    return code;
}

int32_t gateway_desk_add_metrics(struct gateway_desk *desk, struct gateway_desk_slot *slot, hf_error *error)
{
    const char *labels[2][2] = {{"upstream", slot->release->stable}, {"canary", slot->release->canary}};
    int32_t code = desk->metrics ? add_series(desk, slot, (const char *const(*)[2])labels, error) : HF_OK;

    if (code == HF_OK)
        gateway_desk_set_metrics(desk, slot);
    return code;
}

void gateway_desk_remove_metrics(struct gateway_desk *desk, struct gateway_desk_slot *slot)
{
    if (!desk->metrics)
        return;
    desk->metrics->remove(slot->share);
    desk->metrics->remove(slot->step);
    for (int32_t version = 0; version < GATEWAY_VERSIONS; version++)
        for (int32_t i = 0; i < GATEWAY_RELEASE_METRICS; i++)
            desk->metrics->remove(slot->counts[version][i]);
}

void gateway_desk_set_metrics(struct gateway_desk *desk, struct gateway_desk_slot *slot)
{
    if (!desk->metrics)
        return;
    desk->metrics->set(slot->share, gateway_release_share(slot->release));
    desk->metrics->set(slot->step, slot->release->test.step + 1);
}
