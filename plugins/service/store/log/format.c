/* Encodes and decodes what is in a segment file.  Pure functions, any thread. */
#include "format.h"

#include <holdfast/lib/checksum.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t magic[8] = {'H', 'F', 'L', 'O', 'G', 'S', 'E', 'G'};

static void put(uint8_t *out, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get(const uint8_t *in, int bytes)
{
    uint64_t value = 0;

    for (int i = bytes; i-- > 0;)
        value = value << 8 | in[i];
    return value;
}

void segment_name(uint64_t number, const char *suffix, char name[SEGMENT_NAME_SIZE])
{
    snprintf(name, SEGMENT_NAME_SIZE, "%016" PRIx64 "%s", number, suffix);
}

int segment_name_parse(const char *name, const char *suffix, uint64_t *ret_number)
{
    char digits[17] = "";

    if (strlen(name) != 16 + strlen(suffix) || strcmp(name + 16, suffix) != 0)
        return 0;
    memcpy(digits, name, 16);
    if (strspn(digits, "0123456789abcdef") != 16)
        return 0;
    *ret_number = strtoull(digits, NULL, 16);
    return *ret_number != 0;
}

void segment_header_encode(const struct segment_header *header, uint8_t out[SEGMENT_HEADER_SIZE])
{
    memset(out, 0, SEGMENT_HEADER_SIZE);
    memcpy(out, magic, sizeof magic);
    put(out + 8, header->version, 4);
    put(out + 12, header->segment_size, 4);
    memcpy(out + 16, header->node, 16);
    put(out + 32, header->number, 8);
    put(out + 40, header->previous, 8);
    put(out + 48, header->previous_end, 4);
    put(out + 60, hf_crc32c(0, out, 60), 4);
}

int32_t segment_header_decode(const uint8_t *data, uint64_t size, struct segment_header *ret_header)
{
    if (size < SEGMENT_HEADER_SIZE || memcmp(data, magic, sizeof magic) != 0)
        return HF_ECORRUPT;
    if (get(data + 60, 4) != hf_crc32c(0, data, 60))
        return HF_ECORRUPT;
    ret_header->version = (uint32_t)get(data + 8, 4);
    if (ret_header->version != SEGMENT_VERSION)
        return HF_EVERSION;
    ret_header->segment_size = (uint32_t)get(data + 12, 4);
    memcpy(ret_header->node, data + 16, 16);
    ret_header->number = get(data + 32, 8);
    ret_header->previous = get(data + 40, 8);
    ret_header->previous_end = (uint32_t)get(data + 48, 4);
    return 0;
}

uint32_t segment_seed(const uint8_t node[16], uint64_t number)
{
    uint8_t bytes[8];

    put(bytes, number, 8);
    return hf_crc32c(hf_crc32c(0, node, 16), bytes, sizeof bytes);
}

uint32_t record_payload_size(const struct store_log_record *record)
{
    switch (record->type) {
    case STORE_LOG_ENTRY:
        return (uint32_t)record->payload.size;
    case STORE_LOG_STATE:
        return 16;
    case STORE_LOG_COMPACT:
        return 8;
    default:
        return 0;
    }
}

uint32_t record_stored_size(uint32_t payload_size)
{
    return (RECORD_HEADER_SIZE + payload_size + RECORD_ALIGNMENT - 1) & ~(RECORD_ALIGNMENT - 1);
}

/* Covers all of the header but the two checks, so that a torn record can be told from the file's former life. */
static uint16_t header_check(const uint8_t *header, uint32_t seed)
{
    uint32_t crc = hf_crc32c(hf_crc32c(seed, header, 4), header + 8, 2);

    crc = hf_crc32c(crc, header + 12, RECORD_HEADER_SIZE - 12);
    return (uint16_t)(crc ^ crc >> 16);
}

static uint32_t record_crc(const uint8_t *header, const void *payload, uint64_t size, uint32_t seed)
{
    uint32_t crc = hf_crc32c(seed, header, 4);

    return hf_crc32c(hf_crc32c(crc, header + 8, RECORD_HEADER_SIZE - 8), payload, size);
}

uint32_t record_encode(const struct store_log_record *record, uint32_t seed, uint32_t batch, uint8_t *out)
{
    uint32_t size = record_payload_size(record);
    uint8_t *own = out + RECORD_HEADER_SIZE;
    int entry = record->type == STORE_LOG_ENTRY;

    memset(out, 0, RECORD_HEADER_SIZE);
    put(out, size, 4);
    out[8] = (uint8_t)record->type;
    out[9] = entry ? (uint8_t)record->entry_type : 0;
    put(out + 12, batch, 4);
    put(out + 16, record->group, 8);
    put(out + 24, record->index, 8);
    put(out + 32, record->term, 8);
    put(out + 10, header_check(out, seed), 2);
    if (record->type == STORE_LOG_STATE) {
        put(own, record->vote, 8);
        put(own + 8, record->commit, 8);
    } else if (record->type == STORE_LOG_COMPACT) {
        put(own, record->snapshot_index, 8);
    }
    put(out + 4, record_crc(out, entry ? record->payload.data : own, size, seed), 4);
    return RECORD_HEADER_SIZE + (entry ? 0 : size);
}

int record_begins(const uint8_t *data, uint64_t size, uint32_t seed)
{
    return size >= RECORD_HEADER_SIZE && data[8] >= STORE_LOG_ENTRY && data[8] <= STORE_LOG_REMOVED &&
           get(data + 10, 2) == header_check(data, seed);
}

static int size_fits(int type, uint32_t size)
{
    struct store_log_record fixed = {.type = type};

    return type == STORE_LOG_ENTRY ? size <= SEGMENT_SIZE_MAX : size == record_payload_size(&fixed);
}

static struct record_view view_of(const uint8_t *header, const uint8_t *payload)
{
    uint32_t size = (uint32_t)get(header, 4);
    struct record_view view = {.record = {.type = header[8],
                                          .entry_type = header[9],
                                          .group = get(header + 16, 8),
                                          .index = get(header + 24, 8),
                                          .term = get(header + 32, 8)},
                               .batch = (uint32_t)get(header + 12, 4),
                               .stored_size = record_stored_size(size),
                               .payload_size = size};

    if (header[8] == STORE_LOG_ENTRY)
        view.record.payload = (hf_slice){payload, size};
    if (header[8] == STORE_LOG_STATE) {
        view.record.vote = get(payload, 8);
        view.record.commit = get(payload + 8, 8);
    }
    if (header[8] == STORE_LOG_COMPACT)
        view.record.snapshot_index = get(payload, 8);
    return view;
}

uint64_t record_group(const uint8_t *header)
{
    return get(header + 16, 8);
}

uint64_t record_claimed_size(const uint8_t *header)
{
    uint64_t payload = get(header, 4);

    return size_fits(header[8], (uint32_t)payload) ? record_stored_size((uint32_t)payload) : 0;
}

int32_t record_decode(const uint8_t *data, uint64_t size, uint32_t seed, uint64_t offset, struct record_view *ret_view)
{
    if (!record_begins(data, size, seed))
        return HF_ECORRUPT;
    uint32_t payload = (uint32_t)get(data, 4), batch = (uint32_t)get(data + 12, 4);

    if (!size_fits(data[8], payload) || record_stored_size(payload) > size)
        return HF_ECORRUPT;
    if (batch > offset || batch < SEGMENT_HEADER_SIZE || batch % RECORD_ALIGNMENT)
        return HF_ECORRUPT;
    if (get(data + 4, 4) != record_crc(data, data + RECORD_HEADER_SIZE, payload, seed))
        return HF_ECORRUPT;
    *ret_view = view_of(data, data + RECORD_HEADER_SIZE);
    return 0;
}

int32_t record_check_entry(const uint8_t header[RECORD_HEADER_SIZE], const void *payload, uint32_t payload_size,
                           uint32_t seed, const struct store_log_record *expected)
{
    if (!record_begins(header, RECORD_HEADER_SIZE, seed) || header[8] != STORE_LOG_ENTRY ||
        get(header, 4) != payload_size)
        return HF_ECORRUPT;
    struct record_view view = view_of(header, payload);

    if (view.record.group != expected->group || view.record.index != expected->index ||
        view.record.term != expected->term || view.record.entry_type != expected->entry_type)
        return HF_ECORRUPT;
    return get(header + 4, 4) == record_crc(header, payload, payload_size, seed) ? 0 : HF_ECORRUPT;
}
