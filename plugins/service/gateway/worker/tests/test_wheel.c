/* Deadlines by simulated time: none is missed, none comes early, and what is called may do anything to the others. */
#include "worker/wheel.h"

#include <holdfast/lib/hash.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct item {
    struct gateway_deadline deadline; /* first */
    uint32_t passed;
};

static struct gateway_wheel wheel;
static uint64_t now_us;

static void passed(struct gateway_deadline *deadline)
{
    ((struct item *)deadline)->passed++;
}

static void turn_to(uint64_t us)
{
    now_us = us;
    gateway_wheel_turn(&wheel, now_us);
}

static void begin(uint64_t us)
{
    now_us = us;
    gateway_wheel_init(&wheel, now_us);
}

static void comes_once_and_not_early(void **state)
{
    struct item item = {.deadline.passed = passed};

    (void)state;
    begin(12345);
    gateway_deadline_set(&wheel, &item.deadline, now_us + 100000);
    turn_to(12345 + 99999);
    assert_int_equal(item.passed, 0);
    turn_to(12345 + 100000 + 2 * GATEWAY_WHEEL_TICK_US);
    assert_int_equal(item.passed, 1);
    turn_to(now_us + 60000000);
    assert_int_equal(item.passed, 1);
    assert_int_equal(wheel.count, 0);
}

static void is_put_off_and_brought_forward(void **state)
{
    struct item item = {.deadline.passed = passed};

    (void)state;
    begin(0);
    gateway_deadline_set(&wheel, &item.deadline, 1000000);
    gateway_deadline_set(&wheel, &item.deadline, 5000000);
    turn_to(4990000);
    assert_int_equal(item.passed, 0);
    gateway_deadline_set(&wheel, &item.deadline, 90000000); /* past the last slot */
    turn_to(80000000);
    assert_int_equal(item.passed, 0);
    gateway_deadline_set(&wheel, &item.deadline, 80100000);
    turn_to(80150000);
    assert_int_equal(item.passed, 1);
    gateway_deadline_set(&wheel, &item.deadline, 80200000);
    gateway_deadline_clear(&wheel, &item.deadline);
    turn_to(90000000);
    assert_int_equal(item.passed, 1);
}

static struct item others[3];

static void clears_others(struct gateway_deadline *deadline)
{
    passed(deadline);
    for (int i = 0; i < 3; i++)
        if (&others[i].deadline != deadline)
            gateway_deadline_clear(&wheel, &others[i].deadline);
    gateway_deadline_set(&wheel, deadline, now_us + 1); /* again, in a later turn */
}

static void what_is_called_may_clear_and_set(void **state)
{
    (void)state;
    begin(0);
    for (int i = 0; i < 3; i++) {
        others[i] = (struct item){.deadline.passed = clears_others};
        gateway_deadline_set(&wheel, &others[i].deadline, 1000);
    }
    turn_to(GATEWAY_WHEEL_TICK_US * 2);
    assert_int_equal(others[0].passed + others[1].passed + others[2].passed, 1);
    turn_to(GATEWAY_WHEEL_TICK_US * 4);
    assert_int_equal(others[0].passed + others[1].passed + others[2].passed, 2);
}

static void agrees_with_a_list(void **state)
{
    static struct item items[64];
    uint64_t due[64] = {0};
    hf_random random;

    (void)state;
    hf_random_init(&random, 7);
    begin(1);
    for (int i = 0; i < 64; i++)
        items[i] = (struct item){.deadline.passed = passed};
    for (int step = 0; step < 200000; step++) {
        uint32_t i = (uint32_t)hf_random_below(&random, 64);
        uint64_t action = hf_random_below(&random, 8);

        if (action == 0) {
            gateway_deadline_clear(&wheel, &items[i].deadline);
            due[i] = 0;
        } else if (action < 4) {
            due[i] = now_us + 1 + hf_random_below(&random, action == 1 ? 30000000 : 300000);
            gateway_deadline_set(&wheel, &items[i].deadline, due[i]);
        }
        turn_to(now_us + hf_random_below(&random, 30000));
        for (int k = 0; k < 64; k++) {
            if (items[k].passed) {
                assert_true(due[k] && due[k] <= now_us);
                due[k] = 0;
            }
            assert_true(!due[k] || due[k] + 2 * GATEWAY_WHEEL_TICK_US > now_us);
            items[k].passed = 0;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_once_and_not_early),
        cmocka_unit_test(is_put_off_and_brought_forward),
        cmocka_unit_test(what_is_called_may_clear_and_set),
        cmocka_unit_test(agrees_with_a_list),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
