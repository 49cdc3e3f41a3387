/* Any bytes as the body of a write, of a batch or of a table's declaration, and as the start of a scan: each request is
 * answered once, and what goes to the service can be decoded. */
#include "fakes.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check(int holds)
{
    if (!holds)
        abort();
}

static void try_request(hf_http_request request, void (*handle)(void *, hf_http_request *))
{
    static struct store_operation operations[STORE_OPERATIONS_MAX];
    struct store_command command;

    fake_request(&request, handle);
    check(request.answers == 1 && request.status >= 200 && request.status != 500);
    for (uint32_t i = 0; i < fake.call_count; i++)
        if (fake.calls[i].type == STORE_OP_WRITE)
            fake_command(i, operations, STORE_OPERATIONS_MAX, &command);
    fake_request_done(&request);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static int is_open;
    hf_slice body = {bytes, size};
    char text[512];

    if (!is_open)
        fake_open();
    is_open = 1;
    try_request((hf_http_request){.table = "items", .key = "k", .body = body}, store_http_put);
    try_request((hf_http_request){.table = "checked", .key = "k", .body = body}, store_http_put);
    try_request((hf_http_request){.table = "items", .body = body}, store_http_batch);
    try_request((hf_http_request){.table = "blobs", .body = body}, store_http_batch);
    try_request((hf_http_request){.table = "new", .body = body}, store_http_create_table);
    if (size >= sizeof text)
        return 0;
    memcpy(text, bytes, size);
    text[size] = '\0';
    try_request((hf_http_request){.table = "items", .arguments = {{"start", text}}}, store_http_scan);
    try_request((hf_http_request){.table = "items", .arguments = {{"limit", text}, {"prefix", text}}}, store_http_scan);
    return 0;
}
