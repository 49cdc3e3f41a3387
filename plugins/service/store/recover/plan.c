/* Which replica of each group goes on; see plan.h. */
#include "recover/plan.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>
#include <string.h>

/* ---- Who is left ------------------------------------------------------------------------------------------------- */

static int has_part(const struct store_routing *routing, uint32_t node)
{
    return routing->nodes[node].state == STORE_NODE_ACTIVE || routing->nodes[node].state == STORE_NODE_DRAINING;
}

static int32_t check_dead(const struct store_nodes *nodes, uint32_t dead, const struct store_recover_facts *facts,
                          uint32_t node, hf_error *error)
{
    for (uint32_t other = 0; other < nodes->count; other++)
        if (facts[other].present && !(dead >> other & 1) && facts[other].heard >> node & 1)
            return hf_error_set(error, HF_ECONFLICT, "node %s is not dead: %s hears it", nodes->names[node],
                                nodes->names[other]);
    return HF_OK;
}

static int32_t find_survivors(const struct store_routing *routing, const struct store_nodes *nodes, uint32_t dead,
                              const struct store_recover_facts *facts, struct store_recover_plan *plan, hf_error *error)
{
    int32_t result = HF_OK;

    if (!dead)
        return hf_error_set(error, HF_EINVAL, "name the nodes that are lost for good");
    if (dead >> nodes->self & 1)
        return hf_error_set(error, HF_EINVAL, "node %s is the one that you are asking; ask one that is left",
                            nodes->names[nodes->self]);
    plan->dead = dead;
    for (uint32_t node = 0; node < nodes->count && result == HF_OK; node++) {
        if (dead >> node & 1) {
            result = check_dead(nodes, dead, facts, node, error);
        } else if (facts[node].present && facts[node].identity.disk) {
            plan->survivors |= 1u << node;
            plan->identities[node] = facts[node].identity;
            plan->promised[node] = facts[node].promised;
        } else if (has_part(routing, node)) {
            result = hf_error_set(error, HF_ECONFLICT,
                                  "node %s does not answer, and is not named as dead; bring it back, or name it",
                                  nodes->names[node]);
        }
    }
    return result;
}

/* ---- One partition ----------------------------------------------------------------------------------------------- */

static const struct store_recover_replica *find_replica(const struct store_recover_facts *facts, uint64_t partition)
{
    uint64_t low = 0, high = facts->count;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;

        if (facts->replicas[middle].partition < partition)
            low = middle + 1;
        else
            high = middle;
    }
    return low < facts->count && facts->replicas[low].partition == partition ? &facts->replicas[low] : NULL;
}

/* The replica of a survivor that can take part. */
static const struct store_recover_replica *usable(const struct store_recover_plan *plan,
                                                  const struct store_recover_facts *facts, uint32_t node,
                                                  uint64_t partition)
{
    const struct store_recover_replica *replica =
        plan->survivors >> node & 1 ? find_replica(&facts[node], partition) : NULL;

    return replica && !replica->failed && replica->member_count > 0 ? replica : NULL;
}

static int is_later(const struct store_recover_replica *a, const struct store_recover_replica *b)
{
    return a->last_term > b->last_term || (a->last_term == b->last_term && a->last_index > b->last_index);
}

static void count_voters(const struct store_recover_plan *plan, const struct store_recover_facts *facts,
                         const struct store_recover_replica *chosen, struct store_recover_item *item)
{
    for (uint32_t i = 0; i < chosen->member_count; i++) {
        const hf_replication_member *member = &chosen->members[i];
        uint32_t node = store_replica_node(member->replica);
        const struct store_recover_replica *replica =
            node < STORE_NODES_MAX ? usable(plan, facts, node, chosen->partition) : NULL;

        if (member->learner)
            continue;
        item->voters++;
        item->left += replica && replica->id == member->replica;
    }
}

/* 1: the partition needs the plan; HF_EBUSY: its leader has not noticed yet that its majority is gone. */
static int look_at(const struct store_recover_plan *plan, const struct store_recover_facts *facts, uint64_t partition,
                   struct store_recover_item *item)
{
    const struct store_recover_replica *chosen = NULL;

    *item = (struct store_recover_item){.partition = partition};
    for (uint32_t node = 0; node < STORE_NODES_MAX; node++) {
        const struct store_recover_replica *replica = usable(plan, facts, node, partition);

        if (!replica)
            continue;
        if (replica->leads) {
            count_voters(plan, facts, replica, item);
            return item->left * 2 > item->voters ? 0 : HF_EBUSY;
        }
        if (!chosen || is_later(replica, chosen)) {
            chosen = replica;
            item->node = node;
        }
    }
    if (!chosen)
        return 1;
    count_voters(plan, facts, chosen, item);
    if (item->left * 2 > item->voters)
        return 0;
    item->replica = chosen->id;
    item->last_term = chosen->last_term;
    item->last_index = chosen->last_index;
    item->commit = chosen->commit;
    item->transactions = chosen->transactions;
    for (uint32_t node = 0; node < STORE_NODES_MAX; node++) {
        const struct store_recover_replica *other = usable(plan, facts, node, partition);

        if (other && other != chosen)
            item->others[item->other_count++] =
                (struct store_recover_other){other->id, other->last_term, other->last_index};
    }
    return 1;
}

/* Those that begin empty are spread. */
static void give_node(const struct store_recover_plan *plan, struct store_recover_item *item, uint64_t turn)
{
    uint32_t count = (uint32_t)__builtin_popcount(plan->survivors);

    turn %= count;
    for (uint32_t node = 0; node < STORE_NODES_MAX; node++)
        if (plan->survivors >> node & 1 && turn-- == 0)
            item->node = node;
}

/* ---- All --------------------------------------------------------------------------------------------------------- */

static int by_number(const void *a, const void *b)
{
    const uint64_t *first = a, *second = b;

    return (*first > *second) - (*first < *second);
}

/* The partitions that anybody knows of, each once, in order. */
static uint64_t *list_partitions(const struct store_routing *routing, const struct store_nodes *nodes,
                                 const struct store_recover_facts *facts, hf_arena *arena, uint64_t *ret_count)
{
    uint64_t count = routing->partition_count, at = 0, kept = 0;

    for (uint32_t node = 0; node < nodes->count; node++)
        count += facts[node].count;
    uint64_t *list = hf_arena_alloc(arena, (count + 1) * sizeof *list);

    if (!list)
        return NULL;
    for (uint32_t i = 0; i < routing->partition_count; i++)
        list[at++] = routing->partitions[i].partition->id;
    for (uint32_t node = 0; node < nodes->count; node++)
        for (uint64_t i = 0; i < facts[node].count; i++)
            list[at++] = facts[node].replicas[i].partition;
    qsort(list, count, sizeof *list, by_number);
    for (uint64_t i = 0; i < count; i++)
        if (kept == 0 || list[kept - 1] != list[i])
            list[kept++] = list[i];
    *ret_count = kept;
    return list;
}

static int32_t look_at_all(const struct store_recover_facts *facts, const uint64_t *list, uint64_t count,
                           hf_arena *arena, struct store_recover_plan *plan, hf_error *error)
{
    uint64_t empty = 0;

    plan->items = hf_arena_alloc(arena, (count + 1) * sizeof *plan->items);
    if (!plan->items)
        return hf_error_set(error, HF_ENOMEM, "no memory for a plan of %llu partitions", (unsigned long long)count);
    for (uint64_t i = 0; i < count; i++) {
        struct store_recover_item *item = &plan->items[plan->count];

        int needed = look_at(plan, facts, list[i], item);

        if (needed < 0)
            return hf_error_set(error, needed,
                                "the leader of partition %llu has just lost its majority; try again in some seconds",
                                (unsigned long long)list[i]);
        if (!needed)
            continue;
        if (!item->replica && list[i] == STORE_CATALOG_PARTITION)
            return hf_error_set(error, HF_ECONFLICT,
                                "no node that is left has a replica of the catalog: there is nothing to go on from");
        if (!item->replica)
            give_node(plan, item, empty++);
        plan->count++;
    }
    return HF_OK;
}

int32_t store_recover_make(const struct store_routing *routing, const struct store_nodes *nodes, uint32_t dead,
                           const struct store_recover_facts *facts, hf_arena *arena,
                           struct store_recover_plan *ret_plan, hf_error *error)
{
    uint64_t count = 0, *list;
    int32_t result;

    *ret_plan = (struct store_recover_plan){0};
    result = find_survivors(routing, nodes, dead, facts, ret_plan, error);
    if (result != HF_OK)
        return result;
    list = list_partitions(routing, nodes, facts, arena, &count);
    if (!list)
        return hf_error_set(error, HF_ENOMEM, "no memory for the list of partitions");
    result = look_at_all(facts, list, count, arena, ret_plan, error);
    if (result == HF_OK && ret_plan->count == 0)
        result = hf_error_set(error, HF_ENOTFOUND,
                              "every partition has a majority, or a leader, without the dead nodes: drain and remove "
                              "them instead (holdfast node drain)");
    return result == HF_OK ? store_recover_seal(ret_plan, nodes, error) : result;
}

/* ---- Carrying it out --------------------------------------------------------------------------------------------- */

static int32_t changed(hf_error *error, uint64_t partition)
{
    return hf_error_set(error, HF_ECONFLICT,
                        "the replica of partition %llu is not as it was when the plan was made; make another plan",
                        (unsigned long long)partition);
}

int32_t store_recover_check(const struct store_recover_plan *plan, uint32_t node,
                            const struct store_recover_facts *facts, hf_error *error)
{
    if (!(plan->survivors >> node & 1) || plan->identities[node].disk != facts->identity.disk ||
        plan->identities[node].starts != facts->identity.starts)
        return hf_error_set(error, HF_ECONFLICT, "this node was restarted since the plan was made; make another plan");
    if (facts->promised != plan->promised[node] && facts->promised != plan->id)
        return hf_error_set(error, HF_ECONFLICT, "this node has taken part in plan %016llx since; make another plan",
                            (unsigned long long)facts->promised);
    if (facts->heard & plan->dead)
        return hf_error_set(error, HF_ECONFLICT, "a node that the plan calls dead is heard here");
    for (uint64_t i = 0; i < plan->count; i++) {
        const struct store_recover_item *item = &plan->items[i];
        const struct store_recover_replica *replica = find_replica(facts, item->partition);
        struct store_recover_other planned = {0};

        if (item->replica && item->node == node)
            planned = (struct store_recover_other){item->replica, item->last_term, item->last_index};
        for (uint32_t k = 0; k < item->other_count; k++)
            if (store_replica_node(item->others[k].id) == node)
                planned = item->others[k];
        if (replica && (replica->failed || replica->member_count == 0))
            replica = NULL;
        if (!planned.id != !replica)
            return changed(error, item->partition);
        if (replica && (replica->leads || replica->id != planned.id || replica->last_term != planned.last_term ||
                        replica->last_index != planned.last_index))
            return changed(error, item->partition);
    }
    return HF_OK;
}

static int is_dead(const struct store_recover_plan *plan, uint64_t replica)
{
    return plan->dead >> store_replica_node(replica) & 1;
}

/* Of an empty one: made by an earlier try, or by a move that was under way. */
static int is_chosen(const struct store_recover_item *item, uint64_t replica)
{
    return item->replica ? replica == item->replica
                         : store_replica_node(replica) == item->node && store_replica_generation(replica) > 0;
}

static int may_stay(const struct store_recover_plan *plan, const struct store_recover_item *item,
                    const struct store_partition *partition)
{
    int chosen = 0;

    for (uint32_t i = 0; i < partition->leaving_count; i++)
        if (is_dead(plan, partition->leaving[i]))
            return 0;
    for (uint32_t i = 0; i < partition->member_count; i++) {
        if (is_dead(plan, partition->replicas[i]))
            return 0;
        chosen |= is_chosen(item, partition->replicas[i]);
    }
    return chosen;
}

/* The id of one that begins empty. */
static uint64_t moving_to(const struct store_recover_item *item, const struct store_partition *before,
                          uint64_t generation)
{
    for (uint32_t i = 0; i < before->member_count; i++)
        if (is_chosen(item, before->replicas[i]))
            return before->replicas[i];
    return store_replica_id(item->node, generation);
}

static void add_member(struct store_partition *partition, uint64_t replica)
{
    partition->replicas[partition->member_count] = replica;
    partition->members[partition->member_count++] = store_replica_node(replica);
}

/* What was moving to a node that is left goes on moving there, under the id that it may have been opened with: another
 * one could not be opened beside it. */
int32_t store_recover_place(const struct store_recover_plan *plan, const struct store_recover_item *item,
                            uint64_t generation, struct store_partition *partition)
{
    const struct store_partition before = *partition;

    if (may_stay(plan, item, partition))
        return 0;
    partition->member_count = partition->leaving_count = 0;
    add_member(partition, item->replica ? item->replica : moving_to(item, &before, generation));
    for (uint32_t i = 0; i < item->other_count; i++)
        add_member(partition, item->others[i].id);
    for (uint32_t i = 0; i < before.member_count; i++)
        if (!is_dead(plan, before.replicas[i]) && !store_partition_has_node(partition, before.members[i])) {
            partition->leaving[partition->leaving_count++] = before.replicas[i]; /* until it votes */
            add_member(partition, before.replicas[i]);
        }
    return 1;
}
