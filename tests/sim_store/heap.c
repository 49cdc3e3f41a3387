/* heap.c: memory by node.  The linker sends every allocation here (--wrap), so that a crash gives back all that a node
 * had, wherever its code stood, and what survives is what the simulator keeps for its disks. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

typedef struct block {
    struct block *next, *previous;
    size_t size, reserved; /* keeps what follows aligned */
} block;

void *__real_calloc(size_t count, size_t size);
void __real_free(void *memory);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void __wrap_free(void *memory);

static block heads[NODES_MAX + 1]; /* the first is nobody's */
static uint32_t owner;
node *here;

void enter(node *n)
{
    here = n;
    owner = n->index + 1;
    n->loop_now = local_time(n);
}

void leave(void)
{
    here = NULL;
    owner = 0;
}

uint32_t heap_of_all(void)
{
    uint32_t before = owner;

    owner = 0;
    return before;
}

void heap_back(uint32_t before)
{
    owner = before;
}

/* Never fails: what the store does without memory is for its own tests. */
void *__wrap_malloc(size_t size)
{
    block *b = __real_calloc(1, sizeof *b + size);
    block *head = &heads[owner];

    if (!b)
        abort();
    if (!head->next)
        head->next = head->previous = head;
    *b = (block){head->next, head, size, 0};
    b->next->previous = b;
    head->next = b;
    return b + 1;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return size && count > SIZE_MAX / size ? NULL : __wrap_malloc(count * size);
}

/* Up to what malloc aligns anyway. */
void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    if (alignment > sizeof(block) / 2)
        abort();
    return __wrap_malloc(size);
}

void __wrap_free(void *memory)
{
    block *b = memory;

    if (!memory)
        return;
    b--;
    b->next->previous = b->previous;
    b->previous->next = b->next;
    __real_free(b);
}

void *__wrap_realloc(void *memory, size_t size)
{
    void *fresh = __wrap_malloc(size);

    if (memory) {
        size_t before = ((block *)memory)[-1].size;

        memcpy(fresh, memory, before < size ? before : size);
        __wrap_free(memory);
    }
    return fresh;
}

static void drop(block *head)
{
    while (head->next && head->next != head)
        __wrap_free(head->next + 1);
}

void heap_drop(const node *n)
{
    drop(&heads[n->index + 1]);
}

void heap_drop_all(void)
{
    for (uint32_t i = 0; i <= NODES_MAX; i++)
        drop(&heads[i]);
}
