/* Loads a plugin, fills its options from the command line or their default texts, and makes an instance. */
#include "kit.h"

#include <dlfcn.h>

kit_engine kit;

static void host_log(const hf_host *host, int32_t level, hf_slice message)
{
    (void)host;
    fprintf(stderr, "log %d: %.*s\n", level, (int)message.size, (const char *)message.data);
}

static void *host_alloc(const hf_host *host, uint64_t size)
{
    (void)host;
    return calloc(1, size);
}

static void host_free(const hf_host *host, void *memory)
{
    (void)host;
    free(memory);
}

static const hf_head *host_query(const hf_host *host, const char *name)
{
    (void)host, (void)name;
    return NULL;
}

static const hf_host host = {HF_HEAD(hf_host), host_log, host_alloc, host_free, host_query};

typedef struct {
    const char *suffix;
    uint64_t factor;
} unit;

/* "64MiB" and "10s": the number times its unit's factor; -1 when the unit is unknown. */
static int parse_scaled(const char *text, const unit *units, uint64_t *ret_value)
{
    char *rest;
    uint64_t number = strtoull(text, &rest, 10);

    if (rest == text)
        return -1;
    for (; units->suffix; units++)
        if (strcmp(rest, units->suffix) == 0) {
            *ret_value = number * units->factor;
            return 0;
        }
    return -1;
}

static int parse_choice(const hf_option *option, const char *text, int32_t *ret_value)
{
    for (int32_t i = 0; option->choices[i]; i++)
        if (strcmp(option->choices[i], text) == 0) {
            *ret_value = i;
            return 0;
        }
    return -1;
}

/* The lists of strings in the configuration, freed with it. */
typedef struct string_list {
    struct string_list *next;
    char *text;
    const char *items[];
} string_list;

static string_list *string_lists;

/* "a,b": the parts between commas. */
static int parse_strings(const char *text, hf_strings *ret_strings)
{
    string_list *list = calloc(1, sizeof *list + (strlen(text) + 1) * sizeof list->items[0]);
    uint64_t count = 0;
    char *rest = NULL;

    if (!list || !(list->text = strdup(text))) {
        free(list);
        return -1;
    }
    for (char *item = strtok_r(list->text, ",", &rest); item; item = strtok_r(NULL, ",", &rest))
        list->items[count++] = item;
    list->next = string_lists;
    string_lists = list;
    *ret_strings = (hf_strings){count, list->items};
    return 0;
}

static void free_strings(void)
{
    for (string_list *list; (list = string_lists);) {
        string_lists = list->next;
        free(list->text);
        free(list);
    }
}

static int fill_option(const hf_option *option, const char *text, void *field)
{
    static const unit sizes[] = {{"", 1}, {"B", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {NULL, 0}};
    static const unit durations[] = {{"us", 1},       {"ms", 1000},      {"s", 1000000},
                                     {"m", 60000000}, {"h", 3600000000}, {NULL, 0}};

    switch (option->type) {
    case HF_OPTION_BOOLEAN:
        *(int32_t *)field = strcmp(text, "true") == 0;
        return 0;
    case HF_OPTION_INTEGER:
        *(int64_t *)field = strtoll(text, NULL, 0);
        return 0;
    case HF_OPTION_FLOAT:
        *(double *)field = strtod(text, NULL);
        return 0;
    case HF_OPTION_STRING:
    case HF_OPTION_PATH:
    case HF_OPTION_ADDRESS:
        *(const char **)field = text;
        return 0;
    case HF_OPTION_SIZE:
        return parse_scaled(text, sizes, field);
    case HF_OPTION_DURATION:
        return parse_scaled(text, durations, field);
    case HF_OPTION_CHOICE:
        return parse_choice(option, text, field);
    case HF_OPTION_STRINGS:
        return parse_strings(text, field);
    default:
        return -1;
    }
}

/* What the command line sets, or the default; NULL: the field stays zero. */
static const char *option_text(const hf_option *option)
{
    size_t size = strlen(option->name);

    for (int i = 0; i < kit_setting_count; i++)
        if (strncmp(kit_settings[i], option->name, size) == 0 && kit_settings[i][size] == '=')
            return kit_settings[i] + size + 1;
    return option->default_text;
}

static int check_settings(const hf_option_table *options)
{
    for (int i = 0; i < kit_setting_count; i++) {
        size_t size = strcspn(kit_settings[i], "=");
        uint32_t row = 0;

        for (; row < options->count; row++) {
            const hf_option *option = (const void *)((const uint8_t *)options->rows + (size_t)row * options->row_size);

            if (strlen(option->name) == size && strncmp(option->name, kit_settings[i], size) == 0)
                break;
        }
        if (row == options->count) {
            fprintf(stderr, "--set %s: the engine has no such option\n", kit_settings[i]);
            return -1;
        }
    }
    return 0;
}

static int fill_options(const hf_option_table *options, uint8_t *configuration)
{
    for (uint32_t i = 0; i < options->count; i++) {
        const hf_option *option = (const void *)((const uint8_t *)options->rows + (size_t)i * options->row_size);
        const char *text = option_text(option);

        if (text && fill_option(option, text, configuration + option->offset) < 0) {
            fprintf(stderr, "the kit cannot fill option '%s' from '%s'\n", option->name, text);
            return -1;
        }
    }
    return check_settings(options);
}

static const hf_provide *find_provide(const hf_plugin *plugin, const char *name)
{
    for (uint32_t i = 0; i < plugin->provide_count; i++) {
        const hf_provide *provide = plugin->provides[i];

        if (strcmp(provide->kind, "engine") == 0 && (!name || strcmp(provide->name, name) == 0))
            return provide;
    }
    return NULL;
}

static int create_instance(const hf_provide *provide)
{
    hf_error error;

    kit.table = provide->interface.engine;
    kit.configuration = calloc(1, provide->configuration_size + 1);
    if (!kit.configuration || fill_options(&provide->options, kit.configuration) < 0)
        return -1;
    if (kit.table->create(&host, kit.configuration, &kit.instance, &error) < 0) {
        fprintf(stderr, "cannot create an instance: %s\n", error.message);
        return -1;
    }
    return 0;
}

int kit_load(const char *path, const char *name)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL); /* stays loaded: its library may have threads */

    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        return -1;
    }
    const hf_plugin *(*entry)(void) = NULL;

    *(void **)&entry = dlsym(library, "hf_plugin_v1");
    const hf_provide *provide = entry ? find_provide(entry(), name) : NULL;

    if (!provide) {
        fprintf(stderr, "%s provides no engine '%s'\n", path, name ? name : "");
        return -1;
    }
    return create_instance(provide);
}

void kit_unload(void)
{
    kit.table->destroy(kit.instance);
    free(kit.configuration);
    free_strings();
}
