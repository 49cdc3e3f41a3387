/* service/gateway: load balancing. */
#include "options/check.h"
#include "options/options.h"
#include "service/service.h"

#include <holdfast/kind/service.h>

static const hf_service service = {
    .head = HF_HEAD(hf_service),
    .create = gateway_service_create,
    .destroy = gateway_service_destroy,
    .config_prepare = gateway_service_config_prepare,
    .config_commit = gateway_service_config_commit,
    .config_abort = gateway_service_config_abort,
    .start = gateway_service_start,
    .drain = gateway_service_drain,
    .stop = gateway_service_stop,
    .health = gateway_service_health,
};

static const hf_provide provide = {
    .size = sizeof(hf_provide),
    .kind = "service",
    .name = "gateway",
    .summary = "Divides the requests of clients among servers, and keeps trouble on one side from spreading.",
    .interface = {.service = &service},
    .options = {gateway_option_rows, sizeof(hf_option), GATEWAY_OPTION_COUNT},
    .configuration_size = sizeof(struct gateway_options),
    .check = gateway_options_check,
};

static const hf_provide *const provides[] = {&provide};

static const hf_plugin plugin = {
    .size = sizeof(hf_plugin),
    .interface_major = HF_INTERFACE_MAJOR,
    .interface_minor = HF_INTERFACE_MINOR,
    .provide_count = 1,
    .id = "org.holdfast.service.gateway",
    .version = "0.1.0",
    .summary = "The load balancer.",
    .licence = "Apache-2.0",
    .provides = provides,
};

HF_EXPORT const hf_plugin *hf_plugin_v1(void)
{
    return &plugin;
}
