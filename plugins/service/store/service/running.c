/* The store while it runs: its clocks, on the main loop and on every worker loop; a new configuration, which the main
 * loop's clock takes over; and the end, when every replica has stopped before the host is told so. */
#include "service/service.h"

#include "service/private.h"

enum { TICK_US = 100000, HURRY_US = 25000, MAIN_TICK_US = 250000, SLOW_TICK_US = 1000000 };

/* ---- Running -------------------------------------------------------------------------------------------------- */

void store_shard_hurry(struct store_shard *shard)
{
    if (shard->hurried || !shard->timer)
        return;
    shard->hurried = 1;
    shard->service->loops->timer_start(shard->timer, HURRY_US, HURRY_US);
}

/* A quiet node looks at its replicas ten times a second only: waking up is most of what it costs. */
static void slow_down(struct store_shard *shard)
{
    if (!shard->hurried || shard->calls || shard->creations)
        return;
    for (uint64_t i = 0; i < shard->replica_count; i++)
        if (shard->replicas[i] && !atomic_load(&store_replica_published(shard->replicas[i])->leader) &&
            !atomic_load(&store_replica_published(shard->replicas[i])->failed))
            return;
    shard->hurried = 0;
    shard->service->loops->timer_start(shard->timer, TICK_US, TICK_US);
}

static void shard_tick(void *arg)
{
    struct store_shard *shard = arg;
    uint64_t now = shard->service->loops->now_us(shard->loop);

    for (uint64_t i = 0; i < shard->replica_count; i++)
        if (shard->replicas[i])
            store_replica_tick(shard->replicas[i], now);
    store_hello_leave(shard);
    store_recover_tick(shard, now);
    store_calls_retry(shard, now);
    store_sweep_tick(shard, now);
    store_creations_check(shard, now);
    if (shard->index == 0 && now >= shard->service->slow_us) {
        shard->service->slow_us = now + SLOW_TICK_US;
        store_retire_tick(shard, now);
        store_scrub_tick(shard, now);
        store_fill_tick(shard, now);
        store_growth_tick(shard);
    }
    if (shard->index == 0) {
        store_placer_tick(shard, now);
        store_driver_tick(shard, now);
    }
    if (shard->service->peers)
        store_hello_tick(shard, now);
    slow_down(shard);
}

static void begin_shard(hf_task *task)
{
    struct store_shard *shard = (struct store_shard *)((char *)task - offsetof(struct store_shard, begin_task));
    const hf_loop_interface *loops = shard->service->loops;
    hf_error error = {0};

    if (loops->timer_create(shard->loop, shard_tick, shard, &shard->timer, &error) == HF_OK)
        store_shard_hurry(shard); /* elections are to come */
    else                          /* without a clock nothing works: say so and let the supervisor try again */
        store_service_log(shard->service, HF_LOG_ERROR, "the store has no clock: %s", error.message);
}

static void show_metrics(struct store_service *service)
{
    struct store_log_metrics log = {0};
    uint64_t replicas = 0, leaders = 0, applied = atomic_load(&service->applied_total);

    for (uint64_t id = 0; id < service->replica_count; id++) {
        if (!service->replicas[id])
            continue;
        replicas++;
        leaders += atomic_load(&store_replica_published(service->replicas[id])->role) == HF_ROLE_LEADER;
    }
    store_log_metrics(service->log, &log);
    service->metrics->increment(service->series.applied, applied - service->applied_shown);
    service->applied_shown = applied;
    store_integrity_show(service);
    service->metrics->set(service->series.replicas, (double)replicas);
    service->metrics->set(service->series.leaders, (double)leaders);
    service->metrics->set(service->series.log_bytes, (double)log.bytes);
    service->metrics->set(service->series.log_records, (double)log.records);
    service->metrics->set(service->series.log_syncs, (double)log.syncs);
    service->metrics->set(service->series.log_segments, (double)log.segments);
    service->metrics->set(service->series.log_queue_bytes, (double)log.queue_bytes);
    service->metrics->set(service->series.log_sync_us_max, (double)log.sync_us_max);
}

static void main_tick(void *arg)
{
    struct store_service *service = arg;

    if (service->options_next && !service->ensuring) {
        service->options = service->options_next;
        atomic_store(&service->partition_max_size, service->options->partition_max_size);
        service->options_next = NULL;
        service->ensure_table = 0;
        store_admission_configure(&service->admission, &service->options->admission, service->options->queue_maximum);
    }
    store_admission_tick(&service->admission, service->loops->now_us(service->loops->main_loop(service->host)));
    store_catalog_tick(service);
    if (++service->ticks % 4 == 0) {
        store_compact_tick(service);
        show_metrics(service);
    }
}

int32_t store_service_start(void *self, hf_error *error)
{
    struct store_service *service = self;
    int32_t result = service->loops->timer_create(service->loops->main_loop(service->host), main_tick, service,
                                                  &service->timer, error);

    if (result != HF_OK)
        return result;
    service->loops->timer_start(service->timer, MAIN_TICK_US, MAIN_TICK_US);
    service->begin_us = service->loops->now_us(service->loops->main_loop(service->host));
    service->started = 1;
    for (uint32_t i = 0; i < service->shard_count; i++) {
        service->shards[i].begin_task.run = begin_shard;
        service->loops->post(service->shards[i].loop, &service->shards[i].begin_task);
    }
    return HF_OK;
}

int32_t store_service_config_prepare(void *self, const void *configuration, hf_error *error)
{
    struct store_service *service = self;

    service->options_prepared = configuration;
    return store_options_check(configuration, error);
}

void store_service_config_commit(void *self)
{
    struct store_service *service = self;

    service->options_next = service->options_prepared;
}

void store_service_config_abort(void *self)
{
    (void)self;
}

/* ---- Ending --------------------------------------------------------------------------------------------------- */

static void all_stopped(hf_task *task)
{
    struct store_service *service =
        (struct store_service *)((char *)task - offsetof(struct store_service, drained_task));

    service->drained(service->drained_arg);
}

static void replica_stopped(void *arg)
{
    struct store_shard *shard = arg;
    struct store_service *service = shard->service;

    if (--shard->stopping > 0)
        return;
    if (atomic_fetch_sub(&service->shards_left, 1) == 1) {
        service->drained_task.run = all_stopped;
        service->loops->post(service->loops->main_loop(service->host), &service->drained_task);
    }
}

static void stop_shard(hf_task *task)
{
    struct store_shard *shard = (struct store_shard *)((char *)task - offsetof(struct store_shard, stop_task));

    shard->service->loops->timer_destroy(shard->timer);
    shard->timer = NULL;
    shard->stopping = 1; /* this function's own share */
    store_calls_end(shard);
    store_recover_tick(shard, UINT64_MAX);
    store_creations_check(shard, UINT64_MAX);
    for (uint64_t i = 0; i < shard->replica_count; i++)
        if (shard->replicas[i]) {
            shard->stopping++;
            store_replica_stop(shard->replicas[i], replica_stopped, shard);
        }
    replica_stopped(shard);
}

void store_service_drain(void *self, uint64_t deadline_us, void (*done)(void *arg), void *arg)
{
    struct store_service *service = self;

    (void)deadline_us; /* nothing here takes longer than a write to the disk */
    service->draining = 1;
    service->drained = done;
    service->drained_arg = arg;
    service->loops->timer_destroy(service->timer);
    service->timer = NULL;
    store_http_drain(service->http);
    atomic_store(&service->shards_left, service->shard_count);
    for (uint32_t i = 0; i < service->shard_count; i++) {
        service->shards[i].stop_task.run = stop_shard;
        service->loops->post(service->shards[i].loop, &service->shards[i].stop_task);
    }
}

/* What was applied need not be applied again at the next start. */
void store_service_stop(void *self)
{
    struct store_service *service = self;
    hf_error error = {0};

    if (store_log_finish(service->log, &error) != HF_OK)
        store_service_log(service, HF_LOG_WARNING, "the log was not ended in order: %s", error.message);
    service->log = NULL;
    if (service->engine->flush(service->database, &error) != HF_OK)
        store_service_log(service, HF_LOG_WARNING, "the engine could not be flushed: %s", error.message);
}
