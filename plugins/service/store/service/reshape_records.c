/* What splits and merges write to the catalog.  The record that one is to be goes in the same change that says what
 * came of it, or with the reason why it cannot be; every change holds only if nobody was faster, for it names the
 * versions that it is about. */
#include "service/reshape_private.h"

#include <holdfast/lib/error.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { RECORD_MAX = 8 << 20 };

/* ---- Changes of records ------------------------------------------------------------------------------------------ */

void store_edits_begin(struct edits *edits)
{
    memset(edits, 0, sizeof *edits);
    for (int i = 0; i < EDITS_MAX; i++)
        hf_buffer_init(&edits->values[i], RECORD_MAX);
}

void store_edits_end(struct edits *edits)
{
    for (int i = 0; i < EDITS_MAX; i++)
        hf_buffer_done(&edits->values[i]);
}

void store_edits_add_put(struct edits *edits, uint64_t version)
{
    uint64_t at = edits->count++;

    edits->operations[at] = store_edit_put(hf_slice_of(edits->keys[at]),
                                           (hf_slice){edits->values[at].data, edits->values[at].size}, version);
}

void store_edits_add_reshaping_key(struct edits *edits, uint64_t partition)
{
    snprintf(edits->keys[edits->count], sizeof edits->keys[0], "reshapes/%016" PRIx64, partition);
}

static void add_removal(struct edits *edits, const struct store_reshaping *reshaping)
{
    store_edits_add_reshaping_key(edits, reshaping->partition);
    edits->operations[edits->count] = (struct store_operation){.type = STORE_DELETE,
                                                               .condition = STORE_IF_VERSION,
                                                               .version = reshaping->version,
                                                               .key = hf_slice_of(edits->keys[edits->count])};
    edits->count++;
}

int32_t store_edits_add_table(struct edits *edits, const struct store_service *service, const struct store_table *table,
                              hf_error *error)
{
    uint64_t at = edits->count;
    int32_t result = store_table_write(&edits->values[at], table, &service->nodes, error);

    snprintf(edits->keys[at], sizeof edits->keys[0], "tables/%s", table->declaration.name);
    if (result == HF_OK)
        store_edits_add_put(edits, table->version);
    return result;
}

int32_t store_edits_add_placement(struct edits *edits, const struct store_service *service,
                                  const struct store_partition *partition)
{
    uint64_t at = edits->count;
    int32_t result = store_placement_write(&edits->values[at], partition, &service->nodes);

    snprintf(edits->keys[at], sizeof edits->keys[0], "placements/%016" PRIx64, partition->id);
    if (result == HF_OK)
        store_edits_add_put(edits, partition->placement_version);
    return result;
}

/* ---- Ending ------------------------------------------------------------------------------------------------------ */

void store_driver_recorded(void *arg, int32_t code, const hf_error *error)
{
    struct drive *drive = arg;
    struct store_driver *driver = drive->driver;

    if (code == HF_OK) {
        if (drive->step == RECORD)
            store_service_log(driver->service, HF_LOG_INFO, "partition %" PRIu64 " %s %" PRIu64,
                              drive->reshaping.partition,
                              drive->reshaping.merges ? "was merged with its neighbour" : "was split; the new one is",
                              drive->reshaping.other);
        store_driver_wait(drive, SETTLE, LONG_PAUSE_US); /* it goes when the routing has no record of it any more */
        return;
    }
    if (code != HF_ECONFLICT) /* else somebody else was faster, and the next look is at the newer records */
        store_service_log(driver->service, HF_LOG_WARNING, "a split or merge could not be recorded: %s",
                          error ? error->message : "");
    store_driver_wait(drive, drive->step, code == HF_ECONFLICT ? PAUSE_US : LONG_PAUSE_US);
}

void store_driver_abandon(struct drive *drive, const char *why)
{
    struct edits edits;

    store_service_log(drive->driver->service, HF_LOG_WARNING, "partition %" PRIu64 " is not %s: %s",
                      drive->reshaping.partition, drive->reshaping.merges ? "merged" : "split", why);
    store_edits_begin(&edits);
    add_removal(&edits, &drive->reshaping);
    drive->is_busy = 1;
    drive->step = SETTLE;
    store_edit(drive->driver->service, edits.operations, edits.count, store_driver_recorded, drive);
    store_edits_end(&edits);
}

static int32_t add_split(struct edits *edits, struct drive *drive, const struct store_routed *routed, hf_arena *arena,
                         hf_error *error)
{
    const struct store_partition *parent = routed->partition;
    struct store_partition child = {.id = drive->reshaping.other,
                                    .parent_epoch = drive->shape.epoch,
                                    .parent_version = drive->shape.changed,
                                    .member_count = parent->member_count,
                                    .first_count = parent->member_count};
    struct store_table table;

    for (uint32_t i = 0; i < parent->member_count; i++) {
        child.members[i] = parent->members[i];
        child.replicas[i] = parent->replicas[i];
        child.first[i] = store_replica_id(parent->members[i], 0); /* only their nodes are kept */
    }
    int32_t result = store_table_split(routed->table, parent->id, drive->reshaping.from, &child, arena, &table);

    if (result != HF_OK)
        return hf_error_set(error, result, "the table's partitions do not fit the split");
    result = store_edits_add_table(edits, drive->driver->service, &table, error);
    return result == HF_OK ? store_edits_add_placement(edits, drive->driver->service, &child) : result;
}

static int32_t add_merge(struct edits *edits, struct drive *drive, const struct store_routed *routed, hf_arena *arena,
                         hf_error *error)
{
    struct store_service *service = drive->driver->service;
    struct store_table table;
    int32_t result =
        store_table_merge(routed->table, routed->partition->id, drive->reshaping.other, drive->shape.version,
                          service->environment.wall_us(service->host), arena, &table);

    if (result != HF_OK)
        return hf_error_set(error, result, "the table's partitions do not fit the merge");
    return store_edits_add_table(edits, service, &table, error);
}

void store_driver_record(struct drive *drive, const struct store_routed *routed)
{
    struct edits edits;
    hf_error error = {0};
    hf_arena arena;
    int32_t result;

    store_edits_begin(&edits);
    hf_arena_init(&arena, RECORD_MAX);
    result = drive->reshaping.merges ? add_merge(&edits, drive, routed, &arena, &error)
                                     : add_split(&edits, drive, routed, &arena, &error);
    add_removal(&edits, &drive->reshaping);
    drive->is_busy = 1;
    if (result == HF_OK)
        store_edit(drive->driver->service, edits.operations, edits.count, store_driver_recorded, drive);
    else
        store_driver_recorded(drive, result, &error);
    hf_arena_done(&arena);
    store_edits_end(&edits);
}
