/* kind/detector.h: a plugin that watches something and raises signals about it.
 *
 * A process creates one instance of every detector that its plugins provide.  Between `create` and `start` it declares
 * its signals; from `start` on it observes, with timers on the main loop and jobs in the pool, until `stop`.  Its
 * configuration is the section "detector.NAME".
 *
 * Changes
 *   1.0  first version
 */
#ifndef HOLDFAST_KIND_DETECTOR_H
#define HOLDFAST_KIND_DETECTOR_H

#include <holdfast/holdfast.h>

#ifdef __cplusplus
extern "C" {
#endif

/* No operations beyond an instance's life; `start` and `stop` are required. */
struct hf_detector {
    HF_INSTANCE_FUNCTIONS
};

#ifdef __cplusplus
}
#endif
#endif
