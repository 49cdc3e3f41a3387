/* The file operations on a real directory. */
#include "store_log.h"

#include <holdfast/lib/error.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

static int directory_of(void *context)
{
    return *(int *)context;
}

static int64_t result(int64_t r)
{
    return r < 0 ? -errno : r;
}

static int real_open(void *context, const char *name, int create)
{
    return (int)result(openat(directory_of(context), name, O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0600));
}

static void real_close(void *context, int file)
{
    (void)context;
    (void)close(file); /* what must be durable was flushed before */
}

static int64_t real_pwritev(void *context, int file, const struct iovec *parts, int count, uint64_t offset)
{
    (void)context;
    return result(pwritev(file, parts, count, (off_t)offset));
}

static int64_t real_pread(void *context, int file, void *buffer, uint64_t size, uint64_t offset)
{
    (void)context;
    return result(pread(file, buffer, size, (off_t)offset));
}

static int real_fdatasync(void *context, int file)
{
    (void)context;
    return (int)result(fdatasync(file));
}

static int real_fallocate(void *context, int file, uint64_t size)
{
    (void)context;
    return -posix_fallocate(file, 0, (off_t)size); /* also where the file system has no fallocate of its own */
}

static int real_rename(void *context, const char *from, const char *to)
{
    return (int)result(renameat(directory_of(context), from, directory_of(context), to));
}

static int real_unlink(void *context, const char *name)
{
    return (int)result(unlinkat(directory_of(context), name, 0));
}

static int real_fsync_directory(void *context)
{
    return (int)result(fsync(directory_of(context)));
}

static int real_list(void *context, void (*each)(void *argument, const char *name), void *argument)
{
    int fd = openat(directory_of(context), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);

    if (!directory) {
        int r = -errno;

        if (fd >= 0)
            (void)close(fd); /* already failing */
        return r;
    }
    errno = 0;
    for (struct dirent *e = readdir(directory); e; e = readdir(directory))
        each(argument, e->d_name);
    int r = -errno;

    closedir(directory);
    return r;
}

int32_t store_log_file_system_open(const char *directory, struct store_log_file_system *ret, hf_error *error)
{
    int *fd = malloc(sizeof *fd);

    if (!fd)
        return hf_error_set(error, HF_ENOMEM, "no memory to open the log directory '%s'", directory);
    *fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0 || flock(*fd, LOCK_EX | LOCK_NB) != 0) {
        int code = errno == EWOULDBLOCK ? HF_EBUSY : HF_EIO, r;

        r = hf_error_set_errno(error, code, errno, "cannot %s the log directory '%s'", *fd < 0 ? "open" : "lock",
                               directory);
        if (*fd >= 0)
            (void)close(*fd); /* already failing */
        free(fd);
        return r;
    }
    *ret = (struct store_log_file_system){
        fd,          real_open,   real_close,           real_pwritev, real_pread, real_fdatasync, real_fallocate,
        real_rename, real_unlink, real_fsync_directory, real_list};
    return 0;
}

void store_log_file_system_close(struct store_log_file_system *file_system)
{
    if (!file_system->context)
        return;
    (void)close(*(int *)file_system->context); /* a directory: nothing to flush */
    free(file_system->context);
    file_system->context = NULL;
}
