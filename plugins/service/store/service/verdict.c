#include "service/verdict.h"

#include <string.h>

static int is_same(const struct store_compared_side *a, const struct store_compared_side *b)
{
    return memcmp(a->hashes, b->hashes, sizeof a->hashes) == 0;
}

static uint32_t count_same(const struct store_compared_side *sides, uint32_t count,
                           const struct store_compared_side *as)
{
    uint32_t same = 0;

    for (uint32_t i = 0; i < count; i++)
        same += sides[i].answered && is_same(&sides[i], as);
    return same;
}

int32_t store_compare_judge(struct store_compared_side *sides, uint32_t count, uint32_t voters)
{
    const struct store_compared_side *right = NULL;
    int32_t differ = 0;

    for (uint32_t i = 0; i < count && !right; i++)
        if (sides[i].answered && count_same(sides, count, &sides[i]) * 2 > voters)
            right = &sides[i];
    for (uint32_t i = 0; i < count; i++) {
        sides[i].verdict = STORE_VERDICT_UNKNOWN;
        if (!sides[i].answered)
            continue;
        if (right)
            sides[i].verdict = is_same(&sides[i], right) ? STORE_VERDICT_RIGHT : STORE_VERDICT_WRONG;
        for (uint32_t k = 0; k < i; k++)
            differ |= sides[k].answered && !is_same(&sides[k], &sides[i]);
    }
    return differ;
}
