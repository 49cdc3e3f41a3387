/* Whatever the bytes are: parsing and checking agree but for duplicate names, what was parsed is written so that it
 * reads back as the same value, and every string at the top of an object is found by its name. */
#include <stdlib.h>
#include <string.h>

#include <holdfast/lib/json.h>

enum { ARENA_MAX = 16 << 20, BUFFER_MAX = 16 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int32_t holds)
{
    if (!holds)
        abort();
}

static int32_t same(const hf_value *a, const hf_value *b)
{
    if (a->type != b->type || a->count != b->count || a->boolean != b->boolean)
        return 0;
    if (a->type == HF_VALUE_INTEGER || a->type == HF_VALUE_FLOAT)
        return memcmp(&a->as, &b->as, sizeof a->as) == 0;
    if (a->type == HF_VALUE_STRING)
        return hf_slice_equal(hf_value_slice(a), hf_value_slice(b));
    for (uint64_t i = 0; i < a->count; i++) {
        if (a->type == HF_VALUE_LIST) {
            if (!same(&a->as.items[i], &b->as.items[i]))
                return 0;
        } else if (!hf_slice_equal(a->as.members[i].name, b->as.members[i].name) ||
                   !same(&a->as.members[i].value, &b->as.members[i].value)) {
            return 0;
        }
    }
    return 1;
}

static void check_round_trip(const hf_value *value, hf_arena *arena,
                             int32_t (*append)(hf_buffer *buffer, const hf_value *value))
{
    hf_value again = hf_value_null();
    hf_buffer buffer;

    hf_buffer_init(&buffer, BUFFER_MAX);
    if (append(&buffer, value) == HF_OK) {
        require(hf_json_check((hf_slice){buffer.data, buffer.size}, NULL) == HF_OK);

        int32_t r = hf_json_parse((hf_slice){buffer.data, buffer.size}, arena, &again, NULL);

        require(r == HF_ENOMEM || (r == HF_OK && same(value, &again)));
    } else {
        require(buffer.size == 0);
    }
    hf_buffer_done(&buffer);
}

static void check_finding(hf_slice text, const hf_value *value, hf_arena *arena)
{
    for (uint64_t i = 0; value->type == HF_VALUE_MAP && i < value->count && i < 32; i++) {
        const hf_value_member *member = &value->as.members[i];
        const char *name = (const char *)member->name.data; /* the parser puts a zero byte after it */
        hf_slice found = {NULL, 0};

        if (strlen(name) != member->name.size)
            continue;

        int32_t r = hf_json_find_string(text, name, arena, &found);

        if (member->value.type == HF_VALUE_STRING)
            require(r == HF_ENOMEM || (r == HF_OK && hf_slice_equal(found, hf_value_slice(&member->value))));
        else
            require(r == HF_ENOTFOUND);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hf_slice text = {data, size}, found = {NULL, 0};
    hf_value value = hf_value_null();
    hf_error error = {0};
    hf_arena arena;

    hf_arena_init(&arena, ARENA_MAX);

    int32_t checked = hf_json_check(text, NULL);
    int32_t parsed = hf_json_parse(text, &arena, &value, &error);

    if (parsed == HF_OK) {
        require(checked == HF_OK);
        check_round_trip(&value, &arena, hf_json_append);
        check_round_trip(&value, &arena, hf_json_append_pretty);
        check_finding(text, &value, &arena);
    } else if (parsed == HF_EINVAL) {
        require(checked == HF_EINVAL || strstr(error.message, "a second member is called") != NULL);
        hf_json_find_string(text, "k", &arena, &found);
    }
    hf_arena_done(&arena);
    return 0;
}
