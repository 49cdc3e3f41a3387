/* Random entries.  Keys, idempotency keys and versions come from small sets, so that they meet. */
#include "kit.h"

#include <holdfast/lib/checksum.h>

enum { KEYS = 10, IDEMPOTENCY_KEYS = 80 };

static hf_slice print_key(uint8_t to[8], uint64_t number)
{
    return (hf_slice){to, (uint64_t)snprintf((char *)to, 8, "k/%02u", (unsigned)(number % 100))};
}

static void make_operation(struct kit_random_entry *e, uint64_t place, uint64_t first_key, uint64_t index,
                           hf_random *random)
{
    hf_slice key = print_key(e->keys[place], first_key + place),
             value = {e->values[place], hf_random_below(random, 64)};
    struct store_operation *operation = &e->operations[place];

    memset(e->values[place], (int)hf_random_below(random, 256), value.size);
    *operation = hf_random_below(random, 4) == 0 ? kit_delete(key) : kit_put(key, value);
    if (hf_random_below(random, 3) == 0)
        operation->condition = STORE_IF_ABSENT + (int32_t)hf_random_below(random, 3);
    if (operation->condition == STORE_IF_VERSION)
        operation->version = index - 1 - hf_random_below(random, index < 8 ? index : 8);
}

static void make_command(struct kit_random_entry *e, uint64_t index, hf_random *random)
{
    /* Times go back now and then, as leaders' clocks do; an entry in eight has many operations. */
    uint64_t time = 1000 + index * 10 - hf_random_below(random, 25);
    uint64_t count = 1 + hf_random_below(random, hf_random_below(random, 8) == 0 ? 20 : 3);
    uint64_t first_key = hf_random_below(random, KEYS);
    /* By turns nothing is forgotten and then most: more gathers than is looked at together. */
    uint64_t kept = index / 90 % 2 ? 60 : 2000;

    e->command =
        (struct store_command){.time_us = time,
                               .user = hf_random_next(random),
                               .feed_horizon_us = time - (kept < time ? kept : time) + hf_random_below(random, 60),
                               .repeat_horizon_us = time - (kept < time ? kept : time) + hf_random_below(random, 60),
                               .operations = e->operations,
                               .operation_count = count};
    for (uint64_t i = 0; i < count; i++)
        make_operation(e, i, first_key, index, random);
    if (hf_random_below(random, 2) == 0)
        e->command.idempotency_key = print_key(e->idempotency_key, hf_random_below(random, IDEMPOTENCY_KEYS));
}

static void make_members(struct kit_random_entry *e, hf_random *random)
{
    uint64_t count = 1 + hf_random_below(random, 5);

    for (uint64_t i = 0; i < count; i++) {
        hf_replication_member member = {.replica = i + 1, .learner = (int32_t)hf_random_below(random, 2)};

        assert_int_equal(hf_buffer_append(&e->payload, &member, sizeof member), 0);
    }
}

void kit_random_entry(struct kit_random_entry *ret_entry, uint64_t seed, uint64_t index)
{
    struct kit_random_entry *e = ret_entry;
    hf_random random;

    hf_random_init(&random, seed * 1000003 + index);
    memset(e, 0, sizeof *e);
    hf_buffer_init(&e->payload, 1 << 20);
    e->entry = (struct store_entry){.index = index, .term = 1 + index / 20};
    switch (hf_random_below(&random, 24)) {
    case 0:
        e->entry.type = HF_ENTRY_EMPTY;
        break;
    case 1:
        e->entry.type = HF_ENTRY_MEMBERSHIP;
        make_members(e, &random);
        break;
    case 2: /* damage */
        assert_int_equal(hf_buffer_append(&e->payload, "\1damage", 7), 0);
        break;
    default:
        make_command(e, index, &random);
        assert_int_equal(store_command_encode(&e->payload, &e->command, NULL), 0);
    }
    e->entry.payload = BYTES(e->payload);
}
