/* proxy.h: stands between the engine and a server, and loses commits. */
#ifndef MARIADB_TEST_PROXY_H
#define MARIADB_TEST_PROXY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

enum {
    PROXY_PASS,
    PROXY_CUT_BEFORE_COMMIT, /* the server does not get it */
    PROXY_CUT_AFTER_COMMIT,  /* the server has answered, the engine does not get the answer */
    PROXY_REFUSE             /* connections are closed at once */
};

struct proxy {
    int listener;
    uint16_t port, target;
    atomic_int mode; /* PROXY_CUT_... once, then `next_mode` */
    atomic_int next_mode;
    atomic_int cuts;
    atomic_int stopping;
    pthread_t thread;
};

void proxy_start(struct proxy *proxy, uint16_t target);
void proxy_stop(struct proxy *proxy);

#endif
