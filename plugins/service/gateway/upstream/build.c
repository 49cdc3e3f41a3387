#include "upstream/build.h"

#include "upstream/locate.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/value.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WEIGHT_UNIT = 128 };
enum { TEXT_PATH, TEXT_HOST, TEXT_BODY, TEXT_KEY };

/* ---- Servers ---------------------------------------------------------------------------------------------------- */

/* One set in the making. */
struct making {
    const struct gateway_build *build;
    const struct gateway_upstream_options *options;
    struct gateway_server_set *set;
    uint32_t hint; /* the place of the set before at which the next server probably is */
    hf_error *error;
};

static struct gateway_server *find_server(struct making *making, const char *name, const char *address)
{
    const struct gateway_server_set *before = making->set->upstream->set;

    for (uint32_t i = 0; before && i < before->count; i++) {
        uint32_t at = (making->hint + i) % before->count;
        struct gateway_server *server = before->places[at].server;

        if (strcmp(server->name, name) == 0 && strcmp(server->address, address) == 0) {
            making->hint = at + 1;
            gateway_server_hold(server);
            return server;
        }
    }
    return NULL;
}

static struct gateway_server *create_server(const struct making *making, const char *name, const char *address)
{
    const struct gateway_check_options *check = &making->options->check;
    struct gateway_server *server = calloc(1, sizeof *server);

    if (!server)
        return NULL;
    server->name = strdup(name);
    server->address = strdup(address);
    if (!server->name || !server->address) {
        free(server->name);
        free(server->address);
        free(server);
        return NULL;
    }
    atomic_init(&server->references, 1);
    server->upstream = making->set->upstream;
    gateway_upstream_hold(server->upstream);
    gateway_health_init(&server->health, check->type != GATEWAY_CHECK_NONE && check->initially_down);
    if (server->health.is_down)
        server->health.streak = (uint32_t)check->rise - 1; /* the first check that succeeds is enough */
    gateway_breaker_init(&server->breaker);
    return server;
}

static int32_t fill_place(struct making *making, const struct gateway_server_options *options, const char *name,
                          const char *address, const struct gateway_addresses *addresses)
{
    struct gateway_place *place = &making->set->places[making->set->count++];

    place->server = find_server(making, name, address);
    if (!place->server)
        place->server = create_server(making, name, address);
    if (!place->server)
        return hf_error_set(making->error, HF_ENOMEM, "no memory for the server '%s'", name);
    place->addresses = *addresses;
    place->weight = (uint32_t)options->weight;
    place->requests_maximum = (uint32_t)options->requests_maximum;
    place->is_backup = options->backup;
    place->is_draining = options->drain;
    place->health = (struct gateway_health_rules){.fails_maximum = (uint32_t)options->max_fails,
                                                  .fail_timeout_us = options->fail_timeout_us,
                                                  .slow_start_us = making->options->slow_start_us,
                                                  .rise = (uint32_t)making->options->check.rise,
                                                  .fall = (uint32_t)making->options->check.fall};
    return HF_OK;
}

/* How many places a server of the list has: one for each address of its name where it says so. */
static uint32_t places_of(const struct gateway_server_options *options, const struct gateway_location *location)
{
    uint32_t count = options->resolve_all && location->name ? location->name->addresses.count : 1;

    return count ? count : 1; /* without an address it has a place at which nobody can be reached */
}

static int32_t fill_server(struct making *making, const struct gateway_server_options *options,
                           const struct gateway_location *location)
{
    struct gateway_addresses addresses;
    char name[512], one[GATEWAY_LOCATION_TEXT], address[GATEWAY_LOCATION_TEXT];
    int32_t code = HF_OK;

    if (!options->resolve_all || !location->name || location->name->addresses.count == 0) {
        gateway_location_all(location, &addresses);
        code = fill_place(making, options, options->name, options->address, &addresses);
        if (code == HF_OK && location->name && !location->name->is_answered) {
            making->set->places[making->set->count - 1].is_pending = 1;
            making->set->pending_count++;
        }
        return code;
    }
    for (uint32_t i = 0; i < location->name->addresses.count && code == HF_OK; i++) {
        gateway_location_one(location, i, &addresses, one, address);
        snprintf(name, sizeof name, "%s#%s", options->name, one);
        code = fill_place(making, options, name, address, &addresses);
    }
    return code;
}

static int32_t make_room(struct making *making, const struct gateway_location *locations)
{
    struct gateway_server_set *set = making->set;
    uint64_t count = 0;

    for (uint32_t i = 0; i < set->servers.count; i++)
        count += places_of(&set->servers.items[i], &locations[i]);
    if (count > HF_BALANCER_SERVERS_MAX)
        return hf_error_set(making->error, HF_EINVAL, "its names have %llu addresses; there can be %d servers",
                            (unsigned long long)count, HF_BALANCER_SERVERS_MAX);
    set->places = calloc(count + 1, sizeof *set->places);
    set->in_flight = calloc(count + 1, sizeof *set->in_flight);
    return set->places && set->in_flight
               ? HF_OK
               : hf_error_set(making->error, HF_ENOMEM, "no memory for %llu servers", (unsigned long long)count);
}

static int32_t fill_located(struct making *making, const struct gateway_location *locations)
{
    struct gateway_server_set *set = making->set;
    const struct gateway_server_options *servers = set->servers.items;
    int32_t code = make_room(making, locations);

    for (int32_t backup = 0; backup < 2; backup++) {
        for (uint32_t i = 0; i < set->servers.count && code == HF_OK; i++)
            if (servers[i].backup == backup)
                code = fill_server(making, &servers[i], &locations[i]);
        if (!backup)
            set->backup_at = set->count;
    }
    for (uint32_t i = 0; i < set->count && code == HF_OK; i++) {
        atomic_init(&set->in_flight[i], atomic_load(&set->places[i].server->in_flight));
        set->has_maximum |= set->places[i].requests_maximum > 0;
    }
    return code;
}

static int32_t fill_places(struct making *making)
{
    struct gateway_server_set *set = making->set;
    struct gateway_location *locations = calloc((size_t)set->servers.count + 1, sizeof *locations);
    int32_t code = HF_OK;

    if (!locations)
        return hf_error_set(making->error, HF_ENOMEM, "no memory for an upstream");
    for (uint32_t i = 0; i < set->servers.count && code == HF_OK; i++) {
        code =
            gateway_locate(making->build, making->options, set->servers.items[i].address, &locations[i], making->error);
        if (code != HF_OK)
            hf_error_prefix(making->error, "server '%s'", set->servers.items[i].name);
    }
    if (code == HF_OK)
        code = fill_located(making, locations);
    free(locations);
    return code;
}

/* ---- Balancers -------------------------------------------------------------------------------------------------- */

static int32_t open_pool(const struct gateway_build *build, struct gateway_server_set *set, uint32_t from,
                         uint32_t count, hf_balancer_pool **ret_pool, hf_error *error)
{
    hf_balancer_server *servers = calloc(count + 1, sizeof *servers);
    hf_balancer_setup setup = {.size = sizeof setup, .server_count = count, .servers = servers};

    if (!servers)
        return hf_error_set(error, HF_ENOMEM, "no memory for a balancer");
    for (uint32_t i = 0; i < count; i++)
        servers[i] = (hf_balancer_server){.name = hf_slice_of(set->places[from + i].server->address),
                                          .weight = set->places[from + i].weight * set->weight_unit};
    build->node->random(build->host, &setup.random_seed, sizeof setup.random_seed);
    int32_t code = count ? set->balancer->pool_open(set->balancer_self, &setup, ret_pool, error) : HF_OK;
    free(servers);
    return code;
}

static int32_t open_pools(const struct gateway_build *build, struct gateway_server_set *set,
                          const hf_capability_choice *balancer, hf_error *error)
{
    const hf_head *head = NULL;
    int32_t code = build->node->capability_chosen(build->host, "balancer", balancer, &head, &set->balancer_self, error);

    set->balancer = (const hf_balancer *)head;
    for (uint32_t i = 0; i < build->worker_count && code == HF_OK; i++) {
        code = open_pool(build, set, 0, set->backup_at, &set->pools[i].regular, error);
        if (code == HF_OK)
            code = open_pool(build, set, set->backup_at, set->count - set->backup_at, &set->pools[i].backup, error);
    }
    return code;
}

/* ---- TLS --------------------------------------------------------------------------------------------------------- */

/* Checks on the main loop come after the workers. */
static int32_t make_tls(const struct gateway_build *build, struct gateway_server_set *set,
                        const struct gateway_upstream_options *options, hf_error *error)
{
    const char **addresses;

    if (!options->tls.enabled)
        return HF_OK;
    addresses = calloc(set->count + 1, sizeof *addresses);
    if (!addresses)
        return hf_error_set(error, HF_ENOMEM, "no memory for TLS");
    for (uint32_t i = 0; i < set->count; i++)
        addresses[i] = set->places[i].server->address;
    int32_t code = gateway_tls_client_create(
        build->host, options->name, &options->tls, options->protocol == GATEWAY_SPEAKS_HTTP2, build->worker_count + 1,
        addresses, set->count, set->upstream->set ? set->upstream->set->tls : NULL, &set->tls, error);
    free(addresses);
    return code;
}

/* ---- The set ----------------------------------------------------------------------------------------------------- */

static struct gateway_breaker_rules breaker_rules(const struct gateway_breaker_options *options)
{
    return (struct gateway_breaker_rules){.window_us = options->window_us,
                                          .calls_minimum = (uint32_t)options->calls_minimum,
                                          .failed_percent = (uint32_t)options->failed_percent,
                                          .slow_us = options->slow_us,
                                          .slow_percent = (uint32_t)options->slow_percent,
                                          .in_flight_maximum = (uint32_t)options->in_flight_maximum,
                                          .open_us = options->open_us,
                                          .open_maximum_us = options->open_maximum_us,
                                          .tries = (uint32_t)options->tries};
}

static void fill_rules(struct gateway_server_set *set, const struct gateway_upstream_options *options)
{
    const struct gateway_outlier_options *outlier = &options->outlier;

    set->breaker = breaker_rules(&options->breaker);
    set->has_breaker = options->breaker.enabled;
    set->server_breaker = breaker_rules(&options->server_breaker);
    set->has_server_breaker = options->server_breaker.enabled;
    set->outlier = (struct gateway_outlier_rules){.requests_minimum = (uint32_t)outlier->requests_minimum,
                                                  .margin_percent = (uint32_t)outlier->margin_percent,
                                                  .ejected_percent = (uint32_t)outlier->ejected_percent,
                                                  .eject_us = outlier->eject_us,
                                                  .eject_maximum_us = outlier->eject_maximum_us};
    set->has_outlier = outlier->enabled;
    set->outlier_interval_us = outlier->interval_us;
    set->retry_ratio = options->retry_ratio;
    set->retries = (struct gateway_bucket_rules){.rate = 0, .burst = (double)options->retry_burst};
    set->connect_timeout_us = options->connect_timeout_us;
    set->send_timeout_us = options->send_timeout_us;
    set->receive_timeout_us = options->receive_timeout_us;
    set->idle_timeout_us = options->idle_timeout_us;
    set->idle_maximum = (uint32_t)options->idle_maximum;
    set->send_proxy = options->send_proxy;
    set->queue_maximum = (uint32_t)options->queue_maximum;
    set->queue_timeout_us = options->queue_timeout_us;
    set->http2 = options->protocol == GATEWAY_SPEAKS_HTTP2;
    set->streams_maximum = (uint32_t)options->http2_streams_maximum;
    set->hold_timeout_us = options->hold_timeout_us;
    set->has_check = options->check.type != GATEWAY_CHECK_NONE;
}

/* While weights change in small steps, each is worth many; a power of two, which some balancers count in. */
static void choose_unit(struct gateway_server_set *set, const struct gateway_upstream_options *options)
{
    uint32_t most = 1;

    for (uint32_t i = 0; i < set->count; i++)
        most = set->places[i].weight > most ? set->places[i].weight : most;
    set->weight_unit = 1;
    while (options->slow_start_us && set->weight_unit < WEIGHT_UNIT &&
           most * set->weight_unit * 2 <= HF_BALANCER_WEIGHT_MAX)
        set->weight_unit *= 2;
}

/* What outlives the configuration that it came from. */
static int32_t copy_texts(struct gateway_server_set *set, const struct gateway_upstream_options *options,
                          hf_error *error)
{
    set->check = options->check;
    set->check.path = set->texts[TEXT_PATH] = strdup(options->check.path);
    set->check.host = set->texts[TEXT_HOST] = strdup(options->check.host);
    set->check.body = set->texts[TEXT_BODY] = strdup(options->check.body);
    set->texts[TEXT_KEY] = strdup(options->key);
    for (size_t i = 0; i < sizeof set->texts / sizeof *set->texts; i++)
        if (!set->texts[i])
            return hf_error_set(error, HF_ENOMEM, "no memory for an upstream");
    return gateway_key_parse(set->texts[TEXT_KEY], &set->key, error);
}

static int32_t allocate(const struct gateway_build *build, struct gateway_upstream *upstream,
                        struct gateway_server_set **ret_set, hf_error *error)
{
    struct gateway_server_set *set = calloc(1, sizeof *set);

    if (!set)
        return hf_error_set(error, HF_ENOMEM, "no memory for an upstream");
    atomic_init(&set->references, 1);
    set->upstream = upstream;
    set->bin = build->bin;
    gateway_upstream_hold(upstream);
    set->worker_count = build->worker_count;
    set->pools = calloc(build->worker_count, sizeof *set->pools);
    if (!set->pools) {
        gateway_server_set_release(set);
        gateway_bin_empty(build->bin);
        return hf_error_set(error, HF_ENOMEM, "no memory for an upstream");
    }
    *ret_set = set;
    return HF_OK;
}

static int32_t take_servers(struct gateway_server_set *set, const struct gateway_upstream_options *options,
                            const struct gateway_server_list *servers, hf_error *error)
{
    const struct gateway_server_list *before = set->upstream->set ? &set->upstream->set->servers : NULL;

    if (!servers && before && before->is_changed && before->configured == gateway_server_list_print(&options->servers))
        servers = before;
    return servers ? gateway_server_list_copy(&set->servers, servers, error)
                   : gateway_server_list_read(&set->servers, &options->servers, error);
}

int32_t gateway_server_set_build(const struct gateway_build *build, struct gateway_upstream *upstream,
                                 const struct gateway_upstream_options *options,
                                 const struct gateway_server_list *servers, struct gateway_server_set **ret_set,
                                 hf_error *error)
{
    struct gateway_server_set *set = NULL;
    int32_t code = allocate(build, upstream, &set, error);

    if (code != HF_OK)
        return code;
    fill_rules(set, options);
    code = take_servers(set, options, servers, error);
    if (code == HF_OK)
        code = copy_texts(set, options, error);
    struct making making = {.build = build, .options = options, .set = set, .error = error};
    if (code == HF_OK)
        code = fill_places(&making);
    choose_unit(set, options);
    if (code == HF_OK)
        code = make_tls(build, set, options, error);
    if (code == HF_OK)
        code = open_pools(build, set, &options->balancer, error);
    if (code != HF_OK) {
        gateway_server_set_release(set);
        gateway_bin_empty(build->bin);
        return hf_error_prefix(error, "upstream '%s'", options->name);
    }
    if (!upstream->set) /* it is new: nobody else knows it yet */
        gateway_bucket_init(&upstream->retries, &set->retries, build->now_us);
    *ret_set = set;
    return HF_OK;
}
