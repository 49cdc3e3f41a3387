/* engine/rocksdb: records in a RocksDB database.
 * Owns: one instance per configuration; databases are opened from it and do not refer to it afterwards. */
#include "database.h"

#include <holdfast/lib/error.h>

typedef struct {
    const hf_host *host;
    const rocksdb_config *config; /* borrowed until destroy */
} rocksdb_instance;

static const char *const compression_names[] = {"none", "lz4", "zstd", "snappy", NULL};

static const hf_option options[] = {
    HF_CONFIG_SIZE("cache_size", rocksdb_config, cache_size, .minimum = 1 << 20, .maximum = INT64_C(1) << 40,
                   .default_text = "16MiB",
                   .doc = "Memory for blocks read from disk, with their indexes and filters. Filled only as blocks "
                          "are read, so an idle node stays small."),
    HF_CONFIG_SIZE("write_buffer_size", rocksdb_config, write_buffer_size, .minimum = 1 << 16,
                   .maximum = INT64_C(1) << 33, .default_text = "16MiB",
                   .doc = "Memory that gathers writes before they become a file. Up to three of them exist while "
                          "writes are faster than the disk."),
    HF_CONFIG_INTEGER("max_open_files", rocksdb_config, max_open_files, .minimum = 32, .maximum = 1000000,
                      .default_text = "512",
                      .doc = "Files kept open at most. Keep it below the process's limit on open files."),
    HF_CONFIG_CHOICE("compression", rocksdb_config, compression, .choices = compression_names, .default_text = "lz4",
                     .doc = "How blocks of newly written files are compressed. Files of any choice stay readable."),
    HF_CONFIG_INTEGER("background_threads", rocksdb_config, background_threads, .minimum = 1, .maximum = 64,
                      .default_text = "2", .doc = "Flushes and compactions that run at the same time."),
};

static int32_t instance_create(const hf_host *host, const void *configuration, void **ret_self, hf_error *error)
{
    rocksdb_instance *self = host->alloc(host, sizeof *self);

    if (!self)
        return hf_error_set(error, HF_ENOMEM, "no memory for the rocksdb engine");
    self->host = host;
    self->config = configuration;
    *ret_self = self;
    return 0;
}

static void instance_destroy(void *instance)
{
    rocksdb_instance *self = instance;

    if (self)
        self->host->free(self->host, self);
}

static int32_t instance_open(void *instance, const char *directory, hf_engine_database **ret_database, hf_error *error)
{
    const rocksdb_instance *self = instance;

    return database_open(self->host, self->config, directory, ret_database, error);
}

static const hf_engine engine = {
    .head = {(uint32_t)sizeof(hf_engine), HF_INTERFACE_MAJOR, HF_INTERFACE_MINOR,
             HF_ENGINE_CAN_CHECKPOINT | HF_ENGINE_DURABLE},
    .create = instance_create,
    .destroy = instance_destroy,
    .open = instance_open,
    .close = database_close,
    .write = database_write,
    .get = database_get,
    .release = database_release,
    .scan = database_scan,
    .flush = database_flush,
    .export_open = database_export_open,
    .export_read = database_export_read,
    .export_close = database_export_close,
    .import_open = database_import_open,
    .import_write = database_import_write,
    .import_commit = database_import_commit,
    .import_close = database_import_close,
    .checkpoint = database_checkpoint,
    .space_size = database_space_size,
    .export_visit = database_export_visit,
};

static const hf_provide provide = {
    .size = sizeof(hf_provide),
    .kind = "engine",
    .name = "rocksdb",
    .summary = "Keeps records on local disks in a log-structured merge tree.",
    .interface = {.engine = &engine},
    .options = HF_TABLE(options),
    .configuration_size = sizeof(rocksdb_config),
};

static const hf_provide *const provides[] = {&provide};

static const hf_plugin plugin = {
    .size = sizeof(hf_plugin),
    .interface_major = HF_INTERFACE_MAJOR,
    .interface_minor = HF_INTERFACE_MINOR,
    .provide_count = 1,
    .id = "org.holdfast.engine.rocksdb",
    .version = "1.0.0",
    .summary = "Stores records with RocksDB.",
    .licence = "Apache-2.0",
    .provides = provides,
};

HF_EXPORT const hf_plugin *hf_plugin_v1(void)
{
    return &plugin;
}
