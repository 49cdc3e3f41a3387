/* kit/plugin.h: loading the plugin under check, filling its options, making instances.  All of it ends the check with a
 * sentence when it cannot be done.  [main]
 *
 * Changes
 *   1.0  first version
 */
#ifndef HOLDFAST_KIT_PLUGIN_H
#define HOLDFAST_KIT_PLUGIN_H

#include <holdfast/kit/check.h>
#include <holdfast/kit/host.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A capability of a loaded plugin.  It stays loaded until the process ends. */
typedef struct hf_kit_capability {
    const hf_plugin *plugin;
    const hf_provide *provide;
    const hf_head *head;                    /* the kind's table as a host sees it: complete, cut at the host's size */
    const hf_instance_interface *interface; /* the same */
} hf_kit_capability;

/* Maps the shared object and returns what its entry returns. */
const hf_plugin *hf_kit_load(const char *path);

/* Loads the subject's file and calls the plugin's `load`, once in a process, with a host of its own. */
hf_kit_capability hf_kit_capability_load(const hf_kit_subject *subject);

/* The struct that the options fill, with their defaults and the subject's settings. */
typedef struct hf_kit_configuration hf_kit_configuration;
hf_kit_configuration *hf_kit_configuration_create(const hf_kit_subject *subject, const hf_provide *provide);
const void *hf_kit_configuration_get(const hf_kit_configuration *configuration);
/* Overwrites it first, so that a plugin that still uses it is seen.  Accepts NULL. */
void hf_kit_configuration_free(hf_kit_configuration *configuration);

/* A host, the plugin, a configuration and an instance. */
typedef struct hf_kit_instance {
    hf_kit_host *host;
    hf_kit_capability capability;
    hf_kit_configuration *configuration;
    void *self;
} hf_kit_instance;

hf_kit_instance hf_kit_instance_create(const hf_kit_subject *subject);
/* The same in parts: everything but the instance, then `create`, whose result it returns with the error. */
hf_kit_instance hf_kit_instance_prepare(const hf_kit_subject *subject, int32_t tables);
int32_t hf_kit_instance_try(hf_kit_instance *instance, hf_error *error);
void hf_kit_instance_start(hf_kit_instance *instance);
/* Waits until drain has called `done`.  Nothing happens when the kind has no drain. */
void hf_kit_instance_drain(hf_kit_instance *instance);
/* Stops it when the kind has a stop. */
void hf_kit_instance_stop(hf_kit_instance *instance);
/* Destroys it and looks for what it left behind: memory, timers, watches. */
void hf_kit_instance_destroy(hf_kit_instance *instance);

#ifdef __cplusplus
}
#endif
#endif
