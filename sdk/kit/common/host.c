/* The host's root: log, memory that is counted, interfaces by name; and tables that end where a check wants them to. */
#include "host_private.h"

#include <holdfast/lib/error.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { POISON = 0xa5, TAIL_SIZE = 256, FRONT_SIZE = 64 };

static const uint64_t block_mark = 0x486f6c6466617374u;

struct block {
    _Alignas(max_align_t) uint64_t mark;
    uint64_t size;
    struct kit_root *root;
};

struct kit_mapping {
    struct kit_mapping *next;
    void *memory;
    uint64_t size;
};

static const struct {
    const char *name;
    const hf_head *head;
} offered[KIT_INTERFACES] = {
    {HF_LOOP_INTERFACE, &kit_loop_interface.head},     {HF_METRICS_INTERFACE, &kit_metrics_interface.head},
    {HF_HTTP_INTERFACE, &kit_http_interface.head},     {HF_NODE_INTERFACE, &kit_node_interface.head},
    {HF_PEER_INTERFACE, &kit_peer_interface.head},     {HF_LUA_INTERFACE, &kit_lua_interface.head},
    {HF_SIGNAL_INTERFACE, &kit_signal_interface.head}, {HF_LISTEN_INTERFACE, &kit_listen_interface.head},
};

void *kit_allocate(uint64_t size)
{
    void *memory = calloc(1, size);

    if (!memory)
        hf_kit_fail("the kit itself is out of memory");
    return memory;
}

/* ---- Tables ------------------------------------------------------------------------------------------------------ */

/* A copy of the table with room in front of it, where its root is found.  Older: the page behind its end cannot be
 * touched.  Newer: it goes on, with addresses that nobody can call. */
static hf_head *make_table(hf_kit_host *host, const hf_head *table)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), tail = host->tables == HF_KIT_TABLES_NEWER ? TAIL_SIZE : 0;
    uint64_t body = (FRONT_SIZE + table->size + tail + page - 1) / page * page;
    struct kit_mapping *mapping = kit_allocate(sizeof *mapping);
    uint8_t *memory = mmap(NULL, body + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED || mprotect(memory + body, page, PROT_NONE) != 0)
        hf_kit_fail("the kit itself is out of memory");
    *mapping = (struct kit_mapping){host->mappings, memory, body + page};
    host->mappings = mapping;

    hf_head *copy = (hf_head *)(void *)(memory + body - table->size - tail);
    memcpy(copy, table, table->size);
    memset((uint8_t *)copy + table->size, POISON, tail);
    copy->size += (uint32_t)tail;
    copy->minor = (uint16_t)(host->tables == HF_KIT_TABLES_OLDER ? 0 : copy->minor + (tail ? 1 : 0));
    return copy;
}

struct kit_root *kit_root_of(const hf_host *host)
{
    struct kit_root *root;

    memcpy(&root, (const char *)host - sizeof root, sizeof root);
    return root;
}

/* ---- The root ---------------------------------------------------------------------------------------------------- */

static void host_log(const hf_host *host, int32_t level, hf_slice message)
{
    static const char *const levels[] = {"debug", "info", "warning", "error"};
    const struct kit_root *root = kit_root_of(host);

    if (level < HF_LOG_DEBUG || level > HF_LOG_ERROR)
        hf_kit_fail("a line was logged with level %d, which is none of HF_LOG_...", level);
    if (message.size && (!message.data || memchr(message.data, '\n', message.size)))
        hf_kit_fail("a logged line holds a newline or has no data: '%.*s'", message.data ? (int)message.size : 0,
                    message.data ? (const char *)message.data : "");
    if (root->host->subject->verbose)
        fprintf(stderr, "  %s %s: %.*s\n", levels[level], root->name, (int)message.size, (const char *)message.data);
}

static void *host_alloc(const hf_host *host, uint64_t size)
{
    struct kit_root *root = kit_root_of(host);
    uint64_t whole, number = atomic_fetch_add(&root->host->allocations, 1) + 1;

    if (number == root->host->fail_at) {
        atomic_store(&root->host->allocation_failed, 1);
        return NULL;
    }
    if (__builtin_add_overflow(size, sizeof(struct block), &whole))
        return NULL;
    struct block *block = calloc(1, whole);
    if (!block)
        return NULL;
    *block = (struct block){block_mark, size, root};
    atomic_fetch_add(&root->blocks, 1);
    atomic_fetch_add(&root->bytes, size);
    return block + 1;
}

static void host_free(const hf_host *host, void *memory)
{
    (void)host;
    if (!memory)
        return;
    struct block *block = (struct block *)memory - 1;
    if (block->mark != block_mark)
        hf_kit_fail("host->free was given memory that host->alloc did not return, or that was freed before");
    atomic_fetch_sub(&block->root->blocks, 1);
    atomic_fetch_sub(&block->root->bytes, block->size);
    memset(block, POISON, sizeof *block + block->size); /* who still reads it gets nonsense */
    free(block);
}

static const hf_head *host_query(const hf_host *host, const char *name)
{
    hf_kit_host *kit = kit_of(host);

    if (!name)
        hf_kit_fail("host->query was called without a name");
    for (uint32_t i = 0; i < KIT_INTERFACES; i++) {
        if (strcmp(offered[i].name, name) != 0)
            continue;
        atomic_fetch_or(&kit->asked, 1u << i);
        return kit->withheld && strcmp(kit->withheld, name) == 0 ? NULL : kit->interfaces[i];
    }
    return NULL;
}

static const hf_host root_table = {HF_HEAD(hf_host), host_log, host_alloc, host_free, host_query};

struct kit_root *kit_root_create(hf_kit_host *host, const char *name)
{
    struct kit_root *root = kit_allocate(sizeof *root);

    snprintf(root->name, sizeof root->name, "%s", name);
    root->host = host;
    root->table = (hf_host *)(void *)make_table(host, &root_table.head);
    memcpy((char *)root->table - sizeof root, &root, sizeof root);
    root->next = host->roots;
    host->roots = root;
    return root;
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

hf_kit_host *hf_kit_host_create(const hf_kit_subject *subject, int32_t tables)
{
    hf_kit_host *host = kit_allocate(sizeof *host);
    char name[140];

    host->subject = subject;
    host->tables = tables;
    host->thread = pthread_self();
    host->nodes = 1;
    host->random = 0x9e3779b97f4a7c15u;
    host->events = kit_allocate(KIT_SIGNALS_MAX * sizeof *host->events);
    for (uint32_t i = 0; i < KIT_INTERFACES; i++)
        host->interfaces[i] = make_table(host, offered[i].head);
    snprintf(name, sizeof name, "%s/%s", subject->kind ? subject->kind : "plugin", subject->name ? subject->name : "");
    host->own = kit_root_create(host, name);
    kit_loops_create(host);
    return host;
}

void hf_kit_host_destroy(hf_kit_host *host)
{
    if (!host)
        return;
    kit_http_destroy(host);
    kit_peers_destroy(host);
    kit_decisions_destroy(host);
    kit_metrics_destroy(host);
    kit_loops_destroy(host);
    kit_listeners_destroy(host);
    while (host->roots) {
        struct kit_root *root = host->roots;
        host->roots = root->next;
        kit_node_forget(root);
        free(root);
    }
    while (host->mappings) {
        struct kit_mapping *mapping = host->mappings;
        host->mappings = mapping->next;
        munmap(mapping->memory, mapping->size);
        free(mapping);
    }
    free(host->events);
    free(host);
}

const hf_host *hf_kit_host_root(hf_kit_host *host)
{
    return host->own->table;
}

void hf_kit_host_withhold(hf_kit_host *host, const char *name)
{
    host->withheld = name;
}

const char *hf_kit_host_asked(const hf_kit_host *host, uint32_t index)
{
    uint32_t asked = atomic_load(&host->asked);

    for (uint32_t i = 0; i < KIT_INTERFACES; i++)
        if ((asked >> i & 1) && index-- == 0)
            return offered[i].name;
    return NULL;
}

void hf_kit_host_fail_allocation(hf_kit_host *host, uint64_t number)
{
    host->fail_at = number ? atomic_load(&host->allocations) + number : 0;
    atomic_store(&host->allocation_failed, 0);
}

int32_t hf_kit_host_allocation_failed(const hf_kit_host *host)
{
    return atomic_load(&host->allocation_failed);
}

uint64_t hf_kit_host_memory(const hf_kit_host *host, uint64_t *ret_bytes)
{
    uint64_t blocks = 0, bytes = 0;

    for (const struct kit_root *root = host->roots; root; root = root->next) {
        blocks += atomic_load(&root->blocks);
        bytes += atomic_load(&root->bytes);
    }
    if (ret_bytes)
        *ret_bytes = bytes;
    return blocks;
}

int32_t kit_on_thread(const hf_kit_host *host)
{
    return pthread_equal(host->thread, pthread_self());
}

void kit_must_declare(const hf_kit_host *host, const char *function)
{
    if (!kit_on_thread(host))
        hf_kit_fail("%s was called on another thread than the main one", function);
    if (host->begun)
        hf_kit_fail("%s was called after the loops had begun to run; do it in create", function);
}

void kit_must_be_on(const hf_loop *loop, const char *function)
{
    const hf_kit_host *host = loop->host;

    if (!kit_on_thread(host) || (host->running != loop && !host->ended))
        hf_kit_fail("%s was called on another thread than the loop's own", function);
}
