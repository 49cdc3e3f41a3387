/* random.c: the one source of randomness, and the trace of what happened. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t roll(uint64_t below)
{
    uint64_t z = rng += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % below;
}

void trace(uint64_t a, uint64_t b)
{
    hash_value = (hash_value ^ (a * 0x9e3779b97f4a7c15u + b)) * 0x100000001b3u;
    hash_value ^= hash_value >> 29;
}

void fail(const char *what, uint64_t a, uint64_t b)
{
    if (!failed)
        snprintf(reason, sizeof reason, "%s (%llu, %llu) at %llu us", what, (unsigned long long)a,
                 (unsigned long long)b, (unsigned long long)now);
    failed = true;
}
