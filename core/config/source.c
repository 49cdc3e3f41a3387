/* Reads files whole and refuses what the parser would misread or die of; see source.h. */
#include "config/source.h"

#include <errno.h>
#include <fcntl.h>
#include <holdfast/lib/error.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Length of the well-formed character at `s` (Unicode 15, table 3-7), or 0. */
static unsigned character_size(const unsigned char *s, uint64_t left)
{
    unsigned size = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;

    if (s[0] == 0 || size > left)
        return 0;
    for (unsigned i = 1; i < size; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f))
        return 0;
    if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return size;
}

int hf_config_utf8_valid(const char *text, uint64_t size, uint64_t *ret_bad_index)
{
    uint64_t i = 0;

    while (i < size) {
        unsigned step = character_size((const unsigned char *)text + i, size - i);

        if (step == 0) {
            *ret_bad_index = i;
            return 0;
        }
        i += step;
    }
    return 1;
}

int32_t hf_config_source_check(const char *name, const char *text, uint64_t size, hf_error *error)
{
    uint64_t bad, line = 1;

    if (size > HF_CONFIG_FILE_SIZE_MAX)
        return hf_error_set(error, HF_ETOOLARGE, "%s:1: file is %llu bytes; expected at most %d", name,
                            (unsigned long long)size, HF_CONFIG_FILE_SIZE_MAX);
    if (hf_config_utf8_valid(text, size, &bad))
        return 0;
    for (uint64_t i = 0; i < bad; i++)
        line += text[i] == '\n';
    return hf_error_set(error, HF_EINVAL, "%s:%llu: byte 0x%02x is not text; expected UTF-8", name,
                        (unsigned long long)line, (unsigned char)text[bad]);
}

static int32_t read_all(int fd, const char *path, char *buffer, uint64_t size, hf_error *error)
{
    uint64_t done = 0;

    while (done < size) {
        ssize_t got = read(fd, buffer + done, size - done);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return hf_error_set_errno(error, HF_EIO, errno, "%s:1: cannot read", path);
        if (got == 0)
            return hf_error_set(error, HF_EIO, "%s:1: file shrank while it was read; expected it complete", path);
        done += (uint64_t)got;
    }
    return 0;
}

static int32_t read_open(hf_config_pool *pool, int fd, const char *path, char **ret_text, uint64_t *ret_size,
                         hf_error *error)
{
    struct stat status;

    if (fstat(fd, &status) < 0)
        return hf_error_set_errno(error, HF_EIO, errno, "%s:1: cannot read", path);
    if (!S_ISREG(status.st_mode))
        return hf_error_set(error, HF_EIO, "%s:1: not a regular file; expected a configuration file", path);

    uint64_t size = (uint64_t)status.st_size;

    if (size > HF_CONFIG_FILE_SIZE_MAX)
        return hf_config_source_check(path, NULL, size, error);

    char *text = hf_config_pool_alloc(pool, size + 1);

    if (!text)
        return hf_error_set(error, HF_ENOMEM, "%s:1: no memory for the file", path);

    int32_t r = read_all(fd, path, text, size, error);

    if (r == 0)
        r = hf_config_source_check(path, text, size, error);
    if (r < 0)
        return r;
    *ret_text = text;
    *ret_size = size;
    return 0;
}

int32_t hf_config_source_read(hf_config_pool *pool, const char *path, char **ret_text, uint64_t *ret_size,
                              hf_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hang the start */

    if (fd < 0)
        return hf_error_set(error, errno == ENOENT ? HF_ENOTFOUND : HF_EIO,
                            "%s:1: cannot open: %s; expected a readable file", path, strerrordesc_np(errno));

    int32_t r = read_open(pool, fd, path, ret_text, ret_size, error);

    (void)close(fd); /* only read from */
    return r;
}

/* The file name in an @include directive at the start of `line`, as libconfig's scanner recognises it. */
static int include_name(const char *line, char *name, size_t size)
{
    line += strspn(line, " \t");
    if (strncmp(line, "@include", 8) != 0)
        return 0;
    line += 8;
    line += strspn(line, " \t");
    if (*line != '"')
        return 0;

    size_t length = strcspn(line + 1, "\"\n\\");

    if (length >= size || line[1 + length] != '"')
        length = 0; /* an empty name is refused by the caller */
    memcpy(name, line + 1, length);
    name[length] = '\0';
    return 1;
}

static int32_t check_include(const char *name, unsigned line, const char *folder, const char *included, uint32_t depth,
                             hf_error *error)
{
    char path[PATH_MAX];
    hf_config_pool pool = {0};
    char *text;
    uint64_t size;

    if (!folder)
        return hf_error_set(error, HF_EUNSUPPORTED, "%s:%u: @include in a text without a folder; expected a file", name,
                            line);
    if (included[0] == '\0' || included[0] == '/' || strlen(folder) + strlen(included) + 2 > sizeof path)
        return hf_error_set(error, HF_EINVAL, "%s:%u: @include \"%s\"; expected a path relative to '%s'", name, line,
                            included, folder);
    if (depth >= HF_CONFIG_INCLUDE_DEPTH_MAX)
        return hf_error_set(error, HF_EINVAL, "%s:%u: @include \"%s\" is too deep or a cycle; expected at most %d deep",
                            name, line, included, HF_CONFIG_INCLUDE_DEPTH_MAX);
    memcpy(path, folder, strlen(folder));
    path[strlen(folder)] = '/';
    memcpy(path + strlen(folder) + 1, included, strlen(included) + 1);

    int32_t r = hf_config_source_read(&pool, path, &text, &size, error);

    if (r < 0)
        r = hf_error_prefix(error, "%s:%u: @include \"%s\"", name, line, included);
    else
        r = hf_config_source_check_includes(path, text, folder, depth + 1, error);
    hf_config_pool_done(&pool);
    return r < 0 && error ? error->code : r;
}

int32_t hf_config_source_check_includes(const char *name, const char *text, const char *folder, uint32_t depth,
                                        hf_error *error)
{
    char included[PATH_MAX];
    unsigned line = 1;

    for (const char *at = text; at; line++) {
        if (include_name(at, included, sizeof included)) {
            int32_t r = check_include(name, line, folder, included, depth, error);

            if (r < 0)
                return r;
        }
        at = strchr(at, '\n');
        if (at)
            at++;
    }
    return 0;
}
