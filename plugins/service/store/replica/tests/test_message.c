/* Shows that messages and snapshot requests survive the wire, and that nothing shorter or longer is taken for one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "replica/message.h"
#include "replica/snapshot.h"

#include <string.h>

static void append_payloads(hf_buffer *buffer, const struct store_message *message)
{
    for (uint32_t i = 0; i < message->entry_count; i++) {
        hf_slice payload = store_payload_slice(message->entries[i].payload);
        assert_int_equal(hf_buffer_append(buffer, payload.data, payload.size), HF_OK);
    }
}

static void messages_survive(void **state)
{
    struct store_message_entry entries[3] = {
        {5, HF_ENTRY_NORMAL, NULL}, {6, HF_ENTRY_EMPTY, NULL}, {6, HF_ENTRY_MEMBERSHIP, NULL}};
    struct store_message message = {.partition = 7,
                                    .from = 1,
                                    .to = 2,
                                    .first_index = 100,
                                    .entry_count = 3,
                                    .header_size = 5,
                                    .header = "hello",
                                    .entries = entries},
                         read;
    hf_buffer buffer;

    (void)state;
    entries[0].payload = store_payload_copy((hf_slice){(const uint8_t *)"abc", 3});
    entries[2].payload = store_payload_copy((hf_slice){(const uint8_t *)"defgh", 5});
    hf_buffer_init(&buffer, 1 << 16);
    assert_int_equal(store_message_write_head(&buffer, &message), HF_OK);
    append_payloads(&buffer, &message);
    assert_int_equal(store_message_read((hf_slice){buffer.data, buffer.size}, &read), HF_OK);
    assert_int_equal(read.partition, 7);
    assert_int_equal(read.first_index, 100);
    assert_int_equal(read.header_size, 5);
    assert_memory_equal(read.header, "hello", 5);
    assert_int_equal(read.entry_count, 3);
    assert_memory_equal(read.entries[2].payload->bytes, "defgh", 5);
    assert_null(read.entries[1].payload);
    store_message_done(&read);
    for (uint64_t size = 0; size < buffer.size; size++) /* every truncation */
        assert_int_equal(store_message_read((hf_slice){buffer.data, size}, &read), HF_EPROTOCOL);
    assert_int_equal(hf_buffer_append(&buffer, "x", 1), HF_OK);
    assert_int_equal(store_message_read((hf_slice){buffer.data, buffer.size}, &read), HF_EPROTOCOL);
    hf_buffer_done(&buffer);
    store_payload_release(entries[0].payload);
    store_payload_release(entries[2].payload);
}

static void snapshot_requests_survive(void **state)
{
    struct store_snapshot_request request = {.kind = STORE_SNAPSHOT_BEGIN,
                                             .partition = 9,
                                             .session = 3,
                                             .state = {.applied_index = 8,
                                                       .applied_term = 2,
                                                       .member_count = 2,
                                                       .members = {{.replica = 1}, {.replica = 2, .learner = 1}}}},
                                  read;
    uint8_t bytes[STORE_SNAPSHOT_BEGIN_MAX + 1];
    uint64_t size = store_snapshot_write(bytes, &request);

    (void)state;
    assert_int_equal(store_snapshot_read((hf_slice){bytes, size}, &read), HF_OK);
    assert_int_equal(read.partition, 9);
    assert_int_equal(read.state.applied_index, 8);
    assert_int_equal(read.state.members[1].learner, 1);
    for (uint64_t i = 0; i < size; i++)
        assert_int_equal(store_snapshot_read((hf_slice){bytes, i}, &read), HF_EPROTOCOL);
    assert_int_equal(store_snapshot_read((hf_slice){bytes, size + 1}, &read), HF_EPROTOCOL);
    request.kind = STORE_SNAPSHOT_COMMIT;
    size = store_snapshot_write(bytes, &request);
    assert_int_equal(store_snapshot_read((hf_slice){bytes, size}, &read), HF_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(messages_survive), cmocka_unit_test(snapshot_requests_survive)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
