/* Shows that each level refuses what is too much there, in simulated time: with the reason, a time that fits the queue,
 * and without counting what was refused; and that the store's own operations always come in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "replica/admission.h"

enum { SECOND = 1000000, OVERHEAD = 512 };

/* ---- Metrics that can be read ------------------------------------------------------------------------------------ */

struct hf_metric {
    char name[64], label[32];
    double value;
};
static hf_metric series[64];
static uint64_t series_count;

static int32_t add(const hf_host *host, int32_t type, const char *name, const char *help,
                   const char *const (*labels)[2], uint64_t label_count, hf_metric **ret_metric, hf_error *error)
{
    hf_metric *metric = &series[series_count++];

    (void)host, (void)type, (void)help, (void)error;
    assert_true(series_count < 64 && label_count <= 1);
    strncpy(metric->name, name, sizeof metric->name - 1);
    if (label_count)
        strncpy(metric->label, labels[0][1], sizeof metric->label - 1);
    *ret_metric = metric;
    return 0;
}

static void increment(hf_metric *metric, uint64_t by)
{
    metric->value += (double)by;
}

static void set(hf_metric *metric, double value)
{
    metric->value = value;
}

static const hf_metrics_interface metrics = {
    .head = HF_HEAD(hf_metrics_interface), .add = add, .increment = increment, .set = set};

static double value_of(const char *name, const char *label)
{
    for (uint64_t i = 0; i < series_count; i++)
        if (strcmp(series[i].name, name) == 0 && strcmp(series[i].label, label) == 0)
            return series[i].value;
    fail_msg("there is no %s of %s", name, label);
    return 0;
}

/* ---- A node with two tables, of two partitions and one ----------------------------------------------------------- */

struct node {
    struct store_admission admission;
    struct store_admission_settings settings;
    struct store_queues first, second, other;
};

static struct node *begin(struct node *node)
{
    *node = (struct node){.settings = {.partition_operations = 100,
                                       .table_operations = 150,
                                       .node_operations = 200,
                                       .table_bytes = 1 << 30,
                                       .node_bytes = 1 << 30,
                                       .client_share = 100,
                                       .retry_minimum_us = 100000,
                                       .retry_maximum_us = 10 * SECOND}};
    series_count = 0;
    store_admission_configure(&node->admission, &node->settings, 1 << 30);
    assert_int_equal(store_admission_open(&node->admission, NULL, &metrics, 1, NULL), HF_OK);
    struct store_table_queues *items = store_admission_table(&node->admission, "items");
    struct store_table_queues *others = store_admission_table(&node->admission, "others");

    assert_ptr_equal(store_admission_table(&node->admission, "items"), items);
    assert_ptr_not_equal(items, others);
    store_queues_begin(&node->first, &node->admission, items, 2);
    store_queues_begin(&node->second, &node->admission, items, 3);
    store_queues_begin(&node->other, &node->admission, others, 4);
    return node;
}

static void configure(struct node *node)
{
    store_admission_configure(&node->admission, &node->settings, 1 << 30);
}

static struct store_op write_of(uint64_t client, uint64_t size)
{
    static const uint8_t bytes[1];

    return (struct store_op){
        .type = STORE_OP_WRITE, .client = client, .deadline_us = UINT64_MAX, .command = {bytes, size}};
}

static void enter(struct store_queues *queues, uint64_t client, int count)
{
    for (int i = 0; i < count; i++) {
        struct store_op op = write_of(client, 100);

        assert_int_equal(store_queues_enter(queues, &op, SECOND), HF_OK);
    }
}

static void leave(struct store_queues *queues, uint64_t client, int count)
{
    for (int i = 0; i < count; i++) {
        struct store_op op = write_of(client, 100);

        store_queues_leave(queues, &op);
    }
}

static void assert_refused(struct node *node, struct store_queues *queues, uint64_t client, uint64_t size,
                           const char *reason, const char *words)
{
    double before = value_of("holdfast_store_refused_total", reason);
    struct store_op op = write_of(client, size);

    assert_int_equal(store_queues_enter(queues, &op, SECOND), HF_EBUSY);
    assert_int_equal(op.code, HF_EBUSY);
    assert_int_equal(op.error.code, HF_EBUSY);
    assert_int_equal(op.error.retry, HF_RETRY_LATER);
    assert_in_range(op.error.retry_after_ms, node->settings.retry_minimum_us / 1000,
                    node->settings.retry_maximum_us / 1000);
    assert_non_null(strstr(op.error.message, words));
    assert_true(value_of("holdfast_store_refused_total", reason) == before + 1);
}

static void each_level_is_bounded(void **state)
{
    struct node node;

    (void)state;
    begin(&node);
    enter(&node.first, 1, 100);
    assert_refused(&node, &node.first, 2, 100, "partition", "for this partition");
    enter(&node.second, 1, 50);
    assert_refused(&node, &node.second, 2, 100, "table", "for this table");
    enter(&node.other, 1, 50);
    assert_refused(&node, &node.other, 2, 100, "node", "on this node");
    leave(&node.first, 1, 1); /* and what was refused was counted nowhere */
    enter(&node.first, 1, 1);
    store_admission_tick(&node.admission, SECOND);
    assert_true(value_of("holdfast_store_queue_operations", "writes") == 200);
    assert_true(value_of("holdfast_store_queue_operations", "reads") == 0);
    assert_true(value_of("holdfast_store_queue_bytes", "writes") == 200 * (100 + OVERHEAD));
    assert_true(value_of("holdfast_store_table_queue_operations", "items") == 150);
    assert_true(value_of("holdfast_store_table_queue_bytes", "others") == 50 * (100 + OVERHEAD));
    leave(&node.first, 1, 100);
    leave(&node.second, 1, 50);
    leave(&node.other, 1, 50);
    store_admission_tick(&node.admission, SECOND);
    assert_true(value_of("holdfast_store_queue_operations", "writes") == 0);
    assert_true(value_of("holdfast_store_queue_bytes", "writes") == 0);
    store_admission_close(&node.admission);
}

static void bytes_are_bounded_at_each_level(void **state)
{
    struct node node;

    (void)state;
    begin(&node);
    node.settings.table_bytes = 20000;
    node.settings.node_bytes = 25000;
    store_admission_configure(&node.admission, &node.settings, 10000);
    assert_refused(&node, &node.first, 1, 10001, "partition", "for this partition");
    struct store_op big = write_of(1, 10000 - OVERHEAD);

    assert_int_equal(store_queues_enter(&node.first, &big, SECOND), HF_OK);
    assert_refused(&node, &node.first, 1, 1, "partition", "for this partition");
    big.client = 2;
    assert_int_equal(store_queues_enter(&node.second, &big, SECOND), HF_OK);
    assert_refused(&node, &node.second, 1, 1, "partition", "for this partition");
    assert_refused(&node, &node.other, 1, 5001, "node", "on this node");
    store_admission_close(&node.admission);
}

static void kinds_do_not_take_each_others_room(void **state)
{
    struct store_op get = {.type = STORE_OP_GET, .client = 2, .deadline_us = UINT64_MAX};
    struct store_op watch = {
        .type = STORE_OP_CHANGES, .stale = 1, .client = 2, .wait_ms = 1000, .deadline_us = UINT64_MAX};
    struct node node;

    (void)state;
    begin(&node);
    enter(&node.first, 1, 100);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(store_queues_enter(&node.first, &get, SECOND), HF_OK);
        assert_int_equal(store_queues_enter(&node.first, &watch, SECOND), HF_OK);
    }
    assert_int_equal(store_queues_enter(&node.first, &get, SECOND), HF_EBUSY);
    assert_non_null(strstr(get.error.message, "too many reads"));
    assert_int_equal(store_queues_enter(&node.first, &watch, SECOND), HF_EBUSY);
    watch.wait_ms = 0; /* one that does not wait is a read */
    assert_int_equal(store_queues_enter(&node.first, &watch, SECOND), HF_EBUSY);
    store_queues_leave(&node.first, &get);
    assert_int_equal(store_queues_enter(&node.first, &watch, SECOND), HF_OK);
    store_admission_close(&node.admission);
}

/* At each level what one client may have is of what others leave there. */
static void one_client_leaves_room(void **state)
{
    struct node node;

    (void)state;
    begin(&node);
    node.settings.client_share = 50;
    configure(&node);
    enter(&node.first, 1, 50);
    assert_refused(&node, &node.first, 1, 100, "client", "of this client are waiting for this partition");
    enter(&node.first, 2, 20);
    leave(&node.first, 2, 20);
    enter(&node.second, 1, 25); /* 75 of the table's 150 */
    assert_refused(&node, &node.second, 1, 100, "client", "of this client are waiting for this table");
    enter(&node.other, 1, 25); /* 100 of the node's 200 */
    assert_refused(&node, &node.other, 1, 100, "client", "of this client are waiting on this node");
    enter(&node.other, 2, 25);
    leave(&node.first, 1, 50);
    leave(&node.second, 1, 25);
    leave(&node.other, 1, 25);
    enter(&node.first, 1, 50); /* nothing stuck */
    store_admission_close(&node.admission);
}

static void the_store_itself_comes_in(void **state)
{
    struct node node;

    (void)state;
    begin(&node);
    enter(&node.first, 1, 100);
    enter(&node.first, 0, 50);
    assert_refused(&node, &node.first, 1, 100, "partition", "for this partition");
    leave(&node.first, 0, 50);
    leave(&node.first, 1, 1);
    enter(&node.first, 1, 1);
    store_admission_close(&node.admission);
}

/* A queue that drains at 100 a second and holds 50. */
static uint64_t drain(struct node *node, uint64_t now, int seconds)
{
    for (uint64_t until = now + (uint64_t)seconds * SECOND; now < until; now += SECOND / 10) {
        leave(&node->first, 1, 10);
        enter(&node->first, 1, 10);
        store_queues_measure(&node->first, now);
        store_admission_tick(&node->admission, now);
    }
    return now;
}

static void the_time_fits_the_queue(void **state)
{
    struct node node;
    uint64_t now, sum = 0;

    (void)state;
    begin(&node);
    enter(&node.first, 1, 100);
    now = drain(&node, 2 * SECOND, 5);
    for (int i = 0; i < 20; i++) {
        struct store_op op = write_of(2, 100);

        assert_int_equal(store_queues_enter(&node.first, &op, now), HF_EBUSY);
        assert_in_range(op.error.retry_after_ms, 400, 1200); /* it takes a second */
        sum += op.error.retry_after_ms;
    }
    assert_in_range(sum / 20, 600, 900);
    for (int i = 0; i < 200; i++, now += SECOND / 10) /* nothing moves any more */
        store_queues_measure(&node.first, now);
    struct store_op op = write_of(2, 100);

    assert_int_equal(store_queues_enter(&node.first, &op, now), HF_EBUSY);
    assert_in_range(op.error.retry_after_ms, 5000, 10000);
    store_admission_close(&node.admission);
}

static void what_would_come_too_late_is_refused(void **state)
{
    struct node node;
    uint64_t now;

    (void)state;
    begin(&node);
    node.settings.partition_operations = 10000;
    node.settings.table_operations = node.settings.node_operations = 10000;
    configure(&node);
    enter(&node.first, 1, 500);
    now = drain(&node, 2 * SECOND, 5); /* five seconds' worth is there */
    struct store_op soon = write_of(2, 100), late = write_of(2, 100);

    soon.deadline_us = now + 3 * SECOND;
    late.deadline_us = now + 8 * SECOND;
    assert_int_equal(store_queues_enter(&node.first, &late, now), HF_OK);
    assert_int_equal(store_queues_enter(&node.first, &soon, now), HF_EBUSY);
    assert_non_null(strstr(soon.error.message, "too late"));
    assert_true(value_of("holdfast_store_refused_total", "late") == 1);
    soon.type = STORE_OP_GET; /* reads do not wait in order */
    assert_int_equal(store_queues_enter(&node.first, &soon, now), HF_OK);
    leave(&node.first, 1, 440); /* a short queue is not looked at */
    soon.type = STORE_OP_WRITE;
    assert_int_equal(store_queues_enter(&node.first, &soon, now), HF_OK);
    store_admission_close(&node.admission);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_level_is_bounded),
        cmocka_unit_test(bytes_are_bounded_at_each_level),
        cmocka_unit_test(kinds_do_not_take_each_others_room),
        cmocka_unit_test(one_client_leaves_room),
        cmocka_unit_test(the_store_itself_comes_in),
        cmocka_unit_test(the_time_fits_the_queue),
        cmocka_unit_test(what_would_come_too_late_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
