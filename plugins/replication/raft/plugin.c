/* plugin.c: what the shared object says of itself. */
#include "raft.h"

#ifdef HF_RAFT_TEST_BUGS
HF_EXPORT int hf_raft_test_bug;
#endif

static const hf_option options[] = {
    HF_CONFIG_DURATION("election_timeout", raft_options, election_timeout_us, .default_text = "1s",
                       .minimum = 10000, .maximum = 60000000,
                       .doc = "A follower that hears no leader for this long, up to twice as long at random, starts "
                              "an election."),
    HF_CONFIG_DURATION("heartbeat_interval", raft_options, heartbeat_interval_us, .default_text = "200ms",
                       .minimum = 1000, .maximum = 30000000,
                       .doc = "How often a leader shows that it lives; well below election_timeout."),
    HF_CONFIG_SIZE("max_inflight_bytes", raft_options, max_inflight_bytes, .default_text = "16MiB", .minimum = 1,
                   .maximum = INT64_MAX, .doc = "Payload under way to one replica, and not yet committed, at most."),
    HF_CONFIG_INTEGER("max_inflight_messages", raft_options, max_inflight_messages, .default_text = "256",
                      .minimum = 1, .maximum = 65536, .doc = "Appends under way to one replica at most."),
    HF_CONFIG_SIZE("max_message_bytes", raft_options, max_message_bytes, .default_text = "1MiB", .minimum = 1,
                   .maximum = INT64_MAX,
                   .doc = "Payload of one append, by the mean size of recent entries; one entry is always sent."),
};

static const hf_provide provide = {
    .size = sizeof provide,
    .kind = "replication",
    .name = "raft",
    .summary = "Raft consensus as a pure step machine.",
    .interface.replication = &raft_interface,
    .options = HF_TABLE(options),
    .configuration_size = sizeof(raft_options),
};

static const hf_provide *const provides[] = {&provide};

static const hf_plugin plugin = {
    .size = sizeof plugin,
    .interface_major = HF_INTERFACE_MAJOR,
    .interface_minor = HF_INTERFACE_MINOR,
    .provide_count = 1,
    .id = "org.holdfast.replication.raft",
    .version = "0.1.0",
    .summary = "Replicates partitions with the Raft protocol.",
    .licence = "Apache-2.0",
    .provides = provides,
};

HF_EXPORT const hf_plugin *hf_plugin_v1(void)
{
    return &plugin;
}
