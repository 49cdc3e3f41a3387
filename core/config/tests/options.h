/* The options that the tests and the fuzzer declare: one of every type. */
#ifndef HOLDFAST_CONFIG_TESTS_OPTIONS_H
#define HOLDFAST_CONFIG_TESTS_OPTIONS_H

#include "config/check.h"

typedef struct peer_config {
    const char *name;
    const char *address;
    int64_t weight;
} peer_config;

typedef struct tls_config {
    const char *key;
    int32_t verify;
} tls_config;

typedef struct store_config {
    int64_t port;
    double ratio;
    const char *title;
    hf_strings tags;
    uint64_t timeout_us;
    int32_t mode;
    const char *path;
    const char *listen;
    const char *token;
    tls_config tls;
    hf_groups peers;
} store_config;

typedef struct rocksdb_config {
    uint64_t cache_size;
    int32_t sync;
} rocksdb_config;

static const char *const store_modes[] = {"fast", "safe", NULL};

static const hf_option tls_rows[] = {
    HF_CONFIG_PATH("key", tls_config, key, .flags = HF_OPTION_REQUIRED, .doc = "Private key."),
    HF_CONFIG_BOOLEAN("verify", tls_config, verify, .default_text = "true", .doc = "Check the peer."),
};
static const hf_option_table tls_table = HF_TABLE(tls_rows);

static const hf_option peer_rows[] = {
    HF_CONFIG_ADDRESS("address", peer_config, address, .flags = HF_OPTION_REQUIRED, .doc = "Where it listens."),
    HF_CONFIG_INTEGER("weight", peer_config, weight, .default_text = "1", .minimum = 1, .maximum = 10,
                      .flags = HF_OPTION_RELOADABLE, .doc = "Its share."),
};
static const hf_option_table peer_table = HF_TABLE(peer_rows);

static const hf_option store_rows[] = {
    HF_CONFIG_INTEGER("port", store_config, port, .default_text = "8080", .minimum = 1, .maximum = 65535,
                      .doc = "Port to listen on."),
    HF_CONFIG_FLOAT("ratio", store_config, ratio, .default_text = "0.5", .minimum_float = 0, .maximum_float = 1,
                    .flags = HF_OPTION_RELOADABLE, .doc = "Part that is kept."),
    HF_CONFIG_STRING("title", store_config, title, .doc = "Shown to people."),
    HF_CONFIG_STRINGS("tags", store_config, tags, .default_text = "a, b", .flags = HF_OPTION_RELOADABLE,
                      .doc = "Labels."),
    HF_CONFIG_DURATION("timeout", store_config, timeout_us, .default_text = "10s", .minimum = 1000,
                       .maximum = 3600000000, .flags = HF_OPTION_RELOADABLE, .doc = "Longest wait."),
    HF_CONFIG_CHOICE("mode", store_config, mode, .choices = store_modes, .default_text = "safe", .doc = "Trade-off."),
    HF_CONFIG_PATH("path", store_config, path, .default_text = "/var/lib/store", .doc = "Folder of the data."),
    HF_CONFIG_ADDRESS("listen", store_config, listen, .default_text = "127.0.0.1:80", .doc = "Where to listen."),
    HF_CONFIG_STRING("token", store_config, token, .flags = HF_OPTION_SECRET | HF_OPTION_RELOADABLE,
                     .doc = "Shared secret."),
    HF_CONFIG_GROUP("tls", store_config, tls, .members = &tls_table, .doc = "Encryption."),
    HF_CONFIG_GROUPS("peers", store_config, peers, peer_config, .members = &peer_table, .flags = HF_OPTION_RELOADABLE,
                     .doc = "Other stores."),
};
static const hf_option_table store_table = HF_TABLE(store_rows);

static const hf_option rocksdb_rows[] = {
    HF_CONFIG_SIZE("cache_size", rocksdb_config, cache_size, .default_text = "64MiB", .minimum = 1048576,
                   .maximum = 1073741824, .doc = "Memory for blocks."),
    HF_CONFIG_BOOLEAN("sync", rocksdb_config, sync, .default_text = "true", .doc = "Wait for the disk."),
};
static const hf_option_table rocksdb_table = HF_TABLE(rocksdb_rows);

static const hf_config_section test_sections[] = {
    {"store", &store_table, sizeof(store_config), HF_CONFIG_SECTION_REQUIRED, "The object store."},
    {"engine.rocksdb", &rocksdb_table, sizeof(rocksdb_config), 0, "A log-structured engine."},
};
enum { TEST_SECTION_COUNT = 2 };

#endif
