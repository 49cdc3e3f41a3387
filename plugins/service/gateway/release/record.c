#include "release/record.h"

#include <holdfast/lib/error.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { FORMAT = 1, ARENA_MAX = 4 << 20 };

#define DAYS_MS (INT64_C(86400000))

static const double no_margin = 1e6; /* of a share, which is 1 at most */

static const char *const states[] = {[GATEWAY_RELEASE_RUNNING] = "running",
                                     [GATEWAY_RELEASE_PROMOTED] = "promoted",
                                     [GATEWAY_RELEASE_ROLLED_BACK] = "rolled_back",
                                     [GATEWAY_RELEASE_ABORTED] = "aborted"};
static const char *const versions[GATEWAY_VERSIONS] = {[GATEWAY_STABLE] = "stable", [GATEWAY_CANARY] = "canary"};

const char *gateway_release_state(int32_t state)
{
    return states[state];
}

double gateway_release_share(const struct gateway_release *release)
{
    switch (release->state) {
    case GATEWAY_RELEASE_RUNNING:
        return release->rules.steps[release->test.step] * 100.0 / GATEWAY_CANARY_WHOLE;
    case GATEWAY_RELEASE_PROMOTED:
        return 100;
    default:
        return 0;
    }
}

/* ---- What is asked for ------------------------------------------------------------------------------------------- */

static int32_t read_text(const hf_value *map, const char *name, const char *fallback, char *to, hf_error *error)
{
    const hf_value *value = hf_value_get(map, name);
    hf_slice text = value ? hf_value_slice(value) : hf_slice_of(fallback);

    if (text.size == 0 || text.size >= GATEWAY_RELEASE_NAME_SIZE || memchr(text.data, 0, text.size))
        return hf_error_set(error, HF_EINVAL, "'%s' is missing or no text of 1 to %d bytes", name,
                            GATEWAY_RELEASE_NAME_SIZE - 1);
    memcpy(to, text.data, text.size);
    to[text.size] = '\0';
    return HF_OK;
}

static int32_t read_integer(const hf_value *map, const char *name, int64_t fallback, int64_t least, int64_t most,
                            uint64_t *ret_number, hf_error *error)
{
    const hf_value *value = hf_value_get(map, name);
    int64_t number = value && value->type == HF_VALUE_INTEGER ? value->as.integer : fallback;

    if ((value && value->type != HF_VALUE_INTEGER) || number < least || number > most)
        return hf_error_set(error, HF_EINVAL, "'%s' is no integer from %lld to %lld", name, (long long)least,
                            (long long)most);
    *ret_number = (uint64_t)number;
    return HF_OK;
}

static int32_t read_float(const hf_value *map, const char *name, double fallback, double least, double most,
                          double *ret_number, hf_error *error)
{
    const hf_value *value = hf_value_get(map, name);
    double number = hf_value_get_float(map, name, value ? NAN : fallback);

    if (!(number >= least && number <= most))
        return hf_error_set(error, HF_EINVAL, "'%s' is no number from %g to %g", name, least, most);
    *ret_number = number;
    return HF_OK;
}

/* Per cent, growing, below 100. */
static int32_t read_steps(const hf_value *list, struct gateway_canary_rules *rules, hf_error *error)
{
    static const uint32_t usual[] = {100, 500, 2500};

    if (!list) {
        memcpy(rules->steps, usual, sizeof usual);
        rules->step_count = sizeof usual / sizeof *usual;
        return HF_OK;
    }
    if (list->type != HF_VALUE_LIST || list->count == 0 || list->count > GATEWAY_CANARY_STEPS_MAX)
        return hf_error_set(error, HF_EINVAL, "'steps' is no list of 1 to %d shares in per cent",
                            GATEWAY_CANARY_STEPS_MAX);
    for (uint64_t i = 0; i < list->count; i++) {
        const hf_value *item = &list->as.items[i];
        double share = item->type == HF_VALUE_INTEGER ? (double)item->as.integer
                       : item->type == HF_VALUE_FLOAT ? item->as.number
                                                      : 0;
        uint32_t step = share > 0 && share < 100 ? (uint32_t)lround(share * GATEWAY_CANARY_WHOLE / 100) : 0;

        if (step < 1 || step >= GATEWAY_CANARY_WHOLE || (i > 0 && step <= rules->steps[i - 1]))
            return hf_error_set(error, HF_EINVAL,
                                "'steps' has shares that do not grow, or are not from 0.01 to 99.99 per cent");
        rules->steps[i] = step;
    }
    rules->step_count = (uint32_t)list->count;
    return HF_OK;
}

static int32_t read_rules(const hf_value *map, struct gateway_release *release, hf_error *error)
{
    struct gateway_canary_rules *rules = &release->rules;
    uint64_t requests = 0, step_ms = 0, slow_ms = 0;
    double failed = 0, slow = 0;
    int32_t code = read_steps(hf_value_get(map, "steps"), rules, error);

    if (code == HF_OK)
        code = read_integer(map, "requests_minimum", 100, 1, 1000000000, &requests, error);
    if (code == HF_OK)
        code = read_integer(map, "step_time_ms", 600000, 1, 365 * DAYS_MS, &step_ms, error);
    if (code == HF_OK)
        code = read_integer(map, "slow_ms", 0, 0, DAYS_MS, &slow_ms, error);
    if (code == HF_OK)
        code = read_float(map, "margin_failed", 0.5, 0.001, 100, &failed, error);
    if (code == HF_OK)
        code = read_float(map, "margin_slow", 1, 0.001, 100, &slow, error);
    if (code == HF_OK)
        code = read_float(map, "error", 0.01, 1e-9, 0.5, &rules->error, error);
    rules->requests_minimum = (uint32_t)requests;
    rules->step_us = step_ms * 1000;
    release->slow_us = slow_ms * 1000;
    rules->margins[GATEWAY_MEASURE_FAILED] = failed / 100;
    rules->margins[GATEWAY_MEASURE_SLOW] = slow_ms ? slow / 100 : no_margin;
    return code;
}

static int32_t check_names(const hf_value *wish, hf_error *error)
{
    static const char *const names[] = {"canary",           "key",          "steps",
                                        "requests_minimum", "step_time_ms", "margin_failed",
                                        "margin_slow",      "slow_ms",      "error"};

    if (wish->type != HF_VALUE_MAP)
        return hf_error_set(error, HF_EINVAL, "the body is no JSON object");
    for (uint64_t i = 0; i < wish->count; i++) {
        int known = 0;
        for (size_t k = 0; k < sizeof names / sizeof *names; k++)
            known |= hf_slice_is(wish->as.members[i].name, names[k]);
        if (!known)
            return hf_error_set(error, HF_EINVAL, "there is no member '%.*s'",
                                (int)(wish->as.members[i].name.size < 64 ? wish->as.members[i].name.size : 64),
                                (const char *)wish->as.members[i].name.data);
    }
    return HF_OK;
}

int32_t gateway_release_read_wish(const hf_value *wish, struct gateway_release *ret_release, hf_error *error)
{
    struct gateway_release release = {.state = GATEWAY_RELEASE_RUNNING};
    int32_t code = check_names(wish, error);

    if (code == HF_OK)
        code = read_text(wish, "canary", "", release.canary, error);
    if (code == HF_OK)
        code = read_text(wish, "key", "client", release.key, error);
    if (code == HF_OK)
        code = read_rules(wish, &release, error);
    if (code == HF_OK)
        *ret_release = release;
    return code;
}

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

static void write_counts(hf_json_writer *writer, const char *name, const struct gateway_canary_count *counts)
{
    hf_json_name(writer, name);
    hf_json_begin_object(writer);
    for (int32_t i = 0; i < GATEWAY_VERSIONS; i++) {
        hf_json_name(writer, versions[i]);
        hf_json_begin_object(writer);
        hf_json_member_unsigned(writer, "requests", counts[i].requests);
        hf_json_member_unsigned(writer, "failed", counts[i].counts[GATEWAY_MEASURE_FAILED]);
        hf_json_member_unsigned(writer, "slow", counts[i].counts[GATEWAY_MEASURE_SLOW]);
        hf_json_end_object(writer);
    }
    hf_json_end_object(writer);
}

/* By how much the canary's share is higher, in per cent: as counted, and between which bounds the truth is. */
static void write_finding(hf_json_writer *writer, const char *name, const struct gateway_release *release,
                          int32_t measure)
{
    struct gateway_canary_finding finding = gateway_canary_find(&release->test, &release->rules, measure);

    hf_json_name(writer, name);
    hf_json_begin_object(writer);
    hf_json_member_float(writer, "difference", finding.difference * 100);
    hf_json_member_float(writer, "lowest", fmax(finding.lowest, -1) * 100);
    hf_json_member_float(writer, "highest", fmin(finding.highest, 1) * 100);
    hf_json_end_object(writer);
}

static void write_rules(hf_json_writer *writer, const struct gateway_release *release)
{
    const struct gateway_canary_rules *rules = &release->rules;

    hf_json_name(writer, "steps");
    hf_json_begin_list(writer);
    for (uint32_t i = 0; i < rules->step_count; i++)
        hf_json_float(writer, rules->steps[i] * 100.0 / GATEWAY_CANARY_WHOLE);
    hf_json_end_list(writer);
    hf_json_member_unsigned(writer, "requests_minimum", rules->requests_minimum);
    hf_json_member_unsigned(writer, "step_time_ms", rules->step_us / 1000);
    hf_json_member_float(writer, "margin_failed", rules->margins[GATEWAY_MEASURE_FAILED] * 100);
    if (release->slow_us) {
        hf_json_member_float(writer, "margin_slow", rules->margins[GATEWAY_MEASURE_SLOW] * 100);
        hf_json_member_unsigned(writer, "slow_ms", release->slow_us / 1000);
    }
    hf_json_member_float(writer, "error", rules->error);
}

void gateway_release_write(hf_json_writer *writer, const struct gateway_release *release, uint64_t now_us)
{
    hf_json_begin_object(writer);
    hf_json_member_text(writer, "upstream", release->stable);
    hf_json_member_text(writer, "canary", release->canary);
    hf_json_member_text(writer, "key", release->key);
    hf_json_member_text(writer, "state", gateway_release_state(release->state));
    hf_json_member_text(writer, "reason", release->reason);
    hf_json_member_float(writer, "share", gateway_release_share(release));
    hf_json_member_unsigned(writer, "step", release->test.step + 1);
    hf_json_member_unsigned(writer, "in_step_ms", (now_us - release->test.step_began_us) / 1000);
    hf_json_member_unsigned(writer, "began_ms", release->began_ms);
    hf_json_member_unsigned(writer, "changed_ms", release->changed_ms);
    write_rules(writer, release);
    write_counts(writer, "in_step", release->test.versions);
    write_counts(writer, "in_all", release->totals);
    hf_json_name(writer, "findings");
    hf_json_begin_object(writer);
    write_finding(writer, "failed", release, GATEWAY_MEASURE_FAILED);
    if (release->slow_us)
        write_finding(writer, "slow", release, GATEWAY_MEASURE_SLOW);
    hf_json_end_object(writer);
    hf_json_member_unsigned(writer, "salt", release->test.salt);
    hf_json_end_object(writer);
}

int32_t gateway_releases_write(hf_buffer *text, const struct gateway_release *const *releases, uint32_t count,
                               uint64_t now_us)
{
    hf_json_writer writer;

    hf_json_writer_init(&writer, text);
    hf_json_begin_object(&writer);
    hf_json_member_unsigned(&writer, "format", FORMAT);
    hf_json_name(&writer, "canaries");
    hf_json_begin_list(&writer);
    for (uint32_t i = 0; i < count; i++)
        gateway_release_write(&writer, releases[i], now_us);
    hf_json_end_list(&writer);
    hf_json_end_object(&writer);
    return writer.result;
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

static int32_t read_counts(const hf_value *map, struct gateway_canary_count *counts, hf_error *error)
{
    int32_t code = HF_OK;

    for (int32_t i = 0; i < GATEWAY_VERSIONS && code == HF_OK; i++) {
        const hf_value *version = hf_value_get(map, versions[i]);
        uint64_t failed = 0, slow = 0;

        code = read_integer(version, "requests", -1, 0, INT64_MAX, &counts[i].requests, error);
        if (code == HF_OK)
            code = read_integer(version, "failed", -1, 0, (int64_t)counts[i].requests, &failed, error);
        if (code == HF_OK)
            code = read_integer(version, "slow", -1, 0, (int64_t)counts[i].requests, &slow, error);
        counts[i].counts[GATEWAY_MEASURE_FAILED] = failed;
        counts[i].counts[GATEWAY_MEASURE_SLOW] = slow;
    }
    return code;
}

static int32_t read_state(const hf_value *map, struct gateway_release *release, hf_error *error)
{
    static const int32_t tests[] = {[GATEWAY_RELEASE_RUNNING] = GATEWAY_CANARY_RUNNING,
                                    [GATEWAY_RELEASE_PROMOTED] = GATEWAY_CANARY_PROMOTED,
                                    [GATEWAY_RELEASE_ROLLED_BACK] = GATEWAY_CANARY_ROLLED_BACK,
                                    [GATEWAY_RELEASE_ABORTED] = GATEWAY_CANARY_ROLLED_BACK};
    hf_slice state = hf_value_get_string(map, "state", (hf_slice){NULL, 0});
    hf_slice reason = hf_value_get_string(map, "reason", (hf_slice){NULL, 0});

    for (int32_t i = GATEWAY_RELEASE_RUNNING; i <= GATEWAY_RELEASE_ABORTED; i++)
        if (hf_slice_is(state, states[i])) {
            release->state = i;
            release->test.state = tests[i];
            snprintf(release->reason, sizeof release->reason, "%.*s", (int)(reason.size < 1024 ? reason.size : 1024),
                     reason.data ? (const char *)reason.data : "");
            return HF_OK;
        }
    return hf_error_set(error, HF_EINVAL, "'state' is none that is known");
}

static int32_t read_release(const hf_value *map, uint64_t now_us, struct gateway_release *release, hf_error *error)
{
    uint64_t step = 0, salt = 0, in_step_ms = 0;
    int32_t code = read_text(map, "upstream", "", release->stable, error);

    if (code == HF_OK)
        code = read_text(map, "canary", "", release->canary, error);
    if (code == HF_OK)
        code = read_text(map, "key", "", release->key, error);
    if (code == HF_OK)
        code = read_rules(map, release, error);
    if (code == HF_OK)
        code = read_state(map, release, error);
    if (code == HF_OK)
        code = read_integer(map, "step", -1, 1, release->rules.step_count, &step, error);
    if (code == HF_OK)
        code = read_integer(map, "salt", -1, 0, UINT32_MAX, &salt, error);
    if (code == HF_OK)
        code = read_integer(map, "in_step_ms", -1, 0, 3650 * DAYS_MS, &in_step_ms, error);
    if (code == HF_OK)
        code = read_integer(map, "began_ms", -1, 0, INT64_MAX, &release->began_ms, error);
    if (code == HF_OK)
        code = read_integer(map, "changed_ms", -1, 0, INT64_MAX, &release->changed_ms, error);
    if (code == HF_OK)
        code = read_counts(hf_value_get(map, "in_step"), release->test.versions, error);
    if (code == HF_OK)
        code = read_counts(hf_value_get(map, "in_all"), release->totals, error);
    release->test.step = (uint32_t)step - (step > 0);
    release->test.salt = (uint32_t)salt;
    release->test.step_began_us = now_us - in_step_ms * 1000; /* before the machine's start, perhaps: only differences
                                                                 count */
    return code;
}

int32_t gateway_releases_read(hf_slice text, uint64_t now_us, struct gateway_release *releases, uint32_t *ret_count,
                              hf_error *error)
{
    hf_error why = {0};
    hf_arena arena;
    hf_value document = hf_value_null();

    hf_arena_init(&arena, ARENA_MAX);
    int32_t code = hf_json_parse(text, &arena, &document, &why);
    const hf_value *list = code == HF_OK ? hf_value_get(&document, "canaries") : NULL;

    if (code == HF_OK && (hf_value_get_integer(&document, "format", 0) != FORMAT || !list ||
                          list->type != HF_VALUE_LIST || list->count > GATEWAY_RELEASES_MAX))
        code = hf_error_set(&why, HF_EINVAL, "it is no list of canaries of format %d", FORMAT);
    for (uint64_t i = 0; code == HF_OK && i < list->count; i++) {
        releases[i] = (struct gateway_release){.id = 0};
        code = read_release(&list->as.items[i], now_us, &releases[i], &why);
    }
    if (code == HF_OK)
        *ret_count = (uint32_t)list->count;
    hf_arena_done(&arena);
    return code == HF_OK || code == HF_ENOMEM ? code : hf_error_set(error, HF_ECORRUPT, "%s", why.message);
}
