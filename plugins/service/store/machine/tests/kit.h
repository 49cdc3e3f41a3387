/* kit.h: what the parts of store_machine_test share: an engine, machines in a database of it, and entries. */
#ifndef STORE_MACHINE_KIT_H
#define STORE_MACHINE_KIT_H

#include "machine.h"

#include <holdfast/lib/buffer.h>
#include <holdfast/lib/hash.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TEXT(literal) ((hf_slice){(const uint8_t *)(literal), sizeof(literal) - 1})
#define NOTHING       ((hf_slice){NULL, 0})
#define BYTES(buffer) ((hf_slice){(buffer).data, (buffer).size})

enum { SPACE = 7 };

/* The engine under test; set once by main. */
extern const hf_engine *kit_engine;
extern const char *kit_program, *kit_plugin;

/* kit_load.c: prints why and returns -1 when the plugin does not fit. */
int kit_load(const char *path);
void kit_unload(void);
int32_t kit_open_database(const char *directory, hf_engine_database **ret_database, hf_error *error);
int kit_is_durable(void);

/* A database in a directory of its own, and a machine in its space SPACE. */
struct kit {
    char directory[64];
    hf_engine_database *database;
    struct store_machine *machine;
};

int kit_setup(void **state);
int kit_teardown(void **state);
#define TEST(function) cmocka_unit_test_setup_teardown(function, kit_setup, kit_teardown)

/* Closes and opens the machine, and the database where that keeps its content. */
void kit_reopen(struct kit *kit);
struct store_machine *kit_open_machine(hf_engine_database *database, const hf_engine *engine, uint64_t space);

struct store_operation kit_put(hf_slice key, hf_slice value);
struct store_operation kit_delete(hf_slice key);
struct store_operation kit_if(struct store_operation operation, int32_t condition, uint64_t version);

/* A command, and what the entry says that holds it; of several, the first one's times count. */
struct kit_command {
    struct store_command command;
    uint64_t feed_horizon_us, repeat_horizon_us;
};
/* Appends the bytes of an entry. */
void kit_bundle(hf_buffer *payload, const struct kit_command *commands, uint32_t count);

/* Applies commands as the next entry; the machine must not fail. */
struct store_outcome kit_apply(struct store_machine *machine, const struct kit_command *command);
void kit_apply_together(struct store_machine *machine, const struct kit_command *commands, uint32_t count,
                        struct store_outcome *ret_outcomes);
/* Applies bytes that are a command as the next entry, with this time. */
struct store_outcome kit_apply_bytes(struct store_machine *machine, hf_slice command, uint64_t time_us);
struct store_outcome kit_apply_one(struct store_machine *machine, struct store_operation operation);
struct store_machine_state kit_state(struct store_machine *machine);
void kit_expect(struct store_machine *machine, hf_slice key, hf_slice value, uint64_t version);
void kit_expect_none(struct store_machine *machine, hf_slice key);

/* All bytes of an export; hf_buffer_done. */
hf_buffer kit_export(hf_engine_database *database, uint64_t space);
void kit_import(hf_engine_database *database, uint64_t space, hf_slice bytes);
void kit_assert_same_spaces(hf_engine_database *database, uint64_t a, uint64_t b);

/* kit_random.c: an entry that is told by seed and index alone; one in eight holds no commands. */
enum { KIT_COMMANDS_MAX = 4 };
struct kit_random_command {
    struct store_operation operations[20];
    uint8_t keys[20][8], values[20][64], idempotency_key[8];
};
struct kit_random_entry {
    struct kit_random_command parts[KIT_COMMANDS_MAX];
    struct kit_command commands[KIT_COMMANDS_MAX];
    uint32_t command_count;
    hf_buffer payload; /* hf_buffer_done */
    struct store_entry entry;
};
void kit_random_entry(struct kit_random_entry *ret_entry, uint64_t seed, uint64_t index);

int kit_test_apply(void);
int kit_test_feed(void);
int kit_test_read(void);
int kit_test_damage(void);
int kit_test_inspect(void);
int kit_test_expiry(void);
int kit_test_random(void);
int kit_test_transaction(void);
int kit_test_reshape(void);
int kit_test_beside(void);
int kit_test_crash(void);
/* The process that the crash test kills. */
int kit_crash_child(const char *directory);

#endif
