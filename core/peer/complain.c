/* What the log says about other nodes and about strangers, in bounds: whoever can connect could fill the disk with it.
 */
#include "peer/private.h"

#include "log.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

enum { WINDOW_US = 10000000 };

/* Whether the text is to be logged: each once in a window, and only so many. */
static int admit(peer_complaints *complaints, uint64_t hash, uint64_t now)
{
    if (!complaints->begun_us || now - complaints->begun_us >= WINDOW_US) {
        complaints->begun_us = now;
        complaints->count = 0;
    }
    for (uint32_t i = 0; i < complaints->count; i++)
        if (complaints->hashes[i] == hash)
            return 0;
    if (complaints->count == PEER_COMPLAINTS_MAX)
        return 0;
    complaints->hashes[complaints->count++] = hash;
    return 1;
}

void peer_complain(hf_peers *peers, uint32_t node, const char *format, ...)
{
    char text[500];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    uint64_t hash = hf_hash64(0, text, strlen(text));
    pthread_mutex_lock(&peers->complaints_lock);
    int admitted = admit(&peers->complaints[node == NO_NODE ? HF_PEER_NODES_MAX : node], hash, hf_clock_us());
    pthread_mutex_unlock(&peers->complaints_lock);
    if (admitted)
        hf_log(HF_LOG_WARNING, "peer", "%s: %s", node == NO_NODE ? "a stranger" : peers->settings.members[node].name,
               text);
}

void peer_describe_address(const struct sockaddr_storage *address, char *text, uint32_t capacity)
{
    const void *bytes = NULL;

    if (address->ss_family == AF_INET)
        bytes = &((const struct sockaddr_in *)(const void *)address)->sin_addr;
    else if (address->ss_family == AF_INET6)
        bytes = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    if (!bytes || !inet_ntop(address->ss_family, bytes, text, capacity))
        snprintf(text, capacity, "an unknown address");
}

void peer_complain_of_link(peer_link *link, const char *why)
{
    int was_up = link->state == LINK_UP;

    if (link->dialled)
        peer_complain(link->peers, link->node, was_up ? "the link to it was lost: %s" : "no link to it: %s", why);
    else
        peer_complain(link->peers, link->node, was_up ? "the link from %s was lost: %s" : "no link from %s: %s",
                      link->from, why);
}
