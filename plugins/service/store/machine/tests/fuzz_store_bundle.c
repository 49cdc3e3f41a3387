/* Any bytes as an entry: what reads as one has exactly these bytes when it is written again. */
#include "bundle.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct store_bundle bundle;
    hf_slice command;
    hf_error error;

    if (store_bundle_read((hf_slice){bytes, size}, &bundle, &error) < 0)
        return 0;
    uint8_t *again = malloc(size), *to = store_bundle_write_head(again, &bundle);

    while (store_bundle_next(&bundle, &command))
        to = store_bundle_write_command(to, command);
    if ((size_t)(to - again) != size || memcmp(again, bytes, size) != 0)
        abort();
    free(again);
    return 0;
}
