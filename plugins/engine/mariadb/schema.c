/* The tables, which database of them belongs to a directory, and becoming its owner. */
#include "database.h"

#include <holdfast/lib/error.h>

#include <errno.h>
#include <fcntl.h>
#include <mysqld_error.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define ULL(number) ((unsigned long long)(number))

enum { SCHEMA_VERSION = 1, NAME_MAX_SIZE = 128, PATH_SIZE = 4096 };

/* ---- Tables ------------------------------------------------------------------------------------------------------ */

static const char *const tables[] = {
    "holdfast_schema (version INT UNSIGNED NOT NULL PRIMARY KEY)",
    "holdfast_database (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, name VARBINARY(128) NOT NULL UNIQUE,"
    " epoch BIGINT UNSIGNED NOT NULL DEFAULT 0, large TINYINT NOT NULL DEFAULT 0)",
    "holdfast_writer (database_id BIGINT UNSIGNED NOT NULL, slot INT UNSIGNED NOT NULL,"
    " epoch BIGINT UNSIGNED NOT NULL DEFAULT 0, number BIGINT UNSIGNED NOT NULL DEFAULT 0,"
    " number_epoch BIGINT UNSIGNED NOT NULL DEFAULT 0, fence BIGINT UNSIGNED NOT NULL DEFAULT 0,"
    " PRIMARY KEY (database_id, slot))",
    "holdfast_space (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, database_id BIGINT UNSIGNED NOT NULL,"
    " space BIGINT UNSIGNED NOT NULL, live TINYINT NULL, UNIQUE KEY (database_id, space, live))",
    "holdfast_record (space_id BIGINT UNSIGNED NOT NULL, record_key VARBINARY(2048) NOT NULL,"
    " key_hash VARBINARY(32) NOT NULL, tail MEDIUMBLOB NOT NULL, size BIGINT UNSIGNED NOT NULL,"
    " value MEDIUMBLOB NOT NULL, PRIMARY KEY (space_id, record_key, key_hash))",
    "holdfast_part (space_id BIGINT UNSIGNED NOT NULL, record_key VARBINARY(2048) NOT NULL,"
    " key_hash VARBINARY(32) NOT NULL, part INT UNSIGNED NOT NULL, bytes MEDIUMBLOB NOT NULL,"
    " PRIMARY KEY (space_id, record_key, key_hash, part))",
};

static int32_t create_tables(struct sql_connection *connection, hf_error *error)
{
    int32_t r = 0;

    for (size_t i = 0; r == 0 && i < sizeof tables / sizeof tables[0]; i++)
        r = sql_execute(connection, "cannot create the tables", NULL, error,
                        "CREATE TABLE IF NOT EXISTS %s ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=binary",
                        tables[i]);
    if (r == 0)
        r = sql_execute(connection, "cannot create the tables", NULL, error,
                        "INSERT IGNORE INTO holdfast_schema (version) VALUES (%d)", SCHEMA_VERSION);
    return r;
}

static int32_t check_tables(hf_engine_database *database, struct sql_connection *connection, void *arg, hf_error *error)
{
    uint64_t version = 0;
    hf_error failure = {0};
    int32_t r = sql_numbers(connection, "cannot read the tables' version", &version, 1, &failure,
                            "SELECT MAX(version) FROM holdfast_schema");

    (void)database, (void)arg;
    if (r < 0 && connection->mysql && mysql_errno(connection->mysql) == ER_NO_SUCH_TABLE)
        return create_tables(connection, error);
    if (r == 0 && version == 0) /* another node is just creating them, or was interrupted */
        return create_tables(connection, error);
    if (r == 0 && version != SCHEMA_VERSION)
        r = hf_error_set(&failure, HF_EVERSION, "the tables are of version %llu; this release knows version %d",
                         ULL(version), SCHEMA_VERSION);
    if (r < 0 && error)
        *error = failure;
    return r;
}

/* ---- Names ------------------------------------------------------------------------------------------------------- */

/* The file that says which database belongs to the directory. */
static int32_t identity_path(const char *directory, const char *suffix, char *path, hf_error *error)
{
    int size = snprintf(path, PATH_SIZE, "%s/mariadb-database%s", directory, suffix);

    return size > 0 && size < PATH_SIZE ? 0 : hf_error_set(error, HF_EINVAL, "the path '%s' is too long", directory);
}

static int is_name(const char *name)
{
    size_t size = strlen(name);

    return size > 0 && size < NAME_MAX_SIZE &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == size;
}

/* HF_ENOTFOUND: there is no such file yet. */
static int32_t read_identity(const char *directory, char *name, hf_error *error)
{
    char path[PATH_SIZE];
    int32_t r = identity_path(directory, "", path, error);

    if (r < 0)
        return r;
    FILE *file = fopen(path, "re");

    if (!file)
        return errno == ENOENT ? HF_ENOTFOUND : hf_error_set_errno(error, HF_EIO, errno, "cannot read '%s'", path);
    size_t size = fread(name, 1, NAME_MAX_SIZE - 1, file);

    (void)fclose(file);
    name[size] = '\0';
    if (size == 0 || name[size - 1] != '\n')
        return hf_error_set(error, HF_ECORRUPT, "'%s' is damaged; write the database's name into it", path);
    name[size - 1] = '\0';
    return is_name(name) ? 0 : hf_error_set(error, HF_ECORRUPT, "'%s' does not hold a database's name", path);
}

static int write_synced(const char *path, const char *name)
{
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), bad;

    if (file < 0)
        return -1;
    bad = dprintf(file, "%s\n", name) < 0 || fsync(file) != 0;
    return close(file) != 0 || bad ? -1 : 0;
}

static int sync_directory(const char *directory)
{
    int folder = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC), bad;

    if (folder < 0)
        return -1;
    bad = fsync(folder) != 0;
    return close(folder) != 0 || bad ? -1 : 0;
}

static int32_t write_identity(const char *directory, const char *name, hf_error *error)
{
    char path[PATH_SIZE], temporary[PATH_SIZE];
    int32_t r = identity_path(directory, "", path, error);

    if (r == 0)
        r = identity_path(directory, ".new", temporary, error);
    if (r < 0)
        return r;
    if (write_synced(temporary, name) < 0 || rename(temporary, path) != 0 || sync_directory(directory) < 0)
        return hf_error_set_errno(error, HF_EIO, errno, "cannot write '%s'", path);
    return 0;
}

static int32_t make_name(const struct mariadb_config *config, char *name, hf_error *error)
{
    uint8_t bytes[16];

    if (config->name && config->name[0]) {
        if (!is_name(config->name))
            return hf_error_set(error, HF_EINVAL, "the name '%.100s' must be 1..%d letters, digits, '.', '_' or '-'",
                                config->name, NAME_MAX_SIZE - 1);
        strcpy(name, config->name); /* is_name has checked the size */
        return 0;
    }
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        return hf_error_set_errno(error, HF_EIO, errno, "cannot get random bytes");
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(name + 2 * i, 3, "%02x", bytes[i]);
    return 0;
}

/* ---- Finding the database ---------------------------------------------------------------------------------------- */

static int32_t find_database(hf_engine_database *database, struct sql_connection *connection, void *arg,
                             hf_error *error)
{
    uint64_t row[2] = {0};
    int32_t r = sql_numbers(connection, "cannot find the database", row, 2, error,
                            "SELECT id, large FROM holdfast_database WHERE name = '%s'", (const char *)arg);

    database->id = row[0];
    atomic_store(&database->large, row[1] != 0);
    atomic_store(&database->large_stored, row[1] != 0);
    return r;
}

static int32_t add_database(hf_engine_database *database, struct sql_connection *connection, void *arg, hf_error *error)
{
    (void)database;
    return sql_execute(connection, "cannot add the database", NULL, error,
                       "INSERT IGNORE INTO holdfast_database (name) VALUES ('%s')", (const char *)arg);
}

static int32_t open_known(hf_engine_database *database, char *name, hf_error *error)
{
    const char *wanted = database->servers->config->name;

    if (wanted && wanted[0] && strcmp(wanted, name) != 0)
        return hf_error_set(error, HF_ESTATE,
                            "the directory belongs to the database '%s', but the option name says '%.100s'", name,
                            wanted);
    int32_t r = pool_run(database, find_database, name, error);

    if (r == HF_ENOTFOUND)
        return hf_error_set(error, HF_ECORRUPT,
                            "the servers do not know the database '%s': they are other servers, or were restored from "
                            "an older backup; empty the directory to begin anew",
                            name);
    return r;
}

int32_t schema_open(hf_engine_database *database, const char *directory, hf_error *error)
{
    char name[NAME_MAX_SIZE] = "";
    int32_t r = pool_run(database, check_tables, NULL, error);

    if (r == 0)
        r = read_identity(directory, name, error);
    if (r == 0)
        return open_known(database, name, error);
    if (r != HF_ENOTFOUND)
        return r;
    r = make_name(database->servers->config, name, error);
    if (r == 0)
        r = pool_run(database, add_database, name, error);
    if (r == 0)
        r = pool_run(database, find_database, name, error);
    return r < 0 ? r : write_identity(directory, name, error);
}

/* ---- Ownership --------------------------------------------------------------------------------------------------- */

/* Changing the slots' rows waits for, or defeats, every transaction that an earlier owner has under way. */
static int32_t raise_epoch(hf_engine_database *database, struct sql_connection *connection, void *arg, hf_error *error)
{
    static const char doing[] = "cannot become the database's owner";
    int32_t r = sql_execute(connection, doing, NULL, error,
                            "START TRANSACTION; UPDATE holdfast_database SET epoch = epoch + 1 WHERE id = %llu",
                            ULL(database->id));

    (void)arg;
    if (r == 0)
        r = sql_numbers(connection, doing, &database->epoch, 1, error,
                        "SELECT epoch FROM holdfast_database WHERE id = %llu", ULL(database->id));
    for (uint32_t slot = 0; r == 0 && slot < database->pool.count; slot++)
        r = sql_execute(connection, doing, NULL, error,
                        "INSERT IGNORE INTO holdfast_writer (database_id, slot) VALUES (%llu, %u)", ULL(database->id),
                        slot);
    if (r == 0)
        r = sql_execute(connection, doing, NULL, error,
                        "UPDATE holdfast_writer SET epoch = %llu WHERE database_id = %llu", ULL(database->epoch),
                        ULL(database->id));
    if (r == 0)
        r = sql_execute(connection, doing, NULL, error, "COMMIT");
    if (r < 0) /* also when it was committed all the same: the next attempt raises the epoch further */
        sql_disconnect(connection);
    return r == HF_ENOTFOUND ? HF_ECORRUPT : r;
}

int32_t schema_take_over(hf_engine_database *database, hf_error *error)
{
    return pool_run(database, raise_epoch, NULL, error);
}
