/* Shows what a child can say to its supervisor, and that what it should not say harms nobody: sockets are held once and
 * within bounds, others are closed, and no descriptor is left open. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../channel.h"

struct fixture {
    int32_t own; /* the supervisor's end */
    hf_channel child;
    hf_held held;
    int open_before;
};

static int open_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int count = 0;

    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

static int set_up(void **state)
{
    static struct fixture fixture;

    memset(&fixture, 0, sizeof fixture);
    *state = &fixture;
    fixture.open_before = open_descriptors();
    return hf_channel_create(&fixture.own, &fixture.child.fd, NULL);
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    hf_held_clear(&fixture->held);
    close(fixture->own);
    if (fixture->child.fd >= 0)
        close(fixture->child.fd);
    return open_descriptors() != fixture->open_before;
}

static int datagrams(void)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    return fd;
}

static int32_t receive(struct fixture *fixture, uint32_t most)
{
    int32_t ready = 0;

    return hf_channel_receive(fixture->own, &fixture->held, most, &ready, NULL);
}

static void hold_and_close(struct fixture *fixture, int fd)
{
    assert_int_equal(hf_channel_hold(&fixture->child, &fd, 1, NULL), 0);
    close(fd);
}

static void sockets_are_held_once_and_forgotten(void **state)
{
    struct fixture *fixture = *state;
    int32_t sockets[2] = {datagrams(), datagrams()}, twice[3] = {sockets[0], sockets[1], sockets[0]};

    assert_int_equal(hf_channel_hold(&fixture->child, twice, 3, NULL), 0);
    assert_int_equal(hf_channel_hold(&fixture->child, sockets, 2, NULL), 0);
    assert_int_equal(receive(fixture, 10), 0);
    assert_int_equal(receive(fixture, 10), 0);
    assert_int_equal(receive(fixture, 10), HF_ENOTFOUND);
    assert_int_equal(fixture->held.count, 2);
    assert_int_equal(hf_channel_cookie(fixture->held.descriptors[1]), hf_channel_cookie(sockets[1]));
    assert_int_not_equal(fcntl(fixture->held.descriptors[0], F_GETFD) & FD_CLOEXEC, 0);

    assert_int_equal(hf_channel_forget(&fixture->child, &sockets[0], 1, NULL), 0);
    assert_int_equal(hf_channel_forget(&fixture->child, &sockets[0], 1, NULL), 0);
    assert_int_equal(receive(fixture, 10), 0);
    assert_int_equal(receive(fixture, 10), 0);
    assert_int_equal(fixture->held.count, 1);
    assert_int_equal(hf_channel_cookie(fixture->held.descriptors[0]), hf_channel_cookie(sockets[1]));
    close(sockets[0]);
    close(sockets[1]);
}

static void more_than_one_message_has_room_for(void **state)
{
    struct fixture *fixture = *state;
    int32_t sockets[HF_CHANNEL_BATCH + 6];

    for (uint32_t i = 0; i < HF_CHANNEL_BATCH + 6; i++)
        sockets[i] = datagrams();
    assert_int_equal(hf_channel_hold(&fixture->child, sockets, HF_CHANNEL_BATCH + 6, NULL), 0);
    assert_int_equal(receive(fixture, HF_HELD_MAX), 0);
    assert_int_equal(receive(fixture, HF_HELD_MAX), 0);
    assert_int_equal(fixture->held.count, HF_CHANNEL_BATCH + 6);
    assert_int_equal(hf_channel_forget(&fixture->child, sockets, HF_CHANNEL_BATCH + 6, NULL), 0);
    assert_int_equal(receive(fixture, HF_HELD_MAX), 0);
    assert_int_equal(receive(fixture, HF_HELD_MAX), 0);
    assert_int_equal(fixture->held.count, 0);
    for (uint32_t i = 0; i < HF_CHANNEL_BATCH + 6; i++)
        close(sockets[i]);
}

static void what_a_dead_child_has_said_is_heard(void **state)
{
    struct fixture *fixture = *state;
    int32_t ready = 0;

    hold_and_close(fixture, datagrams());
    assert_int_equal(hf_channel_ready(&fixture->child, NULL), 0);
    close(fixture->child.fd);
    fixture->child.fd = -1;
    assert_int_equal(receive(fixture, 10), 0);
    assert_int_equal(fixture->held.count, 1);
    assert_int_equal(hf_channel_receive(fixture->own, &fixture->held, 10, &ready, NULL), 0);
    assert_int_equal(ready, 1);
    assert_int_equal(receive(fixture, 10), HF_ECLOSED);
}

static void no_more_than_allowed(void **state)
{
    struct fixture *fixture = *state;
    hf_error error = {0};
    int32_t ready = 0;

    for (int i = 0; i < 3; i++)
        hold_and_close(fixture, datagrams());
    assert_int_equal(receive(fixture, 2), 0);
    assert_int_equal(receive(fixture, 2), 0);
    assert_int_equal(hf_channel_receive(fixture->own, &fixture->held, 2, &ready, &error), HF_ETOOLARGE);
    assert_non_null(strstr(error.message, "at most 2 can be"));
    assert_int_equal(fixture->held.count, 2);
}

static void what_is_no_listener_is_refused(void **state)
{
    struct fixture *fixture = *state;

    hold_and_close(fixture, open("/dev/null", O_RDONLY | O_CLOEXEC));
    assert_int_equal(receive(fixture, 10), HF_EPROTOCOL);
    hold_and_close(fixture, socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)); /* it does not listen */
    assert_int_equal(receive(fixture, 10), HF_EPROTOCOL);
    assert_int_equal(hf_channel_hold(&fixture->child, &fixture->child.fd, 1, NULL), 0); /* itself */
    assert_int_equal(receive(fixture, 10), HF_EPROTOCOL);
    assert_int_equal(fixture->held.count, 0);
}

static void send_bytes(struct fixture *fixture, const void *bytes, size_t size)
{
    assert_int_equal(send(fixture->child.fd, bytes, size, 0), size);
}

static void nonsense_is_refused(void **state)
{
    struct fixture *fixture = *state;
    static const uint32_t huge[132] = {0x48464348, 2, 0xffffffff}, unknown[132] = {0x48464348, 77, 1};
    static const char large[4096];

    send_bytes(fixture, "x", 1);
    assert_int_equal(receive(fixture, 10), HF_EPROTOCOL);
    send_bytes(fixture, large, sizeof large);
    assert_int_equal(receive(fixture, 10), HF_EPROTOCOL);
    send_bytes(fixture, huge, sizeof huge);
    assert_int_equal(receive(fixture, 10), HF_EPROTOCOL);
    send_bytes(fixture, unknown, sizeof unknown); /* of a newer child */
    assert_int_equal(receive(fixture, 10), 0);
    assert_int_equal(receive(fixture, 10), HF_ENOTFOUND);
}

static void without_a_supervisor_nothing_happens(void **state)
{
    hf_channel channel;
    int32_t fd = 0;
    hf_error error = {0};

    (void)state;
    unsetenv(HF_CHANNEL_ENVIRONMENT);
    assert_int_equal(hf_channel_attach(&channel, NULL), HF_ENOTFOUND);
    assert_int_equal(channel.fd, -1);
    assert_int_equal(hf_channel_hold(&channel, &fd, 1, NULL), 0);
    assert_int_equal(hf_channel_forget(&channel, &fd, 1, NULL), 0);
    assert_int_equal(hf_channel_ready(&channel, NULL), 0);
    setenv(HF_CHANNEL_ENVIRONMENT, "5x", 1);
    assert_int_equal(hf_channel_attach(&channel, &error), HF_EINVAL);
    assert_string_equal(error.message, "HOLDFAST_CHANNEL is '5x', expected a number from 3 to 1048576");
    setenv(HF_CHANNEL_ENVIRONMENT, "999", 1);
    assert_int_equal(hf_channel_attach(&channel, &error), HF_EINVAL);
    assert_string_equal(error.message, "HOLDFAST_HELD is missing");
    setenv(HF_HELD_ENVIRONMENT, "0", 1);
    assert_int_equal(hf_channel_attach(&channel, NULL), HF_EIO);
    unsetenv(HF_HELD_ENVIRONMENT);
    unsetenv(HF_CHANNEL_ENVIRONMENT);
}

#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FIXTURE(sockets_are_held_once_and_forgotten),      WITH_FIXTURE(more_than_one_message_has_room_for),
        WITH_FIXTURE(what_a_dead_child_has_said_is_heard),      WITH_FIXTURE(no_more_than_allowed),
        WITH_FIXTURE(what_is_no_listener_is_refused),           WITH_FIXTURE(nonsense_is_refused),
        cmocka_unit_test(without_a_supervisor_nothing_happens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
