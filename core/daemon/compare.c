#include "daemon/compare.h"

#include "loop/pool.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/json.h>
#include <stdlib.h>

enum { ANSWER_MAXIMUM = 4 << 20 };

struct hf_compare {
    const hf_plugins *plugins;
    hf_process *process;
    hf_reload *reload;
};

/* One request on its way through the pool, where files are read, to the main loop, where the generation is. */
typedef struct comparison {
    hf_job job;
    hf_compare *compare;
    hf_http_request *request;
    const char *path; /* in the request's arena */
    hf_config_generation *loaded;
    hf_config_problems problems;
} comparison;

static void load(hf_job *job)
{
    comparison *own = (comparison *)(void *)job;

    (void)hf_plugins_configure(own->compare->plugins, own->path, &own->loaded, &own->problems);
}

static void write_lines(hf_json_writer *writer, const hf_config_problems *problems)
{
    hf_json_begin_list(writer);
    for (uint32_t i = 0; i < problems->count; i++)
        hf_json_text(writer, problems->lines[i]);
    hf_json_end_list(writer);
}

static void write_changes(hf_json_writer *writer, const hf_config_diff *diff)
{
    uint64_t count = 0;
    const hf_config_change *changes = hf_config_diff_changes(diff, &count);

    hf_json_begin_list(writer);
    for (uint64_t i = 0; i < count; i++) {
        hf_json_begin_object(writer);
        hf_json_member_text(writer, "key", changes[i].key);
        hf_json_member_text(writer, "in_force", changes[i].old_text);
        hf_json_member_text(writer, "in_file", changes[i].new_text);
        hf_json_member_boolean(writer, "restart_needed", !changes[i].reloadable);
        hf_json_end_object(writer);
    }
    hf_json_end_list(writer);
}

/* {"changes":[...],"problems":[...]}; a file with problems is compared with nothing. */
static void answer(comparison *own)
{
    hf_config_diff *diff = NULL;
    hf_json_writer writer;
    hf_buffer body;
    hf_error error = {0};

    hf_buffer_init(&body, ANSWER_MAXIMUM);
    hf_json_writer_init(&writer, &body);
    hf_json_begin_object(&writer);
    if (own->loaded && hf_config_diff_create(hf_reload_generation(own->compare->reload), own->loaded, &diff) != 0)
        writer.result = HF_ENOMEM;
    if (diff) {
        hf_json_name(&writer, "changes");
        write_changes(&writer, diff);
    }
    hf_json_name(&writer, "problems");
    write_lines(&writer, &own->problems);
    hf_json_end_object(&writer);
    if (writer.result == 0) {
        hf_http_respond(own->request, 200, "application/json", (hf_slice){body.data, body.size}, NULL, 0);
    } else {
        hf_error_set(&error, HF_EBUSY, "no memory for the answer");
        hf_http_problem(own->request, 503, "busy", &error, NULL);
    }
    hf_config_diff_free(diff);
    hf_buffer_done(&body);
}

static void loaded(hf_job *job)
{
    comparison *own = (comparison *)(void *)job;

    if (own->loaded && hf_plugins_check(own->compare->plugins, own->loaded, &own->problems) != 0) {
        hf_config_generation_free(own->loaded);
        own->loaded = NULL;
    }
    answer(own);
    hf_config_generation_free(own->loaded);
    free(own);
}

static void handle(void *arg, hf_http_request *request)
{
    hf_slice file = hf_http_query(request, "file"), copy = {NULL, 0};
    comparison *own = calloc(1, sizeof *own);
    hf_compare *compare = arg;
    hf_error error = {0};

    if (!own || hf_arena_copy(hf_http_arena(request), file, &copy) != 0) {
        hf_error_set(&error, HF_EBUSY, "no memory for the request");
        hf_http_problem(request, 503, "busy", &error, NULL);
    } else if (!file.size || file.data[0] != '/') {
        hf_error_set(&error, HF_EINVAL, "file is missing: the absolute path of a configuration on this machine");
        hf_http_problem(request, 400, "bad-request", &error, NULL);
    } else {
        *own = (comparison){.compare = compare, .request = request, .path = (const char *)copy.data};
        own->job = (hf_job){.loop = hf_process_main_loop(compare->process), .work = load, .done = loaded};
        if (hf_pool_submit(hf_process_pool(compare->process), &own->job, &error) == 0)
            return;
        error.retry = HF_RETRY_LATER;
        hf_http_problem(request, 503, "busy", &error, NULL);
    }
    free(own);
}

int32_t hf_compare_create(const hf_plugins *plugins, hf_process *process, hf_reload *reload, hf_compare **ret_compare,
                          hf_error *error)
{
    static const hf_http_route route = {sizeof(hf_http_route),
                                        HF_HTTP_ADMIN,
                                        "GET",
                                        "/v1/admin/config/diff",
                                        0,
                                        "How a file differs from the configuration in force.",
                                        handle};
    hf_compare *compare = calloc(1, sizeof *compare);

    if (!compare)
        return hf_error_set(error, HF_ENOMEM, "no memory for the admin interface");
    *compare = (hf_compare){plugins, process, reload};
    int32_t result = hf_http_server_route_reserved(hf_process_offered(process)->http, &route, compare, error);
    if (result) {
        free(compare);
        return result;
    }
    *ret_compare = compare;
    return 0;
}

void hf_compare_destroy(hf_compare *compare)
{
    free(compare);
}
