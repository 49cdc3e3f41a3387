/* Commands about Lua policies. */
#include "cli/cli.h"

#include "lua/lua_host.h"

#include <stdio.h>

static void print_points(const hf_value *document)
{
    static const char *const titles[] = {"DECISION POINT", "STATE", "POLICY", "WHAT"};
    const hf_value *points = hf_value_get(document, "points");
    cli_table table;

    cli_table_begin(&table, 4, titles);
    for (uint64_t i = 0; i < cli_list_count(points); i++) {
        const hf_value *point = &points->as.items[i];
        const hf_value *policy = hf_value_get(point, "policy");
        int has_policy = hf_value_slice(policy).size > 0;
        cli_table_value(&table, hf_value_get(point, "name"));
        cli_table_text(&table, !has_policy ? "default" : hf_value_get_boolean(point, "switched_off", 0) ? "off" : "on");
        cli_table_value(&table, policy);
        cli_table_value(&table, hf_value_get(point, "doc"));
    }
    cli_table_end(&table);
}

int cli_policy_list(cli_run *cli)
{
    return cli_show_path(cli, "GET", "/v1/admin/policies", (hf_slice){NULL, 0}, print_points);
}

int cli_policy_reload(cli_run *cli)
{
    return cli_show_path(cli, "POST", "/v1/admin/policies/reload", hf_slice_of(""), NULL);
}

enum { POINTS_MAX = 256 };

static const char *copy_text(cli_run *cli, const hf_value *map, const char *name)
{
    hf_slice copy = {NULL, 0};

    if (hf_arena_copy(&cli->arena, hf_value_get_string(map, name, hf_slice_of("-")), &copy) != 0)
        cli_out_of_memory();
    return (const char *)copy.data;
}

static hf_lua_parameter read_parameter(cli_run *cli, const hf_value *parameter)
{
    return (hf_lua_parameter){.name = copy_text(cli, parameter, "name"),
                              .doc = copy_text(cli, parameter, "doc"),
                              .type = (int32_t)hf_value_get_integer(parameter, "type", HF_LUA_ANY)};
}

static hf_decision_point *read_point(cli_run *cli, const hf_value *described)
{
    const hf_value *parameters = hf_value_get(described, "parameters");
    uint64_t count = parameters && parameters->type == HF_VALUE_LIST && parameters->count <= 8 ? parameters->count : 0;
    hf_decision_point *point = hf_arena_alloc(&cli->arena, sizeof *point);
    hf_lua_parameter *copies = hf_arena_alloc(&cli->arena, (count + 1) * sizeof *copies);

    if (!point || !copies)
        cli_out_of_memory();
    for (uint64_t i = 0; i < count; i++)
        copies[i] = read_parameter(cli, &parameters->as.items[i]);
    *point = (hf_decision_point){.size = sizeof *point,
                                 .parameter_count = (uint32_t)count,
                                 .name = copy_text(cli, described, "name"),
                                 .doc = copy_text(cli, described, "doc"),
                                 .parameters = copies,
                                 .result = read_parameter(cli, hf_value_get(described, "result"))};
    return point;
}

/* The node says which decision points its plugins declare; the tests run here. */
int cli_policy_test(cli_run *cli)
{
    const hf_decision_point *points[POINTS_MAX];
    uint32_t count = 0, passed = 0, failed = 0;
    hf_error error = {0};
    cli_answer answer;
    int result = cli_request(cli, "GET", "/v1/admin/policies", NULL, (hf_slice){NULL, 0}, &answer);
    const hf_value *list = hf_value_get(&answer.document, "points");

    for (uint64_t i = 0;
         result == CLI_OK && list && list->type == HF_VALUE_LIST && i < list->count && count < POINTS_MAX; i++)
        points[count++] = read_point(cli, &list->as.items[i]);
    cli_answer_done(&answer);
    if (result != CLI_OK)
        return result;
    if (hf_lua_test_file(cli->arguments[0], points, count, stdout, &passed, &failed, &error) != 0) {
        fprintf(stderr, "holdfast: %s\n", error.message);
        return CLI_FAILED;
    }
    return failed ? CLI_FAILED : CLI_OK;
}
