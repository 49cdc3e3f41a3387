/* config/problems.h: everything that is wrong with a document, one line each.  The storage is the caller's and needs
 * no release; {0} is an empty list. */
#ifndef HOLDFAST_CONFIG_PROBLEMS_H
#define HOLDFAST_CONFIG_PROBLEMS_H

#include <holdfast/holdfast.h>

enum { HF_CONFIG_PROBLEMS_MAX = 64 };

typedef struct hf_config_problems {
    uint32_t count;                                            /* lines that are kept */
    uint32_t dropped;                                          /* found after the list was full */
    char lines[HF_CONFIG_PROBLEMS_MAX][HF_ERROR_MESSAGE_SIZE]; /* "FILE:LINE: what; expected ...", UTF-8 */
} hf_config_problems;

/* `problems` may be NULL: nobody wants to know. */
void hf_config_problems_add(hf_config_problems *problems, const char *format, ...) HF_PRINTF(2, 3);

#endif
