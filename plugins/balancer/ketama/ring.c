/* Placing points; see ring.h.
 *
 * A server's points are the first of a sequence that its name alone begins.  With a lower weight it has fewer of them,
 * and only keys of those points move; with a higher one it gains some, and only keys before those move. */
#include "ring.h"

#include <holdfast/lib/hash.h>

#include <string.h>

/* Points of a server of average weight are between 65 and 130 percent of the option: the unit is a power of two.  Were
 * it the average itself, every server that comes, goes or starts slowly would move points of all others.  Equal weights
 * of 1, 2, 5, 10, 50, 100... are well inside such a range, so that one of several servers can start slowly within it.
 */
enum { UNIT_MOST_PERCENT = 130 };

uint64_t ketama_capacity(uint32_t server_count, uint32_t points_option)
{
    /* Every server may have one more than its weight is worth, by rounding or because it has too little for one. */
    return (uint64_t)server_count * points_option * UNIT_MOST_PERCENT / 100 + server_count + 1;
}

static uint64_t unit_of(uint64_t weights, uint32_t server_count)
{
    uint64_t unit = 1;

    while (weights * 100 >= unit * UNIT_MOST_PERCENT * server_count)
        unit *= 2;
    return unit;
}

static uint32_t points_of(const struct ketama_ring *ring, uint32_t weight)
{
    uint64_t points = ((uint64_t)ring->points_option * weight + ring->unit / 2) / ring->unit;

    return points ? (uint32_t)points : 1;
}

/* ---- Sorting ----------------------------------------------------------------------------------------------------- */

/* Two points in one place are 1 in 10^7 rings of the largest size: their servers' names decide, not the list. */
static int is_behind(const struct ketama_ring *ring, const struct ketama_point *a, const struct ketama_point *b)
{
    if (a->place != b->place)
        return a->place > b->place;
    return ring->servers[a->server].identity > ring->servers[b->server].identity;
}

/* Merges `more` into `points`, behind which there is room for them: from the end, so that nothing is overwritten. */
static void merge(const struct ketama_ring *ring, struct ketama_point *points, uint32_t count,
                  const struct ketama_point *more, uint32_t more_count)
{
    while (more_count > 0) {
        if (count > 0 && is_behind(ring, &points[count - 1], &more[more_count - 1])) {
            points[count + more_count - 1] = points[count - 1];
            count--;
        } else {
            points[count + more_count - 1] = more[more_count - 1];
            more_count--;
        }
    }
}

/* A merge sort, since qsort may take memory; `room` is for half of them.  It calls itself 20 deep at most. */
static void sort(const struct ketama_ring *ring, struct ketama_point *points, uint32_t count, struct ketama_point *room)
{
    uint32_t half = count - count / 2;

    if (count < 2)
        return;
    sort(ring, points, half, room);
    sort(ring, points + half, count - half, room);
    memcpy(room, points + half, (count - half) * sizeof *room);
    merge(ring, points, half, room, count - half);
}

/* ---- Placing ----------------------------------------------------------------------------------------------------- */

/* Points first..last-1 of the server's sequence. */
static void list_points(const struct ketama_ring *ring, uint32_t server, uint32_t first, uint32_t last,
                        struct ketama_point *ret_points)
{
    hf_random sequence;

    hf_random_init(&sequence, ring->servers[server].identity);
    for (uint32_t i = 0; i < first; i++)
        (void)hf_random_next(&sequence);
    for (uint32_t i = first; i < last; i++)
        *ret_points++ = (struct ketama_point){hf_random_next(&sequence), server, i};
}

static void place_all(struct ketama_ring *ring)
{
    ring->point_count = 0;
    for (uint32_t i = 0; i < ring->server_count; i++) {
        struct ketama_server *server = &ring->servers[i];

        server->points = points_of(ring, server->weight);
        list_points(ring, i, 0, server->points, ring->points + ring->point_count);
        ring->point_count += server->points;
    }
    sort(ring, ring->points, ring->point_count, ring->spare);
}

static void add_points(struct ketama_ring *ring, uint32_t server, uint32_t points)
{
    uint32_t more = points - ring->servers[server].points;

    list_points(ring, server, ring->servers[server].points, points, ring->spare);
    sort(ring, ring->spare, more, ring->points + ring->point_count); /* where there is room for them */
    merge(ring, ring->points, ring->point_count, ring->spare, more);
    ring->point_count += more;
    ring->servers[server].points = points;
}

static void drop_points(struct ketama_ring *ring, uint32_t server, uint32_t points)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < ring->point_count; i++)
        if (ring->points[i].server != server || ring->points[i].number < points)
            ring->points[kept++] = ring->points[i];
    ring->point_count = kept;
    ring->servers[server].points = points;
}

void ketama_fill(struct ketama_ring *ring, const hf_balancer_server *servers, uint32_t server_count,
                 uint32_t points_option)
{
    ring->server_count = server_count;
    ring->points_option = points_option;
    ring->weights = 0;
    for (uint32_t i = 0; i < server_count; i++) {
        ring->servers[i] =
            (struct ketama_server){hf_hash64(0, servers[i].name.data, servers[i].name.size), servers[i].weight, 0};
        ring->weights += servers[i].weight;
    }
    ring->unit = unit_of(ring->weights, server_count);
    place_all(ring);
}

void ketama_weigh(struct ketama_ring *ring, uint32_t server, uint32_t weight)
{
    uint32_t before = ring->servers[server].points, points;

    ring->weights = ring->weights - ring->servers[server].weight + weight;
    ring->servers[server].weight = weight;

    uint64_t unit = unit_of(ring->weights, ring->server_count);

    if (unit != ring->unit) {
        ring->unit = unit;
        place_all(ring);
        return;
    }
    points = points_of(ring, weight);
    if (points > before)
        add_points(ring, server, points);
    else if (points < before)
        drop_points(ring, server, points);
}

uint32_t ketama_find(const struct ketama_ring *ring, uint64_t place)
{
    uint32_t low = 0, high = ring->point_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (ring->points[middle].place < place)
            low = middle + 1;
        else
            high = middle;
    }
    return low == ring->point_count ? 0 : low;
}
