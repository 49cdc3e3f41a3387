/* Shows that a release is read back from its file as it was, that what is wrong in a request or a file is refused with
 * its name, and that no damage of a file is taken for a release. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "release/record.h"

#include <holdfast/lib/hash.h>

#include <string.h>

static int32_t read_wish(const char *json, struct gateway_release *release, hf_error *error)
{
    hf_arena arena;
    hf_value value;

    hf_arena_init(&arena, 1 << 20);
    assert_int_equal(hf_json_parse(hf_slice_of(json), &arena, &value, NULL), 0);
    int32_t code = gateway_release_read_wish(&value, release, error);
    hf_arena_done(&arena);
    return code;
}

static void a_wish_has_defaults(void **state)
{
    struct gateway_release release;

    (void)state;
    assert_int_equal(read_wish("{\"canary\":\"b\"}", &release, NULL), 0);
    assert_string_equal(release.canary, "b");
    assert_string_equal(release.key, "client");
    assert_int_equal(release.rules.step_count, 3);
    assert_int_equal(release.rules.steps[0], 100);
    assert_int_equal(release.rules.steps[2], 2500);
    assert_int_equal(release.rules.step_us, 600 * 1000000ull);
    assert_int_equal(release.slow_us, 0);
    assert_true(release.rules.margins[GATEWAY_MEASURE_FAILED] == 0.005);
    assert_true(release.rules.margins[GATEWAY_MEASURE_SLOW] > 1); /* nothing is slow: never in the way */
    assert_true(gateway_release_share(&release) == 1);
}

static void a_wish_says_it_all(void **state)
{
    struct gateway_release release;

    (void)state;
    assert_int_equal(read_wish("{\"canary\":\"b\",\"key\":\"cookie user\",\"steps\":[0.5,10,99.99],"
                               "\"requests_minimum\":7,\"step_time_ms\":250,\"slow_ms\":500,\"margin_slow\":2,"
                               "\"margin_failed\":5,\"error\":0.1}",
                               &release, NULL),
                     0);
    assert_int_equal(release.rules.steps[0], 50);
    assert_int_equal(release.rules.steps[2], 9999);
    assert_int_equal(release.rules.requests_minimum, 7);
    assert_int_equal(release.rules.step_us, 250000);
    assert_int_equal(release.slow_us, 500000);
    assert_true(release.rules.margins[GATEWAY_MEASURE_SLOW] == 0.02);
    assert_true(release.rules.error == 0.1);
}

static void mistakes_are_named(void **state)
{
    static const struct {
        const char *json, *word;
    } cases[] = {{"[]", "object"},
                 {"{}", "canary"},
                 {"{\"canary\":7}", "canary"},
                 {"{\"canary\":\"\"}", "canary"},
                 {"{\"canary\":\"b\",\"step\":[1]}", "'step'"},
                 {"{\"canary\":\"b\",\"steps\":[]}", "steps"},
                 {"{\"canary\":\"b\",\"steps\":[0]}", "steps"},
                 {"{\"canary\":\"b\",\"steps\":[5,5]}", "steps"},
                 {"{\"canary\":\"b\",\"steps\":[100]}", "steps"},
                 {"{\"canary\":\"b\",\"steps\":[99.999]}", "steps"},
                 {"{\"canary\":\"b\",\"steps\":[\"1\"]}", "steps"},
                 {"{\"canary\":\"b\",\"steps\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]}", "steps"},
                 {"{\"canary\":\"b\",\"requests_minimum\":0}", "requests_minimum"},
                 {"{\"canary\":\"b\",\"step_time_ms\":1.5}", "step_time_ms"},
                 {"{\"canary\":\"b\",\"margin_failed\":0}", "margin_failed"},
                 {"{\"canary\":\"b\",\"margin_slow\":\"1\"}", "margin_slow"},
                 {"{\"canary\":\"b\",\"slow_ms\":-1}", "slow_ms"},
                 {"{\"canary\":\"b\",\"error\":1}", "error"}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gateway_release release = {.id = 77};
        hf_error error = {0};

        assert_int_equal(read_wish(cases[i].json, &release, &error), HF_EINVAL);
        assert_non_null(strstr(error.message, cases[i].word));
        assert_int_equal(release.id, 77); /* untouched */
    }
}

static struct gateway_release an_advanced_one(void)
{
    struct gateway_release release;

    assert_int_equal(read_wish("{\"canary\":\"b\",\"key\":\"field X-User\",\"slow_ms\":500}", &release, NULL), 0);
    strcpy(release.stable, "a \"quoted\" one");
    gateway_canary_init(&release.test, 12345, 5000000);
    release.test.step = 1;
    for (int i = 0; i < 10; i++) {
        gateway_canary_request(&release.test, GATEWAY_STABLE, i == 3, i > 7);
        gateway_canary_request(&release.test, GATEWAY_CANARY, i == 4, 0);
    }
    release.totals[GATEWAY_CANARY] = (struct gateway_canary_count){100, {3, 2}};
    release.totals[GATEWAY_STABLE] = (struct gateway_canary_count){2000, {30, 20}};
    release.began_ms = 1700000000000;
    release.changed_ms = 1700000000001;
    return release;
}

/* The clock of the next process begins anew. */
static void what_was_written_is_read_back(void **state)
{
    struct gateway_release first = an_advanced_one(), second = first, read[GATEWAY_RELEASES_MAX];
    const struct gateway_release *both[] = {&first, &second};
    hf_buffer text;
    uint32_t count = 0;

    (void)state;
    second.state = GATEWAY_RELEASE_ROLLED_BACK;
    second.test.state = GATEWAY_CANARY_ROLLED_BACK;
    strcpy(second.stable, "c");
    strcpy(second.reason, "it failed");
    hf_buffer_init(&text, 1 << 20);
    assert_int_equal(gateway_releases_write(&text, both, 2, 5000000 + 70000000), 0);
    assert_int_equal(gateway_releases_read((hf_slice){text.data, text.size}, 1000000, read, &count, NULL), 0);
    assert_int_equal(count, 2);
    assert_string_equal(read[0].stable, first.stable);
    assert_string_equal(read[0].canary, "b");
    assert_string_equal(read[0].key, "field X-User");
    assert_int_equal(1000000 - read[0].test.step_began_us, 70000000);
    assert_int_equal(read[0].test.step, 1);
    assert_int_equal(read[0].test.salt, 12345);
    assert_memory_equal(read[0].test.versions, first.test.versions, sizeof first.test.versions);
    assert_memory_equal(read[0].totals, first.totals, sizeof first.totals);
    assert_memory_equal(read[0].rules.steps, first.rules.steps, sizeof first.rules.steps);
    assert_true(read[0].rules.margins[0] == first.rules.margins[0]);
    assert_int_equal(read[0].slow_us, first.slow_us);
    assert_int_equal(read[1].state, GATEWAY_RELEASE_ROLLED_BACK);
    assert_int_equal(read[1].test.state, GATEWAY_CANARY_ROLLED_BACK);
    assert_string_equal(read[1].reason, "it failed");
    assert_true(gateway_release_share(&read[0]) == 5);
    assert_true(gateway_release_share(&read[1]) == 0);
    hf_buffer_done(&text);
}

/* Whatever byte is another one, or wherever it ends: refused, or a release within its limits. */
static void damage_does_no_harm(void **state)
{
    struct gateway_release first = an_advanced_one(), read[GATEWAY_RELEASES_MAX];
    const struct gateway_release *one[] = {&first};
    hf_buffer text;
    hf_random random;
    uint32_t count = 0;

    (void)state;
    hf_random_init(&random, 1);
    hf_buffer_init(&text, 1 << 20);
    assert_int_equal(gateway_releases_write(&text, one, 1, 6000000), 0);
    for (uint64_t size = 0; size < text.size; size++)
        assert_int_equal(gateway_releases_read((hf_slice){text.data, size}, 0, read, &count, NULL), HF_ECORRUPT);
    for (int i = 0; i < 20000; i++) {
        uint8_t *at = &text.data[hf_random_below(&random, text.size)], was = *at;

        *at = (uint8_t)hf_random_next(&random);
        if (gateway_releases_read((hf_slice){text.data, text.size}, 0, read, &count, NULL) == 0 && count == 1) {
            assert_in_range(read[0].rules.step_count, 1, GATEWAY_CANARY_STEPS_MAX);
            assert_in_range(read[0].test.step, 0, read[0].rules.step_count - 1);
            assert_in_range(read[0].state, GATEWAY_RELEASE_RUNNING, GATEWAY_RELEASE_ABORTED);
        }
        *at = was;
    }
    assert_int_equal(gateway_releases_read(hf_slice_of("{\"format\":2,\"canaries\":[]}"), 0, read, &count, NULL),
                     HF_ECORRUPT);
    assert_int_equal(gateway_releases_read(hf_slice_of("{\"format\":1,\"canaries\":[]}"), 0, read, &count, NULL), 0);
    assert_int_equal(count, 0);
    hf_buffer_done(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wish_has_defaults), cmocka_unit_test(a_wish_says_it_all),
        cmocka_unit_test(mistakes_are_named),  cmocka_unit_test(what_was_written_is_read_back),
        cmocka_unit_test(damage_does_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
