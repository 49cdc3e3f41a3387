/* Keeps children running.  A child is RUNNING or STOPPING while it has a process, WAITING while its back-off timer
 * runs, STOPPED when nobody wants it any more; every change of state is in this file. */
#include "private.h"

#include "child.h"
#include "log.h"
#include "loop.h"
#include "report.h"

#include <holdfast/lib/error.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const char source[] = "supervisor";

enum { MESSAGES_AT_ONCE = 16, MESSAGES_AT_END = 4096 };

/* ---- Making -------------------------------------------------------------------------------------------------- */

int32_t hf_supervisor_create(const hf_supervisor_settings *settings, hf_supervisor **ret_supervisor, hf_error *error)
{
    hf_supervisor *supervisor = calloc(1, sizeof *supervisor);

    if (supervisor)
        supervisor->report_directory = strdup(settings->report_directory);
    if (!supervisor || !supervisor->report_directory) {
        free(supervisor);
        return hf_error_set(error, HF_ENOMEM, "no memory for the supervisor");
    }
    supervisor->settings = *settings;
    supervisor->settings.report_directory = supervisor->report_directory;
    *ret_supervisor = supervisor;
    return 0;
}

/* What it has said stays: the sockets are its successor's. */
static void close_channel(struct child *child)
{
    hf_watch_destroy(child->channel_watch);
    child->channel_watch = NULL;
    if (child->channel >= 0)
        (void)close(child->channel); /* nothing is written to it */
    child->channel = -1;
}

static void forget_process(struct child *child)
{
    close_channel(child);
    hf_watch_destroy(child->watch);
    child->watch = NULL;
    if (child->pid_fd >= 0)
        (void)close(child->pid_fd); /* a pidfd holds nothing that could be lost */
    child->pid_fd = -1;
    child->pid = 0;
    hf_blackbox_destroy(child->box);
    child->box = NULL;
}

void hf_supervisor_free_child(struct child *child)
{
    if (!child)
        return;
    forget_process(child);
    hf_held_clear(&child->held);
    hf_timer_destroy(child->timer);
    for (char **argument = child->argv; argument && *argument; argument++)
        free(*argument);
    free(child->argv);
    free(child->listeners);
    free(child->name);
    free(child);
}

void hf_supervisor_destroy(hf_supervisor *supervisor)
{
    if (!supervisor)
        return;
    for (uint32_t i = 0; i < supervisor->count; i++)
        hf_supervisor_free_child(supervisor->children[i]);
    free(supervisor->children);
    free(supervisor->report_directory);
    free(supervisor);
}

/* ---- What a child says --------------------------------------------------------------------------------------- */

/* A quarter of the descriptors that this process may have, for all children together: at a start they are there two
 * more times for a moment. */
static uint32_t most_held(const struct child *child)
{
    struct rlimit limit = {0};
    uint64_t others = 0;

    for (uint32_t i = 0; i < child->supervisor->count; i++)
        if (child->supervisor->children[i] != child)
            others += child->supervisor->children[i]->held.count;
    uint64_t most = getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur / 4 : 0;
    most = most > others ? most - others : 0;
    return most < HF_HELD_MAX ? (uint32_t)most : HF_HELD_MAX;
}

/* Returns whether the child says that it is ready. */
static int hear(struct child *child, uint32_t message_count)
{
    hf_error error = {0};
    int32_t ready = 0;

    for (uint32_t i = 0; i < message_count && child->channel >= 0; i++) {
        int32_t result = hf_channel_receive(child->channel, &child->held, most_held(child), &ready, &error);
        if (result == HF_ENOTFOUND)
            break;
        if (result == HF_EPROTOCOL || (result == HF_ETOOLARGE && !child->told_full))
            hf_log(HF_LOG_WARNING, source, "process '%s': %s", child->name, error.message);
        child->told_full |= result == HF_ETOOLARGE;
        if (result && result != HF_ETOOLARGE)
            close_channel(child); /* for one that has ended, and for one that talks nonsense */
    }
    return ready;
}

static void renew_next(hf_supervisor *supervisor);

static void channel_readable(void *arg, int32_t fd, uint32_t events)
{
    struct child *child = arg;

    (void)fd;
    (void)events;
    int ready = hear(child, MESSAGES_AT_ONCE); /* what is more keeps it readable */
    if (ready && child->state == HF_CHILD_RUNNING) {
        child->ready = 1;
        renew_next(child->supervisor);
    }
}

/* ---- Starting and ending ------------------------------------------------------------------------------------- */

static void child_ended(void *arg, int32_t fd, uint32_t events);

int32_t hf_supervisor_watch_child(struct child *child, hf_error *error)
{
    hf_loop *loop = child->supervisor->settings.loop;
    int32_t result = hf_watch_create(loop, child->pid_fd, HF_WATCH_READ, child_ended, child, &child->watch, error);

    if (!result && child->channel >= 0)
        result =
            hf_watch_create(loop, child->channel, HF_WATCH_READ, channel_readable, child, &child->channel_watch, error);
    return result;
}

static int32_t spawn(struct child *child, hf_error *error)
{
    char death[sizeof child->cause + sizeof child->report];
    int32_t box_fd, childs_end;

    snprintf(death, sizeof death, "%s\n%s", child->cause, child->report);
    int32_t result = hf_blackbox_create(&child->box, &box_fd, error);
    if (!result)
        result = hf_channel_create(&child->channel, &childs_end, error);
    if (result)
        return result;
    result = hf_child_spawn(&(hf_child_start){.argv = (const char *const *)child->argv,
                                              .listeners = child->listeners,
                                              .listener_count = child->listener_count,
                                              .blackbox_fd = box_fd,
                                              .channel_fd = childs_end,
                                              .held = child->held.descriptors,
                                              .held_count = child->held.count,
                                              .death = child->died ? death : NULL},
                            &child->pid, &child->pid_fd, error);
    (void)close(childs_end); /* the child has its own */
    return result;
}

static int32_t start(struct child *child, hf_error *error)
{
    int32_t result = spawn(child, error);

    if (result) {
        forget_process(child);
        return result;
    }
    result = hf_supervisor_watch_child(child, error);
    if (result) { /* without the watch its end would go unnoticed */
        char ignored[200];
        (void)kill(child->pid, SIGKILL);
        (void)hf_child_reap(child->pid, ignored, sizeof ignored);
        forget_process(child);
        return result;
    }
    child->died = 0;
    child->ready = 0;
    child->adopted = 0;
    child->told_full = 0;
    child->state = HF_CHILD_RUNNING;
    child->started_us = hf_clock_us();
    hf_log(HF_LOG_INFO, source, "started process '%s', pid %d", child->name, child->pid);
    return 0;
}

static void wait_and_start(struct child *child, uint64_t lived_us)
{
    child->restart_wait_us = hf_backoff_next_us(&child->backoff, lived_us);
    child->state = HF_CHILD_WAITING;
    hf_timer_start(child->timer, child->restart_wait_us, 0);
}

static void tell_when_all_stopped(hf_supervisor *supervisor)
{
    void (*stopped)(void *) = supervisor->stopped;

    if (!stopped)
        return;
    for (uint32_t i = 0; i < supervisor->count; i++)
        if (supervisor->children[i]->state != HF_CHILD_STOPPED)
            return;
    supervisor->stopped = NULL;
    stopped(supervisor->stopped_arg); /* may destroy the supervisor */
}

static void child_timer(void *arg)
{
    struct child *child = arg;
    hf_error error;

    if (child->state == HF_CHILD_STOPPING) {
        hf_log(HF_LOG_WARNING, source, "process '%s' did not end within %llu ms, killing it", child->name,
               (unsigned long long)(child->supervisor->settings.stop_grace_us / 1000));
        (void)kill(child->pid, SIGKILL); /* it is ours and not reaped yet: the pid is valid */
        return;
    }
    if (start(child, &error)) {
        wait_and_start(child, 0);
        hf_log(HF_LOG_ERROR, source, "process '%s': %s, trying again in %llu ms", child->name, error.message,
               (unsigned long long)(child->restart_wait_us / 1000));
    }
}

static void ask_to_end(struct child *child, int wanted)
{
    child->wanted = wanted;
    child->ready = 0;
    if (child->state == HF_CHILD_WAITING && !wanted) {
        hf_timer_stop(child->timer);
        child->state = HF_CHILD_STOPPED;
        hf_held_clear(&child->held);
    } else if (child->state == HF_CHILD_RUNNING) {
        child->state = HF_CHILD_STOPPING;
        (void)kill(child->pid, SIGTERM); /* as above */
        hf_timer_start(child->timer, child->supervisor->settings.stop_grace_us, 0);
    }
}

void hf_supervisor_go_on(struct child *child)
{
    if (child->state == HF_CHILD_WAITING && child->wanted)
        hf_timer_start(child->timer, 0, 0);
    else if (child->state == HF_CHILD_STOPPING)
        hf_timer_start(child->timer, child->supervisor->settings.stop_grace_us, 0);
    else if (!child->wanted)
        ask_to_end(child, 0);
}

/* ---- Renewing ------------------------------------------------------------------------------------------------ */

static void finish_renewing(hf_supervisor *supervisor, int good)
{
    void (*renewed)(void *, int) = supervisor->renewed;

    supervisor->renewed = NULL;
    renewed(supervisor->renewed_arg, good);
}

/* Ends the next child of an earlier program, once all others do their work: at most one is away at a time. */
static void renew_next(hf_supervisor *supervisor)
{
    if (!supervisor->renewed)
        return;
    for (uint32_t i = 0; i < supervisor->count; i++)
        if (supervisor->children[i]->wanted && !supervisor->children[i]->ready)
            return;
    for (uint32_t i = 0; i < supervisor->count; i++)
        if (supervisor->children[i]->adopted && supervisor->children[i]->wanted) {
            ask_to_end(supervisor->children[i], 1);
            return;
        }
    finish_renewing(supervisor, 1);
}

/* A new program that dies before it does its work must not take the place of those that do. */
static void renew_no_further(struct child *child)
{
    if (child->supervisor->renewed && !child->ready && !child->adopted)
        finish_renewing(child->supervisor, 0);
}

/* ---- Ends ---------------------------------------------------------------------------------------------------- */

/* A death that nobody asked for: record it, say it, and start again after a while. */
static void record_death(struct child *child, uint64_t lived_us)
{
    hf_supervisor *supervisor = child->supervisor;
    hf_death death = {child->name, child->cause, child->pid, lived_us, child->box};
    hf_child_status status;
    hf_error error;

    child->deaths++;
    child->died = 1;
    renew_no_further(child);
    child->ready = 0;
    child->adopted = 0;
    if (hf_report_write(supervisor->report_directory, &death, child->report, sizeof child->report, &error)) {
        child->report[0] = '\0';
        hf_log(HF_LOG_ERROR, source, "the death of '%s' is not recorded: %s", child->name, error.message);
    }
    forget_process(child);
    wait_and_start(child, lived_us);
    hf_log(HF_LOG_ERROR, source, "process '%s' %s after %llu ms, starting it again in %llu ms; see %s", child->name,
           child->cause, (unsigned long long)(lived_us / 1000), (unsigned long long)(child->restart_wait_us / 1000),
           child->report);
    if (supervisor->settings.died) {
        for (uint32_t i = 0; i < supervisor->count; i++)
            if (supervisor->children[i] == child)
                hf_supervisor_status(supervisor, i, &status);
        supervisor->settings.died(supervisor->settings.arg, &status);
    }
}

static void child_ended(void *arg, int32_t fd, uint32_t events)
{
    struct child *child = arg;
    uint64_t lived_us = hf_clock_us() - child->started_us;
    int asked = child->state == HF_CHILD_STOPPING;

    (void)fd;
    (void)events;
    (void)hear(child, MESSAGES_AT_END); /* what it has said to the last; it is not ready any more */
    (void)hf_child_reap(child->pid, child->cause, sizeof child->cause);
    hf_timer_stop(child->timer);
    if (!asked) {
        record_death(child, lived_us);
        return;
    }
    hf_log(HF_LOG_INFO, source, "process '%s' ended as asked: %s", child->name, child->cause);
    forget_process(child);
    if (child->wanted) {
        child->backoff.early_deaths = 0;
        wait_and_start(child, child->backoff.healthy_us);
    } else {
        child->state = HF_CHILD_STOPPED;
        hf_held_clear(&child->held); /* it has no successor */
        tell_when_all_stopped(child->supervisor);
    }
}

/* ---- Interface ----------------------------------------------------------------------------------------------- */

static struct child *find(const hf_supervisor *supervisor, const char *name)
{
    for (uint32_t i = 0; i < supervisor->count; i++)
        if (strcmp(supervisor->children[i]->name, name) == 0)
            return supervisor->children[i];
    return NULL;
}

static int copy_definition(struct child *child, const char *name, const char *const *argv, const int32_t *listeners,
                           uint32_t listener_count)
{
    size_t count = 0;

    while (argv[count])
        count++;
    child->name = strdup(name);
    child->argv = calloc(count + 1, sizeof(char *));
    child->listeners = calloc(listener_count + 1, sizeof *child->listeners);
    if (!child->name || !child->argv || !child->listeners)
        return HF_ENOMEM;
    for (size_t i = 0; i < count; i++)
        if (!(child->argv[i] = strdup(argv[i])))
            return HF_ENOMEM;
    if (listener_count)
        memcpy(child->listeners, listeners, listener_count * sizeof *listeners);
    child->listener_count = listener_count;
    return 0;
}

struct child *hf_supervisor_make_child(hf_supervisor *supervisor, const char *name, const char *const *argv,
                                       const int32_t *listeners, uint32_t listener_count)
{
    struct child **children = realloc(supervisor->children, (supervisor->count + 1) * sizeof(struct child *));
    struct child *child = calloc(1, sizeof *child);

    if (children)
        supervisor->children = children;
    if (!children || !child) {
        free(child);
        return NULL;
    }
    child->supervisor = supervisor;
    child->pid_fd = -1;
    child->channel = -1;
    child->wanted = 1;
    child->backoff = (hf_backoff){.least_us = supervisor->settings.restart_least_us,
                                  .most_us = supervisor->settings.restart_most_us,
                                  .healthy_us = supervisor->settings.healthy_us};
    if (copy_definition(child, name, argv, listeners, listener_count) ||
        hf_timer_create(supervisor->settings.loop, child_timer, child, &child->timer, NULL)) {
        hf_supervisor_free_child(child);
        return NULL;
    }
    return child;
}

int32_t hf_supervisor_add(hf_supervisor *supervisor, const char *name, const char *const *argv,
                          const int32_t *listeners, uint32_t listener_count, hf_error *error)
{
    if (find(supervisor, name))
        return hf_error_set(error, HF_EEXIST, "there is a process called '%s' already", name);

    struct child *child = hf_supervisor_make_child(supervisor, name, argv, listeners, listener_count);
    if (!child)
        return hf_error_set(error, HF_ENOMEM, "no memory for process '%s'", name);
    int32_t result = start(child, error);
    if (result) {
        hf_supervisor_free_child(child);
        return result;
    }
    supervisor->children[supervisor->count++] = child;
    return 0;
}

int32_t hf_supervisor_restart(hf_supervisor *supervisor, const char *name, hf_error *error)
{
    struct child *child = find(supervisor, name);

    if (!child)
        return hf_error_set(error, HF_ENOTFOUND, "there is no process called '%s'", name);
    ask_to_end(child, 1);
    return 0;
}

void hf_supervisor_renew(hf_supervisor *supervisor, void (*done)(void *arg, int good), void *arg)
{
    supervisor->renewed = done;
    supervisor->renewed_arg = arg;
    renew_next(supervisor);
}

void hf_supervisor_signal(hf_supervisor *supervisor, int32_t number)
{
    for (uint32_t i = 0; i < supervisor->count; i++)
        if (supervisor->children[i]->state == HF_CHILD_RUNNING)
            (void)kill(supervisor->children[i]->pid, number); /* as in child_timer */
}

void hf_supervisor_stop(hf_supervisor *supervisor, void (*done)(void *arg), void *arg)
{
    supervisor->renewed = NULL;
    supervisor->stopped = done;
    supervisor->stopped_arg = arg;
    for (uint32_t i = 0; i < supervisor->count; i++)
        ask_to_end(supervisor->children[i], 0);
    tell_when_all_stopped(supervisor);
}

uint32_t hf_supervisor_count(const hf_supervisor *supervisor)
{
    return supervisor->count;
}

void hf_supervisor_status(const hf_supervisor *supervisor, uint32_t index, hf_child_status *ret_status)
{
    const struct child *child = supervisor->children[index];

    *ret_status = (hf_child_status){.name = child->name,
                                    .state = child->state,
                                    .pid = child->pid,
                                    .deaths = child->deaths,
                                    .restart_wait_us = child->restart_wait_us};
    memcpy(ret_status->last_cause, child->cause, sizeof ret_status->last_cause);
    memcpy(ret_status->last_report, child->report, sizeof ret_status->last_report);
}
