/* check.h: what the types of the options cannot say: names that refer to each other, and words of a small language.
 * [main] */
#ifndef GATEWAY_OPTIONS_CHECK_H
#define GATEWAY_OPTIONS_CHECK_H

#include <holdfast/holdfast.h>

/* As hf_provide.check. */
void gateway_options_check(const void *configuration, const hf_config_report *report);

#endif
