/* The types of options; groups and choices of capabilities are left to check.c.  See option.h. */
#include "config/option.h"

#include "config/units.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

hf_option hf_config_option_row(const hf_option_table *table, uint32_t index)
{
    hf_option option = {0};
    size_t size = table->row_size < sizeof option ? table->row_size : sizeof option;

    memcpy(&option, (const char *)table->rows + (size_t)index * table->row_size, size);
    return option;
}

uint64_t hf_config_option_field_size(int32_t type)
{
    switch (type) {
    case HF_OPTION_BOOLEAN:
    case HF_OPTION_CHOICE:
        return sizeof(int32_t);
    case HF_OPTION_INTEGER:
    case HF_OPTION_FLOAT:
    case HF_OPTION_SIZE:
    case HF_OPTION_DURATION:
        return sizeof(int64_t);
    case HF_OPTION_STRING:
    case HF_OPTION_PATH:
    case HF_OPTION_ADDRESS:
        return sizeof(const char *);
    case HF_OPTION_STRINGS:
        return sizeof(hf_strings);
    case HF_OPTION_GROUPS:
        return sizeof(hf_groups);
    case HF_OPTION_CAPABILITY:
        return sizeof(hf_capability_choice);
    default:
        return 0;
    }
}

/* ---- What is expected ----------------------------------------------------------------------------------------- */

static void format_number(const hf_option *option, int64_t value, char *text, size_t size)
{
    if (option->type == HF_OPTION_SIZE)
        hf_config_size_format((uint64_t)value, text, size);
    else if (option->type == HF_OPTION_DURATION)
        hf_config_duration_format((uint64_t)value, text, size);
    else
        snprintf(text, size, "%" PRId64, value);
}

static void expected_range(const hf_option *option, const char *what, char *text, size_t size)
{
    char low[48], high[48];

    format_number(option, option->minimum, low, sizeof low);
    format_number(option, option->maximum, high, sizeof high);
    if (option->minimum == 0 && option->maximum == 0)
        snprintf(text, size, "%s", what);
    else
        snprintf(text, size, "%s from %s to %s", what, low, high);
}

static void expected_choice(const hf_option *option, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "one of");

    for (const char *const *choice = option->choices; choice && *choice && used < size; choice++)
        used += (size_t)snprintf(text + used, size - used, "%s \"%s\"", choice == option->choices ? "" : ",", *choice);
}

void hf_config_option_expected(const hf_option *option, char *text, size_t size)
{
    static const char *const fixed[] = {
        [HF_OPTION_BOOLEAN] = "true or false",
        [HF_OPTION_STRING] = "a string",
        [HF_OPTION_STRINGS] = "a list of strings such as [ \"a\", \"b\" ]",
        [HF_OPTION_GROUP] = "a group { ... }",
        [HF_OPTION_GROUPS] = "a group of named groups { name: { ... }; }",
        [HF_OPTION_PATH] = "the path of a file or folder",
        [HF_OPTION_ADDRESS] = "\"host:port\", \"[v6]:port\" or \"unix:PATH\"",
    };

    if (option->type == HF_OPTION_INTEGER)
        expected_range(option, "an integer", text, size);
    else if (option->type == HF_OPTION_SIZE)
        expected_range(option, "a size such as \"64MiB\"", text, size);
    else if (option->type == HF_OPTION_DURATION)
        expected_range(option, "a duration such as \"300ms\"", text, size);
    else if (option->type == HF_OPTION_CHOICE)
        expected_choice(option, text, size);
    else if (option->type == HF_OPTION_CAPABILITY)
        snprintf(text, size,
                 "the name of a capability of kind '%s', or a group { name = \"NAME\"; ... } with its options",
                 option->kind);
    else if (option->type == HF_OPTION_FLOAT && (option->minimum_float != 0 || option->maximum_float != 0))
        snprintf(text, size, "a number from %g to %g", option->minimum_float, option->maximum_float);
    else if (option->type == HF_OPTION_FLOAT)
        snprintf(text, size, "a number");
    else
        snprintf(text, size, "%s", fixed[option->type]);
}

/* ---- Values --------------------------------------------------------------------------------------------------- */

static int in_range(const hf_option *option, int64_t value)
{
    if (option->minimum == 0 && option->maximum == 0)
        return 1;
    return value >= option->minimum && value <= option->maximum;
}

static int32_t store_unsigned(const hf_option *option, uint64_t value, uint64_t *field)
{
    if (value > INT64_MAX || !in_range(option, (int64_t)value)) /* the limits are signed */
        return HF_EINVAL;
    *field = value;
    return 0;
}

static int32_t store_integer(const hf_option *option, int64_t value, int64_t *field)
{
    if (!in_range(option, value))
        return HF_EINVAL;
    *field = value;
    return 0;
}

static int32_t store_float(const hf_option *option, double value, double *field)
{
    int limited = option->minimum_float != 0 || option->maximum_float != 0;

    if (!isfinite(value) || (limited && (value < option->minimum_float || value > option->maximum_float)))
        return HF_EINVAL;
    *field = value;
    return 0;
}

static int32_t store_choice(const hf_option *option, const char *text, int32_t *field)
{
    for (int32_t i = 0; option->choices && option->choices[i]; i++) {
        if (strcmp(option->choices[i], text) == 0) {
            *field = i;
            return 0;
        }
    }
    return HF_EINVAL;
}

static int32_t store_string(const char *text, hf_config_pool *pool, const char **field)
{
    const char *copy = hf_config_pool_copy(pool, text, strlen(text));

    if (!copy)
        return HF_ENOMEM;
    *field = copy;
    return 0;
}

static int32_t store_path(const char *text, const char *file, hf_config_pool *pool, const char **field)
{
    char path[PATH_MAX], cwd[PATH_MAX] = "";
    const char *slash = strrchr(file, '/');
    int folder_size = slash ? (int)(slash - file) : 0;
    int absolute = text[0] == '/';

    if (text[0] == '\0')
        return HF_EINVAL;
    if (absolute)
        return store_string(text, pool, field);
    if (file[0] != '/' && !getcwd(cwd, sizeof cwd))
        return HF_EINVAL;

    const char *separator = file[0] != '/' && folder_size > 0 ? "/" : "";
    int size = snprintf(path, sizeof path, "%s%s%.*s/%s", cwd, separator, folder_size, file, text);

    if (size < 0 || (size_t)size >= sizeof path)
        return HF_EINVAL;
    return store_string(path, pool, field);
}

static int port_valid(const char *text)
{
    size_t size = strlen(text);

    return size > 0 && size <= 5 && strspn(text, "0123456789") == size && atoi(text) <= 65535;
}

static int address_valid(const char *text)
{
    char v6[INET6_ADDRSTRLEN];
    struct in6_addr binary;
    const char *colon = strrchr(text, ':');

    if (strncmp(text, "unix:", 5) == 0)
        return text[5] != '\0' && strlen(text + 5) < sizeof((struct sockaddr_un *)0)->sun_path;
    if (!colon || colon == text || !port_valid(colon + 1))
        return 0;

    size_t host_size = (size_t)(colon - text);

    if (text[0] != '[')
        return host_size <= 253 &&
               strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_*") == host_size;
    if (host_size < 4 || text[host_size - 1] != ']' || host_size - 2 >= sizeof v6)
        return 0;
    memcpy(v6, text + 1, host_size - 2);
    v6[host_size - 2] = '\0';
    return inet_pton(AF_INET6, v6, &binary) == 1;
}

/* A value that is written between quotes. */
static int32_t store_text(const hf_option *option, const char *text, const char *file, hf_config_pool *pool,
                          void *field)
{
    uint64_t number;

    switch (option->type) {
    case HF_OPTION_STRING:
        return store_string(text, pool, field);
    case HF_OPTION_PATH:
        return store_path(text, file, pool, field);
    case HF_OPTION_ADDRESS:
        return address_valid(text) ? store_string(text, pool, field) : HF_EINVAL;
    case HF_OPTION_CHOICE:
        return store_choice(option, text, field);
    case HF_OPTION_SIZE:
        return hf_config_size_parse(text, &number) ? store_unsigned(option, number, field) : HF_EINVAL;
    case HF_OPTION_DURATION:
        return hf_config_duration_parse(text, &number) ? store_unsigned(option, number, field) : HF_EINVAL;
    default:
        return HF_EINVAL;
    }
}

static int32_t store_number(const hf_option *option, int64_t value, void *field)
{
    if (option->type == HF_OPTION_INTEGER)
        return store_integer(option, value, field);
    if (option->type == HF_OPTION_FLOAT)
        return store_float(option, (double)value, field);
    if (option->type == HF_OPTION_SIZE || (option->type == HF_OPTION_DURATION && value == 0))
        return value < 0 ? HF_EINVAL : store_unsigned(option, (uint64_t)value, field);
    return HF_EINVAL; /* a duration without a unit is a guess */
}

static int32_t store_list(const hf_config_node *node, hf_config_pool *pool, hf_strings *field)
{
    const char **items = hf_config_pool_alloc(pool, (node->child_count + 1) * sizeof *items);
    uint64_t count = 0;

    if (!items)
        return HF_ENOMEM;
    for (const hf_config_node *child = node->first; child; child = child->next) {
        if (child->type != HF_CONFIG_NODE_STRING)
            return HF_EINVAL;

        int32_t r = store_string(child->string, pool, &items[count++]);

        if (r < 0)
            return r;
    }
    field->count = count;
    field->items = items;
    return 0;
}

int32_t hf_config_option_store(const hf_option *option, const hf_config_node *node, hf_config_pool *pool, void *field)
{
    switch (node->type) {
    case HF_CONFIG_NODE_STRING:
        return store_text(option, node->string, node->file, pool, field);
    case HF_CONFIG_NODE_INTEGER:
        return store_number(option, node->integer, field);
    case HF_CONFIG_NODE_FLOAT:
        return option->type == HF_OPTION_FLOAT ? store_float(option, node->number, field) : HF_EINVAL;
    case HF_CONFIG_NODE_BOOLEAN:
        if (option->type != HF_OPTION_BOOLEAN)
            return HF_EINVAL;
        *(int32_t *)field = (int32_t)node->integer;
        return 0;
    case HF_CONFIG_NODE_LIST:
    case HF_CONFIG_NODE_ARRAY:
        return option->type == HF_OPTION_STRINGS ? store_list(node, pool, field) : HF_EINVAL;
    default:
        return HF_EINVAL;
    }
}

/* ---- Defaults ------------------------------------------------------------------------------------------------- */

static int32_t store_default_list(const char *text, hf_config_pool *pool, hf_strings *field)
{
    static const char ignored[] = " ,[]\""; /* "a, b" and the file's own [ "a", "b" ] mean the same */
    const char **items = hf_config_pool_alloc(pool, (strlen(text) / 2 + 2) * sizeof *items);
    uint64_t count = 0;

    if (!items)
        return HF_ENOMEM;
    for (text += strspn(text, ignored); *text; text += strspn(text, ignored)) {
        size_t size = strcspn(text, ignored);

        items[count] = hf_config_pool_copy(pool, text, size);
        if (!items[count++])
            return HF_ENOMEM;
        text += size;
    }
    field->count = count;
    field->items = items;
    return 0;
}

static int32_t store_default_boolean(const char *text, int32_t *field)
{
    *field = strcmp(text, "true") == 0;
    return *field || strcmp(text, "false") == 0 ? 0 : HF_EINVAL;
}

static int32_t store_default_number(const hf_option *option, const char *text, void *field)
{
    char *end;

    if (option->type == HF_OPTION_FLOAT) {
        double number = strtod(text, &end);

        return *text && !*end ? store_float(option, number, field) : HF_EINVAL;
    }

    int64_t integer = strtoll(text, &end, 0);

    return *text && !*end ? store_integer(option, integer, field) : HF_EINVAL;
}

int32_t hf_config_option_store_default(const hf_option *option, const char *file, hf_config_pool *pool, void *field)
{
    const char *text = option->default_text;
    int quoted =
        option->type == HF_OPTION_STRING || option->type == HF_OPTION_PATH || option->type == HF_OPTION_ADDRESS;

    if (option->type == HF_OPTION_CAPABILITY)
        return store_string(text ? text : "", pool, &((hf_capability_choice *)field)->name);
    if (!text) /* the field is zero already; strings are never NULL */
        return quoted ? store_string("", pool, field) : 0;
    if (option->type == HF_OPTION_BOOLEAN)
        return store_default_boolean(text, field);
    if (option->type == HF_OPTION_INTEGER || option->type == HF_OPTION_FLOAT)
        return store_default_number(option, text, field);
    if (option->type == HF_OPTION_STRINGS)
        return store_default_list(text, pool, field);
    if (quoted && !*text)
        return store_string("", pool, field);
    return store_text(option, text, file, pool, field);
}

/* ---- Printing ------------------------------------------------------------------------------------------------- */

static void print_strings(const hf_strings *strings, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "[");

    for (uint64_t i = 0; i < strings->count && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s \"%s\"", i ? "," : "", strings->items[i]);
    if (used < size)
        snprintf(text + used, size - used, " ]");
}

static void print_quoted(const char *value, char *text, size_t size)
{
    snprintf(text, size, "\"%s\"", value ? value : "");
}

void hf_config_option_print(const hf_option *option, const void *field, char *text, size_t size)
{
    char number[48];

    if (option->flags & HF_OPTION_SECRET) {
        snprintf(text, size, "***");
        return;
    }
    switch (option->type) {
    case HF_OPTION_BOOLEAN:
        snprintf(text, size, "%s", *(const int32_t *)field ? "true" : "false");
        break;
    case HF_OPTION_CHOICE:
        print_quoted(option->choices[*(const int32_t *)field], text, size);
        break;
    case HF_OPTION_INTEGER:
        snprintf(text, size, "%" PRId64, *(const int64_t *)field);
        break;
    case HF_OPTION_FLOAT:
        snprintf(text, size, "%.17g", *(const double *)field);
        break;
    case HF_OPTION_SIZE:
    case HF_OPTION_DURATION:
        format_number(option, (int64_t) * (const uint64_t *)field, number, sizeof number);
        print_quoted(number, text, size);
        break;
    case HF_OPTION_STRINGS:
        print_strings(field, text, size);
        break;
    default:
        print_quoted(*(const char *const *)field, text, size);
        break;
    }
}
