/* Scans. */
#include "cursor.h"

#include <holdfast/lib/error.h>

struct scan {
    uint64_t space_id;
    hf_slice from, to;
    uint32_t flags;
    hf_engine_visit visit;
    void *arg;
    struct cursor cursor;
    hf_slice key, value;
    int32_t next; /* what the cursor answered last */
};

/* Up to the first record: so far nothing was visited, and it may be tried again. */
static int32_t begin(struct scan *scan, struct sql_connection *connection, hf_error *error)
{
    int32_t r = read_begin_snapshot(connection, error);

    if (r < 0)
        return r;
    r = cursor_init(&scan->cursor, connection, scan->space_id, scan->from, scan->to, scan->flags, error);
    if (r == 0)
        r = cursor_next(&scan->cursor, &scan->key, &scan->value, error);
    scan->next = r;
    if (r < 0) {
        cursor_done(&scan->cursor);
        read_end_snapshot(connection);
    }
    return r < 0 ? r : 0;
}

static int32_t acquire_and_begin(hf_engine_database *database, struct scan *scan,
                                 struct sql_connection **ret_connection, hf_error *error)
{
    uint64_t deadline = sql_now_us() + database->servers->config->timeout;

    for (uint32_t attempt = 0;; attempt++) {
        int32_t r = pool_acquire(database, deadline, ret_connection, error);

        if (r == 0) {
            r = begin(scan, *ret_connection, error);
            if (r < 0)
                pool_release(database, *ret_connection);
        }
        if (r != HF_EBUSY || sql_now_us() >= deadline)
            return r;
        sql_count(database->servers, database->servers->metrics.retries);
        sql_back_off(attempt);
    }
}

static int32_t visit_all(struct scan *scan, hf_error *error)
{
    while (scan->next == 1) {
        if (scan->visit(scan->arg, scan->key, scan->value) != 0)
            return 0;
        scan->next = cursor_next(&scan->cursor, &scan->key, &scan->value, error);
    }
    return scan->next;
}

int32_t database_scan(hf_engine_database *database, uint64_t space, hf_slice from, hf_slice to, uint32_t flags,
                      hf_engine_visit visit, void *arg, hf_error *error)
{
    struct scan scan = {.from = from, .to = to, .flags = flags, .visit = visit, .arg = arg};
    struct sql_connection *connection = NULL;
    int32_t r = key_check(from, error);

    if (r == 0)
        r = key_check(to, error);
    if (r < 0)
        return r;
    if (flags & HF_ENGINE_CACHED_ONLY)
        return hf_error_set(error, HF_EBUSY, "records are on a server, not in memory");
    r = spaces_enter(database, error);
    if (r < 0)
        return r;
    scan.space_id = spaces_find(database, space);
    if (scan.space_id)
        r = acquire_and_begin(database, &scan, &connection, error);
    spaces_leave(database); /* the snapshot keeps the rows from here on */
    if (r < 0 || !scan.space_id)
        return r;
    r = visit_all(&scan, error);
    cursor_done(&scan.cursor);
    read_end_snapshot(connection);
    pool_release(database, connection);
    return r;
}
