/* daemon/check.h: a configuration as a whole: the core's part, every enabled plugin, and all of their options. */
#ifndef HOLDFAST_CORE_DAEMON_CHECK_H
#define HOLDFAST_CORE_DAEMON_CHECK_H

#include "config/check.h"

#include <stdio.h>

/* Adds a line for everything that is wrong with the file.  Loads the enabled plugins into this process, but starts
 * nothing.  0, HF_EINVAL, HF_ENOMEM, HF_EIO, and with any of them at least one problem.  [main] */
int32_t hf_check(const char *path, hf_config_problems *problems);

/* Writes the reference of all options that the core and the enabled plugins declare, or of one section; without a
 * readable configuration, of the core only.  HF_ENOTFOUND: there is no such section; HF_EIO.  [main] */
int32_t hf_check_reference(FILE *file, const char *path, const char *section, hf_error *error);

/* Writes the problems, one line each. */
void hf_check_print(FILE *file, const hf_config_problems *problems);

#endif
