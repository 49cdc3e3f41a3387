/* Enabled plugins and their sections; see plugins.h. */
#include "daemon/plugins.h"

#include "plugin/loader.h"

#include <holdfast/lib/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_SIZE = 4096, SECTION_PATH_SIZE = 128 };

void hf_plugins_section(const char *kind, const char *name, char *path, uint64_t capacity)
{
    if (strcmp(kind, "service") == 0)
        snprintf(path, capacity, "%s", name);
    else
        snprintf(path, capacity, "%s.%s", kind, name);
}

/* "engine/rocksdb" is DIRECTORY/holdfast-engine-rocksdb.so; what begins with '/' or '.' is a path. */
static int32_t find_file(const char *directory, const char *enabled, char *path, hf_error *error)
{
    const char *slash = strchr(enabled, '/');
    int size;

    if (enabled[0] == '/' || enabled[0] == '.')
        size = snprintf(path, PATH_SIZE, "%s", enabled);
    else if (slash && !strchr(slash + 1, '/'))
        size =
            snprintf(path, PATH_SIZE, "%s/holdfast-%.*s-%s.so", directory, (int)(slash - enabled), enabled, slash + 1);
    else
        return hf_error_set(error, HF_EINVAL, "'%s' is not a plugin's name; expected \"KIND/NAME\" or a path", enabled);
    return size < 0 || size >= PATH_SIZE
               ? hf_error_set(error, HF_EINVAL, "the plugin's path is too long: '%s'", enabled)
               : 0;
}

static int32_t load_one(hf_plugins *plugins, hf_process *process, const char *directory, const char *enabled,
                        hf_error *error)
{
    char path[PATH_SIZE];
    const hf_host *host = NULL;

    int32_t result = find_file(directory, enabled, path, error);
    if (!result)
        result = hf_process_host_create(process, enabled, &host, error);
    if (result)
        return result;
    result = hf_plugin_load(plugins->registry, path, host, error);
    if (result)
        hf_process_host_free(host);
    else
        plugins->hosts[plugins->host_count++] = host;
    return result;
}

static int32_t list_sections(hf_plugins *plugins)
{
    uint64_t count;
    uint32_t core_count;
    const hf_config_section *core = hf_settings_sections(&core_count);
    const hf_capability *const *capabilities = hf_registry_list(plugins->registry, &count);

    plugins->sections = calloc(core_count + count, sizeof *plugins->sections);
    plugins->paths = calloc(count + 1, SECTION_PATH_SIZE);
    if (!plugins->sections || !plugins->paths)
        return HF_ENOMEM;
    memcpy(plugins->sections, core, core_count * sizeof *core);
    plugins->section_count = core_count;
    for (uint64_t i = 0; i < count; i++) {
        const hf_capability *capability = capabilities[i];
        char *path = plugins->paths + i * SECTION_PATH_SIZE;

        hf_plugins_section(capability->kind, capability->name, path, SECTION_PATH_SIZE);
        plugins->sections[plugins->section_count++] = (hf_config_section){.path = path,
                                                                          .options = &capability->options,
                                                                          .size = capability->configuration_size,
                                                                          .doc = capability->summary};
    }
    return 0;
}

/* The line of element `index` of the list at `path`, or the nearest that is there. */
static const hf_config_node *element(const hf_config_generation *generation, const char *path, uint64_t index)
{
    const hf_config_tree *tree = hf_config_generation_tree(generation);
    const hf_config_node *list = hf_config_tree_find(tree, path);

    if (!list)
        return hf_config_tree_root(tree);
    const hf_config_node *node = list->first;
    while (node && index--)
        node = node->next;
    return node ? node : list;
}

int32_t hf_plugins_load(const hf_config_generation *generation, hf_process *process, hf_plugins *ret_plugins,
                        hf_config_problems *problems)
{
    const hf_plugins_settings *settings = hf_settings_plugins(generation);
    uint32_t before = problems->count;
    hf_error error = {0};

    *ret_plugins = (hf_plugins){0};
    ret_plugins->hosts = calloc(settings->enabled.count + 1, sizeof *ret_plugins->hosts);
    if (!ret_plugins->hosts || hf_registry_create(&ret_plugins->registry, &error) != 0) {
        hf_config_problems_add(problems, "no memory for the plugins");
        return HF_ENOMEM;
    }
    for (uint64_t i = 0; i < settings->enabled.count; i++) {
        const hf_config_node *node = element(generation, "plugins.enabled", i);
        if (load_one(ret_plugins, process, settings->directory, settings->enabled.items[i], &error) != 0)
            hf_config_problems_add(problems, "%s:%u: %s", node->file, node->line, error.message);
    }
    const hf_config_node *node = element(generation, "plugins.enabled", UINT64_MAX);
    if (problems->count == before && hf_registry_check_requirements(ret_plugins->registry, &error) != 0)
        hf_config_problems_add(problems, "%s:%u: %s", node->file, node->line, error.message);
    if (list_sections(ret_plugins) != 0) {
        hf_config_problems_add(problems, "no memory for the plugins");
        return HF_ENOMEM;
    }
    return problems->count > before ? HF_EINVAL : 0;
}

/* The services that processes name are there. */
static void check_services(const hf_plugins *plugins, const hf_config_generation *generation,
                           hf_config_problems *problems)
{
    const hf_groups *entries = &hf_settings_processes(generation)->entries;
    const hf_process_entry *items = entries->items;
    char path[SECTION_PATH_SIZE];

    for (uint64_t i = 0; i < entries->count; i++)
        for (uint64_t k = 0; k < items[i].services.count; k++) {
            const char *service = items[i].services.items[k];
            if (hf_registry_find(plugins->registry, "service", service))
                continue;
            snprintf(path, sizeof path, "processes.run.%s.services", items[i].name);
            const hf_config_node *node = element(generation, path, k);
            hf_config_problems_add(problems,
                                   "%s:%u: no enabled plugin provides the service '%s'; expected \"service/%s\" in "
                                   "plugins.enabled, or another name",
                                   node->file, node->line, service, service);
        }
}

int32_t hf_plugins_configure(const hf_plugins *plugins, const char *path, hf_config_generation **ret_generation,
                             hf_config_problems *problems)
{
    return hf_config_load(path, plugins->sections, plugins->section_count, ret_generation, problems);
}

/* ---- The plugins' own checks ------------------------------------------------------------------------------------- */

/* Behind hf_config_report.arg. */
struct section_check {
    const hf_plugins *plugins;
    const hf_config_generation *generation;
    const char *path; /* of the section, or of the option that chose the capability */
    hf_config_problems *problems;
};

static void report_problem(const hf_config_report *report, const char *path, const char *message)
{
    const struct section_check *check = report->arg;
    char whole[PATH_SIZE];

    snprintf(whole, sizeof whole, "%s%s%s", check->path, *path ? "." : "", path);
    hf_config_generation_problem(check->generation, whole, message, check->problems);
}

static int32_t report_has_capability(const hf_config_report *report, const char *kind, const char *name)
{
    const struct section_check *check = report->arg;

    return hf_registry_find(check->plugins->registry, kind, name) != NULL;
}

/* `path` is where the configuration is in the document. */
static void check_one(const hf_plugins *plugins, const hf_config_generation *generation,
                      const hf_capability *capability, const char *path, const void *configuration,
                      hf_config_problems *problems)
{
    struct section_check check = {plugins, generation, path, problems};
    const hf_config_report report = {HF_HEAD(hf_config_report), &check, report_problem, report_has_capability};

    if (capability && capability->check)
        capability->check(configuration, &report);
}

static void check_sections(const hf_plugins *plugins, const hf_config_generation *generation,
                           hf_config_problems *problems)
{
    uint64_t count;
    const hf_capability *const *list = hf_registry_list(plugins->registry, &count);
    char path[SECTION_PATH_SIZE];

    for (uint64_t i = 0; i < count; i++) {
        int32_t present = 0;

        hf_plugins_section(list[i]->kind, list[i]->name, path, sizeof path);
        const void *configuration = hf_config_generation_get(generation, path, &present);
        if (present)
            check_one(plugins, generation, list[i], path, configuration, problems);
    }
}

static void check_chosen(const hf_plugins *plugins, const hf_config_generation *generation,
                         hf_config_problems *problems)
{
    const hf_config_chosen *chosen = hf_config_generation_chosen(generation);

    for (; chosen; chosen = chosen->next)
        check_one(plugins, generation, hf_registry_find(plugins->registry, chosen->kind, chosen->name), chosen->path,
                  chosen->configuration, problems);
}

int32_t hf_plugins_check(const hf_plugins *plugins, const hf_config_generation *generation,
                         hf_config_problems *problems)
{
    uint32_t before = problems->count + problems->dropped;

    hf_settings_check(generation, problems);
    check_services(plugins, generation, problems);
    check_sections(plugins, generation, problems);
    check_chosen(plugins, generation, problems);
    return problems->count + problems->dropped > before ? HF_EINVAL : 0;
}

void hf_plugins_done(hf_plugins *plugins)
{
    hf_registry_destroy(plugins->registry);
    for (uint32_t i = 0; i < plugins->host_count; i++)
        hf_process_host_free(plugins->hosts[i]);
    free(plugins->hosts);
    free(plugins->sections);
    free(plugins->paths);
    *plugins = (hf_plugins){0};
}
