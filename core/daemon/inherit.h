/* daemon/inherit.h: the listening sockets of a child process: those that its supervisor holds, or its own. */
#ifndef HOLDFAST_CORE_DAEMON_INHERIT_H
#define HOLDFAST_CORE_DAEMON_INHERIT_H

#include "daemon/listen.h"
#include "daemon/settings.h"

enum { HF_LISTENERS_MAX = 256 };

typedef struct hf_listeners {
    int32_t http[HF_LISTENERS_MAX];
    uint32_t http_count;
    int32_t peers; /* -1: none */
} hf_listeners;

/* Opens what the process `entry` needs: one HTTP listener per worker, and the one for peer links if it has them; those
 * that `pool` (NULL: none) has are taken from there, also when this fails.  HF_EIO, HF_EINVAL.  Blocks: start-up only.
 * [main] */
int32_t hf_listeners_open(const hf_config_generation *generation, const hf_process_entry *entry, hf_listen_pool *pool,
                          hf_listeners *ret_listeners, hf_error *error);

/* What hf_listeners_list has listed, the other way round; the sockets are taken. */
void hf_listeners_of(const int32_t *descriptors, uint32_t count, hf_listeners *ret_listeners);

/* In the order in which a supervisor hands them over; returns how many. */
uint32_t hf_listeners_list(const hf_listeners *listeners, int32_t descriptors[HF_LISTENERS_MAX]);

/* Takes those that the supervisor handed over, or opens them where there is none.  HF_EINVAL: what was handed over is
 * not what the configuration needs, and the supervisor must be restarted; or as hf_listeners_open.  [main] */
int32_t hf_listeners_take(const hf_config_generation *generation, const hf_process_entry *entry,
                          hf_listeners *ret_listeners, hf_error *error);

void hf_listeners_close(hf_listeners *listeners);

#endif
