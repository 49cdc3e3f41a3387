/* The routes of the process itself.  What belongs to the main loop is asked and answered there; what reads /proc or
 * renders much goes to the pool.  See admin.h. */
#include "daemon/admin.h"

#include "config/document.h"
#include "loop/loop.h"
#include "loop/pool.h"
#include "telemetry/metrics.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/json.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ANSWER_MAXIMUM = 16 * 1024 * 1024 };

struct hf_admin {
    hf_admin_settings settings;
    int ending;          /* [main] */
    atomic_uint scrapes; /* in the background */
};

/* A request on its way to the main loop; lies in the request's arena. */
struct call {
    hf_task task; /* first */
    hf_admin *admin;
    hf_http_request *request;
    void (*answer)(hf_admin *admin, hf_http_request *request);
};

static void run_call(hf_task *task)
{
    struct call *call = (struct call *)task;

    call->answer(call->admin, call->request);
}

static void no_memory(hf_http_request *request)
{
    hf_error error;

    hf_error_set(&error, HF_ENOMEM, "no memory for the answer");
    hf_http_problem(request, 500, "internal", &error, NULL);
}

static void on_main(void *arg, hf_http_request *request, void (*answer)(hf_admin *, hf_http_request *))
{
    hf_admin *admin = arg;
    struct call *call = hf_arena_alloc(hf_http_arena(request), sizeof *call);

    if (!call) {
        no_memory(request);
        return;
    }
    *call = (struct call){{NULL, run_call}, admin, request, answer};
    hf_loop_post(hf_process_main_loop(admin->settings.process), &call->task);
}

static void respond_json(hf_http_request *request, uint32_t status, const hf_json_writer *writer)
{
    hf_buffer *body = writer->buffer;

    if (writer->result)
        no_memory(request);
    else
        hf_http_respond(request, status, "application/json", (hf_slice){body->data, body->size}, NULL, 0);
    hf_buffer_done(body);
}

static void begin_json(hf_json_writer *writer, hf_buffer *body)
{
    hf_buffer_init(body, ANSWER_MAXIMUM);
    hf_json_writer_init(writer, body);
    hf_json_begin_object(writer);
}

/* ---- Health ------------------------------------------------------------------------------------------------------ */

static const char *const states[] = {"ok", "degraded", "failing"};

static int32_t state_index(const hf_health *health)
{
    return health->state < HF_HEALTH_OK || health->state > HF_HEALTH_FAILING ? HF_HEALTH_FAILING : health->state;
}

static int32_t worst_state(const hf_instances *instances)
{
    int32_t worst = HF_HEALTH_OK;
    hf_health health;

    for (uint32_t i = 0; i < hf_instances_count(instances); i++) {
        hf_instances_health(instances, i, &health);
        if (state_index(&health) > worst)
            worst = state_index(&health);
    }
    return worst;
}

static const char *state_name(const hf_admin *admin, int32_t worst)
{
    return admin->ending ? "ending" : states[worst];
}

static void write_reasons(hf_json_writer *writer, const hf_instances *instances)
{
    char text[512];
    hf_health health;

    hf_json_name(writer, "reasons");
    hf_json_begin_list(writer);
    for (uint32_t i = 0; i < hf_instances_count(instances); i++) {
        const char *name = hf_instances_health(instances, i, &health);
        if (health.state == HF_HEALTH_OK)
            continue;
        health.reason[sizeof health.reason - 1] = '\0'; /* a plugin wrote it */
        snprintf(text, sizeof text, "%s: %s", name, health.reason[0] ? health.reason : "it did not say why");
        hf_json_text(writer, text);
    }
    hf_json_end_list(writer);
}

static void answer_health(hf_admin *admin, hf_http_request *request)
{
    int32_t worst = worst_state(admin->settings.instances);
    hf_json_writer writer;
    hf_buffer body;

    begin_json(&writer, &body);
    hf_json_member_text(&writer, "state", state_name(admin, worst));
    if (worst != HF_HEALTH_OK)
        write_reasons(&writer, admin->settings.instances);
    hf_json_end_object(&writer);
    respond_json(request, admin->ending || worst == HF_HEALTH_FAILING ? 503 : 200, &writer);
}

static void handle_health(void *arg, hf_http_request *request)
{
    on_main(arg, request, answer_health); /* so that a main loop that hangs does not look healthy */
}

/* ---- Metrics ----------------------------------------------------------------------------------------------------- */

struct scrape {
    hf_job job; /* first */
    hf_admin *admin;
    hf_http_request *request;
    char *text;
    uint64_t size;
    hf_error error;
    int32_t result;
};

static void render(hf_job *job)
{
    struct scrape *scrape = (struct scrape *)job;
    const hf_admin_settings *settings = &scrape->admin->settings;

    hf_gauges_update(settings->gauges);
    scrape->result =
        hf_metrics_render(hf_process_metrics(settings->process), &scrape->text, &scrape->size, &scrape->error);
}

static void rendered(hf_job *job)
{
    struct scrape *scrape = (struct scrape *)job;
    hf_admin *admin = scrape->admin;
    char *text = scrape->text;

    if (scrape->result)
        hf_http_problem(scrape->request, 500, "internal", &scrape->error, NULL);
    else
        hf_http_respond(scrape->request, 200, "text/plain; version=0.0.4; charset=utf-8",
                        (hf_slice){(const uint8_t *)text, scrape->size}, NULL, 0);
    free(text); /* the scrape itself is gone with the request */
    atomic_fetch_sub(&admin->scrapes, 1);
}

/* [main] */
static void render_here(hf_task *task)
{
    hf_job *job = (hf_job *)task;

    render(job);
    rendered(job);
}

/* They are wanted most when the pool has more to do than it can. */
static void handle_metrics(void *arg, hf_http_request *request)
{
    hf_admin *admin = arg;
    struct scrape *scrape = hf_arena_alloc(hf_http_arena(request), sizeof *scrape);

    if (!scrape) {
        no_memory(request);
        return;
    }
    scrape->admin = admin;
    scrape->request = request;
    scrape->job = (hf_job){.loop = hf_http_loop(request), .work = render, .done = rendered};
    atomic_fetch_add(&admin->scrapes, 1);
    if (hf_pool_submit(hf_process_pool(admin->settings.process), &scrape->job, NULL) != 0) {
        scrape->job.task.run = render_here;
        hf_loop_post(hf_process_main_loop(admin->settings.process), &scrape->job.task);
    }
}

/* ---- Status and plugins ------------------------------------------------------------------------------------------ */

static void write_instances(hf_json_writer *writer, const hf_instances *instances)
{
    hf_health health;

    hf_json_name(writer, "instances");
    hf_json_begin_list(writer);
    for (uint32_t i = 0; i < hf_instances_count(instances); i++) {
        hf_json_begin_object(writer);
        hf_json_member_text(writer, "name", hf_instances_health(instances, i, &health));
        hf_json_member_text(writer, "state", states[state_index(&health)]);
        health.reason[sizeof health.reason - 1] = '\0';
        if (health.state != HF_HEALTH_OK)
            hf_json_member_text(writer, "reason", health.reason);
        hf_json_end_object(writer);
    }
    hf_json_end_list(writer);
}

static void write_loops(hf_json_writer *writer, hf_gauges *gauges)
{
    uint64_t stall_us = 0;
    const char *name;

    hf_json_name(writer, "loops");
    hf_json_begin_list(writer);
    for (uint32_t i = 0; (name = hf_gauges_loop(gauges, i, &stall_us)); i++) {
        hf_json_begin_object(writer);
        hf_json_member_text(writer, "name", name);
        hf_json_member_unsigned(writer, "longest_stall_us", stall_us);
        hf_json_end_object(writer);
    }
    hf_json_end_list(writer);
}

/* The capability that is the first of its plugin, from `index` on; its own come one after the other. */
static int first_of_plugin(const hf_capability *const *list, uint64_t index)
{
    return index == 0 || strcmp(list[index]->plugin_id, list[index - 1]->plugin_id) != 0;
}

static void write_plugin_names(hf_json_writer *writer, const hf_plugins *plugins)
{
    uint64_t count;
    const hf_capability *const *list = hf_registry_list(plugins->registry, &count);

    hf_json_name(writer, "plugins");
    hf_json_begin_list(writer);
    for (uint64_t i = 0; i < count; i++) {
        if (!first_of_plugin(list, i))
            continue;
        hf_json_begin_object(writer);
        hf_json_member_text(writer, "id", list[i]->plugin_id);
        hf_json_member_text(writer, "version", list[i]->plugin_version);
        hf_json_end_object(writer);
    }
    hf_json_end_list(writer);
}

static void answer_status(hf_admin *admin, hf_http_request *request)
{
    const hf_admin_settings *settings = &admin->settings;
    const hf_process_parts *parts = hf_process_offered(settings->process);
    hf_json_writer writer;
    hf_buffer body;

    begin_json(&writer, &body);
    hf_json_member_text(&writer, "process", settings->process_name);
    hf_json_member_text(&writer, "node", parts->node_name);
    hf_json_member_text(&writer, "cluster", parts->cluster_name);
    hf_json_member_text(&writer, "version", settings->version);
    hf_json_member_unsigned(&writer, "pid", (uint64_t)getpid());
    hf_json_member_unsigned(&writer, "uptime_ms", hf_gauges_uptime_us(settings->gauges) / 1000);
    hf_json_member_unsigned(&writer, "configuration_version", hf_reload_version(settings->reload));
    hf_json_member_text(&writer, "state", state_name(admin, worst_state(settings->instances)));
    write_plugin_names(&writer, settings->plugins);
    write_instances(&writer, settings->instances);
    write_loops(&writer, settings->gauges);
    hf_json_end_object(&writer);
    respond_json(request, 200, &writer);
}

static void handle_status(void *arg, hf_http_request *request)
{
    on_main(arg, request, answer_status);
}

static void write_capability(hf_json_writer *writer, const hf_capability *capability)
{
    hf_json_begin_object(writer);
    hf_json_member_text(writer, "kind", capability->kind);
    hf_json_member_text(writer, "name", capability->name);
    hf_json_member_text(writer, "summary", capability->summary);
    hf_json_end_object(writer);
}

static void handle_plugins(void *arg, hf_http_request *request)
{
    const hf_admin *admin = arg;
    uint64_t count, i = 0;
    const hf_capability *const *list = hf_registry_list(admin->settings.plugins->registry, &count);
    hf_json_writer writer;
    hf_buffer body;

    begin_json(&writer, &body);
    hf_json_name(&writer, "plugins");
    hf_json_begin_list(&writer);
    while (i < count) {
        hf_json_begin_object(&writer);
        hf_json_member_text(&writer, "id", list[i]->plugin_id);
        hf_json_member_text(&writer, "version", list[i]->plugin_version);
        hf_json_member_text(&writer, "path", list[i]->path);
        hf_json_name(&writer, "provides");
        hf_json_begin_list(&writer);
        do
            write_capability(&writer, list[i++]);
        while (i < count && !first_of_plugin(list, i));
        hf_json_end_list(&writer);
        hf_json_end_object(&writer);
    }
    hf_json_end_list(&writer);
    hf_json_end_object(&writer);
    respond_json(request, 200, &writer);
}

/* ---- Configuration ----------------------------------------------------------------------------------------------- */

static void write_keys(hf_json_writer *writer, const char *name, const hf_config_diff *diff, int reloadable)
{
    uint64_t count = 0;
    const hf_config_change *changes = diff ? hf_config_diff_changes(diff, &count) : NULL;

    hf_json_name(writer, name);
    hf_json_begin_list(writer);
    for (uint64_t i = 0; i < count; i++)
        if (hf_reload_tells(&changes[i], reloadable))
            hf_json_text(writer, changes[i].key);
    hf_json_end_list(writer);
}

static void answer_config(hf_admin *admin, hf_http_request *request)
{
    const hf_reload *reload = admin->settings.reload;
    hf_json_writer writer;
    hf_buffer body;

    begin_json(&writer, &body);
    hf_json_member_unsigned(&writer, "version", hf_reload_version(reload));
    write_keys(&writer, "restart_needed", hf_reload_pending(reload), 0);
    hf_json_name(&writer, "document");
    hf_config_document_json(&writer, hf_reload_generation(reload));
    hf_json_end_object(&writer);
    respond_json(request, 200, &writer);
}

static void handle_config(void *arg, hf_http_request *request)
{
    on_main(arg, request, answer_config);
}

static void refuse_reload(hf_http_request *request, const hf_config_problems *problems)
{
    hf_buffer members;
    hf_json_writer writer;
    hf_error error;

    hf_buffer_init(&members, ANSWER_MAXIMUM);
    hf_buffer_append_format(&members, "\"problems\":");
    hf_json_writer_init(&writer, &members);
    hf_json_begin_list(&writer);
    for (uint32_t i = 0; i < problems->count; i++)
        hf_json_text(&writer, problems->lines[i]);
    hf_json_end_list(&writer);
    if (writer.result == 0)
        writer.result = hf_buffer_append(&members, "", 1);
    hf_error_set(&error, HF_EINVAL, "the configuration has %u problems; the one before stays in force",
                 problems->count + problems->dropped);
    if (writer.result)
        no_memory(request);
    else
        hf_http_problem(request, 422, "unprocessable", &error, (const char *)members.data);
    hf_buffer_done(&members);
}

struct reloading {
    hf_admin *admin;
    hf_http_request *request;
};

static void reloaded(void *arg, const hf_reload_outcome *outcome)
{
    struct reloading *reloading = arg;
    hf_json_writer writer;
    hf_buffer body;

    if (outcome->result) {
        refuse_reload(reloading->request, outcome->problems);
        return;
    }
    begin_json(&writer, &body);
    hf_json_member_unsigned(&writer, "version", outcome->version);
    write_keys(&writer, "changed", outcome->diff, 1);
    write_keys(&writer, "restart_needed", hf_reload_pending(reloading->admin->settings.reload), 0);
    hf_json_end_object(&writer);
    respond_json(reloading->request, 200, &writer);
}

static void start_reload(hf_admin *admin, hf_http_request *request)
{
    struct reloading *reloading = hf_arena_alloc(hf_http_arena(request), sizeof *reloading);
    hf_error error;

    if (!reloading) {
        no_memory(request);
        return;
    }
    *reloading = (struct reloading){admin, request};
    if (hf_reload_start(admin->settings.reload, reloaded, reloading, &error) != 0) {
        error.retry = HF_RETRY_LATER;
        hf_http_problem(request, 503, "busy", &error, NULL);
    }
}

static void handle_reload(void *arg, hf_http_request *request)
{
    on_main(arg, request, start_reload);
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

static const hf_http_route routes[] = {
    {sizeof(hf_http_route), HF_HTTP_PUBLIC, "GET", "/healthz", 0, "Whether the process can do its work.",
     handle_health},
    {sizeof(hf_http_route), HF_HTTP_READ, "GET", "/metrics", 0, "Metrics in the Prometheus text format.",
     handle_metrics},
    {sizeof(hf_http_route), HF_HTTP_READ, "GET", "/v1/admin/status", 0, "The process and its instances.",
     handle_status},
    {sizeof(hf_http_route), HF_HTTP_READ, "GET", "/v1/admin/plugins", 0, "The plugins that are loaded.",
     handle_plugins},
    {sizeof(hf_http_route), HF_HTTP_ADMIN, "GET", "/v1/admin/config", 0, "The configuration in force.", handle_config},
    {sizeof(hf_http_route), HF_HTTP_ADMIN, "POST", "/v1/admin/config/reload", 0, "Reads the configuration again.",
     handle_reload},
};

int32_t hf_admin_create(const hf_admin_settings *settings, hf_admin **ret_admin, hf_error *error)
{
    hf_http_server *server = hf_process_offered(settings->process)->http;
    hf_admin *admin = calloc(1, sizeof *admin);
    int32_t result = 0;

    if (!admin)
        return hf_error_set(error, HF_ENOMEM, "no memory for the admin interface");
    admin->settings = *settings;
    for (size_t i = 0; i < sizeof routes / sizeof routes[0] && !result; i++)
        result = hf_http_server_route_reserved(server, &routes[i], admin, error);
    if (result) {
        free(admin);
        return result;
    }
    *ret_admin = admin;
    return 0;
}

void hf_admin_destroy(hf_admin *admin)
{
    free(admin);
}

void hf_admin_ending(hf_admin *admin)
{
    admin->ending = 1;
}

int hf_admin_busy(const hf_admin *admin)
{
    return atomic_load(&admin->scrapes) != 0;
}
