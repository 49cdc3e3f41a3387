/* Frames: payload size 4, type 1, channel 1, code 2, id 8, all little endian, and the payload.  The link is encrypted
 * and authenticated, so a frame needs no check of its own. */
#include "peer/frame.h"

#include <holdfast/lib/value.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put(uint8_t *to, uint64_t number, int size)
{
    for (int i = 0; i < size; i++)
        to[i] = (uint8_t)(number >> (8 * i));
}

static uint64_t get(const uint8_t *from, int size)
{
    uint64_t number = 0;

    for (int i = size; i-- > 0;)
        number = number << 8 | from[i];
    return number;
}

int32_t hf_frame_append(hf_buffer *buffer, const hf_frame *frame, const hf_slice *pieces, uint32_t count)
{
    uint64_t size = 0;
    uint8_t *to;
    int32_t result;

    for (uint32_t i = 0; i < count; i++)
        size += pieces[i].size;
    if (size > HF_PEER_MESSAGE_MAX)
        return HF_ETOOLARGE;
    result = hf_buffer_reserve(buffer, HF_FRAME_HEAD_SIZE + size);
    if (result)
        return result;
    to = buffer->data + buffer->size;
    put(to, size, 4);
    to[4] = (uint8_t)frame->type;
    to[5] = (uint8_t)frame->channel;
    put(to + 6, (uint16_t)(int16_t)frame->code, 2);
    put(to + 8, frame->id, 8);
    to += HF_FRAME_HEAD_SIZE;
    for (uint32_t i = 0; i < count; i++) {
        if (pieces[i].size)
            memcpy(to, pieces[i].data, pieces[i].size);
        to += pieces[i].size;
    }
    buffer->size += HF_FRAME_HEAD_SIZE + size;
    return 0;
}

int64_t hf_frame_read(hf_slice bytes, hf_frame *ret_frame, uint64_t *ret_needed)
{
    *ret_needed = HF_FRAME_HEAD_SIZE;
    if (bytes.size < HF_FRAME_HEAD_SIZE)
        return 0;
    uint64_t size = get(bytes.data, 4), maximum = HF_PEER_MESSAGE_MAX;

    *ret_frame = (hf_frame){.type = bytes.data[4],
                            .channel = bytes.data[5],
                            .code = (int16_t)get(bytes.data + 6, 2),
                            .id = get(bytes.data + 8, 8)};
    if (ret_frame->type < HF_FRAME_HELLO || ret_frame->type > HF_FRAME_PING)
        return HF_EPROTOCOL;
    if (ret_frame->type <= HF_FRAME_REFUSED)
        maximum = HF_FRAME_HELLO_MAX;
    if (ret_frame->type == HF_FRAME_PING)
        maximum = 0;
    if (size > maximum)
        return HF_EPROTOCOL;
    *ret_needed = HF_FRAME_HEAD_SIZE + size;
    if (bytes.size < *ret_needed)
        return 0;
    ret_frame->payload = (hf_slice){bytes.data + HF_FRAME_HEAD_SIZE, size};
    return (int64_t)*ret_needed;
}

int32_t hf_hello_append(hf_buffer *buffer, const hf_hello *hello)
{
    int32_t failed = hf_buffer_append_format(
        buffer, "protocol %u\ncluster %.*s\nmembers %016llx\nfrom %.*s\nto %.*s\nlane %u\n", hello->protocol,
        (int)hello->cluster.size, (const char *)hello->cluster.data, (unsigned long long)hello->members,
        (int)hello->from.size, (const char *)hello->from.data, (int)hello->to.size, (const char *)hello->to.data,
        hello->lane);

    if (hello->run && !failed)
        failed = hf_buffer_append_format(buffer, "run %016llx\n", (unsigned long long)hello->run);
    for (uint32_t i = 0; i < hello->channel_count && !failed; i++)
        failed = hf_buffer_append_format(buffer, "channel %.*s\n", (int)hello->channels[i].size,
                                         (const char *)hello->channels[i].data);
    return failed ? HF_ENOMEM : 0;
}

/* Takes the line "NAME VALUE\n" from the front. */
static int take_line(hf_slice *rest, const char *name, hf_slice *ret_value)
{
    uint64_t length = strlen(name);
    const uint8_t *end = rest->size ? memchr(rest->data, '\n', rest->size) : NULL;

    if (!end || (uint64_t)(end - rest->data) <= length || memcmp(rest->data, name, length) != 0 ||
        rest->data[length] != ' ')
        return 0;
    *ret_value = (hf_slice){rest->data + length + 1, (uint64_t)(end - rest->data) - length - 1};
    for (uint64_t i = 0; i < ret_value->size; i++)
        if (ret_value->data[i] < ' ' || ret_value->data[i] == 0x7f)
            return 0;
    rest->size -= (uint64_t)(end - rest->data) + 1;
    rest->data = end + 1;
    return ret_value->size > 0;
}

static int parse_number(hf_slice text, unsigned base, uint64_t maximum, uint64_t *ret_number)
{
    uint64_t number = 0;

    if (!text.size || text.size > 16)
        return 0;
    for (uint64_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        unsigned digit = c >= '0' && c <= '9' ? c - 0x30u : c >= 'a' && c <= 'f' ? c - 0x61u + 10 : 99;
        if (digit >= base)
            return 0;
        number = number * base + digit;
    }
    *ret_number = number;
    return number <= maximum;
}

int32_t hf_hello_read(hf_slice bytes, hf_hello *ret_hello)
{
    hf_slice rest = bytes, value;
    uint64_t number = 0;

    *ret_hello = (hf_hello){0};
    if (!take_line(&rest, "protocol", &value) || !parse_number(value, 10, UINT32_MAX, &number))
        return HF_EPROTOCOL;
    ret_hello->protocol = (uint32_t)number;
    if (number != HF_PEER_PROTOCOL) /* what follows is for its own release to know */
        return HF_EPROTOCOL;
    if (!take_line(&rest, "cluster", &ret_hello->cluster) || !take_line(&rest, "members", &value) ||
        !parse_number(value, 16, UINT64_MAX, &ret_hello->members) || !take_line(&rest, "from", &ret_hello->from) ||
        !take_line(&rest, "to", &ret_hello->to) || !take_line(&rest, "lane", &value) ||
        !parse_number(value, 10, UINT32_MAX, &number))
        return HF_EPROTOCOL;
    ret_hello->lane = (uint32_t)number;
    if (take_line(&rest, "run", &value) && !parse_number(value, 16, UINT64_MAX, &ret_hello->run))
        return HF_EPROTOCOL;
    while (rest.size) {
        if (ret_hello->channel_count == HF_PEER_CHANNELS_MAX ||
            !take_line(&rest, "channel", &ret_hello->channels[ret_hello->channel_count]))
            return HF_EPROTOCOL;
        ret_hello->channel_count++;
    }
    return 0;
}
