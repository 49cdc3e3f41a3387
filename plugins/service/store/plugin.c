/* service/store: replicated tables. */
#include "service/options.h"
#include "service/service.h"

#include <holdfast/kind/service.h>

static const hf_service service = {
    .head = HF_HEAD(hf_service),
    .create = store_service_create,
    .destroy = store_service_destroy,
    .config_prepare = store_service_config_prepare,
    .config_commit = store_service_config_commit,
    .config_abort = store_service_config_abort,
    .start = store_service_start,
    .drain = store_service_drain,
    .stop = store_service_stop,
    .health = store_service_health,
};

static const hf_provide provide = {
    .size = sizeof(hf_provide),
    .kind = "service",
    .name = "store",
    .summary = "Keeps tables of records on several nodes, and serves them over HTTP.",
    .interface = {.service = &service},
    .options = {store_option_rows, sizeof(hf_option), STORE_OPTION_COUNT},
    .configuration_size = sizeof(struct store_options),
};

static const hf_provide *const provides[] = {&provide};

static const hf_plugin plugin = {
    .size = sizeof(hf_plugin),
    .interface_major = HF_INTERFACE_MAJOR,
    .interface_minor = HF_INTERFACE_MINOR,
    .provide_count = 1,
    .id = "org.holdfast.service.store",
    .version = "0.1.0",
    .summary = "The replicated store.",
    .licence = "Apache-2.0",
    .provides = provides,
};

HF_EXPORT const hf_plugin *hf_plugin_v1(void)
{
    return &plugin;
}
