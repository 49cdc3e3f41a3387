/* Instances of capabilities; see instances.h. */
#include "daemon/instances.h"

#include "loop/loop.h"
#include "telemetry/log.h"

#include <holdfast/lib/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INSTANCES_MAX = 64, NAME_SIZE = 128 };

struct instance {
    const hf_capability *capability;
    const hf_instance_interface *interface;
    const hf_host *host;
    void *self;
    int is_service;
    int prepared;
    int drained;
    char name[NAME_SIZE]; /* "engine/rocksdb" */
    hf_instances *all;
};

/* The host of all instances that were made by choice: they have the same name, and come and go without our knowing. */
struct chosen_host {
    const hf_capability *capability;
    const hf_host *host;
};

struct hf_instances {
    const hf_plugins *plugins;
    hf_process *process;
    const hf_config_generation *generation;
    uint32_t count;
    struct instance items[INSTANCES_MAX];
    struct chosen_host *chosen_hosts;
    uint64_t chosen_host_count; /* at most one for each capability */
    uint32_t undrained;
    hf_timer *drain_timer;
    void (*drained)(void *arg);
    void *drained_arg;
};

int32_t hf_instances_create(const hf_plugins *plugins, hf_process *process, const hf_config_generation *generation,
                            hf_instances **ret_instances, hf_error *error)
{
    hf_instances *instances = calloc(1, sizeof *instances);

    if (!instances)
        return hf_error_set(error, HF_ENOMEM, "no memory for the instances");
    instances->plugins = plugins;
    instances->process = process;
    instances->generation = generation;
    *ret_instances = instances;
    return 0;
}

static const void *configuration_of(const hf_config_generation *generation, const struct instance *instance)
{
    char path[NAME_SIZE];

    hf_plugins_section(instance->capability->kind, instance->capability->name, path, sizeof path);
    return hf_config_generation_get(generation, path, NULL);
}

static int32_t find(const hf_instances *instances, const char *kind, const char *name,
                    const hf_capability **ret_capability, hf_error *error)
{
    *ret_capability = hf_registry_find(instances->plugins->registry, kind, name);
    return *ret_capability
               ? 0
               : hf_error_set(error, HF_ENOTFOUND,
                              "no enabled plugin provides %s/%s; add \"%s/%s\" to plugins.enabled, or correct the name",
                              kind, name, kind, name);
}

static int32_t make(hf_instances *instances, const char *kind, const char *name, struct instance **ret_instance,
                    hf_error *error)
{
    const hf_capability *capability = NULL;
    int32_t result = find(instances, kind, name, &capability, error);

    if (result)
        return result;
    if (instances->count == INSTANCES_MAX)
        return hf_error_set(error, HF_ETOOLARGE, "more than %d instances in one process", INSTANCES_MAX);

    /* Taken before `create`, which may itself ask for capabilities. */
    struct instance *instance = &instances->items[instances->count];
    *instance = (struct instance){.capability = capability, .all = instances};
    instance->interface = (const hf_instance_interface *)capability->interface;
    snprintf(instance->name, sizeof instance->name, "%s/%s", kind, name);
    result = hf_process_host_create(instances->process, instance->name, &instance->host, error);
    if (result)
        return result;
    instances->count++;
    result = instance->interface->create(instance->host, configuration_of(instances->generation, instance),
                                         &instance->self, error);
    if (result) {
        hf_error_prefix(error, "%s", instance->name);
        instance->self = NULL;
        return result; /* the host goes with hf_instances_destroy: what `create` asked for may still hold it */
    }
    *ret_instance = instance;
    return 0;
}

int32_t hf_instances_service(hf_instances *instances, const char *name, hf_error *error)
{
    struct instance *instance = NULL;
    int32_t result = make(instances, "service", name, &instance, error);

    if (!result)
        instance->is_service = 1;
    return result;
}

int32_t hf_instances_detectors(hf_instances *instances, hf_error *error)
{
    uint64_t count;
    const hf_capability *const *list = hf_registry_list(instances->plugins->registry, &count);

    for (uint64_t i = 0; i < count; i++) {
        struct instance *instance = NULL;
        if (strcmp(list[i]->kind, "detector") != 0)
            continue;
        int32_t result = make(instances, "detector", list[i]->name, &instance, error);
        if (result)
            return result;
        instance->is_service = 1;
    }
    return 0;
}

int32_t hf_instances_capability(hf_instances *instances, const char *kind, const char *name,
                                const hf_head **ret_interface, void **ret_self, hf_error *error)
{
    struct instance *instance = NULL;
    int32_t result = make(instances, kind, name, &instance, error);

    if (result)
        return result;
    *ret_interface = instance->capability->interface;
    *ret_self = instance->self;
    return 0;
}

static int32_t host_of(hf_instances *instances, const hf_capability *capability, const hf_host **ret_host,
                       hf_error *error)
{
    char name[NAME_SIZE];

    for (uint64_t i = 0; i < instances->chosen_host_count; i++)
        if (instances->chosen_hosts[i].capability == capability) {
            *ret_host = instances->chosen_hosts[i].host;
            return 0;
        }
    struct chosen_host *grown = reallocarray(instances->chosen_hosts, instances->chosen_host_count + 1, sizeof *grown);
    if (!grown)
        return hf_error_set(error, HF_ENOMEM, "no memory for an instance of %s/%s", capability->kind, capability->name);
    instances->chosen_hosts = grown;
    snprintf(name, sizeof name, "%s/%s", capability->kind, capability->name);
    int32_t result = hf_process_host_create(instances->process, name, ret_host, error);
    if (!result)
        grown[instances->chosen_host_count++] = (struct chosen_host){capability, *ret_host};
    return result;
}

int32_t hf_instances_chosen(hf_instances *instances, const char *kind, const hf_capability_choice *choice,
                            const hf_head **ret_interface, void **ret_self, hf_error *error)
{
    const hf_capability *capability = NULL;
    const hf_host *host = NULL;

    if (!*choice->name)
        return hf_error_set(error, HF_ENOTFOUND, "no capability of kind '%s' was chosen", kind);
    int32_t result = find(instances, kind, choice->name, &capability, error);
    if (!result && !choice->configuration)
        result =
            hf_error_set(error, HF_ENOTFOUND, "%s/%s has no configuration here; restart holdfastd", kind, choice->name);
    if (!result)
        result = host_of(instances, capability, &host, error);
    if (result)
        return result;
    const hf_instance_interface *interface = (const hf_instance_interface *)capability->interface;
    result = interface->create(host, choice->configuration, ret_self, error);
    if (result)
        hf_error_prefix(error, "%s/%s", kind, choice->name);
    else
        *ret_interface = capability->interface;
    return result;
}

int32_t hf_instances_start(hf_instances *instances, hf_error *error)
{
    for (uint32_t i = 0; i < instances->count; i++) {
        struct instance *instance = &instances->items[i];
        if (!instance->is_service || !instance->interface->start)
            continue;
        int32_t result = instance->interface->start(instance->self, error);
        if (result) {
            hf_error_prefix(error, "%s", instance->name);
            return result;
        }
    }
    return 0;
}

/* ---- Draining ---------------------------------------------------------------------------------------------------- */

static void finish_drain(hf_instances *instances)
{
    void (*done)(void *arg) = instances->drained;

    instances->drained = NULL;
    hf_timer_destroy(instances->drain_timer);
    instances->drain_timer = NULL;
    if (done)
        done(instances->drained_arg);
}

static void drain_overdue(void *arg)
{
    hf_instances *instances = arg;

    hf_log(HF_LOG_WARNING, "daemon", "%u services did not finish in time; they are stopped now", instances->undrained);
    finish_drain(instances);
}

static void one_drained(void *arg)
{
    struct instance *instance = arg;

    if (instance->drained)
        return;
    instance->drained = 1;
    if (--instance->all->undrained == 0)
        finish_drain(instance->all);
}

void hf_instances_drain(hf_instances *instances, uint64_t grace_us, void (*done)(void *arg), void *arg)
{
    instances->drained = done;
    instances->drained_arg = arg;
    instances->undrained = 1; /* our own share, so that nobody finishes while we still go through the list */
    if (hf_timer_create(hf_process_main_loop(instances->process), drain_overdue, instances, &instances->drain_timer,
                        NULL) == 0)
        hf_timer_start(instances->drain_timer, grace_us, 0);
    for (uint32_t i = 0; i < instances->count; i++) {
        struct instance *instance = &instances->items[i];
        if (!instance->is_service || !instance->interface->drain)
            continue;
        instances->undrained++;
        instance->interface->drain(instance->self, grace_us, one_drained, instance);
    }
    if (--instances->undrained == 0)
        finish_drain(instances);
}

static void free_host(const hf_host *host, const hf_capability *capability)
{
    uint64_t left = hf_process_host_free(host);

    if (left)
        hf_log(HF_LOG_WARNING, "daemon", "%s/%s has not freed %llu bytes", capability->kind, capability->name,
               (unsigned long long)left);
}

void hf_instances_destroy(hf_instances *instances)
{
    if (!instances)
        return;
    hf_timer_destroy(instances->drain_timer);
    for (uint32_t i = instances->count; i-- > 0;) {
        struct instance *instance = &instances->items[i];
        if (instance->is_service && instance->self) {
            if (instance->interface->stop)
                instance->interface->stop(instance->self);
            instance->interface->destroy(instance->self);
        }
    }
    for (uint32_t i = 0; i < instances->count; i++)
        free_host(instances->items[i].host, instances->items[i].capability);
    for (uint64_t i = 0; i < instances->chosen_host_count; i++)
        free_host(instances->chosen_hosts[i].host, instances->chosen_hosts[i].capability);
    free(instances->chosen_hosts);
    free(instances);
}

/* ---- Reconfiguration --------------------------------------------------------------------------------------------- */

static void finish_reconfigure(hf_instances *instances, int commit)
{
    for (uint32_t i = 0; i < instances->count; i++) {
        struct instance *instance = &instances->items[i];
        if (!instance->prepared)
            continue;
        instance->prepared = 0;
        if (commit)
            instance->interface->config_commit(instance->self);
        else
            instance->interface->config_abort(instance->self);
    }
}

static int changed(const struct instance *instance, const hf_config_diff *diff)
{
    char path[NAME_SIZE];
    uint64_t count;
    const hf_config_change *changes = hf_config_diff_changes(diff, &count);

    hf_plugins_section(instance->capability->kind, instance->capability->name, path, sizeof path);
    for (uint64_t i = 0; i < count; i++)
        if (strcmp(changes[i].section, path) == 0)
            return 1;
    return 0;
}

int32_t hf_instances_reconfigure(hf_instances *instances, const hf_config_generation *generation,
                                 const hf_config_diff *diff, hf_error *error)
{
    for (uint32_t i = 0; i < instances->count; i++) {
        struct instance *instance = &instances->items[i];
        const hf_instance_interface *interface = instance->interface;
        if (!instance->self || !interface->config_prepare || !interface->config_commit || !interface->config_abort ||
            !changed(instance, diff))
            continue;
        int32_t result = interface->config_prepare(instance->self, configuration_of(generation, instance), error);
        if (result) {
            hf_error_prefix(error, "%s", instance->name);
            finish_reconfigure(instances, 0);
            return result;
        }
        instance->prepared = 1;
    }
    finish_reconfigure(instances, 1);
    instances->generation = generation;
    return 0;
}

uint32_t hf_instances_count(const hf_instances *instances)
{
    return instances->count;
}

const char *hf_instances_health(const hf_instances *instances, uint32_t index, hf_health *ret_health)
{
    const struct instance *instance = &instances->items[index];

    *ret_health = (hf_health){0};
    if (!instance->self) {
        ret_health->state = HF_HEALTH_FAILING;
        snprintf(ret_health->reason, sizeof ret_health->reason, "it could not be created");
    } else if (instance->interface->health) {
        instance->interface->health(instance->self, ret_health);
    }
    return instance->name;
}
