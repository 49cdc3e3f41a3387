/* report.h: the record of a child's death, a text file that a person can read. */
#ifndef HOLDFAST_CORE_SUPERVISOR_REPORT_H
#define HOLDFAST_CORE_SUPERVISOR_REPORT_H

#include "blackbox.h"

typedef struct hf_death {
    const char *name; /* of the child */
    const char *cause;
    int32_t pid;
    uint64_t lived_us;
    const hf_blackbox *box;
} hf_death;

/* Writes the record into `directory` and removes the oldest of the child beyond 20.  `path` gets the file's name.
 * HF_EIO: the disk refused; nothing half-written is left. */
int32_t hf_report_write(const char *directory, const hf_death *death, char *path, uint64_t path_capacity,
                        hf_error *error);

#endif
