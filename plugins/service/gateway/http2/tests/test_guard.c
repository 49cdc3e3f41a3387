/* Shows which frames end a connection, and after how many of them; and that what clients do in earnest never does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "http2/guard.h"

enum { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION };
enum { END_STREAM = 1, END_HEADERS = 4, PROTOCOL_ERROR = 1, ENHANCE_YOUR_CALM = 11, SECOND = 1000000 };

static struct gateway_http2_guard fresh(uint64_t preface)
{
    struct gateway_http2_guard guard;

    gateway_http2_guard_init(&guard, preface, 16384, SECOND);
    return guard;
}

static const char *look_frame(struct gateway_http2_guard *guard, uint8_t type, uint8_t flags, uint32_t stream,
                              uint32_t size, uint64_t now_us)
{
    uint8_t bytes[9 + 20000] = {
        (uint8_t)(size >> 16),   (uint8_t)(size >> 8),    (uint8_t)size,          type,           flags,
        (uint8_t)(stream >> 24), (uint8_t)(stream >> 16), (uint8_t)(stream >> 8), (uint8_t)stream};

    return gateway_http2_guard_look(guard, (hf_slice){bytes, 9 + size}, now_us);
}

/* How many such frames go by, at one time. */
static uint32_t count_until_refused(uint8_t type, uint8_t flags, uint32_t size)
{
    struct gateway_http2_guard guard = fresh(0);
    uint32_t count = 0;

    assert_null(look_frame(&guard, HEADERS, END_HEADERS, 1, 10, SECOND));
    while (count < 100000 && !look_frame(&guard, type, flags, 1, size, SECOND))
        count++;
    assert_true(count == 100000 || guard.code == ENHANCE_YOUR_CALM);
    return count;
}

static void what_says_nothing_is_counted(void **state)
{
    (void)state;
    assert_int_equal(count_until_refused(PING, 0, 8), GATEWAY_HTTP2_CONTROLS_BURST);
    assert_int_equal(count_until_refused(SETTINGS, 0, 0), GATEWAY_HTTP2_CONTROLS_BURST);
    assert_int_equal(count_until_refused(PRIORITY, 0, 5), GATEWAY_HTTP2_CONTROLS_BURST);
    assert_int_equal(count_until_refused(GOAWAY, 0, 8), GATEWAY_HTTP2_CONTROLS_BURST);
    assert_int_equal(count_until_refused(77, 0, 100), GATEWAY_HTTP2_CONTROLS_BURST);
    assert_int_equal(count_until_refused(DATA, 0, 0), GATEWAY_HTTP2_CONTROLS_BURST);
    assert_int_equal(count_until_refused(RST_STREAM, 0, 4), GATEWAY_HTTP2_RESETS_BURST);
    assert_in_range(count_until_refused(WINDOW_UPDATE, 0, 4), 1000, 1010);
    assert_int_equal(count_until_refused(DATA, 0, 1000), 100000);
    assert_int_equal(count_until_refused(DATA, END_STREAM, 0), 100000);
}

static void time_and_content_allow_more(void **state)
{
    struct gateway_http2_guard guard = fresh(0);

    (void)state;
    for (uint32_t i = 0; i < 10000; i++) { /* an hour or so of them */
        assert_null(look_frame(&guard, PING, 0, 0, 8, SECOND + i * (uint64_t)SECOND / GATEWAY_HTTP2_CONTROLS_RATE));
        assert_null(look_frame(&guard, RST_STREAM, 0, 1, 4, SECOND + i * (uint64_t)SECOND / GATEWAY_HTTP2_RESETS_RATE));
    }
    for (uint32_t i = 0; i < 100000; i++) { /* a long download, and an upload, each with what belongs to it */
        gateway_http2_guard_sent(&guard);
        assert_null(look_frame(&guard, WINDOW_UPDATE, 0, 0, 4, SECOND));
        assert_null(look_frame(&guard, WINDOW_UPDATE, 0, 1, 4, SECOND));
        assert_null(look_frame(&guard, DATA, 0, 1, 100, SECOND));
        assert_null(look_frame(&guard, PING, 0, 0, 8, SECOND));
    }
    for (uint32_t i = 0; i < 100000; i++) { /* requests, with settings of windows for each */
        assert_null(look_frame(&guard, HEADERS, END_HEADERS | END_STREAM, 2 * i + 1, 50, SECOND));
        assert_null(look_frame(&guard, WINDOW_UPDATE, 0, 2 * i + 1, 4, SECOND));
    }
}

static void resets_of_ours_count_as_theirs(void **state)
{
    struct gateway_http2_guard guard = fresh(0);

    (void)state;
    for (int i = 0; i < GATEWAY_HTTP2_RESETS_BURST; i++)
        assert_null(i % 2 ? gateway_http2_guard_reset(&guard, SECOND)
                          : look_frame(&guard, RST_STREAM, 0, 1, 4, SECOND));
    assert_non_null(gateway_http2_guard_reset(&guard, SECOND));
}

static void heads_end(void **state)
{
    struct gateway_http2_guard guard = fresh(0);

    (void)state;
    assert_non_null(look_frame(&guard, HEADERS, END_HEADERS, 1, 16385, SECOND));
    guard = fresh(0);
    assert_null(look_frame(&guard, HEADERS, 0, 1, 16000, SECOND));
    assert_int_equal(guard.in_block, 1);
    assert_null(look_frame(&guard, CONTINUATION, 0, 1, 384, SECOND));
    assert_non_null(look_frame(&guard, CONTINUATION, END_HEADERS, 1, 1, SECOND));
    guard = fresh(0);
    assert_null(look_frame(&guard, HEADERS, 0, 1, 1, SECOND));
    for (int i = 0; i < GATEWAY_HTTP2_CONTINUATIONS_MAX; i++)
        assert_null(look_frame(&guard, CONTINUATION, 0, 1, 0, SECOND));
    assert_non_null(look_frame(&guard, CONTINUATION, 0, 1, 0, SECOND));
    assert_int_equal(guard.code, ENHANCE_YOUR_CALM);
    guard = fresh(0);
    for (uint32_t i = 0; i < 100; i++) { /* each anew */
        assert_null(look_frame(&guard, HEADERS, 0, 2 * i + 1, 10000, SECOND));
        assert_null(look_frame(&guard, CONTINUATION, END_HEADERS, 2 * i + 1, 6000, SECOND));
        assert_int_equal(guard.in_block, 0);
    }
}

static void streams_that_were_left_out_stay_so(void **state)
{
    struct gateway_http2_guard guard = fresh(0);

    (void)state;
    assert_null(look_frame(&guard, HEADERS, END_HEADERS, 1, 10, SECOND));
    assert_null(look_frame(&guard, HEADERS, END_HEADERS, 3, 10, SECOND));
    assert_null(look_frame(&guard, HEADERS, END_HEADERS | END_STREAM, 1, 10, SECOND)); /* trailers */
    assert_null(look_frame(&guard, HEADERS, END_HEADERS, 9, 10, SECOND));
    assert_null(look_frame(&guard, HEADERS, END_HEADERS, 3, 10, SECOND));
    assert_non_null(look_frame(&guard, HEADERS, END_HEADERS, 5, 10, SECOND));
    assert_int_equal(guard.code, PROTOCOL_ERROR);
    guard = fresh(0);
    assert_null(look_frame(&guard, HEADERS, END_HEADERS, 5, 10, SECOND)); /* the first may be any */
    assert_non_null(look_frame(&guard, HEADERS, END_HEADERS, 3, 10, SECOND));
}

static void borders_are_found_in_any_pieces(void **state)
{
    static const uint8_t frames[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                                    "\0\0\0\4\0\0\0\0\0"
                                    "\0\0\5\0\0\0\0\0\1abcde"
                                    "\0\0\10\6\0\0\0\0\0PINGPING"
                                    "\0\0\3\1\4\0\0\0\1abc";

    (void)state;
    for (uint64_t piece = 1; piece < sizeof frames; piece++) {
        struct gateway_http2_guard guard = fresh(GATEWAY_HTTP2_PREFACE_SIZE);

        for (uint64_t at = 0; at < sizeof frames - 1; at += piece) {
            uint64_t left = sizeof frames - 1 - at;
            assert_null(gateway_http2_guard_look(&guard, (hf_slice){frames + at, left < piece ? left : piece}, SECOND));
        }
        assert_int_equal(guard.last_stream, 1);
        assert_int_equal(guard.block_size, 3);
        assert_int_equal(guard.have + guard.left, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_says_nothing_is_counted),       cmocka_unit_test(time_and_content_allow_more),
        cmocka_unit_test(resets_of_ours_count_as_theirs),     cmocka_unit_test(heads_end),
        cmocka_unit_test(streams_that_were_left_out_stay_so), cmocka_unit_test(borders_are_found_in_any_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
