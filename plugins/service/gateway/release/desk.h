/* desk.h: the releases of a process: begins and ends them, lets them go on by what the workers count, tells of each
 * step, and keeps them in a file.  [main] */
#ifndef GATEWAY_DESK_H
#define GATEWAY_DESK_H

#include "plan/plan.h"
#include "release/split.h"

#include <holdfast/host/http.h>
#include <holdfast/host/loop.h>
#include <holdfast/host/metrics.h>
#include <holdfast/host/node.h>
#include <holdfast/host/signal.h>

struct gateway_worker;
struct gateway_desk;

enum { GATEWAY_ACTOR_SIZE = 40, GATEWAY_RELEASE_METRICS = 3 };

/* From the main loop to a worker and back. */
struct gateway_split_post {
    hf_task task; /* first */
    struct gateway_desk *desk;
    struct gateway_worker *worker;
    struct gateway_split *split;      /* there: the next; back: the one before */
    const struct gateway_split *sent; /* only compared */
    struct gateway_split_counts counts[GATEWAY_RELEASES_MAX];
    int32_t is_away;
};

/* What is to be written into the audit log. */
struct gateway_note {
    struct gateway_note *next;
    const char *kind; /* static */
    char actor[GATEWAY_ACTOR_SIZE];
    char stable[GATEWAY_RELEASE_NAME_SIZE], canary[GATEWAY_RELEASE_NAME_SIZE];
    char reason[GATEWAY_RELEASE_REASON_SIZE];
    uint32_t step;
    double share;
};

/* Somebody waits until what was done is in the file. */
struct gateway_wait {
    struct gateway_wait *next;
    void (*written)(struct gateway_wait *wait, int32_t code, const hf_error *error);
};

/* On its way to the disk; nothing in it is anybody else's. */
struct gateway_writing {
    hf_job job; /* first */
    struct gateway_desk *desk;
    const hf_host *host;
    const hf_signal_interface *signals;
    char *path;
    hf_buffer text;
    struct gateway_note *notes;
    struct gateway_wait *waits;
    int32_t code;
    hf_error error;
};

struct gateway_desk_slot {
    struct gateway_release *release; /* owned; NULL: free */
    hf_metric *share, *step;
    hf_metric *counts[GATEWAY_VERSIONS][GATEWAY_RELEASE_METRICS]; /* requests, failed, slow */
};

struct gateway_desk {
    const hf_host *host;
    const hf_loop_interface *loops;
    const hf_node_interface *node;
    const hf_signal_interface *signals; /* NULL: the host has none; likewise: */
    const hf_metrics_interface *metrics;
    const hf_http_interface *http;
    struct gateway_worker **workers;
    uint32_t worker_count;
    struct gateway_split_post *posts; /* by worker */
    struct gateway_desk_slot slots[GATEWAY_RELEASES_MAX];
    uint32_t last_id;
    const struct gateway_plan *plan; /* the present one, the gateway's; NULL: none yet */
    struct gateway_split *split;     /* the newest; NULL: none */
    int32_t is_stale;                /* `split`: something has changed that it should say */
    char *path;                      /* of the file; NULL: there is none, and nothing outlives the process */
    int32_t is_changed;              /* since it was written: more than counts */
    int32_t is_counting;             /* since then: counts */
    int32_t is_writing;
    uint64_t written_us;
    struct gateway_note *notes, **notes_end;
    struct gateway_wait *waits, **waits_end;
    void (*flushed)(void *arg);
    void *flushed_arg;
};

/* Reads the file, declares signals and routes.  A file that cannot be read is an error: an operator should know that a
 * release would be lost.  HF_ECORRUPT, HF_EIO, HF_ENOMEM, and the host's. */
int32_t gateway_desk_open(struct gateway_desk *desk, const hf_host *host, struct gateway_worker **workers,
                          uint32_t worker_count, hf_error *error);

/* Accepts one that was not opened. */
void gateway_desk_close(struct gateway_desk *desk);

/* There is another plan; the one before may be gone after this. */
void gateway_desk_plan(struct gateway_desk *desk, const struct gateway_plan *plan);

/* Every 100 ms or so. */
void gateway_desk_tick(struct gateway_desk *desk);

/* Calls flushed(arg) once all is in the file, perhaps at once. */
void gateway_desk_flush(struct gateway_desk *desk, void (*flushed)(void *arg), void *arg);

/* ---- What operators do; `actor` for the audit log ---------------------------------------------------------------- */

/* Begins a release; `wish` as gateway_release_read_wish gave it.  HF_ENOTFOUND: there is no such upstream; HF_EINVAL;
 * HF_ECONFLICT: one of them takes part in a release already; HF_EBUSY: too many releases; HF_ENOMEM. */
int32_t gateway_desk_start(struct gateway_desk *desk, const char *stable, const struct gateway_release *wish,
                           const char *actor, hf_error *error);

/* All users get the stable version again.  HF_ENOTFOUND; HF_ECONFLICT: it has ended before. */
int32_t gateway_desk_abort(struct gateway_desk *desk, const char *stable, const char *actor, hf_error *error);

/* NULL: there is none of that upstream. */
struct gateway_release *gateway_desk_find(const struct gateway_desk *desk, const char *stable);

/* Calls wait->written once what was done before is in the file. */
void gateway_desk_wait(struct gateway_desk *desk, struct gateway_wait *wait);

uint64_t gateway_desk_now(const struct gateway_desk *desk);

/* ---- Within the folder ------------------------------------------------------------------------------------------- */

/* Tells of what has become of a release: log, signal, audit log, and the file. */
void gateway_desk_tell(struct gateway_desk *desk, const struct gateway_release *release, const char *event,
                       const char *actor);
int32_t gateway_desk_declare_signals(struct gateway_desk *desk, hf_error *error);

/* Begins to write, if there is something, and nothing is on its way already. */
void gateway_desk_write(struct gateway_desk *desk);
int32_t gateway_desk_read(struct gateway_desk *desk, hf_error *error);

int32_t gateway_desk_add_metrics(struct gateway_desk *desk, struct gateway_desk_slot *slot, hf_error *error);
void gateway_desk_remove_metrics(struct gateway_desk *desk, struct gateway_desk_slot *slot);
void gateway_desk_set_metrics(struct gateway_desk *desk, struct gateway_desk_slot *slot);

int32_t gateway_desk_add_routes(struct gateway_desk *desk, hf_error *error);

#endif
