/* A replica is looked through: a view is taken between two applies, and read in the pool, a piece at a time, with
 * pauses in between that all checks of the node share.  See check.h. */
#include "replica/check.h"

#include "replica/private.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>

enum { PIECE_SIZE = 256 << 10, PATIENCE_US = 3000000 };

/* WANTED waits for the state machine's turn, OPENING and READING are in the pool, WAITING must not read on yet. */
enum { WANTED, OPENING, READING, WAITING };

struct store_check {
    hf_job job;
    struct store_replica *replica;
    int32_t phase;
    int32_t more;
    int32_t code;
    hf_error error;
    uint64_t index; /* 0: any */
    uint64_t until_us;
    struct store_inspection *inspection;
    hf_timer *timer;
    store_check_done done;
    void *arg;
};

static void free_check(struct store_check *check)
{
    if (check->timer)
        check->replica->environment->loops->timer_destroy(check->timer);
    store_inspection_free(check->inspection);
    free(check);
}

static struct store_findings conclude(const struct store_check *check, int32_t code)
{
    const struct store_inspection *inspection = check->inspection;
    struct store_findings findings = {.code = code, .engine = code == HF_ECORRUPT, .error = check->error};

    if (!inspection)
        return findings;
    findings.index = inspection->state.applied_index;
    findings.rows = inspection->rows;
    findings.bytes = inspection->bytes;
    findings.damaged = inspection->damaged;
    findings.tree = code == HF_OK ? &inspection->tree : NULL;
    if (code == HF_OK && inspection->damaged) {
        findings.code = HF_ECORRUPT;
        findings.error = inspection->first;
    }
    return findings;
}

static void end(struct store_check *check, int32_t code)
{
    struct store_replica *replica = check->replica;
    struct store_findings findings = conclude(check, code);

    replica->check = NULL;
    store_repair_found(replica, &findings);
    if (check->done)
        check->done(check->arg, replica, &findings);
    free_check(check);
    store_replica_check_stopped(replica);
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

static void read_on(struct store_check *check);

static void submit(struct store_check *check, int32_t phase, void (*work)(hf_job *), void (*done)(hf_job *))
{
    const struct store_environment *environment = check->replica->environment;
    int32_t result;

    check->phase = phase;
    check->job.loop = check->replica->setup.loop;
    check->job.work = work;
    check->job.done = done;
    result = store_submit(environment, &check->job, phase == READING, &check->error);
    if (result == HF_OK)
        return;
    if (phase == OPENING)
        check->replica->exclusive = 0;
    end(check, result);
}

static void waited(void *arg)
{
    read_on(arg);
}

/* Behind all others of this node. */
static uint64_t wait_of(const struct store_environment *environment)
{
    uint64_t now = environment->clock_us(), free_us = atomic_load(environment->scrub_free_us), begin;

    if (!environment->scrub_rate)
        return 0;
    do {
        begin = free_us > now ? free_us : now;
    } while (!atomic_compare_exchange_weak(environment->scrub_free_us, &free_us,
                                           begin + UINT64_C(1000000) * PIECE_SIZE / environment->scrub_rate));
    return begin - now;
}

static void go_on(struct store_check *check)
{
    const struct store_environment *environment = check->replica->environment;
    uint64_t wait_us = wait_of(environment);

    if (wait_us > 0 && !check->timer &&
        environment->loops->timer_create(check->replica->setup.loop, waited, check, &check->timer, NULL) != HF_OK)
        wait_us = 0;
    if (wait_us == 0) {
        read_on(check);
        return;
    }
    check->phase = WAITING;
    environment->loops->timer_start(check->timer, wait_us, 0);
}

static void read_job(hf_job *job)
{
    struct store_check *check = (struct store_check *)(void *)job;

    check->code = store_inspection_go_on(check->inspection, PIECE_SIZE, &check->more, &check->error);
    if (check->code != HF_OK || !check->more)
        store_inspection_close(check->inspection);
}

static void read_done(hf_job *job)
{
    struct store_check *check = (struct store_check *)(void *)job;
    const struct store_replica *replica = check->replica;

    if (replica->stopping || replica->failed)
        end(check, HF_ECLOSED);
    else if (check->code != HF_OK || !check->more)
        end(check, check->code);
    else
        go_on(check);
}

static void read_on(struct store_check *check)
{
    submit(check, READING, read_job, read_done);
}

/* ---- Beginning --------------------------------------------------------------------------------------------------- */

static void open_job(hf_job *job)
{
    struct store_check *check = (struct store_check *)(void *)job;

    check->code = store_inspection_begin(check->replica->machine, &check->inspection, &check->error);
}

static void opened(hf_job *job)
{
    struct store_check *check = (struct store_check *)(void *)job;
    struct store_replica *replica = check->replica;

    replica->exclusive = 0;
    if (replica->stopping || replica->failed)
        end(check, HF_ECLOSED);
    else if (check->code != HF_OK)
        end(check, check->code);
    else
        go_on(check);
    if (!replica->failed)
        store_replica_run_soon(replica);
}

int32_t store_check_claim(struct store_replica *replica)
{
    struct store_check *check = replica->check;

    if (!check || check->phase != WANTED || (check->index && check->index > replica->applied))
        return 0;
    if (check->index && check->index < replica->applied) {
        end(check, HF_EEXIST);
        return 0;
    }
    replica->exclusive = 1;
    submit(check, OPENING, open_job, opened);
    return replica->exclusive;
}

uint64_t store_check_limit(const struct store_replica *replica)
{
    const struct store_check *check = replica->check;

    return check && check->phase == WANTED && check->index ? check->index : UINT64_MAX;
}

int32_t store_replica_check(struct store_replica *replica, uint64_t index, store_check_done done, void *arg,
                            hf_error *error)
{
    struct store_check *check;

    if (replica->check)
        return hf_error_set(error, HF_EBUSY, "the replica is being looked through already");
    if (replica->failed || replica->stopping)
        return hf_error_set(error, HF_ECLOSED, "the replica does not take part any more");
    check = calloc(1, sizeof *check);
    if (!check)
        return hf_error_set(error, HF_ENOMEM, "no memory to look through a replica");
    check->replica = replica;
    check->index = index;
    check->until_us = replica->now_us + PATIENCE_US;
    check->done = done;
    check->arg = arg;
    replica->check = check;
    store_replica_run_soon(replica);
    return HF_OK;
}

/* ---- Time and end ------------------------------------------------------------------------------------------------ */

void store_check_tick(struct store_replica *replica)
{
    struct store_check *check = replica->check;

    if (check && check->phase == WANTED && check->index && check->until_us < replica->now_us)
        end(check, HF_ETIMEOUT);
}

int32_t store_check_busy(const struct store_replica *replica)
{
    return replica->check != NULL;
}

/* What has begun ends when its job comes back. */
void store_check_stop(struct store_replica *replica)
{
    struct store_check *check = replica->check;

    if (check && (check->phase == WANTED || check->phase == WAITING))
        end(check, HF_ECLOSED);
}

void store_check_free(struct store_replica *replica)
{
    if (replica->check)
        free_check(replica->check);
    replica->check = NULL;
}
