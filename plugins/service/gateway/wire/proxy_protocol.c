/* See proxy_protocol.h; numbers of version 2 are big endian. */
#include "wire/proxy_protocol.h"

#include <holdfast/lib/checksum.h>
#include <holdfast/lib/error.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

enum { TEXT_MAX = 107, HEAD_SIZE = 16, SIGNATURE_SIZE = 12, TLV_HEAD_SIZE = 3, CRC_SIZE = 4 };
enum { IPV4_SIZE = 12, IPV6_SIZE = 36 };             /* both addresses and ports */
enum { VERSION_LOCAL = 0x20, VERSION_PROXY = 0x21 }; /* the 13th byte */
enum { UNSPECIFIED = 0x00, TCP_OVER_IPV4 = 0x11, UDP_OVER_IPV4 = 0x12, TCP_OVER_IPV6 = 0x21, UDP_OVER_IPV6 = 0x22 };
enum { TLV_AUTHORITY = 0x02, TLV_CRC32C = 0x03 };

static const uint8_t signature[SIGNATURE_SIZE] = "\r\n\r\n\0\r\nQUIT\n";

static int64_t malformed(hf_error *error, const char *what)
{
    return hf_error_set(error, HF_EPROTOCOL, "the PROXY header is malformed: %s", what);
}

/* ---- Version 1 --------------------------------------------------------------------------------------------------- */

/* Cuts the next word off the line: up to one space, or the end. */
static hf_slice take_word(hf_slice *line)
{
    const uint8_t *space = memchr(line->data, ' ', line->size);
    hf_slice word = {line->data, space ? (uint64_t)(space - line->data) : line->size};
    uint64_t used = word.size + (space ? 1 : 0);

    line->data += used;
    line->size -= used;
    return word;
}

static int is_word(hf_slice word, const char *text)
{
    return word.size == strlen(text) && memcmp(word.data, text, word.size) == 0;
}

/* Decimal, without leading zeros. */
static int read_port(hf_slice word, in_port_t *ret_port)
{
    uint32_t port = 0;

    if (word.size < 1 || word.size > 5 || (word.data[0] == '0' && word.size > 1))
        return 0;
    for (uint64_t i = 0; i < word.size; i++) {
        if (word.data[i] < '0' || word.data[i] > '9')
            return 0;
        port = port * 10 + (uint32_t)(word.data[i] - '0');
    }
    if (port > UINT16_MAX)
        return 0;
    *ret_port = htons((uint16_t)port);
    return 1;
}

static int read_address(hf_slice word, int family, struct sockaddr_storage *ret_address)
{
    char text[INET6_ADDRSTRLEN];
    void *to = family == AF_INET ? (void *)&((struct sockaddr_in *)(void *)ret_address)->sin_addr
                                 : (void *)&((struct sockaddr_in6 *)(void *)ret_address)->sin6_addr;

    if (word.size >= sizeof text || memchr(word.data, '\0', word.size))
        return 0;
    memcpy(text, word.data, word.size);
    text[word.size] = '\0';
    ret_address->ss_family = (sa_family_t)family;
    return inet_pton(family, text, to) == 1;
}

/* Both families have their port in the same place. */
static in_port_t *port_of(struct sockaddr_storage *address)
{
    return &((struct sockaddr_in *)(void *)address)->sin_port;
}

static int read_line(hf_slice line, struct gateway_proxy_header *header)
{
    hf_slice word = take_word(&line);
    int family = is_word(word, "TCP4") ? AF_INET : is_word(word, "TCP6") ? AF_INET6 : 0;

    header->is_local = is_word(word, "UNKNOWN"); /* whatever follows says nothing */
    if (header->is_local)
        return 1;
    return family && read_address(take_word(&line), family, &header->source) &&
           read_address(take_word(&line), family, &header->destination) &&
           read_port(take_word(&line), port_of(&header->source)) &&
           read_port(line, port_of(&header->destination)); /* the rest: nothing follows */
}

static int64_t read_text(hf_slice bytes, struct gateway_proxy_header *header, hf_error *error)
{
    static const char beginning[] = "PROXY ";
    uint64_t known = sizeof beginning - 1, searched = bytes.size < TEXT_MAX ? bytes.size : TEXT_MAX;
    const uint8_t *end = memchr(bytes.data, '\n', searched);

    if (memcmp(bytes.data, beginning, bytes.size < known ? bytes.size : known) != 0)
        return hf_error_set(error, HF_EPROTOCOL, "the connection does not begin with a PROXY header");
    if (!end)
        return bytes.size < TEXT_MAX ? 0 : malformed(error, "its line is longer than 107 bytes");
    uint64_t size = (uint64_t)(end - bytes.data) + 1;

    if (size < known + 2 || end[-1] != '\r')
        return malformed(error, "its line does not end with CR and LF");
    if (memchr(bytes.data, '\r', size - 2) || !read_line((hf_slice){bytes.data + known, size - known - 2}, header))
        return malformed(error, "expected 'PROXY TCP4|TCP6 SOURCE DESTINATION PORT PORT' or 'PROXY UNKNOWN'");
    return (int64_t)size;
}

/* ---- Version 2 --------------------------------------------------------------------------------------------------- */

static uint32_t read_number(const uint8_t *bytes, int size)
{
    uint32_t number = 0;

    for (int i = 0; i < size; i++)
        number = number << 8 | bytes[i];
    return number;
}

/* The checksum is over the whole header, with zeros in its own place. */
static int is_intact(hf_slice whole, uint64_t at)
{
    static const uint8_t zeros[CRC_SIZE];
    uint32_t crc = hf_crc32c(0, whole.data, at);

    crc = hf_crc32c(crc, zeros, CRC_SIZE);
    crc = hf_crc32c(crc, whole.data + at + CRC_SIZE, whole.size - at - CRC_SIZE);
    return crc == read_number(whole.data + at, CRC_SIZE);
}

/* Further facts follow the addresses; of them the authority is kept and the checksum checked. */
static const char *read_facts(hf_slice whole, uint64_t at, struct gateway_proxy_header *header)
{
    while (at < whole.size) {
        if (whole.size - at < TLV_HEAD_SIZE)
            return "a TLV is cut off";
        uint64_t size = read_number(whole.data + at + 1, 2), value = at + TLV_HEAD_SIZE;

        if (whole.size - value < size)
            return "a TLV is longer than the header";
        if (whole.data[at] == TLV_CRC32C && (size != CRC_SIZE || !is_intact(whole, value)))
            return "its checksum is wrong";
        if (whole.data[at] == TLV_AUTHORITY)
            header->authority = (hf_slice){whole.data + value, size};
        at = value + size;
    }
    return NULL;
}

static void read_ipv4(const uint8_t *from, struct gateway_proxy_header *header)
{
    struct sockaddr_in *source = (void *)&header->source, *destination = (void *)&header->destination;

    source->sin_family = destination->sin_family = AF_INET;
    memcpy(&source->sin_addr, from, 4);
    memcpy(&destination->sin_addr, from + 4, 4);
    memcpy(&source->sin_port, from + 8, 2);
    memcpy(&destination->sin_port, from + 10, 2);
}

static void read_ipv6(const uint8_t *from, struct gateway_proxy_header *header)
{
    struct sockaddr_in6 *source = (void *)&header->source, *destination = (void *)&header->destination;

    source->sin6_family = destination->sin6_family = AF_INET6;
    memcpy(&source->sin6_addr, from, 16);
    memcpy(&destination->sin6_addr, from + 16, 16);
    memcpy(&source->sin6_port, from + 32, 2);
    memcpy(&destination->sin6_port, from + 34, 2);
}

/* Where the facts begin; 0: the addresses are cut off. */
static uint64_t read_addresses(hf_slice whole, struct gateway_proxy_header *header)
{
    uint8_t protocol = whole.data[13];
    int is_ipv4 = protocol == TCP_OVER_IPV4 || protocol == UDP_OVER_IPV4;
    int is_ipv6 = protocol == TCP_OVER_IPV6 || protocol == UDP_OVER_IPV6;
    uint64_t size = is_ipv4 ? IPV4_SIZE : is_ipv6 ? IPV6_SIZE : 0;

    if (whole.size - HEAD_SIZE < size)
        return 0;
    header->is_local = whole.data[12] == VERSION_LOCAL || !size;
    if (header->is_local)
        return whole.size; /* what follows is of unknown form, or to be passed over */
    if (is_ipv4)
        read_ipv4(whole.data + HEAD_SIZE, header);
    else
        read_ipv6(whole.data + HEAD_SIZE, header);
    return HEAD_SIZE + size;
}

static int64_t read_binary(hf_slice bytes, struct gateway_proxy_header *header, hf_error *error)
{
    if (bytes.size < HEAD_SIZE)
        return 0;
    uint64_t size = HEAD_SIZE + read_number(bytes.data + 14, 2);
    hf_slice whole = {bytes.data, size};

    if (bytes.data[12] != VERSION_LOCAL && bytes.data[12] != VERSION_PROXY)
        return malformed(error, "its version is not 2, or its command neither LOCAL nor PROXY");
    if (bytes.size < size)
        return 0;
    uint64_t facts = read_addresses(whole, header);

    if (!facts)
        return malformed(error, "its addresses are cut off");
    const char *wrong = read_facts(whole, facts, header);

    return wrong ? malformed(error, wrong) : (int64_t)size;
}

int64_t gateway_proxy_read(hf_slice bytes, struct gateway_proxy_header *ret_header, hf_error *error)
{
    uint64_t same = bytes.size < SIGNATURE_SIZE ? bytes.size : SIGNATURE_SIZE;

    *ret_header = (struct gateway_proxy_header){0};
    if (bytes.size == 0)
        return 0;
    return memcmp(bytes.data, signature, same) == 0 ? read_binary(bytes, ret_header, error)
                                                    : read_text(bytes, ret_header, error);
}

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

static int64_t write_text(uint8_t *to, const struct gateway_proxy_header *header)
{
    char source[INET6_ADDRSTRLEN] = "", destination[INET6_ADDRSTRLEN] = "", line[TEXT_MAX + 1];
    int is_ipv4 = header->source.ss_family == AF_INET, size;
    const struct sockaddr_in *from = (const void *)&header->source, *at = (const void *)&header->destination;
    const struct sockaddr_in6 *from6 = (const void *)&header->source, *at6 = (const void *)&header->destination;

    if (header->is_local) {
        size = snprintf(line, sizeof line, "PROXY UNKNOWN\r\n");
    } else {
        inet_ntop(header->source.ss_family, is_ipv4 ? (const void *)&from->sin_addr : &from6->sin6_addr, source,
                  sizeof source);
        inet_ntop(header->source.ss_family, is_ipv4 ? (const void *)&at->sin_addr : &at6->sin6_addr, destination,
                  sizeof destination);
        size = snprintf(line, sizeof line, "PROXY TCP%d %s %s %u %u\r\n", is_ipv4 ? 4 : 6, source, destination,
                        ntohs(from->sin_port), ntohs(at->sin_port));
    }
    memcpy(to, line, (size_t)size);
    return size;
}

static uint8_t *write_number(uint8_t *to, uint32_t number, int size)
{
    for (int i = 0; i < size; i++)
        to[i] = (uint8_t)(number >> 8 * (size - 1 - i));
    return to + size;
}

static uint8_t *write_bytes(uint8_t *to, const void *bytes, uint64_t size)
{
    if (size)
        memcpy(to, bytes, size);
    return to + size;
}

static uint8_t *write_addresses(uint8_t *to, const struct gateway_proxy_header *header)
{
    const struct sockaddr_in *source = (const void *)&header->source, *destination = (const void *)&header->destination;
    const struct sockaddr_in6 *source6 = (const void *)source, *destination6 = (const void *)destination;

    if (header->source.ss_family == AF_INET) {
        to = write_bytes(to, &source->sin_addr, 4);
        to = write_bytes(to, &destination->sin_addr, 4);
    } else {
        to = write_bytes(to, &source6->sin6_addr, 16);
        to = write_bytes(to, &destination6->sin6_addr, 16);
    }
    to = write_bytes(to, &source->sin_port, 2);
    return write_bytes(to, &destination->sin_port, 2);
}

static int64_t write_binary(uint8_t *to, const struct gateway_proxy_header *header)
{
    uint8_t *at = write_bytes(to, signature, SIGNATURE_SIZE);

    *at++ = header->is_local ? VERSION_LOCAL : VERSION_PROXY;
    *at++ = header->is_local ? UNSPECIFIED : header->source.ss_family == AF_INET ? TCP_OVER_IPV4 : TCP_OVER_IPV6;
    at += 2;
    if (!header->is_local) {
        at = write_addresses(at, header);
        if (header->authority.size) {
            *at++ = TLV_AUTHORITY;
            at = write_number(at, (uint32_t)header->authority.size, 2);
            at = write_bytes(at, header->authority.data, header->authority.size);
        }
        *at++ = TLV_CRC32C;
        at = write_number(at, CRC_SIZE, 2);
        at = write_number(at, 0, CRC_SIZE);
    }
    write_number(to + 14, (uint32_t)(at - to) - HEAD_SIZE, 2);
    if (!header->is_local)
        write_number(at - CRC_SIZE, hf_crc32c(0, to, (uint64_t)(at - to)), CRC_SIZE);
    return at - to;
}

int64_t gateway_proxy_write(uint8_t to[GATEWAY_PROXY_WRITE_MAX], int32_t version,
                            const struct gateway_proxy_header *header, hf_error *error)
{
    sa_family_t family = header->source.ss_family;

    if (version != 1 && version != 2)
        return hf_error_set(error, HF_EINVAL, "version %d of the PROXY protocol, expected 1 or 2", version);
    if (!header->is_local && ((family != AF_INET && family != AF_INET6) || header->destination.ss_family != family))
        return hf_error_set(error, HF_EINVAL, "a PROXY header needs two addresses of IPv4, or two of IPv6");
    if (header->authority.size > GATEWAY_PROXY_AUTHORITY_MAX)
        return hf_error_set(error, HF_EINVAL, "an authority of %llu bytes, expected at most %d",
                            (unsigned long long)header->authority.size, GATEWAY_PROXY_AUTHORITY_MAX);
    return version == 1 ? write_text(to, header) : write_binary(to, header);
}
