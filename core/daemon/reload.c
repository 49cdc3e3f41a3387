/* A reload: the file is read and checked on a background thread; the main loop then compares it with what is in force,
 * and lets everybody prepare before anybody commits.  See reload.h. */
#include "daemon/reload.h"

#include "loop/loop.h"
#include "loop/pool.h"
#include "telemetry/log.h"

#include <holdfast/lib/error.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static const char source[] = "config";

struct hf_reload {
    hf_reload_settings settings;
    hf_config_generation **generations; /* the last one is in force, the first one was started with */
    uint32_t count;
    _Atomic uint64_t version;
    hf_config_diff *pending;
    hf_job job; /* and what it works on, while `busy` */
    int busy, again, closed;
    hf_reload_done done;
    void *arg;
    hf_config_generation *loaded;
    int other_plugins; /* `loaded` enables others than were loaded */
    hf_config_problems problems;
};

int32_t hf_reload_create(const hf_reload_settings *settings, hf_config_generation *generation, hf_reload **ret_reload,
                         hf_error *error)
{
    hf_reload *reload = calloc(1, sizeof *reload);

    if (reload)
        reload->generations = calloc(1, sizeof(hf_config_generation *));
    if (!reload || !reload->generations) {
        free(reload);
        return hf_error_set(error, HF_ENOMEM, "no memory for the configuration");
    }
    reload->settings = *settings;
    reload->generations[0] = generation;
    reload->count = 1;
    atomic_store(&reload->version, 1);
    *ret_reload = reload;
    return 0;
}

void hf_reload_destroy(hf_reload *reload)
{
    if (!reload)
        return;
    hf_config_diff_free(reload->pending);
    for (uint32_t i = 0; i < reload->count; i++)
        hf_config_generation_free(reload->generations[i]);
    free(reload->generations);
    free(reload);
}

/* ---- In the background ------------------------------------------------------------------------------------------- */

static int same_plugins(const hf_config_generation *a, const hf_config_generation *b)
{
    const hf_plugins_settings *one = hf_settings_plugins(a), *other = hf_settings_plugins(b);

    if (strcmp(one->directory, other->directory) != 0 || one->enabled.count != other->enabled.count)
        return 0;
    for (uint64_t i = 0; i < one->enabled.count; i++)
        if (strcmp(one->enabled.items[i], other->enabled.items[i]) != 0)
            return 0;
    return 1;
}

static void load(hf_job *job)
{
    hf_reload *reload = (hf_reload *)((char *)job - offsetof(hf_reload, job));
    const hf_reload_settings *settings = &reload->settings;
    const hf_plugins *plugins = settings->plugins;
    hf_config_generation *enabled = NULL;

    /* Sections of plugins that are not loaded here would be called unknown. */
    reload->other_plugins =
        hf_config_load_known(settings->path, hf_settings_plugins_section(), 1, &enabled, &reload->problems) == 0 &&
        !same_plugins(enabled, reload->generations[0]);
    hf_config_generation_free(enabled);
    memset(&reload->problems, 0, sizeof reload->problems); /* what is wrong is found again below */
    if (reload->other_plugins)
        (void)hf_config_load_known(settings->path, plugins->sections, plugins->section_count, &reload->loaded,
                                   &reload->problems);
    else
        (void)hf_plugins_configure(plugins, settings->path, &reload->loaded, &reload->problems);
}

/* ---- On the main loop -------------------------------------------------------------------------------------------- */

int hf_reload_tells(const hf_config_change *change, int reloadable)
{
    return strcmp(change->section, change->key) != 0 && change->reloadable == reloadable;
}

static void log_outcome(const hf_reload *reload, const hf_reload_outcome *outcome)
{
    uint64_t count;

    for (uint32_t i = 0; i < outcome->problems->count; i++)
        hf_log(HF_LOG_ERROR, source, "reload refused: %s", outcome->problems->lines[i]);
    if (outcome->problems->dropped)
        hf_log(HF_LOG_ERROR, source, "reload refused: and %u problems more", outcome->problems->dropped);
    if (outcome->result)
        return;
    if (!outcome->diff)
        hf_log(HF_LOG_WARNING, source, "other plugins are enabled now: nothing was applied, restart holdfastd");
    const hf_config_change *changes = outcome->diff ? hf_config_diff_changes(outcome->diff, &count) : NULL;
    for (uint64_t i = 0; changes && i < count; i++)
        if (hf_reload_tells(&changes[i], 1))
            hf_log(HF_LOG_INFO, source, "%s was %s and is %s", changes[i].key, changes[i].old_text,
                   changes[i].new_text);
    changes = hf_config_diff_changes(reload->pending, &count);
    for (uint64_t i = 0; i < count; i++)
        if (hf_reload_tells(&changes[i], 0))
            hf_log(HF_LOG_WARNING, source, "%s is %s; it becomes %s with a restart", changes[i].key,
                   changes[i].old_text, changes[i].new_text);
    if (outcome->diff)
        hf_log(HF_LOG_INFO, source, "reloaded: version %llu of the configuration",
               (unsigned long long)outcome->version);
}

/* Room for one more generation, so that nothing can fail any more once instances have committed. */
static int32_t make_room(hf_reload *reload, hf_error *error)
{
    hf_config_generation **grown = realloc(reload->generations, (reload->count + 1) * sizeof(hf_config_generation *));

    if (!grown)
        return hf_error_set(error, HF_ENOMEM, "no memory for another configuration");
    reload->generations = grown;
    return 0;
}

/* Whether anything is different: also what is the same by value, but said on purpose now, or not any more. */
static int differs(const hf_reload *reload, const hf_config_diff *diff)
{
    uint64_t count;

    (void)hf_config_diff_changes(diff, &count);
    return count > 0 ||
           hf_settings_anonymous_given(reload->loaded) != hf_settings_anonymous_given(hf_reload_generation(reload));
}

static int32_t apply(hf_reload *reload, const hf_config_diff *diff, hf_error *error)
{
    const hf_reload_settings *settings = &reload->settings;
    hf_token_set *tokens = NULL;

    if (!differs(reload, diff)) { /* not kept, so that reloading for nothing costs no memory */
        atomic_fetch_add(&reload->version, 1);
        return 0;
    }
    int32_t result = make_room(reload, error);
    if (!result)
        result = hf_tokens_prepare(settings->tokens, reload->loaded, &tokens, error);
    if (!result)
        result = hf_instances_reconfigure(settings->instances, reload->loaded, diff, error);
    if (result) {
        hf_token_set_free(tokens);
        return result;
    }
    hf_tokens_replace(settings->tokens, tokens);
    hf_log_set_level(hf_settings_log(reload->loaded)->level);
    reload->generations[reload->count++] = reload->loaded;
    reload->loaded = NULL;
    atomic_fetch_add(&reload->version, 1);
    return 0;
}

static int32_t compare_and_apply(hf_reload *reload, hf_config_diff **ret_diff, hf_error *error)
{
    hf_config_diff *pending = NULL;

    if (reload->closed)
        return hf_error_set(error, HF_ECLOSED, "the process is ending");
    int32_t result = hf_config_diff_create(reload->generations[0], reload->loaded, &pending);
    if (!result && !reload->other_plugins)
        result = hf_config_diff_create(hf_reload_generation(reload), reload->loaded, ret_diff);
    if (result)
        hf_error_set(error, result, "no memory to compare the configurations");
    else if (!reload->other_plugins)
        result = apply(reload, *ret_diff, error);
    if (result) {
        hf_config_diff_free(pending);
        return result;
    }
    hf_config_diff_free(reload->pending);
    reload->pending = pending;
    return 0;
}

static void finish(hf_reload *reload, int32_t result, const hf_config_diff *diff)
{
    hf_reload_outcome outcome = {result, hf_reload_version(reload), &reload->problems, diff};
    hf_reload_done done = reload->done;

    log_outcome(reload, &outcome);
    reload->busy = 0;
    if (done)
        done(reload->arg, &outcome);
    if (reload->again && !reload->closed)
        (void)hf_reload_start(reload, NULL, NULL, NULL); /* what fails is logged */
}

/* With other plugins than are loaded nothing is applied, and nobody here can judge all of it. */
static int accepted(hf_reload *reload)
{
    return reload->other_plugins || hf_plugins_check(reload->settings.plugins, reload->loaded, &reload->problems) == 0;
}

static void loaded(hf_job *job)
{
    hf_reload *reload = (hf_reload *)((char *)job - offsetof(hf_reload, job));
    hf_config_diff *diff = NULL;
    hf_error error = {0};
    int32_t result = HF_EINVAL;

    if (reload->loaded && accepted(reload)) {
        result = compare_and_apply(reload, &diff, &error);
        if (result)
            hf_config_problems_add(&reload->problems, "%s", error.message);
    }
    hf_config_generation_free(reload->loaded); /* NULL when it was applied */
    reload->loaded = NULL;
    finish(reload, result, result ? NULL : diff);
    hf_config_diff_free(diff);
}

static void start_job(hf_reload *reload)
{
    hf_error error = {0};

    reload->busy = 1;
    reload->again = 0;
    memset(&reload->problems, 0, sizeof reload->problems);
    reload->job = (hf_job){.loop = hf_process_main_loop(reload->settings.process), .work = load, .done = loaded};
    int32_t result = hf_pool_submit(hf_process_pool(reload->settings.process), &reload->job, &error);
    if (result) {
        hf_config_problems_add(&reload->problems, "%s", error.message);
        finish(reload, result, NULL);
    }
}

int32_t hf_reload_start(hf_reload *reload, hf_reload_done done, void *arg, hf_error *error)
{
    if (reload->closed)
        return hf_error_set(error, HF_ECLOSED, "the process is ending");
    if (reload->busy) {
        reload->again |= !done;
        return hf_error_set(error, HF_EBUSY, "the configuration is being reloaded already; repeat this later");
    }
    reload->done = done;
    reload->arg = arg;
    start_job(reload);
    return 0;
}

void hf_reload_close(hf_reload *reload)
{
    reload->closed = 1;
}

int hf_reload_busy(const hf_reload *reload)
{
    return reload->busy;
}

uint64_t hf_reload_version(const hf_reload *reload)
{
    return atomic_load(&reload->version);
}

const hf_config_generation *hf_reload_generation(const hf_reload *reload)
{
    return reload->generations[reload->count - 1];
}

const hf_config_diff *hf_reload_pending(const hf_reload *reload)
{
    return reload->pending;
}
