/* Keys as the tables hold them, and conditions on them. */
#include "database.h"

#include <holdfast/lib/error.h>

#include <openssl/sha.h>
#include <string.h>

int32_t key_check(hf_slice key, hf_error *error)
{
    if (key.size <= KEY_MAX)
        return 0;
    return hf_error_set(error, HF_ETOOLARGE, "a key of %llu bytes is over the limit of %d",
                        (unsigned long long)key.size, KEY_MAX);
}

int key_compare(hf_slice a, hf_slice b)
{
    uint64_t common = a.size < b.size ? a.size : b.size;
    int order = common ? memcmp(a.data, b.data, common) : 0;

    return order ? order : a.size < b.size ? -1 : a.size > b.size;
}

void key_split(hf_slice key, struct split_key *ret_key)
{
    static const uint8_t none[1];
    uint64_t size = key.size < PREFIX_MAX ? key.size : PREFIX_MAX;
    const uint8_t *data = key.data ? key.data : none;

    ret_key->prefix = (hf_slice){data, size};
    ret_key->tail = (hf_slice){data + size, key.size - size};
    ret_key->hash = (hf_slice){ret_key->hash_bytes, 0};
    if (ret_key->tail.size == 0)
        return;
    SHA256(ret_key->tail.data, ret_key->tail.size, ret_key->hash_bytes);
    ret_key->hash.size = HASH_SIZE;
}

/* Both conditions compare prefixes first: only where those are equal, and the bound is long, do tails matter.  A bound
 * without a tail is decided by the prefixes alone. */

void key_sql_from(hf_buffer *sql, hf_slice from)
{
    struct split_key bound;

    key_split(from, &bound);
    sql_append(sql, " AND r.record_key >= ");
    sql_append_bytes(sql, bound.prefix);
    if (bound.tail.size == 0)
        return;
    sql_append(sql, " AND (r.record_key > ");
    sql_append_bytes(sql, bound.prefix);
    sql_append(sql, " OR r.tail >= ");
    sql_append_bytes(sql, bound.tail);
    sql_append(sql, ")");
}

void key_sql_before(hf_buffer *sql, hf_slice to)
{
    struct split_key bound;

    key_split(to, &bound);
    sql_append(sql, bound.tail.size ? " AND r.record_key <= " : " AND r.record_key < ");
    sql_append_bytes(sql, bound.prefix);
    if (bound.tail.size == 0)
        return;
    sql_append(sql, " AND (r.record_key < ");
    sql_append_bytes(sql, bound.prefix);
    sql_append(sql, " OR r.tail < ");
    sql_append_bytes(sql, bound.tail);
    sql_append(sql, ")");
}

void key_sql_equal(hf_buffer *sql, uint64_t space_id, const struct split_key *key)
{
    sql_append(sql, " space_id = %llu AND record_key = ", (unsigned long long)space_id);
    sql_append_bytes(sql, key->prefix);
    sql_append(sql, " AND key_hash = ");
    sql_append_bytes(sql, key->hash);
}
