/* The side that is asked: takes a view when the agreed position is applied, and keeps the tree until it was read.  What
 * is kept of a partition belongs to the loop of its replica. */
#include "service/private.h"

#include "replica/check.h"
#include "service/compare_message.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>
#include <string.h>

enum { KEPT_MAX = 8 /* trees of 8 KiB, for each loop */, KEEP_US = 600000000 };

struct store_compared {
    struct store_compared *next;
    uint64_t partition, session; /* session 0: nobody waits for it */
    uint64_t until_us;
    int32_t running;
    int32_t code;
    struct store_hash_tree tree;
};

struct arrived {
    hf_task task;
    struct store_shard *shard;
    uint32_t node;
    hf_peer_request *request;
    struct store_compare_request asked;
};

/* ---- What is kept ------------------------------------------------------------------------------------------------ */

static struct store_compared *find(const struct store_shard *shard, const struct store_compare_request *asked)
{
    for (struct store_compared *kept = shard->compared; kept; kept = kept->next)
        if (kept->partition == asked->partition && kept->session == asked->session)
            return kept;
    return NULL;
}

/* What nobody asks for any more, and what came before of the same partition. */
static uint32_t prune(struct store_shard *shard, uint64_t partition, uint64_t now_us)
{
    struct store_compared **link = &shard->compared;
    uint32_t count = 0;

    while (*link) {
        struct store_compared *kept = *link;

        if (!kept->running && (kept->session == 0 || kept->partition == partition || kept->until_us < now_us)) {
            *link = kept->next;
            free(kept);
        } else {
            count++;
            link = &kept->next;
        }
    }
    return count;
}

static void looked_through(void *arg, struct store_replica *replica, const struct store_findings *findings)
{
    struct store_compared *kept = arg;

    (void)replica;
    kept->running = 0;
    kept->code = findings->code;
    if (findings->tree)
        kept->tree = *findings->tree;
}

/* ---- Requests ---------------------------------------------------------------------------------------------------- */

static int32_t begin(const struct arrived *arrived, struct store_replica *replica)
{
    struct store_shard *shard = arrived->shard;
    uint64_t now_us = shard->service->loops->now_us(shard->loop);

    if (!replica)
        return HF_ENOTFOUND;
    if (prune(shard, arrived->asked.partition, now_us) >= KEPT_MAX)
        return HF_EBUSY;
    struct store_compared *kept = calloc(1, sizeof *kept);

    if (!kept)
        return HF_ENOMEM;
    kept->partition = arrived->asked.partition;
    kept->session = arrived->asked.session;
    kept->until_us = now_us + KEEP_US;
    int32_t result = store_replica_check(replica, arrived->asked.argument, looked_through, kept, NULL);

    if (result != HF_OK) {
        free(kept);
        return result;
    }
    kept->running = 1;
    kept->next = shard->compared;
    shard->compared = kept;
    return HF_OK;
}

static int32_t answer(const struct arrived *arrived, uint8_t bytes[STORE_COMPARE_HASHES_SIZE])
{
    struct store_compared *kept = find(arrived->shard, &arrived->asked);
    uint64_t hashes[STORE_HASH_TREE_FANOUT], now_us = arrived->shard->service->loops->now_us(arrived->shard->loop);

    if (!kept)
        return HF_ENOTFOUND;
    kept->until_us = now_us + KEEP_US;
    if (kept->running || kept->code != HF_OK)
        return kept->running ? HF_EBUSY : kept->code;
    store_hash_tree_children(&kept->tree, (uint32_t)(arrived->asked.argument >> 32), (uint32_t)arrived->asked.argument,
                             hashes);
    store_compare_write_hashes(bytes, hashes);
    return HF_OK;
}

static int32_t differs(const struct arrived *arrived, struct store_replica *replica)
{
    const struct store_compared *kept = find(arrived->shard, &arrived->asked);

    if (!replica || !kept || kept->running || kept->code != HF_OK)
        return HF_ENOTFOUND;
    if (atomic_load(&store_replica_published(replica)->leader) != arrived->node + 1)
        return HF_EDENIED; /* the next comparison will tell */
    store_replica_differs(replica, arrived->asked.argument);
    return HF_OK;
}

static void forget(const struct arrived *arrived)
{
    struct store_compared *kept = find(arrived->shard, &arrived->asked);

    if (kept)
        kept->session = 0;
}

/* [the loop of the partition's replica] */
static void serve(hf_task *task)
{
    struct arrived *arrived = (struct arrived *)(void *)task;
    struct store_replica *replica = store_shard_replica(arrived->shard, arrived->asked.partition);
    uint8_t bytes[STORE_COMPARE_HASHES_SIZE];
    hf_slice response = {NULL, 0};
    int32_t code = HF_OK;

    switch (arrived->asked.kind) {
    case STORE_COMPARE_BEGIN:
        code = begin(arrived, replica);
        break;
    case STORE_COMPARE_ASK:
        code = answer(arrived, bytes);
        if (code == HF_OK)
            response = (hf_slice){bytes, sizeof bytes};
        break;
    case STORE_COMPARE_DIFFERS:
        code = differs(arrived, replica);
        break;
    default:
        forget(arrived);
    }
    arrived->shard->service->peers->respond(arrived->request, code, response);
    free(arrived);
}

static void request_arrived(void *arg, uint32_t node, hf_peer_request *request, hf_slice bytes)
{
    struct store_service *service = arg;
    struct store_compare_request asked;
    struct arrived *arrived;

    if (!store_hello_trusts(service, node) || service->draining) {
        service->peers->respond(request, HF_ECLOSED, (hf_slice){NULL, 0});
        return;
    }
    if (store_compare_read(bytes, &asked) != HF_OK) {
        service->peers->respond(request, HF_EPROTOCOL, (hf_slice){NULL, 0});
        return;
    }
    arrived = malloc(sizeof *arrived);
    if (!arrived) {
        service->peers->respond(request, HF_EBUSY, (hf_slice){NULL, 0});
        return;
    }
    *arrived = (struct arrived){.task.run = serve,
                                .shard = store_shard_of(service, asked.partition),
                                .node = node,
                                .request = request,
                                .asked = asked};
    service->loops->post(arrived->shard->loop, &arrived->task);
}

int32_t store_compared_open(struct store_service *service, hf_error *error)
{
    static const hf_peer_handlers handlers = {.size = sizeof handlers, .request = request_arrived};

    return service->peers->channel(service->host, "store.compare", &handlers, service, &service->compare_channel,
                                   error);
}

void store_compared_free(struct store_shard *shard)
{
    while (shard->compared) {
        struct store_compared *kept = shard->compared;

        shard->compared = kept->next;
        free(kept);
    }
}
