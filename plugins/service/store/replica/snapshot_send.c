/* A follower needs what the log no longer has: the machine's state is streamed to it, piece by piece, and the group is
 * told how that went.  One piece is under way at a time, so a slow receiver slows only its own stream. */
#include "replica/private.h"
#include "replica/snapshot.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>

enum { PIECE_SIZE = 1 << 20, CALL_TIMEOUT_US = 60000000 };

/* WANTED waits for the state machine's turn, EXPORTING and READING are in the pool, WAITING has a piece and must not
 * send it yet, CALLING waits for the receiver. */
enum { WANTED, EXPORTING, READING, WAITING, CALLING };

struct store_snapshot_sender {
    hf_job job;
    struct store_snapshot_sender *next;
    struct store_replica *replica;
    uint64_t target; /* replica */
    int32_t phase;
    int32_t kind; /* of the request under way */
    int32_t code;
    hf_error error;
    struct store_snapshot_request request;
    hf_engine_export *source;
    uint8_t *buffer;
    uint64_t size;
    uint64_t sent; /* bytes in all */
    hf_timer *timer;
};

static void send_next(struct store_snapshot_sender *sender);
static void call(struct store_snapshot_sender *sender, int32_t kind);

static void unlink_sender(struct store_snapshot_sender *sender)
{
    struct store_snapshot_sender **link = &sender->replica->senders;

    while (*link != sender)
        link = &(*link)->next;
    *link = sender->next;
}

static void free_sender(struct store_snapshot_sender *sender)
{
    if (sender->timer)
        sender->replica->environment->loops->timer_destroy(sender->timer);
    if (sender->source)
        sender->replica->environment->engine->export_close(sender->source);
    free(sender->buffer);
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
    struct store_snapshot_sender *sender = arg;

    (void)response;
    if (code != HF_OK || sender->kind == STORE_SNAPSHOT_COMMIT || sender->replica->stopping)
        end(sender, code != HF_OK ? code : sender->kind == STORE_SNAPSHOT_COMMIT ? HF_OK : HF_ECLOSED);
    else
        send_next(sender);
}

static void call(struct store_snapshot_sender *sender, int32_t kind)
{
    const struct store_environment *environment = sender->replica->environment;
    uint8_t head[STORE_SNAPSHOT_BEGIN_MAX];
    hf_slice pieces[2];

    sender->phase = CALLING;
    sender->kind = sender->request.kind = kind;
    pieces[0] = (hf_slice){head, store_snapshot_write(head, &sender->request)};
    pieces[1] = (hf_slice){sender->buffer, sender->size};
    environment->peers->call(environment->snapshots, store_replica_node(sender->target), pieces,
                             kind == STORE_SNAPSHOT_DATA ? 2 : 1, CALL_TIMEOUT_US, answered, sender);
}

/* ---- Not too fast ------------------------------------------------------------------------------------------------ */

/* How long a piece of that size has to wait, behind all others of this node. */
static uint64_t wait_of(const struct store_environment *environment, uint64_t size)
{
    uint64_t now = environment->clock_us(), free_us = atomic_load(environment->snapshot_free_us), begin;

    if (!environment->snapshot_rate)
        return 0;
    do {
        begin = free_us > now ? free_us : now;
    } while (!atomic_compare_exchange_weak(environment->snapshot_free_us, &free_us,
                                           begin + size * 1000000 / environment->snapshot_rate));
    return begin - now;
}

static void waited(void *arg)
{
    call(arg, STORE_SNAPSHOT_DATA);
}

static void call_in_time(struct store_snapshot_sender *sender)
{
    const struct store_environment *environment = sender->replica->environment;
    uint64_t wait_us = wait_of(environment, sender->size);

    if (wait_us > 0 && !sender->timer &&
        environment->loops->timer_create(sender->replica->setup.loop, waited, sender, &sender->timer, NULL) != HF_OK)
        wait_us = 0;
    if (wait_us == 0) {
        call(sender, STORE_SNAPSHOT_DATA);
        return;
    }
    sender->phase = WAITING;
    environment->loops->timer_start(sender->timer, wait_us, 0);
}

static void read_piece(hf_job *job)
{
    struct store_snapshot_sender *sender = (struct store_snapshot_sender *)(void *)job;

    sender->code = sender->replica->environment->engine->export_read(sender->source, sender->buffer, PIECE_SIZE,
                                                                     &sender->size, &sender->error);
}

static void piece_read(hf_job *job)
{
    struct store_snapshot_sender *sender = (struct store_snapshot_sender *)(void *)job;

    store_repair_engine(sender->replica, sender->code, &sender->error);
    sender->sent += sender->size;
    if (sender->code != HF_OK || sender->replica->stopping)
        end(sender, sender->code != HF_OK ? sender->code : HF_ECLOSED);
    else if (sender->size)
        call_in_time(sender);
    else
        call(sender, STORE_SNAPSHOT_COMMIT);
}

static void submit(struct store_snapshot_sender *sender, int32_t phase, void (*work)(hf_job *), void (*done)(hf_job *))
{
    const struct store_environment *environment = sender->replica->environment;
    int32_t result;

    sender->phase = phase;
    sender->job.loop = sender->replica->setup.loop;
    sender->job.work = work;
    sender->job.done = done;
    result = environment->loops->submit(environment->host, &sender->job, &sender->error);
    if (result == HF_OK)
        return;
    if (phase == EXPORTING)
        sender->replica->exclusive = 0;
    end(sender, result);
}

static void send_next(struct store_snapshot_sender *sender)
{
    submit(sender, READING, read_piece, piece_read);
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
        call(sender, STORE_SNAPSHOT_BEGIN);
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
    if (sender)
        sender->buffer = malloc(PIECE_SIZE);
    if (!sender || !sender->buffer) {
        free(sender);
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
        if (sender->phase == WANTED || sender->phase == WAITING)
            end(sender, HF_ECLOSED);
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
