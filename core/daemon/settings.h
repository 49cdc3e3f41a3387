/* daemon/settings.h: the configuration of the core itself: what is not a plugin's.  Read-only once loaded. */
#ifndef HOLDFAST_CORE_DAEMON_SETTINGS_H
#define HOLDFAST_CORE_DAEMON_SETTINGS_H

#include "config/check.h"

typedef struct hf_node_settings {
    const char *name;
    const char *state_directory;
} hf_node_settings;

typedef struct hf_member_settings {
    const char *name;
    const char *address; /* of its peer links */
    const char *zone;
} hf_member_settings;

typedef struct hf_cluster_settings {
    const char *name;
    const char *certificates; /* folder */
    uint64_t queue_limit;     /* bytes that may wait for one link */
    hf_groups members;        /* hf_member_settings */
} hf_cluster_settings;

typedef struct hf_plugins_settings {
    const char *directory;
    hf_strings enabled;
} hf_plugins_settings;

typedef struct hf_process_entry {
    const char *name;
    hf_strings services;
    const char *listen;
    int32_t peers; /* 1: has the node's peer links */
    int64_t worker_threads;
    int64_t pool_threads;
    int64_t pool_queue;
} hf_process_entry;

typedef struct hf_processes_settings {
    hf_groups entries; /* hf_process_entry */
    uint64_t restart_least_us;
    uint64_t restart_most_us;
    uint64_t stop_grace_us;
} hf_processes_settings;

typedef struct hf_policies_settings {
    const char *directory; /* "": none */
} hf_policies_settings;

typedef struct hf_operations_settings {
    int32_t dry_run;
    uint64_t action_interval_us;
    int64_t actions_per_hour;
    uint64_t audit_size;
} hf_operations_settings;

typedef struct hf_log_options {
    int32_t level;
    int32_t format;
} hf_log_options;

enum { HF_ANONYMOUS_NONE = 0, HF_ANONYMOUS_READER = 1, HF_ANONYMOUS_WRITER = 2, HF_ANONYMOUS_ADMIN = 3 };

typedef struct hf_http_options {
    int32_t anonymous; /* HF_ANONYMOUS_...; see hf_settings_anonymous_given */
    uint64_t head_maximum;
    uint64_t body_memory_maximum;
    uint64_t answer_memory_maximum;
    int64_t client_share;
    int64_t connections_maximum;
    uint64_t idle_timeout_us;
    uint64_t receive_timeout_us;
    uint64_t send_timeout_us;
} hf_http_options;

enum { HF_ROLE_READER = 0, HF_ROLE_WRITER = 1, HF_ROLE_OPERATOR = 2, HF_ROLE_ADMIN = 3 };
enum { HF_TOKEN_DIGEST_SIZE = 32 }; /* SHA-256 */

typedef struct hf_token_settings {
    const char *name;
    const char *sha256;
    int32_t role;      /* HF_ROLE_... */
    hf_strings tables; /* none: all */
} hf_token_settings;

typedef struct hf_token_list {
    hf_groups tokens; /* hf_token_settings */
} hf_token_list;

/* The core's sections, for hf_config_load together with those of the plugins. */
const hf_config_section *hf_settings_sections(uint32_t *ret_count);

/* The section `plugins` alone: what has to be known before the sections of the plugins are. */
const hf_config_section *hf_settings_plugins_section(void);

const hf_node_settings *hf_settings_node(const hf_config_generation *generation);
const hf_cluster_settings *hf_settings_cluster(const hf_config_generation *generation);
const hf_plugins_settings *hf_settings_plugins(const hf_config_generation *generation);
const hf_processes_settings *hf_settings_processes(const hf_config_generation *generation);
const hf_policies_settings *hf_settings_policies(const hf_config_generation *generation);
const hf_operations_settings *hf_settings_operations(const hf_config_generation *generation);
const hf_log_options *hf_settings_log(const hf_config_generation *generation);
const hf_http_options *hf_settings_http(const hf_config_generation *generation);
const hf_groups *hf_settings_tokens(const hf_config_generation *generation);

/* Whether the document says what clients without a token may do. */
int hf_settings_anonymous_given(const hf_config_generation *generation);

/* Whether only this machine can reach the address. */
int hf_settings_loopback(const char *address);

/* Reads 64 hexadecimal digits; 1 if it was that, else 0. */
int hf_settings_digest(const char *text, uint8_t digest[HF_TOKEN_DIGEST_SIZE]);

/* The entry of `processes` called `name`, or NULL. */
const hf_process_entry *hf_settings_process(const hf_config_generation *generation, const char *name);

/* What the options' types cannot say: names that refer to each other, one owner of the peer links, digests of
 * tokens, an address that others can reach without tokens.  Adds a line per problem. */
void hf_settings_check(const hf_config_generation *generation, hf_config_problems *problems);

#endif
