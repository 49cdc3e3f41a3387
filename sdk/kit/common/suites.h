/* suites.h: the kit's own suites. */
#ifndef HOLDFAST_KIT_SUITES_H
#define HOLDFAST_KIT_SUITES_H

#include <holdfast/kit/check.h>

extern const hf_kit_suite kit_file_suite; /* its first check finds out what there is to check */
extern const hf_kit_suite kit_options_suite;
extern const hf_kit_suite kit_life_suite;
extern const hf_kit_suite kit_host_suite;
extern const hf_kit_suite kit_engine_suite;
extern const hf_kit_suite kit_detector_suite;
extern const hf_kit_suite kit_service_suite;
extern const hf_kit_suite kit_replication_suite;
extern const hf_kit_suite kit_balancer_suite;

#endif
