/* Loading a plugin and making instances of what it provides, as a host does. */
#include <holdfast/kit/plugin.h>

#include "host_private.h"
#include "kinds.h"
#include "memory.h"
#include "options.h"
#include "report.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

enum { LOADED_MAX = 32, DRAIN_US = 10000000 };

const hf_plugin *hf_kit_load(const char *path)
{
    const hf_plugin *(*entry)(void) = NULL;
    char step[sizeof kit_report->step] = "";

    if (kit_report) /* what is being done goes on afterwards */
        memcpy(step, kit_report->step, sizeof step);
    hf_kit_step("mapping the shared object, constructors included");
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!object)
        hf_kit_fail("it cannot be loaded: %s", dlerror());
    kit_memory_lead(object);
    *(void **)&entry = dlsym(object, "hf_plugin_v1");
    if (!entry)
        hf_kit_fail("it does not export hf_plugin_v1");
    hf_kit_step("hf_plugin_v1");
    const hf_plugin *plugin = entry();
    if (!plugin || plugin->size < offsetof(hf_plugin, load) || !plugin->provides)
        hf_kit_fail("hf_plugin_v1 returned %s", plugin ? "an entry that is too small or provides nothing" : "NULL");
    hf_kit_step("%s", step);
    return plugin;
}

static void call_load(const hf_kit_subject *subject, const hf_plugin *plugin)
{
    static const hf_plugin *loaded[LOADED_MAX];
    hf_error error = {0};
    uint32_t i = 0;

    while (i < LOADED_MAX && loaded[i] && loaded[i] != plugin)
        i++;
    if (i == LOADED_MAX || loaded[i])
        return;
    loaded[i] = plugin;
    if (plugin->size < offsetof(hf_plugin, unload) || !plugin->load)
        return;
    hf_kit_step("load");
    int32_t result = plugin->load(hf_kit_host_root(hf_kit_host_create(subject, HF_KIT_TABLES_SAME)), &error);
    if (result != HF_OK)
        hf_kit_fail("load failed: %s", error.message);
    hf_kit_step("after load");
}

hf_kit_capability hf_kit_capability_load(const hf_kit_subject *subject)
{
    hf_kit_capability found = {.plugin = hf_kit_load(subject->path)};
    hf_error error = {0};
    hf_head *table = NULL;

    found.provide = kit_provide_find(found.plugin, subject->kind, subject->name);
    if (!found.provide)
        hf_kit_fail("the plugin does not provide %s/%s", subject->kind, subject->name);
    const hf_kind *kind = hf_kind_find(subject->kind);
    if (!kind)
        hf_kit_fail("this kit does not know the kind '%s'", subject->kind);
    if (hf_kind_adopt(kind, found.provide->interface.head, subject->name, &table, &error) != HF_OK)
        hf_kit_fail("%s", error.message);
    found.head = table;
    found.interface = (const hf_instance_interface *)(const void *)table;
    call_load(subject, found.plugin);
    return found;
}

/* ---- Instances --------------------------------------------------------------------------------------------------- */

hf_kit_instance hf_kit_instance_prepare(const hf_kit_subject *subject, int32_t tables)
{
    hf_kit_instance instance = {.host = hf_kit_host_create(subject, tables)};

    instance.capability = hf_kit_capability_load(subject);
    instance.configuration = hf_kit_configuration_create(subject, instance.capability.provide);
    return instance;
}

int32_t hf_kit_instance_try(hf_kit_instance *instance, hf_error *error)
{
    void *self = NULL;

    *error = (hf_error){0};
    int32_t result = instance->capability.interface->create(
        hf_kit_host_root(instance->host), hf_kit_configuration_get(instance->configuration), &self, error);
    if (result > 0)
        hf_kit_fail("create returned %d, expected 0 or an HF_E... code", result);
    if (result == HF_OK && !self)
        hf_kit_fail("create returned 0 and no instance");
    if (result != HF_OK && error->message[0] == '\0')
        hf_kit_fail("create refused (%d) without saying why; use hf_error_set", result);
    if (result != HF_OK && error->code != result)
        hf_kit_fail("create returned %d, and its error has the code %d", result, error->code);
    instance->self = result == HF_OK ? self : NULL;
    return result;
}

hf_kit_instance hf_kit_instance_create(const hf_kit_subject *subject)
{
    hf_kit_instance instance = hf_kit_instance_prepare(subject, HF_KIT_TABLES_SAME);
    hf_error error = {0};

    hf_kit_step("create");
    if (hf_kit_instance_try(&instance, &error) != HF_OK)
        hf_kit_fail("create refused its defaults: %s (options are set with --set NAME=TEXT, other plugins given with "
                    "--with FILE.so)",
                    error.message);
    return instance;
}

void hf_kit_instance_start(hf_kit_instance *instance)
{
    hf_error error = {0};

    instance->host->begun = 1;
    if (!instance->capability.interface->start)
        return;
    hf_kit_step("start");
    int32_t result = instance->capability.interface->start(instance->self, &error);
    if (result != HF_OK)
        hf_kit_fail("start failed (%d): %s", result, error.message);
}

static void drained(void *arg)
{
    if ((*(int32_t *)arg)++)
        hf_kit_fail("drain called done more than once");
}

static int32_t is_drained(void *arg)
{
    return *(int32_t *)arg > 0;
}

void hf_kit_instance_drain(hf_kit_instance *instance)
{
    static int32_t calls; /* static: a second call of `done` may come at any time */

    calls = 0;
    if (!instance->capability.interface->drain)
        return;
    hf_kit_step("drain");
    instance->capability.interface->drain(instance->self, DRAIN_US / 2, drained, &calls);
    if (!hf_kit_host_run_until(instance->host, is_drained, &calls, DRAIN_US))
        hf_kit_fail("drain was given %d s and did not call done within %d s", DRAIN_US / 2000000, DRAIN_US / 1000000);
    hf_kit_host_advance(instance->host, 1000000);
}

void hf_kit_instance_stop(hf_kit_instance *instance)
{
    instance->host->ended = 1;
    if (!instance->capability.interface->stop)
        return;
    hf_kit_step("stop");
    instance->capability.interface->stop(instance->self);
}

void hf_kit_instance_destroy(hf_kit_instance *instance)
{
    uint64_t bytes = 0;

    hf_kit_step("destroy");
    instance->host->ended = 1;
    instance->capability.interface->destroy(instance->self);
    hf_kit_step("after destroy");
    uint64_t blocks = hf_kit_host_memory(instance->host, &bytes);
    if (blocks)
        hf_kit_fail("%llu blocks (%llu bytes) of host->alloc were left after destroy", (unsigned long long)blocks,
                    (unsigned long long)bytes);
    if (hf_kit_host_timers(instance->host) || hf_kit_host_watches(instance->host))
        hf_kit_fail("%u timers and %u watches were left after destroy", hf_kit_host_timers(instance->host),
                    hf_kit_host_watches(instance->host));
    hf_kit_host_destroy(instance->host);
    hf_kit_configuration_free(instance->configuration);
    free((void *)(uintptr_t)instance->capability.head);
    *instance = (hf_kit_instance){0};
}
