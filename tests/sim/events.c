/* events.c: what happens next: a heap ordered by time, then by when it was scheduled. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool earlier(const event *a, const event *b)
{
    return a->at < b->at || (a->at == b->at && a->seq < b->seq);
}

void schedule(event e)
{
    size_t at = heap_count++;

    if (heap_count > heap_capacity) {
        heap_capacity = heap_capacity ? heap_capacity * 2 : 1024;
        heap = realloc(heap, heap_capacity * sizeof *heap);
        if (!heap)
            abort();
    }
    e.seq = sequence++;
    for (; at > 0 && earlier(&e, &heap[(at - 1) / 2]); at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = e;
}

event next_event(void)
{
    event top = heap[0], last = heap[--heap_count];
    size_t at = 0, child;

    while ((child = 2 * at + 1) < heap_count) {
        if (child + 1 < heap_count && earlier(&heap[child + 1], &heap[child]))
            child++;
        if (!earlier(&heap[child], &last))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = last;
    return top;
}

void free_packet(packet *p)
{
    free(p->entries);
    free(p);
}

void free_event(event *e)
{
    if (e->type == EV_MESSAGE)
        free_packet(e->data);
    else
        free(e->data);
}
