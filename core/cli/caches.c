/* Commands about what the gateway has stored. */
#include "cli/cli.h"

#include <stdio.h>

static void print_caches(const hf_value *document)
{
    static const char *const titles[] = {"CACHE", "OBJECTS", "MEMORY", "OF", "HIT", "MISS", "STALE", "REVALIDATED"};
    static const char *const members[] = {"name", "objects", "memory", "memory_maximum",
                                          "hit",  "miss",    "stale",  "revalidated"};
    enum { COLUMNS = sizeof titles / sizeof *titles };
    const hf_value *caches = hf_value_get(document, "caches");
    cli_table table;

    if (cli_list_count(caches) == 0) {
        printf("no caches\n");
        return;
    }
    cli_table_begin(&table, COLUMNS, titles);
    for (uint64_t i = 0; i < caches->count; i++)
        for (int k = 0; k < COLUMNS; k++)
            cli_table_value(&table, hf_value_get(&caches->as.items[i], members[k]));
    cli_table_end(&table);
}

static void print_purged(const hf_value *document)
{
    printf("%lld purged\n", (long long)hf_value_get_integer(document, "purged", 0));
}

int cli_cache_list(cli_run *cli)
{
    return cli_show_path(cli, "GET", "/v1/gateway/caches", (hf_slice){NULL, 0}, print_caches);
}

int cli_cache_purge(cli_run *cli)
{
    cli_path path;

    if (cli_option(cli, "url") && cli_option(cli, "prefix")) {
        fprintf(stderr, "holdfast: there are --url and --prefix; expected one of them\n");
        return CLI_USAGE;
    }
    cli_path_begin(&path, "/v1/gateway/caches/");
    cli_path_segment(&path, hf_slice_of(cli->arguments[0]));
    cli_path_query(&path, "url", cli_option(cli, "url"));
    cli_path_query(&path, "prefix", cli_option(cli, "prefix"));
    return cli_show_path(cli, "DELETE", cli_path_end(cli, &path), (hf_slice){NULL, 0}, print_purged);
}
