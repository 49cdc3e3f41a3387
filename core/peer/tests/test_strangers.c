/* Shows who gets no link for want of the right certificate, that both sides' logs say why, and that neither strangers
 * nor their number keep a node from serving the others. */
#include "stranger.h"

#include "authority.h"

#include <arpa/inet.h>
#include <openssl/pem.h>
#include <sys/socket.h>
#include <unistd.h>

/* The good node n2 still gets its answer from n1. */
static void check_serving(void)
{
    assert_int_equal(kit_call_now(&kit_nodes[1], 0, "hello", NULL), 0);
    assert_int_equal(kit_call_now(&kit_nodes[0], 1, "hello", NULL), 0);
}

/* n1 and n2 run and have their links; n3 is left to the test. */
static int set_up_two(void **state)
{
    kit_prepare(state);
    kit_start(&kit_nodes[0]);
    kit_start(&kit_nodes[1]);
    kit_wait_linked(&kit_nodes[0], &kit_nodes[1]);
    return 0;
}

static void expect_no_link_of_n3(void)
{
    pthread_mutex_lock(&kit_lock);
    uint32_t links = kit_nodes[0].up[2] + kit_nodes[1].up[2] + kit_nodes[2].up[0] + kit_nodes[2].up[1];
    pthread_mutex_unlock(&kit_lock);
    assert_int_equal(links, 0);
    check_serving();
}

/* ---- Certificates ------------------------------------------------------------------------------------------------ */

static void a_node_of_another_authority_is_refused(void **state)
{
    (void)state;
    kit_nodes[2].certificates = kit_other_directory;
    kit_start(&kit_nodes[2]);
    /* The good nodes dial it and hear of its refusal; it dials them. */
    kit_wait_log("n3: no link to it: n3 belongs to another cluster: its certificate is of another authority");
    kit_wait_log("n1: no link to it: n1 belongs to another cluster: its certificate is of another authority");
    kit_wait_log("a stranger: no link from 127.0.0.1: a stranger refuses this node's certificate: it is of another "
                 "authority");
    expect_no_link_of_n3();
}

static void a_dialler_of_another_authority_hears_why(void **state)
{
    SSL *ssl = stranger_dial_tls(&kit_nodes[0], kit_other_directory, "n3");

    (void)state;
    stranger_expect_end(ssl);
    kit_wait_log("a stranger: no link from 127.0.0.1: a stranger belongs to another cluster: its certificate is of "
                 "another authority");
    stranger_hang_up(ssl);
    expect_no_link_of_n3();
}

/* Changes the time in which a certificate is valid, signed by its authority again. */
static void set_validity(const char *name, long from_s, long to_s)
{
    char path[200];

    snprintf(path, sizeof path, "%s/ca.key", kit_directory);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    EVP_PKEY *key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
    fclose(file);
    snprintf(path, sizeof path, "%s/%s.crt", kit_directory, name);
    file = fopen(path, "r");
    assert_non_null(file);
    X509 *certificate = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(certificate), from_s));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(certificate), to_s));
    assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_X509(file, certificate), 1);
    assert_int_equal(fclose(file), 0);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

static void an_expired_certificate_is_refused(void **state)
{
    (void)state;
    set_validity("n3", -7200, -1800);
    SSL *ssl = stranger_dial_tls(&kit_nodes[0], kit_directory, "n3");
    stranger_expect_end(ssl);
    kit_wait_log("a stranger: no link from 127.0.0.1: the certificate of a stranger has expired");
    stranger_hang_up(ssl);
    assert_int_equal(hf_authority_issue(kit_directory, "n3", NULL, 10, 1, NULL), 0);
    expect_no_link_of_n3();
}

static void a_certificate_that_is_not_valid_yet_is_refused(void **state)
{
    (void)state;
    set_validity("n3", 7200, 14400);
    SSL *ssl = stranger_dial_tls(&kit_nodes[0], kit_directory, "n3");
    stranger_expect_end(ssl);
    kit_wait_log("the certificate of a stranger is not valid yet; check the clocks");
    stranger_hang_up(ssl);
    assert_int_equal(hf_authority_issue(kit_directory, "n3", NULL, 10, 1, NULL), 0);
    expect_no_link_of_n3();
}

/* A node reads its certificate when it starts; that it expires later, the others see when they connect again. */
static void a_certificate_that_expires_in_use_is_refused_on_both_sides(void **state)
{
    struct timespec moment = {0, 20000000};

    (void)state;
    set_validity("n3", -3600, 4);
    time_t expired = time(NULL) + 5;
    kit_start(&kit_nodes[2]);
    kit_stop(&kit_nodes[0]);
    while (time(NULL) <= expired) /* a condition of the clock alone */
        nanosleep(&moment, NULL);
    kit_start(&kit_nodes[0]);
    kit_wait_log("n3: no link to it: the certificate of n3 has expired");
    kit_wait_log("n1: no link to it: n1 refuses this node's certificate: it has expired");
    kit_wait_linked(&kit_nodes[0], &kit_nodes[1]);
    kit_stop(&kit_nodes[2]);
    assert_int_equal(hf_authority_issue(kit_directory, "n3", NULL, 10, 1, NULL), 0);
    check_serving();
}

static void without_a_certificate_there_is_no_link(void **state)
{
    SSL *ssl = stranger_dial_tls(&kit_nodes[0], NULL, NULL);

    (void)state;
    stranger_expect_end(ssl);
    kit_wait_log("a stranger: no link from 127.0.0.1: TLS with a stranger failed: peer did not return a certificate");
    stranger_hang_up(ssl);
    check_serving();
}

/* The addresses of n2 and n3 are exchanged in the settings of n1 alone. */
static void an_address_of_another_node_is_noticed(void **state)
{
    (void)state;
    kit_prepare(state);
    snprintf(kit_nodes[0].addresses[1], sizeof kit_nodes[0].addresses[1], "127.0.0.1:%u", kit_nodes[2].port);
    snprintf(kit_nodes[0].addresses[2], sizeof kit_nodes[0].addresses[2], "127.0.0.1:%u", kit_nodes[1].port);
    for (int i = 0; i < KIT_NODES; i++)
        kit_start(&kit_nodes[i]);
    kit_wait_log("n2: no link to it: its certificate is for node 'n3'; check the address of the member");
    kit_wait_log("n3: no link to it: its certificate is for node 'n2'; check the address of the member");
    kit_wait_linked(&kit_nodes[1], &kit_nodes[2]);
    assert_int_equal(kit_call_now(&kit_nodes[1], 2, "hello", NULL), 0);
}

/* ---- What is not TLS --------------------------------------------------------------------------------------------- */

static void garbage_is_dropped(void **state)
{
    (void)state;
    for (int round = 0; round < 40; round++) {
        uint8_t bytes[512];
        int fd = stranger_dial(&kit_nodes[0]);

        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)(i * 31 + (size_t)round * 7);
        if (round % 2)
            memcpy(bytes, "\x16\x03\x01\x01\xfb\x01", 6); /* looks like the whole of a client's first words */
        assert_true(send(fd, bytes, sizeof bytes, MSG_NOSIGNAL) > 0);
        stranger_expect_end_plain(fd);
        close(fd);
    }
    kit_wait_log("a stranger: no link from 127.0.0.1: TLS with a stranger failed: ");
    check_serving();
}

static void plain_text_is_told_from_tls(void **state)
{
    static const char words[] = "GET / HTTP/1.1\r\nHost: n1\r\n\r\n";
    int fd = stranger_dial(&kit_nodes[0]);

    (void)state;
    assert_true(send(fd, words, sizeof words - 1, MSG_NOSIGNAL) > 0);
    stranger_expect_end_plain(fd);
    kit_wait_log("a stranger: no link from 127.0.0.1: TLS with a stranger failed: http request");
    close(fd);
    check_serving();
}

static void silence_and_half_a_handshake_end(void **state)
{
    int silent = stranger_dial(&kit_nodes[0]), half = stranger_dial(&kit_nodes[0]), gone = stranger_dial(&kit_nodes[0]);

    (void)state;
    assert_int_equal(send(half, "\x16\x03\x01\x01\xfb\x01\x00", 7, MSG_NOSIGNAL), 7);
    close(gone);
    kit_wait_log("a stranger: no link from 127.0.0.1: it ended the connection early");
    check_serving();
    stranger_expect_end_plain(silent);
    stranger_expect_end_plain(half);
    kit_wait_log("a stranger: no link from 127.0.0.1: its TLS handshake took more than 3 s");
    close(silent);
    close(half);
    check_serving();
}

static void a_flood_of_connections_is_bounded(void **state)
{
    enum { COUNT = 400 };
    static int fds[COUNT];

    (void)state;
    for (int i = 0; i < COUNT; i++)
        fds[i] = stranger_dial(&kit_nodes[0]);
    kit_wait_log("a stranger: 256 connections have not said who they are; further ones are closed at once");
    check_serving(); /* links that are up are untouched */
    for (int i = 0; i < COUNT; i++) {
        stranger_expect_end_plain(fds[i]);
        close(fds[i]);
    }
    /* When it is over, a new node gets in. */
    kit_start(&kit_nodes[2]);
    kit_wait_linked(&kit_nodes[0], &kit_nodes[2]);
    assert_int_equal(kit_call_now(&kit_nodes[2], 0, "hello", NULL), 0);
}

static void what_strangers_can_write_into_the_log_is_bounded(void **state)
{
    const char *line;
    int count = 0;

    (void)state;
    for (int i = 0; i < 100; i++) {
        int fd = stranger_dial(&kit_nodes[0]);
        assert_int_equal(send(fd, "nonsense", 8, MSG_NOSIGNAL), 8);
        stranger_expect_end_plain(fd);
        close(fd);
    }
    check_serving();
    kit_wait_log("TLS with a stranger failed");
    pthread_mutex_lock(&kit_lock);
    for (line = kit_log(); (line = strstr(line, "TLS with a stranger failed")); line++)
        count++;
    pthread_mutex_unlock(&kit_lock);
    assert_true(count < 10); /* one in 10 s, on however slow a machine */
}

/* ---- Own settings ------------------------------------------------------------------------------------------------ */

static void expect_refused(const hf_peers_settings *settings, int32_t code, const char *words)
{
    hf_error error = {0};
    hf_peers *peers = NULL;

    assert_int_equal(hf_peers_create(settings, &peers, &error), code);
    if (!strstr(error.message, words))
        fail_msg("'%s' does not say '%s'", error.message, words);
}

static void copy_file(const char *directory, const char *from, const char *to)
{
    char path[200], bytes[8192];

    snprintf(path, sizeof path, "%s/%s", directory, from);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    snprintf(path, sizeof path, "%s/%s", directory, to);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void own_settings_are_checked(void **state)
{
    const hf_peer_member twice[] = {{"n1", "127.0.0.1:1", ""}, {"n1", "127.0.0.1:2", ""}};
    const hf_peer_member stolen[] = {{"n1", "127.0.0.1:1", ""}, {"n4", "127.0.0.1:2", ""}};
    hf_peers_settings settings;
    kit_node *node = &kit_nodes[2];

    (void)state;
    assert_int_equal(hf_metrics_create(&node->metrics, NULL), 0);
    kit_settings(node, &settings);
    settings.self = "n8";
    expect_refused(&settings, HF_EINVAL, "'n8'");
    settings.self = "n1";
    settings.members = twice;
    settings.member_count = 2;
    expect_refused(&settings, HF_EINVAL, "two members called 'n1'");
    kit_settings(node, &settings);
    settings.certificates = "/nonexistent";
    expect_refused(&settings, HF_EINVAL, "/nonexistent/ca.crt");
    kit_settings(node, &settings);
    set_validity("n3", -7200, -1800);
    expect_refused(&settings, HF_EDENIED, "/n3.crt' has expired; issue another with 'holdfast ca issue'");
    set_validity("n3", 7200, 14400);
    expect_refused(&settings, HF_EDENIED, "/n3.crt' is not valid yet");
    assert_int_equal(hf_authority_issue(kit_directory, "n3", NULL, 10, 1, NULL), 0);
    copy_file(kit_directory, "n3.crt", "n4.crt");
    copy_file(kit_directory, "n3.key", "n4.key");
    settings.self = "n4";
    settings.members = stolen;
    settings.member_count = 2;
    expect_refused(&settings, HF_EDENIED, "/n4.crt' is for node 'n3' and not for 'n4'");
    hf_metrics_destroy(node->metrics);
    check_serving();
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up_two, kit_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_node_of_another_authority_is_refused),
        TEST(a_dialler_of_another_authority_hears_why),
        TEST(an_expired_certificate_is_refused),
        TEST(a_certificate_that_is_not_valid_yet_is_refused),
        TEST(a_certificate_that_expires_in_use_is_refused_on_both_sides),
        TEST(without_a_certificate_there_is_no_link),
        cmocka_unit_test_setup_teardown(an_address_of_another_node_is_noticed, NULL, kit_tear_down),
        TEST(garbage_is_dropped),
        TEST(plain_text_is_told_from_tls),
        TEST(silence_and_half_a_handshake_end),
        TEST(a_flood_of_connections_is_bounded),
        TEST(what_strangers_can_write_into_the_log_is_bounded),
        TEST(own_settings_are_checked),
    };

    return cmocka_run_group_tests(tests, kit_begin, kit_finish);
}
