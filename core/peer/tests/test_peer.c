/* Shows with several nodes in one process, over real sockets and TLS, that messages arrive in order, calls are answered
 * or end, lost links come back, and strangers are kept out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "authority.h"
#include "loop.h"
#include "metrics.h"
#include "peer/peer.h"
#include "pool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { NODES = 3, WORKERS = 2 };

static char directory[64], other_directory[64];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

struct node {
    const char *name;
    const char *certificates;
    uint32_t number;
    uint16_t port;
    int listener;
    hf_loop *main, *workers[WORKERS];
    hf_pool *pool;
    hf_metrics *metrics;
    hf_peers *peers;
    hf_peer_channel *channel;
    char addresses[NODES][32];
    hf_peer_member members[NODES];
    /* Guarded by `lock`. */
    uint32_t up[NODES];            /* lanes */
    uint32_t received[NODES];      /* messages */
    uint32_t next[NODES][WORKERS]; /* number of the next message of each lane */
    uint32_t disorder;
    uint64_t received_bytes;
    hf_peer_request *held[64];
    uint32_t held_count;
    int stopped;
};

static struct node nodes[NODES];

/* ---- What the nodes do
 * -------------------------------------------------------------------------------------------------- */

static uint32_t worker_of(const struct node *node)
{
    for (uint32_t i = 0; i < WORKERS; i++)
        if (node->workers[i] == hf_loop_current())
            return i;
    return UINT32_MAX;
}

static void message(void *arg, uint32_t from, hf_slice bytes)
{
    struct node *node = arg;
    uint32_t number = 0;

    pthread_mutex_lock(&lock);
    if (bytes.size >= 4)
        memcpy(&number, bytes.data, 4);
    if (worker_of(node) >= WORKERS || (bytes.size >= 4 && number != node->next[from][worker_of(node)]++))
        node->disorder++;
    node->received[from]++;
    node->received_bytes += bytes.size;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

/* "hold": answered later; "fail": HF_ECONFLICT; else the same bytes come back. */
static void request(void *arg, uint32_t from, hf_peer_request *asked, hf_slice bytes)
{
    struct node *node = arg;

    (void)from;
    if (bytes.size == 4 && memcmp(bytes.data, "hold", 4) == 0) {
        pthread_mutex_lock(&lock);
        node->held[node->held_count++] = asked;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
    } else if (bytes.size == 4 && memcmp(bytes.data, "fail", 4) == 0) {
        hf_peers_respond(asked, HF_ECONFLICT, (hf_slice){NULL, 0});
    } else {
        hf_peers_respond(asked, HF_OK, bytes);
    }
}

static void link_changed(void *arg, uint32_t other, int32_t up)
{
    struct node *node = arg;

    pthread_mutex_lock(&lock);
    node->up[other] += up ? 1 : UINT32_MAX;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

/* Waits for a condition on what the lock guards. */
#define WAIT_FOR(condition)                                                                                            \
    do {                                                                                                               \
        struct timespec until;                                                                                         \
        clock_gettime(CLOCK_REALTIME, &until);                                                                         \
        until.tv_sec += 30;                                                                                            \
        pthread_mutex_lock(&lock);                                                                                     \
        while (!(condition))                                                                                           \
            if (pthread_cond_timedwait(&changed, &lock, &until) == ETIMEDOUT)                                          \
                fail_msg("waited in vain for %s", #condition);                                                         \
        pthread_mutex_unlock(&lock);                                                                                   \
    } while (0)

/* ---- Set-up
 * --------------------------------------------------------------------------------------------------------------- */

static int open_listener(uint16_t *port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(*port)};
    socklen_t size = sizeof address;
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 64), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static void start_node(struct node *node, uint64_t queue_limit)
{
    static const hf_peer_handlers handlers = {
        .size = sizeof handlers, .message = message, .request = request, .link = link_changed};
    hf_peers_settings settings = {.worker_count = WORKERS,
                                  .cluster = "test",
                                  .self = node->name,
                                  .members = node->members,
                                  .member_count = NODES,
                                  .certificates = node->certificates,
                                  .queue_limit = queue_limit};
    hf_error error = {0};

    assert_int_equal(hf_loop_create("main", &node->main, NULL), 0);
    for (int i = 0; i < WORKERS; i++)
        assert_int_equal(hf_loop_create("worker", &node->workers[i], NULL), 0);
    assert_int_equal(hf_pool_create(1, 64, &node->pool, NULL), 0);
    assert_int_equal(hf_metrics_create(&node->metrics, NULL), 0);
    settings.main = node->main;
    settings.workers = node->workers;
    settings.pool = node->pool;
    settings.metrics = node->metrics;
    settings.listener = node->listener;
    if (hf_peers_create(&settings, &node->peers, &error) != 0)
        fail_msg("%s", error.message);
    assert_int_equal(hf_peers_channel(node->peers, "test.first", &(hf_peer_handlers){.size = sizeof(hf_peer_handlers)},
                                      NULL, &node->channel, NULL),
                     0);
    assert_int_equal(hf_peers_channel(node->peers, "test", &handlers, node, &node->channel, NULL), 0);
    assert_int_equal(hf_peers_start(node->peers, NULL), 0);
    assert_int_equal(hf_loop_thread_start(node->main, NULL), 0);
    for (int i = 0; i < WORKERS; i++)
        assert_int_equal(hf_loop_thread_start(node->workers[i], NULL), 0);
}

static void stopped(void *arg)
{
    struct node *node = arg;

    pthread_mutex_lock(&lock);
    node->stopped = 1;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

struct stop {
    hf_task task;
    struct node *node;
};

static void stop_task(hf_task *task)
{
    struct node *node = ((struct stop *)(void *)task)->node;

    hf_peers_stop(node->peers, stopped, node);
}

static void stop_node(struct node *node)
{
    struct stop stop = {{NULL, stop_task}, node};

    node->stopped = 0;
    hf_loop_post(node->main, &stop.task);
    WAIT_FOR(node->stopped);
    hf_loop_stop(node->main);
    hf_loop_thread_join(node->main);
    for (int i = 0; i < WORKERS; i++) {
        hf_loop_stop(node->workers[i]);
        hf_loop_thread_join(node->workers[i]);
    }
    hf_pool_destroy(node->pool);
    hf_loop_destroy(node->main);
    for (int i = 0; i < WORKERS; i++)
        hf_loop_destroy(node->workers[i]);
    hf_peers_destroy(node->peers);
    hf_metrics_destroy(node->metrics);
    memset(node->up, 0, sizeof node->up);
    memset(node->received, 0, sizeof node->received);
    memset(node->next, 0, sizeof node->next);
}

static int set_up_nodes(void **state)
{
    static const char *const names[NODES] = {"n1", "n2", "n3"};

    (void)state;
    memset(nodes, 0, sizeof nodes);
    for (uint32_t i = 0; i < NODES; i++) {
        nodes[i].name = names[i];
        nodes[i].certificates = directory;
        nodes[i].number = i;
        nodes[i].listener = open_listener(&nodes[i].port);
    }
    for (uint32_t i = 0; i < NODES; i++)
        for (uint32_t j = 0; j < NODES; j++) {
            snprintf(nodes[i].addresses[j], sizeof nodes[i].addresses[j], "127.0.0.1:%u", nodes[j].port);
            nodes[i].members[j] = (hf_peer_member){names[j], nodes[i].addresses[j]};
        }
    return 0;
}

static int set_up(void **state)
{
    set_up_nodes(state);
    for (uint32_t i = 0; i < NODES; i++)
        start_node(&nodes[i], 8 << 20);
    for (uint32_t i = 0; i < NODES; i++)
        for (uint32_t j = 0; j < NODES; j++)
            if (i != j)
                WAIT_FOR(nodes[i].up[j] == WORKERS);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < NODES; i++) {
        if (nodes[i].peers)
            stop_node(&nodes[i]);
        close(nodes[i].listener);
    }
    return 0;
}

/* ---- Doing something on a worker loop
 * ------------------------------------------------------------------------------------- */

struct burst {
    hf_task task;
    struct node *node;
    uint32_t to, count, size, sent;
    int32_t last;
    int done;
};

static void send_burst(hf_task *task)
{
    struct burst *burst = (struct burst *)(void *)task;
    uint8_t *bytes = calloc(1, burst->size + 4);

    for (burst->sent = 0; burst->sent < burst->count; burst->sent++) {
        hf_slice pieces[2] = {{(uint8_t *)&burst->sent, 4}, {bytes, burst->size}};
        burst->last = hf_peers_send(burst->node->channel, burst->to, pieces, 2);
        if (burst->last != 0)
            break;
    }
    free(bytes);
    pthread_mutex_lock(&lock);
    burst->done = 1;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static int32_t burst(struct node *node, uint32_t worker, uint32_t to, uint32_t count, uint32_t size)
{
    struct burst burst = {.task.run = send_burst, .node = node, .to = to, .count = count, .size = size};

    hf_loop_post(node->workers[worker], &burst.task);
    WAIT_FOR(burst.done);
    return burst.last;
}

struct call {
    hf_task task;
    struct node *node;
    uint32_t to;
    uint64_t timeout_us;
    const char *text;
    int in_call, early;
    int done;
    int32_t code;
    char response[32];
};

static void call_done(void *arg, int32_t code, hf_slice response)
{
    struct call *call = arg;

    call->early |= call->in_call;
    pthread_mutex_lock(&lock);
    call->code = code;
    snprintf(call->response, sizeof call->response, "%.*s", (int)response.size, (const char *)response.data);
    call->done++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void begin_call(hf_task *task)
{
    struct call *call = (struct call *)(void *)task;
    hf_slice piece = {(const uint8_t *)call->text, strlen(call->text)};

    call->in_call = 1;
    hf_peers_call(call->node->channel, call->to, &piece, 1, call->timeout_us, call_done, call);
    call->in_call = 0;
}

static void start_call(struct call *call, struct node *node, uint32_t to, const char *text, uint64_t timeout_us)
{
    *call = (struct call){.task.run = begin_call, .node = node, .to = to, .text = text, .timeout_us = timeout_us};
    hf_loop_post(node->workers[0], &call->task);
}

static int32_t call_and_wait(struct node *node, uint32_t to, const char *text, uint64_t timeout_us, char *response)
{
    struct call call;

    start_call(&call, node, to, text, timeout_us);
    WAIT_FOR(call.done);
    assert_int_equal(call.early, 0);
    if (response)
        strcpy(response, call.response);
    return call.code;
}

/* ---- Tests
 * ------------------------------------------------------------------------------------------------------------------ */

static void messages_arrive_in_order(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < NODES; i++)
        for (uint32_t j = 0; j < NODES; j++)
            for (uint32_t worker = 0; worker < WORKERS && i != j; worker++)
                assert_int_equal(burst(&nodes[i], worker, j, 10000, 20), 0);
    for (uint32_t i = 0; i < NODES; i++)
        for (uint32_t j = 0; j < NODES; j++)
            if (i != j)
                WAIT_FOR(nodes[i].received[j] == 10000 * WORKERS);
    for (uint32_t i = 0; i < NODES; i++)
        assert_int_equal(nodes[i].disorder, 0);
}

static void large_messages_arrive(void **state)
{
    (void)state;
    assert_int_equal(burst(&nodes[0], 0, 1, 1, 20 << 20), 0);
    WAIT_FOR(nodes[1].received_bytes == (20 << 20) + 4);
    assert_int_equal(burst(&nodes[0], 0, 1, 1, HF_PEER_MESSAGE_MAX), HF_ETOOLARGE);
}

static void calls_are_answered(void **state)
{
    char response[32];

    (void)state;
    assert_int_equal(call_and_wait(&nodes[0], 1, "hello", 10000000, response), 0);
    assert_string_equal(response, "hello");
    assert_int_equal(call_and_wait(&nodes[0], 2, "fail", 10000000, NULL), HF_ECONFLICT);
    assert_int_equal(call_and_wait(&nodes[0], 0, "self", 10000000, NULL), HF_EINVAL);
    assert_int_equal(call_and_wait(&nodes[0], 1, "hold", 50000, NULL), HF_ETIMEOUT);
    hf_peers_respond(nodes[1].held[0], 0, (hf_slice){NULL, 0}); /* nobody waits for it any more */
    /* Answered by another thread. */
    struct call call;
    start_call(&call, &nodes[0], 1, "hold", 10000000);
    WAIT_FOR(nodes[1].held_count == 2);
    hf_peers_respond(nodes[1].held[1], 0, (hf_slice){(const uint8_t *)"late", 4});
    WAIT_FOR(call.done);
    assert_int_equal(call.code, 0);
    assert_string_equal(call.response, "late");
}

static void lost_links_end_calls_and_come_back(void **state)
{
    struct call call;

    (void)state;
    start_call(&call, &nodes[0], 1, "hold", 10000000);
    WAIT_FOR(nodes[1].held_count == 1);
    hf_peers_respond(nodes[1].held[0], 0, (hf_slice){NULL, 0});
    WAIT_FOR(call.done);
    start_call(&call, &nodes[0], 1, "hold", 20000000);
    WAIT_FOR(nodes[1].held_count == 2);
    hf_peer_request *held = nodes[1].held[1];
    /* The node goes while the call is under way: its answer comes after the link has gone. */
    struct stop stop = {{NULL, stop_task}, &nodes[1]};
    nodes[1].stopped = 0;
    hf_loop_post(nodes[1].main, &stop.task);
    WAIT_FOR(nodes[1].stopped);
    hf_peers_respond(held, 0, (hf_slice){NULL, 0});
    WAIT_FOR(call.done);
    assert_int_equal(call.code, HF_EIO);
    WAIT_FOR(nodes[0].up[1] == 0 && nodes[2].up[1] == 0);
    assert_int_equal(call_and_wait(&nodes[0], 1, "hello", 1000000, NULL), HF_ECLOSED);
    assert_int_equal(burst(&nodes[0], 0, 1, 1, 0), HF_ECLOSED);
    stop_node(&nodes[1]);
    start_node(&nodes[1], 8 << 20);
    WAIT_FOR(nodes[0].up[1] == WORKERS && nodes[1].up[0] == WORKERS && nodes[2].up[1] == WORKERS);
    assert_int_equal(call_and_wait(&nodes[0], 1, "hello", 10000000, NULL), 0);
}

static void a_full_queue_refuses(void **state)
{
    (void)state;
    /* One turn of the loop fills the queue faster than it can be flushed. */
    assert_int_equal(burst(&nodes[0], 0, 1, 100000, 1 << 20), HF_EBUSY);
    /* What was taken arrives, and then there is room again. */
    WAIT_FOR(nodes[1].received[0] >= 8);
    assert_int_equal(call_and_wait(&nodes[0], 1, "hello", 20000000, NULL), 0);
}

static void strangers_are_kept_out(void **state)
{
    (void)state;
    set_up_nodes(state);
    nodes[2].certificates = other_directory; /* of another authority */
    for (uint32_t i = 0; i < NODES; i++)
        start_node(&nodes[i], 8 << 20);
    WAIT_FOR(nodes[0].up[1] == WORKERS && nodes[1].up[0] == WORKERS);
    /* Garbage of all kinds. */
    for (int round = 0; round < 20; round++) {
        struct sockaddr_in address = {
            .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(nodes[0].port)};
        uint8_t bytes[512];
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct pollfd wait = {fd, POLLIN, 0};

        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)(i * 31 + (size_t)round * 7);
        if (round % 2)
            memcpy(bytes, "\x16\x03\x01\x01\xfc\x01", 6); /* looks like TLS at first */
        assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
        assert_true(send(fd, bytes, sizeof bytes, MSG_NOSIGNAL) > 0);
        if (round % 4 < 3)
            assert_int_equal(poll(&wait, 1, 10000), 1); /* it hangs up, or answers with an alert */
        close(fd);
    }
    assert_int_equal(call_and_wait(&nodes[0], 1, "hello", 10000000, NULL), 0);
    assert_int_equal(nodes[0].up[2], 0);
    assert_int_equal(nodes[2].up[0], 0);
    assert_int_equal(nodes[2].up[1], 0);
}

static void settings_are_checked(void **state)
{
    const hf_peer_member twice[] = {{"n1", "127.0.0.1:1"}, {"n1", "127.0.0.1:2"}};
    hf_peers_settings settings = {.worker_count = 1,
                                  .cluster = "test",
                                  .self = "n9",
                                  .members = twice,
                                  .member_count = 2,
                                  .certificates = directory};
    hf_peers *peers;
    hf_error error = {0};

    (void)state;
    assert_int_equal(hf_peers_create(&settings, &peers, &error), HF_EINVAL);
    settings.member_count = 1;
    assert_int_equal(hf_peers_create(&settings, &peers, &error), HF_EINVAL);
    assert_non_null(strstr(error.message, "'n9'"));
}

static int make_certificates(void **state)
{
    static const char *const local[] = {"127.0.0.1", NULL};

    (void)state;
    strcpy(directory, "/tmp/holdfast-peer-XXXXXX");
    strcpy(other_directory, "/tmp/holdfast-peer-XXXXXX");
    assert_non_null(mkdtemp(directory));
    assert_non_null(mkdtemp(other_directory));
    assert_int_equal(hf_authority_create(directory, "test", 10, NULL), 0);
    assert_int_equal(hf_authority_create(other_directory, "test", 10, NULL), 0);
    for (int i = 0; i < NODES; i++) {
        char name[8];
        snprintf(name, sizeof name, "n%d", i + 1);
        assert_int_equal(hf_authority_issue(directory, name, local, 10, 0, NULL), 0);
        assert_int_equal(hf_authority_issue(other_directory, name, local, 10, 0, NULL), 0);
    }
    return 0;
}

static int remove_certificates(void **state)
{
    char command[200];

    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s' '%s'", directory, other_directory);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(messages_arrive_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(large_messages_arrive, set_up, tear_down),
        cmocka_unit_test_setup_teardown(calls_are_answered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lost_links_end_calls_and_come_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_queue_refuses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(strangers_are_kept_out, NULL, tear_down),
        cmocka_unit_test(settings_are_checked),
    };

    return cmocka_run_group_tests(tests, make_certificates, remove_certificates);
}
