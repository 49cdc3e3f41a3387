/* A child for test_supervisor.c: does what its first argument says. */
#include <holdfast/lib/error.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../blackbox.h"
#include "../channel.h"
#include "../supervisor.h"
#include "log.h"

static void answer_once(void)
{
    struct pollfd listener = {3, POLLIN, 0};

    if (poll(&listener, 1, -1) != 1)
        exit(9);
    int connection = accept(3, NULL, NULL);
    if (connection < 0 || write(connection, getenv(HF_LISTENERS_ENVIRONMENT), 1) != 1)
        exit(9);
    close(connection);
}

static int open_datagrams(void)
{
    return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

/* Has one socket more held each time, until three are; the exit code is 20 and how many were. */
static void hold_one_more(const hf_channel *channel)
{
    int fd = open_datagrams();

    for (uint32_t i = 0; i < channel->held_count; i++)
        if (!hf_channel_cookie(channel->held[i]))
            exit(9);
    if (channel->held_count < 3 && hf_channel_hold(channel, &fd, 1, NULL))
        exit(9);
    if (channel->held_count == 3 && hf_channel_forget(channel, channel->held, 2, NULL))
        exit(9);
    exit(20 + (int)channel->held_count);
}

/* Says what nobody understands, more than the channel takes, and then waits: nobody may wait for it. */
static void babble(const hf_channel *channel)
{
    for (int i = 0; i < 1000; i++)
        if (send(channel->fd, "nonsense", 8, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            break;
}

int main(int count, char **arguments)
{
    const char *what = count > 1 ? arguments[1] : "";
    static hf_channel channel;

    if (hf_blackbox_attach(NULL) || hf_channel_attach(&channel, NULL))
        return 8;
    hf_log(HF_LOG_INFO, "child", "about to %s", what);
    if (strcmp(what, "abort") == 0)
        abort();
    if (strcmp(what, "exit") == 0)
        return 7;
    if (strcmp(what, "kill") == 0)
        raise(SIGKILL);
    if (strcmp(what, "answer") == 0)
        answer_once(); /* and end: the supervisor starts the next one */
    if (strcmp(what, "hold") == 0)
        hold_one_more(&channel);
    if (strcmp(what, "babble") == 0)
        babble(&channel);
    if (strcmp(what, "ready") == 0 && hf_channel_ready(&channel, NULL))
        return 9;
    if (strcmp(what, "stubborn") == 0)
        signal(SIGTERM, SIG_IGN);
    if (strcmp(what, "answer") != 0)
        for (;;)
            pause();
    return 0;
}
