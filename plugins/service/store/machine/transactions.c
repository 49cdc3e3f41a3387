/* Which transactions a partition has part in, and which keys they have locked.  Both stand in the engine; the
 * transactions are in memory, too, so that the leader can look after them. */
#include "internal.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>
#include <string.h>

static const hf_slice nothing = {NULL, 0};

static int is_same(const struct store_transaction *a, const struct store_transaction *b)
{
    return memcmp(a->id, b->id, sizeof a->id) == 0;
}

/* ---- Changing ---------------------------------------------------------------------------------------------------- */

static int32_t note(struct store_applying *applying, const struct store_transaction *transaction, hf_error *error)
{
    if (applying->noted_count == applying->noted_capacity) {
        uint32_t capacity = applying->noted_capacity ? applying->noted_capacity * 2 : 16;
        struct store_transaction *noted = realloc(applying->noted, capacity * sizeof *noted);

        if (!noted)
            return hf_error_set(error, HF_ENOMEM, "no memory for a transaction; apply the entry again later");
        applying->noted = noted;
        applying->noted_capacity = capacity;
    }
    applying->noted[applying->noted_count++] = *transaction;
    return 0;
}

int32_t store_gather_transaction(struct store_applying *applying, const struct store_transaction *transaction,
                                 hf_error *error)
{
    uint8_t row[STORE_TRANSACTION_ROW_MAX];
    struct store_space_key key;
    int32_t r = note(applying, transaction, error);

    if (r < 0)
        return r;
    store_space_key_make(&key, STORE_TAG_TRANSACTION, (hf_slice){transaction->id, sizeof transaction->id});
    if (!transaction->state)
        return store_gather_add_readable(&applying->gather, HF_ENGINE_DELETE, store_space_key_slice(&key), nothing,
                                         nothing, error);
    uint64_t size = store_transaction_write(row, transaction);

    return store_gather_add_readable(&applying->gather, HF_ENGINE_PUT, store_space_key_slice(&key),
                                     (hf_slice){row, size}, nothing, error);
}

static int32_t reserve(struct store_machine *machine, uint64_t count, hf_error *error)
{
    struct store_transaction *fresh;

    if (count <= machine->transaction_capacity)
        return 0;
    uint64_t capacity = count + machine->transaction_capacity + 16;

    pthread_mutex_lock(&machine->lock);
    fresh = realloc(machine->transactions, capacity * sizeof *fresh);
    if (fresh) {
        machine->transactions = fresh;
        machine->transaction_capacity = (uint32_t)capacity;
    }
    pthread_mutex_unlock(&machine->lock);
    return fresh ? 0 : hf_error_set(error, HF_ENOMEM, "no memory for a partition's transactions");
}

int32_t store_transactions_reserve(struct store_applying *applying, hf_error *error)
{
    return reserve(applying->machine, (uint64_t)applying->machine->transaction_count + applying->noted_whole, error);
}

static void put(struct store_machine *machine, const struct store_transaction *transaction)
{
    uint32_t at = 0;

    while (at < machine->transaction_count && !is_same(&machine->transactions[at], transaction))
        at++;
    if (transaction->state)
        machine->transactions[at] = *transaction;
    else if (at < machine->transaction_count)
        machine->transactions[at] = machine->transactions[machine->transaction_count - 1];
    if (at == machine->transaction_count)
        machine->transaction_count += transaction->state != 0;
    else
        machine->transaction_count -= transaction->state == 0;
    machine->unlocks += transaction->state != STORE_TRANSACTION_PREPARED;
}

void store_transactions_settle(struct store_applying *applying)
{
    struct store_machine *machine = applying->machine;
    int prepared = 0;

    if (applying->noted_whole == 0)
        return;
    pthread_mutex_lock(&machine->lock);
    for (uint32_t i = 0; i < applying->noted_whole; i++)
        put(machine, &applying->noted[i]);
    for (uint32_t i = 0; i < machine->transaction_count; i++)
        prepared |= machine->transactions[i].state == STORE_TRANSACTION_PREPARED;
    pthread_mutex_unlock(&machine->lock);
    atomic_store(&machine->has_locks, prepared);
    applying->noted_count = applying->noted_whole = 0;
}

/* ---- Loading ----------------------------------------------------------------------------------------------------- */

struct loading {
    struct store_machine *machine;
    hf_error *error;
    int32_t result;
    int prepared;
};

static int32_t visit_transaction(void *arg, hf_slice key, hf_slice row)
{
    struct loading *loading = arg;
    struct store_machine *machine = loading->machine;
    struct store_transaction transaction;

    loading->result = store_transaction_read(key, row, &transaction, loading->error);
    if (loading->result == 0)
        loading->result = reserve(machine, (uint64_t)machine->transaction_count + 1, loading->error);
    if (loading->result < 0)
        return 1;
    loading->prepared |= transaction.state == STORE_TRANSACTION_PREPARED;
    pthread_mutex_lock(&machine->lock);
    machine->transactions[machine->transaction_count++] = transaction;
    pthread_mutex_unlock(&machine->lock);
    return 0;
}

int32_t store_transactions_load(struct store_machine *machine, hf_error *error)
{
    struct loading loading = {.machine = machine, .error = error};
    struct store_space_key from, to;

    pthread_mutex_lock(&machine->lock);
    machine->transaction_count = 0;
    machine->unlocks++;
    pthread_mutex_unlock(&machine->lock);
    store_space_key_make(&from, STORE_TAG_TRANSACTION, nothing);
    store_space_key_after_tag(&to, STORE_TAG_TRANSACTION);
    int32_t r = machine->engine->scan(machine->database, machine->space, store_space_key_slice(&from),
                                      store_space_key_slice(&to), 0, visit_transaction, &loading, error);

    atomic_store(&machine->has_locks, loading.prepared);
    return r < 0 ? r : loading.result;
}

/* ---- Looking after them ------------------------------------------------------------------------------------------ */

uint32_t store_machine_transactions(struct store_machine *machine, uint64_t until_us, uint64_t decided_until_us,
                                    struct store_transaction *ret_transactions, uint32_t capacity)
{
    uint32_t count = 0;

    pthread_mutex_lock(&machine->lock);
    for (uint32_t i = 0; i < machine->transaction_count && count < capacity; i++) {
        const struct store_transaction *transaction = &machine->transactions[i];
        int waits = transaction->state == STORE_TRANSACTION_PREPARED || transaction->participant_count > 0;

        if (transaction->time_us <= (waits ? until_us : decided_until_us))
            ret_transactions[count++] = *transaction;
    }
    pthread_mutex_unlock(&machine->lock);
    return count;
}

uint32_t store_machine_transaction_count(struct store_machine *machine)
{
    pthread_mutex_lock(&machine->lock);
    uint32_t count = machine->transaction_count;

    pthread_mutex_unlock(&machine->lock);
    return count;
}

uint64_t store_machine_unlocks(struct store_machine *machine)
{
    pthread_mutex_lock(&machine->lock);
    uint64_t unlocks = machine->unlocks;

    pthread_mutex_unlock(&machine->lock);
    return unlocks;
}

/* ---- Locks ------------------------------------------------------------------------------------------------------- */

int32_t store_find_lock(struct store_applying *applying, const struct store_command *command, hf_error *error)
{
    struct store_space_key key;
    struct store_present present;

    if (!atomic_load_explicit(&applying->machine->has_locks, memory_order_relaxed) && applying->noted_count == 0)
        return 0;
    for (uint64_t i = 0; i < command->operation_count; i++) {
        store_space_key_make(&key, STORE_TAG_LOCK, command->operations[i].key);
        int32_t r = store_present_read(applying, store_space_key_slice(&key), &present, error);

        if (r == HF_ENOTFOUND)
            continue;
        if (r < 0)
            return r;
        store_present_release(applying, &present);
        return 1;
    }
    return 0;
}

int32_t store_machine_locked(struct store_machine *machine, hf_slice key, uint32_t flags, hf_error *error)
{
    struct store_space_key space_key;
    hf_slice row = nothing;
    hf_error failure;

    if (!atomic_load(&machine->has_locks) || key.size > STORE_KEY_MAX)
        return 0;
    store_space_key_make(&space_key, STORE_TAG_LOCK, key);
    int32_t r = machine->engine->get(machine->database, machine->space, store_space_key_slice(&space_key), flags, &row,
                                     &failure);

    if (r == HF_ENOTFOUND)
        return 0;
    if (r < 0) {
        if (error)
            *error = failure;
        return r;
    }
    machine->engine->release(machine->database, row);
    return 1;
}

struct first_lock {
    hf_buffer *key;
    int32_t result;
};

static int32_t visit_lock(void *arg, hf_slice key, hf_slice row)
{
    struct first_lock *first = arg;

    (void)row;
    hf_buffer_clear(first->key);
    first->result = hf_buffer_append(first->key, key.data + 1, key.size - 1);
    if (first->result == 0)
        first->result = 1;
    return 1;
}

int32_t store_machine_first_lock(struct store_machine *machine, hf_slice prefix, hf_slice start, hf_buffer *ret_key,
                                 hf_error *error)
{
    struct first_lock first = {.key = ret_key};
    struct store_space_key from, to;

    if (!atomic_load(&machine->has_locks))
        return 0;
    int32_t r = store_space_range(STORE_TAG_LOCK, prefix, start, &from, &to, error);

    if (r == 0)
        r = machine->engine->scan(machine->database, machine->space, store_space_key_slice(&from),
                                  store_space_key_slice(&to), 0, visit_lock, &first, error);
    return r < 0 ? r : first.result;
}
