/* A bounded number of connections, one for each slot of holdfast_writer. */
#include "database.h"

#include <holdfast/lib/error.h>

#include <time.h>

int32_t pool_init(hf_engine_database *database, hf_error *error)
{
    struct database_pool *pool = &database->pool;
    const hf_host *host = database->host;
    pthread_condattr_t attributes;

    pool->count = (uint32_t)database->servers->config->connections;
    pool->connections = host->alloc(host, pool->count * sizeof *pool->connections);
    if (!pool->connections)
        return hf_error_set(error, HF_ENOMEM, "no memory for %u connections", pool->count);
    for (uint32_t i = 0; i < pool->count; i++) {
        pool->connections[i].servers = database->servers;
        pool->connections[i].slot = i;
    }
    pthread_mutex_init(&pool->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->given_back, &attributes);
    pthread_condattr_destroy(&attributes);
    return 0;
}

void pool_done(hf_engine_database *database)
{
    struct database_pool *pool = &database->pool;

    if (!pool->connections)
        return;
    for (uint32_t i = 0; i < pool->count; i++)
        sql_disconnect(&pool->connections[i]);
    pthread_cond_destroy(&pool->given_back);
    pthread_mutex_destroy(&pool->lock);
    database->host->free(database->host, pool->connections);
}

/* Rather one that is connected. */
static struct sql_connection *take_free(struct database_pool *pool)
{
    struct sql_connection *found = NULL;

    for (uint32_t i = 0; i < pool->count; i++) {
        struct sql_connection *connection = &pool->connections[i];

        if (!connection->in_use && (!found || (!found->mysql && connection->mysql)))
            found = connection;
    }
    if (found)
        found->in_use = 1;
    return found;
}

static struct sql_connection *wait_for_one(struct database_pool *pool, uint64_t deadline_us)
{
    struct timespec until = {(time_t)(deadline_us / 1000000), (long)(deadline_us % 1000000) * 1000};
    struct sql_connection *connection;
    int late = 0;

    pthread_mutex_lock(&pool->lock);
    while (!(connection = take_free(pool)) && !late)
        late = pthread_cond_timedwait(&pool->given_back, &pool->lock, &until) != 0;
    pthread_mutex_unlock(&pool->lock);
    return connection;
}

static int32_t check_owner(hf_engine_database *database, hf_error *error)
{
    if (!atomic_load(&database->fenced))
        return 0;
    return hf_error_set(error, HF_ESTATE, "another process has opened this database; one process at a time may use it");
}

/* A refusal while records are in use may pass: an account is being changed, a server is set up anew. */
static int32_t connect_again(hf_engine_database *database, struct sql_connection *connection, hf_error *error)
{
    hf_error failure = {0};
    int32_t r = connection->mysql ? 0 : sql_connect(connection, &failure);

    if (r == 0)
        return 0;
    if (atomic_load(&database->opened) && r != HF_EBUSY) {
        failure.code = r = HF_EBUSY;
        failure.retry = HF_RETRY_LATER;
    }
    if (error)
        *error = failure;
    return r;
}

int32_t pool_acquire(hf_engine_database *database, uint64_t deadline_us, struct sql_connection **ret_connection,
                     hf_error *error)
{
    int32_t r = check_owner(database, error);

    if (r < 0)
        return r;
    struct sql_connection *connection = wait_for_one(&database->pool, deadline_us);

    if (!connection)
        return hf_error_set(error, HF_EBUSY, "all %u connections to the servers are in use", database->pool.count);
    r = connect_again(database, connection, error);
    if (r < 0) {
        pool_release(database, connection);
        return r;
    }
    *ret_connection = connection;
    return 0;
}

void pool_release(hf_engine_database *database, struct sql_connection *connection)
{
    pthread_mutex_lock(&database->pool.lock);
    connection->in_use = 0;
    pthread_cond_signal(&database->pool.given_back);
    pthread_mutex_unlock(&database->pool.lock);
}

int32_t pool_run(hf_engine_database *database, pool_work work, void *arg, hf_error *error)
{
    uint64_t deadline = sql_now_us() + database->servers->config->timeout;

    for (uint32_t attempt = 0;; attempt++) {
        struct sql_connection *connection = NULL;
        int32_t r = transaction_try_settle(database, error);

        if (r == 0)
            r = pool_acquire(database, deadline, &connection, error);
        if (r == 0) {
            r = work(database, connection, arg, error);
            pool_release(database, connection);
        }
        if (r != HF_EBUSY || sql_now_us() >= deadline || atomic_load(&database->closing))
            return r;
        sql_count(database->servers, database->servers->metrics.retries);
        sql_back_off(attempt);
    }
}
