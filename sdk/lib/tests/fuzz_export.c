/* Whatever the bytes are: the same records come, all within the limits, however the bytes are cut into pieces, and the
 * verdict is the same. */
#include <stdlib.h>
#include <string.h>

#include <holdfast/lib/export.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void *host_alloc(const hf_host *host, uint64_t size)
{
    (void)host;
    return calloc(1, size);
}

static void host_free(const hf_host *host, void *memory)
{
    (void)host;
    free(memory);
}

static const hf_host host = {HF_HEAD(hf_host), NULL, host_alloc, host_free, NULL};

struct seen {
    uint64_t count, sum;
};

static int32_t see(void *arg, hf_slice key, hf_slice value, hf_error *error)
{
    struct seen *seen = arg;

    (void)error;
    if (key.size > HF_EXPORT_KEY_MAX || value.size > HF_EXPORT_VALUE_MAX)
        abort();
    seen->count++;
    for (uint64_t i = 0; i < key.size; i++)
        seen->sum = seen->sum * 31 + key.data[i];
    for (uint64_t i = 0; i < value.size; i++)
        seen->sum = seen->sum * 37 + value.data[i];
    return 0;
}

static int32_t read_in_pieces(const uint8_t *data, size_t size, size_t piece, struct seen *seen)
{
    static hf_export_reader reader;
    int32_t r = 0;

    hf_export_reader_init(&reader, &host, "HFET", see, seen);
    for (size_t at = 0; r == 0 && at < size; at += piece)
        r = hf_export_reader_feed(&reader, (hf_slice){data + at, size - at < piece ? size - at : piece}, NULL);
    if (r == 0)
        r = hf_export_reader_finish(&reader, NULL);
    hf_export_reader_done(&reader);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen whole = {0, 0}, pieces = {0, 0};
    int32_t r = read_in_pieces(data, size, size ? size : 1, &whole);

    if (read_in_pieces(data, size, 3, &pieces) != r || whole.count != pieces.count || whole.sum != pieces.sum)
        abort();
    return 0;
}
