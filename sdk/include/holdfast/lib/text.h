/* lib/text.h: names that people type.  Pure; [any]. */
#ifndef HOLDFAST_LIB_TEXT_H
#define HOLDFAST_LIB_TEXT_H

#include <holdfast/holdfast.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How many letters have to be put in, taken out or replaced to make one text from the other (Levenshtein).  Looks at
 * the first 63 bytes of each. */
uint32_t hf_text_distance(const char *a, const char *b);

/* The candidate nearest to `name`, or NULL when none is near enough to be meant. */
const char *hf_text_nearest(const char *name, const char *const *candidates, uint64_t count);

#ifdef __cplusplus
}
#endif
#endif
