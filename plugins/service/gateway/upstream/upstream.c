#include "upstream/upstream.h"

#include <holdfast/lib/error.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOOK_AGAIN_US = 50000 /* while some server's state depends on time */ };

/* ---- Life ------------------------------------------------------------------------------------------------------ */

struct gateway_upstream *gateway_upstream_create(const char *name, uint32_t id, hf_error *error)
{
    struct gateway_upstream *upstream = calloc(1, sizeof *upstream);

    if (upstream)
        upstream->name = strdup(name);
    if (!upstream || !upstream->name || pthread_mutex_init(&upstream->lock, NULL) != 0) {
        if (upstream)
            free(upstream->name);
        free(upstream);
        hf_error_set(error, HF_ENOMEM, "no memory for the upstream '%s'", name);
        return NULL;
    }
    upstream->id = id;
    atomic_init(&upstream->references, 1);
    atomic_init(&upstream->changes, 1);
    return upstream;
}

void gateway_upstream_hold(struct gateway_upstream *upstream)
{
    atomic_fetch_add_explicit(&upstream->references, 1, memory_order_relaxed);
}

/* Whether this was the last reference; whoever frees then sees all that others did before they let go. */
static int was_last(atomic_uint *references)
{
    return atomic_fetch_sub_explicit(references, 1, memory_order_acq_rel) == 1;
}

void gateway_upstream_release(struct gateway_upstream *upstream)
{
    if (!upstream || !was_last(&upstream->references))
        return;
    pthread_mutex_destroy(&upstream->lock);
    free(upstream->name);
    free(upstream);
}

void gateway_server_hold(struct gateway_server *server)
{
    atomic_fetch_add_explicit(&server->references, 1, memory_order_relaxed);
}

void gateway_server_release(struct gateway_server *server)
{
    if (!server || !was_last(&server->references))
        return;
    gateway_upstream_release(server->upstream);
    free(server->name);
    free(server->address);
    free(server);
}

void gateway_server_set_hold(struct gateway_server_set *set)
{
    atomic_fetch_add_explicit(&set->references, 1, memory_order_relaxed);
}

static void close_pools(struct gateway_server_set *set)
{
    for (uint32_t i = 0; set->pools && i < set->worker_count; i++) {
        if (set->pools[i].regular)
            set->balancer->pool_close(set->pools[i].regular);
        if (set->pools[i].backup)
            set->balancer->pool_close(set->pools[i].backup);
    }
    free(set->pools);
}

void gateway_server_set_release(struct gateway_server_set *set)
{
    if (!set || !was_last(&set->references))
        return;
    set->next_in_bin = atomic_load_explicit(&set->bin->sets, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&set->bin->sets, &set->next_in_bin, set, memory_order_release,
                                                  memory_order_relaxed))
        ;
}

static void free_set(struct gateway_server_set *set)
{
    close_pools(set);
    if (set->balancer_self)
        set->balancer->destroy(set->balancer_self);
    for (uint32_t i = 0; set->places && i < set->count; i++)
        gateway_server_release(set->places[i].server);
    gateway_upstream_release(set->upstream);
    gateway_tls_client_release(set->tls);
    for (size_t i = 0; i < sizeof set->texts / sizeof *set->texts; i++)
        free(set->texts[i]);
    gateway_server_list_done(&set->servers);
    free(set->places);
    free(set->in_flight);
    free(set);
}

void gateway_bin_empty(struct gateway_bin *bin)
{
    struct gateway_server_set *set = atomic_exchange_explicit(&bin->sets, NULL, memory_order_acquire);

    while (set) {
        struct gateway_server_set *next = set->next_in_bin;

        free_set(set);
        set = next;
    }
}

/* ---- Which servers can be picked --------------------------------------------------------------------------------- */

static int is_usable(const struct gateway_server_set *set, const struct gateway_place *place, uint64_t now_us)
{
    const struct gateway_server *server = place->server;

    return !place->is_draining && place->addresses.count > 0 &&
           gateway_health_is_usable(&server->health, &place->health, now_us) &&
           !gateway_outlier_is_ejected(&server->outlier, now_us) &&
           (!set->has_server_breaker || gateway_breaker_wait(&server->breaker, now_us) == 0);
}

/* Whether its state changes by itself: it is away for a while, or starts slowly. */
static int depends_on_time(const struct gateway_server_set *set, const struct gateway_place *place, uint64_t now_us)
{
    const struct gateway_server *server = place->server;

    return server->health.fails > 0 || gateway_outlier_is_ejected(&server->outlier, now_us) ||
           (set->has_server_breaker && server->breaker.state != GATEWAY_BREAKER_CLOSED);
}

/* Whether it would be usable if requests to it had not failed. */
static int is_away(const struct gateway_server_set *set, const struct gateway_place *place, uint64_t now_us)
{
    struct gateway_health health = place->server->health;

    health.fails = 0;
    return !place->is_draining && place->addresses.count > 0 &&
           gateway_health_is_usable(&health, &place->health, now_us) &&
           !gateway_outlier_is_ejected(&place->server->outlier, now_us) &&
           (!set->has_server_breaker || gateway_breaker_wait(&place->server->breaker, now_us) == 0);
}

int32_t gateway_usable_init(struct gateway_usable *usable, const struct gateway_server_set *set, uint32_t worker)
{
    uint32_t words = set->count / 64 + 1;
    int32_t weighs = set->places[0].health.slow_start_us && set->balancer->weigh;

    memset(usable, 0, sizeof *usable);
    usable->pools = &set->pools[worker];
    usable->bits = calloc(words, sizeof *usable->bits);
    usable->away = calloc(words, sizeof *usable->away);
    usable->weights = weighs ? calloc(set->count, sizeof *usable->weights) : NULL;
    usable->wanted = weighs ? calloc(set->count, sizeof *usable->wanted) : NULL;
    if (!usable->bits || !usable->away || (weighs && (!usable->weights || !usable->wanted))) {
        gateway_usable_done(usable);
        return HF_ENOMEM;
    }
    for (uint32_t i = 0; weighs && i < set->count; i++)
        usable->weights[i] = set->places[i].weight * set->weight_unit;
    return HF_OK;
}

void gateway_usable_done(struct gateway_usable *usable)
{
    free(usable->bits);
    free(usable->away);
    free(usable->weights);
    free(usable->wanted);
    memset(usable, 0, sizeof *usable);
}

/* Outside the lock: the balancer is somebody else's. */
static void tell_weights(struct gateway_server_set *set, struct gateway_usable *usable)
{
    for (uint32_t i = 0; i < set->count; i++) {
        if (usable->wanted[i] == usable->weights[i])
            continue;
        usable->weights[i] = usable->wanted[i];
        if (i < set->backup_at)
            set->balancer->weigh(usable->pools->regular, i, usable->weights[i]);
        else
            set->balancer->weigh(usable->pools->backup, i - set->backup_at, usable->weights[i]);
    }
}

void gateway_server_set_look(struct gateway_server_set *set, struct gateway_usable *usable, uint64_t now_us)
{
    uint64_t changes = atomic_load_explicit(&set->upstream->changes, memory_order_acquire);

    if (usable->changes == changes && now_us < usable->until_us)
        return;
    usable->changes = changes;
    usable->until_us = UINT64_MAX;
    memset(usable->bits, 0, (set->count + 63) / 64 * sizeof *usable->bits);
    memset(usable->away, 0, (set->count + 63) / 64 * sizeof *usable->away);
    pthread_mutex_lock(&set->upstream->lock);
    for (uint32_t i = 0; i < set->count; i++) {
        const struct gateway_place *place = &set->places[i];

        /* Requests that began with an older set count there. */
        atomic_store_explicit(&set->in_flight[i], atomic_load_explicit(&place->server->in_flight, memory_order_relaxed),
                              memory_order_relaxed);
        if (is_usable(set, place, now_us))
            usable->bits[i / 64] |= UINT64_C(1) << i % 64;
        else if (is_away(set, place, now_us))
            usable->away[i / 64] |= UINT64_C(1) << i % 64;
        if (usable->weights)
            usable->wanted[i] =
                gateway_health_weight(&place->server->health, &place->health, place->weight * set->weight_unit, now_us);
        if (depends_on_time(set, place, now_us) ||
            (usable->weights && usable->wanted[i] < place->weight * set->weight_unit))
            usable->until_us = now_us + LOOK_AGAIN_US;
    }
    pthread_mutex_unlock(&set->upstream->lock);
    if (usable->weights)
        tell_weights(set, usable);
}

static void note_change(struct gateway_upstream *upstream)
{
    atomic_fetch_add_explicit(&upstream->changes, 1, memory_order_release);
}

/* ---- Requests ---------------------------------------------------------------------------------------------------- */

/* A worker that begins or ends a request tells the others through the number that balancers read; two at the same time
 * may leave it one off, until the next. */
static void count_in_flight(struct gateway_server_set *set, uint32_t place, int by)
{
    unsigned before =
        atomic_fetch_add_explicit(&set->places[place].server->in_flight, (unsigned)by, memory_order_relaxed);

    atomic_store_explicit(&set->in_flight[place], before + (unsigned)by, memory_order_relaxed);
}

/* Whether nothing but counting is to be done for a server; a worker that sees it a moment late only counts a request
 * less. */
static int is_plain(const struct gateway_server_set *set, struct gateway_server *server)
{
    return !set->has_server_breaker && !set->has_outlier &&
           !atomic_load_explicit(&server->is_troubled, memory_order_relaxed);
}

int32_t gateway_server_begin(struct gateway_server_set *set, uint32_t place, uint64_t now_us,
                             struct gateway_breaker_call *ret_call)
{
    struct gateway_server *server = set->places[place].server;
    int32_t begun = 1;

    if (!is_plain(set, server)) {
        pthread_mutex_lock(&set->upstream->lock);
        if (set->has_server_breaker)
            begun = gateway_breaker_begin(&server->breaker, &set->server_breaker, now_us, ret_call);
        if (begun && server->health.fails) {
            gateway_health_picked(&server->health, &set->places[place].health, now_us);
            note_change(set->upstream);
        }
        pthread_mutex_unlock(&set->upstream->lock);
    }
    if (!begun)
        return 0;
    count_in_flight(set, place, 1);
    atomic_fetch_add_explicit(&server->requests, 1, memory_order_relaxed);
    return 1;
}

void gateway_server_probed(struct gateway_server_set *set, uint32_t place, uint64_t now_us)
{
    pthread_mutex_lock(&set->upstream->lock);
    gateway_health_probed(&set->places[place].server->health, now_us);
    pthread_mutex_unlock(&set->upstream->lock);
}

static int32_t as_call(int32_t outcome)
{
    static const int32_t calls[] = {[GATEWAY_SERVED] = GATEWAY_CALL_SUCCEEDED,
                                    [GATEWAY_ERRED] = GATEWAY_CALL_FAILED,
                                    [GATEWAY_FAILED] = GATEWAY_CALL_FAILED,
                                    [GATEWAY_ABANDONED] = GATEWAY_CALL_ABANDONED};

    return calls[outcome];
}

void gateway_server_report(struct gateway_server_set *set, uint32_t place, const struct gateway_breaker_call *call,
                           int32_t outcome, uint64_t now_us)
{
    struct gateway_server *server = set->places[place].server;
    int32_t changed = 0;

    if (outcome == GATEWAY_FAILED || outcome == GATEWAY_ERRED)
        atomic_fetch_add_explicit(&server->failures, 1, memory_order_relaxed);
    if (outcome != GATEWAY_FAILED && is_plain(set, server))
        return;
    pthread_mutex_lock(&set->upstream->lock);
    if (set->has_server_breaker)
        changed |= gateway_breaker_end(&server->breaker, &set->server_breaker, call, as_call(outcome), now_us);
    if (outcome != GATEWAY_ABANDONED) {
        changed |=
            gateway_health_request(&server->health, &set->places[place].health, outcome != GATEWAY_FAILED, now_us);
        atomic_store_explicit(&server->is_troubled, server->health.fails > 0, memory_order_relaxed);
        if (set->has_outlier)
            gateway_outlier_request(&server->outlier, outcome != GATEWAY_SERVED);
    }
    pthread_mutex_unlock(&set->upstream->lock);
    if (changed)
        note_change(set->upstream);
}

/* What balancers read is brought up to date by workers that look anew, where it is not at hand here. */
void gateway_server_leave(struct gateway_server *server, struct gateway_server_set *set, uint32_t place)
{
    if (set)
        count_in_flight(set, place, -1);
    else
        atomic_fetch_sub_explicit(&server->in_flight, 1, memory_order_relaxed);
    if (!set || atomic_load_explicit(&set->is_old, memory_order_relaxed))
        note_change(server->upstream);
}

void gateway_server_end(struct gateway_server_set *set, uint32_t place, const struct gateway_breaker_call *call,
                        int32_t outcome, uint64_t now_us)
{
    gateway_server_leave(set->places[place].server, set, place);
    gateway_server_report(set, place, call, outcome, now_us);
}

void gateway_server_set_publish(struct gateway_server_set *set)
{
    struct gateway_server_set *before = set->upstream->set;

    if (before && before != set)
        atomic_store_explicit(&before->is_old, 1, memory_order_relaxed);
    set->upstream->set = set;
}

/* ---- Checks and names -------------------------------------------------------------------------------------------- */

void gateway_server_checked(struct gateway_server_set *set, uint32_t place, int32_t is_well, const char *why,
                            uint64_t now_us)
{
    struct gateway_server *server = set->places[place].server;

    atomic_fetch_add_explicit(&server->checks, 1, memory_order_relaxed);
    if (!is_well)
        atomic_fetch_add_explicit(&server->checks_failed, 1, memory_order_relaxed);
    pthread_mutex_lock(&set->upstream->lock);
    int32_t changed = gateway_health_check(&server->health, &set->places[place].health, is_well, now_us);
    if (!is_well || !server->health.is_down) /* one that succeeds, but does not bring it back yet, changes nothing */
        snprintf(server->why, sizeof server->why, "%s", is_well ? "" : why);
    atomic_store_explicit(&server->is_troubled, server->health.fails > 0, memory_order_relaxed);
    int32_t is_down = server->health.is_down;
    pthread_mutex_unlock(&set->upstream->lock);
    if (changed || is_down) /* also why it is down is looked at */
        note_change(set->upstream);
}

void gateway_server_unchecked(struct gateway_server *server)
{
    struct gateway_upstream *upstream = server->upstream;

    pthread_mutex_lock(&upstream->lock);
    int32_t was_down = server->health.is_down;
    server->health.is_down = 0;
    server->health.streak = 0;
    server->why[0] = '\0';
    pthread_mutex_unlock(&upstream->lock);
    if (was_down)
        note_change(upstream);
}

void gateway_server_moved(struct gateway_server *server)
{
    struct gateway_upstream *upstream = server->upstream;

    pthread_mutex_lock(&upstream->lock);
    server->health.fails = 0;
    atomic_store_explicit(&server->is_troubled, 0, memory_order_relaxed);
    pthread_mutex_unlock(&upstream->lock);
    note_change(upstream);
}

void gateway_server_set_recount(struct gateway_server_set *set)
{
    for (uint32_t i = 0; i < set->count; i++) {
        unsigned in_flight = atomic_load_explicit(&set->places[i].server->in_flight, memory_order_relaxed);

        if (atomic_load_explicit(&set->in_flight[i], memory_order_relaxed) != in_flight)
            atomic_store_explicit(&set->in_flight[i], in_flight, memory_order_relaxed);
    }
}

int32_t gateway_addresses_find(const struct gateway_addresses *addresses, const struct gateway_addresses *other,
                               uint32_t address)
{
    for (uint32_t i = 0; i < addresses->count; i++)
        if (addresses->sizes[i] == other->sizes[address] &&
            memcmp(&addresses->items[i], &other->items[address], addresses->sizes[i]) == 0)
            return (int32_t)i;
    return -1;
}

int32_t gateway_addresses_meet(const struct gateway_addresses *a, const struct gateway_addresses *b)
{
    for (uint32_t i = 0; i < b->count; i++)
        if (gateway_addresses_find(a, b, i) >= 0)
            return 1;
    return 0;
}

/* ---- Breakers and retries ---------------------------------------------------------------------------------------- */

int32_t gateway_upstream_begin(struct gateway_server_set *set, uint64_t now_us, struct gateway_breaker_call *ret_call)
{
    if (!set->has_breaker)
        return 1;
    pthread_mutex_lock(&set->upstream->lock);
    int32_t begun = gateway_breaker_begin(&set->upstream->breaker, &set->breaker, now_us, ret_call);
    pthread_mutex_unlock(&set->upstream->lock);
    return begun;
}

void gateway_upstream_end(struct gateway_server_set *set, const struct gateway_breaker_call *call, int32_t outcome,
                          uint64_t now_us)
{
    if (!set->has_breaker)
        return;
    pthread_mutex_lock(&set->upstream->lock);
    (void)gateway_breaker_end(&set->upstream->breaker, &set->breaker, call, as_call(outcome), now_us);
    pthread_mutex_unlock(&set->upstream->lock);
}

void gateway_upstream_pay(struct gateway_server_set *set)
{
    struct gateway_upstream *upstream = set->upstream;

    if (!atomic_load_explicit(&upstream->is_short, memory_order_relaxed))
        return; /* the usual case */
    pthread_mutex_lock(&upstream->lock);
    gateway_bucket_add(&upstream->retries, &set->retries, set->retry_ratio);
    atomic_store_explicit(&upstream->is_short, upstream->retries.tokens < set->retries.burst, memory_order_relaxed);
    pthread_mutex_unlock(&upstream->lock);
}

int32_t gateway_upstream_may_retry(struct gateway_server_set *set, uint64_t now_us)
{
    pthread_mutex_lock(&set->upstream->lock);
    int32_t may = gateway_bucket_take(&set->upstream->retries, &set->retries, 1, now_us) == 0;
    atomic_store_explicit(&set->upstream->is_short, 1, memory_order_relaxed);
    pthread_mutex_unlock(&set->upstream->lock);
    return may;
}

/* ---- Servers that stand out
 * ------------------------------------------------------------------------------------------ */

/* They are judged side by side, so what is counted of each is taken together, and put back. */
void gateway_server_set_judge(struct gateway_server_set *set, uint64_t now_us)
{
    struct gateway_outlier *side_by_side = calloc(set->count + 1, sizeof *side_by_side);

    if (!side_by_side)
        return; /* the next time, when there may be memory */
    pthread_mutex_lock(&set->upstream->lock);
    for (uint32_t i = 0; i < set->count; i++)
        side_by_side[i] = set->places[i].server->outlier;
    (void)gateway_outlier_judge(side_by_side, set->count, &set->outlier, now_us);
    for (uint32_t i = 0; i < set->count; i++)
        set->places[i].server->outlier = side_by_side[i];
    pthread_mutex_unlock(&set->upstream->lock);
    free(side_by_side);
    note_change(set->upstream);
}
