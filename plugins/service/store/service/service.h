/* service.h: the store as the plugin interface sees it; see <holdfast/kind/service.h>. */
#ifndef STORE_SERVICE_H
#define STORE_SERVICE_H

#include <holdfast/holdfast.h>

int32_t store_service_create(const hf_host *host, const void *configuration, void **ret_self, hf_error *error);
void store_service_destroy(void *self);
int32_t store_service_config_prepare(void *self, const void *configuration, hf_error *error);
void store_service_config_commit(void *self);
void store_service_config_abort(void *self);
int32_t store_service_start(void *self, hf_error *error);
void store_service_drain(void *self, uint64_t deadline_us, void (*done)(void *arg), void *arg);
void store_service_stop(void *self);
void store_service_health(void *self, hf_health *ret_health);

#endif
