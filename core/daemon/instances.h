/* daemon/instances.h: the instances of capabilities and services in one process, and their life.  [main] */
#ifndef HOLDFAST_CORE_DAEMON_INSTANCES_H
#define HOLDFAST_CORE_DAEMON_INSTANCES_H

#include "config/diff.h"
#include "daemon/plugins.h"

typedef struct hf_instances hf_instances;

int32_t hf_instances_create(const hf_plugins *plugins, hf_process *process, const hf_config_generation *generation,
                            hf_instances **ret_instances, hf_error *error);

/* Stops and destroys what was made by hf_instances_service, in reverse order; frees the hosts of the others, which
 * their users have destroyed by then.  Accepts NULL. */
void hf_instances_destroy(hf_instances *instances);

/* Makes the service `name`, to be started by hf_instances_start.  HF_ENOTFOUND, or what `create` returned. */
int32_t hf_instances_service(hf_instances *instances, const char *name, hf_error *error);

/* Makes one instance of every detector that the plugins provide, to be started and drained like services. */
int32_t hf_instances_detectors(hf_instances *instances, hf_error *error);

/* What hf_node_interface.capability does. */
int32_t hf_instances_capability(hf_instances *instances, const char *kind, const char *name,
                                const hf_head **ret_interface, void **ret_self, hf_error *error);

/* What hf_node_interface.capability_chosen does.  The instance is the caller's: nothing of it is kept here, so that any
 * number may come and go; only the host is, one for each capability, until hf_instances_destroy. */
int32_t hf_instances_chosen(hf_instances *instances, const char *kind, const hf_capability_choice *choice,
                            const hf_head **ret_interface, void **ret_self, hf_error *error);

/* Starts all services in the order of their making. */
int32_t hf_instances_start(hf_instances *instances, hf_error *error);

/* Lets all services finish what is in flight and calls done(arg) once all have, or `grace_us` has passed. */
void hf_instances_drain(hf_instances *instances, uint64_t grace_us, void (*done)(void *arg), void *arg);

/* Offers a new generation to every instance whose section differs in `diff`: all accept, or nothing changes.  What is
 * made from then on is made from it.  Instances borrow from generations: none may be freed before the instances. */
int32_t hf_instances_reconfigure(hf_instances *instances, const hf_config_generation *generation,
                                 const hf_config_diff *diff, hf_error *error);

uint32_t hf_instances_count(const hf_instances *instances);
/* The instance's name, such as "service/store"; fills in its health. */
const char *hf_instances_health(const hf_instances *instances, uint32_t index, hf_health *ret_health);

#endif
