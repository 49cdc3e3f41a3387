#include "upstream/list.h"

#include <holdfast/kind/balancer.h>
#include <holdfast/lib/error.h>
#include <holdfast/lib/hash.h>

#include <stdlib.h>
#include <string.h>

/* ---- Options by their rows --------------------------------------------------------------------------------------- */

static const hf_option *row_at(uint32_t i)
{
    return (const hf_option *)((const char *)gateway_server_table.rows + (size_t)i * gateway_server_table.row_size);
}

static int is_text(const hf_option *row)
{
    return row->type == HF_OPTION_STRING || row->type == HF_OPTION_PATH || row->type == HF_OPTION_ADDRESS;
}

static const char **text_of(const struct gateway_server_options *server, const hf_option *row)
{
    return (const char **)((char *)(uintptr_t)server + row->offset);
}

static void free_texts(struct gateway_server_options *server)
{
    free((char *)(uintptr_t)server->name);
    for (uint32_t i = 0; i < gateway_server_table.count; i++)
        if (is_text(row_at(i)))
            free((char *)(uintptr_t)*text_of(server, row_at(i)));
}

/* Copies the texts of `from`, which `to` has borrowed until now.  0: no memory, `to` has none. */
static int own_texts(struct gateway_server_options *to, const struct gateway_server_options *from)
{
    int whole = 1;

    to->name = strdup(from->name);
    whole &= to->name != NULL;
    for (uint32_t i = 0; i < gateway_server_table.count; i++) {
        const hf_option *row = row_at(i);

        if (!is_text(row))
            continue;
        const char *text = *text_of(from, row);
        *text_of(to, row) = text ? strdup(text) : NULL;
        whole &= !text || *text_of(to, row);
    }
    if (!whole)
        free_texts(to);
    return whole;
}

static uint64_t print_text(uint64_t seed, const char *text)
{
    return hf_hash64(seed, text, text ? strlen(text) + 1 : 0);
}

static uint64_t print_option(uint64_t seed, const struct gateway_server_options *server, const hf_option *row)
{
    const char *field = (const char *)server + row->offset;

    if (is_text(row))
        return print_text(seed, *text_of(server, row));
    return hf_hash64(seed, field, row->type == HF_OPTION_BOOLEAN || row->type == HF_OPTION_CHOICE ? 4 : 8);
}

uint64_t gateway_server_list_print(const hf_groups *servers)
{
    const struct gateway_server_options *items = servers->items;
    uint64_t print = servers->count;

    for (uint64_t i = 0; i < servers->count; i++) {
        print = print_text(print, items[i].name);
        for (uint32_t k = 0; k < gateway_server_table.count; k++)
            print = print_option(print, &items[i], row_at(k));
    }
    return print;
}

static int64_t number_in(const char *text)
{
    char *end = NULL;
    int64_t number = text ? strtoll(text, &end, 10) : 0;

    if (end && strcmp(end, "s") == 0)
        number *= 1000000; /* durations in the table are in whole seconds, or milliseconds */
    else if (end && strcmp(end, "ms") == 0)
        number *= 1000;
    return number;
}

static void set_default(struct gateway_server_options *server, const hf_option *row)
{
    char *field = (char *)server + row->offset;
    int32_t is_true = row->default_text && strcmp(row->default_text, "true") == 0;
    int64_t number = number_in(row->default_text);

    if (is_text(row))
        *text_of(server, row) = row->default_text ? row->default_text : "";
    else if (row->type == HF_OPTION_BOOLEAN)
        memcpy(field, &is_true, sizeof is_true);
    else if (row->type == HF_OPTION_INTEGER || row->type == HF_OPTION_DURATION)
        memcpy(field, &number, sizeof number);
    else
        abort(); /* whoever adds an option of another type adds it here */
}

void gateway_server_defaults(struct gateway_server_options *server, const char *name, const char *address)
{
    memset(server, 0, sizeof *server);
    for (uint32_t i = 0; i < gateway_server_table.count; i++)
        set_default(server, row_at(i));
    server->name = name;
    server->address = address;
}

/* ---- Lists ------------------------------------------------------------------------------------------------------- */

static int grow(struct gateway_server_list *list, uint32_t capacity)
{
    struct gateway_server_options *items;

    if (capacity <= list->capacity)
        return 1;
    items = realloc(list->items, capacity * sizeof *items);
    if (!items)
        return 0;
    list->items = items;
    list->capacity = capacity;
    return 1;
}

static int append(struct gateway_server_list *list, const struct gateway_server_options *server)
{
    if (list->count == list->capacity && !grow(list, list->capacity * 2 + 4))
        return 0;
    list->items[list->count] = *server;
    if (!own_texts(&list->items[list->count], server))
        return 0;
    list->count++;
    return 1;
}

static int32_t fill(struct gateway_server_list *list, const struct gateway_server_options *items, uint64_t count,
                    hf_error *error)
{
    int whole = 1;

    memset(list, 0, sizeof *list);
    for (uint64_t i = 0; i < count && whole; i++)
        whole = append(list, &items[i]);
    if (whole)
        return HF_OK;
    gateway_server_list_done(list);
    return hf_error_set(error, HF_ENOMEM, "no memory for a list of servers");
}

int32_t gateway_server_list_read(struct gateway_server_list *list, const hf_groups *servers, hf_error *error)
{
    int32_t code = fill(list, servers->items, servers->count, error);

    list->configured = gateway_server_list_print(servers);
    return code;
}

int32_t gateway_server_list_copy(struct gateway_server_list *list, const struct gateway_server_list *from,
                                 hf_error *error)
{
    int32_t code = fill(list, from->items, from->count, error);

    list->configured = from->configured;
    list->is_changed = from->is_changed;
    return code;
}

void gateway_server_list_done(struct gateway_server_list *list)
{
    for (uint32_t i = 0; i < list->count; i++)
        free_texts(&list->items[i]);
    free(list->items);
    memset(list, 0, sizeof *list);
}

struct gateway_server_options *gateway_server_list_find(const struct gateway_server_list *list, const char *name)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i].name, name) == 0)
            return &list->items[i];
    return NULL;
}

int32_t gateway_server_list_add(struct gateway_server_list *list, const struct gateway_server_options *server,
                                hf_error *error)
{
    if (gateway_server_list_find(list, server->name))
        return hf_error_set(error, HF_EEXIST, "there is a server '%s' already", server->name);
    for (uint32_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i].address, server->address) == 0)
            return hf_error_set(error, HF_EEXIST, "the server '%s' is at '%s' already", list->items[i].name,
                                server->address);
    if (list->count >= HF_BALANCER_SERVERS_MAX)
        return hf_error_set(error, HF_ETOOLARGE, "the upstream has %d servers; it cannot have more",
                            HF_BALANCER_SERVERS_MAX);
    return append(list, server) ? HF_OK : hf_error_set(error, HF_ENOMEM, "no memory for a server");
}

int32_t gateway_server_list_remove(struct gateway_server_list *list, const char *name, hf_error *error)
{
    struct gateway_server_options *server = gateway_server_list_find(list, name);

    if (!server)
        return hf_error_set(error, HF_ENOTFOUND, "there is no server '%s'", name);
    free_texts(server);
    list->count--;
    memmove(server, server + 1, (size_t)(list->items + list->count - server) * sizeof *server);
    return HF_OK;
}
