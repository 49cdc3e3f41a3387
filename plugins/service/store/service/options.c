#include "service/options.h"

#include <holdfast/lib/error.h>

static const hf_option log_options[] = {
    HF_CONFIG_SIZE("segment_size", struct store_log_settings, segment_size, .default_text = "64MiB", .minimum = 1 << 20,
                   .maximum = 1 << 30, .doc = "Bytes of one file of the log."),
    HF_CONFIG_SIZE("size_maximum", struct store_log_settings, size_maximum, .default_text = "512MiB",
                   .minimum = 4 << 20, .maximum = INT64_C(1) << 40,
                   .doc = "Size at which the engine is flushed, so that old files of the log can go."),
    HF_CONFIG_SIZE("queue_maximum", struct store_log_settings, queue_maximum, .default_text = "128MiB",
                   .minimum = 32 << 20, .maximum = INT64_C(1) << 34, .doc = "Bytes that may wait to be written."),
    HF_CONFIG_BOOLEAN("accept_damage", struct store_log_settings, accept_damage, .default_text = "false",
                      .doc =
                          "Open a damaged log with what is left of it, instead of fetching everything from the other "
                          "nodes. It may break promises: set it only when there is no other copy, and take it out "
                          "afterwards."),
};
static const hf_option_table log_table = HF_TABLE(log_options);

static const hf_option admission_options[] = {
    HF_CONFIG_INTEGER("partition_operations", struct store_admission_settings, partition_operations,
                      .default_text = "16384", .minimum = 8, .maximum = 1 << 20, .flags = HF_OPTION_RELOADABLE,
                      .doc = "Operations of one kind that may wait in one partition: writes, reads, or readers of the "
                             "change feed; queue_maximum bounds their bytes."),
    HF_CONFIG_INTEGER("table_operations", struct store_admission_settings, table_operations, .default_text = "65536",
                      .minimum = 8, .maximum = 1 << 22, .flags = HF_OPTION_RELOADABLE,
                      .doc = "The same in all partitions of a table on this node."),
    HF_CONFIG_SIZE("table_bytes", struct store_admission_settings, table_bytes, .default_text = "256MiB",
                   .minimum = 32 << 20, .maximum = INT64_C(1) << 38, .flags = HF_OPTION_RELOADABLE,
                   .doc = "Bytes of operations of one kind that may wait in all partitions of a table on this node."),
    HF_CONFIG_INTEGER("node_operations", struct store_admission_settings, node_operations, .default_text = "131072",
                      .minimum = 8, .maximum = 1 << 22, .flags = HF_OPTION_RELOADABLE,
                      .doc = "Operations of one kind that may wait in all partitions on this node."),
    HF_CONFIG_SIZE("node_bytes", struct store_admission_settings, node_bytes, .default_text = "512MiB",
                   .minimum = 32 << 20, .maximum = INT64_C(1) << 38, .flags = HF_OPTION_RELOADABLE,
                   .doc = "Bytes of operations of one kind that may wait in all partitions on this node."),
    HF_CONFIG_INTEGER("client_share", struct store_admission_settings, client_share, .default_text = "50", .minimum = 1,
                      .maximum = 100, .flags = HF_OPTION_RELOADABLE,
                      .doc = "Percent of each of these that one client may have of what others leave: the same token, "
                             "or the same address. 100: one may take everything."),
    HF_CONFIG_DURATION("retry_minimum", struct store_admission_settings, retry_minimum_us, .default_text = "100ms",
                       .minimum = 1000, .maximum = INT64_C(60) * 1000000, .flags = HF_OPTION_RELOADABLE,
                       .doc = "Soonest that a refused client is told to come again."),
    HF_CONFIG_DURATION("retry_maximum", struct store_admission_settings, retry_maximum_us, .default_text = "10s",
                       .minimum = 1000, .maximum = INT64_C(600) * 1000000, .flags = HF_OPTION_RELOADABLE,
                       .doc = "Latest that a refused client is told to come again, however slowly the queue moves."),
};
static const hf_option_table admission_table = HF_TABLE(admission_options);

static const char *const formats[] = {"json", "bytes", NULL};

static const hf_option field_options[] = {
    HF_CONFIG_CHOICE("type", struct store_field, type, .choices = store_field_types, .default_text = "any",
                     .doc = "What the field's value must be; null is only taken as any."),
    HF_CONFIG_BOOLEAN("required", struct store_field, required, .default_text = "false",
                      .doc = "Whether the field must be there."),
    HF_CONFIG_FLOAT("min", struct store_field, minimum, .default_text = "-1e300",
                    .minimum_float = -STORE_FIELD_UNLIMITED, .maximum_float = STORE_FIELD_UNLIMITED,
                    .doc = "Lowest value of an integer or a number; -1e300: no limit."),
    HF_CONFIG_FLOAT("max", struct store_field, maximum, .default_text = "1e300",
                    .minimum_float = -STORE_FIELD_UNLIMITED, .maximum_float = STORE_FIELD_UNLIMITED,
                    .doc = "Highest value of an integer or a number; 1e300: no limit."),
    HF_CONFIG_INTEGER("min_length", struct store_field, minimum_length, .default_text = "0", .minimum = 0,
                      .maximum = STORE_FIELD_LENGTH_MAX, .doc = "Fewest characters (code points) of a string."),
    HF_CONFIG_INTEGER("max_length", struct store_field, maximum_length, .default_text = "0", .minimum = 0,
                      .maximum = STORE_FIELD_LENGTH_MAX, .doc = "Most characters of a string; 0: no limit."),
    HF_CONFIG_STRINGS("one_of", struct store_field, one_of, .doc = "The values that a string may have; none: any."),
};
static const hf_option_table field_table = HF_TABLE(field_options);

static const hf_option table_options[] = {
    HF_CONFIG_STRING("partition_by", struct store_table_settings, partition_by, .default_text = "",
                     .doc = "Field of the JSON value that names the partition, such as region."),
    HF_CONFIG_STRINGS("values", struct store_table_settings, values,
                      .doc = "The field's values, one or more partitions each."),
    HF_CONFIG_INTEGER("hash_ranges", struct store_table_settings, hash_ranges, .default_text = "1", .minimum = 1,
                      .maximum = STORE_TABLE_HASH_RANGES_MAX, .doc = "Partitions per value, by the key's hash."),
    HF_CONFIG_INTEGER("replicas", struct store_table_settings, replicas, .default_text = "3", .minimum = 1,
                      .maximum = STORE_NODES_MAX, .doc = "Copies on different nodes; an odd number."),
    HF_CONFIG_CHOICE("format", struct store_table_settings, format, .choices = formats, .default_text = "json",
                     .doc = "Whether values must be JSON."),
    HF_CONFIG_SIZE("value_maximum", struct store_table_settings, value_maximum, .default_text = "1MiB", .minimum = 1024,
                   .maximum = 16 << 20, .doc = "Bytes of one value."),
    HF_CONFIG_DURATION("keep_changes", struct store_table_settings, keep_changes_us, .default_text = "7d",
                       .minimum = 1000000, .maximum = INT64_C(36500) * 86400 * 1000000,
                       .doc = "Age at which a change may leave the change feed."),
    HF_CONFIG_DURATION("keep_idempotency_keys", struct store_table_settings, keep_idempotency_keys_us,
                       .default_text = "1d", .minimum = 1000000, .maximum = INT64_C(36500) * 86400 * 1000000,
                       .doc = "How long a repeated request is recognised."),
    HF_CONFIG_DURATION("expire_after", struct store_table_settings, expire_after_us, .default_text = "0s",
                       .maximum = INT64_C(3650) * 86400 * 1000000,
                       .doc = "How long a record stays when its write does not say; whole seconds, 0: for ever."),
    HF_CONFIG_GROUPS("fields", struct store_table_settings, fields, struct store_field, .members = &field_table,
                     .doc = "What members of the JSON values must be, by name."),
    HF_CONFIG_BOOLEAN("other_fields", struct store_table_settings, other_fields, .default_text = "true",
                      .doc = "Whether values may have members that are not declared in fields."),
};
static const hf_option_table table_table = HF_TABLE(table_options);

const hf_option store_option_rows[STORE_OPTION_COUNT] = {
    HF_CONFIG_STRING("engine", struct store_options, engine, .default_text = "rocksdb",
                     .doc = "Which engine keeps the records."),
    HF_CONFIG_STRING("replication", struct store_options, replication, .default_text = "raft",
                     .doc = "How replicas agree."),
    HF_CONFIG_GROUP("log", struct store_options, log, .members = &log_table,
                    .doc = "The write-ahead log, one for all partitions of the node."),
    HF_CONFIG_SIZE("cache_maximum", struct store_options, cache_maximum, .default_text = "4MiB", .minimum = 64 << 10,
                   .maximum = 1 << 30, .doc = "Newest entries kept in memory, per partition."),
    HF_CONFIG_SIZE("queue_maximum", struct store_options, queue_maximum, .default_text = "64MiB", .minimum = 32 << 20,
                   .maximum = INT64_C(1) << 34, .flags = HF_OPTION_RELOADABLE,
                   .doc = "Bytes of writes that may wait, per partition."),
    HF_CONFIG_GROUP("admission", struct store_options, admission, .members = &admission_table,
                    .doc = "What may wait besides; what would be too much is answered 503, with Retry-After."),
    HF_CONFIG_DURATION("write_timeout", struct store_options, write_timeout_us, .default_text = "10s",
                       .minimum = 100000, .maximum = INT64_C(600) * 1000000,
                       .doc = "How long a write may wait for a leader and its majority."),
    HF_CONFIG_DURATION("read_timeout", struct store_options, read_timeout_us, .default_text = "10s", .minimum = 100000,
                       .maximum = INT64_C(600) * 1000000, .doc = "How long a read may take."),
    HF_CONFIG_DURATION("changes_timeout", struct store_options, changes_timeout_us, .default_text = "10s",
                       .minimum = 100000, .maximum = INT64_C(600) * 1000000,
                       .doc = "How long a reader of the change feed may take nothing of what waits for it; then its "
                              "stream ends, and says where to go on."),
    HF_CONFIG_SIZE("body_maximum", struct store_options, body_maximum, .default_text = "24MiB", .minimum = 1 << 20,
                   .maximum = 24 << 20, .doc = "Bytes of one request, a batch with all its values."),
    HF_CONFIG_INTEGER("moves_maximum", struct store_options, moves_maximum, .default_text = "4", .minimum = 0,
                      .maximum = 32,
                      .doc = "Partitions that move between nodes at the same time. 0: none begins to move."),
    HF_CONFIG_SIZE("snapshot_rate", struct store_options, snapshot_rate, .default_text = "224MiB", .minimum = 0,
                   .maximum = INT64_C(1) << 40,
                   .doc = "Bytes per second that this node sends to replicas which need everything. 0: any number."),
    HF_CONFIG_SIZE("scrub_rate", struct store_options, scrub_rate, .default_text = "8MiB", .minimum = 0,
                   .maximum = INT64_C(1) << 40,
                   .doc = "Bytes per second that this node reads to look for damage. 0: any number."),
    HF_CONFIG_DURATION("scrub_interval", struct store_options, scrub_interval_us, .default_text = "7d", .minimum = 0,
                       .maximum = INT64_C(3650) * 86400 * 1000000,
                       .doc = "How often each replica is looked through for damage. 0: never."),
    HF_CONFIG_INTEGER("heal_maximum", struct store_options, heal_maximum, .default_text = "3", .minimum = 0,
                      .maximum = 100,
                      .doc = "How many folders with damaged data that was set aside there may be before this node "
                             "refuses to start instead of setting aside more. 0: it never sets any aside."),
    HF_CONFIG_SIZE("partition_max_size", struct store_options, partition_max_size, .default_text = "1GiB", .minimum = 0,
                   .maximum = INT64_C(1) << 44, .flags = HF_OPTION_RELOADABLE,
                   .doc = "Bytes of records at which a partition is split in two. 0: never. Two neighbours that have a "
                          "quarter of it together may be merged."),
    HF_CONFIG_INTEGER("partition_max_rate", struct store_options, partition_max_rate, .default_text = "50000",
                      .minimum = 0, .maximum = 1000000000, .flags = HF_OPTION_RELOADABLE,
                      .doc =
                          "Operations per second, over ten seconds, at which a partition is split in two. 0: never."),
    HF_CONFIG_DURATION("merge_after", struct store_options, merge_after_us, .default_text = "10m", .minimum = 0,
                       .maximum = INT64_C(365) * 86400 * 1000000, .flags = HF_OPTION_RELOADABLE,
                       .doc = "How long two neighbours that came of splits have to be small and quiet until they are "
                              "merged. 0: never."),
    HF_CONFIG_GROUPS("tables", struct store_options, tables, struct store_table_settings, .members = &table_table,
                     .flags = HF_OPTION_RELOADABLE,
                     .doc = "Tables that are made when they are missing; those that are there are left as they are."),
};
void store_settings_declaration(const struct store_table_settings *settings, struct store_declaration *ret_declaration)
{
    *ret_declaration = (struct store_declaration){
        .name = settings->name,
        .partition_by = settings->partition_by,
        .value_count = (uint32_t)settings->values.count,
        .values = settings->values.items,
        .hash_ranges = (uint32_t)settings->hash_ranges,
        .replicas = (uint32_t)settings->replicas,
        .format = settings->format,
        .value_maximum = settings->value_maximum,
        .keep_changes_us = settings->keep_changes_us,
        .keep_repeats_us = settings->keep_idempotency_keys_us,
        .expire_after_us = settings->expire_after_us,
        .fields = {(uint32_t)settings->fields.count, !settings->other_fields, settings->fields.items},
    };
}

int32_t store_options_check(const struct store_options *settings, hf_error *error)
{
    const struct store_table_settings *tables = settings->tables.items;

    if (settings->log.segment_size / 2 < settings->body_maximum + (64 << 10))
        return hf_error_set(error, HF_EINVAL,
                            "store.log.segment_size is %llu bytes; expected at least twice store.body_maximum (%llu) "
                            "and 128 KiB, because an entry of the log fills at most half a file",
                            (unsigned long long)settings->log.segment_size, (unsigned long long)settings->body_maximum);
    if (settings->admission.retry_minimum_us > settings->admission.retry_maximum_us)
        return hf_error_set(error, HF_EINVAL,
                            "store.admission.retry_minimum is longer than retry_maximum; expected at most that");
    for (uint64_t i = 0; i < settings->tables.count; i++) {
        struct store_declaration declaration;
        int32_t result;

        if (tables[i].values.count > STORE_TABLE_VALUES_MAX)
            return hf_error_set(error, HF_EINVAL, "table '%s' has more than %d values", tables[i].name,
                                STORE_TABLE_VALUES_MAX);
        if (tables[i].fields.count > STORE_FIELDS_MAX)
            return hf_error_set(error, HF_EINVAL, "table '%s' has more than %d fields", tables[i].name,
                                STORE_FIELDS_MAX);
        store_settings_declaration(&tables[i], &declaration);
        result = store_declaration_check(&declaration, error);
        if (result != HF_OK)
            return result;
    }
    return HF_OK;
}
