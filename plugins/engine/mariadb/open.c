/* Opening and closing a database. */
#include "database.h"

#include <holdfast/lib/error.h>

#include <time.h>

static void init_locks(hf_engine_database *database)
{
    pthread_rwlockattr_t preference;
    pthread_condattr_t clock;

    pthread_rwlockattr_init(&preference);
    /* Otherwise steady readers could keep an exchange of a space waiting for ever. */
    pthread_rwlockattr_setkind_np(&preference, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&database->gate, &preference);
    pthread_rwlockattr_destroy(&preference);
    pthread_mutex_init(&database->map_lock, NULL);
    pthread_mutex_init(&database->sweeper.lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&database->sweeper.wake, &clock);
    pthread_condattr_destroy(&clock);
}

static int32_t load_spaces(hf_engine_database *database, struct sql_connection *connection, void *arg, hf_error *error)
{
    (void)arg;
    return spaces_load(database, connection, error);
}

int32_t database_open(struct sql_servers *servers, const char *directory, hf_engine_database **ret_database,
                      hf_error *error)
{
    const hf_host *host = servers->host;
    hf_engine_database *database = host->alloc(host, sizeof *database);

    if (!database)
        return hf_error_set(error, HF_ENOMEM, "no memory to open '%s'", directory);
    database->servers = servers;
    database->host = host;
    init_locks(database);
    int32_t r = pool_init(database, error);

    if (r == 0)
        r = schema_open(database, directory, error);
    if (r == 0)
        r = schema_take_over(database, error);
    if (r == 0)
        r = pool_run(database, load_spaces, NULL, error);
    if (r == 0)
        r = sweeper_start(database, error);
    if (r < 0) {
        database_close(database);
        return r;
    }
    atomic_store(&database->opened, 1);
    *ret_database = database;
    return 0;
}

void database_close(hf_engine_database *database)
{
    if (!database)
        return;
    const hf_host *host = database->host;

    atomic_store(&database->closing, 1); /* the sweeper tries nothing again */
    sweeper_stop(database);
    pool_done(database);
    host->free(host, database->sweeper.ids);
    host->free(host, database->spaces);
    pthread_cond_destroy(&database->sweeper.wake);
    pthread_mutex_destroy(&database->sweeper.lock);
    pthread_mutex_destroy(&database->map_lock);
    pthread_rwlock_destroy(&database->gate);
    host->free(host, database);
}
