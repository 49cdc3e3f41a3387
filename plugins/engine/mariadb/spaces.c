/* Which rows belong to which space.
 *
 * Rows carry an id of holdfast_space instead of the space itself, so a whole space is replaced or erased by changing
 * two rows of that table: one small transaction, however many records there are.  The database has one owner, so the
 * map in memory is always as the table is. */
#include "database.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>
#include <string.h>

#define ULL(number) ((unsigned long long)(number))

/* ---- The map; callers hold map_lock ------------------------------------------------------------------------------ */

/* Where the space is, or where it would be. */
static uint64_t position(const hf_engine_database *database, uint64_t space)
{
    uint64_t low = 0, high = database->space_count;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;

        if (database->spaces[middle].space < space)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct space_entry *find(const hf_engine_database *database, uint64_t space)
{
    uint64_t i = position(database, space);

    return i < database->space_count && database->spaces[i].space == space ? &database->spaces[i] : NULL;
}

static int32_t make_room(hf_engine_database *database)
{
    const hf_host *host = database->host;
    uint64_t capacity = database->space_capacity ? 2 * database->space_capacity : 16;
    struct space_entry *spaces;

    if (database->space_count < database->space_capacity)
        return 0;
    spaces = host->alloc(host, capacity * sizeof *spaces);
    if (!spaces)
        return HF_ENOMEM;
    if (database->space_count)
        memcpy(spaces, database->spaces, database->space_count * sizeof *spaces);
    host->free(host, database->spaces);
    database->spaces = spaces;
    database->space_capacity = capacity;
    return 0;
}

/* id 0: none. */
static int32_t set_locked(hf_engine_database *database, uint64_t space, uint64_t id, uint64_t estimated)
{
    struct space_entry *entry = find(database, space);
    uint64_t i = position(database, space);

    if (!id && entry)
        memmove(entry, entry + 1, (--database->space_count - i) * sizeof *entry);
    if (!id)
        return 0;
    if (!entry) {
        if (make_room(database) < 0)
            return HF_ENOMEM;
        entry = &database->spaces[i];
        memmove(entry + 1, entry, (database->space_count++ - i) * sizeof *entry);
    }
    *entry = (struct space_entry){.space = space, .id = id, .estimated = estimated};
    return 0;
}

static int32_t set(hf_engine_database *database, uint64_t space, uint64_t id, uint64_t estimated)
{
    pthread_mutex_lock(&database->map_lock);
    int32_t r = set_locked(database, space, id, estimated);

    pthread_mutex_unlock(&database->map_lock);
    return r;
}

int32_t spaces_enter(hf_engine_database *database, hf_error *error)
{
    pthread_rwlock_rdlock(&database->gate);
    int32_t r = transaction_settle(database, error); /* may read the map anew */

    if (r < 0)
        pthread_rwlock_unlock(&database->gate);
    return r;
}

void spaces_leave(hf_engine_database *database)
{
    pthread_rwlock_unlock(&database->gate);
}

uint64_t spaces_find(hf_engine_database *database, uint64_t space)
{
    pthread_mutex_lock(&database->map_lock);
    const struct space_entry *entry = find(database, space);
    uint64_t id = entry ? entry->id : 0;

    pthread_mutex_unlock(&database->map_lock);
    return id;
}

/* ---- The table --------------------------------------------------------------------------------------------------- */

static int32_t take_rows(hf_engine_database *database, MYSQL_RES *rows, hf_error *error)
{
    int32_t r = 0;

    pthread_mutex_lock(&database->map_lock);
    database->space_count = 0;
    for (MYSQL_ROW row; r == 0 && (row = mysql_fetch_row(rows));) {
        uint64_t id = strtoull(row[0], NULL, 10), space = strtoull(row[1], NULL, 10);

        if (row[2])
            r = set_locked(database, space, id, UINT64_MAX);
        else if (!atomic_load(&database->opened)) /* later it may belong to an import under way */
            sweeper_add(database, id);
    }
    pthread_mutex_unlock(&database->map_lock);
    return r < 0 ? hf_error_set(error, r, "no memory for the list of spaces") : 0;
}

int32_t spaces_load(hf_engine_database *database, struct sql_connection *connection, hf_error *error)
{
    MYSQL_RES *rows = NULL;
    hf_buffer sql;

    hf_buffer_init(&sql, 1024);
    sql_append(&sql, "SELECT id, space, live FROM holdfast_space WHERE database_id = %llu", ULL(database->id));
    int32_t r = sql_query(connection, "cannot read the list of spaces", &sql, &rows, error);

    hf_buffer_done(&sql);
    if (r < 0)
        return r;
    r = take_rows(database, rows, error);
    mysql_free_result(rows);
    return r;
}

struct creation {
    uint64_t space, id;
};

/* May run twice: the second time it finds what the first one made. */
static int32_t create_live(hf_engine_database *database, struct sql_connection *connection, void *arg, hf_error *error)
{
    static const char doing[] = "cannot create a space";
    struct creation *creation = arg;
    int32_t r = sql_execute(connection, doing, NULL, error,
                            "INSERT IGNORE INTO holdfast_space (database_id, space, live) VALUES (%llu, %llu, 1)",
                            ULL(database->id), ULL(creation->space));

    if (r == 0)
        r = sql_numbers(connection, doing, &creation->id, 1, error,
                        "SELECT id FROM holdfast_space WHERE database_id = %llu AND space = %llu AND live = 1",
                        ULL(database->id), ULL(creation->space));
    return r == HF_ENOTFOUND ? HF_EBUSY : r;
}

static int32_t create_hidden(hf_engine_database *database, struct sql_connection *connection, void *arg,
                             hf_error *error)
{
    struct creation *creation = arg;
    int32_t r = sql_execute(connection, "cannot create a space", NULL, error,
                            "INSERT INTO holdfast_space (database_id, space, live) VALUES (%llu, %llu, NULL)",
                            ULL(database->id), ULL(creation->space));

    if (r == 0)
        creation->id = mysql_insert_id(connection->mysql);
    return r;
}

int32_t spaces_create(hf_engine_database *database, uint64_t space, hf_error *error)
{
    struct creation creation = {space, 0};
    int32_t r = 0;

    if (spaces_find(database, space))
        return 0;
    pthread_rwlock_wrlock(&database->gate);
    if (!spaces_find(database, space)) {
        r = pool_run(database, create_live, &creation, error);
        if (r == 0 && set(database, space, creation.id, 0) < 0)
            r = hf_error_set(error, HF_ENOMEM, "no memory for another space");
    }
    pthread_rwlock_unlock(&database->gate);
    return r;
}

int32_t spaces_create_hidden(hf_engine_database *database, uint64_t space, uint64_t *ret_id, hf_error *error)
{
    struct creation creation = {space, 0};
    int32_t r = pool_run(database, create_hidden, &creation, error);

    *ret_id = creation.id;
    return r;
}

/* ---- Exchanging -------------------------------------------------------------------------------------------------- */

static int32_t exchange_rows(hf_engine_database *database, struct sql_connection *connection, void *arg,
                             hf_error *error)
{
    static const char doing[] = "cannot replace a space";
    const struct creation *creation = arg;
    uint64_t changed = 1;
    int32_t r = sql_execute(connection, doing, NULL, error,
                            "UPDATE holdfast_space SET live = NULL"
                            " WHERE database_id = %llu AND space = %llu AND live = 1",
                            ULL(database->id), ULL(creation->space));

    if (r == 0 && creation->id)
        r = sql_execute(connection, doing, &changed, error,
                        "UPDATE holdfast_space SET live = 1 WHERE database_id = %llu AND id = %llu", ULL(database->id),
                        ULL(creation->id));
    if (r == 0 && changed != 1)
        r = hf_error_set(error, HF_ECORRUPT, "the row of a space that was being imported has vanished");
    return r;
}

int32_t spaces_exchange(hf_engine_database *database, uint64_t space, uint64_t id, hf_error *error)
{
    struct creation creation = {space, id};

    pthread_rwlock_wrlock(&database->gate);
    int32_t r = transaction_settle(database, error);
    uint64_t old = spaces_find(database, space);

    if (r == 0)
        r = transaction_run(database, exchange_rows, &creation, error);

    if (r == 0 && set(database, space, id, UINT64_MAX) < 0)
        r = hf_error_set(error, HF_ENOMEM, "no memory for another space; open the database again");
    if (r == HF_ETIMEOUT || r == HF_ENOMEM) { /* the table may differ from the map */
        atomic_store(&database->spaces_unknown, 1);
        atomic_fetch_add(&database->unresolved, 1);
    }
    pthread_rwlock_unlock(&database->gate);
    if (r == 0 && old)
        sweeper_add(database, old);
    return r;
}

/* ---- Sizes ------------------------------------------------------------------------------------------------------- */

void spaces_written(hf_engine_database *database, uint64_t space, uint64_t bytes)
{
    pthread_mutex_lock(&database->map_lock);
    struct space_entry *entry = find(database, space);

    if (entry)
        entry->written += bytes;
    pthread_mutex_unlock(&database->map_lock);
}

uint64_t spaces_size(hf_engine_database *database, uint64_t space)
{
    pthread_mutex_lock(&database->map_lock);
    const struct space_entry *entry = find(database, space);
    uint64_t size = entry ? (entry->estimated == UINT64_MAX ? 0 : entry->estimated) + entry->written : 0;

    pthread_mutex_unlock(&database->map_lock);
    return size;
}

/* One whose estimate is out of date, from index `from` on. */
static int next_outdated(hf_engine_database *database, uint64_t *from, struct space_entry *ret_entry)
{
    enum { WRITTEN_MIN = 1 << 20 };
    int found = 0;

    pthread_mutex_lock(&database->map_lock);
    for (; !found && *from < database->space_count; ++*from) {
        *ret_entry = database->spaces[*from];
        found = ret_entry->estimated == UINT64_MAX || ret_entry->written > ret_entry->estimated / 8 + WRITTEN_MIN;
    }
    pthread_mutex_unlock(&database->map_lock);
    return found;
}

/* What the optimiser believes; it looks at a few pages of the index. */
static int32_t count_rows(struct sql_connection *connection, const char *table, uint64_t id, uint64_t *ret_rows,
                          hf_error *error)
{
    enum { ROWS_COLUMN = 8 };
    uint64_t columns[ROWS_COLUMN + 1] = {0};
    int32_t r = sql_numbers(connection, "cannot estimate a size", columns, ROWS_COLUMN + 1, error,
                            "EXPLAIN SELECT space_id FROM %s WHERE space_id = %llu", table, ULL(id));

    *ret_rows = columns[ROWS_COLUMN];
    return r;
}

static int32_t row_length(struct sql_connection *connection, uint64_t *ret_length, hf_error *error)
{
    return sql_numbers(connection, "cannot estimate a size", ret_length, 1, error,
                       "SELECT AVG_ROW_LENGTH FROM information_schema.TABLES"
                       " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'holdfast_record'");
}

static void put_estimate(hf_engine_database *database, const struct space_entry *before, uint64_t estimated)
{
    pthread_mutex_lock(&database->map_lock);
    struct space_entry *entry = find(database, before->space);

    if (entry && entry->id == before->id) {
        entry->estimated = estimated;
        entry->written -= before->written;
    }
    pthread_mutex_unlock(&database->map_lock);
}

int32_t spaces_estimate(hf_engine_database *database, struct sql_connection *connection, void *arg, hf_error *error)
{
    struct space_entry entry;
    uint64_t length = 0, from = 0;
    int32_t r = 0;

    (void)arg;
    while (r == 0 && next_outdated(database, &from, &entry)) {
        uint64_t rows = 0, parts = 0;

        r = length ? 0 : row_length(connection, &length, error);
        if (r == 0)
            r = count_rows(connection, "holdfast_record", entry.id, &rows, error);
        if (r == 0 && atomic_load(&database->large))
            r = count_rows(connection, "holdfast_part", entry.id, &parts, error);
        if (r == 0)
            put_estimate(database, &entry, rows * length + parts * PART_SIZE);
    }
    return r;
}
