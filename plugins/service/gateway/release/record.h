/* record.h: a release of a new version: what was asked for, and how far it has come; as JSON, for people and for the
 * file that outlives the process.  Pure. */
#ifndef GATEWAY_RECORD_H
#define GATEWAY_RECORD_H

#include "canary/canary.h"

#include <holdfast/lib/json.h>

enum {
    GATEWAY_RELEASES_MAX = 16, /* of a process, ended ones too */
    GATEWAY_RELEASE_NAME_SIZE = 128,
    GATEWAY_RELEASE_REASON_SIZE = 384
};

enum {
    GATEWAY_RELEASE_RUNNING,
    GATEWAY_RELEASE_PROMOTED,    /* everybody has it */
    GATEWAY_RELEASE_ROLLED_BACK, /* nobody has it: it was worse */
    GATEWAY_RELEASE_ABORTED      /* nobody has it: somebody wanted that */
};

struct gateway_release {
    uint32_t id; /* of this process; 0: none yet */
    int32_t state;
    char stable[GATEWAY_RELEASE_NAME_SIZE]; /* names of upstreams */
    char canary[GATEWAY_RELEASE_NAME_SIZE];
    char key[GATEWAY_RELEASE_NAME_SIZE]; /* "cookie user" */
    uint64_t slow_us;                    /* a request that takes longer is slow; 0: none is */
    struct gateway_canary_rules rules;
    struct gateway_canary test;
    struct gateway_canary_count totals[GATEWAY_VERSIONS]; /* in all steps */
    uint64_t began_ms, changed_ms;                        /* since 1970 */
    char reason[GATEWAY_RELEASE_REASON_SIZE];             /* of its end; "" */
};

/* "running", "promoted", "rolled_back", "aborted"; static. */
const char *gateway_release_state(int32_t state);

/* The share of users that have the canary, in per cent. */
double gateway_release_share(const struct gateway_release *release);

/* What somebody asks for, an object with `canary` and the optional `key`, `steps`, `requests_minimum`, `step_time_ms`,
 * `margin_failed`, `margin_slow`, `slow_ms`, `error`; the rest of *ret_release is zero.  HF_EINVAL: what is wrong. */
int32_t gateway_release_read_wish(const hf_value *wish, struct gateway_release *ret_release, hf_error *error);

/* One object.  `now_us`: monotonic. */
void gateway_release_write(hf_json_writer *writer, const struct gateway_release *release, uint64_t now_us);

/* All of them, as a file: appended to `text`.  Errors as hf_json_append. */
int32_t gateway_releases_write(hf_buffer *text, const struct gateway_release *const *releases, uint32_t count,
                               uint64_t now_us);

/* The time in its step goes on where it was.  HF_ECORRUPT: not such a file, or one of a later version; HF_ENOMEM. */
int32_t gateway_releases_read(hf_slice text, uint64_t now_us, struct gateway_release *releases, uint32_t *ret_count,
                              hf_error *error);

#endif
