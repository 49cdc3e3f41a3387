/* Lost answers, refused accounts, killed servers, second owners: nothing is reported that is not so. */
#include "kit.h"
#include "load.h"
#include "proxy.h"

#include <unistd.h>

/* ---- Opening ----------------------------------------------------------------------------------------------------- */

static void test_wrong_password(void **state)
{
    uint16_t port = kit_port(1);
    char path[] = "/tmp/mariadb-password-XXXXXX";
    int file = mkstemp(path);
    struct kit kit;
    hf_error error = {0};

    (void)state;
    assert_int_equal(write(file, "hunter2-wrong\n", 14), 14);
    close(file);
    kit_init(&kit, &port, 1);
    kit.config.password_file = path;
    assert_int_equal(kit_try_open(&kit, &error), HF_EDENIED);
    assert_non_null(strstr(error.message, "denied"));
    assert_null(strstr(error.message, "hunter2"));
    assert_null(strstr(kit_log, "hunter2"));
    kit.config.password_file = "/nonexistent/password";
    assert_int_equal(kit_try_open(&kit, &error), HF_EDENIED);
    assert_non_null(strstr(error.message, "/nonexistent/password"));
    unlink(path);
    kit_done(&kit);
}

static void test_no_server_at_open(void **state)
{
    struct proxy proxy;
    struct kit kit;
    hf_error error = {0};
    hf_health health = {0};

    (void)state;
    proxy_start(&proxy, kit_port(1));
    atomic_store(&proxy.mode, PROXY_REFUSE);
    kit_init(&kit, &proxy.port, 1);
    kit.config.timeout = 2000000;
    assert_int_equal(kit_try_open(&kit, &error), HF_EBUSY);
    kit_table->health(kit.instance, &health);
    assert_int_equal(health.state, HF_HEALTH_FAILING);
    atomic_store(&proxy.mode, PROXY_PASS);
    kit.config.timeout = 10000000;
    kit_open(&kit);
    kit_table->health(kit.instance, &health);
    assert_int_equal(health.state, HF_HEALTH_OK);
    kit_done(&kit);
    proxy_stop(&proxy);
}

static void test_unsafe_settings_are_refused(void **state)
{
    uint16_t port = kit_port(1);
    struct kit kit;
    hf_error error = {0};

    (void)state;
    kit_init(&kit, &port, 1);
    kit_sql(1, "SET GLOBAL innodb_flush_log_at_trx_commit = 2");
    int32_t r = kit_try_open(&kit, &error);

    kit_sql(1, "SET GLOBAL innodb_flush_log_at_trx_commit = 1");
    assert_int_equal(r, HF_ESTATE);
    assert_non_null(strstr(error.message, "innodb_flush_log_at_trx_commit"));
    kit_sql(1, "SET GLOBAL max_allowed_packet = 1048576");
    r = kit_try_open(&kit, &error);
    kit_sql(1, "SET GLOBAL max_allowed_packet = 16777216");
    assert_int_equal(r, HF_ESTATE);
    assert_non_null(strstr(error.message, "max_allowed_packet"));
    kit_done(&kit);
}

static void test_options_are_checked(void **state)
{
    uint16_t port = kit_port(1);
    static const char *const bad[] = {"localhost", ":3306", "a:0", "a:65536", "a:33x", "unix:relative"};
    struct kit kit;
    hf_error error = {0};
    void *instance = NULL;
    const hf_host *host;

    (void)state;
    kit_init(&kit, &port, 1);
    host = ((struct sql_servers *)kit.instance)->host;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        kit.addresses[0] = bad[i];
        assert_int_equal(kit_table->create(host, &kit.config, &instance, &error), HF_EINVAL);
    }
    kit.addresses[0] = "[::1]:3306";
    kit.config.database = "a`b";
    assert_int_equal(kit_table->create(host, &kit.config, &instance, &error), HF_EINVAL);
    kit.config.database = "holdfast";
    kit.config.tls = TLS_VERIFIED;
    assert_int_equal(kit_table->create(host, &kit.config, &instance, &error), HF_EINVAL);
    kit.config.tls = TLS_OFF;
    assert_int_equal(kit_table->create(host, &kit.config, &instance, &error), 0);
    kit_table->destroy(instance);
    kit_done(&kit);
}

static void test_tls(void **state)
{
    uint16_t port = kit_port(1);
    char authority[300], stranger[300];
    struct kit kit;
    hf_error error = {0};

    (void)state;
    snprintf(authority, sizeof authority, "%.200s/server.pem", getenv("HOLDFAST_MARIADB_DIR"));
    snprintf(stranger, sizeof stranger, "%.200s/stranger.pem", getenv("HOLDFAST_MARIADB_DIR"));
    kit_sql(1, "ALTER USER holdfast@'%' REQUIRE SSL");
    kit_init(&kit, &port, 1);
    assert_int_equal(kit_try_open(&kit, &error), HF_EDENIED);
    kit.config.tls = TLS_REQUIRED;
    kit_open(&kit);
    kit_close(&kit);
    kit.config.tls = TLS_VERIFIED;
    kit.config.tls_authority = authority;
    kit_open(&kit);
    kit_close(&kit);
    kit.config.tls_authority = stranger;
    kit.config.timeout = 2000000;
    assert_int_equal(kit_try_open(&kit, &error), HF_EBUSY);
    assert_non_null(strstr(error.message, "certificate"));
    kit_sql(1, "ALTER USER holdfast@'%' REQUIRE NONE");
    kit_done(&kit);
}

static void test_other_servers_are_noticed(void **state)
{
    uint16_t port = kit_port(1);
    struct kit kit;
    hf_error error = {0};

    (void)state;
    kit_init(&kit, &port, 1);
    kit.config.name = "node-a";
    kit_open(&kit);
    assert_int_equal(kit_put(&kit, 1, "k", "v", &error), 0);
    kit_close(&kit);
    kit.config.name = "node-b";
    assert_int_equal(kit_try_open(&kit, &error), HF_ESTATE);
    kit.config.name = "";
    kit_sql(1, "UPDATE holdfast.holdfast_database SET name = 'moved' WHERE name = 'node-a'");
    assert_int_equal(kit_try_open(&kit, &error), HF_ECORRUPT);
    kit_sql(1, "UPDATE holdfast.holdfast_database SET name = 'node-a' WHERE name = 'moved'");
    kit_open(&kit);
    kit_expect(&kit, 1, "k", "v");
    kit_done(&kit);
}

/* A replacement of the node, with an empty directory, finds the records by the name; the old one can write no more. */
static void test_second_owner(void **state)
{
    uint16_t port = kit_port(1);
    struct kit old, new;
    hf_error error = {0};

    (void)state;
    kit_init(&old, &port, 1);
    old.config.name = "shared";
    kit_open(&old);
    assert_int_equal(kit_put(&old, 1, "k", "of the old", &error), 0);
    kit_init(&new, &port, 1);
    new.config.name = "shared";
    kit_open(&new);
    kit_expect(&new, 1, "k", "of the old");
    assert_int_equal(kit_put(&old, 1, "k", "too late", &error), HF_ESTATE);
    assert_int_equal(kit_put(&old, 1, "k", "too late", &error), HF_ESTATE);
    kit_expect(&new, 1, "k", "of the old");
    assert_int_equal(kit_put(&new, 1, "k", "of the new", &error), 0);
    kit_expect(&new, 1, "k", "of the new");
    kit_done(&old);
    kit_done(&new);
}

/* ---- Lost answers ------------------------------------------------------------------------------------------------ */

static void open_through(struct kit *kit, struct proxy *proxy, uint64_t outcome_timeout)
{
    proxy_start(proxy, kit_port(1));
    kit_init(kit, &proxy->port, 1);
    kit->config.timeout = 5000000;
    kit->config.outcome_timeout = outcome_timeout;
    kit_open(kit);
    assert_int_equal(kit_put(kit, 1, "before", "x", NULL), 0);
}

static void cut(struct proxy *proxy, int mode, int next_mode)
{
    atomic_store(&proxy->next_mode, next_mode);
    atomic_store(&proxy->mode, mode);
}

static void test_commit_whose_answer_is_lost(void **state)
{
    uint64_t committed = kit_counted("outcomes_total/committed"), absent = kit_counted("outcomes_total/absent");
    struct proxy proxy;
    struct kit kit;
    hf_error error = {0};

    (void)state;
    open_through(&kit, &proxy, 60000000);
    uint64_t sent = kit_counted("transactions_total");

    cut(&proxy, PROXY_CUT_AFTER_COMMIT, PROXY_PASS);
    if (kit_put(&kit, 1, "k", "v", &error) != 0)
        fail_msg("%s", error.message);
    assert_int_equal(kit_counted("transactions_total") - sent, 1);
    assert_int_equal(atomic_load(&proxy.cuts), 1);
    assert_int_equal(kit_counted("outcomes_total/committed") - committed, 1);
    assert_int_equal(kit_counted("outcomes_total/absent") - absent, 0);
    kit_expect(&kit, 1, "k", "v");
    kit_done(&kit);
    proxy_stop(&proxy);
}

static void test_commit_that_never_arrives(void **state)
{
    uint64_t committed = kit_counted("outcomes_total/committed"), absent = kit_counted("outcomes_total/absent");
    struct proxy proxy;
    struct kit kit;
    hf_error error = {0};

    (void)state;
    open_through(&kit, &proxy, 60000000);
    uint64_t sent = kit_counted("transactions_total");

    cut(&proxy, PROXY_CUT_BEFORE_COMMIT, PROXY_PASS);
    if (kit_put(&kit, 1, "k", "v", &error) != 0)
        fail_msg("%s", error.message);
    assert_int_equal(kit_counted("transactions_total") - sent, 2);
    assert_int_equal(atomic_load(&proxy.cuts), 1);
    assert_int_equal(kit_counted("outcomes_total/committed") - committed, 0);
    assert_int_equal(kit_counted("outcomes_total/absent") - absent, 1);
    kit_expect(&kit, 1, "k", "v");
    kit_done(&kit);
    proxy_stop(&proxy);
}

/* Nobody can be asked: the write says so, and what is read afterwards does not change any more. */
static void check_unknown(int mode, const char *expected)
{
    struct proxy proxy;
    struct kit kit;
    hf_error error = {0};

    open_through(&kit, &proxy, 1000000);
    cut(&proxy, mode, PROXY_REFUSE);
    assert_int_equal(kit_put(&kit, 1, "k", "v", &error), HF_ETIMEOUT);
    assert_non_null(strstr(error.message, "not known"));
    assert_int_equal(kit_put(&kit, 1, "l", "v", &error), HF_EBUSY);
    cut(&proxy, PROXY_PASS, PROXY_PASS);
    kit_expect(&kit, 1, "k", expected);
    kit_expect(&kit, 1, "l", NULL);
    assert_int_equal(kit_put(&kit, 1, "l", "w", &error), 0);
    kit_expect(&kit, 1, "k", expected);
    kit_done(&kit);
    proxy_stop(&proxy);
}

static void test_outcome_that_nobody_tells(void **state)
{
    (void)state;
    check_unknown(PROXY_CUT_AFTER_COMMIT, "v");
    check_unknown(PROXY_CUT_BEFORE_COMMIT, NULL);
}

/* The same for the exchange of a space's rows, after which the map of spaces is read anew. */
static void check_unknown_erasure(int mode, const char *expected)
{
    hf_engine_operation everything = {.type = HF_ENGINE_DELETE_RANGE, .space = 1};
    struct proxy proxy;
    struct kit kit;
    hf_error error = {0};

    open_through(&kit, &proxy, 1000000);
    cut(&proxy, mode, PROXY_REFUSE);
    assert_int_equal(kit_table->write(kit.database, &everything, 1, &error), HF_ETIMEOUT);
    cut(&proxy, PROXY_PASS, PROXY_PASS);
    kit_expect(&kit, 1, "before", expected);
    assert_int_equal(kit_put(&kit, 1, "after", "y", &error), 0);
    kit_close(&kit);
    kit_open(&kit);
    kit_expect(&kit, 1, "before", expected);
    kit_expect(&kit, 1, "after", "y");
    kit_done(&kit);
    proxy_stop(&proxy);
}

static void test_erasure_that_nobody_tells(void **state)
{
    (void)state;
    check_unknown_erasure(PROXY_CUT_AFTER_COMMIT, NULL);
    check_unknown_erasure(PROXY_CUT_BEFORE_COMMIT, "x");
}

/* ---- Killed servers ---------------------------------------------------------------------------------------------- */

static void test_killed_server(void **state)
{
    uint16_t port = kit_port(1);
    struct load load;
    struct kit kit;

    (void)state;
    kit_init(&kit, &port, 1);
    kit_open(&kit);
    load_start(&load, &kit);
    for (int round = 0; round < 3; round++) {
        load_wait_for_more(&load, 150);
        kit_server("kill", 1);
        kit_server("start", 1);
        kit_server("wait", 1);
    }
    load_wait_for_more(&load, 150);
    load_stop_and_check(&load);
    kit_done(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_password),
        cmocka_unit_test(test_no_server_at_open),
        cmocka_unit_test(test_unsafe_settings_are_refused),
        cmocka_unit_test(test_options_are_checked),
        cmocka_unit_test(test_tls),
        cmocka_unit_test(test_other_servers_are_noticed),
        cmocka_unit_test(test_second_owner),
        cmocka_unit_test(test_commit_whose_answer_is_lost),
        cmocka_unit_test(test_commit_that_never_arrives),
        cmocka_unit_test(test_outcome_that_nobody_tells),
        cmocka_unit_test(test_erasure_that_nobody_tells),
        cmocka_unit_test(test_killed_server),
    };

    return cmocka_run_group_tests_name("faults", tests, NULL, NULL);
}
