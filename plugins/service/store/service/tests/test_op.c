/* Shows that the bytes of requests, answers and results hold all of them, that limits are refused, and that nothing cut
 * off, continued or otherwise damaged is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <holdfast/lib/checksum.h>
#include <holdfast/lib/error.h>

#include "machine/command.h"
#include "service/op.h"
#include "table/table.h"

#define TEXT(literal) ((hf_slice){(const uint8_t *)(literal), sizeof(literal) - 1})

static const uint8_t zeros[STORE_KEY_MAX + 2];

static void assert_slice(hf_slice a, hf_slice b)
{
    assert_int_equal(a.size, b.size);
    if (a.size)
        assert_memory_equal(a.data, b.data, a.size);
}

static hf_slice bytes_of(const hf_buffer *buffer)
{
    return (hf_slice){buffer->data, buffer->size};
}

/* The first `size` bytes in memory of exactly that size, so that the sanitizers see a read behind them. */
static uint8_t *copy_of(hf_slice bytes, uint64_t size)
{
    uint8_t *copy = malloc(size + 1);

    assert_non_null(copy);
    copy = realloc(copy, size ? size : 1);
    assert_non_null(copy);
    if (size)
        memcpy(copy, bytes.data, size < bytes.size ? size : bytes.size);
    return copy;
}

/* ---- Requests ---------------------------------------------------------------------------------------------------- */

static struct store_op write_op(void)
{
    return (struct store_op){
        .type = STORE_OP_WRITE, .partition = 7, .deadline_us = 1500, .client = UINT64_MAX - 1, .command = TEXT("a\0b")};
}

static struct store_op get_op(void)
{
    return (struct store_op){
        .type = STORE_OP_GET, .stale = 1, .partition = UINT64_MAX, .deadline_us = 1000, .key = TEXT("key")};
}

static struct store_op scan_op(void)
{
    return (struct store_op){.type = STORE_OP_SCAN,
                             .partition = 1,
                             .deadline_us = 5000001000,
                             .key = TEXT("pre"),
                             .start = TEXT("prefix\0"),
                             .limit = STORE_SCAN_RECORDS_MAX};
}

static struct store_op changes_op(void)
{
    return (struct store_op){.type = STORE_OP_CHANGES,
                             .stale = 1,
                             .partition = 2,
                             .deadline_us = 2000,
                             .from = UINT64_MAX - 1,
                             .limit = 1,
                             .wait_ms = 30000};
}

static struct store_op members_op(void)
{
    return (struct store_op){.type = STORE_OP_MEMBERS, .partition = 9, .deadline_us = 3000};
}

static struct store_op (*const requests[])(void) = {write_op, get_op, scan_op, changes_op, members_op};

enum { REQUESTS = sizeof requests / sizeof requests[0] };

static void assert_request(const struct store_op *op)
{
    hf_buffer buffer;
    struct store_op read;

    hf_buffer_init(&buffer, 1 << 20);
    assert_int_equal(hf_buffer_append(&buffer, "x", 1), 0); /* it is appended */
    assert_int_equal(store_op_write_request(&buffer, op, 1000), 0);
    memset(&read, 0xff, sizeof read);
    assert_int_equal(store_op_read_request((hf_slice){buffer.data + 1, buffer.size - 1}, 9000, &read), 0);
    assert_true(read.type == op->type && read.stale == op->stale && read.partition == op->partition);
    assert_true(read.deadline_us == op->deadline_us + 8000); /* the same time is left, by another clock */
    assert_true(read.client == op->client);
    assert_slice(read.command, op->command);
    assert_slice(read.key, op->key);
    assert_slice(read.start, op->start);
    assert_true(read.from == op->from && read.limit == op->limit && read.wait_ms == op->wait_ms);
    assert_true(read.code == 0 && read.version == 0 && read.result.data == NULL && read.result.maximum == 0);
    hf_buffer_done(&buffer);
}

static void requests_are_read_as_they_were_written(void **state)
{
    (void)state;
    for (int i = 0; i < REQUESTS; i++) {
        struct store_op op = requests[i]();

        assert_request(&op);
        op.stale = 1;
        assert_request(&op);
    }
    struct store_op get = get_op(), scan = scan_op();

    get.key = (hf_slice){zeros, STORE_KEY_MAX};
    assert_request(&get);
    scan.key = (hf_slice){zeros, STORE_KEY_MAX};
    scan.start = (hf_slice){zeros, STORE_KEY_MAX + 1};
    assert_request(&scan);
    scan.key.size = scan.start.size = 0;
    assert_request(&scan);
}

static uint64_t deadline_after(uint64_t deadline_us, uint64_t now_us, uint64_t other_now_us)
{
    struct store_op op = get_op(), read;
    hf_buffer buffer;

    op.deadline_us = deadline_us;
    hf_buffer_init(&buffer, 100);
    assert_int_equal(store_op_write_request(&buffer, &op, now_us), 0);
    assert_int_equal(store_op_read_request(bytes_of(&buffer), other_now_us, &read), 0);
    hf_buffer_done(&buffer);
    return read.deadline_us;
}

static void deadlines_travel_as_the_time_that_is_left(void **state)
{
    (void)state;
    assert_true(deadline_after(1000, 400, 1000000) == 1000600);
    assert_true(deadline_after(1000, 1000, 5) == 5);
    assert_true(deadline_after(1000, 2000, 5) == 5); /* it has passed */
    assert_true(deadline_after(UINT64_MAX, 0, 5) == UINT64_MAX);
    assert_true(deadline_after(UINT64_MAX, 10, 20) == UINT64_MAX);
}

static void assert_request_refused(const struct store_op *op)
{
    hf_buffer buffer;

    hf_buffer_init(&buffer, 1 << 20);
    assert_int_equal(store_op_write_request(&buffer, op, 0), HF_EINVAL);
    assert_int_equal(buffer.size, 0);
    hf_buffer_done(&buffer);
}

static void requests_over_a_limit_are_not_written(void **state)
{
    (void)state;
    for (int i = 0; i < REQUESTS; i++) {
        struct store_op bad[] = {requests[i](), requests[i](), requests[i](), requests[i]()};

        bad[0].type = STORE_OP_SHAPE + 1;
        bad[1].type = 0;
        bad[2].stale = 2;
        bad[3].partition = 0;
        for (int b = 0; b < 4; b++)
            assert_request_refused(&bad[b]);
    }
    struct store_op op = write_op();

    op.command.size = 0;
    assert_request_refused(&op);
    op = get_op();
    op.key.size = 0;
    assert_request_refused(&op);
    op.key = (hf_slice){zeros, STORE_KEY_MAX + 1};
    assert_request_refused(&op);
    op = scan_op();
    op.key = (hf_slice){zeros, STORE_KEY_MAX + 1};
    assert_request_refused(&op);
    op = scan_op();
    op.start = (hf_slice){zeros, STORE_KEY_MAX + 2};
    assert_request_refused(&op);
    op = scan_op();
    op.limit = 0;
    assert_request_refused(&op);
    op = changes_op();
    op.limit = STORE_SCAN_RECORDS_MAX + 1;
    assert_request_refused(&op);
    op = changes_op();
    op.stale = 0; /* a linearizable read does not wait for more */
    assert_request_refused(&op);
}

static int32_t read_request_of(hf_slice bytes, uint64_t size)
{
    uint8_t *copy = copy_of(bytes, size);
    struct store_op read = {.limit = 12345};
    int32_t r = store_op_read_request((hf_slice){copy, size}, 0, &read);

    assert_true(r == 0 || read.limit == 12345); /* untouched */
    free(copy);
    return r;
}

static void cut_and_continued_requests_are_refused(void **state)
{
    (void)state;
    for (int i = 0; i < REQUESTS; i++) {
        struct store_op op = requests[i]();
        hf_buffer buffer;

        hf_buffer_init(&buffer, 1000);
        assert_int_equal(store_op_write_request(&buffer, &op, 0), 0);
        for (uint64_t size = 0; size < buffer.size; size++)
            assert_int_equal(read_request_of(bytes_of(&buffer), size), HF_EPROTOCOL);
        assert_int_equal(read_request_of(bytes_of(&buffer), buffer.size), 0);
        uint64_t whole = buffer.size;

        assert_int_equal(hf_buffer_append(&buffer, "", 1), 0);
        assert_int_equal(read_request_of(bytes_of(&buffer), whole + 1), HF_EPROTOCOL);
        hf_buffer_done(&buffer);
    }
}

/* Reads the request with one byte changed. */
static int32_t read_request_with(struct store_op op, uint64_t offset, uint8_t byte)
{
    hf_buffer buffer;

    hf_buffer_init(&buffer, 1000);
    assert_int_equal(store_op_write_request(&buffer, &op, 0), 0);
    assert_true(offset < buffer.size);
    buffer.data[offset] = byte;
    int32_t r = read_request_of(bytes_of(&buffer), buffer.size);

    hf_buffer_done(&buffer);
    return r;
}

static void damaged_requests_are_refused(void **state)
{
    struct store_op scan = scan_op(), changes = changes_op(), get = get_op();

    (void)state;
    get.partition = 1;
    assert_int_equal(read_request_with(get, 10, 1), 0);
    assert_int_equal(read_request_with(get, 10, 0), HF_EPROTOCOL); /* partition 0 */
    for (int byte = 0; byte < 256; byte++) {
        assert_int_equal(read_request_with(get, 0, (uint8_t)byte), byte == 2 ? 0 : HF_EPROTOCOL);
        assert_int_equal(read_request_with(get, 1, (uint8_t)byte), byte == STORE_OP_GET ? 0 : HF_EPROTOCOL);
        assert_int_equal(read_request_with(get, 2, (uint8_t)byte), byte <= 1 ? 0 : HF_EPROTOCOL);
        assert_int_equal(read_request_with(get, 28, (uint8_t)byte), byte == 3 ? 0 : HF_EPROTOCOL); /* size of key */
    }
    scan.limit = 1;
    assert_int_equal(read_request_with(scan, 27 + 2 + 3 + 2 + 7 + 3, 0), HF_EPROTOCOL);
    assert_int_equal(read_request_with(scan, 27 + 2 + 3 + 2 + 7 + 1, 1), HF_EPROTOCOL);
    assert_int_equal(read_request_with(changes, 27 + 8 + 3, 0), HF_EPROTOCOL);
}

static void a_full_buffer_is_left_as_it_was(void **state)
{
    (void)state;
    for (int i = 0; i < REQUESTS; i++) {
        struct store_op op = requests[i]();
        hf_buffer buffer;

        hf_buffer_init(&buffer, 26);
        assert_int_equal(store_op_write_request(&buffer, &op, 0), HF_ETOOLARGE);
        assert_int_equal(store_op_write_answer(&buffer, &op), HF_ETOOLARGE);
        assert_int_equal(buffer.size, 0);
        hf_buffer_done(&buffer);
    }
}

/* ---- Answers ----------------------------------------------------------------------------------------------------- */

static struct store_op good_answer(void)
{
    struct store_op op = {.version = UINT64_MAX, .operation = 1, .more = 1, .age_ms = 77};

    hf_buffer_init(&op.result, 1000);
    assert_int_equal(hf_buffer_append(&op.result, "res\0ult", 7), 0);
    return op;
}

static struct store_op bad_answer(void)
{
    struct store_op op = {.code = HF_ENOTLEADER, .leader = STORE_NODES_MAX};

    hf_error_set(&op.error, op.code, "node n2 leads; ask it, \xc3\xa4");
    op.error.retry_after_ms = 250;
    return op;
}

static struct store_op long_answer(void)
{
    struct store_op op = {.code = HF_EVERSION};
    char text[HF_ERROR_MESSAGE_SIZE + 100];

    memset(text, 'm', sizeof text);
    hf_error_set(&op.error, op.code, "%.*s", (int)sizeof text, text);
    assert_int_equal(strlen(op.error.message), HF_ERROR_MESSAGE_SIZE - 1);
    return op;
}

static struct store_op empty_answer(void)
{
    return (struct store_op){.code = HF_ENOTFOUND};
}

static struct store_op (*const answers[])(void) = {good_answer, bad_answer, long_answer, empty_answer};

enum { ANSWERS = sizeof answers / sizeof answers[0] };

/* An op that waits for its answer. */
static struct store_op waiting_op(void)
{
    struct store_op op = get_op();

    hf_buffer_init(&op.result, 1000);
    assert_int_equal(hf_buffer_append(&op.result, "an earlier try's", 16), 0);
    hf_error_set(&op.error, HF_EBUSY, "an earlier try's");
    op.code = HF_EBUSY;
    op.more = 1;
    return op;
}

static void assert_answer(const struct store_op *op)
{
    hf_buffer buffer;
    struct store_op read = waiting_op();

    hf_buffer_init(&buffer, 1 << 20);
    assert_int_equal(store_op_write_answer(&buffer, op), 0);
    assert_int_equal(store_op_read_answer(bytes_of(&buffer), &read), 0);
    memset(buffer.data, 0xff, buffer.size);
    hf_buffer_done(&buffer); /* nothing points into it */
    assert_true(read.type == STORE_OP_GET && read.partition == UINT64_MAX);
    assert_slice(read.key, TEXT("key"));
    assert_true(read.code == op->code && read.leader == op->leader && read.version == op->version);
    assert_true(read.operation == op->operation && read.more == op->more && read.age_ms == op->age_ms);
    assert_slice(bytes_of(&read.result), bytes_of(&op->result));
    assert_int_equal(read.error.code, op->code);
    assert_int_equal(read.error.retry, op->error.retry);
    assert_true(read.error.retry_after_ms == op->error.retry_after_ms);
    assert_string_equal(read.error.message, op->error.message);
    hf_buffer_done(&read.result);
}

static void answers_are_read_as_they_were_written(void **state)
{
    (void)state;
    for (int i = 0; i < ANSWERS; i++) {
        struct store_op op = answers[i]();

        assert_answer(&op);
        hf_buffer_done(&op.result);
    }
    for (int32_t code = HF_OK; code >= HF_EVERSION; code--) {
        struct store_op op = {.code = code};

        if (code < 0)
            hf_error_set(&op.error, code, "code %d", (int)code);
        assert_answer(&op);
    }
}

static void control_characters_do_not_travel(void **state)
{
    struct store_op op = bad_answer(), read = waiting_op();
    hf_buffer buffer;

    (void)state;
    snprintf(op.error.message, sizeof op.error.message, "a\nb\tc\x7f");
    hf_buffer_init(&buffer, 1000);
    assert_int_equal(store_op_write_answer(&buffer, &op), 0);
    assert_int_equal(store_op_read_answer(bytes_of(&buffer), &read), 0);
    assert_string_equal(read.error.message, "a b c ");
    hf_buffer_done(&buffer);
    hf_buffer_done(&read.result);
}

static int32_t read_answer_of(hf_slice bytes, uint64_t size)
{
    uint8_t *copy = copy_of(bytes, size);
    struct store_op read = waiting_op();
    int32_t r = store_op_read_answer((hf_slice){copy, size}, &read);

    if (r < 0) { /* as it was */
        assert_int_equal(read.code, HF_EBUSY);
        assert_string_equal(read.error.message, "an earlier try's");
        assert_slice(bytes_of(&read.result), TEXT("an earlier try's"));
    }
    hf_buffer_done(&read.result);
    free(copy);
    return r;
}

static void cut_and_continued_answers_are_refused(void **state)
{
    (void)state;
    for (int i = 0; i < ANSWERS; i++) {
        struct store_op op = answers[i]();
        hf_buffer buffer;

        hf_buffer_init(&buffer, 1000);
        assert_int_equal(store_op_write_answer(&buffer, &op), 0);
        for (uint64_t size = 0; size < buffer.size; size++)
            assert_int_equal(read_answer_of(bytes_of(&buffer), size), HF_EPROTOCOL);
        assert_int_equal(read_answer_of(bytes_of(&buffer), buffer.size), 0);
        uint64_t whole = buffer.size;

        assert_int_equal(hf_buffer_append(&buffer, "", 1), 0);
        assert_int_equal(read_answer_of(bytes_of(&buffer), whole + 1), HF_EPROTOCOL);
        hf_buffer_done(&buffer);
        hf_buffer_done(&op.result);
    }
}

/* Reads bad_answer with one byte changed. */
static int32_t read_answer_with(uint64_t offset, uint8_t byte)
{
    struct store_op op = bad_answer();
    hf_buffer buffer;

    hf_buffer_init(&buffer, 1000);
    assert_int_equal(store_op_write_answer(&buffer, &op), 0);
    assert_true(offset < buffer.size);
    buffer.data[offset] = byte;
    int32_t r = read_answer_of(bytes_of(&buffer), buffer.size);

    hf_buffer_done(&buffer);
    return r;
}

static void damaged_answers_are_refused(void **state)
{
    enum { CODE = 1, LEADER = 5, MORE = 25, RETRY = 30, MESSAGE = 41 };

    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        int control = byte < 0x20 || byte == 0x7f;

        assert_int_equal(read_answer_with(0, (uint8_t)byte), byte == 2 ? 0 : HF_EPROTOCOL);
        assert_int_equal(read_answer_with(CODE, (uint8_t)byte), byte < 128 ? 0 : HF_EPROTOCOL);
        assert_int_equal(read_answer_with(LEADER, (uint8_t)byte), byte == 0 ? 0 : HF_EPROTOCOL);
        assert_int_equal(read_answer_with(LEADER + 3, (uint8_t)byte), byte <= STORE_NODES_MAX ? 0 : HF_EPROTOCOL);
        assert_int_equal(read_answer_with(MORE, (uint8_t)byte), byte <= 1 ? 0 : HF_EPROTOCOL);
        assert_int_equal(read_answer_with(RETRY, (uint8_t)byte), byte <= HF_RETRY_ELSEWHERE ? 0 : HF_EPROTOCOL);
        assert_int_equal(read_answer_with(MESSAGE, (uint8_t)byte), control ? HF_EPROTOCOL : 0);
    }
    assert_int_equal(read_answer_with(CODE + 3, 0), HF_EPROTOCOL); /* no error, and yet a message */
}

/* One byte more than an error's message can have. */
static void endless_messages_are_refused(void **state)
{
    struct store_op op = long_answer();
    hf_buffer buffer;
    uint8_t *longer;

    (void)state;
    hf_buffer_init(&buffer, 1000);
    assert_int_equal(store_op_write_answer(&buffer, &op), 0);
    longer = malloc(buffer.size + 1);
    assert_non_null(longer);
    uint64_t end = buffer.size - 4; /* of the message; the empty result's size follows */

    memcpy(longer, buffer.data, end);
    longer[end] = 'm';
    memcpy(longer + end + 1, buffer.data + end, 4);
    assert_int_equal(longer[39] << 8 | longer[40], HF_ERROR_MESSAGE_SIZE - 1);
    longer[39] = HF_ERROR_MESSAGE_SIZE >> 8;
    longer[40] = HF_ERROR_MESSAGE_SIZE & 0xff;
    assert_int_equal(read_answer_of((hf_slice){longer, buffer.size + 1}, buffer.size + 1), HF_EPROTOCOL);
    free(longer);
    hf_buffer_done(&buffer);
}

static void answers_over_a_limit_are_not_written(void **state)
{
    struct store_op bad[] = {bad_answer(), bad_answer(), bad_answer(), bad_answer(), bad_answer()};
    hf_buffer buffer;

    (void)state;
    bad[0].code = 1;
    bad[1].code = INT32_MIN;
    bad[2].leader = STORE_NODES_MAX + 1;
    bad[3].more = 2;
    bad[4].error.retry = HF_RETRY_ELSEWHERE + 1;
    hf_buffer_init(&buffer, 1000);
    for (int i = 0; i < 5; i++)
        assert_int_equal(store_op_write_answer(&buffer, &bad[i]), HF_EINVAL);
    assert_int_equal(buffer.size, 0);
    hf_buffer_done(&buffer);
}

static void a_result_over_the_reader_s_maximum_is_refused(void **state)
{
    struct store_op op = good_answer(), read = {0};
    hf_buffer buffer;

    (void)state;
    hf_buffer_init(&buffer, 1000);
    hf_buffer_init(&read.result, 6);
    assert_int_equal(store_op_write_answer(&buffer, &op), 0);
    assert_int_equal(store_op_read_answer(bytes_of(&buffer), &read), HF_ETOOLARGE);
    read.result.maximum = 7;
    assert_int_equal(store_op_read_answer(bytes_of(&buffer), &read), 0);
    hf_buffer_done(&buffer);
    hf_buffer_done(&op.result);
    hf_buffer_done(&read.result);
}

/* ---- Results ----------------------------------------------------------------------------------------------------- */

static const struct store_row rows[] = {
    {TEXT(""), 1, 2, 3, TEXT("of a get")},
    {TEXT("a\0b"), UINT64_MAX, UINT64_MAX, UINT32_MAX, TEXT("")},
    {{zeros, STORE_KEY_MAX}, 0, 0, 0, {zeros, sizeof zeros}},
};

static const struct store_feed_row changes[] = {
    {1, 2, STORE_PUT, 0, TEXT("a"), TEXT("value\0")},
    {UINT64_MAX, UINT64_MAX, STORE_PUT, 1, TEXT("b"), TEXT("")},
    {3, 4, STORE_DELETE, 0, {zeros, STORE_KEY_MAX}, TEXT("")},
    {5, 6, STORE_PUT, 0, TEXT("c"), TEXT("")},
    {7, 8, STORE_EXPIRE, 0, TEXT("d"), TEXT("")},
};

enum { ROWS = sizeof rows / sizeof rows[0], CHANGES = sizeof changes / sizeof changes[0] };

static void rows_are_read_as_they_were_added(void **state)
{
    hf_buffer result;
    struct store_row row;

    (void)state;
    hf_buffer_init(&result, 1 << 20);
    for (int i = 0; i < ROWS; i++)
        assert_int_equal(store_result_add(&result, &rows[i]), 0);
    hf_slice rest = bytes_of(&result);

    for (int i = 0; i < ROWS; i++) {
        assert_int_equal(store_result_next(&rest, &row), 1);
        assert_slice(row.key, rows[i].key);
        assert_slice(row.value, rows[i].value);
        assert_true(row.version == rows[i].version && row.time_us == rows[i].time_us);
        assert_int_equal(row.checksum, rows[i].checksum);
    }
    assert_int_equal(store_result_next(&rest, &row), 0);
    assert_int_equal(store_result_next(&rest, &row), 0);
    hf_buffer_done(&result);
}

static void changes_are_read_as_they_were_added(void **state)
{
    hf_buffer result;
    struct store_feed_row row;

    (void)state;
    hf_buffer_init(&result, 1 << 20);
    for (int i = 0; i < CHANGES; i++)
        assert_int_equal(store_result_add_change(&result, &changes[i]), 0);
    hf_slice rest = bytes_of(&result);

    for (int i = 0; i < CHANGES; i++) {
        assert_int_equal(store_result_next_change(&rest, &row), 1);
        assert_slice(row.key, changes[i].key);
        assert_slice(row.value, changes[i].value);
        assert_true(row.version == changes[i].version && row.time_us == changes[i].time_us);
        assert_true(row.type == changes[i].type && row.superseded == changes[i].superseded);
    }
    assert_int_equal(store_result_next_change(&rest, &row), 0);
    hf_buffer_done(&result);
}

static void rows_over_a_limit_are_not_added(void **state)
{
    struct store_row row = {.key = {zeros, STORE_KEY_MAX + 1}};
    struct store_feed_row change = {.type = STORE_PUT, .key = {zeros, STORE_KEY_MAX + 1}};
    struct store_feed_row impossible[] = {
        {.type = 0},
        {.type = STORE_EXPIRE + 1},
        {.type = STORE_EXPIRE, .superseded = 1},
        {.type = STORE_EXPIRE, .value = TEXT("v")},
        {.type = STORE_DELETE, .superseded = 1},
        {.type = STORE_PUT, .superseded = 2},
        {.type = STORE_DELETE, .value = TEXT("v")},
        {.type = STORE_PUT, .superseded = 1, .value = TEXT("v")},
    };
    hf_buffer result;

    (void)state;
    hf_buffer_init(&result, 2000);
    assert_int_equal(store_result_add(&result, &row), HF_ETOOLARGE);
    assert_int_equal(store_result_add_change(&result, &change), HF_ETOOLARGE);
    row = (struct store_row){.value = {zeros, (uint64_t)STORE_VALUE_MAX + 1}};
    assert_int_equal(store_result_add(&result, &row), HF_ETOOLARGE);
    assert_int_equal(store_result_add(&result, &rows[2]), HF_ETOOLARGE); /* the buffer's maximum */
    for (size_t i = 0; i < sizeof impossible / sizeof impossible[0]; i++)
        assert_int_equal(store_result_add_change(&result, &impossible[i]), HF_EINVAL);
    assert_int_equal(result.size, 0);
    hf_buffer_done(&result);
}

static void cut_rows_are_refused(void **state)
{
    (void)state;
    for (int i = 0; i < ROWS + CHANGES; i++) {
        hf_buffer result;

        hf_buffer_init(&result, 1 << 20);
        if (i < ROWS)
            assert_int_equal(store_result_add(&result, &rows[i]), 0);
        else
            assert_int_equal(store_result_add_change(&result, &changes[i - ROWS]), 0);
        for (uint64_t size = 1; size < result.size; size++) {
            uint8_t *copy = copy_of(bytes_of(&result), size);
            hf_slice rest = {copy, size};
            struct store_row row;
            struct store_feed_row change;

            assert_int_equal(i < ROWS ? store_result_next(&rest, &row) : store_result_next_change(&rest, &change),
                             HF_ECORRUPT);
            assert_true(rest.data == copy && rest.size == size);
            free(copy);
        }
        hf_buffer_done(&result);
    }
}

static int32_t read_change_with(const struct store_feed_row *change, uint64_t offset, uint8_t byte)
{
    hf_buffer result;
    struct store_feed_row read;

    hf_buffer_init(&result, 1 << 20);
    assert_int_equal(store_result_add_change(&result, change), 0);
    result.data[offset] = byte;
    hf_slice rest = bytes_of(&result);
    int32_t r = store_result_next_change(&rest, &read);

    hf_buffer_done(&result);
    return r;
}

static void damaged_changes_are_refused(void **state)
{
    enum { TYPE = 16, SUPERSEDED = 17, KEY_SIZE = 18 };

    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        assert_int_equal(read_change_with(&changes[1], TYPE, (uint8_t)byte), byte == STORE_PUT ? 1 : HF_ECORRUPT);
        assert_int_equal(read_change_with(&changes[2], SUPERSEDED, (uint8_t)byte), byte == 0 ? 1 : HF_ECORRUPT);
    }
    assert_int_equal(read_change_with(&changes[2], KEY_SIZE, 0xff), HF_ECORRUPT);
}

static void results_count_until_they_are_done_with(void **state)
{
    const hf_gate_limits limits = {1, 100, 100};
    hf_gate gate = {.limits = &limits};
    struct store_op first = {.client = 1}, second = {.client = 2};

    (void)state;
    assert_int_equal(store_op_hold(&first, &gate, NULL, 60, 1), HF_OK);
    assert_int_equal(store_op_hold(&second, &gate, NULL, 60, 1), HF_EBUSY);
    store_op_done(&second); /* it holds nothing */
    store_op_held_is(&first, 500, 2);
    assert_int_equal(hf_gate_bytes(&gate), 500);
    store_op_held_is(&first, 40, 2);
    assert_int_equal(store_op_hold(&second, &gate, NULL, 60, 1), HF_OK);
    store_op_done(&first);
    assert_int_equal(hf_gate_bytes(&gate), 60);
    store_op_done(&first);
    store_op_done(&second);
    assert_int_equal(hf_gate_bytes(&gate), 0);
}

/* ---- Checksums --------------------------------------------------------------------------------------------------- */

static void every_flipped_bit_of_an_answered_value_is_found(void **state)
{
    hf_buffer result;

    (void)state;
    hf_buffer_init(&result, 1 << 20);
    for (int i = 0; i < 3; i++) {
        struct store_row row = {.key = TEXT("key"), .version = 5, .time_us = 6, .value = TEXT("some value")};

        row.checksum = hf_crc32c(0, row.value.data, row.value.size);
        assert_int_equal(store_result_add(&result, &row), 0);
    }
    hf_slice bytes = {result.data, result.size};

    assert_int_equal(store_result_check(bytes), 0);
    for (uint64_t bit = 0; bit < 10 * 8; bit++) { /* of the last value */
        result.data[result.size - 10 + bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(store_result_check(bytes), HF_ECORRUPT);
        result.data[result.size - 10 + bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (uint64_t size = result.size - 1; size > result.size - 20; size--)
        assert_int_equal(store_result_check((hf_slice){result.data, size}), HF_ECORRUPT);
    assert_int_equal(store_result_check((hf_slice){NULL, 0}), 0);
    hf_buffer_done(&result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_read_as_they_were_written),
        cmocka_unit_test(results_count_until_they_are_done_with),
        cmocka_unit_test(every_flipped_bit_of_an_answered_value_is_found),
        cmocka_unit_test(deadlines_travel_as_the_time_that_is_left),
        cmocka_unit_test(requests_over_a_limit_are_not_written),
        cmocka_unit_test(cut_and_continued_requests_are_refused),
        cmocka_unit_test(damaged_requests_are_refused),
        cmocka_unit_test(a_full_buffer_is_left_as_it_was),
        cmocka_unit_test(answers_are_read_as_they_were_written),
        cmocka_unit_test(control_characters_do_not_travel),
        cmocka_unit_test(cut_and_continued_answers_are_refused),
        cmocka_unit_test(damaged_answers_are_refused),
        cmocka_unit_test(endless_messages_are_refused),
        cmocka_unit_test(answers_over_a_limit_are_not_written),
        cmocka_unit_test(a_result_over_the_reader_s_maximum_is_refused),
        cmocka_unit_test(rows_are_read_as_they_were_added),
        cmocka_unit_test(changes_are_read_as_they_were_added),
        cmocka_unit_test(rows_over_a_limit_are_not_added),
        cmocka_unit_test(cut_rows_are_refused),
        cmocka_unit_test(damaged_changes_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
