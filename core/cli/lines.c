/* Lines of a plain or compressed file; see lines.h. */
#include "cli/lines.h"

#include <errno.h>
#include <holdfast/lib/error.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

enum { BLOCK = 1 << 16 };

struct cli_lines {
    gzFile file;
    double size; /* of the file, bytes; 0: not known, as of a pipe */
    uint64_t number;
    uint32_t begin, end; /* what of `block` is unread */
    int ended;
    char block[BLOCK];
};

int32_t cli_lines_open(const char *path, cli_lines **ret_lines, hf_error *error)
{
    cli_lines *lines = calloc(1, sizeof *lines);
    struct stat status;

    if (!lines)
        return hf_error_set(error, HF_ENOMEM, "no memory to read '%s'", path);
    errno = 0;
    lines->file = stat(path, &status) == 0 && S_ISDIR(status.st_mode) ? (errno = EISDIR, NULL) : gzopen(path, "rb");
    if (!lines->file) {
        int code = errno ? errno : ENOMEM;
        free(lines);
        return hf_error_set_errno(error, HF_EIO, code, "cannot open '%s'", path);
    }
    gzbuffer(lines->file, 2 * BLOCK);
    lines->size = S_ISREG(status.st_mode) ? (double)status.st_size : 0;
    *ret_lines = lines;
    return 0;
}

void cli_lines_close(cli_lines *lines)
{
    if (!lines)
        return;
    gzclose(lines->file);
    free(lines);
}

/* Also a file that ends in the middle of the compressed data has lost lines. */
static int32_t check_file(cli_lines *lines, hf_error *error)
{
    int code = Z_OK;
    const char *words = gzerror(lines->file, &code);

    if (code == Z_ERRNO)
        return hf_error_set_errno(error, HF_EIO, errno, "cannot read behind line %llu",
                                  (unsigned long long)lines->number);
    if (code != Z_OK && code != Z_STREAM_END)
        return hf_error_set(error, HF_ECORRUPT, "damaged or cut off behind line %llu (%s); get the file anew",
                            (unsigned long long)lines->number, words);
    return 0;
}

static int32_t fill(cli_lines *lines, hf_error *error)
{
    int size = gzread(lines->file, lines->block, BLOCK);
    int32_t result = size < BLOCK ? check_file(lines, error) : 0;

    lines->begin = 0;
    lines->end = size > 0 ? (uint32_t)size : 0;
    lines->ended = size <= 0;
    return size > 0 ? 0 : result; /* what could be read comes first; the next call finds the damage again */
}

/* Appends up to the line's end.  1: it is there; 0: the block is at its end first. */
static int32_t take(cli_lines *lines, hf_buffer *line)
{
    const char *at = lines->block + lines->begin;
    uint32_t left = lines->end - lines->begin;
    const char *newline = memchr(at, '\n', left);
    uint32_t size = newline ? (uint32_t)(newline - at) : left;
    int32_t result = hf_buffer_append(line, at, size);

    lines->begin += size + (newline != NULL);
    return result ? result : newline != NULL;
}

static int32_t next_line(cli_lines *lines, hf_buffer *line, hf_error *error)
{
    int32_t result = 0;

    hf_buffer_clear(line);
    while (result == 0 && !lines->ended) {
        if (lines->begin == lines->end && (result = fill(lines, error)) != 0)
            return result;
        result = take(lines, line);
    }
    if (result == HF_ETOOLARGE)
        return hf_error_set(error, result, "line %llu is longer than %llu bytes", (unsigned long long)lines->number + 1,
                            (unsigned long long)line->maximum);
    if (result < 0)
        return hf_error_set(error, result, "no memory for line %llu", (unsigned long long)lines->number + 1);
    lines->number += result == 1 || line->size > 0;
    return result == 1 || line->size > 0;
}

int32_t cli_lines_next(cli_lines *lines, hf_buffer *line, hf_error *error)
{
    int32_t result;

    do {
        result = next_line(lines, line, error);
        if (result == 1 && line->size && line->data[line->size - 1] == '\r')
            line->size--;
    } while (result == 1 && line->size == 0);
    return result;
}

uint64_t cli_lines_number(const cli_lines *lines)
{
    return lines->number;
}

double cli_lines_share(const cli_lines *lines)
{
    double share = lines->size > 0 ? (double)gzoffset(lines->file) / lines->size : 0;

    return share > 1 ? 1 : share < 0 ? 0 : share;
}
