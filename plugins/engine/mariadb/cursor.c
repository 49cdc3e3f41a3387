/* Reads pages of rows in the order of the primary key, which is the order of the keys except among keys that share
 * their first PREFIX_MAX bytes: there the server is asked for the least (or greatest) remaining tail, one at a time. */
#include "cursor.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>
#include <string.h>

enum { PAGE_FIRST = 8, PAGE_MAX = 256, PAGE_BYTES = 1 << 20 };

static const char doing[] = "cannot read records";

static hf_slice slice(const hf_buffer *buffer)
{
    return (hf_slice){buffer->data, buffer->size};
}

static int32_t copy(hf_buffer *buffer, hf_slice bytes, hf_error *error)
{
    hf_buffer_clear(buffer);
    if (hf_buffer_append(buffer, bytes.data, bytes.size) == 0)
        return 0;
    return hf_error_set(error, HF_ENOMEM, "no memory for a key");
}

int32_t cursor_init(struct cursor *cursor, struct sql_connection *connection, uint64_t space_id, hf_slice from,
                    hf_slice to, uint32_t flags, hf_error *error)
{
    memset(cursor, 0, sizeof *cursor);
    cursor->connection = connection;
    cursor->space_id = space_id;
    cursor->reverse = (flags & HF_ENGINE_REVERSE) != 0;
    cursor->has_upper = to.size > 0;
    cursor->page_limit = PAGE_FIRST;
    hf_buffer_init(&cursor->lower, KEY_MAX + 1);
    hf_buffer_init(&cursor->upper, KEY_MAX + 1);
    hf_buffer_init(&cursor->key, KEY_MAX + PREFIX_MAX);
    hf_buffer_init(&cursor->value, (uint64_t)VALUE_MAX + 4 * (uint64_t)PART_SIZE);
    cursor->ended = space_id == 0 || (to.size && key_compare(from, to) >= 0);
    int32_t r = copy(&cursor->lower, from, error);

    return r < 0 ? r : copy(&cursor->upper, to, error);
}

static void drop_page(struct cursor *cursor)
{
    if (cursor->page)
        mysql_free_result(cursor->page);
    cursor->page = NULL;
}

void cursor_done(struct cursor *cursor)
{
    drop_page(cursor);
    hf_buffer_done(&cursor->lower);
    hf_buffer_done(&cursor->upper);
    hf_buffer_done(&cursor->key);
    hf_buffer_done(&cursor->value);
}

/* ---- Pages ------------------------------------------------------------------------------------------------------- */

static void append_bounds(hf_buffer *sql, const struct cursor *cursor)
{
    key_sql_from(sql, slice(&cursor->lower));
    if (cursor->has_upper)
        key_sql_before(sql, slice(&cursor->upper));
}

/* As many rows as the last page's would be PAGE_BYTES; more than before only little by little. */
static void choose_limit(struct cursor *cursor)
{
    uint64_t average = cursor->page_rows ? cursor->page_bytes / cursor->page_rows + 1 : 1;
    uint64_t limit = PAGE_BYTES / average, grown = cursor->page_rows ? cursor->page_limit * 4 : cursor->page_limit;

    limit = limit < grown ? limit : grown;
    cursor->page_limit = limit < 1 ? 1 : limit > PAGE_MAX ? PAGE_MAX : limit;
}

static int32_t load_page(struct cursor *cursor, hf_error *error)
{
    const char *order = cursor->reverse ? " DESC" : "";
    hf_buffer sql;

    choose_limit(cursor);
    hf_buffer_init(&sql, 16 * (uint64_t)KEY_MAX);
    sql_append(&sql,
               "SELECT r.record_key, r.key_hash <> '', r.size, r.value FROM holdfast_record r"
               " WHERE r.space_id = %llu",
               (unsigned long long)cursor->space_id);
    append_bounds(&sql, cursor);
    sql_append(&sql, " ORDER BY r.record_key%s, r.key_hash%s LIMIT %llu", order, order,
               (unsigned long long)cursor->page_limit);
    int32_t r = sql_query(cursor->connection, doing, &sql, &cursor->page, error);

    hf_buffer_done(&sql);
    cursor->page_rows = 0;
    cursor->page_bytes = 0;
    return r;
}

/* What remains lies behind the present key. */
static int32_t move_bound(struct cursor *cursor, hf_error *error)
{
    hf_buffer *bound = cursor->reverse ? &cursor->upper : &cursor->lower;
    int32_t r = copy(bound, slice(&cursor->key), error);

    if (cursor->reverse)
        cursor->has_upper = 1;
    if (cursor->reverse && cursor->key.size == 0)
        cursor->ended = 1; /* nothing is before the empty key */
    if (r == 0 && !cursor->reverse && hf_buffer_append(bound, "", 1) < 0)
        r = hf_error_set(error, HF_ENOMEM, "no memory for a key");
    return r;
}

/* ---- Records ----------------------------------------------------------------------------------------------------- */

/* The key with the prefix in `key` whose tail comes next. */
static int32_t find_tail(struct cursor *cursor, hf_error *error)
{
    MYSQL_RES *rows = NULL;
    hf_buffer sql;

    hf_buffer_init(&sql, 16 * (uint64_t)KEY_MAX);
    sql_append(&sql, "SELECT %s(r.tail) FROM holdfast_record r WHERE r.space_id = %llu AND r.record_key = ",
               cursor->reverse ? "MAX" : "MIN", (unsigned long long)cursor->space_id);
    sql_append_bytes(&sql, slice(&cursor->key));
    sql_append(&sql, " AND r.key_hash <> ''");
    append_bounds(&sql, cursor);
    int32_t r = sql_query(cursor->connection, doing, &sql, &rows, error);

    hf_buffer_done(&sql);
    if (r < 0)
        return r;
    MYSQL_ROW row = mysql_fetch_row(rows);

    if (!row || !row[0])
        r = hf_error_set(error, HF_ECORRUPT, "the rows of a long key contradict each other");
    else if (hf_buffer_append(&cursor->key, row[0], mysql_fetch_lengths(rows)[0]) < 0)
        r = hf_error_set(error, HF_ECORRUPT, "a key is longer than %d bytes", KEY_MAX);
    mysql_free_result(rows);
    return r;
}

static int32_t take_long(struct cursor *cursor, hf_error *error)
{
    int32_t r = find_tail(cursor, error);

    if (r == 0)
        r = read_value(cursor->connection, cursor->space_id, slice(&cursor->key), &cursor->value, error);
    drop_page(cursor); /* its order is of no use from here on */
    cursor->page_limit = 1;
    cursor->page_rows = 0;
    return r;
}

static int32_t take_short(struct cursor *cursor, MYSQL_ROW row, unsigned long size, hf_error *error)
{
    uint64_t whole = strtoull(row[2], NULL, 10);

    if (whole > INLINE_MAX)
        return read_parts(cursor->connection, cursor->space_id, slice(&cursor->key), whole, &cursor->value, error);
    if (whole != size)
        return hf_error_set(error, HF_ECORRUPT, "a value of %llu bytes has %lu in its row", (unsigned long long)whole,
                            size);
    return copy(&cursor->value, (hf_slice){(const uint8_t *)row[3], size}, error);
}

static int32_t take_row(struct cursor *cursor, MYSQL_ROW row, hf_error *error)
{
    const unsigned long *sizes = mysql_fetch_lengths(cursor->page);
    int32_t r = copy(&cursor->key, (hf_slice){(const uint8_t *)row[0], sizes[0]}, error);

    if (r < 0)
        return r;
    cursor->page_rows++;
    cursor->page_bytes += sizes[0] + sizes[3];
    r = row[1][0] == '1' ? take_long(cursor, error) : take_short(cursor, row, sizes[3], error);
    return r < 0 ? r : move_bound(cursor, error);
}

int32_t cursor_next(struct cursor *cursor, hf_slice *ret_key, hf_slice *ret_value, hf_error *error)
{
    while (!cursor->ended) {
        int32_t r = cursor->page ? 0 : load_page(cursor, error);

        if (r < 0)
            return r;
        MYSQL_ROW row = mysql_fetch_row(cursor->page);

        if (row) {
            r = take_row(cursor, row, error);
            if (r < 0)
                return r;
            *ret_key = slice(&cursor->key);
            *ret_value = slice(&cursor->value);
            return 1;
        }
        cursor->ended = cursor->page_rows < cursor->page_limit;
        drop_page(cursor);
    }
    return 0;
}
