/* Operations in the order in which they are best sent.
 *
 * Between two deletions of ranges only the last operation on each key matters, and those are on different keys, so
 * they may be sent in any order: sorted, and as one statement for all puts and one for all deletions.  Writers that
 * lock in the same order get less into each other's way. */
#include "database.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>

struct step {
    const hf_engine_operation *operation;
    uint64_t space_id; /* 0: nothing to do */
    uint64_t index;
    struct split_key key;
};

struct plan {
    struct step *steps;
    uint64_t count;
    int32_t has_large;
};

/* ---- Making ------------------------------------------------------------------------------------------------------ */

static int32_t check_operation(const hf_engine_operation *operation, hf_error *error)
{
    int32_t r = key_check(operation->key, error);

    if (r < 0)
        return r;
    switch (operation->type) {
    case HF_ENGINE_PUT:
        if (operation->value.size <= VALUE_MAX)
            return 0;
        return hf_error_set(error, HF_ETOOLARGE, "a value of %llu bytes is over the limit of %d",
                            (unsigned long long)operation->value.size, VALUE_MAX);
    case HF_ENGINE_DELETE:
        return 0;
    case HF_ENGINE_DELETE_RANGE:
        return key_check(operation->value, error);
    default:
        return hf_error_set(error, HF_EINVAL, "there is no operation of type %d", operation->type);
    }
}

static int compare_steps(const void *a, const void *b)
{
    const struct step *one = a, *other = b;

    if (one->space_id != other->space_id)
        return one->space_id < other->space_id ? -1 : 1;
    int order = key_compare(one->operation->key, other->operation->key);

    return order ? order : one->index < other->index ? -1 : one->index > other->index;
}

/* Sorts, and keeps the last of each key. */
static void settle_segment(struct step *steps, uint64_t count)
{
    qsort(steps, count, sizeof *steps, compare_steps);
    for (uint64_t i = 0; i + 1 < count; i++)
        if (steps[i].space_id == steps[i + 1].space_id &&
            key_compare(steps[i].operation->key, steps[i + 1].operation->key) == 0)
            steps[i].space_id = 0;
    for (uint64_t i = 0; i < count; i++) /* in its final place: the hash is pointed to */
        key_split(steps[i].operation->key, &steps[i].key);
}

static int is_range(const struct step *step)
{
    return step->operation->type == HF_ENGINE_DELETE_RANGE;
}

/* The end of the segment that begins at `i`: the next deletion of a range, or the end. */
static uint64_t segment_end(const struct plan *plan, uint64_t i)
{
    while (i < plan->count && !is_range(&plan->steps[i]))
        i++;
    return i;
}

int32_t plan_create(hf_engine_database *database, const hf_engine_operation *operations, uint64_t count,
                    uint64_t space_id, struct plan **ret_plan, hf_error *error)
{
    const hf_host *host = database->host;
    struct plan *plan = host->alloc(host, sizeof *plan);

    if (plan)
        plan->steps = host->alloc(host, (count ? count : 1) * sizeof *plan->steps);
    if (!plan || !plan->steps) {
        plan_destroy(database, plan);
        return hf_error_set(error, HF_ENOMEM, "no memory for %llu operations", (unsigned long long)count);
    }
    plan->count = count;
    for (uint64_t i = 0; i < count; i++) {
        int32_t r = check_operation(&operations[i], error);

        if (r < 0) {
            plan_destroy(database, plan);
            return r;
        }
        plan->steps[i].operation = &operations[i];
        plan->steps[i].index = i;
        plan->steps[i].space_id = space_id ? space_id : spaces_find(database, operations[i].space);
        plan->has_large |= operations[i].type == HF_ENGINE_PUT && operations[i].value.size > INLINE_MAX;
    }
    for (uint64_t i = 0, end; i < count; i = end + 1) {
        end = segment_end(plan, i);
        settle_segment(plan->steps + i, end - i);
    }
    *ret_plan = plan;
    return 0;
}

void plan_destroy(hf_engine_database *database, struct plan *plan)
{
    if (!plan)
        return;
    database->host->free(database->host, plan->steps);
    database->host->free(database->host, plan);
}

/* ---- Performing -------------------------------------------------------------------------------------------------- */

static int32_t add_parts(struct bulk *bulk, const struct step *step, hf_error *error)
{
    hf_slice value = step->operation->value;
    int32_t r = 0;

    for (uint64_t at = 0; r == 0 && at < value.size; at += PART_SIZE) {
        uint64_t size = value.size - at < PART_SIZE ? value.size - at : PART_SIZE;

        r = bulk_add(bulk, step->space_id, &step->key, at / PART_SIZE, (hf_slice){value.data + at, size}, error);
    }
    return r;
}

static int32_t add_step(struct bulk *bulk, const struct step *step, hf_error *error)
{
    int is_put = step->operation->type == HF_ENGINE_PUT;
    int is_large = is_put && step->operation->value.size > INLINE_MAX;

    switch (bulk->statement) {
    case STATEMENT_PUT:
        return !is_put ? 0
                       : bulk_add(bulk, step->space_id, &step->key, step->operation->value.size,
                                  is_large ? (hf_slice){NULL, 0} : step->operation->value, error);
    case STATEMENT_PUT_PART:
        return is_large ? add_parts(bulk, step, error) : 0;
    case STATEMENT_DELETE:
        return is_put ? 0 : bulk_add(bulk, step->space_id, &step->key, 0, (hf_slice){NULL, 0}, error);
    default: /* STATEMENT_DELETE_PARTS */
        return bulk_add(bulk, step->space_id, &step->key, 0, (hf_slice){NULL, 0}, error);
    }
}

static int32_t send_segment(hf_engine_database *database, struct bulk *bulk, const struct step *steps, uint64_t count,
                            hf_error *error)
{
    static const int32_t order[] = {STATEMENT_DELETE_PARTS, STATEMENT_PUT, STATEMENT_DELETE, STATEMENT_PUT_PART};
    int32_t r = 0;

    for (size_t which = 0; r == 0 && which < sizeof order / sizeof order[0]; which++) {
        if (order[which] == STATEMENT_DELETE_PARTS && !atomic_load(&database->large))
            continue;
        bulk->statement = order[which];
        for (uint64_t i = 0; r == 0 && i < count; i++)
            if (steps[i].space_id)
                r = add_step(bulk, &steps[i], error);
        if (r == 0)
            r = bulk_send(bulk, error);
    }
    return r;
}

static void append_range(hf_buffer *sql, const struct step *step)
{
    sql_append(sql, " WHERE r.space_id = %llu", (unsigned long long)step->space_id);
    key_sql_from(sql, step->operation->key);
    if (step->operation->value.size)
        key_sql_before(sql, step->operation->value);
}

static int32_t delete_range(hf_engine_database *database, struct sql_connection *connection, const struct step *step,
                            hf_error *error)
{
    hf_buffer sql;
    int32_t r = 0;

    if (!step->space_id ||
        (step->operation->value.size && key_compare(step->operation->key, step->operation->value) >= 0))
        return 0;
    hf_buffer_init(&sql, 16 * (uint64_t)KEY_MAX);
    if (atomic_load(&database->large)) {
        sql_append(&sql, "DELETE p FROM holdfast_record r JOIN holdfast_part p USING (space_id, record_key, key_hash)");
        append_range(&sql, step);
        r = sql_execute_buffer(connection, "cannot delete a range", &sql, NULL, error);
    }
    hf_buffer_clear(&sql);
    sql_append(&sql, "DELETE r FROM holdfast_record r");
    append_range(&sql, step);
    if (r == 0)
        r = sql_execute_buffer(connection, "cannot delete a range", &sql, NULL, error);
    hf_buffer_done(&sql);
    return r;
}

static int32_t note_large(hf_engine_database *database, struct sql_connection *connection, hf_error *error)
{
    return sql_execute(connection, "cannot note that there are large values", NULL, error,
                       "UPDATE holdfast_database SET large = 1 WHERE id = %llu", (unsigned long long)database->id);
}

static int32_t perform(hf_engine_database *database, struct sql_connection *connection, void *arg, hf_error *error)
{
    const struct plan *plan = arg;
    struct bulk *bulk = bulk_create(database, connection, STATEMENT_PUT, error);
    int32_t r = bulk ? 0 : HF_ENOMEM;

    if (r == 0 && plan->has_large && !atomic_load(&database->large_stored))
        r = note_large(database, connection, error);
    for (uint64_t i = 0, end; r == 0 && i < plan->count; i = end + 1) {
        end = segment_end(plan, i);
        r = send_segment(database, bulk, plan->steps + i, end - i, error);
        if (r == 0 && end < plan->count)
            r = delete_range(database, connection, &plan->steps[end], error);
    }
    bulk_destroy(database, bulk);
    return r;
}

int32_t plan_run(hf_engine_database *database, struct plan *plan, hf_error *error)
{
    if (plan->has_large)
        atomic_store(&database->large, 1); /* before another writer could replace such a value */
    int32_t r = transaction_run(database, perform, plan, error);

    if (r == 0 && plan->has_large)
        atomic_store(&database->large_stored, 1);
    return r;
}
