/* Commands about who takes part, and where partitions are. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- The plan ---------------------------------------------------------------------------------------------------- */

static void print_plan(const hf_value *document)
{
    static const char *const titles[] = {"TABLE", "PARTITION", "FROM", "TO", "REASON"};
    const hf_value *moves = hf_value_get(document, "moves"), *moving = hf_value_get(document, "moving");
    cli_table table;

    if (cli_list_count(moving))
        printf("%llu replicas are on their way.\n", (unsigned long long)cli_list_count(moving));
    if (!cli_list_count(moves)) {
        printf("Nothing would move.\n");
        return;
    }
    cli_table_begin(&table, 5, titles);
    for (uint64_t i = 0; i < cli_list_count(moves); i++) {
        cli_table_value(&table, hf_value_get(&moves->as.items[i], "table"));
        cli_table_value(&table, hf_value_get(&moves->as.items[i], "partition"));
        cli_table_value(&table, hf_value_get(&moves->as.items[i], "from"));
        cli_table_value(&table, hf_value_get(&moves->as.items[i], "to"));
        cli_table_value(&table, hf_value_get(&moves->as.items[i], "reason"));
    }
    cli_table_end(&table);
}

static int show_plan(cli_run *cli, const char *table, const char *supposed, const char *node)
{
    cli_path path;

    cli_path_begin(&path, "/v1/plan");
    cli_path_query(&path, "table", table);
    if (supposed)
        cli_path_query(&path, supposed, node);
    return cli_show_path(cli, "GET", cli_path_end(cli, &path), (hf_slice){NULL, 0}, print_plan);
}

/* Prints how much is left whenever that changes.  1: nothing is. */
static int look(const hf_value *document, uint64_t *left)
{
    uint64_t now = cli_list_count(hf_value_get(document, "moves")) + cli_list_count(hf_value_get(document, "moving"));

    if (now != *left && now)
        printf("%llu to go\n", (unsigned long long)now);
    fflush(stdout);
    *left = now;
    return now == 0;
}

int cli_table_rebalance(cli_run *cli)
{
    const char *table = cli->arguments[0];
    uint64_t left = UINT64_MAX;
    int result = CLI_OK, done = 0;

    if (cli_option(cli, "plan"))
        return show_plan(cli, table, NULL, NULL);
    while (result == CLI_OK && !done) {
        cli_answer answer;
        cli_path path;

        if (left != UINT64_MAX)
            sleep(1); /* between two questions to the server */
        cli_path_begin(&path, "/v1/plan");
        cli_path_query(&path, "table", table);
        result = cli_request(cli, "GET", cli_path_end(cli, &path), NULL, (hf_slice){NULL, 0}, &answer);
        done = result == CLI_OK && look(&answer.document, &left);
        cli_answer_done(&answer);
    }
    if (result == CLI_OK)
        printf("everything is where it should be\n");
    return result;
}

static int reshape(cli_run *cli, const char *action, const char *done)
{
    cli_answer answer;
    cli_path path;

    cli_path_begin(&path, "/v1/tables/");
    cli_path_segment(&path, hf_slice_of(cli->arguments[0]));
    cli_path_text(&path, "/partitions/");
    cli_path_segment(&path, hf_slice_of(cli->arguments[1]));
    cli_path_text(&path, "/");
    cli_path_text(&path, action);
    int result = cli_request(cli, "POST", cli_path_end(cli, &path), NULL, (hf_slice){(const uint8_t *)"", 0}, &answer);

    if (result == CLI_OK && !cli->json)
        printf("partition %s of '%s' %s; see 'holdfast table show %s'\n", cli->arguments[1], cli->arguments[0], done,
               cli->arguments[0]);
    cli_answer_done(&answer);
    return result;
}

int cli_table_split(cli_run *cli)
{
    return reshape(cli, "split", "is being split");
}

int cli_table_merge(cli_run *cli)
{
    return reshape(cli, "merge", "is being merged with its upper neighbour");
}

/* ---- Nodes ------------------------------------------------------------------------------------------------------- */

static int change_node(cli_run *cli, const char *action, const char *done)
{
    cli_answer answer;
    cli_path path;

    cli_path_begin(&path, "/v1/nodes/");
    cli_path_segment(&path, hf_slice_of(cli->arguments[0]));
    cli_path_text(&path, "/");
    cli_path_text(&path, action);
    int result = cli_request(cli, "POST", cli_path_end(cli, &path), NULL, (hf_slice){(const uint8_t *)"", 0}, &answer);

    if (result == CLI_OK && !cli->json)
        printf("node '%s' %s\n", cli->arguments[0], done);
    cli_answer_done(&answer);
    return result;
}

int cli_node_add(cli_run *cli)
{
    if (cli_option(cli, "plan"))
        return show_plan(cli, NULL, "add", cli->arguments[0]);
    return change_node(cli, "add", "takes part; see 'holdfast table rebalance' for what moves to it");
}

int cli_node_drain(cli_run *cli)
{
    if (cli_option(cli, "plan"))
        return show_plan(cli, NULL, "drain", cli->arguments[0]);
    return change_node(cli, "drain", "is being drained; see 'holdfast table rebalance' for what is left");
}

int cli_node_remove(cli_run *cli)
{
    return change_node(cli, "remove", "is no part of the cluster any more");
}

int cli_node_replace(cli_run *cli)
{
    return change_node(cli, "replace", "takes part again, with its new disk");
}
