/* cli/record_key.h: the key that a line of JSON gets, and the idempotency key of its write.  Pure. */
#ifndef HOLDFAST_CORE_CLI_RECORD_KEY_H
#define HOLDFAST_CORE_CLI_RECORD_KEY_H

#include <holdfast/lib/buffer.h>

enum { CLI_KEY_PARTS_MAX = 8, CLI_KEY_FIELD_SIZE = 64, CLI_IDEMPOTENCY_SIZE = 64 };

typedef struct cli_key_rule {
    char fields[CLI_KEY_PARTS_MAX][CLI_KEY_FIELD_SIZE]; /* values joined by '/' */
    uint32_t count;
    const char *line_prefix; /* without fields: the line's number behind this */
} cli_key_rule;

/* Reads "FIELD,FIELD...".  HF_EINVAL: an empty field, one that is too long, or too many. */
int32_t cli_key_rule_parse(const char *text, cli_key_rule *ret_rule, hf_error *error);

/* Replaces `key` by the key of a line.  Texts stand as they are; whole numbers have at least 6 digits, so that keys
 * sort as the numbers do.  HF_EINVAL: the line is not JSON, or a field is missing or of another kind; HF_ETOOLARGE:
 * over 1024 bytes; HF_ENOMEM. */
int32_t cli_key_make(const cli_key_rule *rule, hf_slice line, uint64_t number, hf_buffer *key, hf_error *error);

/* From the name of the file without its folder, the line's number, its key and its bytes: the same for the same line at
 * the same place, so that a load can be repeated, and another for a line that was changed or that stands twice. */
void cli_idempotency_key(const char *file, uint64_t number, hf_slice key, hf_slice line,
                         char text[CLI_IDEMPOTENCY_SIZE]);

#endif
