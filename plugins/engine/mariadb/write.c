/* Writing records. */
#include "database.h"

#include <holdfast/lib/error.h>

static int32_t create_spaces(hf_engine_database *database, const hf_engine_operation *operations, uint64_t count,
                             hf_error *error)
{
    int32_t r = 0;

    for (uint64_t i = 0; r == 0 && i < count; i++)
        if (operations[i].type == HF_ENGINE_PUT)
            r = spaces_create(database, operations[i].space, error);
    return r;
}

static int has_all_spaces(hf_engine_database *database, const hf_engine_operation *operations, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        if (operations[i].type == HF_ENGINE_PUT && !spaces_find(database, operations[i].space))
            return 0;
    return 1;
}

static void note_written(hf_engine_database *database, const hf_engine_operation *operations, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        if (operations[i].type == HF_ENGINE_PUT)
            spaces_written(database, operations[i].space, operations[i].key.size + operations[i].value.size);
}

/* In the gate, with every space that is put to existing. */
static int32_t enter_with_spaces(hf_engine_database *database, const hf_engine_operation *operations, uint64_t count,
                                 hf_error *error)
{
    for (;;) {
        int32_t r = spaces_enter(database, error);

        if (r < 0 || has_all_spaces(database, operations, count))
            return r;
        spaces_leave(database);
        r = create_spaces(database, operations, count, error);
        if (r < 0)
            return r;
    }
}

static int32_t write_in_gate(hf_engine_database *database, const hf_engine_operation *operations, uint64_t count,
                             hf_error *error)
{
    struct plan *plan = NULL;
    int32_t r = plan_create(database, operations, count, 0, &plan, error);

    if (r == 0)
        r = plan_run(database, plan, error);
    if (r == 0)
        note_written(database, operations, count);
    plan_destroy(database, plan);
    return r;
}

/* A space is erased as a whole, however large: its rows are swept later. */
static int is_erasure(const hf_engine_operation *operations, uint64_t count)
{
    return count == 1 && operations->type == HF_ENGINE_DELETE_RANGE && operations->key.size == 0 &&
           operations->value.size == 0;
}

static int32_t check_types(const hf_engine_operation *operations, uint64_t count, hf_error *error)
{
    for (uint64_t i = 0; i < count; i++)
        if (operations[i].type < HF_ENGINE_PUT || operations[i].type > HF_ENGINE_DELETE_RANGE)
            return hf_error_set(error, HF_EINVAL, "there is no operation of type %d", operations[i].type);
    return 0;
}

int32_t database_write(hf_engine_database *database, const hf_engine_operation *operations, uint64_t count,
                       hf_error *error)
{
    int32_t r = check_types(operations, count, error);

    if (r < 0 || count == 0)
        return r;
    if (is_erasure(operations, count))
        return spaces_exchange(database, operations->space, 0, error);
    r = enter_with_spaces(database, operations, count, error);
    if (r < 0)
        return r;
    r = write_in_gate(database, operations, count, error);
    spaces_leave(database);
    return r;
}

int32_t database_flush(hf_engine_database *database, hf_error *error)
{
    /* Every write was durable when it returned: the servers' settings are checked when connecting. */
    return transaction_settle(database, error);
}
