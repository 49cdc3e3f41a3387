/* Starts one child process; see child.h. */
#include "child.h"

#include "blackbox.h"
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

enum { FIRST_LISTENER = 3, PARKED = 512, MOST_LISTENERS = 256 };

/* Moves the descriptors first out of the way, then into place, because source and target numbers may overlap. */
static int place_descriptors(const int32_t *listeners, uint32_t count, int32_t blackbox_fd, int *report_fd)
{
    int parked_report = fcntl(*report_fd, F_DUPFD_CLOEXEC, PARKED);
    int parked_box = fcntl(blackbox_fd, F_DUPFD_CLOEXEC, PARKED);
    int parked[MOST_LISTENERS];

    if (parked_report < 0 || parked_box < 0)
        return -1;
    for (uint32_t i = 0; i < count; i++)
        if ((parked[i] = fcntl(listeners[i], F_DUPFD_CLOEXEC, PARKED)) < 0)
            return -1;
    for (uint32_t i = 0; i < count; i++)
        if (dup2(parked[i], FIRST_LISTENER + (int)i) < 0)
            return -1;
    if (dup2(parked_box, FIRST_LISTENER + (int)count) < 0)
        return -1;
    *report_fd = parked_report;
    return 0;
}

static int set_environment(uint32_t listener_count, const char *death)
{
    char text[16];

    snprintf(text, sizeof text, "%u", listener_count);
    if (setenv(HF_LISTENERS_ENVIRONMENT, text, 1) < 0)
        return -1;
    if ((death ? setenv(HF_DEATH_ENVIRONMENT, death, 1) : unsetenv(HF_DEATH_ENVIRONMENT)) < 0)
        return -1;
    snprintf(text, sizeof text, "%u", FIRST_LISTENER + listener_count);
    return setenv(HF_BLACKBOX_ENVIRONMENT, text, 1);
}

/* In the child, between fork and exec.  A failure is reported through a pipe that a successful exec closes. */
_Noreturn static void become(const char *const *argv, const int32_t *listeners, uint32_t listener_count,
                             int32_t blackbox_fd, const char *death, int report_fd, pid_t parent)
{
    sigset_t none;

    sigemptyset(&none);
    if (sigprocmask(SIG_SETMASK, &none, NULL) == 0 && prctl(PR_SET_PDEATHSIG, SIGTERM) == 0 &&
        place_descriptors(listeners, listener_count, blackbox_fd, &report_fd) == 0 &&
        set_environment(listener_count, death) == 0) {
        if (getppid() != parent)
            _exit(0); /* the parent died before prctl took effect */
        execv(argv[0], (char *const *)(uintptr_t)argv);
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

int32_t hf_child_spawn(const char *const *argv, const int32_t *listeners, uint32_t listener_count, int32_t blackbox_fd,
                       const char *death, int32_t *ret_pid, int32_t *ret_pid_fd, hf_error *error)
{
    pid_t parent = getpid();
    int report[2];

    if (listener_count > MOST_LISTENERS)
        return hf_error_set(error, HF_ETOOLARGE, "%u listeners for '%s', at most %d can be handed over", listener_count,
                            argv[0], MOST_LISTENERS);
    if (pipe2(report, O_CLOEXEC) < 0)
        return hf_error_set_errno(error, HF_EIO, errno, "cannot start '%s'", argv[0]);

    pid_t pid = fork();
    if (pid == 0)
        become(argv, listeners, listener_count, blackbox_fd, death, report[1], parent);
    int fork_errno = errno;
    (void)close(report[1]);
    int32_t result = pid < 0 ? hf_error_set_errno(error, HF_EIO, fork_errno, "cannot start '%s'", argv[0])
                             : wait_for_exec(report[0], pid, argv[0], error);
    (void)close(report[0]);
    if (result)
        return result;

    int pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pid_fd < 0) {
        result = hf_error_set_errno(error, HF_EIO, errno, "cannot watch process %d (needs Linux 5.3)", (int)pid);
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        return result;
    }
    *ret_pid = pid;
    *ret_pid_fd = pid_fd;
    return 0;
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
