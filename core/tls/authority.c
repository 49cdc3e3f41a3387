/* The cluster's certificate authority on OpenSSL; see authority.h. */
#include "authority.h"

#include "tls_error.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <holdfast/lib/error.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAME_SIZE_MAX = 63, PATH_SIZE = 4096, DAYS_MAX = 36500 };

static int32_t check_name(const char *what, const char *name, hf_error *error)
{
    size_t size = strlen(name);

    if (size == 0 || size > NAME_SIZE_MAX ||
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") != size || name[0] == '.' ||
        name[0] == '-')
        return hf_error_set(error, HF_EINVAL,
                            "%s '%s': expected 1 to %d letters, digits, '_', '-' or '.', not beginning with '-' or '.'",
                            what, name, NAME_SIZE_MAX);
    return 0;
}

static int32_t check_days(uint32_t days, hf_error *error)
{
    if (days < 1 || days > DAYS_MAX)
        return hf_error_set(error, HF_EINVAL, "a validity of %u days, expected 1 to %d", days, DAYS_MAX);
    return 0;
}

static int32_t make_path(char path[PATH_SIZE], const char *directory, const char *name, const char *ending,
                         hf_error *error)
{
    int size = snprintf(path, PATH_SIZE, "%s/%s.%s", directory, name, ending);

    if (size < 0 || size >= PATH_SIZE)
        return hf_error_set(error, HF_EINVAL, "the directory's name is too long: '%s'", directory);
    return 0;
}

/* ---- Files --------------------------------------------------------------------------------------------------- */

static int32_t finish(FILE *file, int written, const char *path, hf_error *error)
{
    int failed = !written || fflush(file) || fsync(fileno(file));
    int saved = errno;

    if (fclose(file))
        failed = 1;
    if (failed)
        return hf_error_set_errno(error, HF_EIO, saved, "cannot write '%s'", path);
    return 0;
}

/* Writes beside the path and renames, so that a file with its name is always whole; `exclusive` refuses to replace. */
static int32_t write_pem(const char *path, mode_t mode, int exclusive, int (*write)(FILE *file, void *object),
                         void *object, hf_error *error)
{
    char temporary[PATH_SIZE + 8];

    snprintf(temporary, sizeof temporary, "%s.new", path);
    (void)unlink(temporary); /* left by a run that was interrupted */
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    if (!file) {
        int saved = errno;
        if (fd >= 0)
            (void)close(fd); /* already failing */
        return hf_error_set_errno(error, HF_EIO, saved, "cannot write '%s'", temporary);
    }
    int32_t result = finish(file, write(file, object), temporary, error);
    if (!result && (exclusive ? link(temporary, path) : rename(temporary, path)) < 0)
        result = hf_error_set_errno(error, errno == EEXIST ? HF_EEXIST : HF_EIO, errno,
                                    "'%s' is not written and what is there is kept", path);
    (void)unlink(temporary); /* gone after a rename; a leftover otherwise */
    return result;
}

static int write_key(FILE *file, void *key)
{
    return PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
}

static int write_certificate(FILE *file, void *certificate)
{
    return PEM_write_X509(file, certificate);
}

/* ---- Certificates -------------------------------------------------------------------------------------------- */

static int add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;

    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    int ok = extension && X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    return ok;
}

/* 126 random bits: unique without a counter file that could be lost (RFC 5280, 4.1.2.2 asks for at most 20 bytes). */
static int set_serial(X509 *certificate)
{
    unsigned char bytes[16];
    BIGNUM *number = NULL;
    int ok = 0;

    if (RAND_bytes(bytes, sizeof bytes) == 1) {
        bytes[0] = (bytes[0] & 0x3f) | 0x40;
        number = BN_bin2bn(bytes, sizeof bytes, NULL);
        ok = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
    }
    BN_free(number);
    return ok;
}

static int set_subject(X509 *certificate, const char *organisation, const char *name)
{
    X509_NAME *subject = X509_get_subject_name(certificate);

    return X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_UTF8, (const unsigned char *)organisation, -1, -1, 0) &&
           X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0);
}

static X509 *new_certificate(EVP_PKEY *key, const char *organisation, const char *name, uint32_t days)
{
    X509 *certificate = X509_new();

    /* Valid from an hour ago: the clocks of the nodes may differ a little. */
    if (certificate && X509_set_version(certificate, X509_VERSION_3) && set_serial(certificate) &&
        X509_gmtime_adj(X509_getm_notBefore(certificate), -3600) &&
        X509_time_adj_ex(X509_getm_notAfter(certificate), (int)days, 0, NULL) && X509_set_pubkey(certificate, key) &&
        set_subject(certificate, organisation, name))
        return certificate;
    X509_free(certificate);
    return NULL;
}

static X509 *authority_certificate(EVP_PKEY *key, const char *cluster, uint32_t days)
{
    X509 *certificate = new_certificate(key, cluster, "Holdfast cluster authority", days);

    if (certificate && X509_set_issuer_name(certificate, X509_get_subject_name(certificate)) &&
        add_extension(certificate, certificate, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
        add_extension(certificate, certificate, NID_key_usage, "critical,keyCertSign,cRLSign") &&
        add_extension(certificate, certificate, NID_subject_key_identifier, "hash") &&
        X509_sign(certificate, key, EVP_sha256()))
        return certificate;
    X509_free(certificate);
    return NULL;
}

int32_t hf_authority_create(const char *directory, const char *cluster, uint32_t days, hf_error *error)
{
    char certificate_path[PATH_SIZE], key_path[PATH_SIZE];

    int32_t result = check_name("cluster", cluster, error);
    if (!result)
        result = check_days(days, error);
    if (!result)
        result = make_path(certificate_path, directory, "ca", "crt", error);
    if (!result)
        result = make_path(key_path, directory, "ca", "key", error);
    if (result)
        return result;

    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = key ? authority_certificate(key, cluster, days) : NULL;
    if (!certificate)
        result = hf_tls_error(error, HF_EIO, "cannot make the cluster's authority");
    else
        result = write_pem(key_path, 0600, 1, write_key, key, error);
    if (!result)
        result = write_pem(certificate_path, 0644, 1, write_certificate, certificate, error);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return result;
}

/* ---- Issuing ------------------------------------------------------------------------------------------------- */

static int32_t read_authority(const char *directory, X509 **ret_certificate, EVP_PKEY **ret_key, hf_error *error)
{
    char certificate_path[PATH_SIZE], key_path[PATH_SIZE];

    int32_t result = make_path(certificate_path, directory, "ca", "crt", error);
    if (!result)
        result = make_path(key_path, directory, "ca", "key", error);
    if (result)
        return result;

    FILE *file = fopen(certificate_path, "re");
    X509 *certificate = file ? PEM_read_X509(file, NULL, NULL, NULL) : NULL;
    if (file)
        (void)fclose(file); /* it was only read */
    FILE *key_file = fopen(key_path, "re");
    EVP_PKEY *key = key_file ? PEM_read_PrivateKey(key_file, NULL, NULL, NULL) : NULL;
    if (key_file)
        (void)fclose(key_file);
    if (!certificate || !key || X509_check_private_key(certificate, key) != 1) {
        X509_free(certificate);
        EVP_PKEY_free(key);
        return hf_tls_error(error, file && key_file ? HF_ECORRUPT : HF_ENOTFOUND,
                            "no usable authority in '%s' (ca.crt and its ca.key); make one with 'holdfast ca init'",
                            directory);
    }
    *ret_certificate = certificate;
    *ret_key = key;
    return 0;
}

static int is_address(const char *name)
{
    unsigned char bytes[16];

    return inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1;
}

static int32_t render_names(const char *node, const char *const *names, char *text, size_t capacity, hf_error *error)
{
    size_t size = (size_t)snprintf(text, capacity, "DNS:%s", node);

    for (; names && *names; names++) {
        int32_t result = is_address(*names) ? 0 : check_name("subject", *names, error);
        if (result)
            return result;
        int added = snprintf(text + size, capacity - size, ",%s:%s", is_address(*names) ? "IP" : "DNS", *names);
        if (added < 0 || (size_t)added >= capacity - size)
            return hf_error_set(error, HF_ETOOLARGE, "the subjects of node '%s' are over %zu bytes together", node,
                                capacity);
        size += (size_t)added;
    }
    return 0;
}

static int organisation_of(X509 *authority, char *text, int capacity)
{
    return X509_NAME_get_text_by_NID(X509_get_subject_name(authority), NID_organizationName, text, capacity) > 0;
}

static X509 *node_certificate(EVP_PKEY *key, X509 *authority, EVP_PKEY *authority_key, const char *node,
                              const char *names, uint32_t days)
{
    char cluster[NAME_SIZE_MAX + 1];
    X509 *certificate =
        organisation_of(authority, cluster, sizeof cluster) ? new_certificate(key, cluster, node, days) : NULL;

    if (certificate && X509_set_issuer_name(certificate, X509_get_subject_name(authority)) &&
        add_extension(certificate, authority, NID_basic_constraints, "critical,CA:FALSE") &&
        add_extension(certificate, authority, NID_key_usage, "critical,digitalSignature") &&
        add_extension(certificate, authority, NID_ext_key_usage, "serverAuth,clientAuth") &&
        add_extension(certificate, authority, NID_subject_alt_name, names) &&
        add_extension(certificate, authority, NID_authority_key_identifier, "keyid:always") &&
        X509_sign(certificate, authority_key, EVP_sha256()))
        return certificate;
    X509_free(certificate);
    return NULL;
}

static int32_t issue(const char *certificate_path, const char *key_path, X509 *authority, EVP_PKEY *authority_key,
                     const char *node, const char *names, uint32_t days, int32_t replace, hf_error *error)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = key ? node_certificate(key, authority, authority_key, node, names, days) : NULL;
    int32_t result;

    if (!certificate)
        result = hf_tls_error(error, HF_EIO, "cannot issue a certificate for node '%s'", node);
    else
        result = write_pem(key_path, 0600, !replace, write_key, key, error);
    if (!result)
        result = write_pem(certificate_path, 0644, !replace, write_certificate, certificate, error);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return result;
}

int32_t hf_authority_issue(const char *directory, const char *node, const char *const *names, uint32_t days,
                           int32_t replace, hf_error *error)
{
    char certificate_path[PATH_SIZE], key_path[PATH_SIZE], subjects[2048];
    EVP_PKEY *authority_key = NULL;
    X509 *authority = NULL;

    int32_t result = check_name("node", node, error);
    if (!result && strcmp(node, "ca") == 0)
        result = hf_error_set(error, HF_EINVAL, "a node cannot be called 'ca': that is the authority's name");
    if (!result)
        result = check_days(days, error);
    if (!result)
        result = render_names(node, names, subjects, sizeof subjects, error);
    if (!result)
        result = make_path(certificate_path, directory, node, "crt", error);
    if (!result)
        result = make_path(key_path, directory, node, "key", error);
    if (!result)
        result = read_authority(directory, &authority, &authority_key, error);
    if (result)
        return result;
    result = issue(certificate_path, key_path, authority, authority_key, node, subjects, days, replace, error);
    X509_free(authority);
    EVP_PKEY_free(authority_key);
    return result;
}
