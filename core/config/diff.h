/* config/diff.h: what differs between two generations, by value: "64MiB" and 67108864 are the same.  [any] */
#ifndef HOLDFAST_CONFIG_DIFF_H
#define HOLDFAST_CONFIG_DIFF_H

#include "config/check.h"

typedef struct hf_config_change {
    const char *section;  /* "engine.rocksdb" */
    const char *key;      /* "engine.rocksdb.cache_size"; the section itself when it came or went */
    const char *old_text; /* in the file's syntax; "***" for secrets, "(absent)" for a group or section that came */
    const char *new_text; /* "(absent)" for one that went */
    int32_t reloadable;   /* 0: a restart is needed */
} hf_config_change;

typedef struct hf_config_diff hf_config_diff;

/* Compares all sections of both.  The result is owned and borrows nothing; 0 or HF_ENOMEM. */
int32_t hf_config_diff_create(const hf_config_generation *old_generation, const hf_config_generation *new_generation,
                              hf_config_diff **ret_diff);

/* The changes, section by section; borrowed from the diff. */
const hf_config_change *hf_config_diff_changes(const hf_config_diff *diff, uint64_t *ret_count);

/* 1 when every change can be applied by a reload. */
int32_t hf_config_diff_reloadable(const hf_config_diff *diff);

/* Accepts NULL. */
void hf_config_diff_free(hf_config_diff *diff);

#endif
