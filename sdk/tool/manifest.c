/* A plugin's manifest from its C tables; see manifest.h. */
#include "manifest.h"

#include <inttypes.h>
#include <string.h>

static void print_string(FILE *out, const char *text)
{
    fputc('"', out);
    for (const char *c = text ? text : ""; *c; c++) {
        if (*c == '"' || *c == '\\')
            fprintf(out, "\\%c", *c);
        else if ((unsigned char)*c < 0x20)
            fprintf(out, "\\u%04x", *c);
        else
            fputc(*c, out);
    }
    fputc('"', out);
}

static void print_field(FILE *out, const char *name, const char *text)
{
    fprintf(out, "\"%s\":", name);
    print_string(out, text);
}

static const char *type_name(int32_t type)
{
    static const char *const names[] = {"",       "boolean", "integer", "float",  "string", "size",    "duration",
                                        "choice", "strings", "group",   "groups", "path",   "address", "capability"};

    if (type < HF_OPTION_BOOLEAN || type > HF_OPTION_CAPABILITY)
        return NULL;
    return names[type];
}

static const char *print_options(FILE *out, const hf_option_table *table);

static void print_limits(FILE *out, const hf_option *option)
{
    if (option->minimum || option->maximum)
        fprintf(out, ",\"minimum\":%" PRId64 ",\"maximum\":%" PRId64, option->minimum, option->maximum);
    if (option->minimum_float != 0 || option->maximum_float != 0)
        fprintf(out, ",\"minimum\":%.17g,\"maximum\":%.17g", option->minimum_float, option->maximum_float);
}

static const char *print_option(FILE *out, const hf_option *option)
{
    const char *type = type_name(option->type), *fault = NULL;

    if (!type)
        return "the type of an option is none of HF_OPTION_...";
    fputc('{', out);
    print_field(out, "name", option->name);
    fputc(',', out);
    print_field(out, "type", type);
    fprintf(
        out, ",\"required\":%s,\"reloadable\":%s,\"secret\":%s", option->flags & HF_OPTION_REQUIRED ? "true" : "false",
        option->flags & HF_OPTION_RELOADABLE ? "true" : "false", option->flags & HF_OPTION_SECRET ? "true" : "false");
    print_limits(out, option);
    if (option->default_text) {
        fputc(',', out);
        print_field(out, "default", option->default_text);
    }
    if (option->kind) {
        fputc(',', out);
        print_field(out, "kind", option->kind);
    }
    if (option->choices) {
        fputs(",\"choices\":[", out);
        for (uint32_t i = 0; option->choices[i]; i++) {
            fputs(i ? "," : "", out);
            print_string(out, option->choices[i]);
        }
        fputc(']', out);
    }
    fputc(',', out);
    print_field(out, "doc", option->doc);
    if (option->members) {
        fputs(",\"members\":", out);
        fault = print_options(out, option->members);
    }
    fputc('}', out);
    return fault;
}

/* Row `index`, which may be shorter or longer than this program knows rows. */
static hf_option row(const hf_option_table *table, uint32_t index)
{
    hf_option option = {0};

    memcpy(&option, (const char *)table->rows + (size_t)index * table->row_size,
           table->row_size < sizeof option ? table->row_size : sizeof option);
    return option;
}

static const char *print_options(FILE *out, const hf_option_table *table)
{
    const char *fault = NULL;

    fputc('[', out);
    for (uint32_t i = 0; i < table->count && !fault; i++) {
        fputs(i ? "," : "", out);

        hf_option option = row(table, i);

        fault = print_option(out, &option);
    }
    fputc(']', out);
    return fault;
}

static const char *print_provide(FILE *out, const hf_provide *provide)
{
    fputc('{', out);
    print_field(out, "kind", provide->kind);
    fputc(',', out);
    print_field(out, "name", provide->name);
    fputc(',', out);
    print_field(out, "summary", provide->summary);
    fputs(",\"options\":", out);
    const char *fault = print_options(out, &provide->options);
    fputc('}', out);
    return fault;
}

const char *hf_manifest_write(FILE *out, const hf_plugin *plugin)
{
    const char *fault = NULL;

    fprintf(out, "{\"interface_major\":%u,\"interface_minor\":%u,\"minor_needed\":%u,", plugin->interface_major,
            plugin->interface_minor, plugin->minor_needed);
    print_field(out, "id", plugin->id);
    fputc(',', out);
    print_field(out, "version", plugin->version);
    fputc(',', out);
    print_field(out, "summary", plugin->summary);
    fputc(',', out);
    print_field(out, "licence", plugin->licence);
    fputs(",\"requires\":[", out);
    for (uint32_t i = 0; plugin->requires_ && plugin->requires_[i]; i++) {
        fputs(i ? "," : "", out);
        print_string(out, plugin->requires_[i]);
    }
    fputs("],\"provides\":[", out);
    for (uint32_t i = 0; i < plugin->provide_count && !fault; i++) {
        fputs(i ? "," : "", out);
        fault = print_provide(out, plugin->provides[i]);
    }
    fputs("]}", out);
    return fault;
}
