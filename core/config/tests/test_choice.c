/* Options that choose a capability: what they are filled with, what is wrong with them, and what is told about them. */
#include "config/check.h"
#include "config/diff.h"
#include "config/document.h"
#include "config/reference.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct ring_config {
    int64_t points;
    double load_factor;
    const char *token;
    struct {
        int64_t low;
        int64_t high;
    } limits;
} ring_config;

static const hf_option limit_rows[] = {
    {.name = "low", .type = HF_OPTION_INTEGER, .offset = 0, .default_text = "1", .doc = "The least."},
    {.name = "high", .type = HF_OPTION_INTEGER, .offset = 8, .default_text = "9", .doc = "The most."},
};
static const hf_option_table limit_table = HF_TABLE(limit_rows);
static const hf_option ring_rows[] = {
    HF_CONFIG_INTEGER("points", ring_config, points, .default_text = "160", .minimum = 1, .maximum = 1000,
                      .doc = "On the ring."),
    HF_CONFIG_FLOAT("load_factor", ring_config, load_factor, .default_text = "1.25", .doc = "Times the share."),
    HF_CONFIG_STRING("token", ring_config, token, .flags = HF_OPTION_SECRET, .doc = "Nobody sees it."),
    HF_CONFIG_GROUP("limits", ring_config, limits, .members = &limit_table, .doc = "From, to."),
};
static const hf_option_table ring_table = HF_TABLE(ring_rows);

static const hf_option_table plain_table = {NULL, sizeof(hf_option), 0};

typedef struct strict_config {
    const char *key;
    const char *name;
} strict_config;

static const hf_option strict_rows[] = {
    HF_CONFIG_STRING("key", strict_config, key, .flags = HF_OPTION_REQUIRED, .doc = "What it goes by."),
    HF_CONFIG_STRING("name", strict_config, name, .default_text = "x", .doc = "Hidden by the capability's."),
};
static const hf_option_table strict_table = HF_TABLE(strict_rows);

typedef struct wrap_config {
    hf_capability_choice inner;
} wrap_config;

static const hf_option wrap_rows[] = {
    HF_CONFIG_CAPABILITY("inner", wrap_config, inner, "balancer", .default_text = "ring", .doc = "What it asks."),
};
static const hf_option_table wrap_table = HF_TABLE(wrap_rows);
static const hf_option loop_rows[] = {
    HF_CONFIG_CAPABILITY("inner", wrap_config, inner, "balancer", .default_text = "loop", .doc = "Itself."),
};
static const hf_option_table loop_table = HF_TABLE(loop_rows);

typedef struct upstream_config {
    const char *name;
    hf_capability_choice balancer;
} upstream_config;

typedef struct gate_config {
    hf_capability_choice balancer;
    hf_capability_choice cache;
    hf_groups upstreams;
} gate_config;

static const hf_option upstream_rows[] = {
    HF_CONFIG_CAPABILITY("balancer", upstream_config, balancer, "balancer", .default_text = "ring",
                         .flags = HF_OPTION_RELOADABLE, .doc = "Who decides."),
};
static const hf_option_table upstream_table = HF_TABLE(upstream_rows);
static const hf_option gate_rows[] = {
    HF_CONFIG_CAPABILITY("balancer", gate_config, balancer, "balancer", .default_text = "plain", .doc = "Who decides."),
    HF_CONFIG_CAPABILITY("cache", gate_config, cache, "cache", .doc = "What remembers."),
    HF_CONFIG_GROUPS("upstreams", gate_config, upstreams, upstream_config, .members = &upstream_table,
                     .flags = HF_OPTION_RELOADABLE, .doc = "Where to."),
};
static const hf_option_table gate_table = HF_TABLE(gate_rows);

/* The user comes first: what it chooses is declared later. */
static const hf_config_section sections[] = {
    {"gate", &gate_table, sizeof(gate_config), 0, "The way in."},
    {"balancer.ring", &ring_table, sizeof(ring_config), 0, NULL},
    {"balancer.plain", &plain_table, 0, 0, NULL},
    {"balancer.strict", &strict_table, sizeof(strict_config), 0, NULL},
    {"balancer.wrap", &wrap_table, sizeof(wrap_config), 0, NULL},
    {"balancer.loop", &loop_table, sizeof(wrap_config), 0, NULL},
};
enum { SECTION_COUNT = 5 /* without the loop */ };

static hf_config_problems problems;

static int32_t check(const char *text, uint32_t count, hf_config_generation **ret_generation)
{
    hf_config_tree *tree = NULL;
    hf_error error = {0};

    memset(&problems, 0, sizeof problems);
    if (hf_config_tree_parse("m", text, strlen(text), &tree, &error) != 0)
        fail_msg("%s", error.message);
    return hf_config_check(tree, sections, count, ret_generation, &problems);
}

static hf_config_generation *good(const char *text)
{
    hf_config_generation *generation = NULL;

    if (check(text, SECTION_COUNT, &generation) != 0)
        fail_msg("%s", problems.lines[0]);
    return generation;
}

static void bad(const char *text, const char *const *lines)
{
    hf_config_generation *generation = NULL;
    uint32_t count = 0;

    assert_int_equal(check(text, SECTION_COUNT, &generation), HF_EINVAL);
    for (; lines[count]; count++)
        assert_string_equal(problems.lines[count], lines[count]);
    assert_int_equal(problems.count, count);
}

static const gate_config *gate_of(const hf_config_generation *generation)
{
    return hf_config_generation_get(generation, "gate", NULL);
}

static const upstream_config *upstream(const hf_config_generation *generation, uint64_t index)
{
    return (const upstream_config *)gate_of(generation)->upstreams.items + index;
}

static const ring_config *ring_of(const hf_capability_choice *choice)
{
    assert_string_equal(choice->name, "ring");
    assert_non_null(choice->configuration);
    return choice->configuration;
}

static void a_name_a_group_or_the_default(void **state)
{
    hf_config_generation *generation =
        good("gate: { balancer = \"ring\"; upstreams: { a: { balancer: { name = \"ring\"; points = 7;\n"
             "limits: { low = 2; }; }; }; b: { balancer: { load_factor = 2.0; }; }; c: { };\n"
             "d: { balancer = \"plain\"; }; }; };");
    const ring_config *ring = ring_of(&gate_of(generation)->balancer);

    (void)state;
    assert_int_equal(ring->points, 160);
    assert_true(ring->load_factor == 1.25);
    assert_string_equal(ring->token, "");
    ring = ring_of(&upstream(generation, 0)->balancer);
    assert_int_equal(ring->points, 7);
    assert_int_equal(ring->limits.low, 2);
    assert_int_equal(ring->limits.high, 9);
    ring = ring_of(&upstream(generation, 1)->balancer);
    assert_int_equal(ring->points, 160);
    assert_true(ring->load_factor == 2.0);
    assert_ptr_not_equal(ring_of(&upstream(generation, 2)->balancer), ring);
    assert_string_equal(upstream(generation, 3)->balancer.name, "plain");
    assert_non_null(upstream(generation, 3)->balancer.configuration);
    assert_string_equal(gate_of(generation)->cache.name, "");
    assert_null(gate_of(generation)->cache.configuration);
    hf_config_generation_free(generation);
    generation = good("gate: { cache = \"\"; };");
    assert_string_equal(gate_of(generation)->cache.name, "");
    assert_string_equal(gate_of(generation)->balancer.name, "plain");
    hf_config_generation_free(generation);
    generation = good("");
    assert_string_equal(gate_of(generation)->balancer.name, "plain");
    hf_config_generation_free(generation);
}

static void what_is_left_out_is_as_in_its_own_section(void **state)
{
    hf_config_generation *generation =
        good("gate: { balancer = \"ring\"; upstreams: { a: { balancer: { points = 7; limits: { low = 2; }; }; };\n"
             "b: { balancer = \"strict\"; }; c: { balancer: { name = \"strict\"; key = \"c\"; }; };\n"
             "d: { balancer = \"wrap\"; }; }; };\n"
             "balancer: { ring: { points = 320; load_factor = 3.0; limits: { low = 5; high = 6; }; };\n"
             "strict: { key = \"k\"; name = \"own\"; }; wrap: { inner: { points = 11; }; }; };");
    const ring_config *ring = ring_of(&gate_of(generation)->balancer);
    const strict_config *strict = upstream(generation, 1)->balancer.configuration;
    const wrap_config *wrap = upstream(generation, 3)->balancer.configuration;

    (void)state;
    assert_int_equal(ring->points, 320);
    assert_int_equal(ring->limits.high, 6);
    ring = ring_of(&upstream(generation, 0)->balancer);
    assert_int_equal(ring->points, 7);
    assert_true(ring->load_factor == 3.0);
    assert_int_equal(ring->limits.low, 2);
    assert_int_equal(ring->limits.high, 6);
    assert_string_equal(strict->key, "k");
    assert_string_equal(strict->name, "own");
    strict = upstream(generation, 2)->balancer.configuration;
    assert_string_equal(strict->key, "c");
    assert_string_equal(strict->name, "own");
    assert_int_equal(ring_of(&wrap->inner)->points, 11);
    hf_config_generation_free(generation);
}

static void every_mistake_has_its_line(void **state)
{
    static const char *const lines[] = {
        "m:2: 'gate.balancer' is 5, expected the name of a capability of kind 'balancer', or a group { name = "
        "\"NAME\"; "
        "... } with its options",
        "m:3: 'gate.cache' is \"disk\", but no enabled plugin provides cache/disk; expected \"cache/disk\" in "
        "plugins.enabled, or another name",
        "m:5: 'gate.upstreams.a.balancer' is \"rng\", but no enabled plugin provides balancer/rng; did you mean "
        "'ring'?",
        "m:8: 'gate.upstreams.b.balancer.points' is 0, expected an integer from 1 to 1000",
        "m:9: unknown option 'load_facto' in 'gate.upstreams.b.balancer'; did you mean 'load_factor'?",
        "m:11: 'gate.upstreams.c.balancer.name' is 3, expected a string",
        "m:12: 'gate.upstreams.d.balancer.key' is missing, expected a string",
        "m:13: 'gate.upstreams.e.balancer.key' is missing, expected a string",
        "m:15: 'gate.upstreams.f.balancer' is \"cubic\", but no enabled plugin provides balancer/cubic; expected "
        "\"balancer/cubic\" in plugins.enabled, or another name",
        "m:16: 'gate.upstreams.g.balancer.inner' is \"wrp\", but no enabled plugin provides balancer/wrp; did you mean "
        "'wrap'?",
        NULL,
    };
    static const char *const own_lines[] = {"m:2: 'balancer.ring.points' is 5000, expected an integer from 1 to 1000",
                                            NULL};
    static const char *const cache_lines[] = {"m:1: 'gate.cache.name' is missing, expected a string", NULL};

    (void)state;
    bad("gate: {\nbalancer = 5;\ncache = \"disk\"; upstreams: { a: {\n\nbalancer = \"rng\"; };\n"
        "b: { balancer: {\nname = \"ring\";\npoints = 0;\nload_facto = 1.0; }; };\n"
        "c: { balancer: {\nname = 3; }; };\nd: { balancer = \"strict\"; };\ne: { balancer: { name = \"strict\"; }; };\n"
        "f: { balancer: { points = 3;\nname = \"cubic\"; }; };\ng: { balancer: { name = \"wrap\"; inner = \"wrp\"; }; "
        "}; }; };",
        lines);
    /* What its own section has wrong is said once, there. */
    bad("gate: { balancer = \"ring\"; upstreams: { a: { balancer: { load_factor = 1.0; }; }; }; };\n"
        "balancer: { ring: { points = 5000; }; };",
        own_lines);
    bad("gate: { cache: { points = 1; }; };", cache_lines);
}

/* A default that no enabled plugin provides counts where it is needed. */
static void a_default_that_is_not_enabled(void **state)
{
    hf_config_generation *generation = NULL;

    (void)state;
    assert_int_equal(check("", 1, &generation), 0);
    assert_string_equal(gate_of(generation)->balancer.name, "plain");
    assert_null(gate_of(generation)->balancer.configuration);
    hf_config_generation_free(generation);
    assert_int_equal(check("\ngate: { };", 1, &generation), HF_EINVAL);
    assert_string_equal(problems.lines[0],
                        "m:2: 'gate.balancer' is \"plain\" by default, but no enabled plugin provides balancer/plain; "
                        "expected \"balancer/plain\" in plugins.enabled, or another name");
}

static void choices_without_end_are_refused(void **state)
{
    hf_config_generation *generation = NULL;

    (void)state;
    assert_int_equal(check("", SECTION_COUNT + 1, &generation), HF_EINVAL);
    assert_int_equal(problems.count, 1);
    assert_non_null(strstr(problems.lines[0], "is chosen by a capability that was chosen by others, at most 4 deep"));
}

/* By a plugin that was built before options had a kind: it cannot mean this type. */
static void a_choice_of_no_kind_is_refused(void **state)
{
    unsigned char shorter[offsetof(hf_option, kind)];
    const hf_option_table table = {(const hf_option *)(const void *)shorter, sizeof shorter, 1};
    const hf_config_section section = {"gate", &table, sizeof(gate_config), 0, NULL};
    hf_config_generation *generation = NULL;
    hf_config_tree *tree = NULL;

    (void)state;
    memcpy(shorter, &gate_rows[0], sizeof shorter);
    memset(&problems, 0, sizeof problems);
    assert_int_equal(hf_config_tree_parse("m", "", 0, &tree, NULL), 0);
    assert_int_equal(hf_config_check(tree, &section, 1, &generation, &problems), HF_EINVAL);
    assert_string_equal(problems.lines[0],
                        "m:1: the plugin of 'gate' declares option 'balancer' wrongly, expected a known type");
}

static void what_is_chosen_is_listed(void **state)
{
    /* What wrap's own section has said is listed there only. */
    static const char *const expected[] = {"gate.balancer plain", "gate.upstreams.a.balancer wrap",
                                           "gate.upstreams.b.balancer.inner ring", "gate.upstreams.b.balancer wrap",
                                           "balancer.wrap.inner ring"};
    hf_config_generation *generation = good("gate: { upstreams: { a: { balancer = \"wrap\"; };"
                                            "b: { balancer: { name = \"wrap\"; inner: { points = 2; }; }; }; }; };"
                                            "balancer: { wrap: { inner = \"ring\"; }; };");
    hf_config_generation *none = good("");
    char text[200];
    size_t count = 0;

    (void)state;
    for (const hf_config_chosen *at = hf_config_generation_chosen(generation); at; at = at->next, count++) {
        snprintf(text, sizeof text, "%s %s", at->path, at->name);
        assert_true(count < 5);
        assert_string_equal(text, expected[count]);
        assert_string_equal(at->kind, "balancer");
        assert_non_null(at->configuration);
    }
    assert_int_equal(count, 5);
    assert_null(hf_config_generation_chosen(none));
    hf_config_generation_free(generation);
    hf_config_generation_free(none);
}

static void changes_are_those_of_the_option(void **state)
{
    static const hf_config_change expected[] = {
        {"gate", "gate.balancer", "\"plain\"", "\"ring\"", 0},
        {"gate", "gate.upstreams.a.balancer.points", "160", "8", 1},
        {"gate", "gate.upstreams.a.balancer.token", "***", "***", 1},
        {"gate", "gate.upstreams.b.balancer", "\"ring\"", "\"wrap\"", 1},
        {"gate", "gate.upstreams.c.balancer.inner.points", "160", "3", 1},
    };
    hf_config_generation *before =
        good("gate: { upstreams: { a: { }; b: { }; c: { balancer = \"wrap\"; }; d: { }; }; };");
    hf_config_generation *now =
        good("gate: { balancer = \"ring\"; upstreams: { a: { balancer: { points = 8; token = \"t\"; }; };"
             "b: { balancer = \"wrap\"; }; c: { balancer: { name = \"wrap\"; inner: { points = 3; }; }; };"
             "d: { balancer: { name = \"ring\"; points = 160; }; }; }; };");
    hf_config_diff *diff = NULL;
    uint64_t count;

    (void)state;
    assert_int_equal(hf_config_diff_create(before, now, &diff), 0);
    hf_config_generation_free(before);
    hf_config_generation_free(now);
    const hf_config_change *changes = hf_config_diff_changes(diff, &count);
    assert_int_equal(count, sizeof expected / sizeof expected[0]);
    for (uint64_t i = 0; i < count; i++) {
        assert_string_equal(changes[i].section, expected[i].section);
        assert_string_equal(changes[i].key, expected[i].key);
        assert_string_equal(changes[i].old_text, expected[i].old_text);
        assert_string_equal(changes[i].new_text, expected[i].new_text);
        assert_int_equal(changes[i].reloadable, expected[i].reloadable);
    }
    hf_config_diff_free(diff);
}

/* A change of the capability's own section is one of what is chosen, too. */
static void changes_of_its_own_section_arrive(void **state)
{
    hf_config_generation *before = good("gate: { upstreams: { a: { }; }; }; balancer: { ring: { }; };");
    hf_config_generation *now = good("gate: { upstreams: { a: { }; }; }; balancer: { ring: { points = 2; }; };");
    hf_config_diff *diff = NULL;
    uint64_t count;

    (void)state;
    assert_int_equal(hf_config_diff_create(before, now, &diff), 0);
    const hf_config_change *changes = hf_config_diff_changes(diff, &count);
    assert_int_equal(count, 3);
    assert_string_equal(changes[0].key, "gate.upstreams.a.balancer.points");
    assert_int_equal(changes[0].reloadable, 1);
    assert_string_equal(changes[1].key, "balancer.ring.points");
    assert_int_equal(changes[1].reloadable, 0);
    assert_string_equal(changes[2].key, "balancer.wrap.inner.points"); /* by default */
    hf_config_diff_free(diff);
    hf_config_generation_free(before);
    hf_config_generation_free(now);
}

static void it_is_documented(void **state)
{
    static const char expected[] = "{\"gate\":{\"balancer\":{\"name\":\"plain\"},\"cache\":\"\",\"upstreams\":{"
                                   "\"a\":{\"balancer\":{\"name\":\"strict\",\"key\":\"k\"}},"
                                   "\"b\":{\"balancer\":{\"name\":\"ring\",\"points\":5,\"load_factor\":1.25,"
                                   "\"limits\":{\"low\":1,\"high\":9}}}}},";
    hf_config_generation *generation =
        good("gate: { upstreams: { a: { balancer: { name = \"strict\"; key = \"k\"; }; };"
             "b: { balancer: { points = 5; token = \"hidden\"; }; }; }; };");
    hf_buffer buffer;
    hf_json_writer writer;
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);

    (void)state;
    hf_buffer_init(&buffer, 1 << 20);
    hf_json_writer_init(&writer, &buffer);
    hf_config_document_json(&writer, generation);
    assert_int_equal(writer.result, 0);
    assert_memory_equal(buffer.data, expected, sizeof expected - 1);
    hf_buffer_done(&buffer);
    hf_config_generation_free(generation);

    assert_int_equal(hf_config_reference_markdown(file, &sections[0]), 0);
    fclose(file);
    assert_non_null(strstr(text,
                           "| `upstreams.NAME.balancer` | the name of a capability of kind 'balancer', or a group { "
                           "name = \"NAME\"; ... } with its options | `\"ring\"` | reload | Who decides. |\n"));
    free(text);
    file = open_memstream(&text, &size);
    assert_int_equal(hf_config_reference_sample(file, &sections[0]), 0);
    fclose(file);
    hf_config_generation_free(good(text));
    for (char *at = text; (at = strstr(at, "# ")) != NULL; at += 2)
        if (strchr(at, '\n')[-1] == ';' || strchr(at, '\n')[-1] == '{')
            memcpy(at, "  ", 2);
    hf_config_generation_free(good(text));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_a_group_or_the_default),
        cmocka_unit_test(what_is_left_out_is_as_in_its_own_section),
        cmocka_unit_test(every_mistake_has_its_line),
        cmocka_unit_test(a_default_that_is_not_enabled),
        cmocka_unit_test(choices_without_end_are_refused),
        cmocka_unit_test(a_choice_of_no_kind_is_refused),
        cmocka_unit_test(what_is_chosen_is_listed),
        cmocka_unit_test(changes_are_those_of_the_option),
        cmocka_unit_test(changes_of_its_own_section_arrive),
        cmocka_unit_test(it_is_documented),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
