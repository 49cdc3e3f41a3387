/* A follower needs what the log no longer has: the machine's state is streamed to it, piece by piece, and the group is
 * told how that went.  The next piece is read while others are under way; a few at a time, so a slow receiver slows
 * only its own stream.  All of it is bulk work, which gives way to requests. */
#include "replica/private.h"
#include "replica/snapshot.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>

enum { PIECE_SIZE = 512 << 10, CALL_TIMEOUT_US = 60000000, MADE_UP_US = 20000 };

/* WANTED waits for the state machine's turn, EXPORTING and READING are in the pool, WAITING has a piece and must not
 * send it yet, CALLING waits for the receiver, with no piece in hand. */
enum { WANTED, EXPORTING, READING, WAITING, CALLING };

/* A request to the receiver, whose bytes stay until it is answered. */
struct sent {
    struct sent *next; /* among those to be used again */
    struct store_snapshot_sender *sender;
    uint8_t head[STORE_SNAPSHOT_BEGIN_MAX];
    uint64_t size;
    uint8_t bytes[PIECE_SIZE]; /* of DATA */
};

struct store_snapshot_sender {
    hf_job job;
    struct store_snapshot_sender *next;
    struct store_replica *replica;
    uint64_t target; /* replica */
    int32_t phase;
    uint32_t calls;     /* under way */
    int32_t at_end;     /* 1: there are no more pieces */
    int32_t committing; /* 1: the last request is under way */
    int32_t call_code;  /* of the first call that failed */
    int32_t code;       /* of the job */
    hf_error error;
    struct store_snapshot_request request;
    hf_engine_export *source;
    struct sent *spare; /* not in use */
    struct sent *piece; /* in hand */
    uint64_t sent;      /* bytes in all */
    hf_timer *timer;
};

static void go_on(struct store_snapshot_sender *sender);

static void unlink_sender(struct store_snapshot_sender *sender)
{
    struct store_snapshot_sender **link = &sender->replica->senders;

    while (*link != sender)
        link = &(*link)->next;
    *link = sender->next;
}

/* NULL: no memory. */
static struct sent *take(struct store_snapshot_sender *sender)
{
    struct sent *sent = sender->spare;

    if (sent)
        sender->spare = sent->next;
    else if ((sent = malloc(sizeof *sent)))
        sent->sender = sender;
    return sent;
}

static void give_back(struct sent *sent)
{
    sent->next = sent->sender->spare;
    sent->sender->spare = sent;
}

static void free_sender(struct store_snapshot_sender *sender)
{
    if (sender->timer)
        sender->replica->environment->loops->timer_destroy(sender->timer);
    if (sender->source)
        sender->replica->environment->engine->export_close(sender->source);
    if (sender->piece)
        give_back(sender->piece);
    while (sender->spare) {
        struct sent *sent = sender->spare;

        sender->spare = sent->next;
        free(sent);
    }
    free(sender);
}

static void end(struct store_snapshot_sender *sender, int32_t code)
{
    struct store_replica *replica = sender->replica;
    /* A receiver that has more than the snapshot already needs none. */
    int32_t ok = code == HF_OK || code == HF_EEXIST;

    if (ok)
        store_replica_log(replica, HF_LOG_INFO, "replica %llu has the snapshot up to %llu (%llu bytes)",
                          (unsigned long long)sender->target, (unsigned long long)sender->request.state.applied_index,
                          (unsigned long long)sender->sent);
    else
        store_replica_log(replica, HF_LOG_WARNING, "the snapshot for replica %llu was not delivered (error %d): %s",
                          (unsigned long long)sender->target, code,
                          sender->error.message[0] ? sender->error.message : "it will be tried again");
    if (!replica->failed && !replica->stopping)
        replica->environment->replication->snapshot_sent(replica->group, sender->target,
                                                         sender->request.state.applied_index, ok);
    unlink_sender(sender);
    free_sender(sender);
    if (!replica->failed)
        store_replica_run_soon(replica);
    store_replica_check_stopped(replica);
}

static void answered(void *arg, int32_t code, hf_slice response)
{
    struct sent *sent = arg;
    struct store_snapshot_sender *sender = sent->sender;

    (void)response;
    give_back(sent);
    sender->calls--;
    if (code != HF_OK && sender->call_code == HF_OK)
        sender->call_code = code;
    if (sender->phase == CALLING)
        go_on(sender);
}

static void call_with(struct store_snapshot_sender *sender, int32_t kind, struct sent *sent)
{
    const struct store_environment *environment = sender->replica->environment;
    hf_slice pieces[2];

    sender->phase = CALLING;
    sender->calls++;
    sender->request.kind = kind;
    pieces[0] = (hf_slice){sent->head, store_snapshot_write(sent->head, &sender->request)};
    pieces[1] = (hf_slice){sent->bytes, sent->size};
    environment->peers->call_bulk(environment->snapshots, store_replica_node(sender->target), pieces,
                                  kind == STORE_SNAPSHOT_DATA ? 2 : 1, CALL_TIMEOUT_US, answered, sent);
}

/* BEGIN or COMMIT. */
static void call(struct store_snapshot_sender *sender, int32_t kind)
{
    struct sent *sent = take(sender);

    if (sent)
        call_with(sender, kind, sent);
    else
        end(sender, HF_ENOMEM);
}

/* ---- Not too fast ------------------------------------------------------------------------------------------------ */

/* How long a piece of that size has to wait, behind all others of this node.  What was late may be made up for, a
 * little: timers are. */
static uint64_t wait_of(const struct store_environment *environment, uint64_t size)
{
    uint64_t now = environment->clock_us(), free_us = atomic_load(environment->snapshot_free_us), begin;

    if (!environment->snapshot_rate)
        return 0;
    do {
        begin = free_us + MADE_UP_US > now ? free_us : now;
    } while (!atomic_compare_exchange_weak(environment->snapshot_free_us, &free_us,
                                           begin + size * 1000000 / environment->snapshot_rate));
    return begin > now ? begin - now : 0;
}

static void send_piece(struct store_snapshot_sender *sender)
{
    struct sent *sent = sender->piece;

    sender->piece = NULL;
    call_with(sender, STORE_SNAPSHOT_DATA, sent);
    go_on(sender);
}

static void waited(void *arg)
{
    send_piece(arg);
}

static void call_in_time(struct store_snapshot_sender *sender)
{
    const struct store_environment *environment = sender->replica->environment;
    uint64_t wait_us = wait_of(environment, sender->piece->size);

    if (wait_us > 0 && !sender->timer &&
        environment->loops->timer_create(sender->replica->setup.loop, waited, sender, &sender->timer, NULL) != HF_OK)
        wait_us = 0;
    if (wait_us == 0) {
        send_piece(sender);
        return;
    }
    sender->phase = WAITING;
    environment->loops->timer_start(sender->timer, wait_us, 0);
}

static void read_piece(hf_job *job)
{
    struct store_snapshot_sender *sender = (struct store_snapshot_sender *)(void *)job;

    sender->code = sender->replica->environment->engine->export_read(sender->source, sender->piece->bytes, PIECE_SIZE,
                                                                     &sender->piece->size, &sender->error);
}

static void piece_read(hf_job *job)
{
    struct store_snapshot_sender *sender = (struct store_snapshot_sender *)(void *)job;

    sender->phase = CALLING;
    store_repair_engine(sender->replica, sender->code, &sender->error);
    if (sender->code == HF_OK) {
        sender->sent += sender->piece->size;
        sender->at_end = sender->piece->size == 0;
    }
    if (sender->code == HF_OK && sender->call_code == HF_OK && !sender->at_end && !sender->replica->stopping) {
        call_in_time(sender);
        return;
    }
    give_back(sender->piece);
    sender->piece = NULL;
    go_on(sender);
}

static void submit(struct store_snapshot_sender *sender, int32_t phase, void (*work)(hf_job *), void (*done)(hf_job *))
{
    const struct store_environment *environment = sender->replica->environment;
    int32_t result;

    sender->phase = phase;
    sender->job.loop = sender->replica->setup.loop;
    sender->job.work = work;
    sender->job.done = done;
    result = store_submit(environment, &sender->job, phase == READING, &sender->error);
    if (result == HF_OK)
        return;
    if (phase == EXPORTING)
        sender->replica->exclusive = 0;
    sender->phase = CALLING;
    sender->code = result;
    go_on(sender);
}

static void read_on(struct store_snapshot_sender *sender)
{
    if (!sender->piece) /* else it could not be read into before */
        sender->piece = take(sender);
    if (sender->piece)
        submit(sender, READING, read_piece, piece_read);
    else if (sender->calls == 0)
        end(sender, HF_ENOMEM);
    else
        sender->code = HF_ENOMEM; /* the last answer ends it */
}

/* There is no piece in hand: reads the next one, or ends when all that was sent is answered. */
static void go_on(struct store_snapshot_sender *sender)
{
    int32_t code = sender->code != HF_OK ? sender->code : sender->call_code;

    if (code == HF_OK && sender->replica->stopping)
        code = HF_ECLOSED;
    if (sender->calls > 0 && (code != HF_OK || sender->at_end || sender->calls == STORE_SNAPSHOT_PIECES_MAX))
        return; /* the next answer goes on */
    if (code != HF_OK || sender->committing) {
        end(sender, code);
    } else if (sender->at_end) {
        sender->committing = 1;
        call(sender, STORE_SNAPSHOT_COMMIT);
    } else {
        read_on(sender);
    }
}

static void export_job(hf_job *job)
{
    struct store_snapshot_sender *sender = (struct store_snapshot_sender *)(void *)job;

    sender->code =
        store_machine_export(sender->replica->machine, &sender->source, &sender->request.state, &sender->error);
}

static void exported(hf_job *job)
{
    struct store_snapshot_sender *sender = (struct store_snapshot_sender *)(void *)job;
    struct store_replica *replica = sender->replica;

    replica->exclusive = 0;
    store_repair_engine(replica, sender->code, &sender->error);
    if (sender->code != HF_OK || replica->stopping)
        end(sender, sender->code != HF_OK ? sender->code : HF_ECLOSED);
    else
        call(sender, STORE_SNAPSHOT_BEGIN); /* what comes after it needs its answer */
    if (!replica->failed)
        store_replica_run_soon(replica);
}

int32_t store_snapshot_send_claim(struct store_replica *replica)
{
    struct store_snapshot_sender *sender = replica->senders;

    while (sender && sender->phase != WANTED)
        sender = sender->next;
    if (!sender)
        return 0;
    replica->exclusive = 1;
    submit(sender, EXPORTING, export_job, exported);
    return replica->exclusive;
}

static void want(struct store_replica *replica, uint64_t target)
{
    struct store_snapshot_sender *sender;

    for (sender = replica->senders; sender; sender = sender->next)
        if (sender->target == target)
            return;
    sender = calloc(1, sizeof *sender);
    if (!sender) {
        replica->environment->replication->snapshot_sent(replica->group, target, replica->applied, 0);
        return;
    }
    sender->replica = replica;
    sender->target = target;
    sender->phase = WANTED;
    sender->request.partition = replica->setup.partition;
    sender->request.session = (replica->now_us << 8 | target) | 1;
    sender->next = replica->senders;
    replica->senders = sender;
}

void store_snapshots_send(struct store_replica *replica, const hf_replication_output *output)
{
    for (uint64_t i = 0; i < output->snapshot_wanted_count; i++)
        want(replica, output->snapshots_wanted[i]);
}

void store_snapshot_send_repair(struct store_replica *replica, uint64_t target)
{
    want(replica, target);
}

int32_t store_snapshot_send_busy(const struct store_replica *replica)
{
    return replica->senders != NULL;
}

/* Those that have not begun end now; the others when their job or call comes back. */
void store_snapshot_send_stop(struct store_replica *replica)
{
    struct store_snapshot_sender *next;

    for (struct store_snapshot_sender *sender = replica->senders; sender; sender = next) {
        next = sender->next;
        if (sender->phase == WANTED) {
            end(sender, HF_ECLOSED);
        } else if (sender->phase == WAITING) {
            replica->environment->loops->timer_stop(sender->timer);
            sender->phase = CALLING;
            go_on(sender);
        }
    }
}

void store_snapshot_send_free(struct store_replica *replica)
{
    while (replica->senders) {
        struct store_snapshot_sender *sender = replica->senders;
        replica->senders = sender->next;
        free_sender(sender);
    }
}
