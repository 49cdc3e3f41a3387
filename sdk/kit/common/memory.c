/* Memory that a plugin takes from the C library itself: its own calls are led here by the table through which the
 * shared object finds them, so that they can fail; those of the kit, of libraries and of other plugins are not.  Under
 * the sanitizers they go on to their allocator. */
#include "memory.h"

#include "host_private.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__x86_64__)
enum { SLOT = R_X86_64_JUMP_SLOT, DATA = R_X86_64_GLOB_DAT };
#elif defined(__aarch64__)
enum { SLOT = R_AARCH64_JUMP_SLOT, DATA = R_AARCH64_GLOB_DAT };
#else
enum { SLOT = -1, DATA = -1 }; /* no call fails */
#endif

static _Atomic uint64_t left; /* calls until the one that fails; 0: none does */
static _Atomic int32_t failed;

static int32_t fails(void)
{
    uint64_t now = atomic_load(&left);

    while (now && !atomic_compare_exchange_weak(&left, &now, now - 1)) {
    }
    if (now != 1)
        return 0;
    atomic_store(&failed, 1);
    return 1;
}

static void *fail_malloc(size_t size)
{
    return fails() ? NULL : malloc(size);
}

static void *fail_calloc(size_t count, size_t size)
{
    return fails() ? NULL : calloc(count, size);
}

static void *fail_realloc(void *memory, size_t size)
{
    return fails() ? NULL : realloc(memory, size);
}

static char *fail_strdup(const char *text)
{
    return fails() ? NULL : strdup(text);
}

static char *fail_strndup(const char *text, size_t size)
{
    return fails() ? NULL : strndup(text, size);
}

void kit_memory_fail(uint64_t number)
{
    atomic_store(&failed, 0);
    atomic_store(&left, number);
}

int32_t kit_memory_failed(void)
{
    return atomic_load(&failed);
}

/* ---- Leading the calls here -------------------------------------------------------------------------------------- */

static void *place_of(const char *name)
{
    static const struct {
        const char *name;
        void (*function)(void);
    } calls[] = {
        {"malloc", (void (*)(void))fail_malloc},   {"calloc", (void (*)(void))fail_calloc},
        {"realloc", (void (*)(void))fail_realloc}, {"strdup", (void (*)(void))fail_strdup},
        {"strndup", (void (*)(void))fail_strndup},
    };

    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (strcmp(calls[i].name, name) == 0)
            return *(void *const *)(const void *)&calls[i].function;
    return NULL;
}

/* The slots may have been made read-only once they were filled. */
static void set_slot(void **slot, void *function)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = (uintptr_t)slot & ~(page - 1);

    if (mprotect((void *)begin, page, PROT_READ | PROT_WRITE) == 0) /* else this call just does not fail */
        *slot = function;
}

static void lead(const struct link_map *map, const ElfW(Rela) * entries, uint64_t size, const ElfW(Sym) * symbols,
                 const char *texts)
{
    for (uint64_t i = 0; i < size / sizeof *entries; i++) {
        uint64_t type = ELF64_R_TYPE(entries[i].r_info);
        void *function = place_of(texts + symbols[ELF64_R_SYM(entries[i].r_info)].st_name);
        if (function && (type == SLOT || type == DATA))
            set_slot((void **)(map->l_addr + entries[i].r_offset), function);
    }
}

void kit_memory_lead(void *object)
{
    struct link_map *map = NULL;
    const void *found[DT_NUM] = {0};
    uint64_t sizes[DT_NUM] = {0};

    if (SLOT < 0 || dlinfo(object, RTLD_DI_LINKMAP, &map) != 0)
        return;
    for (const ElfW(Dyn) *entry = map->l_ld; entry->d_tag != DT_NULL; entry++)
        if (entry->d_tag > 0 && entry->d_tag < DT_NUM) {
            found[entry->d_tag] = (const void *)entry->d_un.d_ptr;
            sizes[entry->d_tag] = entry->d_un.d_val;
        }
    if (!found[DT_SYMTAB] || !found[DT_STRTAB])
        return;
    if (found[DT_JMPREL] && sizes[DT_PLTREL] == DT_RELA)
        lead(map, found[DT_JMPREL], sizes[DT_PLTRELSZ], found[DT_SYMTAB], found[DT_STRTAB]);
    if (found[DT_RELA])
        lead(map, found[DT_RELA], sizes[DT_RELASZ], found[DT_SYMTAB], found[DT_STRTAB]);
}
