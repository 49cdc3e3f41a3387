/* Filling a configuration: the host's own code judges every value (core/config/option.c); only the walk through groups
 * is the kit's. */
#include "options.h"

#include "host_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_SIZE = 256 };

struct hf_kit_configuration {
    const hf_kit_subject *subject; /* while it is filled */
    const hf_provide *provide;
    uint8_t *record;
    uint64_t size;
    hf_config_pool pool;
    uint32_t items;                      /* in every list of groups, beside those that settings name */
    uint32_t left_out;                   /* a bit for each row whose groups are not there, whatever settings say */
    uint32_t deep;                       /* chosen by one that was chosen by ... */
    hf_kit_configuration *chosen, *next; /* those of capabilities that options choose */
};

enum { DEEP_MAX = 4 }; /* as the host has it */

typedef int32_t (*visit_function)(void *arg, const hf_option *option, void *field, const char *name);

static const char file[] = "/etc/holdfast/holdfast.cfg"; /* relative paths become absolute from here */

const hf_provide *kit_provide_find(const hf_plugin *plugin, const char *kind, const char *name)
{
    for (uint32_t i = 0; i < plugin->provide_count; i++)
        if (strcmp(plugin->provides[i]->kind, kind) == 0 && strcmp(plugin->provides[i]->name, name) == 0)
            return plugin->provides[i];
    return NULL;
}

const hf_provide *kit_subject_provide(const hf_kit_subject *subject, const char *kind, const char *name,
                                      const char **ret_path)
{
    for (uint32_t i = 0; i <= subject->with_count; i++) {
        const char *path = i == subject->with_count ? subject->path : subject->with[i];
        const hf_provide *provide = kit_provide_find(hf_kit_load(path), kind, name);
        if (!provide)
            continue;
        if (ret_path)
            *ret_path = path;
        return provide;
    }
    return NULL;
}

/* ---- Walking ----------------------------------------------------------------------------------------------------- */

/* Calls `visit` for every option below; returns what it returned when that was not 0. */
static int32_t walk(const hf_option_table *table, uint8_t *record, const char *prefix, visit_function visit, void *arg)
{
    char name[NAME_SIZE];

    for (uint32_t i = 0; i < table->count; i++) {
        hf_option option = hf_config_option_row(table, i);
        uint8_t *field = record + option.offset;
        snprintf(name, sizeof name, "%s%s", prefix, option.name);
        int32_t result = visit(arg, &option, field, name);
        if (!result && option.type == HF_OPTION_GROUP) {
            snprintf(name, sizeof name, "%s%s.", prefix, option.name);
            result = walk(option.members, field, name, visit, arg);
        }
        const hf_groups *groups = (const hf_groups *)(const void *)field;
        for (uint64_t item = 0; !result && option.type == HF_OPTION_GROUPS && item < groups->count; item++) {
            uint8_t *at = (uint8_t *)groups->items + item * option.item_size;
            snprintf(name, sizeof name, "%s%s.%s.", prefix, option.name, *(const char **)(void *)at);
            result = walk(option.members, at, name, visit, arg);
        }
        if (result)
            return result;
    }
    return 0;
}

/* Whether the setting is of a list of groups that is left out. */
static int32_t is_left_out(const hf_kit_configuration *configuration, const char *text)
{
    const hf_option_table *table = &configuration->provide->options;

    for (uint32_t i = 0; i < table->count && i < 32; i++) {
        hf_option option = hf_config_option_row(table, i);
        size_t size = strlen(option.name);
        if (option.type == HF_OPTION_GROUPS && strncmp(text, option.name, size) == 0 && text[size] == '.')
            return (int32_t)(configuration->left_out >> i & 1);
    }
    return 0;
}

static void add_item(hf_kit_configuration *configuration, const hf_option *option, hf_groups *groups, const char *name,
                     size_t size)
{
    for (uint64_t i = 0; i < groups->count; i++) {
        const char *other = *(const char **)(void *)((uint8_t *)groups->items + i * option->item_size);
        if (strncmp(other, name, size) == 0 && !other[size])
            return;
    }
    const char *copy = hf_config_pool_copy(&configuration->pool, name, size);
    if (!copy)
        hf_kit_fail("the kit itself is out of memory");
    *(const char **)(void *)((uint8_t *)groups->items + groups->count++ * option->item_size) = copy;
}

/* Those that settings name ("upstreams.NAME.key=..."), and as many as every list has. */
static void make_items(hf_kit_configuration *configuration, const hf_option *option, hf_groups *groups,
                       const char *path)
{
    const hf_kit_subject *subject = configuration->subject;
    uint32_t settings = configuration->deep ? 0 : subject->setting_count; /* they are the subject's own */
    size_t size = strlen(path);

    if (settings + configuration->items == 0)
        return;
    groups->items = hf_config_pool_alloc(&configuration->pool, (settings + configuration->items) * option->item_size);
    if (!groups->items)
        hf_kit_fail("the kit itself is out of memory");
    for (uint32_t i = 0; i < settings; i++) {
        const char *text = subject->settings[i], *name = text + size + 1;
        if (strncmp(text, path, size) != 0 || text[size] != '.' || is_left_out(configuration, text))
            continue;
        size_t name_size = strcspn(name, ".=");
        if (name_size && name[name_size] == '.')
            add_item(configuration, option, groups, name, name_size);
    }
    for (uint32_t i = 0; i < configuration->items; i++) {
        char name[2] = {(char)('a' + i % 26), 0};
        add_item(configuration, option, groups, name, 1);
    }
}

static hf_kit_configuration *create_filled(const hf_kit_subject *subject, const hf_provide *provide, uint32_t items,
                                           uint32_t left_out, uint32_t deep);

/* With the defaults of the capability's options; without a configuration when no plugin of the run provides it. */
static void choose(hf_kit_configuration *configuration, const hf_option *option, const char *name,
                   hf_capability_choice *choice)
{
    const hf_provide *provide = kit_subject_provide(configuration->subject, option->kind, name, NULL);

    choice->name = hf_config_pool_copy(&configuration->pool, name, strlen(name));
    choice->configuration = NULL;
    if (!choice->name)
        hf_kit_fail("the kit itself is out of memory");
    if (!provide || configuration->deep == DEEP_MAX)
        return;
    hf_kit_configuration *chosen =
        create_filled(configuration->subject, provide, configuration->items, 0, configuration->deep + 1);
    chosen->subject = NULL;
    chosen->next = configuration->chosen;
    configuration->chosen = chosen;
    choice->configuration = chosen->record;
}

static int32_t store_default(void *arg, const hf_option *option, void *field, const char *name)
{
    hf_kit_configuration *configuration = arg;

    if (option->type == HF_OPTION_GROUP)
        return 0;
    if (option->type == HF_OPTION_GROUPS) {
        make_items(configuration, option, field, name);
        return 0;
    }
    if (option->type == HF_OPTION_CAPABILITY) {
        choose(configuration, option, option->default_text ? option->default_text : "", field);
        return 0;
    }
    if (hf_config_option_store_default(option, file, &configuration->pool, field) != HF_OK)
        hf_kit_fail("the option %s has the default '%s', which it does not accept itself", name,
                    option->default_text ? option->default_text : "");
    return 0;
}

/* ---- Settings ---------------------------------------------------------------------------------------------------- */

/* A value as people type it after NAME=. */
static void parse_value(const hf_option *option, const char *text, hf_config_node *node, hf_config_node *items,
                        char *copy)
{
    *node = (hf_config_node){.file = file, .type = HF_CONFIG_NODE_STRING, .string = text};
    if (option->type == HF_OPTION_BOOLEAN) {
        node->type = HF_CONFIG_NODE_BOOLEAN;
        node->integer = strcmp(text, "true") == 0;
    } else if (option->type == HF_OPTION_INTEGER) {
        node->type = HF_CONFIG_NODE_INTEGER;
        node->integer = strtoll(text, NULL, 0);
    } else if (option->type == HF_OPTION_FLOAT) {
        node->type = HF_CONFIG_NODE_FLOAT;
        node->number = strtod(text, NULL);
    } else if (option->type == HF_OPTION_STRINGS) {
        node->type = HF_CONFIG_NODE_LIST;
        for (char *item = strtok(copy, ","); item && node->child_count < 64; item = strtok(NULL, ",")) {
            items[node->child_count] = (hf_config_node){.type = HF_CONFIG_NODE_STRING, .string = item, .file = file};
            if (node->child_count)
                items[node->child_count - 1].next = &items[node->child_count];
            node->first = items;
            node->child_count++;
        }
    }
}

struct setting {
    hf_kit_configuration *configuration;
    const char *text; /* "NAME=VALUE" */
};

static int32_t apply_setting(void *arg, const hf_option *option, void *field, const char *name)
{
    const struct setting *setting = arg;
    size_t size = strlen(name);
    hf_config_node node, items[64];
    char expected[200];

    if (strncmp(setting->text, name, size) != 0 || setting->text[size] != '=')
        return 0;
    if (option->type == HF_OPTION_CAPABILITY) {
        hf_capability_choice *choice = field;
        choose(setting->configuration, option, setting->text + size + 1, choice);
        if (!choice->configuration)
            hf_kit_fail("--set %s: no plugin provides %s/%s; name one with --with FILE.so", setting->text, option->kind,
                        choice->name);
        return 1;
    }
    char *copy = strdup(setting->text + size + 1);
    if (!copy)
        hf_kit_fail("the kit itself is out of memory");
    parse_value(option, setting->text + size + 1, &node, items, copy);
    int32_t result = kit_configuration_store(setting->configuration, option, field, &node);
    free(copy);
    hf_config_option_expected(option, expected, sizeof expected);
    if (result != HF_OK)
        hf_kit_fail("--set %s: expected %s", setting->text, expected);
    return 1;
}

/* ---- The configuration ------------------------------------------------------------------------------------------- */

static hf_kit_configuration *create_filled(const hf_kit_subject *subject, const hf_provide *provide, uint32_t items,
                                           uint32_t left_out, uint32_t deep)
{
    hf_kit_configuration *configuration = kit_allocate(sizeof *configuration);

    configuration->subject = subject;
    configuration->provide = provide;
    configuration->items = items;
    configuration->left_out = left_out;
    configuration->deep = deep;
    configuration->size = provide->configuration_size ? provide->configuration_size : 1;
    configuration->record = kit_allocate(configuration->size);
    walk(&provide->options, configuration->record, "", store_default, configuration);
    return configuration;
}

hf_kit_configuration *kit_configuration_with_items(const hf_kit_subject *subject, const hf_provide *provide,
                                                   uint32_t items, uint32_t left_out)
{
    hf_kit_configuration *configuration = create_filled(subject, provide, items, left_out, 0);

    for (uint32_t i = 0; i < subject->setting_count; i++) {
        struct setting setting = {configuration, subject->settings[i]};
        if (!is_left_out(configuration, subject->settings[i]) &&
            !walk(&provide->options, configuration->record, "", apply_setting, &setting))
            hf_kit_fail("--set %s: %s/%s has no such option", subject->settings[i], provide->kind, provide->name);
    }
    configuration->subject = NULL;
    return configuration;
}

hf_kit_configuration *hf_kit_configuration_create(const hf_kit_subject *subject, const hf_provide *provide)
{
    return kit_configuration_with_items(subject, provide, 0, 0);
}

const void *hf_kit_configuration_get(const hf_kit_configuration *configuration)
{
    return configuration->record;
}

void hf_kit_configuration_free(hf_kit_configuration *configuration)
{
    if (!configuration)
        return;
    while (configuration->chosen) {
        hf_kit_configuration *chosen = configuration->chosen;
        configuration->chosen = chosen->next;
        hf_kit_configuration_free(chosen);
    }
    memset(configuration->record, 0xa5, configuration->size);
    free(configuration->record);
    hf_config_pool_done(&configuration->pool);
    free(configuration);
}

struct search {
    uint32_t left;
    hf_option *option;
    void **field;
    char *name;
    size_t name_size;
};

static int32_t count_down(void *arg, const hf_option *option, void *field, const char *name)
{
    struct search *search = arg;

    if (option->type == HF_OPTION_GROUP || option->type == HF_OPTION_GROUPS || option->type == HF_OPTION_CAPABILITY ||
        search->left-- > 0)
        return 0;
    *search->option = *option;
    *search->field = field;
    snprintf(search->name, search->name_size, "%s", name);
    return 1;
}

int32_t kit_configuration_field(hf_kit_configuration *configuration, uint32_t index, hf_option *ret_option,
                                void **ret_field, char *name, size_t name_size)
{
    struct search search = {index, ret_option, ret_field, name, name_size};

    return walk(&configuration->provide->options, configuration->record, "", count_down, &search);
}

int32_t kit_configuration_store(hf_kit_configuration *configuration, const hf_option *option, void *field,
                                const hf_config_node *node)
{
    return hf_config_option_store(option, node, &configuration->pool, field);
}

/* ---- The capability's own check ---------------------------------------------------------------------------------- */

struct told {
    const hf_kit_subject *subject;
    uint32_t count;
    char *first;
};

static void report_problem(const hf_config_report *report, const char *path, const char *message)
{
    struct told *told = report->arg;

    if (!path || !message || !*message || strchr(message, '\n'))
        hf_kit_fail("check told a problem at '%s' without a sentence, or with a newline: '%s'", path ? path : "(null)",
                    message ? message : "(null)");
    if (told->count++ == 0)
        snprintf(told->first, HF_ERROR_MESSAGE_SIZE, "%s: %s", path, message);
}

static int32_t report_has_capability(const hf_config_report *report, const char *kind, const char *name)
{
    const struct told *told = report->arg;

    return kit_subject_provide(told->subject, kind, name, NULL) != NULL;
}

uint32_t kit_configuration_problems(const hf_kit_subject *subject, const hf_kit_configuration *configuration,
                                    char *first)
{
    const hf_provide *provide = configuration->provide;
    struct told told = {subject, 0, first};
    const hf_config_report report = {HF_HEAD(hf_config_report), &told, report_problem, report_has_capability};

    if (provide->size >= sizeof *provide && provide->check)
        provide->check(configuration->record, &report);
    return told.count;
}
