/* Shows that the entries in memory are those that were added, whatever is dropped at either end, against a model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "replica/entries.h"

#include <holdfast/lib/hash.h>

enum { MODEL_MAX = 5000 };

struct model {
    uint64_t first, count, bytes;
    uint64_t terms[MODEL_MAX]; /* by index */
    uint32_t sizes[MODEL_MAX];
};

static void check(const struct store_entries *entries, const struct model *model)
{
    assert_int_equal(entries->first, model->first);
    assert_int_equal(entries->count, model->count);
    assert_int_equal(entries->bytes, model->bytes);
    assert_null(store_entries_get(entries, model->first + model->count));
    if (model->first)
        assert_null(store_entries_get(entries, model->first - 1));
    for (uint64_t i = model->first; i < model->first + model->count; i++) {
        const struct store_entry_slot *slot = store_entries_get(entries, i);

        assert_non_null(slot);
        assert_int_equal(slot->term, model->terms[i]);
        assert_int_equal(store_payload_slice(slot->payload).size, model->sizes[i]);
    }
}

static void add(struct store_entries *entries, struct model *model, uint64_t term, uint32_t size)
{
    uint64_t index = store_entries_next(entries);
    struct store_payload *payload = size ? store_payload_create(size) : NULL;

    assert_int_equal(store_entries_add(entries, term, 0, payload), HF_OK);
    model->terms[index] = term;
    model->sizes[index] = size;
    model->count++;
    model->bytes += size;
}

static void drop_last(struct model *model)
{
    model->count--;
    model->bytes -= model->sizes[model->first + model->count];
}

static void drop_first(struct model *model)
{
    model->bytes -= model->sizes[model->first];
    model->first++;
    model->count--;
}

static void entries_match_a_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct store_entries entries;
        struct model model = {.first = 1};
        hf_random random;

        hf_random_init(&random, seed);
        store_entries_init(&entries, 1);
        for (int step = 0; step < 400; step++) {
            uint64_t what = hf_random_below(&random, 10),
                     from = model.first + hf_random_below(&random, model.count + 1);

            if (what < 7) {
                add(&entries, &model, seed + (uint64_t)step, (uint32_t)hf_random_below(&random, 100));
            } else if (what < 8) {
                store_entries_truncate(&entries, from);
                while (model.count && model.first + model.count > from)
                    drop_last(&model);
                if (!model.count)
                    model.first = from;
            } else {
                uint64_t bytes = hf_random_below(&random, 2000);
                store_entries_trim(&entries, from, bytes);
                while (model.count && model.first <= from && model.bytes >= bytes)
                    drop_first(&model);
            }
            check(&entries, &model);
        }
        store_entries_restart(&entries, 77);
        assert_int_equal(store_entries_next(&entries), 77);
        store_entries_done(&entries);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(entries_match_a_model)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
