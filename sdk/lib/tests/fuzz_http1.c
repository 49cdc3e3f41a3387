/* Whatever the bytes are: a head that is complete stays the same when more bytes follow, a shorter prefix never gives
 * another complete one, all slices lie inside the input, and a chunked body reads the same in one piece or byte by
 * byte, its trailers, too, which are whole lines. */
#include <stdlib.h>
#include <string.h>

#include <holdfast/lib/http1.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int32_t holds)
{
    if (!holds)
        abort();
}

static void require_inside(hf_slice slice, hf_slice whole)
{
    if (slice.data && slice.size)
        require(slice.data >= whole.data && slice.data + slice.size <= whole.data + whole.size);
}

static void check_head(hf_slice input, int32_t response)
{
    static hf_http1_head head, prefix;
    hf_slice get = {(const uint8_t *)"GET", 3};
    int64_t size =
        response ? hf_http1_parse_response(input, get, &head, NULL) : hf_http1_parse_request(input, &head, NULL);

    if (size <= 0)
        return;
    require((uint64_t)size <= input.size);
    require_inside(head.method, input);
    require_inside(head.target, input);
    require_inside(head.reason, input);
    for (uint32_t i = 0; i < head.header_count; i++) {
        require_inside(head.headers[i].name, input);
        require_inside(head.headers[i].value, input);
    }
    for (int64_t i = 0; i <= size; i++) {
        hf_slice shorter = {input.data, (uint64_t)i};
        int64_t found = response ? hf_http1_parse_response(shorter, get, &prefix, NULL)
                                 : hf_http1_parse_request(shorter, &prefix, NULL);
        require(found == (i == size ? size : 0));
    }
}

static int32_t read_chunked(hf_slice input, uint64_t piece, uint8_t *content, uint64_t *ret_size, uint64_t *ret_taken,
                            hf_buffer *trailers)
{
    hf_http1_chunked chunked = {.trailers = trailers};
    uint64_t at = 0;

    *ret_size = 0;
    while (at < input.size) {
        uint64_t left = input.size - at, taken = 0;
        hf_slice found;
        int32_t result = hf_http1_chunked_next(&chunked, (hf_slice){input.data + at, left < piece ? left : piece},
                                               &taken, &found, NULL);
        if (result < 0)
            return result;
        require_inside(found, input);
        if (found.size)
            memcpy(content + *ret_size, found.data, found.size);
        *ret_size += found.size;
        at += taken;
        *ret_taken = at;
        if (result == 1)
            return 1;
        require(taken > 0);
    }
    return 0;
}

static void check_trailers(const hf_buffer *trailers)
{
    static hf_http1_head head;
    hf_slice lines = {trailers->data, trailers->size};

    require(lines.size == 0 || (lines.size > 2 && memcmp(lines.data + lines.size - 2, "\r\n", 2) == 0));
    if (hf_http1_parse_trailers(lines, &head, NULL) != HF_OK)
        return;
    require((head.header_count == 0) == (lines.size == 0));
    for (uint32_t i = 0; i < head.header_count; i++) {
        require_inside(head.headers[i].name, lines);
        require_inside(head.headers[i].value, lines);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hf_slice input = {data, size};
    hf_buffer one_trailers, two_trailers;
    uint8_t *one = malloc(size + 1), *two = malloc(size + 1);
    uint64_t one_size = 0, two_size = 0, one_taken = 0, two_taken = 0;

    require(one && two);
    check_head(input, 0);
    check_head(input, 1);
    hf_buffer_init(&one_trailers, UINT64_MAX);
    hf_buffer_init(&two_trailers, UINT64_MAX);
    int32_t whole = read_chunked(input, size + 1, one, &one_size, &one_taken, &one_trailers);
    int32_t bytes = read_chunked(input, 1, two, &two_size, &two_taken, &two_trailers);
    require(whole == bytes);
    if (whole >= 0)
        require(one_size == two_size && one_taken == two_taken && memcmp(one, two, one_size) == 0 &&
                one_trailers.size == two_trailers.size);
    if (whole == 1) {
        require(one_trailers.size == 0 || memcmp(one_trailers.data, two_trailers.data, one_trailers.size) == 0);
        check_trailers(&one_trailers);
    }
    hf_buffer_done(&one_trailers);
    hf_buffer_done(&two_trailers);
    free(one);
    free(two);
    return 0;
}
