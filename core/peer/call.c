/* Sending, and calls that wait for their responses. */
#include "peer/private.h"

#include <stdlib.h>
#include <string.h>

static peer_lane *current_lane(hf_peers *peers)
{
    hf_loop *loop = hf_loop_current();

    for (uint32_t i = 0; i < peers->lane_count; i++)
        if (peers->lanes[i].loop == loop)
            return &peers->lanes[i];
    return NULL;
}

/* This loop's link to the node, when it is up. */
static int32_t find_link(hf_peers *peers, uint32_t node, peer_link **ret_link)
{
    peer_lane *lane = current_lane(peers);
    peer_link *link;

    if (!lane || node >= peers->settings.member_count || node == peers->self)
        return HF_EINVAL;
    link = lane->diallers[node].link;
    if (!link || link->state != LINK_UP)
        return HF_ECLOSED;
    *ret_link = link;
    return link->out.size > peers->settings.queue_limit ? HF_EBUSY : 0;
}

static int32_t append(peer_link *link, const hf_frame *frame, const hf_slice *pieces, uint32_t count)
{
    int32_t result = hf_frame_append(&link->out, frame, pieces, count);

    if (result)
        return result == HF_ENOMEM ? HF_EBUSY : result;
    hf_metric_increment(link->peers->sent_messages, 1);
    peer_link_flush_soon(link);
    return 0;
}

int32_t hf_peers_send(hf_peer_channel *channel, uint32_t node, const hf_slice *pieces, uint32_t count)
{
    hf_frame frame = {.type = HF_FRAME_MESSAGE, .channel = channel->number};
    peer_link *link = NULL;
    int32_t result = find_link(channel->peers, node, &link);

    return result ? result : append(link, &frame, pieces, count);
}

int32_t hf_peers_is_up(hf_peer_channel *channel, uint32_t node)
{
    peer_link *link = NULL;
    int32_t result = find_link(channel->peers, node, &link);

    return result == 0 || result == HF_EBUSY;
}

/* ---- Calls ---------------------------------------------------------------------------------------------------- */

static void complete(peer_call *call, int32_t code, hf_slice response)
{
    hf_peer_done done = call->done;
    void *arg = call->arg;

    free(call);
    done(arg, code, response);
}

static void fail_task(hf_task *task)
{
    peer_call *call = (peer_call *)(void *)task;

    complete(call, call->code, (hf_slice){NULL, 0});
}

void hf_peers_call(hf_peer_channel *channel, uint32_t node, const hf_slice *pieces, uint32_t count, uint64_t timeout_us,
                   hf_peer_done done, void *arg)
{
    peer_link *link = NULL;
    peer_call *call = calloc(1, sizeof *call);
    hf_frame frame = {.type = HF_FRAME_REQUEST, .channel = channel->number};
    int32_t result = find_link(channel->peers, node, &link);

    if (!call) /* without memory the program cannot say so later; it says so never */
        abort();
    call->done = done;
    call->arg = arg;
    if (result == 0) {
        frame.id = ++link->next_id;
        result = append(link, &frame, pieces, count);
    }
    if (result) {
        call->code = result;
        call->task.run = fail_task;
        hf_loop_post(hf_loop_current(), &call->task);
        return;
    }
    call->id = frame.id;
    call->deadline_us = hf_loop_now_us(link->lane->loop) + timeout_us;
    call->next = link->calls[call->id % CALL_BUCKETS];
    link->calls[call->id % CALL_BUCKETS] = call;
    link->call_count++;
}

void peer_call_answered(peer_link *link, const hf_frame *frame)
{
    peer_call **place = &link->calls[frame->id % CALL_BUCKETS];

    while (*place && (*place)->id != frame->id)
        place = &(*place)->next;
    peer_call *call = *place;
    if (!call)
        return; /* it has timed out */
    *place = call->next;
    link->call_count--;
    hf_metric_increment(link->peers->received_messages, 1);
    complete(call, frame->code, frame->payload);
}

/* Takes out the calls whose deadline has passed, into a list: completing them may begin others. */
static peer_call *take_due(peer_link *link, uint64_t now_us)
{
    peer_call *due = NULL;

    for (uint32_t i = 0; i < CALL_BUCKETS && link->call_count; i++)
        for (peer_call **place = &link->calls[i]; *place;) {
            peer_call *call = *place;
            if (call->deadline_us > now_us) {
                place = &call->next;
                continue;
            }
            *place = call->next;
            link->call_count--;
            call->next = due;
            due = call;
        }
    return due;
}

static void complete_list(peer_call *calls, int32_t code)
{
    while (calls) {
        peer_call *call = calls;
        calls = call->next;
        complete(call, code, (hf_slice){NULL, 0});
    }
}

void peer_calls_expire(peer_link *link, uint64_t now_us)
{
    complete_list(take_due(link, now_us), HF_ETIMEOUT);
}

void peer_calls_end(peer_link *link, int32_t code)
{
    complete_list(take_due(link, UINT64_MAX), code);
}

/* ---- Bulk calls ------------------------------------------------------------------------------------------------- */

/* A call on its way to the bulk loop, and its response on its way back. */
typedef struct bulk_call {
    hf_task task;
    hf_peer_channel *channel;
    hf_loop *home;
    uint32_t node;
    uint32_t count;
    uint64_t timeout_us;
    hf_peer_done done;
    void *arg;
    int32_t code;
    hf_buffer response;
    hf_slice pieces[];
} bulk_call;

static void bulk_done(hf_task *task)
{
    bulk_call *call = (bulk_call *)(void *)task;

    call->done(call->arg, call->code, (hf_slice){call->response.data, call->response.size});
    hf_buffer_done(&call->response);
    free(call);
}

static void bulk_answered(void *arg, int32_t code, hf_slice response)
{
    bulk_call *call = arg;

    call->code = code;
    if (hf_buffer_append(&call->response, response.data, response.size) != 0)
        call->code = HF_EIO; /* without the response the caller knows nothing */
    call->task.run = bulk_done;
    hf_loop_post(call->home, &call->task);
}

static void begin_bulk_call(hf_task *task)
{
    bulk_call *call = (bulk_call *)(void *)task;

    hf_peers_call(call->channel, call->node, call->pieces, call->count, call->timeout_us, bulk_answered, call);
}

void hf_peers_call_bulk(hf_peer_channel *channel, uint32_t node, const hf_slice *pieces, uint32_t count,
                        uint64_t timeout_us, hf_peer_done done, void *arg)
{
    bulk_call *call = calloc(1, sizeof *call + count * sizeof *pieces);

    if (!call)
        abort(); /* as in hf_peers_call */
    call->task.run = begin_bulk_call;
    call->channel = channel;
    call->home = hf_loop_current();
    call->node = node;
    call->count = count;
    call->timeout_us = timeout_us;
    call->done = done;
    call->arg = arg;
    hf_buffer_init(&call->response, HF_PEER_MESSAGE_MAX);
    memcpy(call->pieces, pieces, count * sizeof *pieces);
    hf_loop_post(channel->peers->settings.bulk, &call->task);
}
