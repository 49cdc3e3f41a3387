/* memory_disk.h: a directory in memory that fails on request and forgets on a crash what was not flushed. */
#ifndef STORE_LOG_MEMORY_DISK_H
#define STORE_LOG_MEMORY_DISK_H

#include "store_log.h"

#include <holdfast/lib/hash.h>
#include <pthread.h>

enum { SECTOR_SIZE = 512, DISK_FILES_MAX = 1024, DISK_NAMES_MAX = 64, DISK_STATES_MAX = 64 };

enum disk_operation {
    DISK_OPEN,
    DISK_PWRITEV,
    DISK_PREAD,
    DISK_FDATASYNC,
    DISK_FALLOCATE,
    DISK_RENAME,
    DISK_UNLINK,
    DISK_FSYNC_DIRECTORY,
    DISK_LIST,
    DISK_OPERATIONS
};

struct disk_file {
    uint8_t *cache, *disk; /* what a read sees; what survives */
    uint8_t *dirty;        /* a sector's flag */
    uint64_t size;
    int open;
};

struct disk_directory {
    struct {
        char name[32];
        int file;
    } names[DISK_NAMES_MAX];
    int count;
};

struct disk_fault {
    uint64_t after; /* calls that succeed before */
    int code;       /* -errno; 0: none */
    int once;
};

struct memory_disk {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct disk_file files[DISK_FILES_MAX];
    int file_count;
    struct disk_directory directory;
    struct disk_directory states[DISK_STATES_MAX]; /* since the last flush of the directory, which is the first */
    int state_count;
    struct disk_fault faults[DISK_OPERATIONS];
    uint64_t calls[DISK_OPERATIONS];
    uint64_t write_max;   /* bytes that one pwritev takes; 0: all */
    uint64_t stops_after; /* changes after which the power goes; 0: never */
    int stopped;
    int forgetful; /* a failed fdatasync leaves pages clean that were never written */
    int held;      /* which of fdatasync and pread waits until it is released; -1: none */
    int holding;   /* one is waiting */
    hf_random random;
};

struct memory_disk *disk_new(uint64_t seed);
void disk_free(struct memory_disk *disk);
struct store_log_file_system disk_file_system(struct memory_disk *disk);

void disk_fail(struct memory_disk *disk, enum disk_operation operation, uint64_t after, int code, int once);
void disk_heal(struct memory_disk *disk);
/* The power goes and comes back: of what was not flushed, any sectors and any prefix of the directory's changes stay.
 * No file is open. */
void disk_crash(struct memory_disk *disk);

/* Calls of `operation`, fdatasync or pread, wait until the release. */
void disk_hold(struct memory_disk *disk, enum disk_operation operation);
void disk_wait_holding(struct memory_disk *disk);
void disk_release(struct memory_disk *disk);

/* The bytes of a file on the disk, to look at and to damage; NULL: no such file. */
uint8_t *disk_bytes(struct memory_disk *disk, const char *name, uint64_t *ret_size);
int disk_count(struct memory_disk *disk, const char *suffix);

#endif
