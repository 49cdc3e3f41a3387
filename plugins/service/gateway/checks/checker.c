#include "checks/checker.h"

#include "tls/stream.h"
#include "worker/socket.h"
#include "worker/wheel.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/hash.h>
#include <holdfast/lib/value.h>

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FIRST_US = 500000 /* in which the first check of a server begins */, OUT_MAX = 4096, PIECE = 4096 };

struct gateway_check {
    struct gateway_check *next; /* of all */
    struct gateway_check *next_waiting;
    struct gateway_checker *checker;
    struct gateway_server *server;  /* held */
    struct gateway_server_set *set; /* held */
    uint32_t place;
    uint32_t address;             /* which of the place's */
    struct gateway_deadline due;  /* the next check */
    struct gateway_deadline late; /* the present one */
    struct gateway_socket socket; /* fd -1: none is under way */
    int32_t is_connected;
    int32_t is_waiting; /* for its turn */
    int32_t is_followed;
    hf_buffer out, in;
};

struct gateway_checker {
    const hf_host *host;
    const hf_loop_interface *loops;
    hf_loop *loop;
    hf_timer *tick;
    struct gateway_tls_worker *tls;
    struct gateway_wheel wheel;
    hf_random random;
    struct gateway_check *checks;
    struct gateway_check *waiting, **waiting_end;
    uint32_t running;
    int32_t is_ticking;
};

static void attempt(struct gateway_check *check);

static uint64_t now_of(const struct gateway_checker *checker)
{
    return checker->loops->now_us(checker->loop);
}

static const struct gateway_place *place_of(const struct gateway_check *check)
{
    return &check->set->places[check->place];
}

/* ---- The end of a check ------------------------------------------------------------------------------------------ */

static void stop(struct gateway_check *check)
{
    struct gateway_checker *checker = check->checker;

    if (check->socket.fd >= 0)
        gateway_socket_close(&check->socket);
    gateway_deadline_clear(&checker->wheel, &check->late);
    hf_buffer_done(&check->in);
    hf_buffer_done(&check->out);
    check->is_connected = 0;
}

/* A tenth earlier or later, so that checks which began together do not stay so. */
static void put_off(struct gateway_check *check)
{
    struct gateway_checker *checker = check->checker;
    uint64_t interval_us = check->set->check.interval_us, tenth = interval_us / 10;

    gateway_deadline_set(&checker->wheel, &check->due,
                         now_of(checker) + interval_us - tenth + hf_random_below(&checker->random, 2 * tenth + 1));
}

static void conclude(struct gateway_check *check, int32_t is_well, const char *why)
{
    stop(check);
    check->checker->running--;
    gateway_server_checked(check->set, check->place, is_well, why, now_of(check->checker));
    put_off(check);
}

static void fail(struct gateway_check *check, const char *why)
{
    conclude(check, 0, why);
}

static void too_late(struct gateway_deadline *deadline)
{
    struct gateway_check *check = (struct gateway_check *)((char *)deadline - offsetof(struct gateway_check, late));

    fail(check, check->is_connected ? "time-out: no answer" : "time-out: no connection");
}

/* ---- Asking ------------------------------------------------------------------------------------------------------ */

/* 1: it is over. */
static int look(struct gateway_check *check, int32_t ended)
{
    struct gateway_check_verdict verdict = {.state = GATEWAY_CHECK_OPEN};

    gateway_check_kind(check->set->check.type)
        ->look(&check->set->check, (hf_slice){check->in.data, check->in.size}, ended, &verdict);
    if (verdict.state == GATEWAY_CHECK_OPEN && ended)
        gateway_check_ill(&verdict, "it closed the connection");
    if (verdict.state == GATEWAY_CHECK_OPEN)
        return 0;
    conclude(check, verdict.state == GATEWAY_CHECK_WELL, verdict.why);
    return 1;
}

static void receive(struct gateway_check *check)
{
    do {
        if (hf_buffer_reserve(&check->in, PIECE) != HF_OK) {
            fail(check, check->in.size >= GATEWAY_CHECK_BYTES_MAX ? "its answer is too long" : "no memory");
            return;
        }
        int64_t got = gateway_socket_read(&check->socket, check->in.data + check->in.size, PIECE);
        if (got == GATEWAY_AGAIN)
            return;
        if (got == GATEWAY_BROKEN) {
            fail(check, strerror(errno));
            return;
        }
        check->in.size += (uint64_t)got;
        if (look(check, got == 0))
            return;
    } while (gateway_socket_has_more(&check->socket));
}

static void send_out(struct gateway_check *check)
{
    struct iovec piece = {check->out.data, check->out.size};
    int64_t sent = check->out.size ? gateway_socket_write(&check->socket, &piece, 1) : 0;

    if (sent == GATEWAY_BROKEN) {
        fail(check, strerror(errno));
        return;
    }
    if (sent > 0)
        hf_buffer_consume(&check->out, (uint64_t)sent);
    gateway_socket_want(&check->socket, HF_WATCH_READ | (check->out.size ? (uint32_t)HF_WATCH_WRITE : 0));
}

/* As requests would be: TLS where they have it, and whatever the kind says after that. */
static int has_tls(const struct gateway_check *check)
{
    return check->set->tls && check->set->check.type != GATEWAY_CHECK_TCP;
}

static void begin_asking(struct gateway_check *check)
{
    const struct gateway_check_kind *kind = gateway_check_kind(check->set->check.type);

    check->is_connected = 1;
    if (look(check, 0))
        return;
    if (kind->begin && kind->begin(&check->set->check, check->server->address, &check->out) != HF_OK)
        fail(check, "no memory");
    else
        send_out(check);
}

static void connected(struct gateway_check *check)
{
    int failed = 0;
    socklen_t size = sizeof failed;

    if (gateway_socket_is_tls(&check->socket)) {
        if (gateway_socket_is_open(&check->socket))
            begin_asking(check);
        else
            fail(check, "no TLS");
        return;
    }
    if (getsockopt(check->socket.fd, SOL_SOCKET, SO_ERROR, &failed, &size) != 0 || failed) {
        gateway_socket_close(&check->socket);
        if (check->address + 1 < place_of(check)->addresses.count) {
            check->address++;
            attempt(check);
        } else {
            fail(check, strerror(failed ? failed : errno));
        }
        return;
    }
    if (!has_tls(check))
        begin_asking(check);
    else if (gateway_socket_ask_tls(&check->socket, check->checker->tls, check->set->tls, check->place, NULL) != HF_OK)
        fail(check, "no memory");
}

static void ready(void *arg, int32_t fd, uint32_t events)
{
    struct gateway_check *check = arg;

    (void)fd;
    if (!check->is_connected)
        connected(check);
    else if (events & HF_WATCH_READ)
        receive(check);
    else
        send_out(check);
}

/* Begins a connection to the present address; the time-out is that of all addresses together. */
static void attempt(struct gateway_check *check)
{
    struct gateway_checker *checker = check->checker;
    const struct gateway_addresses *addresses = &place_of(check)->addresses;
    const struct sockaddr *at = (const struct sockaddr *)&addresses->items[check->address];
    hf_error error = {0};
    int fd = socket(at->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd >= 0 && connect(fd, at, addresses->sizes[check->address]) != 0 && errno != EINPROGRESS) {
        int failed = errno;

        (void)close(fd); /* already failing */
        errno = failed;
        fd = -1;
    }
    if (fd < 0 && check->address + 1 < addresses->count) {
        check->address++;
        attempt(check); /* GATEWAY_ADDRESSES_MAX deep at most */
    } else if (fd < 0) {
        fail(check, strerror(errno));
    } else if (gateway_socket_open(&check->socket, checker->loops, checker->loop, fd, HF_WATCH_WRITE, ready, check,
                                   &error) != HF_OK) {
        check->socket.fd = -1;
        fail(check, "no memory");
    }
}

static void begin(struct gateway_check *check)
{
    struct gateway_checker *checker = check->checker;

    checker->running++;
    check->address = 0;
    hf_buffer_init(&check->in, GATEWAY_CHECK_BYTES_MAX + PIECE);
    hf_buffer_init(&check->out, OUT_MAX);
    gateway_deadline_set(&checker->wheel, &check->late, now_of(checker) + check->set->check.timeout_us);
    attempt(check);
}

/* ---- Whose turn it is -------------------------------------------------------------------------------------------- */

static void wait_turn(struct gateway_check *check)
{
    struct gateway_checker *checker = check->checker;

    if (check->is_waiting)
        return;
    check->is_waiting = 1;
    check->next_waiting = NULL;
    *checker->waiting_end = check;
    checker->waiting_end = &check->next_waiting;
}

static void is_due(struct gateway_deadline *deadline)
{
    wait_turn((struct gateway_check *)((char *)deadline - offsetof(struct gateway_check, due)));
}

static void begin_some(struct gateway_checker *checker)
{
    for (uint32_t i = 0; i < GATEWAY_CHECKS_BEGUN && checker->waiting && checker->running < GATEWAY_CHECKS_MAX; i++) {
        struct gateway_check *check = checker->waiting;

        checker->waiting = check->next_waiting;
        if (!checker->waiting)
            checker->waiting_end = &checker->waiting;
        check->is_waiting = 0;
        begin(check);
    }
}

static void tick(void *arg)
{
    struct gateway_checker *checker = arg;

    gateway_wheel_turn(&checker->wheel, now_of(checker));
    begin_some(checker);
}

static void leave_turn(struct gateway_check *check)
{
    struct gateway_checker *checker = check->checker;

    if (!check->is_waiting)
        return;
    for (struct gateway_check **at = &checker->waiting; *at; at = &(*at)->next_waiting)
        if (*at == check) {
            *at = check->next_waiting;
            if (!*at)
                checker->waiting_end = at;
            break;
        }
    check->is_waiting = 0;
}

/* ---- Following the servers --------------------------------------------------------------------------------------- */

/* Nothing more is asked of it; what was thought of it then says nothing any more. */
static void destroy(struct gateway_check *check)
{
    struct gateway_checker *checker = check->checker;

    leave_turn(check);
    gateway_deadline_clear(&checker->wheel, &check->due);
    if (check->socket.fd >= 0) {
        stop(check);
        checker->running--;
    }
    check->server->check = NULL;
    gateway_server_unchecked(check->server);
    gateway_server_set_release(check->set);
    gateway_server_release(check->server);
    free(check);
}

static struct gateway_check *create(struct gateway_checker *checker, struct gateway_server_set *set, uint32_t place)
{
    struct gateway_check *check = calloc(1, sizeof *check);
    uint64_t spread_us = set->check.interval_us < FIRST_US ? set->check.interval_us : FIRST_US;

    if (!check)
        return NULL;
    check->checker = checker;
    check->server = set->places[place].server;
    check->set = set;
    check->place = place;
    check->socket.fd = -1;
    check->due.passed = is_due;
    check->late.passed = too_late;
    gateway_server_hold(check->server);
    gateway_server_set_hold(set);
    check->server->check = check;
    check->next = checker->checks;
    checker->checks = check;
    gateway_deadline_set(&checker->wheel, &check->due,
                         now_of(checker) + hf_random_below(&checker->random, spread_us + 1));
    return check;
}

static void move_to(struct gateway_check *check, struct gateway_server_set *set, uint32_t place)
{
    struct gateway_checker *checker = check->checker;
    const struct gateway_addresses *now = &set->places[place].addresses;
    int is_other =
        check->set->check.type != set->check.type || !gateway_addresses_meet(&place_of(check)->addresses, now);

    if (is_other && check->socket.fd >= 0) { /* its answer would say nothing */
        stop(check);
        checker->running--;
    } /* else it goes on, and what comes is judged by the new rules: were it begun anew, one that hangs would not end
         while the set changes often */
    gateway_server_set_hold(set);
    gateway_server_set_release(check->set);
    check->set = set;
    check->place = place;
    if (!is_other)
        return;
    gateway_deadline_clear(&checker->wheel, &check->due);
    wait_turn(check);
}

static int needs_check(const struct gateway_server_set *set, uint32_t place)
{
    return set->has_check && set->places[place].addresses.count > 0;
}

static void destroy_others(struct gateway_checker *checker, const struct gateway_upstream *upstream)
{
    for (struct gateway_check **at = &checker->checks; *at;) {
        struct gateway_check *check = *at;

        if (check->server->upstream != upstream || check->is_followed) {
            check->is_followed = 0;
            at = &check->next;
            continue;
        }
        *at = check->next;
        destroy(check);
    }
}

static void turn_or_not(struct gateway_checker *checker)
{
    if (checker->checks && !checker->is_ticking) {
        gateway_wheel_turn(&checker->wheel, now_of(checker));
        checker->loops->timer_start(checker->tick, GATEWAY_WHEEL_TICK_US, GATEWAY_WHEEL_TICK_US);
    } else if (!checker->checks && checker->is_ticking) {
        checker->loops->timer_stop(checker->tick);
    }
    checker->is_ticking = checker->checks != NULL;
}

void gateway_checker_follow(struct gateway_checker *checker, struct gateway_upstream *upstream,
                            struct gateway_server_set *set)
{
    static const char no_memory[] = "no memory for a check: a server is not asked until its upstream changes again";

    for (uint32_t i = 0; set && i < set->count; i++) {
        struct gateway_check *check = set->places[i].server->check;

        if (!needs_check(set, i))
            continue;
        if (check)
            move_to(check, set, i);
        else
            check = create(checker, set, i);
        if (check)
            check->is_followed = 1;
        else
            checker->host->log(checker->host, HF_LOG_ERROR, hf_slice_of(no_memory));
    }
    destroy_others(checker, upstream);
    turn_or_not(checker);
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

int32_t gateway_checker_create(const hf_host *host, const hf_loop_interface *loops, const hf_node_interface *node,
                               struct gateway_checker **ret_checker, hf_error *error)
{
    struct gateway_checker *checker = calloc(1, sizeof *checker);
    uint64_t seed = 0;

    if (!checker)
        return hf_error_set(error, HF_ENOMEM, "no memory for the checks of servers");
    checker->host = host;
    checker->loops = loops;
    checker->loop = loops->main_loop(host);
    checker->waiting_end = &checker->waiting;
    node->random(host, &seed, sizeof seed);
    hf_random_init(&checker->random, seed);
    gateway_wheel_init(&checker->wheel, now_of(checker));
    int32_t code = gateway_tls_worker_create(loops, checker->loop, loops->worker_count(host), &checker->tls, error);
    if (code == HF_OK)
        code = loops->timer_create(checker->loop, tick, checker, &checker->tick, error);
    if (code == HF_OK)
        *ret_checker = checker;
    else
        gateway_checker_destroy(checker);
    return code;
}

void gateway_checker_destroy(struct gateway_checker *checker)
{
    if (!checker)
        return;
    while (checker->checks) {
        struct gateway_check *check = checker->checks;

        checker->checks = check->next;
        destroy(check);
    }
    checker->loops->timer_destroy(checker->tick);
    gateway_tls_worker_destroy(checker->tls);
    free(checker);
}
