/* Draws by weight; see lib/sampler.h.
 *
 * The weights are kept as a binary indexed tree (P. Fenwick, "A new data structure for cumulative frequency tables",
 * Software: Practice and Experience 24(3), 1994): sums[i], counted from 1, holds the weights of the places that end
 * with i, as many as i's lowest bit says.  A draw is a search for the place on which a random part of the total falls
 * (Wong and Easton, "An efficient method for weighted sampling without replacement", SIAM J. Comput. 9(1), 1980). */
#include <holdfast/lib/sampler.h>

#include <stdlib.h>

/* With half of the weight out, one draw in 65536 fails so often; with almost all of it out most do, but then few places
 * are left to look at. */
enum { TRIES = 16 };

struct hf_sampler {
    uint32_t count;
    uint32_t *weights; /* behind the sums */
    uint64_t leaves;   /* the power of two that has room for all places: the search needs no bounds */
    uint64_t sums[];
};

hf_sampler *hf_sampler_create(uint32_t count)
{
    uint64_t leaves = 1;

    while (leaves < count)
        leaves *= 2;
    hf_sampler *sampler =
        calloc(1, sizeof *sampler + (leaves + 1) * sizeof *sampler->sums + count * sizeof *sampler->weights);

    if (!sampler)
        return NULL;
    sampler->count = count;
    sampler->leaves = leaves;
    sampler->weights = (uint32_t *)(void *)(sampler->sums + leaves + 1);
    return sampler;
}

void hf_sampler_destroy(hf_sampler *sampler)
{
    free(sampler);
}

void hf_sampler_weigh(hf_sampler *sampler, uint32_t place, uint32_t weight)
{
    uint64_t more = (uint64_t)weight - sampler->weights[place]; /* less wraps round, and comes out right */

    sampler->weights[place] = weight;
    for (uint64_t i = (uint64_t)place + 1; i <= sampler->leaves; i += i & -i)
        sampler->sums[i] += more;
}

uint32_t hf_sampler_weight(const hf_sampler *sampler, uint32_t place)
{
    return sampler->weights[place];
}

uint64_t hf_sampler_total(const hf_sampler *sampler)
{
    return sampler->sums[sampler->leaves];
}

/* The place on which `target` falls when all weights stand in a row; it is below the total. */
static uint32_t find(const hf_sampler *sampler, uint64_t target)
{
    uint64_t place = 0;

    for (uint64_t step = sampler->leaves / 2; step > 0; step /= 2)
        if (sampler->sums[place + step] <= target) {
            place += step;
            target -= sampler->sums[place];
        }
    return (uint32_t)place;
}

/* The same among the allowed ones only; *target loses the weights that it passes. */
static uint32_t find_allowed(const hf_sampler *sampler, const uint64_t *allowed, uint64_t *target)
{
    for (uint32_t word = 0; word < sampler->count / 64 + (sampler->count % 64 != 0); word++)
        for (uint64_t left = allowed[word]; left; left &= left - 1) {
            uint32_t place = word * 64 + (uint32_t)__builtin_ctzll(left);

            if (place >= sampler->count)
                break;
            if (*target < sampler->weights[place])
                return place;
            *target -= sampler->weights[place];
        }
    return HF_SAMPLER_NONE;
}

uint32_t hf_sampler_draw(const hf_sampler *sampler, hf_random *random, const uint64_t *allowed)
{
    uint64_t total = hf_sampler_total(sampler), left = UINT64_MAX;

    if (total == 0)
        return HF_SAMPLER_NONE;
    for (uint32_t try = 0; try < TRIES; try++) {
        uint32_t place = find(sampler, hf_random_below(random, total));

        if (allowed[place / 64] >> place % 64 & 1)
            return place;
    }
    (void)find_allowed(sampler, allowed, &left); /* passes them all, and so weighs them */
    if (left == UINT64_MAX)
        return HF_SAMPLER_NONE;
    uint64_t target = hf_random_below(random, UINT64_MAX - left);

    return find_allowed(sampler, allowed, &target);
}
