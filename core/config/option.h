/* config/option.h: one declared option: reading rows of any size, parsing a value, saying what is expected.  [any] */
#ifndef HOLDFAST_CONFIG_OPTION_H
#define HOLDFAST_CONFIG_OPTION_H

#include "config/pool.h"
#include "config/tree.h"

/* Row `index` of the table as this host knows rows: fields that the table's builder did not have are 0. */
hf_option hf_config_option_row(const hf_option_table *table, uint32_t index);

/* Bytes of the field that an option of `type` is stored in; 0 for groups, whose size the members tell, and for
 * unknown types. */
uint64_t hf_config_option_field_size(int32_t type);

/* "an integer from 1 to 65535", "one of 'a', 'b'", ... */
void hf_config_option_expected(const hf_option *option, char *text, size_t size);

/* Stores the value of `node` in `field`; strings go to `pool`.  `folder` makes relative paths absolute.
 * HF_EINVAL: not what the option expects; HF_ENOMEM.  Not for groups and HF_OPTION_CAPABILITY, which have options. */
int32_t hf_config_option_store(const hf_option *option, const hf_config_node *node, hf_config_pool *pool, void *field);

/* The same from the declared default, or the type's empty value without one.  Of HF_OPTION_CAPABILITY the name only. */
int32_t hf_config_option_store_default(const hf_option *option, const char *file, hf_config_pool *pool, void *field);

/* The stored value as text in the file's syntax, cut to fit; secrets as "***", HF_OPTION_CAPABILITY as its name. */
void hf_config_option_print(const hf_option *option, const void *field, char *text, size_t size);

#endif
