/* Walks declared options and the structs that they fill; see document.h. */
#include "config/document.h"

#include "config/option.h"
#include "config/units.h"

#include <stdio.h>
#include <string.h>

enum { NAME_SIZE = 256 };

static void write_group(hf_json_writer *writer, const hf_config_generation *generation, const hf_option_table *options,
                        const char *record);
static void write_members(hf_json_writer *writer, const hf_config_generation *generation,
                          const hf_option_table *options, const char *record, const char *but);

static void write_units(hf_json_writer *writer, const hf_option *option, uint64_t value)
{
    char text[48];

    if (option->type == HF_OPTION_SIZE)
        hf_config_size_format(value, text, sizeof text);
    else
        hf_config_duration_format(value, text, sizeof text);
    hf_json_text(writer, text);
}

static void write_strings(hf_json_writer *writer, const hf_strings *strings)
{
    hf_json_begin_list(writer);
    for (uint64_t i = 0; i < strings->count; i++)
        hf_json_text(writer, strings->items[i]);
    hf_json_end_list(writer);
}

static void write_groups(hf_json_writer *writer, const hf_config_generation *generation, const hf_option *option,
                         const hf_groups *groups)
{
    hf_json_begin_object(writer);
    for (uint64_t i = 0; i < groups->count; i++) {
        const char *item = (const char *)groups->items + i * option->item_size;

        hf_json_name(writer, *(const char *const *)item); /* the first field of each is its name */
        write_group(writer, generation, option->members, item);
    }
    hf_json_end_object(writer);
}

/* As a group in the file, with its name first. */
static void write_choice(hf_json_writer *writer, const hf_config_generation *generation, const hf_option *option,
                         const hf_capability_choice *choice)
{
    const hf_config_section *section = hf_config_generation_capability(generation, option->kind, choice->name);

    if (!section || !choice->configuration) {
        hf_json_text(writer, choice->name);
        return;
    }
    hf_json_begin_object(writer);
    hf_json_member_text(writer, "name", choice->name);
    write_members(writer, generation, section->options, choice->configuration, "name");
    hf_json_end_object(writer);
}

static void write_value(hf_json_writer *writer, const hf_config_generation *generation, const hf_option *option,
                        const void *field)
{
    switch (option->type) {
    case HF_OPTION_BOOLEAN:
        hf_json_boolean(writer, *(const int32_t *)field);
        break;
    case HF_OPTION_INTEGER:
        hf_json_integer(writer, *(const int64_t *)field);
        break;
    case HF_OPTION_FLOAT:
        hf_json_float(writer, *(const double *)field);
        break;
    case HF_OPTION_SIZE:
    case HF_OPTION_DURATION:
        write_units(writer, option, *(const uint64_t *)field);
        break;
    case HF_OPTION_CHOICE:
        hf_json_text(writer, option->choices[*(const int32_t *)field]);
        break;
    case HF_OPTION_STRINGS:
        write_strings(writer, field);
        break;
    case HF_OPTION_GROUP:
        write_group(writer, generation, option->members, field);
        break;
    case HF_OPTION_GROUPS:
        write_groups(writer, generation, option, field);
        break;
    case HF_OPTION_CAPABILITY:
        write_choice(writer, generation, option, field);
        break;
    default:
        hf_json_text(writer, *(const char *const *)field);
        break;
    }
}

/* Without secrets, and without the option called `but` (NULL: all). */
static void write_members(hf_json_writer *writer, const hf_config_generation *generation,
                          const hf_option_table *options, const char *record, const char *but)
{
    for (uint32_t i = 0; i < options->count; i++) {
        hf_option option = hf_config_option_row(options, i);

        if ((option.flags & HF_OPTION_SECRET) || (but && strcmp(option.name, but) == 0))
            continue;
        hf_json_name(writer, option.name);
        write_value(writer, generation, &option, record + option.offset);
    }
}

static void write_group(hf_json_writer *writer, const hf_config_generation *generation, const hf_option_table *options,
                        const char *record)
{
    hf_json_begin_object(writer);
    write_members(writer, generation, options, record, NULL);
    hf_json_end_object(writer);
}

/* ---- Sections -------------------------------------------------------------------------------------------------- */

static const void *record_of(const hf_config_generation *generation, const hf_config_section *section)
{
    return hf_config_generation_get(generation, section->path, NULL);
}

/* The section at `name` itself and those below it ("engine.rocksdb" for "engine"), as one object. */
static void write_top(hf_json_writer *writer, const hf_config_generation *generation, const char *name)
{
    uint32_t count;
    const hf_config_section *sections = hf_config_generation_sections(generation, &count);
    size_t size = strlen(name);

    hf_json_name(writer, name);
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(sections[i].path, name) == 0 && (sections[i].flags & HF_CONFIG_SECTION_NAMED)) {
            hf_option option = hf_config_option_row(sections[i].options, 0);
            write_value(writer, generation, &option, (const char *)record_of(generation, &sections[i]) + option.offset);
            return;
        }
    hf_json_begin_object(writer);
    for (uint32_t i = 0; i < count; i++) {
        const char *path = sections[i].path;

        if (strcmp(path, name) == 0) {
            write_members(writer, generation, sections[i].options, record_of(generation, &sections[i]), NULL);
        } else if (strncmp(path, name, size) == 0 && path[size] == '.') {
            hf_json_name(writer, path + size + 1);
            write_group(writer, generation, sections[i].options, record_of(generation, &sections[i]));
        }
    }
    hf_json_end_object(writer);
}

static int same_top(const char *a, const char *b)
{
    size_t size = strcspn(a, ".");

    return size == strcspn(b, ".") && strncmp(a, b, size) == 0;
}

void hf_config_document_json(hf_json_writer *writer, const hf_config_generation *generation)
{
    uint32_t count;
    const hf_config_section *sections = hf_config_generation_sections(generation, &count);
    char name[NAME_SIZE];

    hf_json_begin_object(writer);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t first = 0;

        while (!same_top(sections[first].path, sections[i].path))
            first++;
        if (first < i)
            continue; /* written with the first of its name */
        snprintf(name, sizeof name, "%.*s", (int)strcspn(sections[i].path, "."), sections[i].path);
        write_top(writer, generation, name);
    }
    hf_json_end_object(writer);
}
