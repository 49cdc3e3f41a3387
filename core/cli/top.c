/* `holdfast gateway top`: what goes on in the gateway, once or all the time. */
#include "cli/cli.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

enum { TEXT_SIZE = 64, TEXT_MAXIMUM = 16 << 20, PAUSE_MS = 1000, FALLBACK_ROWS = 24, FALLBACK_COLUMNS = 80 };

static volatile sig_atomic_t interrupted;

static void interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

/* ---- The table --------------------------------------------------------------------------------------------------- */

/* Failed ones in a hundred. */
static void add_failed(cli_table *table, const hf_value *object)
{
    double all = hf_value_get_float(object, "requests_per_s", 0);
    double failed = hf_value_get_float(object, "failures_per_s", 0);
    char text[TEXT_SIZE] = "-";

    if (all > 0)
        snprintf(text, sizeof text, "%.1f%%", failed > all ? 100.0 : failed / all * 100);
    cli_table_text(table, text);
}

/* "730us", "1.25ms", "2.50s"; nothing was measured: "-". */
static void add_time(cli_table *table, const hf_value *object, const char *name)
{
    int64_t us = hf_value_get_integer(object, name, 0);
    char text[TEXT_SIZE] = "-";

    if (us >= 1000000)
        snprintf(text, sizeof text, "%.2fs", (double)us / 1e6);
    else if (us >= 1000)
        snprintf(text, sizeof text, "%.2fms", (double)us / 1e3);
    else if (us > 0)
        snprintf(text, sizeof text, "%lldus", (long long)us);
    cli_table_text(table, text);
}

static int by_rate(const void *a, const void *b)
{
    double left = hf_value_get_float(*(const hf_value *const *)a, "requests_per_s", 0);
    double right = hf_value_get_float(*(const hf_value *const *)b, "requests_per_s", 0);

    if (left != right)
        return left < right ? 1 : -1;
    /* Those that are alike stay in their order. */
    return *(const hf_value *const *)a < *(const hf_value *const *)b ? -1 : 1;
}

/* The list's items, the busiest first; freed by the caller. */
static const hf_value **busiest_first(const hf_value *list)
{
    uint64_t count = cli_list_count(list);
    const hf_value **items = calloc(count + 1, sizeof *items);

    if (!items)
        cli_out_of_memory();
    for (uint64_t i = 0; i < count; i++)
        items[i] = &list->as.items[i];
    qsort(items, count, sizeof *items, by_rate);
    return items;
}

static void add_measures(cli_table *table, const hf_value *object)
{
    cli_table_rate(table, hf_value_get(object, "requests_per_s"));
    add_failed(table, object);
    add_time(table, object, "mean_us");
    add_time(table, object, "p50_us");
    add_time(table, object, "p99_us");
}

static void end_table(cli_table *table, hf_buffer *text)
{
    cli_table_format(table, text);
    for (uint64_t i = 0; i < table->count; i++)
        free(table->cells[i]);
    free(table->cells);
}

static void append(hf_buffer *text, const char *more)
{
    if (hf_buffer_append(text, more, strlen(more)) != 0)
        cli_out_of_memory();
}

static void format_routes(const hf_value *document, hf_buffer *text)
{
    static const char *const titles[] = {"ROUTE", "TO", "REQ/S", "FAILED", "MEAN", "P50", "P99", "REQUESTS"};
    const hf_value *routes = hf_value_get(document, "routes");
    const hf_value **items = busiest_first(routes);
    cli_table table;

    cli_table_begin(&table, sizeof titles / sizeof *titles, titles);
    for (uint64_t i = 0; i < cli_list_count(routes); i++) {
        const hf_value *upstream = hf_value_get(items[i], "upstream");

        cli_table_value(&table, hf_value_get(items[i], "name"));
        if (upstream)
            cli_table_value(&table, upstream);
        else
            cli_table_text(&table, hf_value_get(items[i], "redirect") ? "(redirect)" : "(answer)");
        add_measures(&table, items[i]);
        cli_table_value(&table, hf_value_get(items[i], "requests"));
    }
    free(items);
    end_table(&table, text);
}

static void add_upstream(cli_table *table, const hf_value *upstream)
{
    const hf_value *breaker = hf_value_get(upstream, "breaker");
    int is_open = breaker && breaker->type == HF_VALUE_STRING && !hf_slice_is(hf_value_slice(breaker), "closed");
    char queued[TEXT_SIZE];

    snprintf(queued, sizeof queued, "%lld queued", (long long)hf_value_get_integer(upstream, "queued", 0));
    cli_table_value(table, hf_value_get(upstream, "name"));
    cli_table_text(table, is_open ? "breaker" : "");
    cli_table_text(table, queued);
    add_measures(table, upstream);
    cli_table_value(table, hf_value_get(upstream, "requests"));
}

static void add_server(cli_table *table, const hf_value *server)
{
    hf_slice name = hf_value_slice(hf_value_get(server, "name"));
    char text[TEXT_SIZE];

    snprintf(text, sizeof text, "  %.*s", (int)(name.size < TEXT_SIZE - 3 ? name.size : TEXT_SIZE - 3),
             (const char *)name.data);
    cli_table_text(table, text);
    cli_table_value(table, hf_value_get(server, "state"));
    snprintf(text, sizeof text, "%lld in flight", (long long)hf_value_get_integer(server, "in_flight", 0));
    cli_table_text(table, text);
    add_measures(table, server);
    cli_table_value(table, hf_value_get(server, "requests"));
}

static void format_upstreams(const hf_value *document, hf_buffer *text)
{
    static const char *const titles[] = {"UPSTREAM", "STATE", "NOW", "REQ/S",   "FAILED",
                                         "MEAN",     "P50",   "P99", "REQUESTS"};
    const hf_value *upstreams = hf_value_get(document, "upstreams");
    const hf_value **items = busiest_first(upstreams);
    cli_table table;

    cli_table_begin(&table, sizeof titles / sizeof *titles, titles);
    for (uint64_t i = 0; i < cli_list_count(upstreams); i++) {
        const hf_value *servers = hf_value_get(items[i], "servers");

        add_upstream(&table, items[i]);
        for (uint64_t k = 0; k < cli_list_count(servers); k++)
            add_server(&table, &servers->as.items[k]);
    }
    free(items);
    end_table(&table, text);
}

static void format_sums(const hf_value *document, hf_buffer *text)
{
    const hf_value *listeners = hf_value_get(document, "listeners");
    double rate = 0, received = 0, sent = 0;
    int64_t connections = 0;

    for (uint64_t i = 0; i < cli_list_count(listeners); i++) {
        const hf_value *listener = &listeners->as.items[i];

        rate += hf_value_get_float(listener, "requests_per_s", 0);
        received += hf_value_get_float(listener, "received_per_s", 0);
        sent += hf_value_get_float(listener, "sent_per_s", 0);
        connections += hf_value_get_integer(listener, "connections", 0);
    }
    if (hf_buffer_append_format(text, "%.1f requests/s, %lld connections, in %.2f MB/s, out %.2f MB/s; of 10 s\n\n",
                                rate, (long long)connections, received / 1e6, sent / 1e6) != 0)
        cli_out_of_memory();
}

static void format_top(const hf_value *document, hf_buffer *text)
{
    format_sums(document, text);
    format_routes(document, text);
    append(text, "\n");
    format_upstreams(document, text);
}

static void print_top(const hf_value *document)
{
    hf_buffer text;

    hf_buffer_init(&text, TEXT_MAXIMUM);
    format_top(document, &text);
    fwrite(text.data, 1, text.size, stdout);
    hf_buffer_done(&text);
}

/* ---- The terminal ------------------------------------------------------------------------------------------------ */

/* How many bytes of the line fit into so many columns. */
static uint64_t fit(const uint8_t *line, uint64_t size, uint64_t columns)
{
    uint64_t at = 0;

    for (uint64_t column = 0; at < size; at++)
        if ((line[at] & 0xc0) != 0x80 && column++ == columns)
            break;
    return at;
}

static void get_size(uint64_t *rows, uint64_t *columns)
{
    struct winsize size;

    *rows = FALLBACK_ROWS;
    *columns = FALLBACK_COLUMNS;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row && size.ws_col) {
        *rows = size.ws_row;
        *columns = size.ws_col;
    }
}

/* Over what was there, so that nothing flickers. */
static void draw(const hf_buffer *text)
{
    uint64_t rows, columns, row = 0;

    get_size(&rows, &columns);
    fputs("\x1b[H", stdout);
    for (uint64_t at = 0; at < text->size && row + 1 < rows; row++) {
        const uint8_t *line = text->data + at;
        const uint8_t *end = memchr(line, '\n', text->size - at);
        uint64_t size = end ? (uint64_t)(end - line) : text->size - at;

        fwrite(line, 1, fit(line, size, columns), stdout);
        fputs("\x1b[K\r\n", stdout);
        at += size + 1;
    }
    fputs("\x1b[Jq ends", stdout);
    fflush(stdout);
}

static void open_screen(struct termios *before)
{
    struct sigaction action = {.sa_handler = interrupt};
    struct termios raw;

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    (void)tcgetattr(STDIN_FILENO, before); /* it is a terminal */
    raw = *before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &raw); /* else q needs the enter key */
    fputs("\x1b[?1049h\x1b[?25l", stdout);
}

static void close_screen(const struct termios *before)
{
    fputs("\x1b[?25h\x1b[?1049l", stdout);
    fflush(stdout);
    (void)tcsetattr(STDIN_FILENO, TCSANOW, before);
    (void)signal(SIGINT, SIG_DFL);
    (void)signal(SIGTERM, SIG_DFL);
}

/* Until the next drawing; 1: it is to end. */
static int wait_for_key(void)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    char key = 0;

    if (interrupted)
        return 1;
    if (poll(&input, 1, PAUSE_MS) > 0)
        return read(STDIN_FILENO, &key, 1) <= 0 || key == 'q' || key == 'Q';
    return interrupted;
}

static int look(cli_run *cli, hf_buffer *text)
{
    cli_answer answer;
    int result = cli_request(cli, "GET", "/v1/gateway/top", NULL, (hf_slice){NULL, 0}, &answer);

    hf_buffer_clear(text);
    if (result == CLI_OK)
        format_top(&answer.document, text);
    cli_answer_done(&answer);
    return result;
}

/* What cannot be shown any more ends it. */
static int draw_until_end(cli_run *cli, hf_buffer *text)
{
    struct termios before;
    int result = CLI_OK;

    open_screen(&before);
    do {
        draw(text);
        if (wait_for_key())
            break;
        result = look(cli, text);
    } while (result == CLI_OK);
    close_screen(&before);
    return result;
}

/* What is said of a failure goes with the screen, so the gateway is asked once more after that. */
static int watch(cli_run *cli)
{
    hf_buffer text;
    int result;

    hf_buffer_init(&text, TEXT_MAXIMUM);
    do
        result = look(cli, &text);
    while (result == CLI_OK && draw_until_end(cli, &text) != CLI_OK && !interrupted);
    hf_buffer_done(&text);
    return result;
}

int cli_gateway_top(cli_run *cli)
{
    int result;

    if (!cli->json && !cli_option(cli, "once") && isatty(STDOUT_FILENO) && isatty(STDIN_FILENO))
        result = watch(cli);
    else
        result = cli_show_path(cli, "GET", "/v1/gateway/top", (hf_slice){NULL, 0}, print_top);
    if (result == CLI_NOT_FOUND)
        fprintf(stderr, "holdfast: --node must name the process that runs the gateway, by its `listen`\n");
    return result;
}
