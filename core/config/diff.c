/* Compares filled structs field by field, led by the options that declare them; see diff.h. */
#include "config/diff.h"

#include "config/option.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_SIZE = 512, TEXT_SIZE = 1024 };

struct hf_config_diff {
    hf_config_pool pool;
    hf_config_change *changes;
    uint64_t count;
    uint64_t capacity;
    int32_t failure;
    const hf_config_generation *generation; /* whose sections say what options chosen capabilities have */
};

/* Whether a reload applies a change: what the option itself says, or for all options of a chosen capability the one
 * that chooses it, whose owner makes another instance. */
enum { AS_DECLARED = 0, WITH_RELOAD, WITH_RESTART };

/* Two structs filled from the same options. */
struct pair {
    const char *section;
    const char *key;
    const char *old_record;
    const char *new_record;
    int secret; /* inherited from the groups around */
    int applies;
};

static void compare_group(hf_config_diff *diff, const struct pair *pair, const hf_option_table *options);

static void add(hf_config_diff *diff, const char *section, const char *key, const char *old_text, const char *new_text,
                int reloadable)
{
    if (diff->count == diff->capacity) {
        uint64_t capacity = diff->capacity ? 2 * diff->capacity : 16;
        hf_config_change *grown = reallocarray(diff->changes, capacity, sizeof *grown);

        if (!grown) {
            diff->failure = HF_ENOMEM;
            return;
        }
        diff->changes = grown;
        diff->capacity = capacity;
    }

    hf_config_change *change = &diff->changes[diff->count++];

    change->section = hf_config_pool_copy(&diff->pool, section, strlen(section));
    change->key = hf_config_pool_copy(&diff->pool, key, strlen(key));
    change->old_text = hf_config_pool_copy(&diff->pool, old_text, strlen(old_text));
    change->new_text = hf_config_pool_copy(&diff->pool, new_text, strlen(new_text));
    change->reloadable = reloadable != 0;
    if (!change->section || !change->key || !change->old_text || !change->new_text)
        diff->failure = HF_ENOMEM;
}

static void join(char *key, const char *parent, const char *name)
{
    int size = snprintf(key, KEY_SIZE, "%s.%s", parent, name);

    if (size >= KEY_SIZE) /* only ever printed */
        memcpy(key + KEY_SIZE - 4, "...", 4);
}

static int reloadable(const struct pair *pair, const hf_option *option)
{
    return pair->applies == AS_DECLARED ? (option->flags & HF_OPTION_RELOADABLE) != 0 : pair->applies == WITH_RELOAD;
}

static int strings_equal(const hf_strings *a, const hf_strings *b)
{
    if (a->count != b->count)
        return 0;
    for (uint64_t i = 0; i < a->count; i++)
        if (strcmp(a->items[i], b->items[i]) != 0)
            return 0;
    return 1;
}

static int fields_equal(const hf_option *option, const void *a, const void *b)
{
    switch (option->type) {
    case HF_OPTION_STRING:
    case HF_OPTION_PATH:
    case HF_OPTION_ADDRESS:
    case HF_OPTION_CAPABILITY: /* its name, which is its first member */
        return strcmp(*(const char *const *)a, *(const char *const *)b) == 0;
    case HF_OPTION_STRINGS:
        return strings_equal(a, b);
    default:
        return memcmp(a, b, hf_config_option_field_size(option->type)) == 0;
    }
}

static void compare_value(hf_config_diff *diff, const struct pair *pair, const hf_option *option)
{
    char old_text[TEXT_SIZE], new_text[TEXT_SIZE];
    hf_option shown = *option;
    const void *old_field = pair->old_record + option->offset, *new_field = pair->new_record + option->offset;

    if (fields_equal(option, old_field, new_field))
        return;
    if (pair->secret)
        shown.flags |= HF_OPTION_SECRET;
    hf_config_option_print(&shown, old_field, old_text, sizeof old_text);
    hf_config_option_print(&shown, new_field, new_text, sizeof new_text);
    add(diff, pair->section, pair->key, old_text, new_text, reloadable(pair, option));
}

static const char *item_at(const hf_option *option, const hf_groups *groups, uint64_t index)
{
    return (const char *)groups->items + index * option->item_size;
}

static const char *item_named(const hf_option *option, const hf_groups *groups, const char *name)
{
    for (uint64_t i = 0; i < groups->count; i++)
        if (strcmp(*(const char *const *)item_at(option, groups, i), name) == 0)
            return item_at(option, groups, i);
    return NULL;
}

static void compare_items(hf_config_diff *diff, const struct pair *pair, const hf_option *option)
{
    const hf_groups *old_groups = (const hf_groups *)(pair->old_record + option->offset);
    const hf_groups *new_groups = (const hf_groups *)(pair->new_record + option->offset);
    int applied = reloadable(pair, option);
    char key[KEY_SIZE];

    for (uint64_t i = 0; i < old_groups->count; i++) {
        const char *old_item = item_at(option, old_groups, i), *name = *(const char *const *)old_item;
        const char *new_item = item_named(option, new_groups, name);
        struct pair items = {pair->section, key, old_item, new_item, pair->secret, pair->applies};

        join(key, pair->key, name);
        if (new_item)
            compare_group(diff, &items, option->members);
        else
            add(diff, pair->section, key, "{ ... }", "(absent)", applied);
    }
    for (uint64_t i = 0; i < new_groups->count; i++) {
        const char *name = *(const char *const *)item_at(option, new_groups, i);

        join(key, pair->key, name);
        if (!item_named(option, old_groups, name))
            add(diff, pair->section, key, "(absent)", "{ ... }", applied);
    }
}

/* The same capability with other options, or another one. */
static void compare_choices(hf_config_diff *diff, const struct pair *pair, const hf_option *option)
{
    const hf_capability_choice *old_choice = (const hf_capability_choice *)(pair->old_record + option->offset);
    const hf_capability_choice *new_choice = (const hf_capability_choice *)(pair->new_record + option->offset);
    const hf_config_section *section =
        hf_config_generation_capability(diff->generation, option->kind, new_choice->name);
    struct pair chosen = *pair;

    compare_value(diff, pair, option);
    if (!section || !fields_equal(option, old_choice, new_choice) || !old_choice->configuration ||
        !new_choice->configuration)
        return;
    chosen.old_record = old_choice->configuration;
    chosen.new_record = new_choice->configuration;
    chosen.applies = reloadable(pair, option) ? WITH_RELOAD : WITH_RESTART;
    compare_group(diff, &chosen, section->options);
}

static void compare_option(hf_config_diff *diff, const struct pair *parent, const hf_option *option)
{
    char key[KEY_SIZE];
    struct pair pair = *parent;

    join(key, parent->key, option->name);
    pair.key = key;
    pair.secret = parent->secret || (option->flags & HF_OPTION_SECRET);
    if (option->type == HF_OPTION_GROUP) {
        pair.old_record += option->offset;
        pair.new_record += option->offset;
        compare_group(diff, &pair, option->members);
    } else if (option->type == HF_OPTION_GROUPS) {
        compare_items(diff, &pair, option);
    } else if (option->type == HF_OPTION_CAPABILITY) {
        compare_choices(diff, &pair, option);
    } else {
        compare_value(diff, &pair, option);
    }
}

static void compare_group(hf_config_diff *diff, const struct pair *pair, const hf_option_table *options)
{
    for (uint32_t i = 0; i < options->count && diff->failure == 0; i++) {
        hf_option option = hf_config_option_row(options, i);

        compare_option(diff, pair, &option);
    }
}

static void compare_section(hf_config_diff *diff, const hf_config_section *section,
                            const hf_config_generation *old_generation, const hf_config_generation *new_generation)
{
    int32_t before = 0, now = 0;
    const char *path = section->path;
    struct pair pair = {path,
                        path,
                        hf_config_generation_get(old_generation, path, &before),
                        hf_config_generation_get(new_generation, path, &now),
                        0,
                        AS_DECLARED};

    if (section->flags & HF_CONFIG_SECTION_NAMED) { /* without groups and absent are the same */
        hf_option option = hf_config_option_row(section->options, 0);

        if (pair.old_record && pair.new_record)
            compare_items(diff, &pair, &option);
        return;
    }
    if (before != now)
        add(diff, path, path, before ? "{ ... }" : "(absent)", now ? "{ ... }" : "(absent)", 0);
    if (pair.old_record && pair.new_record)
        compare_group(diff, &pair, section->options);
}

/* Sections of the new generation first, then those that only the old one declares. */
static void compare_generations(hf_config_diff *diff, const hf_config_generation *old_generation,
                                const hf_config_generation *new_generation)
{
    uint32_t count;
    const hf_config_section *sections = hf_config_generation_sections(new_generation, &count);

    for (uint32_t i = 0; i < count; i++)
        compare_section(diff, &sections[i], old_generation, new_generation);
    sections = hf_config_generation_sections(old_generation, &count);
    for (uint32_t i = 0; i < count; i++)
        if (!hf_config_generation_get(new_generation, sections[i].path, NULL))
            compare_section(diff, &sections[i], old_generation, new_generation);
}

int32_t hf_config_diff_create(const hf_config_generation *old_generation, const hf_config_generation *new_generation,
                              hf_config_diff **ret_diff)
{
    hf_config_diff *diff = calloc(1, sizeof *diff);

    if (!diff)
        return HF_ENOMEM;
    diff->generation = new_generation;
    compare_generations(diff, old_generation, new_generation);
    if (diff->failure < 0) {
        int32_t r = diff->failure;

        hf_config_diff_free(diff);
        return r;
    }
    diff->generation = NULL; /* the result borrows nothing */
    *ret_diff = diff;
    return 0;
}

const hf_config_change *hf_config_diff_changes(const hf_config_diff *diff, uint64_t *ret_count)
{
    *ret_count = diff->count;
    return diff->changes;
}

int32_t hf_config_diff_reloadable(const hf_config_diff *diff)
{
    for (uint64_t i = 0; i < diff->count; i++)
        if (!diff->changes[i].reloadable)
            return 0;
    return 1;
}

void hf_config_diff_free(hf_config_diff *diff)
{
    if (!diff)
        return;
    hf_config_pool_done(&diff->pool);
    free(diff->changes);
    free(diff);
}
