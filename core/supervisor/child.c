/* Starts one child process; see child.h. */
#include "child.h"

#include "blackbox.h"
#include "channel.h"
#include "supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <holdfast/lib/error.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FIRST = 3, MOST_LISTENERS = 256, MOST = MOST_LISTENERS + 2 + HF_HELD_MAX };

/* In the order in which the child has them. */
static uint32_t list_descriptors(const hf_child_start *start, int32_t *sources)
{
    uint32_t count = start->listener_count;

    if (count)
        memcpy(sources, start->listeners, count * sizeof *sources);
    sources[count++] = start->blackbox_fd;
    sources[count++] = start->channel_fd;
    if (start->held_count)
        memcpy(sources + count, start->held, start->held_count * sizeof *sources);
    return count + start->held_count;
}

/* Moves the descriptors first out of the way, then into place, because source and target numbers may overlap. */
static int place_descriptors(const hf_child_start *start, int *report_fd)
{
    int32_t sources[MOST];
    uint32_t count = list_descriptors(start, sources);
    int behind = FIRST + (int)count;

    if ((*report_fd = fcntl(*report_fd, F_DUPFD_CLOEXEC, behind)) < 0)
        return -1;
    for (uint32_t i = 0; i < count; i++)
        if ((sources[i] = fcntl(sources[i], F_DUPFD_CLOEXEC, behind)) < 0)
            return -1;
    for (uint32_t i = 0; i < count; i++)
        if (dup2(sources[i], FIRST + (int)i) < 0)
            return -1;
    return 0;
}

static int set_number(const char *name, uint32_t number)
{
    char text[16];

    snprintf(text, sizeof text, "%u", number);
    return setenv(name, text, 1);
}

static int set_environment(const hf_child_start *start)
{
    uint32_t next = FIRST + start->listener_count;

    if ((start->death ? setenv(HF_DEATH_ENVIRONMENT, start->death, 1) : unsetenv(HF_DEATH_ENVIRONMENT)) < 0)
        return -1;
    return set_number(HF_LISTENERS_ENVIRONMENT, start->listener_count) || set_number(HF_BLACKBOX_ENVIRONMENT, next) ||
                   set_number(HF_CHANNEL_ENVIRONMENT, next + 1) || set_number(HF_HELD_ENVIRONMENT, start->held_count)
               ? -1
               : 0;
}

/* In the child, between fork and exec.  A failure is reported through a pipe that a successful exec closes. */
_Noreturn static void become(const hf_child_start *start, int report_fd, pid_t parent)
{
    sigset_t none;

    sigemptyset(&none);
    if (sigprocmask(SIG_SETMASK, &none, NULL) == 0 && prctl(PR_SET_PDEATHSIG, SIGTERM) == 0 &&
        place_descriptors(start, &report_fd) == 0 && set_environment(start) == 0) {
        if (getppid() != parent)
            _exit(0); /* the parent died before prctl took effect */
        execv(start->argv[0], (char *const *)(uintptr_t)start->argv);
    }
    int failure = errno;
    ssize_t written = write(report_fd, &failure, sizeof failure);
    _exit(written == sizeof failure ? 127 : 126);
}

static int32_t wait_for_exec(int report_fd, pid_t pid, const char *program, hf_error *error)
{
    int failure;
    ssize_t size;

    do
        size = read(report_fd, &failure, sizeof failure);
    while (size < 0 && errno == EINTR);
    if (size != sizeof failure)
        return 0;
    (void)waitpid(pid, NULL, 0);
    return hf_error_set_errno(error, HF_EIO, failure, "cannot start '%s'", program);
}

int32_t hf_child_watch(int32_t pid, int32_t *ret_pid_fd, hf_error *error)
{
    int pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);

    if (pid_fd < 0)
        return hf_error_set_errno(error, HF_EIO, errno, "cannot watch process %d (needs Linux 5.3)", (int)pid);
    *ret_pid_fd = pid_fd;
    return 0;
}

int32_t hf_child_spawn(const hf_child_start *start, int32_t *ret_pid, int32_t *ret_pid_fd, hf_error *error)
{
    const char *program = start->argv[0];
    pid_t parent = getpid();
    int report[2];

    if (start->listener_count > MOST_LISTENERS)
        return hf_error_set(error, HF_ETOOLARGE, "%u listeners for '%s', at most %d can be handed over",
                            start->listener_count, program, MOST_LISTENERS);
    if (pipe2(report, O_CLOEXEC) < 0)
        return hf_error_set_errno(error, HF_EIO, errno, "cannot start '%s'", program);

    pid_t pid = fork();
    if (pid == 0)
        become(start, report[1], parent);
    int fork_errno = errno;
    (void)close(report[1]);
    int32_t result = pid < 0 ? hf_error_set_errno(error, HF_EIO, fork_errno, "cannot start '%s'", program)
                             : wait_for_exec(report[0], pid, program, error);
    (void)close(report[0]);
    if (!result) {
        result = hf_child_watch(pid, ret_pid_fd, error);
        if (result) {
            (void)kill(pid, SIGKILL);
            (void)waitpid(pid, NULL, 0);
        }
    }
    if (!result)
        *ret_pid = pid;
    return result;
}

int32_t hf_child_reap(int32_t pid, char *cause, uint64_t capacity)
{
    int status;
    pid_t reaped;

    do
        reaped = waitpid(pid, &status, 0);
    while (reaped < 0 && errno == EINTR);
    if (reaped < 0) {
        snprintf(cause, capacity, "unknown: %s", strerrordesc_np(errno));
        return 0;
    }
    if (WIFSIGNALED(status))
        snprintf(cause, capacity, "killed by signal %d (%s)%s", WTERMSIG(status), sigdescr_np(WTERMSIG(status)),
                 WCOREDUMP(status) ? ", core dumped" : "");
    else
        snprintf(cause, capacity, "exited with code %d", WEXITSTATUS(status));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
