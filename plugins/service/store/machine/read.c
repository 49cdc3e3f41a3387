/* Finding and visiting records. */
#include "internal.h"

#include <holdfast/lib/error.h>

#include <string.h>

int32_t store_machine_get(struct store_machine *machine, hf_slice key, uint32_t flags, struct store_record *ret_record,
                          hf_error *error)
{
    struct store_space_key space_key;
    struct store_record record = {0};
    hf_slice stored = {NULL, 0};

    if (key.size == 0 || key.size > STORE_KEY_MAX)
        return hf_error_set(error, HF_EINVAL, "a key has %llu bytes; expected 1 to %d", (unsigned long long)key.size,
                            STORE_KEY_MAX);
    store_space_key_make(&space_key, STORE_TAG_RECORD, key);
    int32_t r = machine->engine->get(machine->database, machine->space, store_space_key_slice(&space_key), flags,
                                     &stored, error);

    if (r < 0)
        return r;
    r = store_record_read(stored, &record, error);
    if (r == 0)
        r = store_record_check(&record, error);
    if (r < 0)
        machine->engine->release(machine->database, stored);
    else
        *ret_record = record;
    return r;
}

void store_record_release(struct store_machine *machine, struct store_record *record)
{
    machine->engine->release(machine->database, record->stored);
    *record = (struct store_record){0};
}

/* ---- Scans ------------------------------------------------------------------------------------------------------- */

struct scan {
    store_visit_record visit;
    void *arg;
    hf_error *error;
    int32_t result;
};

static int32_t visit_record(void *arg, hf_slice key, hf_slice value)
{
    struct scan *scan = arg;
    struct store_record record;

    scan->result = store_record_read(value, &record, scan->error);
    if (scan->result == 0)
        scan->result = store_record_check(&record, scan->error);
    if (scan->result < 0)
        return 1;
    return scan->visit(scan->arg, (hf_slice){key.data + 1, key.size - 1}, &record);
}

/* Turns a key into the first one after all that begin with it.  There is one, for no tag is 0xff. */
static void skip_prefix(struct store_space_key *key)
{
    while (key->bytes[key->size - 1] == 0xff)
        key->size--;
    key->bytes[key->size - 1]++;
}

static int slice_before(hf_slice a, hf_slice b)
{
    uint64_t shorter = a.size < b.size ? a.size : b.size;
    int order = shorter ? memcmp(a.data, b.data, shorter) : 0;

    return order < 0 || (order == 0 && a.size < b.size);
}

int32_t store_space_range(uint8_t tag, hf_slice prefix, hf_slice start, struct store_space_key *ret_from,
                          struct store_space_key *ret_to, hf_error *error)
{
    if (prefix.size > STORE_KEY_MAX || start.size > STORE_KEY_MAX)
        return hf_error_set(error, HF_EINVAL,
                            "a scan's prefix has %llu bytes and its start %llu; expected at most %d each",
                            (unsigned long long)prefix.size, (unsigned long long)start.size, STORE_KEY_MAX);
    store_space_key_make(ret_from, tag, slice_before(prefix, start) ? start : prefix);
    store_space_key_make(ret_to, tag, prefix);
    skip_prefix(ret_to);
    return 0;
}

int32_t store_machine_scan(struct store_machine *machine, hf_slice prefix, hf_slice start, uint32_t flags,
                           store_visit_record visit, void *arg, hf_error *error)
{
    struct scan scan = {visit, arg, error, 0};
    struct store_space_key from, to;
    int32_t r = store_space_range(STORE_TAG_RECORD, prefix, start, &from, &to, error);

    if (r == 0)
        r = machine->engine->scan(machine->database, machine->space, store_space_key_slice(&from),
                                  store_space_key_slice(&to), flags, visit_record, &scan, error);
    return r < 0 ? r : scan.result;
}
