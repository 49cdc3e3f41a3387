/* Memory that is freed all at once; see lib/arena.h.
 *
 * A chunk serves allocations front to back.  Large allocations get a chunk of their own, put behind the newest one so
 * that the room left in that one is still used. */
#include <holdfast/lib/arena.h>

#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 16, CHUNK_SIZE = 4096 };

typedef struct hf_arena_chunk {
    struct hf_arena_chunk *next;
    uint64_t size; /* bytes of the chunk, this head included */
    uint64_t used; /* likewise; a multiple of ALIGNMENT */
    uint64_t padding;
} chunk;

_Static_assert(sizeof(chunk) % ALIGNMENT == 0, "the first allocation is aligned");

void hf_arena_init(hf_arena *arena, uint64_t maximum)
{
    *arena = (hf_arena){.maximum = maximum};
}

static void free_chunks(chunk *c)
{
    while (c) {
        chunk *next = c->next;

        free(c);
        c = next;
    }
}

void hf_arena_done(hf_arena *arena)
{
    free_chunks(arena->chunks);
    hf_arena_init(arena, arena->maximum);
}

void hf_arena_clear(hf_arena *arena)
{
    chunk *keep = arena->chunks;

    if (!keep || keep->size != CHUNK_SIZE) {
        hf_arena_done(arena);
        return;
    }
    free_chunks(keep->next);
    keep->next = NULL;
    keep->used = sizeof *keep;
    arena->allocated = keep->size;
}

static chunk *chunk_create(hf_arena *arena, uint64_t wanted)
{
    uint64_t size = sizeof(chunk) + wanted;

    if (size < CHUNK_SIZE)
        size = CHUNK_SIZE;
    if (size > arena->maximum || arena->allocated > arena->maximum - size)
        return NULL;

    chunk *c = aligned_alloc(ALIGNMENT, size);

    if (!c)
        return NULL;
    *c = (chunk){.size = size, .used = sizeof *c};
    arena->allocated += size;
    return c;
}

static void chunk_link(hf_arena *arena, chunk *c)
{
    if (arena->chunks && c->size > CHUNK_SIZE) {
        c->next = arena->chunks->next;
        arena->chunks->next = c;
    } else {
        c->next = arena->chunks;
        arena->chunks = c;
    }
}

void *hf_arena_alloc(hf_arena *arena, uint64_t size)
{
    chunk *c = arena->chunks;

    if (size > PTRDIFF_MAX / 2)
        return NULL;
    size = size ? (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT : ALIGNMENT;
    if (!c || c->size - c->used < size) {
        c = chunk_create(arena, size);
        if (!c)
            return NULL;
        chunk_link(arena, c);
    }

    void *memory = (uint8_t *)c + c->used;

    c->used += size;
    return memset(memory, 0, size);
}

char *hf_arena_strdup(hf_arena *arena, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = hf_arena_alloc(arena, size);

    return copy ? memcpy(copy, text, size) : NULL;
}

int32_t hf_arena_copy(hf_arena *arena, hf_slice slice, hf_slice *ret_copy)
{
    if (slice.size == UINT64_MAX)
        return HF_ENOMEM;

    uint8_t *copy = hf_arena_alloc(arena, slice.size + 1);

    if (!copy)
        return HF_ENOMEM;
    if (slice.size)
        memcpy(copy, slice.data, slice.size);
    *ret_copy = (hf_slice){copy, slice.size};
    return HF_OK;
}
