#include "inspect.h"

#include "internal.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>

static int32_t check_record(hf_slice value, hf_error *error)
{
    struct store_record record;
    int32_t r = store_record_read(value, &record, error);

    return r < 0 ? r : store_record_check(&record, error);
}

static int32_t check_changes(hf_slice key, hf_slice value, hf_error *error)
{
    struct store_changes changes;
    struct store_change change;
    int32_t r = store_changes_read(key, value, &changes, error);

    if (r == 0)
        do
            r = store_changes_next(&changes, &change, error);
        while (r == 1);
    return r;
}

static int32_t check_remembered(hf_slice key, hf_slice value, hf_error *error)
{
    uint64_t version, time_us;
    hf_slice keys;

    return store_remembered_read(key, value, &version, &time_us, &keys, error);
}

static int32_t check_deadline(hf_slice key, hf_slice value, hf_error *error)
{
    uint64_t deadline_us, version;
    hf_slice record_key;

    return store_deadline_read(key, value, &deadline_us, &version, &record_key, error);
}

static int32_t check_repeat(hf_slice value, hf_error *error)
{
    struct store_outcome outcome;
    uint64_t asked;

    return store_repeat_read(value, &outcome, &asked, error);
}

static int32_t check_position(hf_slice value, hf_error *error)
{
    struct store_position position;

    return store_position_read(value, &position, error);
}

/* Records have a checksum of their own; of other rows the form is looked at, and what is wrong within it is found by
 * the engine's checksums and by the comparison of replicas. */
static int32_t check_row(hf_slice key, hf_slice value, hf_error *error)
{
    switch (key.size ? key.data[0] : 0) {
    case STORE_TAG_RECORD:
        return check_record(value, error);
    case STORE_TAG_CHANGE:
        return check_changes(key, value, error);
    case STORE_TAG_REMEMBERED:
        return check_remembered(key, value, error);
    case STORE_TAG_DEADLINE:
        return check_deadline(key, value, error);
    case STORE_TAG_REPEAT:
        return check_repeat(value, error);
    case STORE_TAG_POSITION:
        return check_position(value, error);
    default: /* those without a form that could be wrong, and those of newer releases */
        return HF_OK;
    }
}

static int32_t visit(void *arg, hf_slice key, hf_slice value)
{
    struct store_inspection *inspection = arg;
    hf_error error = {0};
    int32_t r = check_row(key, value, &error);

    inspection->rows++;
    inspection->bytes += key.size + value.size;
    if (r < 0 && r != HF_EVERSION && inspection->damaged++ == 0) /* a newer release's row is no damage */
        inspection->first = error;
    store_hash_tree_add(&inspection->tree, key, value);
    return 0;
}

int32_t store_inspection_begin(struct store_machine *machine, struct store_inspection **ret_inspection, hf_error *error)
{
    const hf_engine *engine = machine->engine;
    int32_t r;

    if (engine->head.size < offsetof(hf_engine, export_visit) + sizeof engine->export_visit || !engine->export_visit)
        return hf_error_set(error, HF_EUNSUPPORTED, "the engine cannot be looked through");
    struct store_inspection *inspection = calloc(1, sizeof *inspection);

    if (!inspection)
        return hf_error_set(error, HF_ENOMEM, "no memory to look through a partition");
    inspection->engine = engine;
    r = store_machine_export(machine, &inspection->view, &inspection->state, error);
    if (r < 0) {
        store_inspection_free(inspection);
        return r;
    }
    *ret_inspection = inspection;
    return 0;
}

int32_t store_inspection_go_on(struct store_inspection *inspection, uint64_t bytes, int32_t *ret_more, hf_error *error)
{
    return inspection->engine->export_visit(inspection->view, bytes, visit, inspection, ret_more, error);
}

void store_inspection_close(struct store_inspection *inspection)
{
    if (inspection->view)
        inspection->engine->export_close(inspection->view);
    inspection->view = NULL;
}

void store_inspection_free(struct store_inspection *inspection)
{
    if (!inspection)
        return;
    store_inspection_close(inspection);
    free(inspection);
}
