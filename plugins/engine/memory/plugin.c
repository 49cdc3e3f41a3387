/* engine/memory: records in memory only, for tests and caches.
 * Owns: a tree per database.  Writers exchange the tree under a lock; readers take a reference and read without it. */
#include "tree.h"

#include <holdfast/kind/engine.h>
#include <holdfast/lib/error.h>
#include <holdfast/lib/export.h>

#include <pthread.h>
#include <string.h>

static const char export_magic[] = "HFEM";

typedef struct {
    const hf_host *host;
} memory_instance;

struct hf_engine_database {
    const hf_host *host;
    pthread_mutex_t writing;  /* held through a change; before `exchange` */
    pthread_mutex_t exchange; /* protects `root`; held for a few instructions */
    tree_node *root;
    tree_context context; /* of whoever holds `writing` */
};

struct hf_engine_export {
    const hf_host *host;
    tree_node *root;
    uint64_t space;
    hf_slice last;
    int32_t begun;
    hf_export_writer stream;
};

struct hf_engine_import {
    hf_engine_database *database;
    uint64_t space;
    tree_node *root;
    tree_context context;
    hf_export_reader stream;
};

static int32_t instance_create(const hf_host *host, const void *configuration, void **ret_self, hf_error *error)
{
    memory_instance *self = host->alloc(host, sizeof *self);

    (void)configuration; /* there are no options */
    if (!self)
        return hf_error_set(error, HF_ENOMEM, "no memory for the memory engine");
    self->host = host;
    *ret_self = self;
    return 0;
}

static void instance_destroy(void *instance)
{
    memory_instance *self = instance;

    if (self)
        self->host->free(self->host, self);
}

static int32_t database_open(void *instance, const char *directory, hf_engine_database **ret_database, hf_error *error)
{
    const hf_host *host = ((memory_instance *)instance)->host;
    hf_engine_database *database = host->alloc(host, sizeof *database);

    (void)directory; /* always empty at first */
    if (!database)
        return hf_error_set(error, HF_ENOMEM, "no memory for a database");
    database->host = host;
    database->context = (tree_context){host, 0x9e3779b97f4a7c15u, 0};
    pthread_mutex_init(&database->writing, NULL);
    pthread_mutex_init(&database->exchange, NULL);
    *ret_database = database;
    return 0;
}

static void database_close(hf_engine_database *database)
{
    if (!database)
        return;
    tree_unref(database->host, database->root);
    pthread_mutex_destroy(&database->writing);
    pthread_mutex_destroy(&database->exchange);
    database->host->free(database->host, database);
}

static tree_node *current(hf_engine_database *database)
{
    pthread_mutex_lock(&database->exchange);
    tree_node *root = tree_ref(database->root);

    pthread_mutex_unlock(&database->exchange);
    return root;
}

/* Makes `root`, which it takes, the database's content, unless memory ran out while it was made. */
static int32_t publish(hf_engine_database *database, tree_node *root, hf_error *error)
{
    tree_node *old = root;
    int32_t failed = database->context.failed;

    database->context.failed = 0;
    if (!failed) {
        pthread_mutex_lock(&database->exchange);
        old = database->root;
        database->root = root;
        pthread_mutex_unlock(&database->exchange);
    }
    tree_unref(database->host, old);
    return failed ? hf_error_set(error, HF_ENOMEM, "no memory for the write; nothing was written") : 0;
}

static int32_t check(const hf_engine_operation *operations, uint64_t count, hf_error *error)
{
    for (uint64_t i = 0; i < count; i++) {
        const hf_engine_operation *o = &operations[i];

        if (o->type < HF_ENGINE_PUT || o->type > HF_ENGINE_DELETE_RANGE)
            return hf_error_set(error, HF_EINVAL, "there is no operation of type %d", o->type);
        if (o->key.size > HF_EXPORT_KEY_MAX || o->value.size > HF_EXPORT_VALUE_MAX)
            return hf_error_set(error, HF_ETOOLARGE, "a key or a value is over the limit of %d or %d bytes",
                                HF_EXPORT_KEY_MAX, HF_EXPORT_VALUE_MAX);
    }
    return 0;
}

static int inverted(hf_slice from, hf_slice to)
{
    uint64_t shorter = from.size < to.size ? from.size : to.size;
    int order = shorter ? memcmp(from.data, to.data, shorter) : 0;

    return to.size > 0 && (order > 0 || (order == 0 && from.size >= to.size));
}

static tree_node *apply(tree_context *context, tree_node *root, const hf_engine_operation *o)
{
    tree_key key = {o->space, o->key}, to = {o->space, o->value};

    if (o->type == HF_ENGINE_PUT)
        return tree_put(context, root, key, o->value);
    if (o->type == HF_ENGINE_DELETE)
        return tree_remove_one(context, root, key);
    return inverted(o->key, o->value) ? tree_ref(root) : tree_remove(context, root, key, o->value.size ? &to : NULL);
}

static int32_t database_write(hf_engine_database *database, const hf_engine_operation *operations, uint64_t count,
                              hf_error *error)
{
    int32_t r = check(operations, count, error);

    if (r < 0)
        return r;
    pthread_mutex_lock(&database->writing);
    tree_node *root = current(database);

    for (uint64_t i = 0; i < count && !database->context.failed; i++) {
        tree_node *next = apply(&database->context, root, &operations[i]);

        tree_unref(database->host, root);
        root = next;
    }
    r = publish(database, root, error);
    pthread_mutex_unlock(&database->writing);
    return r;
}

static int32_t copy_value(const hf_host *host, hf_slice value, hf_slice *ret_value, hf_error *error)
{
    uint8_t *copy = host->alloc(host, value.size ? value.size : 1);

    if (!copy)
        return hf_error_set(error, HF_ENOMEM, "no memory for a value of %llu bytes", (unsigned long long)value.size);
    memcpy(copy, value.data, value.size);
    *ret_value = (hf_slice){copy, value.size};
    return 0;
}

static int32_t database_get(hf_engine_database *database, uint64_t space, hf_slice key, uint32_t flags,
                            hf_slice *ret_value, hf_error *error)
{
    tree_node *root = current(database);
    hf_slice value;
    int32_t r;

    (void)flags; /* everything is in memory */
    if (tree_get(root, (tree_key){space, key}, &value))
        r = copy_value(database->host, value, ret_value, error);
    else
        r = hf_error_set(error, HF_ENOTFOUND, "there is no such record");
    tree_unref(database->host, root);
    return r;
}

static void database_release(hf_engine_database *database, hf_slice value)
{
    database->host->free(database->host, (void *)(uintptr_t)value.data);
}

static int32_t database_scan(hf_engine_database *database, uint64_t space, hf_slice from, hf_slice to, uint32_t flags,
                             hf_engine_visit visit, void *arg, hf_error *error)
{
    tree_key end = {space, to};

    (void)error;
    if (inverted(from, to))
        return 0;
    tree_node *root = current(database);

    (void)tree_scan(root, (tree_key){space, from}, to.size ? &end : NULL, (flags & HF_ENGINE_REVERSE) != 0, visit, arg);
    tree_unref(database->host, root);
    return 0;
}

static int32_t database_flush(hf_engine_database *database, hf_error *error)
{
    (void)database, (void)error; /* nothing is durable; the capability bits say so */
    return 0;
}

static uint64_t database_space_size(hf_engine_database *database, uint64_t space)
{
    tree_node *root = current(database);
    uint64_t size = tree_size(root, space);

    tree_unref(database->host, root);
    return size;
}

/* ---- Export and import ---- */

static int32_t export_next(void *arg, hf_slice *ret_key, hf_slice *ret_value, hf_error *error)
{
    hf_engine_export *source = arg;

    (void)error;
    if (!tree_next(source->root, (tree_key){source->space, source->last}, source->begun, ret_key, ret_value))
        return 0;
    source->last = *ret_key; /* lives as long as the root */
    source->begun = 1;
    return 1;
}

static int32_t export_open(hf_engine_database *database, uint64_t space, hf_engine_export **ret_export, hf_error *error)
{
    hf_engine_export *source = database->host->alloc(database->host, sizeof *source);

    if (!source)
        return hf_error_set(error, HF_ENOMEM, "no memory for an export");
    source->host = database->host;
    source->root = current(database);
    source->space = space;
    hf_export_writer_init(&source->stream, export_magic, export_next, source);
    *ret_export = source;
    return 0;
}

static int32_t export_read(hf_engine_export *source, uint8_t *buffer, uint64_t capacity, uint64_t *ret_size,
                           hf_error *error)
{
    return hf_export_writer_read(&source->stream, buffer, capacity, ret_size, error);
}

static int32_t export_visit(hf_engine_export *source, uint64_t bytes, hf_engine_visit visit, void *arg,
                            int32_t *ret_more, hf_error *error)
{
    return hf_export_visit(export_next, source, bytes, visit, arg, ret_more, error);
}

static void export_close(hf_engine_export *source)
{
    if (!source)
        return;
    tree_unref(source->host, source->root);
    source->host->free(source->host, source);
}

static int32_t import_record(void *arg, hf_slice key, hf_slice value, hf_error *error)
{
    hf_engine_import *target = arg;
    tree_node *next = tree_put(&target->context, target->root, (tree_key){target->space, key}, value);

    tree_unref(target->context.host, target->root);
    target->root = next;
    return target->context.failed ? hf_error_set(error, HF_ENOMEM, "no memory for an import") : 0;
}

static int32_t import_open(hf_engine_database *database, uint64_t space, hf_engine_import **ret_import, hf_error *error)
{
    hf_engine_import *target = database->host->alloc(database->host, sizeof *target);

    if (!target)
        return hf_error_set(error, HF_ENOMEM, "no memory for an import");
    target->database = database;
    target->space = space;
    target->context = (tree_context){database->host, 0xd1342543de82ef95u, 0};
    hf_export_reader_init(&target->stream, database->host, export_magic, import_record, target);
    *ret_import = target;
    return 0;
}

static int32_t import_write(hf_engine_import *target, hf_slice bytes, hf_error *error)
{
    return hf_export_reader_feed(&target->stream, bytes, error);
}

static int32_t import_commit(hf_engine_import *target, hf_error *error)
{
    hf_engine_database *database = target->database;
    int32_t r = hf_export_reader_finish(&target->stream, error);

    if (r < 0)
        return r;
    pthread_mutex_lock(&database->writing);
    tree_node *before = current(database);
    tree_node *after = tree_replace(&database->context, before, target->space, target->root);

    tree_unref(database->host, before);
    r = publish(database, after, error);
    pthread_mutex_unlock(&database->writing);
    return r;
}

static void import_close(hf_engine_import *target)
{
    if (!target)
        return;
    hf_export_reader_done(&target->stream);
    tree_unref(target->context.host, target->root);
    target->context.host->free(target->context.host, target);
}

static const hf_engine engine = {
    .head = HF_HEAD(hf_engine),
    .create = instance_create,
    .destroy = instance_destroy,
    .open = database_open,
    .close = database_close,
    .write = database_write,
    .get = database_get,
    .release = database_release,
    .scan = database_scan,
    .flush = database_flush,
    .export_open = export_open,
    .export_read = export_read,
    .export_close = export_close,
    .import_open = import_open,
    .import_write = import_write,
    .import_commit = import_commit,
    .import_close = import_close,
    .space_size = database_space_size,
    .export_visit = export_visit,
};

static const hf_provide provide = {
    .size = sizeof(hf_provide),
    .kind = "engine",
    .name = "memory",
    .summary = "Keeps records in memory only; everything is gone after a close.",
    .interface = {.engine = &engine},
    .options = {NULL, sizeof(hf_option), 0},
};

static const hf_provide *const provides[] = {&provide};

static const hf_plugin plugin = {
    .size = sizeof(hf_plugin),
    .interface_major = HF_INTERFACE_MAJOR,
    .interface_minor = HF_INTERFACE_MINOR,
    .provide_count = 1,
    .id = "org.holdfast.engine.memory",
    .version = "1.0.0",
    .summary = "Holds records in memory, for tests and caches.",
    .licence = "Apache-2.0",
    .provides = provides,
};

HF_EXPORT const hf_plugin *hf_plugin_v1(void)
{
    return &plugin;
}
