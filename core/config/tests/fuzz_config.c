/* Any bytes as a document: the tree, the check against options of every type, and the release of both. */
#include "options.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Chooses an engine, with the options of test_sections. */
typedef struct gate_config {
    hf_capability_choice engine;
} gate_config;

static const hf_option gate_rows[] = {
    HF_CONFIG_CAPABILITY("engine", gate_config, engine, "engine", .default_text = "rocksdb", .doc = "What it keeps."),
};
static const hf_option_table gate_table = HF_TABLE(gate_rows);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
const char *__lsan_default_suppressions(void);

/* libconfig 1.5 loses its token buffer when a document ends inside a string; nothing outside it can free that. */
const char *__lsan_default_suppressions(void)
{
    return "leak:libconfig.so\n";
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static hf_config_problems problems;
    const hf_config_section sections[] = {
        {"gate", &gate_table, sizeof(gate_config), 0, NULL}, test_sections[0], test_sections[1]};
    hf_config_tree *tree = NULL;
    hf_config_generation *generation = NULL;
    hf_error error;

    problems.count = problems.dropped = 0;
    if (hf_config_tree_parse("fuzz", (const char *)bytes, size, &tree, &error) < 0)
        return 0;
    if (hf_config_check(tree, sections, 3, &generation, &problems) == 0)
        hf_config_generation_free(generation);
    return 0;
}
