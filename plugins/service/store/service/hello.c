/* The first message on every link: which disk the sender runs on, and which cluster it has a catalog of; see
 * identity.h. Until it was heard and believed, nothing else of that node is.  It is answered, so that the sender knows;
 * links go one way, so an answer can be lost because the link back is not up yet: the hello is said again until there
 * was one, and when the other side says its own, which shows that it can answer now.
 *
 * A node without a catalog does not know whether there is one: it asks the others.  When one has it, the node waits to
 * be made a member; when all configured nodes have none, or a majority and the rest stays away, they begin it. */
#include "service/call.h"
#include "service/private.h"

#include "bytes.h"

#include <holdfast/lib/error.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    VERSION = 2,
    HELLO = 1,
    HELLO_BACK = 2,
    ACCEPTED = 3,
    REFUSED = 4,
    POSITION = 5,
    ABSTAINS = 6,
    HEALS_AT = 1 + 1 + 1 + 4 + 7 * 8,
    SIZE = HEALS_AT + 1
};
enum { AGAIN_US = 1000000, BEGIN_WITHOUT_US = 10000000, WITNESS_US = 10000000 };

struct hello {
    uint8_t kind;
    uint8_t why;                    /* of REFUSED: STORE_IDENTITY_... */
    uint32_t shard;                 /* of the sender; of an answer, what is answered: each has a link of its own */
    struct store_identity identity; /* of the sender; of an answer, what is answered */
    uint64_t cluster;               /* of the sender */
    uint64_t generation;            /* of ACCEPTED: older ids of the accepted node are void */
    int32_t heals;                  /* 1: the sender has set damaged data aside, and asks to be filled anew */
};

static void send(struct store_service *service, uint32_t node, uint8_t kind, uint8_t why, uint32_t shard,
                 const struct store_identity *identity)
{
    uint8_t bytes[SIZE] = {VERSION, kind, why};
    const hf_slice piece = {bytes, sizeof bytes};

    store_write_be(bytes + 3, shard, 4);
    store_write_be(bytes + 7, identity->disk, 8);
    store_write_be(bytes + 15, identity->starts, 8);
    store_write_be(bytes + 23, atomic_load(&service->cluster), 8);
    store_write_be(bytes + 39, identity->boot, 8);
    store_write_be(bytes + 47, identity->previous, 8);
    store_write_be(bytes + 55, identity->position, 8);
    if (kind == ACCEPTED)
        store_write_be(bytes + 31, store_shard_current(service)->routing->nodes[node].generation, 8);
    bytes[HEALS_AT] = (uint8_t)atomic_load(&service->heals);
    (void)service->peers->send(service->hello, node, &piece, 1);
}

static int32_t read_hello(hf_slice bytes, struct hello *ret_hello)
{
    if (bytes.size != SIZE || bytes.data[0] != VERSION)
        return HF_EPROTOCOL;
    ret_hello->kind = bytes.data[1];
    ret_hello->why = bytes.data[2];
    ret_hello->shard = (uint32_t)store_read_be(bytes.data + 3, 4);
    ret_hello->identity.disk = store_read_be(bytes.data + 7, 8);
    ret_hello->identity.starts = store_read_be(bytes.data + 15, 8);
    ret_hello->cluster = store_read_be(bytes.data + 23, 8);
    ret_hello->generation = store_read_be(bytes.data + 31, 8);
    ret_hello->identity.boot = store_read_be(bytes.data + 39, 8);
    ret_hello->identity.previous = store_read_be(bytes.data + 47, 8);
    ret_hello->identity.position = store_read_be(bytes.data + 55, 8);
    ret_hello->heals = bytes.data[HEALS_AT] == 1;
    return HF_OK;
}

/* ---- Beginning the catalog, or joining --------------------------------------------------------------------------- */

static uint32_t bits(uint32_t set)
{
    uint32_t count = 0;

    for (; set; set &= set - 1)
        count++;
    return count;
}

static void begin_or_wait(struct store_service *service, uint64_t now_us)
{
    uint32_t fresh = bits(atomic_load(&service->fresh)) + 1; /* and this one */

    if (atomic_load(&service->cluster) || atomic_load(&service->cluster_heard) || atomic_load(&service->refused) ||
        atomic_load(&service->heals)) /* it had part in one, and must not begin another */
        return;
    if (fresh == service->nodes.count ||
        (fresh > service->nodes.count / 2 && now_us > service->begin_us + BEGIN_WITHOUT_US))
        store_catalog_join(service, 0, store_replica_id(service->nodes.self, 0));
}

static void note_cluster(struct store_service *service, uint32_t node, uint64_t cluster)
{
    if (cluster) {
        atomic_store(&service->cluster_heard, cluster);
        atomic_fetch_and(&service->fresh, ~(1u << node));
    } else {
        atomic_fetch_or(&service->fresh, 1u << node);
    }
    begin_or_wait(service, service->loops->now_us(store_shard_current(service)->loop));
}

void store_hello_join(struct store_service *service, uint32_t node, uint64_t replica)
{
    /* A node that lost its disk must not go on under its old id: it is refused until it is replaced, and the id is void
     * then. */
    if (!atomic_load(&service->refused) && atomic_load(&service->accepted) & 1u << node &&
        atomic_load(&service->cluster_heard) && store_replica_generation(replica) >= atomic_load(&service->generation))
        store_catalog_join(service, 1, replica);
}

/* ---- Judging ----------------------------------------------------------------------------------------------------- */

/* [pool] */
static void save(hf_job *job)
{
    struct store_service *service = (struct store_service *)((char *)job - offsetof(struct store_service, witness_job));
    hf_error error = {0};

    atomic_store(&service->witness_again, 0);
    if (store_witness_save(&service->witness, &error) != HF_OK)
        store_service_log(service, HF_LOG_ERROR, "what is known of other nodes' disks was not saved: %s",
                          error.message);
}

static void save_later(struct store_service *service);

static void saved(hf_job *job)
{
    struct store_service *service = (struct store_service *)((char *)job - offsetof(struct store_service, witness_job));

    atomic_store(&service->witness_saving, 0);
    if (atomic_load(&service->witness_again))
        save_later(service);
}

static void save_later(struct store_service *service)
{
    atomic_store(&service->witness_again, 1);
    if (atomic_exchange(&service->witness_saving, 1))
        return;
    service->witness_job = (hf_job){.loop = service->loops->main_loop(service->host), .work = save, .done = saved};
    if (service->loops->submit(service->host, &service->witness_job, NULL) != HF_OK)
        atomic_store(&service->witness_saving, 0); /* the next hello tries again */
}

static int32_t judge(struct store_service *service, struct store_shard *shard, uint32_t node, const struct hello *hello)
{
    uint64_t own = atomic_load(&service->cluster);
    const struct store_node_record *record = &shard->routing->nodes[node];
    int32_t news = 0, judgement;

    if (own && hello->cluster && own != hello->cluster)
        return STORE_IDENTITY_CLUSTER;
    if (record->state == STORE_NODE_LOST ||
        store_fence_keeps_out(&service->fence, node, hello->identity.disk, record->disk))
        return hello->cluster ? STORE_IDENTITY_LOST : STORE_IDENTITY_FOREIGN; /* an empty disk can replace it */
    judgement = store_witness_judge(&service->witness, node, &hello->identity, record->disk, &news);
    if (news)
        save_later(service);
    return judgement;
}

const char *store_hello_describe(int32_t judgement)
{
    switch (judgement) {
    case STORE_IDENTITY_OLDER:
        return "an old image of its disk, of which more is known";
    case STORE_IDENTITY_FOREIGN:
        return "another disk than before";
    case STORE_IDENTITY_COPY:
        return "a disk of which a copy was started, too";
    case STORE_IDENTITY_LOST:
        return "the disk that 'holdfast cluster recover' has given up as lost";
    default:
        return "a disk with the data of another cluster";
    }
}

/* What an operator has to know of a node that is kept out. */
static void describe_stranger(const struct store_service *service, uint32_t node, int32_t judgement, int empty,
                              char *text, uint64_t capacity)
{
    const char *name = service->nodes.names[node];

    snprintf(text, capacity, "node %s runs on %s; it is kept out. %s 'holdfast node replace %s'", name,
             store_hello_describe(judgement),
             empty ? "If that one is lost:" : "Empty its state directory, start it, then", name);
}

void store_service_stranger(struct store_service *service, uint32_t node, char *text, uint64_t capacity)
{
    text[0] = '\0';
    if (atomic_load(&service->strangers[node]) && service->peers && service->peers->is_up(service->hello, node))
        describe_stranger(service, node, atomic_load(&service->strangers_why[node]),
                          atomic_load(&service->replaceable[node]) != 0, text, capacity);
}

static void complain(struct store_service *service, uint32_t node, const struct hello *hello, int32_t judgement)
{
    const char *name = service->nodes.names[node];
    int empty = judgement == STORE_IDENTITY_FOREIGN && hello->cluster == 0;
    char text[500];

    atomic_store(&service->replaceable[node], empty ? hello->identity.disk : 0);
    atomic_store(&service->strangers_why[node], judgement);
    atomic_store(&service->healing[node], empty && hello->heals ? hello->identity.disk : 0);
    if (atomic_exchange(&service->strangers[node], hello->identity.disk) == hello->identity.disk)
        return; /* it is in the log already */
    if (empty && hello->heals) {
        store_service_log(service, HF_LOG_WARNING, "node %s has set damaged data aside, and asks to be filled anew",
                          name);
        return;
    }
    describe_stranger(service, node, judgement, empty, text, sizeof text);
    store_service_log(service, HF_LOG_ERROR, "%s", text);
}

static void hello_arrived(struct store_service *service, uint32_t node, const struct hello *hello)
{
    struct store_shard *shard = store_shard_current(service);
    int32_t judgement;

    if (atomic_load(&service->out)) { /* what it knows of disks may have been overtaken: it has no say */
        send(service, node, ABSTAINS, 0, hello->shard, &hello->identity);
        return;
    }
    judgement = judge(service, shard, node, hello);
    shard->trusted[node] = judgement == STORE_IDENTITY_GOOD;
    if (judgement == STORE_IDENTITY_GOOD) {
        atomic_store(&service->strangers[node], 0);
        atomic_store(&service->replaceable[node], 0);
        atomic_store(&service->healing[node], 0);
        note_cluster(service, node, hello->cluster);
        send(service, node, ACCEPTED, 0, hello->shard, &hello->identity);
    } else {
        complain(service, node, hello, judgement);
        send(service, node, REFUSED, (uint8_t)judgement, hello->shard, &hello->identity);
    }
    if (hello->kind == HELLO && !(atomic_load(&shard->accepted) & 1u << node))
        send(service, node, HELLO_BACK, 0, shard->index, &service->identity);
}

/* ---- Answers ----------------------------------------------------------------------------------------------------- */

static void accepted(struct store_service *service, uint32_t node, const struct hello *answer)
{
    uint64_t generation = atomic_load(&service->generation);

    while (generation < answer->generation &&
           !atomic_compare_exchange_weak(&service->generation, &generation, answer->generation))
        ;
    atomic_fetch_and(&service->refused, ~(1u << node));
    atomic_fetch_or(&service->accepted, 1u << node);
    if (answer->shard < service->shard_count)
        atomic_fetch_or(&service->shards[answer->shard].accepted, 1u << node);
    if (store_shard_current(service)->trusted[node])
        note_cluster(service, node, answer->cluster);
}

/* [pool] */
static void note_loss(hf_job *job)
{
    struct store_service *service = (struct store_service *)((char *)job - offsetof(struct store_service, lost_job));
    hf_error error = {0};

    if (store_fence_leave(&service->fence, service->nodes.names[atomic_load(&service->lost_by) - 1], &error) != HF_OK)
        store_service_log(service, HF_LOG_ERROR, "that this node was given up was not saved: %s", error.message);
}

static void loss_noted(hf_job *job)
{
    (void)job;
}

/* The others know that this node has forgotten what it acknowledged, or they have gone on without it and what only it
 * had.  It must not go on, not even together with others like it: that would be a second cluster. */
static void leave(struct store_service *service, uint32_t node, int32_t why)
{
    atomic_store(&service->out, 1);
    if (why != STORE_IDENTITY_LOST || atomic_exchange(&service->lost, 1))
        return;
    atomic_store(&service->lost_by, node + 1);
    service->lost_job =
        (hf_job){.loop = service->loops->main_loop(service->host), .work = note_loss, .done = loss_noted};
    if (service->loops->submit(service->host, &service->lost_job, NULL) != HF_OK)
        atomic_store(&service->lost, 0); /* the next answer tries again */
}

/* Each loop by itself, and also what was opened since. */
void store_hello_leave(struct store_shard *shard)
{
    for (uint64_t i = 0; i < shard->replica_count && atomic_load(&shard->service->out); i++)
        if (shard->replicas[i])
            store_replica_leave(shard->replicas[i]);
}

static void refused(struct store_service *service, uint32_t node, int32_t why)
{
    if (atomic_load(&service->strangers[node]))
        return; /* what is kept out itself has no say */
    atomic_store(&service->refused_why, why);
    if (why == STORE_IDENTITY_LOST || why == STORE_IDENTITY_OLDER || why == STORE_IDENTITY_COPY)
        leave(service, node, why);
    store_hello_leave(store_shard_current(service)); /* before anybody is told that it has */
    if (atomic_fetch_or(&service->refused, 1u << node) & 1u << node)
        return;
    if (atomic_load(&service->heals)) {
        store_service_log(service, HF_LOG_WARNING, "node %s knows that this node is to be filled anew",
                          service->nodes.names[node]);
        return;
    }
    store_service_log(service, HF_LOG_ERROR,
                      "node %s does not let this node take part: it runs on %s; see 'holdfast "
                      "node replace'",
                      service->nodes.names[node], store_hello_describe(why));
}

/* It is kept out itself by now, and what it said of this node before counts no more. */
static void abstained(struct store_service *service, uint32_t node)
{
    atomic_fetch_and(&service->refused, ~(1u << node));
}

static void message_arrived(void *arg, uint32_t node, hf_slice bytes)
{
    struct store_service *service = arg;
    struct hello hello;

    if (read_hello(bytes, &hello) != HF_OK) {
        store_service_log(service, HF_LOG_WARNING, "node %s says who it is in a way that this release does not know",
                          service->nodes.names[node]);
        return;
    }
    if (hello.kind == POSITION) {
        if (store_hello_trusts(service, node))
            store_witness_hear(&service->witness, node, hello.identity.position);
    } else if (hello.kind == HELLO || hello.kind == HELLO_BACK) {
        hello_arrived(service, node, &hello);
    } else if (hello.identity.disk != service->identity.disk || hello.identity.boot != service->identity.boot) {
        return; /* an answer to an earlier start, or to another process with this node's name */
    } else if (hello.kind == ACCEPTED) {
        accepted(service, node, &hello);
    } else if (hello.kind == REFUSED) {
        refused(service, node, hello.why);
    } else if (hello.kind == ABSTAINS) {
        abstained(service, node);
    }
}

/* ---- Links ------------------------------------------------------------------------------------------------------- */

void store_hello_link(struct store_service *service, uint32_t node, int32_t up)
{
    struct store_shard *shard = store_shard_current(service);

    atomic_fetch_and(&shard->accepted, ~(1u << node));
    if (up)
        send(service, node, HELLO, 0, shard->index, &service->identity);
    else
        atomic_fetch_and(&service->accepted, ~(1u << node));
}

/* Those who are sent no other messages hear how far this node's log goes, too: they may be the only ones that are there
 * when it comes back. */
static void tell_position(struct store_service *service)
{
    struct store_identity identity = service->identity;

    identity.position = store_log_position(service->log);
    if (identity.position == service->told_position)
        return;
    service->told_position = identity.position;
    for (uint32_t node = 0; node < service->nodes.count; node++)
        if (node != service->nodes.self && service->peers->is_up(service->hello, node))
            send(service, node, POSITION, 0, 0, &identity);
}

void store_hello_tick(struct store_shard *shard, uint64_t now_us)
{
    struct store_service *service = shard->service;
    uint32_t done = atomic_load(&service->cluster) ? atomic_load(&shard->accepted) : 0;

    if (now_us < shard->hello_us)
        return;
    shard->hello_us = now_us + AGAIN_US;
    if (shard->index == 0)
        tell_position(service);
    if (shard->index == 0 && now_us >= service->witness_us) {
        service->witness_us = now_us + WITNESS_US;
        if (store_witness_is_behind(&service->witness))
            save_later(service);
    }
    for (uint32_t node = 0; node < service->nodes.count; node++) {
        if (shard->routing->nodes[node].state == STORE_NODE_LOST) /* it may have been believed before this was known */
            shard->trusted[node] = 0;
        if (node != service->nodes.self && !(done & 1u << node) && service->peers->is_up(service->hello, node))
            send(service, node, HELLO, 0, shard->index, &service->identity);
    }
    begin_or_wait(service, now_us);
}

int32_t store_hello_trusts(struct store_service *service, uint32_t node)
{
    return store_shard_current(service)->trusted[node] && !atomic_load(&service->out);
}

int32_t store_hello_open(struct store_service *service, hf_error *error)
{
    static const hf_peer_handlers handlers = {.size = sizeof handlers, .message = message_arrived};

    return service->peers->channel(service->host, "store.hello", &handlers, service, &service->hello, error);
}
