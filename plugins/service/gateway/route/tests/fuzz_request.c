/* Whatever a client sends: the path of a request that is taken begins with a slash, has no empty, "." or ".." segment,
 * and is the same when it is encoded and read again; looking for its parts reads nothing else. */
#include "route/key.h"

#include <holdfast/lib/buffer.h>
#include <holdfast/lib/url.h>
#include <holdfast/lib/value.h>

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
    if (!holds)
        abort();
}

static void require_reduced(hf_slice path)
{
    uint64_t from = 1;

    require(path.size > 0 && path.data[0] == '/' && !memchr(path.data, 0, path.size));
    while (from < path.size) {
        const uint8_t *slash = memchr(path.data + from, '/', path.size - from);
        hf_slice segment = {path.data + from, slash ? (uint64_t)(slash - path.data) - from : path.size - from};

        require(segment.size > 0 && !hf_slice_is(segment, ".") && !hf_slice_is(segment, ".."));
        from += segment.size + 1;
    }
}

/* Every byte but the slashes is encoded. */
static void require_same_again(const hf_http1_head *head, hf_slice path, hf_arena *arena)
{
    hf_http1_head again = *head;
    struct gateway_request request;
    hf_buffer target;

    hf_buffer_init(&target, 1 << 20);
    for (uint64_t i = 0; i < path.size; i++)
        require(path.data[i] == '/' ? hf_buffer_append(&target, "/", 1) == HF_OK
                                    : hf_url_append_encoded(&target, (hf_slice){path.data + i, 1}) == HF_OK);
    again.target = (hf_slice){target.data, target.size};
    require(gateway_request_read(&again, hf_slice_of("c"), arena, &request, NULL) == HF_OK);
    require(hf_slice_equal(request.path, path));
    hf_buffer_done(&target);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hf_http1_head head;
    hf_arena arena;
    struct gateway_request request;
    int64_t head_size = hf_http1_parse_request((hf_slice){data, size}, &head, NULL);

    if (head_size <= 0)
        return 0;
    hf_arena_init(&arena, 4 << 20);
    if (gateway_request_read(&head, hf_slice_of("c"), &arena, &request, NULL) == HF_OK) {
        if (!hf_slice_is(request.path, "*")) {
            require_reduced(request.path);
            require_same_again(&head, request.path, &arena);
        }
        for (int32_t of = GATEWAY_KEY_CLIENT; of <= GATEWAY_KEY_BODY; of++) {
            struct gateway_key key = {of, hf_slice_of("u")};
            uint64_t hash;

            (void)gateway_key_hash(&key, &request, (hf_slice){data + head_size, size - (uint64_t)head_size}, &arena,
                                   &hash);
        }
    }
    hf_arena_done(&arena);
    return 0;
}
