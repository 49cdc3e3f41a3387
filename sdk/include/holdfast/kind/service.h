/* kind/service.h: a plugin that runs something: store, gateway, ops ...
 *
 * A process creates one instance of every service that its configuration names; between `create` and `start` the
 * service opens its channels, adds its routes and declares its signals, actions and decision points.  Its
 * configuration is the top-level section with the service's name.
 *
 * Changes
 *   1.0  first version
 */
#ifndef HOLDFAST_KIND_SERVICE_H
#define HOLDFAST_KIND_SERVICE_H

#include <holdfast/holdfast.h>

#ifdef __cplusplus
extern "C" {
#endif

/* No operations beyond an instance's life: `start` is called on the main loop after all instances of the process
 * exist and its loops run; `drain` before `stop` when the process ends. */
struct hf_service {
    HF_INSTANCE_FUNCTIONS
};

#ifdef __cplusplus
}
#endif
#endif
