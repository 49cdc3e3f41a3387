/* Filling the table; see table.h. */
#include "table.h"

#include <holdfast/lib/hash.h>

#include <stdlib.h>

enum { SEED_OF_NAME = 0, FREE = UINT16_MAX };

int32_t maglev_is_prime(int64_t number)
{
    if (number < 2)
        return 0;
    for (int64_t divisor = 2; divisor * divisor <= number; divisor++)
        if (number % divisor == 0)
            return 0;
    return 1;
}

static int compare_identities(const void *a, const void *b)
{
    uint64_t left = ((const struct maglev_contender *)a)->identity;
    uint64_t right = ((const struct maglev_contender *)b)->identity;

    return (left > right) - (left < right);
}

/* In the order of their names' hashes, as turns come in that order and the list's must not matter.  That two names have
 * the same one happens in one of 10^12 lists of the greatest length. */
static void list_contenders(uint32_t size, const hf_balancer_server *servers, uint32_t server_count,
                            struct maglev_contender *contenders)
{
    for (uint32_t i = 0; i < server_count; i++) {
        uint64_t identity = hf_hash64(SEED_OF_NAME, servers[i].name.data, servers[i].name.size);
        hf_random chance;

        hf_random_init(&chance, identity);
        contenders[i] = (struct maglev_contender){.identity = identity,
                                                  .server = i,
                                                  .weight = servers[i].weight,
                                                  .position = (uint32_t)hf_random_below(&chance, size),
                                                  .skip = 1 + (uint32_t)hf_random_below(&chance, size - 1)};
    }
    qsort(contenders, server_count, sizeof *contenders, compare_identities);
}

/* Everybody gets one entry, so that weights far apart leave nobody out; the others are cut where the running sum of
 * the weights falls, so that they add up and each share is off by less than one. */
static void share_out(uint32_t size, struct maglev_contender *contenders, uint32_t count)
{
    uint64_t all = 0, sum = 0, given = 0;

    for (uint32_t i = 0; i < count; i++)
        all += contenders[i].weight;
    for (uint32_t i = 0; i < count; i++) {
        sum += contenders[i].weight;

        uint64_t until = (size - count) * sum / all;

        contenders[i].share = 1 + (uint32_t)(until - given);
        given = until;
    }
}

/* Its permutation is position, position + skip, position + 2 skip, ... modulo the size, which is prime: all entries
 * come, each once. */
static void take_entry(uint16_t *table, uint32_t size, struct maglev_contender *contender)
{
    uint32_t position = contender->position;

    while (table[position] != FREE) {
        position += contender->skip;
        position -= position >= size ? size : 0;
    }
    table[position] = (uint16_t)contender->server;
    contender->position = position;
}

/* The paper leaves weights open.  Here there are size / count rounds, in which a server of average weight takes about
 * one entry, one of three times the weight three, and one of a third takes one in every third round.  After the last
 * round each has its share, neither more nor less. */
static void take_turns(uint16_t *table, uint32_t size, struct maglev_contender *contenders, uint32_t count)
{
    uint32_t rounds = size / count;

    for (uint32_t round = 0; round < rounds; round++)
        for (uint32_t i = 0; i < count; i++)
            for (contenders[i].due += contenders[i].share; contenders[i].due >= rounds; contenders[i].due -= rounds)
                take_entry(table, size, &contenders[i]);
}

void maglev_fill(uint16_t *table, uint32_t size, const hf_balancer_server *servers, uint32_t server_count,
                 struct maglev_contender *contenders)
{
    for (uint32_t i = 0; i < size; i++)
        table[i] = FREE;
    list_contenders(size, servers, server_count, contenders);
    share_out(size, contenders, server_count);
    take_turns(table, size, contenders, server_count);
}
