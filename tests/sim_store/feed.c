/* feed.c: who did what, and in which order, as the change feeds of all partitions say in the end: those that are, and
 * those that were merged into others, whose feeds stay. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

enum { CHANGES_MAX = 4 * HISTORY_MAX };

changes changes_of[KEYS + EXPIRING_KEYS];

/* Of all feeds; what a split has copied may be there twice, when a merge has brought it back. */
static struct told {
    uint64_t partition, version, user, time_us;
    uint32_t key;
    int32_t type;
} told[CHANGES_MAX];
static uint32_t told_count;

/* ---- Reading them ------------------------------------------------------------------------------------------------ */

uint32_t key_number(hf_slice key)
{
    char text[16];

    for (uint32_t i = 0; i < KEYS + EXPIRING_KEYS; i++)
        if (key_text(i, text, sizeof text) == key.size && memcmp(text, key.data, key.size) == 0)
            return i;
    fail("a record of an unknown key", key.size, 0);
    return 0;
}

static int32_t visit_change(void *arg, const struct store_change *c)
{
    const uint64_t *partition = arg;

    if (told_count == CHANGES_MAX) {
        fail("more changes than the simulator has room for", told_count, 0);
        return 1;
    }
    told[told_count++] = (struct told){*partition, c->version, c->user, c->time_us, key_number(c->key), c->type};
    return failed;
}

static int compare_told(const void *a, const void *b)
{
    const struct told *x = a, *y = b;

    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    if (x->version != y->version)
        return x->version < y->version ? -1 : 1;
    return (x->partition > y->partition) - (x->partition < y->partition);
}

/* ---- What they say ----------------------------------------------------------------------------------------------- */

/* A transaction's idempotency key is with its home, which may have been lost while others of its partitions were not
 * (docs/decisions/0014-recovery.md). */
static bool may_be_forgotten(const operation *o)
{
    return loses_majority && o->count > 1;
}

static void find_change(const struct told *c)
{
    operation *o = &history[c->user - 1];
    const changes *list = &changes_of[c->key];
    bool asked = false;

    for (uint32_t i = 0; i < o->count; i++)
        asked = asked || (o->operations[i].key == c->key && o->operations[i].type == c->type);
    if (!asked)
        fail("a change that its writer did not ask for", c->key, c->user);
    for (uint32_t i = 0; i < list->count; i++)
        if (list->items[i].operation == c->user - 1 && list->items[i].type == c->type && !may_be_forgotten(o))
            fail("a request was carried out twice", c->key, c->user);
    o->times_found += c->type == STORE_PUT;
}

static void take(const struct told *c)
{
    changes *list = &changes_of[c->key];

    if (c->type == STORE_EXPIRE) {
        const change *last = list->count ? &list->items[list->count - 1] : NULL;

        if (!last || last->type != STORE_PUT || c->time_us < last->time_us + 1000 * MS)
            fail("a record was removed before its deadline", c->key, c->version);
        fault_counts[FAULT_EXPIRED]++;
    } else if (c->user == 0 || c->user > history_count) {
        fail("a change of an unknown writer", c->key, c->user);
        return;
    } else {
        find_change(c);
    }
    if (list->count < HISTORY_MAX)
        list->items[list->count++] = (change){c->version, (uint32_t)c->user - 1, c->type, c->time_us};
}

static void check_same(const struct told *a, const struct told *b)
{
    if (a->partition == b->partition)
        fail("versions of a key do not grow", a->key, a->version);
    else if (a->user != b->user || a->type != b->type || a->time_us != b->time_us)
        fail("two partitions tell of a change differently", a->key, a->version);
}

/* ---- Records ----------------------------------------------------------------------------------------------------- */

/* What is there is what the last change says. */
static void check_record(uint64_t partition, uint32_t key)
{
    struct store_machine *machine = store_replica_machine(replica_of(leader_of(partition), partition));
    const changes *list = &changes_of[key];
    const change *last = list->count ? &list->items[list->count - 1] : NULL;
    struct store_record record = {0};
    char text[16];
    hf_slice name = {(const uint8_t *)text, key_text(key, text, sizeof text)};
    int32_t r = store_machine_get(machine, name, 0, &record, NULL);
    bool wanted = last && last->type == STORE_PUT;

    if (r != (wanted ? 0 : HF_ENOTFOUND) || (wanted && record.version != last->version))
        fail("a record is not what its last change says", key, record.version);
    if (key >= KEYS && wanted)
        fail("an expired record is still there", key, record.version);
    if (r == 0)
        store_record_release(machine, &record);
}

void read_feeds(void)
{
    const struct store_routing *routing = leader_of(STORE_CATALOG_PARTITION)->shard.routing;

    told_count = 0;
    memset(changes_of, 0, sizeof changes_of);
    for (uint64_t p = FIRST_PARTITION; p < SPACES_MAX; p++) {
        node *n = leader_of(p);

        if (n && store_machine_changes(store_replica_machine(replica_of(n, p)), 1, visit_change, &p, NULL))
            fail("the change feed cannot be read", p, 0);
    }
    qsort(told, told_count, sizeof told[0], compare_told);
    for (uint32_t i = 0; i < told_count && !failed; i++)
        if (i > 0 && told[i].key == told[i - 1].key && told[i].version == told[i - 1].version)
            check_same(&told[i], &told[i - 1]);
        else
            take(&told[i]);
    for (uint32_t key = 0; key < KEYS + EXPIRING_KEYS && !failed; key++)
        check_record(key_partition(routing, key), key);
}
