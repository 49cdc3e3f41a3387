/* supervisor.h: keeps a set of child processes running, and records why one ended.
 *
 * All functions and callbacks are on the supervisor's loop [main]. */
#ifndef HOLDFAST_CORE_SUPERVISOR_SUPERVISOR_H
#define HOLDFAST_CORE_SUPERVISOR_SUPERVISOR_H

#include <holdfast/holdfast.h>
#include <holdfast/host/loop.h>
#include <holdfast/lib/json.h>

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
 * descriptors 3, 4, ...; they stay open here, so a restart refuses no connection, as do those that the child asks for
 * through its channel (channel.h).  HF_EEXIST: the name is taken;
 * HF_EIO: it could not be started at all. */
int32_t hf_supervisor_add(hf_supervisor *supervisor, const char *name, const char *const *argv,
                          const int32_t *listeners, uint32_t listener_count, hf_error *error);

/* ---- Another program goes on with the children: exec in the parent, same pid ------------------------------------- */

/* Writes all that is to be known about the children, as a list; it is the next program's to adopt them one by one. */
void hf_supervisor_save(const hf_supervisor *supervisor, hf_json_writer *writer);

/* `on` 1: its descriptors outlive an exec; 0: as before, when the exec has failed. */
void hf_supervisor_pass(const hf_supervisor *supervisor, int32_t on);

/* What was saved about a child, for whoever reads it: its name, "" when it has none; and the listeners that it was
 * started with, at most `most` of them. */
void hf_supervisor_saved_name(const hf_value *saved, char *name, uint64_t capacity);
uint32_t hf_supervisor_saved_listeners(const hf_value *saved, int32_t *descriptors, uint32_t most);

/* Goes on with a child as hf_supervisor_add would begin one; what is saved about it, but the listeners, is taken.  One
 * that has no process is started.  `argv` NULL: nobody wants it any more; it is ended, and not started again.
 * HF_EINVAL: what is saved makes no sense; HF_EIO, HF_ENOMEM. */
int32_t hf_supervisor_adopt(hf_supervisor *supervisor, const hf_value *saved, const char *const *argv,
                            const int32_t *listeners, uint32_t listener_count, hf_error *error);

/* Ends and starts those that were adopted one after the other: the next when all others have said that they are ready.
 * Calls done(arg, 1) when none is left, or done(arg, 0) when one that was started anew died before it was ready: the
 * rest then stays as it is.  hf_supervisor_stop ends this without a call. */
void hf_supervisor_renew(hf_supervisor *supervisor, void (*done)(void *arg, int good), void *arg);

/* ---- Both ------------------------------------------------------------------------------------------------------ */

/* Ends a child (SIGTERM, after the grace SIGKILL) and starts it anew.  HF_ENOTFOUND. */
int32_t hf_supervisor_restart(hf_supervisor *supervisor, const char *name, hf_error *error);

/* Sends a signal to every running child. */
void hf_supervisor_signal(hf_supervisor *supervisor, int32_t number);

/* Ends all children for good and calls done(arg) once, when the last is gone. */
void hf_supervisor_stop(hf_supervisor *supervisor, void (*done)(void *arg), void *arg);

uint32_t hf_supervisor_count(const hf_supervisor *supervisor);
void hf_supervisor_status(const hf_supervisor *supervisor, uint32_t index, hf_child_status *ret_status);

#endif
