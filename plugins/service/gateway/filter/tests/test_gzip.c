/* Shows which answers are compressed, and what their heads say then. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "filter/gzip.h"

#include <holdfast/lib/value.h>

#include <stdio.h>
#include <string.h>

static hf_slice types[3];
static struct gateway_gzip rules = {.level = 1, .minimum = 100, .types = types, .type_count = 3};

static int set_up(void **state)
{
    (void)state;
    types[0] = hf_slice_of("text/*");
    types[1] = hf_slice_of("application/json");
    types[2] = hf_slice_of("image/svg+xml");
    return 0;
}

struct message {
    char request_text[512], answer_text[1024];
    hf_http1_head request, answer;
};

static void read_message(struct message *message, const char *method, const char *accept, const char *status,
                         const char *fields)
{
    snprintf(message->request_text, sizeof message->request_text, "%s / HTTP/1.1\r\nHost: a\r\n%s\r\n", method, accept);
    snprintf(message->answer_text, sizeof message->answer_text, "HTTP/1.1 %s\r\n%s\r\n", status, fields);
    assert_true(hf_http1_parse_request(hf_slice_of(message->request_text), &message->request, NULL) > 0);
    assert_true(hf_http1_parse_response(hf_slice_of(message->answer_text), message->request.method, &message->answer,
                                        NULL) > 0);
}

#define TAKES "Accept-Encoding: gzip\r\n"
#define LONG  "Content-Length: 100\r\n"
#define TEXT  "Content-Type: text/html; charset=utf-8\r\n"

static void each_row_of_the_table(void **state)
{
    static const struct {
        const char *method, *accept, *status, *fields;
        int32_t decision;
    } rows[] = {
        {"GET", TAKES, "200 OK", TEXT LONG, GATEWAY_GZIP_DOES},
        {"POST", TAKES, "201 Created", TEXT LONG, GATEWAY_GZIP_DOES},
        {"HEAD", TAKES, "200 OK", TEXT LONG, GATEWAY_GZIP_DOES},
        {"HEAD", TAKES, "200 OK", TEXT "Content-Length: 99\r\n", GATEWAY_GZIP_NONE},
        {"HEAD", TAKES, "200 OK", TEXT, GATEWAY_GZIP_DOES},
        {"GET", TAKES, "200 OK", TEXT "Transfer-Encoding: chunked\r\n", GATEWAY_GZIP_DOES},
        {"GET", TAKES, "200 OK", TEXT, GATEWAY_GZIP_DOES},
        {"GET", TAKES, "200 OK", "Content-Type: APPLICATION/JSON\r\n" LONG, GATEWAY_GZIP_DOES},
        {"GET", TAKES, "200 OK", "Content-Type: application/json5\r\n" LONG, GATEWAY_GZIP_NONE},
        {"GET", TAKES, "200 OK", "Content-Type: text/\r\n" LONG, GATEWAY_GZIP_NONE},
        {"GET", TAKES, "200 OK", "Content-Type: image/png\r\n" LONG, GATEWAY_GZIP_NONE},
        {"GET", TAKES, "200 OK", LONG, GATEWAY_GZIP_NONE},
        {"GET", TAKES, "200 OK", TEXT "Content-Length: 99\r\n", GATEWAY_GZIP_NONE},
        {"GET", "", "200 OK", TEXT LONG, GATEWAY_GZIP_VARIES},
        {"GET", "Accept-Encoding: br\r\n", "200 OK", TEXT LONG, GATEWAY_GZIP_VARIES},
        {"GET", "Accept-Encoding: br\r\n" TAKES, "200 OK", TEXT LONG, GATEWAY_GZIP_DOES},
        {"GET", TAKES, "204 No Content", TEXT, GATEWAY_GZIP_NONE},
        {"GET", TAKES, "205 Reset Content", TEXT LONG, GATEWAY_GZIP_NONE},
        {"GET", TAKES, "206 Partial Content", TEXT LONG, GATEWAY_GZIP_NONE},
        {"GET", TAKES, "200 OK", TEXT LONG "Content-Range: bytes 0-99/200\r\n", GATEWAY_GZIP_NONE},
        {"GET", TAKES, "304 Not Modified", TEXT, GATEWAY_GZIP_NONE},
        {"GET", TAKES, "301 Moved", TEXT LONG, GATEWAY_GZIP_NONE},
        {"GET", TAKES, "404 Not Found", TEXT LONG, GATEWAY_GZIP_NONE},
        {"GET", TAKES, "500 Error", TEXT LONG, GATEWAY_GZIP_NONE},
        {"GET", TAKES, "200 OK", TEXT LONG "Content-Encoding: br\r\n", GATEWAY_GZIP_NONE},
        {"GET", TAKES, "200 OK", TEXT LONG "Cache-Control: public\r\ncache-control: max-age=1, No-Transform\r\n",
         GATEWAY_GZIP_NONE},
        {"GET", TAKES, "200 OK", TEXT LONG "Cache-Control: no-store\r\n", GATEWAY_GZIP_DOES},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct message message;
        struct gateway_gzip_answer answer = {.head = &message.answer};

        read_message(&message, rows[i].method, rows[i].accept, rows[i].status, rows[i].fields);
        assert_int_equal(gateway_gzip_decide(&rules, &message.request, &answer), rows[i].decision);
    }
}

static void without_a_level_nothing_is_compressed(void **state)
{
    struct gateway_gzip off = rules;
    struct message message;
    struct gateway_gzip_answer answer = {.head = &message.answer};

    (void)state;
    off.level = 0;
    read_message(&message, "GET", TAKES, "200 OK", TEXT LONG);
    assert_int_equal(gateway_gzip_decide(&off, &message.request, &answer), GATEWAY_GZIP_NONE);
}

/* What a route has otherwise is what counts. */
static void edits_of_the_route_come_before(void **state)
{
    struct gateway_edit encoded = {hf_slice_of("content-encoding"), hf_slice_of("br")};
    struct gateway_edit typed = {hf_slice_of("content-type"), hf_slice_of("text/plain")};
    struct gateway_edit untyped = {hf_slice_of("Content-Type"), {NULL, 0}};
    struct message message;
    struct gateway_gzip_answer answer = {.head = &message.answer, .edit_count = 1};

    (void)state;
    read_message(&message, "GET", TAKES, "200 OK", "Content-Type: image/png\r\n" LONG);
    answer.edits = &typed;
    assert_int_equal(gateway_gzip_decide(&rules, &message.request, &answer), GATEWAY_GZIP_DOES);
    read_message(&message, "GET", TAKES, "200 OK", TEXT LONG);
    answer.edits = &untyped;
    assert_int_equal(gateway_gzip_decide(&rules, &message.request, &answer), GATEWAY_GZIP_NONE);
    answer.edits = &encoded;
    assert_int_equal(gateway_gzip_decide(&rules, &message.request, &answer), GATEWAY_GZIP_NONE);
}

/* ---- Edits ------------------------------------------------------------------------------------------------------- */

/* The value that the edits give a field; "-": it is taken out; NULL: they say nothing of it. */
static const char *edited(const struct gateway_gzip_answer *answer, const char *name)
{
    static char text[256];
    const char *found = NULL;

    for (uint32_t i = 0; i < answer->edit_count; i++) {
        hf_slice value = answer->edits[i].value;

        if (!hf_http1_same(answer->edits[i].name, hf_slice_of(name)))
            continue;
        assert_null(found); /* once */
        snprintf(text, sizeof text, "%.*s", value.data ? (int)value.size : 1,
                 value.data ? (const char *)value.data : "-");
        found = text;
    }
    return found;
}

static struct gateway_gzip_answer edit(struct message *message, hf_arena *arena, int32_t decision,
                                       const struct gateway_edit *edits, uint32_t count)
{
    struct gateway_gzip_answer answer = {&message->answer, edits, count};

    assert_int_equal(gateway_gzip_edit(decision, &answer, arena), HF_OK);
    return answer;
}

static void the_head_says_what_was_done(void **state)
{
    struct message message;
    hf_arena arena;

    (void)state;
    hf_arena_init(&arena, 1 << 20);
    read_message(&message, "GET", TAKES, "200 OK",
                 TEXT LONG "ETag: \"a\"\r\nAccept-Ranges: bytes\r\nVary: Origin\r\nVary: Cookie\r\nDigest: x\r\n");
    struct gateway_gzip_answer answer = edit(&message, &arena, GATEWAY_GZIP_DOES, NULL, 0);
    assert_string_equal(edited(&answer, "content-encoding"), "gzip");
    assert_string_equal(edited(&answer, "vary"), "Origin, Cookie, Accept-Encoding");
    assert_string_equal(edited(&answer, "etag"), "W/\"a\"");
    assert_string_equal(edited(&answer, "accept-ranges"), "-");
    assert_string_equal(edited(&answer, "digest"), "-");
    assert_null(edited(&answer, "content-digest"));

    answer = edit(&message, &arena, GATEWAY_GZIP_VARIES, NULL, 0);
    assert_string_equal(edited(&answer, "vary"), "Origin, Cookie, Accept-Encoding");
    assert_int_equal(answer.edit_count, 1);
    answer = edit(&message, &arena, GATEWAY_GZIP_NONE, NULL, 0);
    assert_int_equal(answer.edit_count, 0);
    hf_arena_done(&arena);
}

static void what_is_right_already_stays(void **state)
{
    struct message message;
    hf_arena arena;

    (void)state;
    hf_arena_init(&arena, 1 << 20);
    read_message(&message, "GET", TAKES, "200 OK", TEXT LONG "ETag: W/\"a\"\r\nVary: origin, accept-encoding\r\n");
    struct gateway_gzip_answer answer = edit(&message, &arena, GATEWAY_GZIP_DOES, NULL, 0);
    assert_null(edited(&answer, "vary"));
    assert_null(edited(&answer, "etag"));
    read_message(&message, "GET", TAKES, "200 OK", TEXT LONG "Vary: *\r\n");
    answer = edit(&message, &arena, GATEWAY_GZIP_DOES, NULL, 0);
    assert_null(edited(&answer, "vary"));
    assert_null(edited(&answer, "etag"));
    hf_arena_done(&arena);
}

static void edits_of_the_route_are_kept(void **state)
{
    const struct gateway_edit edits[] = {{hf_slice_of("X-A"), hf_slice_of("1")},
                                         {hf_slice_of("Vary"), hf_slice_of("X-B")},
                                         {hf_slice_of("ETag"), {NULL, 0}}};
    struct message message;
    hf_arena arena;

    (void)state;
    hf_arena_init(&arena, 1 << 20);
    read_message(&message, "GET", TAKES, "200 OK", TEXT LONG "ETag: \"a\"\r\nVary: Origin\r\n");
    struct gateway_gzip_answer answer = edit(&message, &arena, GATEWAY_GZIP_DOES, edits, 3);
    assert_string_equal(edited(&answer, "x-a"), "1");
    assert_string_equal(edited(&answer, "vary"), "X-B, Accept-Encoding");
    assert_string_equal(edited(&answer, "etag"), "-"); /* the route has taken it out */
    hf_arena_done(&arena);
}

static void no_memory_is_told(void **state)
{
    struct message message;
    hf_arena arena;

    (void)state;
    hf_arena_init(&arena, 0);
    read_message(&message, "GET", TAKES, "200 OK", TEXT LONG);
    struct gateway_gzip_answer answer = {.head = &message.answer};
    assert_int_equal(gateway_gzip_edit(GATEWAY_GZIP_DOES, &answer, &arena), HF_ENOMEM);
    hf_arena_done(&arena);
}

static void types_are_types(void **state)
{
    static const char *const right[] = {"text/html", "text/*", "application/vnd.a.b+json"};
    static const char *const wrong[] = {"",      "text",           "*",          "*/*",  "text/",
                                        "/html", "text/html; a=b", "te xt/html", "a/b/c"};

    (void)state;
    for (size_t i = 0; i < sizeof right / sizeof *right; i++)
        assert_true(gateway_gzip_is_type(hf_slice_of(right[i])));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(gateway_gzip_is_type(hf_slice_of(wrong[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_row_of_the_table),
                                       cmocka_unit_test(without_a_level_nothing_is_compressed),
                                       cmocka_unit_test(edits_of_the_route_come_before),
                                       cmocka_unit_test(the_head_says_what_was_done),
                                       cmocka_unit_test(what_is_right_already_stays),
                                       cmocka_unit_test(edits_of_the_route_are_kept),
                                       cmocka_unit_test(no_memory_is_told),
                                       cmocka_unit_test(types_are_types)};

    return cmocka_run_group_tests(tests, set_up, NULL);
}
