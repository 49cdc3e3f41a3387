/* daemon/links.h: the peer links of a process, from its configuration. */
#ifndef HOLDFAST_CORE_DAEMON_LINKS_H
#define HOLDFAST_CORE_DAEMON_LINKS_H

#include "daemon/settings.h"
#include "peer/peer.h"
#include "process/process.h"

typedef struct hf_links hf_links;

/* Makes the links when the process has them (peers = true) and the cluster has two members or more; *ret_links is NULL
 * otherwise.  `loops` are the process's workers; the generation outlives the links.  As hf_peers_create.  [main] */
int32_t hf_links_create(const hf_config_generation *generation, const hf_process_entry *entry, hf_process *process,
                        hf_loop *const *loops, int32_t listener, hf_links **ret_links, hf_error *error);

hf_peers *hf_links_peers(hf_links *links); /* NULL for NULL */

void hf_links_destroy(hf_links *links); /* accepts NULL */

#endif
