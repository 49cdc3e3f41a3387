/* Records that have to go: those that have expired, and those whose keys a split gave to another partition.  The leader
 * looks for them and proposes to remove them, one command at a time.
 *
 * A job in the pool reads what is due; the command then goes the way of any write.  Whatever becomes of it, what is
 * still there is found again by the next search. */
#include "replica/private.h"

#include <holdfast/lib/error.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    COMMAND_MAX = 512 << 10, /* bytes: more than STORE_REMOVES_MAX of the longest keys */
    TIMEOUT_US = 10000000,
    RETRY_US = 1000000, /* after a failure */
    PAUSE_US = 100000   /* otherwise, so that what expires in a trickle shares entries of the log */
};

struct store_removal {
    hf_job job; /* first */
    struct store_replica *replica;
    int32_t busy; /* a job or a command is under way */
    uint64_t retry_us;
    int32_t strays;   /* 1: the search is for what was given away */
    uint64_t wall_us; /* of the search */
    int32_t code;     /* of the search */
    hf_error error;
    uint64_t count;
    uint64_t epoch;     /* of the shape that `from` was found in */
    uint64_t from_size; /* of the key behind the last stray that was removed; 0: the search begins anew */
    uint8_t from[STORE_KEY_MAX + 1];
    hf_buffer command;
    struct store_op op;
    struct store_work work;
};

/* ---- The command ------------------------------------------------------------------------------------------------- */

/* Goes on at once when there may be more. */
static void removed(struct store_work *work)
{
    struct store_removal *removal = (struct store_removal *)((char *)work - offsetof(struct store_removal, work));
    struct store_replica *replica = removal->replica;
    int done = work->op->code == HF_OK;
    int full = removal->count == (removal->strays ? (uint64_t)STORE_REMOVES_MAX : (uint64_t)STORE_EXPIRES_MAX);

    removal->busy = 0;
    removal->retry_us = replica->now_us + (done ? PAUSE_US : RETRY_US);
    if (!done)
        removal->from_size = 0;
    hf_buffer_done(&work->op->result);
    hf_buffer_done(&removal->command);
    if (done && full) {
        removal->retry_us = 0;
        store_removal_tick(replica);
    }
}

static void propose(struct store_removal *removal)
{
    struct store_replica *replica = removal->replica;

    removal->op = (struct store_op){.type = STORE_OP_WRITE,
                                    .partition = replica->setup.partition,
                                    .deadline_us = replica->now_us + TIMEOUT_US,
                                    .command = {removal->command.data, removal->command.size}};
    removal->work = (struct store_work){.op = &removal->op, .done = removed};
    store_replica_execute(replica, &removal->work);
}

/* ---- The search -------------------------------------------------------------------------------------------------- */

static int32_t encode(struct store_removal *removal, const struct store_operation *operations)
{
    const struct store_command command = {.operations = operations, .operation_count = removal->count};

    return store_command_encode(&removal->command, &command, &removal->error);
}

static int32_t encode_due(struct store_removal *removal, struct store_operation *operations, hf_arena *arena)
{
    int32_t r = store_machine_due(removal->replica->machine, removal->wall_us, arena, operations, STORE_EXPIRES_MAX,
                                  &removal->count, &removal->error);

    return r < 0 || removal->count == 0 ? r : encode(removal, operations);
}

/* Where the last search ended says nothing of what a later split gave away. */
static void begin_strays(struct store_removal *removal)
{
    struct store_shape shape;

    store_machine_shape(removal->replica->machine, &shape);
    if (shape.epoch != removal->epoch)
        removal->from_size = 0;
    removal->epoch = shape.epoch;
}

/* When there is nothing any more, the command says so. */
static int32_t encode_strays(struct store_removal *removal, struct store_operation *operations, hf_arena *arena)
{
    struct store_reshape trimmed = {.step = STORE_RESHAPE_TRIMMED};
    uint8_t bytes[STORE_RESHAPE_SIZE];

    begin_strays(removal);
    trimmed.index = removal->epoch;
    int32_t r = store_machine_strays(removal->replica->machine, (hf_slice){removal->from, removal->from_size}, arena,
                                     operations, STORE_REMOVES_MAX, &removal->count, &removal->error);

    if (r < 0)
        return r;
    if (removal->count > 0) {
        const hf_slice *last = &operations[removal->count - 1].key;

        memcpy(removal->from, last->data, last->size);
        removal->from[last->size] = 0;
        removal->from_size = last->size < STORE_KEY_MAX ? last->size + 1 : last->size;
        return encode(removal, operations);
    }
    removal->from_size = 0;
    store_reshape_encode(bytes, &trimmed);
    return hf_buffer_append(&removal->command, bytes, sizeof bytes);
}

/* [pool] */
static void search(hf_job *job)
{
    struct store_removal *removal = (struct store_removal *)(void *)job;
    static_assert((int)STORE_EXPIRES_MAX <= (int)STORE_REMOVES_MAX, "one list holds either");
    struct store_operation operations[STORE_REMOVES_MAX];
    hf_arena arena;

    hf_arena_init(&arena, COMMAND_MAX);
    hf_buffer_init(&removal->command, COMMAND_MAX);
    removal->code =
        removal->strays ? encode_strays(removal, operations, &arena) : encode_due(removal, operations, &arena);
    hf_arena_done(&arena);
}

static void searched(hf_job *job)
{
    struct store_removal *removal = (struct store_removal *)(void *)job;
    struct store_replica *replica = removal->replica;

    replica->jobs--;
    if (removal->code == HF_OK && removal->command.size > 0 && !replica->failed && !replica->stopping) {
        propose(removal);
        return;
    }
    if (removal->code != HF_OK)
        store_replica_log(replica, HF_LOG_WARNING, "records that have to go could not be found: %s",
                          removal->error.message);
    removal->busy = 0;
    removal->retry_us = removal->code == HF_OK ? 0 : replica->now_us + RETRY_US;
    hf_buffer_done(&removal->command);
    store_replica_check_stopped(replica);
}

static void start(struct store_replica *replica, int32_t strays, uint64_t wall_us)
{
    struct store_removal *removal = replica->removal;

    if (!removal)
        removal = replica->removal = calloc(1, sizeof *removal);
    if (!removal)
        return; /* the next round tries again */
    removal->replica = replica;
    removal->strays = strays;
    removal->wall_us = wall_us;
    removal->count = 0;
    removal->job.loop = replica->setup.loop;
    removal->job.work = search;
    removal->job.done = searched;
    if (replica->environment->loops->submit(replica->environment->host, &removal->job, NULL) != HF_OK)
        return; /* the pool is full */
    removal->busy = 1;
    replica->jobs++;
}

void store_removal_tick(struct store_replica *replica)
{
    const struct store_removal *removal = replica->removal;

    if (replica->role != HF_ROLE_LEADER || replica->failed || replica->stopping ||
        (removal && (removal->busy || removal->retry_us > replica->now_us)))
        return;
    uint64_t deadline_us = store_machine_next_deadline(replica->machine);
    struct store_shape shape;

    store_machine_shape(replica->machine, &shape);
    if (shape.state == STORE_SHAPE_CLOSED || (!shape.has_strays && deadline_us == UINT64_MAX))
        return; /* of a closed partition, the records are another's to remove */
    uint64_t wall_us = store_replica_time(replica);

    if (shape.has_strays || deadline_us <= wall_us)
        start(replica, shape.has_strays, wall_us);
}

void store_removal_free(struct store_replica *replica)
{
    if (replica->removal)
        hf_buffer_done(&replica->removal->command);
    free(replica->removal);
    replica->removal = NULL;
}
