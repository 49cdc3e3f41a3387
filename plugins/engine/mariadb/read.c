/* Reading single records. */
#include "database.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>
#include <string.h>

#define ULL(number) ((unsigned long long)(number))

static const char doing[] = "cannot read a record";

int32_t read_begin_snapshot(struct sql_connection *connection, hf_error *error)
{
    return sql_execute(connection, "cannot begin to read", NULL, error,
                       "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;"
                       " START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY");
}

void read_end_snapshot(struct sql_connection *connection)
{
    if (connection->mysql && mysql_rollback(connection->mysql) != 0)
        sql_disconnect(connection);
}

/* ---- Parts ------------------------------------------------------------------------------------------------------- */

static int32_t append_parts(MYSQL_RES *rows, hf_buffer *value, hf_error *error)
{
    for (MYSQL_ROW row; (row = mysql_fetch_row(rows));) {
        const unsigned long *sizes = mysql_fetch_lengths(rows);

        if (hf_buffer_append(value, row[0], sizes[0]) < 0)
            return hf_error_set(error, HF_ENOMEM, "no memory for a value");
    }
    return 0;
}

static int32_t read_some_parts(struct sql_connection *connection, uint64_t space_id, const struct split_key *key,
                               uint64_t first, hf_buffer *value, hf_error *error)
{
    enum { PARTS_AT_ONCE = 4 };
    MYSQL_RES *rows = NULL;
    hf_buffer sql;

    hf_buffer_init(&sql, 4 * (uint64_t)KEY_MAX);
    sql_append(&sql, "SELECT bytes FROM holdfast_part WHERE");
    key_sql_equal(&sql, space_id, key);
    sql_append(&sql, " AND part >= %llu AND part < %llu ORDER BY part", ULL(first), ULL(first + PARTS_AT_ONCE));
    int32_t r = sql_query(connection, doing, &sql, &rows, error);

    hf_buffer_done(&sql);
    if (r < 0)
        return r;
    r = append_parts(rows, value, error);
    mysql_free_result(rows);
    return r;
}

int32_t read_parts(struct sql_connection *connection, uint64_t space_id, hf_slice key, uint64_t size, hf_buffer *value,
                   hf_error *error)
{
    struct split_key split;
    int32_t r = 0;

    key_split(key, &split);
    hf_buffer_clear(value);
    if (size <= VALUE_MAX && hf_buffer_reserve(value, size) < 0)
        return hf_error_set(error, HF_ENOMEM, "no memory for a value of %llu bytes", ULL(size));
    for (uint64_t before = 1; r == 0 && value->size < size && before != value->size;) {
        before = value->size; /* a read that brings nothing ends it */
        if (before % PART_SIZE == 0)
            r = read_some_parts(connection, space_id, &split, before / PART_SIZE, value, error);
    }
    if (r == 0 && value->size != size)
        r = hf_error_set(error, HF_ECORRUPT, "a value of %llu bytes has only %llu in its parts", ULL(size),
                         ULL(value->size));
    return r;
}

/* ---- Records ----------------------------------------------------------------------------------------------------- */

/* Where *ret_size is over INLINE_MAX the value is in parts, and is not read. */
static int32_t read_row(struct sql_connection *connection, uint64_t space_id, hf_slice key, hf_buffer *value,
                        uint64_t *ret_size, hf_error *error)
{
    struct split_key split;
    MYSQL_RES *rows = NULL;
    hf_buffer sql;

    key_split(key, &split);
    hf_buffer_init(&sql, 4 * (uint64_t)KEY_MAX);
    sql_append(&sql, "SELECT size, value FROM holdfast_record WHERE");
    key_sql_equal(&sql, space_id, &split);
    int32_t r = sql_query(connection, doing, &sql, &rows, error);

    hf_buffer_done(&sql);
    if (r < 0)
        return r;
    MYSQL_ROW row = mysql_fetch_row(rows);

    if (!row) {
        mysql_free_result(rows);
        return hf_error_set(error, HF_ENOTFOUND, "there is no such record");
    }
    *ret_size = strtoull(row[0], NULL, 10);
    hf_buffer_clear(value);
    r = hf_buffer_append(value, row[1], mysql_fetch_lengths(rows)[1]);
    mysql_free_result(rows);
    if (r < 0)
        return hf_error_set(error, HF_ENOMEM, "no memory for a value");
    if (*ret_size <= INLINE_MAX && value->size != *ret_size)
        return hf_error_set(error, HF_ECORRUPT, "a value of %llu bytes has %llu in its row", ULL(*ret_size),
                            ULL(value->size));
    return 0;
}

int32_t read_value(struct sql_connection *connection, uint64_t space_id, hf_slice key, hf_buffer *value,
                   hf_error *error)
{
    uint64_t size = 0;
    int32_t r = read_row(connection, space_id, key, value, &size, error);

    return r < 0 || size <= INLINE_MAX ? r : read_parts(connection, space_id, key, size, value, error);
}

struct get {
    uint64_t space_id;
    hf_slice key;
    hf_buffer value;
};

static int32_t get_record(hf_engine_database *database, struct sql_connection *connection, void *arg, hf_error *error)
{
    struct get *get = arg;
    uint64_t size = 0;
    int32_t r = read_row(connection, get->space_id, get->key, &get->value, &size, error);

    (void)database;
    if (r < 0 || size <= INLINE_MAX)
        return r;
    /* Row and parts must be of the same moment. */
    r = read_begin_snapshot(connection, error);
    if (r == 0)
        r = read_value(connection, get->space_id, get->key, &get->value, error);
    read_end_snapshot(connection);
    return r;
}

/* A copy that the host's memory accounts for. */
static int32_t hand_over(hf_engine_database *database, const hf_buffer *value, hf_slice *ret_value, hf_error *error)
{
    uint8_t *copy = database->host->alloc(database->host, value->size ? value->size : 1);

    if (!copy)
        return hf_error_set(error, HF_ENOMEM, "no memory for a value of %llu bytes", ULL(value->size));
    if (value->size)
        memcpy(copy, value->data, value->size);
    *ret_value = (hf_slice){copy, value->size};
    return 0;
}

int32_t database_get(hf_engine_database *database, uint64_t space, hf_slice key, uint32_t flags, hf_slice *ret_value,
                     hf_error *error)
{
    struct get get = {.key = key};
    int32_t r = key_check(key, error);

    if (r < 0)
        return r;
    if (flags & HF_ENGINE_CACHED_ONLY)
        return hf_error_set(error, HF_EBUSY, "records are on a server, not in memory");
    r = spaces_enter(database, error);
    if (r < 0)
        return r;
    hf_buffer_init(&get.value, (uint64_t)VALUE_MAX + PART_SIZE);
    get.space_id = spaces_find(database, space);
    r = get.space_id ? pool_run(database, get_record, &get, error)
                     : hf_error_set(error, HF_ENOTFOUND, "there is no such record");
    spaces_leave(database);
    if (r == 0)
        r = hand_over(database, &get.value, ret_value, error);
    hf_buffer_done(&get.value);
    return r;
}

void database_release(hf_engine_database *database, hf_slice value)
{
    database->host->free(database->host, (void *)(uintptr_t)value.data);
}
