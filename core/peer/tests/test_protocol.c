/* Shows what a node does with every hello and frame that it should not get from somebody with a good certificate: it
 * says why, ends that connection, and serves on. */
#include "stranger.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

/* n1 alone runs; the test is n2. */
static int set_up_one(void **state)
{
    kit_prepare(state);
    kit_start(&kit_nodes[0]);
    return 0;
}

static void wait_received(uint32_t count)
{
    KIT_WAIT(kit_nodes[0].received[1] == count);
}

/* A message on a new link arrives. */
static void check_serving(void)
{
    SSL *ssl = stranger_greet(&kit_nodes[0]);
    hf_buffer bytes = {0};

    pthread_mutex_lock(&kit_lock);
    uint32_t before = kit_nodes[0].received[1];
    pthread_mutex_unlock(&kit_lock);
    stranger_add_frame(&bytes, HF_FRAME_MESSAGE, 1, 0, "0000");
    stranger_say(ssl, &bytes);
    wait_received(before + 1);
    hf_buffer_done(&bytes);
    stranger_hang_up(ssl);
}

/* ---- The hello --------------------------------------------------------------------------------------------------- */

/* Says the hello as `name`, and expects that n1 answers with these words and logs them. */
static void expect_refusal(const char *name, const hf_hello *hello, const char *words)
{
    SSL *ssl = stranger_dial_tls(&kit_nodes[0], kit_directory, name);
    hf_buffer bytes = {0}, answer = {0};
    char payload[512] = "";

    stranger_add_hello(&bytes, hello);
    stranger_say(ssl, &bytes);
    hf_frame frame = stranger_read(ssl, &answer);
    assert_int_equal(frame.type, HF_FRAME_REFUSED);
    assert_true(frame.payload.size < sizeof payload);
    memcpy(payload, frame.payload.data, frame.payload.size);
    if (!strstr(payload, words))
        fail_msg("'%s' does not say '%s'", payload, words);
    stranger_expect_end(ssl);
    stranger_hang_up(ssl);
    hf_buffer_done(&bytes);
    hf_buffer_done(&answer);
    kit_wait_log(words);
    check_serving();
}

static void a_second_process_with_a_node_s_name_is_refused(void **state)
{
    SSL *ssl = stranger_dial_tls(&kit_nodes[0], kit_directory, "n2");
    hf_hello hello = stranger_good_hello();
    hf_buffer bytes = {0}, answer = {0};

    (void)state;
    hello.run = 1;
    stranger_add_hello(&bytes, &hello);
    stranger_say(ssl, &bytes);
    assert_int_equal(stranger_read(ssl, &answer).type, HF_FRAME_WELCOME);
    hello.run = 2;
    expect_refusal("n2", &hello, "another process with the name 'n2' is linked from 127.0.0.1");
    stranger_hang_up(ssl);

    /* When the first one is gone, the other is welcome. */
    for (answer.size = 0;; answer.size = 0) {
        ssl = stranger_dial_tls(&kit_nodes[0], kit_directory, "n2");
        hf_buffer_clear(&bytes);
        stranger_add_hello(&bytes, &hello);
        stranger_say(ssl, &bytes);
        int32_t type = stranger_read(ssl, &answer).type;
        stranger_hang_up(ssl);
        if (type == HF_FRAME_WELCOME)
            break; /* else the end of the first has not been noticed yet */
    }
    hf_buffer_done(&bytes);
    hf_buffer_done(&answer);
}

static void a_hello_of_another_version_is_refused(void **state)
{
    hf_hello hello = stranger_good_hello();

    (void)state;
    hello.protocol = 2;
    expect_refusal("n2", &hello, "it speaks version 2 of the protocol and 'n1' speaks 1");
}

static void a_hello_of_another_cluster_is_refused(void **state)
{
    hf_hello hello = stranger_good_hello();

    (void)state;
    hello.cluster = stranger_text("production");
    expect_refusal("n2", &hello, "it belongs to the cluster 'production' and not to 'test' (cluster.name)");
}

static void a_hello_in_the_name_of_another_is_refused(void **state)
{
    hf_hello hello = stranger_good_hello();

    (void)state;
    hello.from = stranger_text("n3");
    expect_refusal("n2", &hello, "it says that it is 'n3', but its certificate is for 'n2'");
    KIT_WAIT(kit_logged("n2: no link from 127.0.0.1: it says")); /* nothing is held against n3 */
}

static void a_node_that_is_no_member_is_refused(void **state)
{
    hf_hello hello = stranger_good_hello();

    (void)state;
    hello.from = stranger_text("n9");
    expect_refusal("n9", &hello, "'n9' is not a member of 'test' (cluster.members)");
}

static void a_second_node_of_the_same_name_is_refused(void **state)
{
    hf_hello hello = stranger_good_hello();

    (void)state;
    hello.from = stranger_text("n1");
    expect_refusal("n1", &hello, "'n1' is the name of this node, too");
}

static void a_hello_for_another_node_is_refused(void **state)
{
    hf_hello hello = stranger_good_hello();

    (void)state;
    hello.to = stranger_text("n3");
    expect_refusal("n2", &hello, "it meant to reach 'n3' and this is 'n1'");
}

static void another_list_of_members_is_refused(void **state)
{
    hf_hello hello = stranger_good_hello();

    (void)state;
    hello.members ^= 1;
    expect_refusal("n2", &hello, "it has another list of members");
}

static void a_hello_with_too_long_names_is_refused_in_bounds(void **state)
{
    static char name[2000];
    hf_hello hello = stranger_good_hello();

    (void)state;
    memset(name, 'x', sizeof name - 1);
    hello.cluster = stranger_text(name);
    expect_refusal("n2", &hello, "it belongs to the cluster 'xxx");
    hello = stranger_good_hello();
    hello.from = stranger_text(name);
    expect_refusal("n2", &hello, "it says that it is 'xxx");
}

/* Instead of a hello, these bytes. */
static void expect_end_of(const hf_buffer *bytes, const char *words)
{
    SSL *ssl = stranger_dial_tls(&kit_nodes[0], kit_directory, "n2");

    if (bytes->size)
        stranger_say(ssl, bytes);
    stranger_expect_end(ssl);
    stranger_hang_up(ssl);
    kit_wait_log(words);
    check_serving();
}

static void a_hello_that_is_none_ends_the_link(void **state)
{
    hf_buffer bytes = {0};

    (void)state;
    stranger_add_frame(&bytes, HF_FRAME_HELLO, 0, 0, "good morning\n");
    expect_end_of(&bytes, "n2: no link from 127.0.0.1: its hello could not be read");
    hf_buffer_clear(&bytes);
    stranger_add_frame(&bytes, HF_FRAME_HELLO, 0, 0, "protocol 1\ncluster test\n");
    expect_end_of(&bytes, "n2: no link from 127.0.0.1: its hello is malformed");
    hf_buffer_done(&bytes);
}

static void frames_before_the_hello_end_the_link(void **state)
{
    static const int32_t types[] = {HF_FRAME_MESSAGE, HF_FRAME_REQUEST, HF_FRAME_RESPONSE, HF_FRAME_PING};
    hf_buffer bytes = {0};

    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        hf_buffer_clear(&bytes);
        stranger_add_frame(&bytes, types[i], 1, 1, types[i] == HF_FRAME_PING ? "" : "0000");
        expect_end_of(&bytes, "n2: no link from 127.0.0.1: it sent something before the hello");
    }
    hf_buffer_clear(&bytes);
    stranger_add_frame(&bytes, HF_FRAME_WELCOME, 0, 0, "");
    expect_end_of(&bytes, "n2: no link from 127.0.0.1: it sent a welcome that nobody asked for");
    hf_buffer_clear(&bytes);
    stranger_add_frame(&bytes, HF_FRAME_REFUSED, 0, 0, "no");
    expect_end_of(&bytes, "n2: no link from 127.0.0.1: it sent something before the hello");
    hf_buffer_done(&bytes);
}

/* Each byte comes in time and the hello does not. */
static void a_hello_in_drops_is_cut_off(void **state)
{
    const hf_hello hello = stranger_good_hello();
    SSL *ssl = stranger_dial_tls(&kit_nodes[0], kit_directory, "n2");
    hf_buffer bytes = {0};
    struct timeval pause = {1, 0};
    uint64_t sent;
    char byte;

    (void)state;
    stranger_add_hello(&bytes, &hello);
    assert_int_equal(setsockopt(SSL_get_fd(ssl), SOL_SOCKET, SO_RCVTIMEO, &pause, sizeof pause), 0);
    for (sent = 0; sent < 25; sent++) {
        if (SSL_write(ssl, bytes.data + sent, 1) != 1)
            break;
        int result = SSL_read(ssl, &byte, 1); /* a second, or the end */
        if (result <= 0 && SSL_get_error(ssl, result) != SSL_ERROR_WANT_READ)
            break;
    }
    assert_true(sent < 25); /* it was cut off while drops still came */
    kit_wait_log("n2: no link from 127.0.0.1: its hello or welcome took more than 3 s");
    stranger_hang_up(ssl);
    hf_buffer_done(&bytes);
    check_serving();
}

static void parts_of_a_hello_are_forgotten(void **state)
{
    const hf_hello hello = stranger_good_hello();
    hf_buffer bytes = {0};

    (void)state;
    stranger_add_hello(&bytes, &hello);
    for (int size = 1; size < (int)bytes.size; size += 7) {
        SSL *ssl = stranger_dial_tls(&kit_nodes[0], kit_directory, "n2");
        assert_int_equal(SSL_write(ssl, bytes.data, size), size);
        stranger_hang_up(ssl);
    }
    hf_buffer_done(&bytes);
    check_serving();
}

/* ---- Behind the hello -------------------------------------------------------------------------------------------- */

/* On a link that is up, these bytes. */
static void expect_loss(const void *data, uint64_t size, const char *words)
{
    SSL *ssl = stranger_greet(&kit_nodes[0]);

    assert_int_equal(SSL_write(ssl, data, (int)size), (int)size);
    stranger_expect_end(ssl);
    stranger_hang_up(ssl);
    kit_wait_log(words);
    check_serving();
}

static void frames_out_of_place_end_the_link(void **state)
{
    static const int32_t types[] = {HF_FRAME_HELLO, HF_FRAME_REFUSED, HF_FRAME_RESPONSE};
    hf_buffer bytes = {0};

    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        hf_buffer_clear(&bytes);
        stranger_add_frame(&bytes, types[i], 0, 99, "nobody asked");
        expect_loss(bytes.data, bytes.size, "n2: the link from 127.0.0.1 was lost: it sent a frame out of place");
    }
    hf_buffer_clear(&bytes);
    stranger_add_frame(&bytes, HF_FRAME_WELCOME, 0, 0, "");
    expect_loss(bytes.data, bytes.size,
                "n2: the link from 127.0.0.1 was lost: it sent a welcome that nobody asked for");
    hf_buffer_done(&bytes);
}

static void frames_that_are_none_end_the_link(void **state)
{
    static const uint8_t unknown_type[16] = {0, 0, 0, 0, 99}, no_type[16] = {0};
    static const uint8_t oversized[16] = {1, 0, 0, 2, HF_FRAME_MESSAGE, 1},
                         huge[16] = {255, 255, 255, 255, HF_FRAME_REQUEST};
    static const uint8_t ping_with_payload[20] = {4, 0, 0, 0, HF_FRAME_PING};
    const char *words = "n2: the link from 127.0.0.1 was lost: it sent what is not a frame";

    (void)state;
    expect_loss(unknown_type, sizeof unknown_type, words);
    expect_loss(no_type, sizeof no_type, words);
    expect_loss(oversized, sizeof oversized, words); /* 32 MiB and one byte */
    expect_loss(huge, sizeof huge, words);
    expect_loss(ping_with_payload, sizeof ping_with_payload, words);
}

/* Frames have no checksum because TLS has one. */
static void bytes_that_were_changed_on_the_way_end_the_link(void **state)
{
    static const uint8_t record[] = {0x17, 3,  3,  0,  32, 1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14,
                                     15,   16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32};
    SSL *ssl = stranger_greet(&kit_nodes[0]);

    (void)state;
    assert_int_equal(send(SSL_get_fd(ssl), record, sizeof record, MSG_NOSIGNAL), sizeof record);
    stranger_expect_end(ssl);
    stranger_hang_up(ssl);
    kit_wait_log("n2: the link from 127.0.0.1 was lost: TLS with n2 failed: decryption failed or bad record mac");
    check_serving();
}

static void half_a_frame_is_forgotten(void **state)
{
    hf_buffer bytes = {0};

    (void)state;
    stranger_add_frame(&bytes, HF_FRAME_MESSAGE, 1, 0, "0000 and more");
    for (int size = 1; size < (int)bytes.size; size += 5) {
        SSL *ssl = stranger_greet(&kit_nodes[0]);
        assert_int_equal(SSL_write(ssl, bytes.data, size), size);
        stranger_hang_up(ssl);
    }
    hf_buffer_done(&bytes);
    check_serving();
    wait_received(1);
}

static void unknown_channels_get_nothing(void **state)
{
    SSL *ssl = stranger_greet(&kit_nodes[0]);
    hf_buffer bytes = {0}, answer = {0};

    (void)state;
    stranger_add_frame(&bytes, HF_FRAME_PING, 0, 0, "");
    stranger_add_frame(&bytes, HF_FRAME_MESSAGE, 1, 0, "one");
    stranger_add_frame(&bytes, HF_FRAME_MESSAGE, 0, 0, "to a channel that n1 has not");
    stranger_add_frame(&bytes, HF_FRAME_MESSAGE, 255, 0, "to one that n2 has not named");
    stranger_add_frame(&bytes, HF_FRAME_MESSAGE, 1, 0, "two");
    stranger_add_frame(&bytes, HF_FRAME_REQUEST, 0, 7, "anybody?");
    for (uint64_t i = 0; i < bytes.size; i++) /* in pieces of a byte, too */
        assert_int_equal(SSL_write(ssl, bytes.data + i, 1), 1);
    hf_frame frame = stranger_read(ssl, &answer);
    assert_int_equal(frame.type, HF_FRAME_RESPONSE);
    assert_int_equal(frame.code, HF_EUNSUPPORTED);
    assert_int_equal(frame.id, 7);
    assert_int_equal(frame.payload.size, 0);
    wait_received(2);
    hf_buffer_done(&bytes);
    hf_buffer_done(&answer);
    stranger_hang_up(ssl);
}

static void a_link_that_is_dialled_again_replaces_the_former(void **state)
{
    SSL *former = stranger_greet(&kit_nodes[0]), *present = stranger_greet(&kit_nodes[0]);
    hf_buffer bytes = {0};

    (void)state;
    stranger_expect_end(former);
    kit_wait_log("n2: the link from 127.0.0.1 was lost: it has dialled again");
    stranger_add_frame(&bytes, HF_FRAME_MESSAGE, 1, 0, "0000");
    stranger_say(present, &bytes);
    wait_received(1);
    hf_buffer_done(&bytes);
    stranger_hang_up(former);
    stranger_hang_up(present);
}

/* ---- As the side that is dialled --------------------------------------------------------------------------------- */

/* The test is n3, and n1 has sent its hello. */
static SSL *take_hello(hf_buffer *buffer)
{
    SSL *ssl = stranger_accept(&kit_nodes[2], "n3");

    assert_int_equal(stranger_read(ssl, buffer).type, HF_FRAME_HELLO);
    return ssl;
}

static void answer(int32_t type, uint32_t channel, const char *payload, int welcome_first, const char *words)
{
    hf_buffer buffer = {0}, bytes = {0};
    SSL *ssl = take_hello(&buffer);

    if (welcome_first)
        stranger_add_frame(&bytes, HF_FRAME_WELCOME, 0, 0, "");
    stranger_add_frame(&bytes, type, channel, 1, payload);
    stranger_say(ssl, &bytes);
    stranger_expect_end(ssl);
    stranger_hang_up(ssl);
    kit_wait_log(words);
    hf_buffer_done(&buffer);
    hf_buffer_done(&bytes);
    check_serving();
}

static void an_answer_that_is_no_welcome_ends_the_link(void **state)
{
    (void)state;
    answer(HF_FRAME_REFUSED, 0, "not today", 0, "n3: it refuses this node: not today");
    answer(HF_FRAME_RESPONSE, 0, "hello", 0, "n3: no link to it: it sent something before the hello");
    answer(HF_FRAME_HELLO, 0, "protocol 1\n", 0, "n3: no link to it: its hello could not be read");
}

static void messages_come_only_from_the_dialler(void **state)
{
    (void)state;
    answer(HF_FRAME_MESSAGE, 1, "0000", 1, "n3: the link to it was lost: it sent a frame out of place");
    answer(HF_FRAME_REQUEST, 1, "hello", 1, "n3: the link to it was lost: it sent a frame out of place");
    answer(HF_FRAME_WELCOME, 0, "", 1, "n3: the link to it was lost: it sent a welcome that nobody asked for");
    KIT_WAIT(kit_nodes[0].received[2] == 0 && kit_nodes[0].up[2] == 0);
}

static void a_welcome_that_does_not_come_is_not_waited_for(void **state)
{
    hf_buffer buffer = {0};
    SSL *ssl = take_hello(&buffer);

    (void)state;
    stranger_expect_end(ssl);
    kit_wait_log("n3: no link to it: its hello or welcome took more than 3 s");
    stranger_hang_up(ssl);
    hf_buffer_done(&buffer);
    check_serving();
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up_one, kit_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_second_process_with_a_node_s_name_is_refused),
        TEST(a_hello_of_another_version_is_refused),
        TEST(a_hello_of_another_cluster_is_refused),
        TEST(a_hello_in_the_name_of_another_is_refused),
        TEST(a_node_that_is_no_member_is_refused),
        TEST(a_second_node_of_the_same_name_is_refused),
        TEST(a_hello_for_another_node_is_refused),
        TEST(another_list_of_members_is_refused),
        TEST(a_hello_with_too_long_names_is_refused_in_bounds),
        TEST(a_hello_that_is_none_ends_the_link),
        TEST(frames_before_the_hello_end_the_link),
        TEST(a_hello_in_drops_is_cut_off),
        TEST(parts_of_a_hello_are_forgotten),
        TEST(frames_out_of_place_end_the_link),
        TEST(frames_that_are_none_end_the_link),
        TEST(bytes_that_were_changed_on_the_way_end_the_link),
        TEST(half_a_frame_is_forgotten),
        TEST(unknown_channels_get_nothing),
        TEST(a_link_that_is_dialled_again_replaces_the_former),
        TEST(an_answer_that_is_no_welcome_ends_the_link),
        TEST(messages_come_only_from_the_dialler),
        TEST(a_welcome_that_does_not_come_is_not_waited_for),
    };

    return cmocka_run_group_tests(tests, kit_begin, kit_finish);
}
