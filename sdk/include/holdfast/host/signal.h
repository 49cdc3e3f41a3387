/* host/signal.h: what a process notices about itself, and what can be done about it: host->query(host, "hf.signal/1").
 *
 * A detector raises a signal about a subject and clears it when it is over.  Every raised signal asks the decision
 * point "remediation.on_signal"; its policy may name actions, which are run within brakes.  Signals, decisions and
 * actions are written to the audit log.
 *
 * Changes
 *   1.0  first version
 */
#ifndef HOLDFAST_HOST_SIGNAL_H
#define HOLDFAST_HOST_SIGNAL_H

#include <holdfast/lib/arena.h>
#include <holdfast/lib/value.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HF_SIGNAL_INTERFACE "hf.signal/1"

enum { HF_SIGNAL_INFO = 0, HF_SIGNAL_WARNING = 1, HF_SIGNAL_CRITICAL = 2 };

/* A kind of signal.  All strings are static. */
typedef struct hf_signal_kind {
    uint32_t size;    /* sizeof(hf_signal_kind) */
    int32_t severity; /* HF_SIGNAL_... */
    const char *name; /* "disk.low": a-z, 0-9, '_' and '.' */
    const char *doc;  /* when it is raised, and what its detail has */
} hf_signal_kind;

typedef struct hf_action_parameter {
    const char *name;
    const char *doc;
    int32_t type; /* HF_VALUE_... */
    int32_t required;
} hf_action_parameter;

/* Something that can be done.  All strings are static. */
typedef struct hf_action {
    uint32_t size;            /* sizeof(hf_action) */
    uint32_t parameter_count; /* up to 8 */
    const char *name;         /* "disk.trim_reports" */
    const char *doc;          /* what it does, and whether it can be taken back */
    const hf_action_parameter *parameters;
    /* Does it; `arguments` is a map with what was declared.  The result, a map or null, lies in the arena.  [pool] */
    int32_t (*run)(void *arg, const hf_value *arguments, hf_arena *arena, hf_value *ret_result, hf_error *error);
    void *arg;
} hf_action;

typedef struct hf_signal_interface {
    hf_head head;

    /* HF_EEXIST, HF_EINVAL, HF_ENOMEM.  [main], before the loops run */
    int32_t (*declare)(const hf_host *host, const hf_signal_kind *kind, hf_error *error);
    int32_t (*offer)(const hf_host *host, const hf_action *action, hf_error *error);

    /* Raises a declared signal about `subject`, with further facts in `detail` (a map, or NULL); all is copied. Raising
     * it again updates it.  HF_ENOTFOUND: not declared; HF_EBUSY: too many wait, this one is lost and counted.  [any]
     */
    int32_t (*raise)(const hf_host *host, const char *name, const char *subject, const hf_value *detail);

    /* What was raised is over; nothing happens when it was not.  Errors as above.  [any] */
    int32_t (*clear)(const hf_host *host, const char *name, const char *subject);

    /* Writes an entry to the audit log and flushes it: who (`actor`, such as "user 12ab"), what (`kind`, a name as of a
     * signal) and what more there is to say (a map).  For what a person has asked a plugin to do that is no action.
     * HF_EIO, HF_ENOMEM, HF_EINVAL.  Blocks.  [pool] */
    int32_t (*note)(const hf_host *host, const char *actor, const char *kind, const hf_value *detail, hf_error *error);
} hf_signal_interface;

#ifdef __cplusplus
}
#endif
#endif
