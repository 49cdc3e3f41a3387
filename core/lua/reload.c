/* Loading policies, at start and while the loops run; see lua_host.h.
 *
 * A reload is prepared aside: files are read, tests run in a state of their own, and a state is made for each loop.
 * Only then does each loop, in a task, take its new state for the old one.  The old ones go back to the main loop,
 * which closes them in the pool and tells the caller.  Either all of this happens or nothing. */
#include "lua/host_internal.h"

#include "lua/trial.h"
#include "telemetry/log.h"

#include <holdfast/lib/error.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* ---- Preparing ------------------------------------------------------------------------------------------------ */

static void report_failure(void *arg, const hf_lua_policy *policy, const char *test, const char *failure)
{
    if (failure)
        hf_config_problems_add(arg, "%s: test '%s' failed: %.*s", policy->source->path, test,
                               (int)strcspn(failure, "\n"), failure);
}

static int32_t try_tests(const hf_lua_host *host, hf_lua_bundle *bundle, hf_config_problems *problems)
{
    hf_lua_state *state = NULL;
    uint32_t before = problems->count + problems->dropped;
    int32_t result = hf_lua_state_create(&host->catalog, bundle, HF_LUA_FOR_TESTS, host->clock_us, &state, problems);

    if (result)
        return result;
    result = hf_lua_trial_run(state, report_failure, problems);
    hf_lua_state_destroy(state);
    return result ? result : problems->count + problems->dropped > before ? HF_EINVAL : 0;
}

static void destroy_states(hf_lua_state **states, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        hf_lua_state_destroy(states[i]);
        states[i] = NULL;
    }
}

/* Fills states[0..seat_count), or none. */
static int32_t prepare(const hf_lua_host *host, const hf_strings *paths, hf_lua_bundle **ret_bundle,
                       hf_lua_state **states, hf_config_problems *problems)
{
    hf_lua_bundle *bundle = NULL;
    int32_t result = hf_lua_bundle_read(paths, &bundle, problems);

    if (result)
        return result;
    result = try_tests(host, bundle, problems);
    for (uint32_t i = 0; !result && i < host->seat_count; i++)
        result =
            hf_lua_state_create(&host->catalog, bundle, HF_LUA_FOR_DECISIONS, host->clock_us, &states[i], problems);
    if (result) {
        destroy_states(states, host->seat_count);
        hf_lua_bundle_unref(bundle);
        return result;
    }
    *ret_bundle = bundle;
    return 0;
}

/* Takes the bundle over, and tells everybody which points have a policy.  `state` is one of the new ones. */
static void install(hf_lua_host *host, hf_lua_bundle *bundle, const hf_lua_state *state)
{
    hf_lua_bundle_unref(host->bundle);
    host->bundle = bundle;
    for (uint32_t i = 0; i < host->catalog.point_count; i++) {
        int32_t policy = state->policy_of_point[i];
        hf_decision *decision = host->decisions[i];

        host->policy_paths[i] = policy < 0 ? NULL : state->policies[policy].source->path;
        atomic_store_explicit(&decision->has_policy, policy >= 0, memory_order_relaxed);
    }
}

/* Whatever failed before is gone. */
static void forget_failures(hf_lua_host *host)
{
    for (uint32_t i = 0; i < host->catalog.point_count; i++) {
        atomic_store_explicit(&host->decisions[i]->failures, 0, memory_order_relaxed);
        atomic_store_explicit(&host->decisions[i]->off_until_us, 0, memory_order_relaxed);
        hf_metric_set(host->decisions[i]->off, 0);
    }
}

int32_t hf_lua_load(hf_lua_host *host, hf_config_problems *problems)
{
    hf_lua_state *states[HF_LUA_LOOPS_MAX] = {NULL};
    hf_strings paths = {host->path_count, (const char *const *)host->paths};
    hf_lua_bundle *bundle = NULL;

    host->loaded = 1;
    int32_t result = prepare(host, &paths, &bundle, states, problems);
    if (result)
        return result;
    install(host, bundle, states[0]);
    for (uint32_t i = 0; i < host->seat_count; i++)
        host->seats[i].state = states[i];
    return 0;
}

/* ---- A reload ------------------------------------------------------------------------------------------------- */

struct reload;

struct swap {
    hf_task task;
    struct reload *reload;
    struct hf_lua_seat *seat;
    hf_lua_state *state; /* new before, old afterwards */
};

struct reload {
    hf_job job;
    hf_task finished;
    hf_lua_host *host;
    hf_lua_reloaded done;
    void *arg;
    char **paths;
    uint64_t path_count;
    hf_lua_bundle *bundle;
    int32_t result;
    _Atomic uint32_t swaps_left;
    hf_config_problems problems;
    hf_lua_state *states[HF_LUA_LOOPS_MAX]; /* prepared; afterwards those that were replaced */
    struct swap swaps[HF_LUA_LOOPS_MAX];
};

static struct reload *of_job(hf_job *job)
{
    return (struct reload *)(void *)job; /* its first member */
}

static struct reload *of_finished(hf_task *task)
{
    return (struct reload *)(void *)((char *)task - offsetof(struct reload, finished));
}

static void reload_free(struct reload *reload)
{
    destroy_states(reload->states, reload->host->seat_count);
    hf_lua_bundle_unref(reload->bundle);
    hf_lua_free_paths(reload->paths, reload->path_count);
    free(reload);
}

static void reload_end(struct reload *reload)
{
    hf_lua_reloaded done = hf_loop_current() ? reload->done : NULL; /* else the loops are being destroyed */

    reload->host->reloading = 0; /* `done` may begin the next one */
    if (done)
        done(reload->arg, reload->result, &reload->problems);
    reload_free(reload);
}

static void close_replaced(hf_job *job)
{
    struct reload *reload = of_job(job);

    destroy_states(reload->states, reload->host->seat_count);
}

static void replaced_closed(hf_job *job)
{
    reload_end(of_job(job));
}

/* On the main loop, after the last swap. */
static void swaps_finished(hf_task *task)
{
    struct reload *reload = of_finished(task);
    hf_lua_host *host = reload->host;

    for (uint32_t i = 0; i < host->seat_count; i++)
        reload->states[i] = reload->swaps[i].state;
    forget_failures(host); /* again: until now a loop may have asked an old policy */
    reload->job.work = close_replaced;
    reload->job.done = replaced_closed;
    if (!hf_loop_current() || !host->pool || hf_pool_submit(host->pool, &reload->job, NULL))
        reload_end(reload);
}

static void swap_run(hf_task *task)
{
    struct swap *swap = (struct swap *)(void *)task;
    struct reload *reload = swap->reload;
    hf_lua_state *old = swap->seat->state;

    swap->seat->state = swap->state;
    swap->state = old;
    if (atomic_fetch_sub_explicit(&reload->swaps_left, 1, memory_order_acq_rel) == 1)
        hf_loop_post(reload->job.loop, &reload->finished);
}

static void take_paths(hf_lua_host *host, struct reload *reload)
{
    char **paths = host->paths;
    uint64_t count = host->path_count;

    host->paths = reload->paths;
    host->path_count = reload->path_count;
    reload->paths = paths;
    reload->path_count = count;
}

static void begin_swaps(struct reload *reload)
{
    hf_lua_host *host = reload->host;

    install(host, reload->bundle, reload->states[0]);
    reload->bundle = NULL;
    take_paths(host, reload);
    forget_failures(host);
    atomic_init(&reload->swaps_left, host->seat_count);
    for (uint32_t i = 0; i < host->seat_count; i++) {
        reload->swaps[i] = (struct swap){{NULL, swap_run}, reload, &host->seats[i], reload->states[i]};
        reload->states[i] = NULL;
    }
    for (uint32_t i = 0; i < host->seat_count; i++)
        hf_loop_post(host->seats[i].loop, &reload->swaps[i].task);
}

static void prepare_work(hf_job *job)
{
    struct reload *reload = of_job(job);
    hf_strings paths = {reload->path_count, (const char *const *)reload->paths};

    reload->result = prepare(reload->host, &paths, &reload->bundle, reload->states, &reload->problems);
}

static void prepare_done(hf_job *job)
{
    struct reload *reload = of_job(job);

    if (!hf_loop_current()) { /* the loops are being destroyed: there is nobody to take a state */
        reload_free(reload);
        return;
    }
    if (reload->result)
        reload_end(reload);
    else
        begin_swaps(reload);
}

static void prepare_here(hf_task *task)
{
    struct reload *reload = of_job((hf_job *)(void *)task); /* the task is the job's first member */

    prepare_work(&reload->job);
    prepare_done(&reload->job);
}

int32_t hf_lua_reload(hf_lua_host *host, const hf_strings *policies, hf_lua_reloaded done, void *arg, hf_error *error)
{
    hf_strings present = {host->path_count, (const char *const *)host->paths};

    if (host->reloading)
        return hf_error_set(error, HF_EBUSY, "policies are being reloaded already; wait until that has ended");

    struct reload *reload = calloc(1, sizeof *reload);
    if (!reload || hf_lua_copy_paths(policies ? policies : &present, &reload->paths)) {
        free(reload);
        return hf_error_set(error, HF_ENOMEM, "no memory to reload policies");
    }
    reload->path_count = policies ? policies->count : present.count;
    reload->host = host;
    reload->done = done;
    reload->arg = arg;
    reload->finished.run = swaps_finished;
    reload->job = (hf_job){.loop = host->seats[0].loop, .work = prepare_work, .done = prepare_done};
    host->reloading = host->loaded = 1;
    if (!host->pool) {
        reload->job.task.run = prepare_here;
        hf_loop_post(host->seats[0].loop, &reload->job.task);
        return 0;
    }
    int32_t result = hf_pool_submit(host->pool, &reload->job, error);
    if (result) {
        host->reloading = 0;
        reload_free(reload);
    }
    return result;
}
