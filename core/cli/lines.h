/* cli/lines.h: a file of lines, plain or compressed by gzip, read one after the other. */
#ifndef HOLDFAST_CORE_CLI_LINES_H
#define HOLDFAST_CORE_CLI_LINES_H

#include <holdfast/lib/buffer.h>

typedef struct cli_lines cli_lines;

/* HF_EIO with the system's words, or HF_ENOMEM. */
int32_t cli_lines_open(const char *path, cli_lines **ret_lines, hf_error *error);
void cli_lines_close(cli_lines *lines); /* accepts NULL */

/* Replaces `line` by the next line that is not empty, without its end.  1: there is one; 0: the end.  HF_ECORRUPT or
 * HF_EIO: the file cannot be read further, and what stands before that has been given out; HF_ETOOLARGE: a line longer
 * than the buffer's maximum; HF_ENOMEM.  A last line without an end counts, unless the file broke off there. */
int32_t cli_lines_next(cli_lines *lines, hf_buffer *line, hf_error *error);

/* The number of the line read last, from 1; empty ones count. */
uint64_t cli_lines_number(const cli_lines *lines);

/* How much of the file has been read, 0 to 1. */
double cli_lines_share(const cli_lines *lines);

#endif
