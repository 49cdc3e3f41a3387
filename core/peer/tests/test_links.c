/* Shows with several nodes in one process that messages keep their order, that what waits is bounded, and that links
 * are lost, noticed and made again. */
#include "kit.h"

#include <holdfast/lib/hash.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- Messages ---------------------------------------------------------------------------------------------------- */

static void messages_keep_their_order_both_ways(void **state)
{
    enum { COUNT = 10000 };
    int32_t last = 0;

    (void)state;
    for (uint32_t i = 0; i < KIT_NODES; i++)
        for (uint32_t j = 0; j < KIT_NODES; j++)
            for (uint32_t worker = 0; worker < KIT_WORKERS && i != j; worker++) {
                assert_int_equal(kit_burst(&kit_nodes[i], worker, j, COUNT, 20, &last), COUNT);
                assert_int_equal(last, 0);
            }
    for (uint32_t i = 0; i < KIT_NODES; i++)
        for (uint32_t j = 0; j < KIT_NODES; j++)
            if (i != j)
                KIT_WAIT(kit_nodes[i].received[j] == COUNT * KIT_WORKERS);
    for (uint32_t i = 0; i < KIT_NODES; i++)
        assert_int_equal(kit_nodes[i].disorder, 0);
    assert_true(kit_metric(&kit_nodes[0], "holdfast_peer_messages_total{direction=\"sent\"}") ==
                COUNT * KIT_WORKERS * (KIT_NODES - 1));
    assert_true(kit_metric(&kit_nodes[0], "holdfast_peer_messages_total{direction=\"received\"}") ==
                COUNT * KIT_WORKERS * (KIT_NODES - 1));
    assert_true(kit_metric(&kit_nodes[0], "holdfast_peer_link_up{node=\"n2\"}") == KIT_LANES);
}

static uint64_t hash_of_burst(uint32_t size)
{
    uint8_t *bytes = calloc(1, size + 4);

    assert_non_null(bytes);
    for (uint32_t i = 0; i < size; i++)
        bytes[4 + i] = (uint8_t)(i * 131 >> 3);
    uint64_t hash = hf_hash64(0, bytes, size + 4);
    free(bytes);
    return hash;
}

static void large_messages_arrive_whole_and_too_large_ones_not_at_all(void **state)
{
    static const uint32_t sizes[] = {1 << 20, 20 << 20, HF_PEER_MESSAGE_MAX - 4};
    int32_t last = 0;

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        kit_node *to = &kit_nodes[1];
        pthread_mutex_lock(&kit_lock);
        to->received[0] = 0;
        to->next[0][0] = 0; /* each burst begins with 0 */
        pthread_mutex_unlock(&kit_lock);
        assert_int_equal(kit_burst(&kit_nodes[0], 0, 1, 1, sizes[i], &last), 1);
        KIT_WAIT(to->received[0] == 1);
        assert_true(to->received_hash == hash_of_burst(sizes[i]));
    }
    assert_int_equal(kit_burst(&kit_nodes[0], 0, 1, 1, HF_PEER_MESSAGE_MAX - 3, &last), 0);
    assert_int_equal(last, HF_ETOOLARGE);
    assert_int_equal(kit_nodes[1].disorder, 0);
}

/* Within one turn of the loop nothing leaves, so the queue fills for certain. */
static void a_full_queue_refuses_and_empties_again(void **state)
{
    enum { SIZE = 64 << 10, FRAME = SIZE + 4 + 16 };
    int32_t last = 0;
    uint32_t sent = kit_burst(&kit_nodes[0], 0, 1, 1000, SIZE, &last);

    (void)state;
    assert_int_equal(last, HF_EBUSY);
    assert_int_equal(sent, KIT_QUEUE_LIMIT / FRAME + 1);
    KIT_WAIT(kit_nodes[1].received[0] == sent);
    assert_int_equal(kit_nodes[1].disorder, 0);
    assert_int_equal(kit_call_now(&kit_nodes[0], 1, "hello", NULL), 0);
    assert_true(kit_metric(&kit_nodes[0], "holdfast_peer_reconnects_total") == 0);
}

/* The limit of the queue is not one of a message. */
static void a_message_of_any_size_fits_into_a_queue_below_its_limit(void **state)
{
    int32_t last = 0;

    (void)state;
    assert_int_equal(kit_burst(&kit_nodes[0], 0, 1, 2, HF_PEER_MESSAGE_MAX - 4, &last), 1);
    assert_int_equal(last, HF_EBUSY);
    KIT_WAIT(kit_nodes[1].received[0] == 1);
}

/* ---- Loss and return --------------------------------------------------------------------------------------------- */

static void a_lost_link_is_told_and_comes_back(void **state)
{
    int32_t last = 0;

    (void)state;
    kit_stop(&kit_nodes[1]);
    KIT_WAIT(kit_nodes[0].up[1] == 0 && kit_nodes[2].up[1] == 0);
    kit_wait_log("n2: the link to it was lost: the other side closed it");
    assert_int_equal(kit_burst(&kit_nodes[0], 0, 1, 1, 0, &last), 0);
    assert_int_equal(last, HF_ECLOSED);
    assert_int_equal(kit_call_now(&kit_nodes[0], 1, "hello", NULL), HF_ECLOSED);
    assert_int_equal(kit_call_now(&kit_nodes[0], 2, "hello", NULL), 0);
    assert_true(kit_metric(&kit_nodes[0], "holdfast_peer_link_up{node=\"n2\"}") == 0);
    kit_start(&kit_nodes[1]);
    kit_wait_linked(&kit_nodes[0], &kit_nodes[1]);
    kit_wait_linked(&kit_nodes[2], &kit_nodes[1]);
    assert_int_equal(kit_call_now(&kit_nodes[0], 1, "hello", NULL), 0);
    assert_true(kit_metric(&kit_nodes[0], "holdfast_peer_reconnects_total") == KIT_LANES);
    assert_true(kit_metric(&kit_nodes[0], "holdfast_peer_link_up{node=\"n2\"}") == KIT_LANES);
}

static int released; /* guarded by kit_lock */

static void block_loop(hf_task *task)
{
    (void)task;
    pthread_mutex_lock(&kit_lock);
    while (!released)
        pthread_cond_wait(&kit_changed, &kit_lock);
    pthread_mutex_unlock(&kit_lock);
}

/* The loops of n2 stand still: its connections stay open and nothing comes. */
static void a_node_that_falls_silent_is_lost(void **state)
{
    hf_task blocks[KIT_WORKERS];
    kit_call call;

    (void)state;
    released = 0;
    kit_call_start(&call, &kit_nodes[0], 1, "hold", 60000000);
    KIT_WAIT(kit_nodes[1].held_count == 1);
    for (int i = 0; i < KIT_WORKERS; i++) {
        blocks[i] = (hf_task){.run = block_loop};
        hf_loop_post(kit_nodes[1].workers[i], &blocks[i]);
    }
    KIT_WAIT(kit_nodes[0].up[1] == 0);
    kit_wait_log("n2: the link to it was lost: it has been silent for 3 s");
    assert_int_equal(kit_call_wait(&call), HF_EIO);
    assert_int_equal(kit_call_now(&kit_nodes[0], 2, "hello", NULL), 0);
    pthread_mutex_lock(&kit_lock);
    released = 1;
    pthread_cond_broadcast(&kit_changed);
    pthread_mutex_unlock(&kit_lock);
    kit_wait_linked(&kit_nodes[0], &kit_nodes[1]);
    hf_peers_respond(kit_nodes[1].held[0], 0, (hf_slice){NULL, 0}); /* its link has gone */
    assert_int_equal(kit_call_now(&kit_nodes[0], 1, "hello", NULL), 0);
}

/* In the place of n3 somebody hangs up at once.  Without pauses each lane would try every 200 ms. */
static void dialling_again_takes_its_time(void **state)
{
    struct pollfd wait = {kit_nodes[2].listener, POLLIN, 0};
    const uint64_t until_us = hf_clock_us() + 6000000;
    uint32_t attempts = 0;

    (void)state;
    kit_start(&kit_nodes[0]);
    while (hf_clock_us() < until_us)
        if (poll(&wait, 1, 100) == 1) {
            close(accept(kit_nodes[2].listener, NULL, NULL));
            attempts++;
        }
    assert_in_range(attempts, 2, 20 * KIT_WORKERS); /* 10 are likely, 30 would be all; a slow machine makes fewer */
    kit_start(&kit_nodes[2]);
    kit_wait_linked(&kit_nodes[0], &kit_nodes[2]);
    kit_start(&kit_nodes[1]);
    kit_wait_linked(&kit_nodes[0], &kit_nodes[1]);
}

static void another_list_of_members_on_the_other_side_is_told_by_both(void **state)
{
    (void)state;
    kit_stop(&kit_nodes[1]);
    kit_nodes[1].member_count = 2;
    kit_start(&kit_nodes[1]);
    kit_wait_log("n2: no link from 127.0.0.1: it has another list of members");
    kit_wait_log("n1: it refuses this node: it has another list of members (cluster.members must be the same");
    assert_int_equal(kit_call_now(&kit_nodes[0], 2, "hello", NULL), 0);
    KIT_WAIT(kit_nodes[0].up[1] == 0 && kit_nodes[1].up[0] == 0);
    kit_stop(&kit_nodes[1]);
    kit_nodes[1].member_count = KIT_NODES;
    kit_start(&kit_nodes[1]);
    kit_wait_linked(&kit_nodes[0], &kit_nodes[1]);
    assert_int_equal(kit_call_now(&kit_nodes[0], 1, "hello", NULL), 0);
}

static void names_are_looked_up(void **state)
{
    (void)state;
    for (int i = 0; i < KIT_NODES; i++)
        for (int j = 0; j < KIT_NODES; j++)
            snprintf(kit_nodes[i].addresses[j], sizeof kit_nodes[i].addresses[j], "localhost:%u", kit_nodes[j].port);
    snprintf(kit_nodes[0].addresses[2], sizeof kit_nodes[0].addresses[2], "no.such.invalid:%u", kit_nodes[2].port);
    kit_start(&kit_nodes[0]);
    kit_start(&kit_nodes[1]);
    kit_wait_linked(&kit_nodes[0], &kit_nodes[1]);
    kit_wait_log("n3: its address 'no.such.invalid' cannot be looked up: ");
    assert_int_equal(kit_call_now(&kit_nodes[0], 1, "hello", NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(messages_keep_their_order_both_ways, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(large_messages_arrive_whole_and_too_large_ones_not_at_all, kit_set_up,
                                        kit_tear_down),
        cmocka_unit_test_setup_teardown(a_full_queue_refuses_and_empties_again, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(a_message_of_any_size_fits_into_a_queue_below_its_limit, kit_set_up,
                                        kit_tear_down),
        cmocka_unit_test_setup_teardown(a_lost_link_is_told_and_comes_back, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(a_node_that_falls_silent_is_lost, kit_set_up, kit_tear_down),
        cmocka_unit_test_setup_teardown(dialling_again_takes_its_time, kit_prepare, kit_tear_down),
        cmocka_unit_test_setup_teardown(another_list_of_members_on_the_other_side_is_told_by_both, kit_set_up,
                                        kit_tear_down),
        cmocka_unit_test_setup_teardown(names_are_looked_up, kit_prepare, kit_tear_down),
    };

    return cmocka_run_group_tests(tests, kit_begin, kit_finish);
}
