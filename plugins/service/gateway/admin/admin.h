/* admin.h: the gateway in the HTTP interface of its process, /v1/gateway.  Requests arrive on any loop; what they ask
 * about belongs to the main loop, and is answered there. */
#ifndef GATEWAY_ADMIN_H
#define GATEWAY_ADMIN_H

#include <holdfast/holdfast.h>

struct gateway;
struct gateway_admin;

/* Adds the routes; without hf.http/1 there are none.  HF_ENOMEM, or as hf.http/1 has it.  [main], before the loops
 * run */
int32_t gateway_admin_create(struct gateway *gateway, struct gateway_admin **ret_admin, hf_error *error);

/* Accepts NULL; the routes must be called no more. */
void gateway_admin_destroy(struct gateway_admin *admin);

#endif
