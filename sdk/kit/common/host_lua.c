/* hf.lua/1: takes declarations and has no policy for any of them. */
#include "host_private.h"

#include <holdfast/lib/error.h>
#include <stdlib.h>
#include <string.h>

enum { PARAMETERS_MAX = 8, MEMBERS_MAX = 256 };

struct hf_decision {
    hf_decision *next;
    hf_kit_host *host;
    const char *name;
    int32_t is_function;
};

/* `most` of them, and none of a type after `last`. */
static void check_parameters(const char *name, const hf_lua_parameter *parameters, uint32_t count, uint32_t most,
                             int32_t last)
{
    if (count > most || (count && !parameters))
        hf_kit_fail("'%s' has %u parameters or members, or says nothing about them; at most %u are allowed", name,
                    count, most);
    for (uint32_t i = 0; i < count; i++)
        if (!parameters[i].name || !*parameters[i].name || !parameters[i].doc || parameters[i].type < HF_LUA_ANY ||
            parameters[i].type > last)
            hf_kit_fail("the parameter or member %u of '%s' has a wrong name, doc or type", i, name);
}

static int32_t keep(hf_kit_host *kit, const char *name, int32_t is_function, hf_decision **ret_decision,
                    hf_error *error)
{
    for (const hf_decision *one = kit->decisions; one; one = one->next)
        if (one->is_function == is_function && strcmp(one->name, name) == 0)
            return hf_error_set(error, HF_EEXIST, "'%s' is declared already", name);
    hf_decision *decision = kit_allocate(sizeof *decision);
    *decision = (hf_decision){kit->decisions, kit, name, is_function};
    kit->decisions = decision;
    *ret_decision = decision;
    return HF_OK;
}

static int32_t declare(const hf_host *host, const hf_decision_point *point, hf_decision **ret_decision, hf_error *error)
{
    kit_must_declare(kit_of(host), "hf.lua/1 declare");
    if (point->size < offsetof(hf_decision_point, members) || !point->name || !*point->name || !point->doc ||
        !*point->doc || !point->default_doc)
        hf_kit_fail("the decision point '%s' was declared with a wrong size, name or doc",
                    point->name ? point->name : "(null)");
    check_parameters(point->name, point->parameters, point->parameter_count, PARAMETERS_MAX, HF_LUA_OBJECT);
    if (point->result.type < HF_LUA_ANY || point->result.type > HF_VALUE_MAP)
        hf_kit_fail("the result of '%s' has a wrong type", point->name);
    if (point->size >= sizeof *point) /* one that was built earlier has no members */
        check_parameters(point->name, point->members, point->member_count, MEMBERS_MAX, HF_LUA_OBJECT);
    return keep(kit_of(host), point->name, 0, ret_decision, error);
}

static int32_t offer(const hf_host *host, const hf_lua_function *function, hf_error *error)
{
    hf_decision *kept = NULL;

    kit_must_declare(kit_of(host), "hf.lua/1 offer");
    if (function->size < sizeof *function || !function->name || !*function->name || !function->doc || !function->call)
        hf_kit_fail("the Lua function '%s' was offered with a wrong size, name, doc or function",
                    function->name ? function->name : "(null)");
    check_parameters(function->name, function->parameters, function->parameter_count, PARAMETERS_MAX, HF_VALUE_MAP);
    return keep(kit_of(host), function->name, 1, &kept, error);
}

static int32_t decide(hf_decision *decision, const hf_value *arguments, hf_arena *arena, hf_value *ret_result,
                      hf_error *error)
{
    (void)arguments, (void)arena, (void)ret_result;
    if (!kit_on_thread(decision->host) || !decision->host->running)
        return hf_error_set(error, HF_ESTATE, "'%s' was asked for on a thread without a loop", decision->name);
    return hf_error_set(error, HF_ENOTFOUND, "no policy is installed for '%s'", decision->name);
}

static int32_t has_policy(const hf_decision *decision)
{
    (void)decision;
    return 0;
}

const hf_lua_interface kit_lua_interface = {
    .head = HF_HEAD(hf_lua_interface),
    .declare = declare,
    .offer = offer,
    .decide = decide,
    .has_policy = has_policy,
};

void kit_decisions_destroy(hf_kit_host *host)
{
    while (host->decisions) {
        hf_decision *decision = host->decisions;
        host->decisions = decision->next;
        free(decision);
    }
}
