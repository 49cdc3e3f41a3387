/* Configurations from text, for the tests of this folder. */
#ifndef HOLDFAST_CORE_DAEMON_TESTS_KIT_H
#define HOLDFAST_CORE_DAEMON_TESTS_KIT_H

#include "daemon/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define DIGEST_OF_ALPHA "8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8" /* "alpha" */
#define DIGEST_OF_BETA  "f44e64e75f3948e9f73f8dfa94721c4ce8cbb4f265c4790c702b2d41cfbf2753" /* "beta" */

static hf_config_problems problems;

static inline hf_config_generation *settings_parse(const char *text)
{
    hf_config_tree *tree = NULL;
    hf_config_generation *generation = NULL;
    uint32_t count;
    const hf_config_section *sections = hf_settings_sections(&count);

    memset(&problems, 0, sizeof problems);
    assert_int_equal(hf_config_tree_parse("test.cfg", text, strlen(text), &tree, NULL), 0);
    if (hf_config_check(tree, sections, count, &generation, &problems) != 0)
        fail_msg("%s", problems.lines[0]);
    hf_settings_check(generation, &problems);
    return generation;
}

static inline hf_config_generation *settings_good(const char *text)
{
    hf_config_generation *generation = settings_parse(text);

    if (problems.count)
        fail_msg("%s", problems.lines[0]);
    return generation;
}

#endif
