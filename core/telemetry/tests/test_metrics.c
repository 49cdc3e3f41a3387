/* Shows that metrics count exactly from many threads, render in the Prometheus text format, and are bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../metrics.h"

static void renders_grouped_and_escaped(void **state)
{
    const char *const get[][2] = {{"method", "GET"}, {"path", "a\"b\\c\nd"}}, *const put[][2] = {{"method", "PUT"}};
    hf_metric *first, *second, *gauge, *again;
    hf_metrics *metrics;
    uint64_t size;
    char *text;

    (void)state;
    assert_int_equal(hf_metrics_create(&metrics, NULL), 0);
    assert_int_equal(hf_metrics_add(metrics, HF_METRIC_COUNTER, "requests_total", "Requests.", put, 1, &second, NULL),
                     0);
    assert_int_equal(hf_metrics_add(metrics, HF_METRIC_GAUGE, "age_seconds", "Age.", NULL, 0, &gauge, NULL), 0);
    assert_int_equal(hf_metrics_add(metrics, HF_METRIC_COUNTER, "requests_total", "Requests.", get, 2, &first, NULL),
                     0);
    assert_int_equal(hf_metrics_add(metrics, HF_METRIC_COUNTER, "requests_total", "Requests.", put, 1, &again, NULL),
                     0);
    assert_ptr_equal(again, second);
    hf_metric_increment(first, 3);
    hf_metric_set(gauge, 1.5);
    assert_int_equal(hf_metrics_render(metrics, &text, &size, NULL), 0);
    assert_string_equal(text, "# HELP age_seconds Age.\n# TYPE age_seconds gauge\nage_seconds 1.5\n"
                              "# HELP requests_total Requests.\n# TYPE requests_total counter\n"
                              "requests_total{method=\"GET\",path=\"a\\\"b\\\\c\\nd\"} 3\n"
                              "requests_total{method=\"PUT\"} 0\n");
    assert_int_equal(size, strlen(text));
    free(text);
    hf_metrics_destroy(metrics);
}

static void bad_names_and_other_types_are_refused(void **state)
{
    const char *const label[][2] = {{"Bad", "x"}};
    hf_metrics *metrics;
    hf_metric *metric;
    hf_error error;

    (void)state;
    assert_int_equal(hf_metrics_create(&metrics, NULL), 0);
    assert_int_equal(hf_metrics_add(metrics, HF_METRIC_GAUGE, "9lives", "", NULL, 0, &metric, &error), HF_EINVAL);
    assert_int_equal(hf_metrics_add(metrics, HF_METRIC_GAUGE, "", "", NULL, 0, &metric, &error), HF_EINVAL);
    assert_int_equal(hf_metrics_add(metrics, HF_METRIC_GAUGE, "a", "", label, 1, &metric, &error), HF_EINVAL);
    assert_int_equal(hf_metrics_add(metrics, HF_METRIC_GAUGE, "a", "", label, 9, &metric, &error), HF_EINVAL);
    assert_int_equal(hf_metrics_add(metrics, HF_METRIC_GAUGE, "a", "", NULL, 0, &metric, &error), 0);
    assert_int_equal(hf_metrics_add(metrics, HF_METRIC_COUNTER, "a", "", NULL, 0, &metric, &error), HF_ECONFLICT);
    hf_metrics_destroy(metrics);
}

static void the_number_of_series_is_bounded(void **state)
{
    hf_metrics *metrics;
    hf_metric *metric;
    hf_error error;
    int32_t result = 0;
    int count = 0;

    (void)state;
    assert_int_equal(hf_metrics_create(&metrics, NULL), 0);
    for (; !result && count < 20000; count++) {
        char value[16];
        snprintf(value, sizeof value, "%d", count);
        const char *const label[][2] = {{"user", value}};
        result = hf_metrics_add(metrics, HF_METRIC_GAUGE, "a", "", label, 1, &metric, &error);
    }
    assert_int_equal(result, HF_ETOOLARGE);
    assert_int_equal(count, 10001);
    hf_metrics_destroy(metrics);
}

static void *count_up(void *arg)
{
    for (int i = 0; i < 100000; i++)
        hf_metric_increment(arg, 1);
    return NULL;
}

static void counting_from_threads_is_exact(void **state)
{
    pthread_t threads[4];
    hf_metrics *metrics;
    hf_metric *metric;

    (void)state;
    assert_int_equal(hf_metrics_create(&metrics, NULL), 0);
    assert_int_equal(hf_metrics_add(metrics, HF_METRIC_COUNTER, "a", "", NULL, 0, &metric, NULL), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_up, metric), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_true(hf_metric_value(metric) == 400000);
    hf_metrics_destroy(metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(renders_grouped_and_escaped),
        cmocka_unit_test(bad_names_and_other_types_are_refused),
        cmocka_unit_test(the_number_of_series_is_bounded),
        cmocka_unit_test(counting_from_threads_is_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
