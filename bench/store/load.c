/* store_load holdfast|etcd put|get NODE[,NODE...] [--clients N] [--seconds S] [--keys N] [--value BYTES] [--table T]
 *
 * Prints one line: what was done a second, how long it took, and what a request cost this program of the processor:
 * "per_second p50_us p99_us worst_us done refused own_cpu_us".
 * Each client has a connection of its own, to the nodes in turn, and one request under way.  --fill writes each key
 * once, and ends. */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CLIENTS_MAX = 4096, NODES_MAX = 16, VALUE_MAX = 32768, EVENTS = 256, KEY_SIZE = 10, WARM_UP_PERCENT = 20 };

static struct {
    const load_protocol *protocol;
    load_options options;
    const char *nodes[NODES_MAX];
    unsigned node_count, client_count, seconds;
    uint64_t keys, next_key, random;
    int fill;
    load_client *clients[CLIENTS_MAX];
    int epoll;
    uint32_t *times_us; /* of what was done after the warm-up */
    size_t time_count, time_capacity;
    uint64_t answered, refused, begin_ns, measure_ns, end_ns;
    unsigned busy;
} load = {.client_count = 64, .seconds = 10, .keys = 100000, .random = 88172645463325252u};

static void fail(const char *what, const char *detail)
{
    fprintf(stderr, "store_load: %s: %s\n", what, detail);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t next_random(void) /* xorshift64 */
{
    load.random ^= load.random << 13;
    load.random ^= load.random >> 7;
    return load.random ^= load.random << 17;
}

static int connect_to(const char *node)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    char host[256];
    const char *colon = strrchr(node, ':');
    int fd, one = 1;

    if (!colon || (size_t)(colon - node) >= sizeof host)
        fail(node, "expected host:port");
    memcpy(host, node, (size_t)(colon - node));
    host[colon - node] = '\0';
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
        fail(node, "cannot be found");
    fd = socket(found->ai_family, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) != 0)
        fail(node, strerror(errno));
    freeaddrinfo(found);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static void flush(load_client *client)
{
    ssize_t sent = send(client->fd, client->output, client->output_size, MSG_NOSIGNAL);

    /* Requests are far smaller than a socket's buffer, and one is under way at a time. */
    if (client->output_size && sent != (ssize_t)client->output_size)
        fail(client->host, sent < 0 ? strerror(errno) : "took only a part of a request");
    client->output_size = 0;
}

/* "k" and the number with leading zeros. */
static void write_key(char key[KEY_SIZE + 1], uint64_t number)
{
    key[0] = 'k';
    for (int i = KEY_SIZE - 1; i > 0; i--, number /= 10)
        key[i] = (char)('0' + number % 10);
    key[KEY_SIZE] = '\0';
}

static void begin(load_client *client)
{
    char key[KEY_SIZE + 1];
    uint64_t number = load.fill ? load.next_key++ : next_random() % load.keys;

    if (load.fill ? number >= load.keys : now_ns() >= load.end_ns) {
        load.busy--;
        return;
    }
    write_key(key, number);
    client->started_ns = now_ns();
    if (load.protocol->send(client, key) != 0)
        fail(client->host, "a request does not fit");
    flush(client);
}

static void note(uint64_t began_ns, uint64_t ended_ns)
{
    if (began_ns < load.measure_ns)
        return;
    if (load.time_count == load.time_capacity) {
        load.time_capacity = load.time_capacity ? load.time_capacity * 2 : 1 << 20;
        load.times_us = realloc(load.times_us, load.time_capacity * sizeof *load.times_us);
        if (!load.times_us)
            fail("times", "out of memory");
    }
    load.times_us[load.time_count++] = (uint32_t)((ended_ns - began_ns) / 1000);
}

static void on_readable(load_client *client)
{
    ssize_t size = recv(client->fd, client->input + client->input_size, LOAD_BUFFER - client->input_size, 0);
    int result;

    if (size < 0 && errno == EAGAIN)
        return;
    if (size <= 0)
        fail(client->host, size < 0 ? strerror(errno) : "closed the connection");
    client->input_size += (size_t)size;
    result = load.protocol->receive(client);
    if (result == -2)
        fail(client->host, "answered something that cannot be understood");
    if (result == 0) {
        flush(client);
        return;
    }
    load.answered++;
    if (result > 0)
        note(client->started_ns, now_ns());
    else
        load.refused++;
    begin(client);
}

static void open_clients(void)
{
    load.epoll = epoll_create1(0);
    for (unsigned i = 0; i < load.client_count; i++) {
        load_client *client = load.clients[i] = calloc(1, sizeof *client);
        if (!client)
            fail("clients", "out of memory");
        client->options = &load.options;
        client->host = load.nodes[i % load.node_count];
        client->fd = connect_to(client->host);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
        if (load.protocol->open(client) != 0 || epoll_ctl(load.epoll, EPOLL_CTL_ADD, client->fd, &event) != 0)
            fail(client->host, "cannot be set up");
    }
}

static void run(void)
{
    struct epoll_event events[EVENTS];

    load.begin_ns = now_ns();
    load.end_ns = load.begin_ns + (uint64_t)load.seconds * 1000000000;
    load.measure_ns = load.fill ? load.begin_ns : load.begin_ns + (load.end_ns - load.begin_ns) / 100 * WARM_UP_PERCENT;
    load.busy = load.client_count;
    for (unsigned i = 0; i < load.client_count; i++)
        begin(load.clients[i]);
    while (load.busy) {
        int count = epoll_wait(load.epoll, events, EVENTS, 10000);
        if (count == 0)
            fail("nodes", "none has answered for ten seconds");
        for (int i = 0; i < count; i++)
            on_readable(events[i].data.ptr);
    }
    load.end_ns = now_ns();
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static uint32_t quantile(double share)
{
    return load.time_count ? load.times_us[(size_t)(share * (double)(load.time_count - 1))] : 0;
}

static double used_us(struct timeval time)
{
    return (double)time.tv_sec * 1e6 + (double)time.tv_usec;
}

static void report(void)
{
    double seconds = (double)(load.end_ns - load.measure_ns) / 1e9;
    struct rusage own;

    getrusage(RUSAGE_SELF, &own);
    qsort(load.times_us, load.time_count, sizeof *load.times_us, compare);
    printf("%.0f %u %u %u %zu %llu %.1f\n", (double)load.time_count / seconds, quantile(0.5), quantile(0.99),
           quantile(1), load.time_count, (unsigned long long)load.refused,
           load.answered ? (used_us(own.ru_utime) + used_us(own.ru_stime)) / (double)load.answered : 0);
}

static void read_nodes(char *text)
{
    for (char *node = strtok(text, ","); node; node = strtok(NULL, ",")) {
        if (load.node_count == NODES_MAX)
            fail(node, "one node too many");
        load.nodes[load.node_count++] = node;
    }
    if (!load.node_count)
        fail("nodes", "expected host:port[,host:port...]");
}

static unsigned long number(const char *text, unsigned long most)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    if (*end || value == 0 || value > most)
        fail(text, "is not a number in range");
    return value;
}

int main(int argc, char **argv)
{
    static const struct option names[] = {{"clients", 1, NULL, 'c'}, {"seconds", 1, NULL, 's'}, {"keys", 1, NULL, 'k'},
                                          {"value", 1, NULL, 'v'},   {"table", 1, NULL, 't'},   {"fill", 0, NULL, 'f'},
                                          {NULL, 0, NULL, 0}};
    static char value[VALUE_MAX + 1];

    load.options = (load_options){.table = "bench", .value = value, .value_size = 256};
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        if (c == 'c')
            load.client_count = (unsigned)number(optarg, CLIENTS_MAX);
        else if (c == 's')
            load.seconds = (unsigned)number(optarg, 3600);
        else if (c == 'k')
            load.keys = number(optarg, 1000000000);
        else if (c == 'v')
            load.options.value_size = number(optarg, VALUE_MAX);
        else if (c == 't')
            load.options.table = optarg;
        else if (c == 'f')
            load.fill = 1;
        else
            return 2;
    }
    if (argc - optind != 3)
        fail("usage", "store_load holdfast|etcd put|get NODE[,NODE...] [options]");
    load.protocol = strcmp(argv[optind], "etcd") == 0 ? &load_grpc : &load_http;
    load.options.reading = strcmp(argv[optind + 1], "get") == 0;
    read_nodes(argv[optind + 2]);
    for (size_t i = 0; i < load.options.value_size; i++)
        value[i] = (char)('a' + next_random() % 26);
    open_clients();
    run();
    report();
    return 0;
}
