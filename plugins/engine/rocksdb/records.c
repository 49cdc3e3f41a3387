/* Reading and writing records, flushing and copying the database. */
#include "database.h"

#include <holdfast/lib/error.h>

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static int begins_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* The C interface gives only the text of a status; its beginning is the code. */
int32_t database_error(hf_error *error, char *message, const char *doing)
{
    int32_t code = HF_EIO;

    if (!message)
        return 0;
    if (begins_with(message, "Corruption"))
        code = HF_ECORRUPT;
    else if (begins_with(message, "Result incomplete"))
        code = HF_EBUSY;
    hf_error_set(error, code, "%s: %s", doing, message);
    rocksdb_free(message);
    return code;
}

static void store_space(char *to, uint64_t space)
{
    for (int i = 0; i < SPACE_SIZE; i++)
        to[i] = (char)(space >> (56 - 8 * i));
}

static int32_t disk_key_alloc(const hf_host *host, size_t size, disk_key *ret_key, hf_error *error)
{
    char *bytes = host->alloc(host, size);

    if (!bytes)
        return hf_error_set(error, HF_ENOMEM, "no memory for a key of %zu bytes", size);
    *ret_key = (disk_key){bytes, size};
    return 0;
}

int32_t disk_key_make(const hf_host *host, uint64_t space, hf_slice key, disk_key *ret_key, hf_error *error)
{
    if (key.size > KEY_MAX)
        return hf_error_set(error, HF_ETOOLARGE, "a key of %llu bytes is over the limit of %d",
                            (unsigned long long)key.size, KEY_MAX);
    int32_t r = disk_key_alloc(host, SPACE_SIZE + key.size, ret_key, error);

    if (r < 0)
        return r;
    store_space(ret_key->bytes, space);
    if (key.size)
        memcpy(ret_key->bytes + SPACE_SIZE, key.data, key.size);
    return 0;
}

int32_t disk_key_after_space(const hf_host *host, uint64_t space, disk_key *ret_key, hf_error *error)
{
    /* Nothing of eight bytes comes after the last space; more 0xff than any key can have do. */
    size_t size = space == UINT64_MAX ? SPACE_SIZE + KEY_MAX + 1 : SPACE_SIZE;
    int32_t r = disk_key_alloc(host, size, ret_key, error);

    if (r < 0)
        return r;
    if (space == UINT64_MAX)
        memset(ret_key->bytes, 0xff, size);
    else
        store_space(ret_key->bytes, space + 1);
    return 0;
}

/* An exclusive upper bound; an empty `to` is the end of the space. */
static int32_t upper_bound(const hf_host *host, uint64_t space, hf_slice to, disk_key *ret_key, hf_error *error)
{
    return to.size ? disk_key_make(host, space, to, ret_key, error) : disk_key_after_space(host, space, ret_key, error);
}

static int key_before(const disk_key *a, const disk_key *b)
{
    int order = memcmp(a->bytes, b->bytes, a->size < b->size ? a->size : b->size);

    return order < 0 || (order == 0 && a->size < b->size);
}

static int32_t add_delete_range(const hf_host *host, rocksdb_writebatch_t *batch, const hf_engine_operation *operation,
                                const disk_key *from, hf_error *error)
{
    disk_key to;
    int32_t r = upper_bound(host, operation->space, operation->value, &to, error);

    if (r < 0)
        return r;
    if (key_before(from, &to)) /* RocksDB does not define an inverted range */
        rocksdb_writebatch_delete_range(batch, from->bytes, from->size, to.bytes, to.size);
    host->free(host, to.bytes);
    return 0;
}

/* Keys are nearly always short: they are made on the stack. */
enum { USUAL_KEY_MAX = 2048 };

struct usual_key {
    disk_key key;
    char bytes[USUAL_KEY_MAX];
};

static int32_t usual_key_make(const hf_host *host, uint64_t space, hf_slice key, struct usual_key *ret_key,
                              hf_error *error)
{
    if (key.size > USUAL_KEY_MAX - SPACE_SIZE)
        return disk_key_make(host, space, key, &ret_key->key, error);
    store_space(ret_key->bytes, space);
    if (key.size)
        memcpy(ret_key->bytes + SPACE_SIZE, key.data, key.size);
    ret_key->key = (disk_key){ret_key->bytes, SPACE_SIZE + key.size};
    return 0;
}

static void usual_key_done(const hf_host *host, const struct usual_key *key)
{
    if (key->key.bytes != key->bytes)
        host->free(host, key->key.bytes);
}

static int32_t add_with_key(const hf_host *host, rocksdb_writebatch_t *batch, const hf_engine_operation *operation,
                            const disk_key *key, hf_error *error)
{
    switch (operation->type) {
    case HF_ENGINE_PUT:
        if (operation->value.size > VALUE_MAX)
            return hf_error_set(error, HF_ETOOLARGE, "a value of %llu bytes is over the limit of %d",
                                (unsigned long long)operation->value.size, VALUE_MAX);
        rocksdb_writebatch_put(batch, key->bytes, key->size, (const char *)operation->value.data,
                               operation->value.size);
        return 0;
    case HF_ENGINE_DELETE:
        rocksdb_writebatch_delete(batch, key->bytes, key->size);
        return 0;
    case HF_ENGINE_DELETE_RANGE:
        return add_delete_range(host, batch, operation, key, error);
    default:
        return hf_error_set(error, HF_EINVAL, "there is no operation of type %d", operation->type);
    }
}

static int32_t add_operation(const hf_host *host, rocksdb_writebatch_t *batch, const hf_engine_operation *operation,
                             hf_error *error)
{
    struct usual_key key;
    int32_t r = usual_key_make(host, operation->space, operation->key, &key, error);

    if (r < 0)
        return r;
    r = add_with_key(host, batch, operation, &key.key, error);
    usual_key_done(host, &key);
    return r;
}

/* ---- Batches: one that was used has its memory still ------------------------------------------------------------- */

enum { SPARE_BATCH_MAX = 1 << 20 /* bytes */ };

static rocksdb_writebatch_t *take_batch(hf_engine_database *database)
{
    rocksdb_writebatch_t *batch = atomic_exchange(&database->spare_batch, NULL);

    return batch ? batch : rocksdb_writebatch_create();
}

static void give_back_batch(hf_engine_database *database, rocksdb_writebatch_t *batch)
{
    rocksdb_writebatch_t *none = NULL;
    size_t size;

    (void)rocksdb_writebatch_data(batch, &size);
    rocksdb_writebatch_clear(batch);
    if (size > SPARE_BATCH_MAX || !atomic_compare_exchange_strong(&database->spare_batch, &none, batch))
        rocksdb_writebatch_destroy(batch);
}

int32_t database_write(hf_engine_database *database, const hf_engine_operation *operations, uint64_t count,
                       hf_error *error)
{
    rocksdb_writebatch_t *batch = take_batch(database);
    char *message = NULL;
    int32_t r = 0;

    for (uint64_t i = 0; r == 0 && i < count; i++)
        r = add_operation(database->host, batch, &operations[i], error);
    if (r == 0) {
        rocksdb_write(database->db, database->write_options, batch, &message);
        r = database_error(error, message, "cannot write");
    }
    give_back_batch(database, batch);
    return r;
}

static int32_t copy_value(hf_engine_database *database, rocksdb_pinnableslice_t *pinned, hf_slice *ret_value,
                          hf_error *error)
{
    size_t size;
    const char *data = rocksdb_pinnableslice_value(pinned, &size);
    uint8_t *copy = database->host->alloc(database->host, size ? size : 1);

    if (!copy)
        return hf_error_set(error, HF_ENOMEM, "no memory for a value of %zu bytes", size);
    memcpy(copy, data, size);
    *ret_value = (hf_slice){copy, size};
    return 0;
}

int32_t database_get(hf_engine_database *database, uint64_t space, hf_slice key, uint32_t flags, hf_slice *ret_value,
                     hf_error *error)
{
    char *message = NULL;
    struct usual_key on_disk;
    int32_t r = usual_key_make(database->host, space, key, &on_disk, error);

    if (r < 0)
        return r;
    rocksdb_pinnableslice_t *pinned = rocksdb_get_pinned(
        database->db, flags & HF_ENGINE_CACHED_ONLY ? database->cached_options : database->read_options,
        on_disk.key.bytes, on_disk.key.size, &message);

    usual_key_done(database->host, &on_disk);
    r = database_error(error, message, "cannot read");
    if (r < 0)
        return r;
    if (!pinned)
        return hf_error_set(error, HF_ENOTFOUND, "there is no such record");
    r = copy_value(database, pinned, ret_value, error);
    rocksdb_pinnableslice_destroy(pinned);
    return r;
}

void database_release(hf_engine_database *database, hf_slice value)
{
    database->host->free(database->host, (void *)(uintptr_t)value.data);
}

static int32_t visit_all(rocksdb_iterator_t *iterator, uint32_t flags, hf_engine_visit visit, void *arg,
                         hf_error *error)
{
    char *message = NULL;

    if (flags & HF_ENGINE_REVERSE)
        rocksdb_iter_seek_to_last(iterator);
    else
        rocksdb_iter_seek_to_first(iterator);
    while (rocksdb_iter_valid(iterator)) {
        size_t key_size, value_size;
        const char *key = rocksdb_iter_key(iterator, &key_size), *value = rocksdb_iter_value(iterator, &value_size);

        if (visit(arg, (hf_slice){(const uint8_t *)key + SPACE_SIZE, key_size - SPACE_SIZE},
                  (hf_slice){(const uint8_t *)value, value_size}) != 0)
            return 0;
        if (flags & HF_ENGINE_REVERSE)
            rocksdb_iter_prev(iterator);
        else
            rocksdb_iter_next(iterator);
    }
    rocksdb_iter_get_error(iterator, &message);
    return database_error(error, message, "cannot scan");
}

static int32_t scan_between(hf_engine_database *database, const disk_key *from, const disk_key *to, uint32_t flags,
                            hf_engine_visit visit, void *arg, hf_error *error)
{
    if (!key_before(from, to))
        return 0;
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();

    rocksdb_readoptions_set_iterate_lower_bound(options, from->bytes, from->size);
    rocksdb_readoptions_set_iterate_upper_bound(options, to->bytes, to->size);
    rocksdb_readoptions_set_read_tier(options, flags & HF_ENGINE_CACHED_ONLY ? 1 : 0);
    rocksdb_iterator_t *iterator = rocksdb_create_iterator(database->db, options);
    int32_t r = visit_all(iterator, flags, visit, arg, error);

    rocksdb_iter_destroy(iterator);
    rocksdb_readoptions_destroy(options);
    return r;
}

int32_t database_scan(hf_engine_database *database, uint64_t space, hf_slice from, hf_slice to, uint32_t flags,
                      hf_engine_visit visit, void *arg, hf_error *error)
{
    disk_key first, end = {NULL, 0};
    int32_t r = disk_key_make(database->host, space, from, &first, error);

    if (r < 0)
        return r;
    r = upper_bound(database->host, space, to, &end, error);
    if (r == 0)
        r = scan_between(database, &first, &end, flags, visit, arg, error);
    database->host->free(database->host, first.bytes);
    database->host->free(database->host, end.bytes);
    return r;
}

int32_t database_flush(hf_engine_database *database, hf_error *error)
{
    char *message = NULL;

    rocksdb_flush(database->db, database->flush_options, &message);
    return database_error(error, message, "cannot flush");
}

int32_t database_checkpoint(hf_engine_database *database, const char *directory, hf_error *error)
{
    char *message = NULL;
    int32_t r;

    if (access(directory, F_OK) == 0)
        return hf_error_set(error, HF_EEXIST, "the checkpoint's directory '%s' exists already", directory);
    r = database_flush(database, error);
    if (r < 0)
        return r;
    rocksdb_checkpoint_t *checkpoint = rocksdb_checkpoint_object_create(database->db, &message);

    if (checkpoint) {
        rocksdb_checkpoint_create(checkpoint, directory, 0, &message);
        rocksdb_checkpoint_object_destroy(checkpoint);
    }
    return database_error(error, message, "cannot make a checkpoint");
}

uint64_t database_space_size(hf_engine_database *database, uint64_t space)
{
    disk_key from, to;
    uint64_t size = 0, memory = 0;
    char *message = NULL;

    if (disk_key_make(database->host, space, (hf_slice){NULL, 0}, &from, NULL) < 0)
        return 0;
    if (disk_key_after_space(database->host, space, &to, NULL) == 0) {
        rocksdb_approximate_sizes(database->db, 1, (const char *const *)&from.bytes, &from.size,
                                  (const char *const *)&to.bytes, &to.size, &size, &message);
        (void)database_error(NULL, message, ""); /* an estimate: nothing is known of what cannot be read */
        database->host->free(database->host, to.bytes);
    }
    database->host->free(database->host, from.bytes);
    /* RocksDB tells the write buffers only for all spaces together, so this is an upper estimate. */
    (void)rocksdb_property_int(database->db, "rocksdb.cur-size-all-mem-tables", &memory);
    return size + memory;
}
