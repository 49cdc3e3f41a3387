/* What `holdfast policy test` runs; see lua_host.h. */
#include "lua/lua_host.h"
#include "lua/trial.h"

#include <holdfast/lib/error.h>
#include <stdlib.h>
#include <string.h>

struct tally {
    FILE *out;
    uint32_t passed, failed;
};

static void report_test(void *arg, const hf_lua_policy *policy, const char *test, const char *failure)
{
    struct tally *tally = arg;

    (void)policy;
    if (failure) {
        tally->failed++;
        fprintf(tally->out, "FAILED  %s\n        %.*s\n", test, (int)strcspn(failure, "\n"), failure);
    } else {
        tally->passed++;
        fprintf(tally->out, "ok      %s\n", test);
    }
}

static int32_t add_points(hf_lua_catalog *catalog, hf_decision_point *copies, const hf_decision_point *const *points,
                          uint32_t count, hf_error *error)
{
    int32_t result = 0;

    for (uint32_t i = 0; !result && i < count; i++) {
        memcpy(&copies[i], points[i], points[i]->size < sizeof copies[i] ? points[i]->size : sizeof copies[i]);
        result = hf_lua_catalog_add_point(catalog, &copies[i], error);
    }
    return result;
}

static int32_t refuse(const char *path, const hf_config_problems *problems, FILE *out, hf_error *error)
{
    for (uint32_t i = 0; i < problems->count; i++)
        fprintf(out, "%s\n", problems->lines[i]);
    return problems->count ? hf_error_set(error, HF_EINVAL, "%s", problems->lines[0])
                           : hf_error_set(error, HF_EINVAL, "%s: refused", path);
}

static int32_t run(const char *path, const hf_lua_catalog *catalog, hf_config_problems *problems, struct tally *tally,
                   hf_error *error)
{
    hf_lua_bundle *bundle = NULL;
    hf_lua_state *state = NULL;
    int32_t result = hf_lua_bundle_read(&(hf_strings){1, &path}, &bundle, problems);

    if (!result)
        result = hf_lua_state_create(catalog, bundle, HF_LUA_FOR_TESTS, hf_clock_us, &state, problems);
    hf_lua_bundle_unref(bundle);
    if (!result)
        result = hf_lua_trial_run(state, report_test, tally);
    hf_lua_state_destroy(state);
    if (result == HF_ENOMEM)
        return hf_error_set(error, HF_ENOMEM, "no memory to test %s", path);
    return result ? refuse(path, problems, tally->out, error) : 0;
}

int32_t hf_lua_test_file(const char *path, const hf_decision_point *const *points, uint32_t point_count, FILE *out,
                         uint32_t *ret_passed, uint32_t *ret_failed, hf_error *error)
{
    hf_lua_catalog *catalog = calloc(1, sizeof *catalog);
    hf_decision_point *copies = calloc(point_count + 1, sizeof *copies);
    hf_config_problems *problems = calloc(1, sizeof *problems);
    struct tally tally = {.out = out};
    int32_t result = HF_ENOMEM;

    if (catalog && copies && problems) {
        catalog->open = 1;
        result = add_points(catalog, copies, points, point_count, error);
        if (!result)
            result = run(path, catalog, problems, &tally, error);
    } else {
        (void)hf_error_set(error, HF_ENOMEM, "no memory to test %s", path);
    }
    if (!result) {
        fprintf(out, "%s: %u passed, %u failed\n", path, tally.passed, tally.failed);
        *ret_passed = tally.passed;
        *ret_failed = tally.failed;
    }
    free(problems);
    free(copies);
    free(catalog);
    return result;
}
