/* The leader of a partition compares the group's replicas.
 *
 * All of them take a view when they have applied exactly the same entry, and make a tree of hashes of it while they are
 * looked through.  The leader then reads the others' trees, from the root down and only where they differ from its own.
 * What a majority has is right; who has something else takes everything anew (replica/repair.c).
 *
 * The entry is agreed on without writing anything: it is the group's last one, or, where that fails because entries
 * come too fast, one that is so many further.  Replicas stop applying there until they have the view. */
#include "service/private.h"

#include "replica/check.h"
#include "service/compare_message.h"
#include "service/verdict.h"

#include <holdfast/lib/error.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { CALL_TIMEOUT_US = 10000000, FAILURES_MAX = 5, ATTEMPTS = 4 };

/* How far behind the last entry the view is taken: at which attempt. */
static const uint64_t ahead[ATTEMPTS] = {0, 64, 512, 4096};

/* BEGINNING and ASKING have a call under way, POLLING waits for the next tick, COUNTING asks for the leaves. */
enum { BEGINNING, POLLING, ASKING, COUNTING, FINISHED };

struct side {
    struct store_compare *compare;
    uint32_t node;
    int32_t phase;
    int32_t code;
    uint32_t failures;
    uint32_t place;  /* COUNTING: of the node asked for */
    uint64_t leaves; /* that differ from this node's own */
};

struct store_compare {
    hf_task task, own_task;
    struct store_service *service;
    store_compare_done done;
    void *arg;
    uint64_t partition, session, index;
    uint32_t attempt;
    uint32_t voters; /* of the group, with this node's */
    uint32_t count;  /* of the others */
    struct side sides[STORE_MEMBERS_MAX];
    struct store_compared_side trees[STORE_MEMBERS_MAX + 1]; /* of the others in order, and then this node's */
    int32_t begun;                                           /* what came of the beginning */
    int32_t looked;                                          /* 1: this node's own replica was looked through */
    int32_t code;                                            /* of that */
    int32_t judged;                                          /* 1: what is under way now is the last */
    struct store_hash_tree own;
    uint32_t calls; /* under way */
};

static void advance(struct store_compare *compare);
static void prepare(hf_task *task);

/* ---- Calls ------------------------------------------------------------------------------------------------------- */

static void call(struct side *side, int32_t kind, uint64_t argument, hf_peer_done done)
{
    struct store_compare *compare = side->compare;
    const struct store_compare_request request = {
        .kind = kind, .partition = compare->partition, .session = compare->session, .argument = argument};
    uint8_t bytes[STORE_COMPARE_SIZE];
    const hf_slice piece = {bytes, sizeof bytes};

    store_compare_write(bytes, &request);
    compare->calls++;
    compare->service->peers->call(compare->service->compare_channel, side->node, &piece, 1, CALL_TIMEOUT_US, done,
                                  side);
}

static void finish(struct side *side, int32_t code)
{
    side->phase = FINISHED;
    side->code = code;
}

/* What a link lost is asked for again; what the other side says is so. */
static void not_yet(struct side *side, int32_t code)
{
    int32_t is_lost = code == HF_ECLOSED || code == HF_EIO || code == HF_ETIMEOUT;

    side->phase = POLLING;
    if (code != HF_EBUSY && (!is_lost || ++side->failures > FAILURES_MAX))
        finish(side, code);
}

static void told(void *arg, int32_t code, hf_slice response)
{
    struct side *side = arg;

    (void)code, (void)response;
    side->compare->calls--;
    advance(side->compare);
}

static void ask_next(struct side *side);

static void counted(void *arg, int32_t code, hf_slice response)
{
    struct side *side = arg;
    struct store_compare *compare = side->compare;
    uint64_t theirs[STORE_HASH_TREE_FANOUT], own[STORE_HASH_TREE_FANOUT];

    compare->calls--;
    if (code != HF_OK || store_compare_read_hashes(response, theirs) != HF_OK) {
        finish(side, HF_OK); /* that it differs is known already */
    } else {
        store_hash_tree_children(&compare->own, 1, side->place, own);
        for (int i = 0; i < STORE_HASH_TREE_FANOUT; i++)
            side->leaves += theirs[i] != own[i];
        side->place++;
        ask_next(side);
    }
    advance(compare);
}

/* The next of the root's children that differs. */
static void ask_next(struct side *side)
{
    struct store_compare *compare = side->compare;
    const struct store_compared_side *theirs = &compare->trees[side - compare->sides],
                                     *own = &compare->trees[compare->count];

    while (side->place < STORE_HASH_TREE_FANOUT && theirs->hashes[side->place] == own->hashes[side->place])
        side->place++;
    if (side->place == STORE_HASH_TREE_FANOUT) {
        finish(side, HF_OK);
        return;
    }
    side->phase = COUNTING;
    call(side, STORE_COMPARE_ASK, store_compare_node(1, side->place), counted);
}

static void answered(void *arg, int32_t code, hf_slice response)
{
    struct side *side = arg;
    struct store_compare *compare = side->compare;
    struct store_compared_side *tree = &compare->trees[side - compare->sides];

    compare->calls--;
    if (code == HF_OK)
        code = store_compare_read_hashes(response, tree->hashes);
    if (code == HF_OK) {
        tree->answered = 1;
        side->place = 0;
        ask_next(side);
    } else {
        not_yet(side, code);
    }
    advance(compare);
}

static void begun(void *arg, int32_t code, hf_slice response)
{
    struct side *side = arg;

    (void)response;
    side->compare->calls--;
    side->phase = POLLING;
    if (code != HF_OK)
        finish(side, code);
    advance(side->compare);
}

/* ---- The end ----------------------------------------------------------------------------------------------------- */

static void end(struct store_compare *compare, int32_t code)
{
    compare->done(compare->arg, code);
    free(compare);
}

/* [the loop of the partition's replica] */
static void own_is_wrong(hf_task *task)
{
    struct store_compare *compare = (struct store_compare *)(void *)task;
    struct store_shard *shard = store_shard_of(compare->service, compare->partition);
    struct store_replica *replica = store_shard_replica(shard, compare->partition);
    uint64_t leaves = 0;

    for (uint32_t i = 0; i < compare->count; i++)
        leaves = compare->sides[i].leaves > leaves ? compare->sides[i].leaves : leaves;
    if (replica)
        store_replica_differs(replica, leaves);
    free(compare);
}

static void say_that_nobody_knows(struct store_compare *compare)
{
    struct store_service *service = compare->service;

    store_service_log(service, HF_LOG_ERROR,
                      "partition %" PRIu64 ": its replicas differ as of entry %" PRIu64
                      ", and no majority of them says what is right; it is compared again when more can be asked",
                      compare->partition, compare->index);
}

/* All sides have finished. */
static void judge(struct store_compare *compare)
{
    struct store_service *service = compare->service;
    struct store_compared_side *own = &compare->trees[compare->count];
    uint32_t known = 0;

    if (store_compare_judge(compare->trees, compare->count + 1, compare->voters)) {
        atomic_fetch_add(&service->differences, 1);
        if (own->verdict == STORE_VERDICT_UNKNOWN)
            say_that_nobody_knows(compare);
    }
    atomic_fetch_add(&service->comparisons, 1);
    for (uint32_t i = 0; i < compare->count; i++) {
        struct side *side = &compare->sides[i];
        int32_t wrong = compare->trees[i].verdict == STORE_VERDICT_WRONG && own->verdict == STORE_VERDICT_RIGHT;

        known += (uint32_t)compare->trees[i].answered;
        call(side, wrong ? STORE_COMPARE_DIFFERS : STORE_COMPARE_FORGET, wrong ? side->leaves : 0, told);
    }
    store_service_log(service, HF_LOG_DEBUG,
                      "partition %" PRIu64 ": compared with %u of %u replicas as of entry %" PRIu64, compare->partition,
                      known, compare->count, compare->index);
    compare->judged = 1;
    if (own->verdict != STORE_VERDICT_WRONG)
        return;
    struct store_compare *copy = malloc(sizeof *copy);

    if (!copy)
        return; /* the next comparison tells it again */
    *copy = *compare;
    copy->task.run = own_is_wrong;
    service->loops->post(store_shard_of(service, compare->partition)->loop, &copy->task);
}

/* ---- The beginning ----------------------------------------------------------------------------------------------- */

/* [first worker loop] */
static void own_ready(hf_task *task)
{
    struct store_compare *compare =
        (struct store_compare *)(void *)((char *)task - offsetof(struct store_compare, own_task));

    compare->looked = 1;
    if (compare->code == HF_OK) {
        compare->trees[compare->count].answered = 1;
        store_hash_tree_children(&compare->own, 0, 0, compare->trees[compare->count].hashes);
    }
    advance(compare);
}

/* [the loop of the replica] */
static void own_looked_through(void *arg, struct store_replica *replica, const struct store_findings *findings)
{
    struct store_compare *compare = arg;

    (void)replica;
    compare->code = findings->code;
    if (findings->tree)
        compare->own = *findings->tree;
    compare->own_task.run = own_ready;
    compare->service->loops->post(compare->service->shards[0].loop, &compare->own_task);
}

/* [first worker loop] */
static void prepared(hf_task *task)
{
    struct store_compare *compare = (struct store_compare *)(void *)task;

    if (compare->begun != HF_OK) {
        end(compare, compare->begun);
        return;
    }
    for (uint32_t i = 0; i < compare->count; i++)
        call(&compare->sides[i], STORE_COMPARE_BEGIN, compare->index, begun);
}

static void list_members(struct store_compare *compare, struct store_replica *replica)
{
    struct store_machine_state state;
    uint64_t self = store_replica_self(replica);

    store_machine_state(store_replica_machine(replica), &state);
    compare->count = compare->voters = 0;
    for (uint32_t i = 0; i < state.member_count; i++) {
        if (state.members[i].learner)
            continue;
        compare->voters++;
        if (state.members[i].replica != self)
            compare->sides[compare->count++] = (struct side){
                .compare = compare, .node = store_replica_node(state.members[i].replica), .phase = BEGINNING};
    }
}

/* [the loop of the replica] */
static void prepare(hf_task *task)
{
    struct store_compare *compare = (struct store_compare *)(void *)task;
    struct store_shard *shard = store_shard_of(compare->service, compare->partition);
    struct store_replica *replica = store_shard_replica(shard, compare->partition);

    compare->begun = replica ? HF_OK : HF_ENOTFOUND;
    if (replica && atomic_load(&store_replica_published(replica)->role) != HF_ROLE_LEADER)
        compare->begun = HF_ENOTLEADER;
    if (compare->begun == HF_OK) {
        list_members(compare, replica);
        memset(compare->trees, 0, sizeof compare->trees);
        compare->index = store_replica_last_index(replica) + ahead[compare->attempt];
        compare->service->node->random(compare->service->host, &compare->session, sizeof compare->session);
        compare->session |= 1;
        compare->begun = store_replica_check(replica, compare->index, own_looked_through, compare, NULL);
    }
    compare->task.run = prepared;
    compare->service->loops->post(compare->service->shards[0].loop, &compare->task);
}

static void begin(struct store_compare *compare)
{
    compare->task.run = prepare;
    compare->service->loops->post(store_shard_of(compare->service, compare->partition)->loop, &compare->task);
}

/* ---- The way ----------------------------------------------------------------------------------------------------- */

/* Whether some had passed the entry before they heard of it. */
static int32_t came_too_late(const struct store_compare *compare)
{
    int32_t late = 0;

    for (uint32_t i = 0; i < compare->count; i++)
        late |= compare->sides[i].phase == FINISHED && compare->sides[i].code == HF_EEXIST;
    return late;
}

static void advance(struct store_compare *compare)
{
    if (compare->calls > 0 || !compare->looked)
        return;
    if (compare->judged || compare->code != HF_OK) {
        end(compare, compare->code);
        return;
    }
    for (uint32_t i = 0; i < compare->count; i++)
        if (compare->sides[i].phase != FINISHED)
            return; /* the next tick asks */
    if (came_too_late(compare) && compare->attempt + 1 < ATTEMPTS) {
        compare->attempt++;
        compare->looked = 0;
        begin(compare);
        return;
    }
    judge(compare);
    if (compare->calls == 0)
        end(compare, HF_OK);
}

void store_compare_tick(struct store_compare *compare)
{
    if (!compare->looked || compare->judged || compare->code != HF_OK)
        return;
    for (uint32_t i = 0; i < compare->count; i++)
        if (compare->sides[i].phase == POLLING) {
            compare->sides[i].phase = ASKING;
            call(&compare->sides[i], STORE_COMPARE_ASK, store_compare_node(0, 0), answered);
        }
}

struct store_compare *store_compare_start(struct store_service *service, uint64_t partition, store_compare_done done,
                                          void *arg)
{
    struct store_compare *compare = calloc(1, sizeof *compare);

    if (!compare)
        return NULL;
    compare->service = service;
    compare->partition = partition;
    compare->done = done;
    compare->arg = arg;
    begin(compare);
    return compare;
}

void store_compare_free(struct store_compare *compare)
{
    free(compare);
}
