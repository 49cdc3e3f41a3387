/* Walks the tree and the declared options side by side; see check.h. */
#include "config/check.h"

#include "config/option.h"
#include "config/pool.h"
#include "config/units.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/text.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_SIZE = 256, TEXT_SIZE = 200, CHOICES_DEEP_MAX = 4 };

struct hf_config_generation {
    hf_config_pool pool;
    hf_config_tree *tree;
    hf_config_section *sections;
    void **records; /* one per section */
    int32_t *present;
    uint32_t count;
    hf_config_chosen *chosen, **chosen_end;
};

struct check {
    hf_config_generation *generation;
    hf_config_problems *problems; /* NULL while something is filled in that is reported elsewhere */
    int32_t failure;              /* HF_ENOMEM, or 0 */
    int known_only;               /* sections that nobody declares are passed over */
    int choices_deep;
};

/* A group and the struct it fills.  `node` is NULL when the document leaves the group out. */
struct target {
    const char *path;
    const hf_config_node *node;
    const hf_config_node *nearest; /* where a missing group is reported */
    const hf_option_table *options;
    char *record;
    uint64_t record_size;
    int asked;                  /* for what is required: the document has the group, or has chosen it */
    int chosen;                 /* the options of a capability: the member `name` of the group is none of them */
    const hf_config_node *base; /* then: its own section's group, which has what `node` leaves out; or NULL */
};

static void check_group(struct check *check, const struct target *target);

static void join(char *path, const char *parent, const char *name)
{
    int size = snprintf(path, PATH_SIZE, "%s%s%s", parent, *parent ? "." : "", name);

    if (size >= PATH_SIZE) /* longer than any declared path: only ever printed */
        memcpy(path + PATH_SIZE - 4, "...", 4);
}

/* ---- Unknown names -------------------------------------------------------------------------------------------- */

/* The component of the section's path that follows `prefix`, or NULL when it does not lie below it. */
static const char *below(const char *section, const char *prefix)
{
    size_t size = strlen(prefix);

    if (size == 0)
        return section;
    return strncmp(section, prefix, size) == 0 && section[size] == '.' ? section + size + 1 : NULL;
}

static void nearer(const char *wanted, const char *candidate, char *best, unsigned *best_distance)
{
    unsigned distance = hf_text_distance(wanted, candidate);

    if (distance >= *best_distance)
        return;
    *best_distance = distance;
    snprintf(best, TEXT_SIZE, "%s", candidate);
}

/* Fills `best` with the known name nearest to `wanted`, or with "" when none is near enough to be meant. */
static void nearest_name(const struct check *check, const struct target *target, const char *wanted, char *best)
{
    unsigned distance = (unsigned)strlen(wanted) / 3 + 2;

    best[0] = '\0';
    for (uint32_t i = 0; target->options && i < target->options->count; i++)
        nearer(wanted, hf_config_option_row(target->options, i).name, best, &distance);
    for (uint32_t i = 0; i < check->generation->count; i++) {
        const char *rest = below(check->generation->sections[i].path, target->path);
        char name[TEXT_SIZE];

        if (!rest)
            continue;
        snprintf(name, sizeof name, "%.*s", (int)strcspn(rest, "."), rest);
        nearer(wanted, name, best, &distance);
    }
}

static void report_unknown(struct check *check, const struct target *target, const hf_config_node *node)
{
    char best[TEXT_SIZE], where[PATH_SIZE + 8] = "", hint[TEXT_SIZE + 24] = "";
    const char *what = node->type == HF_CONFIG_NODE_GROUP ? "section" : "option";

    nearest_name(check, target, node->name, best);
    if (*target->path)
        snprintf(where, sizeof where, " in '%s'", target->path);
    if (*best)
        snprintf(hint, sizeof hint, "; did you mean '%s'?", best);
    hf_config_problems_add(check->problems, "%s:%u: unknown %s '%s'%s%s", node->file, node->line, what, node->name,
                           where, hint);
}

/* ---- One option ----------------------------------------------------------------------------------------------- */

/* Bytes of `text` to show: at most 100, and whole characters. */
static int shown_size(const char *text)
{
    int size = (int)strnlen(text, 100);

    while (size > 0 && ((unsigned char)text[size] & 0xc0) == 0x80)
        size--;
    return size;
}

static void print_node(const hf_config_node *node, char *text, size_t size)
{
    if (node->type == HF_CONFIG_NODE_STRING)
        snprintf(text, size, "\"%.*s\"", shown_size(node->string), node->string);
    else if (node->type == HF_CONFIG_NODE_INTEGER)
        snprintf(text, size, "%lld", (long long)node->integer);
    else if (node->type == HF_CONFIG_NODE_FLOAT)
        snprintf(text, size, "%g", node->number);
    else if (node->type == HF_CONFIG_NODE_BOOLEAN)
        snprintf(text, size, "%s", node->integer ? "true" : "false");
    else
        snprintf(text, size, "%s", hf_config_node_type_name(node->type));
}

static void report_value(struct check *check, const char *path, const hf_option *option, const hf_config_node *node)
{
    char value[TEXT_SIZE], expected[TEXT_SIZE];

    print_node(node, value, sizeof value);
    hf_config_option_expected(option, expected, sizeof expected);
    hf_config_problems_add(check->problems, "%s:%u: '%s' is %s, expected %s", node->file, node->line, path,
                           option->flags & HF_OPTION_SECRET ? "***" : value, expected);
}

static void report_missing(struct check *check, const char *path, const hf_option *option,
                           const hf_config_node *nearest)
{
    char expected[TEXT_SIZE];

    hf_config_option_expected(option, expected, sizeof expected);
    hf_config_problems_add(check->problems, "%s:%u: '%s' is missing, expected %s", nearest->file, nearest->line, path,
                           expected);
}

/* Declarations come from plugins: one that does not fit its struct is refused, not trusted. */
static int declaration_fits(struct check *check, const struct target *target, const hf_option *option)
{
    uint64_t size = hf_config_option_field_size(option->type);
    int known = option->name && option->type >= HF_OPTION_BOOLEAN && option->type <= HF_OPTION_CAPABILITY;
    int fits = option->offset <= target->record_size && size <= target->record_size - option->offset;

    if (known && option->type == HF_OPTION_CHOICE)
        known = option->choices && option->choices[0];
    if (known && option->type == HF_OPTION_GROUP)
        known = option->members != NULL;
    if (known && option->type == HF_OPTION_CAPABILITY)
        known = option->kind != NULL;
    if (known && option->type == HF_OPTION_GROUPS)
        known = option->members && option->item_size >= sizeof(const char *);
    if (!known || !fits)
        hf_config_problems_add(check->problems, "%s:%u: the plugin of '%s' declares option '%s' wrongly, expected %s",
                               target->nearest->file, target->nearest->line, target->path,
                               option->name ? option->name : "?", fits ? "a known type" : "a field inside its struct");
    return known && fits;
}

static void check_items(struct check *check, const char *path, const hf_option *option, const hf_config_node *node,
                        hf_groups *groups)
{
    uint64_t size, index = 0;

    if (!node || node->child_count == 0)
        return;
    if (__builtin_mul_overflow(node->child_count, option->item_size, &size) ||
        !(groups->items = hf_config_pool_alloc(&check->generation->pool, size))) {
        check->failure = HF_ENOMEM;
        return;
    }
    groups->count = node->child_count;
    for (const hf_config_node *child = node->first; child; child = child->next, index++) {
        char child_path[PATH_SIZE];
        char *item = (char *)groups->items + index * option->item_size;
        hf_option group = {.name = option->name, .type = HF_OPTION_GROUP};

        join(child_path, path, child->name);
        *(const char **)item = child->name; /* the tree lives as long as the generation */
        if (child->type != HF_CONFIG_NODE_GROUP)
            report_value(check, child_path, &group, child);
        else
            check_group(check, &(struct target){.path = child_path,
                                                .node = child,
                                                .nearest = child,
                                                .options = option->members,
                                                .record = item,
                                                .record_size = option->item_size,
                                                .asked = 1});
    }
}

static void check_default(struct check *check, const struct target *target, const char *path, const hf_option *option,
                          void *field)
{
    int32_t r = hf_config_option_store_default(option, target->nearest->file, &check->generation->pool, field);

    if (r == HF_ENOMEM)
        check->failure = r;
    else if (r < 0)
        hf_config_problems_add(check->problems, "%s:%u: the plugin's own default \"%s\" of '%s' is not allowed",
                               target->nearest->file, target->nearest->line, option->default_text, path);
}

/* ---- Choices of capabilities ---------------------------------------------------------------------------------- */

static void report_unknown_choice(struct check *check, const char *path, const hf_option *option, const char *name,
                                  const hf_config_node *node, int is_default)
{
    unsigned distance = (unsigned)strlen(name) / 3 + 2;
    char best[TEXT_SIZE] = "", hint[TEXT_SIZE + 64];

    for (uint32_t i = 0; i < check->generation->count; i++) {
        const char *rest = below(check->generation->sections[i].path, option->kind);

        if (rest && !strchr(rest, '.'))
            nearer(name, rest, best, &distance);
    }
    if (*best)
        snprintf(hint, sizeof hint, "did you mean '%s'?", best);
    else
        snprintf(hint, sizeof hint, "expected \"%s/%.100s\" in plugins.enabled, or another name", option->kind, name);
    hf_config_problems_add(check->problems, "%s:%u: '%s' is \"%s\"%s, but no enabled plugin provides %s/%s; %s",
                           node->file, node->line, path, name, is_default ? " by default" : "", option->kind, name,
                           hint);
}

/* The node that says which: the option's own, or the member `name` of its group.  0: something is wrong with it. */
static int find_name(struct check *check, const char *path, const hf_option *option, const hf_config_node *node,
                     const hf_config_node **ret_name)
{
    static const hf_option name_option = {.name = "name", .type = HF_OPTION_STRING};
    int grouped = node && node->type == HF_CONFIG_NODE_GROUP;
    char name_path[PATH_SIZE];

    *ret_name = grouped ? hf_config_node_child(node, "name") : node;
    join(name_path, path, "name");
    if (*ret_name && (*ret_name)->type != HF_CONFIG_NODE_STRING)
        report_value(check, grouped ? name_path : path, grouped ? &name_option : option, *ret_name);
    else if (grouped && !*ret_name && !option->default_text)
        report_missing(check, name_path, &name_option, node);
    else
        return 1;
    return 0;
}

static void remember_choice(struct check *check, const char *path, const hf_option *option,
                            const hf_capability_choice *choice)
{
    hf_config_pool *pool = &check->generation->pool;
    hf_config_chosen *chosen = hf_config_pool_alloc(pool, sizeof *chosen);
    const char *copy = hf_config_pool_copy(pool, path, strlen(path));

    if (!chosen || !copy) {
        check->failure = HF_ENOMEM;
        return;
    }
    *chosen = (hf_config_chosen){copy, option->kind, choice->name, choice->configuration, NULL};
    *check->generation->chosen_end = chosen;
    check->generation->chosen_end = &chosen->next;
}

/* The chosen capability's options, from the group if there is one, its own section, and their defaults. */
static void fill_choice(struct check *check, const struct target *target, const hf_config_section *section,
                        hf_capability_choice *choice)
{
    const hf_config_node *base = hf_config_tree_find(check->generation->tree, section->path);
    struct target own = *target;

    own.base = base && base->type == HF_CONFIG_NODE_GROUP ? base : NULL;
    own.options = section->options;
    own.record_size = section->size;
    own.record = hf_config_pool_alloc(&check->generation->pool, section->size + 1);
    if (!own.record) {
        check->failure = HF_ENOMEM;
        return;
    }
    check->choices_deep++;
    check_group(check, &own);
    check->choices_deep--;
    choice->configuration = own.record;
}

static void check_choice(struct check *check, const struct target *parent, const char *path, const hf_option *option,
                         const hf_config_node *node, hf_capability_choice *choice)
{
    const hf_config_node *name = NULL, *nearest = node ? node : parent->nearest;
    int grouped = node && node->type == HF_CONFIG_NODE_GROUP;
    struct target target = {.path = path, .node = grouped ? node : NULL, .nearest = nearest, .chosen = 1};

    choice->name = option->default_text ? option->default_text : "";
    if (!find_name(check, path, option, node, &name))
        return;
    if (name)
        choice->name = name->string;
    if (!grouped && !*choice->name && !option->default_text && !(option->flags & HF_OPTION_REQUIRED))
        return; /* none, which the default is, too */
    target.asked = node || parent->asked;

    const hf_config_section *section = hf_config_generation_capability(check->generation, option->kind, choice->name);

    if (!section && target.asked && !check->known_only)
        report_unknown_choice(check, path, option, choice->name, name ? name : nearest, !name);
    if (!section)
        return;
    if (check->choices_deep == CHOICES_DEEP_MAX) { /* also what chooses itself by default */
        hf_config_problems_add(check->problems,
                               "%s:%u: '%s' is chosen by a capability that was chosen by others, "
                               "at most %d deep",
                               nearest->file, nearest->line, path, CHOICES_DEEP_MAX);
        return;
    }
    fill_choice(check, &target, section, choice);
    if (target.asked && check->problems && check->failure == 0)
        remember_choice(check, path, option, choice);
}

/* ---- Any option ------------------------------------------------------------------------------------------------ */

static void check_value(struct check *check, const struct target *target, const char *path, const hf_option *option,
                        const hf_config_node *node, const hf_config_node *base)
{
    void *field = target->record + option->offset;

    if (option->type == HF_OPTION_GROUP) {
        check_group(check, &(struct target){.path = path,
                                            .node = node,
                                            .nearest = node ? node : target->nearest,
                                            .options = option->members,
                                            .record = field,
                                            .record_size = target->record_size - option->offset,
                                            .asked = node != NULL,
                                            .base = base});
    } else if (option->type == HF_OPTION_GROUPS) {
        check_items(check, path, option, node, field);
    } else if (option->type == HF_OPTION_CAPABILITY) {
        check_choice(check, target, path, option, node, field);
    } else if (!node) {
        check_default(check, target, path, option, field);
    } else {
        int32_t r = hf_config_option_store(option, node, &check->generation->pool, field);

        if (r == HF_ENOMEM)
            check->failure = r;
        else if (r < 0)
            report_value(check, path, option, node);
    }
}

/* From the capability's own section, whose check reports what is wrong with it. */
static void check_borrowed(struct check *check, const struct target *target, const char *path, const hf_option *option,
                           const hf_config_node *base)
{
    hf_config_problems *problems = check->problems;

    check->problems = NULL;
    check_value(check, target, path, option, base, NULL);
    check->problems = problems;
}

static const hf_config_node *member(const hf_config_node *group, const char *name)
{
    return group ? hf_config_node_child(group, name) : NULL;
}

static void check_option(struct check *check, const struct target *target, const hf_option *option)
{
    char path[PATH_SIZE];
    int grouped = option->type == HF_OPTION_GROUP || option->type == HF_OPTION_GROUPS;

    if (!declaration_fits(check, target, option))
        return;

    int taken = target->chosen && strcmp(option->name, "name") == 0;
    const hf_config_node *node = taken ? NULL : member(target->node, option->name);
    const hf_config_node *base = member(target->base, option->name);

    if (base && grouped && base->type != HF_CONFIG_NODE_GROUP)
        base = NULL;
    join(path, target->path, option->name);
    if (node && grouped && node->type != HF_CONFIG_NODE_GROUP)
        report_value(check, path, option, node);
    else if (!node && base)
        check_borrowed(check, target, path, option, base);
    else if (!node && target->asked && (option->flags & HF_OPTION_REQUIRED))
        report_missing(check, path, option, target->nearest);
    else
        check_value(check, target, path, option, node, base);
}

/* ---- Groups and sections -------------------------------------------------------------------------------------- */

static int has_option(const hf_option_table *options, const char *name)
{
    for (uint32_t i = 0; options && i < options->count; i++) {
        const char *known = hf_config_option_row(options, i).name;

        if (known && strcmp(known, name) == 0)
            return 1;
    }
    return 0;
}

static int is_section_path(const struct check *check, const char *path, int *ret_exact)
{
    int found = 0;

    *ret_exact = 0;
    for (uint32_t i = 0; i < check->generation->count; i++) {
        const char *section = check->generation->sections[i].path;

        *ret_exact |= strcmp(section, path) == 0;
        found |= *ret_exact || below(section, path) != NULL;
    }
    return found;
}

/* Names that no option of the group explains: sections of their own, groups that only hold sections, mistakes. */
static void check_names(struct check *check, const struct target *target)
{
    for (const hf_config_node *child = target->node->first; child; child = child->next) {
        char path[PATH_SIZE];
        int exact;
        hf_option group = {.name = child->name, .type = HF_OPTION_GROUP};

        if (has_option(target->options, child->name) || (target->chosen && strcmp(child->name, "name") == 0))
            continue;
        join(path, target->path, child->name);
        if (!is_section_path(check, path, &exact))
            report_unknown(check, target, child);
        else if (child->type != HF_CONFIG_NODE_GROUP)
            report_value(check, path, &group, child);
        else if (!exact)
            check_names(check, &(struct target){.path = path, .node = child, .nearest = child});
    }
}

static void check_group(struct check *check, const struct target *target)
{
    for (uint32_t i = 0; i < target->options->count && check->failure == 0; i++) {
        hf_option option = hf_config_option_row(target->options, i);

        check_option(check, target, &option);
    }
    if (target->node)
        check_names(check, target);
}

/* The section's node takes the place of its only option's. */
static void check_named(struct check *check, const struct target *target)
{
    hf_option option = hf_config_option_row(target->options, 0);

    if (declaration_fits(check, target, &option))
        check_items(check, target->path, &option, target->node, (hf_groups *)(target->record + option.offset));
}

static void check_section(struct check *check, uint32_t index)
{
    hf_config_generation *generation = check->generation;
    const hf_config_section *section = &generation->sections[index];
    const hf_config_node *root = hf_config_tree_root(generation->tree);
    const hf_config_node *node = hf_config_tree_find(generation->tree, section->path);

    generation->records[index] = hf_config_pool_alloc(&generation->pool, section->size + 1);
    if (!generation->records[index]) {
        check->failure = HF_ENOMEM;
        return;
    }
    if (node && node->type != HF_CONFIG_NODE_GROUP)
        return; /* check_names reports it */
    generation->present[index] = node != NULL;
    if (!node && (section->flags & HF_CONFIG_SECTION_REQUIRED))
        hf_config_problems_add(check->problems, "%s:%u: section '%s' is missing, expected a group { ... }", root->file,
                               root->line, section->path);
    struct target target = {.path = section->path,
                            .node = node,
                            .nearest = node ? node : root,
                            .options = section->options,
                            .record = generation->records[index],
                            .record_size = section->size,
                            .asked = node != NULL};
    if (section->flags & HF_CONFIG_SECTION_NAMED)
        check_named(check, &target);
    else
        check_group(check, &target);
}

static int32_t generation_alloc(hf_config_tree *tree, const hf_config_section *sections, uint32_t count,
                                hf_config_generation **ret_generation)
{
    hf_config_generation *generation = calloc(1, sizeof *generation);

    if (!generation)
        return HF_ENOMEM;
    generation->count = count;
    generation->sections = hf_config_pool_alloc(&generation->pool, ((uint64_t)count + 1) * sizeof *sections);
    generation->records = hf_config_pool_alloc(&generation->pool, ((uint64_t)count + 1) * sizeof(void *));
    generation->present = hf_config_pool_alloc(&generation->pool, ((uint64_t)count + 1) * sizeof(int32_t));
    if (!generation->sections || !generation->records || !generation->present) {
        hf_config_generation_free(generation);
        return HF_ENOMEM;
    }
    if (count > 0)
        memcpy(generation->sections, sections, count * sizeof *sections);
    generation->tree = tree;
    generation->chosen_end = &generation->chosen;
    *ret_generation = generation;
    return 0;
}

static void check_document(struct check *check)
{
    const hf_config_node *root = hf_config_tree_root(check->generation->tree);

    for (uint32_t i = 0; i < check->generation->count && check->failure == 0; i++)
        check_section(check, i);
    if (!check->known_only)
        check_names(check, &(struct target){.path = "", .node = root, .nearest = root});
}

static int32_t check_tree(hf_config_tree *tree, const hf_config_section *sections, uint32_t count, int known_only,
                          hf_config_generation **ret_generation, hf_config_problems *problems)
{
    struct check check = {.problems = problems, .known_only = known_only};
    uint32_t before = problems->count;

    if (generation_alloc(tree, sections, count, &check.generation) < 0) {
        hf_config_problems_add(problems, "%s:1: no memory for the configuration", hf_config_tree_root(tree)->file);
        hf_config_tree_free(tree);
        return HF_ENOMEM;
    }
    check_document(&check);
    if (check.failure < 0)
        hf_config_problems_add(problems, "%s:1: no memory for the configuration", hf_config_tree_root(tree)->file);
    if (check.failure < 0 || problems->count > before || problems->dropped > 0) {
        hf_config_generation_free(check.generation);
        return check.failure < 0 ? check.failure : HF_EINVAL;
    }
    *ret_generation = check.generation;
    return 0;
}

int32_t hf_config_check(hf_config_tree *tree, const hf_config_section *sections, uint32_t count,
                        hf_config_generation **ret_generation, hf_config_problems *problems)
{
    return check_tree(tree, sections, count, 0, ret_generation, problems);
}

static int32_t load(const char *path, const hf_config_section *sections, uint32_t count, int known_only,
                    hf_config_generation **ret_generation, hf_config_problems *problems)
{
    hf_config_tree *tree = NULL;
    hf_error error = {0};
    int32_t r = hf_config_tree_load(path, &tree, &error);

    if (r < 0) {
        hf_config_problems_add(problems, "%s", error.message);
        return r;
    }
    return check_tree(tree, sections, count, known_only, ret_generation, problems);
}

int32_t hf_config_load(const char *path, const hf_config_section *sections, uint32_t count,
                       hf_config_generation **ret_generation, hf_config_problems *problems)
{
    return load(path, sections, count, 0, ret_generation, problems);
}

int32_t hf_config_load_known(const char *path, const hf_config_section *sections, uint32_t count,
                             hf_config_generation **ret_generation, hf_config_problems *problems)
{
    return load(path, sections, count, 1, ret_generation, problems);
}

void hf_config_generation_free(hf_config_generation *generation)
{
    if (!generation)
        return;
    hf_config_tree_free(generation->tree);
    hf_config_pool_done(&generation->pool);
    free(generation);
}

const void *hf_config_generation_get(const hf_config_generation *generation, const char *path, int32_t *ret_present)
{
    for (uint32_t i = 0; i < generation->count; i++) {
        if (strcmp(generation->sections[i].path, path) != 0)
            continue;
        if (ret_present)
            *ret_present = generation->present[i];
        return generation->records[i];
    }
    return NULL;
}

const hf_config_section *hf_config_generation_sections(const hf_config_generation *generation, uint32_t *ret_count)
{
    *ret_count = generation->count;
    return generation->sections;
}

const hf_config_section *hf_config_generation_capability(const hf_config_generation *generation, const char *kind,
                                                         const char *name)
{
    for (uint32_t i = 0; i < generation->count; i++) {
        const char *rest = below(generation->sections[i].path, kind);

        if (rest && *kind && strcmp(rest, name) == 0)
            return &generation->sections[i];
    }
    return NULL;
}

const hf_config_chosen *hf_config_generation_chosen(const hf_config_generation *generation)
{
    return generation->chosen;
}

const hf_config_tree *hf_config_generation_tree(const hf_config_generation *generation)
{
    return generation->tree;
}

void hf_config_generation_problem(const hf_config_generation *generation, const char *path, const char *sentence,
                                  hf_config_problems *problems)
{
    const hf_config_node *node = hf_config_tree_nearest(generation->tree, path);

    hf_config_problems_add(problems, "%s:%u: %s", node->file, node->line, sentence);
}
