/* options.h: the configuration of the store. */
#ifndef STORE_OPTIONS_H
#define STORE_OPTIONS_H

#include "replica/admission.h"
#include "table/table.h"

struct store_log_settings {
    uint64_t segment_size;
    uint64_t size_maximum; /* beyond it the engine is flushed and old segments are freed */
    uint64_t queue_maximum;
    int32_t accept_damage;
};

struct store_table_settings {
    const char *name;
    const char *partition_by;
    hf_strings values;
    int64_t hash_ranges;
    int64_t replicas;
    int32_t format;
    uint64_t value_maximum;
    uint64_t keep_changes_us;
    uint64_t keep_idempotency_keys_us;
    uint64_t expire_after_us;
    hf_groups fields; /* struct store_field */
    int32_t other_fields;
};

struct store_options {
    const char *engine;
    const char *replication;
    struct store_log_settings log;
    uint64_t cache_maximum;
    uint64_t queue_maximum;
    struct store_admission_settings admission;
    uint64_t write_timeout_us;
    uint64_t read_timeout_us;
    uint64_t changes_timeout_us;
    int64_t moves_maximum;
    uint64_t snapshot_rate;
    uint64_t scrub_rate;
    uint64_t scrub_interval_us;
    int64_t heal_maximum;
    uint64_t body_maximum;
    uint64_t partition_max_size;
    int64_t partition_max_rate;
    uint64_t merge_after_us;
    hf_groups tables; /* struct store_table_settings */
};

enum { STORE_OPTION_COUNT = 19 };
extern const hf_option store_option_rows[STORE_OPTION_COUNT];

/* The table as the catalog knows it; borrows from the settings. */
void store_settings_declaration(const struct store_table_settings *settings, struct store_declaration *ret_declaration);

/* What the options' types cannot say, for every table.  HF_EINVAL. */
int32_t store_options_check(const struct store_options *options, hf_error *error);

#endif
