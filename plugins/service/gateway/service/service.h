/* service.h: the gateway as the plugin interface sees it; see <holdfast/kind/service.h>. */
#ifndef GATEWAY_SERVICE_H
#define GATEWAY_SERVICE_H

#include <holdfast/holdfast.h>

int32_t gateway_service_create(const hf_host *host, const void *configuration, void **ret_self, hf_error *error);
void gateway_service_destroy(void *self);
int32_t gateway_service_config_prepare(void *self, const void *configuration, hf_error *error);
void gateway_service_config_commit(void *self);
void gateway_service_config_abort(void *self);
int32_t gateway_service_start(void *self, hf_error *error);
void gateway_service_drain(void *self, uint64_t deadline_us, void (*done)(void *arg), void *arg);
void gateway_service_stop(void *self);
void gateway_service_health(void *self, hf_health *ret_health);

#endif
