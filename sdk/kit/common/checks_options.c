/* Checks of a capability's options: what they declare, and what create makes of values that they let through. */
#include "host_private.h"
#include "options.h"
#include "suites.h"

#include <holdfast/kit/plugin.h>

#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_SIZE = 256, FIELDS_MAX = 1000, LONG_SIZE = 5000, LIST_SIZE = 300 };

/* ---- What they declare ------------------------------------------------------------------------------------------- */

static void check_name(const hf_option_table *table, uint32_t index, const char *path)
{
    const char *name = hf_config_option_row(table, index).name;

    if (!name || !(name[0] >= 'a' && name[0] <= 'z') || name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_")])
        hf_kit_fail("%s: the option %u is called '%s'; expected lower case, digits and '_'", path, index,
                    name ? name : "(null)");
    for (uint32_t i = 0; i < index; i++)
        if (strcmp(hf_config_option_row(table, i).name, name) == 0)
            hf_kit_fail("%s: there are two options '%s'", path, name);
}

static void check_place(const hf_option *option, uint64_t record_size, const char *path)
{
    uint64_t size = hf_config_option_field_size(option->type), end = 0;

    if (option->type == HF_OPTION_GROUP) /* its members are checked one by one */
        return;
    if (size == 0)
        hf_kit_fail("%s: its type %d is none of HF_OPTION_...", path, option->type);
    if (__builtin_add_overflow(option->offset, size, &end) || end > record_size || option->offset % (size < 8 ? 4 : 8))
        hf_kit_fail("%s: its field is at byte %llu of a struct of %llu; set configuration_size or item_size", path,
                    (unsigned long long)option->offset, (unsigned long long)record_size);
}

static int32_t ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), end_size = strlen(end);

    return size > end_size && strcmp(text + size - end_size, end) == 0;
}

/* A number whose name ends with a unit has no unit that the host could check. */
static void check_unit(const hf_option *option, const char *path)
{
    static const char *const units[] = {"_ms",    "_us", "_s",  "_seconds", "_minutes", "_hours",
                                        "_bytes", "_kb", "_mb", "_kib",     "_mib"};
    const char *text = option->default_text;

    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if ((option->type == HF_OPTION_INTEGER || option->type == HF_OPTION_FLOAT) && ends_with(option->name, units[i]))
            hf_kit_fail("%s: its name ends with a unit; make it a duration or a size, which are written with one",
                        path);
    if (option->type == HF_OPTION_SIZE && text && strcmp(text, "0") != 0 && !strpbrk(text, "BKMGTP"))
        hf_kit_fail("%s: its default '%s' has no unit; write \"64MiB\"", path, text);
}

static void check_limits(const hf_option *option, const char *path)
{
    if (option->minimum > option->maximum || option->minimum_float > option->maximum_float)
        hf_kit_fail("%s: its minimum is greater than its maximum", path);
    if (option->type == HF_OPTION_CHOICE && (!option->choices || !option->choices[0]))
        hf_kit_fail("%s: it is a choice without choices", path);
    if (option->type == HF_OPTION_CAPABILITY && (!option->kind || !*option->kind))
        hf_kit_fail("%s: it chooses a capability of no kind; set `kind`", path);
    if ((option->type == HF_OPTION_GROUP || option->type == HF_OPTION_GROUPS) && !option->members)
        hf_kit_fail("%s: it is a group without members", path);
    if (option->type == HF_OPTION_GROUPS && option->item_size < sizeof(const char *))
        hf_kit_fail("%s: its item_size is %llu, too small for the item's name", path,
                    (unsigned long long)option->item_size);
}

static void check_default(const hf_option *option, const char *path)
{
    union {
        int64_t integer;
        double number;
        hf_strings strings;
        hf_capability_choice choice;
    } field = {0};
    hf_config_pool pool = {0};
    char expected[200];

    if (option->type == HF_OPTION_GROUP || option->type == HF_OPTION_GROUPS)
        return;
    if (option->flags & HF_OPTION_REQUIRED) {
        if (option->default_text)
            hf_kit_fail("%s: it is required and has a default; choose one", path);
        return;
    }
    if (hf_config_option_store_default(option, "/etc/x.cfg", &pool, &field) != HF_OK) {
        hf_config_option_expected(option, expected, sizeof expected);
        hf_kit_fail("%s: its default is '%s', expected %s", path, option->default_text, expected);
    }
    /* Without a text the field is zero, which must be a value, too. */
    if (!option->default_text && (option->minimum > 0 || option->maximum < 0))
        hf_kit_fail("%s: it has no default, so it is 0, which is below its minimum", path);
    hf_config_pool_done(&pool);
}

static void check_table(const hf_option_table *table, uint64_t record_size, const char *prefix)
{
    char path[NAME_SIZE];

    if (table->count && (!table->rows || table->row_size < offsetof(hf_option, choices)))
        hf_kit_fail("%s: the table of options has no rows, or rows of %u bytes", prefix, table->row_size);
    for (uint32_t i = 0; i < table->count; i++) {
        hf_option option = hf_config_option_row(table, i);
        check_name(table, i, prefix);
        snprintf(path, sizeof path, "%s%s%s", prefix, *prefix ? "." : "", option.name);
        check_place(&option, record_size, path);
        if (!option.doc || strlen(option.doc) < 5)
            hf_kit_fail("%s: it has no doc; say in a sentence what it does", path);
        check_limits(&option, path);
        check_unit(&option, path);
        check_default(&option, path);
        if (option.type == HF_OPTION_GROUP && option.offset <= record_size)
            check_table(option.members, record_size - option.offset, path);
        if (option.type == HF_OPTION_GROUPS)
            check_table(option.members, option.item_size, path);
    }
}

static void check_declared(const hf_kit_subject *subject)
{
    hf_kit_capability capability = hf_kit_capability_load(subject);

    if (capability.provide->options.count == 0)
        hf_kit_not_applicable("it has no options");
    hf_kit_step("reading the options");
    check_table(&capability.provide->options, capability.provide->configuration_size, "");
}

/* ---- What create makes of them ----------------------------------------------------------------------------------- */

static hf_config_node integer_node(int64_t value)
{
    return (hf_config_node){.file = "/etc/x.cfg", .type = HF_CONFIG_NODE_INTEGER, .integer = value};
}

static hf_config_node float_node(double value)
{
    return (hf_config_node){.file = "/etc/x.cfg", .type = HF_CONFIG_NODE_FLOAT, .number = value};
}

static hf_config_node string_node(const char *text)
{
    return (hf_config_node){.file = "/etc/x.cfg", .type = HF_CONFIG_NODE_STRING, .string = text};
}

/* A list of `count` strings; the children are kept until the process ends. */
static hf_config_node list_node(uint32_t count, const char *text)
{
    hf_config_node list = {.file = "/etc/x.cfg", .type = HF_CONFIG_NODE_LIST, .child_count = count};
    hf_config_node *children = kit_allocate((count + 1) * sizeof *children);

    for (uint32_t i = 0; i < count; i++) {
        children[i] = string_node(text);
        children[i].next = i + 1 < count ? &children[i + 1] : NULL;
    }
    list.first = count ? children : NULL;
    return list;
}

/* The value-th of everything that somebody could write; 0 behind the last. */
static int32_t value_of(const hf_option *option, uint32_t index, hf_config_node *ret_node)
{
    static char long_text[LONG_SIZE];
    static const char *const texts[] = {"",
                                        "x",
                                        "0",
                                        "-1",
                                        "1B",
                                        "8EiB",
                                        "4611686018427387904",
                                        "1us",
                                        "1ms",
                                        "36500d",
                                        "../../x",
                                        "/",
                                        "/does/not/exist",
                                        "unix:/x",
                                        "127.0.0.1:1",
                                        "[::1]:65535",
                                        "a b\tc",
                                        "\xc3\xa4\xf0\x9f\x98\x80",
                                        "%s%n%d",
                                        "NaN",
                                        "true"};
    const int64_t integers[] = {INT64_MIN,
                                -1,
                                0,
                                1,
                                option->minimum - (option->minimum > INT64_MIN),
                                option->minimum,
                                option->maximum,
                                option->maximum + (option->maximum < INT64_MAX),
                                INT64_MAX};
    const double floats[] = {-DBL_MAX, -1, 0, DBL_MIN, option->minimum_float, option->maximum_float, DBL_MAX};
    enum { TEXTS = sizeof texts / sizeof *texts, INTEGERS = 9, FLOATS = 7 };

    memset(long_text, 'y', sizeof long_text - 1);
    if (index < TEXTS)
        *ret_node = string_node(texts[index]);
    else if (index < TEXTS + INTEGERS)
        *ret_node = integer_node(integers[index - TEXTS]);
    else if (index < TEXTS + INTEGERS + FLOATS)
        *ret_node = float_node(floats[index - TEXTS - INTEGERS]);
    else if (index < TEXTS + INTEGERS + FLOATS + 8) {
        const hf_config_node others[8] = {
            string_node(long_text),
            {.file = "/etc/x.cfg", .type = HF_CONFIG_NODE_BOOLEAN, .integer = 0},
            {.file = "/etc/x.cfg", .type = HF_CONFIG_NODE_BOOLEAN, .integer = 1},
            {.file = "/etc/x.cfg", .type = HF_CONFIG_NODE_GROUP},
            list_node(0, ""),
            list_node(1, ""),
            list_node(2, "/"),
            list_node(LIST_SIZE, "x"),
        };
        *ret_node = others[index - TEXTS - INTEGERS - FLOATS];
    } else {
        index -= TEXTS + INTEGERS + FLOATS + 8;
        for (uint32_t i = 0; i <= index; i++)
            if (option->type != HF_OPTION_CHOICE || !option->choices || !option->choices[i])
                return 0;
        *ret_node = string_node(option->choices[index]);
    }
    return 1;
}

static void try_configuration(const hf_kit_subject *subject, hf_kit_configuration *configuration)
{
    char first[HF_ERROR_MESSAGE_SIZE];
    hf_error error = {0};

    if (kit_configuration_problems(subject, configuration, first) > 0) {
        hf_kit_configuration_free(configuration); /* `create` never gets it */
        return;
    }
    hf_kit_instance instance = hf_kit_instance_prepare(subject, HF_KIT_TABLES_SAME);
    hf_kit_configuration_free(instance.configuration);
    instance.configuration = configuration;
    hf_kit_instance_try(&instance, &error);
    hf_kit_instance_destroy(&instance); /* also of nothing: what create left is seen */
}

/* One field after the other gets every value that the host lets through. */
static void fuzz_fields(const hf_kit_subject *subject, const hf_provide *provide, uint32_t items)
{
    char name[NAME_SIZE] = "", value[100];
    hf_option option = {0};
    void *field = NULL;
    hf_config_node node = {0};

    for (uint32_t i = 0; i < FIELDS_MAX; i++) {
        for (uint32_t v = 0;; v++) {
            hf_kit_configuration *configuration = kit_configuration_with_items(subject, provide, items, 0);
            if (!kit_configuration_field(configuration, i, &option, &field, name, sizeof name)) {
                hf_kit_configuration_free(configuration);
                return;
            }
            int32_t more = value_of(&option, v, &node);
            if (!more || kit_configuration_store(configuration, &option, field, &node) != HF_OK) {
                hf_kit_configuration_free(configuration);
                if (!more)
                    break;
                continue;
            }
            hf_config_option_print(&option, field, value, sizeof value);
            hf_kit_step("check and create with %s = %s", name, value);
            try_configuration(subject, configuration);
        }
    }
}

static void check_fuzzed(const hf_kit_subject *subject)
{
    hf_kit_capability capability = hf_kit_capability_load(subject);

    if (capability.provide->options.count == 0)
        hf_kit_not_applicable("it has no options");
    fuzz_fields(subject, capability.provide, 0);
    for (uint32_t items = 1; items <= 26; items += 25) {
        hf_kit_step("create with %u items in each list of groups", items);
        try_configuration(subject, kit_configuration_with_items(subject, capability.provide, items, 0));
    }
    fuzz_fields(subject, capability.provide, 1);
}

static const hf_kit_check checks[] = {
    {"options", "Every option has a name, a sentence, a unit where it needs one, and a default that it accepts itself.",
     check_declared, 10},
    {"option_values", "check or create takes or refuses, with a sentence, every value that the options let through.",
     check_fuzzed, 120},
};

const hf_kit_suite kit_options_suite = {"*", checks, sizeof checks / sizeof *checks};
