/* The detectors' suite: what a detector declares and raises, by a clock and file systems that the check commands. */
#include "host_private.h"
#include "statvfs.h"
#include "suites.h"

#include <holdfast/kit/plugin.h>

#include <string.h>

enum { PHASE_US = 600 * 1000000, STEP_US = 1000000, FREE = 50, SCARCE = 1 };

static hf_kit_instance begin(const hf_kit_subject *subject)
{
    hf_kit_instance instance;

    kit_statvfs_script(KIT_STATVFS_FREE, FREE);
    instance = hf_kit_instance_create(subject);
    hf_kit_instance_start(&instance);
    hf_kit_step("watching");
    return instance;
}

static void end(hf_kit_instance *instance)
{
    hf_kit_instance_drain(instance);
    hf_kit_instance_stop(instance);
    uint64_t before, after;
    hf_kit_host_signals(instance->host, &before);
    hf_kit_host_advance(instance->host, PHASE_US);
    hf_kit_host_signals(instance->host, &after);
    if (after != before)
        hf_kit_fail("it raised or cleared a signal after stop");
    hf_kit_instance_destroy(instance);
}

static void need_file_systems(const hf_kit_instance *instance)
{
    hf_kit_host_advance(instance->host, PHASE_US);
    if (!kit_statvfs_calls())
        hf_kit_not_applicable("it does not look at file systems, and the kit can put on a show of nothing else");
}

static uint64_t count(const hf_kit_instance *instance, const char *name, const char *subject, int32_t raised)
{
    uint64_t size, found = 0;
    const hf_kit_signal *signals = hf_kit_host_signals(instance->host, &size);

    for (uint64_t i = 0; i < size; i++)
        found += strcmp(signals[i].name, name) == 0 && strcmp(signals[i].subject, subject) == 0 &&
                 signals[i].raised == raised;
    return found;
}

/* ---- The checks -------------------------------------------------------------------------------------------------- */

static void check_declares(const hf_kit_subject *subject)
{
    hf_kit_instance instance = hf_kit_instance_create(subject);

    if (instance.host->signal_kind_count == 0)
        hf_kit_fail("it declared no signal between create and start; a detector that raises none is of no use");
    if (hf_kit_host_timers(instance.host))
        hf_kit_fail("it has a timer before start");
    hf_kit_instance_destroy(&instance);
}

static void check_raises(const hf_kit_subject *subject)
{
    hf_kit_instance instance = begin(subject);
    uint64_t size = 0;

    need_file_systems(&instance);
    hf_kit_host_signals(instance.host, &size);
    if (size)
        hf_kit_fail("it raised a signal while %d %% were free", FREE);
    kit_statvfs_script(KIT_STATVFS_FREE, SCARCE);
    hf_kit_host_advance(instance.host, PHASE_US);
    const hf_kit_signal *signals = hf_kit_host_signals(instance.host, &size);
    if (size == 0)
        hf_kit_fail("it raised nothing in %d s with %d %% free", PHASE_US / 1000000, SCARCE);
    kit_statvfs_script(KIT_STATVFS_FREE, FREE);
    hf_kit_host_advance(instance.host, PHASE_US);
    signals = hf_kit_host_signals(instance.host, &size);
    for (uint64_t i = 0; i < size; i++) {
        uint64_t raised = count(&instance, signals[i].name, signals[i].subject, 1);
        uint64_t cleared = count(&instance, signals[i].name, signals[i].subject, 0);
        if (raised != 1 || cleared != 1)
            hf_kit_fail("space ran out once and came back once, and '%s' was raised %llu times and cleared %llu times",
                        signals[i].name, (unsigned long long)raised, (unsigned long long)cleared);
    }
    end(&instance);
}

/* One bad sample, or a row of them, says nothing about space. */
static void check_odd_samples(const hf_kit_subject *subject)
{
    static const struct {
        int32_t mode;
        const char *what;
    } shows[] = {
        {KIT_STATVFS_MISSING, "statvfs fails"},
        {KIT_STATVFS_EMPTY, "the file system has 0 blocks, so that a ratio is not a number"},
        {KIT_STATVFS_NEGATIVE, "more blocks are free than there are, as a negative number read unsigned"},
    };
    hf_kit_instance instance = begin(subject);
    uint64_t size = 0;

    need_file_systems(&instance);
    for (size_t i = 0; i < sizeof shows / sizeof *shows; i++) {
        hf_kit_step("watching while %s", shows[i].what);
        kit_statvfs_script(shows[i].mode, FREE);
        hf_kit_host_advance(instance.host, PHASE_US);
        hf_kit_host_signals(instance.host, &size);
        if (size)
            hf_kit_fail("it raised a signal while %s", shows[i].what);
        kit_statvfs_script(KIT_STATVFS_FREE, FREE);
        hf_kit_host_advance(instance.host, PHASE_US);
    }
    kit_statvfs_script(KIT_STATVFS_FREE, SCARCE); /* it has not gone blind */
    hf_kit_host_advance(instance.host, PHASE_US);
    hf_kit_host_signals(instance.host, &size);
    if (size == 0)
        hf_kit_fail("after samples that were missing or odd it raises nothing any more");
    end(&instance);
}

static void check_bounded(const hf_kit_subject *subject)
{
    enum { PHASES = 10 };
    hf_kit_instance instance = begin(subject);
    uint64_t before = 0, after = 0;

    hf_kit_host_advance(instance.host, PHASE_US);
    hf_kit_host_memory(instance.host, &before);
    uint32_t timers = hf_kit_host_timers(instance.host);
    for (int32_t i = 0; i < PHASES; i++)
        hf_kit_host_advance(instance.host, PHASE_US);
    hf_kit_host_memory(instance.host, &after);
    if (after > before)
        hf_kit_fail("it held %llu bytes after %d s and %llu after %d s with nothing new to see",
                    (unsigned long long)before, PHASE_US / 1000000, (unsigned long long)after,
                    (PHASES + 1) * (PHASE_US / 1000000));
    if (hf_kit_host_timers(instance.host) > timers)
        hf_kit_fail("it makes more and more timers: %u, then %u", timers, hf_kit_host_timers(instance.host));
    end(&instance);
}

static void play(hf_kit_instance *instance)
{
    for (int32_t phase = 0; phase < 6; phase++) {
        kit_statvfs_script(KIT_STATVFS_FREE, phase % 2 ? SCARCE : FREE);
        for (int32_t step = 0; step < 100; step++)
            hf_kit_host_advance(instance->host, STEP_US);
    }
}

static void check_deterministic(const hf_kit_subject *subject)
{
    hf_kit_instance first = begin(subject), second = begin(subject);
    uint64_t size = 0, other_size = 0;

    play(&first);
    play(&second);
    const hf_kit_signal *signals = hf_kit_host_signals(first.host, &size);
    const hf_kit_signal *others = hf_kit_host_signals(second.host, &other_size);
    if (size != other_size)
        hf_kit_fail("it saw the same twice and raised and cleared %llu signals, then %llu", (unsigned long long)size,
                    (unsigned long long)other_size);
    for (uint64_t i = 0; i < size; i++) /* subjects may be paths in the state directory, which differ */
        if (strcmp(signals[i].name, others[i].name) != 0 || signals[i].raised != others[i].raised ||
            signals[i].at_us != others[i].at_us)
            hf_kit_fail("it saw the same twice and the signal %llu was '%s' at %llu us, then '%s' at %llu us",
                        (unsigned long long)i, signals[i].name, (unsigned long long)signals[i].at_us, others[i].name,
                        (unsigned long long)others[i].at_us);
    end(&first);
    end(&second);
}

static void check_stop_under_load(const hf_kit_subject *subject)
{
    hf_kit_instance instance = begin(subject);

    for (int32_t i = 0; i < 1000 && !instance.host->jobs; i++) { /* until work is on its way to the pool */
        instance.host->now_us += STEP_US / 10;
        kit_run_timers(instance.host);
    }
    if (!instance.host->jobs)
        hf_kit_not_applicable("it gives no work to the pool");
    hf_kit_instance_stop(&instance); /* without drain: it was overdue */
    hf_kit_step("what was under way when it was stopped");
    hf_kit_host_advance(instance.host, STEP_US);
    hf_kit_instance_destroy(&instance);
}

static const hf_kit_check checks[] = {
    {"declares", "It declares its signals in create, and starts nothing before start.", check_declares, 0},
    {"raises_and_clears", "What begins and ends once is raised once and cleared once.", check_raises, 0},
    {"odd_samples", "Samples that are missing, not a number or negative raise nothing and blind nobody.",
     check_odd_samples, 0},
    {"bounded_memory", "It does not grow while it watches.", check_bounded, 0},
    {"deterministic", "What it raises, and when, follows from what it saw and the host's clock alone.",
     check_deterministic, 0},
    {"stop_under_load", "It can be stopped without drain while a sample is under way.", check_stop_under_load, 0},
};

const hf_kit_suite kit_detector_suite = {"detector", checks, sizeof checks / sizeof *checks};
