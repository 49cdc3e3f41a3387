/* config/check.h: a whole document against the declared options of every section, all problems at once.
 *
 * A section is a group at a path such as "engine.rocksdb" that fills one struct.  The result is a generation: the
 * structs, their strings and the tree they came from, kept until the generation is freed.  The sections' tables are
 * borrowed for as long as the generation lives.  Loading is [main]; a finished generation may be read by [any]. */
#ifndef HOLDFAST_CONFIG_CHECK_H
#define HOLDFAST_CONFIG_CHECK_H

#include "config/problems.h"
#include "config/tree.h"

enum {
    HF_CONFIG_SECTION_REQUIRED = 1, /* a document without the section is refused */
    HF_CONFIG_SECTION_NAMED = 2     /* the section is itself a group of named groups, as its only option, of type
                                       HF_OPTION_GROUPS, says; that option's name is not written in the document */
};

/* The section of a capability is at KIND.NAME: there options of type HF_OPTION_CAPABILITY find what they choose. */
typedef struct hf_config_section {
    const char *path; /* "engine.rocksdb" */
    const hf_option_table *options;
    uint64_t size; /* bytes of the struct that the options fill */
    uint32_t flags;
    const char *doc; /* one sentence for the reference, or NULL */
} hf_config_section;

typedef struct hf_config_generation hf_config_generation;

/* What an option of type HF_OPTION_CAPABILITY has chosen, somewhere in a section that the document has. */
typedef struct hf_config_chosen {
    const char *path; /* of the option: "gateway.upstreams.chat.balancer" */
    const char *kind;
    const char *name;
    const void *configuration;
    struct hf_config_chosen *next;
} hf_config_chosen;

/* Reads the file `path` and fills one struct per section.  A section or group that the document leaves out gets its
 * defaults, and then its own required options are not asked for.
 *
 * Returns 0, or the reason why there is no generation: HF_EINVAL (see `problems`, which has every line), HF_ENOMEM,
 * or the codes of hf_config_tree_load (one line).  `*ret_generation` is owned and untouched on failure. */
int32_t hf_config_load(const char *path, const hf_config_section *sections, uint32_t count,
                       hf_config_generation **ret_generation, hf_config_problems *problems);

/* The same, but groups at the top of the document that no section declares are passed over, and chosen capabilities
 * that none declares have no configuration: for a process that has not loaded the plugins which they belong to. */
int32_t hf_config_load_known(const char *path, const hf_config_section *sections, uint32_t count,
                             hf_config_generation **ret_generation, hf_config_problems *problems);

/* hf_config_load from a tree, which is taken in any case. */
int32_t hf_config_check(hf_config_tree *tree, const hf_config_section *sections, uint32_t count,
                        hf_config_generation **ret_generation, hf_config_problems *problems);

/* Accepts NULL. */
void hf_config_generation_free(hf_config_generation *generation);

/* The struct of the section at `path`, or NULL when no such section was declared.  `ret_present` (may be NULL) tells
 * whether the document has the section. */
const void *hf_config_generation_get(const hf_config_generation *generation, const char *path, int32_t *ret_present);

/* The declared sections, in their order; borrowed from the generation. */
const hf_config_section *hf_config_generation_sections(const hf_config_generation *generation, uint32_t *ret_count);

/* The section of the capability KIND/NAME, or NULL when none was declared. */
const hf_config_section *hf_config_generation_capability(const hf_config_generation *generation, const char *kind,
                                                         const char *name);

/* All that is chosen, in the order of the sections; NULL at the end. */
const hf_config_chosen *hf_config_generation_chosen(const hf_config_generation *generation);

const hf_config_tree *hf_config_generation_tree(const hf_config_generation *generation);

/* Adds "FILE:LINE: SENTENCE" for what is at `path`: with its line, or that of the nearest group around it which the
 * document has. */
void hf_config_generation_problem(const hf_config_generation *generation, const char *path, const char *sentence,
                                  hf_config_problems *problems);

#endif
