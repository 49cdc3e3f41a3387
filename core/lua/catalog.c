/* Declared decision points and functions; see catalog.h. */
#include "lua/catalog.h"

#include <holdfast/lib/error.h>
#include <string.h>

static int32_t check_name(const char *what, const char *name, const char *allowed, hf_error *error)
{
    if (!name || !*name || (*name >= '0' && *name <= '9') || strlen(name) > 100 ||
        strspn(name, allowed) != strlen(name))
        return hf_error_set(error, HF_EINVAL, "%s '%s': expected a name of lower-case letters, digits and '%s'", what,
                            name ? name : "", strchr(allowed, '.') ? "_', '." : "_");
    return 0;
}

/* `last` is the last HF_VALUE_... that is allowed: objects go to policies and never leave them. */
static int32_t check_type(const char *owner, const char *name, int32_t type, int32_t last, hf_error *error)
{
    if (type < HF_LUA_ANY || type > last)
        return hf_error_set(error, HF_EINVAL, "'%s': '%s' has the type %d, expected HF_LUA_ANY or HF_VALUE_...%s",
                            owner, name, type, last < HF_LUA_OBJECT ? ", no object" : "");
    return 0;
}

static int32_t check_types(const char *owner, const hf_lua_parameter *parameters, uint32_t count, int32_t last,
                           hf_error *error)
{
    int32_t result = 0;

    for (uint32_t i = 0; !result && i < count; i++)
        result = parameters[i].name ? check_type(owner, parameters[i].name, parameters[i].type, last, error)
                                    : hf_error_set(error, HF_EINVAL, "'%s': a parameter has no name", owner);
    return result;
}

static int32_t check_parameters(const char *owner, const hf_lua_parameter *parameters, uint32_t count, int32_t last,
                                hf_error *error)
{
    if (count > HF_LUA_PARAMETERS_MAX || (count && !parameters))
        return hf_error_set(error, HF_EINVAL, "'%s' declares %u parameters, expected 0 to %d", owner, count,
                            HF_LUA_PARAMETERS_MAX);
    return check_types(owner, parameters, count, last, error);
}

static int32_t check_members(const hf_decision_point *point, hf_error *error)
{
    if (point->member_count > HF_LUA_MEMBERS_MAX || (point->member_count && !point->members))
        return hf_error_set(error, HF_EINVAL, "'%s' declares %u members of objects, expected 0 to %d", point->name,
                            point->member_count, HF_LUA_MEMBERS_MAX);
    return check_types(point->name, point->members, point->member_count, HF_LUA_OBJECT, error);
}

int32_t hf_lua_catalog_add_point(hf_lua_catalog *catalog, hf_decision_point *point, hf_error *error)
{
    int32_t result = check_name("decision point", point->name, "abcdefghijklmnopqrstuvwxyz0123456789_.", error);

    if (!result)
        result = check_parameters(point->name, point->parameters, point->parameter_count, HF_LUA_OBJECT, error);
    if (!result)
        result = check_members(point, error);
    if (!result)
        result = check_type(point->name, "result", point->result.type, HF_VALUE_MAP, error);
    if (result)
        return result;
    if (hf_lua_catalog_point(catalog, point->name) >= 0)
        return hf_error_set(error, HF_EEXIST, "decision point '%s' is declared already", point->name);
    if (catalog->point_count == HF_LUA_POINTS_MAX)
        return hf_error_set(error, HF_ETOOLARGE, "decision point '%s': there are %d, no more are kept", point->name,
                            HF_LUA_POINTS_MAX);
    if (!point->instruction_maximum)
        point->instruction_maximum = HF_LUA_INSTRUCTIONS_DEFAULT;
    if (!point->memory_maximum)
        point->memory_maximum = HF_LUA_MEMORY_DEFAULT;
    catalog->points[catalog->point_count++] = point;
    return 0;
}

int32_t hf_lua_catalog_add_function(hf_lua_catalog *catalog, hf_lua_function *function, hf_error *error)
{
    int32_t result = check_name("Lua function", function->name, "abcdefghijklmnopqrstuvwxyz0123456789_", error);

    if (!result)
        result = check_parameters(function->name, function->parameters, function->parameter_count, HF_VALUE_MAP, error);
    if (!result && !function->call)
        result = hf_error_set(error, HF_EINVAL, "Lua function '%s' has nothing to call", function->name);
    if (result)
        return result;
    if (hf_lua_catalog_function(catalog, function->name) >= 0 || strcmp(function->name, "log") == 0 ||
        strcmp(function->name, "now") == 0)
        return hf_error_set(error, HF_EEXIST, "Lua function 'holdfast.%s' exists already", function->name);
    if (catalog->function_count == HF_LUA_FUNCTIONS_MAX)
        return hf_error_set(error, HF_ETOOLARGE, "Lua function '%s': there are %d, no more are kept", function->name,
                            HF_LUA_FUNCTIONS_MAX);
    catalog->functions[catalog->function_count++] = function;
    return 0;
}

int32_t hf_lua_catalog_point(const hf_lua_catalog *catalog, const char *name)
{
    for (uint32_t i = 0; i < catalog->point_count; i++)
        if (strcmp(catalog->points[i]->name, name) == 0)
            return (int32_t)i;
    return -1;
}

int32_t hf_lua_catalog_function(const hf_lua_catalog *catalog, const char *name)
{
    for (uint32_t i = 0; i < catalog->function_count; i++)
        if (strcmp(catalog->functions[i]->name, name) == 0)
            return (int32_t)i;
    return -1;
}

uint64_t hf_lua_catalog_memory(const hf_lua_catalog *catalog)
{
    uint64_t most = 0;

    for (uint32_t i = 0; i < catalog->point_count; i++)
        if (catalog->points[i]->memory_maximum > most)
            most = catalog->points[i]->memory_maximum;
    return most ? most : HF_LUA_MEMORY_DEFAULT;
}
