/* What the frames of a link mean: the hello that begins it, messages, requests and responses. */
#include "peer/private.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/value.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- The beginning -------------------------------------------------------------------------------------------- */

static void send_hello(peer_link *link)
{
    hf_peers *peers = link->peers;
    hf_hello hello = {.protocol = HF_PEER_PROTOCOL,
                      .lane = link->lane->number,
                      .run = peers->run,
                      .members = peers->members_hash,
                      .cluster = hf_slice_of(peers->settings.cluster),
                      .from = hf_slice_of(peers->settings.self),
                      .to = hf_slice_of(peers->settings.members[link->node].name),
                      .channel_count = peers->channel_count};
    hf_buffer text;

    for (uint32_t i = 0; i < peers->channel_count; i++)
        hello.channels[i] = hf_slice_of(peers->channels[i].name);
    hf_buffer_init(&text, HF_FRAME_HELLO_MAX);
    hf_frame frame = {.type = HF_FRAME_HELLO};
    int32_t failed = hf_hello_append(&text, &hello);
    hf_slice piece = {text.data, text.size};
    if (!failed)
        failed = hf_frame_append(&link->out, &frame, &piece, 1);
    hf_buffer_done(&text);
    if (failed)
        peer_link_close(link, "no memory for the hello");
}

static uint32_t find_node(const hf_peers *peers, const char *name)
{
    for (uint32_t i = 0; i < peers->settings.member_count; i++)
        if (strcmp(name, peers->settings.members[i].name) == 0)
            return i;
    return NO_NODE;
}

void peer_link_begin(peer_link *link)
{
    const hf_peers *peers = link->peers;
    char name[256] = "";
    hf_error error = {0};

    if (hf_tls_peer_name(link->ssl, name, sizeof name, &error) != 0) {
        peer_link_close(link, error.message);
    } else if (!link->dialled) { /* the dialler speaks first */
        uint32_t node = find_node(peers, name);
        link->node = node == peers->self ? NO_NODE : node;
    } else if (strcmp(name, peers->settings.members[link->node].name) != 0) {
        hf_error_set(&error, HF_EDENIED, "its certificate is for node '%.100s'; check the address of the member", name);
        peer_link_close(link, error.message);
    } else {
        send_hello(link);
    }
}

static const char *explain(peer_link *link, const char *format, ...) HF_PRINTF(2, 3);

static const char *explain(peer_link *link, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(link->reason, sizeof link->reason, format, arguments);
    va_end(arguments);
    return link->reason;
}

/* What is wrong with the hello, or NULL. */
static const char *check_hello(peer_link *link, const hf_hello *hello)
{
    const hf_peers *peers = link->peers;
    const char *self = peers->settings.self;
    char name[256] = "";

    if (hello->protocol != HF_PEER_PROTOCOL)
        return explain(link,
                       "it speaks version %u of the protocol and '%s' speaks %d; upgrade one node after the other, and "
                       "no version further",
                       hello->protocol, self, HF_PEER_PROTOCOL);
    if (!hf_slice_is(hello->cluster, peers->settings.cluster))
        return explain(link, "it belongs to the cluster '%.*s' and not to '%s' (cluster.name)",
                       (int)(hello->cluster.size < 100 ? hello->cluster.size : 100), (const char *)hello->cluster.data,
                       peers->settings.cluster);
    if (hf_tls_peer_name(link->ssl, name, sizeof name, NULL) != 0 || !hf_slice_is(hello->from, name))
        return explain(link, "it says that it is '%.*s', but its certificate is for '%.100s'",
                       (int)(hello->from.size < 100 ? hello->from.size : 100), (const char *)hello->from.data, name);
    if (strcmp(name, self) == 0)
        return explain(link, "'%s' is the name of this node, too; two nodes have it, or a member's address is wrong",
                       self);
    if (link->node == NO_NODE)
        return explain(link, "'%.100s' is not a member of '%s' (cluster.members)", name, peers->settings.cluster);
    if (hello->members != peers->members_hash)
        return "it has another list of members (cluster.members must be the same, in the same order, on all nodes)";
    if (!hf_slice_is(hello->to, self))
        return explain(link, "it meant to reach '%.*s' and this is '%s'; check the addresses of the members",
                       (int)(hello->to.size < 100 ? hello->to.size : 100), (const char *)hello->to.data, self);
    return NULL;
}

static void map_channels(peer_link *link, const hf_hello *hello)
{
    const hf_peers *peers = link->peers;

    for (uint32_t i = 0; i < 256; i++)
        link->channels[i] = -1;
    for (uint32_t i = 0; i < hello->channel_count; i++)
        for (uint32_t own = 0; own < peers->channel_count; own++)
            if (hf_slice_is(hello->channels[i], peers->channels[own].name))
                link->channels[i] = (int32_t)own;
}

static int32_t refuse(peer_link *link, const char *why, const char **ret_why)
{
    hf_slice piece = hf_slice_of(why);
    hf_frame frame = {.type = HF_FRAME_REFUSED};

    if (hf_frame_append(&link->out, &frame, &piece, 1) == 0)
        SSL_write(link->ssl, link->out.data, (int)link->out.size); /* it may or may not hear the reason */
    *ret_why = why;
    return HF_EDENIED;
}

static peer_lane *lane_of(const hf_peers *peers, uint32_t number)
{
    uint32_t workers = peers->settings.worker_count;

    return &peers->lanes[number == BULK_LANE ? workers : number % workers];
}

static int32_t take_hello(peer_link *link, const hf_frame *frame, const char **ret_why)
{
    hf_peers *peers = link->peers;
    hf_hello hello;
    int32_t result = hf_hello_read(frame->payload, &hello);
    const char *wrong;

    if (link->dialled || (result != 0 && hello.protocol == 0)) {
        *ret_why = "its hello could not be read";
        return HF_EPROTOCOL;
    }
    if (result != 0 && hello.protocol == HF_PEER_PROTOCOL)
        return refuse(link, "its hello is malformed", ret_why);
    wrong = check_hello(link, &hello);
    if (wrong)
        return refuse(link, wrong, ret_why);
    map_channels(link, &hello);
    link->sender_lane = hello.lane;
    link->run = hello.run;
    peer_lane *lane = lane_of(peers, hello.lane);
    if (lane == link->lane)
        peer_link_welcome(link);
    else
        link->moving = lane;
    return 0;
}

/* A node that dials a lane again has lost its former link.  What is still in that one's socket must not be read after
 * what comes on the new one, so it ends before the dialler may send. */
static void replace_former(const peer_link *link)
{
    peer_link *next;

    for (peer_link *other = link->lane->links; other; other = next) {
        next = other->next;
        if (other != link && !other->dialled && other->state == LINK_UP && other->node == link->node &&
            other->sender_lane == link->sender_lane)
            peer_link_close(other, "it has dialled again");
    }
}

/* Two processes with one node's name, and its certificate, would take the links from each other for ever: the one that
 * has them keeps them while it lives.  NULL: this is that one. */
static const char *hold(peer_link *link)
{
    hf_peers *peers = link->peers;
    peer_holder *holder = &peers->holders[link->node];
    uint64_t now = hf_loop_now_us(link->lane->loop);
    const char *why = NULL;

    if (!link->run)
        return NULL;
    pthread_mutex_lock(&peers->holders_lock);
    uint64_t heard = atomic_load(&holder->heard_us);
    if (holder->run && holder->run != link->run && (heard > now || now - heard < HOLDS_US)) {
        why = explain(link,
                      "another process with the name '%s' is linked from %s; two nodes have this name, or a state "
                      "directory was copied: stop one of them",
                      peers->settings.members[link->node].name, holder->from);
    } else {
        holder->links = holder->run == link->run ? holder->links + 1 : 1;
        holder->run = link->run;
        snprintf(holder->from, sizeof holder->from, "%s", link->from);
        atomic_store(&holder->heard_us, now);
    }
    pthread_mutex_unlock(&peers->holders_lock);
    return why;
}

/* Whether a process lives is known by its other links; when this was the last one, the next to come is welcome. */
void peer_link_unhold(peer_link *link)
{
    hf_peers *peers = link->peers;
    peer_holder *holder = &peers->holders[link->node];

    pthread_mutex_lock(&peers->holders_lock);
    if (holder->run == link->run && --holder->links == 0)
        holder->run = 0;
    pthread_mutex_unlock(&peers->holders_lock);
}

void peer_link_welcome(peer_link *link)
{
    hf_frame frame = {.type = HF_FRAME_WELCOME};
    const char *why = hold(link);

    if (why) {
        (void)refuse(link, why, &why);
        peer_link_close(link, why);
        return;
    }
    replace_former(link);
    peer_link_uncount(link);
    link->state = LINK_UP;
    link->heard_us = hf_loop_now_us(link->lane->loop);
    if (hf_frame_append(&link->out, &frame, NULL, 0) != 0)
        peer_link_close(link, "no memory");
    else
        peer_link_flush_soon(link);
}

/* ---- Up and down ---------------------------------------------------------------------------------------------- */

static void tell_channels(peer_link *link, int32_t up)
{
    hf_peers *peers = link->peers;

    if (link->lane->number == BULK_LANE)
        return;
    for (uint32_t i = 0; i < peers->channel_count; i++)
        if (peers->channels[i].handlers.link)
            peers->channels[i].handlers.link(peers->channels[i].arg, link->node, up);
}

static int32_t take_welcome(peer_link *link, const char **ret_why)
{
    hf_peers *peers = link->peers;
    peer_dialler *dialler = &link->lane->diallers[link->node];

    if (!link->dialled || link->state != LINK_HELLO) {
        *ret_why = "it sent a welcome that nobody asked for";
        return HF_EPROTOCOL;
    }
    link->state = LINK_UP;
    link->heard_us = hf_loop_now_us(link->lane->loop);
    dialler->backoff_us = 0;
    hf_metric_set(peers->link_up[link->node], atomic_fetch_add(&peers->up[link->node], 1) + 1);
    tell_channels(link, 1);
    return 0;
}

void peer_link_lost(peer_link *link)
{
    hf_peers *peers = link->peers;

    hf_metric_set(peers->link_up[link->node], atomic_fetch_sub(&peers->up[link->node], 1) - 1);
    hf_metric_increment(peers->reconnects, 1);
    tell_channels(link, 0);
}

/* ---- Messages and requests ------------------------------------------------------------------------------------ */

static int32_t take_message(peer_link *link, const hf_frame *frame)
{
    int32_t number = link->channels[frame->channel];
    hf_peer_channel *channel = number < 0 ? NULL : &link->peers->channels[number];

    hf_metric_increment(link->peers->received_messages, 1);
    if (channel && channel->handlers.message)
        channel->handlers.message(channel->arg, link->node, frame->payload);
    return 0;
}

static int32_t answer_at_once(peer_link *link, const hf_frame *request, int32_t code, const char **ret_why)
{
    hf_frame frame = {.type = HF_FRAME_RESPONSE, .id = request->id, .code = code};

    if (hf_frame_append(&link->out, &frame, NULL, 0) != 0) {
        *ret_why = "it asks for more answers than it reads";
        return HF_EBUSY;
    }
    peer_link_flush_soon(link);
    return 0;
}

static int32_t take_request(peer_link *link, const hf_frame *frame, const char **ret_why)
{
    int32_t number = link->channels[frame->channel];
    hf_peer_channel *channel = number < 0 ? NULL : &link->peers->channels[number];
    hf_peer_request *request;

    hf_metric_increment(link->peers->received_messages, 1);
    if (!channel || !channel->handlers.request)
        return answer_at_once(link, frame, HF_EUNSUPPORTED, ret_why);
    if (link->incoming >= INCOMING_REQUESTS_MAX || !(request = calloc(1, sizeof *request)))
        return answer_at_once(link, frame, HF_EBUSY, ret_why);
    request->link = link;
    request->id = frame->id;
    hf_buffer_init(&request->response, HF_PEER_MESSAGE_MAX);
    link->references++;
    link->incoming++;
    channel->handlers.request(channel->arg, link->node, request, frame->payload);
    return 0;
}

/* Where a response does not fit behind what waits, the caller hears that it knows nothing: the link and its other calls
 * live on. */
static int append_response(peer_link *link, const hf_peer_request *request)
{
    hf_slice piece = {request->response.data, request->response.size};
    hf_frame frame = {.type = HF_FRAME_RESPONSE, .id = request->id, .code = request->code};

    if (link->out.size <= link->peers->settings.queue_limit && hf_frame_append(&link->out, &frame, &piece, 1) == 0)
        return 1;
    frame.code = HF_EIO;
    return hf_frame_append(&link->out, &frame, NULL, 0) == 0;
}

/* [the link's loop] */
static void send_response(hf_task *task)
{
    hf_peer_request *request = (hf_peer_request *)(void *)task;
    peer_link *link = request->link;

    link->incoming--;
    if (link->state == LINK_UP) {
        if (append_response(link, request))
            peer_link_flush_soon(link);
        else
            peer_link_close(link, "it does not read its responses");
    }
    hf_metric_increment(link->peers->sent_messages, 1);
    peer_link_release(link);
    hf_buffer_done(&request->response);
    free(request);
}

void hf_peers_respond(hf_peer_request *request, int32_t code, hf_slice response)
{
    request->code = code;
    if (hf_buffer_append(&request->response, response.data, response.size) != 0)
        request->code = HF_EIO; /* it was done, and the answer does not fit: the outcome is unknown to the caller */
    request->task.run = send_response;
    hf_loop_post(request->link->lane->loop, &request->task);
}

int32_t peer_link_frame(peer_link *link, const hf_frame *frame, const char **ret_why)
{
    if (link->state == LINK_HELLO && frame->type == HF_FRAME_HELLO)
        return take_hello(link, frame, ret_why);
    if (frame->type == HF_FRAME_WELCOME)
        return take_welcome(link, ret_why);
    if (link->dialled && link->state == LINK_HELLO && frame->type == HF_FRAME_REFUSED) {
        peer_complain(link->peers, link->node, "it refuses this node: %.*s", (int)frame->payload.size,
                      (const char *)frame->payload.data);
        *ret_why = NULL; /* that says it all */
        return HF_EDENIED;
    }
    if (link->state != LINK_UP) {
        *ret_why = "it sent something before the hello";
        return HF_EPROTOCOL;
    }
    if (frame->type == HF_FRAME_PING)
        return 0;
    if (link->dialled && frame->type == HF_FRAME_RESPONSE) {
        peer_call_answered(link, frame);
        return 0;
    }
    if (!link->dialled && frame->type == HF_FRAME_MESSAGE)
        return take_message(link, frame);
    if (!link->dialled && frame->type == HF_FRAME_REQUEST)
        return take_request(link, frame, ret_why);
    *ret_why = "it sent a frame out of place";
    return HF_EPROTOCOL;
}
