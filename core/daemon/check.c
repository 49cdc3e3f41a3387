/* Checks a configuration without starting anything; see check.h. */
#include "daemon/check.h"

#include "config/reference.h"
#include "config/units.h"
#include "daemon/plugins.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/text.h>
#include <stdlib.h>

/* A process that never runs, for plugins to be loaded into. */
struct trial {
    hf_process *process;
    hf_plugins plugins;
    hf_config_generation *enabled; /* the section `plugins` only */
};

static void trial_done(struct trial *trial)
{
    hf_plugins_done(&trial->plugins);
    hf_config_generation_free(trial->enabled);
    hf_process_destroy(trial->process);
}

static int32_t trial_begin(struct trial *trial, const char *path, hf_config_problems *problems)
{
    hf_process_settings settings = {.worker_count = 1, .pool_threads = 1, .pool_queue_limit = 64};
    hf_error error = {0};

    /* Only this section, so that mistakes elsewhere do not hide those in the plugins' sections. */
    int32_t result = hf_config_load_known(path, hf_settings_plugins_section(), 1, &trial->enabled, problems);
    if (result)
        return result;
    result = hf_process_create(&settings, &trial->process, &error);
    if (result) {
        hf_config_problems_add(problems, "the configuration cannot be checked: %s", error.message);
        return result;
    }
    return hf_plugins_load(trial->enabled, trial->process, &trial->plugins, problems);
}

/* What can be said about the core's part when the plugins' options are not known. */
static void check_core(const char *path, hf_config_problems *problems)
{
    uint32_t count;
    const hf_config_section *sections = hf_settings_sections(&count);
    hf_config_generation *generation = NULL;

    if (hf_config_load_known(path, sections, count, &generation, problems) == 0)
        hf_settings_check(generation, problems);
    hf_config_generation_free(generation);
}

static int32_t check_all(const hf_plugins *plugins, const char *path, hf_config_problems *problems)
{
    hf_config_generation *generation = NULL;
    int32_t result = hf_plugins_configure(plugins, path, &generation, problems);

    if (!result)
        result = hf_plugins_check(plugins, generation, problems);
    hf_config_generation_free(generation);
    return result;
}

int32_t hf_check(const char *path, hf_config_problems *problems)
{
    struct trial trial = {0};
    hf_config_generation *generation = NULL;
    hf_config_problems *early = calloc(1, sizeof *early);

    if (!early) {
        hf_config_problems_add(problems, "no memory to check '%s'", path);
        return HF_ENOMEM;
    }
    int32_t result = trial_begin(&trial, path, early);
    if (!result)
        result = check_all(&trial.plugins, path, problems);
    else if (trial.enabled)
        check_core(path, problems);
    else if (hf_config_load_known(path, NULL, 0, &generation, problems) == 0)
        check_core(path,
                   problems); /* the document can be read: the section `plugins` is wrong, which this says again */
    for (uint32_t i = 0; trial.enabled && i < early->count; i++)
        hf_config_problems_add(problems, "%s", early->lines[i]);
    hf_config_generation_free(generation);
    trial_done(&trial);
    free(early);
    return result;
}

/* ---- Reference --------------------------------------------------------------------------------------------------- */

static int32_t write_reference(FILE *file, const hf_config_section *sections, uint32_t count, const char *wanted,
                               hf_error *error)
{
    const char *nearest = "";
    unsigned distance = UINT32_MAX;
    int written = 0;

    for (uint32_t i = 0; i < count; i++) {
        unsigned far = wanted ? hf_text_distance(wanted, sections[i].path) : 0;

        if (far < distance) {
            distance = far;
            nearest = sections[i].path;
        }
        if (far)
            continue;
        if (written++)
            fputc('\n', file);
        if (hf_config_reference_markdown(file, &sections[i]) != 0)
            return hf_error_set(error, HF_EIO, "the reference cannot be written");
    }
    return written ? 0
                   : hf_error_set(error, HF_ENOTFOUND,
                                  "no section '%s' is declared by the core or an enabled plugin; did you mean '%s'?",
                                  wanted, nearest);
}

int32_t hf_check_reference(FILE *file, const char *path, const char *section, hf_error *error)
{
    struct trial trial = {0};
    uint32_t count;
    const hf_config_section *sections = hf_settings_sections(&count);
    hf_config_problems *problems = calloc(1, sizeof *problems);

    if (!problems)
        return hf_error_set(error, HF_ENOMEM, "no memory to read '%s'", path);
    if (trial_begin(&trial, path, problems) != 0) {
        fprintf(stderr, "the options of the core only, because of:\n");
        hf_check_print(stderr, problems);
    }
    if (trial.plugins.sections) {
        sections = trial.plugins.sections;
        count = trial.plugins.section_count;
    }
    int32_t result = write_reference(file, sections, count, section, error);
    trial_done(&trial);
    free(problems);
    return result;
}

void hf_check_print(FILE *file, const hf_config_problems *problems)
{
    for (uint32_t i = 0; i < problems->count; i++)
        fprintf(file, "%s\n", problems->lines[i]);
    if (problems->dropped)
        fprintf(file, "and %u more\n", problems->dropped);
}
