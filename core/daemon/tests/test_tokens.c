/* Who may do what: tokens, anonymous clients, tables, and replacing the set while others ask. */
#include "daemon/tokens.h"
#include "kit.h"

#include <holdfast/lib/value.h>
#include <pthread.h>
#include <stdatomic.h>

#define BASE "node: { name = \"n1\"; }; processes: { run: { main: { }; }; };"
#define TOKENS                                                                                                         \
    "tokens: { app: { sha256 = \"" DIGEST_OF_ALPHA "\"; role = \"writer\"; tables = [ \"a\", \"b\" ]; };"              \
    " root: { sha256 = \"" DIGEST_OF_BETA "\"; role = \"admin\"; }; };"

static hf_tokens *create(const char *text, int loopback)
{
    hf_config_generation *generation = settings_good(text);
    hf_tokens *tokens = NULL;

    assert_int_equal(hf_tokens_create(generation, loopback, &tokens, NULL), 0);
    hf_config_generation_free(generation); /* everything is copied */
    return tokens;
}

static void replace(hf_tokens *tokens, const char *text)
{
    hf_config_generation *generation = settings_good(text);
    hf_token_set *set = NULL;

    assert_int_equal(hf_tokens_prepare(tokens, generation, &set, NULL), 0);
    hf_tokens_replace(tokens, set);
    hf_config_generation_free(generation);
}

static int32_t identify(hf_tokens *tokens, const char *authorization, hf_http_principal *ret_principal)
{
    hf_http_authority authority = hf_tokens_authority(tokens);
    hf_slice header = {NULL, 0};

    if (authorization)
        header = hf_slice_of(authorization);
    return authority.identify(authority.arg, header, ret_principal, NULL);
}

static int32_t anonymous(hf_tokens *tokens)
{
    hf_http_principal principal = {.user = 7, .right = 77};

    assert_int_equal(identify(tokens, NULL, &principal), 0);
    assert_int_equal(principal.user, 0);
    assert_null(principal.grant);
    return principal.right;
}

static int32_t allowed(hf_tokens *tokens, const hf_http_principal *principal, int32_t right, const char *table)
{
    hf_http_authority authority = hf_tokens_authority(tokens);

    return authority.allowed(authority.arg, principal, right, hf_slice_of(table));
}

static void tokens_are_known(void **state)
{
    hf_tokens *tokens = create(BASE TOKENS, 1);
    hf_http_principal app = {0}, root = {0};

    (void)state;
    assert_int_equal(identify(tokens, "Bearer alpha", &app), 0);
    assert_int_equal(app.right, HF_HTTP_WRITE);
    assert_int_equal(identify(tokens, "bearer  beta", &root), 0); /* the scheme's case does not matter */
    assert_int_equal(root.right, HF_HTTP_ADMIN);
    assert_true(app.user && root.user && app.user != root.user);
    assert_int_equal(allowed(tokens, &app, HF_HTTP_WRITE, "a"), 1);
    assert_int_equal(allowed(tokens, &app, HF_HTTP_READ, "b"), 1);
    assert_int_equal(allowed(tokens, &app, HF_HTTP_READ, "c"), 0);
    assert_int_equal(allowed(tokens, &app, HF_HTTP_READ, "aa"), 0);
    assert_int_equal(allowed(tokens, &app, HF_HTTP_ADMIN, "a"), 0);
    assert_int_equal(allowed(tokens, &root, HF_HTTP_ADMIN, "c"), 1);
    hf_tokens_destroy(tokens);
}

static void others_are_refused(void **state)
{
    static const char *const wrong[] = {"Bearer gamma",  "Bearer ",     "Bearer", "Basic alpha", "",
                                        "Bearer alpha ", "Bearer alph", "alpha"};
    hf_tokens *tokens = create(BASE TOKENS, 1);
    hf_http_principal principal = {0};

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (identify(tokens, wrong[i], &principal) != HF_EDENIED)
            fail_msg("'%s'", wrong[i]);
    assert_int_equal(anonymous(tokens), HF_HTTP_PUBLIC);
    hf_tokens_destroy(tokens);
}

static void anonymous_rights(void **state)
{
    static const struct {
        const char *text;
        int loopback;
        int32_t right;
    } cases[] = {
        {BASE, 1, HF_HTTP_ADMIN},
        {BASE, 0, HF_HTTP_PUBLIC}, /* also when a reload takes the last token away */
        {BASE TOKENS, 1, HF_HTTP_PUBLIC},
        {BASE "http: { anonymous = \"none\"; };", 1, HF_HTTP_PUBLIC},
        {BASE "http: { anonymous = \"reader\"; };" TOKENS, 0, HF_HTTP_READ},
        {BASE "http: { anonymous = \"writer\"; };", 1, HF_HTTP_WRITE},
        {BASE "http: { anonymous = \"admin\"; };", 0, HF_HTTP_ADMIN},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hf_tokens *tokens = create(cases[i].text, cases[i].loopback);
        assert_int_equal(anonymous(tokens), cases[i].right);
        hf_tokens_destroy(tokens);
    }
}

static void replacing_keeps_what_was_granted(void **state)
{
    hf_tokens *tokens = create(BASE TOKENS, 1);
    hf_http_principal old = {0}, now = {0};

    (void)state;
    assert_int_equal(identify(tokens, "Bearer alpha", &old), 0);
    replace(tokens, BASE "tokens: { other: { sha256 = \"" DIGEST_OF_BETA "\"; role = \"reader\"; }; };");
    assert_int_equal(identify(tokens, "Bearer alpha", &now), HF_EDENIED);
    assert_int_equal(identify(tokens, "Bearer beta", &now), 0);
    assert_int_equal(now.right, HF_HTTP_READ);
    assert_int_equal(allowed(tokens, &old, HF_HTTP_WRITE, "a"), 1); /* a request under way ends as it began */
    hf_tokens_destroy(tokens);
}

/* ---- From other threads ------------------------------------------------------------------------------------------ */

struct asking {
    hf_tokens *tokens;
    atomic_int stop, ready;
    atomic_uint wrong;
};

static void *ask(void *arg)
{
    struct asking *asking = arg;
    hf_http_principal principal = {0};

    do {
        /* Both sets know it, with the same right. */
        if (identify(asking->tokens, "Bearer beta", &principal) != 0 || principal.right != HF_HTTP_ADMIN ||
            !allowed(asking->tokens, &principal, HF_HTTP_ADMIN, "x"))
            atomic_fetch_add(&asking->wrong, 1);
        atomic_store(&asking->ready, 1);
    } while (!atomic_load(&asking->stop));
    return NULL;
}

static void replacing_while_others_ask(void **state)
{
    struct asking asking = {.tokens = create(BASE TOKENS, 1)};
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, ask, &asking), 0);
    while (!atomic_load(&asking.ready))
        ;
    for (int i = 0; i < 200; i++)
        replace(asking.tokens, i & 1 ? BASE TOKENS
                                     : BASE "tokens: { x: { sha256 = \"" DIGEST_OF_BETA
                                            "\"; role = \"operator\"; }; };");
    atomic_store(&asking.stop, 1);
    pthread_join(thread, NULL);
    assert_int_equal(atomic_load(&asking.wrong), 0);
    hf_tokens_destroy(asking.tokens);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_are_known),           cmocka_unit_test(others_are_refused),
        cmocka_unit_test(anonymous_rights),           cmocka_unit_test(replacing_keeps_what_was_granted),
        cmocka_unit_test(replacing_while_others_ask),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
