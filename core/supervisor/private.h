/* private.h: between supervisor.c and handover.c. */
#ifndef HOLDFAST_CORE_SUPERVISOR_PRIVATE_H
#define HOLDFAST_CORE_SUPERVISOR_PRIVATE_H

#include "backoff.h"
#include "blackbox.h"
#include "channel.h"
#include "supervisor.h"

struct child {
    hf_supervisor *supervisor;
    char *name;
    char **argv;
    int32_t *listeners;
    uint32_t listener_count;
    int32_t state, pid, pid_fd;
    int wanted;  /* start it again when it ends */
    int ready;   /* the process has said that it does its work */
    int adopted; /* an earlier program has started the process */
    uint64_t started_us, restart_wait_us, deaths;
    hf_backoff backoff;
    hf_blackbox *box;
    hf_watch *watch; /* on pid_fd */
    int32_t channel; /* -1: none; the process says no more */
    hf_watch *channel_watch;
    hf_held held;
    int told_full;   /* that not all is held */
    hf_timer *timer; /* back-off while WAITING, grace while STOPPING */
    char cause[200], report[512];
    int died; /* the next start tells the new process of the death */
};

struct hf_supervisor {
    hf_supervisor_settings settings;
    char *report_directory;
    struct child **children;
    uint32_t count;
    void (*stopped)(void *arg);
    void *stopped_arg;
    void (*renewed)(void *arg, int good); /* NULL: nothing is being renewed */
    void *renewed_arg;
};

/* A child without a process, for which `supervisor->children` has room already; NULL: no memory. */
struct child *hf_supervisor_make_child(hf_supervisor *supervisor, const char *name, const char *const *argv,
                                       const int32_t *listeners, uint32_t listener_count);
void hf_supervisor_free_child(struct child *child);

/* Notices the end of the child's process, and what it says. */
int32_t hf_supervisor_watch_child(struct child *child, hf_error *error);

/* Starts or ends it, as its state and `wanted` say. */
void hf_supervisor_go_on(struct child *child);

#endif
