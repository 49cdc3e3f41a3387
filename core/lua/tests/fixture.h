/* What the tests of core/lua share: policy files in a folder of their own, and decision points. */
#ifndef HOLDFAST_CORE_LUA_TESTS_FIXTURE_H
#define HOLDFAST_CORE_LUA_TESTS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <holdfast/lib/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline char *make_folder(void)
{
    char *folder = strdup("/tmp/holdfast-lua-XXXXXX");

    assert_non_null(folder);
    assert_non_null(mkdtemp(folder));
    return folder;
}

static inline void write_file(const char *folder, const char *name, const char *text)
{
    char path[256];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static inline void remove_file(const char *folder, const char *name)
{
    char path[512];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(unlink(path), 0);
}

static inline void remove_folder(char *folder)
{
    DIR *open = opendir(folder);
    struct dirent *entry;

    assert_non_null(open);
    while ((entry = readdir(open)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            remove_file(folder, entry->d_name);
    closedir(open);
    assert_int_equal(rmdir(folder), 0);
    free(folder);
}

/* The value as JSON; the caller frees it. */
static inline char *as_json(const hf_value *value)
{
    hf_buffer buffer;

    hf_buffer_init(&buffer, 1 << 20);
    assert_int_equal(hf_json_append(&buffer, value), 0);
    assert_int_equal(hf_buffer_append(&buffer, "", 1), 0);
    return (char *)buffer.data;
}

static inline hf_value from_json(const char *text, hf_arena *arena)
{
    hf_value value = {0};

    assert_int_equal(hf_json_parse(hf_slice_of(text), arena, &value, NULL), 0);
    return value;
}

#endif
