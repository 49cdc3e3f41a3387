/* What workers count: sums, quantiles that are near, and meters that stay with their names. */
#include "meter/meter.h"

#include <holdfast/lib/value.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void cells_are_added_up(void **state)
{
    struct gateway_meters meters = {.worker_count = 3};
    struct gateway_meter *meter = gateway_meters_take(&meters, GATEWAY_METER_ROUTE, hf_slice_of("a"));
    struct gateway_sums sums;

    (void)state;
    assert_non_null(meter);
    gateway_count(&meter->cells[0].requests[2], 5);
    gateway_count(&meter->cells[2].requests[2], 7);
    gateway_count(&meter->cells[1].requests[5], 1);
    gateway_count(&meter->cells[1].sent, 1 << 20);
    gateway_cell_latency(&meter->cells[0], 500);
    gateway_cell_latency(&meter->cells[1], 501);
    gateway_cell_latency(&meter->cells[2], UINT64_C(1) << 40);
    gateway_meter_sum(meter, &sums);
    assert_int_equal(sums.requests[2], 12);
    assert_int_equal(gateway_sums_requests(&sums), 13);
    assert_int_equal(sums.sent, 1 << 20);
    assert_int_equal(sums.latency[0], 1); /* bounds are inclusive */
    assert_int_equal(sums.latency[1], 1);
    assert_int_equal(sums.latency[GATEWAY_LATENCY_BOUNDS], 1);
    assert_int_equal(sums.latency_us, 1001 + (UINT64_C(1) << 40));
    gateway_meter_release(meter);
    gateway_meters_sweep(&meters);
    assert_null(meters.first);
}

static void meters_stay_with_their_names(void **state)
{
    struct gateway_meters meters = {.worker_count = 1};
    struct gateway_meter *route = gateway_meters_take(&meters, GATEWAY_METER_ROUTE, hf_slice_of("a"));
    struct gateway_meter *other = gateway_meters_take(&meters, GATEWAY_METER_UPSTREAM, hf_slice_of("a"));

    (void)state;
    assert_ptr_not_equal(route, other);
    assert_ptr_equal(gateway_meters_take(&meters, GATEWAY_METER_ROUTE, hf_slice_of("a")), route);
    gateway_meter_release(route);
    gateway_meters_sweep(&meters);
    assert_ptr_equal(gateway_meters_take(&meters, GATEWAY_METER_ROUTE, hf_slice_of("a")), route);
    gateway_meter_release(route);
    gateway_meter_release(route);
    assert_true(gateway_meter_is_unused(route));
    route->user = route; /* something of it is still published */
    gateway_meters_sweep(&meters);
    assert_ptr_equal(gateway_meters_take(&meters, GATEWAY_METER_ROUTE, hf_slice_of("a")), route);
    gateway_meters_destroy(&meters);
}

/* Of all values, each alone, and of an even spread. */
static void quantiles_are_near(void **state)
{
    static struct gateway_sums none;
    struct gateway_meters meters = {.worker_count = 1};
    struct gateway_meter *meter = gateway_meters_take(&meters, GATEWAY_METER_UPSTREAM, hf_slice_of("a"));
    struct gateway_sums before, sums;

    (void)state;
    assert_int_equal(gateway_sums_quantile(&none, &none, 0.5), 0);
    for (uint64_t us = 1; us < 100000000; us += us / 7 + 1) {
        gateway_meter_sum(meter, &before);
        gateway_cell_latency(meter->cells, us);
        gateway_meter_sum(meter, &sums);
        assert_in_range(gateway_sums_quantile(&sums, &before, 0.5), us, us + us / 4);
        assert_int_equal(gateway_sums_quantile(&sums, &before, 0.99), gateway_sums_quantile(&sums, &before, 0));
    }
    gateway_meter_sum(meter, &before);
    for (uint64_t us = 1; us <= 10000; us++)
        gateway_cell_latency(meter->cells, us);
    gateway_meter_sum(meter, &sums);
    assert_in_range(gateway_sums_quantile(&sums, &before, 0.5), 5000, 6200);
    assert_in_range(gateway_sums_quantile(&sums, &before, 0.99), 9900, 12400);
    assert_in_range(gateway_sums_quantile(&sums, &before, 1), 10000, 12500);
    gateway_meters_destroy(&meters);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cells_are_added_up),
        cmocka_unit_test(meters_stay_with_their_names),
        cmocka_unit_test(quantiles_are_near),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
