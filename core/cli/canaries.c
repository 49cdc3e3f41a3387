/* Commands about releases at the gateway. */
#include "cli/cli.h"

#include "config/units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Starting ---------------------------------------------------------------------------------------------------- */

static int refuse(const char *option, const char *text, const char *expected)
{
    fprintf(stderr, "holdfast: --%s is '%s'; expected %s\n", option, text, expected);
    return CLI_USAGE;
}

static int write_number(const cli_run *cli, hf_json_writer *writer, const char *option, const char *name)
{
    const char *text = cli_option(cli, option);
    char *end = NULL;

    if (!text)
        return CLI_OK;
    double number = strtod(text, &end);
    if (!(*text >= '0' && *text <= '9') || *end)
        return refuse(option, text, "a number such as 0.5");
    hf_json_member_float(writer, name, number);
    return CLI_OK;
}

static int write_duration(const cli_run *cli, hf_json_writer *writer, const char *option, const char *name)
{
    const char *text = cli_option(cli, option);
    uint64_t us = 0;

    if (!text)
        return CLI_OK;
    if (!hf_config_duration_parse(text, &us))
        return refuse(option, text, "a duration such as 500ms or 10m");
    hf_json_member_unsigned(writer, name, us / 1000);
    return CLI_OK;
}

static int write_steps(const cli_run *cli, hf_json_writer *writer)
{
    const char *text = cli_option(cli, "steps");

    if (!text)
        return CLI_OK;
    hf_json_name(writer, "steps");
    hf_json_begin_list(writer);
    for (const char *at = text;; at++) {
        char *end = NULL;
        double share = strtod(at, &end);

        if (!(*at >= '0' && *at <= '9') || (*end && *end != ','))
            return refuse("steps", text, "shares in per cent, such as 1,5,25");
        hf_json_float(writer, share);
        at = end;
        if (!*at)
            break;
    }
    hf_json_end_list(writer);
    return CLI_OK;
}

static int write_wish(cli_run *cli, hf_json_writer *writer)
{
    uint64_t requests = 0;
    int result = write_steps(cli, writer);

    if (result == CLI_OK)
        result = cli_number(cli, "min-requests", 1, 1000000000, &requests);
    if (result == CLI_OK && requests) {
        hf_json_member_unsigned(writer, "requests_minimum", requests);
    }
    if (result == CLI_OK)
        result = write_duration(cli, writer, "step-time", "step_time_ms");
    if (result == CLI_OK)
        result = write_duration(cli, writer, "slow", "slow_ms");
    if (result == CLI_OK)
        result = write_number(cli, writer, "margin-failed", "margin_failed");
    if (result == CLI_OK)
        result = write_number(cli, writer, "margin-slow", "margin_slow");
    return result == CLI_OK ? write_number(cli, writer, "error", "error") : result;
}

static void print_started(const hf_value *document);

static const char *path_of(cli_run *cli, const char *upstream)
{
    cli_path path;

    cli_path_begin(&path, "/v1/gateway/canaries/");
    cli_path_segment(&path, hf_slice_of(upstream));
    return cli_path_end(cli, &path);
}

int cli_canary_start(cli_run *cli)
{
    const char *canary = cli_option(cli, "canary"), *key = cli_option(cli, "key");
    hf_json_writer writer;
    hf_buffer body;

    if (!canary) {
        fprintf(stderr, "holdfast: --canary is missing; expected the upstream with the new version\n");
        return CLI_USAGE;
    }
    hf_buffer_init(&body, 1 << 16);
    hf_json_writer_init(&writer, &body);
    hf_json_begin_object(&writer);
    hf_json_member_text(&writer, "canary", canary);
    if (key) {
        hf_json_member_text(&writer, "key", key);
    }
    int result = write_wish(cli, &writer);
    hf_json_end_object(&writer);
    if (result == CLI_OK && writer.result != 0)
        cli_out_of_memory();
    if (result == CLI_OK)
        result = cli_show_path(cli, "POST", path_of(cli, cli->arguments[0]), (hf_slice){body.data, body.size},
                               print_started);
    hf_buffer_done(&body);
    return result;
}

int cli_canary_abort(cli_run *cli)
{
    return cli_show_path(cli, "DELETE", path_of(cli, cli->arguments[0]), (hf_slice){NULL, 0}, print_started);
}

/* ---- Showing ----------------------------------------------------------------------------------------------------- */

static void add_share(cli_table *table, const hf_value *canary)
{
    char text[32];

    snprintf(text, sizeof text, "%g %%", hf_value_get_float(canary, "share", 0));
    cli_table_text(table, text);
}

static void add_step(cli_table *table, const hf_value *canary)
{
    char text[64];

    snprintf(text, sizeof text, "%lld of %llu", (long long)hf_value_get_integer(canary, "step", 0),
             (unsigned long long)cli_list_count(hf_value_get(canary, "steps")));
    cli_table_text(table, text);
}

/* "20123 (0.1 % failed)" of what was counted in the step. */
static void add_version(cli_table *table, const hf_value *canary, const char *version)
{
    const hf_value *counts = hf_value_get(hf_value_get(canary, "in_step"), version);
    int64_t requests = hf_value_get_integer(counts, "requests", 0);
    int64_t failed = hf_value_get_integer(counts, "failed", 0), slow = hf_value_get_integer(counts, "slow", 0);
    char text[128];

    snprintf(text, sizeof text, "%lld (%.2f %% failed, %.2f %% slow)", (long long)requests,
             requests ? 100.0 * (double)failed / (double)requests : 0,
             requests ? 100.0 * (double)slow / (double)requests : 0);
    cli_table_text(table, text);
}

static void add_row(cli_table *table, const hf_value *canary)
{
    cli_table_value(table, hf_value_get(canary, "upstream"));
    cli_table_value(table, hf_value_get(canary, "canary"));
    cli_table_value(table, hf_value_get(canary, "state"));
    add_share(table, canary);
    add_step(table, canary);
    add_version(table, canary, "stable");
    add_version(table, canary, "canary");
    cli_table_value(table, hf_value_get(canary, "reason"));
}

static const char *const titles[] = {"UPSTREAM", "CANARY",         "STATE",          "SHARE",
                                     "STEP",     "STABLE IN STEP", "CANARY IN STEP", "WHY"};
enum { COLUMNS = sizeof titles / sizeof *titles };

static void print_started(const hf_value *document)
{
    cli_table table;

    cli_table_begin(&table, COLUMNS, titles);
    add_row(&table, document);
    cli_table_end(&table);
}

static void print_canaries(const hf_value *document)
{
    const hf_value *canaries = hf_value_get(document, "canaries");
    cli_table table;

    if (cli_list_count(canaries) == 0) {
        printf("no releases\n");
        return;
    }
    cli_table_begin(&table, COLUMNS, titles);
    for (uint64_t i = 0; i < canaries->count; i++)
        add_row(&table, &canaries->as.items[i]);
    cli_table_end(&table);
}

/* The one of that upstream, as a document of its own. */
static int show_one(cli_run *cli, const char *upstream)
{
    cli_answer answer;
    int result = cli_request(cli, "GET", "/v1/gateway/canaries", NULL, (hf_slice){NULL, 0}, &answer);
    const hf_value *list = result == CLI_OK ? hf_value_get(&answer.document, "canaries") : NULL;
    const hf_value *found = NULL;

    for (uint64_t i = 0; !found && i < cli_list_count(list); i++)
        if (hf_slice_is(hf_value_get_string(&list->as.items[i], "upstream", (hf_slice){NULL, 0}), upstream))
            found = &list->as.items[i];
    if (result == CLI_OK && !found) {
        fprintf(stderr, "holdfast: there is no release of '%s'\n", upstream);
        result = CLI_NOT_FOUND;
    } else if (result == CLI_OK && cli->json) {
        hf_buffer text;

        hf_buffer_init(&text, 1 << 20);
        if (hf_json_append(&text, found) != 0)
            cli_out_of_memory();
        printf("%.*s\n", (int)text.size, (const char *)text.data);
        hf_buffer_done(&text);
    } else if (result == CLI_OK) {
        print_started(found);
    }
    cli_answer_done(&answer);
    return result;
}

int cli_canary_status(cli_run *cli)
{
    if (cli->argument_count)
        return show_one(cli, cli->arguments[0]);
    return cli_show_path(cli, "GET", "/v1/gateway/canaries", (hf_slice){NULL, 0}, print_canaries);
}
