/* The table of commands; help, completion and the manual page come from it. */
#include "cli/cli.h"

static const cli_command commands[] = {
    {"status", "", "", 0, 0, "Shows in one screen what is healthy, what is not, and what to do about it.",
     "holdfast status", cli_status},
    {"get", "TABLE KEY [--partition VALUE] [--stale]", "partition: stale", 2, 2, "Reads a record.",
     "holdfast get conversations zh-11290/000000", cli_get},
    {"put",
     "TABLE KEY [VALUE|-] [--partition VALUE] [--if-version N] [--if-absent] [--idempotency-key KEY] "
     "[--expire-after SECONDS]",
     "partition: if-version: if-absent idempotency-key: expire-after:", 2, 3,
     "Writes a record; the value comes from standard input with '-' or without it.",
     "holdfast put accounts u1 '{\"region\":\"eu\",\"name\":\"Ada\"}'", cli_put},
    {"delete", "TABLE KEY [--partition VALUE] [--if-version N] [--idempotency-key KEY]",
     "partition: if-version: idempotency-key:", 2, 2, "Removes a record.", "holdfast delete accounts u1", cli_delete},
    {"scan", "TABLE [--prefix P] [--start KEY] [--limit N] [--partition VALUE] [--stale]",
     "prefix: start: limit: partition: stale", 1, 1, "Lists records in the order of their keys.",
     "holdfast scan conversations --prefix zh-11290/", cli_scan},
    {"load",
     "TABLE FILE [--key FIELD[,FIELD...]] [--key-line PREFIX] [--partition VALUE] [--parallel N] [--retry-for SECONDS]",
     "key: key-line: partition: parallel: retry-for:", 2, 2,
     "Writes every line of a JSON Lines file (.gz too) as a record; a repeated load changes nothing twice.",
     "holdfast load tickets tickets.jsonl.gz --key ticket", cli_load},
    {"changes", "TABLE [--from PARTITION:INDEX,...] [--partition VALUE] [--follow]", "from: partition: follow", 1, 1,
     "Prints the change feed, one JSON line each.", "holdfast changes tickets --follow", cli_changes},
    {"table list", "", "", 0, 0, "Lists the tables.", "holdfast table list", cli_table_list},
    {"table show", "TABLE", "", 1, 1, "Shows a table and its partitions.", "holdfast table show tickets",
     cli_table_show},
    {"table create",
     "TABLE [--partition-by FIELD --values A,B,...] [--hash-ranges N] [--replicas N] [--format json|bytes] "
     "[--value-maximum BYTES] [--keep-changes SECONDS] [--keep-idempotency-keys SECONDS] [--expire-after SECONDS] "
     "[--field NAME:TYPE[,required][,min=N][,max=N][,min_length=N][,max_length=N][,one_of=A|B|...]]... "
     "[--no-other-fields]",
     "partition-by: values: hash-ranges: replicas: format: value-maximum: keep-changes: keep-idempotency-keys: "
     "expire-after: field: no-other-fields",
     1, 1, "Makes a table.", "holdfast table create orders --partition-by region --values eu,us", cli_table_create},
    {"node list", "", "", 0, 0, "Lists the nodes.", "holdfast node list", cli_node_list},
    {"plugin list", "[DIRECTORY]", "", 0, 1, "Lists the plugins of a node, or those in a folder.",
     "holdfast plugin list /usr/lib/holdfast/plugins-1", cli_plugin_list},
    {"plugin show", "FILE|KIND/NAME", "", 1, 1, "Shows a plugin's manifest without running it.",
     "holdfast plugin show engine/rocksdb", cli_plugin_show},
    {"policy list", "", "", 0, 0, "Lists the decision points and their policies.", "holdfast policy list",
     cli_policy_list},
    {"policy reload", "", "", 0, 0, "Runs the policies' tests and puts the new ones into force.",
     "holdfast policy reload", cli_policy_reload},
    {"policy test", "FILE", "", 1, 1, "Runs a policy's own tests here, with the decision points that the node knows.",
     "holdfast policy test remediation.lua", cli_policy_test},
    {"config check", "FILE", "", 1, 1, "Checks a configuration; prints every mistake.",
     "holdfast config check /etc/holdfast/holdfast.cfg", cli_config_check},
    {"config show", "", "", 0, 0, "Shows the configuration in force, without secrets.", "holdfast config show",
     cli_config_show},
    {"config reload", "", "", 0, 0, "Checks the files and puts them into force.", "holdfast config reload",
     cli_config_reload},
    {"config diff", "FILE", "", 1, 1, "Compares a file with the configuration in force.",
     "holdfast config diff new.cfg", cli_config_diff},
    {"ca init", "DIRECTORY --cluster NAME [--days N]", "cluster: days:", 1, 1, "Makes the cluster's own authority.",
     "holdfast ca init /etc/holdfast/certificates --cluster demo", cli_ca_init},
    {"ca issue", "DIRECTORY NODE [--name HOST]... [--days N] [--replace]", "name: days: replace", 2, 2,
     "Issues a node's certificate.", "holdfast ca issue /etc/holdfast/certificates n1 --name 10.0.0.1", cli_ca_issue},
    {"token create", "NAME --role reader|writer|operator|admin [--tables A,B,...]", "role: tables:", 1, 1,
     "Makes a token, and prints it once with the lines for the configuration.",
     "holdfast token create app --role writer --tables conversations", cli_token_create},
    {"action list", "", "", 0, 0, "Lists what can be done.", "holdfast action list", cli_action_list},
    {"action run", "NAME [JSON]", "", 1, 2, "Runs an action.", "holdfast action run disk.trim_reports '{\"keep\":5}'",
     cli_action_run},
    {"signals", "[--limit N]", "limit:", 0, 0, "Shows what the detectors have seen.", "holdfast signals", cli_signals},
    {"audit", "[--limit N]", "limit:", 0, 0, "Shows who did what.", "holdfast audit --limit 20", cli_audit},
    {"completion", "bash|zsh|fish", "", 1, 1, "Prints the shell's completion script.",
     "source <(holdfast completion bash)", cli_completion},
    {"manual", "", "", 0, 0, "Prints the manual page.", "holdfast manual | man -l -", cli_manual},
};

const cli_command *cli_commands(uint32_t *ret_count)
{
    *ret_count = sizeof commands / sizeof commands[0];
    return commands;
}
