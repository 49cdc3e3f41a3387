/* Cursors: where a scan goes on, and of which scan.
 *
 * "~" and the Base64 (RFC 4648, 5) of: format 1, hash of the table's name 8, hash of prefix and value 8, the last
 * partition shown 8, the last key shown, CRC-32C of all before 4.  Numbers are big endian. */
#include "http/private.h"

#include "machine/bytes.h"

#include <holdfast/lib/checksum.h>
#include <holdfast/lib/hash.h>

#include <string.h>

enum { FORMAT = 1, HEAD_SIZE = 1 + 8 + 8 + 8, CHECKSUM_SIZE = 4 };

static uint64_t hash_scan(const struct store_scan *scan)
{
    return hf_hash64(hf_hash64(1, scan->prefix.data, scan->prefix.size), scan->partition.data, scan->partition.size);
}

int32_t store_cursor_append(hf_buffer *text, const struct store_scan *scan, const struct store_cursor *cursor)
{
    uint8_t bytes[HEAD_SIZE + STORE_KEY_MAX + CHECKSUM_SIZE];
    uint64_t size = HEAD_SIZE + cursor->key.size;

    if (cursor->key.size == 0 || cursor->key.size > STORE_KEY_MAX)
        return HF_EINVAL;
    bytes[0] = FORMAT;
    store_write_be(bytes + 1, hf_hash64(0, scan->table.data, scan->table.size), 8);
    store_write_be(bytes + 9, hash_scan(scan), 8);
    store_write_be(bytes + 17, cursor->value, 8);
    memcpy(bytes + HEAD_SIZE, cursor->key.data, cursor->key.size);
    store_write_be(bytes + size, hf_crc32c(0, bytes, size), CHECKSUM_SIZE);
    int32_t r = hf_buffer_append(text, "~", 1);

    return r < 0 ? r : store_base64_append(text, (hf_slice){bytes, size + CHECKSUM_SIZE}, 1);
}

static int is_whole(hf_slice bytes)
{
    uint64_t size = bytes.size - CHECKSUM_SIZE;

    return bytes.size > HEAD_SIZE + CHECKSUM_SIZE && bytes.size <= HEAD_SIZE + STORE_KEY_MAX + CHECKSUM_SIZE &&
           bytes.data[0] == FORMAT && store_read_be(bytes.data + size, CHECKSUM_SIZE) == hf_crc32c(0, bytes.data, size);
}

static const char *read_cursor(hf_slice text, const struct store_scan *scan, hf_arena *arena,
                               struct store_cursor *ret_cursor)
{
    hf_slice bytes = {NULL, 0};
    int32_t r = store_base64_read((hf_slice){text.data + 1, text.size - 1}, arena, &bytes);

    if (r == HF_ENOMEM)
        return "the cursor is too long";
    if (r < 0 || !is_whole(bytes))
        return "start begins with '~' and is not a whole cursor: give `next` as it came, or a key that begins with '~' "
               "with another '~' before it";
    if (store_read_be(bytes.data + 1, 8) != hf_hash64(0, scan->table.data, scan->table.size))
        return "the cursor in start is of another table";
    if (store_read_be(bytes.data + 9, 8) != hash_scan(scan))
        return "the cursor in start is of a scan with another prefix or partition; go on with those of the first "
               "request";
    ret_cursor->value = store_read_be(bytes.data + 17, 8);
    ret_cursor->key = (hf_slice){bytes.data + HEAD_SIZE, bytes.size - HEAD_SIZE - CHECKSUM_SIZE};
    return NULL;
}

const char *store_start_read(hf_slice text, const struct store_scan *scan, hf_arena *arena,
                             struct store_cursor *ret_cursor)
{
    *ret_cursor = (struct store_cursor){.key = text};
    if (text.size == 0 || text.data[0] != '~')
        return NULL;
    if (text.size == 1 || text.data[1] != '~')
        return read_cursor(text, scan, arena, ret_cursor);
    ret_cursor->key = (hf_slice){text.data + 1, text.size - 1};
    return NULL;
}
