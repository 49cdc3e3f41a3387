/* The black box: a memfd shared by the supervisor and one child; see blackbox.h. */
#include "blackbox.h"

#include "log.h"

#include <errno.h>
#include <execinfo.h>
#include <holdfast/lib/error.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The backtrace is a text file of its own, because backtrace_symbols_fd writes to a descriptor. */
struct shared {
    char ring[HF_LOG_RING_SIZE];
};

struct hf_blackbox {
    int fd;
    struct shared *shared;
};

enum { BACKTRACE_AT = sizeof(struct shared), MOST_FRAMES = 64 };

static int crash_fd = -1;

int32_t hf_blackbox_adopt(int32_t fd, hf_blackbox **ret_box, hf_error *error)
{
    hf_blackbox *box = calloc(1, sizeof *box);

    if (!box) {
        (void)close(fd); /* it is memory */
        return hf_error_set(error, HF_ENOMEM, "no memory for a black box");
    }
    box->fd = fd;
    box->shared = mmap(NULL, sizeof *box->shared, PROT_READ, MAP_SHARED, box->fd, 0);
    if (box->shared == MAP_FAILED) {
        int32_t result = hf_error_set_errno(error, HF_EIO, errno, "cannot map a black box");
        box->shared = NULL;
        hf_blackbox_destroy(box);
        return result;
    }
    *ret_box = box;
    return 0;
}

int32_t hf_blackbox_create(hf_blackbox **ret_box, int32_t *ret_fd, hf_error *error)
{
    int fd = memfd_create("holdfast-blackbox", MFD_CLOEXEC);

    if (fd < 0 || ftruncate(fd, sizeof(struct shared)) != 0) {
        int32_t result = hf_error_set_errno(error, HF_EIO, errno, "cannot create a black box");
        if (fd >= 0)
            (void)close(fd); /* it is memory */
        return result;
    }
    int32_t result = hf_blackbox_adopt(fd, ret_box, error);
    if (!result)
        *ret_fd = fd;
    return result;
}

int32_t hf_blackbox_fd(const hf_blackbox *box)
{
    return box->fd;
}

void hf_blackbox_destroy(hf_blackbox *box)
{
    if (!box)
        return;
    if (box->shared)
        (void)munmap(box->shared, sizeof *box->shared);
    if (box->fd >= 0)
        (void)close(box->fd); /* it is memory */
    free(box);
}

/* ---- In the child -------------------------------------------------------------------------------------------- */

/* Runs in a signal handler: only async-signal-safe calls.  backtrace() is one after its first use, which loads the
 * unwinder: attach calls it once. */
static void on_fatal_signal(int number)
{
    void *frames[MOST_FRAMES];

    int count = backtrace(frames, MOST_FRAMES);
    backtrace_symbols_fd(frames, count, crash_fd);
    /* The handler was installed with SA_RESETHAND: the signal now does what it would have done. */
    raise(number);
}

static int32_t install_handlers(hf_error *error)
{
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS};
    struct sigaction action = {.sa_handler = on_fatal_signal,
                               .sa_flags = (int)(SA_RESETHAND | SA_NODEFER | SA_ONSTACK)};
    static char stack[65536]; /* so that a stack overflow can be reported too */
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    void *frame;

    (void)backtrace(&frame, 1);
    if (sigaltstack(&alternate, NULL) < 0)
        return hf_error_set_errno(error, HF_EIO, errno, "cannot set up a stack for fatal signals");
    for (size_t i = 0; i < sizeof fatal / sizeof fatal[0]; i++)
        if (sigaction(fatal[i], &action, NULL) < 0)
            return hf_error_set_errno(error, HF_EIO, errno, "cannot handle signal %d", fatal[i]);
    return 0;
}

int32_t hf_blackbox_attach(hf_error *error)
{
    const char *text = getenv(HF_BLACKBOX_ENVIRONMENT);
    char *end;

    if (!text)
        return HF_ENOTFOUND;
    long fd = strtol(text, &end, 10);
    if (*end || end == text || fd < 3 || fd > 1 << 20)
        return hf_error_set(error, HF_EINVAL, "%s is '%s', expected the number of a descriptor",
                            HF_BLACKBOX_ENVIRONMENT, text);
    struct shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, (int)fd, 0);
    if (shared == MAP_FAILED || lseek((int)fd, BACKTRACE_AT, SEEK_SET) < 0)
        return hf_error_set_errno(error, HF_EIO, errno, "cannot map the black box");
    crash_fd = (int)fd;
    hf_log_share_ring(shared->ring);
    return install_handlers(error);
}

/* ---- After the death ----------------------------------------------------------------------------------------- */

void hf_blackbox_read_backtrace(const hf_blackbox *box, char *text, uint64_t capacity)
{
    ssize_t size = pread(box->fd, text, capacity - 1, BACKTRACE_AT);

    text[size > 0 ? size : 0] = '\0';
}

void hf_blackbox_read_log(const hf_blackbox *box, char *text, uint64_t capacity)
{
    text[hf_log_read_ring(box->shared->ring, text, capacity - 1)] = '\0';
}
