#include "release/desk.h"

#include "worker/worker.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/value.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WRITE_EVERY_US = 5000000 /* while only counts change */ };

uint64_t gateway_desk_now(const struct gateway_desk *desk)
{
    return desk->loops->now_us(desk->loops->main_loop(desk->host));
}

static uint64_t wall_ms(const struct gateway_desk *desk)
{
    return desk->node->wall_us(desk->host) / 1000;
}

static int is_under_way(const struct gateway_release *release)
{
    return release->state == GATEWAY_RELEASE_RUNNING || release->state == GATEWAY_RELEASE_PROMOTED;
}

/* ---- The snapshot of the workers --------------------------------------------------------------------------------- */

static struct gateway_upstream *find_upstream(const struct gateway_desk *desk, const char *name)
{
    for (uint32_t i = 0; desk->plan && i < desk->plan->upstream_count; i++)
        if (strcmp(desk->plan->upstreams[i].upstream->name, name) == 0)
            return desk->plan->upstreams[i].upstream;
    return NULL;
}

static void add_item(const struct gateway_desk *desk, uint32_t slot, struct gateway_split *split)
{
    const struct gateway_release *release = desk->slots[slot].release;
    struct gateway_upstream *stable = find_upstream(desk, release->stable);
    struct gateway_upstream *canary = find_upstream(desk, release->canary);
    struct gateway_split_item *item = &split->items[split->count];

    if (!stable || !canary) /* see drop_missing */
        return;
    *item = (struct gateway_split_item){.id = release->id,
                                        .slot = slot,
                                        .stable = stable,
                                        .canary = canary,
                                        .test = release->test,
                                        .rules = release->rules,
                                        .slow_us = release->slow_us};
    memcpy(item->key_text, release->key, sizeof item->key_text);
    if (gateway_key_parse(item->key_text, &item->key, NULL) != HF_OK)
        return; /* it was checked when the release began */
    gateway_upstream_hold(stable);
    gateway_upstream_hold(canary);
    split->count++;
}

static void renew_split(struct gateway_desk *desk)
{
    struct gateway_split *split = calloc(1, sizeof *split);

    if (!split)
        return; /* the next time, when there may be memory */
    atomic_init(&split->references, 1);
    for (uint32_t i = 0; i < GATEWAY_RELEASES_MAX; i++)
        if (desk->slots[i].release && is_under_way(desk->slots[i].release))
            add_item(desk, i, split);
    gateway_split_release(desk->split);
    desk->split = split;
    desk->is_stale = 0;
}

/* ---- To the workers and back ------------------------------------------------------------------------------------- */

static void judge(struct gateway_desk *desk);
static void returned(hf_task *task);

static void at_worker(hf_task *task)
{
    struct gateway_split_post *post = (struct gateway_split_post *)(void *)task;
    struct gateway_desk *desk = post->desk;

    post->split = gateway_split_exchange(&post->worker->split, post->split, post->counts);
    post->task.run = returned;
    desk->loops->post(desk->loops->main_loop(desk->host), &post->task);
}

static void add_counts(struct gateway_canary_count *to, const struct gateway_canary_count *more)
{
    to->requests += more->requests;
    for (int32_t i = 0; i < GATEWAY_MEASURES; i++)
        to->counts[i] += more->counts[i];
}

static void take_counts(struct gateway_desk *desk, const struct gateway_split_post *post)
{
    for (uint32_t i = 0; i < GATEWAY_RELEASES_MAX; i++) {
        struct gateway_desk_slot *slot = &desk->slots[i];
        const struct gateway_split_counts *counts = &post->counts[i];

        if (!slot->release || slot->release->id != counts->id || slot->release->state != GATEWAY_RELEASE_RUNNING)
            continue;
        for (int32_t version = 0; version < GATEWAY_VERSIONS; version++) {
            const struct gateway_canary_count *more = &counts->versions[version];

            add_counts(&slot->release->test.versions[version], more);
            add_counts(&slot->release->totals[version], more);
            desk->is_counting |= more->requests > 0;
            if (desk->metrics) {
                desk->metrics->increment(slot->counts[version][0], more->requests);
                desk->metrics->increment(slot->counts[version][1], more->counts[GATEWAY_MEASURE_FAILED]);
                desk->metrics->increment(slot->counts[version][2], more->counts[GATEWAY_MEASURE_SLOW]);
            }
        }
    }
}

static void returned(hf_task *task)
{
    struct gateway_split_post *post = (struct gateway_split_post *)(void *)task;
    struct gateway_desk *desk = post->desk;
    int32_t others_away = 0;

    post->is_away = 0;
    gateway_split_release(post->split);
    post->split = NULL;
    take_counts(desk, post);
    for (uint32_t i = 0; i < desk->worker_count; i++)
        others_away |= desk->posts[i].is_away;
    if (!others_away)
        judge(desk);
}

static void visit(struct gateway_desk *desk, struct gateway_split_post *post)
{
    if (post->is_away)
        return; /* it is sent again when it is back, or with the next tick */
    post->is_away = 1;
    post->split = desk->split;
    post->sent = desk->split;
    gateway_split_hold(desk->split);
    post->task.run = at_worker;
    desk->loops->post(post->worker->loop, &post->task);
}

/* Workers that do not have the newest snapshot get it; with `all`, the counts of the others are fetched, too. */
static void visit_workers(struct gateway_desk *desk, int all)
{
    if (desk->is_stale)
        renew_split(desk);
    for (uint32_t i = 0; desk->split && i < desk->worker_count; i++)
        if (desk->posts[i].sent != desk->split || (all && desk->split->count > 0))
            visit(desk, &desk->posts[i]);
}

/* ---- Going on ---------------------------------------------------------------------------------------------------- */

static void change(struct gateway_desk *desk, struct gateway_release *release, const char *event, const char *actor)
{
    release->changed_ms = wall_ms(desk);
    desk->is_stale = 1;
    gateway_desk_tell(desk, release, event, actor);
    for (uint32_t i = 0; i < GATEWAY_RELEASES_MAX; i++)
        if (desk->slots[i].release == release)
            gateway_desk_set_metrics(desk, &desk->slots[i]);
}

static void end(struct gateway_desk *desk, struct gateway_release *release, int32_t state, const char *event,
                const char *actor)
{
    release->state = state;
    change(desk, release, event, actor);
}

static void say_why(struct gateway_release *release, int32_t measure, const struct gateway_canary_finding *finding)
{
    snprintf(release->reason, sizeof release->reason,
             "%.2f %% more of its requests %s than of the stable version's (surely more than %.2f %%); allowed are "
             "%.2f %%",
             finding->difference * 100, measure == GATEWAY_MEASURE_FAILED ? "failed" : "were slow",
             finding->lowest * 100, release->rules.margins[measure] * 100);
}

static void advance(struct gateway_desk *desk, struct gateway_release *release, uint64_t now_us)
{
    struct gateway_canary_finding findings[GATEWAY_MEASURES];
    int32_t measure = 0;

    for (int32_t i = 0; i < GATEWAY_MEASURES; i++)
        findings[i] = gateway_canary_find(&release->test, &release->rules, i);
    if (!gateway_canary_advance(&release->test, &release->rules, now_us, &measure))
        return;
    if (release->test.state == GATEWAY_CANARY_ROLLED_BACK) {
        say_why(release, measure, &findings[measure]);
        end(desk, release, GATEWAY_RELEASE_ROLLED_BACK, "gateway.canary_rolled_back", "gateway");
    } else if (release->test.state == GATEWAY_CANARY_PROMOTED) {
        snprintf(release->reason, sizeof release->reason,
                 "all steps went well; all requests for '%s' go to '%s' until the configuration says so itself",
                 release->stable, release->canary);
        end(desk, release, GATEWAY_RELEASE_PROMOTED, "gateway.canary_promoted", "gateway");
    } else {
        change(desk, release, "gateway.canary_step", "gateway");
    }
}

static void judge(struct gateway_desk *desk)
{
    uint64_t now_us = gateway_desk_now(desk);

    for (uint32_t i = 0; i < GATEWAY_RELEASES_MAX; i++)
        if (desk->slots[i].release && desk->slots[i].release->state == GATEWAY_RELEASE_RUNNING)
            advance(desk, desk->slots[i].release, now_us);
    visit_workers(desk, 0);
    gateway_desk_write(desk);
}

void gateway_desk_tick(struct gateway_desk *desk)
{
    desk->is_changed |= desk->is_counting && gateway_desk_now(desk) - desk->written_us > WRITE_EVERY_US;
    visit_workers(desk, 1);
    gateway_desk_write(desk);
}

static void empty_slot(struct gateway_desk *desk, struct gateway_desk_slot *slot)
{
    gateway_desk_remove_metrics(desk, slot);
    free(slot->release);
    *slot = (struct gateway_desk_slot){.release = NULL};
    desk->is_changed = 1;
}

/* An upstream of it has gone from the configuration: one that was promoted has found its end with that. */
static void drop_missing(struct gateway_desk *desk, struct gateway_desk_slot *slot)
{
    struct gateway_release *release = slot->release;
    const char *missing = !find_upstream(desk, release->stable)   ? release->stable
                          : !find_upstream(desk, release->canary) ? release->canary
                                                                  : NULL;

    if (!missing)
        return;
    if (release->state == GATEWAY_RELEASE_PROMOTED) {
        empty_slot(desk, slot);
        return;
    }
    snprintf(release->reason, sizeof release->reason, "the upstream '%s' has gone from the configuration", missing);
    end(desk, release, GATEWAY_RELEASE_ABORTED, "gateway.canary_aborted", "gateway");
}

void gateway_desk_plan(struct gateway_desk *desk, const struct gateway_plan *plan)
{
    desk->plan = plan;
    for (uint32_t i = 0; i < GATEWAY_RELEASES_MAX; i++)
        if (desk->slots[i].release && is_under_way(desk->slots[i].release)) {
            desk->is_stale = 1;
            drop_missing(desk, &desk->slots[i]);
        }
    visit_workers(desk, 0);
    gateway_desk_write(desk);
}

/* ---- Operators --------------------------------------------------------------------------------------------------- */

static struct gateway_desk_slot *find_slot(struct gateway_desk *desk, const char *stable)
{
    for (uint32_t i = 0; i < GATEWAY_RELEASES_MAX; i++)
        if (desk->slots[i].release && strcmp(desk->slots[i].release->stable, stable) == 0)
            return &desk->slots[i];
    return NULL;
}

struct gateway_release *gateway_desk_find(const struct gateway_desk *desk, const char *stable)
{
    for (uint32_t i = 0; i < GATEWAY_RELEASES_MAX; i++)
        if (desk->slots[i].release && strcmp(desk->slots[i].release->stable, stable) == 0)
            return desk->slots[i].release;
    return NULL;
}

/* One of the upstream before, a free one, or that of the release which ended longest ago; NULL: all are under way. */
static struct gateway_desk_slot *choose_slot(struct gateway_desk *desk, const char *stable)
{
    struct gateway_desk_slot *chosen = find_slot(desk, stable);

    for (uint32_t i = 0; !chosen && i < GATEWAY_RELEASES_MAX; i++)
        if (!desk->slots[i].release)
            chosen = &desk->slots[i];
    if (chosen)
        return chosen;
    for (uint32_t i = 0; i < GATEWAY_RELEASES_MAX; i++)
        if (!is_under_way(desk->slots[i].release) &&
            (!chosen || desk->slots[i].release->changed_ms < chosen->release->changed_ms))
            chosen = &desk->slots[i];
    return chosen;
}

static int32_t check_names(struct gateway_desk *desk, const char *stable, const char *canary, hf_error *error)
{
    const char *const names[] = {stable, canary};

    for (size_t i = 0; i < 2; i++)
        if (!find_upstream(desk, names[i]))
            return hf_error_set(error, HF_ENOTFOUND, "there is no upstream '%.64s'", names[i]);
    if (strcmp(stable, canary) == 0)
        return hf_error_set(error, HF_EINVAL, "'%s' cannot be its own canary", stable);
    for (uint32_t i = 0; i < GATEWAY_RELEASES_MAX; i++) {
        const struct gateway_release *other = desk->slots[i].release;

        for (size_t k = 0; other && is_under_way(other) && k < 2; k++)
            if (strcmp(other->stable, names[k]) == 0 || strcmp(other->canary, names[k]) == 0)
                return hf_error_set(error, HF_ECONFLICT,
                                    "the upstream '%s' takes part in the release of '%s' already, which is %s; abort "
                                    "it first",
                                    names[k], other->stable, gateway_release_state(other->state));
    }
    return HF_OK;
}

static int32_t check_key(const char *text, hf_error *error)
{
    struct gateway_key key;
    int32_t code = gateway_key_parse(text, &key, error);

    if (code == HF_OK && (key.of == GATEWAY_KEY_BODY || key.of == GATEWAY_KEY_POLICY))
        code = hf_error_set(error, HF_EINVAL,
                            "the key '%s' is not known when the version is chosen; expected client, path, field NAME, "
                            "cookie NAME or argument NAME",
                            text);
    return code;
}

int32_t gateway_desk_start(struct gateway_desk *desk, const char *stable, const struct gateway_release *wish,
                           const char *actor, hf_error *error)
{
    int32_t code = check_names(desk, stable, wish->canary, error);
    struct gateway_desk_slot *slot = choose_slot(desk, stable);
    uint32_t salt = 0;

    if (code == HF_OK)
        code = check_key(wish->key, error);
    if (code == HF_OK && !slot)
        code = hf_error_set(error, HF_EBUSY, "there are %d releases already; abort one first", GATEWAY_RELEASES_MAX);
    struct gateway_release *release = code == HF_OK ? calloc(1, sizeof *release) : NULL;
    if (code != HF_OK || !release)
        return code != HF_OK ? code : hf_error_set(error, HF_ENOMEM, "no memory for the release");
    *release = *wish;
    snprintf(release->stable, sizeof release->stable, "%s", stable);
    release->id = ++desk->last_id;
    desk->node->random(desk->host, &salt, sizeof salt);
    gateway_canary_init(&release->test, salt, gateway_desk_now(desk));
    release->began_ms = wall_ms(desk);
    if (slot->release)
        empty_slot(desk, slot);
    slot->release = release;
    code = gateway_desk_add_metrics(desk, slot, error);
    if (code != HF_OK) {
        empty_slot(desk, slot);
        return code;
    }
    change(desk, release, "gateway.canary_started", actor);
    visit_workers(desk, 0);
    return HF_OK;
}

int32_t gateway_desk_abort(struct gateway_desk *desk, const char *stable, const char *actor, hf_error *error)
{
    struct gateway_release *release = gateway_desk_find(desk, stable);

    if (!release)
        return hf_error_set(error, HF_ENOTFOUND, "there is no release of '%.64s'", stable);
    if (!is_under_way(release))
        return hf_error_set(error, HF_ECONFLICT, "the release of '%s' has ended before: it is %s", stable,
                            gateway_release_state(release->state));
    snprintf(release->reason, sizeof release->reason, "it was aborted by %s", actor);
    end(desk, release, GATEWAY_RELEASE_ABORTED, "gateway.canary_aborted", actor);
    visit_workers(desk, 0);
    return HF_OK;
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

static int32_t add_read(struct gateway_desk *desk, hf_error *error)
{
    int32_t code = HF_OK;

    for (uint32_t i = 0; i < GATEWAY_RELEASES_MAX && code == HF_OK; i++) {
        struct gateway_desk_slot *slot = &desk->slots[i];

        if (!slot->release)
            continue;
        slot->release->id = ++desk->last_id;
        code = gateway_desk_add_metrics(desk, slot, error);
        desk->is_stale |= is_under_way(slot->release);
    }
    return code;
}

int32_t gateway_desk_open(struct gateway_desk *desk, const hf_host *host, struct gateway_worker **workers,
                          uint32_t worker_count, hf_error *error)
{
    desk->host = host;
    desk->loops = (const hf_loop_interface *)host->query(host, HF_LOOP_INTERFACE);
    desk->node = (const hf_node_interface *)host->query(host, HF_NODE_INTERFACE);
    desk->signals = (const hf_signal_interface *)host->query(host, HF_SIGNAL_INTERFACE);
    desk->metrics = (const hf_metrics_interface *)host->query(host, HF_METRICS_INTERFACE);
    desk->http = (const hf_http_interface *)host->query(host, HF_HTTP_INTERFACE);
    desk->workers = workers;
    desk->worker_count = worker_count;
    desk->notes_end = &desk->notes;
    desk->waits_end = &desk->waits;
    desk->posts = calloc(worker_count, sizeof *desk->posts);
    if (!desk->posts)
        return hf_error_set(error, HF_ENOMEM, "no memory for releases");
    for (uint32_t i = 0; i < worker_count; i++)
        desk->posts[i] = (struct gateway_split_post){.desk = desk, .worker = workers[i]};
    int32_t code = gateway_desk_read(desk, error);
    if (code == HF_OK)
        code = add_read(desk, error);
    if (code == HF_OK)
        code = gateway_desk_declare_signals(desk, error);
    return code == HF_OK ? gateway_desk_add_routes(desk, error) : code;
}

void gateway_desk_close(struct gateway_desk *desk)
{
    for (uint32_t i = 0; i < GATEWAY_RELEASES_MAX; i++)
        if (desk->slots[i].release)
            empty_slot(desk, &desk->slots[i]);
    for (uint32_t i = 0; desk->posts && i < desk->worker_count; i++)
        gateway_split_release(desk->posts[i].split);
    while (desk->notes) {
        struct gateway_note *note = desk->notes;

        desk->notes = note->next;
        free(note);
    }
    gateway_split_release(desk->split);
    free(desk->posts);
    free(desk->path);
}
