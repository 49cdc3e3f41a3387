/* Shows that a policy reads what it needs of an object and nothing else; that an object is of no use to it after the
 * decision; and that the tests of policies meet objects that behave the same. */
#include "fixture.h"

#include "lua/lua_host.h"
#include "lua/state.h"
#include "lua/trial.h"

#include <holdfast/lib/error.h>

/* ---- Something to ask about ----------------------------------------------------------------------------------- */

enum { MANY = 300 };

struct request {
    hf_lua_object object, headers, many[MANY];
    uint32_t gets;
    uint32_t many_next;
};

static int32_t get_header(const hf_lua_object *object, hf_slice name, hf_arena *arena, hf_value *ret_value,
                          hf_error *error)
{
    ((struct request *)object->arg)->gets++;
    (void)arena, (void)error;
    if (name.size == 6 && strncasecmp((const char *)name.data, "x-user", 6) == 0)
        *ret_value = hf_value_text("42");
    return 0;
}

static int32_t get_member(const hf_lua_object *object, hf_slice name, hf_arena *arena, hf_value *ret_value,
                          hf_error *error)
{
    struct request *request = object->arg;
    hf_slice copy = {NULL, 0};

    request->gets++;
    if (hf_slice_is(name, "path"))
        *ret_value = hf_value_text("/a path that is longer than the strings which Lua keeps only once");
    else if (hf_slice_is(name, "method"))
        *ret_value = hf_value_text("GET");
    else if (hf_slice_is(name, "size"))
        *ret_value = hf_value_integer(77);
    else if (hf_slice_is(name, "bytes"))
        *ret_value = hf_value_string((hf_slice){(const uint8_t *)"\xff\0x", 3});
    else if (hf_slice_is(name, "headers"))
        *ret_value = hf_value_object(&request->headers);
    else if (hf_slice_is(name, "list"))
        *ret_value = from_json("[1,2,3]", arena);
    else if (hf_slice_is(name, "many"))
        *ret_value = hf_value_object(&request->many[request->many_next++ % MANY]);
    else if (hf_slice_is(name, "inside"))
        *ret_value = hf_value_list(memcpy(hf_arena_alloc(arena, sizeof(hf_value)),
                                          &(hf_value){.type = HF_VALUE_OBJECT, .as.object = object}, sizeof(hf_value)),
                                   1);
    else if (hf_slice_is(name, "broken"))
        return hf_error_set(error, HF_EIO, "it could not be read");
    else if (hf_slice_is(name, "eats"))
        return hf_arena_copy(arena, (hf_slice){(const uint8_t *)"x", 1}, &copy) || !hf_arena_alloc(arena, 1 << 16)
                   ? hf_error_set(error, HF_ENOMEM, "the arena is full")
                   : 0;
    return 0;
}

static void request_init(struct request *request)
{
    *request = (struct request){
        .object = {sizeof(hf_lua_object), 0, "request", get_member, request},
        .headers = {sizeof(hf_lua_object), 0, "request.headers", get_header, request},
    };
    for (int i = 0; i < MANY; i++)
        request->many[i] = (hf_lua_object){sizeof(hf_lua_object), 0, "request.many", get_member, request};
}

/* ---- A state with one policy ---------------------------------------------------------------------------------- */

static const hf_lua_parameter parameters[] = {{"request", "", HF_LUA_OBJECT, 0}, {"round", "", HF_LUA_ANY, 0}};

static uint64_t now_us, clock_step_us;

static uint64_t test_clock(void)
{
    return now_us += clock_step_us;
}

struct world {
    hf_lua_catalog catalog;
    hf_decision_point point;
    hf_config_problems problems;
    hf_lua_state *state;
    struct request request;
    hf_arena arena;
    int32_t over;
    hf_error error;
};

static void world_open(struct world *world, int32_t purpose, const char *text)
{
    char *folder = make_folder();
    hf_lua_bundle *bundle = NULL;
    const char *path = folder;

    memset(world, 0, sizeof *world);
    now_us = 1;
    clock_step_us = 0;
    request_init(&world->request);
    world->point = (hf_decision_point){.size = sizeof world->point,
                                       .name = "test.route",
                                       .parameters = parameters,
                                       .parameter_count = 2,
                                       .result.type = HF_LUA_ANY,
                                       .instruction_maximum = 5000};
    assert_int_equal(hf_lua_catalog_add_point(&world->catalog, &world->point, NULL), 0);
    write_file(folder, "route.lua", text);
    assert_int_equal(hf_lua_bundle_read(&(hf_strings){1, &path}, &bundle, &world->problems), 0);
    remove_folder(folder);
    if (hf_lua_state_create(&world->catalog, bundle, purpose, test_clock, &world->state, &world->problems))
        fail_msg("%s: %s", text, world->problems.lines[0]);
    hf_lua_bundle_unref(bundle);
    hf_arena_init(&world->arena, 1 << 20);
}

/* `body` is what decide(request, round) does. */
static void world_open_body(struct world *world, const char *body)
{
    char *text = NULL;

    assert_true(asprintf(&text, "return { point = 'test.route', decide = function(request, round) %s end }", body) > 0);
    world_open(world, HF_LUA_FOR_DECISIONS, text);
    free(text);
}

static void world_close(struct world *world)
{
    hf_lua_state_destroy(world->state);
    hf_arena_done(&world->arena);
}

static int32_t decide(struct world *world, int64_t round, hf_value *ret_result)
{
    hf_value arguments[] = {hf_value_object(&world->request.object), hf_value_integer(round)};

    return hf_lua_state_decide(world->state, 0, arguments, &world->arena, ret_result, &world->over, &world->error);
}

/* ---- Reading -------------------------------------------------------------------------------------------------- */

static const char *const harmless[] = {
    "return request.method == 'GET' and request['size'] == 77 and request.list[3] == 3",
    "return request.headers['x-user'] == '42' and request.headers['X-User'] == '42'",
    "return request.bytes == '\\xff\\0x'",
    "return request.nothing == nil and request[1] == nil and request[request] == nil and request.headers.y == nil",
    "return request == request and request.headers == request.headers and request ~= request.headers",
    "return tostring(request) == 'object: request' and tostring(request.headers) == 'object: request.headers'",
    "return type(request) == 'userdata' and getmetatable(request) == false and request and true",
    "local t = { [request.headers] = 1 } return t[request.headers] == 1",
    "for i = 1, 300 do local x = request.headers end return true",
    "for i = 1, 254 do local x = request.many end return request.headers['x-user'] == '42'",
    ("local ok, e = pcall(function() return request.broken end) return not ok and e:find('could not be read', 1, true) "
     "> 0 and request.size == 77"),
};

static void members_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof harmless / sizeof harmless[0]; i++) {
        struct world world;
        hf_value result;

        world_open_body(&world, harmless[i]);
        if (decide(&world, 0, &result) != 0)
            fail_msg("%s: %s", harmless[i], world.error.message);
        if (result.type != HF_VALUE_BOOLEAN || !result.boolean)
            fail_msg("this was not true: %s", harmless[i]);
        world_close(&world);
    }
}

static const struct {
    const char *body, *expected;
} refused[] = {
    {"request.path = '/'", "route.lua:1: request.path cannot be assigned: what a policy is asked about can only be"},
    {"request[1] = '/'", "request.? cannot be assigned"},
    {"request.headers['x-user'] = '1'", "request.headers.x-user cannot be assigned"},
    {"for name in pairs(request.headers) do end", "the members of request.headers cannot be listed"},
    {"for name in next, request do end", "table expected, got object"},
    {"rawset(request, 'path', '/')", "table expected, got object"},
    {"return rawget(request, 'path')", "table expected, got object"},
    {"setmetatable(request, {})", "table expected, got object"},
    {"getmetatable(request).__index = nil", "index a boolean value"},
    {"return #request", "attempt to get length of a userdata value (local 'request')"},
    {"return request", "an object cannot be passed on, only members that were read from it"},
    {"return { a = { request.headers } }", "result.a[1]: an object cannot be passed on"},
    {"return request.broken", "route.lua:1: request.broken: it could not be read"},
    {"return request.inside", "an object cannot be passed on within another value"},
    {"for i = 1, 300 do local x = request.many end", "a decision can use 256 objects, 'request.many' is one more"},
    {"while true do local x = request.eats end", "request.eats: the arena is full"},
    {"return request.nothing.at_all", "attempt to index a nil value (field 'nothing')"},
};

static void misuse_is_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct world world;
        hf_value result;

        world_open_body(&world, refused[i].body);
        if (decide(&world, 0, &result) != HF_EPOLICY)
            fail_msg("this worked: %s", refused[i].body);
        if (!strstr(world.error.message, refused[i].expected))
            fail_msg("%s: %s, expected %s", refused[i].body, world.error.message, refused[i].expected);
        assert_int_equal(world.over, HF_LUA_WITHIN);
        world_close(&world);
    }
}

static void only_what_is_read_is_asked_for(void **state)
{
    struct world world;
    hf_value result;

    (void)state;
    world_open_body(&world, "if round > 0 then return request.headers['x-user'] end");
    assert_int_equal(decide(&world, 0, &result), 0);
    assert_int_equal(world.request.gets, 0);
    assert_int_equal(decide(&world, 1, &result), 0);
    assert_int_equal(world.request.gets, 2);
    assert_true(hf_slice_is(hf_value_slice(&result), "42"));
    world_close(&world);
}

static void an_object_may_be_missing(void **state)
{
    hf_value arguments[] = {hf_value_null(), hf_value_integer(0)}, result;
    struct world world;

    (void)state;
    world_open_body(&world, "return request == nil");
    assert_int_equal(hf_lua_state_decide(world.state, 0, arguments, &world.arena, &result, &world.over, &world.error),
                     0);
    assert_true(result.boolean);
    world_close(&world);
}

/* ---- Keeping -------------------------------------------------------------------------------------------------- */

static const char *const kept[] = {
    "if round == 0 then kept = request else return kept.path end",
    "if round == 0 then kept = request else return kept.headers['x-user'] end",
    "if round == 0 then kept = request.headers else return kept['x-user'] end",
    "if round == 0 then kept = request.headers else local x = request.headers return kept['x-user'] end",
    "if round == 0 then kept = request else kept.path = '/' end",
    "if round == 0 then kept = request else for x in pairs(kept) do end end",
    "if round == 0 then kept = request error('failed') else return kept.path end",
};

static void what_is_kept_is_of_no_use_later(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        struct world world;
        hf_value result;

        world_open_body(&world, kept[i]);
        (void)decide(&world, 0, &result);
        for (int round = 1; round < 3; round++) {
            if (decide(&world, round, &result) != HF_EPOLICY)
                fail_msg("this worked: %s", kept[i]);
            if (!strstr(world.error.message, "this object belongs to an earlier decision"))
                fail_msg("%s: %s", kept[i], world.error.message);
        }
        world_close(&world);
    }
}

static void a_kept_object_can_still_be_told_apart(void **state)
{
    struct world world;
    hf_value result;

    (void)state;
    world_open_body(&world, "if round == 0 then kept = request end\n"
                            "return tostring(kept) == 'object: of an earlier decision' and kept ~= request");
    assert_int_equal(decide(&world, 0, &result), 0);
    assert_false(result.boolean);
    assert_int_equal(decide(&world, 1, &result), 0);
    assert_true(result.boolean);
    world_close(&world);
}

/* ---- Budgets -------------------------------------------------------------------------------------------------- */

static void members_count_as_instructions(void **state)
{
    struct world world;
    hf_value result;

    (void)state;
    world_open_body(&world, "for i = 1, 400 do local x = request.size end");
    assert_int_equal(decide(&world, 0, &result), 0); /* 4,000 for the members, and some 800 for the loop */
    world_close(&world);

    world_open_body(&world, "for i = 1, 600 do pcall(function() return request.size end) end return 'escaped'");
    assert_int_equal(decide(&world, 0, &result), HF_EPOLICY);
    assert_int_equal(world.over, HF_LUA_OVER_INSTRUCTIONS);
    assert_true(world.request.gets < 500);
    assert_int_equal(decide(&world, 0, &result), HF_EPOLICY); /* and again: nothing is left of the last one */
    assert_int_equal(world.over, HF_LUA_OVER_INSTRUCTIONS);
    world_close(&world);
}

static void members_count_as_time(void **state)
{
    struct world world;
    hf_value result;

    (void)state;
    world_open_body(&world, "for i = 1, 200 do local x = request.size end return 'escaped'");
    clock_step_us = HF_LUA_TIME_MAX_US / 2; /* each look at the clock finds it that much later */
    assert_int_equal(decide(&world, 0, &result), HF_EPOLICY);
    assert_int_equal(world.over, HF_LUA_OVER_TIME);
    assert_true(world.request.gets < 100);
    world_close(&world);
}

static void members_count_as_memory(void **state)
{
    struct world world;
    hf_value result;

    (void)state;
    world_open_body(&world, "local all = {} for i = 1, 1000 do all[i] = request.path .. i end return 'escaped'");
    world.state->budget.memory_maximum = world.state->budget.memory_used + 4096;
    assert_int_equal(decide(&world, 0, &result), HF_EPOLICY);
    assert_int_equal(world.over, HF_LUA_OVER_MEMORY);
    world_close(&world);
}

static void a_decision_allocates_nothing_for_objects(void **state)
{
    struct world world;
    hf_value result;

    (void)state;
    world_open_body(&world, "if request.size == 1 or request.headers['x-user'] == 'GET' then return 'b' end");
    for (int i = 0; i < 10; i++) /* the string '42' is made, and collected at some time */
        assert_int_equal(decide(&world, 0, &result), 0);
    uint64_t before = world.state->budget.memory_used;
    uint64_t most = before;
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(decide(&world, 0, &result), 0);
        if (world.state->budget.memory_used > most)
            most = world.state->budget.memory_used;
    }
    assert_true(most <= before + 64); /* the one string */
    world_close(&world);
}

/* ---- Tests of policies ---------------------------------------------------------------------------------------- */

struct report {
    uint32_t passed, failed;
    char failure[512];
};

static void take_report(void *arg, const hf_lua_policy *policy, const char *test, const char *failure)
{
    struct report *report = arg;

    (void)policy;
    if (failure && !report->failed)
        snprintf(report->failure, sizeof report->failure, "%s: %s", test, failure);
    *(failure ? &report->failed : &report->passed) += 1;
}

static struct report try_policy(const char *decide_body, const char *tests)
{
    struct report report = {0};
    struct world world;
    char *text = NULL;

    assert_true(asprintf(&text,
                         "return { point = 'test.route', decide = function(request, round) %s end,\n tests = { %s } }",
                         decide_body, tests) > 0);
    world_open(&world, HF_LUA_FOR_TESTS, text);
    assert_int_equal(hf_lua_trial_run(world.state, take_report, &report), 0);
    world_close(&world);
    free(text);
    return report;
}

static const struct {
    const char *decide, *test, *failure; /* NULL: it passes */
} trials[] = {
    {"if request.path ~= '' and request.headers['x-user'] == '42' then return { upstream = 'b' } end",
     "assert(decide({ path = '/', headers = { ['x-user'] = '42' } }).upstream == 'b')\n"
     "assert(decide({ path = '/', headers = { ['x-user'] = '43' } }) == nil)\n"
     "assert(decide({ path = '/', headers = {} }) == nil)",
     NULL},
    {"return request.nothing == nil and #request.list == 2 and #request.empty == 0",
     "assert(decide({ list = { 1, 2 }, "
     "empty = {} }))",
     NULL},
    {"return request.path == nil", "assert(decide({}))", NULL},
    {"return request == nil", "assert(decide(nil, 1) and decide())", NULL},
    {"return tostring(request.headers)", "assert(decide({ headers = { a = 1 } }) == 'object: request.headers')", NULL},
    {"request.path = '/'", "decide({ path = '/x' })", "request.path cannot be assigned"},
    {"request.headers.a = '/'", "decide({ headers = { b = 1 } })", "request.headers.a cannot be assigned"},
    {"for name in pairs(request.headers) do end", "decide({ headers = { b = 1 } })", "cannot be listed"},
    {"if kept then return kept.path end kept = request", "decide({ path = '/' }) decide({ path = '/' })",
     "this object belongs to an earlier decision"},
    {"kept = function() return request.path end", "decide({ path = '/' }) return kept()",
     "this object belongs to an earlier decision"},
    {"return request.path", "decide('/')", "request is a string, expected an object"},
    {"return request.path", "decide({ '/' })", "request is a list, expected an object"},
    {"return request.path", "decide({ path = tostring })", "request.path: a function cannot be passed on"},
    {"local ok, e = pcall(again, { path = '/b' }) return request.path", "_G.again = decide decide({ path = '/a' })",
     "this object belongs to an earlier decision"},
};

static void tables_stand_in_for_objects(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof trials / sizeof trials[0]; i++) {
        char *test = NULL;

        assert_true(asprintf(&test, "x = function(decide) %s end", trials[i].test) > 0);
        struct report report = try_policy(trials[i].decide, test);
        free(test);
        if (!trials[i].failure && report.failed)
            fail_msg("%s", report.failure);
        if (trials[i].failure && !strstr(report.failure, trials[i].failure))
            fail_msg("%s: %s, expected %s", trials[i].decide, report.failed ? report.failure : "it passed",
                     trials[i].failure);
        assert_int_equal(report.passed + report.failed, 1);
    }
}

/* ---- Declaring ------------------------------------------------------------------------------------------------ */

static int32_t call_nothing(void *arg, const hf_value *arguments, hf_arena *arena, hf_value *ret_result,
                            hf_error *error)
{
    (void)arena, (void)error, (void)arguments;
    *ret_result = hf_value_object(arg);
    return 0;
}

static void objects_go_to_policies_only(void **state)
{
    static const hf_lua_parameter members[] = {{"request.path", "the path", HF_VALUE_STRING, 0},
                                               {"request.headers", "by name", HF_LUA_OBJECT, 0}},
                                  nameless[] = {{NULL, "", HF_VALUE_STRING, 0}};
    hf_lua_catalog *catalog = calloc(1, sizeof *catalog);
    hf_decision_point good = {.size = sizeof good,
                              .name = "good",
                              .parameters = parameters,
                              .parameter_count = 2,
                              .members = members,
                              .member_count = 2};
    hf_decision_point bad[] = {
        {.size = sizeof bad[0], .name = "a", .result.type = HF_LUA_OBJECT},
        {.size = sizeof bad[0], .name = "b", .members = NULL, .member_count = 1},
        {.size = sizeof bad[0], .name = "c", .members = nameless, .member_count = 1},
        {.size = sizeof bad[0], .name = "d", .members = members, .member_count = 257},
    };
    hf_lua_function function = {
        .size = sizeof function, .name = "f", .parameters = parameters, .parameter_count = 1, .call = call_nothing};
    hf_error error = {0};

    (void)state;
    assert_non_null(catalog);
    assert_int_equal(hf_lua_catalog_add_point(catalog, &good, NULL), 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(hf_lua_catalog_add_point(catalog, &bad[i], NULL), HF_EINVAL);
    assert_int_equal(hf_lua_catalog_add_function(catalog, &function, &error), HF_EINVAL);
    assert_string_equal(error.message, "'f': 'request' has the type 7, expected HF_LUA_ANY or HF_VALUE_..., no object");
    free(catalog);
}

static void a_function_cannot_return_an_object(void **state)
{
    char *folder = make_folder();
    const char *path = folder;
    hf_lua_bundle *bundle = NULL;
    struct world world = {.problems.count = 0};
    hf_lua_function function = {
        .size = sizeof function, .name = "f", .call = call_nothing, .arg = &world.request.object};
    hf_value arguments[] = {hf_value_null()}, result;

    (void)state;
    request_init(&world.request);
    world.point = (hf_decision_point){
        .size = sizeof world.point, .name = "test.route", .parameters = parameters, .parameter_count = 1};
    assert_int_equal(hf_lua_catalog_add_point(&world.catalog, &world.point, NULL), 0);
    assert_int_equal(hf_lua_catalog_add_function(&world.catalog, &function, NULL), 0);
    write_file(folder, "route.lua", "return { point = 'test.route', decide = function() holdfast.f() end }");
    assert_int_equal(hf_lua_bundle_read(&(hf_strings){1, &path}, &bundle, &world.problems), 0);
    remove_folder(folder);
    assert_int_equal(
        hf_lua_state_create(&world.catalog, bundle, HF_LUA_FOR_DECISIONS, test_clock, &world.state, &world.problems),
        0);
    hf_lua_bundle_unref(bundle);
    hf_arena_init(&world.arena, 1 << 20);
    assert_int_equal(hf_lua_state_decide(world.state, 0, arguments, &world.arena, &result, &world.over, &world.error),
                     HF_EPOLICY);
    assert_non_null(strstr(world.error.message, "holdfast.f: an object cannot be passed on"));
    world_close(&world);
}

static void json_refuses_objects(void **state)
{
    struct request request;
    hf_value object, list, pair[2];
    hf_buffer buffer;

    (void)state;
    request_init(&request);
    object = hf_value_object(&request.object);
    pair[0] = hf_value_integer(1);
    pair[1] = object;
    list = hf_value_list(pair, 2);
    hf_buffer_init(&buffer, 1 << 10);
    assert_int_equal(hf_json_append(&buffer, &object), HF_EINVAL);
    assert_int_equal(hf_json_append_pretty(&buffer, &list), HF_EINVAL);
    assert_int_equal(buffer.size, 0);
    assert_int_equal(request.gets, 0);
    hf_buffer_done(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_read),
        cmocka_unit_test(misuse_is_told),
        cmocka_unit_test(only_what_is_read_is_asked_for),
        cmocka_unit_test(an_object_may_be_missing),
        cmocka_unit_test(what_is_kept_is_of_no_use_later),
        cmocka_unit_test(a_kept_object_can_still_be_told_apart),
        cmocka_unit_test(members_count_as_instructions),
        cmocka_unit_test(members_count_as_time),
        cmocka_unit_test(members_count_as_memory),
        cmocka_unit_test(a_decision_allocates_nothing_for_objects),
        cmocka_unit_test(tables_stand_in_for_objects),
        cmocka_unit_test(objects_go_to_policies_only),
        cmocka_unit_test(a_function_cannot_return_an_object),
        cmocka_unit_test(json_refuses_objects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
