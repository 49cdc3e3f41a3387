/* database.h: what the sources of engine/mariadb share.
 *
 * A key is split: the first PREFIX_MAX bytes are part of the primary key, the rest (`tail`) is beside it, and its
 * SHA-256 stands for it in the primary key.  Only keys longer than PREFIX_MAX have a tail. */
#ifndef ENGINE_MARIADB_DATABASE_H
#define ENGINE_MARIADB_DATABASE_H

#include "server.h"

#include <holdfast/kind/engine.h>

#include <pthread.h>
#include <stdatomic.h>

enum {
    KEY_MAX = 65535,
    VALUE_MAX = 1 << 30,
    PREFIX_MAX = 2048,  /* bytes of a key that the primary key holds */
    HASH_SIZE = 32,     /* SHA-256 */
    INLINE_MAX = 65536, /* a longer value is kept in parts */
    PART_SIZE = 1 << 20,
    BULK_ROWS = 512,     /* of one statement */
    BULK_BYTES = 4 << 20 /* and of one statement's values, about */
};

/* A space's live rows in the tables; the bytes are estimates. */
struct space_entry {
    uint64_t space, id;
    uint64_t estimated; /* at the last estimate; UINT64_MAX: none yet */
    uint64_t written;   /* since */
};

struct database_pool {
    pthread_mutex_t lock;
    pthread_cond_t given_back;
    struct sql_connection *connections; /* one per slot of holdfast_writer */
    uint32_t count, snapshots;          /* snapshots: connections of exports, beside the pool */
};

struct database_sweeper {
    pthread_t thread;
    int32_t started, stopping;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    uint64_t *ids; /* of space_entry, no longer live */
    uint64_t count, capacity;
};

struct hf_engine_database {
    struct sql_servers *servers; /* borrowed from the instance */
    const hf_host *host;
    uint64_t id, epoch; /* of holdfast_database */
    struct database_pool pool;
    /* Shared: an operation uses the ids of spaces; alone: an id is exchanged.  Held while servers are waited for. */
    pthread_rwlock_t gate;
    pthread_mutex_t map_lock;   /* never held while anything is waited for */
    struct space_entry *spaces; /* ordered by space */
    uint64_t space_count, space_capacity;
    struct database_sweeper sweeper;
    atomic_int opened, closing, fenced, spaces_unknown;
    atomic_uint unresolved;         /* counts up with each outcome that is not known; 0: all are */
    atomic_int large, large_stored; /* there may be values in parts; the server knows it */
};

/* ---- pool.c ---- */

int32_t pool_init(hf_engine_database *database, hf_error *error);
void pool_done(hf_engine_database *database);
/* A connected connection; HF_EBUSY when there is none before the deadline, HF_ESTATE when another process has taken
 * the database over. */
int32_t pool_acquire(hf_engine_database *database, uint64_t deadline_us, struct sql_connection **ret_connection,
                     hf_error *error);
void pool_release(hf_engine_database *database, struct sql_connection *connection);

/* Runs `work` on a connection, again while it answers HF_EBUSY and there is time. */
typedef int32_t (*pool_work)(hf_engine_database *database, struct sql_connection *connection, void *arg,
                             hf_error *error);
int32_t pool_run(hf_engine_database *database, pool_work work, void *arg, hf_error *error);

/* ---- transaction.c ---- */

/* Runs `work` in a transaction that only the database's present owner can commit.  0: committed; HF_ETIMEOUT: nobody
 * could be asked whether it was; HF_ESTATE: another process owns the database; any other error: nothing was written. */
int32_t transaction_run(hf_engine_database *database, pool_work work, void *arg, hf_error *error);
/* Finds out about transactions whose outcome is not known yet, so that none of them can still commit. */
int32_t transaction_settle(hf_engine_database *database, hf_error *error);
/* The same, once. */
int32_t transaction_try_settle(hf_engine_database *database, hf_error *error);
/* Asks the server whether this process still owns the database. */
void transaction_check_owner(hf_engine_database *database);

/* ---- schema.c ---- */

/* Makes the tables and finds the database that belongs to `directory`. */
int32_t schema_open(hf_engine_database *database, const char *directory, hf_error *error);
/* Becomes the owner: from here on no transaction of an earlier owner can commit. */
int32_t schema_take_over(hf_engine_database *database, hf_error *error);

/* ---- spaces.c ---- */

int32_t spaces_load(hf_engine_database *database, struct sql_connection *connection, hf_error *error);
/* Between the two, no space is exchanged. */
int32_t spaces_enter(hf_engine_database *database, hf_error *error);
void spaces_leave(hf_engine_database *database);
/* The id of a space's rows, or 0. */
uint64_t spaces_find(hf_engine_database *database, uint64_t space);
/* Finds or makes it. */
int32_t spaces_create(hf_engine_database *database, uint64_t space, hf_error *error);
void spaces_written(hf_engine_database *database, uint64_t space, uint64_t bytes);
uint64_t spaces_size(hf_engine_database *database, uint64_t space);
/* Makes an id for rows that are not visible yet. */
int32_t spaces_create_hidden(hf_engine_database *database, uint64_t space, uint64_t *ret_id, hf_error *error);
/* Makes the rows of `id` the space's content, 0: none; what was there is swept later.  The caller does not hold the
 * gate. */
int32_t spaces_exchange(hf_engine_database *database, uint64_t space, uint64_t id, hf_error *error);
/* Renews the estimates that are out of date. */
int32_t spaces_estimate(hf_engine_database *database, struct sql_connection *connection, void *arg, hf_error *error);

/* ---- sweeper.c ---- */

int32_t sweeper_start(hf_engine_database *database, hf_error *error);
void sweeper_stop(hf_engine_database *database);
/* Deletes the rows of `id` in the background. */
void sweeper_add(hf_engine_database *database, uint64_t id);

/* ---- key.c ---- */

struct split_key {
    hf_slice prefix, tail, hash; /* hash is empty where tail is */
    uint8_t hash_bytes[HASH_SIZE];
};

/* Borrows `key`.  *ret_key must not be copied: `hash` points into it. */
void key_split(hf_slice key, struct split_key *ret_key);
int32_t key_check(hf_slice key, hf_error *error);
/* Order of keys by bytes, as memcmp. */
int key_compare(hf_slice a, hf_slice b);
/* " AND ..." conditions: the key is at or after `from`; it is before `to`. */
void key_sql_from(hf_buffer *sql, hf_slice from);
void key_sql_before(hf_buffer *sql, hf_slice to);
/* " space_id = ... AND record_key = ... AND key_hash = ..." */
void key_sql_equal(hf_buffer *sql, uint64_t space_id, const struct split_key *key);

/* ---- bulk.c ---- */

enum { BULK_COLUMNS = 6 };

/* Rows for one execution of a prepared statement. */
struct bulk {
    struct sql_connection *connection;
    int32_t statement; /* STATEMENT_... */
    uint32_t count;
    uint64_t bytes;
    unsigned long long numbers[BULK_COLUMNS][BULK_ROWS];
    const char *pointers[BULK_COLUMNS][BULK_ROWS];
    unsigned long lengths[BULK_COLUMNS][BULK_ROWS];
};

struct bulk *bulk_create(hf_engine_database *database, struct sql_connection *connection, int32_t statement,
                         hf_error *error);
void bulk_destroy(hf_engine_database *database, struct bulk *bulk);
/* Adds a row, in the order of the statement's columns; what is borrowed must live until bulk_send.  Sends when there
 * is enough. */
int32_t bulk_add(struct bulk *bulk, uint64_t space_id, const struct split_key *key, uint64_t number, hf_slice bytes,
                 hf_error *error);
int32_t bulk_send(struct bulk *bulk, hf_error *error);

/* ---- plan.c ---- */

struct plan; /* operations, checked and in the order in which they are best sent */

/* With `space_id` 0 each operation's own space is used; where that has no id yet, the operation changes nothing. */
int32_t plan_create(hf_engine_database *database, const hf_engine_operation *operations, uint64_t count,
                    uint64_t space_id, struct plan **ret_plan, hf_error *error);
void plan_destroy(hf_engine_database *database, struct plan *plan);
/* In one transaction. */
int32_t plan_run(hf_engine_database *database, struct plan *plan, hf_error *error);

/* ---- write.c ---- */

int32_t database_write(hf_engine_database *database, const hf_engine_operation *operations, uint64_t count,
                       hf_error *error);
int32_t database_flush(hf_engine_database *database, hf_error *error);

/* ---- read.c ---- */

/* The connection is in a snapshot when the value is in parts.  Fills `value`, which is cleared before; HF_ENOTFOUND. */
int32_t read_value(struct sql_connection *connection, uint64_t space_id, hf_slice key, hf_buffer *value,
                   hf_error *error);
int32_t read_parts(struct sql_connection *connection, uint64_t space_id, hf_slice key, uint64_t size, hf_buffer *value,
                   hf_error *error);
int32_t read_begin_snapshot(struct sql_connection *connection, hf_error *error);
void read_end_snapshot(struct sql_connection *connection);
int32_t database_get(hf_engine_database *database, uint64_t space, hf_slice key, uint32_t flags, hf_slice *ret_value,
                     hf_error *error);
void database_release(hf_engine_database *database, hf_slice value);
int32_t database_scan(hf_engine_database *database, uint64_t space, hf_slice from, hf_slice to, uint32_t flags,
                      hf_engine_visit visit, void *arg, hf_error *error);

/* ---- open.c ---- */

int32_t database_open(struct sql_servers *servers, const char *directory, hf_engine_database **ret_database,
                      hf_error *error);
void database_close(hf_engine_database *database);

/* ---- transfer.c ---- */

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
