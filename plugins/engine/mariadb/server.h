/* server.h: the servers of an instance, and one connection to one of them. */
#ifndef ENGINE_MARIADB_SERVER_H
#define ENGINE_MARIADB_SERVER_H

#include <holdfast/holdfast.h>
#include <holdfast/host/metrics.h>
#include <holdfast/lib/buffer.h>

#include <mysql.h>
#include <pthread.h>
#include <stdatomic.h>

enum { TLS_OFF, TLS_REQUIRED, TLS_VERIFIED }; /* the choices of the option `tls` */

struct mariadb_config {
    hf_strings servers;
    const char *user;
    const char *password_file;
    const char *database;
    const char *name;
    int32_t tls;
    const char *tls_authority;
    const char *tls_certificate;
    const char *tls_key;
    int64_t connections;
    int64_t exports;
    uint64_t connect_timeout, timeout, outcome_timeout;
};

struct sql_metrics {
    const hf_metrics_interface *interface; /* NULL: the host counts nothing */
    hf_metric *transactions, *retries, *connects, *failovers, *resolved_committed, *resolved_absent, *unresolved;
};

/* One per instance; outlives its databases. */
struct sql_servers {
    const hf_host *host;
    const struct mariadb_config *config; /* borrowed until destroy */
    struct sql_metrics metrics;
    atomic_uint preferred; /* index of the server that answered last */
    atomic_int relaxed_logged;
    pthread_mutex_t lock;
    char trouble[240]; /* why no server can be used; empty: one can */
};

enum { STATEMENT_PUT, STATEMENT_DELETE, STATEMENT_PUT_PART, STATEMENT_DELETE_PARTS, STATEMENT_COUNT };

struct sql_connection {
    struct sql_servers *servers;
    MYSQL *mysql;                            /* NULL: not connected */
    MYSQL_STMT *statements[STATEMENT_COUNT]; /* prepared when first needed */
    uint32_t server;
    int32_t in_use;
    atomic_int unresolved; /* the transaction `number` may have committed or not */
    uint32_t slot;
    uint64_t number; /* of the slot's last transaction */
};

void sql_log(const struct sql_servers *servers, int32_t level, const char *format, ...) HF_PRINTF(3, 4);
void sql_count(const struct sql_servers *servers, hf_metric *metric);
uint64_t sql_now_us(void);
/* Waits a little, longer with each attempt. */
void sql_back_off(uint32_t attempt);

int32_t sql_check_addresses(const struct mariadb_config *config, hf_error *error);

/* Connects to the server that answered last, or the next that can be used.  HF_EBUSY: none can now; HF_EDENIED,
 * HF_EVERSION, HF_ESTATE: the user is refused or the server must be set up otherwise. */
int32_t sql_connect(struct sql_connection *connection, hf_error *error);
void sql_disconnect(struct sql_connection *connection);

/* Sets the error from what the server or the client library said; disconnects where the connection is of no more use.
 * HF_EBUSY: trying again can help. */
int32_t sql_failed(struct sql_connection *connection, const char *doing, hf_error *error);
int32_t sql_statement_failed(struct sql_connection *connection, MYSQL_STMT *statement, const char *doing,
                             hf_error *error);

/* Runs statements separated by ';' and forgets what rows they give.  *ret_affected, which may be NULL: rows that the
 * last one changed. */
int32_t sql_execute(struct sql_connection *connection, const char *doing, uint64_t *ret_affected, hf_error *error,
                    const char *format, ...) HF_PRINTF(5, 6);
int32_t sql_execute_buffer(struct sql_connection *connection, const char *doing, const hf_buffer *sql,
                           uint64_t *ret_affected, hf_error *error);
/* Runs one statement and gives all its rows; the caller frees them with mysql_free_result. */
int32_t sql_query(struct sql_connection *connection, const char *doing, const hf_buffer *sql, MYSQL_RES **ret_rows,
                  hf_error *error);
/* Runs one statement that gives up to `count` numbers in one row; NULL counts as 0.  HF_ENOTFOUND: no row. */
int32_t sql_numbers(struct sql_connection *connection, const char *doing, uint64_t *ret_numbers, uint32_t count,
                    hf_error *error, const char *format, ...) HF_PRINTF(6, 7);
/* Appends x'...': bytes can never be taken for SQL. */
void sql_append_bytes(hf_buffer *sql, hf_slice bytes);
/* Appends of SQL are not checked one by one: a buffer that could not grow is found before it is sent. */
void sql_append(hf_buffer *sql, const char *format, ...) HF_PRINTF(2, 3);

#endif
