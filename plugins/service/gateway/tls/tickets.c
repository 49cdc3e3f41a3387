#include "tls/tickets.h"

#include <holdfast/lib/error.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* One that encrypts, and those before it, by which tickets are still read: with a change every half lifetime the oldest
 * is one and a half lifetimes old when it goes. */
enum { KEYS = 4 };

struct key {
    unsigned char name[16], cipher[32], mac[32];
};

struct gateway_tickets {
    const hf_host *host;
    const hf_node_interface *node;
    EVP_CIPHER *cipher;
    pthread_mutex_t lock; /* of the keys, as long as one is copied or chosen */
    struct key keys[KEYS];
    uint32_t count;
    uint64_t turned_us;
};

static void add_key(struct gateway_tickets *tickets)
{
    struct key key;

    tickets->node->random(tickets->host, &key, sizeof key);
    pthread_mutex_lock(&tickets->lock);
    memmove(tickets->keys + 1, tickets->keys, (KEYS - 1) * sizeof *tickets->keys);
    tickets->keys[0] = key;
    if (tickets->count < KEYS)
        tickets->count++;
    pthread_mutex_unlock(&tickets->lock);
    OPENSSL_cleanse(&key, sizeof key);
}

int32_t gateway_tickets_create(const hf_host *host, const hf_node_interface *node, struct gateway_tickets **ret_tickets,
                               hf_error *error)
{
    struct gateway_tickets *tickets = calloc(1, sizeof *tickets);

    if (tickets)
        tickets->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    if (!tickets || !tickets->cipher || pthread_mutex_init(&tickets->lock, NULL) != 0) {
        if (tickets)
            EVP_CIPHER_free(tickets->cipher);
        free(tickets);
        return hf_error_set(error, HF_ENOMEM, "no memory for the keys of TLS tickets");
    }
    tickets->host = host;
    tickets->node = node;
    add_key(tickets);
    *ret_tickets = tickets;
    return HF_OK;
}

void gateway_tickets_destroy(struct gateway_tickets *tickets)
{
    if (!tickets)
        return;
    EVP_CIPHER_free(tickets->cipher);
    pthread_mutex_destroy(&tickets->lock);
    OPENSSL_cleanse(tickets->keys, sizeof tickets->keys);
    free(tickets);
}

void gateway_tickets_turn(struct gateway_tickets *tickets, uint64_t lifetime_us, uint64_t now_us)
{
    if (tickets->turned_us == 0)
        tickets->turned_us = now_us;
    if (now_us - tickets->turned_us < lifetime_us / 2)
        return;
    tickets->turned_us = now_us;
    add_key(tickets);
}

/* The key of that name; NULL: the newest.  Its place, 0 being the newest; -1: there is none. */
static int copy_key(struct gateway_tickets *tickets, const unsigned char *name, struct key *ret_key)
{
    int at = -1;

    pthread_mutex_lock(&tickets->lock);
    for (uint32_t i = 0; i < tickets->count && at < 0; i++)
        if (!name || memcmp(tickets->keys[i].name, name, sizeof tickets->keys[i].name) == 0) {
            *ret_key = tickets->keys[i];
            at = (int)i;
        }
    pthread_mutex_unlock(&tickets->lock);
    return at;
}

static int use_mac(const struct key *key, EVP_MAC_CTX *mac)
{
    OSSL_PARAM parameters[3];

    parameters[0] = OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)key->mac, sizeof key->mac);
    parameters[1] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)(uintptr_t) "SHA256", 0);
    parameters[2] = OSSL_PARAM_construct_end();
    return EVP_MAC_CTX_set_params(mac, parameters);
}

int gateway_tickets_key(struct gateway_tickets *tickets, unsigned char name[16], unsigned char *vector,
                        EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int encrypts)
{
    struct key key;
    int at = copy_key(tickets, encrypts ? NULL : name, &key), works;

    if (at < 0)
        return 0;
    if (encrypts) {
        memcpy(name, key.name, sizeof key.name);
        tickets->node->random(tickets->host, vector, (uint64_t)EVP_CIPHER_get_iv_length(tickets->cipher));
        works = EVP_EncryptInit_ex2(cipher, tickets->cipher, key.cipher, vector, NULL);
    } else {
        works = EVP_DecryptInit_ex2(cipher, tickets->cipher, key.cipher, vector, NULL);
    }
    works = works && use_mac(&key, mac);
    OPENSSL_cleanse(&key, sizeof key);
    return !works ? -1 : at == 0 ? 1 : 2;
}
