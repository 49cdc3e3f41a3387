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

int main(int count, char **arguments)
{
    const char *what = count > 1 ? arguments[1] : "";

    if (hf_blackbox_attach(NULL))
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
    if (strcmp(what, "stubborn") == 0)
        signal(SIGTERM, SIG_IGN);
    if (strcmp(what, "answer") != 0)
        for (;;)
            pause();
    return 0;
}
