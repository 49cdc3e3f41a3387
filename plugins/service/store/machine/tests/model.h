/* model.h: what a state machine must do, in plain arrays, without an engine. */
#ifndef STORE_MACHINE_MODEL_H
#define STORE_MACHINE_MODEL_H

#include "kit.h"

enum { MODEL_ENTRIES = 256, MODEL_RECORDS = 64 };

struct model_record {
    uint8_t key[8], value[64];
    uint64_t key_size, value_size, version, time_us, deadline_us;
};

struct model_repeat {
    uint8_t key[8];
    uint64_t key_size, time_us;
    uint64_t index; /* of the entry */
    struct store_outcome outcome;
    uint64_t asked;
    int forgotten;
};

/* An entry in the feed. */
struct model_change {
    uint64_t first, last, time_us;
};

struct model {
    struct store_machine_state state;
    struct model_record records[MODEL_RECORDS]; /* version 0: free */
    struct model_repeat repeats[MODEL_ENTRIES * KIT_COMMANDS_MAX];
    struct model_change changes[MODEL_ENTRIES];
    uint32_t repeat_count, change_count, changes_forgotten;
    uint64_t last_changed_index;
    uint64_t expired; /* records that were removed because of their deadline */
};

void model_apply(struct model *model, const struct kit_random_entry *entry, struct store_outcome *ret_outcomes);
const struct model_record *model_find(const struct model *model, hf_slice key);

#endif
