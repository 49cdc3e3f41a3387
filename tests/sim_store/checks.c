/* checks.c: what the store promises: held against what its replicas and their change feeds hold in the end. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SEEN_MAX = 512,
    LISTED_MAX = 64,
    SKEW_US = 300 * MS /* of wall clocks, see nemesis */,
    LEADERS_US = 1000 * MS /* by then they can be reached */
};

/* ---- Locks ------------------------------------------------------------------------------------------------------- */

static struct {
    uint8_t id[STORE_TRANSACTION_ID_SIZE];
    uint64_t partition, since, last;
} seen[SEEN_MAX];

/* A new leader counts from the last one's time, which its own wall clock may not have reached. */
static uint64_t clocks_differ_by(void)
{
    int64_t least = nodes[0].wall, most = nodes[0].wall;

    for (uint32_t i = 1; i < node_count; i++) {
        least = nodes[i].wall < least ? nodes[i].wall : least;
        most = nodes[i].wall > most ? nodes[i].wall : most;
    }
    return (uint64_t)(most - least);
}

static void see_lock(uint64_t partition, const struct store_transaction *t)
{
    uint32_t place = 0;

    for (uint32_t i = 0; i < SEEN_MAX; i++) {
        if (seen[i].partition == partition && memcmp(seen[i].id, t->id, sizeof t->id) == 0) {
            place = i;
            break;
        }
        place = seen[i].last < seen[place].last ? i : place;
    }
    if (seen[place].partition != partition || memcmp(seen[place].id, t->id, sizeof t->id) != 0) {
        memcpy(seen[place].id, t->id, sizeof t->id);
        seen[place].partition = partition;
        seen[place].since = now;
    }
    seen[place].last = now;
    if (now - seen[place].since > LOCK_US + clocks_differ_by())
        fail("a transaction holds its locks for too long", partition, now - seen[place].since);
}

void checks_begin(void)
{
    memset(seen, 0, sizeof seen);
    schedule((event){.at = RUN_US, .type = EV_LOCKS});
}

/* Once all is healed and there are leaders. */
void check_locks(void)
{
    static struct store_transaction list[LISTED_MAX];

    schedule((event){.at = now + 50 * MS, .type = EV_LOCKS});
    if (now < RUN_US + LEADERS_US || loses_majority)
        return;
    for (uint64_t p = FIRST_PARTITION; p < SPACES_MAX; p++) {
        node *n = leader_of(p);
        uint32_t count;

        if (!n)
            continue;
        count = store_machine_transactions(store_replica_machine(replica_of(n, p)), UINT64_MAX, 0, list, LISTED_MAX);
        for (uint32_t i = 0; i < count; i++)
            if (list[i].state == STORE_TRANSACTION_PREPARED)
                see_lock(p, &list[i]);
    }
}

/* ---- Replicas ---------------------------------------------------------------------------------------------------- */

static int32_t add_row(void *arg, hf_slice key, hf_slice value)
{
    uint64_t *sum = arg;

    for (uint64_t i = 0; i < key.size; i++)
        *sum = (*sum ^ key.data[i]) * 0x100000001b3u;
    for (uint64_t i = 0; i < value.size; i++)
        *sum = (*sum ^ value.data[i]) * 0x100000001b3u;
    *sum = (*sum ^ key.size << 32 ^ value.size) * 0x100000001b3u;
    return 0;
}

static uint64_t sum_of_rows(const node *n, uint64_t partition)
{
    uint64_t sum = 14695981039346656037u;

    memory_engine->scan(n->database, partition, (hf_slice){NULL, 0}, (hf_slice){NULL, 0}, 0, add_row, &sum, NULL);
    return sum;
}

/* They have applied the same, see reshape.c. */
static void check_replicas(uint64_t partition, node *leader)
{
    for (uint32_t i = 0; i < node_count; i++) {
        struct store_replica *replica = replica_of(&nodes[i], partition);

        if (!replica)
            continue;
        if (atomic_load(&store_replica_published(replica)->failed))
            fail("a replica has stopped", partition, i);
        else if (sum_of_rows(&nodes[i], partition) != sum_of_rows(leader, partition))
            fail("replicas of a partition differ", partition, i);
    }
}

/* ---- What clients were told -------------------------------------------------------------------------------------- */

static uint32_t place_of(const changes *list, uint32_t number)
{
    uint32_t i = 0;

    while (i < list->count && (list->items[i].operation != number || list->items[i].type == STORE_EXPIRE))
        i++;
    return i;
}

static void check_condition(uint32_t number, uint32_t i)
{
    const operation *o = &history[number];
    const changes *list = &changes_of[o->operations[i].key];
    uint32_t place = place_of(list, number);
    uint64_t before = place > 0 && place < list->count && list->items[place - 1].type == STORE_PUT
                          ? list->items[place - 1].version
                          : 0;
    int32_t condition = o->operations[i].condition;

    if (place == list->count || o->operations[i].type == STORE_CHECK)
        return;
    if ((condition == STORE_IF_VERSION && before != o->operations[i].condition_version) ||
        (condition == STORE_IF_ABSENT && before) || (condition == STORE_IF_PRESENT && !before))
        fail("a write was carried out though its condition did not hold", number, o->operations[i].key);
}

static void check_write(uint32_t number)
{
    const operation *o = &history[number];
    uint32_t puts = 0;

    for (uint32_t i = 0; i < o->count; i++)
        puts += o->operations[i].type == STORE_PUT;
    if (o->outcome == OUTCOME_NONE)
        fail("a request never came to an end", number, o->begun);
    if (o->times_found != 0 && o->times_found != puts)
        fail("a part of a transaction was carried out", number, o->times_found);
    if (o->outcome == OUTCOME_DONE && o->times_found == 0)
        fail("a write that was acknowledged is lost", number, 0);
    if (o->outcome == OUTCOME_NOT_DONE && o->times_found)
        fail("a write was done of which its client was told that it was not", number, 0);
    for (uint32_t i = 0; i < o->count && o->times_found; i++)
        check_condition(number, i);
}

/* The earliest deadline of the change and of those behind it that may have been there by then: a later one may have had
 * a slower clock. */
static uint64_t deadline_from(const changes *list, uint32_t i, uint64_t by)
{
    uint64_t least = UINT64_MAX;

    for (; i < list->count; i++) {
        const change *c = &list->items[i];

        if (c->type == STORE_PUT && history[c->operation].begun < by && c->time_us + 1000 * MS < least)
            least = c->time_us + 1000 * MS;
    }
    return least;
}

/* Records with a deadline, of which no write takes away another: they are there until their deadline by any clock, and
 * not after it by all. */
static void check_expiring_read(uint32_t number)
{
    const operation *o = &history[number];
    const changes *list = &changes_of[o->operations[0].key];

    for (uint32_t i = 0; i < list->count; i++) {
        const change *c = &list->items[i];
        uint64_t deadline = c->time_us + 1000 * MS;

        if (c->type != STORE_PUT)
            continue;
        const operation *writer = &history[c->operation];

        if (o->version == c->version && deadline + SKEW_US < WALL_US + o->begun)
            fail("an expired record was read", number, c->version);
        if (!o->version && writer->ended < o->begun && deadline_from(list, i, o->ended) > WALL_US + o->ended + SKEW_US)
            fail("a record was taken as expired before its deadline", number, c->version);
    }
}

static void count_reshaped(void)
{
    const struct store_table *table = table_of(leader_of(STORE_CATALOG_PARTITION)->shard.routing);

    fault_counts[FAULT_MERGE_DONE] += table->retired_count;
    for (uint32_t i = 0; i < table->partition_count; i++)
        fault_counts[FAULT_SPLIT_DONE] += table->partitions[i].parent != 0;
}

void check_end(void)
{
    count_reshaped();
    for (uint64_t p = STORE_CATALOG_PARTITION; p < SPACES_MAX && !failed; p++) {
        node *n = leader_of(p);

        if (n)
            check_replicas(p, n);
    }
    if (!failed)
        read_feeds();
    if (loses_majority) { /* clients were told of writes that only the lost had */
        check_what_was_left();
        return;
    }
    for (uint32_t i = 0; i < history_count && !failed; i++) {
        if (history[i].type == WRITE)
            check_write(i);
        else if (history[i].expires && history[i].outcome == OUTCOME_DONE)
            check_expiring_read(i);
    }
    if (!failed)
        check_graph();
}
