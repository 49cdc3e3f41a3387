/* store_damage PLUGIN.so DIRECTORY SPACE (flip|forge|drop) KEY: damages a record in the engine of a node that does not
 * run, in ways that the engine's own checksums do not notice.
 *
 *   flip   changes a bit of the value
 *   forge  the same, and makes the record's checksum fit
 *   drop   removes the record */
#include "kit.h"

#include "layout.h"

#include <holdfast/lib/checksum.h>
#include <holdfast/lib/value.h>

static hf_buffer read_row(hf_engine_database *database, uint64_t space, hf_slice key)
{
    hf_slice stored = {NULL, 0};
    hf_error error = {0};
    hf_buffer row;

    hf_buffer_init(&row, STORE_VALUE_MAX);
    if (kit_engine->get(database, space, key, 0, &stored, &error) != 0) {
        fprintf(stderr, "no such record: %s\n", error.message);
        exit(1);
    }
    if (hf_buffer_append(&row, stored.data, stored.size) != 0)
        exit(1);
    kit_engine->release(database, stored);
    return row;
}

static void change(hf_buffer *row, int forge)
{
    struct store_record record;
    uint8_t head[STORE_RECORD_HEAD_MAX];

    row->data[row->size - 1] ^= 1;
    if (!forge)
        return;
    if (store_record_read((hf_slice){row->data, row->size}, &record, NULL) != 0)
        exit(1);
    record.checksum = hf_crc32c(0, record.value.data, record.value.size);
    uint64_t size = store_record_write_head(head, &record);

    memcpy(row->data, head, size);
}

int main(int count, char **arguments)
{
    hf_engine_database *database = NULL;
    hf_error error = {0};
    struct store_space_key key;

    if (count != 6 || kit_load(arguments[1]) < 0)
        return 2;
    if (kit_open_database(arguments[2], &database, &error) != 0) {
        fprintf(stderr, "cannot open: %s\n", error.message);
        return 1;
    }
    uint64_t space = strtoull(arguments[3], NULL, 10);

    store_space_key_make(&key, STORE_TAG_RECORD, hf_slice_of(arguments[5]));
    hf_buffer row = read_row(database, space, store_space_key_slice(&key));
    hf_engine_operation operation = {.type = HF_ENGINE_DELETE, .space = space, .key = store_space_key_slice(&key)};

    if (strcmp(arguments[4], "drop") != 0) {
        change(&row, strcmp(arguments[4], "forge") == 0);
        operation.type = HF_ENGINE_PUT;
        operation.value = (hf_slice){row.data, row.size};
    }
    int32_t r = kit_engine->write(database, &operation, 1, &error);

    if (r == 0)
        r = kit_engine->flush(database, &error);
    if (r != 0)
        fprintf(stderr, "cannot write: %s\n", error.message);
    kit_engine->close(database);
    hf_buffer_done(&row);
    kit_unload();
    return r != 0;
}
