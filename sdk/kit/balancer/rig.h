/* rig.h: pools of the balancer under check, and what a user of them would do: requests that begin and end. */
#ifndef HOLDFAST_KIT_BALANCER_RIG_H
#define HOLDFAST_KIT_BALANCER_RIG_H

#include <holdfast/kind/balancer.h>
#include <holdfast/kit/plugin.h>
#include <holdfast/lib/hash.h>

enum { RIG_SERVERS_MAX = 64, RIG_KEYS = 20000, RIG_CONCURRENCY = 40, RIG_LATENCY_US = 2000 };

struct rig {
    hf_kit_instance instance;
    const hf_balancer *table;
    hf_balancer_pool *pool;
    uint32_t count;
    char names[RIG_SERVERS_MAX][24];
    hf_balancer_server servers[RIG_SERVERS_MAX];
    uint64_t usable;
    uint32_t in_flight[RIG_SERVERS_MAX];
    uint32_t running[RIG_CONCURRENCY]; /* servers of the requests under way, the oldest overwritten first */
    uint32_t begun;
    uint64_t now_us;
    hf_random random; /* of keys and of what happens, not the pool's */
};

/* Loads the plugin, once in a process. */
void rig_load(struct rig *rig, const hf_kit_subject *subject);
/* Whether it claims a capability bit. */
int32_t rig_claims(const struct rig *rig, uint64_t capability);

/* Servers "10.0.0.1:80", "10.0.0.2:80", ..., all usable, with these weights; NULL: all 1. */
void rig_list(struct rig *rig, uint32_t count, const uint32_t *weights);
/* Opens a pool of the servers in the list; an open one is followed and closed. */
void rig_open(struct rig *rig, uint64_t seed);
void rig_close(struct rig *rig);
/* Ends the check's instance and looks for what is left of it. */
void rig_end(struct rig *rig);

/* One pick, which must be of a usable server. */
uint32_t rig_pick(struct rig *rig, int32_t has_key, uint64_t key);
/* A pick that must say that there is none. */
void rig_pick_none(struct rig *rig);

/* A request with a key of its own, while RIG_CONCURRENCY others are under way; every server takes RIG_LATENCY_US.  The
 * place of its server. */
uint32_t rig_request(struct rig *rig);
/* How many of `requests` each server got. */
void rig_run(struct rig *rig, uint32_t requests, uint32_t counts[RIG_SERVERS_MAX]);

/* The server of each of RIG_KEYS keys, with nothing under way. */
void rig_map(struct rig *rig, uint32_t servers[RIG_KEYS]);

#endif
