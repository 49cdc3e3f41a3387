/* reshape.c: splits, merges and moves of replicas: who asks for them, and whether all have come to an end.  What
 * carries them out are the product's own drivers, on whichever node leads the catalog. */
#include "sim.h"

#include <stdlib.h>

static uint32_t splits_asked;

void reshape_begin(void)
{
    splits_asked = 0;
}

static void asked(void *arg, int32_t code, const hf_error *error)
{
    (void)arg;
    if (code != HF_OK)
        say("a split, merge or move is refused: %s", error ? error->message : "");
}

static bool can_be_asked(const node *n)
{
    return n->up && n->paused_until <= now && n->shard.routing;
}

void ask_for_split_or_merge(void)
{
    node *n = some_node();
    const struct store_table *table = can_be_asked(n) ? table_of(n->shard.routing) : NULL;

    if (!table || loses_majority)
        return;
    uint64_t partition = table->partitions[roll(table->partition_count)].id;
    bool merge = chance(40);

    /* Each that is asked for may take a number, even when it then cannot be. */
    if (!merge && FIRST_PARTITION + partition_count + splits_asked >= SPACES_MAX)
        return;
    splits_asked += !merge;
    fault_counts[merge ? FAULT_MERGE : FAULT_SPLIT]++;
    say("node %u is asked to %s partition %llu", n->index, merge ? "merge" : "split", (unsigned long long)partition);
    enter(n);
    store_service_reshape(&n->service, partition, merge, asked, NULL);
    leave();
}

/* Where there are more nodes than replicas. */
void drain_or_add(void)
{
    node *n = some_node();
    uint32_t which = (uint32_t)roll(node_count), active = 0;

    if (!can_be_asked(n) || node_count == 3 || loses_majority)
        return;
    for (uint32_t i = 0; i < node_count; i++)
        active += n->shard.routing->nodes[i].state == STORE_NODE_ACTIVE;
    bool drain = n->shard.routing->nodes[which].state == STORE_NODE_ACTIVE;

    if (drain && active == 3)
        return;
    fault_counts[FAULT_DRAIN] += drain;
    enter(n);
    store_service_node_change(&n->service, which, drain ? STORE_NODE_DRAIN : STORE_NODE_ADD, asked, NULL);
    leave();
}

void count_lost_driver(const node *n)
{
    struct store_replica *catalog = n->service.replicas ? n->service.replicas[STORE_CATALOG_PARTITION] : NULL;

    if (!calm && catalog && atomic_load(&store_replica_published(catalog)->role) == HF_ROLE_LEADER && n->shard.routing)
        fault_counts[FAULT_DRIVER] += n->shard.routing->reshaping_count > 0;
}

/* ---- In the end -------------------------------------------------------------------------------------------------- */

static uint64_t replica_placed_on(const struct store_partition *partition, uint32_t which)
{
    for (uint32_t i = 0; i < partition->member_count; i++)
        if (partition->members[i] == which)
            return partition->replicas[i];
    return 0;
}

/* Where a node is lost for good, those that are left are fewer than the replicas of a partition: what has its place
 * there, or is on its way, has nowhere else to go. */
static bool is_on_lost_node(const struct store_partition *partition)
{
    for (uint32_t i = 0; i < partition->member_count; i++)
        if (nodes[partition->members[i]].is_lost)
            return true;
    return false;
}

/* The replicas are where the catalog has them, and nowhere else. */
static const char *misplaced(const struct store_partition *partition, uint64_t *ret_where)
{
    if (is_on_lost_node(partition))
        return NULL;
    if (partition->leaving_count)
        return "replicas have not moved";
    for (uint32_t i = 0; i < node_count; i++) {
        struct store_replica *replica = replica_of(&nodes[i], partition->id);
        uint64_t wanted = replica_placed_on(partition, i);

        *ret_where = i;
        if ((replica ? store_replica_self(replica) : 0) != wanted)
            return "a replica is not where it should be";
    }
    return NULL;
}

static const char *behind(uint64_t partition, uint64_t *ret_where)
{
    const node *first = leader_of(partition);
    struct store_machine_state state, other;
    struct store_transaction transaction;
    struct store_replica *replica;

    if (!first)
        return "nobody leads";
    store_machine_state(store_replica_machine(first->service.replicas[partition]), &state);
    for (uint32_t i = 0; i < node_count; i++) {
        *ret_where = i;
        replica = replica_of(&nodes[i], partition);
        if (!replica)
            continue;
        store_machine_state(store_replica_machine(replica), &other);
        if (other.applied_index != state.applied_index)
            return "a replica is behind";
    }
    if (state.shape.has_strays)
        return "what was given away is still there";
    if (state.shape.state != STORE_SHAPE_CLOSED &&
        store_machine_next_deadline(store_replica_machine(first->service.replicas[partition])) != UINT64_MAX)
        return "records are to expire";
    if (store_machine_transactions(store_replica_machine(first->service.replicas[partition]), UINT64_MAX, 0,
                                   &transaction, 1))
        return "a transaction is left over";
    return NULL;
}

static const char *unsettled_catalog(uint64_t *ret_where)
{
    const node *first = leader_of(STORE_CATALOG_PARTITION);

    if (!first)
        return "the catalog has no leader";
    for (uint32_t i = 0; i < node_count; i++) {
        const struct store_routing *routing = nodes[i].shard.routing;

        if (!nodes[i].up)
            continue;
        *ret_where = i;
        if (routing->reshaping_count)
            return "a split or merge has not ended";
        if (routing->catalog_version != first->shard.routing->catalog_version)
            return "a node has not heard of the catalog's last change";
    }
    return NULL;
}

const char *unsettled(uint64_t *ret_what, uint64_t *ret_where)
{
    const char *why = behind(STORE_CATALOG_PARTITION, ret_where);
    const node *first = leader_of(STORE_CATALOG_PARTITION);

    *ret_what = STORE_CATALOG_PARTITION;
    if (is_lost_for_good())
        return "the cluster is not recovered";
    if (!why)
        why = unsettled_catalog(ret_where);
    for (uint32_t i = 0; !why && i < first->shard.routing->partition_count; i++) {
        const struct store_partition *partition = first->shard.routing->partitions[i].partition;

        *ret_what = partition->id;
        if (partition->id == STORE_CATALOG_PARTITION)
            continue;
        why = misplaced(partition, ret_where);
        if (!why)
            why = behind(partition->id, ret_where);
    }
    return !why && !clients_are_idle() ? "a client waits" : why;
}
