/* Shows what sockets are opened, taken from a predecessor and refused; what is handed over at a restart in place, and
 * is not understood, is refused as well. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/handover.h"
#include "daemon/listen.h"

static hf_listen_place place_of(int32_t type, const char *address)
{
    hf_listen_place place;

    assert_int_equal(hf_listen_resolve(type, address, &place, NULL), 0);
    return place;
}

static void places_are_told_apart(void **state)
{
    static const struct {
        const char *one, *other;
        int same, overlap;
    } cases[] = {
        {"127.0.0.1:80", "127.0.0.1:80", 1, 1}, {"127.0.0.1:80", "127.0.0.1:81", 0, 0},
        {"127.0.0.1:80", "127.0.0.2:80", 0, 0}, {"127.0.0.1:80", "0.0.0.0:80", 0, 1},
        {"127.0.0.1:80", "0.0.0.0:81", 0, 0},   {"127.0.0.1:80", "[::]:80", 0, 1},
        {"[::1]:80", "0.0.0.0:80", 0, 0},       {"[::1]:80", "[::]:80", 0, 1},
        {"[::]:80", "0.0.0.0:80", 0, 1},        {"unix:/a", "unix:/a", 1, 1},
        {"unix:/a", "unix:/ab", 0, 0},          {"unix:/a", "0.0.0.0:80", 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hf_listen_place one = place_of(HF_LISTEN_STREAM, cases[i].one);
        hf_listen_place other = place_of(HF_LISTEN_STREAM, cases[i].other);
        assert_int_equal(hf_listen_same(&one, &other), cases[i].same);
        assert_int_equal(hf_listen_overlap(&one, &other), cases[i].overlap);
        assert_int_equal(hf_listen_overlap(&other, &one), cases[i].overlap);
        other.type = HF_LISTEN_DATAGRAM;
        assert_false(hf_listen_overlap(&one, &other));
    }
}

static void bad_addresses_are_refused(void **state)
{
    char long_path[300] = "unix:";
    const char *const addresses[] = {"nonsense", "unix:", "127.0.0.1:http2", long_path};
    hf_listen_place place;

    (void)state;
    memset(long_path + 5, 'x', 200);
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++)
        assert_int_equal(hf_listen_resolve(HF_LISTEN_STREAM, addresses[i], &place, NULL), HF_EINVAL);
}

/* An address at which nothing listens, with its text.  Below the ports that the kernel gives to outgoing connections of
 * other programs, which could take it meanwhile. */
static hf_listen_place free_place(int32_t type, char text[64])
{
    static int port;
    hf_listen_place place;
    int32_t fd;

    port = port ? port : 10000 + getpid() % 20000;
    do {
        snprintf(text, 64, "127.0.0.1:%d", ++port);
        place = place_of(type, text);
    } while (hf_listen_at(&place, text, 1, NULL, &fd, NULL) != 0);
    close(fd);
    return place;
}

static int connect_to(const hf_listen_place *place)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (const struct sockaddr *)&place->address, place->size), 0);
    return fd;
}

/* Connects until every socket but the last has something in its queue. */
static uint32_t fill_queues(const hf_listen_place *place, const int32_t *sockets, uint32_t count, int clients[100])
{
    uint32_t used = 0, filled = 0;

    while (filled < count - 1 && used < 100) {
        clients[used++] = connect_to(place);
        filled = 0;
        for (uint32_t i = 0; i < count; i++) {
            fd_set readable;
            struct timeval now = {0};
            FD_ZERO(&readable);
            FD_SET(sockets[i], &readable);
            filled += select(sockets[i] + 1, &readable, NULL, NULL, &now) == 1;
        }
    }
    return used;
}

static void the_fullest_are_taken_and_more_are_opened(void **state)
{
    char address[64];
    hf_listen_place place = free_place(HF_LISTEN_STREAM, address);
    int32_t sockets[3], taken[5];
    int clients[100];

    (void)state;
    assert_int_equal(hf_listen_at(&place, address, 3, NULL, sockets, NULL), 0);
    uint32_t client_count = fill_queues(&place, sockets, 3, clients);
    int32_t held[4] = {sockets[0], socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), sockets[1], sockets[2]};
    hf_listen_pool pool = {held, 4};
    assert_int_equal(hf_listen_at(&place, address, 2, &pool, taken, NULL), 0);
    assert_int_equal(pool.count, 2); /* the one that is of another kind, and the emptiest */
    for (int i = 0; i < 2; i++) {
        int connection = accept(taken[i], NULL, NULL);
        assert_true(connection >= 0);
        close(connection);
    }
    assert_int_equal(hf_listen_at(&place, address, 3, &pool, &taken[2], NULL), 0); /* one is left, two are new */
    assert_int_equal(pool.count, 1);
    for (int i = 0; i < 5; i++)
        close(taken[i]);
    close(held[0]);
    for (uint32_t i = 0; i < client_count; i++)
        close(clients[i]);
}

static void a_stranger_is_seen(void **state)
{
    (void)state;
    for (int32_t type = HF_LISTEN_STREAM; type <= HF_LISTEN_DATAGRAM; type++) {
        char address[64];
        hf_listen_place place = free_place(type, address);
        int32_t stranger, sockets[2];
        hf_error error;

        assert_int_equal(hf_listen(type, address, 1, NULL, &stranger, NULL), 0);
        assert_int_equal(hf_listen(type, address, 2, NULL, sockets, &error), HF_EIO);
        assert_non_null(strstr(error.message, "another program is there already; end it, or choose another address"));
        close(stranger);
        assert_int_equal(hf_listen_at(&place, address, 2, NULL, sockets, &error), 0);
        close(sockets[0]);
        close(sockets[1]);
    }
}

/* What closed last is in TIME_WAIT: nobody listens there. */
static void who_was_there_before_is_no_stranger(void **state)
{
    char address[64];
    hf_listen_place place = free_place(HF_LISTEN_STREAM, address);
    int32_t fd;

    (void)state;
    assert_int_equal(hf_listen_at(&place, address, 1, NULL, &fd, NULL), 0);
    int client = connect_to(&place), connection = accept(fd, NULL, NULL);
    close(connection); /* first: its side waits */
    close(client);
    close(fd);
    assert_int_equal(hf_listen_at(&place, address, 1, NULL, &fd, NULL), 0);
    close(fd);
}

static void a_failure_leaves_the_pool_as_it_was(void **state)
{
    hf_listen_place place;
    int32_t held[1], many[1];
    hf_listen_pool pool = {held, 1};
    char address[64];

    (void)state;
    place = free_place(HF_LISTEN_STREAM, address);
    assert_int_equal(hf_listen_at(&place, address, 1, NULL, held, NULL), 0);
    assert_int_equal(hf_listen_at(&place, address, HF_LISTEN_COUNT_MAX + 1, &pool, many, NULL), HF_EINVAL);
    assert_int_equal(hf_listen_at(&place, address, 0, &pool, many, NULL), HF_EINVAL);
    assert_int_equal(pool.count, 1);
    close(held[0]);
}

/* ---- Handing over ------------------------------------------------------------------------------------------------ */

static int32_t take(const char *text, hf_error *error)
{
    hf_handover handover;
    char number[16];
    int fd = memfd_create("test", 0);

    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    snprintf(number, sizeof number, "%d", fd);
    setenv("HOLDFAST_HANDOVER", number, 1);
    int32_t result = hf_handover_take(&handover, error);
    assert_null(getenv("HOLDFAST_HANDOVER"));
    assert_int_equal(hf_handover_lock(&handover, "/state"), -1);
    assert_null(hf_handover_child(&handover, "main"));
    hf_handover_done(&handover);
    return result;
}

static void only_what_is_understood_is_taken_over(void **state)
{
    hf_handover handover;
    hf_error error;

    (void)state;
    unsetenv("HOLDFAST_HANDOVER");
    assert_int_equal(hf_handover_take(&handover, NULL), HF_ENOTFOUND);
    hf_handover_done(&handover);
    assert_int_equal(take("{\"version\":\"1\"", &error), HF_EINVAL);
    assert_int_equal(take("{\"version\":1}", &error), HF_EVERSION);
    assert_int_equal(take("[]", &error), HF_EVERSION);
    assert_int_equal(take("{\"version\":\"2\",\"children\":[]}", &error), HF_EVERSION);
    assert_string_equal(error.message, "this program cannot go on from the running one, whose state has version 2, "
                                       "expected 1; stop holdfastd and start it again");
    assert_int_equal(take("{\"version\":\"1\",\"lock\":\"x\",\"children\":[3,{\"name\":\"other\"}]}", NULL), 0);
    setenv("HOLDFAST_HANDOVER", "999", 1);
    assert_int_equal(hf_handover_take(&handover, NULL), HF_EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places_are_told_apart),
        cmocka_unit_test(bad_addresses_are_refused),
        cmocka_unit_test(the_fullest_are_taken_and_more_are_opened),
        cmocka_unit_test(a_stranger_is_seen),
        cmocka_unit_test(who_was_there_before_is_no_stranger),
        cmocka_unit_test(a_failure_leaves_the_pool_as_it_was),
        cmocka_unit_test(only_what_is_understood_is_taken_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
