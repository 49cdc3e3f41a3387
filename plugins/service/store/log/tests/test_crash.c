/* Pulls the plug at any moment, also during recovery: afterwards the log holds what some prefix of the records makes
 * that were submitted, and the prefix has everything that was acknowledged.  Any sectors of an unflushed write may be
 * lost and any others kept. */
#include "kit.h"
#include "model.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { LIVES = 5, REQUESTS_MAX = 300, RECORDS_MAX = 8 };

struct life;

struct life_request {
    struct store_log_request request;
    struct life *life;
    struct store_log_record records[RECORDS_MAX];
    uint8_t *payloads[RECORDS_MAX];
};

/* What was submitted from one opening to the crash. */
struct life {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct model_record *records;
    uint64_t submitted, acknowledged; /* records */
    uint64_t requests, completed;
    int out_of_order;
    struct life_request request[REQUESTS_MAX];
};

struct run {
    struct kit kit;
    hf_random random;
    struct model model; /* what was there when the life began */
    struct model plan;  /* with all that was submitted */
    struct life life;
    uint64_t serial;
    uint64_t cuts, freed;
};

static void on_done(struct store_log_request *request, int32_t code, void *argument)
{
    struct life_request *r = argument;
    struct life *life = r->life;

    pthread_mutex_lock(&life->lock);
    if (code == 0 && r != &life->request[life->completed])
        life->out_of_order = 1;
    life->completed++;
    if (code == 0)
        life->acknowledged += request->count;
    pthread_cond_signal(&life->changed);
    pthread_mutex_unlock(&life->lock);
}

static void make_record(struct run *run, struct life_request *r, uint64_t i)
{
    struct life *life = &run->life;
    struct model_record m = model_next(&run->plan, &run->random, ++run->serial);

    model_apply(&run->plan, &m);
    life->records[life->submitted + i] = m;
    r->records[i] = m.record;
    if (m.record.type != STORE_LOG_ENTRY)
        return;
    r->payloads[i] = malloc(m.record.payload.size + 1);
    assert(r->payloads[i]);
    model_payload(m.serial, r->payloads[i], m.record.payload.size);
    r->records[i].payload.data = r->payloads[i];
}

/* 0 when the log has failed. */
static int submit_one(struct run *run)
{
    struct life *life = &run->life;
    struct life_request *r = &life->request[life->requests];
    hf_error error = {0};

    r->life = life;
    r->request = (struct store_log_request){
        .records = r->records, .count = 1 + hf_random_below(&run->random, RECORDS_MAX), .done = on_done, .argument = r};
    for (uint64_t i = 0; i < r->request.count; i++)
        make_record(run, r, i);
    life->requests++;
    int32_t code = store_log_submit(run->kit.log, &r->request, &error);

    if (code == 0) {
        life->submitted += r->request.count;
        return 1;
    }
    if (code != HF_EIO)
        fail_msg("refused: %s", error.message);
    return 0;
}

static void wait_for(struct life *life, uint64_t requests)
{
    pthread_mutex_lock(&life->lock);
    while (life->completed < requests)
        pthread_cond_wait(&life->changed, &life->lock);
    pthread_mutex_unlock(&life->lock);
}

static void live(struct run *run)
{
    struct life *life = &run->life;

    memset(life->request, 0, sizeof life->request);
    life->submitted = life->acknowledged = life->requests = life->completed = 0;
    run->plan = run->model;
    while (life->requests < REQUESTS_MAX && submit_one(run))
        if (!hf_random_below(&run->random, 4))
            wait_for(life, life->requests);

    struct store_log_metrics metrics;

    store_log_metrics(run->kit.log, &metrics);
    run->freed += metrics.freed;
    kit_close(&run->kit);
    assert_false(life->out_of_order);
    for (uint64_t i = 0; i < life->requests; i++)
        for (int k = 0; k < RECORDS_MAX; k++)
            free(life->request[i].payloads[k]);
}

/* Opens; at times the power goes meanwhile. */
static void come_back(struct run *run)
{
    hf_error error = {0};

    disk_crash(run->kit.disk);
    for (int i = 0; i < 3 && hf_random_below(&run->random, 2); i++) {
        run->kit.disk->stops_after = 1 + hf_random_below(&run->random, 8);
        if (kit_try_open(&run->kit, &error) < 0)
            assert_int_equal(error.code, HF_EIO);
        else
            kit_close(&run->kit);
        assert_int_equal(run->kit.damage_count, 0);
        run->cuts += run->kit.cut_bytes > 0;
        disk_crash(run->kit.disk);
    }
    kit_open(&run->kit);
    assert_int_equal(run->kit.damage_count, 0);
    run->cuts += run->kit.cut_bytes > 0;
}

/* Finds the prefix; the model goes on from there. */
static void check(struct run *run, uint64_t seed)
{
    struct life *life = &run->life;
    uint64_t i = 0;

    for (; i < life->acknowledged; i++)
        model_apply(&run->model, &life->records[i]);
    while (!model_matches(&run->model, run->kit.log)) {
        if (i == life->submitted)
            fail_msg("seed %llu: %llu records were acknowledged and %llu submitted, and the log holds neither",
                     (unsigned long long)seed, (unsigned long long)life->acknowledged,
                     (unsigned long long)life->submitted);
        model_apply(&run->model, &life->records[i++]);
    }
}

/* The process dies and the power does not: what is then found must stay when the power goes too. */
static void die_then_crash(struct run *run, uint64_t seed)
{
    disk_heal(run->kit.disk);
    kit_open(&run->kit);
    assert_int_equal(run->kit.damage_count, 0);
    check(run, seed);
    kit_close(&run->kit);
    disk_crash(run->kit.disk);
    kit_open(&run->kit);
    assert_int_equal(run->kit.damage_count, 0);
    if (!model_matches(&run->model, run->kit.log))
        fail_msg("seed %llu: the log showed records that it had not made durable", (unsigned long long)seed);
}

static void run_seed(struct run *run, uint64_t seed)
{
    memset(&run->model, 0, sizeof run->model);
    hf_random_init(&run->random, seed);
    kit_init(&run->kit, seed);
    run->kit.options.segment_size = hf_random_below(&run->random, 2) ? 8192 : KIT_SEGMENT_SIZE;
    run->kit.disk->write_max = hf_random_below(&run->random, 3) ? 0 : 3000;
    run->kit.disk->forgetful = 1;
    kit_open(&run->kit);
    for (int i = 0; i < LIVES; i++) {
        pthread_mutex_lock(&run->kit.disk->lock);
        run->kit.disk->stops_after = 1 + hf_random_below(&run->random, hf_random_below(&run->random, 3) ? 60 : 600);
        pthread_mutex_unlock(&run->kit.disk->lock);
        live(run);
        if (hf_random_below(&run->random, 4)) {
            come_back(run);
            check(run, seed);
        } else {
            die_then_crash(run, seed);
        }
    }
    kit_done(&run->kit);
}

static void a_crash_loses_nothing_acknowledged(void **state)
{
    struct run *run = calloc(1, sizeof *run);
    uint64_t seeds = getenv("STORE_LOG_SEEDS") ? strtoull(getenv("STORE_LOG_SEEDS"), NULL, 10) : 400;

    (void)state;
    assert_non_null(run);
    run->life.records = calloc(REQUESTS_MAX * RECORDS_MAX, sizeof *run->life.records);
    assert_non_null(run->life.records);
    pthread_mutex_init(&run->life.lock, NULL);
    pthread_cond_init(&run->life.changed, NULL);
    for (uint64_t seed = 1; seed <= seeds; seed++)
        run_seed(run, seed);
    print_message("%llu torn writes were cut, %llu segments freed\n", (unsigned long long)run->cuts,
                  (unsigned long long)run->freed);
    assert_true(run->cuts > seeds / 4); /* otherwise this shows nothing */
    assert_true(run->freed > seeds);
    pthread_cond_destroy(&run->life.changed);
    pthread_mutex_destroy(&run->life.lock);
    free(run->life.records);
    free(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_crash_loses_nothing_acknowledged)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
