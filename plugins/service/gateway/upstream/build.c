#include "upstream/build.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/url.h>
#include <holdfast/lib/value.h>

#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

enum { TEXT_PATH, TEXT_HOST, TEXT_BODY, TEXT_KEY };

/* ---- Keys ------------------------------------------------------------------------------------------------------ */

int32_t gateway_key_parse(const char *text, struct gateway_key *ret_key, hf_error *error)
{
    static const struct {
        const char *word;
        int32_t of;
        int32_t named;
    } kinds[] = {{"client", GATEWAY_KEY_CLIENT, 0}, {"path", GATEWAY_KEY_PATH, 0},
                 {"field", GATEWAY_KEY_FIELD, 1},   {"cookie", GATEWAY_KEY_COOKIE, 1},
                 {"body", GATEWAY_KEY_BODY, 1},     {"argument", GATEWAY_KEY_ARGUMENT, 1},
                 {"policy", GATEWAY_KEY_POLICY, 0}};
    size_t size = strcspn(text, " ");
    const char *name = text + size + strspn(text + size, " ");

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strlen(kinds[i].word) == size && strncmp(kinds[i].word, text, size) == 0 &&
            (name[0] != '\0') == kinds[i].named && !strchr(name, ' ')) {
            *ret_key = (struct gateway_key){.of = kinds[i].of, .name = hf_slice_of(name)};
            return HF_OK;
        }
    return hf_error_set(
        error, HF_EINVAL,
        "'%s' is no key; expected client, path, field NAME, cookie NAME, argument NAME, body NAME or policy", text);
}

/* ---- Addresses -------------------------------------------------------------------------------------------------- */

static int32_t resolve_unix(const char *path, struct gateway_addresses *addresses, hf_error *error)
{
    struct sockaddr_un *address = (struct sockaddr_un *)&addresses->items[0];

    if (strlen(path) >= sizeof address->sun_path)
        return hf_error_set(error, HF_EINVAL, "the socket's path is too long: '%s'", path);
    address->sun_family = AF_UNIX;
    strcpy(address->sun_path, path);
    addresses->sizes[0] = sizeof *address;
    addresses->count = 1;
    return HF_OK;
}

static int32_t resolve(const char *address, struct gateway_addresses *addresses, hf_error *error)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *found = NULL;
    char host[256], port[16];

    memset(addresses, 0, sizeof *addresses);
    if (strncmp(address, "unix:", 5) == 0)
        return resolve_unix(address + 5, addresses, error);
    int32_t code = hf_url_split_address(address, host, sizeof host, port, sizeof port, error);
    if (code != HF_OK)
        return code;
    int failed = getaddrinfo(host, port, &hints, &found);
    if (failed)
        return hf_error_set(error, HF_EIO, "'%s' cannot be resolved: %s", address, gai_strerror(failed));
    for (struct addrinfo *at = found; at && addresses->count < GATEWAY_ADDRESSES_MAX; at = at->ai_next) {
        memcpy(&addresses->items[addresses->count], at->ai_addr, at->ai_addrlen);
        addresses->sizes[addresses->count++] = at->ai_addrlen;
    }
    freeaddrinfo(found);
    return HF_OK;
}

/* ---- Servers ---------------------------------------------------------------------------------------------------- */

static struct gateway_server *find_server(const struct gateway_upstream *upstream,
                                          const struct gateway_server_options *options)
{
    for (uint32_t i = 0; upstream->set && i < upstream->set->count; i++) {
        struct gateway_server *server = upstream->set->places[i].server;

        if (strcmp(server->name, options->name) == 0 && strcmp(server->address, options->address) == 0) {
            gateway_server_hold(server);
            return server;
        }
    }
    return NULL;
}

static struct gateway_server *create_server(struct gateway_upstream *upstream,
                                            const struct gateway_server_options *options)
{
    struct gateway_server *server = calloc(1, sizeof *server);

    if (!server)
        return NULL;
    server->name = strdup(options->name);
    server->address = strdup(options->address);
    if (!server->name || !server->address) {
        free(server->name);
        free(server->address);
        free(server);
        return NULL;
    }
    atomic_init(&server->references, 1);
    server->upstream = upstream;
    gateway_upstream_hold(upstream);
    gateway_health_init(&server->health, 0);
    gateway_breaker_init(&server->breaker);
    return server;
}

static int32_t fill_place(const struct gateway_server_set *set, const struct gateway_upstream_options *upstream,
                          const struct gateway_server_options *options, struct gateway_place *place, hf_error *error)
{
    int32_t code = resolve(options->address, &place->addresses, error);

    if (code != HF_OK)
        return hf_error_prefix(error, "server '%s'", options->name);
    place->server = find_server(set->upstream, options);
    if (!place->server)
        place->server = create_server(set->upstream, options);
    if (!place->server)
        return hf_error_set(error, HF_ENOMEM, "no memory for the server '%s'", options->name);
    place->weight = (uint32_t)options->weight;
    place->requests_maximum = (uint32_t)options->requests_maximum;
    place->is_backup = options->backup;
    place->is_draining = options->drain;
    place->health = (struct gateway_health_rules){.fails_maximum = (uint32_t)options->max_fails,
                                                  .fail_timeout_us = options->fail_timeout_us,
                                                  .slow_start_us = upstream->slow_start_us,
                                                  .rise = (uint32_t)upstream->check.rise,
                                                  .fall = (uint32_t)upstream->check.fall};
    return HF_OK;
}

static int32_t fill_places(struct gateway_server_set *set, const struct gateway_upstream_options *options,
                           hf_error *error)
{
    const struct gateway_server_options *servers = set->servers.items;
    int32_t code = HF_OK;

    for (int32_t backup = 0; backup < 2; backup++) {
        for (uint32_t i = 0; i < set->servers.count && code == HF_OK; i++)
            if (servers[i].backup == backup)
                code = fill_place(set, options, &servers[i], &set->places[set->count++], error);
        if (!backup)
            set->backup_at = set->count;
    }
    for (uint32_t i = 0; i < set->count && code == HF_OK; i++) {
        atomic_init(&set->in_flight[i], atomic_load(&set->places[i].server->in_flight));
        set->has_maximum |= set->places[i].requests_maximum > 0;
    }
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
                                          .weight = set->places[from + i].weight};
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

/* ---- TLS ----------------------------------------------------------------------------------------------------------
 */

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
    int32_t code =
        gateway_tls_client_create(build->host, options->name, &options->tls, build->worker_count, addresses, set->count,
                                  set->upstream->set ? set->upstream->set->tls : NULL, &set->tls, error);
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
    set->has_check = options->check.type != GATEWAY_CHECK_NONE;
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

static int32_t make_room(struct gateway_server_set *set, uint32_t count, hf_error *error)
{
    set->places = calloc((size_t)count + 1, sizeof *set->places);
    set->in_flight = calloc((size_t)count + 1, sizeof *set->in_flight);
    return set->places && set->in_flight ? HF_OK
                                         : hf_error_set(error, HF_ENOMEM, "no memory for %u servers", (unsigned)count);
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
        code = make_room(set, set->servers.count, error);
    if (code == HF_OK)
        code = copy_texts(set, options, error);
    if (code == HF_OK)
        code = fill_places(set, options, error);
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
