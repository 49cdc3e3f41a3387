/* Strict UTF-8; see lib/utf8.h. */
#include <holdfast/lib/utf8.h>

#include <string.h>

/* Size of the well-formed character at p, 0 when there is none: the table of RFC 3629, section 4, where only the
 * second byte's range depends on the first. */
static uint64_t character_size(const uint8_t *p, uint64_t left)
{
    uint8_t lead = p[0], low = 0x80, high = 0xbf;
    uint64_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;

    if (lead < 0x80)
        return 1;
    if (lead < 0xc2 || lead > 0xf4 || left < size)
        return 0;
    if (lead == 0xe0)
        low = 0xa0;
    else if (lead == 0xed)
        high = 0x9f;
    else if (lead == 0xf0)
        low = 0x90;
    else if (lead == 0xf4)
        high = 0x8f;
    if (p[1] < low || p[1] > high)
        return 0;
    for (uint64_t i = 2; i < size; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return size;
}

/* 1 when the eight bytes at p are ASCII, as most text is. */
static int32_t ascii8(const uint8_t *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof word);
    return (word & 0x8080808080808080) == 0;
}

int32_t hf_utf8_valid(hf_slice text, uint64_t *ret_offset)
{
    for (uint64_t offset = 0; offset < text.size;) {
        if (text.size - offset >= 8 && ascii8(text.data + offset)) {
            offset += 8;
            continue;
        }

        uint64_t size = character_size(text.data + offset, text.size - offset);

        if (size == 0) {
            if (ret_offset)
                *ret_offset = offset;
            return 0;
        }
        offset += size;
    }
    return 1;
}

uint32_t hf_utf8_encode(uint32_t character, uint8_t ret_bytes[4])
{
    if (character > 0x10ffff || (character >= 0xd800 && character <= 0xdfff))
        return 0;
    if (character < 0x80) {
        ret_bytes[0] = (uint8_t)character;
        return 1;
    }

    uint32_t size = character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;
    static const uint8_t leads[] = {0, 0, 0xc0, 0xe0, 0xf0};

    for (uint32_t i = size - 1; i > 0; i--, character >>= 6)
        ret_bytes[i] = (uint8_t)(0x80 | (character & 0x3f));
    ret_bytes[0] = (uint8_t)(leads[size] | character);
    return size;
}
