/* private.h: what the files of this folder share.  [main] unless it says otherwise. */
#ifndef GATEWAY_ADMIN_PRIVATE_H
#define GATEWAY_ADMIN_PRIVATE_H

#include "admin/admin.h"
#include "service/private.h"

#include <holdfast/host/http.h>
#include <holdfast/host/signal.h>
#include <holdfast/lib/json.h>

struct gateway_admin {
    struct gateway *gateway;
    const hf_http_interface *http;
    const hf_signal_interface *signals; /* NULL: there is no audit log */
};

/* A request on its way to the main loop; in its own arena. */
struct gateway_ask {
    hf_task task; /* first */
    const struct gateway_admin *admin;
    hf_http_request *request;
    void (*answer)(struct gateway_ask *ask);
};

/* Has the request answered on the main loop.  [any] */
void gateway_ask_begin(const struct gateway_admin *admin, hf_http_request *request,
                       void (*answer)(struct gateway_ask *ask));

/* Answers with what was written, and frees it; or with a problem, where there was no memory for it.  [any] */
void gateway_answer_json(const struct gateway_admin *admin, hf_http_request *request, uint32_t status,
                         hf_json_writer *writer);
void gateway_answer_error(const struct gateway_admin *admin, hf_http_request *request, const hf_error *error);

/* An empty document. */
void gateway_json_begin(hf_json_writer *writer, hf_buffer *body);

/* ---- Showing (show.c) -------------------------------------------------------------------------------------------- */

void gateway_show_gateway(struct gateway_ask *ask);
void gateway_show_upstreams(struct gateway_ask *ask);
void gateway_show_upstream(struct gateway_ask *ask);
void gateway_show_routes(struct gateway_ask *ask);
void gateway_show_top(struct gateway_ask *ask);

/* The upstream of that name; NULL: there is none. */
const struct gateway_plan_upstream *gateway_find_upstream(const struct gateway *gateway, hf_slice name);

/* The server of that name as a document.  0: there is none. */
int32_t gateway_show_server(const struct gateway *gateway, const struct gateway_plan_upstream *upstream, hf_slice name,
                            hf_json_writer *writer);

/* ---- Changing (change.c) [any] ----------------------------------------------------------------------------------- */

void gateway_handle_add(void *arg, hf_http_request *request);
void gateway_handle_set(void *arg, hf_http_request *request);
void gateway_handle_remove(void *arg, hf_http_request *request);
void gateway_handle_action(void *arg, hf_http_request *request);

#endif
