/* Nodes whose data is damaged: this one, which marks its files and starts anew without them, and others, which ask to
 * be filled again; the leader of the catalog lets them, when that takes nothing from anybody.  See heal.h. */
#include "service/private.h"

#include "service/call.h"
#include "service/heal.h"

#include <holdfast/lib/error.h>

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

enum { ASK_TIMEOUT_US = 5000000 };

struct store_fill {
    struct store_call call; /* first */
    hf_job job;
    struct store_service *service;
    int32_t busy;    /* the job, or a change of the catalog, is under way */
    int32_t settled; /* 1: this node's damage was acted on, or cannot be */
    int32_t code;
    hf_error error;
    uint64_t told[STORE_NODES_MAX]; /* the disk that has to wait, and was said to */
};

/* ---- Others ------------------------------------------------------------------------------------------------------ */

static int is_whole(struct store_service *service, uint32_t node)
{
    return store_service_node_up(service, node) && !atomic_load(&service->healing[node]);
}

/* A partition of the node whose other replicas are no majority now; 0: there is none. */
static uint64_t find_left_alone(struct store_service *service, const struct store_routing *routing, uint32_t node)
{
    for (uint32_t i = 0; i < routing->partition_count; i++) {
        const struct store_partition *partition = routing->partitions[i].partition;
        uint32_t has = 0, others = 0;
        uint32_t count =
            partition->id == STORE_CATALOG_PARTITION ? store_catalog_voters(routing) : partition->member_count;

        for (uint32_t k = 0; k < count; k++) {
            has += partition->members[k] == node;
            others += partition->members[k] != node && is_whole(service, partition->members[k]);
        }
        if (has && others * 2 <= count)
            return partition->id;
    }
    return 0;
}

static void changed(void *arg, int32_t code, const hf_error *error)
{
    struct store_fill *fill = arg;

    if (code != HF_OK && code != HF_ECONFLICT)
        store_service_log(fill->service, HF_LOG_WARNING, "a node could not be replaced yet: %s",
                          error ? error->message : "");
    fill->busy = 0;
}

static void fill_node(struct store_fill *fill, const struct store_routing *routing, uint32_t node, uint64_t disk)
{
    struct store_service *service = fill->service;
    const char *name = service->nodes.names[node];
    uint64_t alone = find_left_alone(service, routing, node);

    if (!alone) {
        store_service_log(service, HF_LOG_WARNING, "node %s has set damaged data aside; it is filled anew", name);
        fill->busy = 1;
        store_service_node_change(service, node, STORE_NODE_REPLACE, changed, fill);
    } else if (fill->told[node] != disk) {
        store_service_log(service, HF_LOG_WARNING,
                          "node %s has set damaged data aside; it is not filled anew before the other replicas of "
                          "partition %" PRIu64 " are a majority",
                          name, alone);
        fill->told[node] = disk;
    }
}

static void fill_others(struct store_fill *fill, const struct store_routing *routing)
{
    struct store_service *service = fill->service;

    for (uint32_t node = 0; node < service->nodes.count && !fill->busy; node++) {
        uint64_t disk = atomic_load(&service->healing[node]);
        int32_t state = routing->nodes[node].state;

        if (disk && disk != routing->nodes[node].disk && (state == STORE_NODE_ACTIVE || state == STORE_NODE_DRAINING))
            fill_node(fill, routing, node, disk);
    }
}

/* ---- This one ---------------------------------------------------------------------------------------------------- */

static struct store_fill *of_job(hf_job *job)
{
    return (struct store_fill *)(void *)((char *)job - offsetof(struct store_fill, job));
}

/* [pool] */
static void mark(hf_job *job)
{
    struct store_fill *fill = of_job(job);
    const struct store_service *service = fill->service;

    fill->code = store_heal_allowed(service->directory, service->nodes.count, (uint64_t)service->options->heal_maximum,
                                    &fill->error);
    if (fill->code == HF_OK)
        fill->code = store_heal_mark(service->directory, "files of the engine", &fill->error);
}

/* [first worker loop] The engine cannot be exchanged under the replicas: the process ends in order and is started
 * again. */
static void marked(hf_job *job)
{
    struct store_fill *fill = of_job(job);
    struct store_service *service = fill->service;

    fill->busy = 0;
    fill->settled = 1;
    if (fill->code == HF_OK) {
        store_service_log(service, HF_LOG_ERROR,
                          "the process starts again without the damaged data, which is then fetched from the others");
        (void)kill(getpid(), SIGTERM);
        return;
    }
    store_service_log(service, HF_LOG_ERROR, "the damaged data cannot be given up: %s", fill->error.message);
}

static int everybody_is_whole(struct store_service *service, const struct store_routing *routing)
{
    for (uint32_t node = 0; node < service->nodes.count; node++)
        if (node != service->nodes.self && routing->nodes[node].state == STORE_NODE_ACTIVE && !is_whole(service, node))
            return 0;
    return 1;
}

static void others_answered(struct store_call *call)
{
    struct store_fill *fill = (struct store_fill *)(void *)call;
    struct store_service *service = fill->service;
    int32_t code = call->op.code;

    hf_buffer_done(&call->op.result);
    fill->job = (hf_job){.loop = service->shards[0].loop, .work = mark, .done = marked};
    fill->busy = code == HF_OK && service->loops->submit(service->host, &fill->job, NULL) == HF_OK;
}

/* One node at a time, for what this one still has may be needed; and not when the others have the same trouble, which
 * is no damage of this node's files then: the partition where it was noticed must have a leader that a majority
 * follows. */
static void heal_this(struct store_fill *fill, const struct store_routing *routing, uint64_t now_us)
{
    struct store_service *service = fill->service;
    uint64_t partition = atomic_load(&service->damaged_partition);

    if (!service->peers || !everybody_is_whole(service, routing))
        return;
    for (uint32_t i = 0; i < routing->partition_count; i++)
        if (routing->partitions[i].partition->leaving_count > 0)
            return;
    fill->busy = 1;
    fill->call = (struct store_call){
        .op = {.type = STORE_OP_MEMBERS, .partition = partition, .deadline_us = now_us + ASK_TIMEOUT_US},
        .finished = others_answered};
    store_call_start(service, &fill->call);
}

/* ---- Both -------------------------------------------------------------------------------------------------------- */

void store_fill_tick(struct store_shard *shard, uint64_t now_us)
{
    struct store_service *service = shard->service;
    struct store_replica *catalog = store_catalog_replica(service);
    struct store_fill *fill = service->fill;

    if (!fill)
        fill = service->fill = calloc(1, sizeof *fill);
    if (!fill || fill->busy || service->draining)
        return;
    fill->service = service;
    if (atomic_load(&service->engine_damaged) && !fill->settled)
        heal_this(fill, shard->routing, now_us);
    else if (catalog && service->peers && shard->routing->node_records &&
             atomic_load(&store_replica_published(catalog)->role) == HF_ROLE_LEADER)
        fill_others(fill, shard->routing);
}

void store_fill_free(struct store_service *service)
{
    free(service->fill);
    service->fill = NULL;
}
