/* Writes to the catalog: one command with an idempotency key, through the same way as every other write. */
#include "service/private.h"

#include "service/call.h"

#include <holdfast/lib/checksum.h>
#include <holdfast/lib/error.h>

#include <stdlib.h>

enum { TIMEOUT_US = 10000000, COMMAND_MAX = 24 << 20 };

struct edit {
    struct store_call call;
    hf_buffer command;
    store_edit_done done;
    void *arg;
};

struct store_operation store_edit_put(hf_slice key, hf_slice value, uint64_t version)
{
    return (struct store_operation){.type = STORE_PUT,
                                    .condition = version ? STORE_IF_VERSION : STORE_IF_ABSENT,
                                    .version = version,
                                    .key = key,
                                    .value = value,
                                    .checksum = hf_crc32c(0, value.data, value.size)};
}

void store_catalog_explain(int32_t code, hf_error *error)
{
    if (code == HF_ENOTLEADER || code == HF_ECLOSED)
        hf_error_set(error, code,
                     "the catalog has no leader: tables and nodes cannot be changed, and tables that this node does "
                     "not know cannot be looked up, before a majority of the nodes is back; see 'holdfast status'");
}

static void finished(struct store_call *call)
{
    struct edit *edit = (struct edit *)(void *)call;

    store_catalog_explain(call->op.code, &call->op.error);
    edit->done(edit->arg, call->op.code, &call->op.error);
    hf_buffer_done(&call->op.result);
    hf_buffer_done(&edit->command);
    free(edit);
}

static int32_t encode(struct store_service *service, struct edit *edit, const struct store_operation *operations,
                      uint64_t count, hf_error *error)
{
    uint8_t key[16];
    struct store_command command = {.configuration = store_service_configuration(service),
                                    .idempotency_key = {key, sizeof key},
                                    .operations = operations,
                                    .operation_count = count};

    service->node->random(service->host, key, sizeof key);
    return store_command_encode(&edit->command, &command, error);
}

void store_edit(struct store_service *service, const struct store_operation *operations, uint64_t count,
                store_edit_done done, void *arg)
{
    struct edit *edit = calloc(1, sizeof *edit);
    hf_error error = {0};
    int32_t result = edit ? HF_OK : hf_error_set(&error, HF_EBUSY, "no memory for a change of the catalog");

    if (edit) {
        hf_buffer_init(&edit->command, COMMAND_MAX);
        result = encode(service, edit, operations, count, &error);
    }
    if (result != HF_OK) {
        if (edit)
            hf_buffer_done(&edit->command);
        free(edit);
        done(arg, result, &error);
        return;
    }
    edit->done = done;
    edit->arg = arg;
    edit->call = (struct store_call){
        .op = {.type = STORE_OP_WRITE,
               .partition = STORE_CATALOG_PARTITION,
               .deadline_us = service->loops->now_us(store_shard_current(service)->loop) + TIMEOUT_US,
               .command = {edit->command.data, edit->command.size}},
        .repeatable = 1,
        .finished = finished,
    };
    store_call_start(service, &edit->call);
}
