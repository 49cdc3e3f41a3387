/* files.h: certificates and keys in files: reading them, what they are for, and noticing that they have changed.
 * Blocks on the disk.  [main] */
#ifndef GATEWAY_TLS_FILES_H
#define GATEWAY_TLS_FILES_H

#include <holdfast/holdfast.h>
#include <openssl/ssl.h>
#include <time.h>

/* Sets the error to the text, and to what OpenSSL says besides; returns `code`. */
int32_t gateway_tls_error(hf_error *error, int32_t code, const char *format, ...) HF_PRINTF(3, 4);

/* ---- A certificate and its key ----------------------------------------------------------------------------------- */

struct gateway_tls_pair {
    X509 *certificate;
    STACK_OF(X509) * chain; /* those behind it in the file */
    EVP_PKEY *key;
};

/* Each HF_EINVAL with the file and what is wrong with it, HF_ENOMEM.  The pair is to be freed in any case. */
int32_t gateway_tls_read_certificate(const char *path, struct gateway_tls_pair *pair, hf_error *error);
int32_t gateway_tls_read_key(const char *path, struct gateway_tls_pair *pair, hf_error *error);

/* Both, for a certificate and key that belong together. */
int32_t gateway_tls_read_pair(const char *certificate, const char *key, struct gateway_tls_pair *ret_pair,
                              hf_error *error);

/* Accepts a zeroed one. */
void gateway_tls_free_pair(struct gateway_tls_pair *pair);

/* The names that it is for, in lower case: DNS names of subjectAltName; without that the common name.  They are the
 * caller's to free with gateway_tls_free_names.  HF_ENOMEM. */
int32_t gateway_tls_names(const X509 *certificate, char ***ret_names, uint32_t *ret_count);
void gateway_tls_free_names(char **names, uint32_t count);

/* NULL: it is valid now; else what is wrong: "has expired". */
const char *gateway_tls_validity(const X509 *certificate);

/* ---- Changes ----------------------------------------------------------------------------------------------------- */

struct gateway_tls_file {
    char *path;
    uint64_t inode, size;
    struct timespec modified;
};

struct gateway_tls_files {
    struct gateway_tls_file *items;
    uint32_t count;
};

/* Remembers a file, without looking at it yet; "" is none.  HF_ENOMEM. */
int32_t gateway_tls_files_add(struct gateway_tls_files *files, const char *path);
void gateway_tls_files_done(struct gateway_tls_files *files);

/* What the others knew when they last looked; they are the same files. */
void gateway_tls_files_follow(struct gateway_tls_files *files, const struct gateway_tls_files *others);

/* Looks at them all.  1: one is not what it was the last time (a file that is not there has changed when it comes). */
int32_t gateway_tls_files_changed(struct gateway_tls_files *files);

#endif
