/* Replicas whose place is elsewhere now.  The catalog says so first, but only the group itself knows whether it still
 * counts on the replica: it is asked, linearizably, and what it does not count on is removed. */
#include "service/private.h"

#include "bytes.h"
#include "service/call.h"

#include <holdfast/lib/error.h>

#include <inttypes.h>
#include <stdlib.h>

enum { ASK_TIMEOUT_US = 5000000 };

struct store_retire {
    struct store_call call;
    struct store_service *service;
    int32_t busy;
    int32_t removed; /* 1: the last one was */
    uint64_t next;   /* partition to look at next */
    uint64_t partition, self;
    struct store_replica *replica;
    _Atomic int32_t waits; /* 1: it has stopped, and the pool was full */
    hf_task task;
    hf_job job;
    int32_t code;
    hf_error error;
};

static struct store_retire *of_task(hf_task *task)
{
    return (struct store_retire *)((char *)task - offsetof(struct store_retire, task));
}

/* ---- Removing ---------------------------------------------------------------------------------------------------- */

/* [first worker loop] There may be many more, after a node was drained. */
static void over(hf_task *task)
{
    struct store_retire *retire = of_task(task);
    struct store_shard *shard = &retire->service->shards[0];
    int32_t removed = retire->removed;

    retire->busy = retire->removed = 0;
    if (removed && !shard->stopping)
        store_retire_tick(shard, retire->service->loops->now_us(shard->loop));
}

static void post_over(struct store_retire *retire)
{
    retire->task.run = over;
    retire->service->loops->post(retire->service->shards[0].loop, &retire->task);
}

/* [pool] */
static void erase(hf_job *job)
{
    struct store_retire *retire = (struct store_retire *)((char *)job - offsetof(struct store_retire, job));

    retire->code = store_replica_erase(retire->replica, &retire->error);
}

/* [main] */
static void erased(hf_job *job)
{
    struct store_retire *retire = (struct store_retire *)((char *)job - offsetof(struct store_retire, job));
    struct store_service *service = retire->service;

    retire->removed = retire->code == HF_OK;
    if (!retire->removed)
        store_service_log(service, HF_LOG_ERROR, "the replica of partition %" PRIu64 " could not be removed: %s",
                          retire->partition, retire->error.message);
    else
        store_service_log(service, HF_LOG_INFO, "removed the replica of partition %" PRIu64 ", which has moved",
                          retire->partition);
    store_service_unregister(service, retire->partition);
    store_replica_close(retire->replica);
    store_catalog_changed(service, NULL); /* another one may be waiting for the place */
    post_over(retire);
}

/* [main] It stays registered until nothing of it is left: a new replica of the partition that is to come to this node
 * would be erased, too. */
static void begin_erasing(struct store_retire *retire)
{
    struct store_service *service = retire->service;

    retire->job = (hf_job){.loop = service->loops->main_loop(service->host), .work = erase, .done = erased};
    atomic_store(&retire->waits, service->loops->submit(service->host, &retire->job, NULL) != HF_OK);
}

static void erase_task(hf_task *task)
{
    begin_erasing(of_task(task));
}

static void post_erasing(struct store_retire *retire)
{
    retire->task.run = erase_task;
    retire->service->loops->post(retire->service->loops->main_loop(retire->service->host), &retire->task);
}

static void stopped(void *arg)
{
    post_erasing(arg);
}

/* [the replica's loop] */
static void stop_it(hf_task *task)
{
    struct store_retire *retire = of_task(task);
    struct store_shard *shard = store_shard_of(retire->service, retire->partition);

    retire->replica = store_shard_replica(shard, retire->partition);
    if (!retire->replica || shard->stopping || store_replica_self(retire->replica) != retire->self) {
        post_over(retire);
        return;
    }
    store_shard_remove(shard, retire->partition);
    store_replica_stop(retire->replica, stopped, retire);
}

/* ---- Asking ------------------------------------------------------------------------------------------------------ */

int32_t store_members_have(hf_slice members, uint64_t replica)
{
    for (; members.size >= 9; members.data += 9, members.size -= 9)
        if (store_read_be(members.data, 8) == replica)
            return 1;
    return 0;
}

static void asked(struct store_call *call)
{
    struct store_retire *retire = (struct store_retire *)(void *)call;
    hf_slice members = {call->op.result.data, call->op.result.size};
    int gone = call->op.code == HF_OK && members.size > 0 && !store_members_have(members, retire->self);

    hf_buffer_done(&call->op.result);
    if (!gone || retire->service->draining) {
        retire->busy = 0;
        return;
    }
    retire->task.run = stop_it;
    retire->service->loops->post(store_shard_of(retire->service, retire->partition)->loop, &retire->task);
}

static int is_placed(const struct store_partition *partition, uint64_t replica)
{
    for (uint32_t i = 0; i < partition->leaving_count; i++)
        if (partition->leaving[i] == replica)
            return 1;
    return store_partition_has_replica(partition, replica);
}

/* A partition that was merged into another, and whose change feed is not kept any more. */
static int is_gone(const struct store_routing *routing, uint64_t partition)
{
    for (uint32_t i = 0; i < routing->table_count; i++) {
        const struct store_retired *retired = store_table_retired(routing->tables[i], partition);

        if (retired)
            return retired->is_gone;
    }
    return 0;
}

/* The next replica of this node that the catalog does not place here; 0: none. */
static uint64_t find_misplaced(struct store_retire *retire, const struct store_routing *routing)
{
    struct store_service *service = retire->service;
    uint64_t found = 0, count = 0;

    pthread_rwlock_rdlock(&service->lock);
    for (; count < service->replica_count && !found; count++) {
        uint64_t id = (retire->next + count) % service->replica_count;
        const struct store_replica *replica = service->replicas[id];
        const struct store_routed *routed = replica ? store_routing_partition(routing, id) : NULL;

        if (!replica || id == STORE_CATALOG_PARTITION ||
            (routed ? is_placed(routed->partition, store_replica_self(replica)) : !is_gone(routing, id)))
            continue;
        found = id;
        retire->self = store_replica_self(replica);
    }
    pthread_rwlock_unlock(&service->lock);
    retire->next += count;
    return found;
}

void store_retire_tick(struct store_shard *shard, uint64_t now_us)
{
    struct store_service *service = shard->service;
    struct store_retire *retire = service->retire;

    if (!retire)
        retire = service->retire = calloc(1, sizeof *retire);
    if (retire && atomic_exchange(&retire->waits, 0))
        post_erasing(retire);
    if (!retire || retire->busy)
        return;
    retire->service = service;
    retire->partition = find_misplaced(retire, shard->routing);
    if (!retire->partition)
        return;
    retire->busy = 1;
    if (!store_routing_partition(shard->routing, retire->partition)) { /* there is nobody to ask any more */
        retire->task.run = stop_it;
        service->loops->post(store_shard_of(service, retire->partition)->loop, &retire->task);
        return;
    }
    retire->call = (struct store_call){
        .op = {.type = STORE_OP_MEMBERS, .partition = retire->partition, .deadline_us = now_us + ASK_TIMEOUT_US},
        .finished = asked};
    store_call_start(service, &retire->call);
}

void store_retire_free(struct store_service *service)
{
    free(service->retire);
}
