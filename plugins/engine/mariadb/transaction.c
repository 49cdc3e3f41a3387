/* Transactions that only the owner can commit, and finding out whether one was.
 *
 * Each connection has a row of holdfast_writer to itself, its slot.  A transaction first writes its number there, on
 * condition that the epoch is still the owner's.  When the answer to COMMIT is lost, the row tells whether the number
 * arrived.  Asking changes the row as well: from then on the lost transaction cannot commit any more, because its
 * change of the row is older (one server: it waits for our lock and has been rolled back; Galera: certification). */
#include "database.h"

#include <holdfast/lib/error.h>

#define ULL(number) ((unsigned long long)(number))

/* ---- Finding out ------------------------------------------------------------------------------------------------- */

enum { OUTCOME_ABSENT, OUTCOME_COMMITTED };
enum { NO_NUMBER = 0 }; /* the first transaction's is 1 */

static int32_t ask(hf_engine_database *database, struct sql_connection *connection, uint32_t slot, uint64_t number,
                   hf_error *error)
{
    static const char doing[] = "cannot find out whether a transaction was committed";
    uint64_t row[3] = {0};
    int32_t r = sql_execute(connection, doing, NULL, error,
                            "START TRANSACTION; UPDATE holdfast_writer SET fence = fence + 1"
                            " WHERE database_id = %llu AND slot = %u",
                            ULL(database->id), slot);

    if (r == 0)
        r = sql_numbers(
            connection, doing, row, 3, error,
            "SELECT epoch, number, number_epoch FROM holdfast_writer WHERE database_id = %llu AND slot = %u",
            ULL(database->id), slot);
    if (r == 0)
        r = sql_execute(connection, doing, NULL, error, "COMMIT");
    if (r < 0) {
        sql_disconnect(connection); /* also ends the transaction */
        return HF_EBUSY;
    }
    if (row[1] == number && row[2] == database->epoch)
        return OUTCOME_COMMITTED;
    if (row[0] == database->epoch)
        return OUTCOME_ABSENT;
    atomic_store(&database->fenced, 1);
    return hf_error_set(error, HF_ESTATE,
                        "another process has opened this database while a transaction was being "
                        "committed; whether it was is not known");
}

/* OUTCOME_..., HF_EBUSY, HF_ESTATE. */
static int32_t ask_again(hf_engine_database *database, struct sql_connection *connection, uint32_t slot,
                         uint64_t number, uint64_t deadline, hf_error *error)
{
    for (uint32_t attempt = 0;; attempt++) {
        int32_t r = connection->mysql ? 0 : sql_connect(connection, error);

        r = r < 0 ? HF_EBUSY : ask(database, connection, slot, number, error);
        if (r != HF_EBUSY || sql_now_us() >= deadline)
            return r;
        sql_back_off(attempt);
    }
}

/* The answer to COMMIT was lost. */
static int32_t learn_outcome(hf_engine_database *database, struct sql_connection *connection, hf_error *error)
{
    const struct sql_servers *servers = database->servers;
    uint64_t deadline = sql_now_us() + servers->config->outcome_timeout;

    sql_disconnect(connection);
    int32_t r = ask_again(database, connection, connection->slot, connection->number, deadline, error);

    if (r == HF_ESTATE)
        return r;
    if (r == OUTCOME_COMMITTED || r == OUTCOME_ABSENT) {
        sql_count(servers,
                  r == OUTCOME_COMMITTED ? servers->metrics.resolved_committed : servers->metrics.resolved_absent);
        return r == OUTCOME_COMMITTED ? 0 : hf_error_set(error, HF_EBUSY, "a transaction was not committed");
    }
    atomic_store(&connection->unresolved, 1);
    atomic_fetch_add(&database->unresolved, 1);
    sql_count(servers, servers->metrics.unresolved);
    sql_log(servers, HF_LOG_ERROR, "whether a transaction was committed is not known: no server could be asked");
    return hf_error_set(error, HF_ETIMEOUT,
                        "whether the write was committed is not known: no server could be asked within %llu s; read "
                        "the records again before going on",
                        ULL(servers->config->outcome_timeout / 1000000));
}

/* The caller was told that the outcome is not known; what it reads next must not change under it. */
static int32_t settle_slots(hf_engine_database *database, struct sql_connection *connection, hf_error *error)
{
    for (uint32_t i = 0; i < database->pool.count; i++) {
        struct sql_connection *other = &database->pool.connections[i];

        if (!atomic_load(&other->unresolved))
            continue;
        int32_t r = ask(database, connection, other->slot, NO_NUMBER, error);

        if (r < 0)
            return r;
        atomic_store(&other->unresolved, 0);
    }
    return 0;
}

int32_t transaction_try_settle(hf_engine_database *database, hf_error *error)
{
    struct sql_connection *connection = NULL;
    unsigned int seen = atomic_load(&database->unresolved);

    if (!seen)
        return 0;
    int32_t r = pool_acquire(database, sql_now_us() + database->servers->config->timeout, &connection, error);

    if (r < 0)
        return r;
    r = settle_slots(database, connection, error);
    if (r == 0 && atomic_load(&database->spaces_unknown)) {
        r = spaces_load(database, connection, error);
        if (r == 0)
            atomic_store(&database->spaces_unknown, 0);
    }
    if (r == 0 && !atomic_compare_exchange_strong(&database->unresolved, &seen, 0) && seen)
        r = hf_error_set(error, HF_EBUSY, "the outcome of another transaction is not known yet");
    pool_release(database, connection);
    return r;
}

int32_t transaction_settle(hf_engine_database *database, hf_error *error)
{
    uint64_t deadline = sql_now_us() + database->servers->config->timeout;
    int32_t r;

    for (uint32_t attempt = 0; (r = transaction_try_settle(database, error)) == HF_EBUSY; attempt++) {
        if (sql_now_us() >= deadline)
            break;
        sql_back_off(attempt);
    }
    return r;
}

/* ---- Running ----------------------------------------------------------------------------------------------------- */

static int32_t begin(hf_engine_database *database, struct sql_connection *connection, hf_error *error)
{
    uint64_t changed = 0;
    int32_t r = sql_execute(connection, "cannot begin a transaction", &changed, error,
                            "START TRANSACTION; UPDATE holdfast_writer SET number = %llu, number_epoch = %llu"
                            " WHERE database_id = %llu AND slot = %u AND epoch = %llu",
                            ULL(++connection->number), ULL(database->epoch), ULL(database->id), connection->slot,
                            ULL(database->epoch));

    if (r < 0 || changed == 1)
        return r;
    atomic_store(&database->fenced, 1);
    return hf_error_set(error, HF_ESTATE, "another process has opened this database; one process at a time may use it");
}

struct work {
    pool_work perform;
    void *arg;
};

static int32_t attempt_once(hf_engine_database *database, struct sql_connection *connection, void *arg, hf_error *error)
{
    const struct work *work = arg;
    int32_t r = begin(database, connection, error);

    if (r == 0)
        r = work->perform(database, connection, work->arg, error);
    if (r < 0) {
        /* Without a COMMIT nothing can have been committed; a connection that cannot roll back is closed. */
        if (connection->mysql && mysql_rollback(connection->mysql) != 0)
            sql_disconnect(connection);
        return r;
    }
    sql_count(database->servers, database->servers->metrics.transactions);
    if (sql_execute(connection, "cannot commit", NULL, error, "COMMIT") == 0)
        return 0;
    return learn_outcome(database, connection, error);
}

int32_t transaction_run(hf_engine_database *database, pool_work work, void *arg, hf_error *error)
{
    struct work wrapped = {work, arg};

    return pool_run(database, attempt_once, &wrapped, error);
}

static int32_t read_epoch(hf_engine_database *database, struct sql_connection *connection, void *arg, hf_error *error)
{
    return sql_numbers(connection, "cannot read the epoch", arg, 1, error,
                       "SELECT epoch FROM holdfast_database WHERE id = %llu", ULL(database->id));
}

void transaction_check_owner(hf_engine_database *database)
{
    uint64_t epoch = 0;

    if (atomic_load(&database->fenced) || pool_run(database, read_epoch, &epoch, NULL) != 0 || epoch == database->epoch)
        return;
    atomic_store(&database->fenced, 1);
    sql_log(database->servers, HF_LOG_ERROR, "another process has opened this database; this one has lost it");
}
