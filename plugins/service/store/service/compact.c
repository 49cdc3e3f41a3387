/* The node's log shrinks: when its files are more than they should be, the engine is flushed, and every replica drops
 * the entries that the engine then has. */
#include "service/private.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>

/* Entries that stay in the log for followers that are a little behind, while there is room. */
enum { KEEP_ENTRIES = 1000 };

struct share {
    hf_task task;
    struct store_compaction *compaction;
    uint32_t shard;
};

struct store_compaction {
    hf_job job;
    struct store_service *service;
    int32_t code;
    hf_error error;
    uint64_t keep;
    uint64_t count;
    uint64_t *applied; /* by partition, as of before the flush */
    _Atomic uint32_t shares_left;
    struct share *shares; /* one per loop */
};

static void free_compaction(struct store_compaction *compaction)
{
    free(compaction->applied);
    free(compaction->shares);
    free(compaction);
}

/* [pool] */
static void flush(hf_job *job)
{
    struct store_compaction *compaction = (struct store_compaction *)(void *)job;
    struct store_service *service = compaction->service;

    compaction->code = service->engine->flush(service->database, &compaction->error);
}

/* [the shard's loop] */
static void compact_shard(hf_task *task)
{
    struct share *share = (struct share *)(void *)task;
    struct store_compaction *compaction = share->compaction;
    struct store_service *service = compaction->service;

    for (uint64_t id = 0; id < compaction->count; id++) {
        struct store_replica *replica = NULL;

        if (id % service->shard_count == share->shard && compaction->applied[id] > compaction->keep)
            replica = store_shard_replica(&service->shards[share->shard], id);
        if (replica)
            store_replica_compact(replica, compaction->applied[id] - compaction->keep);
    }
    if (atomic_fetch_sub(&compaction->shares_left, 1) == 1)
        free_compaction(compaction);
}

/* [main] */
static void flushed(hf_job *job)
{
    struct store_compaction *compaction = (struct store_compaction *)(void *)job;
    struct store_service *service = compaction->service;

    service->compaction = NULL;
    if (compaction->code != HF_OK || service->draining) {
        if (compaction->code != HF_OK)
            store_service_log(service, HF_LOG_ERROR, "the engine could not be flushed: %s", compaction->error.message);
        if (compaction->code == HF_ECORRUPT)
            service->integrity.engine_damaged(service, STORE_CATALOG_PARTITION, compaction->error.message);
        free_compaction(compaction);
        return;
    }
    atomic_store(&compaction->shares_left, service->shard_count);
    for (uint32_t i = 0, count = service->shard_count; i < count; i++) {
        compaction->shares[i] = (struct share){.task.run = compact_shard, .compaction = compaction, .shard = i};
        service->loops->post(service->shards[i].loop, &compaction->shares[i].task);
    }
}

/* The applied positions, before the flush that makes them durable: of all, or of those that ask for it. */
static int32_t note_applied(struct store_service *service, struct store_compaction *compaction, int32_t asked_only)
{
    int32_t result = HF_OK;

    pthread_rwlock_rdlock(&service->lock);
    compaction->count = service->replica_count;
    compaction->applied = calloc(compaction->count + 1, sizeof *compaction->applied);
    if (!compaction->applied)
        result = HF_ENOMEM;
    for (uint64_t id = 0; id < compaction->count && result == HF_OK; id++)
        if (service->replicas[id] &&
            (!asked_only || atomic_exchange(&store_replica_published(service->replicas[id])->compact, 0)))
            compaction->applied[id] = atomic_load(&store_replica_published(service->replicas[id])->applied);
    pthread_rwlock_unlock(&service->lock);
    return result;
}

static void begin(struct store_service *service, uint64_t keep, int32_t asked_only)
{
    struct store_compaction *compaction = calloc(1, sizeof *compaction);

    if (!compaction)
        return; /* the next tick tries again */
    compaction->service = service;
    compaction->keep = keep;
    compaction->shares = calloc(service->shard_count, sizeof *compaction->shares);
    compaction->job.loop = service->loops->main_loop(service->host);
    compaction->job.work = flush;
    compaction->job.done = flushed;
    if (!compaction->shares || note_applied(service, compaction, asked_only) != HF_OK ||
        service->loops->submit(service->host, &compaction->job, NULL) != HF_OK)
        free_compaction(compaction);
    else
        service->compaction = compaction;
}

static int32_t is_asked_for(struct store_service *service)
{
    int32_t asked = 0;

    pthread_rwlock_rdlock(&service->lock);
    for (uint64_t id = 0; id < service->replica_count && !asked; id++)
        asked = service->replicas[id] && atomic_load(&store_replica_published(service->replicas[id])->compact);
    pthread_rwlock_unlock(&service->lock);
    return asked;
}

/* [main] A log over an engine that forgets everything is all there is: it must stay whole. */
void store_compact_tick(struct store_service *service)
{
    struct store_log_metrics metrics = {0};
    uint64_t bytes, maximum = service->options->log.size_maximum;

    if (service->compaction || service->draining || !(service->engine->head.capabilities & HF_ENGINE_DURABLE))
        return;
    store_log_metrics(service->log, &metrics);
    bytes = metrics.segments * service->options->log.segment_size;
    if (bytes > maximum)
        begin(service, bytes > maximum + maximum / 2 ? 0 : KEEP_ENTRIES, 0);
    else if (is_asked_for(service))
        begin(service, 0, 1);
}

void store_compact_free(struct store_service *service)
{
    if (service->compaction)
        free_compaction(service->compaction);
    service->compaction = NULL;
}
