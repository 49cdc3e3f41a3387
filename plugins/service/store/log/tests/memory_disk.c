/* A directory in memory; see memory_disk.h. */
#include "memory_disk.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Faults -------------------------------------------------------------------------------------------------- */

static int changes(enum disk_operation operation)
{
    return operation != DISK_PREAD && operation != DISK_LIST;
}

/* 0, or -errno when this call is to fail.  With the lock held. */
static int admit(struct memory_disk *disk, enum disk_operation operation)
{
    struct disk_fault *fault = &disk->faults[operation];

    disk->calls[operation]++;
    if (disk->stops_after && changes(operation) && --disk->stops_after == 0)
        disk->stopped = 1;
    if (disk->stopped)
        return -EIO;
    if (!fault->code)
        return 0;
    if (fault->after) {
        fault->after--;
        return 0;
    }
    int code = fault->code;

    if (fault->once)
        fault->code = 0;
    return code;
}

static int enter(void *context, enum disk_operation operation)
{
    struct memory_disk *disk = context;

    pthread_mutex_lock(&disk->lock);
    return admit(disk, operation);
}

static int64_t leave(void *context, int64_t r)
{
    struct memory_disk *disk = context;

    pthread_mutex_unlock(&disk->lock);
    return r;
}

/* ---- Files --------------------------------------------------------------------------------------------------- */

static uint64_t sectors_of(uint64_t size)
{
    return (size + SECTOR_SIZE - 1) / SECTOR_SIZE;
}

static void set_size(struct disk_file *file, uint64_t size)
{
    uint64_t old = sectors_of(file->size), now = sectors_of(size);

    if (size <= file->size)
        return;
    file->cache = realloc(file->cache, now * SECTOR_SIZE);
    file->disk = realloc(file->disk, now * SECTOR_SIZE);
    file->dirty = realloc(file->dirty, now);
    assert(file->cache && file->disk && file->dirty);
    memset(file->cache + old * SECTOR_SIZE, 0, (now - old) * SECTOR_SIZE);
    memset(file->disk + old * SECTOR_SIZE, 0, (now - old) * SECTOR_SIZE);
    memset(file->dirty + old, 0, now - old);
    file->size = size;
}

static void write_bytes(struct disk_file *file, const void *data, uint64_t size, uint64_t offset)
{
    set_size(file, offset + size);
    memcpy(file->cache + offset, data, size);
    for (uint64_t s = offset / SECTOR_SIZE; s < sectors_of(offset + size); s++)
        file->dirty[s] = 1;
}

static int find(const struct disk_directory *directory, const char *name)
{
    for (int i = 0; i < directory->count; i++)
        if (strcmp(directory->names[i].name, name) == 0)
            return i;
    return -1;
}

static void directory_changed(struct memory_disk *disk)
{
    assert(disk->state_count < DISK_STATES_MAX);
    disk->states[disk->state_count++] = disk->directory;
}

/* ---- Operations ---------------------------------------------------------------------------------------------- */

static int disk_open(void *context, const char *name, int create)
{
    struct memory_disk *disk = context;
    int r = enter(disk, DISK_OPEN), at = find(&disk->directory, name);

    if (r < 0)
        return (int)leave(disk, r);
    if (at < 0 && !create)
        return (int)leave(disk, -ENOENT);
    if (at < 0) {
        assert(disk->file_count < DISK_FILES_MAX && disk->directory.count < DISK_NAMES_MAX);
        at = disk->directory.count++;
        snprintf(disk->directory.names[at].name, sizeof disk->directory.names[at].name, "%s", name);
        disk->directory.names[at].file = disk->file_count++;
        directory_changed(disk);
    }
    r = disk->directory.names[at].file;
    disk->files[r].open++;
    return (int)leave(disk, r);
}

static void disk_close(void *context, int file)
{
    struct memory_disk *disk = context;

    pthread_mutex_lock(&disk->lock);
    assert(disk->files[file].open > 0);
    disk->files[file].open--;
    pthread_mutex_unlock(&disk->lock);
}

/* A call that loses the power writes some of its bytes. */
static int64_t disk_pwritev(void *context, int file, const struct iovec *parts, int count, uint64_t offset)
{
    struct memory_disk *disk = context;
    uint64_t total = 0, most = UINT64_MAX;

    pthread_mutex_lock(&disk->lock);
    int was_stopped = disk->stopped, r = admit(disk, DISK_PWRITEV);

    if (disk->write_max)
        most = 1 + hf_random_below(&disk->random, disk->write_max);
    if (r < 0 && (was_stopped || !disk->stopped))
        return leave(disk, r);
    for (int i = 0; i < count && total < most; i++) {
        uint64_t size = parts[i].iov_len < most - total ? parts[i].iov_len : most - total;

        write_bytes(&disk->files[file], parts[i].iov_base, size, offset + total);
        total += size;
    }
    return leave(disk, r < 0 ? r : (int64_t)total);
}

static void wait_while_held(struct memory_disk *disk, enum disk_operation operation)
{
    if (disk->held != (int)operation)
        return;
    disk->holding = 1;
    pthread_cond_broadcast(&disk->changed);
    while (disk->held == (int)operation)
        pthread_cond_wait(&disk->changed, &disk->lock);
    disk->holding = 0;
}

static int64_t disk_pread(void *context, int file, void *buffer, uint64_t size, uint64_t offset)
{
    struct memory_disk *disk = context;
    struct disk_file *f = &disk->files[file];
    int r = enter(disk, DISK_PREAD);

    wait_while_held(disk, DISK_PREAD);
    if (r < 0)
        return leave(disk, r);
    if (offset >= f->size)
        return leave(disk, 0);
    if (size > f->size - offset)
        size = f->size - offset;
    if (size)
        memcpy(buffer, f->cache + offset, size);
    return leave(disk, (int64_t)size);
}

static int disk_fdatasync(void *context, int file)
{
    struct memory_disk *disk = context;
    struct disk_file *f = &disk->files[file];
    int r = enter(disk, DISK_FDATASYNC);

    wait_while_held(disk, DISK_FDATASYNC);
    int forget = r < 0 && disk->forgetful && (!disk->stopped || hf_random_below(&disk->random, 2));

    for (uint64_t s = 0; s < sectors_of(f->size); s++) {
        if (r == 0 && f->dirty[s])
            memcpy(f->disk + s * SECTOR_SIZE, f->cache + s * SECTOR_SIZE, SECTOR_SIZE);
        if (r == 0 || forget)
            f->dirty[s] = 0;
    }
    return (int)leave(disk, r);
}

static int disk_fallocate(void *context, int file, uint64_t size)
{
    struct memory_disk *disk = context;
    int r = enter(disk, DISK_FALLOCATE);

    if (r == 0)
        set_size(&disk->files[file], size);
    return (int)leave(disk, r);
}

static void remove_name(struct disk_directory *directory, int at)
{
    if (at >= 0)
        directory->names[at] = directory->names[--directory->count];
}

static int disk_rename(void *context, const char *from, const char *to)
{
    struct memory_disk *disk = context;
    int r = enter(disk, DISK_RENAME);

    if (r == 0 && find(&disk->directory, from) < 0)
        r = -ENOENT;
    if (r == 0) {
        remove_name(&disk->directory, find(&disk->directory, to));
        int at = find(&disk->directory, from);

        snprintf(disk->directory.names[at].name, sizeof disk->directory.names[at].name, "%s", to);
        directory_changed(disk);
    }
    return (int)leave(disk, r);
}

static int disk_unlink(void *context, const char *name)
{
    struct memory_disk *disk = context;
    int r = enter(disk, DISK_UNLINK), at = find(&disk->directory, name);

    if (r == 0 && at < 0)
        r = -ENOENT;
    if (r == 0) {
        remove_name(&disk->directory, at);
        directory_changed(disk);
    }
    return (int)leave(disk, r);
}

static void directory_flushed(struct memory_disk *disk)
{
    disk->states[0] = disk->directory;
    disk->state_count = 1;
}

static int disk_fsync_directory(void *context)
{
    struct memory_disk *disk = context;
    int r = enter(disk, DISK_FSYNC_DIRECTORY);

    if (r == 0)
        directory_flushed(disk);
    return (int)leave(disk, r);
}

static int disk_list(void *context, void (*each)(void *argument, const char *name), void *argument)
{
    struct memory_disk *disk = context;
    int r = enter(disk, DISK_LIST);

    for (int i = 0; r == 0 && i < disk->directory.count; i++)
        each(argument, disk->directory.names[i].name);
    return (int)leave(disk, r);
}

/* ---- The disk ------------------------------------------------------------------------------------------------ */

struct memory_disk *disk_new(uint64_t seed)
{
    struct memory_disk *disk = calloc(1, sizeof *disk);

    assert(disk);
    pthread_mutex_init(&disk->lock, NULL);
    pthread_cond_init(&disk->changed, NULL);
    hf_random_init(&disk->random, seed);
    disk->state_count = 1;
    disk->held = -1;
    return disk;
}

void disk_free(struct memory_disk *disk)
{
    for (int i = 0; i < disk->file_count; i++) {
        assert(!disk->files[i].open);
        free(disk->files[i].cache);
        free(disk->files[i].disk);
        free(disk->files[i].dirty);
    }
    pthread_cond_destroy(&disk->changed);
    pthread_mutex_destroy(&disk->lock);
    free(disk);
}

struct store_log_file_system disk_file_system(struct memory_disk *disk)
{
    return (struct store_log_file_system){
        disk,           disk_open,   disk_close,  disk_pwritev,         disk_pread, disk_fdatasync,
        disk_fallocate, disk_rename, disk_unlink, disk_fsync_directory, disk_list};
}

void disk_fail(struct memory_disk *disk, enum disk_operation operation, uint64_t after, int code, int once)
{
    pthread_mutex_lock(&disk->lock);
    disk->faults[operation] = (struct disk_fault){after, code, once};
    pthread_mutex_unlock(&disk->lock);
}

void disk_heal(struct memory_disk *disk)
{
    pthread_mutex_lock(&disk->lock);
    memset(disk->faults, 0, sizeof disk->faults);
    disk->stopped = 0;
    disk->stops_after = 0;
    pthread_mutex_unlock(&disk->lock);
}

void disk_crash(struct memory_disk *disk)
{
    pthread_mutex_lock(&disk->lock);
    for (int i = 0; i < disk->file_count; i++) {
        struct disk_file *f = &disk->files[i];

        assert(!f->open);
        for (uint64_t s = 0; s < sectors_of(f->size); s++) {
            if (f->dirty[s] && hf_random_below(&disk->random, 2))
                memcpy(f->disk + s * SECTOR_SIZE, f->cache + s * SECTOR_SIZE, SECTOR_SIZE);
            f->dirty[s] = 0;
        }
        if (f->size)
            memcpy(f->cache, f->disk, sectors_of(f->size) * SECTOR_SIZE);
    }
    disk->directory = disk->states[hf_random_below(&disk->random, (uint64_t)disk->state_count)];
    directory_flushed(disk);
    pthread_mutex_unlock(&disk->lock);
    disk_heal(disk);
}

void disk_hold(struct memory_disk *disk, enum disk_operation operation)
{
    pthread_mutex_lock(&disk->lock);
    disk->held = (int)operation;
    pthread_mutex_unlock(&disk->lock);
}

void disk_wait_holding(struct memory_disk *disk)
{
    pthread_mutex_lock(&disk->lock);
    while (!disk->holding)
        pthread_cond_wait(&disk->changed, &disk->lock);
    pthread_mutex_unlock(&disk->lock);
}

void disk_release(struct memory_disk *disk)
{
    pthread_mutex_lock(&disk->lock);
    disk->held = -1;
    pthread_cond_broadcast(&disk->changed);
    pthread_mutex_unlock(&disk->lock);
}

uint8_t *disk_bytes(struct memory_disk *disk, const char *name, uint64_t *ret_size)
{
    int at = find(&disk->directory, name);

    if (at < 0)
        return NULL;
    *ret_size = disk->files[disk->directory.names[at].file].size;
    return disk->files[disk->directory.names[at].file].cache;
}

int disk_count(struct memory_disk *disk, const char *suffix)
{
    int count = 0;

    pthread_mutex_lock(&disk->lock);
    for (int i = 0; i < disk->directory.count; i++)
        count += strlen(disk->directory.names[i].name) > strlen(suffix) &&
                 strcmp(strchr(disk->directory.names[i].name, '.'), suffix) == 0;
    pthread_mutex_unlock(&disk->lock);
    return count;
}
