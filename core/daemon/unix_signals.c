/* Signals through a signalfd; see signals.h. */
#include "daemon/unix_signals.h"

#include "loop/loop.h"

#include <errno.h>
#include <holdfast/lib/error.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct hf_unix_signals {
    int fd;
    hf_watch *watch;
    void (*function)(void *arg, int32_t number);
    void *arg;
};

static sigset_t wanted(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR2);
    return set;
}

int32_t hf_unix_signals_block(hf_error *error)
{
    sigset_t set = wanted();

    /* An ignored signal that is blocked still arrives at the signalfd; and a child that was just executed, and has not
     * come to this function yet, is not killed by a SIGHUP that is meant to make it reload, or a SIGUSR2 that is meant
     * for the supervisor alone. */
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0 || signal(SIGHUP, SIG_IGN) == SIG_ERR ||
        signal(SIGUSR2, SIG_IGN) == SIG_ERR || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return hf_error_set_errno(error, HF_EIO, errno, "cannot set up the process's signals");
    return 0;
}

static void ready(void *arg, int32_t fd, uint32_t events)
{
    hf_unix_signals *signals = arg;
    struct signalfd_siginfo info;

    (void)events;
    if (read(fd, &info, sizeof info) == sizeof info) /* one at a time: the function may destroy `signals` */
        signals->function(signals->arg, (int32_t)info.ssi_signo);
}

int32_t hf_unix_signals_watch(hf_loop *loop, void (*function)(void *arg, int32_t number), void *arg,
                              hf_unix_signals **ret_signals, hf_error *error)
{
    sigset_t set = wanted();
    hf_unix_signals *signals = calloc(1, sizeof *signals);

    if (!signals)
        return hf_error_set(error, HF_ENOMEM, "no memory for the process's signals");
    signals->function = function;
    signals->arg = arg;
    signals->fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    int32_t result = signals->fd < 0
                         ? hf_error_set_errno(error, HF_EIO, errno, "cannot receive signals")
                         : hf_watch_create(loop, signals->fd, HF_WATCH_READ, ready, signals, &signals->watch, error);
    if (result) {
        hf_unix_signals_destroy(signals);
        return result;
    }
    *ret_signals = signals;
    return 0;
}

void hf_unix_signals_destroy(hf_unix_signals *signals)
{
    if (!signals)
        return;
    hf_watch_destroy(signals->watch);
    if (signals->fd >= 0)
        close(signals->fd);
    free(signals);
}
