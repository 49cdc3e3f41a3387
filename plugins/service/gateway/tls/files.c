#include "tls/files.h"

#include <holdfast/lib/error.h>

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int32_t gateway_tls_error(hf_error *error, int32_t code, const char *format, ...)
{
    char text[HF_ERROR_MESSAGE_SIZE];
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    va_list arguments;

    ERR_clear_error();
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return reason ? hf_error_set(error, code, "%s: %s", text, reason) : hf_error_set(error, code, "%s", text);
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

static BIO *open_file(const char *path, hf_error *error)
{
    FILE *file = fopen(path, "re");

    if (!file) {
        hf_error_set_errno(error, HF_EINVAL, errno, "the file '%s' cannot be read", path);
        return NULL;
    }
    BIO *bio = BIO_new_fp(file, BIO_CLOSE);
    if (!bio) {
        (void)fclose(file); /* it was only read */
        gateway_tls_error(error, HF_ENOMEM, "no memory for the file '%s'", path);
    }
    return bio;
}

static int is_end_of_file(void)
{
    unsigned long code = ERR_peek_last_error();

    return ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
}

static int32_t read_chain(BIO *bio, const char *path, struct gateway_tls_pair *pair, hf_error *error)
{
    X509 *next;

    pair->chain = sk_X509_new_null();
    if (!pair->chain)
        return gateway_tls_error(error, HF_ENOMEM, "no memory for the certificates of '%s'", path);
    while ((next = PEM_read_bio_X509(bio, NULL, NULL, NULL)))
        if (!sk_X509_push(pair->chain, next)) {
            X509_free(next);
            return gateway_tls_error(error, HF_ENOMEM, "no memory for the certificates of '%s'", path);
        }
    if (!is_end_of_file())
        return gateway_tls_error(error, HF_EINVAL, "a certificate behind the first in '%s' cannot be read", path);
    ERR_clear_error();
    return HF_OK;
}

int32_t gateway_tls_read_certificate(const char *path, struct gateway_tls_pair *pair, hf_error *error)
{
    BIO *bio = open_file(path, error);

    if (!bio)
        return HF_EINVAL;
    ERR_clear_error();
    pair->certificate = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL);
    int32_t code = HF_OK;
    if (pair->certificate)
        code = read_chain(bio, path, pair, error);
    else if (is_end_of_file())
        code =
            hf_error_set(error, HF_EINVAL, "'%s' has no certificate; expected PEM, -----BEGIN CERTIFICATE-----", path);
    else
        code = gateway_tls_error(error, HF_EINVAL, "the certificate in '%s' cannot be read", path);
    BIO_free(bio);
    ERR_clear_error();
    return code;
}

/* OpenSSL would ask at the terminal. */
static int no_pass_phrase(char *text, int size, int is_written, void *arg)
{
    (void)text;
    (void)size;
    (void)is_written;
    *(int *)arg = 1;
    return -1;
}

int32_t gateway_tls_read_key(const char *path, struct gateway_tls_pair *pair, hf_error *error)
{
    BIO *bio = open_file(path, error);
    int is_encrypted = 0;

    if (!bio)
        return HF_EINVAL;
    ERR_clear_error();
    pair->key = PEM_read_bio_PrivateKey(bio, NULL, no_pass_phrase, &is_encrypted);
    BIO_free(bio);
    int32_t code = HF_OK;
    if (is_encrypted)
        code = hf_error_set(error, HF_EINVAL, "the key in '%s' needs a pass phrase; expected one without", path);
    else if (!pair->key) /* OpenSSL's words would only be "unsupported", whatever there is */
        code = hf_error_set(error, HF_EINVAL,
                            "'%s' has no key that can be read; expected PEM, "
                            "-----BEGIN PRIVATE KEY-----",
                            path);
    else if (pair->certificate && X509_check_private_key(pair->certificate, pair->key) != 1)
        code = hf_error_set(error, HF_EINVAL, "the key in '%s' is not that of the certificate", path);
    ERR_clear_error();
    return code;
}

int32_t gateway_tls_read_pair(const char *certificate, const char *key, struct gateway_tls_pair *ret_pair,
                              hf_error *error)
{
    struct gateway_tls_pair pair = {0};
    int32_t code = gateway_tls_read_certificate(certificate, &pair, error);

    if (code == HF_OK)
        code = gateway_tls_read_key(key, &pair, error);
    if (code != HF_OK) {
        gateway_tls_free_pair(&pair);
        return code;
    }
    *ret_pair = pair;
    return HF_OK;
}

void gateway_tls_free_pair(struct gateway_tls_pair *pair)
{
    X509_free(pair->certificate);
    sk_X509_pop_free(pair->chain, X509_free);
    EVP_PKEY_free(pair->key);
    *pair = (struct gateway_tls_pair){0};
}

/* ---- What a certificate is for ----------------------------------------------------------------------------------- */

static int32_t add_name(const ASN1_STRING *text, char **names, uint32_t *count)
{
    uint64_t size = (uint64_t)ASN1_STRING_length(text);
    const uint8_t *bytes = ASN1_STRING_get0_data(text);

    if (memchr(bytes, 0, size))
        return HF_OK; /* no name that a client could ask for */
    char *name = malloc(size + 1);
    if (!name)
        return HF_ENOMEM;
    for (uint64_t i = 0; i < size; i++)
        name[i] = (char)(bytes[i] >= 'A' && bytes[i] <= 'Z' ? bytes[i] | 0x20 : bytes[i]);
    name[size] = '\0';
    names[(*count)++] = name;
    return HF_OK;
}

static int32_t add_common_name(const X509 *certificate, char **names, uint32_t *count)
{
    const X509_NAME *subject = X509_get_subject_name(certificate);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);

    return at < 0 ? HF_OK : add_name(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)), names, count);
}

int32_t gateway_tls_names(const X509 *certificate, char ***ret_names, uint32_t *ret_count)
{
    GENERAL_NAMES *general = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    int all = general ? sk_GENERAL_NAME_num(general) : 1;
    char **names = calloc((size_t)all + 1, sizeof *names);
    uint32_t count = 0;
    int32_t code = names ? HF_OK : HF_ENOMEM;

    for (int i = 0; general && i < all && code == HF_OK; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(general, i);
        if (name->type == GEN_DNS)
            code = add_name(name->d.dNSName, names, &count);
    }
    if (!general && code == HF_OK)
        code = add_common_name(certificate, names, &count);
    GENERAL_NAMES_free(general);
    ERR_clear_error();
    if (code != HF_OK) {
        gateway_tls_free_names(names, count);
        return code;
    }
    *ret_names = names;
    *ret_count = count;
    return HF_OK;
}

void gateway_tls_free_names(char **names, uint32_t count)
{
    for (uint32_t i = 0; names && i < count; i++)
        free(names[i]);
    free(names);
}

const char *gateway_tls_validity(const X509 *certificate)
{
    if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0)
        return "has expired";
    if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0)
        return "is not valid yet";
    return NULL;
}

/* ---- Changes ----------------------------------------------------------------------------------------------------- */

int32_t gateway_tls_files_add(struct gateway_tls_files *files, const char *path)
{
    if (!path[0])
        return HF_OK;
    struct gateway_tls_file *grown = reallocarray(files->items, files->count + 1, sizeof *grown);
    if (!grown)
        return HF_ENOMEM;
    files->items = grown;
    grown[files->count] = (struct gateway_tls_file){.path = strdup(path)};
    if (!grown[files->count].path)
        return HF_ENOMEM;
    files->count++;
    return HF_OK;
}

void gateway_tls_files_done(struct gateway_tls_files *files)
{
    for (uint32_t i = 0; i < files->count; i++)
        free(files->items[i].path);
    free(files->items);
    *files = (struct gateway_tls_files){0};
}

void gateway_tls_files_follow(struct gateway_tls_files *files, const struct gateway_tls_files *others)
{
    for (uint32_t i = 0; i < files->count && i < others->count; i++) {
        files->items[i].inode = others->items[i].inode;
        files->items[i].size = others->items[i].size;
        files->items[i].modified = others->items[i].modified;
    }
}

static int32_t has_changed(struct gateway_tls_file *file)
{
    struct stat now;

    if (stat(file->path, &now) != 0)
        memset(&now, 0, sizeof now);
    if (file->inode == now.st_ino && file->size == (uint64_t)now.st_size &&
        file->modified.tv_sec == now.st_mtim.tv_sec && file->modified.tv_nsec == now.st_mtim.tv_nsec)
        return 0;
    file->inode = now.st_ino;
    file->size = (uint64_t)now.st_size;
    file->modified = now.st_mtim;
    return 1;
}

int32_t gateway_tls_files_changed(struct gateway_tls_files *files)
{
    int32_t changed = 0;

    for (uint32_t i = 0; i < files->count; i++)
        changed |= has_changed(&files->items[i]);
    return changed;
}
