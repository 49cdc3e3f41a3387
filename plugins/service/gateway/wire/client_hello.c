/* A ClientHello (RFC 8446, 4.1.2) inside TLS records (5.1).  A cursor goes over its bytes and steps over the heads of
 * the records between them, so nothing is put together. */
#include "wire/client_hello.h"

#include <holdfast/lib/error.h>

#include <ctype.h>
#include <string.h>

enum { RECORD_HEAD_SIZE = 5, HANDSHAKE = 22, MAJOR_VERSION = 3, RECORD_MAX = 16384, CLIENT_HELLO = 1 };
enum { SERVER_NAME = 0, HOST_NAME = 0, RANDOM_SIZE = 32, SESSION_ID_MAX = 32 };

/* Results of steps: what is missing may still come, what is wrong stays wrong. */
enum { OK = 1, MORE = 0, WRONG = -1 };

struct cursor {
    hf_slice bytes;
    uint64_t at;
    uint64_t record_left; /* bytes of the present record still to come */
    uint64_t left;        /* bytes of the ClientHello still to come */
};

static int next_record(struct cursor *cursor)
{
    const uint8_t *head = cursor->bytes.data + cursor->at;
    uint64_t left = cursor->bytes.size - cursor->at;

    if ((left > 0 && head[0] != HANDSHAKE) || (left > 1 && head[1] != MAJOR_VERSION))
        return WRONG;
    if (left < RECORD_HEAD_SIZE)
        return MORE;
    cursor->record_left = (uint64_t)head[3] << 8 | head[4];
    cursor->at += RECORD_HEAD_SIZE;
    /* Empty ones are not allowed, and would let a client keep us busy. */
    return cursor->record_left > 0 && cursor->record_left <= RECORD_MAX ? OK : WRONG;
}

/* Takes `size` bytes of the message; `to` may be NULL. */
static int take(struct cursor *cursor, uint8_t *to, uint64_t size)
{
    if (size > cursor->left)
        return WRONG;
    cursor->left -= size;
    while (size > 0) {
        if (cursor->record_left == 0) {
            int result = next_record(cursor);

            if (result != OK)
                return result;
        }
        uint64_t part = cursor->bytes.size - cursor->at;

        if (part == 0)
            return MORE;
        part = part < cursor->record_left ? part : cursor->record_left;
        part = part < size ? part : size;
        if (to) {
            memcpy(to, cursor->bytes.data + cursor->at, part);
            to += part;
        }
        cursor->at += part;
        cursor->record_left -= part;
        size -= part;
    }
    return OK;
}

static int take_number(struct cursor *cursor, int size, uint64_t *ret_number)
{
    uint8_t bytes[3];
    int result = take(cursor, bytes, (uint64_t)size);

    *ret_number = 0;
    for (int i = 0; i < size && result == OK; i++)
        *ret_number = *ret_number << 8 | bytes[i];
    return result;
}

/* Steps over a vector whose length takes `size` bytes and must be between `least` and `most`. */
static int skip_vector(struct cursor *cursor, int size, uint64_t least, uint64_t most)
{
    uint64_t length;
    int result = take_number(cursor, size, &length);

    if (result != OK)
        return result;
    return length < least || length > most ? WRONG : take(cursor, NULL, length);
}

/* Letters, digits, '-', '_' and single dots between them; no address, says RFC 6066, but that is for routes to refuse.
 */
static int keep_name(char *name, uint64_t size)
{
    for (uint64_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)name[i];
        int is_dot = c == '.' && i > 0 && i + 1 < size && name[i - 1] != '.';

        if (!is_dot && c != '-' && c != '_' && !(c < 128 && isalnum(c)))
            return WRONG;
        name[i] = (char)tolower(c);
    }
    name[size] = '\0';
    return OK;
}

/* server_name_list; there is only one type of name, and one name of a type. */
static int take_server_name(struct cursor *cursor, uint64_t size, struct gateway_client_hello *hello)
{
    uint64_t list, type, length;
    int result = take_number(cursor, 2, &list);

    if (result == OK)
        result = take_number(cursor, 1, &type);
    if (result == OK)
        result = take_number(cursor, 2, &length);
    if (result != OK)
        return result;
    if (list + 2 != size || length + 5 != size || type != HOST_NAME || length == 0 ||
        length >= sizeof hello->server_name || hello->server_name[0])
        return WRONG;
    result = take(cursor, (uint8_t *)hello->server_name, length);
    return result == OK ? keep_name(hello->server_name, length) : result;
}

static int take_extensions(struct cursor *cursor, struct gateway_client_hello *hello)
{
    uint64_t all, type, size;
    int result = OK;

    if (cursor->left == 0) /* TLS 1.2 and before may have none */
        return OK;
    result = take_number(cursor, 2, &all);
    if (result == OK && all != cursor->left)
        return WRONG;
    while (result == OK && cursor->left > 0) {
        result = take_number(cursor, 2, &type);
        if (result == OK)
            result = take_number(cursor, 2, &size);
        if (result != OK)
            return result;
        if (type == SERVER_NAME && size < 5)
            return WRONG; /* only servers send it empty */
        result = type == SERVER_NAME ? take_server_name(cursor, size, hello) : take(cursor, NULL, size);
    }
    return result;
}

static int take_message(struct cursor *cursor, struct gateway_client_hello *hello)
{
    uint64_t type, size;
    int result;

    cursor->left = 4;
    result = take_number(cursor, 1, &type);
    if (result == OK && type != CLIENT_HELLO)
        return WRONG;
    if (result == OK)
        result = take_number(cursor, 3, &size);
    if (result != OK)
        return result;
    cursor->left = size;
    result = take(cursor, NULL, 2 + RANDOM_SIZE); /* the version, too */
    if (result == OK)
        result = skip_vector(cursor, 1, 0, SESSION_ID_MAX);
    if (result == OK)
        result = skip_vector(cursor, 2, 2, 65534); /* cipher suites */
    if (result == OK)
        result = skip_vector(cursor, 1, 1, 255); /* compression methods */
    return result == OK ? take_extensions(cursor, hello) : result;
}

int32_t gateway_client_hello_read(hf_slice bytes, struct gateway_client_hello *ret_hello, hf_error *error)
{
    struct cursor cursor = {.bytes = {bytes.data, bytes.size < GATEWAY_HELLO_MAX ? bytes.size : GATEWAY_HELLO_MAX}};

    *ret_hello = (struct gateway_client_hello){{0}};
    int result = take_message(&cursor, ret_hello);

    if (result == OK)
        return 1;
    ret_hello->server_name[0] = '\0';
    if (result == WRONG)
        return hf_error_set(error, HF_EPROTOCOL,
                            "the connection does not begin with a well-formed TLS ClientHello; is it TLS?");
    return bytes.size < GATEWAY_HELLO_MAX
               ? 0
               : hf_error_set(error, HF_ETOOLARGE, "the TLS ClientHello is longer than %d bytes", GATEWAY_HELLO_MAX);
}
