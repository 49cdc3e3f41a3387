/* plugin.c: what the shared object says of itself. */
#include "raft.h"

#ifdef HF_RAFT_TEST_BUGS
HF_EXPORT int hf_raft_test_bug;
#endif

static const hf_option options[] = {
    HF_CONFIG_DURATION("election_timeout", raft_options, election_timeout_us, .default_text = "1s", .minimum = 10000,
                       .maximum = 60000000,
                       .doc = "A follower that hears no leader for this long, up to twice as long at random, starts "
                              "an election."),
    HF_CONFIG_DURATION("heartbeat_interval", raft_options, heartbeat_interval_us, .default_text = "200ms",
                       .minimum = 1000, .maximum = 30000000,
                       .doc = "How often a leader shows that it lives; well below election_timeout."),
    HF_CONFIG_SIZE("max_inflight_bytes", raft_options, max_inflight_bytes, .default_text = "16MiB", .minimum = 1,
                   .maximum = INT64_MAX, .doc = "Payload under way to one replica, and not yet committed, at most."),
    HF_CONFIG_INTEGER("max_inflight_messages", raft_options, max_inflight_messages, .default_text = "256", .minimum = 1,
                      .maximum = 65536, .doc = "Appends under way to one replica at most."),
    HF_CONFIG_SIZE("max_message_bytes", raft_options, max_message_bytes, .default_text = "1MiB", .minimum = 1,
                   .maximum = INT64_MAX,
                   .doc = "Payload of one append, by the mean size of recent entries; one entry is always sent."),
    HF_CONFIG_DURATION("lease", raft_options, lease_us, .default_text = "100ms", .minimum = 0, .maximum = 10000000,
                       .doc = "How long a follower that heard its leader votes for nobody else, so that the leader "
                              "answers reads without asking. A dead leader is replaced that much later. 0: each read "
                              "asks a majority. Must be the same on all nodes, and at most election_timeout."),
    HF_CONFIG_INTEGER("clock_drift", raft_options, clock_drift, .default_text = "5", .minimum = 0, .maximum = 50,
                      .doc = "By how many percent the clocks of two nodes may differ in speed. Leases are that much "
                             "shorter; a leader that sees clocks differ by more answers no read by lease."),
    HF_CONFIG_DURATION("quiet_after", raft_options, quiet_after_us, .default_text = "3s", .minimum = 0,
                       .maximum = 3600000000,
                       .doc = "A group with nothing to do for this long sends no more heartbeats until there is "
                              "something to do or a node is lost. 0: never."),
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
