/* Any bytes as a table's record: what parses is written as a record that parses as the same table and is written in
 * the same way again; and each of its partitions is found under its own value. */
#include "table/table.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static const struct store_nodes nodes = {.count = 3, .names = {"n1", "n2", "n3"}};

static void check(int holds)
{
    if (!holds)
        abort();
}

static void check_same(const struct store_table *a, const struct store_table *b)
{
    check(store_declaration_same(&a->declaration, &b->declaration));
    check(a->partition_count == b->partition_count);
    for (uint32_t i = 0; i < a->partition_count; i++) {
        const struct store_partition *p = &a->partitions[i], *q = &b->partitions[i];

        check(p->id == q->id && p->hash_from == q->hash_from && p->hash_to == q->hash_to);
        check(strcmp(p->value, q->value) == 0 && p->member_count == q->member_count);
        check(memcmp(p->members, q->members, p->member_count * sizeof p->members[0]) == 0);
    }
}

static void check_finding(const struct store_table *table, hf_slice key)
{
    uint64_t hash = store_key_hash(key);

    for (uint32_t i = 0; i < table->partition_count; i++) {
        const struct store_partition *p = &table->partitions[i];
        int holds = p->hash_from <= hash && hash <= p->hash_to;

        check((store_table_find(table, hf_slice_of(p->value), key) == p) == holds);
    }
}

static void check_table(const struct store_table *table, hf_arena *arena)
{
    struct store_table again;
    hf_buffer first, second;

    hf_buffer_init(&first, UINT64_MAX);
    hf_buffer_init(&second, UINT64_MAX);
    check(store_table_write(&first, table, &nodes, NULL) == 0);
    check(store_table_parse((hf_slice){first.data, first.size}, &nodes, arena, &again, NULL) == 0);
    check_same(table, &again);
    check(store_table_write(&second, &again, &nodes, NULL) == 0);
    check(first.size == second.size && memcmp(first.data, second.data, first.size) == 0);
    hf_buffer_done(&first);
    hf_buffer_done(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct store_table table;
    hf_arena arena;
    hf_error error = {0};

    hf_arena_init(&arena, 256 << 20);
    if (store_table_parse((hf_slice){bytes, size}, &nodes, &arena, &table, &error) == 0) {
        check(store_declaration_check(&table.declaration, NULL) == 0);
        check_table(&table, &arena);
        check_finding(&table, (hf_slice){bytes, size});
    } else {
        check(error.code < 0 && error.message[0] != '\0');
    }
    hf_arena_done(&arena);
    return 0;
}
