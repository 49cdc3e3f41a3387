/* The core's own options; see settings.h. */
#include "daemon/settings.h"

#include <string.h>

static const hf_option node_options[] = {
    HF_CONFIG_STRING("name", hf_node_settings, name, .flags = HF_OPTION_REQUIRED,
                     .doc = "This node's name, unique in the cluster; its certificate carries it."),
    HF_CONFIG_PATH("state_directory", hf_node_settings, state_directory, .default_text = "/var/lib/holdfast",
                   .doc = "Where this node keeps its data. It belongs to one node only."),
};
static const hf_option_table node_table = HF_TABLE(node_options);

static const hf_option member_options[] = {
    HF_CONFIG_ADDRESS("address", hf_member_settings, address, .flags = HF_OPTION_REQUIRED,
                      .doc = "Where the node takes peer links, host:port."),
    HF_CONFIG_STRING("zone", hf_member_settings, zone, .default_text = "",
                     .doc = "What fails together, such as a rack or a data centre: copies go to different zones."),
};
static const hf_option_table member_table = HF_TABLE(member_options);

static const hf_option cluster_options[] = {
    HF_CONFIG_STRING("name", hf_cluster_settings, name, .default_text = "holdfast",
                     .doc = "The cluster's name; its authority's certificate carries it."),
    HF_CONFIG_PATH("certificates", hf_cluster_settings, certificates, .default_text = "/etc/holdfast/certificates",
                   .doc =
                       "Folder with ca.crt, NODE.crt and NODE.key ('holdfast ca'). Needed with two members or more."),
    HF_CONFIG_SIZE("queue_limit", hf_cluster_settings, queue_limit, .default_text = "64MiB", .minimum = 1 << 20,
                   .maximum = INT64_C(1) << 34,
                   .doc = "Bytes that may wait for one link; beyond it senders are refused."),
    HF_CONFIG_GROUPS("members", hf_cluster_settings, members, hf_member_settings, .members = &member_table,
                     .doc = "The cluster's nodes, in the same order on every node. None: this node is alone."),
};
static const hf_option_table cluster_table = HF_TABLE(cluster_options);

static const hf_option plugins_options[] = {
    HF_CONFIG_PATH("directory", hf_plugins_settings, directory, .default_text = "/usr/lib/holdfast/plugins-1",
                   .doc = "Folder of the plugins' shared objects, holdfast-KIND-NAME.so."),
    HF_CONFIG_STRINGS("enabled", hf_plugins_settings, enabled,
                      .doc = "Plugins to load, as \"KIND/NAME\", or as the path of a shared object."),
};
static const hf_option_table plugins_table = HF_TABLE(plugins_options);

static const hf_option process_options[] = {
    HF_CONFIG_STRINGS("services", hf_process_entry, services,
                      .doc = "Services that run in this process, such as \"store\"."),
    HF_CONFIG_ADDRESS("listen", hf_process_entry, listen, .default_text = "127.0.0.1:7400",
                      .doc = "Where the process serves HTTP: its services, /metrics, and the admin interface."),
    HF_CONFIG_BOOLEAN("peers", hf_process_entry, peers, .default_text = "false",
                      .doc = "Whether this process holds the links to the other nodes; exactly one does."),
    HF_CONFIG_INTEGER("worker_threads", hf_process_entry, worker_threads, .default_text = "2", .minimum = 1,
                      .maximum = 255,
                      .doc = "Loops for traffic and partitions; the processor's cores are a good number."),
    HF_CONFIG_INTEGER("pool_threads", hf_process_entry, pool_threads, .default_text = "4", .minimum = 1, .maximum = 256,
                      .doc = "Background threads for disk and other work that blocks; as many again for bulk work."),
    HF_CONFIG_INTEGER("pool_queue", hf_process_entry, pool_queue, .default_text = "65536", .minimum = 64,
                      .maximum = 1 << 24, .doc = "Jobs that may wait for the background threads."),
};
static const hf_option_table process_table = HF_TABLE(process_options);

static const hf_option processes_options[] = {
    HF_CONFIG_GROUPS("run", hf_processes_settings, entries, hf_process_entry, .members = &process_table,
                     .doc = "One child process per entry."),
    HF_CONFIG_DURATION("restart_least", hf_processes_settings, restart_least_us, .default_text = "100ms",
                       .minimum = 1000, .maximum = INT64_C(3600) * 1000000,
                       .doc = "Wait before a process that died early is started again."),
    HF_CONFIG_DURATION("restart_most", hf_processes_settings, restart_most_us, .default_text = "30s", .minimum = 1000,
                       .maximum = INT64_C(3600) * 1000000,
                       .doc = "The wait doubles with each early death, up to this."),
    HF_CONFIG_DURATION("stop_grace", hf_processes_settings, stop_grace_us, .default_text = "20s", .minimum = 1000,
                       .maximum = INT64_C(3600) * 1000000, .doc = "Time to finish after SIGTERM, before SIGKILL."),
};
static const hf_option_table processes_table = HF_TABLE(processes_options);

static const hf_option policies_options[] = {
    HF_CONFIG_PATH("directory", hf_policies_settings, directory,
                   .doc =
                       "Folder whose *.lua files are policies, one per decision point. None: the defaults are taken."),
};
static const hf_option_table policies_table = HF_TABLE(policies_options);

static const hf_option operations_options[] = {
    HF_CONFIG_BOOLEAN("dry_run", hf_operations_settings, dry_run, .default_text = "false",
                      .doc = "Whether what policies wish is only written to the audit log, and not run."),
    HF_CONFIG_DURATION("action_interval", hf_operations_settings, action_interval_us, .default_text = "10s",
                       .maximum = INT64_C(86400) * 1000000, .doc = "Least time between two runs of an action."),
    HF_CONFIG_INTEGER("actions_per_hour", hf_operations_settings, actions_per_hour, .default_text = "20", .minimum = 0,
                      .maximum = 100000, .doc = "How often each action may run for a policy in an hour."),
    HF_CONFIG_SIZE("audit_size", hf_operations_settings, audit_size, .default_text = "64MiB", .minimum = 1 << 16,
                   .maximum = 1 << 29, .doc = "Bytes of the audit log after which a new file is begun."),
};
static const hf_option_table operations_table = HF_TABLE(operations_options);

static const char *const log_levels[] = {"debug", "info", "warning", "error", NULL};
static const char *const log_formats[] = {"text", "json", NULL};

static const hf_option log_options[] = {
    HF_CONFIG_CHOICE("level", hf_log_options, level, .choices = log_levels, .default_text = "info",
                     .flags = HF_OPTION_RELOADABLE, .doc = "The least level that is written."),
    HF_CONFIG_CHOICE("format", hf_log_options, format, .choices = log_formats, .default_text = "text",
                     .doc = "Lines for people, or JSON for machines. They go to standard error."),
};
static const hf_option_table log_table = HF_TABLE(log_options);

static const char *const anonymous_rights[] = {"none", "reader", "writer", "admin", NULL};
static const char *const roles[] = {"reader", "writer", "operator", "admin", NULL};

static const hf_option token_options[] = {
    HF_CONFIG_STRING("sha256", hf_token_settings, sha256,
                     .flags = HF_OPTION_REQUIRED | HF_OPTION_RELOADABLE | HF_OPTION_SECRET,
                     .doc = "The token's SHA-256, 64 hexadecimal digits; 'holdfast token create' prints it."),
    HF_CONFIG_CHOICE("role", hf_token_settings, role, .choices = roles,
                     .flags = HF_OPTION_REQUIRED | HF_OPTION_RELOADABLE, .doc = "What its bearer may do."),
    HF_CONFIG_STRINGS("tables", hf_token_settings, tables, .flags = HF_OPTION_RELOADABLE,
                      .doc = "Tables that a reader or writer is confined to; none: all of them."),
};
static const hf_option_table token_table = HF_TABLE(token_options);

static const hf_option tokens_options[] = {
    HF_CONFIG_GROUPS("tokens", hf_token_list, tokens, hf_token_settings, .members = &token_table,
                     .flags = HF_OPTION_RELOADABLE, .doc = "Who may use the HTTP interfaces."),
};
static const hf_option_table tokens_table = HF_TABLE(tokens_options);

static const hf_option http_options[] = {
    HF_CONFIG_CHOICE("anonymous", hf_http_options, anonymous, .choices = anonymous_rights, .default_text = "none",
                     .flags = HF_OPTION_RELOADABLE,
                     .doc = "What clients without a token may do. When this is not given and there are no tokens, "
                            "everybody who reaches a loopback address may do everything."),
    HF_CONFIG_SIZE("head_maximum", hf_http_options, head_maximum, .default_text = "16KiB", .minimum = 1024,
                   .maximum = 1 << 20, .doc = "Bytes of a request's head."),
    HF_CONFIG_SIZE("body_memory_maximum", hf_http_options, body_memory_maximum, .default_text = "256MiB",
                   .minimum = 1 << 20, .maximum = INT64_C(1) << 38,
                   .doc = "Memory for the bodies of all requests under way; beyond it they are answered 503."),
    HF_CONFIG_SIZE("answer_memory_maximum", hf_http_options, answer_memory_maximum, .default_text = "256MiB",
                   .minimum = 64 << 20, .maximum = INT64_C(1) << 38,
                   .doc = "Memory for answers over 64 KiB that clients have not taken yet; beyond it requests are "
                          "answered 503, and who takes nothing for 2 s is disconnected."),
    HF_CONFIG_INTEGER("client_share", hf_http_options, client_share, .default_text = "50", .minimum = 1, .maximum = 100,
                      .doc = "Percent of these, and of the connections, that one client (the same token, or the same "
                             "address) may have of what others leave. 100: one may take everything."),
    HF_CONFIG_INTEGER("connections_maximum", hf_http_options, connections_maximum, .default_text = "10000",
                      .minimum = 1, .maximum = 1000000,
                      .doc = "Connections at the same time; further ones are closed at once."),
    HF_CONFIG_DURATION("idle_timeout", hf_http_options, idle_timeout_us, .default_text = "75s", .minimum = 100000,
                       .maximum = INT64_C(86400) * 1000000, .doc = "How long a connection may wait between requests."),
    HF_CONFIG_DURATION("receive_timeout", hf_http_options, receive_timeout_us, .default_text = "20s", .minimum = 100000,
                       .maximum = INT64_C(86400) * 1000000,
                       .doc = "For a request's head to be complete, and for each next piece of its body."),
    HF_CONFIG_DURATION("send_timeout", hf_http_options, send_timeout_us, .default_text = "20s", .minimum = 100000,
                       .maximum = INT64_C(86400) * 1000000, .doc = "For a client to take some of the answer."),
};
static const hf_option_table http_table = HF_TABLE(http_options);

static const hf_config_section sections[] = {
    {"node", &node_table, sizeof(hf_node_settings), HF_CONFIG_SECTION_REQUIRED, "This node."},
    {"cluster", &cluster_table, sizeof(hf_cluster_settings), 0, "The nodes that work together."},
    {"plugins", &plugins_table, sizeof(hf_plugins_settings), 0, "What is loaded."},
    {"processes", &processes_table, sizeof(hf_processes_settings), 0, "What runs, and in how many processes."},
    {"policies", &policies_table, sizeof(hf_policies_settings), 0, "What a site decides in Lua."},
    {"operations", &operations_table, sizeof(hf_operations_settings), 0, "Signals, actions, and their brakes."},
    {"log", &log_table, sizeof(hf_log_options), 0, "The structured log."},
    {"http", &http_table, sizeof(hf_http_options), 0, "Limits of the HTTP interfaces, and who may use them."},
    {"tokens", &tokens_table, sizeof(hf_token_list), HF_CONFIG_SECTION_NAMED,
     "Access to the HTTP interfaces, one group per bearer."},
};

const hf_config_section *hf_settings_sections(uint32_t *ret_count)
{
    *ret_count = sizeof sections / sizeof sections[0];
    return sections;
}

const hf_config_section *hf_settings_plugins_section(void)
{
    const hf_config_section *section = sections;

    while (strcmp(section->path, "plugins") != 0)
        section++;
    return section;
}

const hf_node_settings *hf_settings_node(const hf_config_generation *generation)
{
    return hf_config_generation_get(generation, "node", NULL);
}

const hf_cluster_settings *hf_settings_cluster(const hf_config_generation *generation)
{
    return hf_config_generation_get(generation, "cluster", NULL);
}

const hf_plugins_settings *hf_settings_plugins(const hf_config_generation *generation)
{
    return hf_config_generation_get(generation, "plugins", NULL);
}

const hf_processes_settings *hf_settings_processes(const hf_config_generation *generation)
{
    return hf_config_generation_get(generation, "processes", NULL);
}

const hf_policies_settings *hf_settings_policies(const hf_config_generation *generation)
{
    return hf_config_generation_get(generation, "policies", NULL);
}

const hf_operations_settings *hf_settings_operations(const hf_config_generation *generation)
{
    return hf_config_generation_get(generation, "operations", NULL);
}

const hf_log_options *hf_settings_log(const hf_config_generation *generation)
{
    return hf_config_generation_get(generation, "log", NULL);
}

const hf_http_options *hf_settings_http(const hf_config_generation *generation)
{
    return hf_config_generation_get(generation, "http", NULL);
}

const hf_groups *hf_settings_tokens(const hf_config_generation *generation)
{
    const hf_token_list *list = hf_config_generation_get(generation, "tokens", NULL);

    return &list->tokens;
}

int hf_settings_anonymous_given(const hf_config_generation *generation)
{
    return hf_config_tree_find(hf_config_generation_tree(generation), "http.anonymous") != NULL;
}

const hf_process_entry *hf_settings_process(const hf_config_generation *generation, const char *name)
{
    const hf_groups *entries = &hf_settings_processes(generation)->entries;
    const hf_process_entry *items = entries->items;

    for (uint64_t i = 0; i < entries->count; i++)
        if (strcmp(items[i].name, name) == 0)
            return &items[i];
    return NULL;
}
