/* The node's first process.  It loads no plugin and serves nobody: it holds the listening sockets and the lock of the
 * state directory, and starts, watches and ends the others.  All of it is on one loop. */
#include "daemon/supervise.h"

#include "daemon/handover.h"
#include "daemon/inherit.h"
#include "daemon/recheck.h"
#include "daemon/state.h"
#include "daemon/unix_signals.h"
#include "loop/loop.h"
#include "supervisor/supervisor.h"
#include "telemetry/log.h"

#include <fcntl.h>
#include <holdfast/lib/error.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char source[] = "daemon";

enum { HEALTHY_US = 10 * 1000000, PATH_SIZE = 4096 };

struct node {
    const char *program, *path;
    char **arguments;
    hf_loop *loop;
    hf_unix_signals *signals;
    hf_recheck *recheck; /* under way */
    int reload_asked, restart_asked;
    hf_handover handover;             /* from the program before, in this process; null state: none */
    hf_config_generation *generation; /* the core's sections, as the children were started with */
    hf_listeners *listeners;          /* one per process */
    uint64_t listener_count;
    hf_supervisor *supervisor;
    int lock_fd;
    int ending, exit_code;
};

/* ---- Ending ------------------------------------------------------------------------------------------------------ */

static void all_stopped(void *arg)
{
    struct node *node = arg;

    hf_loop_stop(node->loop);
}

static void end(struct node *node, int exit_code)
{
    if (node->ending)
        return;
    node->ending = 1;
    node->exit_code = exit_code;
    hf_recheck_cancel(node->recheck);
    node->recheck = NULL;
    if (node->supervisor)
        hf_supervisor_stop(node->supervisor, all_stopped, node);
    else
        hf_loop_stop(node->loop);
}

/* Whether this program goes on from another, in this process. */
static int goes_on(const struct node *node)
{
    return hf_handover_child_at(&node->handover, 0) != NULL;
}

/* ---- Starting, once the configuration is known to be right ------------------------------------------------------- */

static int32_t read_configuration(const struct node *node, hf_config_generation **ret_generation, hf_error *error)
{
    uint32_t count;
    const hf_config_section *sections = hf_settings_sections(&count);
    hf_config_problems *problems = calloc(1, sizeof *problems);

    if (!problems)
        return hf_error_set(error, HF_ENOMEM, "no memory to read the configuration");
    int32_t result = hf_config_load_known(node->path, sections, count, ret_generation, problems);
    if (result) /* it changed since it was checked */
        hf_error_set(error, result, "%s", problems->lines[0]);
    free(problems);
    return result;
}

static int32_t take_state(struct node *node, char *reports, hf_error *error)
{
    const char *directory = hf_settings_node(node->generation)->state_directory;

    int32_t result = hf_state_make(directory, error);
    if (!result)
        node->lock_fd = hf_handover_lock(&node->handover, directory);
    if (!result && node->lock_fd < 0)
        result = hf_state_lock(directory, "lock", &node->lock_fd, error);
    if (!result && (size_t)snprintf(reports, PATH_SIZE, "%s/reports", directory) >= PATH_SIZE)
        result = hf_error_set(error, HF_EINVAL, "the state directory's path is too long");
    return result ? result : hf_state_make(reports, error);
}

/* The program before had these open for the process.  Those that fit are kept, and the others closed; but where the
 * configuration asks for what cannot be opened, the process keeps what it has rather than none. */
static void reopen_listeners(struct node *node, const hf_process_entry *entry, const int32_t *descriptors,
                             uint32_t count, hf_listeners *ret_listeners)
{
    int32_t copies[HF_LISTENERS_MAX];
    hf_listen_pool pool = {copies, 0};
    hf_listeners before;
    hf_error error = {0};

    for (uint32_t i = 0; i < count; i++)
        if ((copies[pool.count] = fcntl(descriptors[i], F_DUPFD_CLOEXEC, 0)) >= 0)
            pool.count++;
    hf_listeners_of(descriptors, count, &before);
    int32_t result = hf_listeners_open(node->generation, entry, &pool, ret_listeners, &error);
    for (uint32_t i = 0; i < pool.count; i++)
        close(pool.descriptors[i]);
    if (!result) {
        hf_listeners_close(&before);
        return;
    }
    hf_log(HF_LOG_ERROR, source, "process '%s': %s; it keeps the sockets that it has", entry->name, error.message);
    *ret_listeners = before;
}

static int32_t open_listeners_of(struct node *node, const hf_process_entry *entry, hf_listeners *ret_listeners,
                                 hf_error *error)
{
    const hf_value *saved = hf_handover_child(&node->handover, entry->name);
    int32_t descriptors[HF_LISTENERS_MAX];
    uint32_t count = saved ? hf_supervisor_saved_listeners(saved, descriptors, HF_LISTENERS_MAX) : 0;

    if (!count)
        return hf_listeners_open(node->generation, entry, NULL, ret_listeners, error);
    reopen_listeners(node, entry, descriptors, count, ret_listeners);
    return 0;
}

/* Others run already, and must not end because of one that is new. */
static void leave_out(const hf_process_entry *entry, const hf_error *error)
{
    hf_log(HF_LOG_ERROR, source, "process '%s' is not started: %s; SIGUSR2 tries it again", entry->name,
           error->message);
}

static int32_t open_listeners(struct node *node, hf_error *error)
{
    const hf_groups *entries = &hf_settings_processes(node->generation)->entries;
    const hf_process_entry *items = entries->items;

    node->listeners = calloc(entries->count, sizeof *node->listeners);
    if (!node->listeners)
        return hf_error_set(error, HF_ENOMEM, "no memory for the listeners");
    for (; node->listener_count < entries->count; node->listener_count++) {
        const hf_process_entry *entry = &items[node->listener_count];
        int32_t result = open_listeners_of(node, entry, &node->listeners[node->listener_count], error);
        if (result && !goes_on(node))
            return hf_error_prefix(error, "process '%s'", entry->name);
        if (result) {
            node->listeners[node->listener_count] = (hf_listeners){.peers = -1};
            leave_out(entry, error);
        }
    }
    return 0;
}

/* Goes on with it if `saved` is not NULL, or else starts it. */
static int32_t start_child(struct node *node, const hf_value *saved, uint64_t index, hf_error *error)
{
    const hf_process_entry *items = hf_settings_processes(node->generation)->entries.items;
    const char *name = items[index].name;
    const char *argv[] = {node->program, "--config", node->path, "--process", name, NULL};
    int32_t descriptors[HF_LISTENERS_MAX];
    uint32_t count = hf_listeners_list(&node->listeners[index], descriptors);

    if (!node->listeners[index].http_count)
        return 0; /* it was left out */
    return saved ? hf_supervisor_adopt(node->supervisor, saved, argv, descriptors, count, error)
                 : hf_supervisor_add(node->supervisor, name, argv, descriptors, count, error);
}

/* Processes that the configuration does not have any more. */
static int32_t end_others(struct node *node, hf_error *error)
{
    const hf_value *saved;
    int32_t result = 0;

    for (uint64_t i = 0; !result && (saved = hf_handover_child_at(&node->handover, i)); i++) {
        int32_t descriptors[HF_LISTENERS_MAX];
        char name[256];

        hf_supervisor_saved_name(saved, name, sizeof name);
        if (hf_settings_process(node->generation, name))
            continue;
        uint32_t count = hf_supervisor_saved_listeners(saved, descriptors, HF_LISTENERS_MAX);
        for (uint32_t k = 0; k < count; k++)
            close(descriptors[k]);
        result = hf_supervisor_adopt(node->supervisor, saved, NULL, NULL, 0, error);
    }
    return result;
}

/* First all that run, so that none of their descriptors is open in one that is new. */
static int32_t start_children(struct node *node, hf_error *error)
{
    const hf_process_entry *items = hf_settings_processes(node->generation)->entries.items;
    int32_t result = end_others(node, error);

    for (uint64_t i = 0; i < node->listener_count && !result; i++) {
        const hf_value *saved = hf_handover_child(&node->handover, items[i].name);
        result = saved ? start_child(node, saved, i, error) : 0;
    }
    for (uint64_t i = 0; i < node->listener_count && !result; i++) {
        if (hf_handover_child(&node->handover, items[i].name))
            continue;
        result = start_child(node, NULL, i, error);
        if (result && goes_on(node)) {
            leave_out(&items[i], error);
            result = 0;
        }
    }
    return result;
}

static int32_t create_supervisor(struct node *node, const char *reports, hf_error *error)
{
    const hf_processes_settings *settings = hf_settings_processes(node->generation);

    return hf_supervisor_create(&(hf_supervisor_settings){.loop = node->loop,
                                                          .report_directory = reports,
                                                          .restart_least_us = settings->restart_least_us,
                                                          .restart_most_us = settings->restart_most_us,
                                                          .healthy_us = HEALTHY_US,
                                                          .stop_grace_us = settings->stop_grace_us},
                                &node->supervisor, error);
}

static int32_t start(struct node *node, hf_error *error)
{
    char reports[PATH_SIZE];

    int32_t result = read_configuration(node, &node->generation, error);
    if (result)
        return result;
    const hf_log_options *options = hf_settings_log(node->generation);
    hf_log_configure(&(hf_log_settings){
        .process = "holdfastd", .level = options->level, .format = options->format, .fd = STDERR_FILENO});
    result = take_state(node, reports, error);
    if (!result)
        result = open_listeners(node, error);
    if (!result)
        result = create_supervisor(node, reports, error);
    return result ? result : start_children(node, error);
}

static void do_what_is_asked(struct node *node);

static void first_check_done(void *arg, int good, const char *lines)
{
    struct node *node = arg;
    hf_error error = {0};

    node->recheck = NULL;
    if (!good) {
        fputs(lines, stderr);
        end(node, 1);
    } else if (start(node, &error) != 0) {
        fprintf(stderr, "holdfastd: %s\n", error.message);
        end(node, 1);
    } else {
        hf_log(HF_LOG_INFO, source, "node '%s': processes started: %u", hf_settings_node(node->generation)->name,
               hf_supervisor_count(node->supervisor));
        do_what_is_asked(node);
    }
}

/* ---- Reloading --------------------------------------------------------------------------------------------------- */

static void log_lines(const char *what, const char *lines)
{
    while (*lines) {
        int size = (int)strcspn(lines, "\n");
        if (size)
            hf_log(HF_LOG_ERROR, source, "%s refused: %.*s", what, size, lines);
        lines += size + (lines[size] == '\n');
    }
}

/* What can change without a restart: the supervisor's own log, and all that the processes decide for themselves. */
static void reload_checked(void *arg, int good, const char *lines)
{
    struct node *node = arg;
    hf_config_generation *generation = NULL;
    hf_error error = {0};

    node->recheck = NULL;
    if (!good) {
        log_lines("reload", lines);
    } else if (read_configuration(node, &generation, &error) != 0) {
        log_lines("reload", error.message);
    } else {
        hf_log_set_level(hf_settings_log(generation)->level);
        hf_config_generation_free(generation);
        hf_log(HF_LOG_INFO, source, "the configuration is right; every process reloads it");
        hf_supervisor_signal(node->supervisor, SIGHUP);
    }
    do_what_is_asked(node);
}

/* ---- Restarting in place ----------------------------------------------------------------------------------------- */

static void restart_checked(void *arg, int good, const char *lines)
{
    struct node *node = arg;
    hf_error error = {0};

    node->recheck = NULL;
    if (good) {
        hf_log(HF_LOG_INFO, source, "restarting with '%s'", node->program);
        hf_handover_execute(&(hf_handover_parts){.program = node->program,
                                                 .arguments = node->arguments,
                                                 .state_directory = hf_settings_node(node->generation)->state_directory,
                                                 .lock_fd = node->lock_fd,
                                                 .supervisor = node->supervisor},
                            &error);
        lines = error.message; /* else this program would not be here any more */
    }
    log_lines("restart", lines);
    do_what_is_asked(node);
}

static void renewed(void *arg, int good)
{
    (void)arg;
    if (good)
        hf_log(HF_LOG_INFO, source, "restarted: every process runs the present program");
    else
        hf_log(HF_LOG_ERROR, source,
               "the restart goes no further: a process died before it was ready; those that are left run on as they "
               "were, and SIGUSR2 tries it again");
}

/* The program before this one has had the configuration checked by this one. */
static int32_t go_on(struct node *node, hf_error *error)
{
    int32_t result = start(node, error);

    if (result)
        return result;
    hf_log(HF_LOG_INFO, source, "node '%s' goes on in process %d; its processes are restarted one after the other",
           hf_settings_node(node->generation)->name, (int)getpid());
    hf_handover_done(&node->handover);
    hf_supervisor_renew(node->supervisor, renewed, node);
    return 0;
}

/* ---- What is asked for ------------------------------------------------------------------------------------------- */

/* One check at a time; what is asked for meanwhile is done after it, since the file may have changed after it was
 * read. */
static void do_what_is_asked(struct node *node)
{
    hf_error error = {0};
    int32_t result = 0;

    if (node->ending || node->recheck || !node->supervisor)
        return;
    if (node->restart_asked) {
        node->restart_asked = 0;
        result = hf_recheck_start(node->loop, node->program, node->path, HF_HANDOVER_VERSION, restart_checked, node,
                                  &node->recheck, &error);
    } else if (node->reload_asked) {
        node->reload_asked = 0;
        result =
            hf_recheck_start(node->loop, node->program, node->path, NULL, reload_checked, node, &node->recheck, &error);
    }
    if (result)
        log_lines("reload or restart", error.message);
}

static void on_signal(void *arg, int32_t number)
{
    struct node *node = arg;

    if (number != SIGHUP && number != SIGUSR2) {
        hf_log(HF_LOG_INFO, source, "ending, as signal %d (%s) asks", number, sigdescr_np(number));
        end(node, 0);
        return;
    }
    node->restart_asked |= number == SIGUSR2;
    node->reload_asked |= number == SIGHUP;
    do_what_is_asked(node);
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

static void take_down(struct node *node)
{
    hf_supervisor_destroy(node->supervisor);
    for (uint64_t i = 0; i < node->listener_count; i++)
        hf_listeners_close(&node->listeners[i]);
    free(node->listeners);
    hf_config_generation_free(node->generation);
    hf_handover_done(&node->handover);
    hf_unix_signals_destroy(node->signals);
    hf_loop_destroy(node->loop);
    if (node->lock_fd >= 0)
        close(node->lock_fd);
}

static int32_t begin(struct node *node, hf_error *error)
{
    int32_t result = hf_loop_create("main", &node->loop, error);

    if (!result)
        result = hf_unix_signals_watch(node->loop, on_signal, node, &node->signals, error);
    if (result)
        return result;
    result = hf_handover_take(&node->handover, error);
    if (result == HF_ENOTFOUND)
        return hf_recheck_start(node->loop, node->program, node->path, NULL, first_check_done, node, &node->recheck,
                                error);
    return result ? result : go_on(node, error);
}

int hf_supervise_run(const char *program, const char *path, char **arguments)
{
    struct node node = {.program = program, .path = path, .arguments = arguments, .lock_fd = -1};
    hf_error error = {0};

    hf_log_configure(&(hf_log_settings){.process = "holdfastd", .level = HF_LOG_INFO, .fd = STDERR_FILENO});
    if (begin(&node, &error) != 0) {
        fprintf(stderr, "holdfastd: %s\n", error.message);
        node.exit_code = 1;
    } else {
        hf_loop_run(node.loop);
    }
    take_down(&node);
    return node.exit_code;
}
