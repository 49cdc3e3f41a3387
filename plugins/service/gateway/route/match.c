#include "route/match.h"

#include <holdfast/lib/value.h>

#include <string.h>

int32_t gateway_host_matches(hf_slice pattern, hf_slice host)
{
    if (!hf_slice_begins(pattern, hf_slice_of("*.")))
        return hf_http1_same(pattern, host);
    hf_slice below = {pattern.data + 1, pattern.size - 1}; /* ".a.example" */

    return host.size > below.size && hf_http1_same(below, (hf_slice){host.data + host.size - below.size, below.size});
}

static int any_host_matches(const struct gateway_rule *rule, hf_slice host)
{
    for (uint32_t i = 0; i < rule->host_count; i++)
        if (gateway_host_matches(rule->hosts[i], host))
            return 1;
    return rule->host_count == 0;
}

static int any_method_matches(const struct gateway_rule *rule, hf_slice method)
{
    for (uint32_t i = 0; i < rule->method_count; i++)
        if (hf_slice_equal(rule->methods[i], method))
            return 1;
    return rule->method_count == 0;
}

static int path_matches(const struct gateway_rule *rule, hf_slice path)
{
    if (!hf_slice_begins(path, rule->path))
        return 0;
    if (path.size == rule->path.size || rule->path.size == 0)
        return 1;
    return rule->path_test == GATEWAY_PATH_PREFIX &&
           (rule->path.data[rule->path.size - 1] == '/' || path.data[rule->path.size] == '/');
}

static int holds(const struct gateway_condition *condition, const struct gateway_request *request, hf_arena *arena)
{
    hf_slice value = condition->of == GATEWAY_OF_FIELD    ? gateway_request_field(request, condition->name)
                     : condition->of == GATEWAY_OF_COOKIE ? gateway_request_cookie(request, condition->name)
                                                          : gateway_request_argument(request, condition->name, arena);

    switch (condition->test) {
    case GATEWAY_IS_PRESENT:
        return value.data != NULL;
    case GATEWAY_IS_ABSENT:
        return value.data == NULL;
    case GATEWAY_IS_EQUAL:
        return value.data && hf_slice_equal(value, condition->value);
    default:
        return value.data && hf_slice_begins(value, condition->value);
    }
}

int32_t gateway_rule_matches(const struct gateway_rule *rule, const struct gateway_request *request, hf_arena *arena)
{
    if (!any_host_matches(rule, request->host) || !path_matches(rule, request->path) ||
        !any_method_matches(rule, request->head->method))
        return 0;
    for (uint32_t i = 0; i < rule->condition_count; i++)
        if (!holds(&rule->conditions[i], request, arena))
            return 0;
    return 1;
}

int32_t gateway_match(const struct gateway_rule *rules, uint32_t count, const struct gateway_request *request,
                      hf_arena *arena)
{
    for (uint32_t i = 0; i < count; i++)
        if (gateway_rule_matches(&rules[i], request, arena))
            return (int32_t)i;
    return -1;
}
