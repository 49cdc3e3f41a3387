/* The admin interface of signals, actions and the audit log.  Requests arrive on worker loops; what they ask about
 * belongs to the main loop, and the audit log is read in the pool. */
#include "signal/private.h"

#include "loop.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/json.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWER_MAXIMUM = 16 << 20, LIMIT_USUAL = 100, LIMIT_MAX = 10000 };

typedef struct asked {
    hf_job job;
    hf_signals *signals;
    hf_http_request *request;
    uint32_t limit;
    int32_t code;
    hf_error error;
    hf_buffer body;
} asked;

static void answer_problem(hf_http_request *request, const hf_error *error)
{
    uint32_t status = error->code == HF_EINVAL      ? 400
                      : error->code == HF_ENOTFOUND ? 404
                      : error->code == HF_EBUSY     ? 503
                                                    : 500;

    hf_http_problem(request, status,
                    status == 400   ? "bad-request"
                    : status == 404 ? "not-found"
                    : status == 503 ? "busy"
                                    : "internal",
                    error, NULL);
}

static void answer(hf_http_request *request, const hf_json_writer *writer)
{
    hf_error error = {0};

    if (writer->result == 0) {
        hf_http_respond(request, 200, "application/json", (hf_slice){writer->buffer->data, writer->buffer->size}, NULL,
                        0);
    } else {
        hf_error_set(&error, HF_EBUSY, "no memory for the answer");
        answer_problem(request, &error);
    }
}

static int32_t read_limit(hf_http_request *request, uint32_t *ret_limit)
{
    hf_slice text = hf_http_query(request, "limit");
    uint64_t number = 0;
    hf_error error = {0};

    *ret_limit = LIMIT_USUAL;
    if (!text.data)
        return 0;
    for (uint64_t i = 0; i < text.size && number <= LIMIT_MAX; i++)
        number = text.data[i] >= '0' && text.data[i] <= '9' ? number * 10 + (text.data[i] - '0') : LIMIT_MAX + 1;
    *ret_limit = (uint32_t)number;
    if (number >= 1 && number <= LIMIT_MAX)
        return 0;
    hf_error_set(&error, HF_EINVAL, "limit is not a number from 1 to %d", LIMIT_MAX);
    answer_problem(request, &error);
    return HF_EINVAL;
}

static asked *begin(hf_signals *signals, hf_http_request *request)
{
    asked *own = hf_arena_alloc(hf_http_arena(request), sizeof *own);
    hf_error error = {0};

    if (!own) {
        hf_error_set(&error, HF_EBUSY, "no memory for the request");
        answer_problem(request, &error);
        return NULL;
    }
    own->signals = signals;
    own->request = request;
    return own;
}

/* ---- Signals and actions -------------------------------------------------------------------------------------- */

static void write_signal(hf_json_writer *writer, const struct active_signal *active)
{
    static const char *const severities[] = {"info", "warning", "critical"};

    hf_json_begin_object(writer);
    hf_json_member_text(writer, "name", active->kind->kind.name);
    hf_json_member_text(writer, "severity", severities[active->kind->kind.severity]);
    hf_json_member_text(writer, "subject", active->subject);
    hf_json_member_text(writer, "source", active->source);
    hf_json_member_unsigned(writer, "first_ms", active->first_us / 1000);
    hf_json_member_unsigned(writer, "last_ms", active->last_us / 1000);
    hf_json_member_unsigned(writer, "count", active->count);
    hf_json_name(writer, "detail");
    hf_json_raw(writer, hf_slice_of(active->detail));
    hf_json_end_object(writer);
}

static void list_signals(hf_task *task)
{
    asked *own = (asked *)(void *)task;
    hf_json_writer writer;
    uint32_t count = 0;

    hf_buffer_init(&own->body, ANSWER_MAXIMUM);
    hf_json_writer_init(&writer, &own->body);
    hf_json_begin_object(&writer);
    hf_json_name(&writer, "signals");
    hf_json_begin_list(&writer);
    for (const struct active_signal *active = own->signals->active; active && count < own->limit;
         active = active->next, count++)
        write_signal(&writer, active);
    hf_json_end_list(&writer);
    hf_json_end_object(&writer);
    hf_buffer body = own->body; /* the request's memory goes with the answer */
    writer.buffer = &body;
    answer(own->request, &writer);
    hf_buffer_done(&body);
}

static void handle_signals(void *arg, hf_http_request *request)
{
    hf_signals *signals = arg;
    uint32_t limit;
    asked *own;

    if (read_limit(request, &limit) != 0 || !(own = begin(signals, request)))
        return;
    own->limit = limit;
    own->job.task.run = list_signals;
    hf_loop_post(signals->settings.main, &own->job.task);
}

static void handle_actions(void *arg, hf_http_request *request)
{
    const hf_signals *signals = arg; /* the list does not change while the loops run */
    hf_json_writer writer;
    hf_buffer body;

    hf_buffer_init(&body, ANSWER_MAXIMUM);
    hf_json_writer_init(&writer, &body);
    hf_json_begin_object(&writer);
    hf_json_name(&writer, "actions");
    hf_json_begin_list(&writer);
    for (uint32_t i = 0; i < signals->action_count; i++) {
        const hf_action *action = &signals->actions[i].action;
        hf_json_begin_object(&writer);
        hf_json_member_text(&writer, "name", action->name);
        hf_json_member_text(&writer, "doc", action->doc);
        hf_json_name(&writer, "arguments");
        hf_json_begin_object(&writer);
        for (uint32_t j = 0; j < action->parameter_count; j++) {
            hf_json_member_text(&writer, action->parameters[j].name, action->parameters[j].doc);
        }
        hf_json_end_object(&writer);
        hf_json_end_object(&writer);
    }
    hf_json_end_list(&writer);
    hf_json_end_object(&writer);
    answer(request, &writer);
    hf_buffer_done(&body);
}

/* ---- Running an action ---------------------------------------------------------------------------------------- */

static void ran(void *arg, int32_t code, hf_slice result, const hf_error *error)
{
    asked *own = arg;

    if (code)
        answer_problem(own->request, error);
    else
        hf_http_respond(own->request, 200, "application/json", result, NULL, 0);
}

static void run_action(hf_task *task)
{
    asked *own = (asked *)(void *)task;
    hf_arena *arena = hf_http_arena(own->request);
    hf_slice name = hf_http_parameter(own->request, "name"), body = hf_http_body(own->request), copy = {NULL, 0};
    hf_value arguments = hf_value_map(NULL, 0);
    char actor[40];

    own->code = hf_arena_copy(arena, name, &copy);
    if (own->code == 0 && body.size)
        own->code = hf_json_parse(body, arena, &arguments, &own->error);
    if (own->code) {
        own->error.code = own->code;
        answer_problem(own->request, &own->error);
        return;
    }
    snprintf(actor, sizeof actor, "user %016llx", (unsigned long long)hf_http_user(own->request));
    hf_signals_run(own->signals, actor, (const char *)copy.data, &arguments, ran, own);
}

static void handle_run(void *arg, hf_http_request *request)
{
    hf_signals *signals = arg;
    asked *own = begin(signals, request);

    if (!own)
        return;
    own->job.task.run = run_action;
    hf_loop_post(signals->settings.main, &own->job.task);
}

/* ---- The audit log -------------------------------------------------------------------------------------------- */

static void read_audit(hf_job *job)
{
    asked *own = (asked *)(void *)job;

    hf_buffer_init(&own->body, ANSWER_MAXIMUM);
    own->code = hf_buffer_append(&own->body, "{\"entries\":", 11);
    if (own->code == 0)
        own->code = hf_audit_read(own->signals->audit, own->limit, &own->body, &own->error);
    if (own->code == 0)
        own->code = hf_buffer_append(&own->body, "}", 1);
}

static void audit_read(hf_job *job)
{
    asked *own = (asked *)(void *)job;
    hf_buffer body = own->body;

    if (own->code) {
        own->error.code = own->code;
        answer_problem(own->request, &own->error);
    } else {
        hf_http_respond(own->request, 200, "application/json", (hf_slice){body.data, body.size}, NULL, 0);
    }
    hf_buffer_done(&body);
}

static void handle_audit(void *arg, hf_http_request *request)
{
    hf_signals *signals = arg;
    uint32_t limit;
    asked *own;

    if (read_limit(request, &limit) != 0 || !(own = begin(signals, request)))
        return;
    own->limit = limit;
    own->job = (hf_job){.loop = signals->settings.main, .work = read_audit, .done = audit_read};
    if (hf_pool_submit(signals->settings.pool, &own->job, &own->error) != 0)
        answer_problem(request, &own->error);
}

int32_t hf_signals_routes(hf_signals *signals, hf_http_server *server, hf_error *error)
{
    static const hf_http_route routes[] = {
        {sizeof(hf_http_route), HF_HTTP_READ, "GET", "/v1/admin/signals", 0, "Signals that are not over.",
         handle_signals},
        {sizeof(hf_http_route), HF_HTTP_READ, "GET", "/v1/admin/actions", 0, "What can be done.", handle_actions},
        {sizeof(hf_http_route), HF_HTTP_ADMIN, "POST", "/v1/admin/actions/{name}", 65536, "Runs an action.",
         handle_run},
        {sizeof(hf_http_route), HF_HTTP_ADMIN, "GET", "/v1/admin/audit", 0, "Who did what.", handle_audit},
    };
    int32_t result = 0;

    for (size_t i = 0; i < sizeof routes / sizeof *routes && !result; i++)
        result = hf_http_server_route_reserved(server, &routes[i], signals, error);
    return result;
}
