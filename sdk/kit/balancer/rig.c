/* Pools of the balancer under check; see rig.h. */
#include "rig.h"

#include <holdfast/lib/value.h>

#include <stdio.h>
#include <string.h>

void rig_load(struct rig *rig, const hf_kit_subject *subject)
{
    memset(rig, 0, sizeof *rig);
    rig->instance = hf_kit_instance_create(subject);
    rig->table = (const hf_balancer *)(const void *)rig->instance.capability.head;
    hf_random_init(&rig->random, 42);
    rig->now_us = 1000000;
    hf_kit_step("the suite's own work");
}

int32_t rig_claims(const struct rig *rig, uint64_t capability)
{
    return (rig->table->head.capabilities & capability) != 0;
}

void rig_list(struct rig *rig, uint32_t count, const uint32_t *weights)
{
    rig->count = count;
    rig->usable = count == 64 ? UINT64_MAX : (UINT64_C(1) << count) - 1;
    for (uint32_t i = 0; i < count; i++) {
        snprintf(rig->names[i], sizeof rig->names[i], "10.0.0.%u:80", i + 1);
        rig->servers[i] = (hf_balancer_server){.name = hf_slice_of(rig->names[i]), .weight = weights ? weights[i] : 1};
    }
}

void rig_open(struct rig *rig, uint64_t seed)
{
    hf_balancer_pool *before = rig->pool;
    const hf_balancer_setup setup = {
        .size = sizeof setup, .server_count = rig->count, .servers = rig->servers, .random_seed = seed};
    hf_error error = {0};

    hf_kit_step("pool_open with %u servers", rig->count);
    rig->pool = NULL;
    int32_t result = rig->table->pool_open(rig->instance.self, &setup, &rig->pool, &error);

    if (result != HF_OK || !rig->pool)
        hf_kit_fail("pool_open with %u servers: %d %s", rig->count, result, error.message);
    if (before && rig->table->follow)
        rig->table->follow(rig->pool, before);
    if (before)
        rig->table->pool_close(before);
    memset(rig->in_flight, 0, sizeof rig->in_flight);
    rig->begun = 0;
    hf_kit_step("the suite's own work");
}

void rig_close(struct rig *rig)
{
    if (rig->pool)
        rig->table->pool_close(rig->pool);
    rig->pool = NULL;
}

void rig_end(struct rig *rig)
{
    rig_close(rig);
    hf_kit_instance_destroy(&rig->instance);
}

static int32_t pick(struct rig *rig, int32_t has_key, uint64_t key, uint32_t *ret_server)
{
    const hf_balancer_request request = {.size = sizeof request,
                                         .has_key = has_key,
                                         .key = key,
                                         .now_us = rig->now_us,
                                         .usable = &rig->usable,
                                         .in_flight = rig->in_flight};

    return rig->table->pick(rig->pool, &request, ret_server);
}

uint32_t rig_pick(struct rig *rig, int32_t has_key, uint64_t key)
{
    uint32_t server = UINT32_MAX;
    int32_t result = pick(rig, has_key, key, &server);

    if (result != HF_OK)
        hf_kit_fail("pick answered %d while servers were usable", result);
    if (server >= rig->count)
        hf_kit_fail("pick chose place %u of %u servers", server, rig->count);
    if (!(rig->usable >> server & 1))
        hf_kit_fail("pick chose a server that was not usable");
    return server;
}

void rig_pick_none(struct rig *rig)
{
    uint32_t server = 0;

    for (int32_t has_key = 0; has_key < 2; has_key++)
        if (pick(rig, has_key, hf_random_next(&rig->random), &server) != HF_ENOTFOUND)
            hf_kit_fail("pick answered something else than HF_ENOTFOUND while no server was usable");
}

static void end_oldest(struct rig *rig)
{
    uint32_t server = rig->running[rig->begun % RIG_CONCURRENCY];
    const hf_balancer_result result = {.size = sizeof result, .latency_us = RIG_LATENCY_US, .now_us = rig->now_us};

    rig->in_flight[server]--;
    if (rig->table->ended)
        rig->table->ended(rig->pool, server, &result);
}

uint32_t rig_request(struct rig *rig)
{
    if (rig->begun >= RIG_CONCURRENCY)
        end_oldest(rig);
    rig->now_us += RIG_LATENCY_US / RIG_CONCURRENCY;
    uint32_t server = rig_pick(rig, 1, hf_random_next(&rig->random));

    rig->in_flight[server]++;
    rig->running[rig->begun++ % RIG_CONCURRENCY] = server;
    return server;
}

void rig_run(struct rig *rig, uint32_t requests, uint32_t counts[RIG_SERVERS_MAX])
{
    memset(counts, 0, RIG_SERVERS_MAX * sizeof *counts);
    for (uint32_t i = 0; i < requests; i++)
        counts[rig_request(rig)]++;
}

void rig_map(struct rig *rig, uint32_t servers[RIG_KEYS])
{
    hf_random keys;

    hf_random_init(&keys, 7);
    for (uint32_t i = 0; i < RIG_KEYS; i++)
        servers[i] = rig_pick(rig, 1, hf_random_next(&keys));
}
