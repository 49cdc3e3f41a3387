/* Shows that whatever is logged, a line is one line and, in JSON, well formed; levels filter; nothing is lost silently;
 * the ring has the last lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../log.h"

static int ends[2];
static char line[65536];

static void open_log(int32_t format)
{
    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    hf_log_configure(&(hf_log_settings){.process = "store", .level = HF_LOG_INFO, .format = format, .fd = ends[1]});
}

static const char *read_log(void)
{
    ssize_t size = read(ends[0], line, sizeof line - 1);

    line[size > 0 ? size : 0] = '\0';
    return line;
}

static void close_log(void)
{
    close(ends[0]);
    close(ends[1]);
}

static hf_slice slice_of(const char *text)
{
    return (hf_slice){(const uint8_t *)text, strlen(text)};
}

static void text_lines_have_time_level_process_source(void **state)
{
    (void)state;
    open_log(HF_LOG_FORMAT_TEXT);
    hf_log(HF_LOG_WARNING, "raft", "lost %d of %d", 1, 3);
    assert_non_null(strstr(read_log(), "Z warning store raft: lost 1 of 3\n"));
    close_log();
}

static void lines_below_the_level_are_dropped(void **state)
{
    (void)state;
    open_log(HF_LOG_FORMAT_TEXT);
    hf_log(HF_LOG_DEBUG, "raft", "tick");
    assert_string_equal(read_log(), "");
    hf_log_set_level(HF_LOG_DEBUG);
    hf_log(HF_LOG_DEBUG, "raft", "tick");
    assert_non_null(strstr(read_log(), "tick"));
    close_log();
}

static void json_lines_escape_everything(void **state)
{
    const hf_log_field fields[] = {{"key", slice_of("a\"b\\c\nd\xff")}, {"city", slice_of("北京")}};

    (void)state;
    open_log(HF_LOG_FORMAT_JSON);
    hf_log_write(HF_LOG_ERROR, "http", slice_of("bad\xc0\xaf\tbytes"), fields, 2);
    read_log();
    assert_non_null(strstr(line, "\"level\":\"error\",\"process\":\"store\",\"source\":\"http\""));
    assert_non_null(strstr(line, "\"message\":\"bad\\u00c0\\u00af\\u0009bytes\""));
    assert_non_null(strstr(line, "\"key\":\"a\\\"b\\\\c\\u000ad\\u00ff\",\"city\":\"北京\"}\n"));
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    close_log();
}

static void long_lines_are_cut_and_say_so(void **state)
{
    static char text[40000];
    const hf_log_field fields[] = {{"first", slice_of("1")}, {"long", {(const uint8_t *)text, sizeof text}}};

    (void)state;
    memset(text, 1, sizeof text);
    open_log(HF_LOG_FORMAT_JSON);
    hf_log_write(HF_LOG_INFO, "x", (hf_slice){(const uint8_t *)text, sizeof text}, fields, 0);
    read_log();
    assert_true(strlen(line) <= 8192);
    assert_non_null(strstr(line, "\",\"cut\":true}\n"));
    hf_log_write(HF_LOG_INFO, "x", slice_of("short"), fields, 2);
    read_log();
    assert_non_null(strstr(line, "\"message\":\"short\",\"first\":\"1\",\"cut\":true}\n"));
    close_log();
}

static void the_trace_id_is_in_the_line(void **state)
{
    const uint8_t trace[16] = {0x4b, 0xf9, [15] = 0x36}, none[16] = {0};

    (void)state;
    open_log(HF_LOG_FORMAT_JSON);
    hf_log_set_trace(trace);
    hf_log(HF_LOG_INFO, "x", "y");
    assert_non_null(strstr(read_log(), "\"trace\":\"4bf90000000000000000000000000036\""));
    hf_log_set_trace(none);
    hf_log(HF_LOG_INFO, "x", "y");
    assert_null(strstr(read_log(), "trace"));
    close_log();
}

static void the_ring_has_the_last_lines(void **state)
{
    static char recent[32768];
    char few[100];

    (void)state;
    open_log(HF_LOG_FORMAT_TEXT);
    for (int i = 0; i < 100; i++)
        hf_log(HF_LOG_INFO, "x", "number %d.", i);
    uint64_t size = hf_log_recent(recent, sizeof recent - 1);
    recent[size] = '\0';
    assert_null(strstr(recent, "number 67."));
    assert_non_null(strstr(recent, "number 68."));
    assert_non_null(strstr(recent, "number 99.\n"));
    assert_true(hf_log_recent(few, sizeof few) <= sizeof few);
    close_log();
}

static void lines_that_cannot_be_written_are_counted(void **state)
{
    uint64_t before = hf_log_lost();

    (void)state;
    open_log(HF_LOG_FORMAT_TEXT);
    while (write(ends[1], line, sizeof line) > 0) /* fill the pipe: nobody reads */
        ;
    while (write(ends[1], "x", 1) > 0)
        ;
    hf_log(HF_LOG_INFO, "x", "y");
    assert_int_equal(hf_log_lost(), before + 1);
    close_log();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_lines_have_time_level_process_source),
        cmocka_unit_test(lines_below_the_level_are_dropped),
        cmocka_unit_test(json_lines_escape_everything),
        cmocka_unit_test(long_lines_are_cut_and_say_so),
        cmocka_unit_test(the_trace_id_is_in_the_line),
        cmocka_unit_test(the_ring_has_the_last_lines),
        cmocka_unit_test(lines_that_cannot_be_written_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
