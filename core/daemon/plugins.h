/* daemon/plugins.h: the enabled plugins of a process, and the whole configuration checked against what they declare.
 * [main] */
#ifndef HOLDFAST_CORE_DAEMON_PLUGINS_H
#define HOLDFAST_CORE_DAEMON_PLUGINS_H

#include "config/check.h"
#include "daemon/settings.h"
#include "plugin/registry.h"
#include "process/process.h"

typedef struct hf_plugins {
    hf_registry *registry;
    hf_config_section *sections; /* the core's and one per capability */
    uint32_t section_count;
    const hf_host **hosts; /* one per plugin */
    uint32_t host_count;
    char *paths; /* text of the sections' paths */
} hf_plugins;

/* Loads every plugin that `generation` enables.  A plugin that cannot be loaded is a line in `problems`; the others are
 * loaded all the same.  HF_ENOMEM, HF_EINVAL: there are problems.  `*ret_plugins` is the caller's in any case. */
int32_t hf_plugins_load(const hf_config_generation *generation, hf_process *process, hf_plugins *ret_plugins,
                        hf_config_problems *problems);

/* Loads the configuration completely.  Errors as hf_config_load.  Changes nothing in `plugins`.  [any] */
int32_t hf_plugins_configure(const hf_plugins *plugins, const char *path, hf_config_generation **ret_generation,
                             hf_config_problems *problems);

/* What options' types cannot say: of the core's part, and by the plugins' own checks (hf_provide.check) of the sections
 * that the document has and of what is chosen in them.  HF_EINVAL: there are problems, and the generation must not be
 * used.  [main] */
int32_t hf_plugins_check(const hf_plugins *plugins, const hf_config_generation *generation,
                         hf_config_problems *problems);

/* The path of a capability's section: "store" for service/store, "engine.rocksdb" for engine/rocksdb. */
void hf_plugins_section(const char *kind, const char *name, char *path, uint64_t capacity);

void hf_plugins_done(hf_plugins *plugins);

#endif
