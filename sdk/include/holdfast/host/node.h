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

    /* The interface and an instance of the capability KIND/NAME, configured from its own section; the caller destroys
     * it with the interface's `destroy`.  HF_ENOTFOUND: no enabled plugin provides it; or what `create` returned.
     * [main] */
    int32_t (*capability)(const hf_host *host, const char *kind, const char *name, const hf_head **ret_interface,
                          void **ret_self, hf_error *error);
} hf_node_interface;

#ifdef __cplusplus
}
#endif
#endif
