#include "kit.h"

#include <ftw.h>
#include <unistd.h>

const hf_engine *kit_table;
char kit_log[8192];

/* ---- The host ---------------------------------------------------------------------------------------------------- */

struct hf_metric {
    char name[96];
    atomic_ullong value;
};

static struct hf_metric metrics[32];
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;

static void host_log(const hf_host *host, int32_t level, hf_slice message)
{
    (void)host, (void)level;
    pthread_mutex_lock(&log_lock);
    size_t size = strlen(kit_log);

    snprintf(kit_log + size, sizeof kit_log - size, "%.*s\n", (int)message.size, (const char *)message.data);
    pthread_mutex_unlock(&log_lock);
}

static void *host_alloc(const hf_host *host, uint64_t size)
{
    (void)host;
    return calloc(1, size);
}

static void host_free(const hf_host *host, void *memory)
{
    (void)host;
    free(memory);
}

static struct hf_metric *find_metric(const char *name)
{
    struct hf_metric *metric = metrics;

    while (metric->name[0] && strcmp(metric->name, name) != 0)
        metric++;
    return metric;
}

static int32_t add_metric(const hf_host *host, int32_t type, const char *name, const char *help,
                          const char *const (*labels)[2], uint64_t label_count, hf_metric **ret_metric, hf_error *error)
{
    char full[96];

    (void)host, (void)type, (void)help, (void)error;
    snprintf(full, sizeof full, "%.60s%s%.30s", name, label_count ? "/" : "", label_count ? labels[0][1] : "");
    *ret_metric = find_metric(full);
    strcpy((*ret_metric)->name, full);
    return 0;
}

static void increment_metric(hf_metric *metric, uint64_t by)
{
    atomic_fetch_add(&metric->value, by);
}

static const hf_metrics_interface metrics_interface = {
    .head = HF_HEAD(hf_metrics_interface), .add = add_metric, .increment = increment_metric};

static const hf_head *host_query(const hf_host *host, const char *name)
{
    (void)host;
    return strcmp(name, HF_METRICS_INTERFACE) == 0 ? &metrics_interface.head : NULL;
}

static const hf_host host_table = {HF_HEAD(hf_host), host_log, host_alloc, host_free, host_query};

uint64_t kit_counted(const char *name)
{
    char full[96];

    snprintf(full, sizeof full, "holdfast_engine_mariadb_%.60s", name);
    return atomic_load(&find_metric(full)->value);
}

/* ---- The servers ------------------------------------------------------------------------------------------------- */

static const char *environment(const char *name)
{
    const char *value = getenv(name);

    if (!value)
        fail_msg("%s is not set: run this through servers.sh", name);
    return value;
}

uint16_t kit_port(uint32_t number)
{
    const char *ports = environment("HOLDFAST_MARIADB_PORTS");
    char *end = NULL;
    unsigned long port = 0;

    for (uint32_t i = 0; i < number; i++) {
        port = strtoul(ports, &end, 10);
        ports = end;
    }
    assert_true(port > 0 && port < 65536);
    return (uint16_t)port;
}

void kit_server(const char *verb, uint32_t number)
{
    char command[600];

    snprintf(command, sizeof command, "%.300s %s %.200s %u", environment("HOLDFAST_MARIADB_SCRIPT"), verb,
             environment("HOLDFAST_MARIADB_DIR"), number);
    assert_int_equal(system(command), 0);
}

void kit_sql(uint32_t number, const char *sql)
{
    char socket_path[300];
    MYSQL *mysql = mysql_init(NULL);

    snprintf(socket_path, sizeof socket_path, "%.200s/%u/sock", environment("HOLDFAST_MARIADB_DIR"), number);
    if (!mysql_real_connect(mysql, NULL, "root", "", NULL, 0, socket_path, 0) ||
        mysql_real_query(mysql, sql, (unsigned long)strlen(sql)) != 0)
        fail_msg("%s: %s", sql, mysql_error(mysql));
    mysql_close(mysql);
}

/* ---- Engines ----------------------------------------------------------------------------------------------------- */

void kit_init(struct kit *kit, const uint16_t *ports, uint32_t count)
{
    hf_error error;

    memset(kit, 0, sizeof *kit);
    for (uint32_t i = 0; i < count; i++) {
        snprintf(kit->texts[i], sizeof kit->texts[i], "127.0.0.1:%u", ports[i]);
        kit->addresses[i] = kit->texts[i];
    }
    snprintf(kit->password_file, sizeof kit->password_file, "%.100s/password", environment("HOLDFAST_MARIADB_DIR"));
    kit->config = (struct mariadb_config){
        .servers = {count, kit->addresses},
        .user = "holdfast",
        .password_file = kit->password_file,
        .database = "holdfast",
        .connections = 4,
        .exports = 1,
        .connect_timeout = 3000000,
        .timeout = 10000000,
        .outcome_timeout = 60000000,
    };
    snprintf(kit->directory, sizeof kit->directory, "/tmp/mariadb-test-XXXXXX");
    assert_non_null(mkdtemp(kit->directory));
    kit_table = hf_plugin_v1()->provides[0]->interface.engine;
    if (kit_table->create(&host_table, &kit->config, &kit->instance, &error) < 0)
        fail_msg("create: %s", error.message);
}

int32_t kit_try_open(struct kit *kit, hf_error *error)
{
    return kit_table->open(kit->instance, kit->directory, &kit->database, error);
}

void kit_open(struct kit *kit)
{
    hf_error error = {0};

    if (kit_try_open(kit, &error) < 0)
        fail_msg("open: %s", error.message);
}

void kit_close(struct kit *kit)
{
    kit_table->close(kit->database);
    kit->database = NULL;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    return remove(path);
}

void kit_done(struct kit *kit)
{
    kit_close(kit);
    kit_table->destroy(kit->instance);
    nftw(kit->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- Records ----------------------------------------------------------------------------------------------------- */

hf_slice kit_slice(const char *text)
{
    return (hf_slice){(const uint8_t *)text, strlen(text)};
}

int32_t kit_put(struct kit *kit, uint64_t space, const char *key, const char *value, hf_error *error)
{
    hf_engine_operation operation = {
        .type = HF_ENGINE_PUT, .space = space, .key = kit_slice(key), .value = kit_slice(value)};

    return kit_table->write(kit->database, &operation, 1, error);
}

void kit_expect(struct kit *kit, uint64_t space, const char *key, const char *value)
{
    hf_error error = {0};
    hf_slice found = {NULL, 0};
    int32_t r = kit_table->get(kit->database, space, kit_slice(key), 0, &found, &error);

    if (r != (value ? 0 : HF_ENOTFOUND))
        fail_msg("get %s: %d %s", key, r, error.message);
    if (!value)
        return;
    assert_int_equal(found.size, strlen(value));
    assert_memory_equal(found.data, value, found.size);
    kit_table->release(kit->database, found);
}
