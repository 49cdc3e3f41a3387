/* Shows that a way moves every byte, in order, whether by memory or by pipe and from one to the other; that it holds
 * little while the other side takes nothing; and that it passes ends on, and tells broken sockets from slow ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "stream/way.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SCRATCH_SIZE = 64 << 10, BULK = 24 << 20 };

struct world {
    int sender, from, to, receiver; /* sender -> from, way, to -> receiver */
    struct gateway_pipes pipes;
    struct gateway_way way;
    uint8_t scratch[SCRATCH_SIZE];
};

static void set_nonblocking(int fd)
{
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
}

static void make_pair(int family, int pair[2])
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;

    if (family == AF_UNIX) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    } else {
        int listener = socket(AF_INET, SOCK_STREAM, 0);

        assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
        assert_int_equal(listen(listener, 1), 0);
        assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &size), 0);
        pair[0] = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(pair[0], (struct sockaddr *)&at, sizeof at), 0);
        pair[1] = accept(listener, NULL, NULL);
        close(listener);
    }
    set_nonblocking(pair[0]);
    set_nonblocking(pair[1]);
}

static struct world *make_world(int from, int to)
{
    struct world *world = calloc(1, sizeof *world);
    int pair[2];

    make_pair(from, pair);
    world->sender = pair[0];
    world->from = pair[1];
    make_pair(to, pair);
    world->to = pair[0];
    world->receiver = pair[1];
    gateway_way_init(&world->way);
    return world;
}

static void end_world(struct world *world)
{
    gateway_way_done(&world->way, &world->pipes);
    gateway_pipes_done(&world->pipes);
    assert_int_equal(world->pipes.count, 0);
    close(world->sender);
    close(world->from);
    close(world->to);
    close(world->receiver);
    free(world);
}

static int32_t move(struct world *world)
{
    hf_buffer scratch = {.data = world->scratch, .capacity = SCRATCH_SIZE};

    if (gateway_way_waits(&world->way))
        return gateway_way_flush(&world->way, world->to, &world->pipes);
    return gateway_way_move(&world->way, world->from, world->to, &world->pipes, scratch);
}

static uint8_t byte_at(uint64_t at)
{
    return (uint8_t)(at * 31 + (at >> 11));
}

/* Sends a number of bytes in pieces through the way, and compares what comes out. */
static void carry(struct world *world, uint64_t *at, uint64_t size, uint64_t piece)
{
    static uint8_t bytes[256 << 10], got[256 << 10];
    uint64_t sent = *at, received = *at, end = *at + size;

    for (uint64_t idle = 0; received < end; idle++) {
        uint64_t part = end - sent < piece ? end - sent : piece;
        ssize_t count;

        assert_true(idle < 1000000);
        for (uint64_t i = 0; i < part; i++)
            bytes[i] = byte_at(sent + i);
        count = part ? send(world->sender, bytes, part, 0) : 0;
        sent += count > 0 ? (uint64_t)count : 0;
        assert_int_equal(move(world), GATEWAY_WAY_GOES_ON);
        while ((count = recv(world->receiver, got, sizeof got, 0)) > 0) {
            for (ssize_t i = 0; i < count; i++)
                if (got[i] != byte_at(received + (uint64_t)i))
                    fail_msg("byte %llu is wrong", (unsigned long long)(received + (uint64_t)i));
            received += (uint64_t)count;
            idle = 0;
        }
        assert_true(count < 0 && errno == EAGAIN);
    }
    *at = end;
}

static void moves_between(int from, int to)
{
    struct world *world = make_world(from, to);
    uint64_t at = 0;

    carry(world, &at, 10000, 1);
    assert_false(world->way.splices);
    carry(world, &at, BULK, 200000);
    assert_true(world->way.splices);
    carry(world, &at, 10000, 100);
    assert_false(world->way.splices); /* messages again */
    carry(world, &at, BULK, 70000);
    assert_true(world->way.splices);
    assert_int_equal(world->way.moved, at);
    assert_null(world->way.pipe); /* only what waits has one */
    end_world(world);
}

static void moves_all_bytes(void **state)
{
    (void)state;
    moves_between(AF_INET, AF_INET);
    moves_between(AF_UNIX, AF_UNIX);
    moves_between(AF_INET, AF_UNIX);
    moves_between(AF_UNIX, AF_INET);
}

static uint64_t send_all(struct world *world)
{
    static uint8_t bytes[64 << 10];
    uint64_t all = 0;
    ssize_t count;

    while ((count = send(world->sender, bytes, sizeof bytes, 0)) > 0)
        all += (uint64_t)count;
    return all;
}

static uint64_t receive_all(struct world *world)
{
    static uint8_t bytes[64 << 10];
    uint64_t all = 0;
    ssize_t count;

    while ((count = recv(world->receiver, bytes, sizeof bytes, 0)) > 0)
        all += (uint64_t)count;
    return all;
}

static void holds_little(void **state)
{
    struct world *world = make_world(AF_INET, AF_INET);
    uint64_t sent = 0, received = 0, taken;
    int stuck = 0;

    (void)state;
    for (uint64_t before = 1; stuck < 1000; stuck = sent == before ? stuck + 1 : 0) {
        before = sent;
        sent += send_all(world);
        assert_int_equal(move(world), GATEWAY_WAY_GOES_ON);
    }
    assert_true(gateway_way_waits(&world->way));
    assert_true(world->way.in_pipe + world->way.waiting.size <= GATEWAY_WAY_PIPE_SIZE);
    taken = world->way.moved;
    assert_int_equal(move(world), GATEWAY_WAY_GOES_ON);
    assert_int_equal(world->way.moved, taken); /* nothing is read that cannot go on */
    for (stuck = 0; received < sent && stuck < 1000000; stuck++) {
        received += receive_all(world);
        assert_int_equal(move(world), GATEWAY_WAY_GOES_ON);
    }
    assert_int_equal(received, sent);
    end_world(world);
}

static void passes_the_end_on(void **state)
{
    struct world *world = make_world(AF_INET, AF_INET);
    uint8_t byte = 7, got[2];

    (void)state;
    assert_int_equal(send(world->sender, &byte, 1, 0), 1);
    shutdown(world->sender, SHUT_WR);
    while (!world->way.is_passed_on)
        assert_int_equal(move(world), GATEWAY_WAY_GOES_ON);
    assert_int_equal(fcntl(world->receiver, F_SETFL, 0), 0); /* waits */
    assert_int_equal(recv(world->receiver, got, sizeof got, 0), 1);
    assert_int_equal(recv(world->receiver, got, sizeof got, 0), 0);
    /* The other direction is open. */
    assert_int_equal(send(world->receiver, &byte, 1, 0), 1);
    end_world(world);
}

static void reset(int fd)
{
    struct linger at_once = {.l_onoff = 1};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fd);
}

static void tells_broken_sockets(void **state)
{
    struct world *world = make_world(AF_INET, AF_INET);

    (void)state;
    reset(world->sender);
    assert_int_equal(move(world), GATEWAY_WAY_BROKEN);
    world->sender = -1;
    end_world(world);

    world = make_world(AF_INET, AF_INET);
    (void)send_all(world);
    reset(world->receiver);
    world->receiver = -1;
    assert_int_equal(move(world), GATEWAY_WAY_BROKEN);
    end_world(world);
}

/* What is left in a pipe must not come out in another connection. */
static void leaves_no_bytes_behind(void **state)
{
    struct world *world = make_world(AF_INET, AF_INET);

    (void)state;
    for (int stuck = 0; stuck < 1000; stuck++) {
        (void)send_all(world);
        assert_int_equal(move(world), GATEWAY_WAY_GOES_ON);
    }
    assert_true(world->way.in_pipe > 0);
    gateway_way_done(&world->way, &world->pipes);
    assert_int_equal(world->pipes.count, world->pipes.spare_count);
    gateway_way_init(&world->way);
    end_world(world);
}

/* Without pipes bytes go through memory. */
static void does_without_pipes(void **state)
{
    struct world *world = make_world(AF_INET, AF_INET);
    uint64_t at = 0;

    (void)state;
    world->pipes.count = GATEWAY_WAY_PIPES_MAX;
    carry(world, &at, BULK, 200000);
    assert_null(world->pipes.spare);
    world->pipes.count = 0;
    end_world(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moves_all_bytes),        cmocka_unit_test(holds_little),
        cmocka_unit_test(passes_the_end_on),      cmocka_unit_test(tells_broken_sockets),
        cmocka_unit_test(leaves_no_bytes_behind), cmocka_unit_test(does_without_pipes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
