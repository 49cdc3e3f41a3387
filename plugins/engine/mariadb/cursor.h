/* cursor.h: the records of a space in order, from one snapshot. */
#ifndef ENGINE_MARIADB_CURSOR_H
#define ENGINE_MARIADB_CURSOR_H

#include "database.h"

struct cursor {
    struct sql_connection *connection; /* in a snapshot, to itself */
    uint64_t space_id;
    int32_t reverse, has_upper, ended;
    hf_buffer lower, upper; /* what is left: lower <= key < upper */
    hf_buffer key, value;   /* of the present record */
    MYSQL_RES *page;
    uint64_t page_limit, page_rows, page_bytes;
};

/* Copies the bounds; cursor_done is needed also after an error. */
int32_t cursor_init(struct cursor *cursor, struct sql_connection *connection, uint64_t space_id, hf_slice from,
                    hf_slice to, uint32_t flags, hf_error *error);
void cursor_done(struct cursor *cursor);
/* The next record, valid until the next call: 1, or 0 at the end, or an error. */
int32_t cursor_next(struct cursor *cursor, hf_slice *ret_key, hf_slice *ret_value, hf_error *error);

#endif
