/* registry.h: the plugins that are loaded and the capabilities that they provide, found by kind and name.
 *
 * Filled by the main thread before workers start and never changed afterwards, so any thread may look things up. */
#ifndef HOLDFAST_CORE_PLUGIN_REGISTRY_H
#define HOLDFAST_CORE_PLUGIN_REGISTRY_H

#include <holdfast/holdfast.h>

typedef struct hf_registry hf_registry;

/* One capability, ready to be used.  Everything in it lives as long as the registry. */
typedef struct hf_capability {
    const char *kind;
    const char *name;
    const char *summary;
    const char *plugin_id;
    const char *plugin_version;
    const char *path;         /* of the shared object */
    const hf_head *interface; /* the host's own, complete copy of the kind's table */
    hf_option_table options;
    uint64_t configuration_size;                                              /* bytes */
    void (*check)(const void *configuration, const hf_config_report *report); /* or NULL */
} hf_capability;

int32_t hf_registry_create(hf_registry **ret_registry, hf_error *error);

/* Accepts NULL.  Shared objects stay mapped until the process ends: a thread or a destructor of theirs may live on. */
void hf_registry_destroy(hf_registry *registry);

/* Takes in a plugin's entry: checks it, adopts its tables, and calls its `load`.  All or nothing.
 * HF_EVERSION: the interface does not fit; HF_EINVAL: malformed entry (the message names the fault); HF_EEXIST: a
 * plugin of that id, or a capability of that kind and name, is there already; or what `load` returned.  [main] */
int32_t hf_registry_add(hf_registry *registry, const hf_plugin *plugin, const char *path, const hf_host *host,
                        hf_error *error);

/* The capability, or NULL.  [any] */
const hf_capability *hf_registry_find(const hf_registry *registry, const char *kind, const char *name);

/* All capabilities, in the order of loading; *ret_count of them.  [any] */
const hf_capability *const *hf_registry_list(const hf_registry *registry, uint64_t *ret_count);

/* Checks that what each plugin requires is there.  HF_ENOTFOUND names the first plugin and its missing capability, and
 * what to do.  [main] */
int32_t hf_registry_check_requirements(const hf_registry *registry, hf_error *error);

#endif
