/* While the partition is being split, every replica copies what is to go, piece by piece and with pauses, so that the
 * work on the partition goes on beside it. */
#include "replica/private.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>

enum {
    PIECE_BYTES = 1 << 20,
    SHARE = 3,              /* the pause is this many times as long as the piece took */
    LOOK_AGAIN_US = 100000, /* when everything was copied: what has changed since */
    RETRY_US = 1000000      /* after a failure */
};

struct store_fork_job {
    hf_job job; /* first */
    struct store_replica *replica;
    uint64_t begun_us;
    int32_t result;
    hf_error error;
};

/* [pool] */
static void copy(hf_job *job)
{
    struct store_fork_job *fork = (struct store_fork_job *)(void *)job;

    fork->result = store_machine_fork(fork->replica->machine, PIECE_BYTES, &fork->error);
}

static void copied(hf_job *job)
{
    struct store_fork_job *fork = (struct store_fork_job *)(void *)job;
    struct store_replica *replica = fork->replica;
    uint64_t now = replica->environment->clock_us();

    if (fork->result == 0)
        replica->fork_us = now + SHARE * (now - fork->begun_us);
    else
        replica->fork_us = now + (fork->result > 0 ? (uint64_t)LOOK_AGAIN_US : (uint64_t)RETRY_US);
    if (fork->result < 0 && fork->result != HF_EBUSY)
        store_replica_log(replica, HF_LOG_WARNING, "what a split takes away could not be copied: %s",
                          fork->error.message);
    replica->fork = NULL;
    replica->jobs--;
    free(fork);
    if (replica->fork_us <= replica->now_us + SHARE * 1000)
        store_fork_tick(replica);
    store_replica_check_stopped(replica);
}

void store_replica_look_at_shape(struct store_replica *replica)
{
    struct store_shape shape;

    store_machine_shape(replica->machine, &shape);
    if (shape.epoch == replica->epoch)
        return;
    replica->epoch = shape.epoch;
    replica->small_estimate = 0;
    atomic_store(&replica->published.is_oversize, 0);
    atomic_store(&replica->published.compact, 1);
    if (replica->setup.reshaped)
        replica->setup.reshaped(replica->setup.arg, replica);
}

void store_fork_tick(struct store_replica *replica)
{
    const struct store_environment *environment = replica->environment;
    struct store_shape shape;

    if (replica->fork || replica->failed || replica->stopping || replica->fork_us > environment->clock_us())
        return;
    store_machine_shape(replica->machine, &shape);
    if (!store_shape_splits(&shape))
        return;
    struct store_fork_job *fork = calloc(1, sizeof *fork);

    if (!fork)
        return; /* the next tick tries again */
    *fork = (struct store_fork_job){.job = {.loop = replica->setup.loop, .work = copy, .done = copied},
                                    .replica = replica,
                                    .begun_us = environment->clock_us()};
    if (environment->loops->submit_bulk(environment->host, &fork->job, NULL) != HF_OK) {
        free(fork); /* the pool is full */
        return;
    }
    replica->fork = fork;
    replica->jobs++;
}
