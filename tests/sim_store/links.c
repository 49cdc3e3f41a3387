/* links.c: links between nodes: in order while they are up; what is under way when one is cut is lost, and whoever
 * waits for an answer does not know. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

enum { MESSAGE = 1, REQUEST = 2, RESPONSE = 3 };

typedef struct {
    uint32_t from, to, channel;
    uint64_t from_life, to_life;
    int kind;
    int32_t code;
    uint64_t number; /* of the call */
    uint64_t size;
    uint8_t bytes[];
} packet;

struct pending_call {
    struct pending_call *next;
    uint64_t number;
    uint32_t node;
    hf_peer_done done;
    void *arg;
    int32_t code; /* of how it ends without an answer */
};

struct hf_peer_request {
    node *of;
    uint32_t from;
    uint64_t number, link_life;
};

/* A link that has lost something cannot go on, even when it would carry again. */
static bool doomed[NODES_MAX][NODES_MAX];
static uint64_t last_arrival[NODES_MAX][NODES_MAX];

void free_packet(void *data)
{
    free(data);
}

static bool is_linked(const node *n, uint32_t other)
{
    return n->link_life[other] != 0;
}

static void put(node *n, uint32_t to, int kind, uint32_t channel, uint64_t number, int32_t code, const hf_slice *pieces,
                uint32_t count)
{
    uint64_t size = 0, *last = &last_arrival[n->index][to], at = now + 50 + roll(delay);
    uint32_t owner = heap_of_all();
    packet *p;

    for (uint32_t i = 0; i < count; i++)
        size += pieces[i].size;
    p = malloc(sizeof *p + size);
    heap_back(owner);
    *p = (packet){n->index, to, channel, n->life, n->link_life[to], kind, code, number, 0};
    for (uint32_t i = 0; i < count; i++) {
        if (pieces[i].size)
            memcpy(p->bytes + p->size, pieces[i].data, pieces[i].size);
        p->size += pieces[i].size;
    }
    if (!calm && roll(100) == 0)
        at += roll(100 * MS);
    *last = at > *last ? at : *last + 1;
    schedule((event){.at = *last, .type = EV_PACKET, .node = to, .data = p});
}

/* ---- The interface ----------------------------------------------------------------------------------------------- */

static uint32_t channel_number(const hf_peer_channel *channel)
{
    return (uint32_t)(channel - channel->of->channels);
}

static int32_t channel_open(const hf_host *host, const char *name, const hf_peer_handlers *handlers, void *arg,
                            hf_peer_channel **ret_channel, hf_error *error)
{
    node *n = (node *)(uintptr_t)host;
    hf_peer_channel *channel = &n->channels[n->channel_count++];

    (void)name;
    (void)error;
    *channel = (hf_peer_channel){n, *handlers, arg};
    *ret_channel = channel;
    return HF_OK;
}

static int32_t send_message(hf_peer_channel *channel, uint32_t to, const hf_slice *pieces, uint32_t count)
{
    if (!is_linked(channel->of, to))
        return HF_ECLOSED;
    put(channel->of, to, MESSAGE, channel_number(channel), 0, 0, pieces, count);
    return HF_OK;
}

static void end_call_at(node *n, uint64_t at, uint64_t number)
{
    schedule((event){.at = at, .type = EV_CALL_OVER, .node = n->index, .life = n->life, .number = number});
}

static void call(hf_peer_channel *channel, uint32_t to, const hf_slice *pieces, uint32_t count, uint64_t timeout_us,
                 hf_peer_done done, void *arg)
{
    node *n = channel->of;
    pending_call *c = calloc(1, sizeof *c);

    *c = (pending_call){n->calls, ++serial, to, done, arg, HF_ETIMEOUT};
    n->calls = c;
    if (!is_linked(n, to)) {
        c->code = HF_ECLOSED;
        end_call_at(n, now + 1, c->number);
        return;
    }
    put(n, to, REQUEST, channel_number(channel), c->number, 0, pieces, count);
    end_call_at(n, now + timeout_us * 1000 / n->rate + 1, c->number);
}

static void respond(hf_peer_request *request, int32_t code, hf_slice response)
{
    if (request->of->link_life[request->from] == request->link_life)
        put(request->of, request->from, RESPONSE, 0, request->number, code, &response, 1);
    free(request);
}

static int32_t is_up(hf_peer_channel *channel, uint32_t other)
{
    return is_linked(channel->of, other);
}

const hf_peer_interface sim_peers = {
    .head = HF_HEAD(hf_peer_interface),
    .channel = channel_open,
    .send = send_message,
    .call = call,
    .respond = respond,
    .is_up = is_up,
    .call_bulk = call,
};

/* ---- Arriving ---------------------------------------------------------------------------------------------------- */

static void finish_call(node *n, uint64_t number, const int32_t *code, hf_slice response)
{
    for (pending_call **link = &n->calls; *link; link = &(*link)->next) {
        pending_call *c = *link;

        if (c->number != number)
            continue;
        *link = c->next;
        c->done(c->arg, code ? *code : c->code, response);
        free(c);
        return;
    }
}

void call_over(node *n, uint64_t number)
{
    finish_call(n, number, NULL, (hf_slice){NULL, 0});
}

void deliver(void *data)
{
    packet *p = data;
    node *n = &nodes[p->to];
    hf_slice bytes = {p->bytes, p->size};

    if (!n->up || n->life != p->to_life || n->link_life[p->from] != p->from_life || blocked[p->from][p->to] ||
        doomed[p->from][p->to]) {
        doomed[p->from][p->to] = n->up && n->life == p->to_life && n->link_life[p->from] == p->from_life;
        fault_counts[FAULT_LOST_MESSAGE]++;
        return;
    }
    enter(n);
    if (p->kind == MESSAGE) {
        n->channels[p->channel].handlers.message(n->channels[p->channel].arg, p->from, bytes);
    } else if (p->kind == REQUEST) {
        hf_peer_request *request = calloc(1, sizeof *request);

        *request = (hf_peer_request){n, p->from, p->number, p->from_life};
        n->channels[p->channel].handlers.request(n->channels[p->channel].arg, p->from, request, bytes);
    } else {
        finish_call(n, p->number, &p->code, bytes);
    }
    leave();
}

void links_begin(void)
{
    memset(last_arrival, 0, sizeof last_arrival);
    memset(doomed, 0, sizeof doomed);
    schedule((event){.at = 1, .type = EV_LINKS});
}

/* ---- Coming and going -------------------------------------------------------------------------------------------- */

static void tell(node *n, uint32_t other, int32_t up)
{
    enter(n);
    for (uint32_t i = 0; i < n->channel_count; i++)
        if (n->channels[i].handlers.link)
            n->channels[i].handlers.link(n->channels[i].arg, other, up);
    leave();
}

static void lose(node *n, uint32_t other)
{
    n->link_life[other] = 0;
    fault_counts[FAULT_LINK_LOST]++;
    for (pending_call *c = n->calls; c; c = c->next)
        if (c->node == other && c->code == HF_ETIMEOUT) {
            c->code = HF_EIO;
            fault_counts[FAULT_LOST_CALL]++;
            end_call_at(n, now + 1, c->number);
        }
    tell(n, other, 0);
}

static bool is_blocked(uint32_t a, uint32_t b)
{
    return blocked[a][b] || blocked[b][a];
}

void look_at_links(void)
{
    schedule((event){.at = now + 20 * MS + roll(80 * MS), .type = EV_LINKS});
    for (uint32_t i = 0; i < node_count; i++)
        for (uint32_t k = 0; k < node_count; k++) {
            node *a = &nodes[i], *b = &nodes[k];

            if (i != k && a->up && a->paused_until <= now && is_linked(a, k) &&
                (!b->up || a->link_life[k] != b->life || is_blocked(i, k) || doomed[i][k] || doomed[k][i] ||
                 b->link_life[i] != a->life))
                lose(a, k);
        }
    for (uint32_t i = 0; i < node_count; i++)
        for (uint32_t k = 0; k < i; k++) {
            node *a = &nodes[i], *b = &nodes[k];

            if (!a->up || !b->up || is_linked(a, k) || is_linked(b, i) || is_blocked(i, k) || a->paused_until > now ||
                b->paused_until > now)
                continue;
            doomed[i][k] = doomed[k][i] = false;
            a->link_life[k] = b->life;
            b->link_life[i] = a->life;
            tell(a, k, 1);
            tell(b, i, 1);
        }
}
