/* Whatever the bytes are: a ClientHello that is complete has the same name when more bytes follow, a shorter piece
 * needs more, and the name is one. */
#include "wire/client_hello.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gateway_client_hello hello, shorter;
    size_t step = size < 64 ? 1 : size / 16; /* not all pieces: speed finds more */
    int is_complete = 0;

    if (gateway_client_hello_read((hf_slice){data, size}, &hello, NULL) != 1)
        return 0;
    require(strlen(hello.server_name) == strspn(hello.server_name, "abcdefghijklmnopqrstuvwxyz0123456789-_."));
    for (size_t i = 0; i <= size; i += step) {
        int32_t result = gateway_client_hello_read((hf_slice){data, i}, &shorter, NULL);

        require(result == is_complete || (result == 1 && !is_complete));
        is_complete = result;
        require(!is_complete || strcmp(shorter.server_name, hello.server_name) == 0);
    }
    return 0;
}
