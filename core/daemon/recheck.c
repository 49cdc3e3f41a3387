/* One run of "--check": its output comes through a pipe, whose end is the end of the process.  See recheck.h. */
#include "daemon/recheck.h"

#include "loop/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <holdfast/lib/buffer.h>
#include <holdfast/lib/error.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OUTPUT_MAXIMUM = 128 * 1024, MOST_US = 60 * 1000000 };

struct hf_recheck {
    pid_t pid;
    int fd;
    hf_watch *watch;
    hf_timer *timer;
    hf_buffer output;
    int late;
    hf_recheck_done done;
    void *arg;
};

/* In the child, between fork and exec. */
_Noreturn static void become(const char *program, const char *path, const char *handover, int output)
{
    const char *argv[] = {program, "--check", "--config", path, handover ? "--handover" : NULL, handover, NULL};
    sigset_t none;

    sigemptyset(&none);
    if (dup2(output, STDOUT_FILENO) >= 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 &&
        sigprocmask(SIG_SETMASK, &none, NULL) == 0)
        execv(program, (char *const *)(uintptr_t)argv);
    static const char text[] = "the configuration cannot be checked: this program cannot be started again\n";
    ssize_t written = write(output, text, sizeof text - 1);
    _exit(written > 0 ? 126 : 127);
}

static int reap(hf_recheck *recheck)
{
    int status = 0;
    pid_t reaped;

    do
        reaped = waitpid(recheck->pid, &status, 0);
    while (reaped < 0 && errno == EINTR);
    recheck->pid = 0;
    return reaped > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void hf_recheck_cancel(hf_recheck *recheck)
{
    if (!recheck)
        return;
    hf_watch_destroy(recheck->watch);
    hf_timer_destroy(recheck->timer);
    if (recheck->fd >= 0)
        close(recheck->fd);
    if (recheck->pid > 0) {
        kill(recheck->pid, SIGKILL); /* it is ours and not reaped yet */
        reap(recheck);
    }
    hf_buffer_done(&recheck->output);
    free(recheck);
}

static void finish(hf_recheck *recheck)
{
    static const char silent[] = "the configuration cannot be checked: the check ended without a word\n";
    static const char late[] = "the configuration cannot be checked: the check took more than a minute\n";
    hf_recheck_done done = recheck->done;
    void *arg = recheck->arg;
    hf_buffer output = recheck->output;
    int good = reap(recheck);

    if (recheck->late)
        hf_buffer_append(&output, late, sizeof late);
    else if (!output.size)
        hf_buffer_append(&output, silent, sizeof silent);
    else
        hf_buffer_append(&output, "", 1);
    hf_buffer_init(&recheck->output, 0); /* moved */
    hf_recheck_cancel(recheck);
    done(arg, good, output.size ? (const char *)output.data : silent);
    hf_buffer_done(&output);
}

static void overdue(void *arg)
{
    hf_recheck *recheck = arg;

    recheck->late = 1;
    kill(recheck->pid, SIGKILL); /* the pipe then ends, unless somebody else has it */
    finish(recheck);
}

static void readable(void *arg, int32_t fd, uint32_t events)
{
    hf_recheck *recheck = arg;
    char bytes[4096];
    ssize_t size = read(fd, bytes, sizeof bytes);

    (void)events;
    if (size > 0) {
        if (recheck->output.size + (uint64_t)size < OUTPUT_MAXIMUM - 1) /* what is more is not shown */
            (void)hf_buffer_append(&recheck->output, bytes, (uint64_t)size);
        return;
    }
    if (size == 0 || (errno != EAGAIN && errno != EINTR))
        finish(recheck);
}

static int32_t spawn(hf_recheck *recheck, const char *program, const char *path, const char *handover, hf_error *error)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return hf_error_set_errno(error, HF_EIO, errno, "cannot check the configuration");
    recheck->fd = ends[0];
    recheck->pid = fork();
    if (recheck->pid == 0)
        become(program, path, handover, ends[1]);
    int fork_errno = errno;
    close(ends[1]);
    if (recheck->pid < 0 || fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0)
        return hf_error_set_errno(error, HF_EIO, fork_errno, "cannot check the configuration");
    return 0;
}

int32_t hf_recheck_start(hf_loop *loop, const char *program, const char *path, const char *handover,
                         hf_recheck_done done, void *arg, hf_recheck **ret_recheck, hf_error *error)
{
    hf_recheck *recheck = calloc(1, sizeof *recheck);

    if (!recheck)
        return hf_error_set(error, HF_ENOMEM, "no memory to check the configuration");
    recheck->fd = -1;
    recheck->done = done;
    recheck->arg = arg;
    hf_buffer_init(&recheck->output, OUTPUT_MAXIMUM);
    int32_t result = hf_timer_create(loop, overdue, recheck, &recheck->timer, error);
    if (!result)
        result = spawn(recheck, program, path, handover, error);
    if (!result)
        result = hf_watch_create(loop, recheck->fd, HF_WATCH_READ, readable, recheck, &recheck->watch, error);
    if (result) {
        hf_recheck_cancel(recheck);
        return result;
    }
    hf_timer_start(recheck->timer, MOST_US, 0);
    *ret_recheck = recheck;
    return 0;
}
