/* host/lua.h: decisions that a site makes in Lua: host->query(host, "hf.lua/1").
 *
 * A plugin declares decision points and functions before the process runs.  A policy is a Lua file that names a point
 * and returns a function for it; each loop has its own Lua state, so a decision is one call without a lock.
 *
 * Changes
 *   1.0  first version
 */
#ifndef HOLDFAST_HOST_LUA_H
#define HOLDFAST_HOST_LUA_H

#include <holdfast/lib/arena.h>
#include <holdfast/lib/value.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HF_LUA_INTERFACE "hf.lua/1"

typedef struct hf_decision hf_decision;

/* Types of parameters: HF_VALUE_..., or one of these. */
enum {
    HF_LUA_ANY = -1,                /* any but an object */
    HF_LUA_OBJECT = HF_VALUE_OBJECT /* an hf_lua_object, or null; only for parameters of decision points */
};

/* An argument, or a member of one, of which a policy reads only what it needs: request.path asks for "path", and
 * request.headers["x-user"] for "headers", which is an object too, and that for "x-user".  Handing one over costs
 * nothing; policies cannot change it, list its members, return it, or read it after the decision. */
typedef struct hf_lua_object hf_lua_object;

struct hf_lua_object {
    uint32_t size; /* sizeof(hf_lua_object) */
    uint32_t reserved;
    const char *name; /* for messages: "request", "request.headers"; static */

    /* Gives the member `name`: any value but lists and maps with objects in them; null when there is none, as for a
     * name that means nothing.  What *ret_value refers to, objects too, lies in the arena, which is that of decide, or
     * stays as it is until decide returns.  Strings may hold any bytes.  A member that is an object is the same one
     * each time; a decision can use 256.  Must not take longer than some microseconds, and must not ask for a
     * decision.  Any error is a Lua error for the policy, with the message; it may catch it.  [loop] */
    int32_t (*get)(const hf_lua_object *object, hf_slice name, hf_arena *arena, hf_value *ret_value, hf_error *error);

    void *arg; /* the owner's */
};

typedef struct hf_lua_parameter {
    const char *name;
    const char *doc;
    int32_t type; /* HF_VALUE_..., HF_LUA_ANY or HF_LUA_OBJECT; HF_VALUE_FLOAT accepts integers */
    uint32_t reserved;
} hf_lua_parameter;

/* A place where a policy may decide.  All strings are static. */
typedef struct hf_decision_point {
    uint32_t size;            /* sizeof(hf_decision_point) */
    uint32_t parameter_count; /* up to 8 */
    const char *name;         /* "remediation.on_signal" */
    const char *doc;          /* when it is asked, and what the answer does */
    const hf_lua_parameter *parameters;
    hf_lua_parameter result;      /* type HF_VALUE_NULL: no result is expected */
    const char *default_doc;      /* what happens without a policy, or when it fails */
    uint64_t instruction_maximum; /* of the Lua machine, for one decision; 0: 100,000 */
    uint64_t memory_maximum;      /* bytes that the policy's state may hold; 0: 8 MiB */

    /* What objects have, for people: {"request.path", "without the query", HF_VALUE_STRING}.  Not checked. */
    const hf_lua_parameter *members;
    uint32_t member_count; /* up to 256 */
    uint32_t reserved;
} hf_decision_point;

/* A function that policies can call as holdfast.NAME(...).  It gets exactly the declared parameters, checked.  Returns
 * 0 with *ret_result (in the arena, or static), or an error, which the policy sees as a Lua error. */
typedef struct hf_lua_function {
    uint32_t size;            /* sizeof(hf_lua_function) */
    uint32_t parameter_count; /* up to 8 */
    const char *name;         /* "time": holdfast.time() */
    const char *doc;
    const hf_lua_parameter *parameters;
    int32_t (*call)(void *arg, const hf_value *arguments, hf_arena *arena, hf_value *ret_result, hf_error *error);
    void *arg;
} hf_lua_function;

typedef struct hf_lua_interface {
    hf_head head;

    /* Declares a decision point.  HF_EEXIST, HF_EINVAL, HF_ENOMEM.  [main], before the loops run */
    int32_t (*declare)(const hf_host *host, const hf_decision_point *point, hf_decision **ret_decision,
                       hf_error *error);

    /* Offers a function to policies.  Errors as above.  [main], before the loops run */
    int32_t (*offer)(const hf_host *host, const hf_lua_function *function, hf_error *error);

    /* Asks the policy; arguments as many as declared; an object as hf_value_object.  The result lies in the arena and
     * has the declared type; where that is a map it may also be HF_VALUE_NULL: the policy wants nothing.  HF_ENOTFOUND:
     * no policy is installed, take the default; HF_EPOLICY: it failed, overran its budget or answered with a wrong type
     * (counted, and logged with its traceback), or is switched off because it did so again and again: take the default;
     * HF_ENOMEM: the arena is full; HF_ESTATE: not on a loop.  [loops] */
    int32_t (*decide)(hf_decision *decision, const hf_value *arguments, hf_arena *arena, hf_value *ret_result,
                      hf_error *error);

    /* Whether a policy is installed for this point: lets a caller skip building arguments.  [any] */
    int32_t (*has_policy)(const hf_decision *decision);
} hf_lua_interface;

#ifdef __cplusplus
}
#endif
#endif
