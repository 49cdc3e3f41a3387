/* engine.c: engine/memory as an engine on a disk: after a crash it is as of its last flush, or of any write since. */
#include "sim.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>
#include <string.h>

/* What nodes have open is closed for them when they die. */
typedef struct opened {
    struct opened *next;
    node *of;
    hf_engine_export *source;
    hf_engine_import *target;
} opened;

hf_engine sim_engine;
static opened *all_opened;

static void note(hf_engine_export *source, hf_engine_import *target)
{
    uint32_t owner = heap_of_all();
    opened *o = calloc(1, sizeof *o);

    *o = (opened){all_opened, here, source, target};
    all_opened = o;
    heap_back(owner);
}

static void unnote(const void *what)
{
    for (opened **link = &all_opened; *link; link = &(*link)->next) {
        opened *o = *link;

        if (o->source != what && o->target != what)
            continue;
        *link = o->next;
        free(o);
        return;
    }
}

static int32_t export_open(hf_engine_database *database, uint64_t space, hf_engine_export **ret_export, hf_error *error)
{
    int32_t r = memory_engine->export_open(database, space, ret_export, error);

    if (r == 0)
        note(*ret_export, NULL);
    return r;
}

static void export_close(hf_engine_export *source)
{
    unnote(source);
    memory_engine->export_close(source);
}

static int32_t import_open(hf_engine_database *database, uint64_t space, hf_engine_import **ret_import, hf_error *error)
{
    int32_t r = memory_engine->import_open(database, space, ret_import, error);

    if (r == 0)
        note(NULL, *ret_import);
    return r;
}

static void import_close(hf_engine_import *target)
{
    unnote(target);
    memory_engine->import_close(target);
}

/* Durable at once, and with it everything that was written before. */
static int32_t import_commit(hf_engine_import *target, hf_error *error)
{
    int32_t r = memory_engine->import_commit(target, error);

    if (r == 0) {
        fault_counts[FAULT_SNAPSHOT]++;
        engine_flush(here);
    }
    return r;
}

static int32_t engine_write(hf_engine_database *database, const hf_engine_operation *operations, uint64_t count,
                            hf_error *error)
{
    if (!calm && roll(300) == 0) {
        fault_counts[FAULT_ENGINE_BUSY]++;
        return hf_error_set(error, HF_EBUSY, "compaction is behind");
    }
    return memory_engine->write(database, operations, count, error);
}

/* For who needs to know that it is durable. */
static int32_t flush(hf_engine_database *database, hf_error *error)
{
    (void)database;
    (void)error;
    engine_flush(here);
    return 0;
}

/* What is not cached has to be asked for in the pool. */
static int32_t get(hf_engine_database *database, uint64_t space, hf_slice key, uint32_t flags, hf_slice *ret_value,
                   hf_error *error)
{
    if (flags & HF_ENGINE_CACHED_ONLY && roll(10) == 0)
        return hf_error_set(error, HF_EBUSY, "not cached");
    return memory_engine->get(database, space, key, flags, ret_value, error);
}

void engine_begin(node *n)
{
    void *self = NULL;
    hf_error error;

    sim_engine = *memory_engine;
    sim_engine.head.capabilities |= HF_ENGINE_DURABLE;
    sim_engine.export_open = export_open;
    sim_engine.export_close = export_close;
    sim_engine.import_open = import_open;
    sim_engine.import_close = import_close;
    sim_engine.import_commit = import_commit;
    sim_engine.write = engine_write;
    sim_engine.get = get;
    sim_engine.flush = flush;
    if (memory_engine->create(&n->engine_host, NULL, &self, &error) ||
        memory_engine->open(self, "", &n->database, &error))
        abort();
    memory_engine->destroy(self);
    for (uint64_t i = 0; i < SPACES_MAX; i++)
        hf_buffer_init(&n->image[i], UINT64_MAX);
}

static void take_image(node *n, uint64_t space)
{
    static uint8_t piece[64 << 10];
    hf_engine_export *source;
    uint64_t size;

    hf_buffer_clear(&n->image[space]);
    if (memory_engine->export_open(n->database, space, &source, NULL))
        abort();
    while (memory_engine->export_read(source, piece, sizeof piece, &size, NULL) == 0 && size > 0)
        if (hf_buffer_append(&n->image[space], piece, size))
            abort();
    memory_engine->export_close(source);
}

void engine_flush(node *n)
{
    uint32_t owner = heap_of_all();

    for (uint64_t space = STORE_CATALOG_PARTITION; space < SPACES_MAX; space++)
        take_image(n, space);
    heap_back(owner);
}

static void restore(node *n, uint64_t space)
{
    const hf_engine_operation everything = {.type = HF_ENGINE_DELETE_RANGE, .space = space};
    hf_engine_import *target;

    if (n->image[space].size == 0) { /* never flushed */
        if (memory_engine->write(n->database, &everything, 1, NULL))
            abort();
        return;
    }
    if (memory_engine->import_open(n->database, space, &target, NULL) ||
        memory_engine->import_write(target, (hf_slice){n->image[space].data, n->image[space].size}, NULL) ||
        memory_engine->import_commit(target, NULL))
        abort();
    memory_engine->import_close(target);
}

void engine_crash(node *n)
{
    for (opened **link = &all_opened; *link;) {
        opened *o = *link;

        if (o->of != n) {
            link = &o->next;
            continue;
        }
        *link = o->next;
        memory_engine->export_close(o->source);
        memory_engine->import_close(o->target);
        free(o);
    }
    if (calm || chance(50)) {
        engine_flush(n); /* everything was on the disk, as it happens */
        return;
    }
    fault_counts[FAULT_OLD_IMAGE]++;
    for (uint64_t space = STORE_CATALOG_PARTITION; space < SPACES_MAX; space++)
        restore(n, space);
}

void engine_drop(node *n)
{
    memory_engine->close(n->database);
    n->database = NULL;
}
