/* The window is a ring of slices of time; a slice that is met again with another number is empty. */
#include "guard/breaker.h"

#include <string.h>

void gateway_breaker_init(struct gateway_breaker *breaker)
{
    memset(breaker, 0, sizeof *breaker);
}

static uint64_t slice_number(const struct gateway_breaker_rules *rules, uint64_t now_us)
{
    return now_us / (rules->window_us / GATEWAY_BREAKER_SLICES) + 1; /* 0: never used */
}

static struct gateway_breaker_slice *present_slice(struct gateway_breaker *breaker,
                                                   const struct gateway_breaker_rules *rules, uint64_t now_us)
{
    uint64_t number = slice_number(rules, now_us);
    struct gateway_breaker_slice *slice = &breaker->slices[number % GATEWAY_BREAKER_SLICES];

    if (slice->number != number)
        *slice = (struct gateway_breaker_slice){.number = number};
    return slice;
}

static int is_over(uint32_t part, uint32_t all, uint32_t percent)
{
    return percent && (uint64_t)part * 100 >= (uint64_t)all * percent;
}

/* Whether what the window holds says that it should open. */
static int is_bad(const struct gateway_breaker *breaker, const struct gateway_breaker_rules *rules, uint64_t now_us)
{
    uint64_t number = slice_number(rules, now_us);
    uint32_t calls = 0, failed = 0, slow = 0;

    for (int i = 0; i < GATEWAY_BREAKER_SLICES; i++) {
        const struct gateway_breaker_slice *slice = &breaker->slices[i];

        if (slice->number + GATEWAY_BREAKER_SLICES <= number)
            continue;
        calls += slice->calls;
        failed += slice->failed;
        slow += slice->slow;
    }
    return calls > 0 && calls >= rules->calls_minimum &&
           (is_over(failed, calls, rules->failed_percent) || is_over(slow, calls, rules->slow_percent));
}

static void change(struct gateway_breaker *breaker, int32_t state)
{
    breaker->state = state;
    breaker->epoch++;
    breaker->tried = breaker->succeeded = 0;
}

static void open(struct gateway_breaker *breaker, const struct gateway_breaker_rules *rules, uint64_t now_us)
{
    /* Trying has failed: twice as long as the last time. */
    uint64_t open_us = breaker->state == GATEWAY_BREAKER_HALF_OPEN ? breaker->open_for_us * 2 : rules->open_us;

    breaker->open_for_us = open_us < rules->open_maximum_us ? open_us : rules->open_maximum_us;
    breaker->open_until_us = now_us + breaker->open_for_us;
    change(breaker, GATEWAY_BREAKER_OPEN);
}

/* What was counted before says nothing any more. */
static void close_it(struct gateway_breaker *breaker)
{
    memset(breaker->slices, 0, sizeof breaker->slices);
    change(breaker, GATEWAY_BREAKER_CLOSED);
}

int32_t gateway_breaker_begin(struct gateway_breaker *breaker, const struct gateway_breaker_rules *rules,
                              uint64_t now_us, struct gateway_breaker_call *ret_call)
{
    if (breaker->state == GATEWAY_BREAKER_OPEN && now_us >= breaker->open_until_us)
        change(breaker, GATEWAY_BREAKER_HALF_OPEN);
    if (breaker->state == GATEWAY_BREAKER_OPEN ||
        (breaker->state == GATEWAY_BREAKER_HALF_OPEN && breaker->tried >= rules->tries) ||
        (rules->in_flight_maximum && breaker->in_flight >= rules->in_flight_maximum))
        return 0;
    if (breaker->state == GATEWAY_BREAKER_HALF_OPEN)
        breaker->tried++;
    breaker->in_flight++;
    *ret_call = (struct gateway_breaker_call){.began_us = now_us, .epoch = breaker->epoch};
    return 1;
}

static void end_try(struct gateway_breaker *breaker, const struct gateway_breaker_rules *rules, int32_t outcome,
                    int is_slow, uint64_t now_us)
{
    if (outcome == GATEWAY_CALL_FAILED || (is_slow && rules->slow_percent)) {
        open(breaker, rules, now_us);
    } else if (outcome == GATEWAY_CALL_ABANDONED) {
        breaker->tried--; /* another one may try */
    } else {
        breaker->succeeded++;
        if (breaker->succeeded >= rules->tries)
            close_it(breaker);
    }
}

static void count(struct gateway_breaker *breaker, const struct gateway_breaker_rules *rules, int32_t outcome,
                  int is_slow, uint64_t now_us)
{
    struct gateway_breaker_slice *slice = present_slice(breaker, rules, now_us);

    if (outcome == GATEWAY_CALL_ABANDONED && !is_slow)
        return;
    slice->calls++;
    slice->failed += outcome == GATEWAY_CALL_FAILED;
    slice->slow += is_slow != 0;
    if (is_bad(breaker, rules, now_us))
        open(breaker, rules, now_us);
}

int32_t gateway_breaker_end(struct gateway_breaker *breaker, const struct gateway_breaker_rules *rules,
                            const struct gateway_breaker_call *call, int32_t outcome, uint64_t now_us)
{
    int is_slow = now_us - call->began_us >= rules->slow_us;
    uint64_t epoch = breaker->epoch;

    breaker->in_flight--;
    if (call->epoch != epoch) /* it began in another state, which has drawn its conclusions */
        return 0;
    if (breaker->state == GATEWAY_BREAKER_HALF_OPEN)
        end_try(breaker, rules, outcome, is_slow, now_us);
    else
        count(breaker, rules, outcome, is_slow, now_us);
    return breaker->epoch != epoch;
}

uint64_t gateway_breaker_wait(const struct gateway_breaker *breaker, uint64_t now_us)
{
    return breaker->state == GATEWAY_BREAKER_OPEN && breaker->open_until_us > now_us ? breaker->open_until_us - now_us
                                                                                     : 0;
}
