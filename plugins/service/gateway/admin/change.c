/* Servers are added, changed and taken out by those who may.  What they ask for is read where it arrives, done on the
 * main loop, written to the audit log in the pool, and answered when all of that is done. */
#include "admin/private.h"

#include "service/servers.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/url.h>
#include <holdfast/lib/value.h>

#include <stdio.h>
#include <string.h>

enum { NAME_MAX_SIZE = 128, PORT_SIZE = 16, HOST_SIZE = 256 };

enum { CHANGE_ADD, CHANGE_SET, CHANGE_REMOVE };

static const char *const kinds[] = {[CHANGE_ADD] = "add", [CHANGE_SET] = "set", [CHANGE_REMOVE] = "remove"};

/* In the request's arena. */
struct change {
    hf_task task; /* first */
    hf_job job;
    const struct gateway_admin *admin;
    hf_http_request *request;
    int32_t kind;
    const char *upstream, *server;
    hf_slice body;  /* as it came */
    hf_value asked; /* a map of options */
    char actor[32];
    hf_buffer answer;
};

static const hf_option *option_named(hf_slice name)
{
    for (uint32_t i = 0; i < gateway_server_table.count; i++) {
        const hf_option *row = (const hf_option *)(const void *)((const char *)gateway_server_table.rows +
                                                                 (size_t)i * gateway_server_table.row_size);
        if (hf_slice_is(name, row->name))
            return row;
    }
    return NULL;
}

/* ---- Values of options ------------------------------------------------------------------------------------------- */

static int is_text(const hf_option *row)
{
    return row->type == HF_OPTION_STRING || row->type == HF_OPTION_ADDRESS || row->type == HF_OPTION_PATH;
}

/* "300ms", "10s", "1m", "1h". */
static int read_duration(hf_slice text, int64_t *ret_us)
{
    static const struct {
        const char *unit;
        int64_t us;
    } units[] = {{"us", 1}, {"ms", 1000}, {"s", 1000000}, {"m", 60000000}, {"h", INT64_C(3600000000)}};
    int64_t number = 0;
    uint64_t at = 0;

    for (; at < text.size && text.data[at] >= '0' && text.data[at] <= '9' && at < 12; at++)
        number = number * 10 + (text.data[at] - '0');
    for (size_t i = 0; at && i < sizeof units / sizeof *units; i++)
        if (hf_slice_is((hf_slice){text.data + at, text.size - at}, units[i].unit) &&
            number <= INT64_MAX / units[i].us) {
            *ret_us = number * units[i].us;
            return 1;
        }
    return 0;
}

static int32_t check_limits(const hf_option *row, int64_t number, hf_error *error)
{
    if ((row->minimum || row->maximum) && (number < row->minimum || number > row->maximum)) {
        if (row->type == HF_OPTION_DURATION)
            return hf_error_set(error, HF_EINVAL, "%s: expected %lld us to %lld us", row->name, (long long)row->minimum,
                                (long long)row->maximum);
        return hf_error_set(error, HF_EINVAL, "%s: %lld is not allowed; expected %lld to %lld", row->name,
                            (long long)number, (long long)row->minimum, (long long)row->maximum);
    }
    return HF_OK;
}

static int32_t set_number(struct gateway_server_options *server, const hf_option *row, const hf_value *value,
                          hf_error *error)
{
    int64_t number = 0;

    if (row->type == HF_OPTION_DURATION) {
        if (value->type != HF_VALUE_STRING || !read_duration(hf_value_slice(value), &number))
            return hf_error_set(error, HF_EINVAL, "%s: expected a duration such as \"30s\"", row->name);
    } else {
        if (value->type != HF_VALUE_INTEGER)
            return hf_error_set(error, HF_EINVAL, "%s: it is %s; expected an integer", row->name,
                                hf_value_type_name(value->type));
        number = value->as.integer;
    }
    int32_t code = check_limits(row, number, error);
    if (code == HF_OK)
        memcpy((char *)server + row->offset, &number, sizeof number);
    return code;
}

static int32_t set_text(struct change *change, struct gateway_server_options *server, const hf_option *row,
                        const hf_value *value, hf_error *error)
{
    char host[HOST_SIZE], port[PORT_SIZE];
    hf_slice copy;

    if (value->type != HF_VALUE_STRING)
        return hf_error_set(error, HF_EINVAL, "%s: it is %s; expected a string", row->name,
                            hf_value_type_name(value->type));
    if (memchr(value->as.text, 0, value->count))
        return hf_error_set(error, HF_EINVAL, "%s: it has a zero byte", row->name);
    if (hf_arena_copy(change->admin->http->arena(change->request), hf_value_slice(value), &copy) != HF_OK)
        return hf_error_set(error, HF_ENOMEM, "no memory for the change");
    if (row->type == HF_OPTION_ADDRESS &&
        hf_url_split_address((const char *)copy.data, host, sizeof host, port, sizeof port, error) != HF_OK)
        return HF_EINVAL;
    memcpy((char *)server + row->offset, &copy.data, sizeof copy.data);
    return HF_OK;
}

static int32_t set_option(struct change *change, struct gateway_server_options *server, const hf_value_member *member,
                          hf_error *error)
{
    const hf_option *row = option_named(member->name);

    if (!row)
        return hf_error_set(error, HF_EINVAL, "a server has no option '%.*s'",
                            (int)(member->name.size < 64 ? member->name.size : 64), (const char *)member->name.data);
    if (is_text(row) && change->kind != CHANGE_ADD)
        return hf_error_set(error, HF_EINVAL, "%s: it cannot change; add another server, and take this one out",
                            row->name);
    if (is_text(row))
        return set_text(change, server, row, &member->value, error);
    if (row->type != HF_OPTION_BOOLEAN)
        return set_number(server, row, &member->value, error);
    if (member->value.type != HF_VALUE_BOOLEAN)
        return hf_error_set(error, HF_EINVAL, "%s: it is %s; expected a boolean", row->name,
                            hf_value_type_name(member->value.type));
    memcpy((char *)server + row->offset, &member->value.boolean, sizeof member->value.boolean);
    return HF_OK;
}

static int32_t set_options(struct change *change, struct gateway_server_options *server, hf_error *error)
{
    int32_t code = HF_OK;

    for (uint64_t i = 0; i < change->asked.count && code == HF_OK; i++)
        if (change->kind != CHANGE_ADD || !hf_slice_is(change->asked.as.members[i].name, "name"))
            code = set_option(change, server, &change->asked.as.members[i], error);
    return code;
}

/* ---- On the main loop -------------------------------------------------------------------------------------------- */

static int32_t add(struct change *change, struct gateway_server_list *servers, hf_error *error)
{
    struct gateway_server_options server;

    gateway_server_defaults(&server, change->server, "");
    int32_t code = set_options(change, &server, error);
    if (code == HF_OK && !server.address[0])
        return hf_error_set(error, HF_EINVAL, "address: it is missing; expected host:port");
    return code == HF_OK ? gateway_server_list_add(servers, &server, error) : code;
}

static int32_t set(struct change *change, struct gateway_server_list *servers, hf_error *error)
{
    struct gateway_server_options *server = gateway_server_list_find(servers, change->server);

    if (!server)
        return hf_error_set(error, HF_ENOTFOUND, "the upstream '%s' has no server '%s'", change->upstream,
                            change->server);
    return set_options(change, server, error);
}

static int32_t edit(void *arg, struct gateway_server_list *servers, hf_error *error)
{
    struct change *change = arg;

    if (change->kind == CHANGE_ADD)
        return add(change, servers, error);
    if (change->kind == CHANGE_SET)
        return set(change, servers, error);
    if (servers->count == 1 && gateway_server_list_find(servers, change->server))
        return hf_error_set(error, HF_ECONFLICT,
                            "'%s' is the only server of the upstream '%s'; add another one first, or drain it",
                            change->server, change->upstream);
    return gateway_server_list_remove(servers, change->server, error);
}

static void answer(struct change *change)
{
    const struct gateway_admin *admin = change->admin;
    hf_slice body = {change->answer.data, change->answer.size};

    if (body.size)
        admin->http->respond(change->request, change->kind == CHANGE_ADD ? 201 : 200, "application/json", body, NULL,
                             0);
    else
        admin->http->respond(change->request, 204, NULL, (hf_slice){NULL, 0}, NULL, 0);
}

/* [pool] */
static void note(hf_job *job)
{
    struct change *change = (struct change *)((char *)job - offsetof(struct change, job));
    const struct gateway *gateway = change->admin->gateway;
    const hf_value_member members[] = {
        {hf_slice_of("change"), hf_value_text(kinds[change->kind])},
        {hf_slice_of("upstream"), hf_value_text(change->upstream)},
        {hf_slice_of("server"), hf_value_text(change->server)},
        {hf_slice_of("options"), change->asked},
    };
    hf_value detail = hf_value_map(members, sizeof members / sizeof *members);
    char text[HF_ERROR_MESSAGE_SIZE + 64];
    hf_error error = {0};

    if (change->admin->signals->note(gateway->host, change->actor, "gateway.server", &detail, &error) == HF_OK)
        return;
    snprintf(text, sizeof text, "the audit log has no entry for a change of servers: %s", error.message);
    gateway->host->log(gateway->host, HF_LOG_ERROR, hf_slice_of(text));
}

/* The change goes with its request. */
static void noted(hf_job *job)
{
    struct change *change = (struct change *)((char *)job - offsetof(struct change, job));
    hf_buffer body = change->answer;

    answer(change);
    hf_buffer_done(&body);
}

static void tell(struct change *change)
{
    const struct gateway *gateway = change->admin->gateway;
    hf_loop *loop = gateway->loops->main_loop(gateway->host);

    change->job = (hf_job){.loop = loop, .work = note, .done = noted};
    if (!change->admin->signals || gateway->loops->submit(gateway->host, &change->job, NULL) != HF_OK) {
        if (change->admin->signals)
            note(&change->job); /* what was done must be told, and the pool takes nothing */
        noted(&change->job);
    }
}

static void write_answer(struct change *change)
{
    const struct gateway *gateway = change->admin->gateway;
    const struct gateway_plan_upstream *upstream = gateway_find_upstream(gateway, hf_slice_of(change->upstream));
    hf_json_writer writer;

    gateway_json_begin(&writer, &change->answer);
    if (change->kind == CHANGE_REMOVE)
        return;
    if (upstream && !gateway_show_server(gateway, upstream, hf_slice_of(change->server), &writer))
        writer.result = HF_ENOTFOUND;
    if (writer.result != HF_OK)
        hf_buffer_clear(&change->answer);
}

static void run(hf_task *task)
{
    struct change *change = (struct change *)task;
    hf_error error = {0};

    if (gateway_servers_change(change->admin->gateway, change->upstream, edit, change, &error) != HF_OK) {
        gateway_answer_error(change->admin, change->request, &error);
        return;
    }
    write_answer(change);
    tell(change);
}

/* ---- Where it arrives -------------------------------------------------------------------------------------------- */

static const char *copy_parameter(const struct change *change, const char *name)
{
    const hf_http_interface *http = change->admin->http;
    hf_slice copy;

    return hf_arena_copy(http->arena(change->request), http->parameter(change->request, name), &copy) == HF_OK
               ? (const char *)copy.data
               : NULL;
}

static int32_t read_body(struct change *change, hf_error *error)
{
    const hf_http_interface *http = change->admin->http;

    change->asked = hf_value_map(NULL, 0);
    change->body = http->body(change->request);
    if (!change->body.size && change->kind != CHANGE_ADD)
        return HF_OK;
    int32_t code = hf_json_parse(change->body, http->arena(change->request), &change->asked, error);
    if (code == HF_OK && change->asked.type != HF_VALUE_MAP)
        return hf_error_set(error, HF_EINVAL, "the body is %s; expected an object of options",
                            hf_value_type_name(change->asked.type));
    return code;
}

/* As the configuration names groups, since it stands in paths, labels and logs. */
static int is_name(hf_slice name)
{
    for (uint64_t i = 0; i < name.size; i++) {
        uint8_t byte = name.data[i], letter = byte | 0x20;
        if (!(letter >= 'a' && letter <= 'z') &&
            (i == 0 || (!(byte >= '0' && byte <= '9') && byte != '_' && byte != '-' && byte != '*')))
            return 0;
    }
    return name.size > 0 && name.size <= NAME_MAX_SIZE;
}

static int32_t read_name(struct change *change, hf_error *error)
{
    hf_slice name = hf_value_get_string(&change->asked, "name", (hf_slice){NULL, 0}), copy;

    if (!is_name(name))
        return hf_error_set(error, HF_EINVAL,
                            "name: expected a letter, and up to %d letters, digits, '_', '-' and '*' in all",
                            NAME_MAX_SIZE);
    if (hf_arena_copy(change->admin->http->arena(change->request), name, &copy) != HF_OK)
        return hf_error_set(error, HF_ENOMEM, "no memory for the change");
    change->server = (const char *)copy.data;
    return HF_OK;
}

static struct change *begin(const struct gateway_admin *admin, hf_http_request *request, int32_t kind, hf_error *error)
{
    struct change *change = hf_arena_alloc(admin->http->arena(request), sizeof *change);
    int32_t code = HF_OK;

    if (!change) {
        hf_error_set(error, HF_ENOMEM, "no memory for the change");
        return NULL;
    }
    change->admin = admin;
    change->request = request;
    change->kind = kind;
    change->upstream = copy_parameter(change, "upstream");
    snprintf(change->actor, sizeof change->actor, "user %016llx", (unsigned long long)admin->http->user(request));
    code = read_body(change, error);
    if (code == HF_OK && kind == CHANGE_ADD)
        code = read_name(change, error);
    else if (code == HF_OK)
        change->server = copy_parameter(change, "server");
    if (code == HF_OK && (!change->upstream || !change->server))
        code = hf_error_set(error, HF_ENOMEM, "no memory for the change");
    return code == HF_OK ? change : NULL;
}

static void start(struct change *change)
{
    const struct gateway *gateway = change->admin->gateway;

    change->task.run = run;
    gateway->loops->post(gateway->loops->main_loop(gateway->host), &change->task);
}

static void handle(const struct gateway_admin *admin, hf_http_request *request, int32_t kind)
{
    hf_error error = {0};
    struct change *change = begin(admin, request, kind, &error);

    if (change)
        start(change);
    else
        gateway_answer_error(admin, request, &error);
}

void gateway_handle_add(void *arg, hf_http_request *request)
{
    handle(arg, request, CHANGE_ADD);
}

void gateway_handle_set(void *arg, hf_http_request *request)
{
    handle(arg, request, CHANGE_SET);
}

void gateway_handle_remove(void *arg, hf_http_request *request)
{
    handle(arg, request, CHANGE_REMOVE);
}

void gateway_handle_action(void *arg, hf_http_request *request)
{
    static const hf_value_member drain[] = {{{(const uint8_t *)"drain", 5}, {HF_VALUE_BOOLEAN, 1, 0, {0}}}};
    static const hf_value_member undrain[] = {{{(const uint8_t *)"drain", 5}, {HF_VALUE_BOOLEAN, 0, 0, {0}}}};
    const struct gateway_admin *admin = arg;
    hf_slice action = admin->http->parameter(request, "action");
    int is_drain = hf_slice_is(action, "drain");
    hf_error error = {0};
    struct change *change = NULL;

    if (!is_drain && !hf_slice_is(action, "undrain"))
        hf_error_set(&error, HF_ENOTFOUND, "expected drain or undrain");
    else
        change = begin(admin, request, CHANGE_SET, &error);
    if (!change) {
        gateway_answer_error(admin, request, &error);
        return;
    }
    change->asked = hf_value_map(is_drain ? drain : undrain, 1);
    start(change);
}
