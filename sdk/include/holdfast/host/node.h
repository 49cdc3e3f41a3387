/* host/node.h: where an instance runs: host->query(host, "hf.node/1").
 *
 * Changes
 *   1.0  first version
 */
#ifndef HOLDFAST_HOST_NODE_H
#define HOLDFAST_HOST_NODE_H

#include <holdfast/holdfast.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HF_NODE_INTERFACE "hf.node/1"

typedef struct hf_node_interface {
    hf_head head;

    /* Names from the configuration; static.  [any] */
    const char *(*node_name)(const hf_host *host);
    const char *(*cluster_name)(const hf_host *host);

    /* A folder of this instance's own, which is there and outlives the process.  Absolute path, static; NULL when it
     * could not be made, with the reason in `error`.  [main] */
    const char *(*state_directory)(const hf_host *host, hf_error *error);

    /* Microseconds since 1970; may jump.  [any] */
    uint64_t (*wall_us)(const hf_host *host);

    /* Version of the configuration in force: counts from 1 with every reload.  [any] */
    uint64_t (*configuration_version)(const hf_host *host);

    /* Fills `bytes` with unpredictable ones.  [any] */
    void (*random)(const hf_host *host, void *bytes, uint64_t size);

    /* The interface and an instance of the capability KIND/NAME, configured from its own section.  The caller destroys
     * it with the interface's `destroy`, in its own `destroy` and not before: until then the host asks for its health
     * and offers it new configurations of its section.  HF_ENOTFOUND: no enabled plugin provides it; or what `create`
     * returned. [main] */
    int32_t (*capability)(const hf_host *host, const char *kind, const char *name, const hf_head **ret_interface,
                          void **ret_self, hf_error *error);

    /* As `capability`, with the configuration that an option of type HF_OPTION_CAPABILITY and of that kind was filled
     * with; it is borrowed until destroy, like the interface, which is the same for all instances of a capability.
     *
     * The instance belongs to the caller alone: it may be destroyed at any time, with the interface's `destroy`, and
     * must be when the caller is.  The host keeps nothing of it, and never calls it: no start, no new configuration, no
     * health.  When the choice differs in a new configuration, the caller makes another instance in config_prepare, and
     * destroys one of the two in config_commit or config_abort.  There is no limit to their number.  Instances of one
     * capability share the host that `create` gets: its name in the log, its state directory, the account of its
     * memory.
     *
     * HF_ENOTFOUND: nothing is chosen, or no enabled plugin provides it; or what `create` returned.  [main] */
    int32_t (*capability_chosen)(const hf_host *host, const char *kind, const hf_capability_choice *choice,
                                 const hf_head **ret_interface, void **ret_self, hf_error *error);
} hf_node_interface;

#ifdef __cplusplus
}
#endif
#endif
