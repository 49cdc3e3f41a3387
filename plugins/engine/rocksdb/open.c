/* Opening and closing a database: the choice of RocksDB's settings. */
#include "database.h"

#include <holdfast/lib/error.h>

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LOG_LEVEL_FATAL = 4,
    WRITE_BUFFERS = 3,
    BLOCK_SIZE = 8192,
    FILTER_BITS_PER_KEY = 10,
    LEVEL0_FILES = 8,
    SYNC_SIZE = 512 << 10
};

static void set_table_options(rocksdb_options_t *options, const rocksdb_config *config)
{
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    rocksdb_cache_t *cache = rocksdb_cache_create_lru(config->cache_size);

    rocksdb_block_based_options_set_block_cache(table, cache);
    rocksdb_block_based_options_set_block_size(table, BLOCK_SIZE);
    rocksdb_block_based_options_set_filter_policy(table, rocksdb_filterpolicy_create_bloom_full(FILTER_BITS_PER_KEY));
    /* Indexes and filters count against cache_size; otherwise memory would grow with the data. */
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 1);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(table, 1);
    rocksdb_block_based_options_set_format_version(table, 5);
    rocksdb_options_set_block_based_table_factory(options, table);
    rocksdb_block_based_options_destroy(table);
    rocksdb_cache_destroy(cache); /* the options hold a reference */
}

/* Compactions are not urgent; they go on with what the threads that serve leave of the processors. */
static void lower_compactions(rocksdb_options_t *options)
{
    rocksdb_env_t *environment = rocksdb_create_default_env();

    rocksdb_env_lower_thread_pool_cpu_priority(environment);
    rocksdb_options_set_env(options, environment);
    rocksdb_env_destroy(environment); /* the default one itself stays */
}

/* Who writes a table waits for the disk, so that no more than SYNC_SIZE is under way: the flushes of the replicated log
 * stand in the same queue.  There is no function for this setting; without it all is as right, but less smooth. */
static rocksdb_options_t *wait_for_syncs(rocksdb_options_t *options)
{
    rocksdb_options_t *strict = rocksdb_options_create();
    char *message = NULL;

    rocksdb_get_options_from_string(options, "strict_bytes_per_sync=true", strict, &message);
    if (message) {
        rocksdb_free(message);
        rocksdb_options_destroy(strict);
        return options;
    }
    rocksdb_options_destroy(options);
    return strict;
}

static rocksdb_options_t *make_options(const rocksdb_config *config)
{
    static const int compressions[] = {rocksdb_no_compression, rocksdb_lz4_compression, rocksdb_zstd_compression,
                                       rocksdb_snappy_compression}; /* in the order of the option's choices */
    rocksdb_options_t *options = rocksdb_options_create();

    rocksdb_options_set_create_if_missing(options, 1);
    rocksdb_options_set_paranoid_checks(options, 1);
    rocksdb_options_set_write_buffer_size(options, config->write_buffer_size);
    rocksdb_options_set_max_write_buffer_number(options, WRITE_BUFFERS);
    rocksdb_options_set_max_open_files(options, (int)config->max_open_files);
    rocksdb_options_set_max_background_jobs(options, (int)config->background_threads);
    rocksdb_options_set_compression(options, compressions[config->compression]);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(options, 1);
    rocksdb_options_set_level0_file_num_compaction_trigger(options,
                                                           LEVEL0_FILES); /* half as many compactions as by 4 */
    rocksdb_options_set_bytes_per_sync(options, SYNC_SIZE);
    /* Nothing goes to RocksDB's own text log but what it always writes when it opens: after a failed write to that,
     * Debian's build of 7.8 aborts the process at the next one, on every full or broken disk.  Calls return what went
     * wrong. */
    rocksdb_options_set_info_log_level(options, LOG_LEVEL_FATAL);
    rocksdb_options_set_max_log_file_size(options, 1 << 20);
    rocksdb_options_set_keep_log_file_num(options, 4);
    rocksdb_options_set_stats_dump_period_sec(options, 0);
    set_table_options(options, config);
    lower_compactions(options);
    return wait_for_syncs(options);
}

/* RocksDB creates a new database where CURRENT is missing, even beside the tables of a damaged one. */
static int32_t check_directory(const char *directory, hf_error *error)
{
    DIR *folder = opendir(directory);
    int has_current = 0, has_tables = 0;

    if (!folder)
        return hf_error_set_errno(error, HF_EIO, errno, "cannot read the database directory '%s'", directory);
    for (struct dirent *entry; (entry = readdir(folder));) {
        size_t size = strlen(entry->d_name);

        has_current |= strcmp(entry->d_name, "CURRENT") == 0;
        has_tables |= size > 4 && strcmp(entry->d_name + size - 4, ".sst") == 0;
    }
    closedir(folder);
    if (has_tables && !has_current)
        return hf_error_set(error, HF_ECORRUPT,
                            "the database in '%s' has tables but its file CURRENT is missing; "
                            "empty the node's state directory and replace the node (holdfast node replace)",
                            directory);
    return 0;
}

/* CURRENT has the name of the manifest.  RocksDB would say only that a file with a damaged name is missing. */
static int32_t check_current(const char *directory, hf_error *error)
{
    char path[PATH_MAX], name[64] = "";

    snprintf(path, sizeof path, "%s/CURRENT", directory);
    FILE *file = fopen(path, "re");

    if (!file)
        return errno == ENOENT ? 0 : hf_error_set_errno(error, HF_EIO, errno, "cannot read '%s'", path);
    size_t size = fread(name, 1, sizeof name - 1, file);
    int failed = ferror(file);

    fclose(file);
    if (failed)
        return hf_error_set_errno(error, HF_EIO, errno, "cannot read '%s'", path);
    name[strcspn(name, "\n")] = '\0';
    snprintf(path, sizeof path, "%s/%s", directory, name);
    if (strncmp(name, "MANIFEST-", 9) == 0 && strlen(name) + 1 == size && access(path, F_OK) == 0)
        return 0;
    return hf_error_set(error, HF_ECORRUPT,
                        "the file CURRENT of the database in '%s' is damaged: it names no manifest that is there; "
                        "empty the node's state directory and replace the node (holdfast node replace)",
                        directory);
}

/* Imports under way write their files to a folder of their own; what a crash left there is of no use. */
static int32_t prepare_import_directory(hf_engine_database *database, const char *directory, hf_error *error)
{
    size_t size = strlen(directory) + sizeof "/import";

    database->import_directory = database->host->alloc(database->host, size);
    if (!database->import_directory)
        return hf_error_set(error, HF_ENOMEM, "no memory to open '%s'", directory);
    snprintf(database->import_directory, size, "%s/import", directory);
    if (mkdir(database->import_directory, 0700) != 0 && errno != EEXIST)
        return hf_error_set_errno(error, HF_EIO, errno, "cannot create '%s'", database->import_directory);
    DIR *folder = opendir(database->import_directory);

    if (!folder)
        return hf_error_set_errno(error, HF_EIO, errno, "cannot read '%s'", database->import_directory);
    for (struct dirent *entry; (entry = readdir(folder));)
        if (entry->d_name[0] != '.')
            (void)unlinkat(dirfd(folder), entry->d_name, 0); /* a file that stays is overwritten or ignored */
    closedir(folder);
    return 0;
}

static void make_call_options(hf_engine_database *database)
{
    enum { BLOCK_CACHE_TIER = 1 };

    database->write_options = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(database->write_options, 1); /* the replicated log is the log */
    rocksdb_writeoptions_set_no_slowdown(database->write_options, 1);
    database->read_options = rocksdb_readoptions_create();
    database->cached_options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_read_tier(database->cached_options, BLOCK_CACHE_TIER);
    database->flush_options = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(database->flush_options, 1);
}

static int32_t open_files(hf_engine_database *database, const rocksdb_config *config, const char *directory,
                          hf_error *error)
{
    char *message = NULL;
    int32_t r = check_directory(directory, error);

    if (r == 0)
        r = check_current(directory, error);
    if (r == 0)
        r = prepare_import_directory(database, directory, error);
    if (r < 0)
        return r;
    make_call_options(database);
    database->options = make_options(config);
    database->db = rocksdb_open(database->options, directory, &message);
    /* Files that CURRENT or the manifest name and that are not there are no failure of the disk. */
    int names_missing = message && strstr(message, "No such file or directory");

    r = database_error(error, message, "cannot open the database");
    if (r == HF_EIO && names_missing && error)
        error->code = HF_ECORRUPT;
    return r == HF_EIO && names_missing ? HF_ECORRUPT : r;
}

int32_t database_open(const hf_host *host, const rocksdb_config *config, const char *directory,
                      hf_engine_database **ret_database, hf_error *error)
{
    hf_engine_database *database = host->alloc(host, sizeof *database);

    if (!database)
        return hf_error_set(error, HF_ENOMEM, "no memory to open '%s'", directory);
    database->host = host;
    int32_t r = open_files(database, config, directory, error);

    if (r < 0) {
        database_close(database);
        return r;
    }
    *ret_database = database;
    return 0;
}

void database_close(hf_engine_database *database)
{
    if (!database)
        return;
    if (database->db)
        rocksdb_close(database->db);
    if (database->spare_batch)
        rocksdb_writebatch_destroy(database->spare_batch);
    if (database->options)
        rocksdb_options_destroy(database->options);
    if (database->write_options) {
        rocksdb_writeoptions_destroy(database->write_options);
        rocksdb_readoptions_destroy(database->read_options);
        rocksdb_readoptions_destroy(database->cached_options);
        rocksdb_flushoptions_destroy(database->flush_options);
    }
    database->host->free(database->host, database->import_directory);
    database->host->free(database->host, database);
}
