/* Walks declared options and writes Markdown or a sample; see reference.h. */
#include "config/reference.h"

#include "config/option.h"

#include <string.h>

enum { NAME_SIZE = 256, TEXT_SIZE = 256 };

static int is_group(const hf_option *option)
{
    return option->type == HF_OPTION_GROUP || option->type == HF_OPTION_GROUPS;
}

static int is_quoted(int32_t type)
{
    return type != HF_OPTION_BOOLEAN && type != HF_OPTION_INTEGER && type != HF_OPTION_FLOAT &&
           type != HF_OPTION_STRINGS;
}

static void write_default_list(FILE *file, const char *text)
{
    static const char ignored[] = " ,[]\"";
    int count = 0;

    fputs("[", file);
    for (text += strspn(text, ignored); *text; text += strspn(text, ignored)) {
        int size = (int)strcspn(text, ignored);

        fprintf(file, "%s\"%.*s\"", count++ ? ", " : " ", size, text);
        text += size;
    }
    fputs(" ]", file);
}

static void write_default(FILE *file, const hf_option *option)
{
    static const char *const empty[] = {
        [HF_OPTION_BOOLEAN] = "false", [HF_OPTION_INTEGER] = "0",   [HF_OPTION_FLOAT] = "0.0", [HF_OPTION_STRING] = "",
        [HF_OPTION_SIZE] = "0B",       [HF_OPTION_DURATION] = "0s", [HF_OPTION_STRINGS] = "",  [HF_OPTION_PATH] = "",
        [HF_OPTION_ADDRESS] = "",      [HF_OPTION_CAPABILITY] = "",
    };
    const char *text = option->default_text;

    if (!text)
        text = option->type == HF_OPTION_CHOICE ? option->choices[0] : empty[option->type];
    if (option->type == HF_OPTION_STRINGS)
        write_default_list(file, text);
    else
        fprintf(file, is_quoted(option->type) ? "\"%s\"" : "%s", text);
}

/* ---- Markdown ------------------------------------------------------------------------------------------------- */

static void write_cell(FILE *file, const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            fputc('\\', file);
        fputc(*text, file);
    }
}

static void write_row(FILE *file, const char *name, const hf_option *option)
{
    char expected[TEXT_SIZE];

    hf_config_option_expected(option, expected, sizeof expected);
    fprintf(file, "| `%s` | ", name);
    write_cell(file, expected);
    fputs(" | ", file);
    if (option->flags & HF_OPTION_REQUIRED) {
        fputs("required", file);
    } else if (!is_group(option)) {
        fputs("`", file);
        write_default(file, option);
        fputs("`", file);
    }
    fprintf(file, " | %s | ", option->flags & HF_OPTION_RELOADABLE ? "reload" : "restart");
    write_cell(file, option->doc ? option->doc : "");
    fprintf(file, "%s |\n", option->flags & HF_OPTION_SECRET ? " Never printed." : "");
}

static void write_rows(FILE *file, const char *prefix, const hf_option_table *options)
{
    for (uint32_t i = 0; i < options->count; i++) {
        hf_option option = hf_config_option_row(options, i);
        char name[NAME_SIZE], below[NAME_SIZE + 8];

        snprintf(name, sizeof name, "%s%s", prefix, option.name);
        write_row(file, name, &option);
        snprintf(below, sizeof below, option.type == HF_OPTION_GROUPS ? "%s.NAME." : "%s.", name);
        if (is_group(&option))
            write_rows(file, below, option.members);
    }
}

int32_t hf_config_reference_markdown(FILE *file, const hf_config_section *section)
{
    fprintf(file, "## %s\n\n", section->path);
    if (section->doc)
        fprintf(file, "%s\n\n", section->doc);
    fputs("| Option | Value | Default | Change needs | Meaning |\n|---|---|---|---|---|\n", file);
    if (section->flags & HF_CONFIG_SECTION_NAMED) {
        hf_option option = hf_config_option_row(section->options, 0);
        write_rows(file, "NAME.", option.members);
    } else {
        write_rows(file, "", section->options);
    }
    return ferror(file) ? HF_EIO : 0;
}

/* ---- Sample --------------------------------------------------------------------------------------------------- */

static void write_sample_rows(FILE *file, int indent, int hidden, const hf_option_table *options);

static void write_sample_group(FILE *file, int indent, int hidden, const hf_option *option)
{
    const char *mark = hidden ? "# " : "";
    int named = option->type == HF_OPTION_GROUPS;

    fprintf(file, "%*s%s%s: {\n", indent, "", mark, option->name);
    if (named)
        fprintf(file, "%*s%sname: {\n", indent + 4, "", mark);
    write_sample_rows(file, indent + (named ? 8 : 4), hidden, option->members);
    if (named)
        fprintf(file, "%*s%s};\n", indent + 4, "", mark);
    fprintf(file, "%*s%s};\n", indent, "", mark);
}

static void write_sample_option(FILE *file, int indent, int hidden, const hf_option *option)
{
    char expected[TEXT_SIZE];
    int required = option->flags & HF_OPTION_REQUIRED;

    hf_config_option_expected(option, expected, sizeof expected);
    fprintf(file, "%*s# %s\n", indent, "", option->doc ? option->doc : "");
    fprintf(file, "%*s# %sExpects %s; a change needs a %s.\n", indent, "", required ? "Required. " : "", expected,
            option->flags & HF_OPTION_RELOADABLE ? "reload" : "restart");
    if (is_group(option)) {
        write_sample_group(file, indent, hidden || !required, option);
        return;
    }
    fprintf(file, "%*s%s%s = ", indent, "", hidden || !required ? "# " : "", option->name);
    write_default(file, option);
    fputs(";\n", file);
}

static void write_sample_rows(FILE *file, int indent, int hidden, const hf_option_table *options)
{
    for (uint32_t i = 0; i < options->count; i++) {
        hf_option option = hf_config_option_row(options, i);

        if (i > 0)
            fputc('\n', file);
        write_sample_option(file, indent, hidden, &option);
    }
}

int32_t hf_config_reference_sample(FILE *file, const hf_config_section *section)
{
    const char *at = section->path;
    int indent = 0;

    if (section->doc)
        fprintf(file, "# %s\n", section->doc);
    for (;; indent += 4) {
        size_t size = strcspn(at, ".");

        fprintf(file, "%*s%.*s: {\n", indent, "", (int)size, at);
        at += size;
        if (*at++ == '\0')
            break;
    }
    if (section->flags & HF_CONFIG_SECTION_NAMED) {
        hf_option option = hf_config_option_row(section->options, 0);
        fprintf(file, "%*s# name: {\n", indent + 4, "");
        write_sample_rows(file, indent + 8, 1, option.members);
        fprintf(file, "%*s# };\n", indent + 4, "");
    } else {
        write_sample_rows(file, indent + 4, 0, section->options);
    }
    for (; indent >= 0; indent -= 4)
        fprintf(file, "%*s};\n", indent, "");
    return ferror(file) ? HF_EIO : 0;
}
