/* loss.c: a majority of the nodes is lost for good, and an operator lets those that are left go on, as `holdfast
 * cluster recover` does: the plan and what carries it out are the product's own.  What only the lost had may be missing
 * then, acknowledged or not (docs/decisions/0014-recovery.md); what one of those left had applied must not be. */
#include "sim.h"

#include "recover/fence.h"

#include <holdfast/lib/error.h>

#include <string.h>

enum { HELD_MAX = 4 * HISTORY_MAX, ONE_IN = 8, LOOK_US = 500 * MS };

bool loses_majority;
static bool is_recovered, is_asking;
static uint32_t lost; /* bit per node */

/* What replicas of those that are left had when the others were lost. */
static struct held {
    uint64_t version, user;
    uint32_t key;
    int32_t type;
} held[HELD_MAX];
static uint32_t held_count;

/* ---- What a node is bound to, which outlives it ------------------------------------------------------------------ */

uint64_t store_fence_plan(struct store_fence *fence)
{
    (void)fence;
    return here->bound_to;
}

int32_t store_fence_promise(struct store_fence *fence, uint64_t before, uint64_t plan, uint32_t dead,
                            const uint64_t disks[STORE_NODES_MAX], hf_error *error)
{
    (void)fence, (void)dead, (void)disks;
    if (here->bound_to != before && here->bound_to != plan)
        return hf_error_set(error, HF_ECONFLICT, "bound to another plan");
    here->bound_to = plan;
    return HF_OK;
}

/* ---- The loss ---------------------------------------------------------------------------------------------------- */

void loss_begin(void)
{
    loses_majority = roll(ONE_IN) == 0;
    is_recovered = is_asking = false;
    lost = 0;
    held_count = 0;
}

static int32_t hold(void *arg, const struct store_change *c)
{
    (void)arg;
    if (held_count == HELD_MAX)
        return 1;
    held[held_count++] = (struct held){c->version, c->user, key_number(c->key), c->type};
    return 0;
}

static void note_what_is_left(const node *n)
{
    for (uint64_t p = FIRST_PARTITION; p < SPACES_MAX; p++)
        if (n->service.replicas[p] &&
            store_machine_changes(store_replica_machine(n->service.replicas[p]), 1, hold, NULL, NULL))
            fail("the change feed of a replica that is left cannot be read", p, n->index);
}

void lose_majority(void)
{
    uint32_t count = node_count == 3 ? 2 : node_count / 2 + node_count % 2;

    while ((uint32_t)__builtin_popcount(lost) < count)
        lost |= 1u << roll(node_count);
    for (uint32_t i = 0; i < node_count; i++) {
        nodes[i].is_lost = lost >> i & 1;
        if (nodes[i].is_lost && nodes[i].up)
            crash(&nodes[i]);
        else if (!nodes[i].is_lost)
            note_what_is_left(&nodes[i]);
    }
    fault_counts[FAULT_MAJORITY_LOST]++;
    schedule((event){.at = now + LOOK_US, .type = EV_OPERATOR});
}

/* ---- The operator ------------------------------------------------------------------------------------------------ */

static void carried_out(void *arg, int32_t code, hf_slice plan, const hf_error *error)
{
    (void)arg, (void)plan;
    is_asking = false;
    is_recovered = code == HF_OK;
    if (code != HF_OK)
        say("the recovery is to be tried again: %s", error ? error->message : "");
}

static void planned(void *arg, int32_t code, hf_slice plan, const hf_error *error)
{
    node *n = arg;

    if (code == HF_OK) {
        store_service_recover(&n->service, plan, "operator", carried_out, n);
        return;
    }
    is_asking = false;
    is_recovered = code == HF_ENOTFOUND; /* nothing has lost its majority, or any more */
    say("no plan yet: %s", error ? error->message : "");
}

void operator_looks(void)
{
    uint32_t which = 0;

    if (is_recovered)
        return;
    schedule((event){.at = now + LOOK_US, .type = EV_OPERATOR});
    if (is_asking)
        return;
    while (lost >> which & 1)
        which++;
    is_asking = true;
    enter(&nodes[which]);
    store_service_recover_plan(&nodes[which].service, lost, planned, &nodes[which]);
    leave();
}

bool is_lost_for_good(void)
{
    return loses_majority && !is_recovered;
}

/* ---- In the end -------------------------------------------------------------------------------------------------- */

static bool is_in(const changes *list, const struct held *h)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (list->items[i].version == h->version && list->items[i].type == h->type &&
            (h->type == STORE_EXPIRE || list->items[i].operation + 1 == h->user))
            return true;
    return false;
}

void check_what_was_left(void)
{
    for (uint32_t i = 0; i < held_count; i++)
        if (!is_in(&changes_of[held[i].key], &held[i]))
            fail("what a replica that was left had applied is lost", held[i].key, held[i].version);
}
