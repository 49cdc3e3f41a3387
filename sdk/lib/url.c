#include <string.h>

#include <holdfast/lib/error.h>
#include <holdfast/lib/url.h>

static int32_t is_letter(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int32_t is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static int32_t is_unreserved(uint8_t c)
{
    return is_letter(c) || is_digit(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

/* Where "scheme://authority" ends, or 0 when there is none. */
static uint64_t skip_authority(hf_slice target)
{
    uint64_t i = 0;

    while (i < target.size && (is_letter(target.data[i]) ||
                               (i > 0 && (is_digit(target.data[i]) || strchr("+-.", target.data[i]) != NULL))))
        i++;
    if (i == 0 || target.size - i < 3 || memcmp(target.data + i, "://", 3) != 0)
        return 0;
    i += 3;
    while (i < target.size && target.data[i] != '/' && target.data[i] != '?' && target.data[i] != '#')
        i++;
    return i;
}

int32_t hf_url_split(hf_slice target, hf_slice *ret_path, hf_slice *ret_query, hf_error *error)
{
    uint64_t start, end, question;

    for (uint64_t i = 0; i < target.size; i++)
        if (target.data[i] <= ' ' || target.data[i] >= 0x7f)
            return hf_error_set(error, HF_EINVAL, "the target has the byte 0x%02x, which must be written as %%%02X",
                                target.data[i], target.data[i]);
    start = skip_authority(target);
    if (start == 0 && (target.size == 0 || target.data[0] != '/'))
        return hf_error_set(error, HF_EINVAL, "the target '%.*s' is not a path; expected /PATH or scheme://host/PATH",
                            target.size > 80 ? 80 : (int)target.size, (const char *)target.data);
    end = start;
    while (end < target.size && target.data[end] != '#')
        end++;
    question = start;
    while (question < end && target.data[question] != '?')
        question++;
    *ret_path =
        question > start ? (hf_slice){target.data + start, question - start} : (hf_slice){(const uint8_t *)"/", 1};
    *ret_query = question < end ? (hf_slice){target.data + question + 1, end - question - 1} : (hf_slice){NULL, 0};
    return HF_OK;
}

static int32_t hexadecimal(uint8_t c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static int32_t decode_byte(hf_slice text, uint64_t position, uint8_t *ret_byte, hf_error *error)
{
    int32_t high = position + 1 < text.size ? hexadecimal(text.data[position + 1]) : -1;
    int32_t low = position + 2 < text.size ? hexadecimal(text.data[position + 2]) : -1;

    if (high < 0 || low < 0)
        return hf_error_set(error, HF_EINVAL, "'%%' without two hexadecimal digits behind it");
    *ret_byte = (uint8_t)(high << 4 | low);
    return HF_OK;
}

int32_t hf_url_decode(hf_slice text, int32_t form, hf_arena *arena, hf_slice *ret_text, hf_error *error)
{
    uint64_t i = 0, size = 0;
    uint8_t *bytes;

    while (i < text.size && text.data[i] != '%' && !(form && text.data[i] == '+'))
        i++;
    if (i == text.size) {
        *ret_text = text;
        return HF_OK;
    }
    bytes = hf_arena_alloc(arena, text.size);
    if (!bytes)
        return hf_error_set(error, HF_ENOMEM, "no memory to decode %llu bytes", (unsigned long long)text.size);
    for (i = 0; i < text.size; i++) {
        bytes[size] = text.data[i];
        if (form && text.data[i] == '+') {
            bytes[size] = ' ';
        } else if (text.data[i] == '%') {
            int32_t result = decode_byte(text, i, &bytes[size], error);

            if (result != HF_OK)
                return result;
            i += 2;
        }
        size++;
    }
    *ret_text = (hf_slice){bytes, size};
    return HF_OK;
}

int32_t hf_url_append_encoded(hf_buffer *buffer, hf_slice text)
{
    static const char digits[] = "0123456789ABCDEF";
    uint64_t extra = 0;
    int32_t result;

    for (uint64_t i = 0; i < text.size; i++)
        extra += is_unreserved(text.data[i]) ? 1 : 3;
    result = hf_buffer_reserve(buffer, extra);
    if (result != HF_OK)
        return result;
    for (uint64_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];

        if (is_unreserved(c)) {
            buffer->data[buffer->size++] = c;
        } else {
            buffer->data[buffer->size++] = '%';
            buffer->data[buffer->size++] = (uint8_t)digits[c >> 4];
            buffer->data[buffer->size++] = (uint8_t)digits[c & 15];
        }
    }
    return HF_OK;
}

int32_t hf_url_query_next(hf_slice query, uint64_t *cursor, hf_slice *ret_name, hf_slice *ret_value)
{
    while (*cursor < query.size) {
        uint64_t start = *cursor, end = start, equals;

        while (end < query.size && query.data[end] != '&')
            end++;
        *cursor = end + 1;
        if (end == start)
            continue;
        equals = start;
        while (equals < end && query.data[equals] != '=')
            equals++;
        *ret_name = (hf_slice){query.data + start, equals - start};
        *ret_value = equals < end ? (hf_slice){query.data + equals + 1, end - equals - 1} : (hf_slice){NULL, 0};
        return 1;
    }
    return 0;
}

static int32_t refuse_address(const char *address, hf_error *error)
{
    return hf_error_set(error, HF_EINVAL, "'%.120s' is not an address; expected host:port, [v6]:port or unix:PATH",
                        address);
}

static int32_t copy_part(const char *text, uint64_t size, char *to, uint64_t capacity)
{
    if (size >= capacity)
        return HF_EINVAL;
    memcpy(to, text, size);
    to[size] = 0;
    return HF_OK;
}

static int32_t is_port(const char *text)
{
    uint32_t port = 0;
    size_t size = strlen(text);

    if (size == 0 || size > 5)
        return 0;
    for (; *text; text++) {
        if (!is_digit((uint8_t)*text))
            return 0;
        port = port * 10 + (uint32_t)(*text - '0');
    }
    return port <= 65535;
}

int32_t hf_url_split_address(const char *address, char *host, uint64_t host_capacity, char *port,
                             uint64_t port_capacity, hf_error *error)
{
    const char *start = address, *end, *colon;

    if (strncmp(address, "unix:", 5) == 0) {
        if (address[5] == 0 || copy_part(address, strlen(address), host, host_capacity) != HF_OK ||
            copy_part("", 0, port, port_capacity) != HF_OK)
            return refuse_address(address, error);
        return HF_OK;
    }
    if (address[0] == '[') {
        start = address + 1;
        end = strchr(start, ']');
        if (!end || end == start || end[1] != ':')
            return refuse_address(address, error);
        colon = end + 1;
    } else {
        colon = strchr(address, ':');
        if (!colon || colon == address || strchr(colon + 1, ':'))
            return refuse_address(address, error);
        end = colon;
    }
    if (!is_port(colon + 1) || copy_part(start, (uint64_t)(end - start), host, host_capacity) != HF_OK ||
        copy_part(colon + 1, strlen(colon + 1), port, port_capacity) != HF_OK)
        return refuse_address(address, error);
    return HF_OK;
}
