/* `holdfast load`: every line of a file becomes a record, many at a time.
 *
 * Each write carries an idempotency key, so that it can be repeated until it is acknowledged, on any node, and so that
 * loading the same file again writes nothing twice.  A line ends in exactly one of two counts: written or refused.
 * Lines of one record are written one after the other, so that the last one stays. */
#include "cli/cli.h"
#include "cli/lines.h"
#include "cli/record_key.h"

#include <curl/curl.h>
#include <holdfast/lib/hash.h>
#include <holdfast/lib/json.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    PARALLEL_USUAL = 32,
    PARALLEL_MAX = 256,
    LINE_MAXIMUM = 32 << 20,
    ANSWER_MAXIMUM = 1 << 20,
    PROBLEM_MAX = 4 << 20, /* of an answer that was read as JSON */
    CONNECT_SECONDS = 2,
    RETRY_FOR_USUAL = 30,
    PAUSE_FIRST_MS = 50,
    PAUSE_MAX_MS = 2000,
    POLL_MS = 50,
    URL_SIZE = 8192
};

enum load_state { IDLE = 0, HELD, SENT, WAITING };

/* One line under way.  HELD: another line of the same record is before it; WAITING: to be sent again at `retry_ms`. */
typedef struct load_slot {
    CURL *curl;
    struct curl_slist *headers;
    uint64_t number; /* of the line */
    hf_buffer line;
    hf_buffer key;
    hf_buffer answer;
    char *path;
    uint32_t node, attempts;
    uint64_t key_hash;
    uint64_t started_ms, retry_ms;
    enum load_state state;
} load_slot;

typedef struct load_run {
    cli_run *cli;
    const char *table, *file;
    cli_key_rule rule;
    uint64_t retry_for_ms;
    cli_lines *input;
    int ended, damaged;
    CURLM *multi;
    load_slot slots[PARALLEL_MAX];
    uint32_t slot_count, busy;
    uint64_t written, refused, retries;
    uint64_t started_ms, shown_ms;
    hf_random random;
    int terminal;
} load_run;

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- Progress -------------------------------------------------------------------------------------------------- */

static void show_progress(load_run *load, int last)
{
    enum { BAR = 30, TERMINAL_MS = 100, LOG_MS = 5000 };
    uint64_t now = now_ms(), every = load->terminal ? TERMINAL_MS : LOG_MS;
    double share = last && !load->damaged ? 1 : cli_lines_share(load->input);
    double seconds = (double)(now - load->started_ms + 1) / 1000;
    char bar[BAR + 1] = "";

    if (!last && now - load->shown_ms < every)
        return;
    load->shown_ms = now;
    for (int i = 0; i < BAR; i++)
        bar[i] = i < (int)(share * BAR) ? '#' : '.';
    fprintf(stderr, "%s%s %s %3.0f %%  %" PRIu64 " records, %.0f a second", load->terminal ? "\r" : "", load->table,
            bar, share * 100, load->written, (double)load->written / seconds);
    if (load->refused)
        fprintf(stderr, ", %" PRIu64 " refused", load->refused);
    fputs(load->terminal && !last ? "" : "\n", stderr);
}

static void refuse(load_run *load, uint64_t number, const char *why)
{
    load->refused++;
    fprintf(stderr, "%s%s:%" PRIu64 ": %s\n", load->terminal ? "\r" : "", load->file, number, why);
}

/* ---- Writes ---------------------------------------------------------------------------------------------------- */

static size_t take_answer(char *data, size_t size, size_t count, void *arg)
{
    return hf_buffer_append(arg, data, size * count) == 0 ? size * count : 0;
}

static void send_slot(load_run *load, load_slot *slot)
{
    char url[URL_SIZE];

    /* A key of 1024 bytes and a node's name fit; the partition is checked with the options. */
    snprintf(url, sizeof url, "http://%s%s", load->cli->nodes[slot->node % load->cli->node_count], slot->path);
    hf_buffer_clear(&slot->answer);
    slot->attempts++;
    slot->state = SENT;
    if (curl_easy_setopt(slot->curl, CURLOPT_URL, url) != CURLE_OK ||
        curl_multi_add_handle(load->multi, slot->curl) != CURLM_OK)
        cli_out_of_memory();
}

static void set_up(load_run *load, load_slot *slot)
{
    CURL *curl = slot->curl;

    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, "PUT");
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)load->cli->timeout_s);
    curl_easy_setopt(curl, CURLOPT_PRIVATE, slot);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_answer);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &slot->answer);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, slot->line.data);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)slot->line.size);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, slot->headers);
}

static void add_header(load_slot *slot, const char *text)
{
    struct curl_slist *longer = curl_slist_append(slot->headers, text);

    if (!longer)
        cli_out_of_memory();
    slot->headers = longer;
}

static void set_headers(load_run *load, load_slot *slot)
{
    char idempotency[CLI_IDEMPOTENCY_SIZE], text[CLI_HEADER_SIZE];

    curl_slist_free_all(slot->headers);
    slot->headers = NULL;
    cli_idempotency_key(load->file, slot->number, (hf_slice){slot->key.data, slot->key.size},
                        (hf_slice){slot->line.data, slot->line.size}, idempotency);
    snprintf(text, sizeof text, "Idempotency-Key: %s", idempotency);
    add_header(slot, text);
    add_header(slot, "Content-Type: application/json");
    add_header(slot, "Expect:");
    if (cli_authorization(load->cli, text))
        add_header(slot, text);
}

static void make_path(load_run *load, load_slot *slot)
{
    cli_path path;

    cli_path_begin(&path, "/v1/tables/");
    cli_path_segment(&path, hf_slice_of(load->table));
    cli_path_text(&path, "/records/");
    cli_path_segment(&path, (hf_slice){slot->key.data, slot->key.size});
    cli_path_query(&path, "partition", cli_option(load->cli, "partition"));
    free(slot->path);
    slot->path = strndup((const char *)path.text.data, path.text.size);
    if (!slot->path)
        cli_out_of_memory();
    hf_buffer_done(&path.text);
}

/* Whether a line that came before is still to be written to the same record (or, rarely, to one of the same hash). */
static int must_wait(const load_run *load, const load_slot *slot)
{
    for (uint32_t i = 0; i < load->slot_count; i++) {
        const load_slot *other = &load->slots[i];
        if (other != slot && other->state != IDLE && other->key_hash == slot->key_hash && other->number < slot->number)
            return 1;
    }
    return 0;
}

/* Begins to write the slot's line, or refuses it. */
static void begin_slot(load_run *load, load_slot *slot)
{
    hf_error error = {0};

    slot->number = cli_lines_number(load->input);
    if (cli_key_make(&load->rule, (hf_slice){slot->line.data, slot->line.size}, slot->number, &slot->key, &error) !=
        0) {
        refuse(load, slot->number, error.message);
        return;
    }
    make_path(load, slot);
    set_headers(load, slot);
    set_up(load, slot);
    slot->key_hash = hf_hash64(0, slot->key.data, slot->key.size);
    slot->attempts = 0;
    slot->state = HELD;
    load->busy++;
}

/* Milliseconds that the answer asks to wait, 0: none.  Who refuses is the partition's leader, whichever node was asked,
 * so it counts for all of them.  The head's time is in whole seconds. */
static uint64_t asked_pause(const load_slot *slot)
{
    hf_value document = hf_value_null();
    curl_off_t seconds = 0;
    hf_arena arena;
    int64_t asked = 0;

    hf_arena_init(&arena, PROBLEM_MAX);
    if (hf_json_parse((hf_slice){slot->answer.data, slot->answer.size}, &arena, &document, NULL) == 0)
        asked = hf_value_get_integer(&document, "retry_after_ms", 0);
    hf_arena_done(&arena);
    if (asked <= 0 && curl_easy_getinfo(slot->curl, CURLINFO_RETRY_AFTER, &seconds) == CURLE_OK && seconds > 0)
        asked = seconds * 1000;
    return asked > 0 ? (uint64_t)asked : 0;
}

/* Doubles with each round over all nodes and is spread, so that what failed together does not come back together; never
 * before the time that was asked for. */
static uint64_t pause_of(load_run *load, const load_slot *slot, CURLcode code)
{
    uint32_t round = (slot->attempts - 1) / load->cli->node_count;
    uint64_t pause = round > 6 ? PAUSE_MAX_MS : (uint64_t)PAUSE_FIRST_MS << round;
    uint64_t asked = code == CURLE_OK ? asked_pause(slot) : 0;

    pause = pause > PAUSE_MAX_MS ? PAUSE_MAX_MS : pause;
    pause = pause / 2 + hf_random_below(&load->random, pause);
    if (asked > load->retry_for_ms)
        asked = load->retry_for_ms;
    return asked > pause ? asked : pause;
}

static void give_up(load_run *load, const load_slot *slot, long status, CURLcode code)
{
    char where[600];

    if (code != CURLE_OK) {
        snprintf(where, sizeof where, "not acknowledged after %u attempts: %s", slot->attempts,
                 curl_easy_strerror(code));
        refuse(load, slot->number, where);
        return;
    }
    load->refused++;
    snprintf(where, sizeof where, "%s%s:%" PRIu64, load->terminal ? "\r" : "", load->file, slot->number);
    cli_complain(where, status, (hf_slice){slot->answer.data, slot->answer.size});
}

static void finish(load_run *load, load_slot *slot, long status, CURLcode code)
{
    int again = code != CURLE_OK || status >= 500 || status == 429 || status == 408;
    uint64_t now = now_ms();

    if (again && now - slot->started_ms < load->retry_for_ms) {
        slot->retry_ms = now + pause_of(load, slot, code);
        slot->node++; /* another node may do better */
        slot->state = WAITING;
        load->retries++;
        return;
    }
    slot->state = IDLE;
    load->busy--;
    if (code == CURLE_OK && status >= 200 && status < 300)
        load->written++;
    else
        give_up(load, slot, status, code);
}

/* How many requests have come to an end. */
static uint32_t take_finished(load_run *load)
{
    uint32_t count = 0;
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
        count++;
    }
    return count;
}

static void read_into(load_run *load, load_slot *slot)
{
    while (slot->state == IDLE && !load->ended) {
        hf_error error = {0};
        int32_t found = cli_lines_next(load->input, &slot->line, &error);
        if (found == 1) {
            begin_slot(load, slot);
            continue;
        }
        load->ended = 1;
        if (found < 0) {
            load->damaged = 1;
            fprintf(stderr, "%sholdfast: '%s': %s\n", load->terminal ? "\r" : "", load->file, error.message);
        }
    }
}

/* Gives every idle slot a line, and sends what is due. */
static void feed(load_run *load)
{
    uint64_t now = now_ms();

    for (uint32_t i = 0; i < load->slot_count; i++) {
        load_slot *slot = &load->slots[i];
        read_into(load, slot);
        if (slot->state == HELD && !must_wait(load, slot)) {
            slot->started_ms = now; /* time spent behind others is not its own */
            send_slot(load, slot);
        } else if (slot->state == WAITING && slot->retry_ms <= now) {
            send_slot(load, slot);
        }
    }
}

static void run(load_run *load)
{
    int running;

    load->started_ms = load->shown_ms = now_ms();
    do {
        feed(load);
        if (curl_multi_perform(load->multi, &running) != CURLM_OK)
            cli_out_of_memory();
        if (take_finished(load) == 0 && curl_multi_poll(load->multi, NULL, 0, POLL_MS, NULL) != CURLM_OK)
            cli_out_of_memory();
        show_progress(load, 0);
    } while (load->busy || !load->ended);
    show_progress(load, 1);
}

/* ---- The command ----------------------------------------------------------------------------------------------- */

static int read_options(load_run *load)
{
    const cli_run *cli = load->cli;
    const char *key = cli_option(cli, "key"), *partition = cli_option(cli, "partition");
    uint64_t parallel = PARALLEL_USUAL, seconds = RETRY_FOR_USUAL;
    hf_error error = {0};

    load->rule.line_prefix = cli_option(cli, "key-line");
    if (!key == !load->rule.line_prefix) {
        fprintf(stderr, "holdfast: expected either --key FIELD[,FIELD...] or --key-line PREFIX\n");
        return CLI_USAGE;
    }
    if (partition && strlen(partition) > CLI_KEY_MAX) {
        fprintf(stderr, "holdfast: --partition is longer than %d bytes\n", CLI_KEY_MAX);
        return CLI_USAGE;
    }
    if (key && cli_key_rule_parse(key, &load->rule, &error) != 0) {
        fprintf(stderr, "holdfast: --key: %s\n", error.message);
        return CLI_USAGE;
    }
    if (cli_number(cli, "parallel", 1, PARALLEL_MAX, &parallel) != CLI_OK ||
        cli_number(cli, "retry-for", 0, CLI_SECONDS_MAX, &seconds) != CLI_OK)
        return CLI_USAGE;
    load->slot_count = (uint32_t)parallel;
    load->retry_for_ms = seconds * 1000;
    return CLI_OK;
}

static void make_slots(load_run *load)
{
    load->multi = curl_multi_init();
    for (uint32_t i = 0; i < load->slot_count; i++) {
        load_slot *slot = &load->slots[i];
        slot->curl = curl_easy_init();
        slot->node = i;
        hf_buffer_init(&slot->line, LINE_MAXIMUM);
        hf_buffer_init(&slot->key, LINE_MAXIMUM);
        hf_buffer_init(&slot->answer, ANSWER_MAXIMUM);
        if (!slot->curl || !load->multi)
            cli_out_of_memory();
        cli_set_up_curl(slot->curl);
    }
    curl_multi_setopt(load->multi, CURLMOPT_MAXCONNECTS, (long)load->slot_count * 2);
}

static void free_load(load_run *load)
{
    for (uint32_t i = 0; i < load->slot_count; i++) {
        load_slot *slot = &load->slots[i];
        curl_easy_cleanup(slot->curl);
        curl_slist_free_all(slot->headers);
        hf_buffer_done(&slot->line);
        hf_buffer_done(&slot->key);
        hf_buffer_done(&slot->answer);
        free(slot->path);
    }
    curl_multi_cleanup(load->multi);
    cli_lines_close(load->input);
    free(load);
}

static int report(const load_run *load)
{
    if (load->cli->json)
        printf("{\"written\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"retries\":%" PRIu64 ",\"complete\":%s}\n",
               load->written, load->refused, load->retries, load->damaged ? "false" : "true");
    else if (load->refused)
        fprintf(stderr, "holdfast: %" PRIu64 " lines were refused, %" PRIu64 " were written\n", load->refused,
                load->written);
    return load->damaged || load->refused ? CLI_FAILED : CLI_OK;
}

int cli_load(cli_run *cli)
{
    load_run *load = calloc(1, sizeof *load);
    hf_error error = {0};
    int result;

    if (!load)
        return cli_out_of_memory();
    load->cli = cli;
    load->table = cli->arguments[0];
    load->file = cli->arguments[1];
    load->terminal = isatty(STDERR_FILENO);
    hf_random_init(&load->random, now_ms() ^ (uint64_t)getpid());
    result = read_options(load);
    if (result == CLI_OK && cli_lines_open(load->file, &load->input, &error) != 0) {
        fprintf(stderr, "holdfast: %s\n", error.message);
        result = CLI_FAILED;
    }
    if (result != CLI_OK) {
        free(load);
        return result;
    }
    make_slots(load);
    run(load);
    result = report(load);
    free_load(load);
    return result;
}
