/* A Galera cluster of three: the node that is used dies, or its answer is lost, and another node is asked. */
#include "kit.h"
#include "load.h"
#include "proxy.h"

static void test_killed_node(void **state)
{
    const uint16_t ports[] = {kit_port(1), kit_port(2), kit_port(3)};
    uint64_t failovers = kit_counted("failovers_total");
    struct load load;
    struct kit kit;

    (void)state;
    kit_init(&kit, ports, 3);
    kit_open(&kit);
    load_start(&load, &kit);
    for (uint32_t node = 1; node <= 2; node++) { /* the one that is used, each time */
        load_wait_for_more(&load, 100);
        kit_server("kill", node);
        load_wait_for_more(&load, 100);
        kit_server("start", node);
        kit_server("wait", node);
    }
    load_wait_for_more(&load, 100);
    load_stop_and_check(&load);
    assert_true(kit_counted("failovers_total") - failovers >= 2);
    kit_done(&kit);
}

/* A node that keeps its connections and says nothing. */
static void test_frozen_node(void **state)
{
    const uint16_t ports[] = {kit_port(1), kit_port(2), kit_port(3)};
    struct load load;
    struct kit kit;

    (void)state;
    kit_init(&kit, ports, 3);
    kit.config.timeout = 4000000;
    kit_open(&kit);
    load_start(&load, &kit);
    load_wait_for_more(&load, 50);
    kit_server("freeze", 1);
    load_wait_for_more(&load, 100);
    kit_server("kill", 1);
    load_stop_and_check(&load);
    kit_done(&kit);
}

/* The answer is lost on the way from one node, and another one is asked. */
static void check_lost(int mode, const char *outcome)
{
    struct proxy proxy;
    struct kit kit;
    hf_error error = {0};

    proxy_start(&proxy, kit_port(1));
    const uint16_t ports[] = {proxy.port, kit_port(2)};
    uint64_t before = kit_counted(outcome);

    kit_init(&kit, ports, 2);
    kit_open(&kit);
    for (int i = 0; i < 20; i++) {
        char key[8], value[8];

        snprintf(key, sizeof key, "k%d", i % 4);
        snprintf(value, sizeof value, "v%d", i);
        if (kit_put(&kit, 1, key, value, &error) != 0)
            fail_msg("%s", error.message);
        kit_expect(&kit, 1, key, value);
        if (i == 10) {
            atomic_store(&proxy.next_mode, PROXY_REFUSE);
            atomic_store(&proxy.mode, mode);
        }
    }
    assert_int_equal(atomic_load(&proxy.cuts), 1);
    assert_int_equal(kit_counted(outcome) - before, 1);
    kit_done(&kit);
    proxy_stop(&proxy);
}

static void test_lost_answers(void **state)
{
    (void)state;
    check_lost(PROXY_CUT_AFTER_COMMIT, "outcomes_total/committed");
    check_lost(PROXY_CUT_BEFORE_COMMIT, "outcomes_total/absent");
}

/* What was written through one node is read through another at once. */
static void test_reads_are_not_stale(void **state)
{
    const uint16_t first = kit_port(1), last = kit_port(3);
    struct kit writer, reader;
    hf_error error = {0};

    (void)state;
    kit_init(&writer, &first, 1);
    kit_init(&reader, &last, 1);
    writer.config.name = reader.config.name = "both";
    kit_open(&reader);
    assert_int_equal(kit_put(&reader, 1, "k", "first", &error), 0);
    kit_open(&writer); /* takes over; `reader` may still read until it notices */
    for (int i = 0; i < 200; i++) {
        char value[8];
        hf_slice found = {NULL, 0};

        snprintf(value, sizeof value, "%d", i);
        assert_int_equal(kit_put(&writer, 1, "k", value, &error), 0);
        int32_t r = kit_table->get(reader.database, 1, kit_slice("k"), 0, &found, &error);

        if (r == HF_ESTATE) /* it has noticed */
            break;
        assert_int_equal(r, 0);
        assert_int_equal(found.size, strlen(value));
        assert_memory_equal(found.data, value, found.size);
        kit_table->release(reader.database, found);
    }
    assert_int_equal(kit_put(&reader, 1, "k", "late", &error), HF_ESTATE);
    kit_done(&reader);
    kit_done(&writer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_are_not_stale), cmocka_unit_test(test_lost_answers),
        cmocka_unit_test(test_killed_node), cmocka_unit_test(test_frozen_node), /* leaves node 1 dead */
    };

    return cmocka_run_group_tests_name("cluster", tests, NULL, NULL);
}
