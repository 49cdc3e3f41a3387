/* Export and import of a space.
 *
 * An import becomes table files that divide the space among them: each has a range tombstone over its part, and the
 * records in it.  Adding the files gives all of them one sequence number, the newest; a tombstone covers only what is
 * older than itself, so the space's old records vanish and the new ones appear in the same step, by one edit of the
 * manifest, which is synced. */
#include "database.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/export.h>

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXPORT_READ_AHEAD = 256 << 10 };
enum { IMPORT_SYNC_SIZE = 256 << 10, IMPORT_FILE_SIZE = 64 << 20 /* that of compactions */ };

static const char export_magic[] = "HFER";

struct hf_engine_export {
    const hf_host *host;
    disk_key from, to;
    rocksdb_readoptions_t *options;
    rocksdb_iterator_t *iterator; /* is its own snapshot */
    int32_t begun;
    hf_export_writer stream;
};

struct hf_engine_import {
    hf_engine_database *database;
    uint64_t space;
    rocksdb_envoptions_t *env_options;
    rocksdb_sstfilewriter_t *writer; /* of the last file; NULL: none is being written */
    disk_key from;                   /* where its part of the space begins */
    disk_key last;                   /* of the records so far */
    char **paths;                    /* of all files */
    uint64_t path_count;
    int file;                /* the last one, for sync_some; -1: not open */
    uint64_t begun, written; /* bytes of it: on their way to the disk, and there */
    hf_slice present;        /* what came last */
    hf_export_reader stream;
};

/* ---- Export ---- */

static int32_t export_next(void *arg, hf_slice *ret_key, hf_slice *ret_value, hf_error *error)
{
    hf_engine_export *source = arg;
    size_t key_size, value_size;

    if (source->begun && rocksdb_iter_valid(source->iterator)) /* asked again after the end, it stays there */
        rocksdb_iter_next(source->iterator);
    source->begun = 1;
    if (!rocksdb_iter_valid(source->iterator)) {
        char *message = NULL;

        rocksdb_iter_get_error(source->iterator, &message);
        return database_error(error, message, "cannot export");
    }
    const char *key = rocksdb_iter_key(source->iterator, &key_size);
    const char *value = rocksdb_iter_value(source->iterator, &value_size);

    *ret_key = (hf_slice){(const uint8_t *)key + SPACE_SIZE, key_size - SPACE_SIZE};
    *ret_value = (hf_slice){(const uint8_t *)value, value_size};
    return 1;
}

static int32_t export_prepare(hf_engine_export *source, hf_engine_database *database, uint64_t space, hf_error *error)
{
    int32_t r = disk_key_make(source->host, space, (hf_slice){NULL, 0}, &source->from, error);

    if (r == 0)
        r = disk_key_after_space(source->host, space, &source->to, error);
    if (r < 0)
        return r;
    source->options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_iterate_lower_bound(source->options, source->from.bytes, source->from.size);
    rocksdb_readoptions_set_iterate_upper_bound(source->options, source->to.bytes, source->to.size);
    rocksdb_readoptions_set_fill_cache(source->options, 0); /* read once: do not displace what others need */
    /* Blocks are a few KiB, and all of them are wanted: many with each system call. */
    rocksdb_readoptions_set_readahead_size(source->options, EXPORT_READ_AHEAD);
    source->iterator = rocksdb_create_iterator(database->db, source->options);
    rocksdb_iter_seek_to_first(source->iterator);
    hf_export_writer_init(&source->stream, export_magic, export_next, source);
    return 0;
}

int32_t database_export_open(hf_engine_database *database, uint64_t space, hf_engine_export **ret_export,
                             hf_error *error)
{
    hf_engine_export *source = database->host->alloc(database->host, sizeof *source);

    if (!source)
        return hf_error_set(error, HF_ENOMEM, "no memory for an export");
    source->host = database->host;
    int32_t r = export_prepare(source, database, space, error);

    if (r < 0) {
        database_export_close(source);
        return r;
    }
    *ret_export = source;
    return 0;
}

int32_t database_export_read(hf_engine_export *source, uint8_t *buffer, uint64_t capacity, uint64_t *ret_size,
                             hf_error *error)
{
    return hf_export_writer_read(&source->stream, buffer, capacity, ret_size, error);
}

int32_t database_export_visit(hf_engine_export *source, uint64_t bytes, hf_engine_visit visit, void *arg,
                              int32_t *ret_more, hf_error *error)
{
    return hf_export_visit(export_next, source, bytes, visit, arg, ret_more, error);
}

void database_export_close(hf_engine_export *source)
{
    if (!source)
        return;
    if (source->iterator)
        rocksdb_iter_destroy(source->iterator);
    if (source->options)
        rocksdb_readoptions_destroy(source->options);
    source->host->free(source->host, source->from.bytes);
    source->host->free(source->host, source->to.bytes);
    source->host->free(source->host, source);
}

/* ---- Import ---- */

static int in_order(const disk_key *before, const disk_key *key)
{
    if (!before->bytes)
        return 1;
    int order = memcmp(before->bytes, key->bytes, before->size < key->size ? before->size : key->size);

    return order < 0 || (order == 0 && before->size < key->size);
}

/* Whether a compression that looks for repetitions could shorten bytes like these.  Where all values are about equally
 * frequent (two random bytes are the same once in 256 times) they are random, encrypted or compressed already, and to
 * try costs as much as all else that is done to write them. */
static int is_compressible(hf_slice bytes)
{
    enum { LEAST = 4096, SAMES = 2 };
    uint64_t counts[256] = {0};
    double sames = 0, all = (double)bytes.size * (double)bytes.size;

    for (uint64_t i = 0; i < bytes.size; i++)
        counts[bytes.data[i]]++;
    for (int i = 0; i < 256; i++)
        sames += (double)counts[i] * (double)counts[i];
    return bytes.size < LEAST || sames * 256 > SAMES * all;
}

/* What comes as the file is begun tells how it is compressed; compactions do it as configured. */
static void create_writer(hf_engine_import *target)
{
    rocksdb_options_t *options = rocksdb_options_create_copy(target->database->options);

    if (!is_compressible(target->present))
        rocksdb_options_set_compression(options, rocksdb_no_compression);
    target->writer = rocksdb_sstfilewriter_create(target->env_options, options);
    rocksdb_options_destroy(options); /* the writer has what it needs of them */
}

static int32_t add_path(hf_engine_import *target, hf_error *error)
{
    hf_engine_database *database = target->database;
    size_t size = strlen(database->import_directory) + 32;
    char **paths = realloc(target->paths, (target->path_count + 1) * sizeof *paths);
    char *path = paths ? malloc(size) : NULL;

    if (paths)
        target->paths = paths;
    if (!path)
        return hf_error_set(error, HF_ENOMEM, "no memory for an import");
    snprintf(path, size, "%s/%llu.sst", database->import_directory,
             (unsigned long long)atomic_fetch_add(&database->import_count, 1));
    paths[target->path_count++] = path;
    return 0;
}

/* The next file's part of the space begins at `from`, which becomes the import's. */
static int32_t begin_file(hf_engine_import *target, disk_key from, hf_error *error)
{
    char *message = NULL;

    target->database->host->free(target->database->host, target->from.bytes);
    target->from = from;
    int32_t r = add_path(target, error);

    if (r < 0)
        return r;
    create_writer(target);
    rocksdb_sstfilewriter_open(target->writer, target->paths[target->path_count - 1], &message);
    r = database_error(error, message, "cannot create a file of the import");
    if (r < 0)
        return r;
    target->file = open(target->paths[target->path_count - 1], O_RDWR | O_CLOEXEC);
    target->begun = target->written = 0;
    return 0;
}

/* Its part ends before `to`. */
static int32_t finish_file(hf_engine_import *target, const disk_key *to, hf_error *error)
{
    char *message = NULL;

    rocksdb_sstfilewriter_delete_range(target->writer, target->from.bytes, target->from.size, to->bytes, to->size,
                                       &message);
    if (!message)
        rocksdb_sstfilewriter_finish(target->writer, &message);
    rocksdb_sstfilewriter_destroy(target->writer);
    target->writer = NULL;
    if (target->file >= 0)
        close(target->file); /* it was opened for the pace only */
    target->file = -1;
    return database_error(error, message, "cannot finish a file of the import");
}

/* A full file ends, and another one begins, before the record with that key. */
static int32_t go_to_next_file(hf_engine_import *target, hf_slice key, hf_error *error)
{
    uint64_t size = 0;
    disk_key next;

    rocksdb_sstfilewriter_file_size(target->writer, &size);
    if (size < IMPORT_FILE_SIZE)
        return 0;
    int32_t r = disk_key_make(target->database->host, target->space, key, &next, error);

    if (r < 0)
        return r;
    r = finish_file(target, &next, error);
    if (r == 0)
        return begin_file(target, next, error);
    target->database->host->free(target->database->host, next.bytes);
    return r;
}

static int32_t import_record(void *arg, hf_slice key, hf_slice value, hf_error *error)
{
    hf_engine_import *target = arg;
    const hf_host *host = target->database->host;
    char *message = NULL;
    disk_key on_disk;
    int32_t r = disk_key_make(host, target->space, key, &on_disk, error);

    if (r < 0)
        return r;
    if (!in_order(&target->last, &on_disk)) {
        host->free(host, on_disk.bytes);
        return hf_error_set(error, HF_ECORRUPT, "the export is damaged (its records are out of order); fetch it again");
    }
    host->free(host, target->last.bytes);
    target->last = on_disk;
    r = go_to_next_file(target, key, error);
    if (r < 0)
        return r;
    rocksdb_sstfilewriter_put(target->writer, on_disk.bytes, on_disk.size, (const char *)value.data, value.size,
                              &message);
    return database_error(error, message, "cannot write a file of the import");
}

static int32_t begin_first_file(hf_engine_import *target, hf_error *error)
{
    disk_key from;
    int32_t r = disk_key_make(target->database->host, target->space, (hf_slice){NULL, 0}, &from, error);

    target->env_options = rocksdb_envoptions_create();
    return r < 0 ? r : begin_file(target, from, error);
}

static int32_t finish_last_file(hf_engine_import *target, hf_error *error)
{
    const hf_host *host = target->database->host;
    disk_key to;
    int32_t r = disk_key_after_space(host, target->space, &to, error);

    if (r < 0)
        return r;
    r = finish_file(target, &to, error);
    host->free(host, to.bytes);
    return r;
}

int32_t database_import_open(hf_engine_database *database, uint64_t space, hf_engine_import **ret_import,
                             hf_error *error)
{
    hf_engine_import *target = database->host->alloc(database->host, sizeof *target);

    if (!target)
        return hf_error_set(error, HF_ENOMEM, "no memory for an import");
    target->database = database;
    target->space = space;
    target->file = -1;
    hf_export_reader_init(&target->stream, database->host, export_magic, import_record, target);
    *ret_import = target;
    return 0;
}

/* RocksDB does not do for such a file what bytes_per_sync does for others: the writer waits until the disk has what it
 * wrote, piece by piece, so that the flushes of the replicated log do not queue behind hundreds of megabytes.  One
 * piece is on its way while the next is made. */
static void sync_some(hf_engine_import *target)
{
    uint64_t size = 0;

    rocksdb_sstfilewriter_file_size(target->writer, &size);
    if (target->file < 0 || size < target->begun + IMPORT_SYNC_SIZE)
        return;
    /* Only for the pace: what must be durable is flushed when the file is complete. */
    (void)sync_file_range(target->file, (off_t)target->written, (off_t)(target->begun - target->written),
                          SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
    (void)sync_file_range(target->file, (off_t)target->begun, (off_t)(size - target->begun), SYNC_FILE_RANGE_WRITE);
    target->written = target->begun;
    target->begun = size;
}

int32_t database_import_write(hf_engine_import *target, hf_slice bytes, hf_error *error)
{
    target->present = bytes;
    int32_t r = target->path_count ? 0 : begin_first_file(target, error);

    if (r == 0 && !target->writer)
        r = hf_error_set(error, HF_ESTATE, "the import failed, or was committed already");
    if (r == 0)
        r = hf_export_reader_feed(&target->stream, bytes, error);
    if (r == 0)
        sync_some(target);
    return r;
}

static int32_t ingest(hf_engine_import *target, hf_error *error)
{
    rocksdb_ingestexternalfileoptions_t *options = rocksdb_ingestexternalfileoptions_create();
    char *message = NULL;

    rocksdb_ingestexternalfileoptions_set_move_files(options, 1);
    rocksdb_ingest_external_file(target->database->db, (const char *const *)target->paths, target->path_count, options,
                                 &message);
    rocksdb_ingestexternalfileoptions_destroy(options);
    return database_error(error, message, "cannot add the import's files");
}

int32_t database_import_commit(hf_engine_import *target, hf_error *error)
{
    int32_t r = hf_export_reader_finish(&target->stream, error);

    if (r < 0)
        return r;
    if (!target->writer)
        return hf_error_set(error, HF_ESTATE, "the import failed, or was committed already");
    r = finish_last_file(target, error);
    /* The import is durable at once, so what was written before it must be too; and writers need not wait for the
     * flush that RocksDB would otherwise do while it keeps them out. */
    if (r == 0)
        r = database_flush(target->database, error);
    return r < 0 ? r : ingest(target, error);
}

void database_import_close(hf_engine_import *target)
{
    if (!target)
        return;
    const hf_host *host = target->database->host;

    if (target->writer)
        rocksdb_sstfilewriter_destroy(target->writer);
    if (target->file >= 0)
        close(target->file);
    if (target->env_options)
        rocksdb_envoptions_destroy(target->env_options);
    for (uint64_t i = 0; i < target->path_count; i++) {
        (void)unlink(target->paths[i]); /* gone already after a commit */
        free(target->paths[i]);
    }
    free(target->paths);
    hf_export_reader_done(&target->stream);
    host->free(host, target->from.bytes);
    host->free(host, target->last.bytes);
    host->free(host, target);
}
