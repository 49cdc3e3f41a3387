/* Commands about records: get, put, delete, scan, changes. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { VALUE_MAXIMUM = 64 << 20, PAGE = 1000, HEADERS_MAX = 6, HEADER_SIZE = 256 };

typedef struct request_headers {
    char text[HEADERS_MAX][HEADER_SIZE];
    const char *list[HEADERS_MAX + 1];
    uint32_t count;
} request_headers;

static int add_header(request_headers *headers, const char *format, const char *value)
{
    int size = snprintf(headers->text[headers->count], HEADER_SIZE, format, value);

    if (size < 0 || size >= HEADER_SIZE || strpbrk(value, "\r\n")) {
        fprintf(stderr, "holdfast: '%.60s' is too long or has control characters\n", value);
        return CLI_USAGE;
    }
    headers->list[headers->count] = headers->text[headers->count];
    headers->list[++headers->count] = NULL;
    return CLI_OK;
}

static const char *record_path(cli_run *cli)
{
    cli_path path;

    cli_path_begin(&path, "/v1/tables/");
    cli_path_segment(&path, hf_slice_of(cli->arguments[0]));
    cli_path_text(&path, "/records/");
    cli_path_segment(&path, hf_slice_of(cli->arguments[1]));
    cli_path_query(&path, "partition", cli_option(cli, "partition"));
    cli_path_query(&path, "consistency", cli_option(cli, "stale") ? "stale" : NULL);
    return cli_path_end(cli, &path);
}

int cli_get(cli_run *cli)
{
    cli_answer answer;
    int result = cli_request(cli, "GET", record_path(cli), NULL, (hf_slice){NULL, 0}, &answer);

    if (result == CLI_OK) {
        fwrite(answer.body.data, 1, answer.body.size, stdout);
        if (isatty(STDOUT_FILENO)) /* into a file or a pipe goes what is stored, and nothing else */
            putchar('\n');
    }
    cli_answer_done(&answer);
    return result;
}

static int read_input(hf_buffer *value)
{
    while (!feof(stdin)) {
        if (hf_buffer_reserve(value, 65536) != 0) {
            fprintf(stderr, "holdfast: standard input has more than %d bytes, which no table takes\n", VALUE_MAXIMUM);
            return CLI_FAILED;
        }
        value->size += fread(value->data + value->size, 1, 65536, stdin);
        if (ferror(stdin)) {
            fprintf(stderr, "holdfast: standard input could not be read\n");
            return CLI_FAILED;
        }
    }
    return CLI_OK;
}

static void print_version(const hf_value *document)
{
    printf("version %lld\n", (long long)hf_value_get_integer(document, "version", 0));
}

static int add_conditions(const cli_run *cli, request_headers *headers)
{
    const char *version = cli_option(cli, "if-version"), *key = cli_option(cli, "idempotency-key");
    uint64_t number = 0;
    int result = CLI_OK;

    if (version && cli_option(cli, "if-absent")) {
        fprintf(stderr, "holdfast: --if-version and --if-absent exclude each other\n");
        return CLI_USAGE;
    }
    if (cli_number(cli, "if-version", 1, UINT64_MAX, &number) != CLI_OK)
        return CLI_USAGE;
    if (version)
        result = add_header(headers, "If-Match: \"%s\"", version);
    if (result == CLI_OK && cli_option(cli, "if-absent"))
        result = add_header(headers, "If-None-Match: %s", "*");
    if (result == CLI_OK && key)
        result = add_header(headers, "Idempotency-Key: %s", key);
    return result;
}

static int add_expiry(const cli_run *cli, request_headers *headers)
{
    const char *seconds = cli_option(cli, "expire-after");
    uint64_t number = 0;

    if (cli_number(cli, "expire-after", 0, UINT64_MAX, &number) != CLI_OK)
        return CLI_USAGE;
    return seconds ? add_header(headers, "Holdfast-Expire-After: %s", seconds) : CLI_OK;
}

int cli_put(cli_run *cli)
{
    const char *text = cli->argument_count > 2 ? cli->arguments[2] : "-";
    request_headers headers = {0};
    cli_answer answer = {0};
    hf_buffer value;
    int result = add_conditions(cli, &headers);

    if (result == CLI_OK)
        result = add_expiry(cli, &headers);
    hf_buffer_init(&value, VALUE_MAXIMUM);
    if (result == CLI_OK && strcmp(text, "-") == 0)
        result = read_input(&value);
    else if (result == CLI_OK && hf_buffer_append(&value, text, strlen(text)) != 0)
        cli_out_of_memory();
    if (result == CLI_OK) {
        hf_slice body = {value.data ? value.data : (const uint8_t *)"", value.size};
        if (hf_json_check(body, NULL) != 0)
            headers.list[headers.count++] = "Content-Type: application/octet-stream";
        result = cli_request(cli, "PUT", record_path(cli), headers.list, body, &answer);
        if (result == CLI_OK)
            cli_show(cli, &answer, print_version);
        cli_answer_done(&answer);
    }
    hf_buffer_done(&value);
    return result;
}

int cli_delete(cli_run *cli)
{
    request_headers headers = {0};
    cli_answer answer = {0};
    int result = add_conditions(cli, &headers);

    if (result != CLI_OK)
        return result;
    result = cli_request(cli, "DELETE", record_path(cli), headers.list, (hf_slice){NULL, 0}, &answer);
    if (result == CLI_OK)
        cli_show(cli, &answer, print_version);
    cli_answer_done(&answer);
    return result;
}

/* ---- Scans ----------------------------------------------------------------------------------------------------- */

static void print_record(const hf_value *record, int json)
{
    hf_buffer line;
    const hf_value *value = hf_value_get(record, "value");

    hf_buffer_init(&line, UINT64_MAX);
    if (json || !value) {
        hf_json_append(&line, record);
    } else {
        cli_append_clean(&line, hf_value_get_string(record, "key", (hf_slice){NULL, 0}));
        hf_buffer_append(&line, "\t", 1);
        hf_json_append(&line, value);
    }
    if (hf_buffer_append(&line, "\n", 1) != 0)
        cli_out_of_memory();
    fwrite(line.data, 1, line.size, stdout);
    hf_buffer_done(&line);
}

/* Prints one page and keeps in `next` where to go on.  1: go on. */
static int print_page(const cli_run *cli, const cli_answer *answer, uint64_t *left, hf_buffer *next)
{
    const hf_value *records = hf_value_get(&answer->document, "records");
    hf_slice cursor = hf_value_get_string(&answer->document, "next", (hf_slice){NULL, 0});
    uint64_t count = records && records->type == HF_VALUE_LIST ? records->count : 0;

    for (uint64_t i = 0; i<count && * left> 0; i++, --*left)
        print_record(&records->as.items[i], cli->json);
    if (cursor.size == 0 || *left == 0 || ferror(stdout))
        return 0;
    hf_buffer_clear(next);
    if (hf_buffer_append(next, cursor.data, cursor.size) != 0 || hf_buffer_append(next, "", 1) != 0)
        cli_out_of_memory();
    return 1;
}

static void begin_table_path(const cli_run *cli, cli_path *path, const char *what)
{
    cli_path_begin(path, "/v1/tables/");
    cli_path_segment(path, hf_slice_of(cli->arguments[0]));
    cli_path_text(path, what);
    cli_path_query(path, "partition", cli_option(cli, "partition"));
}

static int scan_page(cli_run *cli, const char *start, uint64_t *left, hf_buffer *next, int *ret_more)
{
    char page[24];
    cli_path path;
    cli_answer answer;
    int result;

    snprintf(page, sizeof page, "%llu", (unsigned long long)(*left < PAGE ? *left : PAGE));
    begin_table_path(cli, &path, "/records");
    cli_path_query(&path, "prefix", cli_option(cli, "prefix"));
    cli_path_query(&path, "consistency", cli_option(cli, "stale") ? "stale" : NULL);
    cli_path_query(&path, "start", start);
    cli_path_query(&path, "limit", page);
    result = cli_request(cli, "GET", cli_path_end(cli, &path), NULL, (hf_slice){NULL, 0}, &answer);
    *ret_more = result == CLI_OK && print_page(cli, &answer, left, next);
    cli_answer_done(&answer);
    return result;
}

/* A start that begins with '~' would be a cursor; of a key, it is doubled. */
static const char *start_of_key(cli_run *cli, const char *key)
{
    size_t size = key ? strlen(key) : 0;
    char *start;

    if (!size || key[0] != '~')
        return key;
    start = hf_arena_alloc(&cli->arena, size + 2);
    if (!start)
        cli_out_of_memory();
    snprintf(start, size + 2, "~%s", key);
    return start;
}

int cli_scan(cli_run *cli)
{
    const char *start = start_of_key(cli, cli_option(cli, "start"));
    uint64_t left = UINT64_MAX;
    int result = cli_number(cli, "limit", 1, UINT64_MAX, &left), more = result == CLI_OK;
    hf_buffer next;

    hf_buffer_init(&next, 1 << 16);
    while (more) {
        result = scan_page(cli, start, &left, &next, &more);
        start = (const char *)next.data;
    }
    hf_buffer_done(&next);
    return result;
}

int cli_changes(cli_run *cli)
{
    cli_path path;

    begin_table_path(cli, &path, "/changes");
    cli_path_query(&path, "from", cli_option(cli, "from"));
    cli_path_query(&path, "follow", cli_option(cli, "follow") ? "1" : NULL);
    cli_path_query(&path, "consistency", cli_option(cli, "stale") ? "stale" : NULL);
    return cli_stream(cli, cli_path_end(cli, &path));
}
