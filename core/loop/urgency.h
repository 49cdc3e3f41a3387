/* urgency.h: how a thread shares the processors with others. */
#ifndef HOLDFAST_CORE_LOOP_URGENCY_H
#define HOLDFAST_CORE_LOOP_URGENCY_H

/* From the most urgent: loops that serve; work that somebody waits for; bulk work, which only has to be done. */
typedef enum hf_urgency { HF_URGENCY_SERVE, HF_URGENCY_BACKGROUND, HF_URGENCY_BULK } hf_urgency;

/* Sets it for the calling thread.  Where the kernel refuses, things go less smoothly, and nothing else.  [any] */
void hf_urgency_set(hf_urgency urgency);

#endif
