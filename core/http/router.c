/* Routes as patterns of segments; see router.h. */
#include "http/router.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/value.h>
#include <stdlib.h>
#include <string.h>

static int is_parameter(hf_slice segment)
{
    return segment.size > 2 && segment.data[0] == '{' && segment.data[segment.size - 1] == '}';
}

/* Divides "/a/b" into {"a", "b"}; "/" has none.  Returns how many, or UINT32_MAX when there are too many. */
static uint32_t split(hf_slice path, hf_slice segments[HF_ROUTER_SEGMENTS_MAX])
{
    uint32_t count = 0;

    for (uint64_t at = 0; at < path.size; count++) {
        uint64_t begin = at + 1; /* behind the slash */

        if (begin == path.size && count == 0)
            return 0;
        if (count == HF_ROUTER_SEGMENTS_MAX)
            return UINT32_MAX;
        const uint8_t *slash = begin < path.size ? memchr(path.data + begin, '/', path.size - begin) : NULL;
        at = slash ? (uint64_t)(slash - path.data) : path.size;
        segments[count] = (hf_slice){path.data + begin, at - begin};
    }
    return count;
}

static int32_t check_pattern(const hf_router_entry *entry, hf_error *error)
{
    uint32_t parameters = entry->segment_count - entry->literal_count;

    for (uint32_t i = 0; i < entry->segment_count; i++) {
        hf_slice segment = entry->segments[i];
        if (!segment.size)
            return hf_error_set(error, HF_EINVAL, "route '%s' has an empty segment", entry->route.pattern);
        if (!is_parameter(segment) && memchr(segment.data, '{', segment.size))
            return hf_error_set(error, HF_EINVAL, "route '%s': '%.*s' is not a {name} that fills its segment",
                                entry->route.pattern, (int)segment.size, (const char *)segment.data);
        for (uint32_t j = 0; j < i && is_parameter(segment); j++)
            if (hf_slice_equal(entry->segments[j], segment))
                return hf_error_set(error, HF_EINVAL, "route '%s' has %.*s twice", entry->route.pattern,
                                    (int)segment.size, (const char *)segment.data);
    }
    if (parameters > HF_ROUTER_PARAMETERS_MAX)
        return hf_error_set(error, HF_EINVAL, "route '%s' has %u parameters, expected at most %d", entry->route.pattern,
                            parameters, HF_ROUTER_PARAMETERS_MAX);
    return 0;
}

static int32_t make_entry(hf_router_entry *entry, const hf_http_route *route, void *arg, hf_error *error)
{
    *entry = (hf_router_entry){.route = *route, .arg = arg};
    if (!route->method || !route->pattern || route->pattern[0] != '/' || !route->handle)
        return hf_error_set(error, HF_EINVAL, "a route needs a method, a pattern that begins with '/', and a handler");
    entry->segment_count = split(hf_slice_of(route->pattern), entry->segments);
    if (entry->segment_count == UINT32_MAX)
        return hf_error_set(error, HF_EINVAL, "route '%s' has too many segments, expected at most %d", route->pattern,
                            HF_ROUTER_SEGMENTS_MAX);
    for (uint32_t i = 0; i < entry->segment_count; i++)
        entry->literal_count += !is_parameter(entry->segments[i]);
    return check_pattern(entry, error);
}

int32_t hf_router_add(hf_router *router, const hf_http_route *route, void *arg, int reserved, hf_error *error)
{
    hf_router_entry entry;
    int32_t result = make_entry(&entry, route, arg, error);

    if (result)
        return result;
    entry.reserved = reserved;
    for (uint32_t i = 0; i < router->count; i++)
        if (strcmp(router->entries[i].route.method, route->method) == 0 &&
            strcmp(router->entries[i].route.pattern, route->pattern) == 0)
            return hf_error_set(error, HF_EEXIST, "route '%s %s' exists already", route->method, route->pattern);
    if (router->count == HF_ROUTER_ROUTES_MAX)
        return hf_error_set(error, HF_ETOOLARGE, "more than %d routes", HF_ROUTER_ROUTES_MAX);

    hf_router_entry *entries = realloc(router->entries, (router->count + 1) * sizeof *entries);
    if (!entries)
        return hf_error_set(error, HF_ENOMEM, "no memory for a route");
    router->entries = entries;
    uint32_t at = router->count++;
    while (at > 0 && entries[at - 1].literal_count < entry.literal_count) {
        entries[at] = entries[at - 1];
        at--;
    }
    entries[at] = entry;
    return 0;
}

static int path_matches(const hf_router_entry *entry, const hf_slice *segments, uint32_t count, hf_router_match *match)
{
    match->entry = entry;
    match->parameter_count = 0;
    if (entry->segment_count != count)
        return 0;
    for (uint32_t i = 0; i < count; i++) {
        hf_slice pattern = entry->segments[i];
        if (!is_parameter(pattern)) {
            if (!hf_slice_equal(pattern, segments[i]))
                return 0;
        } else {
            if (!segments[i].size)
                return 0;
            match->names[match->parameter_count] = (hf_slice){pattern.data + 1, pattern.size - 2};
            match->values[match->parameter_count++] = segments[i];
        }
    }
    return 1;
}

static void add_method(char *allow, uint64_t capacity, const char *method)
{
    uint64_t size = strlen(allow);

    if (size + strlen(method) + 3 > capacity)
        return;
    if (size)
        strcat(allow, ", ");
    strcat(allow, method);
}

int32_t hf_router_find(const hf_router *router, hf_slice method, hf_slice path, hf_router_match *ret_match, char *allow,
                       uint64_t allow_capacity)
{
    hf_slice segments[HF_ROUTER_SEGMENTS_MAX];
    hf_slice wanted = hf_slice_is(method, "HEAD") ? hf_slice_of("GET") : method;
    uint32_t count = split(path, segments);

    allow[0] = '\0';
    for (uint32_t i = 0; count != UINT32_MAX && i < router->count; i++) {
        if (!path_matches(&router->entries[i], segments, count, ret_match))
            continue;
        if (hf_slice_is(wanted, router->entries[i].route.method))
            return 0;
        add_method(allow, allow_capacity, router->entries[i].route.method);
    }
    return allow[0] ? HF_EUNSUPPORTED : HF_ENOTFOUND;
}

void hf_router_done(hf_router *router)
{
    free(router->entries);
    *router = (hf_router){0};
}
