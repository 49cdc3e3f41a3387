/* Checks of an instance's life: its calls in order, two at once, and what it leaves behind. */
#include "host_private.h"
#include "memory.h"
#include "suites.h"

#include <holdfast/kit/plugin.h>

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

enum { RUN_US = 200000, SHORT_RUN_US = 20000, CLOCK_US = 10000000, FIRST_ROUNDS = 10, ROUNDS = 6 };

/* The sanitizers replace the allocator and know better. */
extern size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

void kit_check_health(const hf_kit_instance *instance);

void kit_check_health(const hf_kit_instance *instance)
{
    hf_health health = {0};

    if (!instance->capability.interface->health)
        return;
    hf_kit_step("health");
    instance->capability.interface->health(instance->self, &health);
    if (health.state < HF_HEALTH_OK || health.state > HF_HEALTH_FAILING)
        hf_kit_fail("health says %d, which is none of HF_HEALTH_...", health.state);
    if (!memchr(health.reason, 0, sizeof health.reason))
        hf_kit_fail("the reason that health gives does not end");
    if (health.state != HF_HEALTH_OK && !health.reason[0])
        hf_kit_fail("health says %d and no reason", health.state);
}

static void run(hf_kit_instance *instance, uint64_t real_us)
{
    hf_kit_step("running");
    hf_kit_host_run_until(instance->host, NULL, NULL, real_us);
    hf_kit_host_advance(instance->host, CLOCK_US);
}

static void live(const hf_kit_subject *subject, int32_t started, uint64_t real_us)
{
    hf_kit_instance instance = hf_kit_instance_create(subject);

    kit_check_health(&instance);
    if (started) {
        hf_kit_instance_start(&instance);
        kit_check_health(&instance);
        run(&instance, real_us);
        kit_check_health(&instance);
        hf_kit_instance_drain(&instance);
        hf_kit_instance_stop(&instance);
        kit_check_health(&instance);
    }
    hf_kit_instance_destroy(&instance);
}

static void check_life(const hf_kit_subject *subject)
{
    hf_kit_capability capability = hf_kit_capability_load(subject);

    hf_kit_step("destroy of NULL");
    capability.interface->destroy(NULL);
    free((void *)(uintptr_t)capability.head);
    live(subject, 1, RUN_US);
    live(subject, 0, 0); /* a process whose other parts fail never starts it */
}

static void check_two(const hf_kit_subject *subject)
{
    hf_kit_instance first = hf_kit_instance_create(subject), second = hf_kit_instance_create(subject);

    if (first.self == second.self)
        hf_kit_fail("create returned the same instance twice");
    hf_kit_instance_start(&first);
    hf_kit_instance_start(&second);
    run(&first, RUN_US);
    run(&second, RUN_US);
    hf_kit_instance_drain(&first);
    hf_kit_instance_stop(&first);
    hf_kit_instance_destroy(&first);
    run(&second, RUN_US); /* goes on without the first */
    kit_check_health(&second);
    hf_kit_instance_drain(&second);
    hf_kit_instance_stop(&second);
    hf_kit_instance_destroy(&second);
}

uint64_t kit_allocated(void)
{
    if (__sanitizer_get_current_allocated_bytes)
        return __sanitizer_get_current_allocated_bytes();
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* What host->alloc gave is counted at every destroy; what malloc gave is a leak when every round keeps more. */
static void check_leaks(const hf_kit_subject *subject)
{
    uint64_t before, after, growth = UINT64_MAX;

    for (int32_t round = 0; round < FIRST_ROUNDS; round++) /* they fill caches, also the allocator's own */
        live(subject, 1, SHORT_RUN_US);
    for (int32_t round = 0; round < ROUNDS && growth > 0; round++) {
        before = kit_allocated();
        live(subject, 1, SHORT_RUN_US);
        after = kit_allocated();
        uint64_t more = after > before ? after - before : 0;
        growth = more < growth ? more : growth;
    }
    if (growth > 0)
        hf_kit_fail("every round from create to destroy leaves %llu bytes of malloc or more behind",
                    (unsigned long long)growth);
}

/* The `number`-th block of the host, or of the C library. */
static void create_without(const hf_kit_subject *subject, uint64_t number, int32_t of_host, int32_t *ret_failed)
{
    hf_kit_instance instance = hf_kit_instance_prepare(subject, HF_KIT_TABLES_SAME);
    hf_error error = {0};

    hf_kit_step("create without its %llu-th block of %s memory", (unsigned long long)number,
                of_host ? "host" : "the C library's");
    if (of_host)
        hf_kit_host_fail_allocation(instance.host, number);
    else
        kit_memory_fail(number);
    int32_t result = hf_kit_instance_try(&instance, &error);
    *ret_failed = of_host ? hf_kit_host_allocation_failed(instance.host) : kit_memory_failed();
    kit_memory_fail(0);
    if (result != HF_OK && !*ret_failed)
        hf_kit_fail("create refused its defaults: %s", error.message);
    if (result != HF_OK && result != HF_ENOMEM)
        hf_kit_fail("create had no memory and returned %d (%s), expected HF_ENOMEM", result, error.message);
    hf_kit_instance_destroy(&instance);
}

/* create fails for want of memory again and again, until it gets all that it asks for. */
static void check_memory(const hf_kit_subject *subject)
{
    enum { NUMBER_MAX = 100000 };
    uint64_t asked = 0;

    for (int32_t of_host = 1; of_host >= 0; of_host--) {
        int32_t failed = 1;
        uint64_t number = 0;
        while (failed) { /* also where it can do without this one: so to the next */
            if (++number > NUMBER_MAX)
                hf_kit_fail("create asks for more than %d blocks", NUMBER_MAX);
            uint64_t before = 0, after = 1;
            for (int32_t again = 0; again < FIRST_ROUNDS + ROUNDS && after > before;
                 again++) { /* the first time may fill caches */
                before = kit_allocated();
                create_without(subject, number, of_host, &failed);
                after = kit_allocated();
            }
            if (after > before)
                hf_kit_fail("create without its %llu-th block of %s memory leaves %llu bytes of malloc behind",
                            (unsigned long long)number, of_host ? "host" : "the C library's",
                            (unsigned long long)(after - before));
        }
        asked += number - 1;
    }
    if (asked == 0)
        hf_kit_not_applicable("create asks for no memory");
}

static const hf_kit_check checks[] = {
    {"life", "create, start, health, drain, stop and destroy do their work in this order, and destroy leaves nothing.",
     check_life, 60},
    {"two_instances", "Two instances work at once, and one goes on without the other.", check_two, 60},
    {"leaks", "Making and destroying instances leaves no memory behind.", check_leaks, 120},
    {"out_of_memory", "create fails cleanly whichever of its allocations fails.", check_memory, 60},
};

const hf_kit_suite kit_life_suite = {"*", checks, sizeof checks / sizeof *checks};
