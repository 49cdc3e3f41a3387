/* Commands about the cluster: status, nodes, tables. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

static const hf_value *list_of(const hf_value *document, const char *name, uint64_t *ret_count)
{
    const hf_value *list = hf_value_get(document, name);

    *ret_count = list && list->type == HF_VALUE_LIST ? list->count : 0;
    return *ret_count ? list->as.items : NULL;
}

static void print_text(const hf_value *document, const char *name)
{
    cli_print_clean(hf_value_get_string(document, name, hf_slice_of("-")));
}

/* ---- Status and nodes -------------------------------------------------------------------------------------------- */

static void print_nodes(const hf_value *document)
{
    static const char *const titles[] = {"NODE", "STATE", "MEMBERSHIP", "ZONE", "LEADS", "REPLICAS"};
    uint64_t count;
    const hf_value *nodes = list_of(document, "nodes", &count);
    cli_table table;

    cli_table_begin(&table, 6, titles);
    for (uint64_t i = 0; i < count; i++) {
        cli_table_value(&table, hf_value_get(&nodes[i], "name"));
        cli_table_value(&table, hf_value_get(&nodes[i], "state"));
        cli_table_value(&table, hf_value_get(&nodes[i], "membership"));
        cli_table_value(&table, hf_value_get(&nodes[i], "zone"));
        cli_table_value(&table, hf_value_get(&nodes[i], "leads"));
        cli_table_value(&table, hf_value_get(&nodes[i], "replicas"));
    }
    cli_table_end(&table);
}

static void print_status(const hf_value *document)
{
    uint64_t count;
    const hf_value *problems = list_of(document, "problems", &count);

    printf("cluster ");
    print_text(document, "cluster");
    printf(": ");
    print_text(document, "state");
    printf(", as node ");
    print_text(document, "node");
    printf(" sees it\n\n");
    print_nodes(document);
    if (!count) {
        printf("\nNothing needs attention.\n");
        return;
    }
    printf("\nNeeds attention:\n");
    for (uint64_t i = 0; i < count; i++) {
        printf("  ");
        cli_print_clean(hf_value_slice(&problems[i]));
        printf("\n");
    }
}

int cli_status(cli_run *cli)
{
    return cli_show_path(cli, "GET", "/v1/cluster", (hf_slice){NULL, 0}, print_status);
}

int cli_node_list(cli_run *cli)
{
    return cli_show_path(cli, "GET", "/v1/cluster", (hf_slice){NULL, 0}, print_nodes);
}

/* ---- Tables ------------------------------------------------------------------------------------------------------ */

static void print_tables(const hf_value *document)
{
    static const char *const titles[] = {"TABLE", "FORMAT", "REPLICAS", "HASH RANGES", "PARTITIONED BY"};
    uint64_t count;
    const hf_value *tables = list_of(document, "tables", &count);
    cli_table table;

    cli_table_begin(&table, 5, titles);
    for (uint64_t i = 0; i < count; i++) {
        cli_table_value(&table, hf_value_get(&tables[i], "name"));
        cli_table_value(&table, hf_value_get(&tables[i], "format"));
        cli_table_value(&table, hf_value_get(&tables[i], "replicas"));
        cli_table_value(&table, hf_value_get(&tables[i], "hash_ranges"));
        cli_table_value(&table, hf_value_get(&tables[i], "partition_by"));
    }
    cli_table_end(&table);
}

int cli_table_list(cli_run *cli)
{
    return cli_show_path(cli, "GET", "/v1/tables", (hf_slice){NULL, 0}, print_tables);
}

static void print_partitions(const hf_value *document)
{
    static const char *const titles[] = {"PARTITION", "VALUE", "FROM", "LEADER", "TERM", "COMMIT"};
    uint64_t count;
    const hf_value *partitions = list_of(document, "partitions", &count);
    cli_table table;

    cli_table_begin(&table, 6, titles);
    for (uint64_t i = 0; i < count; i++) {
        cli_table_value(&table, hf_value_get(&partitions[i], "id"));
        cli_table_value(&table, hf_value_get(&partitions[i], "value"));
        cli_table_value(&table, hf_value_get(&partitions[i], "hash_from"));
        cli_table_value(&table, hf_value_get(&partitions[i], "leader"));
        cli_table_value(&table, hf_value_get(&partitions[i], "term"));
        cli_table_value(&table, hf_value_get(&partitions[i], "commit"));
    }
    cli_table_end(&table);
}

int cli_table_show(cli_run *cli)
{
    cli_path path;

    cli_path_begin(&path, "/v1/tables/");
    cli_path_segment(&path, hf_slice_of(cli->arguments[0]));
    cli_path_text(&path, "/partitions");
    return cli_show_path(cli, "GET", cli_path_end(cli, &path), (hf_slice){NULL, 0}, print_partitions);
}

static void write_values(hf_json_writer *writer, const char *values)
{
    hf_json_name(writer, "partitions");
    hf_json_begin_list(writer);
    for (const char *at = values; *at;) {
        size_t size = strcspn(at, ",");
        hf_json_string(writer, (hf_slice){(const uint8_t *)at, size});
        at += size + (at[size] == ',');
    }
    hf_json_end_list(writer);
}

/* The server knows the limits. */
static int write_number(const cli_run *cli, hf_json_writer *writer, const char *option, const char *name)
{
    uint64_t number = 0;
    int result = cli_number(cli, option, 0, INT64_MAX, &number);

    if (result == CLI_OK && cli_option(cli, option)) {
        hf_json_member_unsigned(writer, name, number);
    }
    return result;
}

/* The declaration that the options make. */
static int write_table(cli_run *cli, hf_json_writer *writer)
{
    static const char *const numbers[][2] = {{"hash-ranges", "hash_ranges"},
                                             {"replicas", "replicas"},
                                             {"value-maximum", "value_maximum"},
                                             {"keep-changes", "keep_changes"},
                                             {"keep-idempotency-keys", "keep_idempotency_keys"},
                                             {"expire-after", "expire_after"}};
    const char *by = cli_option(cli, "partition-by"), *values = cli_option(cli, "values"),
               *format = cli_option(cli, "format");
    int result = CLI_OK;

    hf_json_begin_object(writer);
    if (by) {
        hf_json_member_text(writer, "partition_by", by);
    }
    if (values)
        write_values(writer, values);
    if (format) {
        hf_json_member_text(writer, "format", format);
    }
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0] && result == CLI_OK; i++)
        result = write_number(cli, writer, numbers[i][0], numbers[i][1]);
    if (result == CLI_OK)
        result = cli_write_fields(cli, writer);
    hf_json_end_object(writer);
    if (result == CLI_OK && writer->result)
        cli_out_of_memory();
    return result;
}

int cli_table_create(cli_run *cli)
{
    hf_json_writer writer;
    hf_buffer body;
    cli_path path;
    cli_answer answer;
    int result;

    hf_buffer_init(&body, 1 << 20);
    hf_json_writer_init(&writer, &body);
    result = write_table(cli, &writer);
    if (result == CLI_OK) {
        cli_path_begin(&path, "/v1/tables/");
        cli_path_segment(&path, hf_slice_of(cli->arguments[0]));
        result = cli_request(cli, "PUT", cli_path_end(cli, &path), NULL, (hf_slice){body.data, body.size}, &answer);
        if (result == CLI_OK && !cli->json)
            printf("made the table '%s'\n", cli->arguments[0]);
        else if (result == CLI_OK)
            cli_show(cli, &answer, NULL);
        cli_answer_done(&answer);
    }
    hf_buffer_done(&body);
    return result;
}
