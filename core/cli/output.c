/* What the program prints, and the paths that it asks for. */
#include "cli/cli.h"

#include <holdfast/lib/url.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TEXT_MAXIMUM = 1 << 30 };

int cli_out_of_memory(void)
{
    fprintf(stderr, "holdfast: out of memory\n");
    exit(CLI_FAILED);
}

/* ---- Paths ------------------------------------------------------------------------------------------------------- */

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

void cli_path_segment(cli_path *path, hf_slice segment)
{
    if (hf_url_append_encoded(&path->text, segment) != 0)
        cli_out_of_memory();
}

void cli_path_query(cli_path *path, const char *name, const char *value)
{
    if (!value)
        return;
    cli_path_text(path, path->query ? "&" : "?");
    cli_path_text(path, name);
    cli_path_text(path, "=");
    cli_path_segment(path, hf_slice_of(value));
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

/* ---- Text ------------------------------------------------------------------------------------------------------ */

void cli_append_clean(hf_buffer *buffer, hf_slice text)
{
    uint64_t begin = buffer->size;

    if (hf_buffer_append(buffer, text.data, text.size) != 0)
        cli_out_of_memory();
    for (uint64_t i = begin; i < buffer->size; i++) {
        uint8_t *at = &buffer->data[i];
        if (*at < ' ' || *at == 0x7f)
            *at = ' ';
        else if (*at == 0xc2 && i + 1 < buffer->size && at[1] >= 0x80 && at[1] < 0xa0) /* U+0080 to U+009F */
            at[0] = at[1] = ' ';
    }
}

void cli_print_clean(hf_slice text)
{
    hf_buffer clean;

    hf_buffer_init(&clean, TEXT_MAXIMUM);
    cli_append_clean(&clean, text);
    if (clean.size) /* or there are no bytes to point to */
        fwrite(clean.data, 1, clean.size, stdout);
    hf_buffer_done(&clean);
}

static void print_time(time_t time, char text[CLI_TIME_SIZE])
{
    struct tm parts = {0};

    if (!localtime_r(&time, &parts) || strftime(text, CLI_TIME_SIZE, "%Y-%m-%d %H:%M:%S", &parts) == 0)
        snprintf(text, CLI_TIME_SIZE, "-");
}

void cli_local_ms(int64_t ms, char text[CLI_TIME_SIZE])
{
    print_time((time_t)(ms / 1000), text);
}

void cli_local_time(hf_slice utc, char text[CLI_TIME_SIZE])
{
    struct tm parts = {0};
    char copy[CLI_TIME_SIZE];

    snprintf(copy, sizeof copy, "%.*s", (int)(utc.size < sizeof copy ? utc.size : sizeof copy - 1),
             (const char *)utc.data);
    if (strptime(copy, "%Y-%m-%dT%H:%M:%S", &parts))
        print_time(timegm(&parts), text);
    else
        memcpy(text, copy, sizeof copy);
}

/* ---- Documents --------------------------------------------------------------------------------------------------- */

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
    hf_buffer_init(&text, TEXT_MAXIMUM);
    if (hf_json_append_pretty(&text, &answer->document) != 0)
        cli_out_of_memory();
    fwrite(text.data, 1, text.size, stdout);
    putchar('\n');
    hf_buffer_done(&text);
}

int cli_show_path(cli_run *cli, const char *method, const char *path, hf_slice body,
                  void (*print)(const hf_value *document))
{
    cli_answer answer;
    int result = cli_request(cli, method, path, NULL, body, &answer);

    if (result == CLI_OK)
        cli_show(cli, &answer, print);
    cli_answer_done(&answer);
    return result;
}

uint64_t cli_list_count(const hf_value *list)
{
    return list && list->type == HF_VALUE_LIST ? list->count : 0;
}

/* ---- Tables ---------------------------------------------------------------------------------------------------- */

void cli_table_begin(cli_table *table, uint32_t columns, const char *const *titles)
{
    *table = (cli_table){.columns = columns};
    for (uint32_t i = 0; i < columns; i++)
        cli_table_text(table, titles[i]);
}

static void add_cell(cli_table *table, hf_slice text)
{
    hf_buffer clean;

    if (table->count == table->capacity) {
        table->capacity = table->capacity ? table->capacity * 2 : 64;
        char **cells = realloc(table->cells, table->capacity * sizeof(char *));
        if (!cells)
            cli_out_of_memory();
        table->cells = cells;
    }
    hf_buffer_init(&clean, TEXT_MAXIMUM);
    cli_append_clean(&clean, text);
    if (hf_buffer_append(&clean, "", 1) != 0)
        cli_out_of_memory();
    table->cells[table->count++] = (char *)clean.data; /* the buffer's memory is the cell's from now on */
}

void cli_table_text(cli_table *table, const char *text)
{
    add_cell(table, hf_slice_of(text));
}

void cli_table_value(cli_table *table, const hf_value *value)
{
    hf_buffer text;

    hf_buffer_init(&text, TEXT_MAXIMUM);
    if (!value || value->type == HF_VALUE_NULL || (value->type == HF_VALUE_STRING && value->count == 0)) {
        add_cell(table, hf_slice_of("-"));
    } else if (value->type == HF_VALUE_STRING) {
        add_cell(table, hf_value_slice(value));
    } else {
        if (hf_json_append(&text, value) != 0)
            cli_out_of_memory();
        add_cell(table, (hf_slice){text.data, text.size});
    }
    hf_buffer_done(&text);
}

void cli_table_rate(cli_table *table, const hf_value *value)
{
    double rate = value && value->type == HF_VALUE_INTEGER ? (double)value->as.integer
                  : value && value->type == HF_VALUE_FLOAT ? value->as.number
                                                           : 0;
    char text[64];

    snprintf(text, sizeof text, rate > 0 && rate < 10 ? "%.1f" : "%.0f", rate);
    cli_table_text(table, text);
}

/* Letters, not bytes: what follows in UTF-8 takes no place of its own. */
static uint64_t width_of(const char *text)
{
    uint64_t width = 0;

    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

void cli_table_format(const cli_table *table, hf_buffer *text)
{
    enum { COLUMNS_MAX = 16, GAP = 2 };
    uint64_t widths[COLUMNS_MAX] = {0};
    int32_t result = table->columns > COLUMNS_MAX ? HF_ETOOLARGE : 0;

    for (uint64_t i = 0; i < table->count && result == 0; i++) {
        uint64_t width = width_of(table->cells[i]), *widest = &widths[i % table->columns];
        *widest = width > *widest ? width : *widest;
    }
    for (uint64_t i = 0; i < table->count && result == 0; i++) {
        uint64_t column = i % table->columns, fill = widths[column] + GAP - width_of(table->cells[i]);

        if (column + 1 == table->columns)
            result = hf_buffer_append_format(text, "%s\n", table->cells[i]);
        else
            result = hf_buffer_append_format(text, "%s%*s", table->cells[i], (int)fill, "");
    }
    if (result != 0)
        cli_out_of_memory();
}

void cli_table_end(cli_table *table)
{
    hf_buffer text;

    hf_buffer_init(&text, TEXT_MAXIMUM);
    cli_table_format(table, &text);
    fwrite(text.data, 1, text.size, stdout);
    hf_buffer_done(&text);
    for (uint64_t i = 0; i < table->count; i++)
        free(table->cells[i]);
    free(table->cells);
    *table = (cli_table){.columns = table->columns};
}
