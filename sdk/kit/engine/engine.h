/* engine.h: what the parts of the engines' suite share. */
#ifndef HOLDFAST_KIT_ENGINE_H
#define HOLDFAST_KIT_ENGINE_H

#include <holdfast/kit/plugin.h>

#include <holdfast/kind/engine.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The engine under check: one for each process, made by engine_load, then only read. */
struct engine_under_check {
    const hf_engine *table;
    hf_kit_instance instance;
};
extern struct engine_under_check engine;

void engine_load(const hf_kit_subject *subject);

/* A database in a directory of its own. */
typedef struct {
    char directory[96];
    hf_engine_database *database;
} engine_database;

void engine_create(engine_database *k);
void engine_close(engine_database *k);
void engine_open(engine_database *k);
void engine_remove(engine_database *k);

/* Loads the engine, makes a database, calls the function and puts all away. */
void engine_with_database(const hf_kit_subject *subject, void (*function)(engine_database *k));
#define ENGINE_CHECK(name)                                                                                             \
    void engine_check_##name(const hf_kit_subject *subject)                                                            \
    {                                                                                                                  \
        engine_with_database(subject, test_##name);                                                                    \
    }

#define TEXT(literal) ((hf_slice){(const uint8_t *)(literal), sizeof(literal) - 1})
#define NOTHING       ((hf_slice){NULL, 0})

void engine_write(hf_engine_database *database, int32_t type, uint64_t space, hf_slice key, hf_slice value);
/* Retries while the engine is busy. */
int32_t engine_try_write(hf_engine_database *database, const hf_engine_operation *operations, uint64_t count);
void engine_expect(hf_engine_database *database, uint64_t space, hf_slice key, hf_slice value);
void engine_expect_none(hf_engine_database *database, uint64_t space, hf_slice key);
/* The keys that a scan visits, joined by ','. */
const char *engine_scan(hf_engine_database *database, uint64_t space, hf_slice from, hf_slice to, uint32_t flags);
uint64_t engine_count(hf_engine_database *database, uint64_t space);

/* records.c */
void engine_check_put_get_delete(const hf_kit_subject *subject);
void engine_check_delete_range(const hf_kit_subject *subject);
void engine_check_spaces_are_isolated(const hf_kit_subject *subject);
void engine_check_order_of_any_bytes(const hf_kit_subject *subject);
void engine_check_scan_bounds(const hf_kit_subject *subject);
void engine_check_cached_reads(const hf_kit_subject *subject);
void engine_check_batch_is_atomic(const hf_kit_subject *subject);
void engine_check_limits(const hf_kit_subject *subject);
void engine_check_two_databases(const hf_kit_subject *subject);
void engine_check_threads(const hf_kit_subject *subject);
/* transfer.c */
void engine_check_export_is_a_snapshot(const hf_kit_subject *subject);
void engine_check_export_visits_a_snapshot(const hf_kit_subject *subject);
void engine_check_import_replaces(const hf_kit_subject *subject);
void engine_check_import_of_nothing(const hf_kit_subject *subject);
void engine_check_import_without_commit(const hf_kit_subject *subject);
void engine_check_damage_is_found(const hf_kit_subject *subject);
void engine_check_large_value(const hf_kit_subject *subject);
void engine_check_large_space(const hf_kit_subject *subject);
/* durable.c */
void engine_check_reopen(const hf_kit_subject *subject);
void engine_check_checkpoint(const hf_kit_subject *subject);
void engine_check_crash(const hf_kit_subject *subject);

#endif
