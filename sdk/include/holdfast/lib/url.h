/* lib/url.h: the parts of a request target (RFC 3986) and percent encoding.  Pure; [any]. */
#ifndef HOLDFAST_LIB_URL_H
#define HOLDFAST_LIB_URL_H

#include <holdfast/lib/arena.h>
#include <holdfast/lib/buffer.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Divides "/path?query#fragment" or "http://host/path?query"; the slices point into `target`, still encoded.
 * HF_EINVAL: it does not begin with '/' or a scheme, or has bytes that a URI cannot have. */
int32_t hf_url_split(hf_slice target, hf_slice *ret_path, hf_slice *ret_query, hf_error *error);

/* Decodes %XX into the arena; '+' stays '+' unless `form` is 1, when it is a blank.  A slice without anything to decode
 * is returned as it is.  HF_EINVAL: '%' without two hexadecimal digits; HF_ENOMEM. */
int32_t hf_url_decode(hf_slice text, int32_t form, hf_arena *arena, hf_slice *ret_text, hf_error *error);

/* Appends the text with everything but unreserved characters (RFC 3986, 2.3) as %XX: fit for one path segment or one
 * query value.  Errors as hf_buffer_reserve. */
int32_t hf_url_append_encoded(hf_buffer *buffer, hf_slice text);

/* Walks through "a=1&b=2": sets the next pair, still encoded, and returns 1, or 0 at the end.  *cursor starts at 0.  A
 * name without '=' has a value with NULL data. */
int32_t hf_url_query_next(hf_slice query, uint64_t *cursor, hf_slice *ret_name, hf_slice *ret_value);

/* Divides "host:port", "[v6]:port" or "unix:PATH" (port is then empty).  HF_EINVAL. */
int32_t hf_url_split_address(const char *address, char *host, uint64_t host_capacity, char *port,
                             uint64_t port_capacity, hf_error *error);

#ifdef __cplusplus
}
#endif
#endif
