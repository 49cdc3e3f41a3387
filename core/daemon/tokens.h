/* daemon/tokens.h: who may use the HTTP interfaces: bearer tokens from the configuration, known by their SHA-256. */
#ifndef HOLDFAST_CORE_DAEMON_TOKENS_H
#define HOLDFAST_CORE_DAEMON_TOKENS_H

#include "config/check.h"
#include "http/server.h"

typedef struct hf_tokens hf_tokens;
typedef struct hf_token_set hf_token_set;

/* Begins with what `generation` says; `loopback`: only this machine reaches the process.  Everything is copied.
 * HF_ENOMEM, HF_EINVAL: a digest is none, which hf_settings_check would have found.  [main] */
int32_t hf_tokens_create(const hf_config_generation *generation, int loopback, hf_tokens **ret_tokens, hf_error *error);

/* No request is under way any more.  Accepts NULL. */
void hf_tokens_destroy(hf_tokens *tokens);

/* Makes the set of another configuration; hf_tokens_replace puts it in force, hf_token_set_free forgets it.  Errors as
 * hf_tokens_create.  [main] */
int32_t hf_tokens_prepare(const hf_tokens *tokens, const hf_config_generation *generation, hf_token_set **ret_set,
                          hf_error *error);
/* Takes the set, at once for all threads; the earlier one is kept for requests that it has admitted.  [main] */
void hf_tokens_replace(hf_tokens *tokens, hf_token_set *set);
void hf_token_set_free(hf_token_set *set);

/* For the HTTP server; borrows `tokens`. */
hf_http_authority hf_tokens_authority(hf_tokens *tokens);

#endif
