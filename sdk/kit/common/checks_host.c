/* Checks with hosts that differ: older, newer, or with less to offer. */
#include "host_private.h"
#include "suites.h"

#include <holdfast/kit/plugin.h>

#include <string.h>

enum { RUN_US = 200000, CLOCK_US = 5000000 };

/* With a host like this it works from create to destroy. */
static void live(hf_kit_instance *instance)
{
    hf_kit_instance_start(instance);
    hf_kit_step("running");
    hf_kit_host_run_until(instance->host, NULL, NULL, RUN_US);
    hf_kit_host_advance(instance->host, CLOCK_US);
    hf_kit_instance_drain(instance);
    hf_kit_instance_stop(instance);
    hf_kit_instance_destroy(instance);
}

static void live_with(const hf_kit_subject *subject, int32_t tables)
{
    hf_kit_instance instance = hf_kit_instance_prepare(subject, tables);
    hf_error error = {0};

    hf_kit_step("create with the host's tables cut at their end, or followed by poison");
    if (hf_kit_instance_try(&instance, &error) != HF_OK)
        hf_kit_fail("create refused: %s", error.message);
    live(&instance);
}

static void check_older(const hf_kit_subject *subject)
{
    live_with(subject, HF_KIT_TABLES_OLDER);
}

static void check_newer(const hf_kit_subject *subject)
{
    live_with(subject, HF_KIT_TABLES_NEWER);
}

static void check_without(const hf_kit_subject *subject, const char *name)
{
    hf_kit_instance instance = hf_kit_instance_prepare(subject, HF_KIT_TABLES_SAME);
    hf_error error = {0};

    hf_kit_step("create without %s", name);
    hf_kit_host_withhold(instance.host, name);
    if (hf_kit_instance_try(&instance, &error) != HF_OK) {
        hf_kit_instance_destroy(&instance);
        return; /* it refused, and said why */
    }
    instance.host->begun = 1;
    if (instance.capability.interface->start) {
        hf_kit_step("start without %s", name);
        if (instance.capability.interface->start(instance.self, &error) != HF_OK) {
            if (!error.message[0])
                hf_kit_fail("start refused without %s and did not say why", name);
            hf_kit_instance_destroy(&instance);
            return;
        }
    }
    hf_kit_step("running without %s", name);
    hf_kit_host_run_until(instance.host, NULL, NULL, RUN_US);
    hf_kit_host_advance(instance.host, CLOCK_US);
    hf_kit_instance_drain(&instance);
    hf_kit_instance_stop(&instance);
    hf_kit_instance_destroy(&instance);
}

static void check_withheld(const hf_kit_subject *subject)
{
    hf_kit_instance instance = hf_kit_instance_create(subject);
    const char *asked[KIT_INTERFACES];
    uint32_t count = 0;

    hf_kit_instance_start(&instance);
    hf_kit_host_run_until(instance.host, NULL, NULL, RUN_US);
    hf_kit_instance_drain(&instance);
    hf_kit_instance_stop(&instance);
    for (; count < KIT_INTERFACES && hf_kit_host_asked(instance.host, count); count++)
        asked[count] = hf_kit_host_asked(instance.host, count);
    hf_kit_instance_destroy(&instance);
    if (count == 0)
        hf_kit_not_applicable("it asks for none of the host's interfaces");
    for (uint32_t i = 0; i < count; i++)
        check_without(subject, asked[i]);
}

static const hf_kit_check checks[] = {
    {"older_host", "It reads nothing behind the end of the tables that it was promised.", check_older, 60},
    {"newer_host", "It works with a host whose tables go on behind what it knows.", check_newer, 60},
    {"withheld_interfaces", "Without any one of the interfaces that it asks for, it works or says why not.",
     check_withheld, 60},
};

const hf_kit_suite kit_host_suite = {"*", checks, sizeof checks / sizeof *checks};
