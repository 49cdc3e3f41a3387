/* lua/bundle.h: the text of all policy files as it was read, from which states are made.  Immutable and counted. */
#ifndef HOLDFAST_CORE_LUA_BUNDLE_H
#define HOLDFAST_CORE_LUA_BUNDLE_H

#include "config/problems.h"

enum { HF_LUA_FILES_MAX = 256, HF_LUA_FILE_SIZE_MAX = 1 << 20 };

typedef struct hf_lua_source {
    char *path;
    char *text;
    uint64_t size;
} hf_lua_source;

typedef struct hf_lua_bundle {
    _Atomic uint32_t references;
    uint32_t count;
    hf_lua_source sources[HF_LUA_FILES_MAX];
} hf_lua_bundle;

/* Reads each path: a folder stands for its files *.lua in the order of their names, without those whose name begins
 * with a dot; anything else is a file.  Adds a line to `problems` for what cannot be read.  HF_ENOMEM, or HF_EINVAL
 * when there were problems. */
int32_t hf_lua_bundle_read(const hf_strings *paths, hf_lua_bundle **ret_bundle, hf_config_problems *problems);

hf_lua_bundle *hf_lua_bundle_ref(hf_lua_bundle *bundle); /* [any] */
void hf_lua_bundle_unref(hf_lua_bundle *bundle);         /* [any]; accepts NULL */

#endif
