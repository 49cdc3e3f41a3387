/* Loads plugins; see loader.h. */
#include "loader.h"

#include "note.h"

#include <dlfcn.h>
#include <holdfast/lib/error.h>
#include <stdio.h>
#include <stdlib.h>

/* A manifest begins with the interface's version numbers, in this order, whatever may follow in a later format: so
 * every loader can judge every plugin. */
static int32_t check_manifest(const char *manifest, const char *path, hf_error *error)
{
    unsigned major, minor, needed;

    if (sscanf(manifest, "{\"interface_major\":%u,\"interface_minor\":%u,\"minor_needed\":%u,", &major, &minor,
               &needed) != 3)
        return hf_error_set(error, HF_ECORRUPT,
                            "'%s': its manifest does not begin with the interface's version; "
                            "build it again with holdfast_add_plugin",
                            path);
    if (major != HF_INTERFACE_MAJOR)
        return hf_error_set(error, HF_EVERSION,
                            "'%s' was built against interface %u.%u, this host has %d.%d; install a build for it", path,
                            major, minor, HF_INTERFACE_MAJOR, HF_INTERFACE_MINOR);
    if (needed > HF_INTERFACE_MINOR)
        return hf_error_set(error, HF_EVERSION,
                            "'%s' needs interface %d.%u or newer, this host has %d.%d; upgrade Holdfast", path,
                            HF_INTERFACE_MAJOR, needed, HF_INTERFACE_MAJOR, HF_INTERFACE_MINOR);
    return 0;
}

static int32_t judge(const char *path, hf_error *error)
{
    char *manifest = NULL;

    int32_t result = hf_plugin_note_read(path, &manifest, error);
    if (!result)
        result = check_manifest(manifest, path, error);
    free(manifest);
    return result;
}

int32_t hf_plugin_load(hf_registry *registry, const char *path, const hf_host *host, hf_error *error)
{
    char absolute[4096];
    const hf_plugin *(*entry)(void);

    if (!realpath(path, absolute)) /* dlopen would search a bare name in the system's folders */
        return hf_error_set(error, HF_ENOTFOUND, "cannot find plugin '%s'", path);
    int32_t result = judge(absolute, error);
    if (result)
        return result;

    /* Never unmapped: a thread or a thread-local destructor of the plugin may live on (plugin-interface.md, 7). */
    void *object = dlopen(absolute, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!object)
        return hf_error_set(error, HF_EINVAL, "cannot load plugin: %s", dlerror());
    *(void **)&entry = dlsym(object, "hf_plugin_v1");
    if (!entry)
        return hf_error_set(error, HF_EINVAL, "'%s' does not export hf_plugin_v1", absolute);
    return hf_registry_add(registry, entry(), absolute, host, error);
}
