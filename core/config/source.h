/* config/source.h: the bytes of a configuration file, checked before the parser sees them. */
#ifndef HOLDFAST_CONFIG_SOURCE_H
#define HOLDFAST_CONFIG_SOURCE_H

#include "config/pool.h"

enum { HF_CONFIG_FILE_SIZE_MAX = 4 * 1024 * 1024, HF_CONFIG_INCLUDE_DEPTH_MAX = 8 };

/* Reads the regular file `path` into `pool`.
 * HF_ENOTFOUND, HF_EIO (unreadable, not a file), HF_ETOOLARGE, HF_EINVAL (not UTF-8, a NUL byte); the message begins
 * with "PATH:LINE: ".  [main] */
int32_t hf_config_source_read(hf_config_pool *pool, const char *path, char **ret_text, uint64_t *ret_size,
                              hf_error *error);

/* Checks the encoding of a text that is in memory already; `name` takes the place of the path in messages. [any] */
int32_t hf_config_source_check(const char *name, const char *text, uint64_t size, hf_error *error);

/* 1 if `text` is strict UTF-8 without NUL: no overlong forms, surrogates or values over U+10FFFF; otherwise 0 and the
 * index of the first wrong byte. */
int hf_config_utf8_valid(const char *text, uint64_t size, uint64_t *ret_bad_index);

/* The @include directives of `text`, which libconfig opens itself, seen first: each must name a file, relative to
 * `folder`, that hf_config_source_read accepts, at most HF_CONFIG_INCLUDE_DEPTH_MAX deep.  `folder` NULL refuses
 * all.  A directive at the start of a line inside a block comment counts too. */
int32_t hf_config_source_check_includes(const char *name, const char *text, const char *folder, uint32_t depth,
                                        hf_error *error);

#endif
