/* HTTP to the nodes, with libcurl: the first node that can be reached answers. */
#include "cli/cli.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BODY_MAXIMUM = 1 << 30, DOCUMENT_MAXIMUM = 1 << 30, CONNECT_SECONDS = 5, SILENCE_SECONDS = 60 };

/* A request, which may go to several nodes. */
struct request {
    cli_run *cli;
    CURL *curl;
    const char *method;
    const char *path;
    hf_slice body;
    int repeatable;    /* a repeat can do no harm */
    hf_buffer *answer; /* begins anew for each node */
};

static size_t take_body(char *data, size_t size, size_t count, void *arg)
{
    return hf_buffer_append(arg, data, size * count) == 0 ? size * count : 0;
}

/* Nothing of the request has reached the server. */
static int never_arrived(CURLcode code)
{
    return code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST;
}

static int broke_off(CURLcode code)
{
    return code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR ||
           code == CURLE_PARTIAL_FILE || code == CURLE_OPERATION_TIMEDOUT;
}

const char *cli_authorization(const cli_run *cli, char *text)
{
    if (!cli->token)
        return NULL;
    snprintf(text, CLI_HEADER_SIZE, "Authorization: Bearer %.*s", CLI_TOKEN_MAX, cli->token);
    return text;
}

void cli_set_up_curl(void *curl)
{
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L); /* a record's key may be "..", which is no way up */
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");   /* nodes are spoken to directly */
}

static struct curl_slist *make_headers(const cli_run *cli, const char *const *headers)
{
    struct curl_slist *list = NULL;
    char authorization[CLI_HEADER_SIZE];

    for (; headers && *headers; headers++)
        list = curl_slist_append(list, *headers);
    if (cli_authorization(cli, authorization))
        list = curl_slist_append(list, authorization);
    return curl_slist_append(list, "Expect:"); /* one round trip less */
}

static int has_header(const char *const *headers, const char *name)
{
    for (; headers && *headers; headers++)
        if (strncmp(*headers, name, strlen(name)) == 0)
            return 1;
    return 0;
}

static CURLcode perform(const struct request *request, const char *node)
{
    CURL *curl = request->curl;
    char url[8192];

    if ((size_t)snprintf(url, sizeof url, "http://%s%s", node, request->path) >= sizeof url)
        return CURLE_URL_MALFORMAT;
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    if (request->body.data) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body.data);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.size);
    }
    return curl_easy_perform(curl);
}

/* Asks one node after the other until one can be reached. */
static CURLcode ask(const struct request *request)
{
    CURLcode result = CURLE_COULDNT_CONNECT;
    cli_run *cli = request->cli;

    for (uint32_t i = 0; i < cli->node_count; i++) {
        hf_buffer_clear(request->answer);
        CURLcode code = perform(request, cli->nodes[i]);
        if (never_arrived(code) && !never_arrived(result))
            continue; /* what an earlier node did says more */
        cli->node = i;
        result = code;
        if (!never_arrived(code) && !(request->repeatable && broke_off(code)))
            break;
    }
    return result;
}

static int no_answer(const struct request *request, CURLcode code)
{
    const cli_run *cli = request->cli;
    const char *node = cli->nodes[cli->node];

    if (never_arrived(code))
        fprintf(stderr, "holdfast: no node could be reached (%s); is one running? See --node\n",
                cli->node_count > 1 ? "all that were named" : cli->nodes[0]);
    else if (broke_off(code) && !request->repeatable && strcmp(request->method, "GET") != 0)
        fprintf(stderr, "holdfast: node %s: %s; it may or may not have been done: look before you repeat it\n", node,
                curl_easy_strerror(code));
    else
        fprintf(stderr, "holdfast: node %s: %s\n", node, curl_easy_strerror(code));
    return CLI_UNAVAILABLE;
}

int cli_code(long status)
{
    if (status >= 200 && status < 300)
        return CLI_OK;
    if (status == 404)
        return CLI_NOT_FOUND;
    if (status == 409 || status == 412)
        return CLI_CONFLICT;
    return status >= 502 && status <= 504 ? CLI_UNAVAILABLE : CLI_FAILED;
}

static void print_clean(const char *before, hf_slice text, const char *after)
{
    hf_buffer line;

    hf_buffer_init(&line, BODY_MAXIMUM);
    cli_append_clean(&line, text);
    fprintf(stderr, "%s%.*s%s", before, (int)line.size, (const char *)line.data, after);
    hf_buffer_done(&line);
}

void cli_complain(const char *what, long status, hf_slice body)
{
    hf_arena arena;
    hf_value document = hf_value_null();
    hf_slice detail = {NULL, 0};

    hf_arena_init(&arena, DOCUMENT_MAXIMUM);
    if (hf_json_parse(body, &arena, &document, NULL) == 0)
        detail = hf_value_get_string(&document, "detail", detail);
    fprintf(stderr, "%s: ", what);
    if (detail.size) {
        print_clean("", detail, "");
        fprintf(stderr, " (%ld)\n", status);
    } else {
        fprintf(stderr, "answered with status %ld and nothing that says why\n", status);
    }
    const hf_value *problems = hf_value_get(&document, "problems");
    for (uint64_t i = 0; problems && problems->type == HF_VALUE_LIST && i < problems->count; i++)
        print_clean("  ", hf_value_slice(&problems->as.items[i]), "\n");
    hf_arena_done(&arena);
}

static int read_answer(const struct request *request, cli_answer *answer)
{
    hf_slice bytes = {answer->body.data, answer->body.size};
    char what[300];
    int code;

    curl_easy_getinfo(request->curl, CURLINFO_RESPONSE_CODE, &answer->status);
    code = cli_code(answer->status);
    if (code != CLI_OK) {
        snprintf(what, sizeof what, "holdfast: %s", request->cli->nodes[request->cli->node]);
        cli_complain(what, answer->status, bytes);
    } else if (bytes.size) {
        (void)hf_json_parse(bytes, &answer->arena, &answer->document, NULL); /* a record's value may be any bytes */
    }
    return code;
}

int cli_request(cli_run *cli, const char *method, const char *path, const char *const *headers, hf_slice body,
                cli_answer *ret_answer)
{
    struct curl_slist *list = make_headers(cli, headers);
    struct request request = {cli, curl_easy_init(), method, path, body, 0, &ret_answer->body};
    CURLcode code;

    request.repeatable = strcmp(method, "GET") == 0 || has_header(headers, "Idempotency-Key:");
    *ret_answer = (cli_answer){.document = hf_value_null()};
    hf_buffer_init(&ret_answer->body, BODY_MAXIMUM);
    hf_arena_init(&ret_answer->arena, DOCUMENT_MAXIMUM);
    if (body.data && !has_header(headers, "Content-Type:"))
        list = curl_slist_append(list, "Content-Type: application/json");
    if (!request.curl || !list)
        return cli_out_of_memory();
    cli_set_up_curl(request.curl);
    curl_easy_setopt(request.curl, CURLOPT_HTTPHEADER, list);
    curl_easy_setopt(request.curl, CURLOPT_TIMEOUT, (long)cli->timeout_s);
    curl_easy_setopt(request.curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(request.curl, CURLOPT_WRITEDATA, &ret_answer->body);
    code = ask(&request);

    int result = code == CURLE_OK ? read_answer(&request, ret_answer) : no_answer(&request, code);

    curl_slist_free_all(list);
    curl_easy_cleanup(request.curl);
    return result;
}

void cli_answer_done(cli_answer *answer)
{
    hf_buffer_done(&answer->body);
    hf_arena_done(&answer->arena);
    answer->document = hf_value_null();
}

/* ---- Streams --------------------------------------------------------------------------------------------------- */

struct stream {
    CURL *curl;
    hf_buffer problem;
    char last;    /* byte that was printed; a line begins behind '\n' */
    time_t heard; /* monotonic seconds */
    const cli_run *cli;
};

static time_t seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

/* Empty lines only show that the stream lives. */
static int print_lines(struct stream *stream, const char *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (data[i] == '\n' && stream->last == '\n')
            continue;
        if (putchar(data[i]) == EOF)
            return -1;
        stream->last = data[i];
    }
    return fflush(stdout);
}

static size_t pass_on(char *data, size_t size, size_t count, void *arg)
{
    struct stream *stream = arg;
    long status = 0;

    stream->heard = seconds_now();
    curl_easy_getinfo(stream->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200)
        return take_body(data, size, count, &stream->problem);
    return print_lines(stream, data, size * count) == 0 ? size * count : 0;
}

/* A node that says nothing for a minute is gone: a living one sends an empty line every 10 s. */
static int watch(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct stream *stream = arg;

    (void)a, (void)b, (void)c, (void)d;
    return seconds_now() - stream->heard > SILENCE_SECONDS;
}

static int end_stream(const struct stream *stream, const struct request *request, CURLcode code)
{
    long status = 0;
    char what[300];

    if (code == CURLE_ABORTED_BY_CALLBACK) {
        fprintf(stderr, "holdfast: node %s: nothing came for %d s\n", stream->cli->nodes[stream->cli->node],
                SILENCE_SECONDS);
        return CLI_UNAVAILABLE;
    }
    if (code == CURLE_WRITE_ERROR) {
        fprintf(stderr, "holdfast: the output could not be written\n");
        return CLI_FAILED;
    }
    if (code != CURLE_OK)
        return no_answer(request, code);
    curl_easy_getinfo(stream->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200) {
        snprintf(what, sizeof what, "holdfast: %s", stream->cli->nodes[stream->cli->node]);
        cli_complain(what, status, (hf_slice){stream->problem.data, stream->problem.size});
    }
    return status == 200 ? CLI_OK : cli_code(status) == CLI_OK ? CLI_FAILED : cli_code(status);
}

int cli_stream(cli_run *cli, const char *path)
{
    struct stream stream = {.curl = curl_easy_init(), .last = '\n', .heard = seconds_now(), .cli = cli};
    struct request request = {cli, stream.curl, "GET", path, {NULL, 0}, 0, &stream.problem};
    struct curl_slist *list = make_headers(cli, NULL);

    if (!stream.curl || !list)
        return cli_out_of_memory();
    hf_buffer_init(&stream.problem, 1 << 20);
    cli_set_up_curl(stream.curl);
    curl_easy_setopt(stream.curl, CURLOPT_HTTPHEADER, list);
    curl_easy_setopt(stream.curl, CURLOPT_WRITEFUNCTION, pass_on);
    curl_easy_setopt(stream.curl, CURLOPT_WRITEDATA, &stream);
    curl_easy_setopt(stream.curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(stream.curl, CURLOPT_XFERINFOFUNCTION, watch);
    curl_easy_setopt(stream.curl, CURLOPT_XFERINFODATA, &stream);

    int result = end_stream(&stream, &request, ask(&request));

    hf_buffer_done(&stream.problem);
    curl_slist_free_all(list);
    curl_easy_cleanup(stream.curl);
    return result;
}
