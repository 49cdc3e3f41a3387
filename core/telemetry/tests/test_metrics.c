/* Shows that metrics count exactly from many threads, render in the Prometheus text format, can be removed, and are
 * bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
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

/* ---- Histograms ------------------------------------------------------------------------------------------------ */

static const double bounds[] = {0.1, 0.25, 1, 1e10};

static void assert_rendered(hf_metrics *metrics, const char *expected)
{
    uint64_t size;
    char *text;

    assert_int_equal(hf_metrics_render(metrics, &text, &size, NULL), 0);
    assert_string_equal(text, expected);
    assert_int_equal(size, strlen(expected));
    free(text);
}

static void histograms_render_cumulative_buckets(void **state)
{
    const char *const label[][2] = {{"upstream", "a\"\\\n}"}};
    const double values[] = {0, 0.1, 0.1000001, 0.25, 1, 5, 2e10, -3, NAN, INFINITY, -INFINITY};
    hf_metric *bare, *labelled;
    hf_metrics *metrics;

    (void)state;
    assert_int_equal(hf_metrics_create(&metrics, NULL), 0);
    assert_int_equal(hf_metrics_add_histogram(metrics, "wait_seconds", "Wait.", NULL, 0, bounds, 4, &bare, NULL), 0);
    assert_int_equal(hf_metrics_add_histogram(metrics, "wait_seconds", "Wait.", label, 1, bounds, 4, &labelled, NULL),
                     0);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        hf_metric_observe(bare, values[i]);
    hf_metric_observe(labelled, 0.5);
    assert_true(hf_metric_value(bare) == 8);
    assert_rendered(metrics, "# HELP wait_seconds Wait.\n# TYPE wait_seconds histogram\n"
                             "wait_seconds_bucket{le=\"0.1\"} 3\n"
                             "wait_seconds_bucket{le=\"0.25\"} 5\n"
                             "wait_seconds_bucket{le=\"1\"} 6\n"
                             "wait_seconds_bucket{le=\"10000000000\"} 7\n"
                             "wait_seconds_bucket{le=\"+Inf\"} 8\n"
                             "wait_seconds_sum 20000000003.450001\n"
                             "wait_seconds_count 8\n"
                             "wait_seconds_bucket{upstream=\"a\\\"\\\\\\n}\",le=\"0.1\"} 0\n"
                             "wait_seconds_bucket{upstream=\"a\\\"\\\\\\n}\",le=\"0.25\"} 0\n"
                             "wait_seconds_bucket{upstream=\"a\\\"\\\\\\n}\",le=\"1\"} 1\n"
                             "wait_seconds_bucket{upstream=\"a\\\"\\\\\\n}\",le=\"10000000000\"} 1\n"
                             "wait_seconds_bucket{upstream=\"a\\\"\\\\\\n}\",le=\"+Inf\"} 1\n"
                             "wait_seconds_sum{upstream=\"a\\\"\\\\\\n}\"} 0.5\n"
                             "wait_seconds_count{upstream=\"a\\\"\\\\\\n}\"} 1\n");
    hf_metrics_destroy(metrics);
}

static void values_counted_elsewhere_are_added(void **state)
{
    static const uint64_t counts[] = {2, 0, 3, 0, 1};
    hf_metrics *metrics;
    hf_metric *metric;

    (void)state;
    assert_int_equal(hf_metrics_create(&metrics, NULL), 0);
    assert_int_equal(hf_metrics_add_histogram(metrics, "wait_seconds", "Wait.", NULL, 0, bounds, 4, &metric, NULL), 0);
    hf_metric_observe(metric, 1);
    assert_int_equal(hf_metric_observe_counted(metric, counts, 5, 12.5), 0);
    assert_int_equal(hf_metric_observe_counted(metric, counts, 4, 1), HF_EINVAL);
    assert_int_equal(hf_metric_observe_counted(metric, counts, 5, NAN), HF_EINVAL);
    assert_rendered(metrics, "# HELP wait_seconds Wait.\n# TYPE wait_seconds histogram\n"
                             "wait_seconds_bucket{le=\"0.1\"} 2\n"
                             "wait_seconds_bucket{le=\"0.25\"} 2\n"
                             "wait_seconds_bucket{le=\"1\"} 6\n"
                             "wait_seconds_bucket{le=\"10000000000\"} 6\n"
                             "wait_seconds_bucket{le=\"+Inf\"} 7\n"
                             "wait_seconds_sum 13.5\n"
                             "wait_seconds_count 7\n");
    hf_metrics_destroy(metrics);
}

static void odd_histograms_are_refused(void **state)
{
    static const double falling[] = {1, 0.5}, equal[] = {1, 1}, odd[] = {1, NAN}, endless[] = {1, INFINITY};
    const char *const le[][2] = {{"le", "1"}};
    double many[HF_METRIC_BOUNDS_MAX + 1];
    hf_metrics *metrics;
    hf_metric *metric;
    hf_error error;

    (void)state;
    for (int i = 0; i <= HF_METRIC_BOUNDS_MAX; i++)
        many[i] = i;
    assert_int_equal(hf_metrics_create(&metrics, NULL), 0);
    assert_int_equal(hf_metrics_add_histogram(metrics, "a", "", NULL, 0, falling, 2, &metric, &error), HF_EINVAL);
    assert_int_equal(hf_metrics_add_histogram(metrics, "a", "", NULL, 0, equal, 2, &metric, &error), HF_EINVAL);
    assert_int_equal(hf_metrics_add_histogram(metrics, "a", "", NULL, 0, odd, 2, &metric, &error), HF_EINVAL);
    assert_int_equal(hf_metrics_add_histogram(metrics, "a", "", NULL, 0, endless, 2, &metric, &error), HF_EINVAL);
    assert_int_equal(hf_metrics_add_histogram(metrics, "a", "", NULL, 0, many, 0, &metric, &error), HF_EINVAL);
    assert_int_equal(hf_metrics_add_histogram(metrics, "a", "", NULL, 0, many, 33, &metric, &error), HF_EINVAL);
    assert_int_equal(hf_metrics_add_histogram(metrics, "a", "", le, 1, many, 32, &metric, &error), HF_EINVAL);
    assert_int_equal(hf_metrics_add(metrics, HF_METRIC_HISTOGRAM, "a", "", NULL, 0, &metric, &error), HF_EINVAL);
    assert_int_equal(hf_metrics_add_histogram(metrics, "a", "", NULL, 0, many, 32, &metric, &error), 0);
    assert_int_equal(hf_metrics_add_histogram(metrics, "a", "", NULL, 0, many, 31, &metric, &error), HF_ECONFLICT);
    assert_int_equal(hf_metrics_add(metrics, HF_METRIC_GAUGE, "a", "", NULL, 0, &metric, &error), HF_ECONFLICT);
    assert_int_equal(hf_metrics_add(metrics, HF_METRIC_GAUGE, "a_count", "", NULL, 0, &metric, &error), HF_ECONFLICT);
    assert_int_equal(hf_metrics_add(metrics, HF_METRIC_GAUGE, "b_sum", "", NULL, 0, &metric, &error), 0);
    assert_int_equal(hf_metrics_add_histogram(metrics, "b", "", NULL, 0, many, 32, &metric, &error), HF_ECONFLICT);
    assert_int_equal(hf_metrics_add_histogram(metrics, "a_bucket", "", NULL, 0, many, 2, &metric, &error),
                     HF_ECONFLICT);
    hf_metrics_destroy(metrics);
}

static void a_histogram_counts_as_its_lines(void **state)
{
    hf_metrics *metrics;
    hf_metric *metric, *first = NULL;
    hf_error error;
    int32_t result = 0;
    int count = 0;

    (void)state;
    assert_int_equal(hf_metrics_create(&metrics, NULL), 0);
    for (; !result; count++) {
        char value[16];
        snprintf(value, sizeof value, "%d", count);
        const char *const label[][2] = {{"user", value}};
        result = hf_metrics_add_histogram(metrics, "a", "", label, 1, bounds, 4, &metric, &error);
        first = first ? first : metric;
    }
    assert_int_equal(result, HF_ETOOLARGE);
    assert_int_equal(count, 10000 / 7 + 1);
    hf_metric_remove(first); /* makes room for another one */
    assert_int_equal(hf_metrics_add_histogram(metrics, "a", "", NULL, 0, bounds, 4, &metric, &error), 0);
    hf_metrics_destroy(metrics);
}

struct observing {
    hf_metrics *metrics;
    hf_metric *metric;
    atomic_int running;
};

static void *observe_many(void *arg)
{
    struct observing *observing = arg;

    for (int i = 0; i < 100000; i++)
        hf_metric_observe(observing->metric, i % 3);
    atomic_fetch_sub(&observing->running, 1);
    return NULL;
}

static uint64_t number_after(const char *text, const char *line)
{
    const char *found = strstr(text, line);

    assert_non_null(found);
    return strtoull(found + strlen(line), NULL, 10);
}

/* Twelve threads, so that some share a stripe. */
static void scrapes_agree_while_threads_observe(void **state)
{
    struct observing observing = {.running = 12};
    pthread_t threads[12];
    uint64_t before = 0;

    (void)state;
    assert_int_equal(hf_metrics_create(&observing.metrics, NULL), 0);
    assert_int_equal(hf_metrics_add_histogram(observing.metrics, "a", "", NULL, 0, bounds, 4, &observing.metric, NULL),
                     0);
    for (int i = 0; i < 12; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, observe_many, &observing), 0);
    for (int going_on = 1; going_on;) {
        going_on = atomic_load(&observing.running);
        uint64_t size;
        char *text;
        assert_int_equal(hf_metrics_render(observing.metrics, &text, &size, NULL), 0);
        uint64_t count = number_after(text, "a_count ");
        assert_int_equal(number_after(text, "a_bucket{le=\"+Inf\"} "), count);
        assert_true(count >= before);
        assert_true(number_after(text, "a_bucket{le=\"0.1\"} ") <= number_after(text, "a_bucket{le=\"1\"} "));
        before = count;
        free(text);
    }
    for (int i = 0; i < 12; i++)
        pthread_join(threads[i], NULL);
    assert_rendered(observing.metrics,
                    "# HELP a \n# TYPE a histogram\na_bucket{le=\"0.1\"} 400008\na_bucket{le=\"0.25\"} 400008\n"
                    "a_bucket{le=\"1\"} 800004\na_bucket{le=\"10000000000\"} 1200000\n"
                    "a_bucket{le=\"+Inf\"} 1200000\na_sum 1199988\na_count 1200000\n");
    hf_metrics_destroy(observing.metrics);
}

/* ---- Removing -------------------------------------------------------------------------------------------------- */

static void what_is_removed_begins_anew(void **state)
{
    const char *const a[][2] = {{"server", "a"}}, *const b[][2] = {{"server", "b"}};
    hf_metric *first, *second, *again;
    hf_metrics *metrics;

    (void)state;
    assert_int_equal(hf_metrics_create(&metrics, NULL), 0);
    assert_int_equal(hf_metrics_add(metrics, HF_METRIC_COUNTER, "n", "N.", a, 1, &first, NULL), 0);
    assert_int_equal(hf_metrics_add(metrics, HF_METRIC_COUNTER, "n", "N.", b, 1, &second, NULL), 0);
    hf_metric_increment(first, 7);
    hf_metric_increment(second, 1);
    hf_metric_remove(first);
    assert_rendered(metrics, "# HELP n N.\n# TYPE n counter\nn{server=\"b\"} 1\n");
    assert_int_equal(hf_metrics_add(metrics, HF_METRIC_COUNTER, "n", "N.", a, 1, &first, NULL), 0);
    assert_rendered(metrics, "# HELP n N.\n# TYPE n counter\nn{server=\"a\"} 0\nn{server=\"b\"} 1\n");

    assert_int_equal(hf_metrics_add(metrics, HF_METRIC_COUNTER, "n", "N.", b, 1, &again, NULL), 0);
    assert_ptr_equal(again, second);
    hf_metric_remove(second); /* somebody else has it still */
    hf_metric_increment(again, 1);
    assert_rendered(metrics, "# HELP n N.\n# TYPE n counter\nn{server=\"a\"} 0\nn{server=\"b\"} 2\n");
    hf_metric_remove(again);
    hf_metric_remove(first);
    hf_metric_remove(NULL);
    assert_rendered(metrics, "");
    assert_int_equal(hf_metrics_add(metrics, HF_METRIC_GAUGE, "n", "N.", a, 1, &first, NULL), 0); /* even the type */
    hf_metrics_destroy(metrics);
}

static void *come_and_go(void *arg)
{
    static const char *const names[] = {"a", "b", "c"};
    hf_metrics *metrics = arg;

    for (int i = 0; i < 3000; i++) {
        const char *const label[][2] = {{"server", names[i % 3]}};
        hf_metric *counter, *histogram;
        assert_int_equal(hf_metrics_add(metrics, HF_METRIC_COUNTER, "n", "", label, 1, &counter, NULL), 0);
        assert_int_equal(hf_metrics_add_histogram(metrics, "h", "", label, 1, bounds, 4, &histogram, NULL), 0);
        hf_metric_increment(counter, 1);
        hf_metric_observe(histogram, 1);
        hf_metric_remove(counter);
        hf_metric_remove(histogram);
    }
    return NULL;
}

static void series_come_and_go_during_scrapes(void **state)
{
    hf_metrics *metrics;
    pthread_t threads[4];

    (void)state;
    assert_int_equal(hf_metrics_create(&metrics, NULL), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, metrics), 0);
    for (int i = 0; i < 200; i++) {
        uint64_t size;
        char *text;
        assert_int_equal(hf_metrics_render(metrics, &text, &size, NULL), 0);
        free(text);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_rendered(metrics, "");
    hf_metrics_destroy(metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(renders_grouped_and_escaped),          cmocka_unit_test(bad_names_and_other_types_are_refused),
        cmocka_unit_test(the_number_of_series_is_bounded),      cmocka_unit_test(counting_from_threads_is_exact),
        cmocka_unit_test(histograms_render_cumulative_buckets), cmocka_unit_test(odd_histograms_are_refused),
        cmocka_unit_test(values_counted_elsewhere_are_added),   cmocka_unit_test(a_histogram_counts_as_its_lines),
        cmocka_unit_test(scrapes_agree_while_threads_observe),  cmocka_unit_test(what_is_removed_begins_anew),
        cmocka_unit_test(series_come_and_go_during_scrapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
