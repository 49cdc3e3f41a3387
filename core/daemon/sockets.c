/* Sockets of plugins; see sockets.h.  The supervisor holds sockets, not addresses: what a socket is bound to tells
 * which listener it belongs to, so the two cannot differ. */
#include "daemon/sockets.h"

#include "daemon/listen.h"
#include "supervisor/channel.h"
#include "telemetry/log.h"

#include <errno.h>
#include <holdfast/lib/error.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char source[] = "daemon";

struct hf_sockets {
    hf_channel channel;
    hf_listen_pool left;     /* by a predecessor, and not asked for yet; lies in `channel` */
    hf_listen_place *places; /* where this process listens */
    uint32_t place_count;
};

int32_t hf_sockets_create(hf_sockets **ret_sockets, hf_error *error)
{
    hf_sockets *sockets = calloc(1, sizeof *sockets);

    if (!sockets)
        return hf_error_set(error, HF_ENOMEM, "no memory for the plugins' sockets");
    int32_t result = hf_channel_attach(&sockets->channel, error);
    if (result && result != HF_ENOTFOUND) {
        free(sockets);
        return result;
    }
    sockets->left = (hf_listen_pool){sockets->channel.held, sockets->channel.held_count};
    *ret_sockets = sockets;
    return 0;
}

void hf_sockets_destroy(hf_sockets *sockets)
{
    if (!sockets)
        return;
    for (uint32_t i = 0; i < sockets->left.count; i++) /* the supervisor has them still */
        close(sockets->left.descriptors[i]);
    if (sockets->channel.fd >= 0)
        close(sockets->channel.fd);
    free(sockets->places);
    free(sockets);
}

/* ---- Those who are not needed any more --------------------------------------------------------------------------- */

/* The supervisor's descriptor goes first: a socket that only it had would take connections that nobody serves. */
static void let_go(hf_sockets *sockets, const int32_t *descriptors, uint32_t count)
{
    hf_error error = {0};

    if (hf_channel_forget(&sockets->channel, descriptors, count, &error) != 0)
        hf_log(HF_LOG_WARNING, source,
               "sockets that are not used any more stay open: %s; 'kill -USR2' to holdfastd closes them",
               error.message);
    for (uint32_t i = 0; i < count; i++)
        close(descriptors[i]);
}

/* Of those that are left at a place, or all; returns how many. */
static uint32_t drop_left(hf_sockets *sockets, const hf_listen_place *place)
{
    int32_t dropped[HF_HELD_MAX];
    uint32_t count = 0, rest = 0;

    for (uint32_t i = 0; i < sockets->left.count; i++) {
        int32_t fd = sockets->left.descriptors[i];
        hf_listen_place there = {0};
        if (hf_listen_place_of(fd, &there) == 0 && place && !hf_listen_same(place, &there)) {
            sockets->left.descriptors[rest++] = fd;
            continue;
        }
        if (!place)
            hf_listen_remove_name(&there);
        dropped[count++] = fd;
    }
    sockets->left.count = rest;
    let_go(sockets, dropped, count);
    return count;
}

/* ---- hf.listen/1 ------------------------------------------------------------------------------------------------- */

static int32_t check_place(const hf_sockets *sockets, const hf_listen_place *place, const char *address,
                           hf_error *error)
{
    const struct sockaddr_in *inet = (const struct sockaddr_in *)&place->address; /* the port is where it is in v6 */

    if (place->address.ss_family != AF_UNIX && inet->sin_port == 0)
        return hf_error_set(error, HF_EINVAL, "cannot listen on '%s': expected a port from 1 to 65535", address);
    for (uint32_t i = 0; i < sockets->place_count; i++)
        if (hf_listen_overlap(&sockets->places[i], place))
            return hf_error_set(error, HF_EINVAL,
                                "cannot listen on '%s': this process listens there already; take one of the two "
                                "listeners out",
                                address);
    return 0;
}

static int32_t make_room(hf_sockets *sockets, hf_error *error)
{
    hf_listen_place *grown = realloc(sockets->places, (sockets->place_count + 1) * sizeof *grown);

    if (!grown)
        return hf_error_set(error, HF_ENOMEM, "no memory for another listener");
    sockets->places = grown;
    return 0;
}

/* All of them, since those that it has already are told apart by it. */
static void have_held(const hf_sockets *sockets, const char *address, const int32_t *descriptors, uint32_t count)
{
    hf_error error = {0};

    if (hf_channel_hold(&sockets->channel, descriptors, count, &error) != 0)
        hf_log(HF_LOG_WARNING, source, "the sockets at '%s' are refused while this process restarts: %s", address,
               error.message);
}

static int32_t open_sockets(void *arg, int32_t type, const char *address, uint32_t count, int32_t *ret_descriptors,
                            hf_error *error)
{
    hf_sockets *sockets = arg;
    hf_listen_place place;

    if (type != HF_LISTEN_STREAM && type != HF_LISTEN_DATAGRAM)
        return hf_error_set(error, HF_EINVAL, "cannot listen on '%s': %d is no type of sockets", address, type);
    int32_t result = hf_listen_resolve(type, address, &place, error);
    if (!result)
        result = check_place(sockets, &place, address, error);
    if (!result)
        result = make_room(sockets, error);
    if (!result)
        result = hf_listen_at(&place, address, count, &sockets->left, ret_descriptors, error);
    if (result)
        return result;
    sockets->places[sockets->place_count++] = place;
    uint32_t surplus = drop_left(sockets, &place);
    if (surplus)
        hf_log(HF_LOG_INFO, source, "%u sockets at '%s' are more than are needed now, and are closed", surplus,
               address);
    have_held(sockets, address, ret_descriptors, count);
    return 0;
}

/* By what the sockets are bound to: the name in `address` may be looked up with another result now. */
static void close_sockets(void *arg, int32_t type, const char *address, const int32_t *descriptors, uint32_t count)
{
    hf_sockets *sockets = arg;
    hf_listen_place place;
    uint32_t i = 0;

    (void)type;
    (void)address;
    if (count && hf_listen_place_of(descriptors[0], &place) == 0) {
        while (i < sockets->place_count && !hf_listen_same(&sockets->places[i], &place))
            i++;
        if (i < sockets->place_count) {
            sockets->places[i] = sockets->places[--sockets->place_count];
            hf_listen_remove_name(&place);
        }
    }
    let_go(sockets, descriptors, count);
}

hf_process_listen hf_sockets_listen(hf_sockets *sockets)
{
    return (hf_process_listen){open_sockets, close_sockets, sockets};
}

void hf_sockets_ready(hf_sockets *sockets)
{
    hf_error error = {0};
    uint32_t count = drop_left(sockets, NULL);

    if (count)
        hf_log(HF_LOG_INFO, source, "%u sockets of a predecessor have no listener any more, and are closed", count);
    if (hf_channel_ready(&sockets->channel, &error) != 0)
        hf_log(HF_LOG_WARNING, source, "%s that this process is ready", error.message);
}
