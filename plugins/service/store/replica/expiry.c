/* Records that have expired: the leader looks for what is due and proposes to remove it, one command at a time.
 *
 * A job in the pool reads what is due; the command then goes the way of any write.  Whatever becomes of it, the rows of
 * what is still there are found again by the next search. */
#include "replica/private.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>

enum {
    COMMAND_MAX = 256 << 10, /* bytes: more than STORE_EXPIRES_MAX of the longest keys */
    TIMEOUT_US = 10000000,
    RETRY_US = 1000000, /* after a failure */
    PAUSE_US = 100000   /* otherwise, so that what expires in a trickle shares entries of the log */
};

struct store_expiry {
    hf_job job; /* first */
    struct store_replica *replica;
    int32_t busy; /* a job or a command is under way */
    uint64_t retry_us;
    uint64_t wall_us; /* of the search */
    int32_t code;     /* of the search */
    hf_error error;
    uint64_t count;
    hf_buffer command;
    struct store_op op;
    struct store_work work;
};

/* ---- The command ------------------------------------------------------------------------------------------------- */

static void removed(struct store_work *work)
{
    struct store_expiry *expiry = (struct store_expiry *)((char *)work - offsetof(struct store_expiry, work));
    struct store_replica *replica = expiry->replica;

    expiry->busy = 0;
    expiry->retry_us = replica->now_us + (work->op->code == HF_OK ? PAUSE_US : RETRY_US);
    hf_buffer_done(&work->op->result);
    hf_buffer_done(&expiry->command);
    if (work->op->code == HF_OK && expiry->count == STORE_EXPIRES_MAX) { /* there may be more */
        expiry->retry_us = 0;
        store_expiry_tick(replica);
    }
}

static void propose(struct store_expiry *expiry)
{
    struct store_replica *replica = expiry->replica;

    expiry->op = (struct store_op){.type = STORE_OP_WRITE,
                                   .partition = replica->setup.partition,
                                   .deadline_us = replica->now_us + TIMEOUT_US,
                                   .command = {expiry->command.data, expiry->command.size}};
    expiry->work = (struct store_work){.op = &expiry->op, .done = removed};
    store_replica_execute(replica, &expiry->work);
}

/* ---- The search -------------------------------------------------------------------------------------------------- */

static int32_t encode_due(struct store_expiry *expiry, struct store_operation *operations, hf_arena *arena)
{
    struct store_command command = {.operations = operations};
    int32_t r = store_machine_due(expiry->replica->machine, expiry->wall_us, arena, operations, STORE_EXPIRES_MAX,
                                  &expiry->count, &expiry->error);

    if (r < 0 || expiry->count == 0)
        return r;
    command.operation_count = expiry->count;
    return store_command_encode(&expiry->command, &command, &expiry->error);
}

/* [pool] */
static void search(hf_job *job)
{
    struct store_expiry *expiry = (struct store_expiry *)(void *)job;
    struct store_operation operations[STORE_EXPIRES_MAX];
    hf_arena arena;

    hf_arena_init(&arena, COMMAND_MAX);
    hf_buffer_init(&expiry->command, COMMAND_MAX);
    expiry->code = encode_due(expiry, operations, &arena);
    hf_arena_done(&arena);
}

static void searched(hf_job *job)
{
    struct store_expiry *expiry = (struct store_expiry *)(void *)job;
    struct store_replica *replica = expiry->replica;

    replica->jobs--;
    if (expiry->code == HF_OK && expiry->count > 0 && !replica->failed && !replica->stopping) {
        propose(expiry);
        return;
    }
    if (expiry->code != HF_OK)
        store_replica_log(replica, HF_LOG_WARNING, "what has expired could not be found: %s", expiry->error.message);
    expiry->busy = 0;
    expiry->retry_us = expiry->code == HF_OK ? 0 : replica->now_us + RETRY_US;
    hf_buffer_done(&expiry->command);
    store_replica_check_stopped(replica);
}

static void start(struct store_replica *replica, uint64_t wall_us)
{
    struct store_expiry *expiry = replica->expiry;

    if (!expiry)
        expiry = replica->expiry = calloc(1, sizeof *expiry);
    if (!expiry)
        return; /* the next round tries again */
    expiry->replica = replica;
    expiry->wall_us = wall_us;
    expiry->count = 0;
    expiry->job.loop = replica->setup.loop;
    expiry->job.work = search;
    expiry->job.done = searched;
    if (replica->environment->loops->submit(replica->environment->host, &expiry->job, NULL) != HF_OK)
        return; /* the pool is full */
    expiry->busy = 1;
    replica->jobs++;
}

void store_expiry_tick(struct store_replica *replica)
{
    const struct store_expiry *expiry = replica->expiry;

    if (replica->role != HF_ROLE_LEADER || replica->failed || replica->stopping ||
        (expiry && (expiry->busy || expiry->retry_us > replica->now_us)))
        return;
    uint64_t deadline_us = store_machine_next_deadline(replica->machine);

    if (deadline_us == UINT64_MAX)
        return;
    uint64_t wall_us = store_replica_time(replica);

    if (deadline_us <= wall_us)
        start(replica, wall_us);
}

void store_expiry_free(struct store_replica *replica)
{
    if (replica->expiry)
        hf_buffer_done(&replica->expiry->command);
    free(replica->expiry);
    replica->expiry = NULL;
}
