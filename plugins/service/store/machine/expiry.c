/* Records with a deadline: the rows that name them by time, and the command that removes them.
 *
 * A command's deadline is reckoned from its entry's time, and only an entry removes a record, so replicas agree
 * whatever their clocks say.  Until a record has a deadline, nothing is read here. */
#include "internal.h"

#include "bug.h"
#include "bytes.h"

#include <holdfast/lib/error.h>

static const hf_slice nothing = {NULL, 0};

enum { SECOND_US = 1000000 };

/* ---- Keeping the rows -------------------------------------------------------------------------------------------- */

uint64_t store_deadline_of(const struct store_applying *applying, const struct store_operation *operation)
{
    uint64_t after_us = (uint64_t)operation->expire_after * SECOND_US, time_us = applying->bundle.time_us;

    if (after_us == 0)
        return 0;
    return time_us < UINT64_MAX - after_us ? time_us + after_us : UINT64_MAX;
}

static int32_t remove_row(struct store_applying *applying, hf_slice key, uint64_t deadline_us, hf_error *error)
{
    struct store_space_key row;

    store_space_key_at_deadline(&row, deadline_us, key);
    return store_gather_add(&applying->gather, HF_ENGINE_DELETE, store_space_key_slice(&row), nothing, nothing, error);
}

static int32_t add_row(struct store_applying *applying, hf_slice key, uint64_t version, uint64_t deadline_us,
                       hf_error *error)
{
    struct store_space_key row;
    uint8_t bytes[8];

    applying->machine->has_deadlines = 1;
    if (deadline_us < applying->first_deadline)
        applying->first_deadline = deadline_us;
    store_space_key_at_deadline(&row, deadline_us, key);
    store_write_be(bytes, version, sizeof bytes);
    return store_gather_add(&applying->gather, HF_ENGINE_PUT, store_space_key_slice(&row),
                            (hf_slice){bytes, sizeof bytes}, nothing, error);
}

int32_t store_gather_deadline(struct store_applying *applying, hf_slice key, uint64_t version, uint64_t deadline_us,
                              hf_error *error)
{
    struct store_record before = {0};
    int32_t r = applying->machine->has_deadlines ? store_find_record(applying, key, &before, error) : 0;

    if (r == 0 && before.deadline_us && before.deadline_us != deadline_us)
        r = remove_row(applying, key, before.deadline_us, error);
    if (r == 0 && deadline_us)
        r = add_row(applying, key, version, deadline_us, error);
    return r;
}

/* ---- Removing records -------------------------------------------------------------------------------------------- */

/* *ret_done tells whether the record was what the operation is about. */
static int32_t expire(struct store_applying *applying, const struct store_operation *operation, int *ret_done,
                      hf_error *error)
{
    struct store_record record;
    struct store_space_key key;
    int32_t r = store_find_record(applying, operation->key, &record, error);

    *ret_done = 0;
    if (!store_shape_has(&applying->position.state.shape, store_hash_of(operation->key)))
        return r; /* it goes as a stray, and is another partition's to expire */
    if (r < 0 || (!STORE_BUG(EXPIRE_BLINDLY) &&
                  (record.version != operation->version || !store_record_expired(&record, applying->bundle.time_us))))
        return r;
    const struct store_command alone = {.operations = operation, .operation_count = 1};

    r = store_find_lock(applying, &alone, error);
    if (r != 0)
        return r < 0 ? r : 0; /* it is found again when the transaction has ended */
    *ret_done = 1;
    store_space_key_make(&key, STORE_TAG_RECORD, operation->key);
    r = store_gather_add_readable(&applying->gather, HF_ENGINE_DELETE, store_space_key_slice(&key), nothing, nothing,
                                  error);
    return r < 0 ? r : remove_row(applying, operation->key, record.deadline_us, error);
}

int32_t store_perform_expires(struct store_applying *applying, uint64_t version, const struct store_command *command,
                              hf_error *error)
{
    struct store_operation done[STORE_EXPIRES_MAX];
    struct store_command changed = *command;

    changed.operations = done;
    changed.operation_count = 0;
    for (uint64_t i = 0; i < command->operation_count; i++) {
        int is_done = 0;
        int32_t r = expire(applying, &command->operations[i], &is_done, error);

        if (r < 0)
            return r;
        if (is_done)
            done[changed.operation_count++] = command->operations[i];
    }
    return changed.operation_count ? store_note_change(applying, version, &changed, error) : 0;
}

/* ---- What is due ------------------------------------------------------------------------------------------------- */

struct search {
    uint64_t now_us;
    hf_arena *arena;
    struct store_operation *operations;
    uint64_t capacity, count;
    uint64_t first; /* deadline of the first row; UINT64_MAX: there is none */
    hf_error *error;
    int32_t result;
};

static int32_t visit_row(void *arg, hf_slice key, hf_slice row)
{
    struct search *search = arg;
    uint64_t deadline_us = 0, version = 0;
    hf_slice record_key = nothing;

    search->result = store_deadline_read(key, row, &deadline_us, &version, &record_key, search->error);
    if (search->result < 0)
        return 1;
    if (search->first == UINT64_MAX)
        search->first = deadline_us;
    if (deadline_us > search->now_us || search->count == search->capacity)
        return 1;
    struct store_operation *operation = &search->operations[search->count++];

    *operation = (struct store_operation){.type = STORE_EXPIRE, .condition = STORE_IF_VERSION, .version = version};
    if (hf_arena_copy(search->arena, record_key, &operation->key) < 0)
        search->result = hf_error_set(search->error, HF_ENOMEM, "no memory for the keys of records that expire");
    return search->result < 0;
}

static int32_t search_rows(struct store_machine *machine, struct search *search)
{
    struct store_space_key from, to;

    search->first = UINT64_MAX;
    store_space_key_make(&from, STORE_TAG_DEADLINE, nothing);
    store_space_key_after_tag(&to, STORE_TAG_DEADLINE);
    int32_t r = machine->engine->scan(machine->database, machine->space, store_space_key_slice(&from),
                                      store_space_key_slice(&to), 0, visit_row, search, search->error);

    return r < 0 ? r : search->result;
}

int32_t store_load_deadlines(struct store_machine *machine, uint64_t *ret_deadline_us, hf_error *error)
{
    struct search search = {.error = error};
    int32_t r = search_rows(machine, &search);

    *ret_deadline_us = search.first;
    return r;
}

/* What is written while the rows are searched lowers the bound again once it is in the engine; so the bound is raised
 * before the search, and what the search finds lowers it, too. */
int32_t store_machine_due(struct store_machine *machine, uint64_t now_us, hf_arena *arena,
                          struct store_operation *operations, uint64_t capacity, uint64_t *ret_count, hf_error *error)
{
    struct search search = {
        .now_us = now_us, .arena = arena, .operations = operations, .capacity = capacity, .error = error};

    store_machine_set_next_deadline(machine, UINT64_MAX);
    int32_t r = search_rows(machine, &search);

    store_machine_lower_next_deadline(machine, r < 0 ? 0 : search.first);
    *ret_count = r < 0 ? 0 : search.count;
    return r;
}
