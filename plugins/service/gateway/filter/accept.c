#include "filter/accept.h"

#include <holdfast/lib/http1.h>
#include <holdfast/lib/value.h>

void gateway_accept_init(struct gateway_accept *accept)
{
    *accept = (struct gateway_accept){.gzip = -1, .identity = -1, .any = -1};
}

static int is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static hf_slice trimmed(hf_slice text)
{
    while (text.size && is_blank(text.data[0]))
        text = (hf_slice){text.data + 1, text.size - 1};
    while (text.size && is_blank(text.data[text.size - 1]))
        text.size--;
    return text;
}

/* Takes what stands before the next semicolon off the front. */
static hf_slice take_part(hf_slice *text)
{
    uint64_t size = 0;

    while (size < text->size && text->data[size] != ';')
        size++;
    hf_slice part = {text->data, size};
    uint64_t taken = size < text->size ? size + 1 : size;
    *text = (hf_slice){text->data + taken, text->size - taken};
    return trimmed(part);
}

/* "0.75" in thousandths; what is no such number is not liked at all. */
static int32_t read_weight(hf_slice text)
{
    int32_t weight, unit = 100;

    if (text.size == 0 || text.size > 5 || (text.data[0] != '0' && text.data[0] != '1') ||
        (text.size > 1 && text.data[1] != '.'))
        return 0;
    weight = (text.data[0] - '0') * 1000;
    for (uint64_t i = 2; i < text.size; i++, unit /= 10) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return 0;
        weight += (text.data[i] - '0') * unit;
    }
    return weight > 1000 ? 0 : weight;
}

static int32_t weight_of(hf_slice parameters)
{
    while (parameters.size) {
        hf_slice part = take_part(&parameters);

        if (part.size >= 2 && (part.data[0] | 0x20) == 'q' && part.data[1] == '=')
            return read_weight((hf_slice){part.data + 2, part.size - 2});
    }
    return 1000;
}

void gateway_accept_add(struct gateway_accept *accept, hf_slice value)
{
    hf_slice element;

    while (hf_http1_list_next(&value, &element)) {
        hf_slice name = take_part(&element);
        int32_t weight = weight_of(element);

        if (hf_http1_same(name, hf_slice_of("gzip")) || hf_http1_same(name, hf_slice_of("x-gzip")))
            accept->gzip = weight;
        else if (hf_http1_same(name, hf_slice_of("identity")))
            accept->identity = weight;
        else if (hf_slice_is(name, "*"))
            accept->any = weight;
    }
}

int32_t gateway_accept_has_gzip(const struct gateway_accept *accept)
{
    int32_t gzip = accept->gzip >= 0 ? accept->gzip : accept->any;

    return gzip > 0 && gzip >= accept->identity;
}
