/* database.h: what the sources of engine/rocksdb share.
 *
 * A key on disk is the space as 8 bytes, big endian, followed by the record's key, so that RocksDB's byte order is the
 * order of the interface and a space is one contiguous range. */
#ifndef ENGINE_ROCKSDB_DATABASE_H
#define ENGINE_ROCKSDB_DATABASE_H

#include <holdfast/kind/engine.h>
#include <rocksdb/c.h>

enum { SPACE_SIZE = 8, KEY_MAX = 65535, VALUE_MAX = 1 << 30 };

typedef struct {
    uint64_t cache_size;
    uint64_t write_buffer_size;
    int64_t max_open_files;
    int32_t compression;
    int64_t background_threads;
} rocksdb_config;

struct hf_engine_database {
    const hf_host *host;
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_writeoptions_t *write_options;
    rocksdb_readoptions_t *read_options;
    rocksdb_readoptions_t *cached_options; /* answers only from memory */
    rocksdb_flushoptions_t *flush_options;
    rocksdb_writebatch_t *_Atomic spare_batch; /* NULL: none */
    char *import_directory;
    _Atomic uint64_t import_count; /* names the files of imports */
};

/* A key on disk, or an exclusive upper bound; `bytes` is freed with the host. */
typedef struct {
    char *bytes;
    size_t size;
} disk_key;

/* open.c */
int32_t database_open(const hf_host *host, const rocksdb_config *config, const char *directory,
                      hf_engine_database **ret_database, hf_error *error);
void database_close(hf_engine_database *database);

/* records.c */
/* Translates and frees RocksDB's message. */
int32_t database_error(hf_error *error, char *message, const char *doing);
int32_t disk_key_make(const hf_host *host, uint64_t space, hf_slice key, disk_key *ret_key, hf_error *error);
/* The first key after every key of the space. */
int32_t disk_key_after_space(const hf_host *host, uint64_t space, disk_key *ret_key, hf_error *error);
int32_t database_write(hf_engine_database *database, const hf_engine_operation *operations, uint64_t count,
                       hf_error *error);
int32_t database_get(hf_engine_database *database, uint64_t space, hf_slice key, uint32_t flags, hf_slice *ret_value,
                     hf_error *error);
void database_release(hf_engine_database *database, hf_slice value);
int32_t database_scan(hf_engine_database *database, uint64_t space, hf_slice from, hf_slice to, uint32_t flags,
                      hf_engine_visit visit, void *arg, hf_error *error);
int32_t database_flush(hf_engine_database *database, hf_error *error);
int32_t database_checkpoint(hf_engine_database *database, const char *directory, hf_error *error);
uint64_t database_space_size(hf_engine_database *database, uint64_t space);

/* transfer.c */
int32_t database_export_open(hf_engine_database *database, uint64_t space, hf_engine_export **ret_export,
                             hf_error *error);
int32_t database_export_read(hf_engine_export *source, uint8_t *buffer, uint64_t capacity, uint64_t *ret_size,
                             hf_error *error);
int32_t database_export_visit(hf_engine_export *source, uint64_t bytes, hf_engine_visit visit, void *arg,
                              int32_t *ret_more, hf_error *error);
void database_export_close(hf_engine_export *source);
int32_t database_import_open(hf_engine_database *database, uint64_t space, hf_engine_import **ret_import,
                             hf_error *error);
int32_t database_import_write(hf_engine_import *target, hf_slice bytes, hf_error *error);
int32_t database_import_commit(hf_engine_import *target, hf_error *error);
void database_import_close(hf_engine_import *target);

#endif
