/* loader.h: from a file to the registry. */
#ifndef HOLDFAST_CORE_PLUGIN_LOADER_H
#define HOLDFAST_CORE_PLUGIN_LOADER_H

#include "registry.h"

/* Loads the shared object at `path` and adds what it provides: reads the manifest and refuses what does not fit before
 * any of its code runs, then maps it (RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE) and asks its entry.
 * The errors of hf_plugin_note_read and hf_registry_add; HF_EINVAL with the dynamic linker's words when it cannot be
 * mapped (a missing library, an undefined symbol).  Blocks on the disk.  [main] */
int32_t hf_plugin_load(hf_registry *registry, const char *path, const hf_host *host, hf_error *error);

#endif
