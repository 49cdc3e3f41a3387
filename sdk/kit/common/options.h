/* options.h: the fields of a configuration, one by one. */
#ifndef HOLDFAST_KIT_OPTIONS_H
#define HOLDFAST_KIT_OPTIONS_H

#include <holdfast/kit/plugin.h>

#include "config/option.h"

/* What the plugin provides as KIND/NAME, or NULL. */
const hf_provide *kit_provide_find(const hf_plugin *plugin, const char *kind, const char *name);

/* What the plugins of the run provide as KIND/NAME, those given with --with first, or NULL; `ret_path` (may be NULL)
 * gets the shared object's path. */
const hf_provide *kit_subject_provide(const hf_kit_subject *subject, const char *kind, const char *name,
                                      const char **ret_path);

/* A configuration whose lists of groups have `items` members each, called "a", "b" ..., beside those that settings
 * name; `left_out` has a bit for each row of the options whose groups settings do not make, as if they were taken out.
 */
hf_kit_configuration *kit_configuration_with_items(const hf_kit_subject *subject, const hf_provide *provide,
                                                   uint32_t items, uint32_t left_out);

/* The index-th field, counted through all groups; 0 behind the last.  `name` is its dotted path. */
int32_t kit_configuration_field(hf_kit_configuration *configuration, uint32_t index, hf_option *ret_option,
                                void **ret_field, char *name, size_t name_size);

/* Calls the capability's own check, as the host does: how many problems it tells; `first` (HF_ERROR_MESSAGE_SIZE) gets
 * the first one.  0 without such a check. */
uint32_t kit_configuration_problems(const hf_kit_subject *subject, const hf_kit_configuration *configuration,
                                    char *first);

/* As the host does it: HF_EINVAL when the option does not expect such a value. */
int32_t kit_configuration_store(hf_kit_configuration *configuration, const hf_option *option, void *field,
                                const hf_config_node *node);

#endif
