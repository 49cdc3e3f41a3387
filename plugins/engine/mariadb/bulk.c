/* Prepared statements that are executed for many rows at once (array binding). */
#include "database.h"

#include <holdfast/lib/error.h>

#include <string.h>

enum { COLUMN_END, COLUMN_NUMBER, COLUMN_BYTES };

struct statement {
    const char *sql;
    int32_t columns[BULK_COLUMNS + 1];
};

static const struct statement statements[STATEMENT_COUNT] = {
    [STATEMENT_PUT] = {"REPLACE INTO holdfast_record (space_id, record_key, key_hash, tail, size, value)"
                       " VALUES (?, ?, ?, ?, ?, ?)",
                       {COLUMN_NUMBER, COLUMN_BYTES, COLUMN_BYTES, COLUMN_BYTES, COLUMN_NUMBER, COLUMN_BYTES}},
    [STATEMENT_DELETE] = {"DELETE FROM holdfast_record WHERE space_id = ? AND record_key = ? AND key_hash = ?",
                          {COLUMN_NUMBER, COLUMN_BYTES, COLUMN_BYTES}},
    [STATEMENT_PUT_PART] = {"REPLACE INTO holdfast_part (space_id, record_key, key_hash, part, bytes)"
                            " VALUES (?, ?, ?, ?, ?)",
                            {COLUMN_NUMBER, COLUMN_BYTES, COLUMN_BYTES, COLUMN_NUMBER, COLUMN_BYTES}},
    [STATEMENT_DELETE_PARTS] = {"DELETE FROM holdfast_part WHERE space_id = ? AND record_key = ? AND key_hash = ?",
                                {COLUMN_NUMBER, COLUMN_BYTES, COLUMN_BYTES}},
};

struct bulk *bulk_create(hf_engine_database *database, struct sql_connection *connection, int32_t statement,
                         hf_error *error)
{
    struct bulk *bulk = database->host->alloc(database->host, sizeof *bulk);

    if (!bulk) {
        hf_error_set(error, HF_ENOMEM, "no memory for a statement's rows");
        return NULL;
    }
    bulk->connection = connection;
    bulk->statement = statement;
    return bulk;
}

void bulk_destroy(hf_engine_database *database, struct bulk *bulk)
{
    database->host->free(database->host, bulk);
}

static int32_t prepare(struct sql_connection *connection, int32_t which, hf_error *error)
{
    static const char doing[] = "cannot prepare a statement";
    const char *sql = statements[which].sql;

    if (!connection->mysql)
        return sql_failed(connection, doing, error);
    if (connection->statements[which])
        return 0;
    MYSQL_STMT *statement = mysql_stmt_init(connection->mysql);

    if (!statement)
        return hf_error_set(error, HF_ENOMEM, "no memory for a statement");
    if (mysql_stmt_prepare(statement, sql, (unsigned long)strlen(sql)) == 0) {
        connection->statements[which] = statement;
        return 0;
    }
    /* First the words, then the statement, then perhaps the connection. */
    connection->statements[which] = statement;
    int32_t r = sql_statement_failed(connection, statement, doing, error);

    if (connection->statements[which]) {
        mysql_stmt_close(statement);
        connection->statements[which] = NULL;
    }
    return r;
}

/* The array size must be known before the columns are bound. */
static int bind_columns(struct bulk *bulk, MYSQL_STMT *statement)
{
    MYSQL_BIND binds[BULK_COLUMNS];
    unsigned int count = bulk->count;

    memset(binds, 0, sizeof binds);
    for (int i = 0; i < BULK_COLUMNS && statements[bulk->statement].columns[i] != COLUMN_END; i++)
        if (statements[bulk->statement].columns[i] == COLUMN_NUMBER) {
            binds[i].buffer_type = MYSQL_TYPE_LONGLONG;
            binds[i].is_unsigned = 1;
            binds[i].buffer = bulk->numbers[i];
        } else {
            binds[i].buffer_type = MYSQL_TYPE_BLOB;
            binds[i].buffer = bulk->pointers[i];
            binds[i].length = bulk->lengths[i];
        }
    return mysql_stmt_attr_set(statement, STMT_ATTR_ARRAY_SIZE, &count) || mysql_stmt_bind_param(statement, binds);
}

int32_t bulk_send(struct bulk *bulk, hf_error *error)
{
    struct sql_connection *connection = bulk->connection;

    if (bulk->count == 0)
        return 0;
    int32_t r = prepare(connection, bulk->statement, error);

    if (r < 0)
        return r;
    MYSQL_STMT *statement = connection->statements[bulk->statement];

    if (bind_columns(bulk, statement) || mysql_stmt_execute(statement) != 0)
        return sql_statement_failed(connection, statement, "cannot write records", error);
    bulk->count = 0;
    bulk->bytes = 0;
    return 0;
}

static void set_bytes(struct bulk *bulk, int column, hf_slice bytes)
{
    bulk->pointers[column][bulk->count] = bytes.data ? (const char *)bytes.data : "";
    bulk->lengths[column][bulk->count] = (unsigned long)bytes.size;
    bulk->bytes += bytes.size;
}

int32_t bulk_add(struct bulk *bulk, uint64_t space_id, const struct split_key *key, uint64_t number, hf_slice bytes,
                 hf_error *error)
{
    int column = 3;

    if (bulk->count == BULK_ROWS || (bulk->count && bulk->bytes + bytes.size + key->tail.size > BULK_BYTES)) {
        int32_t r = bulk_send(bulk, error);

        if (r < 0)
            return r;
    }
    bulk->numbers[0][bulk->count] = space_id;
    set_bytes(bulk, 1, key->prefix);
    set_bytes(bulk, 2, key->hash);
    if (bulk->statement == STATEMENT_PUT)
        set_bytes(bulk, column++, key->tail);
    if (statements[bulk->statement].columns[column] == COLUMN_NUMBER) {
        bulk->numbers[column][bulk->count] = number;
        set_bytes(bulk, column + 1, bytes);
    }
    bulk->count++;
    return 0;
}
