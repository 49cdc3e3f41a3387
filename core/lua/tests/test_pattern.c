/* Compares the counted pattern matching with Lua's own: the same results and the same errors for random patterns. */
#include "fixture.h"

#include "loop/loop.h"
#include "lua/budget.h"
#include "lua/pattern.h"

#include <lauxlib.h>
#include <lualib.h>

#ifdef __SANITIZE_THREAD__
enum { ROUNDS = 1000 }; /* its longjmp becomes slower with each error */
#else
enum { ROUNDS = 30000 };
#endif

static hf_lua_budget budget;

static lua_State *open_lua(void)
{
    lua_State *L = luaL_newstate();
    hf_lua_budget outer;

    assert_non_null(L);
    budget = (hf_lua_budget){.clock_us = hf_clock_us, .memory_maximum = UINT64_MAX};
    *(hf_lua_budget **)lua_getextraspace(L) = &budget;
    luaL_openlibs(L);
    hf_lua_budget_begin(L, UINT64_MAX, UINT64_C(1) << 40, &outer);
    lua_newtable(L);
    lua_pushcfunction(L, hf_lua_string_find);
    lua_setfield(L, -2, "find");
    lua_pushcfunction(L, hf_lua_string_match);
    lua_setfield(L, -2, "match");
    lua_pushcfunction(L, hf_lua_string_gmatch);
    lua_setfield(L, -2, "gmatch");
    lua_pushcfunction(L, hf_lua_string_gsub);
    lua_setfield(L, -2, "gsub");
    lua_setglobal(L, "ours");
    return L;
}

/* describe(library, subject, pattern) is everything that the four functions say, as one text. */
static const char describe[] =
    "local function show(ok, ...)\n"
    "  local t = table.pack(...)\n"
    "  for i = 1, t.n do t[i] = math.type(t[i]) == 'integer' and '#' .. t[i] or tostring(t[i]) end\n"
    "  return tostring(ok) .. '(' .. table.concat(t, ',', 1, t.n) .. ')'\n"
    "end\n"
    "local function all(library, s, p, init)\n"
    "  local found = {}\n"
    "  for a, b in library.gmatch(s, p, init) do found[#found + 1] = tostring(a) .. ':' .. tostring(b) end\n"
    "  return table.concat(found, ';')\n"
    "end\n"
    "function describe(library, s, p, init)\n"
    "  return table.concat({\n"
    "    show(pcall(library.find, s, p, init)), show(pcall(library.match, s, p, init)),\n"
    "    show(pcall(library.find, s, p, init, true)), show(pcall(all, library, s, p, init)),\n"
    "    show(pcall(library.gsub, s, p, '<%0%1>')), show(pcall(library.gsub, s, p, '%2%%', 2)),\n"
    "    show(pcall(library.gsub, s, p, function(a, b) return b end)),\n"
    "    show(pcall(library.gsub, s, p, { a = 'A', b = false, [1] = 7 })),\n"
    "    show(pcall(library.gsub, s, p, 'x%')),\n"
    "  }, '\\n')\n"
    "end\n";

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static size_t random_text(uint64_t *seed, const char *const *pieces, size_t count, size_t most, char *text)
{
    size_t size = 0, length = next_random(seed) % (most + 1);

    for (size_t i = 0; i < length; i++) {
        const char *piece = pieces[next_random(seed) % count];
        size_t piece_size = *piece ? strlen(piece) : 1; /* "" stands for a zero byte */
        memcpy(text + size, piece, piece_size);
        size += piece_size;
    }
    return size;
}

static const char *call_describe(lua_State *L, const char *library, const char *s, size_t s_size, const char *p,
                                 size_t p_size, lua_Integer init)
{
    lua_getglobal(L, "describe");
    lua_getglobal(L, library);
    lua_pushlstring(L, s, s_size);
    lua_pushlstring(L, p, p_size);
    lua_pushinteger(L, init);
    if (lua_pcall(L, 4, 1, 0) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    return lua_tostring(L, -1);
}

static void random_patterns_match_as_in_lua(void **state)
{
    static const char *const letters[] = {"a", "b", "1", " ", "(", ")", "-", "", "A", "%"};
    static const char *const pieces[] = {
        "a",   "b", ".",  "%a",  "%d", "%S",   "[ab]", "[^a]",   "[a-b1]", "[%a-]", "*",  "+", "-", "?",
        "(",   ")", "()", "%1",  "%2", "%b()", "%f[",  "%f[%w]", "^",      "$",     "%",  "[", "]", "[]]",
        "[^]", "",  "%b", "%ba", "%%", "(a*)", "(.-)", "%w+",    "%s*",    "[a",    "%x", "[%"};
    lua_State *L = open_lua();
    uint64_t seed = 0x9e3779b97f4a7c15;

    (void)state;
    assert_int_equal(luaL_dostring(L, describe), LUA_OK);
    for (int i = 0; i < ROUNDS; i++) {
        char s[64], p[256];
        size_t s_size = random_text(&seed, letters, 10, 10, s);
        size_t p_size = random_text(&seed, pieces, sizeof pieces / sizeof pieces[0], 6, p);
        lua_Integer init = (lua_Integer)(next_random(&seed) % 16) - 4;
        const char *theirs = call_describe(L, "string", s, s_size, p, p_size, init);
        const char *ours = call_describe(L, "ours", s, s_size, p, p_size, init);

        if (strcmp(theirs, ours) != 0)
            fail_msg("'%.*s' ~ '%.*s' from %d:\n%s\n--- expected ---\n%s", (int)s_size, s, (int)p_size, p, (int)init,
                     ours, theirs);
        lua_settop(L, 0);
    }
    lua_close(L);
}

static void deep_patterns_are_refused(void **state)
{
    lua_State *L = open_lua();

    (void)state;
    assert_int_equal(luaL_dostring(L, "local ok, e = pcall(ours.find, ('a'):rep(1000), ('a?'):rep(1000) .. 'b') "
                                      "return e"),
                     LUA_OK);
    assert_non_null(strstr(lua_tostring(L, -1), "pattern too complex"));
    lua_close(L);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_patterns_match_as_in_lua),
        cmocka_unit_test(deep_patterns_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
