/* What the program prints, and the paths that it asks for. */
#include "cli/cli.h"

#include <holdfast/lib/url.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cli_out_of_memory(void)
{
    fprintf(stderr, "holdfast: out of memory\n");
    exit(CLI_FAILED);
}

/* ---- Paths
 * --------------------------------------------------------------------------------------------------------------- */

void cli_path_begin(cli_path *path, const char *text)
{
    hf_buffer_init(&path->text, 1 << 16);
    path->query = 0;
    cli_path_text(path, text);
}

void cli_path_text(cli_path *path, const char *text)
{
    if (hf_buffer_append(&path->text, text, strlen(text)) != 0)
        cli_out_of_memory();
}

void cli_path_segment(cli_path *path, const char *segment)
{
    if (hf_url_append_encoded(&path->text, hf_slice_of(segment)) != 0)
        cli_out_of_memory();
}

void cli_path_query(cli_path *path, const char *name, const char *value)
{
    if (!value)
        return;
    cli_path_text(path, path->query ? "&" : "?");
    cli_path_text(path, name);
    cli_path_text(path, "=");
    cli_path_segment(path, value);
    path->query = 1;
}

const char *cli_path_end(cli_run *cli, cli_path *path)
{
    hf_slice copy;

    if (hf_arena_copy(&cli->arena, (hf_slice){path->text.data, path->text.size}, &copy) != 0)
        cli_out_of_memory();
    hf_buffer_done(&path->text);
    return (const char *)copy.data; /* ends with a zero byte */
}

/* ---- Documents
 * ------------------------------------------------------------------------------------------------------------ */

void cli_show(const cli_run *cli, const cli_answer *answer, void (*print)(const hf_value *document))
{
    hf_buffer text;

    if (print && !cli->json && answer->document.type != HF_VALUE_NULL) {
        print(&answer->document);
        return;
    }
    if (cli->json || answer->document.type == HF_VALUE_NULL) {
        fwrite(answer->body.data, 1, answer->body.size, stdout);
        if (answer->body.size && answer->body.data[answer->body.size - 1] != '\n')
            putchar('\n');
        return;
    }
    hf_buffer_init(&text, UINT64_MAX);
    if (hf_json_append_pretty(&text, &answer->document) != 0)
        cli_out_of_memory();
    fwrite(text.data, 1, text.size, stdout);
    putchar('\n');
    hf_buffer_done(&text);
}

/* ---- Tables
 * --------------------------------------------------------------------------------------------------------------- */

void cli_table_begin(cli_table *table, uint32_t columns, const char *const *titles)
{
    *table = (cli_table){.columns = columns};
    for (uint32_t i = 0; i < columns; i++)
        cli_table_text(table, titles[i]);
}

void cli_table_text(cli_table *table, const char *text)
{
    if (table->count == table->capacity) {
        table->capacity = table->capacity ? table->capacity * 2 : 64;
        table->cells = realloc(table->cells, table->capacity * sizeof(char *));
        if (!table->cells)
            cli_out_of_memory();
    }
    table->cells[table->count] = strdup(text);
    if (!table->cells[table->count++])
        cli_out_of_memory();
}

void cli_table_value(cli_table *table, const hf_value *value)
{
    hf_buffer text;

    hf_buffer_init(&text, 1 << 20);
    if (!value || value->type == HF_VALUE_NULL)
        hf_buffer_append(&text, "-", 1);
    else if (value->type == HF_VALUE_STRING)
        hf_buffer_append(&text, value->as.text, value->count);
    else
        hf_json_append(&text, value);
    if (hf_buffer_append(&text, "", 1) != 0)
        cli_out_of_memory();
    cli_table_text(table, (const char *)text.data);
    hf_buffer_done(&text);
}

/* Letters, not bytes: what follows in UTF-8 takes no place of its own. */
static int width_of(const char *text)
{
    int width = 0;

    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

void cli_table_end(cli_table *table)
{
    for (uint64_t i = 0; i < table->count; i++) {
        uint64_t column = i % table->columns;
        int width = 0;

        for (uint64_t j = column; j < table->count; j += table->columns)
            width = width_of(table->cells[j]) > width ? width_of(table->cells[j]) : width;
        if (column + 1 == table->columns)
            printf("%s\n", table->cells[i]);
        else
            printf("%s%*s", table->cells[i], width - width_of(table->cells[i]) + 2, "");
    }
    for (uint64_t i = 0; i < table->count; i++)
        free(table->cells[i]);
    free(table->cells);
}
