/* A plugin for test_loader.c, built several times with other macros: TEST_MAJOR, TEST_NEEDED, TEST_FAIL_LOAD.  Its
 * constructor leaves a trace in the environment, which shows whether any of its code has run. */
#include <holdfast/holdfast.h>
#include <holdfast/kind/replication.h>
#include <holdfast/lib/error.h>
#include <stdlib.h>

#ifndef TEST_MAJOR
#define TEST_MAJOR HF_INTERFACE_MAJOR
#endif
#ifndef TEST_NEEDED
#define TEST_NEEDED 0
#endif

__attribute__((constructor)) static void leave_trace(void)
{
    setenv("HOLDFAST_TEST_PLUGIN_RAN", "1", 1);
}

static int32_t create(const hf_host *host, const void *configuration, void **ret_self, hf_error *error)
{
    (void)host, (void)configuration, (void)ret_self;
    return hf_error_set(error, HF_EUNSUPPORTED, "this plugin is only for loading");
}

static void destroy(void *self)
{
    (void)self;
}

/* None of these is ever called: no instance can be created. */
#define ANY(type) ((type)(void (*)(void))destroy)

static const hf_replication table = {
    .head = HF_HEAD(hf_replication),
    .create = create,
    .destroy = destroy,
    .group_open = ANY(int32_t(*)(void *, const hf_replication_setup *, hf_replication_group **, hf_error *)),
    .group_close = ANY(void (*)(hf_replication_group *)),
    .tick = ANY(void (*)(hf_replication_group *, uint64_t)),
    .propose = ANY(int32_t(*)(hf_replication_group *, const uint32_t *, uint64_t, uint64_t *, uint64_t *, hf_error *)),
    .receive = ANY(int32_t(*)(hf_replication_group *, const hf_replication_message *, uint64_t, hf_error *)),
    .persisted = ANY(void (*)(hf_replication_group *, uint64_t)),
    .applied = ANY(void (*)(hf_replication_group *, uint64_t)),
    .progress = ANY(int32_t(*)(hf_replication_group *, uint64_t, hf_replication_progress *)),
    .read_request = ANY(int32_t(*)(hf_replication_group *, uint64_t, uint64_t, hf_error *)),
    .unreachable = ANY(void (*)(hf_replication_group *, uint64_t, uint64_t)),
    .snapshot_sent = ANY(void (*)(hf_replication_group *, uint64_t, uint64_t, int32_t)),
    .snapshot_installed = ANY(
        int32_t(*)(hf_replication_group *, uint64_t, uint64_t, const hf_replication_member *, uint32_t, hf_error *)),
    .compacted = ANY(int32_t(*)(hf_replication_group *, uint64_t, hf_error *)),
    .transfer = ANY(int32_t(*)(hf_replication_group *, uint64_t, hf_error *)),
    .campaign = ANY(void (*)(hf_replication_group *)),
    .term_at = ANY(int32_t(*)(hf_replication_group *, uint64_t, uint64_t *)),
    .take = ANY(void (*)(hf_replication_group *, hf_replication_output *)),
    .status = ANY(void (*)(hf_replication_group *, hf_replication_status *)),
    .propose_membership = ANY(int32_t(*)(hf_replication_group *, const hf_replication_member *, uint32_t, uint64_t *,
                                         uint64_t *, hf_error *)),
};

typedef struct sample_options {
    int64_t rounds;
} sample_options;

static const hf_option options[] = {
    HF_CONFIG_INTEGER("rounds", sample_options, rounds, .minimum = 1, .maximum = 9, .default_text = "3",
                      .doc = "How many \"rounds\" there are."),
};

static const hf_provide provide = {
    .size = sizeof(hf_provide),
    .kind = "replication",
    .name = "sample",
    .summary = "Only for loading.",
    .interface.replication = &table,
    .options = HF_TABLE(options),
    .configuration_size = sizeof(sample_options),
};

static const hf_provide *const provides[] = {&provide};

static int32_t load(const hf_host *host, hf_error *error)
{
    (void)host;
#ifdef TEST_FAIL_LOAD
    return hf_error_set(error, HF_EIO, "the sample was told to fail");
#else
    (void)error;
    return 0;
#endif
}

static const hf_plugin plugin = {
    .size = sizeof(hf_plugin),
    .interface_major = TEST_MAJOR,
    .interface_minor = HF_INTERFACE_MINOR,
    .minor_needed = TEST_NEEDED,
    .provide_count = 1,
    .id = "org.example.sample",
    .version = "1.0.0",
    .summary = "Only for loading.",
    .licence = "Apache-2.0",
    .provides = provides,
    .load = load,
};

const hf_plugin *hf_plugin_v1(void)
{
    return &plugin;
}
