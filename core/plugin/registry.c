/* The capability registry: validates plugin entries and keeps what they provide. */
#include "registry.h"

#include "kinds.h"

#include <holdfast/lib/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_PROVIDES = 64, MOST_PLUGINS = 1024 };

struct entry {
    const hf_plugin *plugin; /* static data of the shared object */
    hf_plugin known;         /* what this host understands of it */
    const hf_host *host;
    char *path;
};

struct hf_registry {
    struct entry *entries;
    uint64_t entry_count;
    hf_capability **capabilities;
    uint64_t capability_count;
};

int32_t hf_registry_create(hf_registry **ret_registry, hf_error *error)
{
    hf_registry *registry = calloc(1, sizeof *registry);

    if (!registry)
        return hf_error_set(error, HF_ENOMEM, "no memory for the capability registry");
    *ret_registry = registry;
    return 0;
}

static void free_capability(hf_capability *capability)
{
    if (!capability)
        return;
    free((void *)(uintptr_t)capability->interface);
    free(capability);
}

void hf_registry_destroy(hf_registry *registry)
{
    if (!registry)
        return;
    for (uint64_t i = registry->entry_count; i > 0; i--) {
        struct entry *entry = &registry->entries[i - 1];
        if (entry->known.unload)
            entry->known.unload(entry->host);
        free(entry->path);
    }
    for (uint64_t i = 0; i < registry->capability_count; i++)
        free_capability(registry->capabilities[i]);
    free(registry->capabilities);
    free(registry->entries);
    free(registry);
}

const hf_capability *hf_registry_find(const hf_registry *registry, const char *kind, const char *name)
{
    for (uint64_t i = 0; i < registry->capability_count; i++) {
        const hf_capability *capability = registry->capabilities[i];
        if (strcmp(capability->kind, kind) == 0 && strcmp(capability->name, name) == 0)
            return capability;
    }
    return NULL;
}

const hf_capability *const *hf_registry_list(const hf_registry *registry, uint64_t *ret_count)
{
    *ret_count = registry->capability_count;
    return (const hf_capability *const *)registry->capabilities;
}

/* ---- Checking an entry --------------------------------------------------------------------------------------- */

static int32_t check_version(const hf_plugin *plugin, const char *path, hf_error *error)
{
    if (plugin->size < offsetof(hf_plugin, load))
        return hf_error_set(error, HF_EINVAL, "'%s': its entry has %u bytes, at least %zu are expected", path,
                            plugin->size, offsetof(hf_plugin, load));
    if (plugin->interface_major != HF_INTERFACE_MAJOR)
        return hf_error_set(error, HF_EVERSION,
                            "'%s' was built against interface %u.%u, this host has %d.%d; install a build for it", path,
                            plugin->interface_major, plugin->interface_minor, HF_INTERFACE_MAJOR, HF_INTERFACE_MINOR);
    if (plugin->minor_needed > HF_INTERFACE_MINOR)
        return hf_error_set(error, HF_EVERSION,
                            "'%s' needs interface %d.%u or newer, this host has %d.%d; upgrade Holdfast", path,
                            HF_INTERFACE_MAJOR, plugin->minor_needed, HF_INTERFACE_MAJOR, HF_INTERFACE_MINOR);
    return 0;
}

static int32_t check_text(const hf_plugin *plugin, const char *path, hf_error *error)
{
    if (!plugin->id || !*plugin->id || !plugin->version || !*plugin->version || !plugin->licence)
        return hf_error_set(error, HF_EINVAL, "'%s': its entry lacks an id, a version or a licence", path);
    if (plugin->provide_count == 0 || plugin->provide_count > MOST_PROVIDES || !plugin->provides)
        return hf_error_set(error, HF_EINVAL, "'%s' provides %u capabilities, expected 1 to %d", path,
                            plugin->provide_count, MOST_PROVIDES);
    return 0;
}

static int32_t check_new(const hf_registry *registry, const hf_plugin *plugin, const char *path, hf_error *error)
{
    for (uint64_t i = 0; i < registry->entry_count; i++)
        if (strcmp(registry->entries[i].known.id, plugin->id) == 0)
            return hf_error_set(error, HF_EEXIST,
                                "'%s': a plugin with the id %s is loaded already, from '%s'; remove one", path,
                                plugin->id, registry->entries[i].path);
    return 0;
}

/* ---- Taking in ----------------------------------------------------------------------------------------------- */

/* What this host understands of it; plugins of earlier days end before `check`. */
static hf_provide known_part(const hf_provide *given)
{
    hf_provide known = {0};

    memcpy(&known, given, given->size < sizeof known ? given->size : sizeof known);
    return known;
}

static int32_t adopt(const hf_registry *registry, const hf_plugin *plugin, const hf_provide *given, const char *path,
                     hf_capability **ret_capability, hf_error *error)
{
    char who[HF_ERROR_MESSAGE_SIZE];

    if (!given || given->size < offsetof(hf_provide, check) || !given->kind || !given->name || !*given->name)
        return hf_error_set(error, HF_EINVAL, "'%s': one of its capabilities lacks a kind or a name", path);
    snprintf(who, sizeof who, "%s/%s in '%s'", given->kind, given->name, path);

    const hf_kind *kind = hf_kind_find(given->kind);
    if (!kind)
        return hf_error_set(error, HF_EUNSUPPORTED,
                            "%s: this host has no kind '%s'; upgrade Holdfast, or check the name", who, given->kind);
    const hf_capability *other = hf_registry_find(registry, given->kind, given->name);
    if (other)
        return hf_error_set(error, HF_EEXIST, "%s is provided already, by '%s'; disable one of the two", who,
                            other->path);

    hf_capability *capability = calloc(1, sizeof *capability);
    if (!capability)
        return hf_error_set(error, HF_ENOMEM, "no memory for %s", who);
    hf_head *table = NULL;
    int32_t result = hf_kind_adopt(kind, given->interface.head, who, &table, error);
    if (result) {
        free(capability);
        return result;
    }
    *capability = (hf_capability){
        .kind = given->kind,
        .name = given->name,
        .summary = given->summary ? given->summary : "",
        .plugin_id = plugin->id,
        .plugin_version = plugin->version,
        .path = path,
        .interface = table,
        .options = given->options,
        .configuration_size = given->configuration_size,
        .check = known_part(given).check,
    };
    *ret_capability = capability;
    return 0;
}

static int32_t make_room(hf_registry *registry, uint64_t capabilities, const char *path, hf_error *error)
{
    if (registry->entry_count >= MOST_PLUGINS)
        return hf_error_set(error, HF_ETOOLARGE, "'%s': %d plugins are loaded, no more are taken", path, MOST_PLUGINS);

    struct entry *entries = realloc(registry->entries, (registry->entry_count + 1) * sizeof *entries);
    if (entries)
        registry->entries = entries;
    hf_capability **list =
        realloc(registry->capabilities, (registry->capability_count + capabilities) * sizeof(hf_capability *));
    if (list)
        registry->capabilities = list;
    if (!entries || !list)
        return hf_error_set(error, HF_ENOMEM, "no memory for plugin '%s'", path);
    return 0;
}

static void forget_from(hf_registry *registry, uint64_t first)
{
    while (registry->capability_count > first)
        free_capability(registry->capabilities[--registry->capability_count]);
}

static int32_t adopt_all(hf_registry *registry, const hf_plugin *plugin, const char *path, hf_error *error)
{
    for (uint32_t i = 0; i < plugin->provide_count; i++) {
        hf_capability *capability = NULL;
        int32_t result = adopt(registry, plugin, plugin->provides[i], path, &capability, error);
        if (result)
            return result;
        registry->capabilities[registry->capability_count++] = capability;
    }
    return 0;
}

static int32_t call_load(const hf_plugin *plugin, const char *path, const hf_host *host, hf_error *error)
{
    if (!plugin->load)
        return 0;

    hf_error local = {.message = "it did not say why"};
    int32_t result = plugin->load(host, &local);
    if (result)
        return hf_error_set(error, result, "'%s' failed to load: %s", path, local.message);
    return 0;
}

static int32_t check(const hf_registry *registry, const hf_plugin *plugin, const char *path, hf_plugin *ret_known,
                     hf_error *error)
{
    int32_t result = check_version(plugin, path, error);
    if (result)
        return result;
    memset(ret_known, 0, sizeof *ret_known);
    memcpy(ret_known, plugin, plugin->size < sizeof *ret_known ? plugin->size : sizeof *ret_known);
    result = check_text(ret_known, path, error);
    return result ? result : check_new(registry, ret_known, path, error);
}

int32_t hf_registry_add(hf_registry *registry, const hf_plugin *plugin, const char *path, const hf_host *host,
                        hf_error *error)
{
    hf_plugin known;
    uint64_t first = registry->capability_count;

    if (!plugin)
        return hf_error_set(error, HF_EINVAL, "'%s': hf_plugin_v1 returned nothing", path);
    int32_t result = check(registry, plugin, path, &known, error);
    if (!result)
        result = make_room(registry, known.provide_count, path, error);
    if (result)
        return result;

    char *own_path = strdup(path);
    if (!own_path)
        return hf_error_set(error, HF_ENOMEM, "no memory for plugin '%s'", path);
    result = adopt_all(registry, &known, own_path, error);
    if (!result)
        result = call_load(&known, path, host, error);
    if (result) {
        forget_from(registry, first);
        free(own_path);
        return result;
    }
    registry->entries[registry->entry_count++] = (struct entry){plugin, known, host, own_path};
    return 0;
}

/* ---- Requirements -------------------------------------------------------------------------------------------- */

static int provides(const hf_registry *registry, const char *wanted)
{
    char full[256];

    for (uint64_t i = 0; i < registry->capability_count; i++) {
        snprintf(full, sizeof full, "%s/%s", registry->capabilities[i]->kind, registry->capabilities[i]->name);
        if (strcmp(full, wanted) == 0)
            return 1;
    }
    return 0;
}

int32_t hf_registry_check_requirements(const hf_registry *registry, hf_error *error)
{
    for (uint64_t i = 0; i < registry->entry_count; i++) {
        const struct entry *entry = &registry->entries[i];
        for (const char *const *wanted = entry->known.requires_; wanted && *wanted; wanted++)
            if (!provides(registry, *wanted))
                return hf_error_set(error, HF_ENOTFOUND,
                                    "plugin %s ('%s') requires %s, which no enabled plugin provides; install and "
                                    "enable one that does",
                                    entry->known.id, entry->path, *wanted);
    }
    return 0;
}
