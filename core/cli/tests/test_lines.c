/* Shows that every line of a file is given out, from plain and compressed files, and that a file which lost its end is
 * noticed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>

#include "cli/lines.h"

static char path[] = "/tmp/holdfast-lines-XXXXXX";

static void write_file(const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void assert_next(cli_lines *lines, hf_buffer *line, const char *text, size_t size, uint64_t number)
{
    hf_error error = {0};

    assert_int_equal(cli_lines_next(lines, line, &error), 1);
    assert_int_equal(line->size, size);
    assert_memory_equal(line->data, text, size);
    assert_int_equal(cli_lines_number(lines), number);
}

static void lines_have_their_numbers(void **state)
{
    static const char text[] = "one\n\r\n\ntwo\r\nth\0ree\nlast";
    cli_lines *lines = NULL;
    hf_buffer line;

    (void)state;
    write_file(text, sizeof text - 1);
    hf_buffer_init(&line, 1000);
    assert_int_equal(cli_lines_open(path, &lines, NULL), 0);
    assert_next(lines, &line, "one", 3, 1);
    assert_next(lines, &line, "two", 3, 4);
    assert_next(lines, &line, "th\0ree", 6, 5);
    assert_next(lines, &line, "last", 4, 6);
    assert_int_equal(cli_lines_next(lines, &line, NULL), 0);
    assert_int_equal(cli_lines_next(lines, &line, NULL), 0);
    cli_lines_close(lines);
    hf_buffer_done(&line);
}

static void long_lines_cross_blocks_and_have_a_limit(void **state)
{
    enum { SIZE = 200000 };
    char *text = malloc(SIZE + 3);
    cli_lines *lines = NULL;
    hf_buffer line;
    hf_error error = {0};

    (void)state;
    assert_non_null(text);
    memset(text, 'x', SIZE);
    memcpy(text + SIZE, "\ny\n", 3);
    write_file(text, SIZE + 3);
    hf_buffer_init(&line, SIZE);
    assert_int_equal(cli_lines_open(path, &lines, NULL), 0);
    assert_next(lines, &line, text, SIZE, 1);
    assert_next(lines, &line, "y", 1, 2);
    assert_int_equal(cli_lines_next(lines, &line, NULL), 0);
    cli_lines_close(lines);
    hf_buffer_done(&line);
    hf_buffer_init(&line, SIZE - 1);
    assert_int_equal(cli_lines_open(path, &lines, NULL), 0);
    assert_int_equal(cli_lines_next(lines, &line, &error), HF_ETOOLARGE);
    assert_non_null(strstr(error.message, "line 1 "));
    cli_lines_close(lines);
    hf_buffer_done(&line);
    free(text);
}

/* Reads to the end; how many lines there were, and in *ret_result how it ended. */
static uint64_t count_lines(int32_t *ret_result)
{
    cli_lines *lines = NULL;
    hf_buffer line;
    uint64_t count = 0, expected = 0;

    hf_buffer_init(&line, 1 << 20);
    assert_int_equal(cli_lines_open(path, &lines, NULL), 0);
    while ((*ret_result = cli_lines_next(lines, &line, NULL)) == 1) {
        char text[32];
        int size = snprintf(text, sizeof text, "%llu", (unsigned long long)expected++ * 7919);
        assert_int_equal(line.size, size); /* never half a line */
        assert_memory_equal(line.data, text, (size_t)size);
        count++;
    }
    cli_lines_close(lines);
    hf_buffer_done(&line);
    return count;
}

static void cut_and_damaged_archives_are_noticed(void **state)
{
    enum { LINES = 50000, PARTS = 40 };
    static uint8_t bytes[1 << 20];
    int32_t result = 0;
    gzFile file = gzopen(path, "wb");

    (void)state;
    for (unsigned long long i = 0; i < LINES; i++)
        gzprintf(file, "%llu\n", i * 7919);
    assert_int_equal(gzclose(file), Z_OK);
    assert_int_equal(count_lines(&result), LINES);
    assert_int_equal(result, 0);

    FILE *raw = fopen(path, "rb");
    assert_non_null(raw);
    size_t size = fread(bytes, 1, sizeof bytes, raw);
    assert_true(size > 1000 && size < sizeof bytes);
    fclose(raw);
    for (size_t i = 1; i < PARTS; i++) { /* cut off anywhere but in the two bytes by which gzip is recognised */
        write_file(bytes, size * i / PARTS);
        assert_true(count_lines(&result) < LINES || i + 1 == PARTS);
        assert_int_equal(result, HF_ECORRUPT);
    }
    for (size_t tail = 1; tail <= 8; tail++) { /* of the check sum and the length */
        write_file(bytes, size - tail);
        count_lines(&result);
        assert_int_equal(result, HF_ECORRUPT);
    }
    bytes[size - 6] ^= 1; /* check sum */
    write_file(bytes, size);
    count_lines(&result);
    assert_int_equal(result, HF_ECORRUPT);
}

static void what_is_no_file_is_refused(void **state)
{
    cli_lines *lines = NULL;
    hf_error error = {0};

    (void)state;
    assert_int_equal(cli_lines_open("/nowhere/none", &lines, &error), HF_EIO);
    assert_non_null(strstr(error.message, "/nowhere/none"));
    assert_int_equal(cli_lines_open("/tmp", &lines, &error), HF_EIO);
    assert_null(lines);
    cli_lines_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_have_their_numbers),
        cmocka_unit_test(long_lines_cross_blocks_and_have_a_limit),
        cmocka_unit_test(cut_and_damaged_archives_are_noticed),
        cmocka_unit_test(what_is_no_file_is_refused),
    };
    int file = mkstemp(path), failed;

    if (file < 0)
        return 1;
    close(file);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
