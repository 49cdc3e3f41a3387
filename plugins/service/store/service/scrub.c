/* Replicas are looked through for damage, one of the node after the other, each about once in `scrub_interval`.  Of a
 * group that this node leads all replicas are, and they are compared; the others leave it to their leader for half as
 * long again.
 *
 * When a replica is due first is drawn at random within the interval, so that a node which is often restarted looks at
 * each of them as often on average, without anything to remember. */
#include "service/private.h"

#include "replica/check.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/hash.h>

#include <stdlib.h>

enum { AGAIN_US = 1000000 };

struct store_scrub {
    hf_task task;
    struct store_service *service;
    hf_random random;
    uint64_t count;
    uint64_t *due_us; /* by partition; 0: not drawn yet */
    int32_t busy;
    uint64_t partition; /* being looked through */
    int32_t code;
    struct store_compare *compare; /* under way */
};

static struct store_scrub *of_task(hf_task *task)
{
    return (struct store_scrub *)(void *)task;
}

/* ---- One replica ------------------------------------------------------------------------------------------------- */

/* [first worker loop] */
static void over(hf_task *task)
{
    struct store_scrub *scrub = of_task(task);
    struct store_service *service = scrub->service;
    uint64_t now = service->loops->now_us(service->shards[0].loop);
    int looked = scrub->code == HF_OK || scrub->code == HF_ECORRUPT || scrub->code == HF_EUNSUPPORTED;

    scrub->busy = 0;
    if (scrub->partition < scrub->count)
        scrub->due_us[scrub->partition] = now + (looked ? service->options->scrub_interval_us : AGAIN_US);
}

static void post_over(struct store_scrub *scrub, int32_t code)
{
    scrub->code = code;
    scrub->task.run = over;
    scrub->service->loops->post(scrub->service->shards[0].loop, &scrub->task);
}

static void checked(void *arg, struct store_replica *replica, const struct store_findings *findings)
{
    (void)replica;
    post_over(arg, findings->code);
}

static void compared(void *arg, int32_t code)
{
    struct store_scrub *scrub = arg;

    scrub->compare = NULL;
    scrub->code = code;
    over(&scrub->task);
}

/* [the replica's loop] */
static void begin(hf_task *task)
{
    struct store_scrub *scrub = of_task(task);
    const struct store_shard *shard = store_shard_of(scrub->service, scrub->partition);
    struct store_replica *replica = store_shard_replica(shard, scrub->partition);
    int32_t result = replica ? store_replica_check(replica, 0, checked, scrub, NULL) : HF_ENOTFOUND;

    if (result != HF_OK)
        post_over(scrub, result);
}

/* ---- Which one --------------------------------------------------------------------------------------------------- */

static int32_t make_room(struct store_scrub *scrub, uint64_t count)
{
    uint64_t *due_us = count > scrub->count ? realloc(scrub->due_us, count * sizeof *due_us) : scrub->due_us;

    if (!due_us && count)
        return HF_ENOMEM;
    scrub->due_us = due_us;
    while (scrub->count < count)
        scrub->due_us[scrub->count++] = 0;
    return HF_OK;
}

static int32_t leads(struct store_replica *replica)
{
    return atomic_load(&store_replica_published(replica)->role) == HF_ROLE_LEADER;
}

static int32_t is_due(struct store_scrub *scrub, uint64_t partition, uint64_t now_us)
{
    uint64_t interval_us = scrub->service->options->scrub_interval_us, *due_us = &scrub->due_us[partition];
    struct store_replica *replica = scrub->service->replicas[partition];
    uint64_t looked_us = atomic_load(&store_replica_published(replica)->looked_us);

    if (*due_us == 0 || *due_us > now_us + interval_us) /* new, or the interval was shortened */
        *due_us = now_us + 1 + hf_random_below(&scrub->random, interval_us);
    if (leads(replica))
        return *due_us <= now_us;
    return *due_us + interval_us / 2 <= now_us && looked_us + interval_us + interval_us / 2 <= now_us;
}

/* The replica that has been due for longest; 0: none is.  A replica that stopped has nothing to be looked at. */
static uint64_t choose(struct store_scrub *scrub, uint64_t now_us, int32_t *ret_leads)
{
    struct store_service *service = scrub->service;
    uint64_t chosen = 0;

    pthread_rwlock_rdlock(&service->lock);
    int32_t result = make_room(scrub, service->replica_count);

    for (uint64_t id = 0; result == HF_OK && id < service->replica_count; id++)
        if (service->replicas[id] && !atomic_load(&store_replica_published(service->replicas[id])->failed) &&
            is_due(scrub, id, now_us) && (!chosen || scrub->due_us[id] < scrub->due_us[chosen]))
            chosen = id;
    *ret_leads = chosen && leads(service->replicas[chosen]);
    pthread_rwlock_unlock(&service->lock);
    return chosen;
}

static struct store_scrub *create(struct store_service *service)
{
    struct store_scrub *scrub = calloc(1, sizeof *scrub);
    uint64_t seed = 0;

    if (!scrub)
        return NULL;
    service->node->random(service->host, &seed, sizeof seed);
    hf_random_init(&scrub->random, seed);
    scrub->service = service;
    return scrub;
}

void store_scrub_tick(struct store_shard *shard, uint64_t now_us)
{
    struct store_service *service = shard->service;

    if (service->scrub && service->scrub->compare)
        store_compare_tick(service->scrub->compare);
    if (!service->options->scrub_interval_us || service->draining || (service->scrub && service->scrub->busy))
        return;
    if (!service->scrub)
        service->scrub = create(service);
    if (!service->scrub)
        return; /* the next tick tries again */
    struct store_scrub *scrub = service->scrub;
    int32_t is_leader = 0;

    scrub->partition = choose(scrub, now_us, &is_leader);
    if (!scrub->partition)
        return;
    scrub->busy = 1;
    if (service->peers && is_leader)
        scrub->compare = store_compare_start(service, scrub->partition, compared, scrub);
    if (scrub->compare)
        return;
    scrub->task.run = begin;
    service->loops->post(store_shard_of(service, scrub->partition)->loop, &scrub->task);
}

void store_scrub_free(struct store_service *service)
{
    if (service->scrub) {
        store_compare_free(service->scrub->compare);
        free(service->scrub->due_us);
    }
    free(service->scrub);
    service->scrub = NULL;
}
