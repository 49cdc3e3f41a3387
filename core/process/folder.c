/* Folders that are still there after a power cut; see folder.h. */
#include "folder.h"

#include <errno.h>
#include <fcntl.h>
#include <holdfast/lib/error.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int sync_parent(const char *path)
{
    char parent[PATH_MAX];

    snprintf(parent, sizeof parent, "%s", path);
    char *slash = strrchr(parent, '/');

    if (slash)
        slash[slash == parent] = '\0';
    int folder = open(slash ? parent : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result = folder < 0 ? -1 : fsync(folder), failure = errno;

    if (folder >= 0)
        (void)close(folder); /* it was only flushed */
    errno = failure;
    return result;
}

int32_t hf_folder_make(const char *path, uint32_t mode, hf_error *error)
{
    if (strlen(path) >= PATH_MAX)
        return hf_error_set(error, HF_EINVAL, "the folder's path is too long: '%s'", path);
    if (mkdir(path, (mode_t)mode) != 0)
        return errno == EEXIST ? HF_OK : hf_error_set_errno(error, HF_EIO, errno, "cannot make the folder '%s'", path);
    if (sync_parent(path) == 0)
        return HF_OK;
    int failure = errno;

    (void)rmdir(path); /* so that the next start flushes it */
    return hf_error_set_errno(error, HF_EIO, failure, "cannot make the folder '%s' durable", path);
}
