/* Who asks for splits and merges.  The leader of a partition sees how much it has and how busy it is, and asks that it
 * be split; the leader of the catalog looks at neighbours that came of splits, one pair after the other, and asks that
 * those be merged that have been small and quiet for long. */
#include "service/private.h"

#include "service/call.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
    SMALL_SHARE = 4, /* two neighbours together have at most this part of what one may have */
    PAIRS_MAX = 64,  /* that wait to be merged */
    TIMEOUT_US = 5000000,
    LOOKS = 10, /* at pairs, while one waits to be merged */
    LOOK_EVERY_MIN_US = 500000,
    LOOK_EVERY_MAX_US = 60000000
};

/* Two neighbours that were small when they were last looked at. */
struct pair {
    uint64_t partition, since_us;
};

struct store_growth {
    struct store_service *service;
    uint64_t pair_us;             /* when the next pair is looked at */
    int32_t is_busy;              /* a wish, or a look at a pair, is under way */
    uint64_t next;                /* partition */
    uint32_t table, place;        /* of the next pair */
    uint64_t lower, upper;        /* the pair that is looked at */
    struct store_shape_row shape; /* of the lower one */
    uint32_t pair_count;
    struct pair pairs[PAIRS_MAX];
    struct store_call call;
};

static uint64_t now_us(const struct store_growth *growth)
{
    return growth->service->loops->now_us(growth->service->shards[0].loop);
}

/* Whatever came of it, the next round looks again. */
static void wished(void *arg, int32_t code, const hf_error *error)
{
    struct store_growth *growth = arg;

    if (code != HF_OK && code != HF_ECONFLICT)
        store_service_log(growth->service, HF_LOG_DEBUG, "a split or merge could not be asked for: %s",
                          error ? error->message : "");
    growth->is_busy = 0;
}

static void wish(struct store_growth *growth, uint64_t partition, int32_t merge, const char *why)
{
    store_service_log(growth->service, HF_LOG_INFO, "partition %" PRIu64 " is to be %s: %s", partition,
                      merge ? "merged with its upper neighbour" : "split", why);
    growth->is_busy = 1;
    store_service_reshape(growth->service, partition, merge, wished, growth);
}

/* ---- Splits ------------------------------------------------------------------------------------------------------ */

/* Why the partition, which this node leads, should be split; NULL: it should not. */
static const char *reason_to_split(const struct store_service *service, struct store_replica *replica)
{
    const struct store_replica_published *published = store_replica_published(replica);
    uint64_t most = (uint64_t)service->options->partition_max_rate;

    if (atomic_load(&published->role) != HF_ROLE_LEADER)
        return NULL;
    if (atomic_load(&published->is_oversize))
        return "it has more than partition_max_size";
    return most && atomic_load(&published->rate) > most ? "it does more than partition_max_rate" : NULL;
}

/* The next one; 0: there is none. */
static uint64_t find_grown(struct store_growth *growth, const char **ret_why)
{
    struct store_service *service = growth->service;
    const struct store_routing *routing = service->shards[0].routing;
    uint64_t found = 0, count = 0;

    pthread_rwlock_rdlock(&service->lock);
    for (; count < service->replica_count && !found; count++) {
        uint64_t id = (growth->next + count) % service->replica_count;
        const struct store_routed *routed = service->replicas[id] ? store_routing_partition(routing, id) : NULL;

        if (!routed || id == STORE_CATALOG_PARTITION || routed->partition->is_reshaping)
            continue;
        *ret_why = reason_to_split(service, service->replicas[id]);
        if (*ret_why)
            found = id;
    }
    pthread_rwlock_unlock(&service->lock);
    growth->next += count;
    return found;
}

/* ---- Merges ------------------------------------------------------------------------------------------------------ */

static int is_small(const struct store_options *options, const struct store_shape_row *a,
                    const struct store_shape_row *b)
{
    uint64_t most_rate = (uint64_t)options->partition_max_rate;

    return a->state == STORE_SHAPE_STEADY && b->state == STORE_SHAPE_STEADY && !a->has_strays && !b->has_strays &&
           (!options->partition_max_size || a->bytes + b->bytes <= options->partition_max_size / SMALL_SHARE) &&
           (!most_rate || a->rate + b->rate <= most_rate / SMALL_SHARE);
}

/* Notes what was seen of the pair; 1: it has been small for long enough. */
static int note_pair(struct store_growth *growth, uint64_t partition, int small)
{
    uint32_t at = 0;

    while (at < growth->pair_count && growth->pairs[at].partition != partition)
        at++;
    if (!small) {
        if (at < growth->pair_count)
            growth->pairs[at] = growth->pairs[--growth->pair_count];
        return 0;
    }
    if (at == growth->pair_count) {
        if (at == PAIRS_MAX)
            return 0; /* its turn comes */
        growth->pairs[growth->pair_count++] = (struct pair){partition, now_us(growth)};
    }
    if (now_us(growth) - growth->pairs[at].since_us < growth->service->options->merge_after_us)
        return 0;
    growth->pairs[at] = growth->pairs[--growth->pair_count];
    return 1;
}

static int32_t take_shape(struct store_call *call, struct store_shape_row *ret_shape)
{
    int32_t good = call->op.code == HF_OK &&
                   store_result_shape((hf_slice){call->op.result.data, call->op.result.size}, ret_shape) == HF_OK;

    hf_buffer_done(&call->op.result);
    return good;
}

static void ask(struct store_growth *growth, uint64_t partition, void (*finished)(struct store_call *call))
{
    growth->is_busy = 1;
    growth->call = (struct store_call){
        .op = {.type = STORE_OP_SHAPE, .partition = partition, .deadline_us = now_us(growth) + TIMEOUT_US},
        .finished = finished};
    store_call_start(growth->service, &growth->call);
}

static struct store_growth *of_call(struct store_call *call)
{
    return (struct store_growth *)((char *)call - offsetof(struct store_growth, call));
}

static void upper_told(struct store_call *call)
{
    struct store_growth *growth = of_call(call);
    struct store_shape_row shape = {0};

    growth->is_busy = 0;
    if (note_pair(growth, growth->lower,
                  take_shape(call, &shape) && is_small(growth->service->options, &growth->shape, &shape)))
        wish(growth, growth->lower, 1, "the two have been small and quiet for long");
}

static void lower_told(struct store_call *call)
{
    struct store_growth *growth = of_call(call);

    growth->is_busy = 0;
    if (take_shape(call, &growth->shape))
        ask(growth, growth->upper, upper_told);
    else
        note_pair(growth, growth->lower, 0);
}

static int came_of_splits(const struct store_table *table)
{
    uint32_t values = table->declaration.value_count ? table->declaration.value_count : 1;

    return table->partition_count > values * table->declaration.hash_ranges;
}

/* The next pair of neighbours, over all tables that have more partitions than they were made with. */
static void look_at_pair(struct store_growth *growth)
{
    const struct store_routing *routing = growth->service->shards[0].routing;
    uint64_t pause_us = growth->service->options->merge_after_us / LOOKS;

    if (now_us(growth) < growth->pair_us)
        return;
    if (pause_us > LOOK_EVERY_MAX_US)
        pause_us = LOOK_EVERY_MAX_US;
    growth->pair_us = now_us(growth) + (pause_us < LOOK_EVERY_MIN_US ? (uint64_t)LOOK_EVERY_MIN_US : pause_us);
    for (uint32_t tables = 0; tables <= routing->table_count; tables++) {
        const struct store_table *table = growth->table < routing->table_count ? routing->tables[growth->table] : NULL;

        while (table && came_of_splits(table) && growth->place < table->partition_count) {
            const struct store_partition *lower = &table->partitions[growth->place++];
            const struct store_partition *upper = store_table_neighbour(table, lower->id);

            if (!upper || lower->is_reshaping || upper->is_reshaping || lower->leaving_count || upper->leaving_count)
                continue;
            growth->lower = lower->id;
            growth->upper = upper->id;
            ask(growth, lower->id, lower_told);
            return;
        }
        growth->place = 0;
        growth->table = growth->table + 1 < routing->table_count ? growth->table + 1 : 0;
    }
}

/* ---- Both -------------------------------------------------------------------------------------------------------- */

void store_growth_tick(struct store_shard *shard)
{
    struct store_service *service = shard->service;
    struct store_growth *growth = service->growth;
    struct store_replica *catalog = store_catalog_replica(service);
    const char *why = NULL;

    if (!growth)
        growth = service->growth = calloc(1, sizeof *growth);
    if (!growth || growth->is_busy || service->draining || !catalog)
        return;
    growth->service = service;
    uint64_t grown = find_grown(growth, &why);

    if (grown)
        wish(growth, grown, 0, why);
    else if (service->options->merge_after_us && atomic_load(&store_replica_published(catalog)->role) == HF_ROLE_LEADER)
        look_at_pair(growth);
}

void store_growth_free(struct store_service *service)
{
    free(service->growth);
}
