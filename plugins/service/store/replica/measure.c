/* Whether a partition has outgrown what one should have.  An engine's word is about what a space takes, which for a
 * while includes what was removed; so when that is too much, the records are counted. */
#include "replica/private.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>

enum { EVERY_US = 1000000, GROWN = 8 /* counted again when the engine's word has grown by this part */ };

struct store_measure {
    hf_job job; /* first */
    struct store_replica *replica;
    uint64_t most, estimate;
    int32_t is_more;
    int32_t code;
    hf_error error;
};

/* [pool] */
static void count(hf_job *job)
{
    struct store_measure *measure = (struct store_measure *)(void *)job;

    uint64_t bytes = 0;

    measure->code = store_machine_count(measure->replica->machine, measure->most, &bytes, &measure->error);
    measure->is_more = bytes > measure->most;
}

static void counted(hf_job *job)
{
    struct store_measure *measure = (struct store_measure *)(void *)job;
    struct store_replica *replica = measure->replica;

    if (measure->code != HF_OK)
        store_replica_log(replica, HF_LOG_WARNING, "the records could not be counted: %s", measure->error.message);
    replica->small_estimate = measure->is_more ? 0 : measure->estimate;
    atomic_store(&replica->published.is_oversize, measure->code == HF_OK && measure->is_more);
    replica->is_measured = 0;
    replica->jobs--;
    free(measure);
    store_replica_check_stopped(replica);
}

static void start(struct store_replica *replica, uint64_t most, uint64_t estimate)
{
    const struct store_environment *environment = replica->environment;
    struct store_measure *measure = calloc(1, sizeof *measure);

    if (!measure)
        return; /* the next look tries again */
    *measure = (struct store_measure){.job = {.loop = replica->setup.loop, .work = count, .done = counted},
                                      .replica = replica,
                                      .most = most,
                                      .estimate = estimate};
    if (environment->loops->submit_bulk(environment->host, &measure->job, NULL) != HF_OK) {
        free(measure);
        return;
    }
    replica->is_measured = 1;
    replica->jobs++;
}

/* Where nothing was written since, nothing has grown. */
void store_measure_tick(struct store_replica *replica)
{
    const struct store_environment *environment = replica->environment;
    uint64_t most = atomic_load_explicit(environment->partition_max_size, memory_order_relaxed);

    if (replica->measure_us > replica->now_us || replica->is_measured)
        return;
    replica->measure_us = replica->now_us + EVERY_US;
    if (replica->role != HF_ROLE_LEADER || !most || replica->applied == replica->measured_applied)
        return;
    uint64_t estimate = environment->engine->space_size(environment->database, replica->setup.partition);

    replica->measured_applied = replica->applied;
    if (estimate > most && estimate > replica->small_estimate + replica->small_estimate / GROWN)
        start(replica, most, estimate);
    else if (estimate <= most)
        atomic_store(&replica->published.is_oversize, 0);
}
