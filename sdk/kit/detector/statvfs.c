/* statvfs with a script; see statvfs.h. */
#include "statvfs.h"

#include <dlfcn.h>
#include <errno.h>
#include <holdfast/holdfast.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/statvfs.h>

enum { BLOCKS = 1000000, BLOCK_SIZE = 4096 };

static _Atomic int32_t script, percent_free;
static _Atomic uint64_t calls;

void kit_statvfs_script(int32_t mode, int32_t percent)
{
    atomic_store(&percent_free, percent);
    atomic_store(&script, mode);
}

uint64_t kit_statvfs_calls(void)
{
    return atomic_load(&calls);
}

static int real(const char *path, struct statvfs *status)
{
    int (*function)(const char *, struct statvfs *) = NULL;

    *(void **)&function = dlsym(RTLD_NEXT, "statvfs");
    if (!function) {
        errno = ENOSYS;
        return -1;
    }
    return function(path, status);
}

HF_EXPORT int statvfs(const char *restrict path, struct statvfs *restrict ret_status)
{
    int32_t mode = atomic_load(&script);

    if (mode == KIT_STATVFS_REAL)
        return real(path, ret_status);
    atomic_fetch_add(&calls, 1);
    if (mode == KIT_STATVFS_MISSING) {
        errno = EIO;
        return -1;
    }
    memset(ret_status, 0, sizeof *ret_status);
    ret_status->f_bsize = ret_status->f_frsize = BLOCK_SIZE;
    ret_status->f_blocks = mode == KIT_STATVFS_EMPTY ? 0 : BLOCKS;
    ret_status->f_bfree = (fsblkcnt_t)BLOCKS / 100 * (fsblkcnt_t)atomic_load(&percent_free);
    if (mode == KIT_STATVFS_EMPTY)
        ret_status->f_bfree = 0;
    if (mode == KIT_STATVFS_NEGATIVE)
        ret_status->f_bfree = (fsblkcnt_t)-100;
    ret_status->f_bavail = ret_status->f_bfree;
    return 0;
}
