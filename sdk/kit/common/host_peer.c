/* hf.peer/1: a cluster whose other nodes are never there. */
#include "host_private.h"

#include <holdfast/lib/error.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct hf_peer_request {
    hf_peer_request *next;
    _Atomic int32_t answered;
};

struct call {
    hf_peer_done done;
    void *arg;
};

struct delivery {
    struct kit_channel *channel;
    uint32_t node;
    uint8_t *bytes;
    uint64_t size;
    int32_t is_request;
};

static uint32_t node_count(const hf_host *host)
{
    return kit_of(host)->nodes;
}

static uint32_t self(const hf_host *host)
{
    (void)host;
    return 0;
}

static const char *node_zone(const hf_host *host, uint32_t node)
{
    return node < kit_of(host)->nodes ? "" : NULL;
}

static const char *node_name(const hf_host *host, uint32_t node)
{
    static const char *const names[] = {"n1", "n2", "n3", "n4", "n5"};

    return node < kit_of(host)->nodes && node < sizeof names / sizeof *names ? names[node] : NULL;
}

static int32_t channel(const hf_host *host, const char *name, const hf_peer_handlers *handlers, void *arg,
                       hf_peer_channel **ret_channel, hf_error *error)
{
    hf_kit_host *kit = kit_of(host);

    kit_must_declare(kit, "hf.peer/1 channel");
    if (!name || !*name || name[strspn(name, "abcdefghijklmnopqrstuvwxyz.")] || !handlers ||
        handlers->size < sizeof *handlers)
        hf_kit_fail("the channel '%s' was opened with a wrong name or wrong handlers", name ? name : "(null)");
    for (uint32_t i = 0; i < kit->channel_count; i++)
        if (strcmp(kit->channels[i].name, name) == 0)
            return hf_error_set(error, HF_EEXIST, "the channel '%s' is open already", name);
    if (kit->channel_count == KIT_CHANNELS_MAX)
        return hf_error_set(error, HF_ENOMEM, "too many channels");
    struct kit_channel *opened = &kit->channels[kit->channel_count++];
    *opened = (struct kit_channel){kit, name, *handlers, arg};
    *ret_channel = (hf_peer_channel *)(void *)opened;
    return HF_OK;
}

static const struct kit_channel *check_call(hf_peer_channel *opaque, uint32_t node, const hf_slice *pieces,
                                            uint32_t count, const char *what)
{
    const struct kit_channel *opened = (const struct kit_channel *)(void *)opaque;

    if (!kit_on_thread(opened->host) || !opened->host->running)
        hf_kit_fail("hf.peer/1 %s was called on a thread without a loop", what);
    if (node >= opened->host->nodes)
        hf_kit_fail("hf.peer/1 %s: there is no node %u", what, node);
    for (uint32_t i = 0; i < count; i++)
        if (pieces[i].size && !pieces[i].data)
            hf_kit_fail("hf.peer/1 %s: the piece %u has no data", what, i);
    return opened;
}

static int32_t send_message(hf_peer_channel *opaque, uint32_t node, const hf_slice *pieces, uint32_t count)
{
    check_call(opaque, node, pieces, count, "send");
    return node == 0 ? HF_EINVAL : HF_ECLOSED;
}

static void run_done(void *arg)
{
    struct call call = *(struct call *)arg;

    free(arg);
    call.done(call.arg, HF_ECLOSED, (hf_slice){NULL, 0});
}

static void call_node(hf_peer_channel *opaque, uint32_t node, const hf_slice *pieces, uint32_t count,
                      uint64_t timeout_us, hf_peer_done done, void *arg)
{
    const struct kit_channel *opened = check_call(opaque, node, pieces, count, "call");
    struct call *call = kit_allocate(sizeof *call);

    (void)timeout_us;
    *call = (struct call){done, arg};
    kit_call_on(opened->host->running, run_done, call);
}

static void respond(hf_peer_request *request, int32_t code, hf_slice response)
{
    (void)code, (void)response;
    if (atomic_exchange(&request->answered, 1))
        hf_kit_fail("a peer's request was answered twice");
}

static int32_t is_up(hf_peer_channel *opaque, uint32_t node)
{
    check_call(opaque, node, NULL, 0, "is_up");
    return 0;
}

const hf_peer_interface kit_peer_interface = {
    .head = HF_HEAD(hf_peer_interface),
    .node_count = node_count,
    .self = self,
    .node_name = node_name,
    .node_zone = node_zone,
    .channel = channel,
    .send = send_message,
    .call = call_node,
    .respond = respond,
    .is_up = is_up,
    .call_bulk = call_node,
};

/* ---- The other nodes --------------------------------------------------------------------------------------------- */

void hf_kit_host_peers(hf_kit_host *host, uint32_t nodes)
{
    host->nodes = nodes;
}

static void deliver(void *arg)
{
    struct delivery *delivery = arg;
    struct kit_channel *to = delivery->channel;
    hf_slice bytes = {delivery->bytes, delivery->size};

    if (delivery->is_request && to->handlers.request) {
        hf_peer_request *request = kit_allocate(sizeof *request);
        request->next = to->host->peer_requests;
        to->host->peer_requests = request;
        to->handlers.request(to->arg, delivery->node, request, bytes);
    }
    if (!delivery->is_request && to->handlers.message)
        to->handlers.message(to->arg, delivery->node, bytes);
    free(delivery->bytes); /* who kept the slice reads freed memory */
    free(delivery);
}

void hf_kit_host_peer_receive(hf_kit_host *host, uint32_t node, hf_slice bytes)
{
    for (uint32_t i = 0; i < 2 * host->channel_count; i++) {
        struct delivery *delivery = kit_allocate(sizeof *delivery);
        *delivery = (struct delivery){&host->channels[i / 2], node, kit_allocate(bytes.size ? bytes.size : 1),
                                      bytes.size, (int32_t)(i % 2)};
        if (bytes.size)
            memcpy(delivery->bytes, bytes.data, bytes.size);
        kit_call_on(&host->loops[1 + i % KIT_WORKERS], deliver, delivery);
    }
    kit_run_ready(host);
}

void kit_peers_destroy(hf_kit_host *host)
{
    while (host->peer_requests) {
        hf_peer_request *request = host->peer_requests;
        host->peer_requests = request->next;
        free(request);
    }
}
