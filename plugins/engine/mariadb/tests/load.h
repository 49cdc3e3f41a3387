/* load.h: threads that write while servers are killed, and check every answer. */
#ifndef MARIADB_TEST_LOAD_H
#define MARIADB_TEST_LOAD_H

#include "kit.h"

enum { LOAD_WRITERS = 2 };

struct load_writer {
    struct load *load;
    uint64_t space;
    atomic_ullong written; /* records 1..written are acknowledged */
    pthread_t thread;
};

struct load {
    struct kit *kit;
    atomic_int stopping;
    char fault[300]; /* the first wrong answer; guarded by the lock */
    pthread_mutex_t lock;
    struct load_writer writers[LOAD_WRITERS];
};

void load_start(struct load *load, struct kit *kit);
/* Until each writer has written `count` more. */
void load_wait_for_more(struct load *load, uint64_t count);
/* No answer was wrong, and exactly what was acknowledged is there, before and after opening again. */
void load_stop_and_check(struct load *load);

#endif
