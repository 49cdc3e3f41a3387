/* What tests do with the nodes: run something on a loop, send, call, look at log and metrics; see kit.h. */
#include "kit.h"

#include "authority.h"
#include "log.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

char kit_directory[64], kit_other_directory[64];

/* ---- The log ----------------------------------------------------------------------------------------------------- */

static int log_ends[2];
static pthread_t log_thread;
static char log_text[1 << 20];
static size_t log_size;

static void *read_log(void *arg)
{
    char bytes[4096];
    ssize_t size;

    while ((size = read(log_ends[0], bytes, sizeof bytes)) > 0) {
        pthread_mutex_lock(&kit_lock);
        if (log_size + (size_t)size < sizeof log_text) {
            memcpy(log_text + log_size, bytes, (size_t)size);
            log_size += (size_t)size;
            log_text[log_size] = 0;
        }
        pthread_cond_broadcast(&kit_changed);
        pthread_mutex_unlock(&kit_lock);
    }
    return arg;
}

const char *kit_log(void)
{
    return log_text;
}

int kit_logged(const char *words)
{
    return strstr(log_text, words) != NULL;
}

void kit_wait_log(const char *words)
{
    KIT_WAIT(kit_logged(words));
}

void kit_print_log(void)
{
    pthread_mutex_lock(&kit_lock);
    print_message("%s", log_text);
    pthread_mutex_unlock(&kit_lock);
}

/* ---- Fixtures ---------------------------------------------------------------------------------------------------- */

static void make_authority(char directory[64])
{
    static const char *const names[] = {"n1", "n2", "n3", "n9"}, *const local[] = {"127.0.0.1", NULL};

    strcpy(directory, "/tmp/holdfast-peer-XXXXXX");
    assert_non_null(mkdtemp(directory));
    assert_int_equal(hf_authority_create(directory, "test", 10, NULL), 0);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_int_equal(hf_authority_issue(directory, names[i], local, 10, 0, NULL), 0);
}

int kit_begin(void **state)
{
    static hf_log_settings settings = {.process = "test", .level = HF_LOG_INFO, .format = HF_LOG_FORMAT_TEXT};

    (void)state;
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(pipe2(log_ends, O_CLOEXEC), 0);
    assert_int_equal(pthread_create(&log_thread, NULL, read_log, NULL), 0);
    settings.fd = log_ends[1];
    hf_log_configure(&settings);
    make_authority(kit_directory);
    make_authority(kit_other_directory);
    return 0;
}

int kit_finish(void **state)
{
    static const hf_log_settings settings = {.process = "test", .level = HF_LOG_INFO, .fd = 2};
    char command[200];

    (void)state;
    hf_log_configure(&settings);
    close(log_ends[1]);
    pthread_join(log_thread, NULL);
    close(log_ends[0]);
    snprintf(command, sizeof command, "rm -rf '%s' '%s'", kit_directory, kit_other_directory);
    return system(command);
}

int kit_prepare(void **state)
{
    (void)state;
    pthread_mutex_lock(&kit_lock);
    log_size = 0;
    log_text[0] = 0;
    pthread_mutex_unlock(&kit_lock);
    kit_prepare_nodes();
    return 0;
}

/* ---- On a loop --------------------------------------------------------------------------------------------------- */

struct running {
    hf_task task;
    void (*function)(void *arg);
    void *arg;
    int done;
};

static void run_function(hf_task *task)
{
    struct running *running = (struct running *)(void *)task;

    running->function(running->arg);
    pthread_mutex_lock(&kit_lock);
    running->done = 1;
    pthread_cond_broadcast(&kit_changed);
    pthread_mutex_unlock(&kit_lock);
}

void kit_run(hf_loop *loop, void (*function)(void *arg), void *arg)
{
    struct running running = {.task.run = run_function, .function = function, .arg = arg};

    hf_loop_post(loop, &running.task);
    KIT_WAIT(running.done);
}

struct burst {
    kit_node *node;
    uint32_t to, count, size, sent;
    int32_t last;
};

static void send_burst(void *arg)
{
    struct burst *burst = arg;
    uint8_t *bytes = calloc(1, burst->size + 1);

    assert_non_null(bytes);
    for (uint32_t i = 0; i < burst->size; i++)
        bytes[i] = (uint8_t)(i * 131 >> 3);
    for (burst->sent = 0; burst->sent < burst->count; burst->sent++) {
        hf_slice pieces[2] = {{(uint8_t *)&burst->sent, 4}, {bytes, burst->size}};
        burst->last = hf_peers_send(burst->node->channel, burst->to, pieces, 2);
        if (burst->last != 0)
            break;
    }
    free(bytes);
}

uint32_t kit_burst(kit_node *node, uint32_t worker, uint32_t to, uint32_t count, uint32_t size, int32_t *ret_last)
{
    struct burst burst = {.node = node, .to = to, .count = count, .size = size};

    kit_run(node->workers[worker], send_burst, &burst);
    *ret_last = burst.last;
    return burst.sent;
}

/* ---- Calls ------------------------------------------------------------------------------------------------------- */

static void call_done(void *arg, int32_t code, hf_slice response)
{
    kit_call *call = arg;

    pthread_mutex_lock(&kit_lock);
    call->early |= call->in_call;
    call->elsewhere |= hf_loop_current() != call->node->workers[0];
    call->code = code;
    snprintf(call->response, sizeof call->response, "%.*s", (int)response.size, (const char *)response.data);
    call->done++;
    pthread_cond_broadcast(&kit_changed);
    pthread_mutex_unlock(&kit_lock);
}

static void begin_call(hf_task *task)
{
    kit_call *call = (kit_call *)(void *)task;
    hf_slice piece = {(const uint8_t *)call->text, strlen(call->text)};

    call->in_call = 1;
    (call->is_bulk ? hf_peers_call_bulk : hf_peers_call)(call->node->channel, call->to, &piece, 1, call->timeout_us,
                                                         call_done, call);
    call->in_call = 0;
}

static void start_call(kit_call *call)
{
    call->task.run = begin_call;
    hf_loop_post(call->node->workers[0], &call->task);
}

void kit_call_start(kit_call *call, kit_node *node, uint32_t to, const char *text, uint64_t timeout_us)
{
    *call = (kit_call){.node = node, .to = to, .text = text, .timeout_us = timeout_us};
    start_call(call);
}

int32_t kit_call_wait(kit_call *call)
{
    KIT_WAIT(call->done);
    assert_int_equal(call->done, 1);
    assert_false(call->early);
    assert_false(call->elsewhere);
    return call->code;
}

static int32_t call_now(kit_call call, char response[32])
{
    call.timeout_us = 30000000;
    start_call(&call);
    int32_t code = kit_call_wait(&call);
    if (response)
        strcpy(response, call.response);
    return code;
}

int32_t kit_call_now(kit_node *node, uint32_t to, const char *text, char response[32])
{
    return call_now((kit_call){.node = node, .to = to, .text = text}, response);
}

int32_t kit_bulk_call_now(kit_node *node, uint32_t to, const char *text, char response[32])
{
    return call_now((kit_call){.node = node, .to = to, .text = text, .is_bulk = 1}, response);
}

double kit_metric(const kit_node *node, const char *series)
{
    char *text = NULL;
    uint64_t size = 0;
    double value = -1;

    assert_int_equal(hf_metrics_render(node->metrics, &text, &size, NULL), 0);
    for (const char *line = text; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
        if (strncmp(line, series, strlen(series)) == 0 && line[strlen(series)] == ' ')
            value = strtod(line + strlen(series), NULL);
    free(text);
    return value;
}
