/* A small cluster in one process: its nodes; see kit.h. */
#include "kit.h"

#include <arpa/inet.h>
#include <holdfast/lib/hash.h>
#include <holdfast/lib/value.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

kit_node kit_nodes[KIT_NODES];
pthread_mutex_t kit_lock = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t kit_changed = PTHREAD_COND_INITIALIZER;

/* ---- What a node does with what arrives -------------------------------------------------------------------------- */

static uint32_t worker_of(const kit_node *node)
{
    for (uint32_t i = 0; i < KIT_WORKERS; i++)
        if (node->workers[i] == hf_loop_current())
            return i;
    return UINT32_MAX;
}

static void message(void *arg, uint32_t from, hf_slice bytes)
{
    kit_node *node = arg;
    uint32_t number = 0, worker = worker_of(node);

    pthread_mutex_lock(&kit_lock);
    if (bytes.size >= 4)
        memcpy(&number, bytes.data, 4);
    if (worker >= KIT_WORKERS || bytes.size < 4 || number != node->next[from][worker]++)
        node->disorder++;
    node->received[from]++;
    node->received_bytes += bytes.size;
    node->received_hash = hf_hash64(0, bytes.data, bytes.size);
    pthread_cond_broadcast(&kit_changed);
    pthread_mutex_unlock(&kit_lock);
}

static void request(void *arg, uint32_t from, hf_peer_request *asked, hf_slice bytes)
{
    kit_node *node = arg;

    (void)from;
    if (bytes.size == 4 && memcmp(bytes.data, "hold", 4) == 0) {
        pthread_mutex_lock(&kit_lock);
        if (node->held_count == KIT_HELD_MAX)
            abort(); /* not on the test's thread, which alone may fail it */
        node->held[node->held_count++] = asked;
        pthread_cond_broadcast(&kit_changed);
        pthread_mutex_unlock(&kit_lock);
    } else if (bytes.size == 4 && memcmp(bytes.data, "loop", 4) == 0) {
        hf_peers_respond(asked, HF_OK, hf_slice_of(hf_loop_current() == node->bulk ? "bulk" : "worker"));
    } else if (bytes.size == 4 && memcmp(bytes.data, "fail", 4) == 0) {
        hf_peers_respond(asked, HF_ECONFLICT, (hf_slice){(const uint8_t *)"no", 2});
    } else {
        hf_peers_respond(asked, HF_OK, bytes);
    }
}

static void link_changed(void *arg, uint32_t other, int32_t up)
{
    kit_node *node = arg;

    pthread_mutex_lock(&kit_lock);
    node->up[other] += up ? 1 : UINT32_MAX;
    pthread_cond_broadcast(&kit_changed);
    pthread_mutex_unlock(&kit_lock);
}

const hf_peer_handlers kit_handlers = {
    .size = sizeof kit_handlers, .message = message, .request = request, .link = link_changed};

/* ---- Starting and stopping --------------------------------------------------------------------------------------- */

void kit_settings(kit_node *node, hf_peers_settings *ret_settings)
{
    *ret_settings = (hf_peers_settings){.main = node->main,
                                        .workers = node->workers,
                                        .worker_count = KIT_WORKERS,
                                        .bulk = node->bulk,
                                        .pool = node->pool,
                                        .cluster = node->cluster,
                                        .self = node->name,
                                        .members = node->members,
                                        .member_count = node->member_count,
                                        .certificates = node->certificates,
                                        .listener = node->listener,
                                        .queue_limit = node->queue_limit,
                                        .metrics = node->metrics};
}

void kit_start(kit_node *node)
{
    static const hf_peer_handlers nothing = {.size = sizeof nothing};
    hf_peers_settings settings;
    hf_error error = {0};

    assert_int_equal(hf_loop_create("main", &node->main, NULL), 0);
    for (int i = 0; i < KIT_WORKERS; i++)
        assert_int_equal(hf_loop_create("worker", &node->workers[i], NULL), 0);
    assert_int_equal(hf_loop_create("bulk", &node->bulk, NULL), 0);
    assert_int_equal(hf_pool_create("pool", HF_URGENCY_BACKGROUND, 1, 64, &node->pool, NULL), 0);
    assert_int_equal(hf_metrics_create(&node->metrics, NULL), 0);
    kit_settings(node, &settings);
    if (hf_peers_create(&settings, &node->peers, &error) != 0)
        fail_msg("%s", error.message);
    assert_int_equal(hf_peers_channel(node->peers, "test.first", &nothing, NULL, &node->channel, NULL), 0);
    assert_int_equal(hf_peers_channel(node->peers, "test", node->handlers, node, &node->channel, NULL), 0);
    assert_int_equal(hf_peers_start(node->peers, NULL), 0);
    assert_int_equal(hf_loop_thread_start(node->main, HF_URGENCY_SERVE, NULL), 0);
    for (int i = 0; i < KIT_WORKERS; i++)
        assert_int_equal(hf_loop_thread_start(node->workers[i], HF_URGENCY_SERVE, NULL), 0);
    assert_int_equal(hf_loop_thread_start(node->bulk, HF_URGENCY_BULK, NULL), 0);
}

static void stopped(void *arg)
{
    kit_node *node = arg;

    pthread_mutex_lock(&kit_lock);
    node->stopped = 1;
    pthread_cond_broadcast(&kit_changed);
    pthread_mutex_unlock(&kit_lock);
}

static void begin_stop(void *arg)
{
    kit_node *node = arg;

    hf_peers_stop(node->peers, stopped, node);
}

void kit_halt(kit_node *node)
{
    node->stopped = 0;
    kit_run(node->main, begin_stop, node);
    KIT_WAIT(node->stopped);
}

void kit_end(kit_node *node)
{
    hf_loop_stop(node->main);
    hf_loop_thread_join(node->main);
    for (int i = 0; i < KIT_WORKERS; i++) {
        hf_loop_stop(node->workers[i]);
        hf_loop_thread_join(node->workers[i]);
    }
    hf_loop_stop(node->bulk);
    hf_loop_thread_join(node->bulk);
    hf_pool_destroy(node->pool);
    hf_loop_destroy(node->main);
    hf_loop_destroy(node->bulk);
    for (int i = 0; i < KIT_WORKERS; i++)
        hf_loop_destroy(node->workers[i]);
    hf_peers_destroy(node->peers);
    hf_metrics_destroy(node->metrics);
    node->peers = NULL;
    memset(node->up, 0, sizeof node->up);
    memset(node->received, 0, sizeof node->received);
    memset(node->next, 0, sizeof node->next);
    node->held_count = 0;
}

void kit_stop(kit_node *node)
{
    kit_halt(node);
    kit_end(node);
}

/* ---- Fixtures of a test ------------------------------------------------------------------------------------------ */

static int open_listener(uint16_t *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 512), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

int kit_set_up(void **state)
{
    if (kit_prepare(state) != 0)
        return -1;
    for (uint32_t i = 0; i < KIT_NODES; i++)
        kit_start(&kit_nodes[i]);
    for (uint32_t i = 0; i < KIT_NODES; i++)
        for (uint32_t j = 0; j < i; j++)
            kit_wait_linked(&kit_nodes[i], &kit_nodes[j]);
    return 0;
}

/* No handler hears of the bulk loop's link, so it is asked for. */
static void wait_all_up(const kit_node *node, const char *other)
{
    char series[64];
    uint64_t until = hf_clock_us() + 40000000;

    snprintf(series, sizeof series, "holdfast_peer_link_up{node=\"%s\"}", other);
    while (kit_metric(node, series) != KIT_LANES) {
        if (hf_clock_us() > until)
            fail_msg("%s has not all its links to %s", node->name, other);
        usleep(1000);
    }
}

void kit_wait_linked(const kit_node *one, const kit_node *other)
{
    KIT_WAIT(one->up[other - kit_nodes] == KIT_WORKERS && other->up[one - kit_nodes] == KIT_WORKERS);
    wait_all_up(one, other->name);
    wait_all_up(other, one->name);
}

int kit_tear_down(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < KIT_NODES; i++) {
        if (kit_nodes[i].peers)
            kit_stop(&kit_nodes[i]);
        close(kit_nodes[i].listener);
    }
    return 0;
}

void kit_prepare_nodes(void)
{
    static const char *const names[KIT_NODES] = {"n1", "n2", "n3"};

    memset(kit_nodes, 0, sizeof kit_nodes);
    for (uint32_t i = 0; i < KIT_NODES; i++) {
        kit_node *node = &kit_nodes[i];
        node->name = names[i];
        node->certificates = kit_directory;
        node->cluster = "test";
        node->queue_limit = KIT_QUEUE_LIMIT;
        node->member_count = KIT_NODES;
        node->handlers = &kit_handlers;
        node->listener = open_listener(&node->port);
    }
    for (uint32_t i = 0; i < KIT_NODES; i++)
        for (uint32_t j = 0; j < KIT_NODES; j++) {
            kit_node *node = &kit_nodes[i];
            snprintf(node->addresses[j], sizeof node->addresses[j], "127.0.0.1:%u", kit_nodes[j].port);
            node->members[j] = (hf_peer_member){names[j], node->addresses[j], ""};
        }
}
