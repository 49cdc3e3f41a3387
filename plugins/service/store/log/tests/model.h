/* model.h: what a log should hold, kept the simple way. */
#ifndef STORE_LOG_MODEL_H
#define STORE_LOG_MODEL_H

#include "store_log.h"

#include <holdfast/lib/hash.h>

enum { MODEL_GROUPS = 6, MODEL_ENTRIES = 4096, MODEL_PAYLOAD_MAX = 6000 };

struct model_group {
    int exists;
    uint64_t first, next; /* entries [first, next) */
    uint64_t compact, compact_term;
    uint64_t term, vote, commit;
    struct {
        uint64_t term, serial;
        uint32_t size;
    } entries[MODEL_ENTRIES];
};

struct model {
    struct model_group groups[MODEL_GROUPS];
};

/* A record to be, small enough to keep; `serial` makes its payload. */
struct model_record {
    struct store_log_record record;
    uint64_t serial;
};

void model_apply(struct model *model, const struct model_record *record);
/* Some record that may follow. */
struct model_record model_next(const struct model *model, hf_random *random, uint64_t serial);
void model_payload(uint64_t serial, uint8_t *out, uint64_t size);
/* Whether the log holds exactly this. */
int model_matches(const struct model *model, struct store_log *log);

#endif
