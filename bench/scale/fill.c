/* scale_fill HOST:PORT RECORDS VALUE_BYTES TABLE...
 *
 * Puts that many records into the tables in turn, in batches, over one connection for each table.  A table must have
 * one partition and take any bytes.  Values are random text, which does not compress well; keys are k0000000000 and up.
 */
#include <netdb.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { OPERATIONS_MAX = 1000, BODY_MAX = 2 << 20, VALUE_MAX = 1 << 20, TABLES_MAX = 64, ANSWER_MAX = 1 << 16 };

static struct {
    const char *address;
    uint64_t records;
    size_t value_size;
    unsigned table_count;
} fill;

struct share {
    pthread_t thread;
    const char *table;
    unsigned number;
    int fd;
    char *body;
    size_t size;
    uint64_t random;
};

static void fail(const char *what, const char *detail)
{
    fprintf(stderr, "scale_fill: %s: %s\n", what, detail);
    exit(1);
}

static int connect_to(const char *node)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    char host[256];
    const char *colon = strrchr(node, ':');

    if (!colon || (size_t)(colon - node) >= sizeof host)
        fail(node, "expected host:port");
    memcpy(host, node, (size_t)(colon - node));
    host[colon - node] = '\0';
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
        fail(node, "cannot be found");
    int fd = socket(found->ai_family, SOCK_STREAM, 0);

    if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) != 0)
        fail(node, "cannot be reached");
    freeaddrinfo(found);
    return fd;
}

static void send_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);

        if (sent <= 0)
            fail(fill.address, "the connection broke");
        bytes += sent;
        size -= (size_t)sent;
    }
}

/* Returns the status; the answer's body is small. */
static int read_answer(int fd)
{
    char answer[ANSWER_MAX + 1], *end = NULL, *length;
    size_t size = 0, total = SIZE_MAX;

    while (size < total) {
        ssize_t got = recv(fd, answer + size, ANSWER_MAX - size, 0);

        if (got <= 0)
            fail(fill.address, "no answer");
        size += (size_t)got;
        answer[size] = '\0';
        if (!end && (end = strstr(answer, "\r\n\r\n"))) {
            length = strcasestr(answer, "\r\nContent-Length: ");
            total = (size_t)(end + 4 - answer) + (length ? strtoul(length + 18, NULL, 10) : 0);
        }
        if (size == ANSWER_MAX)
            fail(fill.address, "a longer answer than expected");
    }
    int status = atoi(answer + 9);

    if (status != 200 && status != 503)
        fail("refused", end + 4);
    return status;
}

static uint64_t next_random(struct share *share) /* xorshift64 */
{
    share->random ^= share->random << 13;
    share->random ^= share->random >> 7;
    return share->random ^= share->random << 17;
}

/* Any four characters of the alphabet are the Base64 of three bytes. */
static void add_value(struct share *share)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t left = (fill.value_size + 2) / 3 * 4;
    char *to = share->body + share->size;

    for (; left > 0; left -= 4) {
        uint64_t bits = next_random(share);

        for (int i = 0; i < 4; i++)
            *to++ = letters[bits >> 6 * i & 63];
    }
    share->size = (size_t)(to - share->body);
}

static void add_operation(struct share *share, uint64_t record, int first)
{
    share->size +=
        (size_t)sprintf(share->body + share->size, "%s{\"op\":\"put\",\"key\":\"k%010llu\",\"value_base64\":\"",
                        first ? "" : ",", (unsigned long long)record);
    add_value(share);
    share->size += (size_t)sprintf(share->body + share->size, "\"}");
}

/* A node that is busy says so, and is asked again. */
static void send_batch(struct share *share)
{
    char head[400];
    int size = snprintf(head, sizeof head,
                        "POST /v1/tables/%s/batch HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"
                        "Content-Length: %zu\r\n\r\n",
                        share->table, fill.address, share->size);

    do {
        send_all(share->fd, head, (size_t)size);
        send_all(share->fd, share->body, share->size);
    } while (read_answer(share->fd) == 503);
}

static void *fill_table(void *arg)
{
    struct share *share = arg;
    uint64_t record = share->number;

    while (record < fill.records) {
        unsigned count = 0;

        share->size = (size_t)sprintf(share->body, "{\"operations\":[");
        for (; record < fill.records && count < OPERATIONS_MAX && share->size < BODY_MAX; record += fill.table_count)
            add_operation(share, record, count++ == 0);
        share->size += (size_t)sprintf(share->body + share->size, "]}");
        send_batch(share);
    }
    close(share->fd);
    free(share->body);
    return NULL;
}

int main(int argc, char **argv)
{
    static struct share shares[TABLES_MAX];

    if (argc < 5 || argc - 4 > TABLES_MAX)
        fail("usage", "scale_fill HOST:PORT RECORDS VALUE_BYTES TABLE...");
    fill.address = argv[1];
    fill.records = strtoull(argv[2], NULL, 10);
    fill.value_size = strtoull(argv[3], NULL, 10);
    fill.table_count = (unsigned)argc - 4;
    if (fill.value_size == 0 || fill.value_size > VALUE_MAX)
        fail(argv[3], "is no size of values");
    for (unsigned i = 0; i < fill.table_count; i++) {
        struct share *share = &shares[i];

        *share = (struct share){.table = argv[4 + i], .number = i, .fd = connect_to(fill.address)};
        share->random = 88172645463325252u + i;
        share->body = malloc(BODY_MAX + 2 * VALUE_MAX);
        if (!share->body || pthread_create(&share->thread, NULL, fill_table, share) != 0)
            fail("threads", "out of memory");
    }
    for (unsigned i = 0; i < fill.table_count; i++)
        pthread_join(shares[i].thread, NULL);
    return 0;
}
