/* What nodes say to each other to compare replicas, and who is wrong when these differ. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "service/compare_message.h"
#include "service/verdict.h"

static void requests_come_back(void **state)
{
    static const struct store_compare_request requests[] = {
        {STORE_COMPARE_BEGIN, 7, 99, 1234},
        {STORE_COMPARE_ASK, UINT64_MAX, UINT64_MAX, 0},
        {STORE_COMPARE_ASK, 7, 99, (UINT64_C(1) << 32) | 31},
        {STORE_COMPARE_DIFFERS, 7, 99, 3},
        {STORE_COMPARE_FORGET, 7, 99, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        struct store_compare_request read;
        uint8_t bytes[STORE_COMPARE_SIZE];

        store_compare_write(bytes, &requests[i]);
        assert_int_equal(store_compare_read((hf_slice){bytes, sizeof bytes}, &read), 0);
        assert_true(read.kind == requests[i].kind && read.partition == requests[i].partition &&
                    read.session == requests[i].session && read.argument == requests[i].argument);
        for (uint64_t size = 0; size < sizeof bytes; size++)
            assert_int_equal(store_compare_read((hf_slice){bytes, size}, &read), HF_EPROTOCOL);
    }
}

static void requests_that_cannot_be_are_refused(void **state)
{
    static const struct store_compare_request requests[] = {
        {STORE_COMPARE_BEGIN, 7, 99, 0},                      /* no entry */
        {STORE_COMPARE_BEGIN, 7, 0, 5},                       /* no session */
        {STORE_COMPARE_ASK, 7, 99, 1},                        /* there is one root */
        {STORE_COMPARE_ASK, 7, 99, (UINT64_C(1) << 32) | 32}, /* behind the last node */
        {STORE_COMPARE_ASK, 7, 99, UINT64_C(2) << 32},        /* a leaf */
        {0, 7, 99, 5},
        {5, 7, 99, 5},
    };
    uint8_t bytes[STORE_COMPARE_SIZE];
    struct store_compare_request read;

    (void)state;
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        store_compare_write(bytes, &requests[i]);
        assert_int_equal(store_compare_read((hf_slice){bytes, sizeof bytes}, &read), HF_EPROTOCOL);
    }
    store_compare_write(bytes, &(struct store_compare_request){STORE_COMPARE_FORGET, 7, 99, 0});
    bytes[0] = 2;
    assert_int_equal(store_compare_read((hf_slice){bytes, sizeof bytes}, &read), HF_EPROTOCOL);
}

static void hashes_come_back(void **state)
{
    uint64_t hashes[STORE_HASH_TREE_FANOUT], read[STORE_HASH_TREE_FANOUT];
    uint8_t bytes[STORE_COMPARE_HASHES_SIZE];

    (void)state;
    for (uint64_t i = 0; i < STORE_HASH_TREE_FANOUT; i++)
        hashes[i] = i * UINT64_C(0x123456789abcdef);
    store_compare_write_hashes(bytes, hashes);
    assert_int_equal(store_compare_read_hashes((hf_slice){bytes, sizeof bytes}, read), 0);
    assert_memory_equal(hashes, read, sizeof hashes);
    assert_int_equal(store_compare_read_hashes((hf_slice){bytes, sizeof bytes - 1}, read), HF_EPROTOCOL);
}

/* `trees`: a letter for each replica's content; '-': it did not answer.  `verdicts`: r, w or u. */
static void judge(const char *trees, uint32_t voters, const char *verdicts, int32_t differ)
{
    struct store_compared_side sides[8] = {{0}};
    uint32_t count = (uint32_t)strlen(trees);

    for (uint32_t i = 0; i < count; i++) {
        sides[i].answered = trees[i] != '-';
        sides[i].hashes[5] = (uint64_t)trees[i];
    }
    assert_int_equal(store_compare_judge(sides, count, voters), differ);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal("urw"[sides[i].verdict], verdicts[i]);
}

static void the_majority_is_right(void **state)
{
    (void)state;
    judge("aaa", 3, "rrr", 0);
    judge("aab", 3, "rrw", 1);
    judge("baa", 3, "wrr", 1);
    judge("abb", 3, "wrr", 1);
    judge("aabbb", 5, "wwrrr", 1);
    judge("abaac", 5, "rwrrw", 1);
}

static void without_a_majority_nobody_is_wrong(void **state)
{
    (void)state;
    judge("abc", 3, "uuu", 1);
    judge("ab", 2, "uu", 1);
    judge("aa", 2, "rr", 0);
    judge("a-b", 3, "uuu", 1);
    judge("aabb-", 5, "uuuuu", 1);
    judge("a", 1, "r", 0);
}

static void who_does_not_answer_counts_against_a_majority(void **state)
{
    (void)state;
    judge("aa-", 3, "rru", 0);
    judge("a--", 3, "uuu", 0);
    judge("aab--", 5, "uuuuu", 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_come_back),
        cmocka_unit_test(requests_that_cannot_be_are_refused),
        cmocka_unit_test(hashes_come_back),
        cmocka_unit_test(the_majority_is_right),
        cmocka_unit_test(without_a_majority_nobody_is_wrong),
        cmocka_unit_test(who_does_not_answer_counts_against_a_majority),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
