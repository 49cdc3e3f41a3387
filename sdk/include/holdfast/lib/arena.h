/* lib/arena.h: memory that is freed all at once, for a request or a generation of the configuration.
 * One thread at a time. */
#ifndef HOLDFAST_LIB_ARENA_H
#define HOLDFAST_LIB_ARENA_H

#include <holdfast/holdfast.h>

#ifdef __cplusplus
extern "C" {
#endif

struct hf_arena_chunk;

typedef struct hf_arena {
    struct hf_arena_chunk *chunks; /* newest first; owned */
    uint64_t allocated;            /* bytes taken from the system, chunk heads included */
    uint64_t maximum;              /* bytes that `allocated` may reach */
} hf_arena;

/* Begins an empty arena that takes up to `maximum` bytes from the system.  Allocates nothing; cannot fail. */
void hf_arena_init(hf_arena *arena, uint64_t maximum);

/* Frees everything; what was allocated is invalid.  A zeroed arena is accepted.  It may be used again. */
void hf_arena_done(hf_arena *arena);

/* Makes all allocations invalid and keeps one chunk of usual size for the next user. */
void hf_arena_clear(hf_arena *arena);

/* `size` zeroed bytes aligned to 16, valid until clear or done; a distinct address also when size is 0.  NULL when out
 * of memory or over the maximum; the arena is then as it was. */
void *hf_arena_alloc(hf_arena *arena, uint64_t size);

/* A copy of a zero-terminated string, or NULL as hf_arena_alloc. */
char *hf_arena_strdup(hf_arena *arena, const char *text);

/* Copies the slice's bytes into *ret_copy and puts a zero byte after them that size does not count.  HF_ENOMEM;
 * *ret_copy is then untouched. */
int32_t hf_arena_copy(hf_arena *arena, hf_slice slice, hf_slice *ret_copy);

#ifdef __cplusplus
}
#endif
#endif
