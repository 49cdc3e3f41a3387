/* A bounded list of lines; see problems.h. */
#include "config/problems.h"

#include <holdfast/lib/error.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void hf_config_problems_add(hf_config_problems *problems, const char *format, ...)
{
    char text[2 * HF_ERROR_MESSAGE_SIZE];
    hf_error line;
    va_list arguments;

    if (!problems)
        return;
    if (problems->count == HF_CONFIG_PROBLEMS_MAX) {
        problems->dropped++;
        return;
    }
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    (void)hf_error_set(&line, HF_EINVAL, "%s", text); /* cuts at a character and removes control characters */
    memcpy(problems->lines[problems->count++], line.message, sizeof line.message);
}
