#include "proxy.h"
#include "kit.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PAIRS_MAX = 64 };

struct pair {
    int client, server;
};

static struct sockaddr_in loopback(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static void close_pair(struct pair *pair)
{
    close(pair->client);
    close(pair->server);
    pair->client = -1;
}

static int write_all(int to, const char *bytes, ssize_t size)
{
    for (ssize_t at = 0, n; at < size; at += n) {
        n = send(to, bytes + at, (size_t)(size - at), MSG_NOSIGNAL);
        if (n <= 0)
            return -1;
    }
    return 0;
}

/* The engine waits for each answer before it sends more, so a COMMIT comes alone. */
static int is_commit(const char *bytes, ssize_t size)
{
    static const char commit[] = "\x07\0\0\0\x03"
                                 "COMMIT";

    return size == (ssize_t)sizeof commit - 1 && memcmp(bytes, commit, sizeof commit - 1) == 0;
}

/* -1: the pair is to be closed. */
static int from_client(struct proxy *proxy, struct pair *pair)
{
    char bytes[65536];
    ssize_t size = recv(pair->client, bytes, sizeof bytes, 0);
    int mode = atomic_load(&proxy->mode);

    if (size <= 0)
        return -1;
    int cut = is_commit(bytes, size) && (mode == PROXY_CUT_BEFORE_COMMIT || mode == PROXY_CUT_AFTER_COMMIT);

    if (cut) {
        atomic_store(&proxy->mode, atomic_load(&proxy->next_mode));
        atomic_fetch_add(&proxy->cuts, 1);
    }
    if (cut && mode == PROXY_CUT_BEFORE_COMMIT)
        return -1;
    if (write_all(pair->server, bytes, size) < 0)
        return -1;
    if (cut)
        (void)!recv(pair->server, bytes, sizeof bytes, 0); /* the answer: it is committed */
    return cut ? -1 : 0;
}

static int from_server(struct pair *pair)
{
    char bytes[65536];
    ssize_t size = recv(pair->server, bytes, sizeof bytes, 0);

    return size <= 0 ? -1 : write_all(pair->client, bytes, size);
}

static void accept_one(struct proxy *proxy, struct pair *pairs)
{
    struct sockaddr_in address = loopback(proxy->target);
    int client = accept(proxy->listener, NULL, NULL), server = socket(AF_INET, SOCK_STREAM, 0), i = 0;

    while (i < PAIRS_MAX - 1 && pairs[i].client >= 0)
        i++;
    pairs[i] = (struct pair){client, server};
    if (atomic_load(&proxy->mode) == PROXY_REFUSE || connect(server, (struct sockaddr *)&address, sizeof address) != 0)
        close_pair(&pairs[i]);
}

static void *run(void *arg)
{
    struct proxy *proxy = arg;
    struct pair pairs[PAIRS_MAX];

    for (int i = 0; i < PAIRS_MAX; i++)
        pairs[i].client = -1;
    while (!atomic_load(&proxy->stopping)) {
        struct pollfd polled[1 + 2 * PAIRS_MAX] = {{.fd = proxy->listener, .events = POLLIN}};

        for (int i = 0; i < PAIRS_MAX; i++) {
            polled[1 + 2 * i] = (struct pollfd){.fd = pairs[i].client, .events = POLLIN};
            polled[2 + 2 * i] = (struct pollfd){.fd = pairs[i].client < 0 ? -1 : pairs[i].server, .events = POLLIN};
        }
        poll(polled, 1 + 2 * PAIRS_MAX, 50);
        for (int i = 0; i < PAIRS_MAX; i++) {
            int bad = polled[1 + 2 * i].revents && from_client(proxy, &pairs[i]) < 0;

            if (!bad && polled[2 + 2 * i].revents)
                bad = from_server(&pairs[i]) < 0;
            if (bad || (pairs[i].client >= 0 && atomic_load(&proxy->mode) == PROXY_REFUSE))
                close_pair(&pairs[i]);
        }
        if (polled[0].revents)
            accept_one(proxy, pairs);
    }
    for (int i = 0; i < PAIRS_MAX; i++)
        if (pairs[i].client >= 0)
            close_pair(&pairs[i]);
    return NULL;
}

void proxy_start(struct proxy *proxy, uint16_t target)
{
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;

    memset(proxy, 0, sizeof *proxy);
    proxy->target = target;
    proxy->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(proxy->listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(proxy->listener, 16), 0);
    assert_int_equal(getsockname(proxy->listener, (struct sockaddr *)&address, &size), 0);
    proxy->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&proxy->thread, NULL, run, proxy), 0);
}

void proxy_stop(struct proxy *proxy)
{
    atomic_store(&proxy->stopping, 1);
    pthread_join(proxy->thread, NULL);
    close(proxy->listener);
}
