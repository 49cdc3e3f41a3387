/* Shows that both ways to compute CRC-32C give the vectors of RFC 3720, B.4, and agree at every length. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <holdfast/lib/checksum.h>

typedef uint32_t (*crc_function)(uint32_t seed, const void *data, uint64_t size);

static const crc_function functions[] = {hf_crc32c, hf_crc32c_portable};

static void gives_the_vectors(void **state)
{
    uint8_t zeros[32] = {0}, ones[32], up[32], down[32];

    (void)state;
    memset(ones, 0xff, sizeof ones);
    for (int i = 0; i < 32; i++) {
        up[i] = (uint8_t)i;
        down[i] = (uint8_t)(31 - i);
    }
    for (int f = 0; f < 2; f++) {
        assert_int_equal(functions[f](0, NULL, 0), 0);
        assert_int_equal(functions[f](0, zeros, 32), 0x8a9136aa);
        assert_int_equal(functions[f](0, ones, 32), 0x62a8ab43);
        assert_int_equal(functions[f](0, up, 32), 0x46dd794e);
        assert_int_equal(functions[f](0, down, 32), 0x113fdb5c);
        assert_int_equal(functions[f](0, "123456789", 9), 0xe3069283);
    }
}

static void parts_make_the_whole(void **state)
{
    uint8_t data[2000];

    (void)state;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 131 + 7);
    for (size_t start = 0; start < 8; start++) {
        for (size_t size = 0; size <= sizeof data - start; size += size < 300 ? 1 : 7) {
            uint32_t whole = hf_crc32c_portable(0, data + start, size);

            assert_int_equal(hf_crc32c(0, data + start, size), whole);
            size_t cut = size / 3;
            uint32_t part = hf_crc32c(0, data + start, cut);
            assert_int_equal(hf_crc32c(part, data + start + cut, size - cut), whole);
            assert_int_equal(hf_crc32c_portable(part, data + start + cut, size - cut), whole);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_the_vectors),
        cmocka_unit_test(parts_make_the_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
