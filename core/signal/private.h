/* signal/private.h: between the files of the signals. */
#ifndef HOLDFAST_CORE_SIGNAL_PRIVATE_H
#define HOLDFAST_CORE_SIGNAL_PRIVATE_H

#include "metrics.h"
#include "pool.h"
#include "signal/audit.h"
#include "signal/signals.h"

#include <stdatomic.h>

enum {
    SIGNAL_KINDS_MAX = 64,
    SIGNAL_ACTIONS_MAX = 64,
    SIGNAL_ACTIVE_MAX = 1000,
    SIGNAL_WAITING_MAX = 1000,
    SIGNAL_DETAIL_MAX = 64 << 10,
    SIGNAL_NAME_MAX = 63,
    SIGNAL_SUBJECT_MAX = 255
};

struct signal_kind {
    hf_signal_kind kind;
    hf_metric *total, *active;
    uint32_t active_count;
};

struct signal_action {
    hf_action action;
    hf_metric *outcomes[3]; /* ok, failed, braked */
    uint64_t last_us, hour_us;
    uint32_t in_hour;
    int32_t running;
};

/* One that was raised and is not over; newest first. */
struct active_signal {
    struct active_signal *next;
    struct signal_kind *kind;
    char subject[SIGNAL_SUBJECT_MAX + 1];
    char source[SIGNAL_NAME_MAX + 1];
    uint64_t first_us, last_us; /* since 1970 */
    uint64_t count;
    char *detail; /* JSON */
};

struct hf_signals {
    hf_signals_settings settings;
    hf_audit *audit;
    hf_decision *decision;
    uint32_t kind_count;
    struct signal_kind kinds[SIGNAL_KINDS_MAX];
    uint32_t action_count;
    struct signal_action actions[SIGNAL_ACTIONS_MAX];
    struct active_signal *active;
    uint32_t active_count;
    _Atomic uint32_t waiting;
    hf_metric *dropped;
};

struct signal_action *hf_signals_find_action(hf_signals *signals, hf_slice name);
uint64_t hf_signals_wall_us(void);

/* actions.c: what core itself can do. */
int32_t hf_signals_offer_own(hf_signals *signals, hf_error *error);
/* Writes an entry of the audit log in the pool; the detail is copied. */
void hf_signals_note(hf_signals *signals, const char *actor, const char *kind, const hf_value *detail);
/* Runs a policy's wish, if the brakes allow it. */
void hf_signals_obey(hf_signals *signals, const hf_value *wish, const char *subject);

#endif
