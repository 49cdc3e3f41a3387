/* Shows that every call ends once, on its own loop, and with what the other side answered or why it did not. */
#include "kit.h"

#include <stdlib.h>
#include <unistd.h>

static void respond_late(uint32_t first, uint32_t count)
{
    for (uint32_t i = first; i < first + count; i++)
        hf_peers_respond(kit_nodes[1].held[i], 0, (hf_slice){(const uint8_t *)"late", 4});
}

static void calls_are_answered(void **state)
{
    char response[32];
    kit_call call;

    (void)state;
    assert_int_equal(kit_call_now(&kit_nodes[0], 1, "hello", response), 0);
    assert_string_equal(response, "hello");
    assert_int_equal(kit_call_now(&kit_nodes[0], 2, "fail", response), HF_ECONFLICT);
    assert_string_equal(response, "no");
    assert_int_equal(kit_call_now(&kit_nodes[0], 2, "", response), 0);
    assert_string_equal(response, "");
    kit_call_start(&call, &kit_nodes[0], 1, "hold", 30000000);
    KIT_WAIT(kit_nodes[1].held_count == 1);
    respond_late(0, 1); /* from this thread, which has no loop */
    assert_int_equal(kit_call_wait(&call), 0);
    assert_string_equal(call.response, "late");
}

static void bulk_calls_take_the_bulk_loops(void **state)
{
    char response[32];

    (void)state;
    assert_int_equal(kit_call_now(&kit_nodes[0], 1, "loop", response), 0);
    assert_string_equal(response, "worker");
    assert_int_equal(kit_bulk_call_now(&kit_nodes[0], 1, "loop", response), 0);
    assert_string_equal(response, "bulk");
    assert_int_equal(kit_bulk_call_now(&kit_nodes[0], 2, "fail", response), HF_ECONFLICT);
    assert_string_equal(response, "no");
    assert_int_equal(kit_bulk_call_now(&kit_nodes[0], 0, "self", NULL), HF_EINVAL);
    kit_stop(&kit_nodes[2]);
    KIT_WAIT(kit_nodes[0].up[2] == 0);
    kit_wait_log("n3: the link to it was lost");
    while (kit_metric(&kit_nodes[0], "holdfast_peer_link_up{node=\"n3\"}") != 0)
        usleep(1000); /* no handler hears of the bulk loop's */
    assert_int_equal(kit_bulk_call_now(&kit_nodes[0], 2, "down", NULL), HF_ECLOSED);
}

struct large {
    kit_node *node;
    uint8_t *bytes;
    int32_t code;
    int done;
};

static void large_done(void *arg, int32_t code, hf_slice response)
{
    struct large *large = arg;

    (void)response;
    pthread_mutex_lock(&kit_lock);
    large->code = code;
    large->done = 1;
    pthread_cond_broadcast(&kit_changed);
    pthread_mutex_unlock(&kit_lock);
}

static void call_too_large(void *arg)
{
    struct large *large = arg;
    hf_slice piece = {large->bytes, HF_PEER_MESSAGE_MAX + 1};

    hf_peers_call(large->node->channel, 1, &piece, 1, 30000000, large_done, large);
    assert_int_equal(large->done, 0);
}

static void calls_that_cannot_be_sent_say_so_later(void **state)
{
    struct large large = {.node = &kit_nodes[0], .bytes = calloc(1, HF_PEER_MESSAGE_MAX + 1)};

    (void)state;
    assert_int_equal(kit_call_now(&kit_nodes[0], 0, "self", NULL), HF_EINVAL);
    assert_int_equal(kit_call_now(&kit_nodes[0], KIT_NODES, "nobody", NULL), HF_EINVAL);
    kit_run(kit_nodes[0].workers[0], call_too_large, &large);
    KIT_WAIT(large.done);
    assert_int_equal(large.code, HF_ETOOLARGE);
    free(large.bytes);
    kit_stop(&kit_nodes[2]);
    KIT_WAIT(kit_nodes[0].up[2] == 0);
    assert_int_equal(kit_call_now(&kit_nodes[0], 2, "down", NULL), HF_ECLOSED);
}

static void a_call_without_an_answer_times_out_once(void **state)
{
    kit_call slow;

    (void)state;
    kit_call_start(&slow, &kit_nodes[0], 1, "hold", 50000);
    assert_int_equal(kit_call_wait(&slow), HF_ETIMEOUT);
    KIT_WAIT(kit_nodes[1].held_count == 1);
    respond_late(0, 1);
    /* Comes behind the late answer, which nobody waits for. */
    assert_int_equal(kit_call_now(&kit_nodes[0], 1, "hello", NULL), 0);
    assert_int_equal(slow.done, 1);
    assert_true(kit_metric(&kit_nodes[0], "holdfast_peer_reconnects_total") == 0);
}

static void nobody_serves(void **state)
{
    static const hf_peer_handlers silent = {.size = sizeof silent};

    (void)state;
    kit_nodes[1].handlers = &silent;
    kit_start(&kit_nodes[0]);
    kit_start(&kit_nodes[1]);
    KIT_WAIT(kit_nodes[0].up[1] == KIT_WORKERS);
    assert_int_equal(kit_call_now(&kit_nodes[0], 1, "hello", NULL), HF_EUNSUPPORTED);
}

static void concurrent_calls_get_their_own_answers(void **state)
{
    enum { COUNT = 1000 };
    static kit_call calls[COUNT];
    static char texts[COUNT][16];

    (void)state;
    for (uint32_t i = 0; i < COUNT; i++) {
        snprintf(texts[i], sizeof texts[i], "call %u", i);
        kit_call_start(&calls[i], &kit_nodes[0], 1 + i % 2, texts[i], 30000000);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(kit_call_wait(&calls[i]), 0);
        assert_string_equal(calls[i].response, texts[i]);
    }
}

static void unanswered_requests_are_bounded(void **state)
{
    enum { COUNT = 4096 };
    static kit_call calls[COUNT];

    (void)state;
    for (uint32_t i = 0; i < COUNT; i++)
        kit_call_start(&calls[i], &kit_nodes[0], 1, "hold", 60000000);
    assert_int_equal(kit_call_now(&kit_nodes[0], 1, "hold", NULL), HF_EBUSY);
    KIT_WAIT(kit_nodes[1].held_count == COUNT);
    respond_late(0, COUNT);
    for (uint32_t i = 0; i < COUNT; i++)
        assert_int_equal(kit_call_wait(&calls[i]), 0);
    assert_int_equal(kit_call_now(&kit_nodes[0], 1, "hello", NULL), 0);
}

/* All in one turn of n2's loop, so that none of them leaves before the last one is there. */
static void respond_largely(void *arg)
{
    hf_slice response = {arg, 20 << 20};

    for (uint32_t i = 0; i < 4; i++)
        hf_peers_respond(kit_nodes[1].held[i], 0, response);
}

static void responses_that_do_not_fit_end_their_calls_alone(void **state)
{
    kit_call calls[4];
    uint32_t whole = 0;
    uint8_t *bytes = calloc(1, 20 << 20);

    (void)state;
    assert_non_null(bytes);
    for (int i = 0; i < 4; i++)
        kit_call_start(&calls[i], &kit_nodes[0], 1, "hold", 60000000);
    KIT_WAIT(kit_nodes[1].held_count == 4);
    kit_run(kit_nodes[1].workers[0], respond_largely, bytes);
    for (int i = 0; i < 4; i++) {
        int32_t code = kit_call_wait(&calls[i]);
        assert_true(code == 0 || code == HF_EIO);
        whole += code == 0;
    }
    assert_int_equal(whole, 1);
    assert_int_equal(kit_call_now(&kit_nodes[0], 1, "hello", NULL), 0);
    assert_true(kit_metric(&kit_nodes[0], "holdfast_peer_reconnects_total") == 0);
    free(bytes);
}

static void a_lost_link_ends_its_calls(void **state)
{
    kit_call calls[10];

    (void)state;
    for (int i = 0; i < 10; i++)
        kit_call_start(&calls[i], &kit_nodes[0], 1, "hold", 60000000);
    KIT_WAIT(kit_nodes[1].held_count == 10);
    kit_halt(&kit_nodes[1]);
    respond_late(0, 10); /* on a link that is gone */
    for (int i = 0; i < 10; i++)
        assert_int_equal(kit_call_wait(&calls[i]), HF_EIO);
    kit_end(&kit_nodes[1]);
    KIT_WAIT(kit_nodes[0].up[1] == 0);
    assert_int_equal(kit_call_now(&kit_nodes[0], 1, "hello", NULL), HF_ECLOSED);
    kit_start(&kit_nodes[1]);
    kit_wait_linked(&kit_nodes[0], &kit_nodes[1]);
    assert_int_equal(kit_call_now(&kit_nodes[0], 1, "hello", NULL), 0);
}

static void stopping_ends_the_calls_under_way(void **state)
{
    kit_call calls[10];

    (void)state;
    for (uint32_t i = 0; i < 10; i++)
        kit_call_start(&calls[i], &kit_nodes[0], 1, "hold", 60000000);
    KIT_WAIT(kit_nodes[1].held_count == 10);
    kit_halt(&kit_nodes[0]);
    for (int i = 0; i < 10; i++)
        assert_int_equal(kit_call_wait(&calls[i]), HF_EIO);
    assert_int_equal(kit_call_now(&kit_nodes[0], 1, "hello", NULL), HF_ECLOSED); /* its loops run still */
    kit_end(&kit_nodes[0]);
    KIT_WAIT(kit_nodes[1].up[0] == 0);
    respond_late(0, 10);
    assert_int_equal(kit_call_now(&kit_nodes[1], 2, "hello", NULL), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, kit_set_up, kit_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(calls_are_answered),
        TEST(bulk_calls_take_the_bulk_loops),
        TEST(calls_that_cannot_be_sent_say_so_later),
        TEST(a_call_without_an_answer_times_out_once),
        cmocka_unit_test_setup_teardown(nobody_serves, kit_prepare, kit_tear_down),
        TEST(concurrent_calls_get_their_own_answers),
        TEST(unanswered_requests_are_bounded),
        TEST(responses_that_do_not_fit_end_their_calls_alone),
        TEST(a_lost_link_ends_its_calls),
        TEST(stopping_ends_the_calls_under_way),
    };

    return cmocka_run_group_tests(tests, kit_begin, kit_finish);
}
