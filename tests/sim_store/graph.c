/* graph.c: is there one order of all operations that explains everything that was seen, and in which what ended before
 * something else began comes before it?  Versions tell in which order the writes of a key were, so nothing has to be
 * searched: the orders that are known make a graph, and it must not have a cycle (Adya, "Weak Consistency", 1999;
 * Kingsbury and Alvaro, "Elle", 2020, for the reading of versions). */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

enum { VERTICES_MAX = 2 * HISTORY_MAX, EDGES_MAX = 16 * HISTORY_MAX };

static struct {
    uint32_t from, to;
} edges[EDGES_MAX];
static uint32_t edge_count, vertex_count;

static void add(uint32_t from, uint32_t to)
{
    if (from == to || edge_count == EDGES_MAX)
        return;
    edges[edge_count].from = from;
    edges[edge_count++].to = to;
}

static bool counts(uint32_t number)
{
    const operation *o = &history[number];

    return !o->expires && (o->type == READ ? o->outcome == OUTCOME_DONE : o->times_found > 0);
}

/* ---- What was seen ----------------------------------------------------------------------------------------------- */

static void order_writes(const changes *list)
{
    for (uint32_t i = 1; i < list->count; i++)
        add(list->items[i - 1].operation, list->items[i].operation);
}

/* Who has seen a version comes after its writer, and before the next one. */
static void order_sight(uint32_t number, const changes *list, uint64_t version)
{
    uint32_t i = 0;

    while (i < list->count && list->items[i].version != version)
        i++;
    if (i == list->count || list->items[i].type != STORE_PUT) {
        fail("a version was seen that was never written", number, version);
        return;
    }
    add(list->items[i].operation, number);
    if (i + 1 < list->count)
        add(number, list->items[i + 1].operation);
}

/* Before the first writer, unless the record may have been removed since. */
static void order_absence(uint32_t number, const changes *list)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (list->items[i].type == STORE_DELETE)
            return;
    if (list->count)
        add(number, list->items[0].operation);
}

static void order_read(uint32_t number)
{
    const operation *o = &history[number];
    const changes *list = &changes_of[o->operations[0].key];

    if (!o->version) {
        order_absence(number, list);
        return;
    }
    order_sight(number, list, o->version);
    for (uint32_t i = 0; i < list->count; i++)
        if (list->items[i].version == o->version && list->items[i].operation + 1 != o->writer)
            fail("a record had another value than was written", number, o->version);
}

static void order_checks(uint32_t number)
{
    const operation *o = &history[number];

    for (uint32_t i = 0; i < o->count; i++) {
        const changes *list = &changes_of[o->operations[i].key];

        if (o->operations[i].type != STORE_CHECK)
            continue;
        if (o->operations[i].condition == STORE_IF_VERSION)
            order_sight(number, list, o->operations[i].condition_version);
        else if (o->operations[i].condition == STORE_IF_ABSENT)
            order_absence(number, list);
    }
}

/* ---- Time -------------------------------------------------------------------------------------------------------- */

static int by_end(const void *a, const void *b)
{
    const operation *x = &history[*(const uint32_t *)a], *y = &history[*(const uint32_t *)b];

    return (x->ended > y->ended) - (x->ended < y->ended);
}

/* A chain of moments: each end leads to the next, and each beginning comes after the last end before it. */
static void order_time(void)
{
    static uint32_t ended[HISTORY_MAX];
    uint32_t count = 0;

    for (uint32_t i = 0; i < history_count; i++)
        if (counts(i) && history[i].ended != UINT64_MAX)
            ended[count++] = i;
    qsort(ended, count, sizeof ended[0], by_end);
    for (uint32_t i = 0; i < count; i++) {
        add(ended[i], history_count + i);
        if (i + 1 < count)
            add(history_count + i, history_count + i + 1);
    }
    for (uint32_t i = 0; i < history_count; i++) {
        uint32_t low = 0, high = count; /* how many ended before it began */

        while (low < high) {
            uint32_t middle = low + (high - low) / 2;

            if (history[ended[middle]].ended < history[i].begun)
                low = middle + 1;
            else
                high = middle;
        }
        if (low > 0 && counts(i))
            add(history_count + low - 1, i);
    }
    vertex_count = history_count + count;
}

/* ---- Cycles ------------------------------------------------------------------------------------------------------ */

/* A vertex that still waits has one before it that waits, too; going back from one to the next ends in the cycle. */
static void report_cycle(const uint32_t *waits)
{
    static uint32_t step_of[VERTICES_MAX];
    uint32_t v = 0, on_cycle = 0;

    memset(step_of, 0, sizeof step_of);
    while (v < vertex_count && !waits[v])
        v++;
    while (step_of[v] < 2) { /* once to get there, once around */
        uint32_t e = 0;

        if (step_of[v]++ == 1 && v < history_count) {
            const operation *o = &history[v];

            on_cycle = v;
            say("on the cycle: request %u, %s, from %llu to %lld, outcome %d", v, o->type == READ ? "read" : "write",
                (unsigned long long)o->begun, (long long)o->ended, o->outcome);
            for (uint32_t i = 0; i < o->count; i++)
                say("    operation %d on key %u, condition %d %llu, read %llu of %llu", o->operations[i].type,
                    o->operations[i].key, o->operations[i].condition,
                    (unsigned long long)o->operations[i].condition_version, (unsigned long long)o->version,
                    (unsigned long long)o->writer - 1);
        }
        while (edges[e].to != v || !waits[edges[e].from])
            e++;
        v = edges[e].from;
    }
    fail("no order explains what was seen; on a cycle is request", on_cycle, history[on_cycle].begun);
}

static void find_cycle(void)
{
    static uint32_t first[VERTICES_MAX + 1], to[EDGES_MAX], waits[VERTICES_MAX], ready[VERTICES_MAX];
    uint32_t done = 0, count = 0;

    memset(first, 0, sizeof first);
    memset(waits, 0, sizeof waits);
    for (uint32_t i = 0; i < edge_count; i++) {
        first[edges[i].from + 1]++;
        waits[edges[i].to]++;
    }
    for (uint32_t i = 0; i < vertex_count; i++)
        first[i + 1] += first[i];
    for (uint32_t i = edge_count; i-- > 0;)
        to[--first[edges[i].from + 1]] = edges[i].to; /* first[v + 1] becomes where v begins */
    for (uint32_t i = 0; i < vertex_count; i++)
        if (!waits[i])
            ready[count++] = i;
    for (; done < count; done++) {
        uint32_t v = ready[done], end = v + 2 <= vertex_count ? first[v + 2] : edge_count;

        for (uint32_t i = first[v + 1]; i < end; i++)
            if (--waits[to[i]] == 0)
                ready[count++] = to[i];
    }
    if (count < vertex_count)
        report_cycle(waits);
}

void check_graph(void)
{
    edge_count = 0;
    for (uint32_t key = 0; key < KEYS; key++)
        order_writes(&changes_of[key]);
    for (uint32_t i = 0; i < history_count; i++) {
        if (!counts(i))
            continue;
        if (history[i].type == READ)
            order_read(i);
        else
            order_checks(i);
    }
    order_time();
    if (edge_count == EDGES_MAX)
        fail("the graph has too many edges for the simulator", edge_count, 0);
    if (!failed)
        find_cycle();
}
