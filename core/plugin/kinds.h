/* kinds.h: the kinds of capability that this host knows: their tables' sizes and required functions. */
#ifndef HOLDFAST_CORE_PLUGIN_KINDS_H
#define HOLDFAST_CORE_PLUGIN_KINDS_H

#include <holdfast/holdfast.h>

typedef struct hf_kind_function {
    const char *name;
    uint64_t offset; /* in the kind's table */
} hf_kind_function;

typedef struct hf_kind {
    const char *name;
    uint64_t table_size;              /* bytes, as this host knows the table */
    const hf_kind_function *required; /* besides create and destroy */
    uint64_t required_count;
} hf_kind;

/* The kind called `name`, or NULL.  Static.  [any] */
const hf_kind *hf_kind_find(const char *name);

/* Copies a plugin's table into zeroed memory of the host's size, so that the host never reads past what the plugin
 * has; the caller frees it with free().  HF_EVERSION: built against another major; HF_EINVAL: the table is too short,
 * or a required function is missing (the message names it).  `who` is for messages.  [main] */
int32_t hf_kind_adopt(const hf_kind *kind, const hf_head *table, const char *who, hf_head **ret_table, hf_error *error);

#endif
