/* run.h: checks in processes of their own, and the report. */
#ifndef HOLDFAST_KIT_RUN_H
#define HOLDFAST_KIT_RUN_H

#include "report.h"

#include <holdfast/lib/buffer.h>

struct kit_run {
    hf_kit_subject subject;
    uint32_t limit_s; /* 0: as the checks say */
    const char *only; /* the name of a check, or NULL */
    int32_t json;
    int32_t list;
    hf_buffer document; /* with json: the list of results so far */
    uint32_t counts[4]; /* by KIT_RESULT_... */
};

/* Runs the check in a child process with a time limit and writes its line.  Returns KIT_RESULT_... */
int32_t kit_run_check(struct kit_run *run, const hf_kit_check *check);

/* The head and the end of the report. */
void kit_report_begin(struct kit_run *run);
/* Returns the exit status. */
int32_t kit_report_end(struct kit_run *run);

#endif
