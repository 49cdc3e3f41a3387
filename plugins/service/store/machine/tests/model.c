/* The state machine's rules, as simply as they can be said; see model.h. */
#include "model.h"

const struct model_record *model_find(const struct model *model, hf_slice key)
{
    for (int i = 0; i < MODEL_RECORDS; i++)
        if (model->records[i].version && model->records[i].key_size == key.size &&
            memcmp(model->records[i].key, key.data, key.size) == 0)
            return &model->records[i];
    return NULL;
}

static int has_expired(const struct model_record *record, uint64_t now_us)
{
    return record->deadline_us && record->deadline_us <= now_us;
}

static int conflicts(const struct model *model, const struct store_command *command, struct store_outcome *outcome)
{
    for (uint64_t i = 0; i < command->operation_count; i++) {
        const struct store_operation *o = &command->operations[i];
        const struct model_record *record = model_find(model, o->key);

        if (record && has_expired(record, command->time_us))
            record = NULL;
        uint64_t version = record ? record->version : 0;

        if ((o->condition == STORE_IF_ABSENT && record) || (o->condition == STORE_IF_PRESENT && !record) ||
            (o->condition == STORE_IF_VERSION && (!record || version != o->version))) {
            *outcome = (struct store_outcome){.code = HF_ECONFLICT, .version = version, .operation = i};
            return 1;
        }
    }
    return 0;
}

static void change_record(struct model *model, const struct store_operation *o, uint64_t version, uint64_t time_us)
{
    struct model_record *record = &model->records[0];
    const struct model_record *found = model_find(model, o->key);

    if (found)
        record = &model->records[found - model->records];
    else
        while (record->version)
            record++;
    memset(record, 0, sizeof *record);
    if (o->type == STORE_DELETE)
        return;
    *record = (struct model_record){
        .key_size = o->key.size, .value_size = o->value.size, .version = version, .time_us = time_us};
    if (o->expire_after)
        record->deadline_us = time_us + o->expire_after * UINT64_C(1000000);
    memcpy(record->key, o->key.data, o->key.size);
    memcpy(record->value, o->value.data, o->value.size);
}

static struct model_repeat *find_repeat(struct model *model, hf_slice key)
{
    for (uint32_t i = 0; key.size && i < model->repeat_count; i++)
        if (!model->repeats[i].forgotten && model->repeats[i].key_size == key.size &&
            memcmp(model->repeats[i].key, key.data, key.size) == 0)
            return &model->repeats[i];
    return NULL;
}

static void note_change(struct model *model, uint64_t index, uint64_t version, uint64_t time_us)
{
    struct model_change *newest = model->change_count ? &model->changes[model->change_count - 1] : NULL;

    if (newest && model->last_changed_index == index) {
        newest->last = version;
        return;
    }
    model->last_changed_index = index;
    model->changes[model->change_count++] = (struct model_change){version, version, time_us};
}

/* 1: something was removed. */
static int expire(struct model *model, const struct store_command *c)
{
    int removed = 0;

    for (uint64_t i = 0; i < c->operation_count; i++) {
        const struct store_operation *o = &c->operations[i];
        const struct model_record *record = model_find(model, o->key);

        if (!record || record->version != o->version || !has_expired(record, c->time_us))
            continue;
        model->records[record - model->records] = (struct model_record){.version = 0};
        model->expired++;
        removed = 1;
    }
    return removed;
}

/* Of the bytes of the operations. */
static uint64_t hash_of(const struct store_command *c)
{
    uint64_t head = 1 + 8 + 8 + 16 + 1 + c->idempotency_key.size, hash;
    hf_buffer bytes;

    hf_buffer_init(&bytes, 1 << 20);
    assert_int_equal(store_command_encode(&bytes, c, NULL), 0);
    hash = hf_hash64(0, bytes.data + head, bytes.size - head);
    hf_buffer_done(&bytes);
    return hash;
}

static void perform(struct model *model, uint64_t index, const struct store_command *c, struct store_outcome *outcome)
{
    uint64_t version = ++model->state.version;
    const struct model_repeat *known = find_repeat(model, c->idempotency_key);

    uint64_t asked = c->idempotency_key.size ? hash_of(c) : 0;

    if (known) {
        *outcome = known->outcome;
        if (known->asked != asked)
            outcome->code = HF_EINVAL;
        return;
    }
    *outcome = (struct store_outcome){.version = version};
    if (c->operations[0].type == STORE_EXPIRE) {
        if (expire(model, c))
            note_change(model, index, version, c->time_us);
        return;
    }
    if (!conflicts(model, c, outcome)) {
        for (uint64_t i = 0; i < c->operation_count; i++)
            change_record(model, &c->operations[i], version, c->time_us);
        note_change(model, index, version, c->time_us);
    }
    if (c->idempotency_key.size == 0)
        return;
    struct model_repeat *repeat = &model->repeats[model->repeat_count++];

    *repeat = (struct model_repeat){.key_size = c->idempotency_key.size,
                                    .time_us = c->time_us,
                                    .index = index,
                                    .outcome = *outcome,
                                    .asked = asked};
    repeat->outcome.repeated = 1;
    memcpy(repeat->key, c->idempotency_key.data, c->idempotency_key.size);
}

static void forget_repeats(struct model *model, uint64_t horizon_us)
{
    for (int n = 0; n < 2; n++) {
        uint32_t oldest = 0;

        while (oldest < model->repeat_count && model->repeats[oldest].forgotten)
            oldest++;
        if (oldest == model->repeat_count || model->repeats[oldest].time_us >= horizon_us)
            return;
        for (uint64_t index = model->repeats[oldest].index;
             oldest < model->repeat_count && model->repeats[oldest].index == index; oldest++)
            model->repeats[oldest].forgotten = 1;
    }
}

static void forget(struct model *model, const struct kit_command *c)
{
    for (int n = 0; n < 4 && model->changes_forgotten + 1 < model->change_count; n++) {
        if (model->changes[model->changes_forgotten].time_us >= c->feed_horizon_us)
            break;
        model->changes_forgotten++;
    }
    forget_repeats(model, c->repeat_horizon_us);
    if (model->change_count) {
        model->state.feed_first = model->changes[model->changes_forgotten].first;
        model->state.feed_last = model->changes[model->change_count - 1].last;
    }
}

void model_apply(struct model *model, const struct kit_random_entry *random, struct store_outcome *ret_outcomes)
{
    const struct store_entry *entry = &random->entry;

    model->state.applied_index = entry->index;
    model->state.applied_term = entry->term;
    if (entry->type == HF_ENTRY_MEMBERSHIP) {
        memset(model->state.members, 0, sizeof model->state.members);
        memcpy(model->state.members, entry->payload.data, entry->payload.size);
        model->state.member_count = (uint32_t)(entry->payload.size / sizeof model->state.members[0]);
    }
    for (uint32_t i = 0; i < random->command_count; i++)
        perform(model, entry->index, &random->commands[i].command, &ret_outcomes[i]);
    if (random->command_count)
        forget(model, &random->commands[0]);
}
