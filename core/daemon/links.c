#include "daemon/links.h"

#include <holdfast/lib/error.h>
#include <stdlib.h>

struct hf_links {
    hf_peers *peers;
    hf_peer_member members[];
};

int32_t hf_links_create(const hf_config_generation *generation, const hf_process_entry *entry, hf_process *process,
                        hf_loop *const *loops, int32_t listener, hf_links **ret_links, hf_error *error)
{
    const hf_cluster_settings *cluster = hf_settings_cluster(generation);
    const hf_member_settings *items = cluster->members.items;
    hf_peers_settings settings = {
        .main = hf_process_main_loop(process),
        .workers = loops,
        .worker_count = (uint32_t)entry->worker_threads,
        .bulk = hf_process_bulk_loop(process),
        .pool = hf_process_pool(process),
        .cluster = cluster->name,
        .self = hf_settings_node(generation)->name,
        .member_count = (uint32_t)cluster->members.count,
        .certificates = cluster->certificates,
        .listener = listener,
        .queue_limit = cluster->queue_limit,
        .metrics = hf_process_metrics(process),
    };

    *ret_links = NULL;
    if (!entry->peers || cluster->members.count < 2)
        return 0;
    hf_links *links = calloc(1, sizeof *links + cluster->members.count * sizeof links->members[0]);
    if (!links)
        return hf_error_set(error, HF_ENOMEM, "no memory for the peer links");
    for (uint64_t i = 0; i < cluster->members.count; i++)
        links->members[i] = (hf_peer_member){items[i].name, items[i].address, items[i].zone};
    settings.members = links->members;
    int32_t result = hf_peers_create(&settings, &links->peers, error);
    if (result) {
        free(links);
        return result;
    }
    *ret_links = links;
    return 0;
}

hf_peers *hf_links_peers(hf_links *links)
{
    return links ? links->peers : NULL;
}

void hf_links_destroy(hf_links *links)
{
    if (!links)
        return;
    hf_peers_destroy(links->peers);
    free(links);
}
