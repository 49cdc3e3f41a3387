/* Visiting the change feed.  A change does not hold its value: the record does, as long as it has that version. */
#include "internal.h"

#include <holdfast/lib/error.h>

struct reading {
    struct store_machine *machine;
    uint64_t from;
    int part; /* 1: changes of keys outside the range were given away */
    uint64_t from_hash, to_hash;
    int checked; /* the view that is being read was found to be whole */
    store_visit_change visit;
    void *arg;
    hf_error *error;
    int32_t result;
};

/* Changes are forgotten beside readers.  The floor rises before they vanish, so once a view exists, a floor below
 * `from` shows that the view lacks nothing. */
static int32_t check_view(struct reading *reading)
{
    uint64_t floor = store_machine_feed_floor(reading->machine);

    reading->checked = 1;
    if (reading->from > floor || floor == 0)
        return 0;
    return hf_error_set(reading->error, HF_ENOTFOUND,
                        "changes from %llu on were asked for and those up to %llu are no longer kept; read all records "
                        "with a scan and go on from there",
                        (unsigned long long)reading->from, (unsigned long long)floor);
}

/* Finds the value of a put, or that the record has changed since.  *ret_record is to be released unless the change is
 * superseded. */
static int32_t find_value(struct reading *reading, struct store_change *change, struct store_record *ret_record)
{
    struct store_machine *machine = reading->machine;
    struct store_space_key key;
    hf_slice stored = {NULL, 0};
    hf_error failure;

    change->superseded = 1;
    store_space_key_make(&key, STORE_TAG_RECORD, change->key);
    int32_t r =
        machine->engine->get(machine->database, machine->space, store_space_key_slice(&key), 0, &stored, &failure);

    if (r == HF_ENOTFOUND)
        return 0;
    if (r < 0) {
        if (reading->error)
            *reading->error = failure;
        return r;
    }
    r = store_record_read(stored, ret_record, reading->error);
    if (r == 0 && ret_record->version == change->version) {
        change->superseded = 0;
        change->value = ret_record->value;
        r = store_record_check(ret_record, reading->error);
    }
    if (r < 0 || change->superseded)
        machine->engine->release(machine->database, stored);
    return r;
}

static int32_t give(struct reading *reading, struct store_change *change)
{
    struct store_record record = {0};
    uint64_t hash = reading->part ? store_hash_of(change->key) : 0;

    if (reading->part && (hash < reading->from_hash || hash > reading->to_hash))
        return 0; /* it is in the feed of the partition that has the key by now */
    if (change->type == STORE_PUT)
        reading->result = find_value(reading, change, &record);
    if (reading->result < 0)
        return 1;
    int32_t end = reading->visit(reading->arg, change);

    if (change->type == STORE_PUT && !change->superseded)
        store_record_release(reading->machine, &record);
    return end;
}

static int32_t visit_row(void *arg, hf_slice key, hf_slice value)
{
    struct reading *reading = arg;
    struct store_changes changes = {0};
    struct store_change change = {0};
    int32_t r, end = 0;

    if (!reading->checked)
        reading->result = check_view(reading);
    if (reading->result == 0)
        reading->result = store_changes_read(key, value, &changes, reading->error);
    if (reading->result < 0)
        return 1;
    while (!end && (r = store_changes_next(&changes, &change, reading->error)) != 0) {
        if (r < 0)
            reading->result = r;
        end = r < 0 || (change.version >= reading->from && give(reading, &change));
    }
    return end;
}

int32_t store_machine_changes(struct store_machine *machine, uint64_t from, store_visit_change visit, void *arg,
                              hf_error *error)
{
    struct reading reading = {.machine = machine, .from = from, .visit = visit, .arg = arg, .error = error};
    struct store_machine_state state;
    struct store_space_key first, end;

    store_machine_state(machine, &state);
    reading.from_hash = state.shape.hash_from;
    reading.to_hash = state.shape.hash_to;
    reading.part = reading.from_hash > 0 || reading.to_hash < UINT64_MAX;

    store_space_key_at_version(&first, STORE_TAG_CHANGE, from);
    store_space_key_after_tag(&end, STORE_TAG_CHANGE);
    int32_t r = machine->engine->scan(machine->database, machine->space, store_space_key_slice(&first),
                                      store_space_key_slice(&end), 0, visit_row, &reading, error);

    if (r == 0 && !reading.checked)
        reading.result = check_view(&reading);
    return r < 0 ? r : reading.result;
}
