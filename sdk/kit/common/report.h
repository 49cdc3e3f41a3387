/* report.h: between a check and the runner: memory that both processes see. */
#ifndef HOLDFAST_KIT_REPORT_H
#define HOLDFAST_KIT_REPORT_H

#include <holdfast/kit/check.h>

enum { KIT_RESULT_NONE = 0, KIT_RESULT_OK = 1, KIT_RESULT_FAILED = 2, KIT_RESULT_NOT_APPLICABLE = 3 };
enum { KIT_PROVIDES_MAX = 64, KIT_NAME_SIZE = 64 };

struct kit_provided {
    char kind[KIT_NAME_SIZE];
    char name[KIT_NAME_SIZE];
};

struct kit_report {
    _Atomic int32_t result; /* KIT_RESULT_... */
    char why[480];
    char step[160];
    /* Filled by the first check: what there is to check. */
    char id[128];
    char version[64];
    char directory[64]; /* this check's own, removed by the runner */
    uint32_t provided_count;
    struct kit_provided provided[KIT_PROVIDES_MAX];
};

/* One for the whole run, made before the first fork; NULL outside of a run. */
extern struct kit_report *kit_report;

#endif
