/* Sending SQL over one connection, and what its errors mean. */
#include "server.h"

#include <holdfast/lib/error.h>

#include <errmsg.h>
#include <mysqld_error.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- Logging, time ----------------------------------------------------------------------------------------------- */

void sql_log(const struct sql_servers *servers, int32_t level, const char *format, ...)
{
    char line[700];
    va_list arguments;

    va_start(arguments, format);
    int size = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (size < 0)
        return;
    if (size >= (int)sizeof line)
        size = sizeof line - 1;
    servers->host->log(servers->host, level, (hf_slice){(const uint8_t *)line, (uint64_t)size});
}

void sql_count(const struct sql_servers *servers, hf_metric *metric)
{
    if (servers->metrics.interface && metric)
        servers->metrics.interface->increment(metric, 1);
}

uint64_t sql_now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void sql_back_off(uint32_t attempt)
{
    enum { FIRST_US = 2000, DOUBLINGS = 7 }; /* up to about 256 ms */
    uint64_t us = (uint64_t)FIRST_US << (attempt < DOUBLINGS ? attempt : DOUBLINGS);

    us = us / 2 + sql_now_us() * 2654435761u % us; /* rivals must not meet again */
    nanosleep(&(struct timespec){(time_t)(us / 1000000), (long)(us % 1000000) * 1000}, NULL);
}

/* ---- Errors ------------------------------------------------------------------------------------------------------ */

/* Another attempt on the same connection can succeed. */
static int is_conflict(unsigned int code)
{
    return code == ER_LOCK_DEADLOCK || code == ER_LOCK_WAIT_TIMEOUT || code == ER_CHECKREAD;
}

/* This connection, or this server at present, is of no use: another may be. */
static int is_lost(unsigned int code)
{
    switch (code) {
    case ER_UNKNOWN_COM_ERROR: /* a Galera node that is not part of a majority */
    case ER_CON_COUNT_ERROR:
    case ER_TOO_MANY_USER_CONNECTIONS:
    case ER_USER_LIMIT_REACHED:
    case ER_HOST_IS_BLOCKED:
    case ER_SERVER_SHUTDOWN:
    case ER_NORMAL_SHUTDOWN:
    case ER_CONNECTION_KILLED:
    case ER_QUERY_INTERRUPTED:
    case ER_NEW_ABORTING_CONNECTION:
    case ER_ABORTING_CONNECTION:
    case ER_NET_READ_ERROR:
    case ER_NET_READ_INTERRUPTED:
    case ER_NET_ERROR_ON_WRITE:
    case ER_NET_WRITE_INTERRUPTED:
    case ER_OPTION_PREVENTS_STATEMENT: /* read_only */
    case ER_ERROR_DURING_COMMIT:
    case ER_UNKNOWN_STMT_HANDLER:
        return 1;
    default:
        return code >= CR_MIN_ERROR && code != CR_OUT_OF_MEMORY && code != CR_INVALID_PARAMETER_NO;
    }
}

static int32_t other_code(unsigned int code)
{
    switch (code) {
    case ER_ACCESS_DENIED_ERROR:
    case ER_DBACCESS_DENIED_ERROR:
    case ER_TABLEACCESS_DENIED_ERROR:
    case ER_COLUMNACCESS_DENIED_ERROR:
    case ER_SPECIFIC_ACCESS_DENIED_ERROR:
    case ER_ACCESS_DENIED_NO_PASSWORD_ERROR:
        return HF_EDENIED;
    case ER_INDEX_CORRUPT:
    case ER_TABLE_CORRUPT:
    case ER_CRASHED_ON_USAGE:
    case ER_NOT_KEYFILE:
    case ER_NO_SUCH_TABLE:
        return HF_ECORRUPT;
    case CR_OUT_OF_MEMORY:
        return HF_ENOMEM;
    default:
        return HF_EIO;
    }
}

static int32_t failed(struct sql_connection *connection, unsigned int code, const char *words, const char *doing,
                      hf_error *error)
{
    const char *server = connection->servers->config->servers.items[connection->server];
    int32_t r;

    if (is_conflict(code))
        r = hf_error_set(error, HF_EBUSY, "%s: %s gave way to another transaction (%u %s)", doing, server, code, words);
    else if (is_lost(code))
        r = hf_error_set(error, HF_EBUSY, "%s: %s cannot be used at present (%u %s)", doing, server, code, words);
    else
        r = hf_error_set(error, other_code(code), "%s: the server %s says %u %s", doing, server, code, words);
    if (is_lost(code))
        sql_disconnect(connection);
    return r;
}

int32_t sql_failed(struct sql_connection *connection, const char *doing, hf_error *error)
{
    char words[300];

    if (!connection->mysql)
        return hf_error_set(error, HF_EBUSY, "%s: not connected", doing);
    snprintf(words, sizeof words, "%.299s", mysql_error(connection->mysql));
    return failed(connection, mysql_errno(connection->mysql), words, doing, error);
}

int32_t sql_statement_failed(struct sql_connection *connection, MYSQL_STMT *statement, const char *doing,
                             hf_error *error)
{
    char words[300];

    snprintf(words, sizeof words, "%.299s", mysql_stmt_error(statement));
    return failed(connection, mysql_stmt_errno(statement), words, doing, error);
}

/* ---- Building ---------------------------------------------------------------------------------------------------- */

void sql_append(hf_buffer *sql, const char *format, ...)
{
    char text[400];
    va_list arguments;

    va_start(arguments, format);
    int size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (size < 0 || size >= (int)sizeof text || hf_buffer_append(sql, text, (uint64_t)size) < 0)
        sql->maximum = 0;
}

void sql_append_bytes(hf_buffer *sql, hf_slice bytes)
{
    static const char digits[] = "0123456789abcdef";

    sql_append(sql, "x'");
    if (hf_buffer_reserve(sql, 2 * bytes.size) < 0) {
        sql->maximum = 0;
        return;
    }
    for (uint64_t i = 0; i < bytes.size; i++) {
        sql->data[sql->size++] = (uint8_t)digits[bytes.data[i] >> 4];
        sql->data[sql->size++] = (uint8_t)digits[bytes.data[i] & 15];
    }
    sql_append(sql, "'");
}

/* ---- Running ----------------------------------------------------------------------------------------------------- */

static int32_t send_sql(struct sql_connection *connection, const char *doing, const hf_buffer *sql, hf_error *error)
{
    if (sql->maximum == 0)
        return hf_error_set(error, HF_ENOMEM, "%s: no memory for the statement", doing);
    if (!connection->mysql || mysql_real_query(connection->mysql, (const char *)sql->data, sql->size) != 0)
        return sql_failed(connection, doing, error);
    return 0;
}

int32_t sql_execute_buffer(struct sql_connection *connection, const char *doing, const hf_buffer *sql,
                           uint64_t *ret_affected, hf_error *error)
{
    int32_t r = send_sql(connection, doing, sql, error);
    int more = 0;

    if (r < 0)
        return r;
    do {
        MYSQL_RES *rows = mysql_store_result(connection->mysql);

        if (rows)
            mysql_free_result(rows);
        else if (mysql_errno(connection->mysql) != 0)
            return sql_failed(connection, doing, error);
        else if (ret_affected)
            *ret_affected = mysql_affected_rows(connection->mysql);
        more = mysql_next_result(connection->mysql);
    } while (more == 0);
    return more > 0 ? sql_failed(connection, doing, error) : 0;
}

static int32_t format_sql(hf_buffer *sql, const char *format, va_list arguments)
{
    char text[4000];
    int size = vsnprintf(text, sizeof text, format, arguments);

    hf_buffer_init(sql, sizeof text);
    return size < 0 || size >= (int)sizeof text ? HF_ENOMEM : hf_buffer_append(sql, text, (uint64_t)size);
}

int32_t sql_execute(struct sql_connection *connection, const char *doing, uint64_t *ret_affected, hf_error *error,
                    const char *format, ...)
{
    hf_buffer sql;
    va_list arguments;

    va_start(arguments, format);
    int32_t r = format_sql(&sql, format, arguments);
    va_end(arguments);
    if (r < 0)
        r = hf_error_set(error, HF_ENOMEM, "%s: no memory for the statement", doing);
    else
        r = sql_execute_buffer(connection, doing, &sql, ret_affected, error);
    hf_buffer_done(&sql);
    return r;
}

int32_t sql_query(struct sql_connection *connection, const char *doing, const hf_buffer *sql, MYSQL_RES **ret_rows,
                  hf_error *error)
{
    int32_t r = send_sql(connection, doing, sql, error);

    if (r < 0)
        return r;
    *ret_rows = mysql_store_result(connection->mysql);
    return *ret_rows ? 0 : sql_failed(connection, doing, error);
}

int32_t sql_numbers(struct sql_connection *connection, const char *doing, uint64_t *ret_numbers, uint32_t count,
                    hf_error *error, const char *format, ...)
{
    hf_buffer sql;
    MYSQL_RES *rows = NULL;
    va_list arguments;

    va_start(arguments, format);
    int32_t r = format_sql(&sql, format, arguments);
    va_end(arguments);
    if (r < 0)
        r = hf_error_set(error, HF_ENOMEM, "%s: no memory for the statement", doing);
    else
        r = sql_query(connection, doing, &sql, &rows, error);
    hf_buffer_done(&sql);
    if (r < 0)
        return r;
    MYSQL_ROW row = mysql_fetch_row(rows);

    for (uint32_t i = 0; row && i < count && i < mysql_num_fields(rows); i++)
        ret_numbers[i] = row[i] ? strtoull(row[i], NULL, 10) : 0;
    mysql_free_result(rows);
    return row ? 0 : hf_error_set(error, HF_ENOTFOUND, "%s: there is no such row", doing);
}
