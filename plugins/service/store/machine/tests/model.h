/* model.h: what a state machine must do, in plain arrays, without an engine. */
#ifndef STORE_MACHINE_MODEL_H
#define STORE_MACHINE_MODEL_H

#include "machine.h"

enum { MODEL_ENTRIES = 256, MODEL_RECORDS = 64 };

struct model_record {
    uint8_t key[8], value[64];
    uint64_t key_size, value_size, version, time_us;
};

struct model_repeat {
    uint8_t key[8];
    uint64_t key_size, time_us;
    struct store_outcome outcome;
    int forgotten;
};

struct model {
    struct store_machine_state state;
    struct model_record records[MODEL_RECORDS]; /* version 0: free */
    struct model_repeat repeats[MODEL_ENTRIES];
    uint64_t changes[MODEL_ENTRIES], change_times[MODEL_ENTRIES]; /* indices of the entries in the feed */
    uint32_t repeat_count, change_count, changes_forgotten;
};

struct store_outcome model_apply(struct model *model, const struct store_entry *entry,
                                 const struct store_command *command);
const struct model_record *model_find(const struct model *model, hf_slice key);

#endif
