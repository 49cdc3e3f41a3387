/* Any bytes as a document: the tree, the check against one option of every type, and the release of both. */
#include "options.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

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
    hf_config_tree *tree = NULL;
    hf_config_generation *generation = NULL;
    hf_error error;

    problems.count = problems.dropped = 0;
    if (hf_config_tree_parse("fuzz", (const char *)bytes, size, &tree, &error) < 0)
        return 0;
    if (hf_config_check(tree, test_sections, TEST_SECTION_COUNT, &generation, &problems) == 0)
        hf_config_generation_free(generation);
    return 0;
}
