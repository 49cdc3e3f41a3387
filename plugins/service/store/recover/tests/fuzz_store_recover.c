/* Any bytes as facts and as a plan: what is read as facts can be written, and reads as the same again; a plan is only
 * read when its id is that of its content. */
#include "recover/plan.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { ARENA_MAXIMUM = 64 << 20 };

static const struct store_nodes nodes = {.count = 3, .names = {"n1", "n2", "n3"}};

static void fuzz_facts(hf_slice text)
{
    struct store_recover_facts facts, again;
    hf_buffer first, second;
    hf_arena arena;

    hf_arena_init(&arena, ARENA_MAXIMUM);
    hf_buffer_init(&first, UINT64_MAX);
    hf_buffer_init(&second, UINT64_MAX);
    if (store_recover_read_facts(text, &arena, &facts, NULL) == HF_OK) {
        if (store_recover_write_facts(&first, &facts) != HF_OK ||
            store_recover_read_facts((hf_slice){first.data, first.size}, &arena, &again, NULL) != HF_OK ||
            store_recover_write_facts(&second, &again) != HF_OK || first.size != second.size ||
            memcmp(first.data, second.data, first.size) != 0)
            abort();
    }
    hf_buffer_done(&first);
    hf_buffer_done(&second);
    hf_arena_done(&arena);
}

static void fuzz_plan(hf_slice text)
{
    struct store_recover_plan plan;
    hf_value document = hf_value_null();
    hf_arena arena;

    hf_arena_init(&arena, ARENA_MAXIMUM);
    if (hf_json_parse(text, &arena, &document, NULL) == HF_OK &&
        store_recover_read_plan(&document, &nodes, &arena, &plan, NULL) == HF_OK) {
        uint64_t id = plan.id;

        if (store_recover_seal(&plan, &nodes, NULL) != HF_OK || plan.id != id || (plan.dead & plan.survivors))
            abort();
    }
    hf_arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    fuzz_facts((hf_slice){bytes, size});
    fuzz_plan((hf_slice){bytes, size});
    return 0;
}
