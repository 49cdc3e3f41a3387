/* supervisor.h: keeps a set of child processes running, and records why one ended.
 *
 * All functions and callbacks are on the supervisor's loop [main]. */
#ifndef HOLDFAST_CORE_SUPERVISOR_SUPERVISOR_H
#define HOLDFAST_CORE_SUPERVISOR_SUPERVISOR_H

#include <holdfast/holdfast.h>
#include <holdfast/host/loop.h>

/* Environment variable that tells a child how many listening sockets it inherits, from descriptor 3 on. */
#define HF_LISTENERS_ENVIRONMENT "HOLDFAST_LISTENERS"

/* Environment variable of a child that was started again because it died: the cause, a line feed, the report's path. */
#define HF_DEATH_ENVIRONMENT "HOLDFAST_DEATH"

enum {
    HF_CHILD_WAITING = 0, /* for its back-off to pass */
    HF_CHILD_RUNNING = 1,
    HF_CHILD_STOPPING = 2, /* was asked to end */
    HF_CHILD_STOPPED = 3
};

typedef struct hf_child_status {
    const char *name;
    int32_t state;            /* HF_CHILD_... */
    int32_t pid;              /* 0 when there is none */
    uint64_t deaths;          /* that were not asked for */
    uint64_t restart_wait_us; /* while waiting: the whole wait */
    char last_cause[200];     /* of the last death: "killed by signal 11 (Segmentation fault)" */
    char last_report[512];    /* file with backtrace and last log lines, or "" */
} hf_child_status;

typedef struct hf_supervisor hf_supervisor;

typedef struct hf_supervisor_settings {
    hf_loop *loop;
    const char *report_directory; /* must exist; at most 20 reports per child are kept, the oldest go first */
    uint64_t restart_least_us;
    uint64_t restart_most_us;
    uint64_t healthy_us;    /* who lived this long starts with no wait */
    uint64_t stop_grace_us; /* between SIGTERM and SIGKILL */
    /* Called after each death that was not asked for; may be NULL. */
    void (*died)(void *arg, const hf_child_status *status);
    void *arg;
} hf_supervisor_settings;

/* Strings are copied. */
int32_t hf_supervisor_create(const hf_supervisor_settings *settings, hf_supervisor **ret_supervisor, hf_error *error);

/* Frees it; every child must have stopped (hf_supervisor_stop).  Accepts NULL. */
void hf_supervisor_destroy(hf_supervisor *supervisor);

/* Adds a child and starts it: runs argv[0] with argv (NULL-terminated, copied).  The `listeners` become its
 * descriptors 3, 4, ...; they stay open here, so a restart refuses no connection.  HF_EEXIST: the name is taken;
 * HF_EIO: it could not be started at all. */
int32_t hf_supervisor_add(hf_supervisor *supervisor, const char *name, const char *const *argv,
                          const int32_t *listeners, uint32_t listener_count, hf_error *error);

/* Ends a child (SIGTERM, after the grace SIGKILL) and starts it anew.  HF_ENOTFOUND. */
int32_t hf_supervisor_restart(hf_supervisor *supervisor, const char *name, hf_error *error);

/* Sends a signal to every running child. */
void hf_supervisor_signal(hf_supervisor *supervisor, int32_t number);

/* Ends all children for good and calls done(arg) once, when the last is gone. */
void hf_supervisor_stop(hf_supervisor *supervisor, void (*done)(void *arg), void *arg);

uint32_t hf_supervisor_count(const hf_supervisor *supervisor);
void hf_supervisor_status(const hf_supervisor *supervisor, uint32_t index, hf_child_status *ret_status);

#endif
