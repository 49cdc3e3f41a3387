/* The state directory; see state.h. */
#include "daemon/state.h"

#include "folder.h"

#include <errno.h>
#include <fcntl.h>
#include <holdfast/lib/error.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_SIZE = 4096 };

int32_t hf_state_make(const char *directory, hf_error *error)
{
    char path[PATH_SIZE];
    struct stat status;

    if ((size_t)snprintf(path, sizeof path, "%s", directory) >= sizeof path)
        return hf_error_set(error, HF_EINVAL, "the state directory's path is too long: '%s'", directory);
    for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        int32_t result = hf_folder_make(path, 0755, error);

        if (result != HF_OK)
            return result;
        *slash = '/';
    }
    int32_t result = hf_folder_make(path, 0700, error);

    if (result != HF_OK)
        return result;
    if (stat(path, &status) != 0 || access(path, W_OK | X_OK) != 0)
        return hf_error_set_errno(error, HF_EIO, errno, "cannot use the folder '%s'", path);
    if (!S_ISDIR(status.st_mode))
        return hf_error_set(error, HF_EIO, "'%s' is not a folder, expected one for the node's state", path);
    return 0;
}

int32_t hf_state_lock(const char *directory, const char *name, int32_t *ret_fd, hf_error *error)
{
    char path[PATH_SIZE];

    if ((size_t)snprintf(path, sizeof path, "%s/%s", directory, name) >= sizeof path)
        return hf_error_set(error, HF_EINVAL, "the state directory's path is too long: '%s'", directory);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return hf_error_set_errno(error, HF_EIO, errno, "cannot open '%s'", path);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        *ret_fd = fd;
        return 0;
    }
    int32_t result =
        errno == EWOULDBLOCK
            ? hf_error_set(error, HF_EBUSY,
                           "another holdfastd uses the state directory '%s'; stop it, or give this node a directory of "
                           "its own",
                           directory)
            : hf_error_set_errno(error, HF_EIO, errno, "cannot lock '%s'", path);
    close(fd);
    return result;
}
