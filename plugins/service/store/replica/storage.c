/* What a replica stores in the node's log, in order, and what waits for it. */
#include "replica/private.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>

struct store_storage *store_storage_create(struct store_replica *replica, uint64_t records)
{
    struct store_storage *storage = calloc(1, sizeof *storage);

    if (!storage)
        return NULL;
    storage->replica = replica;
    storage->count = records;
    storage->records = calloc(records ? records : 1, sizeof *storage->records);
    storage->payloads = calloc(records ? records : 1, sizeof(struct store_payload *));
    if (!storage->records || !storage->payloads) {
        free(storage->records);
        free(storage->payloads);
        free(storage);
        return NULL;
    }
    return storage;
}

static void release(struct store_storage *storage)
{
    for (uint64_t i = 0; i < storage->count; i++)
        store_payload_release(storage->payloads[i]);
    store_outgoing_free(storage->messages);
    free(storage->payloads);
    free(storage->records);
    free(storage);
}

/* The batch is durable, or the log has failed. */
static void finish(struct store_storage *storage)
{
    struct store_replica *replica = storage->replica;
    const hf_replication *replication = replica->environment->replication;

    if (storage->code != HF_OK) {
        hf_error error = {0};
        hf_error_set(&error, storage->code, "the node's log could not be written");
        store_replica_fail(replica, "storing entries", &error);
        return;
    }
    if (storage->compacted)
        replication->compacted(replica->group, storage->compacted, NULL);
    if (storage->write_id)
        replication->persisted(replica->group, storage->write_id);
    while (storage->messages) {
        struct store_outgoing *message = storage->messages;
        storage->messages = message->next;
        store_send(replica, message);
    }
    if (storage->installed)
        store_snapshot_stored(replica);
}

static void finished(hf_task *task)
{
    struct store_storage *storage = (struct store_storage *)((char *)task - offsetof(struct store_storage, task));
    struct store_replica *replica = storage->replica;

    /* The log completes in the order of submission, so this is the first. */
    replica->storage = storage->next;
    if (!replica->storage)
        replica->storage_last = NULL;
    if (!replica->failed)
        finish(storage);
    release(storage);
    if (!replica->failed)
        store_replica_run_soon(replica);
    store_replica_check_stopped(replica);
}

/* [the log's thread] */
static void written(struct store_log_request *request, int32_t code, void *argument)
{
    struct store_storage *storage = argument;

    (void)request;
    storage->code = code;
    storage->task.run = finished;
    storage->replica->environment->loops->post(storage->replica->setup.loop, &storage->task);
}

static void submit(struct store_storage *storage)
{
    struct store_replica *replica = storage->replica;
    hf_error error = {0};
    int32_t result = store_log_submit(replica->environment->log, &storage->request, &error);

    if (result == HF_OK) {
        storage->submitted = 1;
    } else if (result != HF_EBUSY) {
        storage->submitted = 1;
        written(&storage->request, result, storage);
        store_replica_log(replica, HF_LOG_ERROR, "the log refused entries: %s", error.message);
    }
}

void store_storage_submit(struct store_storage *storage)
{
    struct store_replica *replica = storage->replica;
    int behind = replica->storage_last && !replica->storage_last->submitted;

    storage->request.records = storage->records;
    storage->request.count = storage->count;
    storage->request.done = written;
    storage->request.argument = storage;
    if (replica->storage_last)
        replica->storage_last->next = storage;
    else
        replica->storage = storage;
    replica->storage_last = storage;
    if (!behind)
        submit(storage);
}

void store_storage_retry(struct store_replica *replica)
{
    for (struct store_storage *storage = replica->storage; storage; storage = storage->next) {
        if (!storage->submitted)
            submit(storage);
        if (!storage->submitted)
            return;
    }
}

static void add_entry(struct store_storage *storage, uint64_t place, uint64_t index)
{
    struct store_replica *replica = storage->replica;
    const struct store_entry_slot *slot = store_entries_get(&replica->entries, index);

    storage->payloads[place] = store_payload_hold(slot->payload);
    storage->records[place] = (struct store_log_record){.type = STORE_LOG_ENTRY,
                                                        .entry_type = slot->type,
                                                        .group = replica->setup.partition,
                                                        .index = index,
                                                        .term = slot->term,
                                                        .payload = store_payload_slice(slot->payload)};
}

int32_t store_storage_output(struct store_replica *replica, const hf_replication_output *output)
{
    uint64_t group = replica->setup.partition, place = 0;
    struct store_storage *storage;

    if (!output->write_id)
        return HF_OK;
    storage = store_storage_create(replica,
                                   (output->state_changed != 0) + (output->truncate_from != 0) + output->append_count);
    if (!storage)
        return HF_ENOMEM;
    storage->write_id = output->write_id;
    if (output->state_changed)
        storage->records[place++] = (struct store_log_record){.type = STORE_LOG_STATE,
                                                              .group = group,
                                                              .term = output->state.term,
                                                              .vote = output->state.vote,
                                                              .commit = output->state.commit};
    if (output->truncate_from)
        storage->records[place++] =
            (struct store_log_record){.type = STORE_LOG_TRUNCATE, .group = group, .index = output->truncate_from};
    for (uint64_t i = 0; i < output->append_count; i++)
        add_entry(storage, place++, output->append_first + i);
    store_storage_submit(storage);
    return HF_OK;
}
