/* failover_writers holdfast|etcd NODE[,NODE...] [--keys N] [--clients N] [--pause MS] [--value BYTES] [--table T]
 *
 * Writes at a steady rate, and measures for how long that does not succeed.  Commands come on the standard input, a
 * line each, and each is answered by a line:
 *   signal NUMBER TARGET   sends the signal as kill(2) would (a negative target is a process group), waits until each
 *                          key has been written again by a write that began after it, and prints, in milliseconds, how
 *                          long that took for the key that waited longest
 *   longest                prints the longest time without a finished write of any one key since the last command
 *   rate                   prints, since the last command: writes per second, attempts that failed, and of the time
 * that writes took median, 99th percentile and worst, in microseconds end                    ends the program, as does
 * the end of the input
 *
 * Each client has a key, shared with others, and one request under way.  When that fails, is refused, or is not
 * answered in 100 to 300 ms (at random, so that clients do not move in step), the client turns to the next node. */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CLIENTS_MAX = 1024, NODES_MAX = 16, VALUE_MAX = 32768, EVENTS = 256, LINE_MAX_SIZE = 200 };
enum { ANSWER_LEAST_MS = 100, ANSWER_SPREAD_MS = 200, REFUSED_PAUSE_MS = 5, GIVE_UP_S = 60 };

static const uint64_t ms = 1000000, second = 1000000000; /* in nanoseconds */

enum { RESTING, CONNECTING, ASKING };

typedef struct writer {
    load_client client;
    int state;
    unsigned key, node;
    uint64_t due_ns; /* when the rest, or the patience with a request, ends */
} writer;

typedef struct key_times {
    uint64_t succeeded_ns; /* the last one */
    uint64_t longest_ns;
    int again; /* written by a request that began after the signal */
} key_times;

static struct {
    const load_protocol *protocol;
    load_options options;
    char *nodes[NODES_MAX];
    struct sockaddr_storage addresses[NODES_MAX];
    socklen_t address_sizes[NODES_MAX];
    unsigned node_count, client_count, key_count;
    uint64_t pause_ns, random;
    writer *writers[CLIENTS_MAX];
    key_times *keys;
    int epoll;
    uint64_t signal_ns; /* 0: none is waited for */
    unsigned keys_left;
    uint64_t since_ns, done, failed;
    uint32_t *times_us; /* of those done */
    size_t time_capacity;
    char line[LINE_MAX_SIZE];
    size_t line_size;
    int ended;
} bench = {.client_count = 48, .key_count = 12, .random = 88172645463325252u};

static void fail(const char *what, const char *detail)
{
    fprintf(stderr, "failover_writers: %s: %s\n", what, detail);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * second + (uint64_t)now.tv_nsec;
}

static uint64_t next_random(void) /* xorshift64 */
{
    bench.random ^= bench.random << 13;
    bench.random ^= bench.random >> 7;
    return bench.random ^= bench.random << 17;
}

/* ---- One writer -------------------------------------------------------------------------------------------------- */

static void rest(writer *w, uint64_t until_ns)
{
    w->state = RESTING;
    w->due_ns = until_ns;
}

static void disconnect(writer *w)
{
    bench.protocol->close(&w->client);
    w->client.session = NULL;
    if (w->client.fd >= 0)
        close(w->client.fd);
    w->client.fd = -1;
    w->client.input_size = w->client.output_size = 0;
}

/* The next node is tried, at once unless this one refused. */
static void turn_away(writer *w, uint64_t pause_ns)
{
    bench.failed++;
    disconnect(w);
    w->node = (w->node + 1) % bench.node_count;
    rest(w, now_ns() + pause_ns);
}

static void watch(writer *w, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = w};

    if (epoll_ctl(bench.epoll, operation, w->client.fd, &event) != 0)
        fail("epoll", strerror(errno));
}

static void flush(writer *w)
{
    ssize_t sent = send(w->client.fd, w->client.output, w->client.output_size, MSG_NOSIGNAL);

    if (sent == (ssize_t)w->client.output_size)
        w->client.output_size = 0;
    else /* requests are far smaller than a socket's buffer */
        turn_away(w, 0);
}

static void ask(writer *w)
{
    char key[24];

    snprintf(key, sizeof key, "k%09u", w->key);
    w->state = ASKING;
    w->client.started_ns = now_ns();
    w->due_ns = w->client.started_ns + (ANSWER_LEAST_MS + next_random() % ANSWER_SPREAD_MS) * ms;
    if (bench.protocol->send(&w->client, key) != 0)
        fail(w->client.host, "a request does not fit");
    flush(w);
}

static void connect_to_node(writer *w)
{
    const struct sockaddr *address = (const struct sockaddr *)&bench.addresses[w->node];
    int one = 1;

    w->client.host = bench.nodes[w->node];
    w->client.fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (w->client.fd < 0)
        fail("socket", strerror(errno));
    setsockopt(w->client.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (bench.protocol->open(&w->client) != 0)
        fail(w->client.host, "cannot be set up");
    if (connect(w->client.fd, address, bench.address_sizes[w->node]) != 0 && errno != EINPROGRESS) {
        turn_away(w, REFUSED_PAUSE_MS * ms);
        return;
    }
    w->state = CONNECTING;
    w->due_ns = now_ns() + ANSWER_LEAST_MS * ms;
    watch(w, EPOLL_CTL_ADD, EPOLLOUT);
}

static void connected(writer *w)
{
    int code = 0;
    socklen_t size = sizeof code;

    if (getsockopt(w->client.fd, SOL_SOCKET, SO_ERROR, &code, &size) != 0 || code) {
        turn_away(w, REFUSED_PAUSE_MS * ms);
        return;
    }
    watch(w, EPOLL_CTL_MOD, EPOLLIN);
    ask(w);
}

static void note_time(uint64_t took_ns)
{
    if (bench.done == bench.time_capacity) {
        bench.time_capacity = bench.time_capacity ? bench.time_capacity * 2 : 1 << 16;
        bench.times_us = realloc(bench.times_us, bench.time_capacity * sizeof *bench.times_us);
        if (!bench.times_us)
            fail("times", "out of memory");
    }
    bench.times_us[bench.done++] = (uint32_t)(took_ns / 1000);
}

static void succeeded(writer *w)
{
    key_times *key = &bench.keys[w->key];
    uint64_t now = now_ns();

    note_time(now - w->client.started_ns);
    if (key->succeeded_ns && now - key->succeeded_ns > key->longest_ns)
        key->longest_ns = now - key->succeeded_ns;
    key->succeeded_ns = now;
    if (bench.signal_ns && !key->again && w->client.started_ns >= bench.signal_ns) {
        key->again = 1;
        if (--bench.keys_left == 0) {
            printf("%.1f\n", (double)(now - bench.signal_ns) / (double)ms);
            bench.signal_ns = 0;
        }
    }
    rest(w, w->client.started_ns + bench.pause_ns);
}

static void readable(writer *w)
{
    load_client *client = &w->client;
    ssize_t size = recv(client->fd, client->input + client->input_size, LOAD_BUFFER - client->input_size, 0);
    int result;

    if (size < 0 && errno == EAGAIN)
        return;
    if (size <= 0) {
        turn_away(w, 0);
        return;
    }
    client->input_size += (size_t)size;
    result = bench.protocol->receive(client);
    if (result == -2)
        turn_away(w, 0);
    else if (result == 0 || w->state != ASKING) /* between requests: settings and pings */
        flush(w);
    else if (result > 0)
        succeeded(w);
    else
        turn_away(w, REFUSED_PAUSE_MS * ms);
}

static void due(writer *w)
{
    if (w->state != RESTING)
        turn_away(w, 0);
    else if (w->client.fd < 0)
        connect_to_node(w);
    else
        ask(w);
}

/* ---- Commands ---------------------------------------------------------------------------------------------------- */

static void forget(void)
{
    bench.since_ns = now_ns();
    bench.done = bench.failed = 0;
    for (unsigned i = 0; i < bench.key_count; i++)
        bench.keys[i].longest_ns = 0;
}

static void send_signal(int number, int target)
{
    for (unsigned i = 0; i < bench.key_count; i++)
        bench.keys[i].again = 0;
    bench.keys_left = bench.key_count;
    if (kill(target, number) != 0)
        fail("kill", strerror(errno));
    bench.signal_ns = now_ns();
}

static void print_longest(void)
{
    uint64_t longest = 0, now = now_ns();

    for (unsigned i = 0; i < bench.key_count; i++) {
        const key_times *key = &bench.keys[i];
        uint64_t open = key->succeeded_ns ? now - key->succeeded_ns : 0;

        longest = key->longest_ns > longest ? key->longest_ns : longest;
        longest = open > longest ? open : longest;
    }
    printf("%.1f\n", (double)longest / (double)ms);
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static uint32_t quantile(double share)
{
    return bench.done ? bench.times_us[(size_t)(share * (double)(bench.done - 1))] : 0;
}

static void print_rate(void)
{
    double seconds = (double)(now_ns() - bench.since_ns) / (double)second;

    if (bench.done)
        qsort(bench.times_us, bench.done, sizeof *bench.times_us, compare);
    printf("%.0f %llu %u %u %u\n", (double)bench.done / seconds, (unsigned long long)bench.failed, quantile(0.5),
           quantile(0.99), quantile(1));
}

static void command(const char *line)
{
    int number, target;

    if (sscanf(line, "signal %d %d", &number, &target) == 2) {
        forget();
        send_signal(number, target);
        return;
    }
    if (strcmp(line, "end") == 0)
        bench.ended = 1;
    else if (strcmp(line, "longest") == 0)
        print_longest();
    else if (strcmp(line, "rate") == 0)
        print_rate();
    else
        fail(line, "is not a command");
    forget();
}

static void read_commands(void)
{
    ssize_t size = read(STDIN_FILENO, bench.line + bench.line_size, sizeof bench.line - 1 - bench.line_size);
    char *end;

    if (size <= 0) {
        bench.ended = 1;
        return;
    }
    bench.line_size += (size_t)size;
    bench.line[bench.line_size] = '\0';
    while ((end = strchr(bench.line, '\n'))) {
        *end = '\0';
        command(bench.line);
        bench.line_size -= (size_t)(end + 1 - bench.line);
        memmove(bench.line, end + 1, bench.line_size + 1);
    }
    if (bench.line_size + 1 == sizeof bench.line)
        fail(bench.line, "is too long");
}

/* ---- The whole --------------------------------------------------------------------------------------------------- */

static void begin(void)
{
    struct epoll_event input = {.events = EPOLLIN, .data.ptr = NULL};
    uint64_t now = now_ns();

    bench.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (bench.epoll < 0 || epoll_ctl(bench.epoll, EPOLL_CTL_ADD, STDIN_FILENO, &input) != 0)
        fail("standard input", strerror(errno));
    bench.keys = calloc(bench.key_count, sizeof *bench.keys);
    for (unsigned i = 0; i < bench.client_count; i++) {
        writer *w = bench.writers[i] = calloc(1, sizeof *w);

        if (!w || !bench.keys)
            fail("clients", "out of memory");
        w->client.options = &bench.options;
        w->client.fd = -1;
        w->key = i % bench.key_count;
        w->node = i / bench.key_count % bench.node_count; /* a key's clients begin at different nodes */
        rest(w, now + next_random() % (bench.pause_ns + 1));
    }
    forget();
}

static void run(void)
{
    struct epoll_event events[EVENTS];

    while (!bench.ended) {
        int count = epoll_wait(bench.epoll, events, EVENTS, 1);

        for (int i = 0; i < count; i++) {
            writer *w = events[i].data.ptr;

            if (!w)
                read_commands();
            else if (w->state == CONNECTING)
                connected(w);
            else if (w->client.fd >= 0)
                readable(w);
        }
        uint64_t now = now_ns();

        for (unsigned i = 0; i < bench.client_count; i++)
            if (bench.writers[i]->due_ns <= now)
                due(bench.writers[i]);
        if (bench.signal_ns && now > bench.signal_ns + GIVE_UP_S * second)
            fail("nodes", "took no write for a minute");
    }
}

static void find_address(unsigned node)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    char host[256];
    const char *name = bench.nodes[node], *colon = strrchr(name, ':');

    if (!colon || (size_t)(colon - name) >= sizeof host)
        fail(name, "expected host:port");
    memcpy(host, name, (size_t)(colon - name));
    host[colon - name] = '\0';
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
        fail(name, "cannot be found");
    memcpy(&bench.addresses[node], found->ai_addr, found->ai_addrlen);
    bench.address_sizes[node] = found->ai_addrlen;
    freeaddrinfo(found);
}

static void read_nodes(char *text)
{
    for (char *node = strtok(text, ","); node; node = strtok(NULL, ",")) {
        if (bench.node_count == NODES_MAX)
            fail(node, "one node too many");
        bench.nodes[bench.node_count] = node;
        find_address(bench.node_count++);
    }
    if (!bench.node_count)
        fail("nodes", "expected host:port[,host:port...]");
}

static unsigned number(const char *text, unsigned long most)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    if (*end || value == 0 || value > most)
        fail(text, "is not a number in range");
    return (unsigned)value;
}

int main(int argc, char **argv)
{
    static const struct option names[] = {{"keys", 1, NULL, 'k'},  {"clients", 1, NULL, 'c'}, {"pause", 1, NULL, 'p'},
                                          {"value", 1, NULL, 'v'}, {"table", 1, NULL, 't'},   {NULL, 0, NULL, 0}};
    static char value[VALUE_MAX + 1];

    bench.options = (load_options){.table = "bench", .value = value, .value_size = 256};
    bench.pause_ns = 20 * ms;
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        if (c == 'k')
            bench.key_count = number(optarg, CLIENTS_MAX);
        else if (c == 'c')
            bench.client_count = number(optarg, CLIENTS_MAX);
        else if (c == 'p')
            bench.pause_ns = number(optarg, 10000) * ms;
        else if (c == 'v')
            bench.options.value_size = number(optarg, VALUE_MAX);
        else if (c == 't')
            bench.options.table = optarg;
        else
            return 2;
    }
    if (argc - optind != 2 || bench.client_count < bench.key_count)
        fail("usage", "failover_writers holdfast|etcd NODE[,NODE...] [options]; a client for each key at least");
    bench.protocol = strcmp(argv[optind], "etcd") == 0 ? &load_grpc : &load_http;
    read_nodes(argv[optind + 1]);
    memset(value, 'v', bench.options.value_size);
    setvbuf(stdout, NULL, _IOLBF, 0);
    begin();
    run();
    return 0;
}
