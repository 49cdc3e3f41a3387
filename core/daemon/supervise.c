/* The node's first process.  It loads no plugin and serves nobody: it holds the listening sockets and the lock of the
 * state directory, and starts, watches and ends the others.  All of it is on one loop. */
#include "daemon/supervise.h"

#include "daemon/inherit.h"
#include "daemon/recheck.h"
#include "daemon/state.h"
#include "daemon/unix_signals.h"
#include "loop/loop.h"
#include "supervisor/supervisor.h"
#include "telemetry/log.h"

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
    hf_loop *loop;
    hf_unix_signals *signals;
    hf_recheck *recheck; /* under way */
    int check_again;
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
        result = hf_state_lock(directory, "lock", &node->lock_fd, error);
    if (!result && (size_t)snprintf(reports, PATH_SIZE, "%s/reports", directory) >= PATH_SIZE)
        result = hf_error_set(error, HF_EINVAL, "the state directory's path is too long");
    return result ? result : hf_state_make(reports, error);
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
        int32_t result =
            hf_listeners_open(node->generation, entry, NULL, &node->listeners[node->listener_count], error);
        if (result)
            return hf_error_prefix(error, "process '%s'", entry->name);
    }
    return 0;
}

static int32_t start_children(struct node *node, hf_error *error)
{
    const hf_process_entry *items = hf_settings_processes(node->generation)->entries.items;
    int32_t result = 0;

    for (uint64_t i = 0; i < node->listener_count && !result; i++) {
        const char *argv[] = {node->program, "--config", node->path, "--process", items[i].name, NULL};
        int32_t descriptors[HF_LISTENERS_MAX];
        uint32_t count = hf_listeners_list(&node->listeners[i], descriptors);

        result = hf_supervisor_add(node->supervisor, items[i].name, argv, descriptors, count, error);
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
    }
}

/* ---- Reloading --------------------------------------------------------------------------------------------------- */

static void log_lines(const char *lines)
{
    while (*lines) {
        int size = (int)strcspn(lines, "\n");
        if (size)
            hf_log(HF_LOG_ERROR, source, "reload refused: %.*s", size, lines);
        lines += size + (lines[size] == '\n');
    }
}

static void start_recheck(struct node *node);

/* What can change without a restart: the supervisor's own log, and all that the processes decide for themselves. */
static void recheck_done(void *arg, int good, const char *lines)
{
    struct node *node = arg;
    hf_config_generation *generation = NULL;
    hf_error error = {0};

    node->recheck = NULL;
    if (!good) {
        log_lines(lines);
    } else if (read_configuration(node, &generation, &error) != 0) {
        log_lines(error.message);
    } else {
        hf_log_set_level(hf_settings_log(generation)->level);
        hf_config_generation_free(generation);
        hf_log(HF_LOG_INFO, source, "the configuration is right; every process reloads it");
        hf_supervisor_signal(node->supervisor, SIGHUP);
    }
    if (node->check_again)
        start_recheck(node);
}

static void start_recheck(struct node *node)
{
    hf_error error = {0};

    node->check_again = 0;
    if (hf_recheck_start(node->loop, node->program, node->path, recheck_done, node, &node->recheck, &error) != 0)
        log_lines(error.message);
}

static void on_signal(void *arg, int32_t number)
{
    struct node *node = arg;

    if (number != SIGHUP) {
        hf_log(HF_LOG_INFO, source, "ending, as signal %d (%s) asks", number, sigdescr_np(number));
        end(node, 0);
    } else if (node->recheck) {
        node->check_again = 1; /* the file may have changed after it was read */
    } else if (!node->ending && node->supervisor) {
        start_recheck(node);
    }
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

static void take_down(struct node *node)
{
    hf_supervisor_destroy(node->supervisor);
    for (uint64_t i = 0; i < node->listener_count; i++)
        hf_listeners_close(&node->listeners[i]);
    free(node->listeners);
    hf_config_generation_free(node->generation);
    hf_unix_signals_destroy(node->signals);
    hf_loop_destroy(node->loop);
    if (node->lock_fd >= 0)
        close(node->lock_fd);
}

int hf_supervise_run(const char *program, const char *path)
{
    struct node node = {.program = program, .path = path, .lock_fd = -1};
    hf_error error = {0};

    hf_log_configure(&(hf_log_settings){.process = "holdfastd", .level = HF_LOG_INFO, .fd = STDERR_FILENO});
    int32_t result = hf_loop_create("main", &node.loop, &error);
    if (!result)
        result = hf_unix_signals_watch(node.loop, on_signal, &node, &node.signals, &error);
    if (!result)
        result = hf_recheck_start(node.loop, program, path, first_check_done, &node, &node.recheck, &error);
    if (result) {
        fprintf(stderr, "holdfastd: %s\n", error.message);
        node.exit_code = 1;
    } else {
        hf_loop_run(node.loop);
    }
    take_down(&node);
    return node.exit_code;
}
