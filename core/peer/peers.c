/* The links as a whole: creation, accepting, each loop's clock, stopping; see peer.h. */
#include "peer/private.h"

#include "log.h"

#include <errno.h>
#include <holdfast/lib/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ACCEPT_BATCH = 16 };

/* ---- Creation ------------------------------------------------------------------------------------------------- */

static int32_t check_members(hf_peers *peers, hf_error *error)
{
    const hf_peers_settings *settings = &peers->settings;

    if (settings->member_count < 1 || settings->member_count > HF_PEER_NODES_MAX)
        return hf_error_set(error, HF_EINVAL, "the cluster has %u members; expected 1 to %d", settings->member_count,
                            HF_PEER_NODES_MAX);
    peers->self = NO_NODE;
    for (uint32_t i = 0; i < settings->member_count; i++) {
        const char *name = settings->members[i].name;

        peers->members_hash = hf_hash64(peers->members_hash, name, strlen(name) + 1);
        if (strcmp(name, settings->self) == 0)
            peers->self = i;
        for (uint32_t j = 0; j < i; j++)
            if (strcmp(settings->members[j].name, name) == 0)
                return hf_error_set(error, HF_EINVAL, "the cluster has two members called '%s'", name);
    }
    return peers->self == NO_NODE
               ? hf_error_set(error, HF_EINVAL, "this node, '%s', is not among cluster.members; add it on every node",
                              settings->self)
               : 0;
}

static int32_t add_metrics(hf_peers *peers, hf_error *error)
{
    static const char *const sent[1][2] = {{"direction", "sent"}}, *const received[1][2] = {{"direction", "received"}};
    hf_metrics *metrics = peers->settings.metrics;
    const char *messages = "holdfast_peer_messages_total", *bytes = "holdfast_peer_bytes_total";
    int32_t result = hf_metrics_add(metrics, HF_METRIC_COUNTER, messages, "Messages, requests and responses", sent, 1,
                                    &peers->sent_messages, error);

    if (!result)
        result = hf_metrics_add(metrics, HF_METRIC_COUNTER, messages, "Messages, requests and responses", received, 1,
                                &peers->received_messages, error);
    if (!result)
        result = hf_metrics_add(metrics, HF_METRIC_COUNTER, bytes, "Bytes before encryption", sent, 1,
                                &peers->sent_bytes, error);
    if (!result)
        result = hf_metrics_add(metrics, HF_METRIC_COUNTER, bytes, "Bytes before encryption", received, 1,
                                &peers->received_bytes, error);
    if (!result)
        result = hf_metrics_add(metrics, HF_METRIC_COUNTER, "holdfast_peer_reconnects_total", "Links that were lost",
                                NULL, 0, &peers->reconnects, error);
    for (uint32_t i = 0; i < peers->settings.member_count && !result; i++) {
        const char *const label[1][2] = {{"node", peers->settings.members[i].name}};
        if (i != peers->self)
            result = hf_metrics_add(metrics, HF_METRIC_GAUGE, "holdfast_peer_link_up", "Links to the node that are up",
                                    label, 1, &peers->link_up[i], error);
    }
    return result;
}

/* Another node's certificate in this node's file would be refused by every other node, and only there. */
static int32_t check_own_name(const hf_peers *peers, hf_error *error)
{
    const char *self = peers->settings.self;
    char name[256] = "";

    X509 *certificate = SSL_CTX_get0_certificate(peers->server);
    if (X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name, sizeof name) <= 0 ||
        strcmp(name, self) != 0)
        return hf_error_set(error, HF_EDENIED,
                            "certificate '%s/%s.crt' is for node '%.100s' and not for '%s'; issue one with "
                            "'holdfast ca issue'",
                            peers->settings.certificates, self, name, self);
    return 0;
}

static int32_t make_lanes(hf_peers *peers, hf_error *error)
{
    const hf_peers_settings *settings = &peers->settings;

    peers->lane_count = settings->worker_count + 1;
    peers->lanes = calloc(peers->lane_count, sizeof *peers->lanes);
    if (!peers->lanes)
        return hf_error_set(error, HF_ENOMEM, "no memory for the peer links");
    for (uint32_t i = 0; i < peers->lane_count; i++) {
        peer_lane *lane = &peers->lanes[i];
        int is_bulk = i == settings->worker_count;
        uint64_t seed = 0;

        if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
            return hf_error_set_errno(error, HF_EIO, errno, "no random number for the peer links");
        lane->peers = peers;
        lane->number = is_bulk ? BULK_LANE : i;
        lane->loop = is_bulk ? settings->bulk : settings->workers[i];
        hf_random_init(&lane->random, seed);
        for (uint32_t node = 0; node < HF_PEER_NODES_MAX; node++) {
            lane->diallers[node].lane = lane;
            lane->diallers[node].node = node;
        }
    }
    return 0;
}

int32_t hf_peers_create(const hf_peers_settings *settings, hf_peers **ret_peers, hf_error *error)
{
    hf_peers *peers = calloc(1, sizeof *peers);

    if (!peers)
        return hf_error_set(error, HF_ENOMEM, "no memory for the peer links");
    peers->settings = *settings;
    pthread_mutex_init(&peers->complaints_lock, NULL);
    pthread_mutex_init(&peers->holders_lock, NULL);
    int32_t result = check_members(peers, error);
    if (!result)
        result = hf_tls_peer_context(settings->certificates, settings->self, HF_TLS_SERVER, &peers->server, error);
    if (!result)
        result = hf_tls_peer_context(settings->certificates, settings->self, HF_TLS_CLIENT, &peers->client, error);
    if (!result)
        result = check_own_name(peers, error);
    if (!result)
        result = add_metrics(peers, error);
    if (!result && getrandom(&peers->run, sizeof peers->run, 0) != sizeof peers->run)
        result = hf_error_set_errno(error, HF_EIO, errno, "no random number for the peer links");
    peers->run += peers->run == 0;
    if (!result)
        result = make_lanes(peers, error);
    if (result) {
        hf_peers_destroy(peers);
        return result;
    }
    *ret_peers = peers;
    return 0;
}

void hf_peers_destroy(hf_peers *peers)
{
    if (!peers)
        return;
    hf_watch_destroy(peers->listener);
    for (uint32_t i = 0; peers->lanes && i < peers->lane_count; i++) {
        peer_lane *lane = &peers->lanes[i];
        lane->stopping = 1;
        while (lane->links)
            peer_link_close(lane->links, NULL);
        hf_timer_destroy(lane->timer);
        peer_dial_free(lane);
    }
    free(peers->lanes);
    SSL_CTX_free(peers->server);
    SSL_CTX_free(peers->client);
    pthread_mutex_destroy(&peers->complaints_lock);
    pthread_mutex_destroy(&peers->holders_lock);
    free(peers);
}

int32_t hf_peers_channel(hf_peers *peers, const char *name, const hf_peer_handlers *handlers, void *arg,
                         hf_peer_channel **ret_channel, hf_error *error)
{
    hf_peer_channel *channel = &peers->channels[peers->channel_count];
    size_t length = strlen(name);

    if (length == 0 || length > HF_PEER_CHANNEL_NAME_MAX || strspn(name, "abcdefghijklmnopqrstuvwxyz.") != length)
        return hf_error_set(error, HF_EINVAL, "'%.60s' is not a channel's name; expected 1 to %d of a-z and '.'", name,
                            HF_PEER_CHANNEL_NAME_MAX);
    for (uint32_t i = 0; i < peers->channel_count; i++)
        if (strcmp(peers->channels[i].name, name) == 0)
            return hf_error_set(error, HF_EEXIST, "the channel '%s' is open already", name);
    if (peers->channel_count == HF_PEER_CHANNELS_MAX)
        return hf_error_set(error, HF_ENOMEM, "more than %d channels", HF_PEER_CHANNELS_MAX);
    *channel = (hf_peer_channel){.peers = peers, .number = peers->channel_count, .arg = arg};
    memcpy(channel->name, name, length + 1);
    memcpy(&channel->handlers, handlers,
           handlers->size < sizeof channel->handlers ? handlers->size : sizeof channel->handlers);
    peers->channel_count++;
    *ret_channel = channel;
    return 0;
}

uint32_t hf_peers_node_count(const hf_peers *peers)
{
    return peers->settings.member_count;
}

uint32_t hf_peers_self(const hf_peers *peers)
{
    return peers->self;
}

const char *hf_peers_node_name(const hf_peers *peers, uint32_t node)
{
    return node < peers->settings.member_count ? peers->settings.members[node].name : NULL;
}

const char *hf_peers_node_zone(const hf_peers *peers, uint32_t node)
{
    if (node >= peers->settings.member_count)
        return NULL;
    return peers->settings.members[node].zone ? peers->settings.members[node].zone : "";
}

/* ---- Running -------------------------------------------------------------------------------------------------- */

static void keep_alive(peer_link *link, uint64_t now)
{
    hf_frame ping = {.type = HF_FRAME_PING};

    if (now - link->heard_us > SILENCE_US) {
        peer_link_close(link, link->state == LINK_CONNECTING  ? "it does not answer"
                              : link->state == LINK_HANDSHAKE ? "its TLS handshake took more than 3 s"
                              : link->state == LINK_HELLO     ? "its hello or welcome took more than 3 s"
                                                              : "it has been silent for 3 s");
        return;
    }
    if (link->state == LINK_UP && !link->out.size && now - link->sent_us > PING_US &&
        hf_frame_append(&link->out, &ping, NULL, 0) == 0)
        peer_link_flush_soon(link);
    peer_calls_expire(link, now);
}

static void lane_tick(void *arg)
{
    peer_lane *lane = arg;
    uint64_t now = hf_loop_now_us(lane->loop);
    peer_link *next;

    for (peer_link *link = lane->links; link; link = next) {
        link->references++; /* a call's end may close links, this one too */
        keep_alive(link, now);
        next = link->state == LINK_CLOSED ? lane->links : link->next;
        peer_link_release(link);
    }
    peer_dial_due(lane, now);
}

static void start_lane(hf_task *task)
{
    peer_lane *lane = (peer_lane *)((char *)task - offsetof(peer_lane, start_task));

    if (hf_timer_create(lane->loop, lane_tick, lane, &lane->timer, NULL) != 0)
        abort(); /* a node without its links must not look alive */
    hf_timer_start(lane->timer, 1, TICK_US);
}

/* An accepted connection on its way to the loop that does its handshake. */
typedef struct accepted {
    hf_task task;
    peer_lane *lane;
    int fd;
    struct sockaddr_storage address;
} accepted;

void peer_link_uncount(peer_link *link)
{
    if (link->counted)
        atomic_fetch_sub(&link->peers->strangers, 1);
    link->counted = 0;
}

static void take_accepted(hf_task *task)
{
    accepted *connection = (accepted *)(void *)task;
    peer_lane *lane = connection->lane;
    peer_link *link = NULL;

    if (lane->stopping || peer_link_open(lane, connection->fd, 0, NO_NODE, &link) != 0) {
        close(connection->fd);
        atomic_fetch_sub(&lane->peers->strangers, 1);
    } else {
        link->counted = 1;
        peer_describe_address(&connection->address, link->from, sizeof link->from);
    }
    free(connection);
}

/* Gives an accepted connection to a worker, round robin. */
static void hand_over(hf_peers *peers, int fd, const struct sockaddr_storage *address)
{
    accepted *connection = NULL;

    if (atomic_load(&peers->strangers) >= STRANGERS_MAX)
        peer_complain(peers, NO_NODE, "%d connections have not said who they are; further ones are closed at once",
                      STRANGERS_MAX);
    else
        connection = malloc(sizeof *connection);
    if (!connection) {
        close(fd);
        return;
    }
    atomic_fetch_add(&peers->strangers, 1);
    *connection = (accepted){.task.run = take_accepted,
                             .lane = &peers->lanes[peers->next_lane++ % peers->settings.worker_count],
                             .fd = fd,
                             .address = *address};
    hf_loop_post(connection->lane->loop, &connection->task);
}

static void accept_ready(void *arg, int32_t fd, uint32_t events)
{
    hf_peers *peers = arg;

    (void)events;
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        struct sockaddr_storage address = {0};
        socklen_t size = sizeof address;
        int client = accept4(fd, (struct sockaddr *)&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client < 0) {
            if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
                peer_complain(peers, NO_NODE, "a link could not be accepted: %s", strerror(errno));
            return;
        }
        hand_over(peers, client, &address);
    }
}

int32_t hf_peers_start(hf_peers *peers, hf_error *error)
{
    int32_t result = hf_watch_create(peers->settings.main, peers->settings.listener, HF_WATCH_READ, accept_ready, peers,
                                     &peers->listener, error);

    for (uint32_t i = 0; i < peers->lane_count && !result; i++) {
        peers->lanes[i].start_task.run = start_lane;
        hf_loop_post(peers->lanes[i].loop, &peers->lanes[i].start_task);
    }
    return result;
}

/* ---- Stopping ------------------------------------------------------------------------------------------------- */

static void all_stopped(hf_task *task)
{
    hf_peers *peers = (hf_peers *)((char *)task - offsetof(hf_peers, stopped_task));

    peers->stopped(peers->stopped_arg);
}

static void stop_lane(hf_task *task)
{
    peer_lane *lane = (peer_lane *)((char *)task - offsetof(peer_lane, stop_task));
    hf_peers *peers = lane->peers;

    lane->stopping = 1;
    hf_timer_destroy(lane->timer);
    lane->timer = NULL;
    while (lane->links)
        peer_link_close(lane->links, NULL);
    if (atomic_fetch_sub(&peers->lanes_left, 1) == 1) {
        peers->stopped_task.run = all_stopped;
        hf_loop_post(peers->settings.main, &peers->stopped_task);
    }
}

void hf_peers_stop(hf_peers *peers, void (*done)(void *arg), void *arg)
{
    hf_watch_destroy(peers->listener);
    peers->listener = NULL;
    peers->stopped = done;
    peers->stopped_arg = arg;
    atomic_store(&peers->lanes_left, peers->lane_count);
    for (uint32_t i = 0; i < peers->lane_count; i++) {
        peers->lanes[i].stop_task.run = stop_lane;
        hf_loop_post(peers->lanes[i].loop, &peers->lanes[i].stop_task);
    }
}
