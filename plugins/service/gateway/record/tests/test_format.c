/* Lines of access logs: their exact form, and what becomes of bytes that nobody should send. */
#include "record/record.h"

#include <holdfast/lib/json.h>
#include <holdfast/lib/value.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static struct gateway_record usual(void)
{
    struct gateway_record record = {.ended_us = UINT64_C(1793527200) * 1000000 + 42,
                                    .duration_us = 1234,
                                    .upstream_us = 1200,
                                    .bytes_received = 80,
                                    .bytes_sent = 320,
                                    .body_sent = 200,
                                    .status = 200,
                                    .tries = 1,
                                    .client = hf_slice_of("192.0.2.1"),
                                    .method = hf_slice_of("GET"),
                                    .target = hf_slice_of("/a?b=c"),
                                    .protocol = hf_slice_of("HTTP/1.1"),
                                    .host = hf_slice_of("a.example"),
                                    .user_agent = hf_slice_of("curl/8"),
                                    .listener = hf_slice_of("web"),
                                    .route = hf_slice_of("all"),
                                    .upstream = hf_slice_of("app"),
                                    .server = hf_slice_of("one")};

    (void)gateway_trace_read(hf_slice_of("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), &record.trace);
    memcpy(record.trace.span, "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
    return record;
}

static void assert_line(const struct gateway_record *record, int32_t format, const char *expected)
{
    struct gateway_clock clock = {0};
    hf_buffer text;

    hf_buffer_init(&text, 1 << 20);
    assert_int_equal(gateway_record_append(record, format, &clock, &text), HF_OK);
    assert_int_equal(hf_buffer_append(&text, "", 1), HF_OK);
    assert_string_equal((const char *)text.data, expected);
    hf_buffer_done(&text);
}

static void json_has_everything(void **state)
{
    struct gateway_record record = usual();

    (void)state;
    assert_line(&record, GATEWAY_FORMAT_JSON,
                "{\"time\":\"2026-11-01T10:00:00.000042Z\",\"client\":\"192.0.2.1\",\"method\":\"GET\","
                "\"target\":\"/a?b=c\",\"protocol\":\"HTTP/1.1\",\"status\":200,\"bytes_received\":80,"
                "\"bytes_sent\":320,\"duration_us\":1234,\"listener\":\"web\",\"route\":\"all\",\"upstream\":\"app\","
                "\"server\":\"one\",\"tries\":1,\"upstream_us\":1200,\"host\":\"a.example\","
                "\"user_agent\":\"curl/8\",\"referer\":\"\",\"end\":\"answered\","
                "\"trace\":\"0af7651916cd43dd8448eb211c80319c\",\"span\":\"0102030405060708\",\"sampled\":true}\n");
}

static void json_says_why(void **state)
{
    struct gateway_record record = {.status = 503,
                                    .end = GATEWAY_END_DEGRADED,
                                    .why = hf_slice_of("no server is available"),
                                    .line = hf_slice_of("\x16\x03\x01")};

    (void)state;
    assert_line(&record, GATEWAY_FORMAT_JSON,
                "{\"time\":\"1970-01-01T00:00:00.000000Z\",\"client\":\"\",\"method\":\"\",\"target\":\"\","
                "\"protocol\":\"\",\"line\":\"\\u0016\\u0003\\u0001\",\"status\":503,\"bytes_received\":0,"
                "\"bytes_sent\":0,\"duration_us\":0,\"listener\":\"\",\"route\":\"\",\"upstream\":\"\",\"server\":\"\","
                "\"tries\":0,\"upstream_us\":0,\"host\":\"\",\"user_agent\":\"\",\"referer\":\"\","
                "\"end\":\"degraded\",\"why\":\"no server is available\"}\n");
}

static void combined_is_what_nginx_writes(void **state)
{
    struct gateway_record record = usual();

    (void)state;
    assert_line(&record, GATEWAY_FORMAT_COMBINED,
                "192.0.2.1 - - [01/Nov/2026:10:00:00 +0000] \"GET /a?b=c HTTP/1.1\" 200 200 \"-\" \"curl/8\"\n");
    record.referer = hf_slice_of("http://x/\"\\");
    record.user_agent = hf_slice_of("a\nb\x7f\xc3\xa9");
    record.target = (hf_slice){(const uint8_t *)"/\0\r", 3};
    assert_line(&record, GATEWAY_FORMAT_COMBINED,
                "192.0.2.1 - - [01/Nov/2026:10:00:00 +0000] \"GET /\\x00\\x0D HTTP/1.1\" 200 200 "
                "\"http://x/\\x22\\x5C\" \"a\\x0Ab\\x7F\\xC3\\xA9\"\n");
}

static void what_could_not_be_read_is_shown(void **state)
{
    struct gateway_record record = {.status = 400, .client = hf_slice_of("::1"), .line = hf_slice_of("\x16\x03 x")};

    (void)state;
    assert_line(&record, GATEWAY_FORMAT_COMBINED,
                "::1 - - [01/Jan/1970:00:00:00 +0000] \"\\x16\\x03 x\" 400 0 \"-\" \"-\"\n");
    record.line = (hf_slice){NULL, 0};
    assert_line(&record, GATEWAY_FORMAT_COMBINED, "::1 - - [01/Jan/1970:00:00:00 +0000] \"-\" 400 0 \"-\" \"-\"\n");
}

static void all_bytes_stay_one_valid_line(void **state)
{
    struct gateway_record record = usual();
    struct gateway_clock clock = {0};
    uint8_t all[256];
    hf_value document;
    hf_buffer text;
    hf_arena arena;

    (void)state;
    for (int i = 0; i < 256; i++)
        all[i] = (uint8_t)i;
    record.user_agent = record.target = record.method = record.host = (hf_slice){all, sizeof all};
    hf_buffer_init(&text, 1 << 20);
    hf_arena_init(&arena, 1 << 20);
    assert_int_equal(gateway_record_append(&record, GATEWAY_FORMAT_JSON, &clock, &text), HF_OK);
    assert_ptr_equal(memchr(text.data, '\n', text.size), text.data + text.size - 1);
    assert_int_equal(hf_json_parse((hf_slice){text.data, text.size - 1}, &arena, &document, NULL), HF_OK);
    assert_int_equal(hf_value_get_string(&document, "target", (hf_slice){NULL, 0}).size, 128 + 128 * 3);
    hf_arena_done(&arena);
    hf_buffer_done(&text);
}

/* As the SDK writes it, which looks at each byte. */
static void every_byte_is_written_the_same_at_every_place(void **state)
{
    struct gateway_clock clock = {0};
    hf_buffer text, expected;

    (void)state;
    hf_buffer_init(&text, 1 << 20);
    hf_buffer_init(&expected, 1 << 20);
    for (uint32_t size = 1; size <= 20; size++)
        for (uint32_t at = 0; at < size; at++)
            for (int byte = 0; byte < 256; byte++) {
                struct gateway_record record = {.status = 1};
                uint8_t bytes[20];

                memset(bytes, 'a', sizeof bytes);
                bytes[at] = (uint8_t)byte;
                record.client = (hf_slice){bytes, size};
                hf_buffer_clear(&text);
                hf_buffer_clear(&expected);
                assert_int_equal(gateway_record_append(&record, GATEWAY_FORMAT_JSON, &clock, &text), HF_OK);
                assert_int_equal(hf_json_append_string(&expected, record.client), HF_OK);
                assert_memory_equal(text.data + strlen("{\"time\":\"1970-01-01T00:00:00.000000Z\",\"client\":"),
                                    expected.data, expected.size);
                hf_buffer_clear(&text);
                assert_int_equal(gateway_record_append(&record, GATEWAY_FORMAT_COMBINED, &clock, &text), HF_OK);
                assert_int_equal(text.data[at] == 'x' || text.data[at + 1] == 'x',
                                 byte < 0x20 || byte >= 0x7f || byte == '"' || byte == '\\' || byte == 'x');
            }
    hf_buffer_done(&text);
    hf_buffer_done(&expected);
}

static void long_fields_are_cut_and_lines_are_whole_or_not_there(void **state)
{
    struct gateway_record record = usual();
    struct gateway_clock clock = {0};
    char *many = calloc(1, GATEWAY_FIELD_MAX * 3);
    hf_buffer text;

    (void)state;
    assert_non_null(many);
    memset(many, 1, GATEWAY_FIELD_MAX * 3);
    record.target = (hf_slice){(const uint8_t *)many, GATEWAY_FIELD_MAX * 3};
    hf_buffer_init(&text, 64 << 10);
    assert_int_equal(gateway_record_append(&record, GATEWAY_FORMAT_JSON, &clock, &text), HF_OK);
    assert_in_range(text.size, GATEWAY_FIELD_MAX * 6, GATEWAY_FIELD_MAX * 6 + 1000);
    uint64_t size = text.size;
    text.maximum = size + 500;
    assert_int_equal(gateway_record_append(&record, GATEWAY_FORMAT_JSON, &clock, &text), HF_ETOOLARGE);
    assert_int_equal(text.size, size);
    hf_buffer_done(&text);
    free(many);
}

static void the_clock_goes_on(void **state)
{
    struct gateway_record record = usual();
    struct gateway_clock clock = {0};
    hf_buffer text;

    (void)state;
    hf_buffer_init(&text, 1 << 20);
    for (int i = 0; i < 3; i++, record.ended_us += 700000) {
        static const char *const times[] = {"10:00:00.000042", "10:00:00.700042", "10:00:01.400042"};
        hf_buffer_clear(&text);
        assert_int_equal(gateway_record_append(&record, GATEWAY_FORMAT_JSON, &clock, &text), HF_OK);
        assert_memory_equal(text.data + strlen("{\"time\":\"2026-11-01T"), times[i], 15);
    }
    hf_buffer_done(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_has_everything),
        cmocka_unit_test(json_says_why),
        cmocka_unit_test(combined_is_what_nginx_writes),
        cmocka_unit_test(what_could_not_be_read_is_shown),
        cmocka_unit_test(all_bytes_stay_one_valid_line),
        cmocka_unit_test(every_byte_is_written_the_same_at_every_place),
        cmocka_unit_test(long_fields_are_cut_and_lines_are_whole_or_not_there),
        cmocka_unit_test(the_clock_goes_on),
    };
    setenv("TZ", "UTC", 1);
    tzset();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
