/* message.h: messages of a replication group as bytes between nodes.  Pure; [any]. */
#ifndef STORE_MESSAGE_H
#define STORE_MESSAGE_H

#include "replica/payload.h"

#include <holdfast/kind/replication.h>
#include <holdfast/lib/buffer.h>

/* In front of a message stands how far the sender's log is durable (store_log_position), big endian. */
enum { STORE_MESSAGE_POSITION_SIZE = 8 };

struct store_message_entry {
    uint64_t term;
    int32_t type;
    struct store_payload *payload; /* NULL: empty */
};

struct store_message {
    uint64_t partition;
    uint64_t from; /* replicas */
    uint64_t to;
    uint64_t first_index;
    uint32_t entry_count;
    uint32_t header_size;
    uint8_t header[HF_REPLICATION_HEADER_MAX];
    struct store_message_entry *entries;
};

/* Appends everything but the payloads, which follow as pieces of their own in the entries' order.  HF_ENOMEM. */
int32_t store_message_write_head(hf_buffer *buffer, const struct store_message *message);

/* Reads a whole message; its entries and payloads are copies that store_message_done frees.  HF_EPROTOCOL, HF_ENOMEM.
 */
int32_t store_message_read(hf_slice bytes, struct store_message *ret_message);
void store_message_done(struct store_message *message);

#endif
