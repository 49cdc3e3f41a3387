#include "cache/control.h"

#include <holdfast/lib/value.h>

#include <stddef.h>

void gateway_cache_control_init(struct gateway_cache_control *control)
{
    *control = (struct gateway_cache_control){.max_age = -1,
                                              .s_maxage = -1,
                                              .stale_while_revalidate = -1,
                                              .stale_if_error = -1,
                                              .min_fresh = -1,
                                              .max_stale = -1};
}

int64_t gateway_cache_seconds(hf_slice text)
{
    int64_t seconds = 0;

    if (text.size == 0)
        return -1;
    for (uint64_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return -1;
        if (seconds < INT64_C(1) << 31)
            seconds = seconds * 10 + (text.data[i] - '0');
    }
    return seconds < INT64_C(1) << 31 ? seconds : INT64_C(1) << 31;
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

/* Takes a directive off the front; commas in quotes do not end it.  0: there is none left. */
static int next_directive(hf_slice *list, hf_slice *ret_name, hf_slice *ret_argument)
{
    uint64_t end = 0;
    uint64_t equals = UINT64_MAX;
    int quoted = 0;

    if (list->size == 0)
        return 0;
    for (; end < list->size && (quoted || list->data[end] != ','); end++) {
        uint8_t c = list->data[end];

        if (quoted && c == '\\' && end + 1 < list->size)
            end++;
        else if (c == '"')
            quoted = !quoted;
        else if (c == '=' && equals == UINT64_MAX)
            equals = end;
    }
    uint64_t name_size = equals < end ? equals : end, taken = end < list->size ? end + 1 : end;
    *ret_name = trimmed((hf_slice){list->data, name_size});
    *ret_argument = equals < end ? trimmed((hf_slice){list->data + equals + 1, end - equals - 1}) : (hf_slice){NULL, 0};
    *list = (hf_slice){list->data + taken, list->size - taken};
    return 1;
}

static hf_slice unquoted(hf_slice text)
{
    if (text.size >= 2 && text.data[0] == '"' && text.data[text.size - 1] == '"')
        return (hf_slice){text.data + 1, text.size - 2};
    return text;
}

static void set_smaller(int64_t *seconds, hf_slice argument)
{
    int64_t said = gateway_cache_seconds(unquoted(argument));

    if (said < 0)
        said = 0;
    if (*seconds < 0 || said < *seconds)
        *seconds = said;
}

static void set_larger(int64_t *seconds, hf_slice argument)
{
    int64_t said = gateway_cache_seconds(unquoted(argument));

    if (said > *seconds)
        *seconds = said;
}

static int set_bit(struct gateway_cache_control *control, hf_slice name)
{
    static const struct {
        const char *name;
        uint32_t bit;
    } bits[] = {{"no-store", GATEWAY_NO_STORE},
                {"no-cache", GATEWAY_NO_CACHE},
                {"private", GATEWAY_PRIVATE},
                {"public", GATEWAY_PUBLIC},
                {"must-revalidate", GATEWAY_MUST_REVALIDATE},
                {"proxy-revalidate", GATEWAY_PROXY_REVALIDATE},
                {"only-if-cached", GATEWAY_ONLY_IF_CACHED}};

    for (size_t i = 0; i < sizeof bits / sizeof *bits; i++)
        if (hf_http1_same(name, hf_slice_of(bits[i].name))) {
            control->said |= bits[i].bit;
            return 1;
        }
    return 0;
}

static void set_number(struct gateway_cache_control *control, hf_slice name, hf_slice argument)
{
    const struct {
        const char *name;
        int64_t *seconds;
    } numbers[] = {{"max-age", &control->max_age},
                   {"s-maxage", &control->s_maxage},
                   {"stale-while-revalidate", &control->stale_while_revalidate},
                   {"stale-if-error", &control->stale_if_error},
                   {"max-stale", &control->max_stale}};

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (hf_http1_same(name, hf_slice_of(numbers[i].name)))
            set_smaller(numbers[i].seconds, argument);
    if (hf_http1_same(name, hf_slice_of("min-fresh")))
        set_larger(&control->min_fresh, argument);
}

void gateway_cache_control_add(struct gateway_cache_control *control, hf_slice value)
{
    hf_slice name, argument;

    while (next_directive(&value, &name, &argument)) {
        if (set_bit(control, name))
            continue;
        if (!argument.data && hf_http1_same(name, hf_slice_of("max-stale")))
            control->said |= GATEWAY_ANY_STALE;
        else
            set_number(control, name, argument);
    }
}

void gateway_cache_control_read(struct gateway_cache_control *control, const hf_http1_head *head)
{
    int is_said = 0;

    gateway_cache_control_init(control);
    for (uint32_t i = 0; i < head->header_count; i++)
        if (hf_http1_same(head->headers[i].name, hf_slice_of("cache-control"))) {
            gateway_cache_control_add(control, head->headers[i].value);
            is_said = 1;
        }
    if (!is_said && head->method.size && hf_http1_list_has(hf_http1_header_find(head, "pragma"), "no-cache"))
        control->said |= GATEWAY_NO_CACHE;
}
