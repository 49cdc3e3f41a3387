/* Commands about what a node sees and does: signals, actions, the audit log. */
#include "cli/cli.h"

#include <stdio.h>

static int get_limited(cli_run *cli, const char *text, void (*print)(const hf_value *document))
{
    uint64_t limit = 0;
    cli_path path;

    if (cli_number(cli, "limit", 1, UINT32_MAX, &limit) != CLI_OK)
        return CLI_USAGE;
    cli_path_begin(&path, text);
    cli_path_query(&path, "limit", cli_option(cli, "limit"));
    return cli_show_path(cli, "GET", cli_path_end(cli, &path), (hf_slice){NULL, 0}, print);
}

static void add_ms(cli_table *table, const hf_value *ms)
{
    char text[CLI_TIME_SIZE];

    if (!ms || ms->type != HF_VALUE_INTEGER) {
        cli_table_value(table, ms);
        return;
    }
    cli_local_ms(ms->as.integer, text);
    cli_table_text(table, text);
}

static void print_signals(const hf_value *document)
{
    static const char *const titles[] = {"SIGNAL", "SEVERITY", "SUBJECT", "SINCE", "LAST", "COUNT", "DETAIL"};
    const hf_value *signals = hf_value_get(document, "signals");
    cli_table table;

    if (cli_list_count(signals) == 0) {
        printf("no signals\n");
        return;
    }
    cli_table_begin(&table, 7, titles);
    for (uint64_t i = 0; i < signals->count; i++) {
        const hf_value *signal = &signals->as.items[i];
        cli_table_value(&table, hf_value_get(signal, "name"));
        cli_table_value(&table, hf_value_get(signal, "severity"));
        cli_table_value(&table, hf_value_get(signal, "subject"));
        add_ms(&table, hf_value_get(signal, "first_ms"));
        add_ms(&table, hf_value_get(signal, "last_ms"));
        cli_table_value(&table, hf_value_get(signal, "count"));
        cli_table_value(&table, hf_value_get(signal, "detail"));
    }
    cli_table_end(&table);
}

int cli_signals(cli_run *cli)
{
    return get_limited(cli, "/v1/admin/signals", print_signals);
}

static void print_entries(const hf_value *document)
{
    static const char *const titles[] = {"NUMBER", "TIME", "WHO", "WHAT", "DETAIL"};
    const hf_value *entries = hf_value_get(document, "entries");
    cli_table table;

    cli_table_begin(&table, 5, titles);
    for (uint64_t i = 0; i < cli_list_count(entries); i++) {
        const hf_value *entry = &entries->as.items[i];
        char time[CLI_TIME_SIZE];
        cli_local_time(hf_value_get_string(entry, "time", hf_slice_of("-")), time);
        cli_table_value(&table, hf_value_get(entry, "sequence"));
        cli_table_text(&table, time);
        cli_table_value(&table, hf_value_get(entry, "actor"));
        cli_table_value(&table, hf_value_get(entry, "kind"));
        cli_table_value(&table, hf_value_get(entry, "detail"));
    }
    cli_table_end(&table);
}

int cli_audit(cli_run *cli)
{
    return get_limited(cli, "/v1/admin/audit", print_entries);
}

/* ---- Actions --------------------------------------------------------------------------------------------------- */

static void print_actions(const hf_value *document)
{
    static const char *const titles[] = {"ACTION", "ARGUMENTS", "WHAT"};
    const hf_value *actions = hf_value_get(document, "actions");
    cli_table table;

    cli_table_begin(&table, 3, titles);
    for (uint64_t i = 0; i < cli_list_count(actions); i++) {
        const hf_value *action = &actions->as.items[i], *arguments = hf_value_get(action, "arguments");
        hf_buffer names;
        hf_buffer_init(&names, 1 << 16);
        for (uint64_t j = 0; arguments && arguments->type == HF_VALUE_MAP && j < arguments->count; j++) {
            hf_slice name = arguments->as.members[j].name;
            if ((j && hf_buffer_append(&names, " ", 1) != 0) || hf_buffer_append(&names, name.data, name.size) != 0)
                cli_out_of_memory();
        }
        hf_value list = hf_value_string((hf_slice){names.data, names.size});
        cli_table_value(&table, hf_value_get(action, "name"));
        cli_table_value(&table, &list);
        cli_table_value(&table, hf_value_get(action, "doc"));
        hf_buffer_done(&names);
    }
    cli_table_end(&table);
}

int cli_action_list(cli_run *cli)
{
    return cli_show_path(cli, "GET", "/v1/admin/actions", (hf_slice){NULL, 0}, print_actions);
}

int cli_action_run(cli_run *cli)
{
    cli_path path;
    hf_slice arguments = hf_slice_of(cli->argument_count > 1 ? cli->arguments[1] : "{}");
    hf_error error = {0};

    if (hf_json_check(arguments, &error) != 0) {
        fprintf(stderr, "holdfast: the arguments are not JSON: %s\n", error.message);
        return CLI_USAGE;
    }
    cli_path_begin(&path, "/v1/admin/actions/");
    cli_path_segment(&path, hf_slice_of(cli->arguments[0]));
    return cli_show_path(cli, "POST", cli_path_end(cli, &path), arguments, NULL);
}
