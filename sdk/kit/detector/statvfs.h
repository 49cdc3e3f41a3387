/* statvfs.h: file systems as a check wants them to look.  The program's own statvfs takes the place of the C library's
 * for the plugin, too. */
#ifndef HOLDFAST_KIT_STATVFS_H
#define HOLDFAST_KIT_STATVFS_H

#include <stdint.h>

enum {
    KIT_STATVFS_REAL = 0,
    KIT_STATVFS_FREE = 1,    /* `percent` are free */
    KIT_STATVFS_MISSING = 2, /* it fails with EIO */
    KIT_STATVFS_EMPTY = 3,   /* 0 blocks */
    KIT_STATVFS_NEGATIVE = 4 /* far more free blocks than blocks */
};

void kit_statvfs_script(int32_t mode, int32_t percent);
/* Calls since the script was set for the first time. */
uint64_t kit_statvfs_calls(void);

#endif
