#include "command_check.h"

#include "command.h"
#include "phase.h"

#include <holdfast/lib/checksum.h>
#include <holdfast/lib/error.h>

#include <stdlib.h>

enum { FEW = 16 };

static int32_t check(hf_slice bytes, struct store_operation *operations, uint64_t capacity, hf_error *error)
{
    struct store_command command;

    if (store_command_decode(bytes, operations, capacity, &command, NULL) != HF_OK)
        return HF_OK;
    for (uint64_t i = 0; i < command.operation_count; i++) {
        const struct store_operation *operation = &operations[i];

        if (operation->type == STORE_PUT &&
            hf_crc32c(0, operation->value.data, operation->value.size) != operation->checksum)
            return hf_error_set(
                error, HF_ECORRUPT,
                "the value of operation %llu, %llu bytes, was damaged on its way here; repeat the write",
                (unsigned long long)i, (unsigned long long)operation->value.size);
    }
    return HF_OK;
}

int32_t store_command_check(hf_slice bytes, hf_error *error)
{
    struct store_operation few[FEW];
    struct store_phase phase;

    if (store_is_phase(bytes)) {
        if (store_phase_decode(bytes, &phase, NULL) != HF_OK || phase.phase != STORE_PHASE_PREPARE)
            return HF_OK;
        bytes = phase.command;
    }
    uint64_t count = store_command_operations(bytes);

    if (count <= FEW)
        return check(bytes, few, FEW, error);
    if (count > STORE_OPERATIONS_MAX)
        return HF_OK;
    struct store_operation *many = malloc(count * sizeof *many);

    if (!many)
        return hf_error_set(error, HF_ENOMEM, "no memory to check a write");
    int32_t r = check(bytes, many, count, error);

    free(many);
    return r;
}
