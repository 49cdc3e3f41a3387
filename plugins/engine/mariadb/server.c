/* Connecting: addresses, TLS, the password, and whether a server is fit to keep records. */
#include "server.h"

#include <holdfast/lib/error.h>

#include <errno.h>
#include <mysqld_error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { VERSION_MIN = 100500, PAGE_SIZE_MIN = 16384, PACKET_MIN = 8 << 20, PASSWORD_MAX = 1024 };

/* ---- Addresses and secrets --------------------------------------------------------------------------------------- */

struct address {
    char host[256];
    const char *socket; /* of "unix:PATH", borrowed */
    unsigned int port;
};

static int32_t parse_address(const char *text, struct address *ret_address, hf_error *error)
{
    const char *colon = strrchr(text, ':');
    size_t size = colon ? (size_t)(colon - text) : 0;
    char *end = NULL;

    memset(ret_address, 0, sizeof *ret_address);
    if (strncmp(text, "unix:", 5) == 0 && text[5] == '/') {
        ret_address->socket = text + 5;
        return 0;
    }
    unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;

    if (size >= 2 && text[0] == '[' && text[size - 1] == ']') {
        text++;
        size -= 2;
    }
    if (size == 0 || size >= sizeof ret_address->host || port == 0 || port > 65535 || *end)
        return hf_error_set(error, HF_EINVAL, "the server '%s' is not of the form HOST:PORT, [v6]:PORT or unix:/PATH",
                            text);
    memcpy(ret_address->host, text, size);
    ret_address->port = (unsigned int)port;
    return 0;
}

int32_t sql_check_addresses(const struct mariadb_config *config, hf_error *error)
{
    struct address address;
    int32_t r = 0;

    if (config->servers.count == 0)
        return hf_error_set(error, HF_EINVAL, "the option servers is empty; list at least one HOST:PORT");
    for (uint64_t i = 0; r == 0 && i < config->servers.count; i++)
        r = parse_address(config->servers.items[i], &address, error);
    return r;
}

/* Read for every connection, so a new password needs no restart. */
static int32_t read_password(const struct mariadb_config *config, char *password, hf_error *error)
{
    password[0] = '\0';
    if (!config->password_file || !config->password_file[0])
        return 0;
    FILE *file = fopen(config->password_file, "re");

    if (!file)
        return hf_error_set_errno(error, HF_EDENIED, errno, "cannot read the password file '%s'",
                                  config->password_file);
    size_t size = fread(password, 1, PASSWORD_MAX - 1, file);
    int bad = ferror(file) || !feof(file);

    (void)fclose(file);
    password[size] = '\0';
    password[strcspn(password, "\r\n")] = '\0';
    if (bad)
        return hf_error_set(error, HF_EDENIED, "the password file '%s' cannot be read or is longer than %d bytes",
                            config->password_file, PASSWORD_MAX - 1);
    return 0;
}

/* ---- Fitness ----------------------------------------------------------------------------------------------------- */

struct fitness {
    uint64_t page_size, flush_log, sync_binlog, packet;
    int has_binlog, binlog_statements, is_galera, is_ready;
};

static int is_on(const char *value)
{
    return strcasecmp(value, "ON") == 0 || strcmp(value, "1") == 0;
}

static void note_variable(struct fitness *fitness, const char *name, const char *value)
{
    uint64_t number = strtoull(value, NULL, 10);

    if (strcasecmp(name, "innodb_page_size") == 0)
        fitness->page_size = number;
    else if (strcasecmp(name, "innodb_flush_log_at_trx_commit") == 0)
        fitness->flush_log = number;
    else if (strcasecmp(name, "sync_binlog") == 0)
        fitness->sync_binlog = number;
    else if (strcasecmp(name, "max_allowed_packet") == 0)
        fitness->packet = number;
    else if (strcasecmp(name, "log_bin") == 0)
        fitness->has_binlog = is_on(value);
    else if (strcasecmp(name, "binlog_format") == 0)
        fitness->binlog_statements = strcasecmp(value, "STATEMENT") == 0;
    else if (strcasecmp(name, "wsrep_on") == 0)
        fitness->is_galera = is_on(value);
    else if (strcasecmp(name, "wsrep_ready") == 0)
        fitness->is_ready = is_on(value);
}

static int32_t show(struct sql_connection *connection, const char *what, struct fitness *fitness, hf_error *error)
{
    MYSQL_RES *rows = NULL;
    hf_buffer sql;

    hf_buffer_init(&sql, 1024);
    sql_append(&sql, "SHOW GLOBAL %s", what);
    int32_t r = sql_query(connection, "cannot ask the server for its settings", &sql, &rows, error);

    hf_buffer_done(&sql);
    if (r < 0)
        return r;
    for (MYSQL_ROW row; (row = mysql_fetch_row(rows));)
        note_variable(fitness, row[0] ? row[0] : "", row[1] ? row[1] : "");
    mysql_free_result(rows);
    return 0;
}

/* What a committed transaction survives.  In a Galera cluster the other nodes have it, elsewhere only this disk. */
static int32_t check_durability(struct sql_connection *connection, const struct fitness *fitness, hf_error *error)
{
    struct sql_servers *servers = connection->servers;
    const char *server = servers->config->servers.items[connection->server];
    const char *what = fitness->flush_log != 1                            ? "innodb_flush_log_at_trx_commit"
                       : fitness->has_binlog && fitness->sync_binlog != 1 ? "sync_binlog"
                                                                          : NULL;

    if (!what)
        return 0;
    if (!fitness->is_galera)
        return hf_error_set(error, HF_ESTATE,
                            "the server %s would lose committed records in a power failure: %s is not 1; set it to 1",
                            server, what);
    if (atomic_exchange(&servers->relaxed_logged, 1) == 0)
        sql_log(servers, HF_LOG_WARNING,
                "%s is not 1 on %s: records survive the failure of single Galera nodes, but not of all at once", what,
                server);
    return 0;
}

static int32_t check_fitness(struct sql_connection *connection, struct fitness *fitness, hf_error *error)
{
    const char *server = connection->servers->config->servers.items[connection->server];
    unsigned long version = mysql_get_server_version(connection->mysql);

    memset(fitness, 0, sizeof *fitness);
    if (version < VERSION_MIN || !mariadb_connection(connection->mysql))
        return hf_error_set(error, HF_EVERSION, "the server %s is %.60s; MariaDB 10.5 or newer is needed", server,
                            mysql_get_server_info(connection->mysql));
    int32_t r = show(connection, "VARIABLES", fitness, error);

    if (r == 0 && fitness->is_galera)
        r = show(connection, "STATUS LIKE 'wsrep_ready'", fitness, error);
    if (r < 0)
        return r;
    if (fitness->is_galera && !fitness->is_ready)
        return hf_error_set(error, HF_EBUSY, "the Galera node %s is not ready (wsrep_ready)", server);
    if (fitness->page_size < PAGE_SIZE_MIN)
        return hf_error_set(error, HF_ESTATE, "the server %s has an innodb_page_size of %llu; %d or more is needed",
                            server, (unsigned long long)fitness->page_size, PAGE_SIZE_MIN);
    if (fitness->packet < PACKET_MIN)
        return hf_error_set(error, HF_ESTATE, "the server %s has a max_allowed_packet of %llu; %d or more is needed",
                            server, (unsigned long long)fitness->packet, PACKET_MIN);
    if (fitness->has_binlog && fitness->binlog_statements)
        return hf_error_set(error, HF_ESTATE, "the server %s has binlog_format STATEMENT; set it to ROW", server);
    return check_durability(connection, fitness, error);
}

/* ---- Connecting -------------------------------------------------------------------------------------------------- */

static unsigned int seconds(uint64_t us)
{
    return (unsigned int)((us + 999999) / 1000000);
}

static void set_tls(MYSQL *mysql, const struct mariadb_config *config)
{
    my_bool yes = 1, verify = config->tls == TLS_VERIFIED;

    if (config->tls == TLS_OFF)
        return;
    mysql_options(mysql, MYSQL_OPT_SSL_ENFORCE, &yes);
    mysql_options(mysql, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &verify);
    if (config->tls_authority && config->tls_authority[0])
        mysql_options(mysql, MYSQL_OPT_SSL_CA, config->tls_authority);
    if (config->tls_certificate && config->tls_certificate[0])
        mysql_options(mysql, MYSQL_OPT_SSL_CERT, config->tls_certificate);
    if (config->tls_key && config->tls_key[0])
        mysql_options(mysql, MYSQL_OPT_SSL_KEY, config->tls_key);
}

static void set_options(MYSQL *mysql, const struct mariadb_config *config)
{
    unsigned int connect = seconds(config->connect_timeout), transfer = seconds(config->timeout), no = 0;

    mysql_options(mysql, MYSQL_OPT_CONNECT_TIMEOUT, &connect);
    mysql_options(mysql, MYSQL_OPT_READ_TIMEOUT, &transfer);
    mysql_options(mysql, MYSQL_OPT_WRITE_TIMEOUT, &transfer);
    mysql_options(mysql, MYSQL_OPT_LOCAL_INFILE, &no);
    mysql_options(mysql, MYSQL_SET_CHARSET_NAME, "binary");
    mysql_optionsv(mysql, MYSQL_OPT_CONNECT_ATTR_ADD, "program_name", "holdfast");
    set_tls(mysql, config);
}

/* A transaction whose client has vanished must not keep its locks for long: a successor waits for them. */
static int32_t set_session(struct sql_connection *connection, const struct fitness *fitness, hf_error *error)
{
    unsigned int whole = seconds(connection->servers->config->timeout);
    unsigned int lock = whole > 3 ? whole / 2 : 1;

    return sql_execute(connection, "cannot set up the session", NULL, error,
                       "SET SESSION autocommit = 1, sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION',"
                       " tx_isolation = 'READ-COMMITTED', innodb_lock_wait_timeout = %u, lock_wait_timeout = %u,"
                       " idle_write_transaction_timeout = %u, net_write_timeout = 600%s",
                       lock, whole, whole, fitness->is_galera ? ", wsrep_sync_wait = 7" : "");
}

static int32_t use_database(struct sql_connection *connection, hf_error *error)
{
    const char *name = connection->servers->config->database;
    hf_error failure;

    if (mysql_select_db(connection->mysql, name) == 0)
        return 0;
    unsigned int code = mysql_errno(connection->mysql);
    int32_t r = sql_failed(connection, "cannot use the configured database", &failure);

    /* The name is checked when the instance is created: letters, digits, '_' and '-'. */
    if (code == ER_BAD_DB_ERROR)
        r = sql_execute(connection, "cannot create the configured database", NULL, &failure,
                        "CREATE DATABASE IF NOT EXISTS `%s`", name);
    if (r == 0 && mysql_select_db(connection->mysql, name) != 0)
        r = sql_failed(connection, "cannot use the configured database", &failure);
    if (r < 0 && error)
        *error = failure;
    return r;
}

static int32_t connect_one(struct sql_connection *connection, const struct address *address, hf_error *error)
{
    const struct mariadb_config *config = connection->servers->config;
    char password[PASSWORD_MAX];
    struct fitness fitness;
    int32_t r = read_password(config, password, error);

    if (r < 0)
        return r;
    connection->mysql = mysql_init(NULL);
    if (!connection->mysql)
        return hf_error_set(error, HF_ENOMEM, "no memory for a connection");
    set_options(connection->mysql, config);
    MYSQL *connected = mysql_real_connect(connection->mysql, address->socket ? NULL : address->host, config->user,
                                          password, NULL, address->port, address->socket, CLIENT_MULTI_STATEMENTS);

    explicit_bzero(password, sizeof password);
    if (!connected)
        return sql_failed(connection, "cannot connect", error);
    r = check_fitness(connection, &fitness, error);
    if (r == 0)
        r = set_session(connection, &fitness, error);
    return r < 0 ? r : use_database(connection, error);
}

/* Logged when it begins, changes or ends, not for each attempt. */
static void note_trouble(struct sql_servers *servers, const char *trouble)
{
    pthread_mutex_lock(&servers->lock);
    int had = servers->trouble[0] != '\0';
    int changed = strncmp(servers->trouble, trouble, sizeof servers->trouble - 1) != 0;

    snprintf(servers->trouble, sizeof servers->trouble, "%.239s", trouble);
    pthread_mutex_unlock(&servers->lock);
    if (changed && trouble[0])
        sql_log(servers, HF_LOG_ERROR, "no server can be used: %s", trouble);
    else if (changed && had)
        sql_log(servers, HF_LOG_INFO, "a server can be used again");
}

static void connected_to(struct sql_connection *connection, uint32_t preferred)
{
    struct sql_servers *servers = connection->servers;

    sql_count(servers, servers->metrics.connects);
    if (connection->server != preferred &&
        atomic_compare_exchange_strong(&servers->preferred, &preferred, connection->server)) {
        sql_count(servers, servers->metrics.failovers);
        sql_log(servers, HF_LOG_WARNING, "now using the server %s", servers->config->servers.items[connection->server]);
    }
    note_trouble(servers, "");
}

/* Which failure to report when several servers cannot be used: what the user must change before what will pass. */
static void keep_worse(hf_error *worst, const hf_error *failure)
{
    if (worst->code == 0 || (worst->code == HF_EBUSY && failure->code != HF_EBUSY))
        *worst = *failure;
}

int32_t sql_connect(struct sql_connection *connection, hf_error *error)
{
    struct sql_servers *servers = connection->servers;
    uint32_t count = (uint32_t)servers->config->servers.count, preferred = atomic_load(&servers->preferred);
    hf_error worst = {0};

    for (uint32_t i = 0; i < count; i++) {
        struct address address;
        hf_error failure = {0};

        connection->server = (preferred + i) % count;
        int32_t r = parse_address(servers->config->servers.items[connection->server], &address, &failure);

        if (r == 0)
            r = connect_one(connection, &address, &failure);
        if (r == 0) {
            connected_to(connection, preferred);
            return 0;
        }
        failure.code = r;
        keep_worse(&worst, &failure);
        sql_disconnect(connection);
    }
    note_trouble(servers, worst.message);
    if (error)
        *error = worst;
    return worst.code;
}

void sql_disconnect(struct sql_connection *connection)
{
    for (int i = 0; i < STATEMENT_COUNT; i++)
        if (connection->statements[i]) {
            mysql_stmt_close(connection->statements[i]);
            connection->statements[i] = NULL;
        }
    if (connection->mysql)
        mysql_close(connection->mysql);
    connection->mysql = NULL;
}
