/* Forgetting what was merged.  The catalog remembers a partition that is gone for its change feed; when its changes
 * need not be kept any longer, it is marked as gone.  Not before nobody can ask it for what a transaction decided, and
 * every replica of its heir has taken its records. */
#include "service/reshape_private.h"

#include <stdlib.h>
#include <string.h>

static void dropped(void *arg, int32_t code, const hf_error *error)
{
    struct store_driver *driver = arg;

    if (code != HF_OK && code != HF_ECONFLICT)
        store_service_log(driver->service, HF_LOG_WARNING, "a merged partition could not be forgotten: %s",
                          error ? error->message : "");
    driver->is_dropping = 0;
}

static void drop(struct store_driver *driver, const struct store_table *table, const struct store_retired *retired)
{
    struct store_table changed = *table;
    struct store_retired *list = malloc(table->retired_count * sizeof *list);
    struct edits edits;
    hf_error error = {0};

    if (!list) {
        driver->is_dropping = 0;
        return;
    }
    memcpy(list, table->retired, table->retired_count * sizeof *list);
    list[retired - table->retired].is_gone = 1;
    changed.retired = list;
    store_edits_begin(&edits);
    if (store_edits_add_table(&edits, driver->service, &changed, &error) == HF_OK)
        store_edit(driver->service, edits.operations, edits.count, dropped, driver);
    else
        dropped(driver, HF_ENOMEM, &error);
    store_edits_end(&edits);
    free(list);
}

static const struct store_retired *find_retired(const struct store_driver *driver, uint64_t partition,
                                                const struct store_table **ret_table)
{
    const struct store_routing *routing = store_driver_routing(driver);

    for (uint32_t i = 0; i < routing->table_count; i++) {
        const struct store_retired *retired = store_table_retired(routing->tables[i], partition);

        *ret_table = routing->tables[i];
        if (retired)
            return retired;
    }
    return NULL;
}

static void ask_heir(struct store_driver *driver);

/* Somebody may still ask for what was decided there. */
static void dropped_told(struct store_call *call)
{
    struct store_driver *driver = (struct store_driver *)((char *)call - offsetof(struct store_driver, drop_call));
    struct store_shape_row shape = {0};

    if (store_driver_take_shape(call, &shape) && shape.transactions == 0)
        ask_heir(driver);
    else
        driver->is_dropping = 0; /* later */
}

/* Its records are needed as long as a replica of the heir has not taken them. */
static void heir_told(struct store_call *call)
{
    struct store_driver *driver = (struct store_driver *)((char *)call - offsetof(struct store_driver, drop_call));
    const struct store_table *table = NULL;
    const struct store_retired *retired = find_retired(driver, driver->drop_partition, &table);
    struct store_shape_row shape = {0};

    if (store_driver_take_shape(call, &shape) && retired && shape.hash_to >= retired->partition.hash_to)
        ask_heir(driver);
    else
        driver->is_dropping = 0; /* later */
}

static void ask_heir(struct store_driver *driver)
{
    const struct store_table *table = NULL;
    const struct store_retired *retired = find_retired(driver, driver->drop_partition, &table);
    const struct store_routed *heir =
        retired ? store_routing_partition(store_driver_routing(driver), retired->heir) : NULL;

    if (!heir || driver->drop_member >= heir->partition->member_count) {
        if (retired)
            drop(driver, table, retired); /* an heir that is gone itself was merged whole */
        else
            driver->is_dropping = 0;
        return;
    }
    driver->drop_call = (struct store_call){.op = {.type = STORE_OP_SHAPE,
                                                   .stale = 1,
                                                   .partition = retired->heir,
                                                   .deadline_us = store_driver_now_us(driver) + TIMEOUT_US},
                                            .only = heir->partition->members[driver->drop_member++] + 1,
                                            .finished = heir_told};
    store_call_start(driver->service, &driver->drop_call);
}

void store_driver_drop_one(struct store_driver *driver)
{
    struct store_service *service = driver->service;
    const struct store_routing *routing = store_driver_routing(driver);
    uint64_t wall_us = service->environment.wall_us(service->host);

    if (driver->is_dropping || store_driver_now_us(driver) < driver->drop_us)
        return;
    driver->drop_us = store_driver_now_us(driver) + LONG_PAUSE_US;
    for (uint32_t t = 0; t < routing->table_count; t++)
        for (uint32_t i = 0; i < routing->tables[t]->retired_count; i++) {
            const struct store_retired *retired = &routing->tables[t]->retired[i];

            if (retired->is_gone || wall_us < retired->time_us + routing->tables[t]->declaration.keep_changes_us)
                continue;
            driver->is_dropping = 1;
            driver->drop_partition = retired->partition.id;
            driver->drop_member = 0;
            driver->drop_call = (struct store_call){.op = {.type = STORE_OP_SHAPE,
                                                           .partition = retired->partition.id,
                                                           .deadline_us = store_driver_now_us(driver) + TIMEOUT_US},
                                                    .finished = dropped_told};
            store_call_start(service, &driver->drop_call);
            return;
        }
}
