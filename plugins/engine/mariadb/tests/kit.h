/* kit.h: what the tests of engine/mariadb share: an engine, its servers, and what it counted. */
#ifndef MARIADB_TEST_KIT_H
#define MARIADB_TEST_KIT_H

#include "../database.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct kit {
    struct mariadb_config config;
    const char *addresses[3];
    char texts[3][32], directory[64], password_file[128];
    void *instance;
    hf_engine_database *database;
};

extern const hf_engine *kit_table;

/* An engine that uses the given ports; nothing is opened. */
void kit_init(struct kit *kit, const uint16_t *ports, uint32_t count);
int32_t kit_try_open(struct kit *kit, hf_error *error);
void kit_open(struct kit *kit);
void kit_close(struct kit *kit);
/* Also removes the directory. */
void kit_done(struct kit *kit);

/* The port of server `number`, which begins at 1. */
uint16_t kit_port(uint32_t number);
/* servers.sh VERB DIR NUMBER */
void kit_server(const char *verb, uint32_t number);
/* Runs SQL as root on a server. */
void kit_sql(uint32_t number, const char *sql);

/* "NAME" or "NAME/LABEL": what the counter stands at. */
uint64_t kit_counted(const char *name);
extern char kit_log[8192]; /* everything that was logged, as far as it fits */

hf_slice kit_slice(const char *text);
int32_t kit_put(struct kit *kit, uint64_t space, const char *key, const char *value, hf_error *error);
/* Fails the test unless the record has this value; NULL: unless there is none. */
void kit_expect(struct kit *kit, uint64_t space, const char *key, const char *value);

#endif
