#include "stream/seat.h"

#include <holdfast/lib/hash.h>

#include <stdlib.h>

enum { HOPS_MAX = 4 /* from one upstream to the one in its place */ };

static uint64_t now_of(const struct gateway_seat *seat)
{
    return gateway_worker_now(seat->worker);
}

void gateway_seat_rename(struct gateway_seat *seat, const struct sockaddr_storage *client)
{
    char text[GATEWAY_ADDRESS_TEXT];
    uint32_t size = gateway_address_text((const struct sockaddr *)client, text);

    seat->key = hf_hash64(0, text, size); /* as requests of that client have it */
}

void gateway_seat_init(struct gateway_seat *seat, struct gateway_worker *worker, const struct sockaddr_storage *client,
                       uint32_t tries_maximum)
{
    *seat = (struct gateway_seat){
        .worker = worker, .generation = gateway_worker_use(worker), .tries_maximum = tries_maximum, .has_key = 1};
    gateway_seat_rename(seat, client);
}

/* ---- Reports ----------------------------------------------------------------------------------------------------- */

static void report(struct gateway_seat *seat, int32_t outcome)
{
    if (!seat->is_open)
        return;
    seat->is_open = 0;
    gateway_choice_learn(seat->set, seat->worker->index, seat->place, outcome, seat->picked_us, now_of(seat));
    gateway_server_report(seat->set, seat->place, &seat->call, outcome, now_of(seat));
}

static void end_call(struct gateway_seat *seat, int32_t outcome)
{
    if (seat->is_counted)
        gateway_upstream_end(seat->set, &seat->upstream_call, outcome, now_of(seat));
    seat->is_counted = 0;
}

static void leave_server(struct gateway_seat *seat, int32_t outcome)
{
    if (!seat->server)
        return;
    report(seat, outcome);
    gateway_server_leave(seat->server, seat->set, seat->place);
    gateway_server_release(seat->server);
    seat->server = NULL;
    seat->worker->has_room = 1; /* for one that waits, perhaps */
}

static void leave_set(struct gateway_seat *seat)
{
    if (seat->tried != &seat->tried_word)
        free(seat->tried);
    seat->tried = NULL;
    gateway_server_set_release(seat->set);
    seat->set = NULL;
    seat->view = NULL;
}

void gateway_seat_fail(struct gateway_seat *seat)
{
    struct gateway_breaker_call call = {0};

    if (seat->server && seat->set && !seat->is_open && /* it was well, and is not any more */
        gateway_server_begin(seat->set, seat->place, now_of(seat), &call))
        gateway_server_end(seat->set, seat->place, &call, GATEWAY_FAILED, now_of(seat));
    leave_server(seat, GATEWAY_FAILED);
}

void gateway_seat_prove(struct gateway_seat *seat)
{
    report(seat, GATEWAY_SERVED);
    end_call(seat, GATEWAY_SERVED);
}

void gateway_seat_settle(struct gateway_seat *seat)
{
    if (seat->generation)
        gateway_worker_leave(seat->worker, seat->generation);
    seat->generation = NULL;
    seat->view = NULL;
}

void gateway_seat_follow(struct gateway_seat *seat)
{
    if (seat->generation || !seat->set || !atomic_load_explicit(&seat->set->is_old, memory_order_relaxed))
        return;
    report(seat, GATEWAY_ABANDONED);
    end_call(seat, GATEWAY_ABANDONED);
    leave_set(seat);
}

void gateway_seat_done(struct gateway_seat *seat)
{
    end_call(seat, !seat->server && seat->tries ? GATEWAY_FAILED : GATEWAY_ABANDONED);
    leave_server(seat, GATEWAY_ABANDONED);
    leave_set(seat);
    gateway_seat_settle(seat);
}

/* ---- Choosing ---------------------------------------------------------------------------------------------------- */

static int is_tried_out(const struct gateway_seat *seat)
{
    return seat->tries >= seat->tries_maximum ||
           (seat->tries > 0 && !gateway_upstream_may_retry(seat->set, now_of(seat)));
}

static int32_t try_servers(struct gateway_seat *seat)
{
    struct gateway_view *view = seat->view;
    struct gateway_choice choice = {.set = seat->set,
                                    .usable = view->set == seat->set ? &view->usable : NULL,
                                    .worker = seat->worker->index,
                                    .tried = seat->tried,
                                    .has_key = seat->has_key,
                                    .key = seat->key,
                                    .now_us = now_of(seat)};
    int32_t full = 0;
    uint32_t place = 0;

    if (is_tried_out(seat))
        return GATEWAY_SEAT_NONE;
    while (gateway_choose(&choice, &place, &full)) {
        int32_t begun = gateway_server_begin(seat->set, place, choice.now_us, &seat->call);

        seat->tried[place / 64] |= UINT64_C(1) << place % 64;
        if (!begun) /* its breaker tries others first */
            continue;
        seat->tries++;
        seat->place = place;
        seat->server = seat->set->places[place].server;
        gateway_server_hold(seat->server);
        seat->is_open = 1;
        seat->picked_us = choice.now_us;
        return GATEWAY_SEAT_TAKEN;
    }
    return full && seat->tries == 0 ? GATEWAY_SEAT_FULL : GATEWAY_SEAT_NONE;
}

/* 0: the upstream takes nothing now. */
static int enter(struct gateway_seat *seat, uint32_t upstream)
{
    uint64_t words;

    seat->upstream = upstream;
    seat->view = seat->generation->views[upstream];
    seat->set = seat->view->set;
    seat->tries = 0;
    gateway_server_set_hold(seat->set);
    words = (seat->set->count + 63) / 64;
    seat->tried_word = 0;
    seat->tried = words > 1 ? calloc(words, sizeof *seat->tried) : &seat->tried_word;
    if (!seat->tried || !gateway_upstream_begin(seat->set, now_of(seat), &seat->upstream_call))
        return 0;
    seat->is_counted = 1;
    gateway_upstream_pay(seat->set);
    return 1;
}

/* 0: there is none that is asked in its place. */
static int degrade(struct gateway_seat *seat, uint32_t *ret_upstream)
{
    uint32_t other = seat->generation->plan->upstreams[seat->upstream].degraded.upstream;

    end_call(seat, seat->tries ? GATEWAY_FAILED : GATEWAY_ABANDONED);
    leave_set(seat);
    *ret_upstream = other;
    return other != GATEWAY_NO_UPSTREAM && seat->hops++ < HOPS_MAX;
}

int32_t gateway_seat_take_next(struct gateway_seat *seat)
{
    int32_t result = try_servers(seat);
    uint32_t other = 0;

    return result == GATEWAY_SEAT_NONE && degrade(seat, &other) ? gateway_seat_take(seat, other) : result;
}

int32_t gateway_seat_take(struct gateway_seat *seat, uint32_t upstream)
{
    int32_t result = enter(seat, upstream) ? try_servers(seat) : GATEWAY_SEAT_NONE;

    while (result == GATEWAY_SEAT_NONE && degrade(seat, &upstream))
        result = enter(seat, upstream) ? try_servers(seat) : GATEWAY_SEAT_NONE;
    return result;
}

const struct gateway_addresses *gateway_seat_addresses(const struct gateway_seat *seat)
{
    return &seat->set->places[seat->place].addresses;
}
