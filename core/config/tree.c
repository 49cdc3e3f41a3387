/* Turns libconfig's settings into our own nodes, and merges included documents; see tree.h. */
#include "config/tree.h"

#include "config/pool.h"
#include "config/source.h"

#include <errno.h>
#include <glob.h>
#include <holdfast/lib/error.h>
#include <libconfig.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

struct hf_config_tree {
    hf_config_pool pool;
    hf_config_node *root;
};

/* One document being read; `parent` leads to the document that included it. */
struct document {
    struct hf_config_tree *tree;
    const struct document *parent;
    const char *name;   /* in the pool */
    const char *folder; /* NULL for text in memory */
    const char *real;   /* resolved path, to see cycles */
    uint32_t depth;
    hf_error *error;
};

static int32_t no_memory(const struct document *d)
{
    return hf_error_set(d->error, HF_ENOMEM, "%s:1: no memory for the configuration", d->name);
}

/* ---- From libconfig's settings to nodes ----------------------------------------------------------------------- */

static const char *keep(const struct document *d, const char *text)
{
    return hf_config_pool_copy(&d->tree->pool, text, strlen(text));
}

static void append(hf_config_node *parent, hf_config_node *child)
{
    if (parent->last)
        parent->last->next = child;
    else
        parent->first = child;
    parent->last = child;
    child->next = NULL;
    parent->child_count++;
}

static int32_t node_type(const config_setting_t *setting)
{
    switch (config_setting_type(setting)) {
    case CONFIG_TYPE_GROUP:
        return HF_CONFIG_NODE_GROUP;
    case CONFIG_TYPE_LIST:
        return HF_CONFIG_NODE_LIST;
    case CONFIG_TYPE_ARRAY:
        return HF_CONFIG_NODE_ARRAY;
    case CONFIG_TYPE_STRING:
        return HF_CONFIG_NODE_STRING;
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        return HF_CONFIG_NODE_INTEGER;
    case CONFIG_TYPE_FLOAT:
        return HF_CONFIG_NODE_FLOAT;
    default:
        return HF_CONFIG_NODE_BOOLEAN;
    }
}

static int32_t convert_string(const struct document *d, const config_setting_t *setting, hf_config_node *node)
{
    const char *text = config_setting_get_string(setting);
    uint64_t bad;

    if (!text)
        text = "";
    if (!hf_config_utf8_valid(text, strlen(text), &bad)) /* an escape such as "\xff" */
        return hf_error_set(d->error, HF_EINVAL, "%s:%u: string has byte 0x%02x; expected UTF-8", node->file,
                            node->line, (unsigned char)text[bad]);
    node->string = keep(d, text);
    return node->string ? 0 : no_memory(d);
}

static int32_t convert_scalar(const struct document *d, const config_setting_t *setting, hf_config_node *node)
{
    switch (node->type) {
    case HF_CONFIG_NODE_STRING:
        return convert_string(d, setting, node);
    case HF_CONFIG_NODE_INTEGER:
        node->integer = config_setting_get_int64(setting);
        return 0;
    case HF_CONFIG_NODE_FLOAT:
        node->number = config_setting_get_float(setting);
        return 0;
    case HF_CONFIG_NODE_BOOLEAN:
        node->integer = config_setting_get_bool(setting) != 0;
        return 0;
    default:
        return 0;
    }
}

static int32_t place(const struct document *d, const config_setting_t *setting, const hf_config_node *parent,
                     hf_config_node *node)
{
    const char *file = config_setting_source_file(setting);

    node->type = node_type(setting);
    node->line = config_setting_source_line(setting) > 0 ? config_setting_source_line(setting) : 1;
    node->file = !file ? d->name : parent && strcmp(parent->file, file) == 0 ? parent->file : keep(d, file);
    if (config_setting_name(setting))
        node->name = keep(d, config_setting_name(setting));
    return node->file && (node->name || !config_setting_name(setting)) ? 0 : no_memory(d);
}

static int32_t convert(const struct document *d, const config_setting_t *setting, const hf_config_node *parent,
                       uint32_t depth, hf_config_node **ret_node)
{
    hf_config_node *node = hf_config_pool_alloc(&d->tree->pool, sizeof *node);
    int32_t r = node ? place(d, setting, parent, node) : no_memory(d);

    if (r == 0)
        r = convert_scalar(d, setting, node);
    if (r < 0)
        return r;
    if (depth > HF_CONFIG_DEPTH_MAX)
        return hf_error_set(d->error, HF_ETOOLARGE, "%s:%u: nested too deep; expected at most %d levels", node->file,
                            node->line, HF_CONFIG_DEPTH_MAX);

    int count = config_setting_is_aggregate(setting) ? config_setting_length(setting) : 0;

    for (int i = 0; i < count; i++) {
        hf_config_node *child = NULL;

        r = convert(d, config_setting_get_elem(setting, (unsigned)i), node, depth + 1, &child);
        if (r < 0)
            return r;
        append(node, child);
    }
    *ret_node = node;
    return 0;
}

/* ---- Merging -------------------------------------------------------------------------------------------------- */

static hf_config_node *find_child(const hf_config_node *group, const char *name)
{
    for (hf_config_node *child = group->first; child; child = child->next)
        if (strcmp(child->name, name) == 0)
            return child;
    return NULL;
}

static int32_t merge(const struct document *d, hf_config_node *into, hf_config_node *from)
{
    for (hf_config_node *child = from->first, *next; child; child = next) {
        hf_config_node *present = find_child(into, child->name);
        int32_t r = 0;

        next = child->next;
        if (!present)
            append(into, child);
        else if (present->type == HF_CONFIG_NODE_GROUP && child->type == HF_CONFIG_NODE_GROUP)
            r = merge(d, present, child);
        else
            r = hf_error_set(d->error, HF_EEXIST, "%s:%u: '%s' is given already at %s:%u; expected it once",
                             child->file, child->line, child->name, present->file, present->line);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- Documents ------------------------------------------------------------------------------------------------ */

static const char *expectation(const char *complaint)
{
    if (strstr(complaint, "duplicate"))
        return "each name once";
    if (strstr(complaint, "array"))
        return "elements of one type; use ( ) for a mixed list";
    if (strstr(complaint, "include"))
        return "a readable file";
    return "'name = value;' or 'name: { ... };', with every string, bracket and brace closed";
}

static int32_t parse_error(const struct document *d, const config_t *config)
{
    const char *file = config_error_file(config), *what = config_error_text(config);

    what = what ? what : "syntax error";
    return hf_error_set(d->error, HF_EINVAL, "%s:%d: %s; expected %s", file ? file : d->name,
                        config_error_line(config) > 0 ? config_error_line(config) : 1, what, expectation(what));
}

static int32_t parse_text(const struct document *d, const char *text, hf_config_node **ret_root)
{
    config_t config;
    int32_t r = hf_config_source_check_includes(d->name, text, d->folder, 0, d->error);

    if (r < 0)
        return r;
    config_init(&config);
    if (d->folder)
        config_set_include_dir(&config, d->folder);
    if (config_read_string(&config, text))
        r = convert(d, config_root_setting(&config), NULL, 0, ret_root);
    else
        r = parse_error(d, &config);
    config_destroy(&config);
    return r;
}

static int32_t read_document(hf_config_tree *tree, const struct document *parent, const char *path, hf_error *error);

static int32_t include_pattern(const struct document *d, const hf_config_node *pattern)
{
    char path[PATH_MAX];
    glob_t found = {0};
    int absolute = pattern->string[0] == '/';
    size_t folder_size = absolute ? 0 : strlen(d->folder) + 1, size = strlen(pattern->string);

    if (folder_size + size + 1 > sizeof path)
        return hf_error_set(d->error, HF_EINVAL, "%s:%u: include pattern is too long; expected at most %d bytes",
                            pattern->file, pattern->line, PATH_MAX);
    if (!absolute) {
        memcpy(path, d->folder, folder_size - 1);
        path[folder_size - 1] = '/';
    }
    memcpy(path + folder_size, pattern->string, size + 1);

    int g = glob(path, 0, NULL, &found); /* sorted */
    int32_t r = 0;

    if (g == GLOB_NOMATCH && !strpbrk(pattern->string, "*?["))
        r = hf_error_set(d->error, HF_ENOTFOUND, "%s:%u: included file '%s' is missing; expected a readable file",
                         pattern->file, pattern->line, path);
    else if (g != 0 && g != GLOB_NOMATCH)
        r = hf_error_set(d->error, HF_EIO, "%s:%u: cannot list '%s'; expected readable folders", pattern->file,
                         pattern->line, path);
    for (size_t i = 0; r == 0 && i < found.gl_pathc; i++)
        r = read_document(d->tree, d, found.gl_pathv[i], d->error);
    globfree(&found);
    return r;
}

static int32_t read_includes(const struct document *d, const hf_config_node *include)
{
    int listed = include->type == HF_CONFIG_NODE_ARRAY || include->type == HF_CONFIG_NODE_LIST;
    const hf_config_node *pattern = listed ? include->first : include;

    if (!d->folder)
        return hf_error_set(d->error, HF_EUNSUPPORTED, "%s:%u: 'include' in a text without a folder; expected a file",
                            include->file, include->line);
    for (; pattern; pattern = listed ? pattern->next : NULL) {
        if (pattern->type != HF_CONFIG_NODE_STRING || pattern->string[0] == '\0')
            return hf_error_set(d->error, HF_EINVAL, "%s:%u: 'include' has %s; expected a list of file patterns",
                                pattern->file, pattern->line, hf_config_node_type_name(pattern->type));

        int32_t r = include_pattern(d, pattern);

        if (r < 0)
            return r;
    }
    return 0;
}

/* `include` is an instruction to us, not an option: it leaves the tree, so that every document can have one. */
static hf_config_node *take_include(hf_config_node *root)
{
    hf_config_node *previous = NULL;

    for (hf_config_node *child = root->first; child; previous = child, child = child->next) {
        if (strcmp(child->name, "include") != 0)
            continue;
        if (previous)
            previous->next = child->next;
        else
            root->first = child->next;
        if (root->last == child)
            root->last = previous;
        root->child_count--;
        return child;
    }
    return NULL;
}

static int32_t add_document(const struct document *d, const char *text)
{
    hf_config_node *root = NULL;
    int32_t r = parse_text(d, text, &root);

    if (r < 0)
        return r;

    hf_config_node *include = take_include(root);

    if (d->tree->root)
        r = merge(d, d->tree->root, root);
    else
        d->tree->root = root;
    return r == 0 && include ? read_includes(d, include) : r;
}

static int32_t check_cycle(const struct document *d)
{
    for (const struct document *up = d->parent; up; up = up->parent)
        if (strcmp(up->real, d->real) == 0)
            return hf_error_set(d->error, HF_EINVAL, "%s:1: file includes itself through '%s'; expected no cycle",
                                d->name, d->parent->name);
    if (d->depth > HF_CONFIG_INCLUDE_DEPTH_MAX)
        return hf_error_set(d->error, HF_EINVAL, "%s:1: included too deep; expected at most %d levels", d->name,
                            HF_CONFIG_INCLUDE_DEPTH_MAX);
    return 0;
}

static const char *folder_of(hf_config_pool *pool, const char *path)
{
    const char *slash = strrchr(path, '/');

    if (!slash)
        return hf_config_pool_copy(pool, ".", 1);
    return hf_config_pool_copy(pool, path, slash == path ? 1 : (uint64_t)(slash - path));
}

static int32_t read_document(hf_config_tree *tree, const struct document *parent, const char *path, hf_error *error)
{
    struct document d = {.tree = tree, .parent = parent, .name = path, .error = error};
    char real[PATH_MAX];
    char *text;
    uint64_t size;
    int32_t r = hf_config_source_read(&tree->pool, path, &text, &size, error);

    if (r < 0)
        return r;
    if (!realpath(path, real))
        return hf_error_set_errno(error, HF_EIO, errno, "%s:1: cannot resolve the path", path);
    d.depth = parent ? parent->depth + 1 : 0;
    d.folder = folder_of(&tree->pool, path);
    d.real = keep(&d, real);
    d.name = keep(&d, path);
    if (!d.folder || !d.real || !d.name)
        return hf_error_set(error, HF_ENOMEM, "%s:1: no memory for the configuration", path);
    r = check_cycle(&d);
    return r < 0 ? r : add_document(&d, text);
}

/* ---- Public --------------------------------------------------------------------------------------------------- */

static int32_t finish(hf_config_tree *tree, int32_t r, hf_config_tree **ret_tree)
{
    if (r < 0)
        hf_config_tree_free(tree);
    else
        *ret_tree = tree;
    return r;
}

int32_t hf_config_tree_load(const char *path, hf_config_tree **ret_tree, hf_error *error)
{
    hf_config_tree *tree = calloc(1, sizeof *tree);

    if (!tree)
        return hf_error_set(error, HF_ENOMEM, "%s:1: no memory for the configuration", path);
    return finish(tree, read_document(tree, NULL, path, error), ret_tree);
}

static int32_t parse_memory(hf_config_tree *tree, const char *name, const char *text, uint64_t size, hf_error *error)
{
    struct document d = {.tree = tree, .name = name, .error = error};
    int32_t r = hf_config_source_check(name, text, size, error);

    if (r < 0)
        return r;

    const char *copy = hf_config_pool_copy(&tree->pool, text, size); /* libconfig wants a NUL behind it */

    d.name = keep(&d, name);
    if (!copy || !d.name)
        return hf_error_set(error, HF_ENOMEM, "%s:1: no memory for the configuration", name);
    return add_document(&d, copy);
}

int32_t hf_config_tree_parse(const char *name, const char *text, uint64_t size, hf_config_tree **ret_tree,
                             hf_error *error)
{
    hf_config_tree *tree = calloc(1, sizeof *tree);

    if (!tree)
        return hf_error_set(error, HF_ENOMEM, "%s:1: no memory for the configuration", name);
    return finish(tree, parse_memory(tree, name, text, size, error), ret_tree);
}

void hf_config_tree_free(hf_config_tree *tree)
{
    if (!tree)
        return;
    hf_config_pool_done(&tree->pool);
    free(tree);
}

const hf_config_node *hf_config_tree_root(const hf_config_tree *tree)
{
    return tree->root;
}

const hf_config_node *hf_config_node_child(const hf_config_node *group, const char *name)
{
    return group->type == HF_CONFIG_NODE_GROUP ? find_child(group, name) : NULL;
}

/* Goes down `path` as far as there are nodes; `*ret_rest` is what is left of it. */
static const hf_config_node *descend(const hf_config_tree *tree, const char *path, const char **ret_rest)
{
    const hf_config_node *node = tree->root;

    while (*path) {
        char name[256];
        size_t size = strcspn(path, ".");

        if (size >= sizeof name)
            break;
        memcpy(name, path, size);
        name[size] = '\0';

        const hf_config_node *child = hf_config_node_child(node, name);

        if (!child)
            break;
        node = child;
        path += size + (path[size] == '.');
    }
    *ret_rest = path;
    return node;
}

const hf_config_node *hf_config_tree_find(const hf_config_tree *tree, const char *path)
{
    const char *rest;
    const hf_config_node *node = descend(tree, path, &rest);

    return *rest ? NULL : node;
}

const hf_config_node *hf_config_tree_nearest(const hf_config_tree *tree, const char *path)
{
    const char *rest;

    return descend(tree, path, &rest);
}

const char *hf_config_node_type_name(int32_t type)
{
    static const char *const names[] = {"nothing",  "a group",    "a list",  "an array",
                                        "a string", "an integer", "a float", "a boolean"};

    return names[type >= HF_CONFIG_NODE_GROUP && type <= HF_CONFIG_NODE_BOOLEAN ? type : 0];
}
