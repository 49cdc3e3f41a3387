/* The Lua host: declaring, deciding, and switching off what keeps failing; see lua_host.h. */
#include "lua/host_internal.h"

#include "telemetry/log.h"

#include <holdfast/lib/error.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { LOG_EVERY_US = 1000000 };

/* ---- Life ----------------------------------------------------------------------------------------------------- */

void hf_lua_free_paths(char **paths, uint64_t count)
{
    for (uint64_t i = 0; paths && i < count; i++)
        free(paths[i]);
    free(paths);
}

int32_t hf_lua_copy_paths(const hf_strings *paths, char ***ret_paths)
{
    char **copy = calloc(paths->count + 1, sizeof *copy);

    if (!copy)
        return HF_ENOMEM;
    for (uint64_t i = 0; i < paths->count; i++) {
        copy[i] = strdup(paths->items[i]);
        if (!copy[i]) {
            hf_lua_free_paths(copy, i);
            return HF_ENOMEM;
        }
    }
    *ret_paths = copy;
    return 0;
}

int32_t hf_lua_host_create(const hf_lua_settings *settings, hf_lua_host **ret_host, hf_error *error)
{
    if (settings->loop_count < 1 || settings->loop_count > HF_LUA_LOOPS_MAX)
        return hf_error_set(error, HF_EINVAL, "%u loops for Lua, expected 1 to %d", settings->loop_count,
                            HF_LUA_LOOPS_MAX);

    hf_lua_host *host = calloc(1, sizeof *host);
    if (!host || hf_lua_copy_paths(&settings->policies, &host->paths)) {
        free(host);
        return hf_error_set(error, HF_ENOMEM, "no memory for the Lua host");
    }
    host->path_count = settings->policies.count;
    host->seat_count = settings->loop_count;
    for (uint32_t i = 0; i < host->seat_count; i++)
        host->seats[i].loop = settings->loops[i];
    host->pool = settings->pool;
    host->metrics = settings->metrics;
    host->clock_us = settings->clock_us ? settings->clock_us : hf_clock_us;
    *ret_host = host;
    return 0;
}

void hf_lua_host_destroy(hf_lua_host *host)
{
    if (!host)
        return;
    for (uint32_t i = 0; i < host->seat_count; i++)
        hf_lua_state_destroy(host->seats[i].state);
    hf_lua_bundle_unref(host->bundle);
    for (uint32_t i = 0; i < host->catalog.point_count; i++)
        free(host->decisions[i]);
    for (uint32_t i = 0; i < host->catalog.function_count; i++)
        free((void *)(uintptr_t)host->catalog.functions[i]);
    hf_lua_free_paths(host->paths, host->path_count);
    free(host);
}

/* ---- Declaring ------------------------------------------------------------------------------------------------ */

static int32_t add_metrics(hf_decision *decision, hf_error *error)
{
    static const char *const outcomes[OUTCOME_COUNT] = {"ok", "error", "budget", "missing", "off"};
    hf_metrics *metrics = decision->host->metrics;

    for (int i = 0; i < OUTCOME_COUNT; i++) {
        const char *labels[2][2] = {{"point", decision->point.name}, {"outcome", outcomes[i]}};
        int32_t result = hf_metrics_add(metrics, HF_METRIC_COUNTER, "holdfast_policy_decisions_total",
                                        "Decisions that Lua policies were asked for.", (const char *const(*)[2])labels,
                                        2, &decision->outcomes[i], error);
        if (result)
            return result;
    }
    const char *label[1][2] = {{"point", decision->point.name}};
    return hf_metrics_add(metrics, HF_METRIC_GAUGE, "holdfast_policy_switched_off",
                          "1 while a Lua policy is not asked because it failed again and again.",
                          (const char *const(*)[2])label, 1, &decision->off, error);
}

static int32_t check_open(const hf_lua_host *host, const char *name, hf_error *error)
{
    if (host->loaded)
        return hf_error_set(error, HF_ESTATE, "'%s' is declared after the policies were loaded; declare it in create",
                            name ? name : "");
    return 0;
}

int32_t hf_lua_declare(hf_lua_host *host, const hf_decision_point *point, hf_decision **ret_decision, hf_error *error)
{
    int32_t result = check_open(host, point->name, error);
    hf_decision *decision = result ? NULL : calloc(1, sizeof *decision);

    if (result)
        return result;
    if (!decision)
        return hf_error_set(error, HF_ENOMEM, "no memory for decision point '%s'", point->name);
    decision->host = host;
    decision->index = host->catalog.point_count;
    memcpy(&decision->point, point, point->size < sizeof *point ? point->size : sizeof *point);
    decision->point.size = sizeof *point;
    result = add_metrics(decision, error);
    if (!result)
        result = hf_lua_catalog_add_point(&host->catalog, &decision->point, error);
    if (result) {
        free(decision);
        return result;
    }
    host->decisions[decision->index] = decision;
    *ret_decision = decision;
    return 0;
}

int32_t hf_lua_offer(hf_lua_host *host, const hf_lua_function *function, hf_error *error)
{
    int32_t result = check_open(host, function->name, error);
    hf_lua_function *copy = result ? NULL : calloc(1, sizeof *copy);

    if (result)
        return result;
    if (!copy)
        return hf_error_set(error, HF_ENOMEM, "no memory for Lua function '%s'", function->name);
    memcpy(copy, function, function->size < sizeof *copy ? function->size : sizeof *copy);
    copy->size = sizeof *copy;
    result = hf_lua_catalog_add_function(&host->catalog, copy, error);
    if (result)
        free(copy);
    return result;
}

int32_t hf_lua_has_policy(const hf_decision *decision)
{
    return atomic_load_explicit(&decision->has_policy, memory_order_relaxed);
}

int32_t hf_lua_describe_point(const hf_lua_host *host, uint32_t index, hf_lua_point_info *ret_info)
{
    if (index >= host->catalog.point_count)
        return 0;
    const hf_decision *decision = host->decisions[index];
    *ret_info = (hf_lua_point_info){
        .point = &decision->point,
        .policy = host->policy_paths[index],
        .switched_off = atomic_load_explicit(&decision->off_until_us, memory_order_relaxed) > host->clock_us(),
    };
    return 1;
}

/* ---- Outcomes ------------------------------------------------------------------------------------------------- */

static void count_success(hf_decision *decision)
{
    hf_metric_increment(decision->outcomes[OUTCOME_OK], 1);
    if (!atomic_load_explicit(&decision->failures, memory_order_relaxed))
        return;
    atomic_store_explicit(&decision->failures, 0, memory_order_relaxed);
    if (atomic_exchange_explicit(&decision->off_until_us, 0, memory_order_relaxed))
        hf_metric_set(decision->off, 0);
}

/* At most once a second for each point, however often it is asked. */
static void log_failure(hf_decision *decision, const hf_lua_state *state, const hf_error *error, uint64_t now_us)
{
    uint64_t quiet_until_us = atomic_load_explicit(&decision->quiet_until_us, memory_order_relaxed);
    hf_log_field fields[] = {
        {"point", {(const uint8_t *)decision->point.name, strlen(decision->point.name)}},
        {"traceback", {(const uint8_t *)state->traceback, strlen(state->traceback)}},
    };

    if (now_us < quiet_until_us ||
        !atomic_compare_exchange_strong_explicit(&decision->quiet_until_us, &quiet_until_us, now_us + LOG_EVERY_US,
                                                 memory_order_relaxed, memory_order_relaxed))
        return;
    hf_log_write(HF_LOG_WARNING, "lua", (hf_slice){(const uint8_t *)error->message, strlen(error->message)}, fields, 2);
}

static void count_failure(hf_decision *decision, const hf_lua_state *state, int32_t over, const hf_error *error)
{
    uint64_t now_us = decision->host->clock_us();

    hf_metric_increment(decision->outcomes[over ? OUTCOME_BUDGET : OUTCOME_ERROR], 1);
    log_failure(decision, state, error, now_us);
    if (atomic_fetch_add_explicit(&decision->failures, 1, memory_order_relaxed) + 1 < HF_LUA_FAILURES_MAX)
        return;
    atomic_store_explicit(&decision->off_until_us, now_us + HF_LUA_OFF_US, memory_order_relaxed);
    hf_metric_set(decision->off, 1);
    hf_log(HF_LOG_ERROR, "lua", "the policy for '%s' is switched off for %d s after %d failures in a row; %s",
           decision->point.name, HF_LUA_OFF_US / 1000000, HF_LUA_FAILURES_MAX,
           decision->point.default_doc ? decision->point.default_doc : "the default is taken");
}

/* ---- Deciding ------------------------------------------------------------------------------------------------- */

static struct hf_lua_seat *present_seat(hf_lua_host *host)
{
    const hf_loop *loop = hf_loop_current();

    for (uint32_t i = 0; loop && i < host->seat_count; i++)
        if (host->seats[i].loop == loop)
            return &host->seats[i];
    return NULL;
}

/* A state that ran out of memory holds what nobody needs, perhaps for ever: a new one takes its place. */
static void renew(struct hf_lua_seat *seat, const hf_lua_host *host)
{
    hf_config_problems *problems = calloc(1, sizeof *problems);
    hf_lua_state *fresh = NULL;
    int32_t result = HF_ENOMEM;

    if (problems)
        result = hf_lua_state_create(&host->catalog, seat->state->bundle, HF_LUA_FOR_DECISIONS, host->clock_us, &fresh,
                                     problems);
    free(problems);
    if (result)
        return; /* the old one still works; the next decision tries again */
    hf_lua_state_destroy(seat->state);
    seat->state = fresh;
}

static int32_t decide_missing(hf_decision *decision, hf_error *error)
{
    hf_metric_increment(decision->outcomes[OUTCOME_MISSING], 1);
    return hf_error_set(error, HF_ENOTFOUND, "no policy decides '%s'", decision->point.name);
}

static int32_t decide_on(struct hf_lua_seat *seat, hf_decision *decision, const hf_value *arguments, hf_arena *arena,
                         hf_value *ret_result, hf_error *error)
{
    hf_lua_state *state = seat->state;
    hf_error failure; /* set by what fails; too large to be cleared each time */
    int32_t over = 0;

    state->busy = 1;
    int32_t result = hf_lua_state_decide(state, decision->index, arguments, arena, ret_result, &over, &failure);
    state->busy = 0;
    if (!result)
        count_success(decision);
    else if (result == HF_EPOLICY)
        count_failure(decision, state, over, &failure);
    if (state->out_of_memory)
        renew(seat, decision->host);
    return result ? hf_error_set(error, result, "%s", failure.message) : 0;
}

int32_t hf_lua_decide(hf_decision *decision, const hf_value *arguments, hf_arena *arena, hf_value *ret_result,
                      hf_error *error)
{
    hf_lua_host *host = decision->host;
    struct hf_lua_seat *seat = present_seat(host);

    if (!seat)
        return hf_error_set(error, HF_ESTATE, "'%s' was asked on a thread without a loop; ask on one of the loops",
                            decision->point.name);
    if (!seat->state || seat->state->policy_of_point[decision->index] < 0)
        return decide_missing(decision, error);
    if (seat->state->busy)
        return hf_error_set(error, HF_EPOLICY, "'%s' was asked by a function that a policy called; ask later",
                            decision->point.name);
    uint64_t off_until_us = atomic_load_explicit(&decision->off_until_us, memory_order_relaxed);
    if (off_until_us && off_until_us > host->clock_us()) { /* reading the clock takes a tenth of a decision */
        hf_metric_increment(decision->outcomes[OUTCOME_OFF], 1);
        return hf_error_set(error, HF_EPOLICY, "the policy for '%s' is switched off because it failed again and again",
                            decision->point.name);
    }
    return decide_on(seat, decision, arguments, arena, ret_result, error);
}
