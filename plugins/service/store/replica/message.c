/* Big endian: version 1, header size 1, partition 8, from 8, to 8, first index 8, entry count 4, the strategy's header,
 * for each entry term 8, type 1 and size 4, and then the payloads one after the other. */
#include "replica/message.h"

#include "bytes.h"

#include <stdlib.h>
#include <string.h>

enum { VERSION = 1, HEAD_SIZE = 1 + 1 + 8 + 8 + 8 + 8 + 4, ENTRY_SIZE = 8 + 1 + 4 };

static uint8_t *put(uint8_t *to, uint64_t number, int size)
{
    store_write_be(to, number, size);
    return to + size;
}

int32_t store_message_write_head(hf_buffer *buffer, const struct store_message *message)
{
    uint64_t size = HEAD_SIZE + message->header_size + (uint64_t)message->entry_count * ENTRY_SIZE;
    int32_t result = hf_buffer_reserve(buffer, size);
    uint8_t *to;

    if (result != HF_OK)
        return result;
    to = buffer->data + buffer->size;
    *to++ = VERSION;
    *to++ = (uint8_t)message->header_size;
    to = put(to, message->partition, 8);
    to = put(to, message->from, 8);
    to = put(to, message->to, 8);
    to = put(to, message->first_index, 8);
    to = put(to, message->entry_count, 4);
    memcpy(to, message->header, message->header_size);
    to += message->header_size;
    for (uint32_t i = 0; i < message->entry_count; i++) {
        const struct store_message_entry *entry = &message->entries[i];

        to = put(to, entry->term, 8);
        *to++ = (uint8_t)entry->type;
        to = put(to, entry->payload ? entry->payload->size : 0, 4);
    }
    buffer->size += size;
    return HF_OK;
}

static int32_t read_entries(const uint8_t *table, hf_slice payloads, struct store_message *message)
{
    for (uint32_t i = 0; i < message->entry_count; i++, table += ENTRY_SIZE) {
        uint64_t size = (uint32_t)store_read_be(table + 9, 4);

        if (size > payloads.size)
            return HF_EPROTOCOL;
        message->entries[i].term = store_read_be(table, 8);
        message->entries[i].type = table[8];
        if (size > 0) {
            message->entries[i].payload = store_payload_copy((hf_slice){payloads.data, size});
            if (!message->entries[i].payload)
                return HF_ENOMEM;
        }
        payloads.data += size;
        payloads.size -= size;
    }
    return payloads.size == 0 ? HF_OK : HF_EPROTOCOL;
}

int32_t store_message_read(hf_slice bytes, struct store_message *ret_message)
{
    const uint8_t *from = bytes.data;
    uint64_t left = bytes.size, table;
    int32_t result;

    *ret_message = (struct store_message){0};
    if (left < HEAD_SIZE || from[0] != VERSION || from[1] > HF_REPLICATION_HEADER_MAX)
        return HF_EPROTOCOL;
    ret_message->header_size = from[1];
    ret_message->partition = store_read_be(from + 2, 8);
    ret_message->from = store_read_be(from + 10, 8);
    ret_message->to = store_read_be(from + 18, 8);
    ret_message->first_index = store_read_be(from + 26, 8);
    ret_message->entry_count = (uint32_t)store_read_be(from + 34, 4);
    from += HEAD_SIZE;
    left -= HEAD_SIZE;
    table = (uint64_t)ret_message->entry_count * ENTRY_SIZE;
    if (left < ret_message->header_size || left - ret_message->header_size < table)
        return HF_EPROTOCOL;
    memcpy(ret_message->header, from, ret_message->header_size);
    from += ret_message->header_size;
    left -= ret_message->header_size;
    if (ret_message->entry_count == 0)
        return left == 0 ? HF_OK : HF_EPROTOCOL;
    ret_message->entries = calloc(ret_message->entry_count, sizeof *ret_message->entries);
    if (!ret_message->entries)
        return HF_ENOMEM;
    result = read_entries(from, (hf_slice){from + table, left - table}, ret_message);
    if (result != HF_OK)
        store_message_done(ret_message);
    return result;
}

void store_message_done(struct store_message *message)
{
    for (uint32_t i = 0; i < message->entry_count && message->entries; i++)
        store_payload_release(message->entries[i].payload);
    free(message->entries);
    message->entries = NULL;
    message->entry_count = 0;
}
