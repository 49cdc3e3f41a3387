/* A thread that deletes the rows of replaced and erased spaces in small steps, keeps the estimates of sizes, and
 * notices when another process has taken the database over. */
#include "database.h"

#include <holdfast/lib/error.h>

#include <string.h>
#include <time.h>

enum { TICK_S = 5, ROWS_AT_ONCE = 1000 };

static int32_t sweep_table(struct sql_connection *connection, const char *table, uint64_t id, hf_error *error)
{
    uint64_t deleted = 0;
    int32_t r =
        sql_execute(connection, "cannot delete the rows of an erased space", &deleted, error,
                    "DELETE FROM %s WHERE space_id = %llu LIMIT %d", table, (unsigned long long)id, ROWS_AT_ONCE);

    return r < 0 ? r : deleted == ROWS_AT_ONCE;
}

/* 1: there is more to delete. */
static int32_t sweep_some(hf_engine_database *database, struct sql_connection *connection, void *arg, hf_error *error)
{
    uint64_t id = *(uint64_t *)arg;
    int32_t r = sweep_table(connection, "holdfast_part", id, error);

    (void)database;
    if (r == 0)
        r = sweep_table(connection, "holdfast_record", id, error);
    if (r == 0)
        r = sql_execute(connection, "cannot forget an erased space", NULL, error,
                        "DELETE FROM holdfast_space WHERE id = %llu AND live IS NULL", (unsigned long long)id);
    return r;
}

static void remove_first(struct database_sweeper *sweeper)
{
    sweeper->count--;
    memmove(sweeper->ids, sweeper->ids + 1, sweeper->count * sizeof *sweeper->ids);
}

/* Called without the lock.  0: done; what fails now is tried at the next tick. */
static int32_t tick(hf_engine_database *database, uint64_t *next_check_us)
{
    uint64_t now = sql_now_us();

    if (now < *next_check_us)
        return 0;
    *next_check_us = now + (uint64_t)TICK_S * 1000000;
    transaction_check_owner(database);
    return pool_run(database, spaces_estimate, NULL, NULL);
}

static void wait_for_work(struct database_sweeper *sweeper)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += TICK_S;
    pthread_cond_timedwait(&sweeper->wake, &sweeper->lock, &until);
}

static void *run(void *arg)
{
    hf_engine_database *database = arg;
    struct database_sweeper *sweeper = &database->sweeper;
    uint64_t next_check_us = 0;

    pthread_mutex_lock(&sweeper->lock);
    while (!sweeper->stopping) {
        uint64_t id = sweeper->count ? sweeper->ids[0] : 0;

        pthread_mutex_unlock(&sweeper->lock);
        int32_t r = id ? pool_run(database, sweep_some, &id, NULL) : 0;

        (void)tick(database, &next_check_us);
        pthread_mutex_lock(&sweeper->lock);
        if (id && r == 0)
            remove_first(sweeper);
        else if (r != 1 && !sweeper->stopping)
            wait_for_work(sweeper);
    }
    pthread_mutex_unlock(&sweeper->lock);
    return NULL;
}

void sweeper_add(hf_engine_database *database, uint64_t id)
{
    struct database_sweeper *sweeper = &database->sweeper;
    const hf_host *host = database->host;

    pthread_mutex_lock(&sweeper->lock);
    if (sweeper->count == sweeper->capacity) {
        uint64_t capacity = sweeper->capacity ? 2 * sweeper->capacity : 16;
        uint64_t *ids = host->alloc(host, capacity * sizeof *ids);

        if (ids) {
            if (sweeper->count)
                memcpy(ids, sweeper->ids, sweeper->count * sizeof *ids);
            host->free(host, sweeper->ids);
            sweeper->ids = ids;
            sweeper->capacity = capacity;
        }
    }
    if (sweeper->count < sweeper->capacity) /* without memory: the next open finds it */
        sweeper->ids[sweeper->count++] = id;
    pthread_cond_signal(&sweeper->wake);
    pthread_mutex_unlock(&sweeper->lock);
}

int32_t sweeper_start(hf_engine_database *database, hf_error *error)
{
    int code = pthread_create(&database->sweeper.thread, NULL, run, database);

    if (code != 0)
        return hf_error_set_errno(error, HF_ENOMEM, code, "cannot start a thread");
    database->sweeper.started = 1;
    return 0;
}

void sweeper_stop(hf_engine_database *database)
{
    struct database_sweeper *sweeper = &database->sweeper;

    pthread_mutex_lock(&sweeper->lock);
    sweeper->stopping = 1;
    pthread_cond_signal(&sweeper->wake);
    pthread_mutex_unlock(&sweeper->lock);
    if (sweeper->started)
        pthread_join(sweeper->thread, NULL);
    sweeper->started = 0;
}
