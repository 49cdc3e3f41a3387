/* Whatever a client or server sends: what goes on is a message that this project's own strict parser reads, with the
 * same method or status, the same framing of the body, one host, and nothing that concerns the connection.  The first
 * byte chooses how. */
#include "forward/forward.h"

#include <holdfast/lib/value.h>

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
    if (!holds)
        abort();
}

static void require_same(hf_slice a, hf_slice b)
{
    require(a.size == b.size && (!a.size || memcmp(a.data, b.data, a.size) == 0));
}

static void require_none(const hf_http1_head *head, const char *name)
{
    require(!hf_http1_header_find(head, name).data);
}

static void forward_request(struct gateway_forward *how, hf_slice bytes, hf_buffer *to)
{
    hf_http1_head head, sent;
    int64_t size = hf_http1_parse_request(bytes, &head, NULL);

    if (size <= 0 || gateway_forward_request(how, (hf_slice){bytes.data, (uint64_t)size}, &head, to, NULL) != HF_OK)
        return;
    int64_t sent_size = hf_http1_parse_request((hf_slice){to->data, to->size}, &sent, NULL);

    if (sent_size == HF_ETOOLARGE) /* the fields that we add */
        return;
    require(sent_size == (int64_t)to->size);
    require_same(head.method, sent.method);
    require(head.body == sent.body &&
            (head.body != HF_HTTP1_BODY_LENGTH || head.content_length == sent.content_length));
    require(sent.target.data[0] == '/' || hf_slice_is(sent.target, "*"));
    require(!sent.expect_continue);
    require_none(&sent, "keep-alive");
    require_none(&sent, "http2-settings");
    if (!how->upgrades)
        require_none(&sent, "upgrade");
}

static void forward_response(struct gateway_forward *how, hf_slice bytes, hf_buffer *to)
{
    hf_http1_head head, sent;
    int32_t body;
    int64_t size = hf_http1_parse_response(bytes, how->method, &head, NULL);

    if (size <= 0 ||
        gateway_forward_response(how, (hf_slice){bytes.data, (uint64_t)size}, &head, to, &body, NULL) != HF_OK)
        return;
    int64_t sent_size = hf_http1_parse_response((hf_slice){to->data, to->size}, how->method, &sent, NULL);

    if (sent_size == HF_ETOOLARGE)
        return;
    require(sent_size == (int64_t)to->size);
    require(head.status == sent.status && body == sent.body);
    require(body != HF_HTTP1_BODY_LENGTH || head.content_length == sent.content_length);
    require_none(&sent, "keep-alive");
    require_none(&sent, "proxy-connection");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hf_buffer to;

    if (size < 1)
        return 0;
    struct gateway_forward how = {.client = hf_slice_of("192.0.2.1"),
                                  .is_tls = data[0] & 1,
                                  .is_proxy = data[0] >> 1 & 1,
                                  .upgrades = data[0] >> 2 & 1,
                                  .method = hf_slice_of(data[0] >> 3 & 1 ? "HEAD" : "GET"),
                                  .minor = data[0] >> 4 & 1,
                                  .keep_alive = data[0] >> 5 & 1};

    hf_buffer_init(&to, 65536);
    if (data[0] >> 6 & 1)
        forward_response(&how, (hf_slice){data + 1, size - 1}, &to);
    else
        forward_request(&how, (hf_slice){data + 1, size - 1}, &to);
    hf_buffer_done(&to);
    return 0;
}
