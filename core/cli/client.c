/* HTTP to the nodes, with libcurl: the first node that can be reached answers. */
#include "cli/cli.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BODY_MAXIMUM = 1 << 30 };

static size_t take_body(char *data, size_t size, size_t count, void *arg)
{
    return hf_buffer_append(arg, data, size * count) == 0 ? size * count : 0;
}

/* Nothing of the request has reached the server. */
static int never_arrived(CURLcode code)
{
    return code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST;
}

static struct curl_slist *make_headers(const cli_run *cli, const char *const *headers)
{
    struct curl_slist *list = NULL;
    char line[512];

    for (; headers && *headers; headers++)
        list = curl_slist_append(list, *headers);
    if (cli->token) {
        snprintf(line, sizeof line, "Authorization: Bearer %s", cli->token);
        list = curl_slist_append(list, line);
    }
    return curl_slist_append(list, "Expect:"); /* one round trip less */
}

static CURLcode perform(cli_run *cli, CURL *curl, const char *method, const char *node, const char *path, hf_slice body)
{
    char url[8192];

    if ((size_t)snprintf(url, sizeof url, "http://%s%s", node, path) >= sizeof url)
        return CURLE_URL_MALFORMAT;
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 5L);
    (void)cli;
    if (body.data) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.data);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.size);
    }
    return curl_easy_perform(curl);
}

/* Asks one node after the other until one can be reached. */
static CURLcode ask(cli_run *cli, CURL *curl, const char *method, const char *path, hf_slice body)
{
    CURLcode code = CURLE_COULDNT_CONNECT;

    for (uint32_t i = 0; i < cli->node_count && never_arrived(code); i++) {
        cli->node = i;
        code = perform(cli, curl, method, cli->nodes[i], path, body);
    }
    return code;
}

static int no_answer(const cli_run *cli, CURLcode code)
{
    if (never_arrived(code))
        fprintf(stderr, "holdfast: no node could be reached (%s); is one running? See --node\n",
                cli->node_count > 1 ? "all that were named" : cli->nodes[0]);
    else
        fprintf(stderr, "holdfast: node %s: %s\n", cli->nodes[cli->node], curl_easy_strerror(code));
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

void cli_complain(const char *what, long status, hf_slice body)
{
    hf_arena arena;
    hf_value document = hf_value_null();
    hf_slice detail = {NULL, 0};

    hf_arena_init(&arena, 1 << 20);
    if (hf_json_parse(body, &arena, &document, NULL) == 0)
        detail = hf_value_get_string(&document, "detail", detail);
    if (detail.size)
        fprintf(stderr, "holdfast: %s: %.*s (%ld)\n", what, (int)detail.size, (const char *)detail.data, status);
    else
        fprintf(stderr, "holdfast: %s: answered with status %ld\n", what, status);
    const hf_value *problems = hf_value_get(&document, "problems");
    for (uint64_t i = 0; problems && problems->type == HF_VALUE_LIST && i < problems->count; i++) {
        hf_slice line = hf_value_slice(&problems->as.items[i]);
        fprintf(stderr, "  %.*s\n", (int)line.size, (const char *)line.data);
    }
    hf_arena_done(&arena);
}

int cli_request(cli_run *cli, const char *method, const char *path, const char *const *headers, hf_slice body,
                cli_answer *ret_answer)
{
    CURL *curl = curl_easy_init();
    struct curl_slist *list = make_headers(cli, headers);
    CURLcode code;

    *ret_answer = (cli_answer){.document = hf_value_null()};
    hf_buffer_init(&ret_answer->body, BODY_MAXIMUM);
    if (!curl || !list)
        return cli_out_of_memory();
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, cli->timeout_s);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &ret_answer->body);
    code = ask(cli, curl, method, path, body);
    if (code == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &ret_answer->status);
    curl_slist_free_all(list);
    curl_easy_cleanup(curl);
    if (code != CURLE_OK)
        return no_answer(cli, code);
    hf_slice bytes = {ret_answer->body.data, ret_answer->body.size};
    if (cli_code(ret_answer->status) != CLI_OK)
        cli_complain(cli->nodes[cli->node], ret_answer->status, bytes);
    else if (bytes.size)
        (void)hf_json_parse(bytes, &cli->arena, &ret_answer->document, NULL); /* a record's value may be any bytes */
    return cli_code(ret_answer->status);
}

/* ---- Streams
 * ----------------------------------------------------------------------------------------------------------- */

struct stream {
    CURL *curl;
    hf_buffer problem;
};

static size_t pass_on(char *data, size_t size, size_t count, void *arg)
{
    struct stream *stream = arg;
    long status = 0;

    curl_easy_getinfo(stream->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200)
        return take_body(data, size, count, &stream->problem);
    if (fwrite(data, size, count, stdout) != count || fflush(stdout) != 0)
        return 0;
    return size * count;
}

int cli_stream(cli_run *cli, const char *path)
{
    struct stream stream = {.curl = curl_easy_init()};
    struct curl_slist *list = make_headers(cli, NULL);
    long status = 0;
    CURLcode code;

    if (!stream.curl || !list)
        return cli_out_of_memory();
    hf_buffer_init(&stream.problem, 1 << 20);
    curl_easy_setopt(stream.curl, CURLOPT_HTTPHEADER, list);
    curl_easy_setopt(stream.curl, CURLOPT_WRITEFUNCTION, pass_on);
    curl_easy_setopt(stream.curl, CURLOPT_WRITEDATA, &stream);
    code = ask(cli, stream.curl, "GET", path, (hf_slice){NULL, 0});
    curl_easy_getinfo(stream.curl, CURLINFO_RESPONSE_CODE, &status);
    if (code == CURLE_OK && status != 200)
        cli_complain(cli->nodes[cli->node], status, (hf_slice){stream.problem.data, stream.problem.size});
    hf_buffer_done(&stream.problem);
    curl_slist_free_all(list);
    curl_easy_cleanup(stream.curl);
    return code == CURLE_OK ? cli_code(status) : no_answer(cli, code);
}
