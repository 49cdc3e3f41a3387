/* kit/check.h: checks of a plugin, each in a process of its own, and a report.
 *
 * A check is a function that loads the plugin, does something with it and returns: it held.  Whatever is wrong ends the
 * process, by hf_kit_fail or by a crash, and the runner says so.  Nothing of the plugin ever runs in the runner itself.
 * A suite is a list of checks for one kind; the kit has those of the SDK's kinds, and hf_kit_main takes others.
 *
 * Changes
 *   1.0  first version
 */
#ifndef HOLDFAST_KIT_CHECK_H
#define HOLDFAST_KIT_CHECK_H

#include <holdfast/holdfast.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define HF_KIT_NORETURN __attribute__((noreturn))
#else
#define HF_KIT_NORETURN
#endif

/* What is checked.  Valid for the whole run. */
typedef struct hf_kit_subject {
    const char *path; /* of the shared object, absolute */
    const char *kind; /* of the capability; NULL for checks of the whole file */
    const char *name;
    const char *const *with; /* paths of other plugins, which provide what this one asks for */
    uint32_t with_count;
    const char *const *settings; /* "NAME=TEXT": options that differ from their defaults */
    uint32_t setting_count;
    int32_t verbose; /* what the plugin logs goes to standard error */
} hf_kit_subject;

typedef struct hf_kit_check {
    const char *name;
    const char *doc; /* one sentence: what holds when it is ok */
    void (*run)(const hf_kit_subject *subject);
    uint32_t limit_s; /* 0: 30 */
} hf_kit_check;

typedef struct hf_kit_suite {
    const char *kind; /* NULL: checks of the whole file; "*": of every capability */
    const hf_kit_check *checks;
    uint32_t count;
} hf_kit_suite;

/* Ends the check, with a sentence.  [any] */
HF_KIT_NORETURN void hf_kit_fail(const char *format, ...) HF_PRINTF(1, 2);
HF_KIT_NORETURN void hf_kit_not_applicable(const char *format, ...) HF_PRINTF(1, 2);

/* Says what is done next, so that a crash can be told apart from another.  [any] */
void hf_kit_step(const char *format, ...) HF_PRINTF(1, 2);

/* For code whose words are enough. */
#define HF_KIT_TRUE(condition)                                                                                         \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            hf_kit_fail("%s (%s:%d)", #condition, __func__, __LINE__);                                                 \
    } while (0)
#define HF_KIT_EQUAL(found, expected) hf_kit_equal((int64_t)(found), (int64_t)(expected), #found, __func__, __LINE__)
#define HF_KIT_TEXT(found, expected)  hf_kit_text((found), (expected), #found, __func__, __LINE__)
void hf_kit_equal(int64_t found, int64_t expected, const char *what, const char *function, int32_t line);
void hf_kit_text(const char *found, const char *expected, const char *what, const char *function, int32_t line);

/* The program: checks the plugin that the arguments name with the kit's own suites and `more`, and prints the report.
 * Returns 0: all held; 1: something failed; 2: nothing could be checked. */
int32_t hf_kit_main(int32_t count, char **arguments, const hf_kit_suite *const *more, uint32_t more_count);

#ifdef __cplusplus
}
#endif
#endif
