/* `holdfast cluster recover`: shows what would be lost, asks, and brings a cluster back that lost its majority. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ROWS_MAX = 50, RECOVERY_SECONDS = 90, ANSWER_MAX = 1024 };

static uint64_t number_of(const hf_value *map, const char *name)
{
    return (uint64_t)hf_value_get_integer(map, name, 0);
}

/* The names in a list, with commas. */
static void join_names(const hf_value *list, const char *member, char *text, size_t capacity)
{
    size_t size = 0;

    text[0] = '\0';
    for (uint64_t i = 0; i < cli_list_count(list) && size < capacity; i++) {
        const hf_value *item = &list->as.items[i];
        hf_slice name = member ? hf_value_get_string(item, member, hf_slice_of("?")) : hf_value_slice(item);
        size += (size_t)snprintf(text + size, capacity - size, "%s%.*s", size ? "," : "", (int)name.size,
                                 (const char *)name.data);
    }
    for (char *at = text; *at; at++)
        if ((unsigned char)*at < ' ' || *at == 127) /* a terminal would obey them */
            *at = ' ';
}

/* ---- The plan ---------------------------------------------------------------------------------------------------- */

static void print_partitions(const hf_value *partitions)
{
    static const char *const titles[] = {"TABLE",   "PARTITION", "GOES ON AT",  "LAST ENTRY",
                                         "OF TERM", "LEFT",      "TRANSACTIONS"};
    cli_table table;
    char left[64];

    cli_table_begin(&table, 7, titles);
    for (uint64_t i = 0; i < cli_list_count(partitions) && i < ROWS_MAX; i++) {
        const hf_value *item = &partitions->as.items[i];
        cli_table_value(&table, hf_value_get(item, "table"));
        cli_table_value(&table, hf_value_get(item, "partition"));
        cli_table_value(&table, hf_value_get(item, "node"));
        if (number_of(item, "replica")) {
            cli_table_value(&table, hf_value_get(item, "last_index"));
            cli_table_value(&table, hf_value_get(item, "last_term"));
            snprintf(left, sizeof left, "%llu of %llu", (unsigned long long)number_of(item, "left"),
                     (unsigned long long)number_of(item, "voters"));
        } else {
            cli_table_text(&table, "-");
            cli_table_text(&table, "-");
            snprintf(left, sizeof left, "none: begins empty");
        }
        cli_table_text(&table, left);
        cli_table_value(&table, hf_value_get(item, "transactions"));
    }
    cli_table_end(&table);
    if (cli_list_count(partitions) > ROWS_MAX)
        printf("and %llu more; see --json\n", (unsigned long long)cli_list_count(partitions) - ROWS_MAX);
}

static void print_warning(const hf_value *partitions, const char *dead)
{
    uint64_t empty = 0, transactions = 0;

    for (uint64_t i = 0; i < cli_list_count(partitions); i++) {
        empty += number_of(&partitions->as.items[i], "replica") == 0;
        transactions += number_of(&partitions->as.items[i], "transactions");
    }
    printf("\nWARNING: this loses data, and cannot be taken back.\n"
           "  What only %s had is lost: writes that were acknowledged may be missing, and nothing can say which.\n"
           "  Writes that failed, or whose outcome was not known, may turn out to be done.\n",
           dead);
    if (empty)
        printf("  %llu partitions have no replica left: their records are gone, and they begin empty.\n",
               (unsigned long long)empty);
    if (transactions)
        printf("  %llu parts of transactions are open; what other partitions have of these may be lost or done.\n",
               (unsigned long long)transactions);
    printf("  The disks of %s stay out for ever. If one of these nodes still runs somewhere, stop it first: until it\n"
           "  hears of this, it may answer clients.\n"
           "  When a majority can be brought back, do that instead: then nothing is lost.\n\n",
           dead);
}

static void print_plan(const hf_value *plan)
{
    char dead[ANSWER_MAX], survivors[ANSWER_MAX];

    join_names(hf_value_get(plan, "dead"), NULL, dead, sizeof dead);
    join_names(hf_value_get(plan, "survivors"), "node", survivors, sizeof survivors);
    printf("plan ");
    cli_print_clean(hf_value_get_string(plan, "plan", hf_slice_of("-")));
    printf(": %s lost for good; %s left\n\n", dead, survivors);
    print_partitions(hf_value_get(plan, "partitions"));
    print_warning(hf_value_get(plan, "partitions"), dead);
    fflush(stdout);
}

/* ---- Consent ----------------------------------------------------------------------------------------------------- */

/* 1: the operator has typed what is to be lost. */
static int ask(const hf_value *plan)
{
    char dead[ANSWER_MAX], expected[ANSWER_MAX + 16], line[ANSWER_MAX + 32];

    if (!isatty(STDIN_FILENO)) {
        fprintf(stderr, "holdfast: nothing was done; with --accept-data-loss it is\n");
        return 0;
    }
    join_names(hf_value_get(plan, "dead"), NULL, dead, sizeof dead);
    snprintf(expected, sizeof expected, "lose %s", dead);
    printf("Type '%s' to go on: ", expected);
    fflush(stdout);
    if (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\r\n")] = '\0';
        if (strcmp(line, expected) == 0)
            return 1;
    }
    fprintf(stderr, "holdfast: nothing was done\n");
    return 0;
}

/* ---- Doing it ---------------------------------------------------------------------------------------------------- */

static void print_result(const hf_value *plan)
{
    char survivors[ANSWER_MAX];

    join_names(hf_value_get(plan, "survivors"), "node", survivors, sizeof survivors);
    printf("recovered: %llu partitions go on with %s. Now add nodes, or replace the lost ones: start them with empty\n"
           "state directories, then 'holdfast node replace NODE'; replicas are made anew by themselves.\n",
           (unsigned long long)cli_list_count(hf_value_get(plan, "partitions")), survivors);
}

static int carry_out(cli_run *cli, const hf_value *plan)
{
    const hf_value_member members[] = {{hf_slice_of("plan"), *plan},
                                       {hf_slice_of("accept_data_loss"), hf_value_boolean(1)}};
    hf_value order = hf_value_map(members, 2);
    hf_buffer body;
    cli_answer answer;

    if (cli->timeout_s < RECOVERY_SECONDS)
        cli->timeout_s = RECOVERY_SECONDS;
    hf_buffer_init(&body, 1 << 26);
    if (hf_json_append(&body, &order) != 0)
        return cli_out_of_memory();
    int result = cli_request(cli, "POST", "/v1/recovery", NULL, (hf_slice){body.data, body.size}, &answer);

    if (result == CLI_OK)
        cli_show(cli, &answer, print_result);
    cli_answer_done(&answer);
    hf_buffer_done(&body);
    return result;
}

int cli_cluster_recover(cli_run *cli)
{
    const char *dead = cli_option(cli, "dead");
    cli_answer answer;
    cli_path path;

    if (!dead || !*dead) {
        fprintf(stderr, "holdfast: name the nodes that are lost for good: --dead n2,n3\n");
        return CLI_USAGE;
    }
    cli_path_begin(&path, "/v1/recovery");
    cli_path_query(&path, "dead", dead);
    int result = cli_request(cli, "GET", cli_path_end(cli, &path), NULL, (hf_slice){NULL, 0}, &answer);

    if (result == CLI_OK && (!cli->json || cli_option(cli, "plan")))
        cli_show(cli, &answer, print_plan);
    if (result == CLI_OK && !cli_option(cli, "plan")) {
        if (cli_option(cli, "accept-data-loss") || ask(&answer.document))
            result = carry_out(cli, &answer.document);
        else
            result = CLI_FAILED;
    }
    cli_answer_done(&answer);
    return result;
}
