/* Random entries.  Keys, idempotency keys and versions come from small sets, so that they meet. */
#include "kit.h"

#include <holdfast/lib/checksum.h>

enum { KEYS = 10, IDEMPOTENCY_KEYS = 80, TIME_UNIT = 100000 };

static hf_slice print_key(uint8_t to[8], uint64_t number)
{
    return (hf_slice){to, (uint64_t)snprintf((char *)to, 8, "k/%02u", (unsigned)(number % 100))};
}

static void make_operation(struct kit_random_command *c, uint64_t place, uint64_t first_key, uint64_t index,
                           hf_random *random)
{
    hf_slice key = print_key(c->keys[place], first_key + place),
             value = {c->values[place], hf_random_below(random, 64)};
    struct store_operation *operation = &c->operations[place];

    memset(c->values[place], (int)hf_random_below(random, 256), value.size);
    *operation = hf_random_below(random, 4) == 0 ? kit_delete(key) : kit_put(key, value);
    if (operation->type == STORE_PUT && hf_random_below(random, 3) == 0)
        operation->expire_after = 1 + (uint32_t)hf_random_below(random, 12); /* an entry takes about a second */
    if (hf_random_below(random, 3) == 0)
        operation->condition = STORE_IF_ABSENT + (int32_t)hf_random_below(random, 3);
    if (operation->condition == STORE_IF_VERSION) /* an entry takes about two versions */
        operation->version = 2 * index - hf_random_below(random, index < 8 ? index : 8);
}

/* Versions of some entries before: a few are those of records that have expired. */
static void make_expires(struct kit_random_command *part, uint64_t count, uint64_t index, hf_random *random)
{
    uint64_t newest = index * 219 / 100, recent = newest < 40 ? newest : 40; /* of what the entries before have taken */

    for (uint64_t i = 0; i < count; i++)
        part->operations[i] = (struct store_operation){.type = STORE_EXPIRE,
                                                       .condition = STORE_IF_VERSION,
                                                       .version = 1 + newest - hf_random_below(random, recent),
                                                       .key = part->operations[i].key};
}

static void make_command(struct kit_random_entry *e, uint32_t place, uint64_t index, hf_random *random)
{
    /* Times go back now and then, as leaders' clocks do; a command in eight has many operations. */
    uint64_t time = (1000 + index * 10 - hf_random_below(random, 25)) * TIME_UNIT;
    uint64_t count = 1 + hf_random_below(random, hf_random_below(random, 8) == 0 ? 20 : 3);
    uint64_t first_key = hf_random_below(random, KEYS);
    /* By turns nothing is forgotten and then most: more gathers than is looked at together. */
    uint64_t kept = (index / 90 % 2 ? 60 : 2000) * TIME_UNIT;
    struct kit_random_command *part = &e->parts[place];
    struct kit_command *c = &e->commands[place];

    c->command = (struct store_command){.time_us = place ? e->commands[0].command.time_us : time,
                                        .user = hf_random_next(random),
                                        .operations = part->operations,
                                        .operation_count = count};
    c->feed_horizon_us = time - (kept < time ? kept : time) + hf_random_below(random, 60) * TIME_UNIT;
    c->repeat_horizon_us = time - (kept < time ? kept : time) + hf_random_below(random, 60) * TIME_UNIT;
    for (uint64_t i = 0; i < count; i++)
        make_operation(part, i, first_key, index, random);
    if (hf_random_below(random, 6) == 0) {
        make_expires(part, count, index, random);
        return;
    }
    if (hf_random_below(random, 2) == 0)
        c->command.idempotency_key = print_key(part->idempotency_key, hf_random_below(random, IDEMPOTENCY_KEYS));
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
        assert_int_equal(hf_buffer_append(&e->payload, "\2damage", 7), 0);
        break;
    default:
        e->command_count = 1 + (uint32_t)hf_random_below(&random, KIT_COMMANDS_MAX);
        for (uint32_t i = 0; i < e->command_count; i++)
            make_command(e, i, index, &random);
        kit_bundle(&e->payload, e->commands, e->command_count);
    }
    e->entry.payload = BYTES(e->payload);
}
