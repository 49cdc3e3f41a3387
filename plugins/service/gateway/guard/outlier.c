#include "guard/outlier.h"

#include <math.h>

/* Of all servers that can be compared. */
struct totals {
    double requests, failed;
};

static const double deviations = 3;

void gateway_outlier_request(struct gateway_outlier *server, int32_t failed)
{
    server->requests++;
    server->failed += failed != 0;
}

int32_t gateway_outlier_is_ejected(const struct gateway_outlier *server, uint64_t now_us)
{
    return now_us < server->until_us;
}

/* By how much more often than the others' its requests failed, if it stands out; otherwise 0. */
static double excess(const struct gateway_outlier *server, const struct totals *all,
                     const struct gateway_outlier_rules *rules)
{
    double n = server->requests, others = all->requests - n;

    if (server->requests < rules->requests_minimum || n < 1 || others < 1)
        return 0;
    double more = server->failed / n - (all->failed - server->failed) / others;
    double share = all->failed / all->requests; /* if it were like them */
    double chance = deviations * sqrt(share * (1 - share) * (1 / n + 1 / others));

    return more > rules->margin_percent / 100.0 && more > chance ? more : 0;
}

static void eject(struct gateway_outlier *server, const struct gateway_outlier_rules *rules, uint64_t now_us)
{
    uint64_t most = rules->eject_maximum_us / (rules->eject_us ? rules->eject_us : 1);

    if (server->ejections < UINT32_MAX)
        server->ejections++;
    server->until_us =
        now_us + (server->ejections > most ? rules->eject_maximum_us : server->ejections * rules->eject_us);
}

/* What is counted of an ejected server are requests from before; they say nothing new. */
static struct totals add_up(const struct gateway_outlier *servers, uint32_t count, uint64_t now_us, uint32_t *ret_out)
{
    struct totals all = {0, 0};

    *ret_out = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (gateway_outlier_is_ejected(&servers[i], now_us)) {
            ++*ret_out;
            continue;
        }
        all.requests += servers[i].requests;
        all.failed += servers[i].failed;
    }
    return all;
}

static struct gateway_outlier *find_worst(struct gateway_outlier *servers, uint32_t count, const struct totals *all,
                                          const struct gateway_outlier_rules *rules, uint64_t now_us)
{
    struct gateway_outlier *worst = NULL;
    double most = 0;

    for (uint32_t i = 0; i < count; i++) {
        double more = gateway_outlier_is_ejected(&servers[i], now_us) ? 0 : excess(&servers[i], all, rules);

        if (more > most) {
            most = more;
            worst = &servers[i];
        }
    }
    return worst;
}

/* A server that was judged and stays is forgiven one ejection. */
static void begin_anew(struct gateway_outlier *servers, uint32_t count, const struct gateway_outlier_rules *rules,
                       uint64_t now_us)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!gateway_outlier_is_ejected(&servers[i], now_us) && servers[i].ejections &&
            servers[i].requests >= rules->requests_minimum)
            servers[i].ejections--;
        servers[i].requests = servers[i].failed = 0;
    }
}

uint32_t gateway_outlier_judge(struct gateway_outlier *servers, uint32_t count,
                               const struct gateway_outlier_rules *rules, uint64_t now_us)
{
    uint32_t out, ejected = 0, may = (uint32_t)((uint64_t)count * rules->ejected_percent / 100);
    struct totals all = add_up(servers, count, now_us, &out);
    struct gateway_outlier *worst;

    if (may >= count && count)
        may = count - 1;
    while (out + ejected < may && (worst = find_worst(servers, count, &all, rules, now_us))) {
        all.requests -= worst->requests; /* the others are compared without it */
        all.failed -= worst->failed;
        eject(worst, rules, now_us);
        ejected++;
    }
    begin_anew(servers, count, rules, now_us);
    return ejected;
}
