/* A disk that fails and forgets, put before a node's file operations with LD_PRELOAD.  disk.py has the other half.
 *
 * What forgets: beside the node's data directory lies a folder that has what is durable for certain, and nothing else.
 *   files/ID   the bytes of a file as of its last fsync or fdatasync
 *   dirs/ID    the entries of a directory as of its last fsync: lines "f ID NAME" and "d ID NAME"
 * An ID is the inode's number and time of birth, so that a number which is used again is told apart.  After kill -9,
 * disk.py makes the data directory what this folder says: what was never flushed is gone, as after a power cut.  As
 * with a real disk, flushing a file does not flush the entry that names it.  A file is taken to be written by one
 * process at a time; the first flush by a process copies all of it, later ones what was written since.
 *
 * What fails: a page of memory shared with the test says which calls on which files return which error.  A failed flush
 * drops what was to be flushed and takes it for clean, as Linux does: a second one succeeds and has written nothing.
 *
 *   HOLDFAST_DISK          the data directory, absolute and without symbolic links
 *   HOLDFAST_DISK_DURABLE  the folder of what is durable
 *   HOLDFAST_DISK_CONTROL  struct control */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* As disk.py packs it. */
struct control {
    _Atomic int32_t write_error; /* errno, 0: none; of writing, growing and making files */
    _Atomic int32_t sync_error;
    _Atomic int32_t read_error;
    _Atomic int32_t per_mille;   /* of these calls fail */
    _Atomic int32_t short_write; /* 1: a failing write writes half of it first and says so */
    _Atomic uint32_t failed;     /* calls, so far */
    char only[64];               /* a part of the paths concerned; empty: all */
};

enum { BUCKETS = 1024, COPY_SIZE = 64 << 10, ID_SIZE = 48 };

/* A file of the data directory that was written or flushed by this process. */
struct file {
    struct file *next;
    char id[ID_SIZE];
    int inside;        /* the data directory; others are left alone */
    uint64_t from, to; /* written since the last flush; from >= to: nothing */
};

static struct {
    char directory[PATH_MAX];
    char durable[PATH_MAX];
    size_t directory_size;
    struct control *control;
    pthread_mutex_t lock;
    struct file *files[BUCKETS];
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- The real calls ---------------------------------------------------------------------------------------------- */

#define REAL(name)                 real_##name
#define DECLARE(result, name, ...) static result (*real_##name)(__VA_ARGS__)
DECLARE(ssize_t, write, int, const void *, size_t);
DECLARE(ssize_t, writev, int, const struct iovec *, int);
DECLARE(ssize_t, pwrite, int, const void *, size_t, off_t);
DECLARE(ssize_t, pwritev, int, const struct iovec *, int, off_t);
DECLARE(ssize_t, read, int, void *, size_t);
DECLARE(ssize_t, pread, int, void *, size_t, off_t);
DECLARE(int, fsync, int);
DECLARE(int, fdatasync, int);
DECLARE(int, ftruncate, int, off_t);
DECLARE(int, fallocate, int, int, off_t, off_t);
DECLARE(int, posix_fallocate, int, off_t, off_t);
DECLARE(int, open, const char *, int, ...);
DECLARE(int, openat, int, const char *, int, ...);
DECLARE(int, rename, const char *, const char *);
DECLARE(int, renameat, int, const char *, int, const char *);
DECLARE(int, mkdir, const char *, mode_t);
DECLARE(int, link, const char *, const char *);

static void find(void *slot, const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);

    if (!found) {
        fprintf(stderr, "faulty_disk: the C library has no %s\n", name);
        abort();
    }
    memcpy(slot, &found, sizeof found); /* a conversion that ISO C does not have */
}

static pthread_once_t found_once = PTHREAD_ONCE_INIT;

static void find_all(void)
{
#define FIND(name) find(&REAL(name), #name)
    FIND(write), FIND(writev), FIND(pwrite), FIND(pwritev), FIND(read), FIND(pread), FIND(fsync), FIND(fdatasync);
    FIND(ftruncate), FIND(fallocate), FIND(posix_fallocate), FIND(open), FIND(openat), FIND(rename), FIND(renameat);
    FIND(mkdir), FIND(link);
#undef FIND
}

/* Before anything else of this file: other libraries' constructors may come first. */
static void ready(void)
{
    pthread_once(&found_once, find_all);
}

__attribute__((constructor)) static void begin(void)
{
    const char *directory = getenv("HOLDFAST_DISK"), *durable = getenv("HOLDFAST_DISK_DURABLE"),
               *control = getenv("HOLDFAST_DISK_CONTROL");

    ready();
    if (!directory || !durable || !control)
        return;
    int file = REAL(open)(control, O_RDWR | O_CLOEXEC);
    void *page =
        file < 0 ? MAP_FAILED : mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);

    if (page == MAP_FAILED) {
        fprintf(stderr, "faulty_disk: cannot map '%s': %s\n", control, strerror(errno));
        abort();
    }
    close(file);
    snprintf(disk.durable, sizeof disk.durable, "%s", durable);
    snprintf(disk.directory, sizeof disk.directory, "%s", directory);
    disk.control = page;
    disk.directory_size = strlen(disk.directory); /* last: now it begins */
}

/* ---- Which file it is -------------------------------------------------------------------------------------------- */

static int is_inside(const char *path)
{
    return disk.directory_size && strncmp(path, disk.directory, disk.directory_size) == 0 &&
           (path[disk.directory_size] == '/' || path[disk.directory_size] == '\0');
}

static int path_of(int fd, char path[PATH_MAX])
{
    char link_name[64];

    snprintf(link_name, sizeof link_name, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link_name, path, PATH_MAX - 1);

    path[size < 0 ? 0 : size] = '\0';
    return size > 0;
}

/* The kind of file, S_IFREG and so on, and its id; 0: it cannot be told. */
static mode_t identify(int fd, const char *name, char id[ID_SIZE])
{
    struct statx s;
    int flags = name[0] ? AT_SYMLINK_NOFOLLOW : AT_EMPTY_PATH;

    if (statx(fd, name, flags, STATX_INO | STATX_BTIME | STATX_TYPE, &s) != 0)
        return 0;
    snprintf(id, ID_SIZE, "%llu-%lld.%u", (unsigned long long)s.stx_ino, (long long)s.stx_btime.tv_sec,
             s.stx_btime.tv_nsec);
    return s.stx_mode & S_IFMT;
}

static struct file **bucket_of(const char *id)
{
    uint32_t hash = 5381;

    for (; *id; id++)
        hash = hash * 33 + (uint8_t)*id;
    return &disk.files[hash % BUCKETS];
}

/* With the lock held.  NULL: not a file of the data directory. */
static struct file *file_of(int fd)
{
    char id[ID_SIZE], path[PATH_MAX];

    if (!disk.directory_size || identify(fd, "", id) != S_IFREG)
        return NULL;
    struct file **bucket = bucket_of(id), *file = *bucket;

    while (file && strcmp(file->id, id) != 0)
        file = file->next;
    if (!file) {
        file = calloc(1, sizeof *file);
        if (!file)
            abort();
        memcpy(file->id, id, sizeof id);
        file->inside = path_of(fd, path) && is_inside(path);
        file->to = UINT64_MAX; /* what an earlier process wrote is not known */
        file->next = *bucket;
        *bucket = file;
    }
    return file->inside ? file : NULL;
}

/* After a write, so that a flush which comes between the two copies what it must, or the next one does. */
static void note_written(int fd, uint64_t offset, uint64_t size)
{
    pthread_mutex_lock(&disk.lock);
    struct file *file = file_of(fd);

    if (file && file->from >= file->to) {
        file->from = offset;
        file->to = offset + size;
    } else if (file) {
        file->from = offset < file->from ? offset : file->from;
        file->to = offset + size > file->to ? offset + size : file->to;
    }
    pthread_mutex_unlock(&disk.lock);
}

/* ---- What is durable --------------------------------------------------------------------------------------------- */

static int open_durable(const char *kind, const char *id, const char *suffix, int flags)
{
    char path[PATH_MAX + 128];

    snprintf(path, sizeof path, "%s/%s/%s%s", disk.durable, kind, id, suffix);
    return REAL(open)(path, flags | O_CLOEXEC, 0600);
}

/* What cannot be copied cannot be judged later. */
static void must(int good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "faulty_disk: cannot %s: %s\n", what, strerror(errno));
    abort();
}

static void copy_range(int from, int to, uint64_t begin_at, uint64_t end)
{
    static char buffer[COPY_SIZE]; /* the lock guards it */

    for (uint64_t at = begin_at; at < end;) {
        size_t size = end - at < COPY_SIZE ? (size_t)(end - at) : COPY_SIZE;
        ssize_t got = REAL(pread)(from, buffer, size, (off_t)at);

        must(got >= 0, "read a file to copy what is durable");
        if (got == 0)
            return;
        must(REAL(pwrite)(to, buffer, (size_t)got, (off_t)at) == got, "copy what is durable");
        at += (uint64_t)got;
    }
}

/* With the lock held. */
static void make_file_durable(int fd, struct file *file)
{
    char path[64];
    struct stat now;

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd); /* it may have been opened for writing only */
    int from = REAL(open)(path, O_RDONLY | O_CLOEXEC), to = open_durable("files", file->id, "", O_RDWR | O_CREAT);

    must(from >= 0 && to >= 0 && fstat(from, &now) == 0, "open a file to copy what is durable");
    uint64_t end = file->to < (uint64_t)now.st_size ? file->to : (uint64_t)now.st_size;

    copy_range(from, to, file->from, end);
    must(REAL(ftruncate)(to, now.st_size) == 0, "set the size of a durable file");
    close(from);
    close(to);
    file->from = file->to = 0;
}

static void list_entries(const char *path, FILE *out)
{
    DIR *directory = opendir(path);
    char id[ID_SIZE];

    must(directory != NULL, "read a directory to note what is durable");
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        mode_t kind = identify(dirfd(directory), entry->d_name, id);

        if (kind == S_IFREG || kind == S_IFDIR)
            fprintf(out, "%c %s %s\n", kind == S_IFREG ? 'f' : 'd', id, entry->d_name);
    }
    closedir(directory);
}

/* With the lock held.  Wholly or not at all, like a journalling file system. */
static void make_directory_durable(const char *id, const char *path)
{
    char from[PATH_MAX + 128], to[PATH_MAX + 128];
    int file = open_durable("dirs", id, ".new", O_WRONLY | O_CREAT | O_TRUNC);
    FILE *out = file < 0 ? NULL : fdopen(file, "w");

    must(out != NULL, "note a directory as durable");
    list_entries(path, out);
    must(fclose(out) == 0, "note a directory as durable");
    snprintf(from, sizeof from, "%s/dirs/%s.new", disk.durable, id);
    snprintf(to, sizeof to, "%s/dirs/%s", disk.durable, id);
    must(REAL(rename)(from, to) == 0, "note a directory as durable");
}

/* ---- Errors ------------------------------------------------------------------------------------------------------ */

static int by_chance(int32_t per_mille)
{
    static _Thread_local uint64_t state;

    if (!state)
        state = ((uint64_t)(uintptr_t)&state ^ ((uint64_t)getpid() << 32)) | 1;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (int32_t)(state % 1000) < per_mille;
}

/* errno is set when the call on this path shall fail. */
static int fails_at(const _Atomic int32_t *error, const char *path)
{
    int32_t number = atomic_load(error);

    if (!number || !is_inside(path) || !strstr(path, disk.control->only) ||
        !by_chance(atomic_load(&disk.control->per_mille)))
        return 0;
    atomic_fetch_add(&disk.control->failed, 1);
    errno = number;
    return 1;
}

static int fails(const _Atomic int32_t *error, int fd)
{
    char path[PATH_MAX];

    return atomic_load(error) && path_of(fd, path) && fails_at(error, path);
}

static int fails_making(int directory, const char *name)
{
    char path[2 * PATH_MAX] = "";

    if (!disk.directory_size || !atomic_load(&disk.control->write_error))
        return 0;
    if (name[0] != '/') {
        if (directory == AT_FDCWD ? !getcwd(path, PATH_MAX) : !path_of(directory, path))
            return 0;
        strcat(path, "/");
    }
    strncat(path, name, PATH_MAX - 1);
    return fails_at(&disk.control->write_error, path);
}

#define FAILS_WRITING(fd) (disk.directory_size && fails(&disk.control->write_error, fd))

/* ---- The calls --------------------------------------------------------------------------------------------------- */

#define OVER              __attribute__((visibility("default")))
#define ALSO(name, other) extern __typeof__(name) other __attribute__((alias(#name), visibility("default")))

OVER ssize_t write(int fd, const void *data, size_t size)
{
    ready();
    if (FAILS_WRITING(fd)) {
        int failure = errno;

        if (!atomic_load(&disk.control->short_write) || size < 2) {
            errno = failure;
            return -1;
        }
        size /= 2;
    }
    ssize_t result = REAL(write)(fd, data, size);

    if (result > 0 && disk.directory_size) {
        int failure = errno;
        off_t end = lseek(fd, 0, SEEK_CUR); /* also with O_APPEND; a pipe has none and is not a file */

        if (end >= result)
            note_written(fd, (uint64_t)(end - result), (uint64_t)result);
        errno = failure;
    }
    return result;
}

OVER ssize_t writev(int fd, const struct iovec *parts, int count)
{
    ready();
    if (FAILS_WRITING(fd))
        return -1;
    ssize_t result = REAL(writev)(fd, parts, count);

    if (result > 0 && disk.directory_size) {
        off_t end = lseek(fd, 0, SEEK_CUR);

        if (end >= result)
            note_written(fd, (uint64_t)(end - result), (uint64_t)result);
    }
    return result;
}

OVER ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    ready();
    if (FAILS_WRITING(fd)) {
        if (!atomic_load(&disk.control->short_write) || size < 2)
            return -1;
        size /= 2;
    }
    ssize_t result = REAL(pwrite)(fd, data, size, offset);

    if (result > 0)
        note_written(fd, (uint64_t)offset, (uint64_t)result);
    return result;
}
ALSO(pwrite, pwrite64);

OVER ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
    ready();
    if (FAILS_WRITING(fd)) {
        if (!atomic_load(&disk.control->short_write))
            return -1;
        count = count > 1 ? count / 2 : 1;
    }
    ssize_t result = REAL(pwritev)(fd, parts, count, offset);

    if (result > 0)
        note_written(fd, (uint64_t)offset, (uint64_t)result);
    return result;
}
ALSO(pwritev, pwritev64);

OVER ssize_t read(int fd, void *data, size_t size)
{
    ready();
    if (disk.directory_size && fails(&disk.control->read_error, fd))
        return -1;
    return REAL(read)(fd, data, size);
}

OVER ssize_t pread(int fd, void *data, size_t size, off_t offset)
{
    ready();
    if (disk.directory_size && fails(&disk.control->read_error, fd))
        return -1;
    return REAL(pread)(fd, data, size, offset);
}
ALSO(pread, pread64);

static int flush(int fd, int (*really)(int))
{
    char path[PATH_MAX], id[ID_SIZE];

    ready();
    if (!disk.directory_size)
        return really(fd);
    int failing = fails(&disk.control->sync_error, fd), failure = errno;
    int result = failing ? 0 : really(fd);

    if (result != 0)
        return result;
    pthread_mutex_lock(&disk.lock);
    struct file *file = file_of(fd);

    if (file && failing)
        file->from = file->to = 0; /* lost, and taken for clean */
    else if (file)
        make_file_durable(fd, file);
    else if (!failing && identify(fd, "", id) == S_IFDIR && path_of(fd, path) && is_inside(path))
        make_directory_durable(id, path);
    pthread_mutex_unlock(&disk.lock);
    errno = failure;
    return failing ? -1 : 0;
}

OVER int fsync(int fd)
{
    ready();
    return flush(fd, REAL(fsync));
}

OVER int fdatasync(int fd)
{
    ready();
    return flush(fd, REAL(fdatasync));
}

OVER int ftruncate(int fd, off_t size)
{
    ready();
    if (FAILS_WRITING(fd))
        return -1;
    int result = REAL(ftruncate)(fd, size);

    if (result == 0)
        note_written(fd, (uint64_t)size, 0);
    return result;
}
ALSO(ftruncate, ftruncate64);

OVER int fallocate(int fd, int mode, off_t offset, off_t size)
{
    ready();
    if (FAILS_WRITING(fd))
        return -1;
    int result = REAL(fallocate)(fd, mode, offset, size);

    if (result == 0)
        note_written(fd, (uint64_t)offset, (uint64_t)size);
    return result;
}
ALSO(fallocate, fallocate64);

OVER int posix_fallocate(int fd, off_t offset, off_t size)
{
    ready();
    if (FAILS_WRITING(fd))
        return errno;
    int result = REAL(posix_fallocate)(fd, offset, size);

    if (result == 0)
        note_written(fd, (uint64_t)offset, (uint64_t)size);
    return result;
}
ALSO(posix_fallocate, posix_fallocate64);

static mode_t mode_of(int flags, va_list arguments)
{
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

OVER int open(const char *path, int flags, ...)
{
    va_list arguments;

    ready();
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);

    va_end(arguments);
    if (flags & O_CREAT && fails_making(AT_FDCWD, path))
        return -1;
    return REAL(open)(path, flags, mode);
}
ALSO(open, open64);

OVER int openat(int directory, const char *path, int flags, ...)
{
    va_list arguments;

    ready();
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);

    va_end(arguments);
    if (flags & O_CREAT && fails_making(directory, path))
        return -1;
    return REAL(openat)(directory, path, flags, mode);
}
ALSO(openat, openat64);

OVER int rename(const char *from, const char *to)
{
    ready();
    return fails_making(AT_FDCWD, to) ? -1 : REAL(rename)(from, to);
}

OVER int renameat(int from_directory, const char *from, int to_directory, const char *to)
{
    ready();
    return fails_making(to_directory, to) ? -1 : REAL(renameat)(from_directory, from, to_directory, to);
}

OVER int mkdir(const char *path, mode_t mode)
{
    ready();
    return fails_making(AT_FDCWD, path) ? -1 : REAL(mkdir)(path, mode);
}

OVER int link(const char *from, const char *to)
{
    ready();
    return fails_making(AT_FDCWD, to) ? -1 : REAL(link)(from, to);
}
