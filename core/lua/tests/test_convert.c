/* Shows that values go to Lua and come back as they were, and that what no value can hold is refused by name. */
#include "fixture.h"

#include "lua/convert.h"

#include <lauxlib.h>
#include <lualib.h>

static lua_State *L;
static hf_arena arena;

static int set_up(void **state)
{
    (void)state;
    L = luaL_newstate();
    luaL_openlibs(L);
    hf_arena_init(&arena, 64 << 20);
    return !L;
}

static int tear_down(void **state)
{
    (void)state;
    lua_close(L);
    hf_arena_done(&arena);
    return 0;
}

static void values_come_back(void **state)
{
    static const char *const documents[] = {
        "true",
        "0",
        "-9223372036854775808",
        "9223372036854775807",
        "0.5",
        "1e+300",
        "\"\"",
        "\"text ä \\u0000 zero\"",
        "[]",
        "[1,2.5,\"x\",[true,false],{\"a\":1}]",
        "{\"a\":{\"b\":{\"c\":[1,2,3]}},\"d\":\"e\",\"z\":1}",
        "[[[[[[[[[[1]]]]]]]]]]",
    };

    (void)state;
    for (size_t i = 0; i < sizeof documents / sizeof documents[0]; i++) {
        hf_lua_parameter expected = {.name = "value", .type = HF_LUA_ANY};
        hf_value value = from_json(documents[i], &arena), back;

        hf_lua_push_value(L, &value);
        assert_int_equal(hf_lua_read_value(L, -1, &expected, &arena, &back, NULL), 0);
        char *text = as_json(&back);
        assert_string_equal(text, documents[i]);
        free(text);
        assert_int_equal(lua_gettop(L), 1);
        lua_settop(L, 0);
    }
}

static int32_t read_expression(const char *expression, int32_t type, hf_value *ret_value, hf_error *error)
{
    hf_lua_parameter expected = {.name = "it", .type = type};
    char chunk[512];

    lua_settop(L, 0);
    snprintf(chunk, sizeof chunk, strstr(expression, "return") ? "%s" : "return %s", expression);
    if (luaL_dostring(L, chunk) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    lua_settop(L, 1);
    return hf_lua_read_value(L, 1, &expected, &arena, ret_value, error);
}

static const struct {
    const char *expression;
    int32_t type;
    const char *json;
} readable[] = {
    {"nil", HF_LUA_ANY, "null"},
    {"nil", HF_VALUE_NULL, "null"},
    {"nil", HF_VALUE_MAP, "null"},
    {"{}", HF_VALUE_MAP, "{}"},
    {"{}", HF_VALUE_LIST, "[]"},
    {"{}", HF_LUA_ANY, "[]"},
    {"{ a = {} }", HF_VALUE_MAP, "{\"a\":{}}"},
    {"{ a = {} }", HF_LUA_ANY, "{\"a\":[]}"},
    {"{ z = 1, a = 2, m = 3, ab = 4 }", HF_VALUE_MAP, "{\"a\":2,\"ab\":4,\"m\":3,\"z\":1}"},
    {"{ [2] = 'b', [1] = 'a' }", HF_VALUE_LIST, "[\"a\",\"b\"]"},
    {"3", HF_VALUE_FLOAT, "3.0"},
    {"3.0", HF_VALUE_INTEGER, "3"},
    {"-2.0^63", HF_VALUE_INTEGER, "-9223372036854775808"},
    {"1 << 63", HF_VALUE_INTEGER, "-9223372036854775808"},
    {"local t = { 1 } return { t, t }", HF_VALUE_LIST, "[[1],[1]]"},
    {"setmetatable({ a = 1 }, { __index = { b = 2 }, __pairs = error, __len = error })", HF_VALUE_MAP, "{\"a\":1}"},
};

static void tables_are_read_as_expected(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof readable / sizeof readable[0]; i++) {
        hf_error error = {0};
        hf_value value;

        if (read_expression(readable[i].expression, readable[i].type, &value, &error))
            fail_msg("%s: %s", readable[i].expression, error.message);
        char *text = as_json(&value);
        if (strcmp(text, readable[i].json) != 0 && !(value.type == HF_VALUE_FLOAT && value.as.number == 3))
            fail_msg("%s: %s, expected %s", readable[i].expression, text, readable[i].json);
        free(text);
        assert_int_equal(lua_gettop(L), 1);
    }
}

static const struct {
    const char *expression;
    int32_t type;
    const char *message;
} refused[] = {
    {"nil", HF_VALUE_INTEGER, "it is null, expected an integer"},
    {"nil", HF_VALUE_LIST, "it is null, expected a list"},
    {"1", HF_VALUE_NULL, "it is an integer, expected null"},
    {"'1'", HF_VALUE_INTEGER, "it is a string, expected an integer"},
    {"1", HF_VALUE_STRING, "it is an integer, expected a string"},
    {"1.5", HF_VALUE_INTEGER, "it is a float, expected an integer"},
    {"2.0^63", HF_VALUE_INTEGER, "it is a float, expected an integer"},
    {"{ 1 }", HF_VALUE_MAP, "it is a list, expected a map"},
    {"{ a = 1 }", HF_VALUE_LIST, "it is a map, expected a list"},
    {"0/0", HF_LUA_ANY, "it: a number that is not finite"},
    {"math.huge", HF_VALUE_FLOAT, "it: a number that is not finite"},
    {"{ a = { -math.huge } }", HF_LUA_ANY, "it.a[1]: a number that is not finite"},
    {"print", HF_LUA_ANY, "it: a function cannot be passed on"},
    {"{ a = { b = io.stdout } }", HF_LUA_ANY, "it.a.b: a userdata cannot be passed on"},
    {"{ 1, 2, a = 3 }", HF_LUA_ANY, "neither a map nor a list"},
    {"{ [1] = 1, [3] = 3 }", HF_LUA_ANY, "it[2]: it is missing"},
    {"{ [0] = 1 }", HF_LUA_ANY, "it[1]: it is missing"},
    {"{ [1.5] = 1 }", HF_LUA_ANY, "a table's keys are strings, or 1 to n"},
    {"{ [true] = 1 }", HF_LUA_ANY, "a table's keys are strings, or 1 to n"},
    {"'\\xff'", HF_LUA_ANY, "not UTF-8"},
    {"{ ['\\xc0'] = 1 }", HF_LUA_ANY, "not UTF-8"},
    {"local t = {} t.t = t return t", HF_LUA_ANY, "it.t: the table contains itself"},
    {"local t = {} t[1] = { { t, t }, t } return t", HF_LUA_ANY, "the table contains itself"},
    {"local t = {} for i = 1, 32 do t = { t } end return t", HF_LUA_ANY, "more than 32 levels"},
    {"local t = 1 for i = 1, 30 do t = { t, t } end return t", HF_LUA_ANY, "more than 100,000 values"},
    {"local t = {} for i = 1, 100001 do t[i] = i end return t", HF_LUA_ANY, "more than 100,000 values"},
};

static void what_no_value_can_hold_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        hf_error error = {0};
        hf_value value = hf_value_integer(77);

        if (!read_expression(refused[i].expression, refused[i].type, &value, &error))
            fail_msg("this was read: %s", refused[i].expression);
        if (!strstr(error.message, refused[i].message))
            fail_msg("%s: %s, expected %s", refused[i].expression, error.message, refused[i].message);
        assert_int_equal(value.as.integer, 77);
        assert_int_equal(lua_gettop(L), 1);
    }
}

static void a_full_arena_is_told(void **state)
{
    hf_lua_parameter expected = {.name = "it", .type = HF_LUA_ANY};
    hf_error error = {0};
    hf_value value;
    hf_arena small;

    (void)state;
    hf_arena_init(&small, 4096);
    lua_settop(L, 0);
    assert_int_equal(luaL_dostring(L, "return { a = { ('x'):rep(5000) } }"), LUA_OK);
    assert_int_equal(hf_lua_read_value(L, -1, &expected, &small, &value, &error), HF_ENOMEM);
    assert_non_null(strstr(error.message, "it.a[1]: no memory"));
    hf_arena_done(&small);
}

static int push_argument(lua_State *state)
{
    hf_lua_push_value(state, lua_touserdata(state, 1));
    return 1;
}

static void values_that_are_too_deep_are_refused(void **state)
{
    hf_value value = hf_value_integer(1), levels[40];

    (void)state;
    for (int i = 0; i < 40; i++) {
        levels[i] = i ? hf_value_list(&levels[i - 1], 1) : value;
        lua_settop(L, 0);
        lua_pushcfunction(L, push_argument);
        lua_pushlightuserdata(L, &levels[i]);
        assert_int_equal(lua_pcall(L, 1, 1, 0), i <= HF_LUA_DEPTH_MAX ? LUA_OK : LUA_ERRRUN);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_back),
        cmocka_unit_test(tables_are_read_as_expected),
        cmocka_unit_test(what_no_value_can_hold_is_refused),
        cmocka_unit_test(a_full_arena_is_told),
        cmocka_unit_test(values_that_are_too_deep_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
