#include <string.h>

#include <holdfast/lib/error.h>
#include <holdfast/lib/http1.h>
#include <holdfast/lib/value.h>

/* RFC 9110, 5.6.2: the characters of a method and of a field name. */
static const uint8_t tokens[256] = {
    ['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1, ['&'] = 1, ['\''] = 1, ['*'] = 1, ['+'] = 1, ['-'] = 1, ['.'] = 1,
    ['^'] = 1, ['_'] = 1, ['`'] = 1, ['|'] = 1, ['~'] = 1, ['0'] = 1,  ['1'] = 1, ['2'] = 1, ['3'] = 1, ['4'] = 1,
    ['5'] = 1, ['6'] = 1, ['7'] = 1, ['8'] = 1, ['9'] = 1, ['A'] = 1,  ['B'] = 1, ['C'] = 1, ['D'] = 1, ['E'] = 1,
    ['F'] = 1, ['G'] = 1, ['H'] = 1, ['I'] = 1, ['J'] = 1, ['K'] = 1,  ['L'] = 1, ['M'] = 1, ['N'] = 1, ['O'] = 1,
    ['P'] = 1, ['Q'] = 1, ['R'] = 1, ['S'] = 1, ['T'] = 1, ['U'] = 1,  ['V'] = 1, ['W'] = 1, ['X'] = 1, ['Y'] = 1,
    ['Z'] = 1, ['a'] = 1, ['b'] = 1, ['c'] = 1, ['d'] = 1, ['e'] = 1,  ['f'] = 1, ['g'] = 1, ['h'] = 1, ['i'] = 1,
    ['j'] = 1, ['k'] = 1, ['l'] = 1, ['m'] = 1, ['n'] = 1, ['o'] = 1,  ['p'] = 1, ['q'] = 1, ['r'] = 1, ['s'] = 1,
    ['t'] = 1, ['u'] = 1, ['v'] = 1, ['w'] = 1, ['x'] = 1, ['y'] = 1,  ['z'] = 1,
};

static int32_t is_token(uint8_t c)
{
    return tokens[c];
}

static int32_t is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

int32_t hf_http1_same(hf_slice a, hf_slice b)
{
    if (a.size != b.size)
        return 0;
    for (uint64_t i = 0; i < a.size; i++)
        if (a.data[i] != b.data[i] && lower(a.data[i]) != lower(b.data[i]))
            return 0;
    return 1;
}

static inline int32_t same_ignoring_case(hf_slice slice, const char *text)
{
    return hf_http1_same(slice, (hf_slice){(const uint8_t *)text, strlen(text)});
}

static hf_slice trim(hf_slice slice)
{
    while (slice.size > 0 && is_blank(slice.data[0])) {
        slice.data++;
        slice.size--;
    }
    while (slice.size > 0 && is_blank(slice.data[slice.size - 1]))
        slice.size--;
    return slice;
}

#define EIGHT(byte) (UINT64_C(0x0101010101010101) * (byte))

/* How many bytes from `i` on are no control characters, in whole words of eight. */
static uint64_t skip_plain(hf_slice bytes, uint64_t i)
{
    uint64_t from = i, word;

    for (; i + 8 <= bytes.size; i += 8) {
        memcpy(&word, bytes.data + i, 8);
        uint64_t deleted = word ^ EIGHT(0x7f);
        /* The highest bit of each byte that is below 0x20, or 0x7f; of others, too, behind one of those. */
        if ((((word - EIGHT(0x20)) & ~word) | ((deleted - EIGHT(1)) & ~deleted)) & EIGHT(0x80))
            break;
    }
    return i - from;
}

/* Takes one line, without its CR LF, from *position on.  Returns 1, 0 when its end has not come yet, or HF_EINVAL for a
 * bare CR or LF or another control character: each parser would see another message behind those. */
static int32_t next_line(hf_slice bytes, uint64_t *position, hf_slice *ret_line, hf_error *error)
{
    for (uint64_t i = *position + skip_plain(bytes, *position); i < bytes.size; i++) {
        uint8_t c = bytes.data[i];

        if (c == '\r') {
            if (i + 1 == bytes.size)
                return 0;
            if (bytes.data[i + 1] != '\n')
                return hf_error_set(error, HF_EINVAL, "a carriage return without line feed in the head of the message");
            *ret_line = (hf_slice){bytes.data + *position, i - *position};
            *position = i + 2;
            return 1;
        }
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return hf_error_set(error, HF_EINVAL,
                                "the control character 0x%02x in the head of the message; lines end "
                                "with carriage return and line feed",
                                c);
    }
    return 0;
}

static int32_t parse_version(hf_slice version, hf_http1_head *head, hf_error *error)
{
    if (version.size != 8 || memcmp(version.data, "HTTP/", 5) != 0 || version.data[5] < '0' || version.data[5] > '9' ||
        version.data[6] != '.' || version.data[7] < '0' || version.data[7] > '9')
        return hf_error_set(error, HF_EINVAL, "the first line has no HTTP version; expected for example HTTP/1.1");
    if (version.data[5] != '1' || version.data[7] > '1')
        return hf_error_set(error, HF_EVERSION, "HTTP version %.3s; this server speaks HTTP/1.0 and HTTP/1.1",
                            (const char *)version.data + 5);
    head->minor = version.data[7] - '0';
    return HF_OK;
}

static int32_t parse_request_line(hf_slice line, hf_http1_head *head, hf_error *error)
{
    uint64_t i = 0, start;

    while (i < line.size && is_token(line.data[i]))
        i++;
    if (i == 0 || i == line.size || line.data[i] != ' ')
        return hf_error_set(error, HF_EINVAL, "the first line is not a request; expected METHOD TARGET HTTP/1.1");
    head->method = (hf_slice){line.data, i};
    start = ++i;
    while (i < line.size && line.data[i] > ' ')
        i++;
    if (i == start || i == line.size || line.data[i] != ' ')
        return hf_error_set(error, HF_EINVAL, "the request line has no target; expected METHOD TARGET HTTP/1.1");
    head->target = (hf_slice){line.data + start, i - start};
    i++;
    return parse_version((hf_slice){line.data + i, line.size - i}, head, error);
}

static int32_t parse_status_line(hf_slice line, hf_http1_head *head, hf_error *error)
{
    int32_t result = parse_version((hf_slice){line.data, line.size < 8 ? line.size : 8}, head, error);

    if (result != HF_OK)
        return result;
    if (line.size < 12 || line.data[8] != ' ' || (line.size > 12 && line.data[12] != ' '))
        return hf_error_set(error, HF_EINVAL, "the first line is not a status line; expected HTTP/1.1 CODE REASON");
    for (uint64_t i = 9; i < 12; i++) {
        if (line.data[i] < '0' || line.data[i] > '9')
            return hf_error_set(error, HF_EINVAL, "the status code is not a number of three digits");
        head->status = head->status * 10 + (line.data[i] - '0');
    }
    if (head->status < 100 || head->status > 599)
        return hf_error_set(error, HF_EINVAL, "the status code %u; expected 100 to 599", head->status);
    if (line.size > 13)
        head->reason = (hf_slice){line.data + 13, line.size - 13};
    return HF_OK;
}

static int32_t parse_field(hf_slice line, hf_http1_head *head, hf_error *error)
{
    hf_http1_header *header = &head->headers[head->header_count];
    uint64_t colon = 0;

    if (head->header_count == HF_HTTP1_HEADERS_MAX)
        return hf_error_set(error, HF_ETOOLARGE, "more than %d header fields", HF_HTTP1_HEADERS_MAX);
    while (colon < line.size && is_token(line.data[colon]))
        colon++;
    if (colon == 0 || colon == line.size || line.data[colon] != ':')
        return hf_error_set(error, HF_EINVAL,
                            "header field %u is malformed; expected NAME: VALUE on one line, without "
                            "blanks before the colon",
                            head->header_count + 1);
    header->name = (hf_slice){line.data, colon};
    header->value = trim((hf_slice){line.data + colon + 1, line.size - colon - 1});
    head->header_count++;
    return HF_OK;
}

static int32_t parse_length(hf_slice value, uint64_t *ret_length, hf_error *error)
{
    uint64_t length = 0;

    if (value.size == 0 || value.size > 18)
        return hf_error_set(error, HF_EINVAL, "Content-Length is not a number of bytes");
    for (uint64_t i = 0; i < value.size; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return hf_error_set(error, HF_EINVAL, "Content-Length is not a number of bytes");
        length = length * 10 + (value.data[i] - '0');
    }
    *ret_length = length;
    return HF_OK;
}

int32_t hf_http1_list_next(hf_slice *list, hf_slice *ret_element)
{
    uint64_t size = 0;

    if (list->size == 0)
        return 0;
    while (size < list->size && list->data[size] != ',')
        size++;
    *ret_element = trim((hf_slice){list->data, size});
    if (size < list->size)
        size++;
    *list = (hf_slice){list->data + size, list->size - size};
    return 1;
}

int32_t hf_http1_list_has(hf_slice list, const char *element)
{
    hf_slice each;

    while (hf_http1_list_next(&list, &each))
        if (same_ignoring_case(each, element))
            return 1;
    return 0;
}

typedef struct body_framing {
    int32_t has_length;
    int32_t chunked;
    int32_t close;
    int32_t keep_alive;
} body_framing;

/* Most names are told apart by their size alone. */
static int32_t may_frame(hf_slice name)
{
    return name.size == 6 || name.size == 10 || name.size == 14 || name.size == 17;
}

static int32_t read_framing_field(const hf_http1_header *header, body_framing *framing, hf_http1_head *head,
                                  hf_error *error)
{
    if (!may_frame(header->name))
        return HF_OK;
    if (same_ignoring_case(header->name, "content-length")) {
        uint64_t length = 0;
        int32_t result = parse_length(header->value, &length, error);

        if (result != HF_OK)
            return result;
        if (framing->has_length && length != head->content_length)
            return hf_error_set(error, HF_EINVAL, "two Content-Length fields that differ");
        framing->has_length = 1;
        head->content_length = length;
    } else if (same_ignoring_case(header->name, "transfer-encoding")) {
        if (framing->chunked || !same_ignoring_case(header->value, "chunked"))
            return hf_error_set(error, HF_EUNSUPPORTED, "the transfer coding is not supported; expected chunked");
        framing->chunked = 1;
    } else if (same_ignoring_case(header->name, "connection")) {
        framing->close |= hf_http1_list_has(header->value, "close");
        framing->keep_alive |= hf_http1_list_has(header->value, "keep-alive");
    } else if (same_ignoring_case(header->name, "expect")) {
        head->expect_continue = same_ignoring_case(header->value, "100-continue");
    }
    return HF_OK;
}

/* RFC 9112, 6.3: how long the body is, as far as the fields say it. */
static int32_t read_framing(hf_http1_head *head, hf_error *error)
{
    body_framing framing = {0};

    for (uint32_t i = 0; i < head->header_count; i++) {
        int32_t result = read_framing_field(&head->headers[i], &framing, head, error);

        if (result != HF_OK)
            return result;
    }
    if (framing.chunked && framing.has_length)
        return hf_error_set(error, HF_EINVAL, "Content-Length together with Transfer-Encoding");
    if (framing.chunked && head->minor == 0)
        return hf_error_set(error, HF_EINVAL, "Transfer-Encoding in an HTTP/1.0 message");
    if (framing.chunked)
        head->body = HF_HTTP1_BODY_CHUNKED;
    else if (framing.has_length)
        head->body = HF_HTTP1_BODY_LENGTH;
    head->keep_alive = !framing.close && (head->minor == 1 || framing.keep_alive);
    return HF_OK;
}

/* Reads what requests and responses share: the first line through `parse_first`, then the fields. */
static int64_t parse_head(hf_slice bytes, hf_http1_head *head,
                          int32_t (*parse_first)(hf_slice line, hf_http1_head *head, hf_error *error), hf_error *error)
{
    uint64_t position = 0;
    hf_slice line = {NULL, 0};
    int32_t first = 1, result;

    memset(head, 0, offsetof(hf_http1_head, headers));
    for (;;) {
        result = next_line(bytes, &position, &line, error);
        if (result <= 0)
            return result;
        if (line.size == 0 && !first)
            break;
        if (line.size == 0)
            continue;
        result = first ? parse_first(line, head, error) : parse_field(line, head, error);
        if (result != HF_OK)
            return result;
        first = 0;
    }
    result = read_framing(head, error);
    return result != HF_OK ? result : (int64_t)position;
}

/* RFC 9112, 3.2: exactly one Host field in an HTTP/1.1 request. */
static int32_t check_host(const hf_http1_head *head, hf_error *error)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < head->header_count; i++)
        count += (uint32_t)same_ignoring_case(head->headers[i].name, "host");
    if (count > 1 || (count == 0 && head->minor == 1))
        return hf_error_set(error, HF_EINVAL, "%u Host fields in the request; expected one", count);
    return HF_OK;
}

int64_t hf_http1_parse_request(hf_slice bytes, hf_http1_head *ret_head, hf_error *error)
{
    int64_t size = parse_head(bytes, ret_head, parse_request_line, error);
    int32_t result;

    if (size <= 0)
        return size;
    result = check_host(ret_head, error);
    if (result != HF_OK)
        return result;
    if (ret_head->body == HF_HTTP1_BODY_LENGTH && ret_head->content_length == 0)
        ret_head->body = HF_HTTP1_BODY_NONE;
    return size;
}

int64_t hf_http1_parse_response(hf_slice bytes, hf_slice request_method, hf_http1_head *ret_head, hf_error *error)
{
    int64_t size = parse_head(bytes, ret_head, parse_status_line, error);
    uint32_t status = ret_head->status;

    if (size <= 0)
        return size;
    if (status < 200 || status == 204 || status == 304 || hf_slice_is(request_method, "HEAD")) {
        ret_head->body = HF_HTTP1_BODY_NONE;
    } else if (ret_head->body == HF_HTTP1_BODY_LENGTH && ret_head->content_length == 0) {
        ret_head->body = HF_HTTP1_BODY_NONE;
    } else if (ret_head->body == HF_HTTP1_BODY_NONE) {
        ret_head->body = HF_HTTP1_BODY_UNTIL_CLOSE;
        ret_head->keep_alive = 0;
    }
    return size;
}

int32_t hf_http1_parse_trailers(hf_slice lines, hf_http1_head *ret_head, hf_error *error)
{
    static const char *const forbidden[] = {"content-length", "transfer-encoding", "host"};
    uint64_t position = 0;
    hf_slice line = {NULL, 0};

    memset(ret_head, 0, offsetof(hf_http1_head, headers));
    while (position < lines.size) {
        int32_t result = next_line(lines, &position, &line, error);

        if (result == 0)
            return hf_error_set(error, HF_EINVAL, "a trailer that is not ended by carriage return and line feed");
        result = result < 0 ? result : parse_field(line, ret_head, error);
        if (result != HF_OK)
            return result;
        for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++)
            if (same_ignoring_case(ret_head->headers[ret_head->header_count - 1].name, forbidden[i]))
                return hf_error_set(error, HF_EINVAL, "%s cannot be a trailer", forbidden[i]);
    }
    return HF_OK;
}

hf_slice hf_http1_header_find(const hf_http1_head *head, const char *name)
{
    hf_slice wanted = {(const uint8_t *)name, strlen(name)};

    for (uint32_t i = 0; i < head->header_count; i++)
        if (hf_http1_same(head->headers[i].name, wanted)) {
            hf_slice value = head->headers[i].value;

            return value.data ? value : (hf_slice){(const uint8_t *)"", 0};
        }
    return (hf_slice){NULL, 0};
}

const char *hf_http1_reason(uint32_t status)
{
    static const struct {
        uint32_t status;
        const char *reason;
    } reasons[] = {
        {100, "Continue"},
        {101, "Switching Protocols"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };

    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Unknown";
}
