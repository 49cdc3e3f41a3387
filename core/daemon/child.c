/* One process: it is built in steps, each of which needs those before it, and taken down in the opposite order. */
#include "daemon/child.h"

#include "daemon/admin.h"
#include "daemon/compare.h"
#include "daemon/inherit.h"
#include "daemon/links.h"
#include "daemon/operations.h"
#include "daemon/policies.h"
#include "daemon/sockets.h"
#include "daemon/state.h"
#include "daemon/unix_signals.h"
#include "loop/loop.h"
#include "supervisor/blackbox.h"
#include "telemetry/log.h"

#include <holdfast/lib/error.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char source[] = "daemon";

enum { IDLE_LOOK_US = 10000 };

struct child {
    const char *path, *name;
    hf_config_generation *core; /* the core's sections only; until the plugins are loaded */
    hf_config_generation *generation;
    const hf_process_entry *entry; /* of `generation`, once there is one */
    uint64_t stop_grace_us;
    int lock_fd;
    hf_listeners listeners;
    hf_sockets *sockets;
    hf_process *process;
    hf_loop *loops[HF_WORKERS_MAX]; /* the workers */
    hf_plugins plugins;
    hf_tokens *tokens;
    hf_http_server *http;
    hf_links *links; /* NULL: none */
    hf_policies *policies;
    hf_signals *signals;
    hf_instances *instances;
    hf_reload *reload; /* takes `generation` */
    hf_gauges *gauges;
    hf_admin *admin;
    hf_compare *compare;
    hf_unix_signals *unix_signals;
    hf_task start_task;
    struct accept_task *accept_tasks; /* one per listener */
    atomic_uint accept_left;
    hf_task accepting_task;
    hf_timer *idle_timer;
    int started, ending, exit_code;
};

struct accept_task {
    hf_task task; /* first */
    struct child *child;
    uint32_t loop;
    int32_t fd;
    int32_t result;
};

/* ---- Ending ------------------------------------------------------------------------------------------------------ */

static void stop_when_idle(void *arg)
{
    struct child *child = arg;

    if (hf_reload_busy(child->reload) || hf_admin_busy(child->admin))
        return;
    hf_timer_stop(child->idle_timer);
    hf_process_stop(child->process);
}

static void links_stopped(void *arg)
{
    struct child *child = arg;

    hf_timer_start(child->idle_timer, 0, IDLE_LOOK_US);
}

static void http_stopped(void *arg)
{
    struct child *child = arg;

    if (child->links && child->started)
        hf_peers_stop(hf_links_peers(child->links), links_stopped, child);
    else
        links_stopped(child);
}

static void drained(void *arg)
{
    struct child *child = arg;

    hf_http_server_stop(child->http, child->stop_grace_us / 4, http_stopped, child);
}

/* The supervisor kills after the whole grace: services get half of it, connections a quarter. */
static void end(struct child *child, int exit_code)
{
    if (child->ending)
        return;
    child->ending = 1;
    child->exit_code = exit_code;
    hf_log(HF_LOG_INFO, source, "ending");
    hf_admin_ending(child->admin);
    hf_reload_close(child->reload);
    if (child->started)
        hf_instances_drain(child->instances, child->stop_grace_us / 2, drained, child);
    else
        drained(child);
}

static void on_signal(void *arg, int32_t number)
{
    struct child *child = arg;

    if (number == SIGUSR2) /* for the supervisor; somebody has sent it to all */
        return;
    if (number != SIGHUP)
        end(child, 0);
    if (child->ending)
        return;
    hf_policies_reload(child->policies);
    (void)hf_reload_start(child->reload, NULL, NULL, NULL); /* when one is under way, it is repeated */
}

/* ---- Starting, on the running loops ------------------------------------------------------------------------------ */

static void accepting(hf_task *task)
{
    struct child *child = (struct child *)((char *)task - offsetof(struct child, accepting_task));

    for (uint32_t i = 0; i < child->listeners.http_count; i++)
        if (child->accept_tasks[i].result) {
            hf_log(HF_LOG_ERROR, source, "cannot accept connections: no memory for a listener");
            end(child, 1);
            return;
        }
    hf_sockets_ready(child->sockets);
    hf_log(HF_LOG_INFO, source, "ready: process '%s' of node '%s' at %s", child->name,
           hf_process_offered(child->process)->node_name, child->entry->listen);
}

static void accept_on_loop(hf_task *task)
{
    struct accept_task *own = (struct accept_task *)task;
    struct child *child = own->child;

    own->result = hf_http_server_listen(child->http, own->loop, own->fd, NULL);
    if (atomic_fetch_sub(&child->accept_left, 1) == 1)
        hf_loop_post(hf_process_main_loop(child->process), &child->accepting_task);
}

/* Only now, so that no request meets a service that has not started; connections wait in the kernel until then. */
static void begin_accepting(struct child *child)
{
    uint32_t count = child->listeners.http_count, workers = (uint32_t)child->entry->worker_threads;

    if (count != workers)
        hf_log(HF_LOG_WARNING, source, "%u listening sockets for %u worker threads; restart holdfastd to change that",
               count, workers);
    child->accepting_task.run = accepting;
    atomic_store(&child->accept_left, count);
    for (uint32_t i = 0; i < count; i++) {
        struct accept_task *task = &child->accept_tasks[i];
        *task = (struct accept_task){{NULL, accept_on_loop}, child, i % workers, child->listeners.http[i], 0};
        hf_loop_post(hf_process_worker(child->process, task->loop), &task->task);
    }
}

static void start(hf_task *task)
{
    struct child *child = (struct child *)((char *)task - offsetof(struct child, start_task));
    hf_error error = {0};

    if (child->ending)
        return;
    if ((child->links && hf_peers_start(hf_links_peers(child->links), &error) != 0) ||
        hf_instances_start(child->instances, &error) != 0) {
        hf_log(HF_LOG_ERROR, source, "cannot start: %s", error.message);
        end(child, 1);
        return;
    }
    child->started = 1;
    hf_operations_tell_death(child->signals, child->name);
    begin_accepting(child);
}

/* ---- Building, step by step -------------------------------------------------------------------------------------- */

static int32_t log_problems(const hf_config_problems *problems, int32_t result, hf_error *error)
{
    for (uint32_t i = 0; i < problems->count; i++)
        hf_log(HF_LOG_ERROR, source, "%s", problems->lines[i]);
    return hf_error_set(error, result, "the configuration is wrong; 'holdfastd --check' says more");
}

/* What has to be known before plugins can be loaded. */
static int32_t read_core(struct child *child, hf_config_problems *problems, hf_error *error)
{
    uint32_t count;
    const hf_config_section *sections = hf_settings_sections(&count);

    int32_t result = hf_config_load_known(child->path, sections, count, &child->core, problems);
    if (result)
        return log_problems(problems, result, error);
    const hf_log_options *options = hf_settings_log(child->core);
    hf_log_configure(&(hf_log_settings){
        .process = child->name, .level = options->level, .format = options->format, .fd = STDERR_FILENO});
    child->entry = hf_settings_process(child->core, child->name);
    if (!child->entry)
        return hf_error_set(error, HF_ENOTFOUND, "processes.run has no entry '%s'; expected one of that name",
                            child->name);
    return 0;
}

static int32_t take_state(struct child *child, hf_error *error)
{
    char name[280];
    const char *directory = hf_settings_node(child->core)->state_directory;

    if ((size_t)snprintf(name, sizeof name, "lock.%s", child->name) >= sizeof name)
        return hf_error_set(error, HF_EINVAL, "the process's name is too long");
    int32_t result = hf_state_make(directory, error);
    return result ? result : hf_state_lock(directory, name, &child->lock_fd, error);
}

static int32_t create_process(struct child *child, hf_error *error)
{
    hf_process_settings settings = {
        .worker_count = (uint32_t)child->entry->worker_threads,
        .pool_threads = (uint32_t)child->entry->pool_threads,
        .pool_queue_limit = (uint32_t)child->entry->pool_queue,
    };

    return hf_process_create(&settings, &child->process, error);
}

static int32_t load_plugins(struct child *child, hf_config_problems *problems, hf_error *error)
{
    int32_t result = hf_plugins_load(child->core, child->process, &child->plugins, problems);

    if (!result)
        result = hf_plugins_configure(&child->plugins, child->path, &child->generation, problems);
    if (!result)
        result = hf_plugins_check(&child->plugins, child->generation, problems);
    if (result)
        return log_problems(problems, result, error);
    child->entry = hf_settings_process(child->generation, child->name);
    if (!child->entry || child->entry->worker_threads != hf_settings_process(child->core, child->name)->worker_threads)
        return hf_error_set(error, HF_ECONFLICT, "the configuration changed while it was read; start again");
    child->stop_grace_us = hf_settings_processes(child->generation)->stop_grace_us;
    return 0;
}

static int32_t create_http(struct child *child, hf_error *error)
{
    const hf_http_options *options = hf_settings_http(child->generation);
    uint32_t count = (uint32_t)child->entry->worker_threads;

    for (uint32_t i = 0; i < count; i++)
        child->loops[i] = hf_process_worker(child->process, i);
    int32_t result =
        hf_tokens_create(child->generation, hf_settings_loopback(child->entry->listen), &child->tokens, error);
    if (result)
        return result;
    return hf_http_server_create(
        &(hf_http_settings){
            .loops = child->loops,
            .loop_count = count,
            .metrics = hf_process_metrics(child->process),
            .authority = hf_tokens_authority(child->tokens),
            .head_maximum = options->head_maximum,
            .body_memory_maximum = options->body_memory_maximum,
            .answer_memory_maximum = options->answer_memory_maximum,
            .client_share = (uint64_t)options->client_share,
            .connections_maximum = (uint32_t)options->connections_maximum,
            .idle_timeout_us = options->idle_timeout_us,
            .receive_timeout_us = options->receive_timeout_us,
            .send_timeout_us = options->send_timeout_us,
        },
        &child->http, error);
}

static uint64_t configuration_version(void *arg)
{
    const struct child *child = arg;

    return hf_reload_version(child->reload);
}

static int32_t capability(void *arg, const char *kind, const char *name, const hf_head **ret_interface, void **ret_self,
                          hf_error *error)
{
    struct child *child = arg;

    return hf_instances_capability(child->instances, kind, name, ret_interface, ret_self, error);
}

static int32_t capability_chosen(void *arg, const char *kind, const hf_capability_choice *choice,
                                 const hf_head **ret_interface, void **ret_self, hf_error *error)
{
    struct child *child = arg;

    return hf_instances_chosen(child->instances, kind, choice, ret_interface, ret_self, error);
}

/* What plugins reach through their hosts. */
static void offer(struct child *child)
{
    hf_process_offer(child->process, &(hf_process_parts){
                                         .http = child->http,
                                         .peers = hf_links_peers(child->links),
                                         .lua = hf_policies_lua(child->policies),
                                         .signals = child->signals,
                                         .listen = hf_sockets_listen(child->sockets),
                                         .node_name = hf_settings_node(child->generation)->name,
                                         .cluster_name = hf_settings_cluster(child->generation)->name,
                                         .state_directory = hf_settings_node(child->generation)->state_directory,
                                         .configuration_version = configuration_version,
                                         .capability = capability,
                                         .capability_chosen = capability_chosen,
                                         .arg = child,
                                     });
}

static int32_t create_reload(struct child *child, hf_error *error)
{
    int32_t result = hf_instances_create(&child->plugins, child->process, child->generation, &child->instances, error);

    if (!result)
        result = hf_reload_create(&(hf_reload_settings){.path = child->path,
                                                        .plugins = &child->plugins,
                                                        .process = child->process,
                                                        .instances = child->instances,
                                                        .tokens = child->tokens},
                                  child->generation, &child->reload, error);
    return result;
}

static int32_t create_admin(struct child *child, hf_error *error)
{
    int32_t result = hf_gauges_create(child->process, HOLDFAST_VERSION, &child->gauges, error);

    if (!result)
        result = hf_admin_create(&(hf_admin_settings){.process_name = child->name,
                                                      .version = HOLDFAST_VERSION,
                                                      .process = child->process,
                                                      .plugins = &child->plugins,
                                                      .instances = child->instances,
                                                      .reload = child->reload,
                                                      .gauges = child->gauges},
                                 &child->admin, error);
    if (!result)
        result = hf_compare_create(&child->plugins, child->process, child->reload, &child->compare, error);
    return result;
}

static int32_t create_services(struct child *child, hf_error *error)
{
    const hf_strings *services = &child->entry->services;
    int32_t result = 0;

    for (uint64_t i = 0; i < services->count && !result; i++)
        result = hf_instances_service(child->instances, services->items[i], error);
    return result ? result : hf_instances_detectors(child->instances, error);
}

static int32_t take_listeners(struct child *child, hf_error *error)
{
    int32_t result = hf_listeners_take(child->generation, child->entry, &child->listeners, error);

    if (result)
        return result;
    child->accept_tasks = calloc(child->listeners.http_count, sizeof *child->accept_tasks);
    return child->accept_tasks ? hf_sockets_create(&child->sockets, error)
                               : hf_error_set(error, HF_ENOMEM, "no memory for the listeners");
}

static int32_t prepare_loop(struct child *child, hf_error *error)
{
    hf_loop *loop = hf_process_main_loop(child->process);
    int32_t result = hf_unix_signals_watch(loop, on_signal, child, &child->unix_signals, error);

    if (!result)
        result = hf_timer_create(loop, stop_when_idle, child, &child->idle_timer, error);
    child->start_task.run = start;
    if (!result)
        hf_loop_post(loop, &child->start_task);
    return result;
}

static int32_t build(struct child *child, hf_config_problems *problems, hf_error *error)
{
    int32_t result = read_core(child, problems, error);

    if (!result)
        result = take_state(child, error);
    if (!result)
        result = create_process(child, error);
    if (!result)
        result = load_plugins(child, problems, error);
    if (!result)
        result = create_http(child, error);
    if (!result)
        result = take_listeners(child, error);
    if (!result)
        result = hf_links_create(child->generation, child->entry, child->process, child->loops, child->listeners.peers,
                                 &child->links, error);
    if (!result)
        result = hf_policies_create(child->generation, child->process, child->loops,
                                    (uint32_t)child->entry->worker_threads, &child->policies, error);
    if (!result)
        result = hf_policies_routes(child->policies, child->http, error);
    if (!result)
        result = hf_operations_create(child->generation, child->process, hf_policies_lua(child->policies), child->name,
                                      child->http, &child->signals, error);
    if (!result)
        offer(child);
    if (!result)
        result = create_reload(child, error);
    if (!result)
        result = create_admin(child, error);
    if (!result)
        result = create_services(child, error);
    if (!result)
        hf_policies_load(child->policies); /* everything is declared now */
    return result ? result : prepare_loop(child, error);
}

static void take_down(struct child *child)
{
    hf_timer_destroy(child->idle_timer);
    hf_unix_signals_destroy(child->unix_signals);
    hf_instances_destroy(child->instances);
    hf_http_server_destroy(child->http);
    hf_links_destroy(child->links);
    hf_admin_destroy(child->admin);
    hf_compare_destroy(child->compare);
    hf_gauges_destroy(child->gauges);
    hf_tokens_destroy(child->tokens);
    hf_plugins_done(&child->plugins);
    hf_process_destroy(child->process);
    hf_signals_destroy(child->signals);
    hf_policies_destroy(child->policies);
    if (child->reload)
        hf_reload_destroy(child->reload);
    else
        hf_config_generation_free(child->generation);
    hf_config_generation_free(child->core);
    hf_sockets_destroy(child->sockets);
    hf_listeners_close(&child->listeners);
    free(child->accept_tasks);
    if (child->lock_fd >= 0)
        close(child->lock_fd);
}

int hf_child_run(const char *path, const char *name)
{
    struct child child = {.path = path, .name = name, .lock_fd = -1, .listeners = {.peers = -1}};
    hf_config_problems *problems = calloc(1, sizeof *problems);
    hf_error error = {0};

    hf_log_configure(&(hf_log_settings){.process = name, .level = HF_LOG_INFO, .fd = STDERR_FILENO});
    int32_t result = problems ? 0 : hf_error_set(&error, HF_ENOMEM, "no memory to begin");
    if (!result) {
        result = hf_blackbox_attach(&error);
        result = result == HF_ENOTFOUND ? 0 : result; /* started by hand */
    }
    if (!result)
        result = build(&child, problems, &error);
    if (!result)
        result = hf_process_run(child.process, &error);
    if (result) {
        hf_log(HF_LOG_ERROR, source, "cannot run process '%s': %s", name, error.message);
        child.exit_code = 1;
    }
    take_down(&child);
    free(problems);
    hf_log(child.exit_code ? HF_LOG_ERROR : HF_LOG_INFO, source, "ended");
    return child.exit_code;
}
