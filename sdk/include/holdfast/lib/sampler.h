/* lib/sampler.h: draws places of a list by chance, each as often as its weight says, from those that may be drawn now.
 *
 * A draw and a change of a weight take as many steps as the number of places has bits.  (An alias table draws in one
 * step, but is made anew for every change, and weights change many times while a server starts slowly.)  What may not
 * be drawn is thrown back; after a few tries all places are looked at, so that a draw always ends, and the shares of
 * what may be drawn are those of the weights however much may not.
 *
 * Nothing allocates after hf_sampler_create.  Pure; one thread at a time. */
#ifndef HOLDFAST_LIB_SAMPLER_H
#define HOLDFAST_LIB_SAMPLER_H

#include <holdfast/lib/hash.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HF_SAMPLER_NONE UINT32_MAX

typedef struct hf_sampler hf_sampler;

/* Places 0 to count-1, all of weight 0, which is never drawn.  NULL: no memory. */
hf_sampler *hf_sampler_create(uint32_t count);
void hf_sampler_destroy(hf_sampler *sampler); /* accepts NULL */

void hf_sampler_weigh(hf_sampler *sampler, uint32_t place, uint32_t weight);
uint32_t hf_sampler_weight(const hf_sampler *sampler, uint32_t place);
uint64_t hf_sampler_total(const hf_sampler *sampler); /* of all weights */

/* A place whose bit is set in `allowed`: a bit per place, the first one lowest, in whole words; bits past the last
 * place mean nothing.  HF_SAMPLER_NONE: none of those has a weight. */
uint32_t hf_sampler_draw(const hf_sampler *sampler, hf_random *random, const uint64_t *allowed);

#ifdef __cplusplus
}
#endif
#endif
