/* The balancers' suite: a balancer keeps what kind/balancer.h promises. */
#include "rig.h"

#include "suites.h"

#include <holdfast/lib/value.h>

#include <stdio.h>
#include <string.h>

enum { SERVERS = 10, REQUESTS = 100000, RECOVERY_US = 600 * 1000000 };

static struct rig subject_rig;

/* ---- What every balancer must do --------------------------------------------------------------------------------- */

static void check_usable(const hf_kit_subject *subject)
{
    struct rig *rig = &subject_rig;

    rig_load(rig, subject);
    for (uint32_t count = 1; count <= RIG_SERVERS_MAX; count = count * 2 + 1) {
        rig_list(rig, count, NULL);
        rig_open(rig, count);
        uint64_t all = rig->usable;

        for (uint32_t i = 0; i < 5000; i++) {
            rig->usable = hf_random_next(&rig->random) & hf_random_next(&rig->random) & all;
            if (rig->usable)
                rig_pick(rig, i % 3 != 0, hf_random_next(&rig->random));
            else
                rig_pick_none(rig);
        }
        for (uint32_t i = 0; i < count; i++) { /* the only one is found, wherever it stands */
            rig->usable = UINT64_C(1) << i;
            rig_pick(rig, 0, 0);
            rig_pick(rig, 1, hf_random_next(&rig->random));
        }
    }
    rig_end(rig);
}

/* Pearson's statistic for shares that follow the weights. */
static double chi_square(const struct rig *rig, const uint32_t *counts, uint32_t requests)
{
    double all = 0, sum = 0;

    for (uint32_t i = 0; i < rig->count; i++)
        all += rig->servers[i].weight;
    for (uint32_t i = 0; i < rig->count; i++) {
        double expected = requests * (rig->servers[i].weight / all), off = counts[i] - expected;

        sum += off * off / expected;
    }
    return sum;
}

/* Consistent hashes give every server a share that is itself a matter of chance; the others may only be as far off as
 * chance is with ten servers, once in a million. */
static void expect_shares(const struct rig *rig, const uint32_t *counts, uint32_t requests)
{
    double all = 0;

    for (uint32_t i = 0; i < rig->count; i++)
        all += rig->servers[i].weight;
    if (!rig_claims(rig, HF_BALANCER_KEYED)) {
        double found = chi_square(rig, counts, requests);

        if (found > 47) /* nine degrees of freedom */
            hf_kit_fail("the requests of %u servers are not spread by their weights: chi-square %.1f, at most 47",
                        rig->count, found);
        return;
    }
    for (uint32_t i = 0; i < rig->count; i++) {
        double share = counts[i] / (requests * (rig->servers[i].weight / all));

        if (share < 0.7 || share > 1.3)
            hf_kit_fail("a server got %.2f times what its weight stands for, expected 0.7 to 1.3", share);
    }
}

static void check_spread(const hf_kit_subject *subject)
{
    uint32_t counts[RIG_SERVERS_MAX];

    rig_load(&subject_rig, subject);
    rig_list(&subject_rig, SERVERS, NULL);
    rig_open(&subject_rig, 1);
    rig_run(&subject_rig, REQUESTS, counts);
    expect_shares(&subject_rig, counts, REQUESTS);
    rig_end(&subject_rig);
}

static void check_weights(const hf_kit_subject *subject)
{
    /* Their sum is what is under way: who compares loads, in whole requests, can give every server just its share. */
    static const uint32_t weights[SERVERS] = {2, 2, 3, 3, 4, 4, 5, 5, 6, 6};
    uint32_t counts[RIG_SERVERS_MAX];

    rig_load(&subject_rig, subject);
    rig_list(&subject_rig, SERVERS, weights);
    rig_open(&subject_rig, 2);
    rig_run(&subject_rig, REQUESTS, counts);
    for (uint32_t i = 0; i < SERVERS; i++) { /* those who look at loads see a few requests, so shares are coarse */
        double share = counts[i] / (REQUESTS * (weights[i] / (double)RIG_CONCURRENCY));

        if (share < 0.7 || share > 1.3)
            hf_kit_fail("a server of weight %u of %d got %.2f times its share, expected 0.7 to 1.3", weights[i],
                        RIG_CONCURRENCY, share);
    }
    rig_end(&subject_rig);
}

static void check_weigh(const hf_kit_subject *subject)
{
    static const uint32_t weights[] = {100, 100, 100, 100};
    uint32_t counts[RIG_SERVERS_MAX];

    rig_load(&subject_rig, subject);
    if (!subject_rig.table->weigh)
        hf_kit_not_applicable("it has no weigh: its user opens another pool");
    rig_list(&subject_rig, 4, weights);
    rig_open(&subject_rig, 3);
    for (uint32_t weight = 1; weight <= 100; weight++) /* one that starts slowly */
        subject_rig.table->weigh(subject_rig.pool, 3, weight);
    subject_rig.table->weigh(subject_rig.pool, 3, 25);
    rig_run(&subject_rig, REQUESTS, counts);
    double share = counts[3] / (REQUESTS * (25 / 325.0));

    if (share < 0.6 || share > 1.5)
        hf_kit_fail("after weigh to 25 of 325 the server got %.2f times its share, expected 0.6 to 1.5", share);
    rig_end(&subject_rig);
}

static void check_same_again(const hf_kit_subject *subject)
{
    static uint32_t first[REQUESTS / 10];

    rig_load(&subject_rig, subject);
    rig_list(&subject_rig, SERVERS, NULL);
    for (uint32_t turn = 0; turn < 2; turn++) {
        rig_close(&subject_rig);
        rig_open(&subject_rig, 4);
        hf_random_init(&subject_rig.random, 5);
        subject_rig.now_us = 1000000;
        for (uint32_t i = 0; i < REQUESTS / 10; i++) {
            uint32_t server = rig_request(&subject_rig);

            if (turn && first[i] != server)
                hf_kit_fail("the same calls with the same seed had another answer at request %u", i);
            first[i] = server;
        }
    }
    rig_end(&subject_rig);
}

static void check_results(const hf_kit_subject *subject)
{
    static const uint64_t latencies[] = {0, 1, UINT64_MAX, RIG_LATENCY_US, UINT64_MAX / 2};

    rig_load(&subject_rig, subject);
    if (!subject_rig.table->ended)
        hf_kit_not_applicable("it learns nothing from what requests come to");
    rig_list(&subject_rig, SERVERS, NULL);
    rig_open(&subject_rig, 6);
    for (uint32_t i = 0; i < 10000; i++) {
        uint64_t chance = hf_random_next(&subject_rig.random);
        const hf_balancer_result result = {.size = sizeof result,
                                           .failed = chance % 3 == 0,
                                           .latency_us = latencies[chance / 3 % 5],
                                           .now_us = subject_rig.now_us += chance % 7 == 0 ? UINT32_MAX : 10};

        subject_rig.table->ended(subject_rig.pool, rig_pick(&subject_rig, 1, chance), &result);
    }
    uint32_t counts[RIG_SERVERS_MAX];

    rig_run(&subject_rig, REQUESTS, counts);
    subject_rig.now_us += RECOVERY_US; /* and it gets over it, if not in the 5 s that these requests take */
    rig_run(&subject_rig, REQUESTS, counts);
    for (uint32_t i = 0; i < SERVERS; i++)
        if (counts[i] == 0)
            hf_kit_fail("a server that had been slow or failing got nothing of %d requests after it was well again",
                        REQUESTS);
    rig_end(&subject_rig);
}

/* One server more, one less, in turn; every pool follows the one before. */
static void check_generations(const hf_kit_subject *subject)
{
    rig_load(&subject_rig, subject);
    for (uint32_t i = 0; i < 200; i++) {
        rig_list(&subject_rig, 1 + (uint32_t)hf_random_below(&subject_rig.random, RIG_SERVERS_MAX), NULL);
        rig_open(&subject_rig, i);
        for (uint32_t k = 0; k < 100; k++)
            rig_request(&subject_rig);
    }
    rig_end(&subject_rig);
}

static void check_limits(const hf_kit_subject *subject)
{
    static hf_balancer_server servers[HF_BALANCER_SERVERS_MAX];
    static char names[HF_BALANCER_SERVERS_MAX][24];
    static uint64_t usable[HF_BALANCER_SERVERS_MAX / 64];
    static uint32_t in_flight[HF_BALANCER_SERVERS_MAX];
    const hf_balancer_setup setup = {
        .size = sizeof setup, .server_count = HF_BALANCER_SERVERS_MAX, .servers = servers, .random_seed = 7};
    hf_balancer_pool *pool = NULL;
    hf_error error = {0};

    rig_load(&subject_rig, subject);
    for (uint32_t i = 0; i < HF_BALANCER_SERVERS_MAX; i++) {
        snprintf(names[i], sizeof names[i], "10.0.%u.%u:80", i / 256, i % 256);
        servers[i] = (hf_balancer_server){.name = hf_slice_of(names[i]), .weight = i % 2 ? HF_BALANCER_WEIGHT_MAX : 1};
    }
    memset(usable, 0xff, sizeof usable);
    int32_t result = subject_rig.table->pool_open(subject_rig.instance.self, &setup, &pool, &error);

    if (result == HF_EINVAL && error.message[0])
        hf_kit_not_applicable("it takes no %d servers, and says: %s", HF_BALANCER_SERVERS_MAX, error.message);
    if (result != HF_OK)
        hf_kit_fail("pool_open with %d servers: %d %s", HF_BALANCER_SERVERS_MAX, result, error.message);
    for (uint32_t i = 0; i < 1000; i++) {
        const hf_balancer_request request = {.size = sizeof request,
                                             .has_key = 1,
                                             .key = hf_random_next(&subject_rig.random),
                                             .now_us = 1000000 + i,
                                             .usable = usable,
                                             .in_flight = in_flight};
        uint32_t server = UINT32_MAX;

        HF_KIT_EQUAL(subject_rig.table->pick(pool, &request, &server), HF_OK);
        HF_KIT_TRUE(server < HF_BALANCER_SERVERS_MAX);
    }
    subject_rig.table->pool_close(pool);
    rig_end(&subject_rig);
}

/* ---- What keyed ones must do ------------------------------------------------------------------------------------- */

static void load_keyed(const hf_kit_subject *subject)
{
    rig_load(&subject_rig, subject);
    if (!rig_claims(&subject_rig, HF_BALANCER_KEYED))
        hf_kit_not_applicable("it is not keyed");
}

static uint32_t servers_before[RIG_KEYS], servers_after[RIG_KEYS];

/* By their names: the place in the list tells nothing. */
static void check_order(const hf_kit_subject *subject)
{
    struct rig *rig = &subject_rig;

    load_keyed(subject);
    rig_list(rig, SERVERS, NULL);
    rig_open(rig, 8);
    rig_map(rig, servers_before);
    rig_close(rig);
    for (uint32_t i = 0; i < SERVERS / 2; i++) {
        hf_balancer_server server = rig->servers[i];

        rig->servers[i] = rig->servers[SERVERS - 1 - i];
        rig->servers[SERVERS - 1 - i] = server;
    }
    rig_open(rig, 9); /* and with another seed: another node */
    rig_map(rig, servers_after);
    for (uint32_t i = 0; i < RIG_KEYS; i++)
        if (servers_after[i] != SERVERS - 1 - servers_before[i])
            hf_kit_fail("a key got another server when the list was turned round and the seed was another");
    rig_end(rig);
}

/* Only what it had goes elsewhere while a server is not usable, and it comes back. */
static void check_away(const hf_kit_subject *subject)
{
    struct rig *rig = &subject_rig;
    uint32_t elsewhere[RIG_SERVERS_MAX] = {0}, used = 0;

    load_keyed(subject);
    rig_list(rig, SERVERS, NULL);
    rig_open(rig, 10);
    rig_map(rig, servers_before);
    rig->usable &= ~UINT64_C(1);
    rig_map(rig, servers_after);
    for (uint32_t i = 0; i < RIG_KEYS; i++) {
        if (servers_before[i] != 0 && servers_after[i] != servers_before[i])
            hf_kit_fail("a key moved though its server was usable");
        elsewhere[servers_after[i]] += servers_before[i] == 0;
    }
    for (uint32_t i = 1; i < SERVERS; i++)
        used += elsewhere[i] > 0;
    if (used < SERVERS / 2)
        hf_kit_fail("the keys of a server that was away went to %u of %d others: they would be overrun", used,
                    SERVERS - 1);
    rig->usable |= 1;
    rig_map(rig, servers_after);
    HF_KIT_EQUAL(memcmp(servers_before, servers_after, sizeof servers_before), 0);
    rig_end(rig);
}

/* Maglev moves a few more than it must (Eisenbud et al. 2016, section 5.3). */
static void check_disruption(const hf_kit_subject *subject)
{
    struct rig *rig = &subject_rig;
    uint32_t moved = 0, to_new = 0;

    load_keyed(subject);
    rig_list(rig, SERVERS, NULL);
    rig_open(rig, 11);
    rig_map(rig, servers_before);
    rig_list(rig, SERVERS + 1, NULL);
    rig_open(rig, 11);
    rig_map(rig, servers_after);
    for (uint32_t i = 0; i < RIG_KEYS; i++) {
        to_new += servers_after[i] == SERVERS;
        moved += servers_after[i] != SERVERS && servers_after[i] != servers_before[i];
    }
    if (to_new < RIG_KEYS / (SERVERS + 1) / 2)
        hf_kit_fail("a new server got %u of %d keys", to_new, RIG_KEYS);
    if (moved > RIG_KEYS / 20)
        hf_kit_fail("%u of %d keys moved between old servers when one was added, at most one in twenty may", moved,
                    RIG_KEYS);
    rig_end(rig);
}

static void check_bounds(const hf_kit_subject *subject)
{
    struct rig *rig = &subject_rig;

    rig_load(rig, subject);
    if (!rig_claims(rig, HF_BALANCER_BOUNDS_LOADS))
        hf_kit_not_applicable("it does not bound loads");
    rig_list(rig, SERVERS, NULL);
    rig_open(rig, 12);
    for (uint32_t i = 1; i <= 1000; i++) { /* all with one key, and none ends */
        uint32_t server = rig_pick(rig, 1, 99);

        rig->in_flight[server]++;
        if (rig->in_flight[server] > 2 * i / SERVERS + 2)
            hf_kit_fail("a server has %u of %u requests under way, with %d servers", rig->in_flight[server], i,
                        SERVERS);
    }
    rig_end(rig);
}

static const hf_kit_check checks[] = {
    {"usable", "It picks a server that is usable, and says so when there is none.", check_usable, 0},
    {"spread", "Servers of the same weight get the same share of the requests.", check_spread, 0},
    {"weights", "Servers get shares that follow their weights.", check_weights, 0},
    {"weigh", "A weight can be changed while requests go on.", check_weigh, 0},
    {"same_again", "The same calls with the same seed have the same answers.", check_same_again, 0},
    {"results", "Odd latencies and failures do not put it off for good.", check_results, 0},
    {"generations", "Pools follow each other while servers come and go.", check_generations, 0},
    {"limits", "It takes as many servers, and weights as far apart, as there may be, or says what it takes.",
     check_limits, 0},
    {"order", "A key's server depends on the servers' names alone.", check_order, 0},
    {"away", "While a server is away its keys go to many others, and no other key moves.", check_away, 0},
    {"disruption", "A new server takes its share, and the others keep what they have.", check_disruption, 0},
    {"bounds", "No server gets much more than its share of what is under way, with one key alone.", check_bounds, 0},
};

const hf_kit_suite kit_balancer_suite = {"balancer", checks, sizeof checks / sizeof *checks};
