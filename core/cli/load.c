/* `holdfast load`: every line of a file becomes a record, many at a time.
 *
 * Each write carries an idempotency key made from its record's key and its bytes, so that it can be repeated until it
 * is acknowledged, on any node, and so that loading the same file again writes nothing twice. */
#include "cli/cli.h"

#include <curl/curl.h>
#include <errno.h>
#include <holdfast/lib/hash.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

enum { PARALLEL_USUAL = 32, PARALLEL_MAX = 256, LINE_MAXIMUM = 32 << 20, KEY_PARTS_MAX = 8, PAUSE_MS = 50 };

/* One write under way. */
typedef struct load_slot {
    struct load_run *load;
    CURL *curl;
    struct curl_slist *headers;
    uint64_t number; /* of the line */
    hf_buffer line;
    hf_buffer answer;
    char *path;
    uint32_t node;
    uint64_t started_ms, retry_ms; /* retry_ms: waiting until then; 0: not waiting */
    int busy;
} load_slot;

typedef struct load_run {
    cli_run *cli;
    const char *table, *file;
    char *parts[KEY_PARTS_MAX]; /* fields of the key */
    uint32_t part_count;
    const char *line_prefix; /* or: the line's number behind this */
    uint64_t retry_for_ms;
    gzFile input;
    uint64_t size; /* of the file, bytes */
    int ended;
    CURLM *multi;
    load_slot slots[PARALLEL_MAX];
    uint32_t slot_count, busy;
    uint64_t lines, written, refused, retries;
    uint64_t started_ms, shown_ms;
    int terminal;
} load_run;

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- Progress
 * ------------------------------------------------------------------------------------------------------------ */

static void show_progress(load_run *load, int last)
{
    enum { BAR = 30 };
    uint64_t now = now_ms(), every = load->terminal ? 100 : 5000;
    double share = load->size ? (double)gzoffset(load->input) / (double)load->size : 1;
    double seconds = (double)(now - load->started_ms + 1) / 1000;
    char bar[BAR + 1] = "";

    if (!last && now - load->shown_ms < every)
        return;
    load->shown_ms = now;
    share = last || share > 1 ? 1 : share;
    for (int i = 0; i < BAR; i++)
        bar[i] = i < (int)(share * BAR) ? '#' : '.';
    bar[BAR] = '\0';
    fprintf(stderr, "%s%s %s %3.0f %%  %" PRIu64 " records, %.0f a second%s", load->terminal ? "\r" : "", load->table,
            bar, share * 100, load->written, (double)load->written / seconds, load->terminal && !last ? "" : "\n");
}

/* ---- Lines and keys
 * ------------------------------------------------------------------------------------------------------ */

/* Reads the next line that is not empty.  1: there is one; 0: the end; -1: the file is damaged. */
static int read_line(load_run *load, hf_buffer *line)
{
    for (;;) {
        hf_buffer_clear(line);
        for (;;) {
            if (hf_buffer_reserve(line, 65536) != 0)
                return -1;
            char *at = (char *)line->data + line->size;
            if (!gzgets(load->input, at, 65536)) {
                int code = 0;
                gzerror(load->input, &code);
                if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR)
                    return -1;
                load->ended = 1;
                break;
            }
            line->size += strlen(at);
            if (line->size && line->data[line->size - 1] == '\n')
                break;
        }
        load->lines += !load->ended || line->size;
        while (line->size && (line->data[line->size - 1] == '\n' || line->data[line->size - 1] == '\r'))
            line->size--;
        if (line->size)
            return 1;
        if (load->ended)
            return 0;
    }
}

static void complain(const load_run *load, uint64_t number, const char *why)
{
    fprintf(stderr, "%s%s:%" PRIu64 ": %s\n", load->terminal ? "\r" : "", load->file, number, why);
}

/* Integers are padded, so that the order of the keys is that of the numbers. */
static int append_part(const hf_value *part, hf_buffer *key)
{
    if (part && part->type == HF_VALUE_STRING && part->count)
        return hf_buffer_append(key, part->as.text, part->count);
    if (part && part->type == HF_VALUE_INTEGER && part->as.integer >= 0)
        return hf_buffer_append_format(key, "%06" PRId64, part->as.integer);
    return HF_EINVAL;
}

static int make_key(load_run *load, load_slot *slot, hf_buffer *key, hf_arena *arena)
{
    hf_value value = hf_value_null();
    hf_error error = {0};
    char why[600];

    if (hf_json_parse((hf_slice){slot->line.data, slot->line.size}, arena, &value, &error) != 0) {
        complain(load, slot->number, error.message);
        return 0;
    }
    if (load->line_prefix)
        return hf_buffer_append_format(key, "%s%09" PRIu64, load->line_prefix, slot->number) == 0;
    for (uint32_t i = 0; i < load->part_count; i++) {
        if ((i && hf_buffer_append(key, "/", 1) != 0) || append_part(hf_value_get(&value, load->parts[i]), key) != 0) {
            snprintf(why, sizeof why, "'%s' is missing, or is neither a text nor a number; the key needs it",
                     load->parts[i]);
            complain(load, slot->number, why);
            return 0;
        }
    }
    return 1;
}

/* ---- Writes
 * -------------------------------------------------------------------------------------------------------------- */

static size_t take_answer(char *data, size_t size, size_t count, void *arg)
{
    return hf_buffer_append(arg, data, size * count) == 0 ? size * count : 0;
}

static void send_slot(load_run *load, load_slot *slot)
{
    char url[8192];

    snprintf(url, sizeof url, "http://%s%s", load->cli->nodes[slot->node % load->cli->node_count], slot->path);
    hf_buffer_clear(&slot->answer);
    slot->retry_ms = 0;
    curl_easy_setopt(slot->curl, CURLOPT_URL, url);
    curl_multi_add_handle(load->multi, slot->curl);
}

static void set_up(load_run *load, load_slot *slot)
{
    CURL *curl = slot->curl;

    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, "PUT");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 2L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, load->cli->timeout_s);
    curl_easy_setopt(curl, CURLOPT_PRIVATE, slot);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_answer);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &slot->answer);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, slot->line.data);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)slot->line.size);
}

static void set_headers(load_run *load, load_slot *slot, const hf_buffer *key)
{
    char text[256];

    curl_slist_free_all(slot->headers);
    snprintf(text, sizeof text, "Idempotency-Key: load-%016" PRIx64 "%016" PRIx64, hf_hash64(1, key->data, key->size),
             hf_hash64(2, slot->line.data, slot->line.size));
    slot->headers = curl_slist_append(NULL, text);
    slot->headers = curl_slist_append(slot->headers, "Content-Type: application/json");
    slot->headers = curl_slist_append(slot->headers, "Expect:");
    if (load->cli->token) {
        snprintf(text, sizeof text, "Authorization: Bearer %s", load->cli->token);
        slot->headers = curl_slist_append(slot->headers, text);
    }
    if (!slot->headers)
        cli_out_of_memory();
    curl_easy_setopt(slot->curl, CURLOPT_HTTPHEADER, slot->headers);
}

static void make_path(load_run *load, load_slot *slot, const hf_buffer *key)
{
    cli_path path;

    cli_path_begin(&path, "/v1/tables/");
    cli_path_segment(&path, load->table);
    cli_path_text(&path, "/records/");
    cli_path_segment(&path, (const char *)key->data);
    cli_path_query(&path, "partition", cli_option(load->cli, "partition"));
    free(slot->path);
    slot->path = strndup((const char *)path.text.data, path.text.size);
    if (!slot->path)
        cli_out_of_memory();
    hf_buffer_done(&path.text);
}

/* Begins to write the slot's line.  0: the line was refused here. */
static int begin_slot(load_run *load, load_slot *slot)
{
    hf_arena arena;
    hf_buffer key;
    int good;

    hf_arena_init(&arena, LINE_MAXIMUM * 8ull);
    hf_buffer_init(&key, 4096);
    good = make_key(load, slot, &key, &arena) && hf_buffer_append(&key, "", 1) == 0;
    if (good) {
        key.size--; /* the zero byte behind it stays */
        make_path(load, slot, &key);
        set_headers(load, slot, &key);
        set_up(load, slot);
        slot->started_ms = now_ms();
        slot->busy = 1;
        load->busy++;
        send_slot(load, slot);
    } else {
        load->refused++;
    }
    hf_buffer_done(&key);
    hf_arena_done(&arena);
    return good;
}

static void finish(load_run *load, load_slot *slot, long status, CURLcode code)
{
    int again = code != CURLE_OK || status >= 500 || status == 429;

    if (again && now_ms() - slot->started_ms < load->retry_for_ms) {
        slot->node++; /* another node may do better */
        slot->retry_ms = now_ms() + PAUSE_MS;
        load->retries++;
        return;
    }
    slot->busy = 0;
    load->busy--;
    if (code == CURLE_OK && status == 200) {
        load->written++;
        return;
    }
    load->refused++;
    if (code != CURLE_OK) {
        complain(load, slot->number, curl_easy_strerror(code));
        return;
    }
    char where[600];
    snprintf(where, sizeof where, "%s%s:%" PRIu64, load->terminal ? "\r" : "", load->file, slot->number);
    cli_complain(where, status, (hf_slice){slot->answer.data, slot->answer.size});
}

static void take_finished(load_run *load)
{
    int left;

    for (CURLMsg *message; (message = curl_multi_info_read(load->multi, &left));) {
        CURL *curl = message->easy_handle;
        CURLcode code = message->data.result;
        load_slot *slot = NULL;
        long status = 0;

        curl_easy_getinfo(curl, CURLINFO_PRIVATE, (char **)&slot);
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
        curl_multi_remove_handle(load->multi, curl);
        finish(load, slot, status, code);
    }
}

/* Gives every idle slot a line, and sends again what has waited.  -1: the file is damaged. */
static int feed(load_run *load)
{
    uint64_t now = now_ms();

    for (uint32_t i = 0; i < load->slot_count; i++) {
        load_slot *slot = &load->slots[i];
        if (slot->busy && slot->retry_ms && slot->retry_ms <= now)
            send_slot(load, slot);
        while (!slot->busy && !load->ended) {
            int found = read_line(load, &slot->line);
            if (found < 0)
                return -1;
            if (!found)
                break;
            slot->number = load->lines;
            begin_slot(load, slot);
        }
    }
    return 0;
}

static int run(load_run *load)
{
    int result = 0, running;

    load->started_ms = now_ms();
    do {
        result = feed(load);
        if (curl_multi_perform(load->multi, &running) != CURLM_OK ||
            curl_multi_poll(load->multi, NULL, 0, running ? 50 : 1, NULL) != CURLM_OK)
            cli_out_of_memory();
        take_finished(load);
        show_progress(load, 0);
    } while (result == 0 && (load->busy || !load->ended));
    return result;
}

/* ---- The command
 * ----------------------------------------------------------------------------------------------------------- */

static int read_options(load_run *load)
{
    const cli_run *cli = load->cli;
    const char *key = cli_option(cli, "key"), *parallel = cli_option(cli, "parallel"),
               *retry = cli_option(cli, "retry-for");
    unsigned long count = parallel ? strtoul(parallel, NULL, 10) : PARALLEL_USUAL;
    unsigned long seconds = retry ? strtoul(retry, NULL, 10) : 30;

    load->line_prefix = cli_option(cli, "key-line");
    if (!key == !load->line_prefix || count < 1 || count > PARALLEL_MAX) {
        fprintf(stderr,
                "holdfast: expected either --key FIELD[,FIELD...] or --key-line PREFIX, and --parallel 1 to %d\n",
                PARALLEL_MAX);
        return CLI_USAGE;
    }
    load->slot_count = (uint32_t)count;
    load->retry_for_ms = seconds * 1000;
    char *copy = key ? hf_arena_strdup(&load->cli->arena, key) : NULL;
    for (char *part = copy ? strtok(copy, ",") : NULL; part && load->part_count < KEY_PARTS_MAX;
         part = strtok(NULL, ","))
        load->parts[load->part_count++] = part;
    return CLI_OK;
}

static int open_input(load_run *load)
{
    struct stat file;

    load->input = gzopen(load->file, "rb");
    if (!load->input || stat(load->file, &file) != 0) {
        fprintf(stderr, "holdfast: cannot open '%s': %s\n", load->file, strerror(errno));
        return CLI_FAILED;
    }
    load->size = (uint64_t)file.st_size;
    return CLI_OK;
}

static void make_slots(load_run *load)
{
    load->multi = curl_multi_init();
    for (uint32_t i = 0; i < load->slot_count; i++) {
        load_slot *slot = &load->slots[i];
        slot->load = load;
        slot->curl = curl_easy_init();
        slot->node = i;
        hf_buffer_init(&slot->line, LINE_MAXIMUM);
        hf_buffer_init(&slot->answer, 1 << 20);
        if (!slot->curl || !load->multi)
            cli_out_of_memory();
    }
    curl_multi_setopt(load->multi, CURLMOPT_MAXCONNECTS, (long)load->slot_count * 2);
}

static void free_load(load_run *load)
{
    for (uint32_t i = 0; i < load->slot_count; i++) {
        load_slot *slot = &load->slots[i];
        curl_multi_remove_handle(load->multi, slot->curl);
        curl_easy_cleanup(slot->curl);
        curl_slist_free_all(slot->headers);
        hf_buffer_done(&slot->line);
        hf_buffer_done(&slot->answer);
        free(slot->path);
    }
    curl_multi_cleanup(load->multi);
    gzclose(load->input);
    free(load);
}

int cli_load(cli_run *cli)
{
    load_run *load = calloc(1, sizeof *load);
    int result;

    if (!load)
        return cli_out_of_memory();
    load->cli = cli;
    load->table = cli->arguments[0];
    load->file = cli->arguments[1];
    load->terminal = isatty(STDERR_FILENO);
    result = read_options(load);
    if (result == CLI_OK)
        result = open_input(load);
    if (result != CLI_OK) {
        free(load);
        return result;
    }
    make_slots(load);
    int damaged = run(load) != 0;
    show_progress(load, 1);
    if (damaged)
        fprintf(stderr, "holdfast: '%s' is damaged behind line %" PRIu64 ", or a line is longer than %d bytes\n",
                load->file, load->lines, LINE_MAXIMUM);
    if (cli->json)
        printf("{\"written\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"retries\":%" PRIu64 "}\n", load->written,
               load->refused, load->retries);
    result = damaged || load->refused ? CLI_FAILED : CLI_OK;
    free_load(load);
    return result;
}
