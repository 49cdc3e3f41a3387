/* Reads policy files; see bundle.h. */
#include "lua/bundle.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

hf_lua_bundle *hf_lua_bundle_ref(hf_lua_bundle *bundle)
{
    atomic_fetch_add_explicit(&bundle->references, 1, memory_order_relaxed);
    return bundle;
}

void hf_lua_bundle_unref(hf_lua_bundle *bundle)
{
    if (!bundle || atomic_fetch_sub_explicit(&bundle->references, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; i < bundle->count; i++) {
        free(bundle->sources[i].path);
        free(bundle->sources[i].text);
    }
    free(bundle);
}

/* ---- One file ------------------------------------------------------------------------------------------------- */

/* Reads up to `size` bytes; 0, or -1 with errno. */
static int read_whole(int fd, char *text, uint64_t size, uint64_t *ret_got)
{
    uint64_t got = 0;

    while (got < size) {
        ssize_t part = read(fd, text + got, size - got);
        if (part < 0 && errno == EINTR)
            continue;
        if (part < 0)
            return -1;
        if (part == 0)
            break;
        got += (uint64_t)part;
    }
    *ret_got = got;
    return 0;
}

static int32_t keep(hf_lua_bundle *bundle, const char *path, const char *text, uint64_t size)
{
    hf_lua_source *source = &bundle->sources[bundle->count];

    source->path = strdup(path);
    source->text = malloc(size + 1);
    if (!source->path || !source->text) {
        free(source->path);
        free(source->text);
        return HF_ENOMEM;
    }
    memcpy(source->text, text, size);
    source->text[size] = '\0';
    source->size = size;
    bundle->count++;
    return 0;
}

static int32_t read_open_file(hf_lua_bundle *bundle, const char *path, int fd, char *text, hf_config_problems *problems)
{
    uint64_t size = 0;

    if (read_whole(fd, text, HF_LUA_FILE_SIZE_MAX + 1, &size) < 0)
        hf_config_problems_add(problems, "%s: cannot read it: %s", path, strerror(errno));
    else if (size > HF_LUA_FILE_SIZE_MAX)
        hf_config_problems_add(problems, "%s: it is larger than %d bytes", path, HF_LUA_FILE_SIZE_MAX);
    else if (bundle->count == HF_LUA_FILES_MAX)
        hf_config_problems_add(problems, "%s: there are more than %d policy files", path, HF_LUA_FILES_MAX);
    else
        return keep(bundle, path, text, size);
    return 0;
}

static int32_t read_file(hf_lua_bundle *bundle, const char *path, hf_config_problems *problems)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not make us wait */

    if (fd < 0) {
        hf_config_problems_add(problems, "%s: cannot open it: %s", path, strerror(errno));
        return 0;
    }
    char *text = malloc(HF_LUA_FILE_SIZE_MAX + 1);
    int32_t result = text ? read_open_file(bundle, path, fd, text, problems) : HF_ENOMEM;

    free(text);
    (void)close(fd); /* only read */
    return result;
}

/* ---- Folders -------------------------------------------------------------------------------------------------- */

static int is_policy(const struct dirent *entry)
{
    size_t size = strlen(entry->d_name);

    return entry->d_name[0] != '.' && size > 4 && strcmp(entry->d_name + size - 4, ".lua") == 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name); /* not alphasort: the order must not depend on the locale */
}

static int32_t read_folder(hf_lua_bundle *bundle, const char *folder, hf_config_problems *problems)
{
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, is_policy, by_name);
    int32_t result = 0;

    if (count < 0) {
        if (errno == ENOMEM)
            return HF_ENOMEM;
        hf_config_problems_add(problems, "%s: cannot read the folder: %s", folder, strerror(errno));
        return 0;
    }
    for (int i = 0; i < count; i++) {
        char *path = NULL;
        if (!result && asprintf(&path, "%s/%s", folder, entries[i]->d_name) < 0) {
            path = NULL;
            result = HF_ENOMEM;
        }
        if (!result)
            result = read_file(bundle, path, problems);
        free(path);
        free(entries[i]);
    }
    free(entries);
    return result;
}

int32_t hf_lua_bundle_read(const hf_strings *paths, hf_lua_bundle **ret_bundle, hf_config_problems *problems)
{
    hf_lua_bundle *bundle = calloc(1, sizeof *bundle);
    uint32_t before = problems->count + problems->dropped;
    int32_t result = bundle ? 0 : HF_ENOMEM;

    if (bundle)
        atomic_init(&bundle->references, 1);
    for (uint64_t i = 0; !result && i < paths->count; i++) {
        struct stat status;
        if (stat(paths->items[i], &status) == 0 && S_ISDIR(status.st_mode))
            result = read_folder(bundle, paths->items[i], problems);
        else
            result = read_file(bundle, paths->items[i], problems);
    }
    if (!result && problems->count + problems->dropped > before)
        result = HF_EINVAL;
    if (result) {
        hf_lua_bundle_unref(bundle);
        return result;
    }
    *ret_bundle = bundle;
    return 0;
}
