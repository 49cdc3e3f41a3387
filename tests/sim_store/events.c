/* events.c: what happens next: a heap ordered by time, then by when it was scheduled; and the one source of randomness. */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t rng, now, seed, hash_value, serial;
bool calm, failed, verbose;
char reason[HF_ERROR_MESSAGE_SIZE + 200];
static event *heap;
static size_t heap_count, heap_capacity;

uint64_t roll(uint64_t below)
{
    uint64_t z = rng += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % below;
}

bool chance(uint32_t percent)
{
    return roll(100) < percent;
}

void trace(uint64_t a, uint64_t b)
{
    hash_value = (hash_value ^ (a * 0x9e3779b97f4a7c15u + b)) * 0x100000001b3u;
    hash_value ^= hash_value >> 29;
}

void say(const char *format, ...)
{
    va_list arguments;

    if (!verbose)
        return;
    printf("%10llu ", (unsigned long long)now);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

void fail(const char *what, uint64_t a, uint64_t b)
{
    if (!failed)
        snprintf(reason, sizeof reason, "%s (%llu, %llu) at %llu us", what, (unsigned long long)a,
                 (unsigned long long)b, (unsigned long long)now);
    failed = true;
}

static bool earlier(const event *a, const event *b)
{
    return a->at < b->at || (a->at == b->at && a->sequence < b->sequence);
}

void schedule(event e)
{
    size_t at = heap_count++;

    if (heap_count > heap_capacity) {
        uint32_t owner = heap_of_all();

        heap_capacity = heap_capacity ? heap_capacity * 2 : 4096;
        heap = realloc(heap, heap_capacity * sizeof *heap);
        heap_back(owner);
    }
    e.sequence = serial++;
    for (; at > 0 && earlier(&e, &heap[(at - 1) / 2]); at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = e;
}

bool next_event(event *ret_event)
{
    size_t at = 0, child;

    if (heap_count == 0)
        return false;
    *ret_event = heap[0];
    event last = heap[--heap_count];

    while ((child = 2 * at + 1) < heap_count) {
        if (child + 1 < heap_count && earlier(&heap[child + 1], &heap[child]))
            child++;
        if (!earlier(&heap[child], &last))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = last;
    return true;
}

void forget_events(void)
{
    free(heap);
    heap = NULL;
    heap_count = heap_capacity = 0;
}
