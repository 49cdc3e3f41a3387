/* Tables of the configuration: the leader of the catalog makes those that are missing, one after the other.  One that
 * is there already stays as it is, also when it is declared otherwise. */
#include "service/catalog_private.h"

static void ensured_main(hf_task *task)
{
    struct store_service *service =
        (struct store_service *)((char *)task - offsetof(struct store_service, ensure_task));

    service->ensuring = 0;
}

static void ensured(void *arg, int32_t code, int32_t existed, const hf_error *error)
{
    struct store_service *service = arg;
    const struct store_table_settings *settings =
        (const struct store_table_settings *)service->options->tables.items + service->ensure_table;

    if (code == HF_OK) {
        if (!existed)
            store_service_log(service, HF_LOG_INFO, "made the table '%s'", settings->name);
        service->ensure_table++;
    } else if (code == HF_EEXIST) {
        store_service_log(service, HF_LOG_WARNING,
                          "the table '%s' is declared otherwise in the configuration than it is; it stays as it is",
                          settings->name);
        service->ensure_table++;
    } else {
        store_service_log(service, HF_LOG_DEBUG, "the table '%s' could not be made yet: %s", settings->name,
                          error ? error->message : "");
    }
    service->ensure_task.run = ensured_main;
    service->loops->post(service->loops->main_loop(service->host), &service->ensure_task);
}

/* [the first worker loop] */
static void ensure_next(hf_task *task)
{
    struct store_service *service =
        (struct store_service *)((char *)task - offsetof(struct store_service, ensure_task));
    struct store_declaration declaration;

    store_settings_declaration(
        (const struct store_table_settings *)service->options->tables.items + service->ensure_table, &declaration);
    store_service_create_table(service, &declaration, ensured, service);
}

/* [main] The catalog's leader makes what is declared and missing, one table after the other. */
void store_tables_ensure(struct store_service *service)
{
    struct store_replica *catalog = store_catalog_replica(service);

    if (service->ensuring || service->ensure_table >= service->options->tables.count ||
        atomic_load(&store_replica_published(catalog)->role) != HF_ROLE_LEADER)
        return;
    service->ensuring = 1;
    service->ensure_task.run = ensure_next;
    service->loops->post(service->shards[0].loop, &service->ensure_task);
}
