#include "cache/stored.h"

#include "forward/forward.h"

#include <holdfast/lib/value.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VARY_MAX = 32, VARY_VALUE_MAX = 4096 };

/* ---- Bodies ------------------------------------------------------------------------------------------------------ */

struct gateway_body *gateway_body_create(void)
{
    struct gateway_body *body = calloc(1, sizeof *body);

    if (!body)
        return NULL;
    atomic_init(&body->references, 1);
    body->memory = sizeof *body;
    return body;
}

/* What is known to come goes into as few chunks as can be; else each is twice as large as the one before. */
static uint64_t capacity_for(const struct gateway_body *body, uint64_t expected)
{
    uint64_t capacity = expected != UINT64_MAX ? expected : body->last ? body->last->capacity * 2 : GATEWAY_CHUNK_LEAST;

    return capacity < GATEWAY_CHUNK_SIZE ? capacity : GATEWAY_CHUNK_SIZE;
}

static int32_t add_chunk(struct gateway_body *body, uint64_t capacity)
{
    struct gateway_chunk *chunk = malloc(sizeof *chunk + capacity);

    if (!chunk)
        return HF_ENOMEM;
    chunk->next = NULL;
    chunk->size = 0;
    chunk->capacity = capacity;
    if (body->last)
        body->last->next = chunk;
    else
        body->first = chunk;
    body->last = chunk;
    body->memory += sizeof *chunk + capacity;
    return HF_OK;
}

int32_t gateway_body_append(struct gateway_body *body, hf_slice bytes, uint64_t expected)
{
    while (bytes.size) {
        struct gateway_chunk *last = body->last;
        uint64_t room = last ? last->capacity - last->size : 0, part = bytes.size < room ? bytes.size : room;

        if (room == 0) {
            if (add_chunk(body, capacity_for(body, expected)) != HF_OK)
                return HF_ENOMEM;
            continue;
        }
        memcpy(last->bytes + last->size, bytes.data, part);
        last->size += part;
        body->size += part;
        bytes = (hf_slice){bytes.data + part, bytes.size - part};
        if (expected != UINT64_MAX)
            expected -= part < expected ? part : expected;
    }
    return HF_OK;
}

void gateway_body_hold(struct gateway_body *body)
{
    atomic_fetch_add_explicit(&body->references, 1, memory_order_relaxed);
}

void gateway_body_release(struct gateway_body *body)
{
    if (!body || atomic_fetch_sub_explicit(&body->references, 1, memory_order_acq_rel) != 1)
        return;
    while (body->first) {
        struct gateway_chunk *chunk = body->first;

        body->first = chunk->next;
        free(chunk);
    }
    free(body);
}

/* ---- What an answer varies by ------------------------------------------------------------------------------------ */

/* All values of a field, with commas between them, as one would write them in a single line; too long a value is cut,
 * and then matches nothing.  -1: there is no such field. */
static int64_t value_of(const hf_http1_head *head, hf_slice name, uint8_t *to)
{
    int64_t size = -1;

    for (uint32_t i = 0; i < head->header_count; i++) {
        hf_slice value = head->headers[i].value;

        if (!hf_http1_same(head->headers[i].name, name))
            continue;
        if (size >= 0 && size + 2 <= VARY_VALUE_MAX) {
            memcpy(to + size, ", ", 2);
            size += 2;
        } else if (size < 0) {
            size = 0;
        }
        if ((uint64_t)size + value.size > VARY_VALUE_MAX)
            return VARY_VALUE_MAX + 1;
        if (value.size)
            memcpy(to + size, value.data, value.size);
        size += (int64_t)value.size;
    }
    return size;
}

static int field_is(const hf_http1_head *head, hf_slice name, hf_slice wanted)
{
    uint8_t text[VARY_VALUE_MAX];
    int64_t size = value_of(head, name, text);

    if (size < 0 || size > VARY_VALUE_MAX)
        return size < 0 && !wanted.data;
    return wanted.data && hf_slice_equal(wanted, (hf_slice){text, (uint64_t)size});
}

int32_t gateway_stored_matches(const struct gateway_stored *stored, const struct gateway_cache_key *key,
                               const hf_http1_head *request)
{
    if (stored->key.hash != key->hash || !hf_slice_equal(stored->key.url, key->url) ||
        !hf_slice_equal(stored->key.extra, key->extra))
        return 0;
    for (uint32_t i = 0; i < stored->vary_count; i++)
        if (!field_is(request, stored->vary_names[i], stored->vary_values[i]))
            return 0;
    return 1;
}

/* ---- Making ------------------------------------------------------------------------------------------------------ */

/* One piece of memory for all texts of an answer. */
struct packing {
    uint8_t *at;
};

static hf_slice pack(struct packing *packing, hf_slice text)
{
    uint8_t *to = packing->at;

    if (!text.data)
        return text;
    if (text.size)
        memcpy(to, text.data, text.size);
    packing->at += text.size;
    return (hf_slice){to, text.size};
}

static int is_kept(hf_slice name)
{
    return !hf_http1_same(name, hf_slice_of("age"));
}

/* What is to be stored: the first line, the fields that go on, and the length. */
struct draft {
    uint32_t status;
    hf_slice reason;
    hf_http1_header fields[HF_HTTP1_HEADERS_MAX];
    uint32_t count;
    uint32_t vary_count;
    hf_slice vary_names[VARY_MAX];
    uint8_t vary_text[VARY_VALUE_MAX];
};

static int32_t draft_fields(struct draft *draft, const hf_http1_head *answer)
{
    static const struct gateway_forward how = {.minor = 1, .keep_alive = 1};
    int32_t body, tells_length;
    uint32_t count = 0, kept = 0;
    int32_t code = gateway_forward_fields(&how, answer, draft->fields, HF_HTTP1_HEADERS_MAX - 1, &count, &body,
                                          &tells_length, NULL);

    for (uint32_t i = 0; code == HF_OK && i < count; i++)
        if (is_kept(draft->fields[i].name))
            draft->fields[kept++] = draft->fields[i];
    draft->count = kept;
    draft->status = answer->status;
    draft->reason = answer->reason;
    return code;
}

static int32_t draft_vary(struct draft *draft)
{
    for (uint32_t i = 0; i < draft->count; i++) {
        hf_slice list = draft->fields[i].value, name;

        if (!hf_http1_same(draft->fields[i].name, hf_slice_of("vary")))
            continue;
        while (hf_http1_list_next(&list, &name)) {
            if (draft->vary_count == VARY_MAX)
                return HF_ETOOLARGE;
            draft->vary_names[draft->vary_count++] = name;
        }
    }
    return HF_OK;
}

static uint64_t size_of_head(const struct draft *draft)
{
    uint64_t size = sizeof "HTTP/1.1 200 \r\nContent-Length: 18446744073709551615\r\n\r\n" + draft->reason.size;

    for (uint32_t i = 0; i < draft->count; i++)
        size += draft->fields[i].name.size + draft->fields[i].value.size + 4;
    return size;
}

/* HF_ETOOLARGE: a value that the answer varies by is too long. */
static int32_t size_of_vary(struct draft *draft, const hf_http1_head *request, uint64_t *size)
{
    for (uint32_t i = 0; i < draft->vary_count; i++) {
        int64_t value = value_of(request, draft->vary_names[i], draft->vary_text);

        if (value > VARY_VALUE_MAX)
            return HF_ETOOLARGE;
        *size += draft->vary_names[i].size + (value > 0 ? (uint64_t)value : 0) + 1;
    }
    return HF_OK;
}

static hf_slice pack_text(struct packing *packing, const char *text)
{
    return pack(packing, hf_slice_of(text));
}

static void add_header(struct gateway_stored *stored, struct packing *packing, hf_slice name, hf_slice value)
{
    hf_http1_header *header = &stored->headers[stored->header_count++];

    header->name = pack(packing, name);
    pack_text(packing, ": ");
    header->value = pack(packing, value.data ? value : hf_slice_of(""));
    pack_text(packing, "\r\n");
    if (hf_http1_same(name, hf_slice_of("etag")) && !stored->etag.data)
        stored->etag = header->value;
    if (hf_http1_same(name, hf_slice_of("last-modified")) && !stored->last_modified.data)
        stored->last_modified = header->value;
}

static void pack_head(struct gateway_stored *stored, struct packing *packing, const struct draft *draft)
{
    const uint8_t *begin = packing->at;
    char text[32];

    snprintf(text, sizeof text, "HTTP/1.1 %03u ", draft->status % 1000);
    pack_text(packing, text);
    stored->status = draft->status;
    stored->reason = pack(packing, draft->reason.data ? draft->reason : hf_slice_of(""));
    pack_text(packing, "\r\n");
    for (uint32_t i = 0; i < draft->count; i++)
        add_header(stored, packing, draft->fields[i].name, draft->fields[i].value);
    snprintf(text, sizeof text, "%llu", (unsigned long long)stored->body->size);
    add_header(stored, packing, hf_slice_of("Content-Length"), hf_slice_of(text));
    pack_text(packing, "\r\n");
    stored->head_bytes = (hf_slice){begin, (uint64_t)(packing->at - begin)};
}

static void pack_vary(struct gateway_stored *stored, struct packing *packing, struct draft *draft,
                      const hf_http1_head *request)
{
    stored->vary_count = draft->vary_count;
    for (uint32_t i = 0; i < draft->vary_count; i++) {
        int64_t size = value_of(request, draft->vary_names[i], draft->vary_text);

        stored->vary_names[i] = pack(packing, draft->vary_names[i]);
        stored->vary_values[i] =
            size < 0 ? (hf_slice){NULL, 0} : pack(packing, (hf_slice){draft->vary_text, (uint64_t)size});
    }
}

/* Memory for one, and for texts of that size behind it. */
static struct gateway_stored *allocate(const struct gateway_cache_key *key, uint64_t header_count, uint64_t vary_count,
                                       uint64_t text_size, struct packing *ret_packing)
{
    uint64_t size = sizeof(struct gateway_stored) + header_count * sizeof(hf_http1_header) +
                    2 * vary_count * sizeof(hf_slice) + text_size + key->url.size + key->extra.size;
    struct gateway_stored *stored = malloc(size);

    if (!stored)
        return NULL;
    memset(stored, 0, sizeof *stored);
    atomic_init(&stored->references, 1);
    stored->memory = size;
    stored->headers = (hf_http1_header *)(void *)(stored + 1);
    stored->vary_names = (hf_slice *)(void *)(stored->headers + header_count);
    stored->vary_values = stored->vary_names + vary_count;
    ret_packing->at = (uint8_t *)(stored->vary_values + vary_count);
    stored->key = (struct gateway_cache_key){pack(ret_packing, key->url), pack(ret_packing, key->extra), key->hash};
    return stored;
}

static struct gateway_stored *make(struct draft *draft, const struct gateway_cache_key *key,
                                   const hf_http1_head *request, const struct gateway_freshness *freshness,
                                   struct gateway_body *body, uint64_t now_us)
{
    struct packing packing;
    struct gateway_stored *stored;
    uint64_t size = size_of_head(draft);

    if (draft_vary(draft) != HF_OK || size_of_vary(draft, request, &size) != HF_OK)
        return NULL;
    stored = allocate(key, draft->count + 1, draft->vary_count, size, &packing);
    if (!stored)
        return NULL;
    stored->body = body;
    gateway_body_hold(body);
    stored->memory += body->memory;
    stored->freshness = *freshness;
    stored->stored_us = now_us;
    pack_head(stored, &packing, draft);
    pack_vary(stored, &packing, draft, request);
    return stored;
}

struct gateway_stored *gateway_stored_create(const struct gateway_cache_key *key, const hf_http1_head *request,
                                             const hf_http1_head *answer, const struct gateway_freshness *freshness,
                                             struct gateway_body *body, uint64_t now_us)
{
    struct draft draft = {0};

    return draft_fields(&draft, answer) == HF_OK ? make(&draft, key, request, freshness, body, now_us) : NULL;
}

/* Fields of a 304 that are not about what is stored. */
static int is_taken_over(hf_slice name)
{
    static const char *const own[] = {"content-length", "content-encoding", "content-type", "content-range"};

    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (hf_http1_same(name, hf_slice_of(own[i])))
            return 0;
    return 1;
}

static int says(const hf_http1_head *answer, hf_slice name)
{
    for (uint32_t i = 0; i < answer->header_count; i++)
        if (hf_http1_same(answer->headers[i].name, name))
            return is_taken_over(name);
    return 0;
}

void gateway_stored_merge(const struct gateway_stored *before, const hf_http1_head *answer, hf_http1_head *ret_head)
{
    hf_http1_header *to = ret_head->headers;

    *ret_head = (hf_http1_head){.status = before->status, .reason = before->reason, .minor = 1};
    for (uint32_t i = 0; i < before->header_count; i++)
        if (!says(answer, before->headers[i].name) &&
            !hf_http1_same(before->headers[i].name, hf_slice_of("content-length")))
            to[ret_head->header_count++] = before->headers[i];
    for (uint32_t i = 0; i < answer->header_count && ret_head->header_count < HF_HTTP1_HEADERS_MAX - 1; i++)
        if (is_taken_over(answer->headers[i].name))
            to[ret_head->header_count++] = answer->headers[i];
    ret_head->body = HF_HTTP1_BODY_LENGTH;
    ret_head->content_length = before->body->size;
}

struct gateway_stored *gateway_stored_freshen(const struct gateway_stored *before, const hf_http1_head *request,
                                              const hf_http1_head *answer, const struct gateway_freshness *freshness,
                                              uint64_t now_us)
{
    hf_http1_head merged;

    gateway_stored_merge(before, answer, &merged);
    return gateway_stored_create(&before->key, request, &merged, freshness, before->body, now_us);
}

struct gateway_stored *gateway_stored_pass(const struct gateway_cache_key *key, uint64_t now_us, uint64_t until_us)
{
    struct packing packing;
    struct gateway_stored *stored = allocate(key, 0, 0, 0, &packing);

    if (!stored)
        return NULL;
    stored->passes = 1;
    stored->stored_us = now_us;
    stored->freshness.lifetime_s = (int64_t)((until_us - now_us) / 1000000);
    return stored;
}

void gateway_stored_hold(struct gateway_stored *stored)
{
    atomic_fetch_add_explicit(&stored->references, 1, memory_order_relaxed);
}

void gateway_stored_release(struct gateway_stored *stored)
{
    if (!stored || atomic_fetch_sub_explicit(&stored->references, 1, memory_order_acq_rel) != 1)
        return;
    gateway_body_release(stored->body);
    free(stored);
}

uint64_t gateway_stored_age(const struct gateway_stored *stored, uint64_t now_us)
{
    return stored->freshness.initial_age_us + (now_us > stored->stored_us ? now_us - stored->stored_us : 0);
}

void gateway_stored_head(const struct gateway_stored *stored, int32_t is_head, hf_http1_head *ret_head)
{
    ret_head->method = ret_head->target = (hf_slice){NULL, 0};
    ret_head->status = stored->status;
    ret_head->minor = 1;
    ret_head->reason = stored->reason;
    ret_head->header_count = stored->header_count;
    ret_head->body = !is_head && stored->body->size ? HF_HTTP1_BODY_LENGTH : HF_HTTP1_BODY_NONE;
    ret_head->content_length = stored->body->size;
    ret_head->keep_alive = 1;
    ret_head->expect_continue = 0;
    memcpy(ret_head->headers, stored->headers, stored->header_count * sizeof *stored->headers);
}
