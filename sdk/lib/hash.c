/* XXH64 and xoshiro256**; see lib/hash.h.
 *
 * XXH64 follows "xxHash fast digest algorithm", version 0.1.1, by Yann Collet (doc/xxhash_spec.md of the xxHash
 * repository); the steps below are numbered as there.  The generator is xoshiro256** 1.0 seeded by splitmix64, both by
 * David Blackman and Sebastiano Vigna (prng.di.unimi.it). */
#include <holdfast/lib/hash.h>

static const uint64_t PRIME_1 = 0x9e3779b185ebca87, PRIME_2 = 0xc2b2ae3d27d4eb4f, PRIME_3 = 0x165667b19e3779f9,
                      PRIME_4 = 0x85ebca77c2b2ae63, PRIME_5 = 0x27d4eb2f165667c5;

static uint64_t rotate(uint64_t value, int bits)
{
    return value << bits | value >> (64 - bits);
}

static uint64_t load32(const uint8_t *p)
{
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24;
}

static uint64_t load64(const uint8_t *p)
{
    return load32(p) | load32(p + 4) << 32;
}

static uint64_t round_lane(uint64_t accumulator, uint64_t lane)
{
    return rotate(accumulator + lane * PRIME_2, 31) * PRIME_1;
}

static uint64_t merge(uint64_t hash, uint64_t accumulator)
{
    return (hash ^ round_lane(0, accumulator)) * PRIME_1 + PRIME_4;
}

/* Steps 1 to 3: whole stripes of 32 bytes; *p is left at the rest. */
static uint64_t hash_stripes(uint64_t seed, const uint8_t **p, uint64_t size)
{
    uint64_t a[4] = {seed + PRIME_1 + PRIME_2, seed + PRIME_2, seed, seed - PRIME_1};

    for (; size >= 32; size -= 32, *p += 32)
        for (int i = 0; i < 4; i++)
            a[i] = round_lane(a[i], load64(*p + 8 * i));

    uint64_t hash = rotate(a[0], 1) + rotate(a[1], 7) + rotate(a[2], 12) + rotate(a[3], 18);

    for (int i = 0; i < 4; i++)
        hash = merge(hash, a[i]);
    return hash;
}

/* Step 5: the rest, fewer than 32 bytes. */
static uint64_t hash_rest(uint64_t hash, const uint8_t *p, uint64_t size)
{
    for (; size >= 8; size -= 8, p += 8)
        hash = rotate(hash ^ round_lane(0, load64(p)), 27) * PRIME_1 + PRIME_4;
    for (; size >= 4; size -= 4, p += 4)
        hash = rotate(hash ^ load32(p) * PRIME_1, 23) * PRIME_2 + PRIME_3;
    for (; size > 0; size--, p++)
        hash = rotate(hash ^ *p * PRIME_5, 11) * PRIME_1;
    return hash;
}

uint64_t hf_hash64(uint64_t seed, const void *data, uint64_t size)
{
    const uint8_t *p = data;
    uint64_t hash = size >= 32 ? hash_stripes(seed, &p, size) : seed + PRIME_5;

    hash = hash_rest(hash + size, p, size % 32);
    hash = (hash ^ hash >> 33) * PRIME_2;
    hash = (hash ^ hash >> 29) * PRIME_3;
    return hash ^ hash >> 32;
}

static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

void hf_random_init(hf_random *random, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        random->state[i] = splitmix64(&seed);
}

uint64_t hf_random_next(hf_random *random)
{
    uint64_t *s = random->state;
    uint64_t result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

uint64_t hf_random_below(hf_random *random, uint64_t n)
{
    if (n == 0)
        return 0;

    /* Values under 2^64 mod n would make the low results more likely; at most every second draw is thrown away. */
    uint64_t threshold = (0 - n) % n, value;

    do
        value = hf_random_next(random);
    while (value < threshold);
    return value % n;
}
