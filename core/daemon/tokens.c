/* Sets of tokens are immutable.  The one in force is behind an atomic pointer, and none is freed before the end, so
 * that a request's grant stays valid however long the request lives.  See tokens.h. */
#include "daemon/tokens.h"

#include "daemon/settings.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/hash.h>
#include <holdfast/lib/value.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct token {
    uint8_t digest[HF_TOKEN_DIGEST_SIZE];
    uint64_t user;
    int32_t right;
    uint64_t table_count;
    char **tables; /* none: all */
};

struct hf_token_set {
    hf_token_set *earlier;
    int32_t anonymous; /* HF_HTTP_... */
    uint64_t count;
    struct token *tokens;
};

struct hf_tokens {
    _Atomic(hf_token_set *) present;
    int loopback;
};

/* ---- Making ------------------------------------------------------------------------------------------------------ */

void hf_token_set_free(hf_token_set *set)
{
    if (!set)
        return;
    for (uint64_t i = 0; i < set->count; i++) {
        for (uint64_t k = 0; k < set->tokens[i].table_count; k++)
            free(set->tokens[i].tables[k]);
        free(set->tokens[i].tables);
    }
    free(set->tokens);
    free(set);
}

static int32_t copy_tables(struct token *token, const hf_strings *tables)
{
    token->tables = calloc(tables->count + 1, sizeof *token->tables);
    if (!token->tables)
        return HF_ENOMEM;
    for (; token->table_count < tables->count; token->table_count++) {
        char *copy = strdup(tables->items[token->table_count]);
        if (!copy)
            return HF_ENOMEM;
        token->tables[token->table_count] = copy;
    }
    return 0;
}

static int32_t read_token(struct token *token, const hf_token_settings *settings, hf_error *error)
{
    static const int32_t rights[] = {[HF_ROLE_READER] = HF_HTTP_READ,
                                     [HF_ROLE_WRITER] = HF_HTTP_WRITE,
                                     [HF_ROLE_OPERATOR] = HF_HTTP_ADMIN,
                                     [HF_ROLE_ADMIN] = HF_HTTP_ADMIN};

    if (!hf_settings_digest(settings->sha256, token->digest))
        return hf_error_set(error, HF_EINVAL, "tokens.%s.sha256 is not the 64 hexadecimal digits of a SHA-256",
                            settings->name);
    token->right = rights[settings->role];
    token->user = hf_hash64(0, settings->name, strlen(settings->name));
    if (!token->user)
        token->user = 1; /* 0 is nobody */
    return copy_tables(token, &settings->tables) ? hf_error_set(error, HF_ENOMEM, "no memory for the tokens") : 0;
}

static int32_t anonymous_right(const hf_tokens *tokens, const hf_config_generation *generation)
{
    static const int32_t rights[] = {[HF_ANONYMOUS_NONE] = HF_HTTP_PUBLIC,
                                     [HF_ANONYMOUS_READER] = HF_HTTP_READ,
                                     [HF_ANONYMOUS_WRITER] = HF_HTTP_WRITE,
                                     [HF_ANONYMOUS_ADMIN] = HF_HTTP_ADMIN};

    if (hf_settings_anonymous_given(generation))
        return rights[hf_settings_http(generation)->anonymous];
    return tokens->loopback && !hf_settings_tokens(generation)->count ? HF_HTTP_ADMIN : HF_HTTP_PUBLIC;
}

int32_t hf_tokens_prepare(const hf_tokens *tokens, const hf_config_generation *generation, hf_token_set **ret_set,
                          hf_error *error)
{
    const hf_groups *list = hf_settings_tokens(generation);
    const hf_token_settings *items = list->items;
    hf_token_set *set = calloc(1, sizeof *set);
    int32_t result = 0;

    if (set)
        set->tokens = calloc(list->count + 1, sizeof *set->tokens);
    if (!set || !set->tokens) {
        free(set);
        return hf_error_set(error, HF_ENOMEM, "no memory for the tokens");
    }
    set->anonymous = anonymous_right(tokens, generation);
    while (!result && set->count < list->count) {
        result = read_token(&set->tokens[set->count], &items[set->count], error);
        set->count++; /* also what is half made is freed */
    }
    if (result) {
        hf_token_set_free(set);
        return result;
    }
    *ret_set = set;
    return 0;
}

void hf_tokens_replace(hf_tokens *tokens, hf_token_set *set)
{
    set->earlier = atomic_load_explicit(&tokens->present, memory_order_relaxed);
    atomic_store_explicit(&tokens->present, set, memory_order_release);
}

int32_t hf_tokens_create(const hf_config_generation *generation, int loopback, hf_tokens **ret_tokens, hf_error *error)
{
    hf_tokens *tokens = calloc(1, sizeof *tokens);
    hf_token_set *set = NULL;

    if (!tokens)
        return hf_error_set(error, HF_ENOMEM, "no memory for the tokens");
    tokens->loopback = loopback;
    int32_t result = hf_tokens_prepare(tokens, generation, &set, error);
    if (result) {
        free(tokens);
        return result;
    }
    hf_tokens_replace(tokens, set);
    *ret_tokens = tokens;
    return 0;
}

void hf_tokens_destroy(hf_tokens *tokens)
{
    if (!tokens)
        return;
    hf_token_set *set = atomic_load_explicit(&tokens->present, memory_order_relaxed);
    while (set) {
        hf_token_set *earlier = set->earlier;
        hf_token_set_free(set);
        set = earlier;
    }
    free(tokens);
}

/* ---- Asking ------------------------------------------------------------------------------------------------------ */

static int bearer(hf_slice authorization, hf_slice *ret_token)
{
    static const char scheme[] = "Bearer ";
    uint64_t at = sizeof scheme - 1;

    if (authorization.size <= at || strncasecmp((const char *)authorization.data, scheme, at) != 0)
        return 0;
    while (at < authorization.size && authorization.data[at] == ' ')
        at++;
    *ret_token = (hf_slice){authorization.data + at, authorization.size - at};
    return ret_token->size > 0;
}

/* Looks at every token, whichever fits, so that the time taken says nothing about the digests. */
static const struct token *find(const hf_token_set *set, const uint8_t digest[HF_TOKEN_DIGEST_SIZE])
{
    const struct token *found = NULL;

    for (uint64_t i = 0; i < set->count; i++)
        if (CRYPTO_memcmp(set->tokens[i].digest, digest, HF_TOKEN_DIGEST_SIZE) == 0)
            found = &set->tokens[i];
    return found;
}

static int32_t identify(void *arg, hf_slice authorization, hf_http_principal *ret_principal, hf_error *error)
{
    hf_tokens *tokens = arg;
    const hf_token_set *set = atomic_load_explicit(&tokens->present, memory_order_acquire);
    uint8_t digest[EVP_MAX_MD_SIZE];
    hf_slice token;

    if (!authorization.data) {
        *ret_principal = (hf_http_principal){.right = set->anonymous};
        return 0;
    }
    if (!bearer(authorization, &token))
        return hf_error_set(error, HF_EDENIED, "the Authorization header is not 'Bearer TOKEN'");
    if (EVP_Digest(token.data, token.size, digest, NULL, EVP_sha256(), NULL) != 1)
        return hf_error_set(error, HF_EDENIED, "the token cannot be checked: no SHA-256 in the system's OpenSSL");
    const struct token *found = find(set, digest);
    if (!found)
        return hf_error_set(error, HF_EDENIED, "this token is not known; see 'tokens' in the configuration");
    *ret_principal = (hf_http_principal){.user = found->user, .right = found->right, .grant = found};
    return 0;
}

static int32_t allowed(void *arg, const hf_http_principal *principal, int32_t right, hf_slice table)
{
    const struct token *token = principal->grant;

    (void)arg;
    if (principal->right < right)
        return 0;
    if (!token || !token->table_count)
        return 1;
    for (uint64_t i = 0; i < token->table_count; i++)
        if (hf_slice_is(table, token->tables[i]))
            return 1;
    return 0;
}

hf_http_authority hf_tokens_authority(hf_tokens *tokens)
{
    return (hf_http_authority){.identify = identify, .allowed = allowed, .arg = tokens};
}
