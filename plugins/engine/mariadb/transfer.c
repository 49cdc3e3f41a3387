/* Export and import of a space.
 *
 * An export has a connection of its own, whose snapshot it reads.  An import writes its records under an id that
 * nobody reads yet, in transactions of bounded size; committing exchanges the space's id. */
#include "cursor.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/export.h>

#include <string.h>

static const char export_magic[] = "HFEQ";

struct hf_engine_export {
    hf_engine_database *database;
    struct sql_connection connection;
    struct cursor cursor;
    hf_export_writer stream;
};

struct hf_engine_import {
    hf_engine_database *database;
    uint64_t space, id; /* id 0: nothing is written yet; an import of nothing stays so */
    hf_engine_operation operations[BULK_ROWS];
    uint64_t count;
    hf_buffer bytes; /* keys and values of the operations */
    hf_buffer last;  /* key */
    int32_t begun, committed, outcome_unknown;
    hf_export_reader stream;
};

/* ---- Export ------------------------------------------------------------------------------------------------------ */

static int32_t take_export(hf_engine_database *database, hf_error *error)
{
    uint32_t most = (uint32_t)database->servers->config->exports;

    pthread_mutex_lock(&database->pool.lock);
    int full = database->pool.snapshots >= most;

    if (!full)
        database->pool.snapshots++;
    pthread_mutex_unlock(&database->pool.lock);
    return full ? hf_error_set(error, HF_EBUSY, "%u exports are under way, the most that the option exports allows",
                               most)
                : 0;
}

static void give_export_back(hf_engine_database *database)
{
    pthread_mutex_lock(&database->pool.lock);
    database->pool.snapshots--;
    pthread_mutex_unlock(&database->pool.lock);
}

static int32_t export_next(void *arg, hf_slice *ret_key, hf_slice *ret_value, hf_error *error)
{
    hf_engine_export *source = arg;

    return cursor_next(&source->cursor, ret_key, ret_value, error);
}

static int32_t export_begin(hf_engine_export *source, uint64_t space, hf_error *error)
{
    hf_engine_database *database = source->database;
    int32_t r = spaces_enter(database, error);

    if (r < 0)
        return r;
    r = sql_connect(&source->connection, error);
    if (r == 0)
        r = read_begin_snapshot(&source->connection, error);
    if (r == 0)
        r = cursor_init(&source->cursor, &source->connection, spaces_find(database, space), (hf_slice){NULL, 0},
                        (hf_slice){NULL, 0}, 0, error);
    spaces_leave(database);
    hf_export_writer_init(&source->stream, export_magic, export_next, source);
    return r;
}

int32_t database_export_open(hf_engine_database *database, uint64_t space, hf_engine_export **ret_export,
                             hf_error *error)
{
    int32_t r = take_export(database, error);

    if (r < 0)
        return r;
    hf_engine_export *source = database->host->alloc(database->host, sizeof *source);

    if (!source) {
        give_export_back(database);
        return hf_error_set(error, HF_ENOMEM, "no memory for an export");
    }
    source->database = database;
    source->connection.servers = database->servers;
    r = export_begin(source, space, error);
    if (r < 0) {
        database_export_close(source);
        return r;
    }
    *ret_export = source;
    return 0;
}

/* The snapshot went with the connection: the export cannot go on. */
static int32_t not_to_be_resumed(int32_t result, hf_error *error)
{
    return result == HF_EBUSY ? hf_error_set(error, HF_EIO, "the export's connection was lost; begin it again")
                              : result;
}

int32_t database_export_read(hf_engine_export *source, uint8_t *buffer, uint64_t capacity, uint64_t *ret_size,
                             hf_error *error)
{
    return not_to_be_resumed(hf_export_writer_read(&source->stream, buffer, capacity, ret_size, error), error);
}

int32_t database_export_visit(hf_engine_export *source, uint64_t bytes, hf_engine_visit visit, void *arg,
                              int32_t *ret_more, hf_error *error)
{
    return not_to_be_resumed(hf_export_visit(export_next, source, bytes, visit, arg, ret_more, error), error);
}

void database_export_close(hf_engine_export *source)
{
    if (!source)
        return;
    cursor_done(&source->cursor);
    sql_disconnect(&source->connection);
    give_export_back(source->database);
    source->database->host->free(source->database->host, source);
}

/* ---- Import ------------------------------------------------------------------------------------------------------ */

static int32_t import_send(hf_engine_import *target, hf_error *error)
{
    hf_engine_database *database = target->database;
    struct plan *plan = NULL;
    int32_t r = 0;

    if (target->count == 0)
        return 0;
    if (!target->id)
        r = spaces_create_hidden(database, target->space, &target->id, error);
    if (r == 0)
        r = plan_create(database, target->operations, target->count, target->id, &plan, error);
    if (r == 0)
        r = plan_run(database, plan, error);
    plan_destroy(database, plan);
    if (r == HF_ETIMEOUT) /* nobody sees these rows: to write them again does no harm */
        return hf_error_set(error, HF_EBUSY, "whether records of the import were written is not known");
    if (r < 0)
        return r;
    target->count = 0;
    hf_buffer_clear(&target->bytes);
    return 0;
}

static hf_slice keep(hf_engine_import *target, hf_slice bytes)
{
    const uint8_t *at = target->bytes.data + target->bytes.size; /* reserved before: it does not move */

    (void)hf_buffer_append(&target->bytes, bytes.data, bytes.size);
    return (hf_slice){at, bytes.size};
}

static int32_t check_order(hf_engine_import *target, hf_slice key, hf_error *error)
{
    if (target->begun && key_compare((hf_slice){target->last.data, target->last.size}, key) >= 0)
        return hf_error_set(error, HF_ECORRUPT, "the export is damaged (its records are out of order); fetch it again");
    target->begun = 1;
    hf_buffer_clear(&target->last);
    if (hf_buffer_append(&target->last, key.data, key.size) < 0)
        return hf_error_set(error, HF_ENOMEM, "no memory for a key");
    return 0;
}

static int32_t import_record(void *arg, hf_slice key, hf_slice value, hf_error *error)
{
    hf_engine_import *target = arg;
    uint64_t size = key.size + value.size;
    int32_t r = check_order(target, key, error);

    if (r == 0 && (target->count == BULK_ROWS || target->bytes.size + size > target->bytes.capacity))
        r = import_send(target, error);
    if (r < 0)
        return r;
    /* The buffer is empty, or has room: what the operations point to does not move. */
    if (hf_buffer_reserve(&target->bytes, target->bytes.size ? size : size > BULK_BYTES ? size : BULK_BYTES) < 0)
        return hf_error_set(error, HF_ENOMEM, "no memory for a record of %llu bytes", (unsigned long long)size);
    hf_engine_operation *operation = &target->operations[target->count++];

    *operation = (hf_engine_operation){.type = HF_ENGINE_PUT, .space = target->space};
    operation->key = keep(target, key);
    operation->value = keep(target, value);
    return 0;
}

int32_t database_import_open(hf_engine_database *database, uint64_t space, hf_engine_import **ret_import,
                             hf_error *error)
{
    hf_engine_import *target = database->host->alloc(database->host, sizeof *target);

    if (!target)
        return hf_error_set(error, HF_ENOMEM, "no memory for an import");
    target->database = database;
    target->space = space;
    hf_buffer_init(&target->bytes, (uint64_t)VALUE_MAX + KEY_MAX);
    hf_buffer_init(&target->last, KEY_MAX);
    hf_export_reader_init(&target->stream, database->host, export_magic, import_record, target);
    *ret_import = target;
    return 0;
}

int32_t database_import_write(hf_engine_import *target, hf_slice bytes, hf_error *error)
{
    return hf_export_reader_feed(&target->stream, bytes, error);
}

int32_t database_import_commit(hf_engine_import *target, hf_error *error)
{
    int32_t r = hf_export_reader_finish(&target->stream, error);

    if (r < 0)
        return r;
    if (target->committed)
        return hf_error_set(error, HF_ESTATE, "the import was committed already");
    r = import_send(target, error);
    if (r == 0)
        r = spaces_exchange(target->database, target->space, target->id, error);
    target->committed = r == 0;
    target->outcome_unknown = r == HF_ETIMEOUT || r == HF_ENOMEM || r == HF_ESTATE;
    return r;
}

void database_import_close(hf_engine_import *target)
{
    if (!target)
        return;
    const hf_host *host = target->database->host;

    /* Where the outcome is not known, the next open finds out what is live. */
    if (target->id && !target->committed && !target->outcome_unknown)
        sweeper_add(target->database, target->id);
    hf_export_reader_done(&target->stream);
    hf_buffer_done(&target->bytes);
    hf_buffer_done(&target->last);
    host->free(host, target);
}
