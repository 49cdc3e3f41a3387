/* How a check says what it found. */
#include "report.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct kit_report *kit_report;

/* The first word counts: a second thread that ends the check waits until the first has ended the process. */
static HF_KIT_NORETURN void end(int32_t result, const char *format, va_list arguments)
{
    static atomic_int ended;
    char text[480];

    vsnprintf(text, sizeof text, format, arguments);
    while (atomic_exchange(&ended, 1))
        pause();
    if (!kit_report)
        fprintf(stderr, "%s: %s\n", result == KIT_RESULT_FAILED ? "failed" : "not applicable", text);
    else if (atomic_load(&kit_report->result) == KIT_RESULT_NONE) {
        memcpy(kit_report->why, text, sizeof text);
        atomic_store(&kit_report->result, result);
    }
    _exit(result == KIT_RESULT_FAILED);
}

void hf_kit_fail(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    end(KIT_RESULT_FAILED, format, arguments);
}

void hf_kit_not_applicable(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    end(KIT_RESULT_NOT_APPLICABLE, format, arguments);
}

void hf_kit_step(const char *format, ...)
{
    va_list arguments;

    if (!kit_report)
        return;
    va_start(arguments, format);
    vsnprintf(kit_report->step, sizeof kit_report->step, format, arguments);
    va_end(arguments);
}

void hf_kit_equal(int64_t found, int64_t expected, const char *what, const char *function, int32_t line)
{
    if (found != expected)
        hf_kit_fail("%s is %lld, expected %lld (%s:%d)", what, (long long)found, (long long)expected, function, line);
}

void hf_kit_text(const char *found, const char *expected, const char *what, const char *function, int32_t line)
{
    if (!found || strcmp(found, expected) != 0)
        hf_kit_fail("%s is '%.100s', expected '%.100s' (%s:%d)", what, found ? found : "(null)", expected, function,
                    line);
}
