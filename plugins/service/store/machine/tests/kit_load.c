/* Loads an engine plugin and makes an instance with its default options. */
#include "kit.h"

#include <dlfcn.h>

const hf_engine *kit_engine;

static void *instance, *configuration;

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

static int parse_size(const char *text, uint64_t *ret_size)
{
    char *unit;

    *ret_size = strtoull(text, &unit, 10);
    if (strcmp(unit, "KiB") == 0)
        *ret_size <<= 10;
    else if (strcmp(unit, "MiB") == 0)
        *ret_size <<= 20;
    else if (strcmp(unit, "GiB") == 0)
        *ret_size <<= 30;
    else
        return *unit == '\0' ? 0 : -1;
    return 0;
}

static int parse_choice(const hf_option *option, int32_t *ret_choice)
{
    for (int32_t i = 0; option->choices[i]; i++)
        if (strcmp(option->choices[i], option->default_text) == 0) {
            *ret_choice = i;
            return 0;
        }
    return -1;
}

static int fill_option(const hf_option *option, void *field)
{
    switch (option->type) {
    case HF_OPTION_BOOLEAN:
        *(int32_t *)field = strcmp(option->default_text, "true") == 0;
        return 0;
    case HF_OPTION_INTEGER:
        *(int64_t *)field = strtoll(option->default_text, NULL, 0);
        return 0;
    case HF_OPTION_SIZE:
        return parse_size(option->default_text, field);
    case HF_OPTION_CHOICE:
        return parse_choice(option, field);
    default:
        return -1;
    }
}

static int fill_defaults(const hf_option_table *options)
{
    for (uint32_t i = 0; i < options->count; i++) {
        const hf_option *option = (const void *)((const uint8_t *)options->rows + (size_t)i * options->row_size);

        if (option->default_text && fill_option(option, (uint8_t *)configuration + option->offset) < 0) {
            fprintf(stderr, "option '%s' cannot be filled from its default '%s'\n", option->name, option->default_text);
            return -1;
        }
    }
    return 0;
}

int kit_load(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL); /* stays loaded: its library may have threads */
    const hf_plugin *(*entry)(void) = NULL;
    hf_error error;

    if (library)
        *(void **)&entry = dlsym(library, "hf_plugin_v1");
    if (!entry) {
        fprintf(stderr, "%s\n", dlerror());
        return -1;
    }
    const hf_provide *provide = entry()->provides[0];

    configuration = calloc(1, provide->configuration_size + 1);
    if (!configuration || strcmp(provide->kind, "engine") != 0 || fill_defaults(&provide->options) < 0)
        return -1;
    kit_engine = provide->interface.engine;
    if (kit_engine->create(&host, configuration, &instance, &error) == 0)
        return 0;
    fprintf(stderr, "cannot create an instance: %s\n", error.message);
    return -1;
}

void kit_unload(void)
{
    kit_engine->destroy(instance);
    free(configuration);
}

int32_t kit_open_database(const char *directory, hf_engine_database **ret_database, hf_error *error)
{
    return kit_engine->open(instance, directory, ret_database, error);
}

int kit_is_durable(void)
{
    return (kit_engine->head.capabilities & HF_ENGINE_DURABLE) != 0;
}
