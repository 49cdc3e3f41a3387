#include "proxy/caching.h"

#include "proxy/caching_private.h"
#include "proxy/outflow.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/value.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PASS_US = 10000000,     /* how long requests do not wait for each other for what could not be stored */
    AT_ONCE_MAX = 64 << 10, /* bytes of a body that go to the client without an outflow */
    FILLING_SHARE = 4,      /* of a cache's memory, what may be coming in */
    OWN_EDITS = 4
};

static void woken(hf_task *task);
static void impatient(struct gateway_deadline *deadline);

/* ---- Life -------------------------------------------------------------------------------------------------------- */

/* From any thread. */
static void wake(struct gateway_cache_waiter *waiter)
{
    struct gateway_caching *caching = (struct gateway_caching *)waiter;

    caching->worker->loops->post(caching->worker->loop, &caching->task);
}

struct gateway_caching *gateway_caching_create(struct gateway_exchange *exchange, uint32_t upstream)
{
    struct gateway_caching *caching = calloc(1, sizeof *caching);

    if (!caching)
        return NULL;
    caching->waiter.wake = wake;
    caching->task.run = woken;
    caching->patience.passed = impatient;
    caching->worker = exchange->worker;
    caching->exchange = exchange;
    caching->of = exchange->route->cache;
    caching->cache = caching->of->cache;
    caching->upstream = upstream;
    caching->own_edits = exchange->request_edits;
    caching->own_edit_count = exchange->request_edit_count;
    gateway_cache_hold(caching->cache);
    exchange->caching = caching;
    return caching;
}

static void destroy(struct gateway_caching *caching)
{
    gateway_stored_release(caching->stored);
    gateway_cache_release(caching->cache);
    free(caching);
}

static void end_flight(struct gateway_caching *caching)
{
    struct gateway_flight *flight = caching->flight;

    caching->flight = NULL;
    if (flight)
        gateway_flight_end(caching->cache, flight);
}

static void drop_filling(struct gateway_caching *caching)
{
    gateway_body_release(caching->filling);
    caching->filling = NULL;
    atomic_fetch_sub_explicit(&caching->cache->filling, caching->reserved, memory_order_relaxed);
    caching->reserved = 0;
}

static void tally(struct gateway_caching *caching, int32_t result)
{
    if (!caching->was_counted && !caching->exchange->is_internal)
        gateway_cache_count(caching->cache, result);
    caching->was_counted = 1;
}

void gateway_caching_over(struct gateway_exchange *exchange)
{
    struct gateway_caching *caching = exchange->caching;

    if (!caching->invalidates)
        tally(caching, GATEWAY_CACHE_MISS); /* if it was nothing else */
    gateway_deadline_clear(&exchange->worker->wheel, &caching->patience);
    if (caching->is_waiting && gateway_flight_leave(caching->cache, &caching->waiter, caching->key.hash, 0))
        caching->is_waiting = 0;
    if (caching->filling)
        drop_filling(caching);
    end_flight(caching);
}

/* What is stored may lie in what a connection is just sending, and goes only now. */
void gateway_caching_free(struct gateway_exchange *exchange)
{
    struct gateway_caching *caching = exchange->caching;
    struct gateway_worker *worker = exchange->worker;

    exchange->caching = NULL;
    gateway_refresh_free(caching->refresh);
    caching->refresh = NULL;
    caching->exchange = NULL;
    if (!caching->is_waiting) {
        destroy(caching);
        return;
    }
    caching->next = worker->left_cachings; /* its task is on its way, and frees it */
    worker->left_cachings = caching;
}

void gateway_caching_release(struct gateway_worker *worker)
{
    while (worker->left_cachings) {
        struct gateway_caching *caching = worker->left_cachings;

        worker->left_cachings = caching->next;
        destroy(caching);
    }
}

static void forget_left(struct gateway_caching *caching)
{
    struct gateway_caching **at = &caching->worker->left_cachings;

    while (*at != caching)
        at = &(*at)->next;
    *at = caching->next;
    destroy(caching);
}

/* ---- Keys -------------------------------------------------------------------------------------------------------- */

/* The authority and the rest of an absolute target; 0: it is none. */
static int split_uri(hf_slice target, hf_slice *ret_authority, hf_slice *ret_rest)
{
    uint64_t begin = 0, end;

    while (begin + 3 <= target.size && memcmp(target.data + begin, "://", 3) != 0)
        begin++;
    if (target.data[0] == '/' || begin + 3 > target.size)
        return 0;
    begin += 3;
    end = begin;
    while (end < target.size && target.data[end] != '/' && target.data[end] != '?')
        end++;
    *ret_authority = (hf_slice){target.data + begin, end - begin};
    *ret_rest = (hf_slice){target.data + end, target.size - end};
    return 1;
}

static hf_slice without_default_port(hf_slice authority, int is_tls)
{
    const char *port = is_tls ? ":443" : ":80";
    uint64_t size = strlen(port);

    if (authority.size > size && memcmp(authority.data + authority.size - size, port, size) == 0)
        authority.size -= size;
    return authority;
}

/* "https://a.example/path?query".  0: no memory. */
static int make_url(struct gateway_exchange *exchange, hf_slice *ret_url)
{
    int is_tls = exchange->front->peer->is_tls;
    hf_slice host = hf_http1_header_find(&exchange->head, "host"), rest = exchange->head.target;
    const char *scheme = is_tls ? "https://" : "http://";
    uint64_t scheme_size = strlen(scheme);

    (void)split_uri(rest, &host, &rest);
    host = without_default_port(host, is_tls);
    uint8_t *text = hf_arena_alloc(&exchange->arena, scheme_size + host.size + rest.size + 1), *to = text;
    if (!text)
        return 0;
    memcpy(to, scheme, scheme_size);
    to += scheme_size;
    for (uint64_t i = 0; i < host.size; i++)
        *to++ = host.data[i] >= 'A' && host.data[i] <= 'Z' ? host.data[i] | 0x20 : host.data[i];
    if (rest.size == 0 || rest.data[0] != '/')
        *to++ = '/';
    if (rest.size)
        memcpy(to, rest.data, rest.size);
    *ret_url = (hf_slice){text, (uint64_t)(to - text) + rest.size};
    return 1;
}

static int32_t append_part(hf_buffer *text, hf_slice part)
{
    int32_t code = hf_buffer_append_format(text, "%llu:", (unsigned long long)part.size);

    return code == HF_OK ? hf_buffer_append(text, part.data, part.size) : code;
}

/* What else makes it another request: each part with its length before it. */
static int make_extra(struct gateway_caching *caching, hf_slice *ret_extra)
{
    struct gateway_exchange *exchange = caching->exchange;
    const struct gateway_plan_upstream *upstream = &exchange->generation->plan->upstreams[caching->upstream];
    hf_buffer text;

    hf_buffer_init(&text, GATEWAY_HEAD_OUT_MAX);
    int32_t code = append_part(&text, exchange->route->name);
    if (code == HF_OK)
        code = append_part(&text, hf_slice_of(upstream->upstream->name));
    for (uint32_t i = 0; i < caching->of->key_count && code == HF_OK; i++)
        code = append_part(
            &text, gateway_key_value(&caching->of->keys[i], &exchange->request, (hf_slice){NULL, 0}, &exchange->arena));
    if (code == HF_OK)
        code = hf_arena_copy(&exchange->arena, (hf_slice){text.data, text.size}, ret_extra);
    hf_buffer_done(&text);
    return code == HF_OK;
}

static int make_key(struct gateway_caching *caching)
{
    struct gateway_cache_key *key = &caching->key;

    if (!make_url(caching->exchange, &key->url) || !make_extra(caching, &key->extra))
        return 0;
    gateway_cache_hash(caching->cache, key);
    return 1;
}

/* ---- Edits ------------------------------------------------------------------------------------------------------- */

/* Sets a field in a list with room for one more; in place of an edit of that name. */
static void put_edit(struct gateway_edit *edits, uint32_t *count, const char *name, hf_slice value)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < *count; i++)
        if (!hf_http1_same(edits[i].name, hf_slice_of(name)))
            edits[kept++] = edits[i];
    edits[kept] = (struct gateway_edit){.name = hf_slice_of(name), .value = value};
    *count = kept + 1;
}

/* NULL: no memory. */
static struct gateway_edit *copy_edits(struct gateway_exchange *exchange, const struct gateway_edit *edits,
                                       uint32_t count)
{
    struct gateway_edit *copy = hf_arena_alloc(&exchange->arena, (count + OWN_EDITS) * sizeof *copy);

    if (copy && count)
        memcpy(copy, edits, count * sizeof *copy);
    return copy;
}

int32_t gateway_caching_condition(struct gateway_caching *caching)
{
    struct gateway_exchange *exchange = caching->exchange;
    const struct gateway_stored *stored = caching->stored;
    hf_slice none = {NULL, 0};
    uint32_t count = caching->own_edit_count;
    struct gateway_edit *edits = copy_edits(exchange, caching->own_edits, count);

    if (!edits)
        return HF_ENOMEM;
    put_edit(edits, &count, "If-None-Match", stored ? stored->etag : none);
    put_edit(edits, &count, "If-Modified-Since", stored ? stored->last_modified : none);
    caching->is_conditional = stored && (stored->etag.data || stored->last_modified.data);
    exchange->request_edits = edits;
    exchange->request_edit_count = count;
    return HF_OK;
}

/* The answer says what became of the request here, and how old it is; no memory: it does not. */
static void say_result(struct gateway_caching *caching, int32_t result, const struct gateway_stored *stored)
{
    struct gateway_exchange *exchange = caching->exchange;
    uint32_t count = exchange->response_edit_count;
    struct gateway_edit *edits = copy_edits(exchange, exchange->response_edits, count);
    char age[24];
    hf_slice text = {NULL, 0};

    if (!edits)
        return;
    if (caching->of->shows_result)
        put_edit(edits, &count, "X-Cache", hf_slice_of(gateway_cache_word(result)));
    if (stored) {
        uint64_t age_us = gateway_stored_age(stored, gateway_worker_now(exchange->worker));

        snprintf(age, sizeof age, "%llu", (unsigned long long)(age_us / 1000000));
        if (hf_arena_copy(&exchange->arena, hf_slice_of(age), &text) == HF_OK)
            put_edit(edits, &count, "Age", text);
    }
    exchange->response_edits = edits;
    exchange->response_edit_count = count;
}

/* ---- Giving what is stored --------------------------------------------------------------------------------------- */

static int64_t wall_s(const struct gateway_caching *caching)
{
    return (int64_t)(caching->worker->node->wall_us(caching->worker->host) / 1000000);
}

/* What RFC 9110, 15.4.5, wants in a 304, and what a client may need to know of it. */
static int is_for_304(hf_slice name)
{
    static const char *const names[] = {
        "cache-control", "content-location", "date", "etag",          "expires",
        "vary",          "set-cookie",       "link", "last-modified", "access-control-allow-origin"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (hf_http1_same(name, hf_slice_of(names[i])))
            return 1;
    return 0;
}

static int32_t write_304(const struct gateway_stored *stored, hf_buffer *text)
{
    int32_t code = hf_buffer_append_format(text, "HTTP/1.1 304 Not Modified\r\n");

    for (uint32_t i = 0; i < stored->header_count && code == HF_OK; i++) {
        const hf_http1_header *header = &stored->headers[i];

        if (is_for_304(header->name))
            code = hf_buffer_append(text, header->name.data,
                                    (uint64_t)(header->value.data - header->name.data) + header->value.size + 2);
    }
    return code == HF_OK ? hf_buffer_append(text, "\r\n", 2) : code;
}

/* 0: it could not be sent. */
static int send_304(struct gateway_caching *caching)
{
    struct gateway_exchange *exchange = caching->exchange;
    hf_http1_head *head = &exchange->worker->answer;
    hf_buffer text;
    int sent = 0;

    hf_buffer_init(&text, GATEWAY_HEAD_OUT_MAX);
    if (write_304(caching->stored, &text) == HF_OK &&
        hf_http1_parse_response((hf_slice){text.data, text.size}, exchange->head.method, head, NULL) > 0)
        sent = gateway_outflow_head(exchange, head, (hf_slice){text.data, text.size}, NULL) == HF_OK;
    hf_buffer_done(&text);
    return sent;
}

static int send_head(struct gateway_caching *caching)
{
    struct gateway_exchange *exchange = caching->exchange;
    hf_http1_head *head = &exchange->worker->answer;

    gateway_stored_head(caching->stored, hf_slice_is(exchange->head.method, "HEAD"), head);
    return gateway_outflow_head(exchange, head, caching->stored->head_bytes, NULL) == HF_OK;
}

static void send_body(struct gateway_caching *caching)
{
    struct gateway_exchange *exchange = caching->exchange;
    const struct gateway_body *body = caching->stored->body;

    if (exchange->outflow || body->size > AT_ONCE_MAX) {
        gateway_outflow_feed(exchange, body);
        return;
    }
    for (const struct gateway_chunk *chunk = body->first; chunk && !exchange->is_dead; chunk = chunk->next)
        gateway_exchange_answer_body(exchange, (hf_slice){chunk->bytes, chunk->size});
    exchange->account.is_whole = 1;
    if (!exchange->is_dead)
        exchange->front->calls->end(exchange->front, (hf_slice){NULL, 0});
}

/* Answers with caching->stored. */
static void give(struct gateway_caching *caching, int32_t result)
{
    struct gateway_exchange *exchange = caching->exchange;
    const struct gateway_stored *stored = caching->stored;
    struct gateway_front *front = exchange->front;
    int is_known = stored->status == 200 &&
                   gateway_cache_not_modified(&exchange->head, stored->etag, stored->last_modified, wall_s(caching));
    int has_body = !is_known && stored->body->size && !hf_slice_is(exchange->head.method, "HEAD");

    end_flight(caching);
    tally(caching, result);
    say_result(caching, result, stored);
    gateway_deadline_clear(&exchange->worker->wheel, &exchange->deadline);
    if (!(is_known ? send_304(caching) : send_head(caching))) {
        front->calls->destroy(front);
        return;
    }
    exchange->answered = 1;
    exchange->status = is_known ? 304 : stored->status;
    exchange->split.head_us = gateway_worker_now(exchange->worker);
    if (result == GATEWAY_CACHE_HIT)
        exchange->split.release = 0; /* it says nothing of the servers */
    if (has_body) {
        send_body(caching);
        return;
    }
    exchange->account.is_whole = 1;
    front->calls->end(front, (hf_slice){NULL, 0});
}

int32_t gateway_caching_stale(struct gateway_exchange *exchange)
{
    struct gateway_caching *caching = exchange->caching;
    struct gateway_stored *stored = caching->stored;

    if (!stored || exchange->answered || exchange->front->is_broken || caching->invalidates ||
        !gateway_cache_use_on_error(&stored->freshness,
                                    gateway_stored_age(stored, gateway_worker_now(exchange->worker)), &exchange->head))
        return 0;
    give(caching, GATEWAY_CACHE_STALE);
    return 1;
}

/* ---- Looking ----------------------------------------------------------------------------------------------------- */

/* Keeps what is stored for the request, if that is an answer.  1: it was given. */
static int use_stored(struct gateway_caching *caching, int *ret_passes)
{
    struct gateway_exchange *exchange = caching->exchange;
    uint64_t now_us = gateway_worker_now(exchange->worker), age_us;
    struct gateway_stored *stored = gateway_cache_find(caching->cache, &caching->key, &exchange->head);

    gateway_stored_release(caching->stored);
    caching->stored = stored;
    if (!stored)
        return 0;
    age_us = gateway_stored_age(stored, now_us);
    if (stored->passes) {
        *ret_passes = age_us < (uint64_t)stored->freshness.lifetime_s * 1000000;
        gateway_stored_release(stored);
        caching->stored = NULL;
        return 0;
    }
    switch (gateway_cache_use(&stored->freshness, age_us, &exchange->head, &caching->wishes)) {
    case GATEWAY_USE_FRESH:
        give(caching, GATEWAY_CACHE_HIT);
        return 1;
    case GATEWAY_USE_REFRESH:
        gateway_refresh_begin(caching);
        give(caching, GATEWAY_CACHE_STALE);
        return 1;
    case GATEWAY_USE_WANTED_STALE:
        give(caching, GATEWAY_CACHE_STALE);
        return 1;
    default:
        return 0;
    }
}

static void be_patient(struct gateway_caching *caching)
{
    uint64_t now_us = gateway_worker_now(caching->worker);

    caching->is_waiting = 1;
    if (!caching->patient_until_us)
        caching->patient_until_us = now_us + caching->of->wait_timeout_us;
    gateway_worker_deadline(caching->worker, &caching->patience, caching->patient_until_us);
}

static int is_patient(const struct gateway_caching *caching)
{
    return caching->of->wait_timeout_us &&
           (!caching->patient_until_us || gateway_worker_now(caching->worker) < caching->patient_until_us);
}

/* What comes for one user says nothing of what others get. */
static int is_of_one_user(const struct gateway_caching *caching)
{
    return hf_http1_header_find(&caching->exchange->head, "authorization").data != NULL;
}

/* Nobody waits for what may be for one user only, nor does that user for others. */
static struct gateway_cache_key flight_key(const struct gateway_caching *caching)
{
    struct gateway_cache_key key = caching->key;

    if (is_of_one_user(caching))
        key.extra = hf_slice_of("authorization");
    return key;
}

/* 1: somebody fetches the same already, and the request waits.  Whoever goes beside another one stores nothing. */
static int wait_for_other(struct gateway_caching *caching, int passes)
{
    struct gateway_cache_waiter *waiter = !passes && is_patient(caching) ? &caching->waiter : NULL;
    struct gateway_cache_key key = flight_key(caching);

    if (gateway_flight_begin(caching->cache, &key, waiter, &caching->flight) != GATEWAY_FLIGHT_WAITS || !waiter)
        return 0;
    be_patient(caching);
    return 1;
}

/* 1: it was answered, or waits; 0: a server is to be asked. */
static int look(struct gateway_caching *caching)
{
    struct gateway_exchange *exchange = caching->exchange;
    int passes = 0;

    if (use_stored(caching, &passes))
        return 1;
    if (caching->wishes.said & GATEWAY_ONLY_IF_CACHED) {
        gateway_exchange_refuse(exchange, 504, "the client wants nothing but what is stored, and nothing is");
        return 1;
    }
    passes |= is_of_one_user(caching);
    if (hf_slice_is(exchange->head.method, "GET")) {
        if (wait_for_other(caching, passes))
            return 1;
        if (!passes)
            (void)gateway_caching_condition(caching); /* without memory the client's own go on */
    }
    caching->began_us = gateway_worker_now(exchange->worker);
    return 0;
}

int32_t gateway_caching_begin(struct gateway_exchange *exchange, uint32_t upstream)
{
    struct gateway_cache_control wishes;
    int invalidates = gateway_cache_invalidates(exchange->head.method);
    struct gateway_caching *caching;

    gateway_cache_control_read(&wishes, &exchange->head);
    if (!invalidates && !gateway_cache_looks(&exchange->head, &wishes))
        return 0;
    caching = gateway_caching_create(exchange, upstream);
    if (!caching)
        return 0; /* a server answers as well */
    caching->wishes = wishes;
    caching->invalidates = invalidates;
    if (make_key(caching))
        return invalidates ? 0 : look(caching);
    gateway_caching_free(exchange);
    return 0;
}

/* ---- Waiting ----------------------------------------------------------------------------------------------------- */

static void woken(hf_task *task)
{
    struct gateway_caching *caching = (struct gateway_caching *)((char *)task - offsetof(struct gateway_caching, task));
    struct gateway_worker *worker = caching->worker;

    if (!caching->exchange) {
        forget_left(caching);
        return;
    }
    caching->is_waiting = 0;
    gateway_deadline_clear(&worker->wheel, &caching->patience);
    if (!caching->exchange->is_dead && !look(caching))
        gateway_exchange_forward(caching->exchange, caching->upstream);
    gateway_worker_settle(worker);
}

/* It goes itself, in the place of the other one. */
static void impatient(struct gateway_deadline *deadline)
{
    struct gateway_caching *caching =
        (struct gateway_caching *)((char *)deadline - offsetof(struct gateway_caching, patience));

    if (!gateway_flight_leave(caching->cache, &caching->waiter, caching->key.hash, 1))
        return; /* it is being woken */
    caching->is_waiting = 0;
    if (!look(caching))
        gateway_exchange_forward(caching->exchange, caching->upstream);
}

/* ---- What a server answers --------------------------------------------------------------------------------------- */

/* Others need not wait: what comes is for this client alone.  What is stored may still be of use while servers fail. */
static void pass(struct gateway_caching *caching, uint32_t status)
{
    uint64_t now_us = gateway_worker_now(caching->worker);
    struct gateway_stored *marker;

    if (!caching->flight)
        return;
    marker = is_of_one_user(caching) || (caching->stored && status >= 500)
                 ? NULL
                 : gateway_stored_pass(&caching->key, now_us, now_us + PASS_US);
    if (marker)
        gateway_cache_put(caching->cache, marker, &caching->exchange->head, caching->flight);
    end_flight(caching);
}

static int begin_filling(struct gateway_caching *caching, const hf_http1_head *head, hf_slice bytes)
{
    struct gateway_exchange *exchange = caching->exchange;

    if (hf_arena_copy(&exchange->arena, bytes, &caching->answer_bytes) != HF_OK)
        return 0;
    caching->filling = gateway_body_create();
    caching->expected = head->body == HF_HTTP1_BODY_LENGTH ? head->content_length : UINT64_MAX;
    return caching->filling != NULL;
}

static uint64_t delay_us(const struct gateway_caching *caching)
{
    return gateway_worker_now(caching->worker) - caching->began_us;
}

int32_t gateway_caching_head(struct gateway_exchange *exchange, const hf_http1_head *head, hf_slice bytes)
{
    struct gateway_caching *caching = exchange->caching;

    caching->is_validated = 0;
    if (caching->filling) /* of an answer that could not be sent */
        drop_filling(caching);
    if (caching->invalidates) {
        if (head->status >= 200 && head->status < 400)
            (void)gateway_cache_forget(caching->cache, caching->key.url);
        return GATEWAY_CACHING_PASSES;
    }
    if (caching->is_conditional && head->status == 304) {
        caching->is_validated = 1;
        return hf_arena_copy(&exchange->arena, bytes, &caching->answer_bytes) == HF_OK ? GATEWAY_CACHING_VALIDATES
                                                                                       : GATEWAY_CACHING_REPLACES;
    }
    if (gateway_cache_is_error(head->status) && caching->stored &&
        gateway_cache_use_on_error(&caching->stored->freshness,
                                   gateway_stored_age(caching->stored, gateway_worker_now(exchange->worker)),
                                   &exchange->head))
        return GATEWAY_CACHING_REPLACES;
    say_result(caching, GATEWAY_CACHE_MISS, NULL);
    if (!caching->flight ||
        !gateway_cache_stores(&caching->of->rules, &exchange->head, head, wall_s(caching), delay_us(caching),
                              &caching->freshness) ||
        !begin_filling(caching, head, bytes))
        pass(caching, head->status);
    return GATEWAY_CACHING_PASSES;
}

/* 0: there is no room for so many bytes more. */
static int reserve(struct gateway_caching *caching, uint64_t size)
{
    uint64_t before = atomic_fetch_add_explicit(&caching->cache->filling, size, memory_order_relaxed);

    caching->reserved += size;
    return before + size <= caching->cache->memory_maximum / FILLING_SHARE &&
           caching->filling->size + size <= caching->of->rules.object_maximum;
}

void gateway_caching_body(struct gateway_exchange *exchange, hf_slice piece)
{
    struct gateway_caching *caching = exchange->caching;
    uint64_t expected = caching->expected;

    if (!caching->filling)
        return;
    if (expected != UINT64_MAX)
        caching->expected -= piece.size < expected ? piece.size : expected;
    if (reserve(caching, piece.size) && gateway_body_append(caching->filling, piece, expected) == HF_OK)
        return;
    drop_filling(caching);
    pass(caching, exchange->status);
}

/* The head that was kept, as it was read; NULL: it cannot be read any more. */
static const hf_http1_head *kept_head(const struct gateway_caching *caching)
{
    hf_http1_head *head = &caching->worker->answer;

    return hf_http1_parse_response(caching->answer_bytes, caching->exchange->head.method, head, NULL) > 0 ? head : NULL;
}

static void store(struct gateway_caching *caching)
{
    struct gateway_exchange *exchange = caching->exchange;
    const hf_http1_head *head = kept_head(caching);
    struct gateway_stored *stored = NULL;

    if (head)
        stored = gateway_stored_create(&caching->key, &exchange->head, head, &caching->freshness, caching->filling,
                                       gateway_worker_now(exchange->worker));
    if (stored)
        gateway_cache_put(caching->cache, stored, &exchange->head, caching->flight);
    drop_filling(caching);
    if (!stored)
        pass(caching, exchange->status);
    end_flight(caching);
}

/* What is stored gets the fields that the server has now, and is stored anew if it may be. */
static void freshen(struct gateway_caching *caching)
{
    struct gateway_exchange *exchange = caching->exchange;
    const hf_http1_head *head = kept_head(caching);
    struct gateway_freshness freshness = {0};
    struct gateway_stored *stored = NULL;
    hf_http1_head merged;
    int may_store = 0;

    if (head) {
        gateway_stored_merge(caching->stored, head, &merged);
        may_store = gateway_cache_stores(&caching->of->rules, &exchange->head, &merged, wall_s(caching),
                                         delay_us(caching), &freshness);
        stored = gateway_stored_freshen(caching->stored, &exchange->head, head, &freshness,
                                        gateway_worker_now(exchange->worker));
    }
    if (!stored)
        return; /* what there is, is right, if it looks older than it is */
    gateway_stored_hold(stored);
    if (may_store && caching->flight)
        gateway_cache_put(caching->cache, stored, &exchange->head, caching->flight);
    else
        gateway_stored_release(stored);
    if (!may_store)
        (void)gateway_cache_forget(caching->cache, caching->key.url);
    gateway_stored_release(caching->stored);
    caching->stored = stored;
}

int32_t gateway_caching_answered(struct gateway_exchange *exchange)
{
    struct gateway_caching *caching = exchange->caching;

    if (caching->is_validated) {
        freshen(caching);
        give(caching, GATEWAY_CACHE_REVALIDATED);
        return 1;
    }
    if (caching->filling)
        store(caching);
    return 0;
}

void gateway_caching_give_up(struct gateway_exchange *exchange)
{
    struct gateway_caching *caching = exchange->caching;

    end_flight(caching);
    caching->is_conditional = 0;
    exchange->request_edits = caching->own_edits;
    exchange->request_edit_count = caching->own_edit_count;
}
