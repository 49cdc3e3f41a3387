/* Commands about the gateway: what goes on, and the servers of its upstreams. */
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_SIZE = 64 };

/* A process without a gateway has no such path, like one that does not know the command. */
static int hint(int result)
{
    if (result == CLI_NOT_FOUND)
        fprintf(stderr, "holdfast: --node must name the process that runs the gateway, by its `listen`\n");
    return result;
}

/* ---- Cells ------------------------------------------------------------------------------------------------------- */

static void add_bytes(cli_table *table, double bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    char text[TEXT_SIZE];
    int unit = 0;

    for (; bytes >= 1024 && unit < 4; unit++)
        bytes /= 1024;
    snprintf(text, sizeof text, unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
    cli_table_text(table, text);
}

static void add_since(cli_table *table, const hf_value *server)
{
    char text[CLI_TIME_SIZE];

    cli_local_ms(hf_value_get_integer(server, "since_ms", 0), text);
    cli_table_text(table, text);
}

/* ---- Upstreams --------------------------------------------------------------------------------------------------- */

static void list_servers(cli_table *table, const hf_value *upstream)
{
    const hf_value *servers = hf_value_get(upstream, "servers");

    for (uint64_t i = 0; i < cli_list_count(servers); i++) {
        const hf_value *server = &servers->as.items[i];

        cli_table_value(table, hf_value_get(upstream, "name"));
        cli_table_value(table, hf_value_get(server, "name"));
        cli_table_value(table, hf_value_get(server, "address"));
        cli_table_value(table, hf_value_get(server, "state"));
        add_since(table, server);
        cli_table_value(table, hf_value_get(server, "weight"));
        cli_table_text(table, hf_value_get_boolean(server, "backup", 0) ? "backup" : "-");
        cli_table_value(table, hf_value_get(server, "in_flight"));
        cli_table_value(table, hf_value_get(server, "requests"));
        cli_table_value(table, hf_value_get(server, "failures"));
        cli_table_rate(table, hf_value_get(server, "requests_per_s"));
    }
}

static void begin_servers(cli_table *table)
{
    static const char *const titles[] = {"UPSTREAM", "SERVER",    "ADDRESS",  "STATE",    "SINCE", "WEIGHT",
                                         "KIND",     "IN FLIGHT", "REQUESTS", "FAILURES", "REQ/S"};

    cli_table_begin(table, sizeof titles / sizeof *titles, titles);
}

static void print_upstreams(const hf_value *document)
{
    const hf_value *upstreams = hf_value_get(document, "upstreams");
    cli_table table;

    begin_servers(&table);
    for (uint64_t i = 0; i < cli_list_count(upstreams); i++)
        list_servers(&table, &upstreams->as.items[i]);
    cli_table_end(&table);
}

static void print_upstream(const hf_value *document)
{
    cli_table table;

    begin_servers(&table);
    list_servers(&table, document);
    cli_table_end(&table);
}

int cli_upstream_list(cli_run *cli)
{
    cli_path path;

    if (!cli->argument_count)
        return hint(cli_show_path(cli, "GET", "/v1/gateway/upstreams", (hf_slice){NULL, 0}, print_upstreams));
    cli_path_begin(&path, "/v1/gateway/upstreams/");
    cli_path_segment(&path, hf_slice_of(cli->arguments[0]));
    return cli_show_path(cli, "GET", cli_path_end(cli, &path), (hf_slice){NULL, 0}, print_upstream);
}

/* ---- Servers ----------------------------------------------------------------------------------------------------- */

static void begin_path(cli_run *cli, cli_path *path)
{
    cli_path_begin(path, "/v1/gateway/upstreams/");
    cli_path_segment(path, hf_slice_of(cli->arguments[0]));
    cli_path_text(path, "/servers");
}

static const char *server_path(cli_run *cli, const char *action)
{
    cli_path path;

    begin_path(cli, &path);
    cli_path_text(&path, "/");
    cli_path_segment(&path, hf_slice_of(cli->arguments[1]));
    if (action) {
        cli_path_text(&path, "/");
        cli_path_text(&path, action);
    }
    return cli_path_end(cli, &path);
}

/* Numbers go on as they are; what they may be is the gateway's to say. */
static int write_number(const cli_run *cli, hf_json_writer *writer, const char *option, const char *name)
{
    uint64_t number = 0;

    if (!cli_option(cli, option))
        return CLI_OK;
    if (cli_number(cli, option, 0, INT64_MAX, &number) != CLI_OK)
        return CLI_USAGE;
    hf_json_member_unsigned(writer, name, number);
    return CLI_OK;
}

static int write_backup(const cli_run *cli, hf_json_writer *writer)
{
    const char *text = cli_option(cli, "backup");

    if (!text)
        return CLI_OK;
    if (strcmp(text, "yes") != 0 && strcmp(text, "no") != 0) {
        fprintf(stderr, "holdfast: --backup is '%s'; expected yes or no\n", text);
        return CLI_USAGE;
    }
    hf_json_member_boolean(writer, "backup", strcmp(text, "yes") == 0);
    return CLI_OK;
}

static int write_options(const cli_run *cli, hf_json_writer *writer)
{
    const char *fail_timeout = cli_option(cli, "fail-timeout");
    int result = write_number(cli, writer, "weight", "weight");

    if (result == CLI_OK)
        result = write_number(cli, writer, "max-fails", "max_fails");
    if (result == CLI_OK)
        result = write_number(cli, writer, "requests-maximum", "requests_maximum");
    if (result == CLI_OK)
        result = write_backup(cli, writer);
    if (fail_timeout) {
        hf_json_member_text(writer, "fail_timeout", fail_timeout);
    }
    return result;
}

/* Sends the change; says that it is done. */
static int change(cli_run *cli, const char *method, const char *path, const hf_buffer *body, const char *done)
{
    cli_answer answer;
    hf_slice text = body ? (hf_slice){body->data, body->size} : (hf_slice){(const uint8_t *)"", 0};
    int result = cli_request(cli, method, path, NULL, text, &answer);

    if (result == CLI_OK && cli->json)
        cli_show(cli, &answer, NULL);
    else if (result == CLI_OK)
        printf("server '%s' of '%s' %s\n", cli->arguments[1], cli->arguments[0], done);
    cli_answer_done(&answer);
    return result;
}

static int change_with_options(cli_run *cli, const char *method, const char *path, int is_new, const char *done)
{
    hf_json_writer writer;
    hf_buffer body;

    hf_buffer_init(&body, 1 << 16);
    hf_json_writer_init(&writer, &body);
    hf_json_begin_object(&writer);
    if (is_new) {
        hf_json_member_text(&writer, "name", cli->arguments[1]);
        hf_json_member_text(&writer, "address", cli->arguments[2]);
    }
    int result = write_options(cli, &writer);
    hf_json_end_object(&writer);
    if (writer.result != 0)
        return cli_out_of_memory();
    if (result == CLI_OK)
        result = change(cli, method, path, &body, done);
    hf_buffer_done(&body);
    return result;
}

int cli_upstream_add(cli_run *cli)
{
    cli_path path;

    begin_path(cli, &path);
    return change_with_options(cli, "POST", cli_path_end(cli, &path), 1, "is added");
}

int cli_upstream_set(cli_run *cli)
{
    if (!cli->option_count) {
        fprintf(stderr, "holdfast: nothing is to be set; see 'holdfast help upstream set'\n");
        return CLI_USAGE;
    }
    return change_with_options(cli, "PUT", server_path(cli, NULL), 0, "is changed");
}

/* 1: it has no request any more, or is gone. */
static int is_drained(const cli_run *cli, const hf_value *upstream)
{
    const hf_value *servers = hf_value_get(upstream, "servers");

    for (uint64_t i = 0; i < cli_list_count(servers); i++)
        if (hf_slice_is(hf_value_slice(hf_value_get(&servers->as.items[i], "name")), cli->arguments[1]))
            return hf_value_get_integer(&servers->as.items[i], "in_flight", 0) == 0;
    return 1;
}

static int wait_drained(cli_run *cli)
{
    int result = CLI_OK, drained = 0;
    cli_path path;

    cli_path_begin(&path, "/v1/gateway/upstreams/");
    cli_path_segment(&path, hf_slice_of(cli->arguments[0]));
    const char *text = cli_path_end(cli, &path);

    while (result == CLI_OK && !drained) {
        cli_answer answer;

        result = cli_request(cli, "GET", text, NULL, (hf_slice){NULL, 0}, &answer);
        drained = result == CLI_OK && is_drained(cli, &answer.document);
        cli_answer_done(&answer);
        if (result == CLI_OK && !drained)
            sleep(1); /* between two questions to the gateway */
    }
    if (result == CLI_OK && !cli->json)
        printf("server '%s' of '%s' has no requests any more\n", cli->arguments[1], cli->arguments[0]);
    return result;
}

int cli_upstream_drain(cli_run *cli)
{
    int result = change(cli, "POST", server_path(cli, "drain"), NULL, "gets no more requests");

    return result == CLI_OK && cli_option(cli, "wait") ? wait_drained(cli) : result;
}

int cli_upstream_undrain(cli_run *cli)
{
    return change(cli, "POST", server_path(cli, "undrain"), NULL, "gets requests again");
}

int cli_upstream_remove(cli_run *cli)
{
    return change(cli, "DELETE", server_path(cli, NULL), NULL, "is taken out");
}

/* ---- Status ------------------------------------------------------------------------------------------------------ */

static void print_listeners(const hf_value *document)
{
    static const char *const titles[] = {"LISTENER", "ADDRESS", "CONNECTIONS", "REFUSED",
                                         "REQUESTS", "REQ/S",   "IN/S",        "OUT/S"};
    const hf_value *listeners = hf_value_get(document, "listeners");
    cli_table table;

    cli_table_begin(&table, sizeof titles / sizeof *titles, titles);
    for (uint64_t i = 0; i < cli_list_count(listeners); i++) {
        const hf_value *listener = &listeners->as.items[i];

        cli_table_value(&table, hf_value_get(listener, "name"));
        cli_table_value(&table, hf_value_get(listener, "address"));
        cli_table_value(&table, hf_value_get(listener, "connections"));
        cli_table_value(&table, hf_value_get(listener, "connections_refused"));
        cli_table_value(&table, hf_value_get(listener, "requests"));
        cli_table_rate(&table, hf_value_get(listener, "requests_per_s"));
        add_bytes(&table, hf_value_get_float(listener, "received_per_s", 0));
        add_bytes(&table, hf_value_get_float(listener, "sent_per_s", 0));
    }
    cli_table_end(&table);
}

static void print_logs(const hf_value *document)
{
    static const char *const titles[] = {"ACCESS LOG", "FORMAT", "LINES", "DROPPED", "ERROR"};
    const hf_value *logs = hf_value_get(document, "access_logs");
    cli_table table;

    if (!cli_list_count(logs))
        return;
    putchar('\n');
    cli_table_begin(&table, sizeof titles / sizeof *titles, titles);
    for (uint64_t i = 0; i < cli_list_count(logs); i++) {
        const hf_value *log = &logs->as.items[i];

        cli_table_value(&table, hf_value_get(log, "path"));
        cli_table_value(&table, hf_value_get(log, "format"));
        cli_table_value(&table, hf_value_get(log, "lines"));
        cli_table_value(&table, hf_value_get(log, "dropped"));
        cli_table_value(&table, hf_value_get(log, "error"));
    }
    cli_table_end(&table);
}

static void print_gateway(const hf_value *document)
{
    hf_slice reason = hf_value_slice(hf_value_get(document, "reason"));

    printf("state: ");
    cli_print_clean(hf_value_slice(hf_value_get(document, "state")));
    if (reason.size)
        printf(": ");
    cli_print_clean(reason);
    printf("\nworkers: %lld, routes: %lld, upstreams: %lld\n\n",
           (long long)hf_value_get_integer(document, "workers", 0),
           (long long)hf_value_get_integer(document, "routes", 0),
           (long long)hf_value_get_integer(document, "upstreams", 0));
    print_listeners(document);
    print_logs(document);
}

int cli_gateway_status(cli_run *cli)
{
    return hint(cli_show_path(cli, "GET", "/v1/gateway", (hf_slice){NULL, 0}, print_gateway));
}
