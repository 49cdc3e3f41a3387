#include "cache/rules.h"

#include "cache/date.h"

#include <holdfast/lib/value.h>

#include <stddef.h>

static int has(const hf_http1_head *head, const char *name)
{
    return hf_http1_header_find(head, name).data != NULL;
}

static int is_get(const hf_http1_head *request)
{
    return hf_slice_is(request->method, "GET") || hf_slice_is(request->method, "HEAD");
}

int32_t gateway_cache_looks(const hf_http1_head *request, const struct gateway_cache_control *wishes)
{
    return is_get(request) && request->body == HF_HTTP1_BODY_NONE && !(wishes->said & GATEWAY_NO_STORE) &&
           !has(request, "range") && !has(request, "if-match") && !has(request, "if-unmodified-since") &&
           !has(request, "if-range") && !has(request, "upgrade");
}

int32_t gateway_cache_invalidates(hf_slice method)
{
    static const char *const safe[] = {"GET", "HEAD", "OPTIONS", "TRACE"};

    for (size_t i = 0; i < sizeof safe / sizeof *safe; i++)
        if (hf_slice_is(method, safe[i]))
            return 0;
    return 1;
}

/* ---- Storing ----------------------------------------------------------------------------------------------------- */

static int is_one_of(uint32_t status, const uint32_t *statuses, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (statuses[i] == status)
            return 1;
    return 0;
}

/* Final ones that this cache understands. */
static int can_be_stored(uint32_t status)
{
    static const uint32_t statuses[] = {200, 203, 300, 301, 302, 307, 308, 404, 405, 410, 414, 451, 501};

    return is_one_of(status, statuses, sizeof statuses / sizeof *statuses);
}

static int has_default(uint32_t status)
{
    static const uint32_t statuses[] = {200, 203, 301, 308};

    return is_one_of(status, statuses, sizeof statuses / sizeof *statuses);
}

static int64_t date_of(const hf_http1_head *head, const char *name, int64_t now_s)
{
    hf_slice value = hf_http1_header_find(head, name);

    return value.data ? gateway_http_date(value, now_s) : -1;
}

/* RFC 9111, 4.2.1; -1: the answer says nothing of it. */
static int64_t said_lifetime(const hf_http1_head *answer, const struct gateway_cache_control *control, int64_t now_s)
{
    int64_t date_s = date_of(answer, "date", now_s), expires_s;

    if (control->s_maxage >= 0)
        return control->s_maxage;
    if (control->max_age >= 0)
        return control->max_age;
    if (!has(answer, "expires"))
        return -1;
    expires_s = date_of(answer, "expires", now_s);
    if (date_s < 0)
        date_s = now_s;
    return expires_s > date_s ? expires_s - date_s : 0; /* what is no date has passed */
}

/* RFC 9111, 4.2.3. */
static uint64_t initial_age(const hf_http1_head *answer, int64_t now_s, uint64_t delay_us)
{
    int64_t date_s = date_of(answer, "date", now_s);
    int64_t said_s = gateway_cache_seconds(hf_http1_header_find(answer, "age"));
    uint64_t apparent_us = date_s >= 0 && now_s > date_s ? (uint64_t)(now_s - date_s) * 1000000 : 0;
    uint64_t corrected_us = (said_s > 0 ? (uint64_t)said_s * 1000000 : 0) + delay_us;

    return apparent_us > corrected_us ? apparent_us : corrected_us;
}

static int varies_by_all(const hf_http1_head *answer)
{
    for (uint32_t i = 0; i < answer->header_count; i++)
        if (hf_http1_same(answer->headers[i].name, hf_slice_of("vary")) &&
            hf_http1_list_has(answer->headers[i].value, "*"))
            return 1;
    return 0;
}

static int may_be_kept(const hf_http1_head *request, const hf_http1_head *answer,
                       const struct gateway_cache_control *control, int for_authorized)
{
    return hf_slice_is(request->method, "GET") && can_be_stored(answer->status) &&
           !(control->said & (GATEWAY_NO_STORE | GATEWAY_PRIVATE)) && !has(answer, "set-cookie") &&
           !has(answer, "content-range") && !varies_by_all(answer) &&
           (!has(request, "authorization") || for_authorized);
}

static int is_too_large(const struct gateway_cache_rules *rules, const hf_http1_head *answer)
{
    return answer->body == HF_HTTP1_BODY_LENGTH && answer->content_length > rules->object_maximum;
}

/* Whether it will ever be of use: fresh, or checked, or in the place of an error. */
static int is_of_use(const struct gateway_freshness *freshness, const hf_http1_head *answer)
{
    int can_validate = has(answer, "etag") || has(answer, "last-modified");
    int can_be_stale =
        !freshness->never_stale && (freshness->stale_if_error_s > 0 || freshness->stale_while_revalidate_s > 0);

    if (freshness->validates)
        return can_validate;
    return (uint64_t)freshness->lifetime_s * 1000000 > freshness->initial_age_us || can_validate || can_be_stale;
}

int32_t gateway_cache_stores(const struct gateway_cache_rules *rules, const hf_http1_head *request,
                             const hf_http1_head *answer, int64_t now_s, uint64_t delay_us,
                             struct gateway_freshness *ret_freshness)
{
    struct gateway_cache_control control;

    gateway_cache_control_read(&control, answer);
    int for_authorized = control.said & (GATEWAY_PUBLIC | GATEWAY_MUST_REVALIDATE) || control.s_maxage >= 0;
    int64_t lifetime_s = said_lifetime(answer, &control, now_s);
    if (!may_be_kept(request, answer, &control, for_authorized) || is_too_large(rules, answer))
        return 0;
    if (lifetime_s < 0 && !(control.said & GATEWAY_NO_CACHE) && (!rules->default_ttl_s || !has_default(answer->status)))
        return 0; /* nobody has said that it may be */
    *ret_freshness = (struct gateway_freshness){
        .lifetime_s = lifetime_s >= 0 ? lifetime_s : rules->default_ttl_s,
        .initial_age_us = initial_age(answer, now_s, delay_us),
        .stale_if_error_s = control.stale_if_error >= 0 ? control.stale_if_error : rules->stale_if_error_s,
        .stale_while_revalidate_s =
            control.stale_while_revalidate >= 0 ? control.stale_while_revalidate : rules->stale_while_revalidate_s,
        .validates = (control.said & GATEWAY_NO_CACHE) != 0,
        .never_stale = (control.said & (GATEWAY_MUST_REVALIDATE | GATEWAY_PROXY_REVALIDATE)) != 0,
        .is_strict = control.s_maxage >= 0,
        .for_authorized = for_authorized};
    return is_of_use(ret_freshness, answer);
}

/* ---- Using ------------------------------------------------------------------------------------------------------- */

static int may_see(const struct gateway_freshness *freshness, const hf_http1_head *request)
{
    return freshness->for_authorized || !has(request, "authorization");
}

int32_t gateway_cache_use(const struct gateway_freshness *freshness, uint64_t age_us, const hf_http1_head *request,
                          const struct gateway_cache_control *wishes)
{
    int64_t age_s = (int64_t)(age_us / 1000000), left_s = freshness->lifetime_s - age_s;
    int can_be_stale = !freshness->never_stale && !freshness->validates;

    if (freshness->validates || wishes->said & GATEWAY_NO_CACHE || !may_see(freshness, request) ||
        (wishes->max_age >= 0 && age_us > (uint64_t)wishes->max_age * 1000000))
        return GATEWAY_USE_NOT;
    if (left_s > 0 && left_s >= wishes->min_fresh)
        return GATEWAY_USE_FRESH;
    if (wishes->min_fresh >= 0 || !can_be_stale)
        return GATEWAY_USE_NOT;
    if (-left_s < freshness->stale_while_revalidate_s)
        return GATEWAY_USE_REFRESH;
    if (!freshness->is_strict &&
        (wishes->max_stale >= 0 ? -left_s <= wishes->max_stale : (wishes->said & GATEWAY_ANY_STALE) != 0))
        return GATEWAY_USE_WANTED_STALE;
    return GATEWAY_USE_NOT;
}

int32_t gateway_cache_use_on_error(const struct gateway_freshness *freshness, uint64_t age_us,
                                   const hf_http1_head *request)
{
    int64_t stale_s = (int64_t)(age_us / 1000000) - freshness->lifetime_s;

    return !freshness->never_stale && !freshness->validates && may_see(freshness, request) &&
           stale_s < freshness->stale_if_error_s;
}

int32_t gateway_cache_is_error(uint32_t status)
{
    return status == 500 || status == 502 || status == 503 || status == 504;
}

/* ---- Conditions -------------------------------------------------------------------------------------------------- */

static hf_slice opaque(hf_slice tag)
{
    return hf_slice_begins(tag, hf_slice_of("W/")) ? (hf_slice){tag.data + 2, tag.size - 2} : tag;
}

/* Takes a tag off the front of a list; what stands in its quotes may be a comma.  0: there is none left. */
static int next_tag(hf_slice *list, hf_slice *ret_tag)
{
    uint64_t begin = 0, end;

    while (begin < list->size && (list->data[begin] == ' ' || list->data[begin] == '\t' || list->data[begin] == ','))
        begin++;
    if (begin == list->size)
        return 0;
    end = begin;
    while (end < list->size && list->data[end] != '"' && list->data[end] != ',')
        end++;
    if (end < list->size && list->data[end] == '"') {
        end++;
        while (end < list->size && list->data[end] != '"')
            end++;
        end += end < list->size;
    }
    *ret_tag = (hf_slice){list->data + begin, end - begin};
    *list = (hf_slice){list->data + end, list->size - end};
    return 1;
}

static int any_tag_is(hf_slice list, hf_slice etag)
{
    hf_slice tag;

    if (hf_slice_is(list, "*"))
        return 1;
    while (etag.data && next_tag(&list, &tag))
        if (hf_slice_equal(opaque(tag), opaque(etag)))
            return 1;
    return 0;
}

int32_t gateway_cache_not_modified(const hf_http1_head *request, hf_slice etag, hf_slice last_modified, int64_t now_s)
{
    int is_asked = 0;

    for (uint32_t i = 0; i < request->header_count; i++)
        if (hf_http1_same(request->headers[i].name, hf_slice_of("if-none-match"))) {
            is_asked = 1;
            if (any_tag_is(request->headers[i].value, etag))
                return 1;
        }
    if (is_asked || !last_modified.data)
        return 0;
    int64_t since_s = date_of(request, "if-modified-since", now_s),
            modified_s = gateway_http_date(last_modified, now_s);
    return since_s >= 0 && modified_s >= 0 && modified_s <= since_s;
}
