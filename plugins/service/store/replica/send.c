/* Messages of the group on their way to other nodes.  Entries that are not in memory any more are read from the log in
 * the pool; a message that cannot be sent is dropped, as a network would, and the group copes. */
#include "replica/private.h"

#include "bytes.h"

#include <stdlib.h>
#include <string.h>

enum { HEAD_MAX = 1 << 20, PIECES_MAX = 1024, MESSAGE_BYTES_MAX = HF_PEER_MESSAGE_MAX - (2 << 20) };

void store_outgoing_free(struct store_outgoing *messages)
{
    while (messages) {
        struct store_outgoing *next = messages->next;
        free(messages);
        messages = next;
    }
}

static void transmit(struct store_replica *replica, const struct store_outgoing *message,
                     struct store_message_entry *entries, uint32_t count)
{
    const struct store_environment *environment = replica->environment;
    struct store_message whole = {.partition = replica->setup.partition,
                                  .from = replica->self,
                                  .to = message->to,
                                  .first_index = message->first_index,
                                  .entry_count = count,
                                  .header_size = message->header_size,
                                  .entries = entries};
    uint8_t position[STORE_MESSAGE_POSITION_SIZE];
    hf_slice pieces[PIECES_MAX + 1];
    uint32_t piece_count = 2;
    hf_buffer head;

    memcpy(whole.header, message->header, message->header_size);
    hf_buffer_init(&head, HEAD_MAX);
    if (store_message_write_head(&head, &whole) == HF_OK) {
        store_write_be(position, store_log_position(environment->log), sizeof position);
        pieces[0] = (hf_slice){position, sizeof position};
        pieces[1] = (hf_slice){head.data, head.size};
        for (uint32_t i = 0; i < count; i++)
            if (entries[i].payload)
                pieces[piece_count++] = store_payload_slice(entries[i].payload);
        environment->peers->send(environment->messages, store_replica_node(message->to), pieces, piece_count);
    }
    hf_buffer_done(&head);
}

/* How many of the message's entries go out at once: as many as the link takes, at least one. */
static uint32_t fitting(const struct store_message_entry *entries, uint32_t count)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < count; i++) {
        bytes += store_payload_slice(entries[i].payload).size;
        if (i > 0 && bytes > MESSAGE_BYTES_MAX)
            return i;
    }
    return count;
}

/* ---- Entries from the log's files -------------------------------------------------------------------------------- */

struct slow_send {
    hf_job job;
    struct store_replica *replica;
    struct store_outgoing *message;
    uint32_t count;
    struct store_message_entry entries[];
};

static void read_entries(hf_job *job)
{
    struct slow_send *send = (struct slow_send *)(void *)job;
    struct store_replica *replica = send->replica;
    struct store_log *log = replica->environment->log;
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < send->count && bytes <= MESSAGE_BYTES_MAX; i++) {
        uint64_t index = send->message->first_index + i;
        struct store_log_entry stored = {0};
        struct store_payload *payload = NULL;

        if (store_log_entry(log, replica->setup.partition, index, &stored) != HF_OK)
            send->count = i;
        else if (stored.size && !(payload = store_payload_create(stored.size)))
            send->count = i;
        else if (stored.size && store_log_read(log, replica->setup.partition, index, payload->bytes, stored.size,
                                               &stored, NULL) != HF_OK)
            send->count = i;
        if (send->count == i) {
            store_payload_release(payload);
            return;
        }
        send->entries[i] = (struct store_message_entry){stored.term, stored.type, payload};
        bytes += stored.size;
        if (bytes > MESSAGE_BYTES_MAX)
            send->count = i + 1;
    }
}

static void entries_read(hf_job *job)
{
    struct slow_send *send = (struct slow_send *)(void *)job;
    struct store_replica *replica = send->replica;
    hf_replication_status status = {.size = sizeof status};

    replica->slow_sends--;
    replica->environment->replication->status(replica->group, &status);
    /* In another term the log may hold other entries at these places than those that the message is about. */
    if (send->count > 0 && status.term == send->message->term && !replica->failed && !replica->stopping)
        transmit(replica, send->message, send->entries, fitting(send->entries, send->count));
    for (uint32_t i = 0; i < send->count; i++)
        store_payload_release(send->entries[i].payload);
    store_outgoing_free(send->message);
    free(send);
    store_replica_check_stopped(replica);
}

static void send_slowly(struct store_replica *replica, struct store_outgoing *message)
{
    uint32_t count = message->entry_count < PIECES_MAX - 1 ? (uint32_t)message->entry_count : PIECES_MAX - 1;
    struct slow_send *send = NULL;

    if (replica->slow_sends < STORE_SLOW_SENDS_MAX)
        send = calloc(1, sizeof *send + count * sizeof send->entries[0]);
    if (!send) {
        store_outgoing_free(message);
        return;
    }
    message->next = NULL;
    send->job.loop = replica->setup.loop;
    send->job.work = read_entries;
    send->job.done = entries_read;
    send->replica = replica;
    send->message = message;
    send->count = count;
    if (replica->environment->loops->submit(replica->environment->host, &send->job, NULL) == HF_OK) {
        replica->slow_sends++;
    } else {
        store_outgoing_free(message);
        free(send);
    }
}

/* ---- Sending ----------------------------------------------------------------------------------------------------- */

void store_send(struct store_replica *replica, struct store_outgoing *message)
{
    struct store_message_entry entries[PIECES_MAX];
    uint32_t count = message->entry_count < PIECES_MAX - 1 ? (uint32_t)message->entry_count : PIECES_MAX - 1;

    message->next = NULL;
    if (!replica->environment->peers || replica->failed) {
        store_outgoing_free(message);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct store_entry_slot *slot = store_entries_get(&replica->entries, message->first_index + i);

        if (!slot) {
            send_slowly(replica, message);
            return;
        }
        entries[i] = (struct store_message_entry){slot->term, slot->type, slot->payload};
    }
    transmit(replica, message, entries, fitting(entries, count));
    store_outgoing_free(message);
}

static struct store_outgoing *copy_message(const struct store_replica *replica, const hf_replication_message *message)
{
    struct store_outgoing *outgoing = malloc(sizeof *outgoing);
    hf_replication_status status = {.size = sizeof status};

    if (!outgoing)
        return NULL;
    replica->environment->replication->status(replica->group, &status);
    *outgoing = (struct store_outgoing){.term = status.term,
                                        .to = message->to,
                                        .first_index = message->first_index,
                                        .entry_count = message->entry_count,
                                        .header_size = message->header_size};
    memcpy(outgoing->header, message->header, message->header_size);
    return outgoing;
}

static void wait_for_storage(struct store_storage *storage, struct store_outgoing *message)
{
    if (storage->messages)
        storage->messages_last->next = message;
    else
        storage->messages = message;
    storage->messages_last = message;
}

void store_send_output(struct store_replica *replica, const hf_replication_output *output)
{
    for (uint64_t i = 0; i < output->message_count; i++) {
        struct store_outgoing *message = copy_message(replica, &output->messages[i]);

        if (!message)
            return; /* as if they were lost */
        message->next = NULL;
        if (output->messages[i].after_persist && replica->storage_last)
            wait_for_storage(replica->storage_last, message);
        else
            store_send(replica, message);
    }
}
