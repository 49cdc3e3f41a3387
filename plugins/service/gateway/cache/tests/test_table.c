/* Shows what is found of what was stored, that memory is bounded, what makes answers invalid, and that of those who
 * want the same one goes and the others are woken; also by many threads at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cache/cache.h"

#include <holdfast/lib/hash.h>
#include <holdfast/lib/value.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define S UINT64_C(1000000)

static const struct gateway_freshness fresh = {.lifetime_s = 60};

static hf_http1_head parsed_request(const char *text)
{
    hf_http1_head head;

    assert_true(hf_http1_parse_request(hf_slice_of(text), &head, NULL) > 0);
    return head;
}

static hf_http1_head parsed_answer(const char *text)
{
    hf_http1_head head;

    assert_true(hf_http1_parse_response(hf_slice_of(text), hf_slice_of("GET"), &head, NULL) > 0);
    return head;
}

#define PLAIN  "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define ANSWER "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 5\r\n\r\n"

static struct gateway_cache_key key_of(const struct gateway_cache *cache, const char *url, const char *extra)
{
    struct gateway_cache_key key = {hf_slice_of(url), hf_slice_of(extra), 0};

    gateway_cache_hash(cache, &key);
    return key;
}

static struct gateway_body *body_of(const void *bytes, uint64_t size)
{
    struct gateway_body *body = gateway_body_create();

    assert_non_null(body);
    assert_int_equal(gateway_body_append(body, (hf_slice){bytes, size}, size), HF_OK);
    return body;
}

static struct gateway_stored *make(const struct gateway_cache_key *key, const char *request, const char *answer,
                                   const char *text, uint64_t now_us)
{
    hf_http1_head asked = parsed_request(request), said = parsed_answer(answer);
    struct gateway_body *body = body_of(text, strlen(text));
    struct gateway_stored *stored = gateway_stored_create(key, &asked, &said, &fresh, body, now_us);

    assert_non_null(stored);
    gateway_body_release(body);
    return stored;
}

static void put(struct gateway_cache *cache, const char *url, const char *request, const char *answer, const char *text)
{
    struct gateway_cache_key key = key_of(cache, url, "");
    hf_http1_head asked = parsed_request(request);

    gateway_cache_put(cache, make(&key, request, answer, text, 1), &asked, NULL);
}

/* The body of what is found, or NULL. */
static const char *found(struct gateway_cache *cache, const char *url, const char *request)
{
    static char text[64];
    struct gateway_cache_key key = key_of(cache, url, "");
    hf_http1_head asked = parsed_request(request);
    struct gateway_stored *stored = gateway_cache_find(cache, &key, &asked);

    if (!stored)
        return NULL;
    snprintf(text, sizeof text, "%.*s", (int)stored->body->first->size, (const char *)stored->body->first->bytes);
    gateway_stored_release(stored);
    return text;
}

static struct gateway_cache *create(void)
{
    struct gateway_cache *cache = gateway_cache_create("c", 1 << 20, 64 << 10, 7);

    assert_non_null(cache);
    return cache;
}

/* ---- One answer -------------------------------------------------------------------------------------------------- */

static void a_head_is_kept_without_what_concerns_the_connection(void **state)
{
    struct gateway_cache *cache = create();
    struct gateway_cache_key key = key_of(cache, "http://a/", "");
    struct gateway_stored *stored =
        make(&key, PLAIN,
             "HTTP/1.1 404 Not There\r\nConnection: close, x-hop\r\nX-Hop: 1\r\nX-A: 1\r\nAge: 5\r\nEmpty:\r\n"
             "Transfer-Encoding: chunked\r\nLast-Modified: x\r\nX-A: 2\r\n\r\n",
             "hello", 5 * S);
    hf_http1_head head, again;

    (void)state;
    static const char expected[] =
        "HTTP/1.1 404 Not There\r\nX-A: 1\r\nEmpty: \r\nLast-Modified: x\r\nX-A: 2\r\nContent-Length: 5\r\n\r\n";
    assert_int_equal(stored->head_bytes.size, strlen(expected));
    assert_memory_equal(stored->head_bytes.data, expected, strlen(expected));
    gateway_stored_head(stored, 0, &head);
    assert_true(hf_http1_parse_response(stored->head_bytes, hf_slice_of("GET"), &again, NULL) > 0);
    assert_int_equal(head.status, 404);
    assert_int_equal(head.header_count, again.header_count);
    for (uint32_t i = 0; i < head.header_count; i++) {
        assert_ptr_equal(head.headers[i].name.data, again.headers[i].name.data);
        assert_true(hf_slice_equal(head.headers[i].value, again.headers[i].value));
    }
    assert_int_equal(head.body, again.body);
    assert_int_equal(head.content_length, 5);
    gateway_stored_head(stored, 1, &head);
    assert_int_equal(head.body, HF_HTTP1_BODY_NONE);
    assert_null(stored->etag.data);
    assert_true(hf_slice_is(stored->last_modified, "x"));
    assert_int_equal(gateway_stored_age(stored, 9 * S), 4 * S);
    assert_int_equal(gateway_stored_age(stored, 4 * S), 0);
    gateway_stored_release(stored);
    gateway_cache_release(cache);
}

static void a_304_gives_it_other_fields(void **state)
{
    struct gateway_cache *cache = create();
    struct gateway_cache_key key = key_of(cache, "http://a/", "");
    struct gateway_stored *before = make(
        &key, PLAIN, "HTTP/1.1 200 OK\r\nX-A: 1\r\nX-A: 2\r\nContent-Type: t\r\nContent-Length: 5\r\n\r\n", "hello", 1);
    hf_http1_head asked = parsed_request(PLAIN);
    hf_http1_head said =
        parsed_answer("HTTP/1.1 304 Not Modified\r\nX-A: 3\r\nContent-Type: u\r\nX-B: 1\r\nContent-Length: 9\r\n\r\n");
    struct gateway_stored *after = gateway_stored_freshen(before, &asked, &said, &fresh, 2);
    static const char expected[] =
        "HTTP/1.1 200 OK\r\nContent-Type: t\r\nX-A: 3\r\nX-B: 1\r\nContent-Length: 5\r\n\r\n";

    (void)state;
    assert_non_null(after);
    assert_int_equal(after->head_bytes.size, strlen(expected));
    assert_memory_equal(after->head_bytes.data, expected, strlen(expected));
    assert_ptr_equal(after->body, before->body);
    gateway_stored_release(before);
    assert_memory_equal(after->body->first->bytes, "hello", 5);
    gateway_stored_release(after);
    gateway_cache_release(cache);
}

static void bodies_come_in_pieces(void **state)
{
    static uint8_t bytes[300000];
    hf_random random;

    (void)state;
    hf_random_init(&random, 1);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)hf_random_next(&random);
    for (int is_known = 0; is_known < 2; is_known++) {
        struct gateway_body *body = gateway_body_create();
        uint64_t at = 0;

        while (at < sizeof bytes) {
            uint64_t size = 1 + hf_random_below(&random, 5000);

            size = size < sizeof bytes - at ? size : sizeof bytes - at;
            assert_int_equal(
                gateway_body_append(body, (hf_slice){bytes + at, size}, is_known ? sizeof bytes - at : UINT64_MAX),
                HF_OK);
            at += size;
        }
        assert_int_equal(body->size, sizeof bytes);
        assert_true(body->memory < sizeof bytes + (is_known ? 1000 : GATEWAY_CHUNK_SIZE + 1000));
        at = 0;
        for (const struct gateway_chunk *chunk = body->first; chunk; chunk = chunk->next) {
            assert_memory_equal(chunk->bytes, bytes + at, chunk->size);
            at += chunk->size;
        }
        assert_int_equal(at, sizeof bytes);
        gateway_body_release(body);
    }
}

/* ---- The table --------------------------------------------------------------------------------------------------- */

static void what_was_put_is_found(void **state)
{
    struct gateway_cache *cache = create();
    struct gateway_cache_key other = key_of(cache, "http://a/", "x");
    hf_http1_head asked = parsed_request(PLAIN);

    (void)state;
    assert_null(found(cache, "http://a/", PLAIN));
    put(cache, "http://a/", PLAIN, ANSWER, "one");
    assert_string_equal(found(cache, "http://a/", PLAIN), "one");
    assert_null(found(cache, "http://a/x", PLAIN));
    assert_null(gateway_cache_find(cache, &other, &asked));
    put(cache, "http://a/", PLAIN, ANSWER, "two"); /* in its place */
    assert_string_equal(found(cache, "http://a/", PLAIN), "two");
    assert_int_equal(gateway_cache_forget(cache, hf_slice_of("http://a/")), 1);
    assert_null(found(cache, "http://a/", PLAIN));
    gateway_cache_release(cache);
}

#define WITH(fields) "GET / HTTP/1.1\r\nHost: a\r\n" fields "\r\n"
#define VARIES       "HTTP/1.1 200 OK\r\nVary: Accept, x-a\r\nContent-Length: 5\r\n\r\n"

static void answers_vary(void **state)
{
    static const char *const requests[] = {WITH(""), WITH("Accept: a\r\n"), WITH("Accept:\r\n"),
                                           WITH("Accept: a\r\nX-A: 1\r\n"), WITH("Accept: a\r\nAccept: b\r\n")};
    struct gateway_cache *cache = create();
    char text[8];

    (void)state;
    for (int i = 0; i < 5; i++) {
        snprintf(text, sizeof text, "%d", i);
        assert_null(found(cache, "http://a/", requests[i]));
        put(cache, "http://a/", requests[i], VARIES, text);
    }
    for (int i = 0; i < 5; i++) {
        snprintf(text, sizeof text, "%d", i);
        assert_string_equal(found(cache, "http://a/", requests[i]), text);
    }
    assert_string_equal(found(cache, "http://a/", WITH("accept: a, b\r\nOther: 1\r\n")), "4");
    assert_int_equal(gateway_cache_forget(cache, hf_slice_of("http://a/")), 5); /* all of them */
    gateway_cache_release(cache);
}

static void variants_are_bounded(void **state)
{
    struct gateway_cache *cache = create();
    char request[64];
    uint64_t count, memory;

    (void)state;
    for (int i = 0; i < 100; i++) {
        snprintf(request, sizeof request, WITH("Accept: %d\r\n"), i);
        put(cache, "http://a/", request, VARIES, "x");
    }
    gateway_cache_measure(cache, &count, &memory);
    assert_int_equal(count, GATEWAY_CACHE_VARIANTS_MAX);
    assert_non_null(found(cache, "http://a/", request));
    gateway_cache_release(cache);
}

static void memory_is_bounded(void **state)
{
    struct gateway_cache *cache = create();
    char url[64], *text = calloc(1, 40001);
    uint64_t count, memory;

    (void)state;
    assert_non_null(text);
    memset(text, 'x', 40000);
    put(cache, "http://a/kept", PLAIN, ANSWER, "kept");
    for (int i = 0; i < 200; i++) {
        snprintf(url, sizeof url, "http://a/%d", i);
        put(cache, url, PLAIN, ANSWER, text);
        gateway_cache_measure(cache, &count, &memory);
        assert_true(memory <= 1 << 20);
        assert_string_equal(found(cache, "http://a/kept", PLAIN), "kept"); /* since it is used */
    }
    assert_true(count >= 15);
    assert_non_null(found(cache, "http://a/199", PLAIN));
    assert_null(found(cache, "http://a/0", PLAIN));
    free(text);
    gateway_cache_release(cache);
}

static void what_is_held_outlives_the_table(void **state)
{
    struct gateway_cache *cache = create();
    struct gateway_cache_key key = key_of(cache, "http://a/", "");
    hf_http1_head asked = parsed_request(PLAIN);

    (void)state;
    put(cache, "http://a/", PLAIN, ANSWER, "hello");
    struct gateway_stored *stored = gateway_cache_find(cache, &key, &asked);
    assert_non_null(stored);
    assert_int_equal(gateway_cache_purge(cache, hf_slice_of("")), 1);
    gateway_cache_release(cache);
    assert_memory_equal(stored->body->first->bytes, "hello", 5);
    gateway_stored_release(stored);
}

static void prefixes_are_purged(void **state)
{
    struct gateway_cache *cache = create();
    char url[64];

    (void)state;
    for (int i = 0; i < 100; i++) {
        snprintf(url, sizeof url, "http://%c/%d", i % 2 ? 'a' : 'b', i);
        put(cache, url, PLAIN, ANSWER, "x");
    }
    assert_int_equal(gateway_cache_purge(cache, hf_slice_of("http://a/")), 50);
    assert_int_equal(gateway_cache_purge(cache, hf_slice_of("http://a/")), 0);
    assert_null(found(cache, "http://a/1", PLAIN));
    assert_non_null(found(cache, "http://b/2", PLAIN));
    gateway_cache_release(cache);
}

/* ---- Flights ----------------------------------------------------------------------------------------------------- */

static int woken;

static void wake(struct gateway_cache_waiter *waiter)
{
    assert_null(waiter->flight);
    woken++;
}

static void one_goes_and_others_are_woken(void **state)
{
    struct gateway_cache *cache = create();
    struct gateway_cache_key key = key_of(cache, "http://a/", "x"), other = key_of(cache, "http://a/", "y");
    struct gateway_cache_waiter waiters[3] = {{.wake = wake}, {.wake = wake}, {.wake = wake}};
    struct gateway_flight *flight = NULL, *second = NULL, *third = NULL;

    (void)state;
    woken = 0;
    assert_int_equal(gateway_flight_begin(cache, &key, &waiters[0], &flight), GATEWAY_FLIGHT_LEADS);
    for (int i = 0; i < 3; i++)
        assert_int_equal(gateway_flight_begin(cache, &key, &waiters[i], &third), GATEWAY_FLIGHT_WAITS);
    assert_int_equal(gateway_flight_begin(cache, &key, NULL, &third), GATEWAY_FLIGHT_WAITS);
    assert_int_equal(gateway_flight_begin(cache, &other, NULL, &second), GATEWAY_FLIGHT_LEADS);
    assert_int_equal(gateway_flight_leave(cache, &waiters[1], key.hash, 0), 1);
    assert_int_equal(gateway_flight_leave(cache, &waiters[1], key.hash, 0), 0);
    gateway_flight_end(cache, flight);
    assert_int_equal(woken, 2);
    assert_int_equal(gateway_flight_leave(cache, &waiters[0], key.hash, 0), 0);
    gateway_flight_end(cache, second);
    assert_int_equal(gateway_flight_begin(cache, &key, NULL, &flight), GATEWAY_FLIGHT_LEADS);
    gateway_flight_end(cache, flight);
    gateway_cache_release(cache);
}

static void what_has_become_invalid_is_not_stored(void **state)
{
    struct gateway_cache *cache = create();
    struct gateway_cache_key key = key_of(cache, "http://a/b", "");
    struct gateway_cache_waiter waiter = {.wake = wake};
    struct gateway_flight *flight, *next;
    hf_http1_head asked = parsed_request(PLAIN);

    (void)state;
    for (int how = 0; how < 3; how++) {
        assert_int_equal(gateway_flight_begin(cache, &key, NULL, &flight), GATEWAY_FLIGHT_LEADS);
        if (how == 0) {
            gateway_cache_forget(cache, key.url);
        } else if (how == 1) {
            gateway_cache_purge(cache, hf_slice_of("http://a/"));
        } else { /* somebody has waited for long enough */
            assert_int_equal(gateway_flight_begin(cache, &key, &waiter, &next), GATEWAY_FLIGHT_WAITS);
            assert_int_equal(gateway_flight_leave(cache, &waiter, key.hash, 1), 1);
        }
        assert_int_equal(gateway_flight_begin(cache, &key, NULL, &next), GATEWAY_FLIGHT_LEADS); /* beside it */
        gateway_cache_put(cache, make(&key, PLAIN, ANSWER, "old", 1), &asked, flight);
        assert_null(found(cache, "http://a/b", PLAIN));
        gateway_cache_put(cache, make(&key, PLAIN, ANSWER, "new", 1), &asked, next);
        assert_string_equal(found(cache, "http://a/b", PLAIN), "new");
        gateway_flight_end(cache, flight);
        gateway_flight_end(cache, next);
        gateway_cache_forget(cache, key.url);
    }
    gateway_cache_release(cache);
}

/* ---- Threads ----------------------------------------------------------------------------------------------------- */

static void *work(void *arg)
{
    struct gateway_cache *cache = arg;
    hf_random random;
    char url[64], text[96];

    hf_random_init(&random, (uint64_t)(uintptr_t)&random);
    for (int i = 0; i < 5000; i++) {
        uint64_t number = hf_random_below(&random, 50);
        struct gateway_cache_key key;
        hf_http1_head asked = parsed_request(PLAIN);
        struct gateway_stored *stored;

        snprintf(url, sizeof url, "http://a/%llu", (unsigned long long)number);
        snprintf(text, sizeof text, "body of %s", url);
        key = key_of(cache, url, "");
        stored = gateway_cache_find(cache, &key, &asked);
        if (stored && memcmp(stored->body->first->bytes, text, strlen(text)) != 0)
            abort();
        gateway_stored_release(stored);
        if (!stored) {
            struct gateway_flight *flight = NULL;

            if (gateway_flight_begin(cache, &key, NULL, &flight) != GATEWAY_FLIGHT_LEADS)
                continue;
            gateway_cache_put(cache, make(&key, PLAIN, ANSWER, text, 1), &asked, flight);
            gateway_flight_end(cache, flight);
        }
        if (number == 0)
            gateway_cache_purge(cache, hf_slice_of("http://a/1"));
        else if (number == 1)
            gateway_cache_forget(cache, key.url);
    }
    return NULL;
}

static void threads_share_it(void **state)
{
    struct gateway_cache *cache = create();
    pthread_t threads[4];

    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, cache), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    gateway_cache_release(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_head_is_kept_without_what_concerns_the_connection),
                                       cmocka_unit_test(a_304_gives_it_other_fields),
                                       cmocka_unit_test(bodies_come_in_pieces),
                                       cmocka_unit_test(what_was_put_is_found),
                                       cmocka_unit_test(answers_vary),
                                       cmocka_unit_test(variants_are_bounded),
                                       cmocka_unit_test(memory_is_bounded),
                                       cmocka_unit_test(what_is_held_outlives_the_table),
                                       cmocka_unit_test(prefixes_are_purged),
                                       cmocka_unit_test(one_goes_and_others_are_woken),
                                       cmocka_unit_test(what_has_become_invalid_is_not_stored),
                                       cmocka_unit_test(threads_share_it)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
