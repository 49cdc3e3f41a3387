/* What policies are shown of requests, answers and errors: members are fetched when they are read. */
#include "policy/policy.h"

#include "proxy/private.h"

#include <holdfast/lib/error.h>

#include <stdio.h>
#include <string.h>

const hf_lua_parameter gateway_shown_members[GATEWAY_SHOWN_MEMBERS] = {
    {"request.method", "\"GET\"", HF_VALUE_STRING, 0},
    {"request.path", "decoded, without the query", HF_VALUE_STRING, 0},
    {"request.target", "as the client wrote it: path and query", HF_VALUE_STRING, 0},
    {"request.host", "what the client asks for, without a port; \"\": nothing", HF_VALUE_STRING, 0},
    {"request.client", "the client's address", HF_VALUE_STRING, 0},
    {"request.scheme", "of the client's connection", HF_VALUE_STRING, 0},
    {"request.version", "of HTTP: \"1.1\", \"2\"", HF_VALUE_STRING, 0},
    {"request.headers", "by name in lower case; the first of a name", HF_LUA_OBJECT, 0},
    {"request.cookies", "by name", HF_LUA_OBJECT, 0},
    {"request.arguments", "of the query, by name, decoded", HF_LUA_OBJECT, 0},
    {"request.route", "name of the route that the configuration says", HF_VALUE_STRING, 0},
    {"request.upstream", "name of the upstream that it goes to; nil: none", HF_VALUE_STRING, 0},
    {"request.listener", "name of the listener", HF_VALUE_STRING, 0},
    {"request.user", "hash of the key by which the upstream's release, or its balancer, knows users; nil: none",
     HF_VALUE_STRING, 0},
    {"response.status", "of the server's answer", HF_VALUE_INTEGER, 0},
    {"response.headers", "by name in lower case; the first of a name", HF_LUA_OBJECT, 0},
    {"response.upstream", "name of the upstream", HF_VALUE_STRING, 0},
    {"response.server", "name of the server", HF_VALUE_STRING, 0},
    {"response.tries", "servers that were asked so far", HF_VALUE_INTEGER, 0},
    {"response.milliseconds", "since the request began", HF_VALUE_FLOAT, 0},
    {"error.status", "that the client would get", HF_VALUE_INTEGER, 0},
    {"error.reason", "why, in words", HF_VALUE_STRING, 0},
    {"error.upstream", "name of the upstream that could not be asked", HF_VALUE_STRING, 0},
    {"error.tries", "servers that were asked", HF_VALUE_INTEGER, 0},
    {"error.can_forward", "whether another upstream can be asked", HF_VALUE_BOOLEAN, 0},
    {"error.milliseconds", "since the request began", HF_VALUE_FLOAT, 0},
};

struct member {
    const char *name;
    uint32_t size;
    int32_t what;
};

#define MEMBER(text, what)                                                                                             \
    {                                                                                                                  \
        (text), sizeof(text) - 1, (what)                                                                               \
    }

/* -1: there is none of that name. */
static int32_t find(const struct member *members, uint32_t count, hf_slice name)
{
    for (uint32_t i = 0; i < count; i++)
        if (members[i].size == name.size && memcmp(members[i].name, name.data, name.size) == 0)
            return members[i].what;
    return -1;
}

static hf_value text_or_nil(hf_slice text)
{
    return text.data ? hf_value_string(text) : hf_value_null();
}

/* Empty where it is there without a value. */
static hf_value present(hf_slice text)
{
    return hf_value_string(text.data ? text : hf_slice_of(""));
}

static hf_value milliseconds_of(const struct gateway_exchange *exchange)
{
    return hf_value_float((double)(gateway_worker_now(exchange->worker) - exchange->began_us) / 1000);
}

static hf_value upstream_name(const struct gateway_exchange *exchange, uint32_t upstream)
{
    return upstream == GATEWAY_NO_UPSTREAM
               ? hf_value_null()
               : hf_value_text(exchange->generation->plan->upstreams[upstream].upstream->name);
}

/* ---- Requests ---------------------------------------------------------------------------------------------------- */

static const struct gateway_exchange *shown_exchange(const hf_lua_object *object)
{
    return ((const struct gateway_shown *)object->arg)->exchange;
}

static int32_t get_header(const hf_lua_object *object, hf_slice name, hf_arena *arena, hf_value *ret_value,
                          hf_error *error)
{
    (void)arena, (void)error;
    *ret_value = text_or_nil(gateway_request_field(&shown_exchange(object)->request, name));
    return HF_OK;
}

static int32_t get_cookie(const hf_lua_object *object, hf_slice name, hf_arena *arena, hf_value *ret_value,
                          hf_error *error)
{
    (void)arena, (void)error;
    *ret_value = text_or_nil(gateway_request_cookie(&shown_exchange(object)->request, name));
    return HF_OK;
}

static int32_t get_argument(const hf_lua_object *object, hf_slice name, hf_arena *arena, hf_value *ret_value,
                            hf_error *error)
{
    (void)error;
    *ret_value = text_or_nil(gateway_request_argument(&shown_exchange(object)->request, name, arena));
    return HF_OK;
}

/* The same number as in other places that name users: for people who compare, not for secrets. */
static int32_t get_user(const struct gateway_exchange *exchange, hf_arena *arena, hf_value *ret_value, hf_error *error)
{
    const struct gateway_view *view =
        exchange->upstream == GATEWAY_NO_UPSTREAM ? NULL : exchange->generation->views[exchange->upstream];
    const struct gateway_key *key = view ? gateway_split_key(&exchange->worker->split, view->upstream) : NULL;
    hf_slice none = {NULL, 0};
    uint64_t hash = 0;

    *ret_value = hf_value_null();
    if (view && !key)
        key = &view->set->key;
    if (!key || !gateway_key_hash(key, &exchange->request, none, arena, &hash))
        return HF_OK;
    char *text = hf_arena_alloc(arena, 17);
    if (!text)
        return hf_error_set(error, HF_ENOMEM, "no memory for the user");
    snprintf(text, 17, "%016llx", (unsigned long long)hash);
    *ret_value = hf_value_text(text);
    return HF_OK;
}

enum {
    METHOD,
    PATH,
    TARGET,
    HOST,
    CLIENT,
    SCHEME,
    VERSION,
    HEADERS,
    COOKIES,
    ARGUMENTS,
    ROUTE,
    UPSTREAM,
    LISTENER,
    USER
};

static int32_t get_of_request(const hf_lua_object *object, hf_slice name, hf_arena *arena, hf_value *ret_value,
                              hf_error *error)
{
    static const struct member members[] = {
        MEMBER("path", PATH),           MEMBER("headers", HEADERS), MEMBER("route", ROUTE),
        MEMBER("cookies", COOKIES),     MEMBER("method", METHOD),   MEMBER("host", HOST),
        MEMBER("arguments", ARGUMENTS), MEMBER("client", CLIENT),   MEMBER("upstream", UPSTREAM),
        MEMBER("target", TARGET),       MEMBER("user", USER),       MEMBER("listener", LISTENER),
        MEMBER("scheme", SCHEME),       MEMBER("version", VERSION)};
    const struct gateway_shown *shown = object->arg;
    const struct gateway_exchange *exchange = shown->exchange;

    switch (find(members, sizeof members / sizeof *members, name)) {
    case METHOD:
        *ret_value = hf_value_string(exchange->head.method);
        break;
    case PATH:
        *ret_value = hf_value_string(exchange->request.path);
        break;
    case TARGET:
        *ret_value = hf_value_string(exchange->head.target);
        break;
    case HOST:
        *ret_value = present(exchange->request.host);
        break;
    case CLIENT:
        *ret_value = hf_value_string(exchange->request.client);
        break;
    case SCHEME:
        *ret_value = hf_value_text(exchange->front->peer->is_tls ? "https" : "http");
        break;
    case VERSION:
        *ret_value = hf_value_text(exchange->front->calls->version ? exchange->front->calls->version
                                   : exchange->head.minor          ? "1.1"
                                                                   : "1.0");
        break;
    case HEADERS:
        *ret_value = hf_value_object(&shown->headers);
        break;
    case COOKIES:
        *ret_value = hf_value_object(&shown->cookies);
        break;
    case ARGUMENTS:
        *ret_value = hf_value_object(&shown->arguments);
        break;
    case ROUTE:
        *ret_value = hf_value_string(exchange->route->name);
        break;
    case UPSTREAM:
        *ret_value = upstream_name(exchange, exchange->upstream);
        break;
    case LISTENER:
        *ret_value = hf_value_string(exchange->listener->name);
        break;
    case USER:
        return get_user(exchange, arena, ret_value, error);
    default:
        *ret_value = hf_value_null();
    }
    return HF_OK;
}

static hf_lua_object
object(const char *name, int32_t (*get)(const hf_lua_object *, hf_slice, hf_arena *, hf_value *, hf_error *), void *arg)
{
    return (hf_lua_object){.size = sizeof(hf_lua_object), .name = name, .get = get, .arg = arg};
}

struct gateway_shown *gateway_show_request(struct gateway_exchange *exchange)
{
    struct gateway_shown *shown = exchange->shown;

    if (shown)
        return shown;
    shown = hf_arena_alloc(&exchange->arena, sizeof *shown);
    if (!shown)
        return NULL;
    shown->exchange = exchange;
    shown->request = object("request", get_of_request, shown);
    shown->headers = object("request.headers", get_header, shown);
    shown->cookies = object("request.cookies", get_cookie, shown);
    shown->arguments = object("request.arguments", get_argument, shown);
    exchange->shown = shown;
    return shown;
}

/* ---- Answers ----------------------------------------------------------------------------------------------------- */

static int32_t get_answer_header(const hf_lua_object *object, hf_slice name, hf_arena *arena, hf_value *ret_value,
                                 hf_error *error)
{
    const struct gateway_shown_response *shown = object->arg;
    const struct gateway_request as_request = {.head = shown->head};

    (void)arena, (void)error;
    *ret_value = text_or_nil(gateway_request_field(&as_request, name));
    return HF_OK;
}

enum { STATUS, ANSWER_HEADERS, ANSWER_UPSTREAM, SERVER, TRIES, MILLISECONDS };

static int32_t get_of_response(const hf_lua_object *object, hf_slice name, hf_arena *arena, hf_value *ret_value,
                               hf_error *error)
{
    static const struct member members[] = {MEMBER("status", STATUS),
                                            MEMBER("headers", ANSWER_HEADERS),
                                            MEMBER("upstream", ANSWER_UPSTREAM),
                                            MEMBER("server", SERVER),
                                            MEMBER("tries", TRIES),
                                            MEMBER("milliseconds", MILLISECONDS)};
    const struct gateway_shown_response *shown = object->arg;
    const struct gateway_exchange *exchange = shown->exchange;

    (void)arena, (void)error;
    switch (find(members, sizeof members / sizeof *members, name)) {
    case STATUS:
        *ret_value = hf_value_integer(shown->head->status);
        break;
    case ANSWER_HEADERS:
        *ret_value = hf_value_object(&shown->headers);
        break;
    case ANSWER_UPSTREAM:
        *ret_value = upstream_name(exchange, exchange->upstream);
        break;
    case SERVER:
        *ret_value = exchange->link ? hf_value_text(exchange->link->server->name) : hf_value_null();
        break;
    case TRIES:
        *ret_value = hf_value_integer(exchange->tries);
        break;
    case MILLISECONDS:
        *ret_value = milliseconds_of(exchange);
        break;
    default:
        *ret_value = hf_value_null();
    }
    return HF_OK;
}

void gateway_show_response(struct gateway_shown_response *shown)
{
    shown->response = object("response", get_of_response, shown);
    shown->headers = object("response.headers", get_answer_header, shown);
}

/* ---- Errors ------------------------------------------------------------------------------------------------------ */

enum { ERROR_STATUS, REASON, ERROR_UPSTREAM, ERROR_TRIES, CAN_FORWARD, ERROR_MILLISECONDS };

static int32_t get_of_error(const hf_lua_object *object, hf_slice name, hf_arena *arena, hf_value *ret_value,
                            hf_error *error)
{
    static const struct member members[] = {
        MEMBER("status", ERROR_STATUS), MEMBER("reason", REASON),           MEMBER("upstream", ERROR_UPSTREAM),
        MEMBER("tries", ERROR_TRIES),   MEMBER("can_forward", CAN_FORWARD), MEMBER("milliseconds", ERROR_MILLISECONDS)};
    const struct gateway_shown_error *shown = object->arg;

    (void)arena, (void)error;
    switch (find(members, sizeof members / sizeof *members, name)) {
    case ERROR_STATUS:
        *ret_value = hf_value_integer(shown->status);
        break;
    case REASON:
        *ret_value = hf_value_text(shown->why);
        break;
    case ERROR_UPSTREAM:
        *ret_value = upstream_name(shown->exchange, shown->upstream);
        break;
    case ERROR_TRIES:
        *ret_value = hf_value_integer(shown->exchange->tries);
        break;
    case CAN_FORWARD:
        *ret_value = hf_value_boolean(gateway_exchange_can_degrade(shown->exchange));
        break;
    case ERROR_MILLISECONDS:
        *ret_value = milliseconds_of(shown->exchange);
        break;
    default:
        *ret_value = hf_value_null();
    }
    return HF_OK;
}

void gateway_show_error(struct gateway_shown_error *shown)
{
    shown->error = object("error", get_of_error, shown);
}
