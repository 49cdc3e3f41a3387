/* Lua's pattern matching with a budget; see pattern.h.
 *
 * The pattern language, the messages and the way of matching are those of lstrlib.c of Lua 5.4, of which this is a
 * rewriting under its licence:
 *
 *   Copyright (C) 1994-2022 Lua.org, PUC-Rio.
 *   Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
 *   documentation files (the "Software"), to deal in the Software without restriction, including without limitation
 *   the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and
 *   to permit persons to whom the Software is furnished to do so, subject to the following conditions: The above
 *   copyright notice and this permission notice shall be included in all copies or substantial portions of the
 *   Software.  THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT
 *   LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT.  IN NO EVENT
 *   SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION
 *   OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER
 *   DEALINGS IN THE SOFTWARE.
 */
#include "lua/pattern.h"

#include "lua/budget.h"

#include <ctype.h>
#include <lauxlib.h>
#include <string.h>

enum { CAPTURES_MAX = 32, DEPTH_MAX = 200, STEPS_PER_LOOK = 1024, STEPS_PER_INSTRUCTION = 8 };
enum { UNFINISHED = -1, POSITION = -2 }; /* sizes of captures */

#define ESCAPE '%'

struct match {
    lua_State *L;
    const char *subject, *subject_end, *pattern_end;
    uint32_t steps;
    int depth; /* left */
    int level; /* captures begun */
    struct {
        const char *start;
        ptrdiff_t size;
    } captures[CAPTURES_MAX];
};

static const char *match_here(struct match *m, const char *s, const char *p);

static void step(struct match *m)
{
    if (++m->steps % STEPS_PER_LOOK == 0)
        hf_lua_charge(m->L, STEPS_PER_LOOK / STEPS_PER_INSTRUCTION);
}

static unsigned char byte_at(const char *at)
{
    return (unsigned char)*at;
}

/* ---- Single characters ---------------------------------------------------------------------------------------- */

static const char *class_end(struct match *m, const char *p)
{
    if (p == m->pattern_end)
        luaL_error(m->L, "malformed pattern (ends with '%%')"); /* unreachable: the callers look first */
    if (*p++ == ESCAPE) {
        if (p == m->pattern_end)
            luaL_error(m->L, "malformed pattern (ends with '%%')");
        return p + 1;
    }
    if (p[-1] != '[')
        return p;
    if (p < m->pattern_end && *p == '^')
        p++;
    do { /* look for a ']' */
        if (p == m->pattern_end)
            luaL_error(m->L, "malformed pattern (missing ']')");
        step(m);
        if (*p++ == ESCAPE && p < m->pattern_end)
            p++; /* skip escapes such as '%]' */
    } while (p == m->pattern_end || *p != ']');
    return p + 1;
}

static int in_class(int c, int class)
{
    int result;

    switch (tolower(class)) {
    case 'a':
        result = isalpha(c);
        break;
    case 'c':
        result = iscntrl(c);
        break;
    case 'd':
        result = isdigit(c);
        break;
    case 'g':
        result = isgraph(c);
        break;
    case 'l':
        result = islower(c);
        break;
    case 'p':
        result = ispunct(c);
        break;
    case 's':
        result = isspace(c);
        break;
    case 'u':
        result = isupper(c);
        break;
    case 'w':
        result = isalnum(c);
        break;
    case 'x':
        result = isxdigit(c);
        break;
    default:
        return class == c;
    }
    return isupper(class) ? !result : result != 0;
}

/* `p` is at the '[' and `end` at the ']'. */
static int in_set(struct match *m, int c, const char *p, const char *end)
{
    int found = 1;

    if (p[1] == '^') {
        found = 0;
        p++;
    }
    while (++p < end) {
        step(m);
        if (*p == ESCAPE) {
            p++;
            if (in_class(c, byte_at(p)))
                return found;
        } else if (p[1] == '-' && p + 2 < end) {
            p += 2;
            if (byte_at(p - 2) <= c && c <= byte_at(p))
                return found;
        } else if (byte_at(p) == c) {
            return found;
        }
    }
    return !found;
}

static int single(struct match *m, const char *s, const char *p, const char *end)
{
    step(m);
    if (s >= m->subject_end)
        return 0;

    int c = byte_at(s);
    switch (*p) {
    case '.':
        return 1;
    case ESCAPE:
        return in_class(c, byte_at(p + 1));
    case '[':
        return in_set(m, c, p, end - 1);
    default:
        return byte_at(p) == c;
    }
}

/* ---- Repetitions ---------------------------------------------------------------------------------------------- */

static const char *match_balance(struct match *m, const char *s, const char *p)
{
    if (p >= m->pattern_end - 1)
        luaL_error(m->L, "malformed pattern (missing arguments to '%%b')");
    if (s >= m->subject_end || *s != *p)
        return NULL;

    int open = *p, close = p[1], depth = 1;
    while (++s < m->subject_end) {
        step(m);
        if (*s == close) {
            if (--depth == 0)
                return s + 1;
        } else if (*s == open) {
            depth++;
        }
    }
    return NULL;
}

static const char *match_most(struct match *m, const char *s, const char *p, const char *end)
{
    ptrdiff_t count = 0;

    while (single(m, s + count, p, end))
        count++;
    for (; count >= 0; count--) {
        const char *rest = match_here(m, s + count, end + 1);
        if (rest)
            return rest;
    }
    return NULL;
}

static const char *match_least(struct match *m, const char *s, const char *p, const char *end)
{
    for (;; s++) {
        const char *rest = match_here(m, s, end + 1);
        if (rest)
            return rest;
        if (!single(m, s, p, end))
            return NULL;
    }
}

static const char *match_frontier(struct match *m, const char *s, const char **p)
{
    *p += 2;
    if (*p == m->pattern_end || **p != '[')
        luaL_error(m->L, "missing '[' after '%%f' in pattern");

    const char *end = class_end(m, *p);
    int before = s == m->subject ? '\0' : byte_at(s - 1), after = s == m->subject_end ? '\0' : byte_at(s);
    int fits = !in_set(m, before, *p, end - 1) && in_set(m, after, *p, end - 1);

    *p = end;
    return fits ? s : NULL;
}

/* ---- Captures ------------------------------------------------------------------------------------------------- */

static const char *begin_capture(struct match *m, const char *s, const char *p, ptrdiff_t size)
{
    if (m->level >= CAPTURES_MAX)
        luaL_error(m->L, "too many captures");
    m->captures[m->level].start = s;
    m->captures[m->level].size = size;
    m->level++;

    const char *rest = match_here(m, s, p);
    if (!rest)
        m->level--;
    return rest;
}

static int capture_to_close(struct match *m)
{
    for (int level = m->level - 1; level >= 0; level--)
        if (m->captures[level].size == UNFINISHED)
            return level;
    return luaL_error(m->L, "invalid pattern capture");
}

static const char *end_capture(struct match *m, const char *s, const char *p)
{
    int level = capture_to_close(m);

    m->captures[level].size = s - m->captures[level].start;

    const char *rest = match_here(m, s, p);
    if (!rest)
        m->captures[level].size = UNFINISHED;
    return rest;
}

static const char *match_capture(struct match *m, const char *s, int digit)
{
    int level = digit - '1';

    if (level < 0 || level >= m->level || m->captures[level].size == UNFINISHED)
        luaL_error(m->L, "invalid capture index %%%d", level + 1);

    ptrdiff_t size = m->captures[level].size;
    if (size == POSITION) /* as in Lua: a position is longer than any text, so this never fits */
        return NULL;
    if (m->subject_end - s >= size && memcmp(m->captures[level].start, s, (size_t)size) == 0)
        return s + size;
    return NULL;
}

/* ---- The matcher ---------------------------------------------------------------------------------------------- */

/* An item that is a single character or a set, with what may follow it.  Returns 1 when matching goes on at *s and
 * *p, otherwise 0 and *s is the result. */
static int match_item(struct match *m, const char **s, const char **p)
{
    const char *end = class_end(m, *p), *rest;
    char follows = end < m->pattern_end ? *end : '\0';

    switch (follows) {
    case '?':
        if (single(m, *s, *p, end) && (rest = match_here(m, *s + 1, end + 1))) {
            *s = rest;
            return 0;
        }
        *p = end + 1;
        return 1;
    case '+':
        *s = single(m, *s, *p, end) ? match_most(m, *s + 1, *p, end) : NULL;
        return 0;
    case '*':
        *s = match_most(m, *s, *p, end);
        return 0;
    case '-':
        *s = match_least(m, *s, *p, end);
        return 0;
    default:
        if (!single(m, *s, *p, end)) {
            *s = NULL;
            return 0;
        }
        ++*s;
        *p = end;
        return 1;
    }
}

/* Items that begin with an escape and are more than one character.  Returns -1 when this is none, otherwise as
 * match_item. */
static int match_escape(struct match *m, const char **s, const char **p)
{
    char kind = *p + 1 < m->pattern_end ? (*p)[1] : '\0';

    if (kind == 'b') {
        *s = match_balance(m, *s, *p + 2);
        *p += 4;
    } else if (kind == 'f') {
        *s = match_frontier(m, *s, p);
    } else if (isdigit((unsigned char)kind)) {
        *s = match_capture(m, *s, (unsigned char)kind);
        *p += 2;
    } else {
        return -1;
    }
    return *s != NULL;
}

static const char *match_here(struct match *m, const char *s, const char *p)
{
    int go_on = 1;

    if (m->depth-- == 0)
        luaL_error(m->L, "pattern too complex");
    while (go_on && p != m->pattern_end) {
        step(m);
        go_on = -1;
        if (*p == '(') {
            int position = p + 1 < m->pattern_end && p[1] == ')';
            s = begin_capture(m, s, p + 1 + position, position ? POSITION : UNFINISHED);
            go_on = 0;
        } else if (*p == ')') {
            s = end_capture(m, s, p + 1);
            go_on = 0;
        } else if (*p == '$' && p + 1 == m->pattern_end) {
            s = s == m->subject_end ? s : NULL;
            go_on = 0;
        } else if (*p == ESCAPE) {
            go_on = match_escape(m, &s, &p);
        }
        if (go_on < 0)
            go_on = match_item(m, &s, &p);
    }
    m->depth++;
    return s;
}

static void begin(struct match *m, lua_State *L, const char *s, size_t s_size, const char *p, size_t p_size)
{
    m->L = L;
    m->subject = s;
    m->subject_end = s + s_size;
    m->pattern_end = p + p_size;
    m->steps = 0;
}

static const char *match_from(struct match *m, const char *s, const char *p)
{
    m->level = 0;
    m->depth = DEPTH_MAX;
    return match_here(m, s, p);
}

static const char *check_subject(lua_State *L, size_t *ret_size)
{
    const char *s = luaL_checklstring(L, 1, ret_size);

    if (*ret_size > HF_LUA_SUBJECT_MAX)
        luaL_error(L, "a text of %I bytes cannot be matched, at most %d are allowed", (lua_Integer)*ret_size,
                   HF_LUA_SUBJECT_MAX);
    hf_lua_charge(L, 10);
    return s;
}

/* ---- Results -------------------------------------------------------------------------------------------------- */

static void push_capture(struct match *m, int index, const char *s, const char *end)
{
    if (index >= m->level) {
        if (index != 0)
            luaL_error(m->L, "invalid capture index %%%d", index + 1);
        lua_pushlstring(m->L, s, (size_t)(end - s));
        return;
    }
    if (m->captures[index].size == UNFINISHED)
        luaL_error(m->L, "unfinished capture");
    if (m->captures[index].size == POSITION)
        lua_pushinteger(m->L, m->captures[index].start - m->subject + 1);
    else
        lua_pushlstring(m->L, m->captures[index].start, (size_t)m->captures[index].size);
}

/* All captures, or the whole match when there are none and `s` is given. */
static int push_captures(struct match *m, const char *s, const char *end)
{
    int count = m->level == 0 && s ? 1 : m->level;

    luaL_checkstack(m->L, count, "too many captures");
    for (int i = 0; i < count; i++)
        push_capture(m, i, s, end);
    return count;
}

/* The place where matching begins, counted from 0; past the end of the subject when `init` is. */
static size_t start_of(lua_Integer init, size_t size)
{
    if (init > 0)
        return (size_t)init - 1;
    if (init == 0 || init < -(lua_Integer)size)
        return 0;
    return size + (size_t)init;
}

static int has_specials(const char *p, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (p[i] && strchr("^$*+?.([%-", p[i]))
            return 1;
    return 0;
}

static int find_plain(lua_State *L, const char *s, size_t s_size, const char *p, size_t p_size, size_t start)
{
    const char *at = memmem(s + start, s_size - start, p, p_size);

    if (!at) {
        luaL_pushfail(L);
        return 1;
    }
    lua_pushinteger(L, at - s + 1);
    lua_pushinteger(L, at - s + (lua_Integer)p_size);
    return 2;
}

static int find_or_match(lua_State *L, int find)
{
    struct match m;
    size_t s_size, p_size;
    const char *s = check_subject(L, &s_size), *p = luaL_checklstring(L, 2, &p_size);
    size_t start = start_of(luaL_optinteger(L, 3, 1), s_size);

    if (start > s_size) {
        luaL_pushfail(L);
        return 1;
    }
    if (find && (lua_toboolean(L, 4) || !has_specials(p, p_size)))
        return find_plain(L, s, s_size, p, p_size, start);

    int anchored = p_size && *p == '^';
    begin(&m, L, s, s_size, p, p_size);
    for (const char *at = s + start; at <= m.subject_end; at++) {
        const char *end = match_from(&m, at, p + anchored);

        if (end && find) {
            lua_pushinteger(L, at - s + 1);
            lua_pushinteger(L, end - s);
            return push_captures(&m, NULL, NULL) + 2;
        }
        if (end)
            return push_captures(&m, at, end);
        if (anchored)
            break;
    }
    luaL_pushfail(L);
    return 1;
}

int hf_lua_string_find(lua_State *L)
{
    return find_or_match(L, 1);
}

int hf_lua_string_match(lua_State *L)
{
    return find_or_match(L, 0);
}

/* ---- gmatch --------------------------------------------------------------------------------------------------- */

/* Upvalues: subject, pattern, where to begin, and the end of the last match, which an empty one must not repeat. */
static int gmatch_next(lua_State *L)
{
    struct match m;
    size_t s_size, p_size;
    const char *s = lua_tolstring(L, lua_upvalueindex(1), &s_size);
    const char *p = lua_tolstring(L, lua_upvalueindex(2), &p_size);
    lua_Integer last = lua_tointeger(L, lua_upvalueindex(4));

    hf_lua_charge(L, 10);
    begin(&m, L, s, s_size, p, p_size);
    for (const char *at = s + lua_tointeger(L, lua_upvalueindex(3)); at <= m.subject_end; at++) {
        const char *end = match_from(&m, at, p);

        if (!end || end - s == last)
            continue;
        lua_pushinteger(L, end - s);
        lua_copy(L, -1, lua_upvalueindex(3));
        lua_replace(L, lua_upvalueindex(4));
        return push_captures(&m, at, end);
    }
    return 0;
}

int hf_lua_string_gmatch(lua_State *L)
{
    size_t s_size, p_size;

    check_subject(L, &s_size);
    luaL_checklstring(L, 2, &p_size);
    size_t start = start_of(luaL_optinteger(L, 3, 1), s_size);

    lua_settop(L, 2);
    lua_pushinteger(L, (lua_Integer)(start > s_size ? s_size + 1 : start));
    lua_pushinteger(L, -1);
    lua_pushcclosure(L, gmatch_next, 4);
    return 1;
}

/* ---- gsub ----------------------------------------------------------------------------------------------------- */

static void add_template(struct match *m, luaL_Buffer *buffer, const char *s, const char *end)
{
    size_t size;
    const char *text = lua_tolstring(m->L, 3, &size);

    for (size_t i = 0; i < size; i++) {
        if (text[i] != ESCAPE) {
            luaL_addchar(buffer, text[i]);
            continue;
        }
        i++;
        if (i < size && text[i] == ESCAPE) {
            luaL_addchar(buffer, ESCAPE);
        } else if (i < size && text[i] == '0') {
            luaL_addlstring(buffer, s, (size_t)(end - s));
        } else if (i < size && isdigit((unsigned char)text[i])) {
            push_capture(m, text[i] - '1', s, end);
            luaL_tolstring(m->L, -1, NULL); /* a position is a number */
            lua_remove(m->L, -2);
            luaL_addvalue(buffer);
        } else {
            luaL_error(m->L, "invalid use of '%c' in replacement string", ESCAPE);
        }
    }
}

/* Adds what stands for the match; returns whether something was replaced. */
static int add_replacement(struct match *m, luaL_Buffer *buffer, const char *s, const char *end, int type)
{
    lua_State *L = m->L;

    if (type == LUA_TFUNCTION) {
        lua_pushvalue(L, 3);
        lua_call(L, push_captures(m, s, end), 1);
    } else if (type == LUA_TTABLE) {
        push_capture(m, 0, s, end);
        lua_gettable(L, 3);
    } else {
        add_template(m, buffer, s, end);
        return 1;
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        luaL_addlstring(buffer, s, (size_t)(end - s));
        return 0;
    }
    if (!lua_isstring(L, -1))
        luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    luaL_addvalue(buffer);
    return 1;
}

int hf_lua_string_gsub(lua_State *L)
{
    struct match m;
    luaL_Buffer buffer;
    size_t s_size, p_size;
    const char *s = check_subject(L, &s_size), *p = luaL_checklstring(L, 2, &p_size), *last = NULL;
    int type = lua_type(L, 3), changed = 0;
    lua_Integer most = luaL_optinteger(L, 4, (lua_Integer)s_size + 1), count = 0;
    int anchored = p_size && *p == '^';

    luaL_argexpected(L, type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION || type == LUA_TTABLE, 3,
                     "string/function/table");
    begin(&m, L, s, s_size, p, p_size);
    luaL_buffinit(L, &buffer);
    while (count < most) {
        const char *end = match_from(&m, s, p + anchored);

        if (end && end != last) {
            count++;
            changed |= add_replacement(&m, &buffer, s, end, type);
            s = last = end;
        } else if (s < m.subject_end) {
            luaL_addchar(&buffer, *s++);
        } else {
            break;
        }
        if (anchored)
            break;
    }
    if (changed) {
        luaL_addlstring(&buffer, s, (size_t)(m.subject_end - s));
        luaL_pushresult(&buffer);
    } else {
        lua_pushvalue(L, 1);
    }
    lua_pushinteger(L, count);
    return 2;
}
