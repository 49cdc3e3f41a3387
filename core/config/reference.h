/* config/reference.h: documentation of a section, from the options that declare it.  [any] */
#ifndef HOLDFAST_CONFIG_REFERENCE_H
#define HOLDFAST_CONFIG_REFERENCE_H

#include "config/check.h"

#include <stdio.h>

/* A heading and a table of all options, with the groups' members under their dotted names.  0, or HF_EIO when `file`
 * took an error. */
int32_t hf_config_reference_markdown(FILE *file, const hf_config_section *section);

/* A sample that can be read back: every option with its documentation; those with a default are commented out,
 * required ones are marked and left for the user to fill in.  0 or HF_EIO. */
int32_t hf_config_reference_sample(FILE *file, const hf_config_section *section);

#endif
