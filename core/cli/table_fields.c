/* "--field NAME:TYPE[,required][,min=N]...": the fields of a new table as JSON.  The nodes know what may be declared;
 * here only the form is read. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

static int refuse(const char *field, const char *why)
{
    fprintf(stderr,
            "holdfast: --field '%s' %s; expected NAME:TYPE[,required][,min=N][,max=N][,min_length=N][,max_length=N]"
            "[,one_of=A|B|...]\n",
            field, why);
    return CLI_USAGE;
}

static void write_choices(hf_json_writer *writer, hf_slice choices)
{
    hf_json_begin_list(writer);
    for (;;) {
        const uint8_t *bar = choices.size ? memchr(choices.data, '|', choices.size) : NULL;
        uint64_t size = bar ? (uint64_t)(bar - choices.data) : choices.size;

        hf_json_string(writer, (hf_slice){choices.data, size});
        if (!bar)
            break;
        choices.data += size + 1;
        choices.size -= size + 1;
    }
    hf_json_end_list(writer);
}

static int write_number(hf_json_writer *writer, const char *field, hf_slice text)
{
    hf_value number = hf_value_null();
    hf_arena arena;

    hf_arena_init(&arena, 4096);
    int good = hf_json_parse(text, &arena, &number, NULL) == 0 &&
               (number.type == HF_VALUE_INTEGER || number.type == HF_VALUE_FLOAT);

    if (good)
        hf_json_value(writer, &number);
    hf_arena_done(&arena);
    return good ? CLI_OK : refuse(field, "has a limit that is no number");
}

/* "required" or "min=1". */
static int write_rule(hf_json_writer *writer, const char *field, hf_slice rule)
{
    static const char *const limits[] = {"min", "max", "min_length", "max_length"};
    const uint8_t *equals = rule.size ? memchr(rule.data, '=', rule.size) : NULL;
    hf_slice name = {rule.data, equals ? (uint64_t)(equals - rule.data) : rule.size};
    hf_slice value = {equals ? equals + 1 : NULL, equals ? rule.size - name.size - 1 : 0};

    if (!equals && hf_slice_is(name, "required")) {
        hf_json_member_boolean(writer, "required", 1);
        return CLI_OK;
    }
    if (equals && hf_slice_is(name, "one_of")) {
        hf_json_name(writer, "one_of");
        write_choices(writer, value);
        return CLI_OK;
    }
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
        if (equals && hf_slice_is(name, limits[i])) {
            hf_json_name(writer, limits[i]);
            return write_number(writer, field, value);
        }
    return refuse(field, "has a part that is not known");
}

static int write_field(cli_run *cli, hf_json_writer *writer, const char *field)
{
    const char *colon = strchr(field, ':'), *at = colon ? colon + 1 + strcspn(colon + 1, ",") : NULL;
    char *name = hf_arena_strdup(&cli->arena, field);
    int result = CLI_OK;

    if (!colon || colon == field || at == colon + 1)
        return refuse(field, "has no name or no type");
    if (!name)
        cli_out_of_memory();
    name[colon - field] = '\0';
    hf_json_name(writer, name);
    hf_json_begin_object(writer);
    hf_json_member_string(writer, "type", (hf_slice){(const uint8_t *)colon + 1, (uint64_t)(at - colon - 1)});
    while (result == CLI_OK && *at == ',') {
        size_t size = strcspn(++at, ",");

        result = write_rule(writer, field, (hf_slice){(const uint8_t *)at, size});
        at += size;
    }
    hf_json_end_object(writer);
    return result;
}

static int is_field(const cli_run *cli, uint32_t i)
{
    return cli->options[i].length == 5 && memcmp(cli->options[i].name, "field", 5) == 0;
}

int cli_write_fields(cli_run *cli, hf_json_writer *writer)
{
    int result = CLI_OK;

    if (cli_option(cli, "no-other-fields")) {
        hf_json_member_boolean(writer, "other_fields", 0);
    }
    if (!cli_option(cli, "field"))
        return CLI_OK;
    hf_json_name(writer, "fields");
    hf_json_begin_object(writer);
    for (uint32_t i = 0; i < cli->option_count && result == CLI_OK; i++)
        if (is_field(cli, i))
            result = write_field(cli, writer, cli->options[i].value);
    hf_json_end_object(writer);
    return result;
}
