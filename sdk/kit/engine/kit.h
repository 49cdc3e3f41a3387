/* kit.h: what the parts of engine_conformance share. */
#ifndef ENGINE_KIT_H
#define ENGINE_KIT_H

#include <holdfast/kind/engine.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The engine under test: one instance of a plugin's provide, with default options and what --set gives. */
typedef struct {
    const hf_engine *table;
    void *instance;
    void *configuration;
} kit_engine;

extern kit_engine kit; /* set once by main, then only read */
extern const char *kit_program, *kit_plugin, *kit_name;

enum { KIT_SETTINGS_MAX = 32 };
extern const char *kit_settings[KIT_SETTINGS_MAX]; /* "key=value", from --set */
extern int kit_setting_count;

/* load.c */
/* Prints why and returns -1 when the plugin does not fit. */
int kit_load(const char *path, const char *name);
void kit_unload(void);

/* main.c: a database in a temporary directory; the directory goes with kit_remove. */
typedef struct {
    char directory[64];
    hf_engine_database *database;
} kit_database;

void kit_create(kit_database *k);
void kit_close(kit_database *k);
void kit_open(kit_database *k);
void kit_remove(kit_database *k);
int kit_setup(void **state);
int kit_teardown(void **state);

#define TEXT(literal) ((hf_slice){(const uint8_t *)(literal), sizeof(literal) - 1})
#define NOTHING       ((hf_slice){NULL, 0})

void kit_write(hf_engine_database *database, int32_t type, uint64_t space, hf_slice key, hf_slice value);
/* Retries while the engine is busy. */
int32_t kit_try_write(hf_engine_database *database, const hf_engine_operation *operations, uint64_t count);
void kit_expect(hf_engine_database *database, uint64_t space, hf_slice key, hf_slice value);
void kit_expect_none(hf_engine_database *database, uint64_t space, hf_slice key);
/* The keys that a scan visits, joined by ','. */
const char *kit_scan(hf_engine_database *database, uint64_t space, hf_slice from, hf_slice to, uint32_t flags);
uint64_t kit_count(hf_engine_database *database, uint64_t space);

int kit_test_records(void);
int kit_test_transfer(void);
int kit_test_durable(void);
/* The process that a crash test kills: writes and flushes until it dies. */
int kit_crash_child(const char *directory, uint64_t first);

#endif
