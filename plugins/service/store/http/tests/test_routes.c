/* What the routes make of requests: the command that goes to the service, or the refusal, and then nothing. */
#include "fakes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static int set_up(void **state)
{
    (void)state;
    fake = (struct fake){.version = 42};
    fake_open();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_close();
    return 0;
}

/* ---- Writes ------------------------------------------------------------------------------------------------------ */

static void a_put_is_one_command(void **state)
{
    hf_http_request request = {.table = "items",
                               .key = "a/b",
                               .body = hf_slice_of(" {\"region\":\"eu\",\"n\":1} "),
                               .fields = {{"Idempotency-Key", "once"}, {"If-Match", "\"17\""}}};
    struct store_operation operation;
    struct store_command command;

    (void)state;
    fake_request(&request, store_http_put);
    assert_int_equal(request.status, 200);
    assert_int_equal(request.answers, 1);
    assert_int_equal(fake.call_count, 1);
    assert_int_equal(fake.calls[0].client, FAKE_CLIENT);
    fake_command(0, &operation, 1, &command);
    assert_true(hf_slice_is(command.idempotency_key, "once"));
    assert_int_equal(command.user, 5);
    assert_int_equal(command.configuration, 7);
    assert_int_equal(operation.type, STORE_PUT);
    assert_true(hf_slice_is(operation.key, "a/b"));
    assert_true(hf_slice_is(operation.value, " {\"region\":\"eu\",\"n\":1} ")); /* as it came */
    assert_int_equal(operation.condition, STORE_IF_VERSION);
    assert_int_equal(operation.version, 17);
    fake_request_done(&request);
}

struct refusal {
    const char *table, *key, *body, *field[2], *argument[2];
    uint32_t status;
    const char *problem;
};

static void refuse_all(const struct refusal *rows, size_t count, void (*handle)(void *, hf_http_request *))
{
    for (size_t i = 0; i < count; i++) {
        const struct refusal *row = &rows[i];
        hf_http_request request = {.table = row->table,
                                   .key = row->key,
                                   .fields = {{row->field[0], row->field[1]}},
                                   .arguments = {{row->argument[0], row->argument[1]}},
                                   .body = hf_slice_of(row->body ? row->body : "")};

        fake_request(&request, handle);
        if (request.answers != 1 || request.status != row->status || strcmp(request.problem, row->problem) != 0)
            fail_msg("row %zu: %u answers, %u %s: %s", i, request.answers, request.status, request.problem,
                     request.error.message);
        assert_int_equal(fake.call_count, 0);
        assert_int_equal(fake.created_count, 0);
        assert_true(request.error.message[0] != '\0');
        fake_request_done(&request);
    }
}

#define REFUSE_ALL(rows, handle) refuse_all(rows, sizeof(rows) / sizeof *(rows), handle)

static void puts_that_are_refused(void **state)
{
    static char long_key[STORE_KEY_MAX + 2], large[1100];
    const struct refusal rows[] = {
        {"none", "k", "{}", {0}, {0}, 404, "not-found"},
        {"_catalog", "k", "{}", {0}, {0}, 403, "forbidden"},
        {"items", "k", "", {0}, {0}, 400, "bad-request"},
        {"items", "k", "{\"region\":\"eu\"", {0}, {0}, 400, "bad-request"},
        {"items", "k", "{\"region\":\"eu\"} x", {0}, {0}, 400, "bad-request"},
        {"items", "k", "{\"region\":\"\xff\"}", {0}, {0}, 400, "bad-request"},
        {"items", "k", "{}", {0}, {0}, 422, "unprocessable"},
        {"items", "k", "{\"region\":7}", {0}, {0}, 422, "unprocessable"},
        {"items", "k", "{\"region\":\"mars\"}", {0}, {0}, 422, "unprocessable"},
        {"items", "k", "{\"region\":\"eu\"}", {0}, {"partition", "mars"}, 422, "unprocessable"},
        {"items", long_key, "{\"region\":\"eu\"}", {0}, {0}, 413, "too-large"},
        {"blobs", "k", large, {0}, {0}, 413, "too-large"},
        {"checked", "k", "{\"region\":\"eu\",\"n\":-1}", {0}, {0}, 422, "unprocessable"},
        {"checked", "k", "{\"region\":\"eu\",\"n\":1.5}", {0}, {0}, 422, "unprocessable"},
        {"checked", "k", "{\"region\":\"eu\",\"other\":1}", {0}, {0}, 422, "unprocessable"},
        {"checked", "k", "{\"n\":1}", {0}, {"partition", "eu"}, 422, "unprocessable"},
        {"checked", "k", "[]", {0}, {"partition", "eu"}, 422, "unprocessable"},
        {"blobs", "k", "x", {"If-Match", "\"5x\""}, {0}, 400, "bad-request"},
        {"blobs", "k", "x", {"If-Match", "\"-1\""}, {0}, 400, "bad-request"},
        {"blobs", "k", "x", {"If-Match", ""}, {0}, 400, "bad-request"},
        {"blobs", "k", "x", {"If-Match", "\"0\""}, {0}, 400, "bad-request"},
        {"blobs", "k", "x", {"If-Match", "\"18446744073709551616\""}, {0}, 400, "bad-request"},
        {"blobs", "k", "x", {"If-None-Match", "\"1\""}, {0}, 400, "bad-request"},
        {"blobs", "k", "x", {"Holdfast-Expire-After", ""}, {0}, 400, "bad-request"},
        {"blobs", "k", "x", {"Holdfast-Expire-After", "-1"}, {0}, 400, "bad-request"},
        {"blobs", "k", "x", {"Holdfast-Expire-After", "1.5"}, {0}, 400, "bad-request"},
        {"blobs", "k", "x", {"Holdfast-Expire-After", "315360001"}, {0}, 400, "bad-request"},
    };

    (void)state;
    memset(long_key, 'k', STORE_KEY_MAX + 1);
    memset(large, 'x', sizeof large - 1);
    REFUSE_ALL(rows, store_http_put);
}

static void what_the_service_says_becomes_a_status(void **state)
{
    static const struct {
        int32_t code;
        uint32_t status;
        const char *problem;
    } rows[] = {
        {HF_ENOTLEADER, 503, "no-leader"},     {HF_EBUSY, 503, "busy"},
        {HF_ETIMEOUT, 503, "unknown-outcome"}, {HF_ECONFLICT, 412, "precondition-failed"},
        {HF_ECORRUPT, 500, "internal"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hf_http_request request = {.table = "blobs", .key = "k", .body = hf_slice_of("x")};

        fake.code = rows[i].code;
        fake_request(&request, store_http_put);
        assert_int_equal(request.answers, 1);
        assert_int_equal(request.status, rows[i].status);
        assert_string_equal(request.problem, rows[i].problem);
        fake_request_done(&request);
    }
}

/* ---- Batches ----------------------------------------------------------------------------------------------------- */

static void a_batch_is_one_command(void **state)
{
    hf_http_request request = {
        .table = "blobs",
        .body =
            hf_slice_of("{\"operations\":[{\"op\":\"put\",\"key\":\"a\",\"value_base64\":\"AAE=\",\"if_absent\":true},"
                        "{\"op\":\"delete\",\"key\":\"b\",\"if_version\":9}]}")};
    struct store_operation operations[2];
    struct store_command command;

    (void)state;
    fake_request(&request, store_http_batch);
    assert_int_equal(request.status, 200);
    assert_int_equal(fake.call_count, 1);
    fake_command(0, operations, 2, &command);
    assert_int_equal(command.operation_count, 2);
    assert_int_equal(operations[0].value.size, 2);
    assert_memory_equal(operations[0].value.data, "\0\1", 2);
    assert_int_equal(operations[0].condition, STORE_IF_ABSENT);
    assert_int_equal(operations[1].type, STORE_DELETE);
    assert_int_equal(operations[1].version, 9);
    fake_request_done(&request);
}

#define ITEM(text) "{\"operations\":[" text "]}"

static void batches_that_are_refused(void **state)
{
    static const struct refusal rows[] = {
        {"blobs", NULL, "", {0}, {0}, 400, "bad-request"},
        {"blobs", NULL, "{", {0}, {0}, 400, "bad-request"},
        {"blobs", NULL, "[]", {0}, {0}, 400, "bad-request"},
        {"blobs", NULL, ITEM(""), {0}, {0}, 400, "bad-request"},
        {"blobs", NULL, "{\"operations\":{}}", {0}, {0}, 400, "bad-request"},
        {"blobs", NULL, ITEM("7"), {0}, {0}, 400, "bad-request"},
        {"blobs", NULL, ITEM("{\"op\":\"put\",\"value_base64\":\"\"}"), {0}, {0}, 400, "bad-request"},
        {"blobs", NULL, ITEM("{\"op\":\"move\",\"key\":\"a\"}"), {0}, {0}, 400, "bad-request"},
        {"blobs", NULL, ITEM("{\"op\":\"put\",\"key\":\"a\"}"), {0}, {0}, 400, "bad-request"},
        {"blobs",
         NULL,
         ITEM("{\"op\":\"put\",\"key\":\"a\",\"value\":1,\"value_base64\":\"\"}"),
         {0},
         {0},
         400,
         "bad-request"},
        {"blobs", NULL, ITEM("{\"op\":\"put\",\"key\":\"a\",\"value_base64\":\"*\"}"), {0}, {0}, 400, "bad-request"},
        {"blobs", NULL, ITEM("{\"op\":\"delete\",\"key\":\"a\",\"if_version\":0}"), {0}, {0}, 400, "bad-request"},
        {"blobs", NULL, ITEM("{\"op\":\"delete\",\"key\":\"a\",\"if_version\":\"1\"}"), {0}, {0}, 400, "bad-request"},
        {"blobs",
         NULL,
         ITEM("{\"op\":\"delete\",\"key\":\"a\",\"if_version\":1,\"if_absent\":true}"),
         {0},
         {0},
         400,
         "bad-request"},
        {"blobs",
         NULL,
         ITEM("{\"op\":\"put\",\"key\":\"a\",\"value\":1,\"expire_after\":-1}"),
         {0},
         {0},
         400,
         "bad-request"},
        {"blobs",
         NULL,
         ITEM("{\"op\":\"put\",\"key\":\"a\",\"value\":1,\"expire_after\":315360001}"),
         {0},
         {0},
         400,
         "bad-request"},
        {"blobs",
         NULL,
         ITEM("{\"op\":\"put\",\"key\":\"a\",\"value\":1,\"expire_after\":\"1\"}"),
         {0},
         {0},
         400,
         "bad-request"},
        {"blobs", NULL, ITEM("{\"op\":\"delete\",\"key\":\"a\",\"expire_after\":1}"), {0}, {0}, 400, "bad-request"},
        {"blobs",
         NULL,
         ITEM("{\"op\":\"put\",\"key\":\"a\",\"value\":1}"),
         {"Holdfast-Expire-After", "1"},
         {0},
         400,
         "bad-request"},
        {"items", NULL, ITEM("{\"op\":\"delete\",\"key\":\"a\"}"), {0}, {0}, 422, "unprocessable"},
        {"items",
         NULL,
         ITEM("{\"op\":\"put\",\"key\":\"a\",\"value\":{\"region\":\"eu\"}},{\"op\":\"put\",\"key\":\"a\",\"value\":{"
              "\"region\":\"us\"}}"),
         {0},
         {0},
         422,
         "unprocessable"},
    };

    (void)state;
    REFUSE_ALL(rows, store_http_batch);
}

/* ---- Fields ------------------------------------------------------------------------------------------------------ */

static void a_problem_names_the_field(void **state)
{
    hf_http_request put = {.table = "checked", .key = "k", .body = hf_slice_of("{\"region\":\"eu\",\"n\":-7}")},
                    batch = {.table = "checked",
                             .body = hf_slice_of(
                                 ITEM("{\"op\":\"put\",\"key\":\"a\",\"value\":{\"region\":\"eu\"}},{"
                                      "\"op\":\"put\",\"key\":\"b\",\"value\":{\"region\":\"eu\",\"x\\u0022\":1}}"))},
                    list = {.table = "checked", .key = "k", .body = hf_slice_of("[]")};

    (void)state;
    fake_request(&put, store_http_put);
    assert_int_equal(put.status, 422);
    assert_string_equal(put.error.message, "the field 'n' is -7; expected an integer of at least 0");
    assert_string_equal(put.members, "\"field\":\"n\"");
    fake_request_done(&put);
    fake_request(&batch, store_http_batch);
    assert_int_equal(batch.status, 422);
    assert_string_equal(batch.members, "\"field\":\"x\\\"\",\"operation\":1");
    fake_request_done(&batch);
    fake_request(&list, store_http_put);
    assert_int_equal(list.status, 422);
    assert_string_equal(list.members, "");
    fake_request_done(&list);
    assert_int_equal(fake.call_count, 0);
}

/* ---- Expiry ------------------------------------------------------------------------------------------------------ */

static uint32_t expiry_of_put(const char *table, const char *header)
{
    hf_http_request request = {.table = table,
                               .key = "k",
                               .fields = {{header ? "Holdfast-Expire-After" : NULL, header}},
                               .body = hf_slice_of("{\"region\":\"eu\"}")};
    struct store_operation operation;
    struct store_command command;

    fake_request(&request, store_http_put);
    assert_int_equal(request.status, 200);
    fake_command(0, &operation, 1, &command);
    fake_request_done(&request);
    return operation.expire_after;
}

static void a_write_says_when_its_record_expires_or_the_table_does(void **state)
{
    hf_http_request batch = {.table = "checked",
                             .body = hf_slice_of(ITEM("{\"op\":\"put\",\"key\":\"a\",\"value\":{\"region\":\"eu\"}},"
                                                      "{\"op\":\"put\",\"key\":\"b\",\"value\":{\"region\":\"eu\"},"
                                                      "\"expire_after\":7},"
                                                      "{\"op\":\"put\",\"key\":\"c\",\"value\":{\"region\":\"eu\"},"
                                                      "\"expire_after\":0},"
                                                      "{\"op\":\"delete\",\"key\":\"d\"}")),
                             .arguments = {{"partition", "eu"}}},
                    removal = {.table = "checked",
                               .key = "k",
                               .arguments = {{"partition", "eu"}},
                               .fields = {{"Holdfast-Expire-After", "1"}}};
    static const uint32_t expected[] = {60, 7, 0, 0};
    struct store_operation operations[4];
    struct store_command command;

    (void)state;
    assert_int_equal(expiry_of_put("items", NULL), 0);
    assert_int_equal(expiry_of_put("items", "5"), 5);
    assert_int_equal(expiry_of_put("checked", NULL), 60);
    assert_int_equal(expiry_of_put("checked", "315360000"), 315360000);
    assert_int_equal(expiry_of_put("checked", "0"), 0);
    fake_request(&batch, store_http_batch);
    assert_int_equal(batch.status, 200);
    fake_command(0, operations, 4, &command);
    for (int i = 0; i < 4; i++)
        assert_int_equal(operations[i].expire_after, expected[i]);
    fake_request_done(&batch);
    fake_request(&removal, store_http_delete);
    assert_int_equal(removal.status, 400);
    assert_int_equal(fake.call_count, 0);
    fake_request_done(&removal);
}

/* ---- Reads ------------------------------------------------------------------------------------------------------- */

static void a_get_asks_all_partitions_that_could_have_it(void **state)
{
    hf_http_request request = {.table = "items", .key = "k"},
                    named = {.table = "items", .key = "k", .arguments = {{"partition", "us"}}};

    (void)state;
    fake.code = HF_ENOTFOUND;
    fake_request(&request, store_http_get);
    assert_int_equal(request.status, 404);
    assert_int_equal(request.answers, 1);
    assert_int_equal(fake.call_count, 2); /* one of each region, by the key's hash */
    assert_int_not_equal(fake.calls[0].partition, fake.calls[1].partition);
    fake_request_done(&request);
    fake_request(&named, store_http_get);
    assert_int_equal(named.status, 404);
    assert_int_equal(fake.call_count, 1);
    fake_request_done(&named);
}

static void scans_that_are_refused(void **state)
{
    static char long_key[STORE_KEY_MAX + 2];
    const struct refusal rows[] = {
        {"none", NULL, NULL, {0}, {0}, 404, "not-found"},
        {"items", NULL, NULL, {0}, {"limit", "0"}, 400, "bad-request"},
        {"items", NULL, NULL, {0}, {"limit", "5x"}, 400, "bad-request"},
        {"items", NULL, NULL, {0}, {"limit", "-1"}, 400, "bad-request"},
        {"items", NULL, NULL, {0}, {"limit", "99999999999999999999"}, 400, "bad-request"},
        {"items", NULL, NULL, {0}, {"partition", "mars"}, 422, "unprocessable"},
        {"items", NULL, NULL, {0}, {"start", "~"}, 400, "bad-request"},
        {"items", NULL, NULL, {0}, {"start", "~abc.1"}, 400, "bad-request"},
        {"items", NULL, NULL, {0}, {"start", long_key}, 413, "too-large"},
        {"items", NULL, NULL, {0}, {"prefix", long_key}, 413, "too-large"},
    };

    (void)state;
    memset(long_key, 'k', STORE_KEY_MAX + 1);
    REFUSE_ALL(rows, store_http_scan);
}

static void feeds_that_are_refused(void **state)
{
    static const struct refusal rows[] = {
        {"none", NULL, NULL, {0}, {0}, 404, "not-found"},
        {"items", NULL, NULL, {0}, {"from", "5x"}, 400, "bad-request"},
        {"items", NULL, NULL, {0}, {"from", "2:"}, 400, "bad-request"},
        {"items", NULL, NULL, {0}, {"from", "2:1,2:1"}, 400, "bad-request"},
        {"items", NULL, NULL, {0}, {"from", "12:1"}, 422, "unprocessable"},       /* of another table */
        {"items", NULL, NULL, {0}, {"from", "2:1,4096:1"}, 422, "unprocessable"}, /* of none */
        {"items", NULL, NULL, {0}, {"partition", "mars"}, 422, "unprocessable"},
    };

    (void)state;
    REFUSE_ALL(rows, store_http_changes);
}

/* ---- Tables ------------------------------------------------------------------------------------------------------ */

static void tables_that_are_refused(void **state)
{
    static const struct refusal rows[] = {
        {"new", NULL, "x", {0}, {0}, 400, "bad-request"},
        {"new", NULL, "[]", {0}, {0}, 400, "bad-request"},
        {"New", NULL, "{}", {0}, {0}, 400, "bad-request"},
        {"new", NULL, "{\"colour\":1}", {0}, {0}, 400, "bad-request"},
        {"new", NULL, "{\"hash_ranges\":0}", {0}, {0}, 400, "bad-request"},
        {"new", NULL, "{\"hash_ranges\":1.5}", {0}, {0}, 400, "bad-request"},
        {"new", NULL, "{\"format\":\"xml\"}", {0}, {0}, 400, "bad-request"},
    };

    (void)state;
    REFUSE_ALL(rows, store_http_create_table);
}

/* ---- Recovery ---------------------------------------------------------------------------------------------------- */

static void recoveries_that_are_refused(void **state)
{
    static const struct refusal plans[] = {
        {NULL, NULL, NULL, {0}, {"dead", "n1,n9"}, 404, "not-found"},
        {NULL, NULL, NULL, {0}, {"dead", ","}, 404, "not-found"},
    };
    static const struct refusal orders[] = {
        {NULL, NULL, "x", {0}, {0}, 400, "bad-request"},
        {NULL, NULL, "{}", {0}, {0}, 422, "unprocessable"},
        {NULL, NULL, "{\"plan\":{}}", {0}, {0}, 422, "unprocessable"}, /* without saying that it is accepted */
        {NULL, NULL, "{\"plan\":{},\"accept_data_loss\":1}", {0}, {0}, 422, "unprocessable"},
        {NULL, NULL, "{\"plan\":[],\"accept_data_loss\":true}", {0}, {0}, 422, "unprocessable"},
    };

    (void)state;
    REFUSE_ALL(plans, store_http_recovery_plan);
    REFUSE_ALL(orders, store_http_recover);
}

static void a_recovery_is_planned_and_ordered(void **state)
{
    hf_http_request plan = {.arguments = {{"dead", "n1"}}};
    hf_http_request order = {.body = hf_slice_of("{\"plan\":{\"plan\":\"12\"},\"accept_data_loss\":true}")};

    (void)state;
    fake_request(&plan, store_http_recovery_plan);
    assert_int_equal(plan.status, 200);
    assert_int_equal(fake.dead, 1);
    fake_request_done(&plan);
    fake_request(&order, store_http_recover);
    assert_int_equal(order.status, 200);
    assert_true(hf_slice_is((hf_slice){order.answer.data, order.answer.size}, "{\"plan\":\"12\"}"));
    fake_request_done(&order);
    fake.code = HF_ECONFLICT;
    fake_request(&order, store_http_recover);
    assert_int_equal(order.status, 409);
    fake_request_done(&order);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_put_is_one_command, set_up, tear_down),
        cmocka_unit_test_setup_teardown(puts_that_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_the_service_says_becomes_a_status, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_batch_is_one_command, set_up, tear_down),
        cmocka_unit_test_setup_teardown(batches_that_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_problem_names_the_field, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_write_says_when_its_record_expires_or_the_table_does, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_get_asks_all_partitions_that_could_have_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(scans_that_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(feeds_that_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tables_that_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(recoveries_that_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_recovery_is_planned_and_ordered, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
