/* engine/mariadb: records in tables of MariaDB servers, or of a Galera cluster.
 * Owns: one instance per configuration, with what is known of its servers; databases refer to it until they are
 * closed. */
#include "database.h"

#include <holdfast/lib/error.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define SECOND INT64_C(1000000)

static const char *const tls_names[] = {"off", "required", "verified", NULL};

static const hf_option options[] = {
    HF_CONFIG_STRINGS("servers", struct mariadb_config, servers, .flags = HF_OPTION_REQUIRED,
                      .doc = "The servers, as HOST:PORT, [v6]:PORT or unix:/PATH: one MariaDB server, or nodes of one "
                             "Galera cluster. The first is used while it answers, then the next."),
    HF_CONFIG_STRING("user", struct mariadb_config, user, .default_text = "holdfast", .doc = "The account's name."),
    HF_CONFIG_PATH("password_file", struct mariadb_config, password_file,
                   .doc = "A file whose first line is the account's password. It is read for every new connection. "
                          "Without it there is no password."),
    HF_CONFIG_STRING("database", struct mariadb_config, database, .default_text = "holdfast",
                     .doc = "The database (schema) that holds the tables. It is created if the account may do so."),
    HF_CONFIG_STRING("name", struct mariadb_config, name,
                     .doc = "Names this node's records among those in the same tables; a replacement of the only node "
                            "of a cluster takes them over by it. Without it, a name is drawn and kept in the state "
                            "directory."),
    HF_CONFIG_CHOICE("tls", struct mariadb_config, tls, .choices = tls_names, .default_text = "off",
                     .doc = "required: connections are encrypted; verified: and the server's certificate is checked."),
    HF_CONFIG_PATH("tls_authority", struct mariadb_config, tls_authority,
                   .doc = "PEM file of the authorities that may sign the servers' certificates."),
    HF_CONFIG_PATH("tls_certificate", struct mariadb_config, tls_certificate,
                   .doc = "PEM file of the certificate that this node shows to the servers."),
    HF_CONFIG_PATH("tls_key", struct mariadb_config, tls_key, .doc = "PEM file of that certificate's private key."),
    HF_CONFIG_INTEGER("connections", struct mariadb_config, connections, .minimum = 2, .maximum = 256,
                      .default_text = "8",
                      .doc = "Connections for reads and writes at most. They are opened as needed."),
    HF_CONFIG_INTEGER("exports", struct mariadb_config, exports, .minimum = 1, .maximum = 64, .default_text = "2",
                      .doc = "Exports at the same time; each has a connection of its own."),
    HF_CONFIG_DURATION("connect_timeout", struct mariadb_config, connect_timeout, .minimum = SECOND,
                       .maximum = 60 * SECOND, .default_text = "3s",
                       .doc = "How long to wait for a server to accept a connection."),
    HF_CONFIG_DURATION("timeout", struct mariadb_config, timeout, .minimum = 2 * SECOND, .maximum = 600 * SECOND,
                       .default_text = "15s",
                       .doc = "How long to wait for an answer, and to try again before an operation is refused as "
                              "busy. A Galera cluster stops for about 5 s when a node dies."),
    HF_CONFIG_DURATION("outcome_timeout", struct mariadb_config, outcome_timeout, .minimum = SECOND,
                       .maximum = 3600 * SECOND, .default_text = "60s",
                       .doc = "How long to try to find out whether a write was committed whose answer was lost."),
};

/* ---- Instances --------------------------------------------------------------------------------------------------- */

static int32_t check_config(const struct mariadb_config *config, hf_error *error)
{
    const char *name = config->database;

    if (!name || !name[0] || strlen(name) > 64 ||
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != strlen(name))
        return hf_error_set(error, HF_EINVAL,
                            "the option database must be 1..64 letters, digits, '_' or '-', not '%.100s'",
                            name ? name : "");
    if (config->tls == TLS_VERIFIED && (!config->tls_authority || !config->tls_authority[0]))
        return hf_error_set(error, HF_EINVAL, "tls = \"verified\" needs the option tls_authority");
    return sql_check_addresses(config, error);
}

static int32_t add_metrics(struct sql_servers *servers, hf_error *error)
{
    struct sql_metrics *metrics = &servers->metrics;
    const hf_head *found = servers->host->query(servers->host, HF_METRICS_INTERFACE);
    static const char outcomes[] = "holdfast_engine_mariadb_outcomes_total";
    const struct {
        hf_metric **metric;
        const char *name, *help, *outcome;
    } rows[] = {
        {&metrics->transactions, "holdfast_engine_mariadb_transactions_total", "Transactions sent to be committed",
         NULL},
        {&metrics->retries, "holdfast_engine_mariadb_retries_total",
         "Operations tried again after a conflict or a "
         "lost connection",
         NULL},
        {&metrics->connects, "holdfast_engine_mariadb_connects_total", "Connections opened", NULL},
        {&metrics->failovers, "holdfast_engine_mariadb_failovers_total", "Times another server came into use", NULL},
        {&metrics->resolved_committed, outcomes, "Commits whose answer was lost, by what was found out", "committed"},
        {&metrics->resolved_absent, outcomes, "Commits whose answer was lost, by what was found out", "absent"},
        {&metrics->unresolved, outcomes, "Commits whose answer was lost, by what was found out", "unknown"},
    };
    int32_t r = 0;

    metrics->interface = (const hf_metrics_interface *)found;
    for (size_t i = 0; found && r == 0 && i < sizeof rows / sizeof rows[0]; i++) {
        const char *const label[1][2] = {{"outcome", rows[i].outcome}};

        r = metrics->interface->add(servers->host, HF_METRIC_COUNTER, rows[i].name, rows[i].help, label,
                                    rows[i].outcome ? 1 : 0, rows[i].metric, error);
    }
    return r;
}

static void warn_about_password_file(const struct sql_servers *servers)
{
    const char *path = servers->config->password_file;
    struct stat status;

    if (path && path[0] && stat(path, &status) == 0 && status.st_mode & (S_IROTH | S_IWOTH))
        sql_log(servers, HF_LOG_WARNING, "everybody on this machine can read the password file '%s'; chmod it to 0600",
                path);
}

static void instance_destroy(void *instance)
{
    struct sql_servers *servers = instance;

    if (!servers)
        return;
    pthread_mutex_destroy(&servers->lock);
    servers->host->free(servers->host, servers);
}

static void init_library(void)
{
    (void)mysql_server_init(0, NULL, NULL); /* what fails here fails again, with words, when connecting */
}

static int32_t instance_create(const hf_host *host, const void *configuration, void **ret_self, hf_error *error)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    int32_t r = check_config(configuration, error);

    if (r < 0)
        return r;
    struct sql_servers *servers = host->alloc(host, sizeof *servers);

    if (!servers)
        return hf_error_set(error, HF_ENOMEM, "no memory for the mariadb engine");
    pthread_once(&once, init_library);
    servers->host = host;
    servers->config = configuration;
    pthread_mutex_init(&servers->lock, NULL);
    r = add_metrics(servers, error);
    if (r < 0) {
        instance_destroy(servers);
        return r;
    }
    warn_about_password_file(servers);
    *ret_self = servers;
    return 0;
}

static void instance_health(void *instance, hf_health *ret_health)
{
    struct sql_servers *servers = instance;

    pthread_mutex_lock(&servers->lock);
    ret_health->state = servers->trouble[0] ? HF_HEALTH_FAILING : HF_HEALTH_OK;
    snprintf(ret_health->reason, sizeof ret_health->reason, "%s", servers->trouble);
    pthread_mutex_unlock(&servers->lock);
}

static int32_t instance_open(void *instance, const char *directory, hf_engine_database **ret_database, hf_error *error)
{
    return database_open(instance, directory, ret_database, error);
}

static uint64_t space_size(hf_engine_database *database, uint64_t space)
{
    return spaces_size(database, space);
}

/* ---- Tables ------------------------------------------------------------------------------------------------------ */

static const hf_engine engine = {
    .head = {(uint32_t)sizeof(hf_engine), HF_INTERFACE_MAJOR, HF_INTERFACE_MINOR,
             HF_ENGINE_DURABLE | HF_ENGINE_WRITES_BLOCK | HF_ENGINE_WRITES_DURABLE},
    .create = instance_create,
    .destroy = instance_destroy,
    .health = instance_health,
    .open = instance_open,
    .close = database_close,
    .write = database_write,
    .get = database_get,
    .release = database_release,
    .scan = database_scan,
    .flush = database_flush,
    .export_open = database_export_open,
    .export_read = database_export_read,
    .export_close = database_export_close,
    .import_open = database_import_open,
    .import_write = database_import_write,
    .import_commit = database_import_commit,
    .import_close = database_import_close,
    .space_size = space_size,
    .export_visit = database_export_visit,
};

static const hf_provide provide = {
    .size = sizeof(hf_provide),
    .kind = "engine",
    .name = "mariadb",
    .summary = "Keeps records in tables of a MariaDB server or Galera cluster.",
    .interface = {.engine = &engine},
    .options = HF_TABLE(options),
    .configuration_size = sizeof(struct mariadb_config),
};

static const hf_provide *const provides[] = {&provide};

static const hf_plugin plugin = {
    .size = sizeof(hf_plugin),
    .interface_major = HF_INTERFACE_MAJOR,
    .interface_minor = HF_INTERFACE_MINOR,
    .provide_count = 1,
    .id = "org.holdfast.engine.mariadb",
    .version = "1.0.0",
    .summary = "Stores records with MariaDB.",
    .licence = "Apache-2.0",
    .provides = provides,
};

HF_EXPORT const hf_plugin *hf_plugin_v1(void)
{
    return &plugin;
}
