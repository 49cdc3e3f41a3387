#include "route/request.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/url.h>
#include <holdfast/lib/value.h>

#include <string.h>

/* "[2001:db8::1]:443", "a.example.:80". */
static hf_slice without_port(hf_slice authority)
{
    uint64_t size = authority.size;

    while (size > 0 && authority.data[size - 1] >= '0' && authority.data[size - 1] <= '9')
        size--;
    if (size > 0 && authority.data[size - 1] == ':')
        size--;
    else
        size = authority.size;
    if (size > 1 && authority.data[size - 1] == '.')
        size--;
    return (hf_slice){authority.data, size};
}

/* Writes the segments of a decoded path over it: none that is empty or ".", and ".." takes the one before away.  A
 * slash at the end stays.  0: it leads above the root. */
static int reduce(uint8_t *path, uint64_t *size)
{
    uint64_t from = 1, to = 1; /* path[0] is a slash */

    while (from < *size) {
        const uint8_t *slash = memchr(path + from, '/', *size - from);
        uint64_t end = slash ? (uint64_t)(slash - path) : *size, length = end - from;
        hf_slice segment = {path + from, length};

        if (hf_slice_is(segment, "..")) {
            if (to == 1)
                return 0;
            for (to--; path[to - 1] != '/'; to--)
                ;
        } else if (length > 0 && !hf_slice_is(segment, ".")) {
            memmove(path + to, path + from, length);
            to += length;
            if (slash)
                path[to++] = '/';
        }
        from = end + 1;
    }
    *size = to;
    return 1;
}

/* Some servers take a backslash or an encoded slash for a slash, some cut "..;a=b" down to "..": where one of these
 * stands in a path, a segment of dots would lead some of them elsewhere than us. */
static int has_doubtful_dots(hf_slice encoded, hf_slice decoded)
{
    int is_doubtful = memchr(decoded.data, '\\', decoded.size) || memchr(decoded.data, ';', decoded.size);
    uint64_t dots = 0, others = 0; /* of the present segment */

    for (uint64_t i = 0; !is_doubtful && encoded.size != decoded.size && i + 2 < encoded.size; i++)
        is_doubtful = encoded.data[i] == '%' && encoded.data[i + 1] == '2' && (encoded.data[i + 2] | 0x20) == 'f';
    for (uint64_t i = 0; is_doubtful && i <= decoded.size; i++) {
        uint8_t c = i < decoded.size ? decoded.data[i] : '/';

        if (c == '/' || c == '\\' || c == ';') {
            if (!others && (dots == 1 || dots == 2))
                return 1;
            dots = 0;
            others = c == ';'; /* up to the next slash all are parameters */
        } else {
            dots += c == '.';
            others += c != '.';
        }
    }
    return 0;
}

static int32_t read_path(hf_slice encoded, hf_arena *arena, hf_slice *ret_path, hf_error *error)
{
    hf_slice decoded;
    int32_t code = hf_url_decode(encoded, 0, arena, &decoded, error);

    if (code != HF_OK)
        return code;
    uint8_t *path = hf_arena_alloc(arena, decoded.size + 1);
    uint64_t size = decoded.size;

    if (!path)
        return hf_error_set(error, HF_ENOMEM, "no memory for a path of %llu bytes", (unsigned long long)size);
    memcpy(path, decoded.data, size);
    if (memchr(path, 0, size))
        return hf_error_set(error, HF_EINVAL, "the path has a zero byte");
    if (has_doubtful_dots(encoded, decoded))
        return hf_error_set(error, HF_EINVAL, "the path has segments of dots that servers read in different ways");
    if (!reduce(path, &size))
        return hf_error_set(error, HF_EINVAL, "the path leads above the root");
    *ret_path = (hf_slice){path, size};
    return HF_OK;
}

static hf_slice authority_of(hf_slice target)
{
    const uint8_t *colon = memchr(target.data, ':', target.size);
    uint64_t begin = (uint64_t)(colon - target.data) + 3, end = begin;

    while (end < target.size && !strchr("/?#", target.data[end]))
        end++;
    return (hf_slice){target.data + begin, end - begin};
}

int32_t gateway_request_read(const hf_http1_head *head, hf_slice client, hf_arena *arena,
                             struct gateway_request *ret_request, hf_error *error)
{
    hf_slice path, target = head->target;
    int32_t code;

    if (hf_slice_is(head->method, "CONNECT"))
        return hf_error_set(error, HF_EUNSUPPORTED, "the gateway makes no tunnels for CONNECT");
    *ret_request = (struct gateway_request){
        .head = head, .client = client, .host = without_port(hf_http1_header_find(head, "host")), .path = target};
    if (hf_slice_is(target, "*"))
        return HF_OK;
    code = hf_url_split(target, &path, &ret_request->query, error);
    if (code != HF_OK)
        return code;
    if (target.data[0] != '/')
        ret_request->host = without_port(authority_of(target));
    return read_path(path, arena, &ret_request->path, error);
}

hf_slice gateway_request_field(const struct gateway_request *request, hf_slice name)
{
    for (uint32_t i = 0; i < request->head->header_count; i++)
        if (hf_http1_same(request->head->headers[i].name, name)) {
            hf_slice value = request->head->headers[i].value;

            return value.data ? value : hf_slice_of("");
        }
    return (hf_slice){NULL, 0};
}

/* Takes "name=value" off the front of "a=1; b=2". */
static int next_cookie(hf_slice *cookies, hf_slice *ret_name, hf_slice *ret_value)
{
    while (cookies->size > 0 && (cookies->data[0] == ' ' || cookies->data[0] == ';'))
        *cookies = (hf_slice){cookies->data + 1, cookies->size - 1};
    if (cookies->size == 0)
        return 0;
    const uint8_t *end = memchr(cookies->data, ';', cookies->size);
    uint64_t size = end ? (uint64_t)(end - cookies->data) : cookies->size;
    const uint8_t *equals = memchr(cookies->data, '=', size);
    uint64_t name_size = equals ? (uint64_t)(equals - cookies->data) : 0, value_at = equals ? name_size + 1 : 0;

    *ret_name = (hf_slice){cookies->data, name_size};
    *ret_value = (hf_slice){cookies->data + value_at, size - value_at};
    *cookies = (hf_slice){cookies->data + size, cookies->size - size};
    return 1;
}

hf_slice gateway_request_cookie(const struct gateway_request *request, hf_slice name)
{
    for (uint32_t i = 0; i < request->head->header_count; i++) {
        hf_slice cookies = request->head->headers[i].value, each, value;

        if (!hf_http1_same(request->head->headers[i].name, hf_slice_of("cookie")))
            continue;
        while (next_cookie(&cookies, &each, &value))
            if (hf_slice_equal(each, name))
                return value;
    }
    return (hf_slice){NULL, 0};
}

hf_slice gateway_request_argument(const struct gateway_request *request, hf_slice name, hf_arena *arena)
{
    hf_slice encoded, value;
    uint64_t cursor = 0;

    while (hf_url_query_next(request->query, &cursor, &encoded, &value)) {
        hf_slice decoded;

        if (hf_url_decode(encoded, 1, arena, &decoded, NULL) != HF_OK || !hf_slice_equal(decoded, name))
            continue;
        if (!value.data)
            return hf_slice_of("");
        if (hf_url_decode(value, 1, arena, &decoded, NULL) == HF_OK)
            return decoded;
    }
    return (hf_slice){NULL, 0};
}
