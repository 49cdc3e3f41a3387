#include "daemon/policies.h"

#include "loop/loop.h"
#include "telemetry/log.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/json.h>
#include <stdlib.h>

enum { ANSWER_MAXIMUM = 4 << 20 };

static const char source[] = "policy";

struct hf_policies {
    hf_lua_host *lua;
    hf_loop *main_loop;
    const char *directories[1];
    hf_loop *loops[HF_WORKERS_MAX + 1];
};

int32_t hf_policies_create(const hf_config_generation *generation, hf_process *process, hf_loop *const *workers,
                           uint32_t worker_count, hf_policies **ret_policies, hf_error *error)
{
    hf_policies *policies = calloc(1, sizeof *policies);

    if (!policies)
        return hf_error_set(error, HF_ENOMEM, "no memory for the policies");
    policies->main_loop = policies->loops[0] = hf_process_main_loop(process);
    for (uint32_t i = 0; i < worker_count; i++)
        policies->loops[i + 1] = workers[i];
    policies->directories[0] = hf_settings_policies(generation)->directory;
    hf_lua_settings settings = {
        .loops = policies->loops,
        .loop_count = worker_count + 1,
        .pool = hf_process_pool(process),
        .metrics = hf_process_metrics(process),
        .policies = {policies->directories[0] && policies->directories[0][0] ? 1 : 0, policies->directories},
    };
    int32_t result = hf_lua_host_create(&settings, &policies->lua, error);
    if (result) {
        free(policies);
        return result;
    }
    *ret_policies = policies;
    return 0;
}

void hf_policies_destroy(hf_policies *policies)
{
    if (!policies)
        return;
    hf_lua_host_destroy(policies->lua);
    free(policies);
}

hf_lua_host *hf_policies_lua(hf_policies *policies)
{
    return policies->lua;
}

static void log_problems(const hf_config_problems *problems)
{
    for (uint32_t i = 0; i < problems->count; i++)
        hf_log(HF_LOG_ERROR, source, "%s", problems->lines[i]);
}

void hf_policies_load(hf_policies *policies)
{
    hf_config_problems *problems = calloc(1, sizeof *problems);

    if (!problems || hf_lua_load(policies->lua, problems) != 0) {
        if (problems)
            log_problems(problems);
        hf_log(HF_LOG_ERROR, source, "no policy was installed; the defaults are taken until a reload succeeds");
    }
    free(problems);
}

static void reloaded_for_nobody(void *arg, int32_t result, const hf_config_problems *problems)
{
    (void)arg;
    if (result == 0) {
        hf_log(HF_LOG_INFO, source, "the policies were read again");
        return;
    }
    log_problems(problems);
    hf_log(HF_LOG_ERROR, source, "the new policies are refused; the old ones stay");
}

void hf_policies_reload(hf_policies *policies)
{
    hf_error error = {0};

    if (hf_lua_reload(policies->lua, NULL, reloaded_for_nobody, NULL, &error) != 0)
        hf_log(HF_LOG_WARNING, source, "the policies were not read again: %s", error.message);
}

/* ---- The admin interface ----------------------------------------------------------------------------------------- */

typedef struct policy_request {
    hf_task task;
    hf_policies *policies;
    hf_http_request *request;
} policy_request;

/* Policies belong to the main loop. */
static void on_main(hf_policies *policies, hf_http_request *request, void (*run)(hf_task *task))
{
    policy_request *own = hf_arena_alloc(hf_http_arena(request), sizeof *own);
    hf_error error = {0};

    if (!own) {
        hf_error_set(&error, HF_EBUSY, "no memory for the answer");
        hf_http_problem(request, 503, "busy", &error, NULL);
        return;
    }
    *own = (policy_request){{NULL, run}, policies, request};
    hf_loop_post(policies->main_loop, &own->task);
}

static void respond(hf_http_request *request, hf_json_writer *writer)
{
    hf_error error = {0};

    if (writer->result == 0) {
        hf_http_respond(request, 200, "application/json", (hf_slice){writer->buffer->data, writer->buffer->size}, NULL,
                        0);
    } else {
        hf_error_set(&error, HF_EBUSY, "no memory for the answer");
        hf_http_problem(request, 503, "busy", &error, NULL);
    }
    hf_buffer_done(writer->buffer);
}

/* `type` is HF_VALUE_..., HF_LUA_ANY or HF_LUA_OBJECT. */
static void write_parameter(hf_json_writer *writer, const hf_lua_parameter *parameter)
{
    hf_json_begin_object(writer);
    hf_json_member_text(writer, "name", parameter->name);
    hf_json_member_text(writer, "doc", parameter->doc);
    hf_json_member_integer(writer, "type", parameter->type);
    hf_json_end_object(writer);
}

static void write_parameters(hf_json_writer *writer, const char *name, const hf_lua_parameter *parameters,
                             uint32_t count)
{
    hf_json_name(writer, name);
    hf_json_begin_list(writer);
    for (uint32_t i = 0; i < count; i++)
        write_parameter(writer, &parameters[i]);
    hf_json_end_list(writer);
}

static void write_point(hf_json_writer *writer, const hf_lua_point_info *info)
{
    hf_json_begin_object(writer);
    hf_json_member_text(writer, "name", info->point->name);
    hf_json_member_text(writer, "doc", info->point->doc);
    hf_json_member_text(writer, "default", info->point->default_doc);
    write_parameters(writer, "parameters", info->point->parameters, info->point->parameter_count);
    write_parameters(writer, "members", info->point->members, info->point->member_count);
    hf_json_name(writer, "result");
    write_parameter(writer, &info->point->result);
    hf_json_member_text(writer, "policy", info->policy);
    hf_json_member_boolean(writer, "switched_off", info->switched_off);
    hf_json_end_object(writer);
}

static void list_on_main(hf_task *task)
{
    policy_request *own = (policy_request *)(void *)task;
    hf_lua_point_info info;
    hf_json_writer writer;
    hf_buffer body;

    hf_buffer_init(&body, ANSWER_MAXIMUM);
    hf_json_writer_init(&writer, &body);
    hf_json_begin_object(&writer);
    hf_json_name(&writer, "points");
    hf_json_begin_list(&writer);
    for (uint32_t i = 0; hf_lua_describe_point(own->policies->lua, i, &info); i++)
        write_point(&writer, &info);
    hf_json_end_list(&writer);
    hf_json_end_object(&writer);
    respond(own->request, &writer);
}

static void handle_list(void *arg, hf_http_request *request)
{
    on_main(arg, request, list_on_main);
}

static void refuse(hf_http_request *request, const hf_config_problems *problems)
{
    hf_json_writer writer;
    hf_buffer members;
    hf_error error = {0};

    hf_buffer_init(&members, ANSWER_MAXIMUM);
    hf_buffer_append_format(&members, "\"problems\":");
    hf_json_writer_init(&writer, &members);
    hf_json_begin_list(&writer);
    for (uint32_t i = 0; i < problems->count; i++)
        hf_json_text(&writer, problems->lines[i]);
    hf_json_end_list(&writer);
    hf_error_set(&error, HF_EINVAL, "the new policies are refused; the old ones stay");
    if (writer.result == 0 && hf_buffer_append(&members, "", 1) == 0)
        hf_http_problem(request, 422, "unprocessable", &error, (const char *)members.data);
    else
        hf_http_problem(request, 422, "unprocessable", &error, NULL);
    hf_buffer_done(&members);
}

static void reloaded(void *arg, int32_t result, const hf_config_problems *problems)
{
    policy_request *own = arg;
    uint32_t installed = 0;
    hf_lua_point_info info;
    hf_json_writer writer;
    hf_buffer body;

    if (result) {
        log_problems(problems);
        refuse(own->request, problems);
        return;
    }
    for (uint32_t i = 0; hf_lua_describe_point(own->policies->lua, i, &info); i++)
        installed += info.policy != NULL;
    hf_buffer_init(&body, ANSWER_MAXIMUM);
    hf_json_writer_init(&writer, &body);
    hf_json_begin_object(&writer);
    hf_json_member_unsigned(&writer, "policies", installed);
    hf_json_end_object(&writer);
    respond(own->request, &writer);
}

static void reload_on_main(hf_task *task)
{
    policy_request *own = (policy_request *)(void *)task;
    hf_error error = {0};

    if (hf_lua_reload(own->policies->lua, NULL, reloaded, own, &error) == 0)
        return;
    error.retry = HF_RETRY_LATER;
    hf_http_problem(own->request, 503, "busy", &error, NULL);
}

static void handle_reload(void *arg, hf_http_request *request)
{
    on_main(arg, request, reload_on_main);
}

int32_t hf_policies_routes(hf_policies *policies, hf_http_server *server, hf_error *error)
{
    static const hf_http_route routes[] = {
        {sizeof(hf_http_route), HF_HTTP_READ, "GET", "/v1/admin/policies", 0, "Decision points and their policies.",
         handle_list},
        {sizeof(hf_http_route), HF_HTTP_ADMIN, "POST", "/v1/admin/policies/reload", 0, "Reads the policies again.",
         handle_reload},
    };
    int32_t result = hf_http_server_route_reserved(server, &routes[0], policies, error);

    return result ? result : hf_http_server_route_reserved(server, &routes[1], policies, error);
}
