/* Shows that a ticket can be read for at least its lifetime and not for ever, whatever keys have come since, and that
 * nobody else's can. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tls/tickets.h"

#include <openssl/evp.h>
#include <string.h>

enum { SECOND = 1000000, LIFETIME = 100 * SECOND };

static void fill(const hf_host *host, void *bytes, uint64_t size)
{
    static uint8_t next;

    (void)host;
    memset(bytes, ++next, size); /* each key is another */
}

static const hf_node_interface node = {.random = fill};

struct ticket {
    unsigned char name[16], vector[EVP_MAX_IV_LENGTH], bytes[64];
    int size;
};

static EVP_MAC_CTX *new_mac(void)
{
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *context = EVP_MAC_CTX_new(mac);

    EVP_MAC_free(mac);
    assert_non_null(context);
    return context;
}

static void seal(struct gateway_tickets *tickets, struct ticket *ticket)
{
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    EVP_MAC_CTX *mac = new_mac();
    int more = 0;

    assert_int_equal(gateway_tickets_key(tickets, ticket->name, ticket->vector, cipher, mac, 1), 1);
    assert_int_equal(EVP_EncryptUpdate(cipher, ticket->bytes, &ticket->size, (const unsigned char *)"session", 7), 1);
    assert_int_equal(EVP_EncryptFinal_ex(cipher, ticket->bytes + ticket->size, &more), 1);
    ticket->size += more;
    EVP_MAC_CTX_free(mac);
    EVP_CIPHER_CTX_free(cipher);
}

/* What OpenSSL is told; if it is to read the ticket, it finds what was put in. */
static int open_ticket(struct gateway_tickets *tickets, struct ticket *ticket)
{
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    EVP_MAC_CTX *mac = new_mac();
    unsigned char text[64];
    int size = 0, more = 0, verdict = gateway_tickets_key(tickets, ticket->name, ticket->vector, cipher, mac, 0);

    if (verdict > 0) {
        assert_int_equal(EVP_DecryptUpdate(cipher, text, &size, ticket->bytes, ticket->size), 1);
        assert_int_equal(EVP_DecryptFinal_ex(cipher, text + size, &more), 1);
        assert_int_equal(size + more, 7);
        assert_memory_equal(text, "session", 7);
    }
    EVP_MAC_CTX_free(mac);
    EVP_CIPHER_CTX_free(cipher);
    return verdict;
}

static void tickets_last_their_lifetime(void **state)
{
    struct gateway_tickets *tickets = NULL;
    struct ticket first = {0}, last = {0};
    uint64_t now = SECOND;

    (void)state;
    assert_int_equal(gateway_tickets_create(NULL, &node, &tickets, NULL), HF_OK);
    gateway_tickets_turn(tickets, LIFETIME, now);
    for (; now < LIFETIME / 2; now += SECOND)
        gateway_tickets_turn(tickets, LIFETIME, now);
    seal(tickets, &first); /* with a key that is about to go */
    assert_int_equal(open_ticket(tickets, &first), 1);
    for (uint64_t end = now + LIFETIME; now <= end; now += SECOND) {
        gateway_tickets_turn(tickets, LIFETIME, now);
        assert_true(open_ticket(tickets, &first) > 0);
    }
    assert_int_equal(open_ticket(tickets, &first), 2); /* another takes its place */
    seal(tickets, &last);
    assert_memory_not_equal(last.name, first.name, sizeof last.name);
    assert_int_equal(open_ticket(tickets, &last), 1);
    for (uint64_t end = now + LIFETIME; now <= end; now += SECOND)
        gateway_tickets_turn(tickets, LIFETIME, now);
    assert_int_equal(open_ticket(tickets, &first), 0);
    assert_true(open_ticket(tickets, &last) > 0);
    gateway_tickets_destroy(tickets);
}

static void others_tickets_are_not_ours(void **state)
{
    struct gateway_tickets *ours = NULL, *theirs = NULL;
    struct ticket ticket = {0};

    (void)state;
    assert_int_equal(gateway_tickets_create(NULL, &node, &ours, NULL), HF_OK);
    assert_int_equal(gateway_tickets_create(NULL, &node, &theirs, NULL), HF_OK);
    seal(theirs, &ticket);
    assert_int_equal(open_ticket(theirs, &ticket), 1);
    assert_int_equal(open_ticket(ours, &ticket), 0);
    gateway_tickets_destroy(ours);
    gateway_tickets_destroy(theirs);
    gateway_tickets_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tickets_last_their_lifetime),
        cmocka_unit_test(others_tickets_are_not_ours),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
