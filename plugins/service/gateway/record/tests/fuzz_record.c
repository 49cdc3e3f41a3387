/* Whatever stands in a request: its line is one line, JSON where that is asked for, and else plain ASCII with as many
 * quotes as there are fields in quotes. */
#include "record/record.h"

#include <holdfast/lib/json.h>
#include <holdfast/lib/value.h>

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
    if (!holds)
        abort();
}

static void require_combined(const hf_buffer *text)
{
    uint32_t quotes = 0;

    for (uint64_t i = 0; i + 1 < text->size; i++) {
        require(text->data[i] >= 0x20 && text->data[i] < 0x7f);
        quotes += text->data[i] == '"';
    }
    require(quotes == 6);
}

static void require_json(const hf_buffer *text)
{
    hf_value document;
    hf_arena arena;

    require(memchr(text->data, '\n', text->size) == text->data + text->size - 1);
    hf_arena_init(&arena, 4 << 20);
    require(hf_json_parse((hf_slice){text->data, text->size - 1}, &arena, &document, NULL) == HF_OK);
    require(hf_value_get_integer(&document, "status", 0) == 400);
    hf_arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hf_slice all = {data, size}, half = {data, size / 2}, rest = {data + size / 2, size - size / 2};
    struct gateway_record record = {.ended_us = size,
                                    .status = 400,
                                    .client = half,
                                    .method = size % 2 ? rest : (hf_slice){NULL, 0},
                                    .target = all,
                                    .host = rest,
                                    .user_agent = all,
                                    .referer = half,
                                    .protocol = rest,
                                    .line = all,
                                    .route = half,
                                    .why = rest};
    struct gateway_clock clock = {0};
    hf_buffer text;

    hf_buffer_init(&text, 1 << 20);
    require(gateway_record_append(&record, GATEWAY_FORMAT_JSON, &clock, &text) == HF_OK);
    require_json(&text);
    hf_buffer_clear(&text);
    require(gateway_record_append(&record, GATEWAY_FORMAT_COMBINED, &clock, &text) == HF_OK);
    require_combined(&text);
    text.maximum = text.size;
    require(gateway_record_append(&record, GATEWAY_FORMAT_JSON, &clock, &text) == HF_ETOOLARGE);
    require_combined(&text);
    hf_buffer_done(&text);
    return 0;
}
