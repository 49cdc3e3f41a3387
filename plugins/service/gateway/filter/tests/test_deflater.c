/* Shows that what is compressed is gzip, that a flush holds nothing back, and that streams are used again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "filter/deflater.h"

#include <holdfast/lib/buffer.h>
#include <holdfast/lib/hash.h>

#include <string.h>
#include <zlib.h>

/* What it makes of the input, in small rooms. */
static void deflate_to(struct gateway_deflater *deflater, hf_slice input, int32_t how, hf_buffer *to)
{
    uint8_t room[100];
    uint64_t made;

    do {
        made = gateway_deflate(deflater, &input, how, room, sizeof room);
        assert_int_equal(hf_buffer_append(to, room, made), HF_OK);
    } while (made == sizeof room);
    assert_int_equal(input.size, 0);
}

/* Bytes that can be read from the front of a gzip stream. */
static uint64_t inflate_all(const hf_buffer *from, uint8_t *to, uint64_t size, int *ret_ended)
{
    z_stream stream = {0};

    assert_int_equal(inflateInit2(&stream, 31), Z_OK);
    stream.next_in = from->data;
    stream.avail_in = (uInt)from->size;
    stream.next_out = to;
    stream.avail_out = (uInt)size;
    *ret_ended = inflate(&stream, Z_SYNC_FLUSH) == Z_STREAM_END;
    inflateEnd(&stream);
    return size - stream.avail_out;
}

static void fill(uint8_t *bytes, uint64_t size)
{
    hf_random random;

    hf_random_init(&random, size);
    for (uint64_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)("abcdefgh01234567"[hf_random_below(&random, i % 64 < 32 ? 2 : 16)]);
}

static void what_goes_in_comes_out(void **state)
{
    static const uint64_t sizes[] = {0, 1, 100, 1000, 1024, 1025, 40000, 300000};
    static uint8_t bytes[300000], back[300000];
    struct gateway_deflaters pool = {0};

    (void)state;
    for (int32_t level = 1; level <= 9; level += 4)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            struct gateway_deflater *deflater = gateway_deflater_take(&pool, level, sizes[i]);
            hf_buffer out;
            int ended;

            assert_non_null(deflater);
            hf_buffer_init(&out, 1 << 20);
            fill(bytes, sizes[i]);
            for (uint64_t at = 0; at < sizes[i]; at += 4096)
                deflate_to(deflater, (hf_slice){bytes + at, sizes[i] - at < 4096 ? sizes[i] - at : 4096},
                           GATEWAY_DEFLATE_GOES_ON, &out);
            deflate_to(deflater, (hf_slice){NULL, 0}, GATEWAY_DEFLATE_ENDS, &out);
            assert_int_equal(inflate_all(&out, back, sizeof back, &ended), sizes[i]);
            assert_true(ended);
            assert_memory_equal(back, bytes, sizes[i]);
            hf_buffer_done(&out);
            gateway_deflater_give_back(&pool, deflater);
        }
    gateway_deflaters_done(&pool);
}

static void a_flush_holds_nothing_back(void **state)
{
    struct gateway_deflaters pool = {0};
    struct gateway_deflater *deflater = gateway_deflater_take(&pool, 1, GATEWAY_DEFLATER_UNKNOWN);
    uint8_t back[4096];
    hf_buffer out;
    int ended;

    (void)state;
    assert_non_null(deflater);
    hf_buffer_init(&out, 1 << 20);
    for (uint64_t i = 1; i <= 100; i++) {
        deflate_to(deflater, (hf_slice){(const uint8_t *)"data: one\n\n", 11}, GATEWAY_DEFLATE_GOES_ON, &out);
        deflate_to(deflater, (hf_slice){NULL, 0}, GATEWAY_DEFLATE_FLUSHES, &out);
        assert_int_equal(inflate_all(&out, back, sizeof back, &ended), 11 * i);
        assert_false(ended);
    }
    hf_buffer_done(&out);
    gateway_deflater_give_back(&pool, deflater);
    gateway_deflaters_done(&pool);
}

static void streams_are_used_again_and_bounded(void **state)
{
    static struct gateway_deflater *taken[GATEWAY_DEFLATERS_MAX];
    struct gateway_deflaters pool = {0};
    struct gateway_deflater *first;

    (void)state;
    for (int i = 0; i < GATEWAY_DEFLATERS_MAX; i++) {
        taken[i] = gateway_deflater_take(&pool, 1, 1000);
        assert_non_null(taken[i]);
    }
    assert_null(gateway_deflater_take(&pool, 1, 1000));
    for (int i = 0; i < GATEWAY_DEFLATERS_MAX; i++)
        gateway_deflater_give_back(&pool, taken[i]);
    assert_int_equal(pool.used, 0);
    assert_int_equal(pool.spare_count[GATEWAY_DEFLATER_BITS_MIN], GATEWAY_DEFLATERS_SPARE_MAX);
    first = gateway_deflater_take(&pool, 1, 1000);
    assert_int_equal(pool.spare_count[GATEWAY_DEFLATER_BITS_MIN], GATEWAY_DEFLATERS_SPARE_MAX - 1);
    gateway_deflater_give_back(&pool, first);
    first = gateway_deflater_take(&pool, 1, 100000); /* another size */
    assert_int_equal(pool.spare_count[GATEWAY_DEFLATER_BITS_MIN], GATEWAY_DEFLATERS_SPARE_MAX);
    gateway_deflater_give_back(&pool, first);
    gateway_deflater_give_back(&pool, NULL);
    gateway_deflaters_done(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_goes_in_comes_out),
                                       cmocka_unit_test(a_flush_holds_nothing_back),
                                       cmocka_unit_test(streams_are_used_again_and_bounded)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
