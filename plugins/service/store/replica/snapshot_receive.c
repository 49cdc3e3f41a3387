/* A snapshot arrives: its pieces go into an import beside the present state, one after the other, which they replace in
 * one step; then the log begins anew behind it.  A crash in between leaves the engine ahead of the log, which opening
 * puts right. */
#include "replica/private.h"
#include "replica/snapshot.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>
#include <string.h>

enum { SILENCE_US = 120000000 };

/* IDLE waits for the sender; IMPORTING and COMMITTING are in the pool; CLAIMING waits for the state machine's turn;
 * STORING waits for the log. */
enum { IDLE, IMPORTING, CLAIMING, COMMITTING, STORING };

struct store_snapshot_receiver {
    hf_job job;
    struct store_replica *replica;
    int32_t phase;
    int32_t code;
    hf_error error;
    struct store_snapshot_request begin;
    hf_peer_request *request; /* BEGIN or COMMIT that is to be answered */
    hf_engine_import *target;
    struct store_snapshot_arrived *pieces, **pieces_end; /* DATA to be imported; the first one is, while IMPORTING */
    uint32_t piece_count;
    uint64_t heard_us;
};

static void respond(struct store_replica *replica, hf_peer_request *request, int32_t code)
{
    replica->environment->peers->respond(request, code, (hf_slice){NULL, 0});
}

static void free_receiver(struct store_snapshot_receiver *receiver)
{
    if (receiver->target)
        receiver->replica->environment->engine->import_close(receiver->target);
    while (receiver->pieces) {
        struct store_snapshot_arrived *piece = receiver->pieces;

        receiver->pieces = piece->next;
        free(piece);
    }
    free(receiver);
}

/* Answers and forgets. */
static void end(struct store_snapshot_receiver *receiver, int32_t code)
{
    struct store_replica *replica = receiver->replica;

    if (receiver->request)
        respond(replica, receiver->request, code);
    for (const struct store_snapshot_arrived *piece = receiver->pieces; piece; piece = piece->next)
        respond(replica, piece->peer, code);
    if (code != HF_OK)
        store_replica_log(replica, HF_LOG_WARNING, "a snapshot up to %llu was not installed (error %d): %s",
                          (unsigned long long)receiver->begin.state.applied_index, code,
                          receiver->error.message[0] ? receiver->error.message : "the sender has gone");
    replica->receiver = NULL;
    replica->installing = 0;
    free_receiver(receiver);
    store_repair_received(replica, code);
    store_replica_check_stopped(replica);
}

/* ---- Pieces ------------------------------------------------------------------------------------------------------ */

static void import_job(hf_job *job)
{
    struct store_snapshot_receiver *receiver = (struct store_snapshot_receiver *)(void *)job;
    const struct store_environment *environment = receiver->replica->environment;
    const struct store_snapshot_arrived *piece = receiver->pieces;

    if (piece)
        receiver->code = environment->engine->import_write(receiver->target, piece->request.bytes, &receiver->error);
    else
        receiver->code = environment->engine->import_open(environment->database, receiver->begin.partition,
                                                          &receiver->target, &receiver->error);
}

static void submit(struct store_snapshot_receiver *receiver, int32_t phase, void (*work)(hf_job *),
                   void (*done)(hf_job *));

static void answer_imported(struct store_snapshot_receiver *receiver)
{
    struct store_snapshot_arrived *piece = receiver->pieces;

    if (!piece) {
        respond(receiver->replica, receiver->request, HF_OK);
        receiver->request = NULL;
        return;
    }
    respond(receiver->replica, piece->peer, HF_OK);
    receiver->pieces = piece->next;
    receiver->piece_count--;
    free(piece);
}

static void imported(hf_job *job)
{
    struct store_snapshot_receiver *receiver = (struct store_snapshot_receiver *)(void *)job;
    struct store_replica *replica = receiver->replica;

    receiver->phase = IDLE;
    if (receiver->code != HF_OK || replica->stopping || replica->failed) {
        end(receiver, receiver->code != HF_OK ? receiver->code : HF_ECLOSED);
        return;
    }
    answer_imported(receiver);
    if (receiver->pieces)
        submit(receiver, IMPORTING, import_job, imported);
}

static void submit(struct store_snapshot_receiver *receiver, int32_t phase, void (*work)(hf_job *),
                   void (*done)(hf_job *))
{
    const struct store_environment *environment = receiver->replica->environment;
    int32_t result;

    receiver->phase = phase;
    receiver->job.loop = receiver->replica->setup.loop;
    receiver->job.work = work;
    receiver->job.done = done;
    result = store_submit(environment, &receiver->job, phase == IMPORTING, &receiver->error);
    if (result == HF_OK)
        return;
    if (phase == COMMITTING)
        receiver->replica->exclusive = 0;
    end(receiver, result);
}

/* ---- Installing ----------------------------------------------------------------------------------------------- */

static void commit_job(hf_job *job)
{
    struct store_snapshot_receiver *receiver = (struct store_snapshot_receiver *)(void *)job;

    receiver->code = receiver->replica->environment->engine->import_commit(receiver->target, &receiver->error);
    if (receiver->code == HF_OK)
        receiver->code = store_machine_reload(receiver->replica->machine, &receiver->error);
}

/* Whether the log goes on from the snapshot's position. */
static int position_in_log(const struct store_replica *replica, const struct store_machine_state *state)
{
    uint64_t term = 0;

    return replica->environment->replication->term_at(replica->group, state->applied_index, &term) == HF_OK &&
           term == state->applied_term;
}

/* Everything was replaced at a position that the log has: only what is applied may have grown. */
static void restored(struct store_snapshot_receiver *receiver)
{
    struct store_replica *replica = receiver->replica;
    const struct store_machine_state *state = &receiver->begin.state;

    replica->exclusive = 0;
    store_works_settle(replica, state->applied_index, state->applied_term, NULL, 0);
    replica->applied = state->applied_index;
    atomic_store(&replica->published.applied, replica->applied);
    replica->environment->replication->applied(replica->group, replica->applied);
    store_works_applied(replica);
    store_replica_look_at_shape(replica);
    if (replica->setup.changed)
        replica->setup.changed(replica->setup.arg, replica);
    if (!replica->failed)
        store_replica_run_soon(replica);
    end(receiver, HF_OK);
}

static void committed(hf_job *job)
{
    struct store_snapshot_receiver *receiver = (struct store_snapshot_receiver *)(void *)job;
    struct store_replica *replica = receiver->replica;
    const struct store_machine_state *state = &receiver->begin.state;
    struct store_storage *storage = NULL;
    uint64_t place = 0;

    if (receiver->code == HF_OK && state->applied_index <= replica->commit) {
        restored(receiver);
        return;
    }
    if (receiver->code == HF_OK)
        storage = store_storage_create(replica, position_in_log(replica, state) ? 1 : 2);
    if (!storage) {
        replica->exclusive = 0;
        store_replica_fail(replica, "installing a snapshot", &receiver->error);
        end(receiver, receiver->code != HF_OK ? receiver->code : HF_ENOMEM);
        return;
    }
    if (storage->count == 2)
        storage->records[place++] = (struct store_log_record){
            .type = STORE_LOG_TRUNCATE, .group = replica->setup.partition, .index = replica->compacted + 1};
    storage->records[place] = (struct store_log_record){.type = STORE_LOG_COMPACT,
                                                        .group = replica->setup.partition,
                                                        .index = state->applied_index + 1,
                                                        .snapshot_index = state->applied_index,
                                                        .term = state->applied_term};
    storage->installed = 1;
    receiver->phase = STORING;
    store_storage_submit(storage);
}

/* Engine and log have the snapshot: the group goes on from there. */
void store_snapshot_stored(struct store_replica *replica)
{
    struct store_snapshot_receiver *receiver = replica->receiver;
    const struct store_machine_state *state = &receiver->begin.state;
    hf_error error = {0};
    int in_log = position_in_log(replica, state);

    replica->exclusive = 0;
    store_works_settle(replica, state->applied_index, state->applied_term, NULL, 0); /* a snapshot tells no outcomes */
    if (!in_log || store_entries_next(&replica->entries) <= state->applied_index)
        store_entries_restart(&replica->entries, state->applied_index + 1);
    replica->applied = state->applied_index;
    if (replica->commit < replica->applied)
        replica->commit = replica->applied;
    replica->compacted = state->applied_index;
    atomic_store(&replica->published.applied, replica->applied);
    if (replica->environment->replication->snapshot_installed(replica->group, state->applied_index, state->applied_term,
                                                              state->members, state->member_count, &error) != HF_OK)
        store_replica_fail(replica, "going on from a snapshot", &error);
    else
        store_replica_log(replica, HF_LOG_INFO, "a snapshot up to %llu was installed",
                          (unsigned long long)state->applied_index);
    store_works_applied(replica);
    store_replica_look_at_shape(replica);
    if (replica->setup.changed)
        replica->setup.changed(replica->setup.arg, replica);
    end(receiver, replica->failed ? HF_EIO : HF_OK);
}

/* A replica that is to be repaired also takes what it has applied itself, from another one's hands. */
static int is_of_use(const struct store_replica *replica, const struct store_machine_state *state)
{
    if (state->applied_index > replica->commit)
        return replica->role != HF_ROLE_LEADER;
    if (store_repair_holds(replica))
        return state->applied_index >= replica->applied && position_in_log(replica, state);
    return state->applied_index > replica->applied;
}

int32_t store_snapshot_receive_claim(struct store_replica *replica)
{
    struct store_snapshot_receiver *receiver = replica->receiver;

    if (!receiver || receiver->phase != CLAIMING)
        return 0;
    if (!is_of_use(replica, &receiver->begin.state)) { /* the log was faster */
        end(receiver, HF_EEXIST);
        return 0;
    }
    replica->exclusive = 1;
    replica->installing = 1;
    submit(receiver, COMMITTING, commit_job, committed);
    return replica->exclusive;
}

/* ---- Requests ------------------------------------------------------------------------------------------------- */

static int32_t begin(struct store_replica *replica, const struct store_snapshot_arrived *arrived)
{
    struct store_snapshot_receiver *receiver = replica->receiver;

    if (!is_of_use(replica, &arrived->request.state))
        return HF_EEXIST;
    if (receiver && receiver->phase != IDLE)
        return HF_EBUSY;
    if (receiver) /* its sender began again, or another one leads now */
        end(receiver, HF_ECLOSED);
    receiver = calloc(1, sizeof *receiver);
    if (!receiver)
        return HF_ENOMEM;
    receiver->replica = replica;
    receiver->begin = arrived->request;
    receiver->request = arrived->peer;
    receiver->heard_us = replica->now_us;
    replica->receiver = receiver;
    submit(receiver, IMPORTING, import_job, imported);
    return HF_OK;
}

/* Takes it over. */
static void add_piece(struct store_snapshot_receiver *receiver, struct store_snapshot_arrived *piece)
{
    if (receiver->pieces)
        *receiver->pieces_end = piece;
    else
        receiver->pieces = piece;
    receiver->pieces_end = &piece->next;
    receiver->piece_count++;
    if (receiver->phase == IDLE)
        submit(receiver, IMPORTING, import_job, imported);
}

/* Takes over a piece: *arrived becomes NULL. */
static int32_t go_on(struct store_replica *replica, struct store_snapshot_arrived **arrived)
{
    struct store_snapshot_receiver *receiver = replica->receiver;
    const struct store_snapshot_request *request = &(*arrived)->request;

    if (!receiver || receiver->begin.session != request->session)
        return HF_ENOTFOUND;
    if (receiver->phase != IDLE && (receiver->phase != IMPORTING || request->kind == STORE_SNAPSHOT_COMMIT ||
                                    receiver->piece_count == STORE_SNAPSHOT_PIECES_MAX || receiver->request))
        return HF_EBUSY;
    receiver->heard_us = replica->now_us;
    if (request->kind == STORE_SNAPSHOT_DATA) {
        struct store_snapshot_arrived *piece = *arrived;

        *arrived = NULL;
        add_piece(receiver, piece);
        return HF_OK;
    }
    receiver->request = (*arrived)->peer;
    receiver->phase = CLAIMING;
    store_replica_run_soon(replica);
    return HF_OK;
}

void store_replica_snapshot_request(struct store_replica *replica, struct store_snapshot_arrived *arrived)
{
    const struct store_snapshot_request *request = &arrived->request;
    hf_peer_request *peer = arrived->peer;
    int32_t code, answered_now = 1;

    if (replica->failed || replica->stopping) {
        code = HF_ECLOSED;
    } else if (request->kind == STORE_SNAPSHOT_WANT) {
        code = store_replica_node(request->session) == arrived->node ? store_repair_asked(replica, request->session)
                                                                     : HF_EINVAL;
    } else {
        code = request->kind == STORE_SNAPSHOT_BEGIN ? begin(replica, arrived) : go_on(replica, &arrived);
        answered_now = code != HF_OK;
    }
    if (answered_now)
        respond(replica, peer, code);
    free(arrived);
}

void store_snapshot_receive_tick(struct store_replica *replica)
{
    struct store_snapshot_receiver *receiver = replica->receiver;

    if (receiver && receiver->phase == IDLE && replica->now_us - receiver->heard_us > SILENCE_US)
        end(receiver, HF_ETIMEOUT);
}

int32_t store_snapshot_receive_busy(const struct store_replica *replica)
{
    return replica->receiver != NULL;
}

void store_snapshot_receive_stop(struct store_replica *replica)
{
    struct store_snapshot_receiver *receiver = replica->receiver;

    if (receiver && (receiver->phase == IDLE || receiver->phase == CLAIMING))
        end(receiver, HF_ECLOSED);
}

void store_snapshot_receive_free(struct store_replica *replica)
{
    if (replica->receiver)
        free_receiver(replica->receiver);
    replica->receiver = NULL;
}
