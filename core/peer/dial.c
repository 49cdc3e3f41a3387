/* Dialling: every loop keeps one connection to every other node, with pauses that grow while it does not come about. */
#include "peer/private.h"

#include <errno.h>
#include <holdfast/lib/error.h>
#include <holdfast/lib/url.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct peer_address {
    char host[256], port[8];
    int failure;   /* of getaddrinfo, 0: found */
    uint32_t turn; /* a name may have several addresses, and not all need answer: each attempt takes the next */
    struct sockaddr_storage address;
    socklen_t size;
};

static void try_again(peer_dialler *dialler)
{
    peer_lane *lane = dialler->lane;
    uint64_t backoff = dialler->backoff_us ? dialler->backoff_us * 2 : BACKOFF_LEAST_US;

    dialler->backoff_us = backoff < BACKOFF_MOST_US ? backoff : BACKOFF_MOST_US;
    dialler->retry_us =
        hf_loop_now_us(lane->loop) + dialler->backoff_us / 2 + hf_random_below(&lane->random, dialler->backoff_us);
}

static void connect_to(peer_dialler *dialler)
{
    peer_lane *lane = dialler->lane;
    struct peer_address *found = dialler->address;
    int fd = socket(found->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0 || (connect(fd, (struct sockaddr *)&found->address, found->size) != 0 && errno != EINPROGRESS)) {
        peer_complain(lane->peers, dialler->node, "it cannot be reached: %s", strerror(errno));
        if (fd >= 0)
            close(fd);
        try_again(dialler);
        return;
    }
    if (peer_link_open(lane, fd, 1, dialler->node, &dialler->link) != 0) {
        close(fd);
        try_again(dialler);
    }
}

/* [pool] */
static void look_up(hf_job *job)
{
    peer_dialler *dialler = (peer_dialler *)((char *)job - offsetof(peer_dialler, job));
    struct peer_address *address = dialler->address;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list = NULL;

    address->failure = getaddrinfo(address->host, address->port, &hints, &list);
    if (address->failure)
        return;
    uint32_t count = 0;
    for (const struct addrinfo *item = list; item; item = item->ai_next)
        count++;
    const struct addrinfo *chosen = list;
    for (uint32_t i = address->turn++ % count; i > 0; i--)
        chosen = chosen->ai_next;
    memcpy(&address->address, chosen->ai_addr, chosen->ai_addrlen);
    address->size = chosen->ai_addrlen;
    freeaddrinfo(list);
}

static void looked_up(hf_job *job)
{
    peer_dialler *dialler = (peer_dialler *)((char *)job - offsetof(peer_dialler, job));

    dialler->resolving = 0;
    if (dialler->lane->stopping)
        return;
    if (dialler->address->failure) {
        peer_complain(dialler->lane->peers, dialler->node, "its address '%s' cannot be looked up: %s",
                      dialler->address->host, gai_strerror(dialler->address->failure));
        try_again(dialler);
        return;
    }
    connect_to(dialler);
}

static void dial(peer_dialler *dialler)
{
    hf_peers *peers = dialler->lane->peers;
    hf_error error = {0};

    if (!dialler->address)
        dialler->address = calloc(1, sizeof *dialler->address);
    if (!dialler->address) {
        try_again(dialler);
        return;
    }
    if (hf_url_split_address(peers->settings.members[dialler->node].address, dialler->address->host,
                             sizeof dialler->address->host, dialler->address->port, sizeof dialler->address->port,
                             &error) != 0) {
        peer_complain(peers, dialler->node, "%s", error.message);
        try_again(dialler);
        return;
    }
    dialler->job.loop = dialler->lane->loop;
    dialler->job.work = look_up;
    dialler->job.done = looked_up;
    if (hf_pool_submit(peers->settings.pool, &dialler->job, NULL) == 0)
        dialler->resolving = 1;
    else
        try_again(dialler);
}

void peer_dial_due(peer_lane *lane, uint64_t now_us)
{
    for (uint32_t node = 0; node < lane->peers->settings.member_count; node++) {
        peer_dialler *dialler = &lane->diallers[node];
        if (node != lane->peers->self && !dialler->link && !dialler->resolving && dialler->retry_us <= now_us)
            dial(dialler);
    }
}

void peer_dial_lost(peer_lane *lane, uint32_t node)
{
    lane->diallers[node].link = NULL;
    try_again(&lane->diallers[node]);
}

void peer_dial_free(peer_lane *lane)
{
    for (uint32_t node = 0; node < HF_PEER_NODES_MAX; node++)
        free(lane->diallers[node].address);
}
