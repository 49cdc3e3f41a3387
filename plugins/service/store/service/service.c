/* Life of the store: opening and closing what it stands on.  What is opened is there before the loops run, and closed
 * when none runs any more; what they do in between is in running.c. */
#include "service/service.h"

#include "service/heal.h"
#include "service/private.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/hash.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PATH_SIZE = 4096 };

/* ---- Opening -------------------------------------------------------------------------------------------------- */

static int32_t query(const hf_host *host, const char *name, const hf_head **ret_table, hf_error *error)
{
    *ret_table = host->query(host, name);
    return *ret_table ? HF_OK
                      : hf_error_set(error, HF_EUNSUPPORTED, "the host does not offer %s, which the store needs", name);
}

static int32_t query_host(struct store_service *service, hf_error *error)
{
    const hf_head *loops = NULL, *node = NULL, *metrics = NULL;
    int32_t result = query(service->host, HF_LOOP_INTERFACE, &loops, error);

    if (result == HF_OK)
        result = query(service->host, HF_NODE_INTERFACE, &node, error);
    if (result == HF_OK)
        result = query(service->host, HF_METRICS_INTERFACE, &metrics, error);
    service->loops = (const hf_loop_interface *)loops;
    service->node = (const hf_node_interface *)node;
    service->metrics = (const hf_metrics_interface *)metrics;
    service->peers = (const hf_peer_interface *)service->host->query(service->host, HF_PEER_INTERFACE);
    return result;
}

static int32_t list_nodes(struct store_service *service, hf_error *error)
{
    struct store_nodes *nodes = &service->nodes;
    const hf_peer_interface *peers = service->peers;

    nodes->count = peers ? peers->node_count(service->host) : 1;
    if (nodes->count > STORE_NODES_MAX)
        return hf_error_set(error, HF_EINVAL, "the cluster has %u nodes; the store takes up to %d", nodes->count,
                            STORE_NODES_MAX);
    if (nodes->count <= 1) {
        service->peers = NULL;
        nodes->count = 1;
        nodes->names[0] = service->node->node_name(service->host);
        return HF_OK;
    }
    nodes->self = peers->self(service->host);
    for (uint32_t i = 0; i < nodes->count; i++) {
        nodes->names[i] = peers->node_name(service->host, i);
        nodes->zones[i] = peers->node_zone(service->host, i);
    }
    return HF_OK;
}

static int32_t make_directory(char *path, const char *parent, const char *name, hf_error *error)
{
    int size = snprintf(path, PATH_SIZE, "%s/%s", parent, name);

    if (size < 0 || size >= PATH_SIZE)
        return hf_error_set(error, HF_EINVAL, "the state directory's path is too long");
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return hf_error_set_errno(error, HF_EIO, errno, "cannot make the folder '%s'", path);
    return store_directory_sync(parent) == 0
               ? HF_OK
               : hf_error_set_errno(error, HF_EIO, errno, "cannot make the folder '%s' durable", path);
}

static int32_t open_engine(struct store_service *service, const char *directory, hf_error *error)
{
    const hf_head *engine = NULL, *replication = NULL;
    char path[PATH_SIZE];
    int32_t result = make_directory(path, directory, "engine", error);

    if (result == HF_OK)
        result = service->node->capability(service->host, "replication", service->options->replication, &replication,
                                           &service->replication_self, error);
    service->replication = (const hf_replication *)replication;
    if (result == HF_OK)
        result = service->node->capability(service->host, "engine", service->options->engine, &engine,
                                           &service->engine_self, error);
    service->engine = (const hf_engine *)engine;
    return result == HF_OK ? service->engine->open(service->engine_self, path, &service->database, error) : result;
}

static void log_damaged(void *argument, const struct store_log_damage *damage)
{
    const struct store_service *service = argument;

    store_service_log(service, HF_LOG_ERROR, "the log's segment %016llx is damaged at byte %llu: %s",
                      (unsigned long long)damage->segment, (unsigned long long)damage->offset, damage->reason);
}

static void log_cut(void *argument, uint64_t segment, uint64_t offset, uint64_t bytes)
{
    const struct store_service *service = argument;

    store_service_log(service, HF_LOG_INFO,
                      "the log's segment %016llx ends with an unfinished write at byte %llu; %llu bytes were cut off",
                      (unsigned long long)segment, (unsigned long long)offset, (unsigned long long)bytes);
}

static int32_t open_log(struct store_service *service, const char *directory, hf_error *error)
{
    const struct store_log_settings *settings = &service->options->log;
    const char *cluster = service->node->cluster_name(service->host), *node = service->node->node_name(service->host);
    struct store_log_options options = {
        .segment_size = settings->segment_size,
        .queue_bytes_max = settings->queue_maximum,
        .accept_damage = settings->accept_damage,
        .damaged = log_damaged,
        .cut = log_cut,
        .argument = service,
    };
    uint64_t identity[2] = {hf_hash64(1, cluster, strlen(cluster)), hf_hash64(2, node, strlen(node))};
    char path[PATH_SIZE];
    int32_t result = make_directory(path, directory, "log", error);

    if (result == HF_OK)
        result = store_log_file_system_open(path, &service->file_system, error);
    if (result != HF_OK)
        return result;
    service->file_system_open = 1;
    options.file_system = service->file_system;
    memcpy(options.node, identity, sizeof options.node);
    return store_log_open(&options, &service->log, error);
}

/* Before anything of this node is heard by others. */
static int32_t open_identity(struct store_service *service, const char *directory, hf_error *error)
{
    uint64_t disk = 0;
    int32_t result;

    service->node->random(service->host, &disk, sizeof disk);
    result = store_identity_begin(directory, disk, &service->nodes, &service->identity, &service->membership, error);
    service->identity.position = store_log_position(service->log);
    atomic_store(&service->cluster, service->membership.cluster);
    if (result == HF_OK && service->begins_anew) {
        service->membership.heals = 1;
        result = store_identity_save(directory, &service->nodes, &service->identity, &service->membership, error);
        if (result == HF_OK)
            result = store_heal_unmark(directory, error);
    }
    atomic_store(&service->heals, service->membership.heals);
    if (result == HF_OK)
        result = store_witness_open(&service->witness, directory, &service->nodes, error);
    service->witness_open = result == HF_OK;
    if (result == HF_OK)
        result = store_fence_open(&service->fence, directory, &service->nodes, error);
    service->fence_open = result == HF_OK;
    atomic_store(&service->lost, service->fence.lost_to[0] != '\0');
    atomic_store(&service->out, atomic_load(&service->lost));
    return result;
}

static int32_t add_metrics(struct store_service *service, hf_error *error)
{
    const struct {
        hf_metric **metric;
        int32_t type;
        const char *name, *help;
    } rows[] = {
        {&service->series.applied, HF_METRIC_COUNTER, "holdfast_store_applied_total", "Log entries applied"},
        {&service->series.leaders, HF_METRIC_GAUGE, "holdfast_store_leaders", "Partitions that this node leads"},
        {&service->series.replicas, HF_METRIC_GAUGE, "holdfast_store_replicas", "Replicas on this node"},
        {&service->series.log_bytes, HF_METRIC_GAUGE, "holdfast_store_log_written_bytes", "Bytes written to the log"},
        {&service->series.log_records, HF_METRIC_GAUGE, "holdfast_store_log_records", "Records written to the log"},
        {&service->series.log_syncs, HF_METRIC_GAUGE, "holdfast_store_log_syncs", "Flushes of the log to the disk"},
        {&service->series.log_segments, HF_METRIC_GAUGE, "holdfast_store_log_segments", "Files of the log in use"},
        {&service->series.log_queue_bytes, HF_METRIC_GAUGE, "holdfast_store_log_queue_bytes",
         "Bytes that wait to be written"},
        {&service->series.log_sync_us_max, HF_METRIC_GAUGE, "holdfast_store_log_sync_microseconds_max",
         "Longest flush since the start"},
    };
    int32_t result = HF_OK;

    for (size_t i = 0; i < sizeof rows / sizeof *rows && result == HF_OK; i++)
        result = service->metrics->add(service->host, rows[i].type, rows[i].name, rows[i].help, NULL, 0, rows[i].metric,
                                       error);
    return result;
}

static uint64_t clock_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void fill_environment(struct store_service *service)
{
    struct store_environment *environment = &service->environment;

    environment->host = service->host;
    environment->loops = service->loops;
    environment->peers = service->peers;
    environment->engine = service->engine;
    environment->database = service->database;
    environment->replication = service->replication;
    environment->replication_self = service->replication_self;
    environment->log = service->log;
    environment->self = service->nodes.self;
    environment->cache_maximum = service->options->cache_maximum;
    environment->admission = &service->admission;
    environment->snapshot_rate = service->options->snapshot_rate;
    environment->snapshot_free_us = &service->snapshot_free_us;
    environment->scrub_rate = service->options->scrub_rate;
    environment->scrub_free_us = &service->scrub_free_us;
    environment->integrity = &service->integrity;
    environment->wall_us = service->node->wall_us;
    environment->clock_us = clock_us;
    atomic_store(&service->partition_max_size, service->options->partition_max_size);
    environment->partition_max_size = &service->partition_max_size;
    environment->applied_total = &service->applied_total;
    environment->refresh = store_service_refresh;
    environment->refresh_arg = service;
}

static int32_t open_admission(struct store_service *service, hf_error *error)
{
    uint64_t seed = 0;

    service->node->random(service->host, &seed, sizeof seed);
    store_admission_configure(&service->admission, &service->options->admission, service->options->queue_maximum);
    return store_admission_open(&service->admission, service->host, service->metrics, seed, error);
}

static int32_t make_shards(struct store_service *service, hf_error *error)
{
    service->shard_count = service->loops->worker_count(service->host);
    service->shards = calloc(service->shard_count, sizeof *service->shards);
    if (!service->shards)
        return hf_error_set(error, HF_ENOMEM, "no memory for the store's loops");
    for (uint32_t i = 0; i < service->shard_count; i++) {
        struct store_shard *shard = &service->shards[i];

        shard->service = service;
        shard->index = i;
        shard->loop = service->loops->worker(service->host, i);
    }
    return HF_OK;
}

/* Everything that was opened goes to the loops' shares; they do not run yet. */
static int32_t share_out(struct store_service *service, hf_error *error)
{
    for (uint64_t id = 0; id < service->replica_count; id++)
        if (service->replicas[id] && store_shard_add(store_shard_of(service, id), service->replicas[id]) != HF_OK)
            return hf_error_set(error, HF_ENOMEM, "no memory for the store's replicas");
    for (uint32_t i = 0; i < service->shard_count; i++)
        service->shards[i].routing = store_routing_hold(service->routing);
    return HF_OK;
}

/* What this node has written; HF_ECORRUPT: it is damaged. */
static int32_t open_files(struct store_service *service, const char *directory, hf_error *error)
{
    int32_t result = service->begins_anew ? HF_OK : store_heal_check_mark(directory, error);

    /* A full or broken disk is noticed by what says so best: an engine may say less. */
    if (result == HF_OK)
        result = open_log(service, directory, error);
    if (result == HF_OK)
        result = open_identity(service, directory, error);
    if (result == HF_OK)
        result = open_engine(service, directory, error);
    service->is_damaged = result == HF_ECORRUPT;
    return result;
}

static int32_t open_all(struct store_service *service, hf_error *error)
{
    const struct store_http_options http = {.write_timeout_us = service->options->write_timeout_us,
                                            .read_timeout_us = service->options->read_timeout_us,
                                            .body_maximum = service->options->body_maximum,
                                            .changes_timeout_us = service->options->changes_timeout_us};
    const char *directory;
    int32_t result = query_host(service, error);

    if (result == HF_OK)
        result = list_nodes(service, error);
    if (result == HF_OK)
        result = add_metrics(service, error);
    if (result == HF_OK)
        result = store_integrity_open(service, error);
    if (result == HF_OK)
        result = make_shards(service, error);
    if (result == HF_OK)
        result = open_admission(service, error);
    if (result != HF_OK)
        return result;
    directory = service->directory = service->node->state_directory(service->host, error);
    if (!directory)
        return HF_EIO;
    result = open_files(service, directory, error);
    fill_environment(service);
    if (result == HF_OK)
        result = store_catalog_open(service, error);
    if (result == HF_OK)
        result = store_remote_open(service, error);
    if (result == HF_OK)
        result = share_out(service, error);
    if (result == HF_OK)
        result = store_http_create(service, &http, &service->http, error);
    return result;
}

/* Also when it fails, *ret_service is what has been made. */
static int32_t create(const hf_host *host, const void *configuration, int32_t begins_anew,
                      struct store_service **ret_service, hf_error *error)
{
    struct store_service *service = *ret_service = calloc(1, sizeof *service);
    int32_t result;

    if (!service)
        return hf_error_set(error, HF_ENOMEM, "no memory for the store");
    service->host = host;
    service->options = configuration;
    service->begins_anew = begins_anew;
    pthread_rwlock_init(&service->lock, NULL);
    result = store_options_check(service->options, error);
    return result == HF_OK ? open_all(service, error) : result;
}

/* Gives up what is damaged, if that may be; the service is gone then. */
static int32_t set_aside(struct store_service *service, const hf_error *damage, hf_error *error)
{
    const hf_host *host = service->host;
    const char *directory = service->directory;
    char name[STORE_ASIDE_NAME_SIZE];
    hf_error why = {0};
    int32_t result =
        store_heal_allowed(directory, service->nodes.count, (uint64_t)service->options->heal_maximum, &why);

    if (result == HF_OK)
        result = store_heal_mark(directory, damage->message, &why);
    store_service_destroy(service);
    if (result == HF_OK)
        result = store_heal_set_aside(directory, name, &why);
    if (result != HF_OK)
        return hf_error_set(error, HF_ECORRUPT, "this node's data is damaged: %.200s; it was not set aside: %.220s",
                            damage->message, why.message);
    char text[700];

    snprintf(
        text, sizeof text,
        "this node's data is damaged: %s. It was set aside in '%s/%s', and is fetched from the other nodes; remove "
        "it when all is well",
        damage->message, directory, name);
    host->log(host, HF_LOG_ERROR, (hf_slice){(const uint8_t *)text, strlen(text)});
    return HF_OK;
}

int32_t store_service_create(const hf_host *host, const void *configuration, void **ret_self, hf_error *error)
{
    struct store_service *service = NULL;
    hf_error damage = {0};
    int32_t result = create(host, configuration, 0, &service, &damage);

    if (result == HF_ECORRUPT && service->is_damaged) {
        hf_error refusal = {0};

        result = set_aside(service, &damage, &refusal);
        service = NULL;
        if (result != HF_OK)
            damage = refusal;
        if (result == HF_OK)
            result = create(host, configuration, 1, &service, &damage);
    }
    if (result != HF_OK) {
        store_service_destroy(service);
        if (error)
            *error = damage;
        return result;
    }
    *ret_self = service;
    return HF_OK;
}

/* ---- Closing -------------------------------------------------------------------------------------------------- */

void store_service_destroy(void *self)
{
    struct store_service *service = self;

    if (!service)
        return;
    store_http_destroy(service->http);
    for (uint32_t i = 0; i < service->shard_count && service->shards; i++) {
        store_routing_release(service->shards[i].routing);
        free(service->shards[i].replicas);
        store_sweep_free(&service->shards[i]);
        store_compared_free(&service->shards[i]);
    }
    free(service->shards);
    store_log_close(service->log);
    for (uint64_t id = 0; id < service->replica_count; id++)
        store_replica_close(service->replicas[id]);
    free(service->replicas);
    store_admission_close(&service->admission);
    store_routing_release(service->routing);
    store_placer_free(service);
    store_retire_free(service);
    store_scrub_free(service);
    store_fill_free(service);
    store_driver_free(service);
    store_growth_free(service);
    if (service->witness_open)
        store_witness_close(&service->witness);
    if (service->fence_open)
        store_fence_close(&service->fence);
    store_compact_free(service);
    if (service->file_system_open)
        store_log_file_system_close(&service->file_system);
    if (service->engine) {
        service->engine->close(service->database);
        service->engine->destroy(service->engine_self);
    }
    if (service->replication)
        service->replication->destroy(service->replication_self);
    pthread_rwlock_destroy(&service->lock);
    free(service);
}
